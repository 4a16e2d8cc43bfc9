"""Tables become bytes and come back exactly, or are left to pickle."""

import copy
import datetime as dt
import pickle
import pickletools
from decimal import Decimal

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.base import BaseEstimator

from skchallenge._state import _ENTRY, FramesAsBytes, pack, unpack

DAYS = pd.to_datetime(["2020-01-01", None, "2021-01-01"])
LETTERS = ["a", None, "c"]
OBJECTS = pd.Index([1, 3], dtype=object)
# Arrow gives strings back as pandas keeps them by default.
OTHER_STRING = pd.StringDtype(
    "python" if pd.StringDtype().storage == "pyarrow" else "pyarrow"
)
DECIMAL = pd.ArrowDtype(pa.decimal128(5, 2))

# Columns with a type of their own.
TYPED = {
    "int64": pd.Series([1, -(2**63), 2**63 - 1]),
    "uint64": pd.Series([1, 2**64 - 1, 3], dtype="uint64"),
    "int8": pd.Series([1, 2, 3], dtype="int8"),
    "float64": pd.Series([0.1, np.nan, -0.0]),
    "float32": pd.Series([0.1, np.inf, np.nan], dtype="float32"),
    "float16": pd.Series([0.1, 2, np.nan], dtype="float16"),
    "bool": pd.Series([True, False, True]),
    "Int64": pd.Series([1, None, 2**53 + 1], dtype="Int64"),
    "UInt8": pd.Series([1, None, 255], dtype="UInt8"),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "Float64": pd.Series([0.1, None, 2], dtype="Float64"),
    "text": pd.Series(LETTERS),
    "string": pd.Series(LETTERS, dtype="string"),
    "days in s": pd.Series(DAYS.as_unit("s")),
    "days in ns": pd.Series(DAYS.as_unit("ns")),
    "days in a zone": pd.Series(DAYS.tz_localize("Europe/Berlin")),
    "days with an offset": pd.Series(DAYS.tz_localize("+02:30")),
    "durations": pd.to_timedelta(pd.Series([1, None, 3]), unit="s"),
    "ordered": pd.Series(pd.Categorical([3, 1, 3], [3, 7, 1], ordered=True)),
    "categories": pd.Series(pd.Categorical([3, None, 1])),
    "months": pd.Series(pd.period_range("2020", periods=3, freq="M")),
    "intervals": pd.Series(pd.interval_range(0, 3)),
    "arrow": pd.Series([1, None, 3], dtype="int64[pyarrow]"),
}
if pd.__version__.startswith("2."):  # its class of offsets is not Arrow's: pickled
    del TYPED["days with an offset"]
