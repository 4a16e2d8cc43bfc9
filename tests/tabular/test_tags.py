import json

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import MultiLabelBinarizer

from skchallenge.tabular import TagBinarizer

LISTS = [["fyp", "cat"], ["dog"], [], ["cat", "dog", "fyp"], ["fyp"], ["rare"]]


def dense(**options):
    return TagBinarizer(sparse_output=False, **options)


def test_marks_are_scikit_learns():
    X = pd.DataFrame({"hashtags": LISTS})
    oracle = MultiLabelBinarizer()
    expected = oracle.fit_transform(LISTS)
    binarizer = dense(min_frequency=1).fit(X)
    np.testing.assert_array_equal(binarizer.transform(X), expected)
    assert binarizer.tags_[0].tolist() == list(oracle.classes_)


def test_one_spelling_or_another_gives_the_same_marks():
    spellings = {
        "dicts": [[{"name": t, "id": 1} for t in tags] for tags in LISTS],
        "json": [json.dumps(tags) for tags in LISTS],
        "json dicts": [json.dumps([{"name": t} for t in tags]) for tags in LISTS],
        "python": [repr(tags) for tags in LISTS],
        "commas": [", ".join(tags) for tags in LISTS],
        "spaces and signs": [" ".join(f"#{t.upper()}" for t in tags) for tags in LISTS],
        "tuples": [tuple(tags) for tags in LISTS],
        "arrays": [np.array(tags, dtype=object) for tags in LISTS],
        "missing": [tags or None for tags in LISTS],
        "nan": [tags or np.nan for tags in LISTS],
        "NA": [tags or pd.NA for tags in LISTS],
    }
    expected = dense().fit_transform(pd.DataFrame({"hashtags": LISTS}))
    assert expected.sum() == 7
    for name, cells in spellings.items():
        X = pd.DataFrame({"hashtags": pd.Series(cells, dtype=object)})
        np.testing.assert_array_equal(dense().fit_transform(X), expected, name)


def test_what_is_missing_in_a_list_is_no_tag():
    cells = [["cat", np.nan, None], [{"name": pd.NA}, {"name": "dog"}], [np.nan]]
    binarizer = TagBinarizer(min_frequency=1, sparse_output=False)
    marks = binarizer.fit_transform(pd.DataFrame({"hashtags": cells}))
    assert binarizer.tags_[0].tolist() == ["cat", "dog"]
    assert marks.tolist() == [[1, 0], [0, 1], [0, 0]]


def test_effects_keep_their_spaces_and_mentions_lose_their_sign():
    X = pd.DataFrame(
        {"effectStickers": ["Green Screen, Bling"], "mentions": ["@ann @bob"]}
    )
    names = dense(min_frequency=1).fit(X).get_feature_names_out().tolist()
    assert names == [
        *("effectStickers_bling", "effectStickers_green screen"),
        *("mentions_ann", "mentions_bob"),
    ]


def test_rare_and_unseen_tags_make_no_column():
    X = pd.DataFrame({"hashtags": LISTS})
    binarizer = dense().fit(X)
    assert binarizer.tags_[0].tolist() == ["cat", "dog", "fyp"]
    new = pd.DataFrame({"hashtags": [["never", "CAT"], ["rare"]]})
    np.testing.assert_array_equal(binarizer.transform(new), [[1, 0, 0], [0, 0, 0]])


def test_sparse_is_the_default_and_the_same():
    X = pd.DataFrame({"hashtags": LISTS, "mentions": LISTS[::-1]})
    marks = TagBinarizer().fit_transform(X)
    assert sparse.issparse(marks)
    assert marks.format == "csr"
    np.testing.assert_array_equal(marks.toarray(), dense().fit_transform(X))


def test_a_column_without_frequent_tags_is_left_out():
    X = pd.DataFrame({"hashtags": LISTS, "mentions": None})
    binarizer = dense().fit(X)
    assert [len(tags) for tags in binarizer.tags_] == [3, 0]
    assert binarizer.transform(X).shape == (6, 3)
    match = r"no tag in at least min_frequency=2 .*\['mentions'\]. Lower"
    with pytest.raises(ValueError, match=match):
        dense().fit(X[["mentions"]])


@pytest.mark.parametrize("kind", ["series", "list", "polars", "polars series", "array"])
def test_columns_of_any_kind(kind):
    expected = dense().fit_transform(pd.DataFrame({"hashtags": LISTS}))
    cells = np.empty((len(LISTS), 1), dtype=object)
    cells[:, 0] = LISTS
    X = {
        "series": pd.Series(LISTS),
        "list": LISTS,
        "polars": pl.DataFrame({"hashtags": LISTS}),
        "polars series": pl.Series(LISTS),
        "array": cells,
    }[kind]
    np.testing.assert_array_equal(dense().fit_transform(X), expected)


def test_in_a_column_transformer():
    X = pd.DataFrame({"hashtags": LISTS, "duration_s": 1.0})
    for column in ("hashtags", ["hashtags"]):
        columns = make_column_transformer(
            (TagBinarizer(), column), remainder="passthrough", sparse_threshold=0
        )
        assert columns.fit_transform(X).shape == (6, 4)


def test_contract():
    X = pd.DataFrame({"hashtags": [*LISTS, ["cat"], None], "mentions": "@a @b"})
    assert contract.run(dense, X, tol=0) == 108


@pytest.mark.parametrize(
    "cells, error, match",
    [
        ([3.5], ValueError, r"X\['hashtags'\]: .*Row 0 .* holds 3.5: float is not a"),
        ([["a", {"title": "b"}]], ValueError, r"it has no 'name'"),
        (["['a' 'b']"], ValueError, r"the text of a NumPy array has no commas"),
        (["[broken"], ValueError, r"must be a list, the JSON or Python text of one"),
    ],
)
def test_bad_cells_are_refused(cells, error, match):
    with pytest.raises(error, match=match):
        TagBinarizer().fit(pd.DataFrame({"hashtags": pd.Series(cells, dtype=object)}))


def test_bad_parameters_are_refused():
    X = pd.DataFrame({"hashtags": LISTS})
    with pytest.raises(ValueError, match=r"min_frequency == 0, must be >= 1"):
        TagBinarizer(min_frequency=0).fit(X)
    with pytest.raises(TypeError, match=r"one column, of tags, got str"):
        TagBinarizer().fit("hashtags")
    with pytest.raises(TypeError, match=r"one column, of tags, got csr_array"):
        TagBinarizer().fit(sparse.csr_array(np.eye(3)))
