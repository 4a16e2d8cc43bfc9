"""The desk: what columns, ids, times and numbers may be, the same for everyone."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skchallenge._table import (
    check_count,
    check_ids,
    check_times,
    column_position,
    creator_column,
    find_column,
    id_kind,
    read_duration,
    read_numbers,
    read_paths,
    read_table,
    same_text,
    same_texts,
    tag_name,
    time_values,
)

NAMES = ["a", "remainder__cover", "genre"]


@pytest.mark.parametrize(
    "column, position",
    [("a", 0), ("cover", 1), ("remainder__cover", 1), (2, 2), (-1, 2), (-3, 0)],
)
def test_a_column_is_found_by_name_prefix_or_position(column, position):
    assert column_position("path", column, 3, NAMES) == position
    table = pd.DataFrame([[1, 2, 3]], columns=NAMES)
    assert find_column("path", column, table).tolist() == [position + 1]


def test_an_exact_name_goes_before_one_behind_a_prefix():
    assert column_position("path", "a", 2, ["x__a", "a"]) == 1


@pytest.mark.parametrize(
    "column, names, error, match",
    [
        ("b", NAMES, ValueError, "path must be a column of X, got 'b'; X has"),
        ("a", ["x__a", "y__a"], ValueError, r"may be any of \['x__a', 'y__a'\]"),
        ("a", None, ValueError, "path='a' needs an X whose columns have names"),
        ("a", [0, 1, 2], ValueError, "path='a' needs an X whose columns have names"),
        (3, NAMES, ValueError, "path must be the position .* got 3, .* 3 feat"),
        (-4, NAMES, ValueError, "path must be the position .* got -4, .* 3 feat"),
        (True, NAMES, TypeError, "path must be the name or the position .* got True"),
        (1.0, NAMES, TypeError, "path must be the name or the position .* got 1.0"),
    ],
)
def test_a_column_that_is_not_there_is_refused(column, names, error, match):
    with pytest.raises(error, match=match):
        column_position("path", column, 3, names)


def test_a_nameless_table_takes_the_names_seen_in_fit():
    estimator = BaseEstimator()
    table = pd.DataFrame({"id": [2**60, 1], "share": [0.5, 1.0]})
    read = read_table(estimator, table, reset=True)
    assert read.dtypes.tolist() == [np.int64, np.float64]  # no float rounds the id
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        again = read_table(estimator, table.to_numpy(dtype=object), reset=False)
    pd.testing.assert_frame_equal(again, read)


@pytest.mark.parametrize(
    "values, kind, expected",
    [
        (["a", "b"], "strings", ["a", "b"]),
        ([1, 2], "integers", [1, 2]),
        ([2**60 + 1, 2**60], "integers", [2**60 + 1, 2**60]),
        (np.array([2**60 + 1], dtype="uint64"), "integers", [2**60 + 1]),
        (pd.array([2**60 + 1], dtype="uint64[pyarrow]"), "integers", [2**60 + 1]),
        (pd.Categorical(["b", "a"]), "strings", ["b", "a"]),
        (pd.Categorical([1.0, 2.0]), "floats", [1, 2]),
        ([1.0, 2.0], "floats", [1, 2]),
        ([Decimal(1), Decimal(2)], "floats", [1, 2]),
        (pd.array([1.0], dtype="Float64"), "floats", [1]),
        ([0.5, 2.0], "floats", [0.5, 2.0]),
    ],
)
def test_ids_are_strings_or_numbers(values, kind, expected):
    values = pd.Series(values)
    assert id_kind(values) == kind
    ids = check_ids(values, "user_id")
    assert ids.tolist() == expected
    assert [type(i) for i in ids.tolist()] == [type(i) for i in expected]
    assert not isinstance(ids.dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    "values, error, match",
    [
        (["a", None], ValueError, "user_id has 1 missing values, first in row 1"),
        ([1.0, np.nan], ValueError, "user_id has 1 missing values"),
        ([1, "a"], TypeError, "user_id must hold strings or integers.*mixed-integer"),
        ([["a"]], TypeError, r"an argument must be a string or a number.*str.join"),
        ([True, False], TypeError, "user_id must hold strings or integers.*boolean"),
        ([2.0**53], ValueError, "user_id must not hold floats of 9007199254740992"),
        ([np.inf], ValueError, "user_id must not hold floats of 9007199254740992"),
        (np.float32([2**24]), ValueError, "must not hold floats of 16777216 or more"),
    ],
)
def test_what_is_no_id_is_refused(values, error, match):
    with pytest.raises(error, match=match):
        check_ids(pd.Series(values), "user_id")


def test_strings_are_never_among_numbers_but_floats_are():
    known = pd.Series([1, 2], name="user_id")
    assert check_ids(pd.Series([1.0]), "user", like=known).tolist() == [1]
    match = "user holds strings, but the catalog's user_id holds integers"
    with pytest.raises(TypeError, match=match):
        check_ids(pd.Series(["1"]), "user", like=known)
    with pytest.raises(TypeError, match="but the log of fit holds strings"):
        check_ids(known, "user", like="strings", known="the log of fit")
    check_ids(known, "user", like=known[:0])  # nothing to be compared with


TIMES = pd.to_datetime(["2020-01-01", "2020-01-02"])


@pytest.mark.parametrize(
    "values, duration, days",
    [
        (TIMES, "2D", 0.5),
        (TIMES.tz_localize("Asia/Tokyo"), "2D", 0.5),
        (TIMES.astype("datetime64[s]"), pd.Timedelta("2D"), 0.5),
        (TIMES.to_pydatetime(), "2D", 0.5),
        (pd.array(TIMES, dtype="timestamp[us][pyarrow]"), "2D", 0.5),
        ([1_577_836_800, 1_577_923_200], 172_800, 0.5),
        (pd.array([0, 1], dtype="Int64"), 2, 0.5),
        ([0.0, 1.0], 2.0, 0.5),
    ],
)
def test_times_are_datetimes_or_numbers(values, duration, days):
    times = check_times(pd.Series(values, name="time"), "time")
    clock = time_values(times)
    length = read_duration(duration, "half_life", times)
    assert (clock - clock[0])[1] / length == days
    assert ((clock + length) - length == clock).all()


@pytest.mark.parametrize(
    "values, error, match",
    [
        (
            ["2020-01-01"],
            TypeError,
            "time must hold numbers or datetimes.*string",
        ),
        ([True], TypeError, "time must hold numbers or datetimes, got .*boolean"),
        ([1.0, np.nan], ValueError, "time has 1 missing values, first in row 1"),
        ([1_577_836_800, 1_577_836_800_000], ValueError, "times of one unit"),
    ],
)
def test_what_is_no_time_is_refused(values, error, match):
    with pytest.raises(error, match=match):
        check_times(pd.Series(values), "time")


def test_zones_and_numbers_are_not_compared():
    known = pd.Series(TIMES, name="create_time")
    for values in (TIMES.tz_localize("UTC"), [1, 2]):
        with pytest.raises(TypeError, match="catalog's create_time holds datetimes"):
            check_times(pd.Series(values), "time", like=known)


@pytest.mark.parametrize(
    "values",
    [[1, None], pd.array([1, None], dtype="Int64"), [Decimal(1), None], [True, None]],
)
def test_numbers_of_any_type_are_read(values):
    np.testing.assert_array_equal(read_numbers(pd.Series(values), "x"), [1, np.nan])


@pytest.mark.parametrize("values", [["1"], [1, "2"], pd.Categorical(["1"])])
def test_text_is_no_number(values):
    with pytest.raises(TypeError, match="x must hold numbers, got .* values"):
        read_numbers(pd.Series(values), "x")


def test_paths_are_one_column_or_the_named_one():
    table = pd.DataFrame({"id": [1, 2], "path": ["a.mp4", None]})
    read = {"reset": True, "column": "path"}
    assert read_paths(BaseEstimator(), table, **read) == ["a.mp4", None]
    assert read_paths(BaseEstimator(), [Path("a")], reset=True) == ["a"]
    with pytest.raises(ValueError, match="X must have one column, the paths"):
        read_paths(BaseEstimator(), table, reset=True)
    with pytest.raises(TypeError, match="X must hold paths .* but row 0 is a int: 1"):
        read_paths(BaseEstimator(), table, reset=True, column="id")


def test_the_creator_is_the_user_of_an_export():
    assert creator_column(["creator_id", "user_id"], "videos") == "creator_id"
    assert creator_column(["user_id"], "videos") == "user_id"
    with pytest.raises(ValueError, match=r"\['creator_id'\]; it .* 'user_id' is taken"):
        creator_column(["video_id"], "videos")
    with pytest.raises(ValueError, match=r"videos lacks the columns \['maker'\]"):
        creator_column(["user_id"], "videos", "maker")


def test_counts_are_integers():
    check_count("n", np.int64(1))
    check_count("n", "auto", auto=True)
    with pytest.raises(ValueError, match="n == 1, must be >= 2"):
        check_count("n", 1, min_val=2)
    with pytest.raises(TypeError, match="n must be an instance of"):
        check_count("n", 1.0)
    with pytest.raises(ValueError, match="n must be 'auto' or an integer"):
        check_count("n", "many", auto=True)


@pytest.mark.parametrize(
    "forms",
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\u2764\ufe0f", "\u2764"),
        ("\u212b", "\u00c5"),
        ("a\u200bb", "ab"),
        ("1\ufe0f\u20e3", "1\u20e3"),
        ("\ud55c", "\u1112\u1161\u11ab"),
    ],
)
def test_texts_that_look_the_same_are_the_same(forms):
    one, other = forms
    assert one != other
    assert same_text(one) == same_text(other)
    assert tag_name(f" #{one.upper()}") == tag_name(f"\uff03{other}")
    ids = check_ids(pd.Series([one, other, "z"]), "user_id")
    assert ids.nunique() == 2
    assert same_texts(pd.Series([one, None, other])).dropna().nunique() == 1


@pytest.mark.parametrize(
    "forms",
    [
        ("\U0001f3f3\u200d\U0001f308", "\U0001f3f3\U0001f308"),  # a flag, and two
        ("\U0001f44d\U0001f3fd", "\U0001f44d"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e"),
        ("e", "\u00e9"),
        ("\uff41", "a"),
    ],
)
def test_texts_that_look_different_are_different(forms):
    assert same_text(forms[0]) != same_text(forms[1])
