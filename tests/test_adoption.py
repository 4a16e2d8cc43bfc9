"""What `AdoptionHistory` counts, by hand, by law, and against planted leaks.

Margins of the leaks as in `test_leaks`: labels are noise, chance is within 0.1 of 0.5,
a leak that is found is above 0.9.
"""

import time
import warnings
from functools import partial

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import AdoptionHistory, VideoCatalog
from skchallenge._adoption import AdoptionRules
from skchallenge.exceptions import EmptyHistoryWarning, LeakageWarning


def catalog_of(rows, **options):
    columns = ["user_id", "create_time", "hashtags", "challenge"]
    rows = [(*row, None)[:4] for row in rows]
    videos = pd.DataFrame(rows, columns=columns)
    return VideoCatalog(videos.assign(video_id=range(len(videos))), **options)


def pairs(*rows, challenge=None):
    table = pd.DataFrame(rows, columns=["user_id", "time"])
    return table if challenge is None else table.assign(challenge=challenge)


def columns_of(catalog, X, **options):
    options = {"before": "time", "window": 14, **options}
    history = AdoptionHistory(catalog, **options).set_output(transform="pandas")
    columns = history.fit_transform(X)
    return columns.rename(columns=lambda c: c.removeprefix(f"{history.by}_"))


# -- by hand --------------------------------------------------------------------------

SPREAD = [
    ("a", 0, ["wave"]),
    ("b", 10, ["Wave", "#cats"]),
    ("c", 12, ["wave", "wave"]),
    ("b", 13, ["wave"]),  # again: no new adopter
    ("d", 20, ["wave", "cats"]),
    ("e", 20, ["wave"]),  # at the same time as d: neither is before the other
    ("f", 25, ["wave"]),
    ("f", 26, ["wave", "dogs"]),
]


def test_adoption_by_hand():
    X = pairs(("c", 99), ("d", 99), ("e", 99), ("f", 26), ("f", 99))
    found = columns_of(catalog_of(SPREAD), X)
    # Before c: a and b, only two. Before d: a at 0, out of the window from 6 on; b and
    # c are in it, two again. Before f at 25: b at 10 is out of the window from 11 on;
    # c, d and e are in, 3 of 5. Before f at 26: the window is from 12 on, which holds
    # c at 12; the same 3 of 5, and f's own use does not count.
    assert_allclose(found["burst_max"], [0, 0, 0, 0.6, 0.6])
    assert_allclose(found["burst_mean"], [0, 0, 0, 0.6, 0.6])
    assert_allclose(found["adopters_max"], [0, 0, 0, np.log(4), np.log(4)])
    assert_allclose(found["bursts_mean"], [0, 0, 0, np.log(1.6), np.log(1.6)])
    assert_allclose(found["spreading_mean"], [0, 0, 0, np.log(2), np.log(2)])
    both = (np.log(2) + np.log(3)) / 2
    assert_allclose(
        found["tags_mean"], [np.log(2), np.log(3), np.log(2), np.log(2), both]
    )
    assert_allclose(found["takes_part_max"], 0)


def test_both_ends_of_the_window_by_hand():
    """It holds its first moment, for others and for oneself, and not its last."""
    others = [("b", 6), ("c", 6), ("d", 7), ("e", 20), ("x", 6), ("x", 20)]
    rows = [(user, time, ["wave"]) for user, time in [("a", 5), *others]]
    found = columns_of(catalog_of(rows), pairs(("x", 99)), max_videos=1)
    assert_allclose(found["burst_max"], 3 / 4)  # b, c and d of a to d
    assert_allclose(found["adopters_max"], np.log(4))


def test_a_tag_that_is_used_all_the_time_does_not_spread():
    usual = [(f"u{i}", i, ["fyp"]) for i in range(100)]
    found = columns_of(catalog_of([*usual, ("x", 100, ["fyp"])]), pairs(("x", 200)))
    assert found["burst_max"][0] == 14 / 100
    assert found["spreading_max"][0] == found["adopters_max"][0] == 0


