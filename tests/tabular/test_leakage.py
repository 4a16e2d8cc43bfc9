import warnings

import numpy as np
import pandas as pd
import pytest

from skchallenge._guard import column_roles, warn_if_leaking
from skchallenge.exceptions import LeakageWarning
from skchallenge.tabular import MetadataFeaturizer


def study(n=1500, seed=0):
    """Views follow followers; likes follow views closely, comments loosely."""
    rng = np.random.default_rng(seed)
    followers = rng.normal(10, 2, n)
    views = followers - 1 + rng.normal(0, 1.5, n)
    likes = views - 2 + rng.normal(0, 0.4, n)
    comments = views - 5 + rng.normal(0, 1.5, n)
    table = pd.DataFrame(np.exp(np.c_[followers, views, likes, comments]).round())
    table.columns = ["n_followers", "n_plays", "n_likes", "n_comments"]
    ratio = views - followers
    return table, (ratio > np.median(ratio)).astype(int)


def suspects(table, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_leaking(table, y, column_roles(table.columns))
    assert all(w.category is LeakageWarning for w in caught)
    text = " ".join(str(w.message) for w in caught)
    listed = text.partition("label away: ")[2].partition(". Are they")[0]
    return {part.partition("'")[2].partition("'")[0] for part in listed.split("; ")} - {
        ""
    }


@pytest.mark.parametrize("change", [None, np.log1p, lambda v: (v - v.mean()) / v.std()])
def test_renamed_copies_warn_whatever_their_scale(change):
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"], also=table["n_likes"])
    X = X if change is None else change(X)
    assert suspects(X, y) == {"mine", "also"}


def test_a_copy_with_gaps_warns():
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"].where(table.index % 20 > 0))
    assert suspects(X, y) == {"mine"}


def test_rare_classes_do_not_hide_a_copy():
    table, _ = study(4000)
    ratio = table["n_plays"] / table["n_followers"]
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    assert suspects(X, (ratio > ratio.quantile(0.97)).astype(int)) == {"mine"}


def test_the_label_itself_warns_and_names_of_classes_do_not_matter():
    table, y = study()
    X = table[["n_followers"]].assign(label=y)
    assert suspects(X, np.where(y == 1, "viral", "not")) == {"label"}


def test_honest_columns_do_not_warn():
    table, y = study()
    rng = np.random.default_rng(1)
    X = table[["n_followers"]].assign(
        noise=rng.normal(size=len(y)),
        good=y + rng.normal(size=len(y)),  # AUC 0.76
        binary=rng.random(len(y)) < 0.1,
        constant=1.0,
        text="a",
        loose=table["n_comments"],  # documented: such a copy cannot be told
    )
    assert suspects(X, y) == set()


def test_nothing_is_said_where_nothing_can_be_known():
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    assert suspects(X, y) == {"mine"}
    assert suspects(X[:999], y[:999]) == set()  # too few rows
    assert suspects(X[["mine"]], y) == set()  # nothing is part of the label
    assert suspects(X, np.arange(len(y)) % 3) == set()  # three classes
    assert suspects(X, (np.arange(len(y)) < 2).astype(int)) == set()  # one is tiny
    by_followers = (X["n_followers"] > X["n_followers"].median()).astype(int)
    assert suspects(X, by_followers) == set()  # they tell the label alone


def test_labels_in_a_column_are_labels_and_several_columns_are_none():
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    assert suspects(X, y[:, None]) == {"mine"}
    assert suspects(X, np.c_[y, 1 - y]) == set()
    assert suspects(X[:500], np.c_[y, y][:500]) == set()


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels_are_left_to_the_classifier_to_refuse(missing):
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    labels = np.where(y, "viral", "not").astype(object)
    assert suspects(X, labels) == {"mine"}
    labels[3] = missing
    assert suspects(X, labels) == set()


def test_a_class_that_the_tried_rows_hardly_hold_is_let_be():
    """Five of 20,000 labels are one or two of the 5,000 rows that are tried."""
    table, _ = study(20_000)
    ratio = table["n_plays"] / table["n_followers"]
    y = np.zeros(len(table), dtype=int)
    y[np.argsort(ratio)[-5:]] = 1
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_leaking(X, y, column_roles(X))


def test_the_callers_generator_is_left_alone():
    table, y = study()
    X = table[["n_followers"]].assign(mine=table["n_plays"])
    np.random.seed(5)  # noqa: NPY002  # the global generator is the point
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    assert suspects(X, y) == {"mine"}
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_thousands_of_tags_do_not_warn():
    table, y = study()
    rng = np.random.default_rng(0)
    tags = pd.DataFrame(rng.random((len(y), 2000)) < 0.02).add_prefix("tag_")
    assert suspects(pd.concat([table[["n_followers"]], tags], axis=1), y) == set()


def test_the_warning_names_the_line_that_calls_fit():
    rng = np.random.default_rng(0)
    followers, views = rng.lognormal(10, 2, size=(2, 1000))
    table = pd.DataFrame({"n_followers": followers.round(), "mine": views})
    with pytest.warns(LeakageWarning, match="'mine'") as caught:
        MetadataFeaturizer().fit(table, views > followers)
    assert caught[0].filename == __file__