# Columns of objects: each cell must keep its type.
MIXED = {
    "None and NaN": ["a", None, np.nan],
    "text and lists": ["dance", ["dance", "sing"], None],
    "lists of one length": [["a", "b"], ["c", "d"], ["e", None]],
    "truth and numbers": [True, 1, 1.0],
    "large and small": [10**40, -0.0, -np.inf],
    "records": [{"id": 3, "names": ["x"]}, [{"name": "x"}, {"name": None}], {}],
    "signs": ["\U0001f525", "\ud83d\udd25", "\ud800 \x00 \u2028"],
    "empty": ["", [], {}],
}
# What bytes cannot hold.
REFUSED = {
    "times among text": pd.Series([pd.Timestamp("2020"), "a", pd.NaT], dtype=object),
    "pandas.NA among text": pd.Series([pd.NA, "a", None], dtype=object),
    "bytes among text": pd.Series([b"a", "a", b""], dtype=object),
    "Python's dates": pd.Series([dt.date(2020, 1, 1), "a", None], dtype=object),
    "decimals": pd.Series([Decimal("1.10"), "a", None], dtype=object),
    "numbers as keys": pd.Series([{4: "x"}, 1, 2], dtype=object),
    "a class": pd.Series([pd.DataFrame, 1, 2], dtype=object),
    "long floats in a cell": pd.Series([np.longdouble(1), 2, 3], dtype=object),
    "too many digits": pd.Series([10**5000, 2, 3], dtype=object),
    "complex": pd.Series([1j, 2, 3]),
    "sparse": pd.Series(pd.arrays.SparseArray([0, 0, 1])),
    "mixed categories": pd.Series(pd.Categorical([1, "a", None])),
    "categories that are objects": pd.Series(pd.Categorical([1, None, 3], OBJECTS)),
    "strings kept otherwise": pd.Series(LETTERS, dtype=OTHER_STRING),
    "arrow text": pd.Series(LETTERS, dtype=pd.ArrowDtype(pa.string())),
    "arrow decimals": pd.Series([1, 2, None], dtype=DECIMAL),
    "arrow lists": pd.Series([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
}


def as_objects(cells):
    return pd.Series(cells, dtype=object)


def plain_table(**columns):
    return pd.DataFrame({"n": [1.5, np.nan, 2], "o": as_objects(LETTERS), **columns})


def outline(value):
    """Describe a cell: types, values and order, all the way down."""
    if isinstance(value, list | tuple):
        return type(value), [outline(item) for item in value]
    if isinstance(value, dict):
        return dict, [outline(item) for item in value.items()]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, outline(value.tolist())
    return type(value), repr(value)


@pytest.mark.parametrize("name", TYPED)
def test_typed_columns_come_back_exactly(name):
    table = plain_table(typed=TYPED[name])
    loaded = unpack(pack(table))
    assert_frame_equal(loaded, table, check_exact=True, check_column_type=True)
    assert loaded["typed"].dtype == table["typed"].dtype
    assert outline(loaded["o"].to_list()) == outline(LETTERS)


@pytest.mark.parametrize("name", MIXED)
def test_cells_of_objects_come_back_exactly(name):
    table = plain_table(cells=as_objects(MIXED[name]))
    loaded = unpack(pack(table))
    assert outline(loaded["cells"].to_list()) == outline(MIXED[name])
    assert loaded.dtypes.equals(table.dtypes)
    assert list(loaded) == list(table)


def test_sequences_in_cells_come_back_as_lists():
    cells = [np.array(["a", "b"], dtype=object), ("a", np.int64(1)), np.float32(0.5)]
    loaded = unpack(pack(plain_table(cells=as_objects(cells))))
    assert outline(loaded["cells"].to_list()) == outline([["a", "b"], ["a", 1], 0.5])


@pytest.mark.parametrize("name", REFUSED)
def test_what_bytes_cannot_hold_is_pickled_as_it_is(name):
    table = plain_table(odd=REFUSED[name])
    assert pack(table) is None
    holder = Holder(table)
    loaded = pickle.loads(pickle.dumps(holder)).table
    assert_frame_equal(loaded, pickle.loads(pickle.dumps(table)))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.set_axis(pd.Index(["a", "b"], name="both"), axis=1),
        lambda t: t.set_axis([7, 3], axis=1),
        lambda t: t.set_axis(pd.RangeIndex(3, 9, 2, name="row")),
        lambda t: t.set_axis(pd.Index(["x", "y", "x"])),
        lambda t: t.set_axis(pd.MultiIndex.from_product([["u"], [3, 1, 2]])),
        lambda t: t.assign(k=[2, 3, 1], s=["a", "b", "c"]).set_index(["s", "k"]),
        lambda t: t.set_axis(DAYS),
        lambda t: t.set_axis(DAYS.tz_localize("UTC").as_unit("s").rename("day")),
        lambda t: t.set_axis(DAYS - DAYS[0]),
        lambda t: t.set_axis(pd.period_range("2020", periods=3, freq="M")),
        lambda t: t.set_axis([DAYS, [3, 1, 2]]),
        lambda t: t.set_axis(pd.CategoricalIndex([3, None, 3], [7, 3], ordered=True)),
        lambda t: t.set_axis(pd.interval_range(0, 3, closed="left", name="k")),
        lambda t: t.set_axis([pd.CategoricalIndex(LETTERS), pd.interval_range(0, 3)]),
        lambda t: t.set_axis([b"a", b"b", b"c"]),
        lambda t: t.iloc[:0],
        lambda t: t[["o"]],
        lambda t: t[["n"]].iloc[::-1].reset_index(drop=True),
    ],
)
def test_index_names_and_order_come_back_exactly(change):
    table = change(plain_table())
    assert_frame_equal(unpack(pack(table)), table, check_exact=True)