def test_recency_and_participations_by_hand():
    catalog = catalog_of(
        [("a", 0, []), ("a", 14, [], "dance"), ("a", 21, []), ("a", 28, ["x"], "sing")]
    )
    X = pairs(("a", 28), ("a", 0), ("nobody", 50))
    found = columns_of(catalog, X, max_videos=2)
    assert_allclose(found["recency_newest"], [14 / 21, 0, 0])  # 7 days old
    assert_allclose(found["recency_oldest"], [14 / 28, 0, 0])  # 14 days old
    assert_allclose(found["takes_part_mean"], [0.5, 0, 0])
    assert_allclose(found.iloc[1:], 0)


def test_challenges_by_hand():
    catalog = catalog_of(
        [*SPREAD, ("f", 27, ["wave"], "dance"), ("g", 28, [], "dance")]
    )
    X = pairs(("new", 99), ("new", 28), challenge="dance")
    found = columns_of(catalog, X, by="challenge", max_videos=1)
    assert "takes_part_mean" not in found
    # Before f at 27: d and e at 20, and c at 12 is out.
    assert_allclose(found["burst_max"], 0)
    assert_allclose(found["tags_max"], [0, np.log(2)])


def test_names_and_order_of_the_columns():
    names = columns_of(catalog_of(SPREAD), pairs(("c", 99))).columns.tolist()
    of_videos = ["adopters", "burst", "bursts", "spreading", "tags", "takes_part"]
    assert names == [
        *(f"{n}_mean" for n in of_videos),
        *(f"{n}_max" for n in of_videos),
        "recency_newest",
        "recency_oldest",
    ]


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_datetimes_give_what_numbers_give(unit):
    catalog, X = catalog_of(SPREAD), pairs(("c", 99), ("f", 26), ("f", 40))
    expected = columns_of(catalog, X)

    def day(times):
        return pd.to_datetime(times, unit="D").astype(f"datetime64[{unit}]")

    videos = catalog.videos
    days = VideoCatalog(videos.assign(create_time=day(videos["create_time"])))
    asked = X.assign(time=day(X["time"]))
    assert_frame_equal(columns_of(days, asked, window="14D"), expected)
    zoned = VideoCatalog(
        videos.assign(create_time=day(videos["create_time"]).dt.tz_localize("UTC"))
    )
    asked = asked.assign(time=asked["time"].dt.tz_localize("UTC"))
    assert_frame_equal(columns_of(zoned, asked, window="14D"), expected)
    from_polars = pl.DataFrame(X.to_dict("list"))
    assert_frame_equal(columns_of(catalog, from_polars), expected)


def slow_burst(rows, user, time, tags, window):
    """The largest burst of a video's tags, as the notes define it."""
    largest = 0.0
    for tag in tags:
        first = {}
        for who, when, names in sorted(rows, key=lambda r: r[1]):
            if tag in names and who != user:
                first.setdefault(who, when)
        earlier = sum(when < time for when in first.values())
        recent = sum(time - window <= when < time for when in first.values())
        if recent >= 3:
            largest = max(largest, recent / earlier)
    return largest


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdefg"),
        st.integers(0, 30),
        st.lists(st.sampled_from(["p", "q", "r"]), max_size=3),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20))
def test_bursts_are_what_the_notes_say(rows, window):
    catalog = catalog_of(rows)
    found = AdoptionHistory(catalog, before="time", window=window)._rules()
    burst = found.of_videos(np.arange(len(rows)))[:, 1]
    assert_allclose(burst, [slow_burst(rows, *row, window) for row in rows])


# -- laws -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.integers(0, 31), st.booleans())
def test_nothing_at_or_after_the_rows_time_matters(rows, others, cut_off, by_challenge):
    """Later videos are changed, dropped, and replaced by others."""
    dance = [(*row, "dance" if i % 3 == 0 else None) for i, row in enumerate(rows)]
    past = [row for row in dance if row[1] < cut_off]
    if not any(row[3] or not by_challenge for row in past):
        return  # `fit` refuses a table of empty histories
    later = [row for row in dance if row[1] >= cut_off]
    changed = [(u, t + cut_off, tags, "sing") for u, t, tags in others]
    by = "challenge" if by_challenge else "user_id"
    X = pairs(*[(user, cut_off) for user in "abcdefgh"])
    X = X.assign(challenge="dance")[[by, "time"]]
    expected = columns_of(catalog_of(past + later), X, by=by)
    for rest in ([], changed, later + changed):
        assert_array_equal(columns_of(catalog_of(past + rest), X, by=by), expected)


