import pickle
import shutil
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from feed.films import (
    PLAIN,
    REQUIRED,
    choreography,
    copy_of,
    mirrored,
    performance,
    write,
)
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.base import clone, is_clusterer
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from skchallenge.embed import EmbeddingStore, MediaLimits
from skchallenge.exceptions import MediaError
from skchallenge.feed import DuplicateFinder, _duplicates
from skchallenge.feed import _similarity as similarity

HERE = MediaLimits(timeout_s=None)


def finder(**options):
    return DuplicateFinder(limits=HERE, **options)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Pictures, and paths, of four performers of one choreography in one room."""
    folder = tmp_path_factory.mktemp("originals")
    films = [performance(choreography(0), seed, room=9) for seed in range(4)]
    return films, [write(folder / f"{i}.mp4", f) for i, f in enumerate(films)]


# Kinds that another one says as much of.
_EASIER = (
    "resized",
    "trimmed, first half",
    "cropped by 10 %",
    "cropped by 20 %",
    "bars over an eighth, twice",
    "speed 0.9",
    "speed 1.1",
)


@pytest.fixture(scope="module")
def copies(originals, tmp_path_factory):
    """Paths of a few copies of the first performer's video."""
    folder = tmp_path_factory.mktemp("copies")
    kinds = ["re-encoded", "captioned", "cropped by 25 %", "speed 1.25"]
    return [copy(originals, kind, folder) for kind in kinds]


def copy(originals, kind, folder):
    path = folder / f"{list(REQUIRED).index(kind)}.mp4"
    return copy_of(kind, originals[0][0], np.arange(60) / 20, path)


@pytest.fixture(scope="module")
def collection(originals, tmp_path_factory):
    """Six rows in three groups: 0, 1, 0, 2, 1, 0."""
    folder = tmp_path_factory.mktemp("collection")
    (a, b, _, _), (path_a, path_b, path_c, _) = originals
    mirror = write(folder / "mirror.mp4", [mirrored(p) for p in a])
    half = write(folder / "half.mp4", b[20:50])
    return [path_a, path_b, mirror, path_c, half, path_a]


@pytest.fixture(scope="module")
def of_originals(originals):
    return finder().fit(originals[1])


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] * (k in _EASIER)) for k in REQUIRED],
)
def test_copies_are_found(of_originals, originals, kind, tmp_path):
    table = of_originals.duplicates([copy(originals, kind, tmp_path)])
    assert table["match"].tolist() == [0]
    assert table["mirrored"].tolist() == [kind == "mirrored"]
    start = {"trimmed, middle half": 0.7, "trimmed, last half": 1.5}.get(kind, 0)
    tolerance = 0.06 if kind in PLAIN else 0.12
    assert table["lag_s"][0] == pytest.approx(start, abs=tolerance)
    assert table["speed"][0] == pytest.approx(REQUIRED[kind].speed, rel=0.03)


def test_performers_of_one_choreography_are_not(originals):
    fitted = finder().fit(originals[1])
    assert fitted.labels_.tolist() == [0, 1, 2, 3]
    assert len(fitted.duplicates_) == 0
    assert fitted.comparable_.all()
    assert fitted.n_candidates_ > 0  # their pictures are alike: motion decides


def test_groups_are_numbered_by_their_first_row(collection):
    fitted = finder().fit(collection)
    assert fitted.labels_.tolist() == [0, 1, 0, 2, 1, 0]
    pairs = fitted.duplicates_[["row", "match"]].to_numpy().tolist()
    assert sorted(pairs) == [[2, 0], [4, 1], [5, 0], [5, 2]]
    assert fitted.duplicates_.columns.tolist() == [
        "row",
        "match",
        "score",
        "lag_s",
        "speed",
        "mirrored",
    ]
    assert_array_equal(finder().fit_predict(collection), fitted.labels_)


def test_the_partition_does_not_depend_on_the_order(collection):
    labels = finder().fit(collection).labels_
    order = np.random.default_rng(0).permutation(len(collection))
    moved = finder().fit([collection[i] for i in order]).labels_
    same = labels[order][:, None] == labels[order]
    assert_array_equal(moved[:, None] == moved, same)


def test_predict_of_the_fitted_rows_gives_their_labels(collection):
    fitted = finder().fit(collection)
    assert_array_equal(fitted.predict(collection), fitted.labels_)