def test_other_labels_are_left_to_pickle():
    table = plain_table()
    marked, child = plain_table(), Child(table)
    marked.attrs["source"] = "export"
    labels = [["a", 3], ["same", "same"], [("a", 1), ("b", 2)]]
    others = [table.set_axis(names, axis=1) for names in labels]
    named = table.rename_axis(index=0)
    for odd in (marked, child, named, table.set_axis([1j, 2j, 3j]), *others):
        assert pack(odd) is None
        assert pickle.loads(pickle.dumps(Holder(odd))).table.equals(odd)


@pytest.mark.parametrize("name", ["score", None, 3])
def test_series_come_back_exactly(name):
    users = pd.Index(["ann", "bob", "cy"], name="user")
    series = pd.Series([0.1, np.nan, 2], index=users, name=name)
    assert_series_equal(unpack(pack(series)), series, check_exact=True)


@pytest.mark.parametrize("name", TYPED)
def test_equal_tables_give_equal_bytes(name):
    """However they came about: as parts, in other order, or loaded."""
    table = plain_table(typed=TYPED[name])
    expected = pack(table)
    assert pack(unpack(expected)) == expected
    long = pd.concat([table.iloc[::-1]] * 4, ignore_index=True)
    long = long.set_axis(table.columns.copy(), axis=1)
    assert pack(long.iloc[3:6].iloc[::-1].reset_index(drop=True)) == expected


def test_what_stands_behind_missing_values_does_not_matter():
    mask = np.array([False, True, False])
    one, other = (pd.arrays.IntegerArray(np.array([1, n, 3]), mask) for n in (0, 99))
    assert pack(pd.DataFrame({"n": one})) == pack(pd.DataFrame({"n": other}))


def test_loaded_tables_can_be_changed():
    loaded = unpack(pack(plain_table()))
    loaded.loc[1, "n"] = 4
    assert loaded["n"].tolist() == [1.5, 4, 2]


def test_broken_bytes_are_refused():
    stream = pack(pd.DataFrame({"s": ["abc", "def", "ghi"]}, dtype="string"))
    ends = np.array([0, 3, 6, 9], dtype=np.int64).tobytes()
    if ends not in stream:
        ends = np.array([0, 3, 6, 9], dtype=np.int32).tobytes()
    far = ends[: -len(ends) // 4] + (b"\xff" * (len(ends) // 4 - 1) + b"\x7f")
    assert stream.count(ends) == 1
    with pytest.raises(pa.ArrowInvalid):
        unpack(stream.replace(ends, far))


class Child(pd.DataFrame):
    pass


class Holder(FramesAsBytes):
    def __init__(self, table):
        self.table = table
        self.name = "n"


class Fitted(FramesAsBytes, BaseEstimator):
    def fit(self, X):
        self.table_, self.column_ = X, X["n"]
        return self


def test_the_mixin_packs_tables_of_any_object():
    holder = Holder(plain_table())
    assert set(holder.__getstate__()) == {"name", "_packed", _ENTRY}
    for loaded in (pickle.loads(pickle.dumps(holder)), copy.deepcopy(holder)):
        assert_frame_equal(loaded.table, holder.table)
        assert set(vars(loaded)) == set(vars(holder))
    fitted = Fitted().fit(plain_table())
    data = pickle.dumps(fitted)
    names = [name for _, name, _ in pickletools.genops(data) if isinstance(name, str)]
    assert names
    assert not [name for name in names if name.startswith(("pandas", "numpy"))]
    loaded = pickle.loads(data)
    assert_frame_equal(loaded.table_, fitted.table_)
    assert_series_equal(loaded.column_, fitted.column_)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (
            plain_table(odd=REFUSED["a class"]),
            r"something else in the columns \['odd'\]",
        ),
        (plain_table().set_axis([1j, 2j, 3j]), "else as its labels or attrs"),
        (REFUSED["complex"].rename("z"), r"something else in the columns \['z'\]"),
    ],
)
def test_skops_is_told_what_it_cannot_save(table, match):
    holder = Holder(table)
    with pytest.raises(TypeError, match=rf"table 'table' must .*{match}.*use pickle"):
        skops.io.dumps(holder)
    for loaded in (
        pickle.loads(pickle.dumps(holder)),
        copy.deepcopy(holder),
        copy.copy(holder),
    ):
        assert type(loaded.table) is type(table)
        assert loaded.table.equals(table)
    assert holder.table is table
    assert joblib.hash(Holder(table.copy())) == joblib.hash(holder)