def test_appended_videos_count_at_the_next_transform():
    catalog, X = catalog_of(SPREAD[:-2]), pairs(("f", 99), ("a", 99))
    history = AdoptionHistory(catalog, before="time", window=14).fit(X)
    assert not history.transform(X)[0].any()
    new = catalog_of(SPREAD).videos.iloc[-2:]
    catalog.append(new)
    expected = columns_of(catalog_of(SPREAD), X)
    assert_array_equal(history.transform(X), expected)


def test_the_export_s_speed():
    """35,000 videos and 17,000 pairs within 3 seconds of this process."""
    rng = np.random.default_rng(0)
    n, n_users = 35_000, 1_266
    tags = np.array([f"tag{i}" for i in range(20_000)])
    videos = pd.DataFrame(
        {
            "video_id": np.arange(n),
            "user_id": rng.integers(0, n_users, n),
            "create_time": rng.integers(0, 10**7, n),
            "hashtags": [list(tags[rng.zipf(1.3, 5) % 20_000]) for _ in range(n)],
            "challenge": None,
        }
    )
    X = pairs(*zip(rng.integers(0, n_users, 17_000), [9 * 10**6] * 17_000, strict=True))
    history = AdoptionHistory(VideoCatalog(videos), before="time", window=10**6)
    start = time.process_time()
    assert np.isfinite(history.fit_transform(X)).all()
    assert time.process_time() - start < 3


# -- planted leaks, each with its rule off and on -------------------------------------

N_USERS, CUT_OFF = 300, 100


def noise(seed=0):
    """Users whose label is noise, each with three plain videos before the cut-off."""
    rng = np.random.default_rng(seed)
    users = [f"u{i:03d}" for i in range(N_USERS)]
    y = (rng.uniform(size=N_USERS) < 0.3).astype(int)
    X = pairs(*[(user, CUT_OFF) for user in users])
    rows = [(u, int(rng.integers(0, 100)), []) for u in users for _ in "123"]
    return rng, X, y, rows


def auc(catalog, X, y, **options):
    """AUC of held-out users, of folds pooled; labels of noise are below chance then."""
    history = AdoptionHistory(catalog, before="time", window=14, **options)
    model = make_pipeline(history, StandardScaler(), LogisticRegression())
    proba = cross_val_predict(
        model, X, y, cv=GroupKFold(3), groups=X["user_id"], method="predict_proba"
    )
    return roc_auc_score(y, proba[:, 1])


def at_chance(score):
    return abs(score - 0.5) < 0.1


def test_labels_of_noise_are_at_chance():
    """Twenty placebos: real columns, permuted labels."""
    rng, X, y, rows = noise()
    tags = [f"t{i}" for i in range(30)]
    rows = [(u, t, list(rng.choice(tags, 2))) for u, t, _ in rows]
    columns = columns_of(catalog_of(rows), X).to_numpy()
    assert (columns.std(axis=0) > 0).sum() >= 10
    model = make_pipeline(StandardScaler(), LogisticRegression())
    found = []
    for _ in range(20):
        label = rng.permutation(y)
        scores = []
        for train, test in GroupKFold(3).split(X, groups=X["user_id"]):
            proba = model.fit(columns[train], label[train]).predict_proba(columns[test])
            scores.append(roc_auc_score(label[test], proba[:, 1]))
        found.append(np.mean(scores))
    assert 0.48 < np.mean(found) < 0.52


def test_taking_up_what_spreads_is_found():
    """The signal itself, or the rules below would prove nothing."""
    _, X, y, rows = noise()
    rows += [(f"s{i}", 80 + i, ["hot"]) for i in range(5)]
    rows += [(u, 90, ["hot"]) for u in X["user_id"][y == 1]]
    assert auc(catalog_of(rows), X, y) > 0.9