def test_a_new_video_has_no_label(originals):
    fitted = finder().fit(originals[1][:2])
    assert fitted.predict([originals[1][3], originals[1][1]]).tolist() == [-1, 1]


def test_the_threshold_is_the_lowest_score(originals, copies):
    n_found = []
    for threshold in (0.8, 0.95, 0.9999):
        fitted = finder(threshold=threshold).fit(originals[1][:1])
        scores = fitted.duplicates(copies)["score"]
        assert scores.ge(threshold).all()
        n_found.append(len(scores))
    assert n_found[0] == len(copies) > n_found[1] > n_found[2]


def test_the_best_match_comes_first(collection):
    table = finder(threshold=1e-9).fit(collection).duplicates(collection)
    for _, rows in table.groupby("row"):
        assert rows["score"].is_monotonic_decreasing
        assert rows["score"].iloc[0] == pytest.approx(1, abs=1e-4)
    assert table["row"].is_monotonic_increasing


@pytest.mark.parametrize(
    "wrap",
    [
        np.array,
        pd.Series,
        lambda p: pd.DataFrame({"path": p}),
        lambda p: pl.DataFrame({"path": p}),
        lambda p: np.array(p, object)[:, None],
    ],
)
def test_any_column_of_paths(collection, wrap):
    fitted = finder().fit(wrap(collection))
    assert fitted.labels_.tolist() == [0, 1, 0, 2, 1, 0]
    assert fitted.n_features_in_ == 1


def test_threads_change_nothing(collection):
    one, two = (finder(n_jobs=n).fit(collection) for n in (1, 2))
    assert_frame_equal(one.duplicates_, two.duplicates_)


# The store


def test_a_store_gives_the_same_and_decodes_once(collection, tmp_path, monkeypatch):
    plain = finder().fit(collection)
    store = EmbeddingStore(tmp_path / "signatures.db")
    cold = finder(store=store).fit(collection)
    assert_frame_equal(cold.duplicates_, plain.duplicates_)
    n_contents = len({Path(path).read_bytes() for path in set(collection)})
    assert len(store) == n_contents

    def refuse(*_args, **_options):
        raise AssertionError("a file was decoded")

    monkeypatch.setattr(similarity, "read_luma_thumbnails", refuse)
    warm = finder(store=store).fit(collection)
    assert_frame_equal(warm.duplicates_, plain.duplicates_)
    with pytest.raises(AssertionError, match="a file was decoded"):
        finder().fit(collection)


def test_damaged_signatures_are_computed_again(collection, tmp_path):
    store = EmbeddingStore(tmp_path / "signatures.db")
    plain = finder(store=store).fit(collection)
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute("DELETE FROM records WHERE id = 3")
        connection.execute("UPDATE records SET data = zeroblob(256) WHERE id = 4")
    connection.close()
    again = finder(store=store).fit(collection)
    assert_frame_equal(again.duplicates_, plain.duplicates_)
    assert store.verify()["damaged"] == 0


def test_a_file_that_changes_is_read_anew(originals, tmp_path):
    path = tmp_path / "a.mp4"
    store = tmp_path / "signatures.db"
    fitted = finder(store=store).fit(originals[1])
    for row in (0, 1):
        shutil.copyfile(originals[1][row], path)
        assert fitted.predict([path]).tolist() == [row]


def test_ctrl_c_between_two_comparisons_ends_the_others(originals, monkeypatch):
    class Interrupts(float):
        def __ge__(self, threshold):
            raise KeyboardInterrupt

    def slow(*cells):
        compared.append(1)
        time.sleep(0.01)
        return SimpleNamespace(score=Interrupts(1), lag=0, speed=1, is_mirrored=False)

    path, compared = originals[1][0], []
    fitted = finder().fit([path])
    monkeypatch.setattr(_duplicates, "compare", slow)
    with pytest.raises(KeyboardInterrupt):
        fitted.duplicates([path] * 60)
    assert len(compared) < 30


# Bad input


@pytest.fixture
def bad_files(originals, tmp_path):
    notes = tmp_path / "notes.mp4"
    notes.write_text("not a film")
    return [originals[1][0], str(notes), None, originals[1][0], tmp_path / "gone.mp4"]


def test_the_store_among_the_files_is_a_bad_file(originals, tmp_path):
    store = EmbeddingStore(tmp_path / "signatures.db")
    files = [originals[1][0], store.path]
    fitted = finder(on_error="ignore", store=store).fit(files)
    assert fitted.errors_ == {1: f"{store.path}: is a file of the store."}