def test_the_gain_fades_as_histories_end_earlier():
    """Users take up a tag at 90 with a chance that their label raises."""
    rng, X, y, rows = noise()
    rows += [(f"s{i}", 60 + i, ["hot"]) for i in range(5)]
    rows += [
        (u, int(rng.integers(66, 100)), ["hot"])
        for u in X["user_id"][(y == 1) | (rng.uniform(size=len(y)) < 0.1)]
    ]
    lags = (0, 10, 20, 40)
    scores = [auc(catalog_of(rows), X.assign(time=100 - lag), y) for lag in lags]
    assert scores[0] > 0.85
    assert np.all(np.diff(scores) < 0)
    assert at_chance(scores[-1])


def test_rule_videos_before_the_cut_off(monkeypatch):
    _, X, y, rows = noise()
    rows += [(f"s{i}", 140 + i, ["hot"]) for i in range(5)]
    rows += [(u, 150, ["hot"]) for u in X["user_id"][y == 1]]
    catalog = catalog_of(rows)
    assert at_chance(auc(catalog, X, y))
    real = AdoptionRules.history
    monkeypatch.setattr(
        AdoptionRules, "history", lambda self, X: real(self, X.assign(time=999))
    )
    assert auc(catalog, X, y) > 0.9


def test_rule_adopters_before_the_video(monkeypatch):
    """Who takes part tried tags, early, that became large only later."""
    _, X, y, rows = noise()
    for n, user in enumerate(X["user_id"]):
        rows.append((user, 50, [f"own{n}"]))
        if y[n]:
            rows += [(f"s{i}", 110, [f"own{n}"]) for i in range(5)]
    catalog = catalog_of(rows)
    assert at_chance(auc(catalog, X, y))
    real = AdoptionRules.adopters

    def of_all_times(self, uses, of):
        later = uses["time"].where(~of, 120)  # as if asked after the export
        recent, earlier = real(self, uses.assign(time=later), of)
        return recent, earlier

    monkeypatch.setattr(AdoptionRules, "adopters", of_all_times)
    assert auc(catalog, X, y) > 0.9


def test_rule_own_uses_do_not_count(monkeypatch):
    """Who takes part repeats a tag that two others had used."""
    _, X, y, rows = noise()
    rows = [(u, t // 2, []) for u, t, _ in rows]
    rows += [(f"s{i}", 80, ["kept", "left"]) for i in range(2)]
    for n, user in enumerate(X["user_id"]):
        tag = f"kept{n}"
        rows += [(f"s{i}{n}", 80, [tag]) for i in range(2)]
        rows += [(user, 85, [tag] if y[n] else [f"left{n}"]), (user, 90, [tag])]
    catalog = catalog_of(rows)
    # All tags of the newest video have two earlier users, whoever posted them before.
    assert at_chance(auc(catalog, X, y, max_videos=1))
    real = AdoptionRules.adopters

    def nobody_is_oneself(self, uses, of):
        strangers = uses.assign(user=uses["user"].where(~of, uses["user"].max() + 1))
        return real(self, strangers, of)

    monkeypatch.setattr(AdoptionRules, "adopters", nobody_is_oneself)
    assert auc(catalog, X, y, max_videos=1) > 0.9


def test_rule_the_edge_of_the_export():
    """Who takes part posts more later, so that fewer earlier videos are left."""
    rng, X, y, rows = noise()
    rows = []
    for user, label in zip(X["user_id"], y, strict=True):
        times = sorted(rng.uniform(0, 100, 30))
        later = sorted(rng.uniform(100, 130, 20 if label else 5))
        rows += [(user, t, []) for t in [*times, *later][-25:]]
    catalog = catalog_of(rows)
    with pytest.warns(LeakageWarning, match="exactly 25 videos .* summed up tells"):
        assert auc(catalog, X, y, max_videos=25) > 0.9
    assert at_chance(auc(catalog, X, y, max_videos=5))  # which everybody has


def test_rule_users_who_have_taken_part():
    """A pair of an early bird: the participation is the answer."""
    _, X, y, rows = noise()
    rows += [(u, 90, [], "dance") for u in X["user_id"][y == 1]]
    catalog = catalog_of(rows)
    assert auc(catalog, X, y) > 0.9  # X does not say which challenge is asked
    asked = X.assign(challenge="dance")
    history = AdoptionHistory(catalog, before="time", window=14)
    match = f"{y.sum()} rows of X, such as .* took part before 'time'.* Drop these"
    with pytest.raises(ValueError, match=match):
        history.fit(asked)
    history.fit(asked[y == 0])
    with pytest.warns(LeakageWarning, match="took part before 'time'"):
        history.transform(asked)
    others = [(u, t, tags, c and "sing") for u, t, tags, c in map(padded, rows)]
    others.append(("s", 1, [], "dance"))
    history = AdoptionHistory(catalog_of(others), before="time", window=14)
    history.fit(asked)  # that they took part in another is known, and no answer
    assert auc(catalog_of(rows), X[y == 0], np.arange((y == 0).sum()) % 2) < 0.6


def padded(row):
    return (*row, None)[:4]


# -- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"before": None}, ValueError, "before=None has no meaning here: .* Name"),
        ({"by": "song"}, ValueError, r"by must be one of \['user_id', 'challenge'\]"),
        ({"window": 0}, ValueError, "window must be positive, got 0"),
        ({"window": "14D"}, TypeError, "window must be a number in that unit, got"),
        ({"max_videos": 0}, ValueError, "max_videos == 0, must be >= 1"),
        ({"catalog": SPREAD}, TypeError, "catalog must be a VideoCatalog, got list"),
    ],
)
def test_bad_parameters_are_refused(options, error, match):
    options = {"catalog": catalog_of(SPREAD), "window": 14, "before": "time", **options}
    with pytest.raises(error, match=match):
        AdoptionHistory(**options).fit(pairs(("c", 99)))


def test_bad_tables_are_refused():
    history = AdoptionHistory(catalog_of(SPREAD), before="time", window=14)
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame"):
        history.fit([["c", 99]])
    with pytest.raises(ValueError, match=r"X lacks the columns \['time'\]"):
        history.fit(pairs(("c", 99))[["user_id"]])
    with pytest.raises(TypeError, match="user_id holds integers, but .* strings"):
        history.fit(pairs((1, 99)))
    with pytest.raises(ValueError, match="No row of X has any video in the catalog"):
        history.fit(pairs(("c", 0)))
    history.fit(pairs(("c", 99)))
    with pytest.warns(EmptyHistoryWarning, match="Every history by 'user_id' is empty"):
        history.transform(pairs(("c", 0)))


def test_tags_must_be_there_and_be_lists():
    videos = catalog_of(SPREAD).videos
    without = VideoCatalog(videos.drop(columns="hashtags"))
    options = {"before": "time", "window": 14}
    X = pairs(("c", 99))
    with pytest.raises(
        ValueError, match="catalog lacks .*name their column in VideoCa"
    ):
        AdoptionHistory(without, **options).fit_transform(X)
    text = VideoCatalog(videos.assign(hashtags="wave,cats"))
    with pytest.raises(TypeError, match="hashtags of the catalog must hold lists of"):
        AdoptionHistory(text, **options).fit_transform(X)
    named = videos.rename(columns={"hashtags": "labels"})
    found = AdoptionHistory(VideoCatalog(named, tags="labels"), **options)
    assert_array_equal(found.fit_transform(X), columns_of(VideoCatalog(videos), X))


def test_a_table_in_which_nobody_uses_tags_has_columns_of_zeros():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = columns_of(catalog_of([("a", 1, None), ("b", 2, [])]), pairs(("a", 9)))
    assert (found.drop(columns=["recency_newest", "recency_oldest"]) == 0).all(
        axis=None
    )


@pytest.mark.parametrize("by", ["user_id", "challenge"])
def test_contract(by):
    rng = np.random.default_rng(0)
    users = np.array([f"user{i}" for i in range(8)])
    rows = [
        (str(rng.choice(users)), int(t), [f"t{t % 3}", "fyp"], [None, "dance"][t % 2])
        for t in range(40)
    ]
    X = pairs(*[(user, int(rng.integers(5, 40))) for user in rng.choice(users, 20)])
    X = X.assign(challenge="dance")[[by, "time"]]
    factory = partial(
        AdoptionHistory, catalog_of(rows), before="time", by=by, window=14
    )
    assert contract.run(factory, X, tol=0) == 108
    assert factory().fit(X).transform(X).any(axis=0).sum() >= 8