def test_bad_files_are_named_with_their_row(bad_files):
    with pytest.raises(MediaError, match=r"Row 2: is missing: no path.*on_error"):
        finder().fit(bad_files)
    rest = bad_files[:2]
    with pytest.raises(MediaError, match=r"Row 1: .*notes.mp4: cannot be decoded"):
        finder().fit(rest)
    with pytest.raises(MediaError, match=r"Row 1: .*cannot be opened"):
        finder().fit([bad_files[0]]).predict([bad_files[0], "gone.mp4"])


@pytest.mark.parametrize("store", [False, True])
def test_bad_files_are_left_out_if_asked(bad_files, store, tmp_path):
    store = str(tmp_path / "signatures.db") if store else None
    fitted = finder(on_error="ignore", store=store).fit(bad_files)
    assert fitted.labels_.tolist() == [0, -1, -1, 0, -1]
    assert list(fitted.errors_) == [1, 2, 4]
    assert "notes.mp4: cannot be decoded" in fitted.errors_[1]
    assert fitted.comparable_.tolist() == [True, False, False, True, False]
    assert fitted.predict(bad_files).tolist() == [0, -1, -1, 0, -1]


def test_only_bad_files(bad_files):
    fitted = finder(on_error="ignore").fit(bad_files[1:3])
    assert fitted.labels_.tolist() == [-1, -1]
    assert fitted.predict(bad_files[:1]).tolist() == [-1]


def test_what_stands_still_is_not_compared(clip_paths_still):
    fitted = finder().fit(clip_paths_still)
    assert fitted.labels_.tolist() == [0, 1, 2]
    assert not fitted.comparable_.any()


@pytest.fixture
def clip_paths_still(originals, tmp_path):
    picture = originals[0][0][0]
    still = write(tmp_path / "still.mp4", [picture] * 30)
    short = write(tmp_path / "short.mp4", originals[0][0][:10])
    return [still, still, short]


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5])
def test_thresholds_are_shares(threshold):
    with pytest.raises(ValueError, match="threshold == "):
        finder(threshold=threshold).fit(["a.mp4"])


def test_wrong_parameters():
    with pytest.raises(TypeError, match="threshold must be an instance of"):
        finder(threshold="high").fit(["a.mp4"])
    with pytest.raises(ValueError, match="threshold must be a finite number, got nan"):
        finder(threshold=float("nan")).fit(["a.mp4"])
    with pytest.raises(ValueError, match="on_error must be one of .*got 'skip'"):
        finder(on_error="skip").fit(["a.mp4"])
    with pytest.raises(TypeError, match="limits must be a MediaLimits or None"):
        DuplicateFinder(limits=3).fit(["a.mp4"])
    with pytest.raises(TypeError, match="store must be None, a path or"):
        finder(store=3).fit(["a.mp4"])


def test_wrong_tables(originals):
    with pytest.raises(TypeError, match=r"X must hold paths .*row 0 is a int"):
        finder().fit(np.arange(3))
    two = pd.DataFrame({"path": originals[1], "cover": originals[1]})
    with pytest.raises(ValueError, match=r"one column, the paths .*got 2"):
        finder().fit(two)


# The contract


def test_contract(tmp_path):
    # Each at home, so that only the copy is compared with anything.
    films = [performance(choreography(i), i, size=64)[:20] for i in range(7)]
    films.append([mirrored(picture) for picture in films[0]])
    paths = [write(tmp_path / f"{i}.mp4", film) for i, film in enumerate(films)]
    X = pd.DataFrame({"path": paths})
    # Rows of predict are looked up, one by one.
    assert contract.run(finder, X, tol=0) >= 60
    assert finder().fit_predict(X).tolist() == [0, 1, 2, 3, 4, 5, 6, 0]


def test_checks_of_scikit_learn():
    # Most checks feed numbers, which are refused: scikit-learn itself says so.
    with pytest.warns(SkipTestWarning, match="requires input  of type"):
        results = check_estimator(finder(), on_skip=None, on_fail=None)
    assert [r["status"] for r in results] == ["passed"]
    assert is_clusterer(finder())


def test_a_pickle_answers_without_the_files(originals, copies, tmp_path):
    fitted = finder().fit(originals[1])
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_frame_equal(loaded.duplicates(copies), fitted.duplicates(copies))
    assert not hasattr(clone(fitted), "labels_")
