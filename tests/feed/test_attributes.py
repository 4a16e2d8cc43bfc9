"""Users who have their attributes in common: a group, which a new user starts in."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.utils.estimator_checks import check_estimator

from skchallenge.feed import BatchRollout, FeedWorkflow, GenreProfiler
from skchallenge.feed._profile import popularity

COLUMNS = {"user": "user", "genre": "genre", "video": "video"}
BOTH = ("country", "age")


def make_log(sd, *, n_users=600, n=30, n_genres=6, n_videos=300, seed=0):
    """Draw a log in which groups differ in their liking of genres, by this sd."""
    rng = np.random.default_rng(seed)
    user, video = (
        np.repeat(np.arange(n_users), n),
        rng.integers(0, n_videos, n_users * n),
    )
    genre = rng.integers(0, n_genres, n_videos)[video]
    country, age = rng.integers(0, 4, n_users), rng.integers(0, 3, n_users)
    liking = rng.normal(0, sd, (4, 3, n_genres))
    odds = rng.normal(0, 0.7, n_users)[user] + rng.normal(0, 0.5, n_videos)[video]
    odds += rng.normal(0, 0.4, (n_users, n_genres))[user, genre] - 0.3
    odds += liking[country[user], age[user], genre]
    y = (rng.uniform(size=len(odds)) < expit(odds)).astype(int)
    X = pd.DataFrame({"user": user, "genre": genre, "video": video})
    X["time"], X["age"] = np.tile(np.arange(n), n_users), age[user]
    X["country"] = np.array(["DE", "FR", "IT", "PL"])[country][user]
    return X, y


def user_aucs(y, score, user):
    """Return the AUC of each user with both outcomes."""
    table = pd.DataFrame({"user": user, "y": y})
    table["rank"] = pd.Series(score).groupby(user).transform(rankdata)
    ranks = table["rank"].mul(table["y"]).groupby(user).sum()
    n, yes = table.groupby("user").size(), table.groupby("user")["y"].sum()
    both = (yes > 0) & (yes < n)
    return ((ranks - yes * (yes + 1) / 2) / (yes * (n - yes)))[both]


def profiles(X, y):
    """Fit with and without attributes."""
    return [GenreProfiler(**COLUMNS, attributes=a).fit(X, y) for a in (BOTH, ())]


def test_a_score_shrinks_to_the_others_of_its_group_as_worked_by_hand():
    X = pd.DataFrame({"user": list("aaabbc"), "genre": list("xxyxxx")})
    X["country"] = ["DE"] * 5 + ["FR"]
    points = np.array([10.0, 8, 3, 1, 2, 6])
    fitted = GenreProfiler("user", "genre", attributes=["country"], shrinkage=2.0)
    profile = fitted.fit(X, [1, 1, 1, 0, 0, 0], points=points).profile_
    mean = 30 / 6
    x, y = (27 + 2 * mean) / (5 + 2), (3 + 2 * mean) / (1 + 2)
    a = (18 + 2 * (3 + 2 * x) / (2 + 2)) / (2 + 2)  # b had 3 points of 2
    b = (3 + 2 * (18 + 2 * x) / (2 + 2)) / (2 + 2)
    expected = [a, (3 + 2 * y) / 3, b, (6 + 2 * x) / 3]  # nobody else: the genre's
    np.testing.assert_allclose(profile["score"], expected, rtol=1e-12)


def test_a_planted_effect_is_recovered_for_cold_users_and_an_absent_one_is_not():
    for sd in (1.0, 0.0):
        for seed in range(2):
            X, y = make_log(sd, seed=seed)
            cold = (X["user"] >= 400).to_numpy()
            grouped, plain = profiles(X[~cold], y[~cold])
            user, popular = X["user"][cold].to_numpy(), popularity(plain._counts.pairs)
            found = user_aucs(y[cold], grouped.predict_proba(X[cold])[:, 1], user)
            for start in (
                plain.predict_proba(X[cold])[:, 1],
                X["video"][cold].map(popular["score"]).to_numpy(),
            ):
                gain = found - user_aucs(y[cold], start, user)
                error = 2 * gain.std() / np.sqrt(len(gain))
                if sd:
                    assert gain.mean() - error > 0.03
                else:
                    assert abs(gain.mean()) < max(0.003, error)


def test_known_users_lose_nothing_to_groups():
    """Their own counts are not believed twice, as their group's and as theirs."""
    for sd, low in ((1.0, 0.004), (0.0, -0.001)):
        X, y = make_log(sd)
        late = (X["time"] >= 20).to_numpy()
        user = X["user"][late].to_numpy()
        with_group, without = (
            user_aucs(y[late], model.predict_proba(X[late])[:, 1], user)
            for model in profiles(X[~late], y[~late])
        )
        assert (with_group - without).mean() > low


def test_what_a_group_is_shown_does_not_count_twice():
    """Each country sees its own videos, so their rates hold what the country likes."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(400), 50)
    country, genre = user % 2, rng.integers(0, 2, len(user))
    video = genre + 2 * country + 4 * rng.integers(0, 20, len(user))
    rate = np.where(country == genre, 0.7, 0.3)
    y = (rng.uniform(size=len(user)) < rate).astype(int)
    X = pd.DataFrame({"user": user, "genre": genre, "video": video, "country": country})
    fitted = GenreProfiler(**COLUMNS, attributes=("country",)).fit(X, y)
    cold = X.assign(user=999).drop_duplicates(["country", "genre", "video"])
    expected = np.where(cold["country"] == cold["genre"], 0.7, 0.3)
    np.testing.assert_allclose(fitted.predict_proba(cold)[:, 1], expected, atol=0.08)
    # The other country's videos are judged by who has seen them.
    guests = cold.assign(country=1 - cold["country"])
    found = fitted.predict_proba(guests)[:, 1]
    np.testing.assert_allclose(found, 1 - expected, atol=0.08)


def test_users_who_differ_by_themselves_make_no_group():
    """Few users in many groups: their rates differ much, and say nothing of others."""
    X, y = make_log(0.0, n_users=120, n=60)
    X["country"] = X["user"] % 40  # 3 users each, whose own rates have a sd of .7
    fitted = GenreProfiler(**COLUMNS, attributes=("country",)).fit(X, y)
    assert fitted._rates.group.abs().max() < 0.1
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1, 40)[X["country"]]  # here countries differ
    y = (rng.uniform(size=len(y)) < expit(odds)).astype(int)
    fitted = GenreProfiler(**COLUMNS, attributes=("country",)).fit(X, y)
    assert fitted._rates.group.abs().max() > 0.5


@pytest.mark.parametrize("half_life", [None, 7.0])
def test_partial_fit_equals_fit(half_life):
    X, y = make_log(1.5, n_users=60)
    rng = np.random.default_rng(1)
    X["country"] = X["country"].where(rng.uniform(size=len(y)) < 0.8, None)
    moved = (X["user"] % 5 == 0) & (X["time"] > 12)
    X["country"] = X["country"].mask(moved, "ES")
    weight, points = rng.uniform(0, 2, len(y)), rng.uniform(0, 30, len(y))
    options = COLUMNS | {"time": "time", "half_life": half_life, "attributes": BOTH}
    whole = GenreProfiler(**options).fit(X, y, weight, points)
    parts = GenreProfiler(**options)
    order = X["time"].to_numpy().argsort() if half_life else rng.permutation(len(y))
    for rows in np.array_split(order, 7):
        parts.partial_fit(
            X.iloc[rows], y[rows], sample_weight=weight[rows], points=points[rows]
        )
    pd.testing.assert_frame_equal(parts.profile_, whole.profile_, rtol=1e-9)
    pd.testing.assert_series_equal(parts._rates.member, whole._rates.member)
    np.testing.assert_allclose(
        parts.predict_proba(X), whole.predict_proba(X), rtol=1e-4, atol=1e-6
    )
    assert "ES, 1" in set(whole._rates.member)
    assert whole._rates.group.abs().max() > 0.3
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.predict_proba(X), whole.predict_proba(X))
    again.partial_fit(X, y)


def test_without_attributes_all_is_as_before():
    X, y = make_log(1.0, n_users=60)
    without = GenreProfiler(**COLUMNS, random_state=0).fit(X, y)
    for missing in (None, np.nan, "", "  "):
        nobody = X.assign(country=missing)
        fitted = GenreProfiler(**COLUMNS, attributes=BOTH, random_state=0)
        fitted.fit(nobody, y)
        found = fitted.predict_proba(X)  # a group that nobody named is unknown
        np.testing.assert_array_equal(found, without.predict_proba(X))
        pd.testing.assert_frame_equal(fitted.profile_, without.profile_)
        told = X.loc[[0, 1], ["country", "age"]]
        lists = fitted.recommend([3, 999], attributes=told)
        pd.testing.assert_frame_equal(lists, without.recommend([3, 999]))


def test_which_group_a_user_belongs_to():
    X, y = make_log(1.0)
    fitted, plain = profiles(X, y)
    known = X[X["user"] == 7]
    expected = fitted.predict_proba(known)
    for country in ("DE", "PL", "ES", None):  # what a row of a known user says
        found = fitted.predict_proba(known.assign(country=country))
        np.testing.assert_array_equal(found, expected)
    cold = known.assign(user=9999)
    groups = {c: fitted.predict_proba(cold.assign(country=c)) for c in ("DE", "PL")}
    assert np.abs(groups["DE"] - groups["PL"]).max() > 0.1
    strange = fitted.predict_proba(cold.assign(country="ES"))
    for nobody in (cold.assign(country=None), cold.assign(age=np.nan)):
        np.testing.assert_array_equal(fitted.predict_proba(nobody), strange)
    np.testing.assert_allclose(strange, plain.predict_proba(cold), atol=0.06)

    # Most impressions decide, of equals the first by name; one without decides nothing.
    rows = pd.DataFrame({"user": ["a"] * 6, "genre": "x", "time": range(6)})
    for told, expected in (
        (["PL", "DE", "PL", None, None, None], "PL"),
        (["PL", "DE", "PL", "DE", None, None], "DE"),
        ([None, None, None, None, None, "PL"], "PL"),
    ):
        model = GenreProfiler("user", "genre", attributes=("country",))
        model.fit(rows.assign(country=told), [0, 1] * 3)
        assert model._rates.member.to_dict() == {"a": expected}
    moved = rows.assign(country=["DE"] * 4 + ["PL"] * 2)
    model = GenreProfiler(
        "user", "genre", time="time", half_life=1.0, attributes=("country",)
    )
    assert model.fit(moved, [0, 1] * 3)._rates.member["a"] == "PL"


def test_groups_have_one_name_each():
    X = pd.DataFrame({"user": range(6), "genre": "x", "y": [0, 1] * 3})
    X["one"] = ["a, b", "a", "a", " a", "a\\", "a"]
    X["two"] = ["c", "b, c", "b", "b", ",b", "\\,b"]
    fitted = GenreProfiler("user", "genre", attributes=("one", "two")).fit(X, X["y"])
    names = fitted._rates.member
    assert names[2] == names[3] == "a, b"
    assert names.nunique() == 5
    floats = X.assign(one=[1.0, 2.0, np.nan, 1.0, 1.5, 2.0])
    ints = X.assign(one=pd.array([1, 2, None, 1, None, 2], dtype="Int64"))
    found = [
        GenreProfiler("user", "genre", attributes=("one",)).fit(t, X["y"])._rates.member
        for t in (floats, ints)
    ]
    assert found[0].to_dict() == {0: "1", 1: "2", 3: "1", 4: "1.5", 5: "2"}
    assert found[1].to_dict() == {0: "1", 1: "2", 3: "1", 5: "2"}


def test_recommendations_of_cold_users_start_where_their_group_is():
    X, y = make_log(1.5)
    fitted, plain = profiles(X, y)
    told = pd.DataFrame({"age": [0, 0, 1, np.nan], "country": ["DE", "PL", "ES", "DE"]})
    table = fitted.recommend([7001, 7002, 7003, 7004], k=300, attributes=told)
    assert table.groupby("user")["reason"].unique().str[0].to_dict() == {
        7001: "group", 7002: "group", 7003: "cold", 7004: "cold",
    }  # fmt: skip
    popular = plain.recommend([7003], k=300)
    for user in (7003, 7004):
        own = table[table["user"] == user].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.assign(user=7003), popular)
    genre = X.drop_duplicates("video").set_index("video")["genre"]
    for user, country in ((7001, "DE"), (7002, "PL")):
        own = table[table["user"] == user]
        assert own["score"].is_monotonic_decreasing
        assert own["video"].is_unique
        liked = fitted._rates.group[f"{country}, 0"]
        assert liked[genre[own["video"].head(60)]].mean() > liked.mean() + 0.5
    by_position = told[["country", "age"]].to_numpy()
    again = fitted.recommend([7001, 7002, 7003, 7004], k=300, attributes=by_position)
    pd.testing.assert_frame_equal(again, table)


def test_recommendations_of_known_users_have_the_predicted_probabilities():
    X, y = make_log(1.5, n_users=60)
    fitted = GenreProfiler(**COLUMNS, attributes=BOTH, exploration=0.0).fit(X, y)
    genre = X.drop_duplicates("video").set_index("video")["genre"]
    table = fitted.recommend([3, 7], k=50)
    rows = table[["user"]].assign(genre=genre[table["video"]].to_numpy())
    rows = rows.assign(video=table["video"], time=0, country=None, age=None)
    found = fitted.predict_proba(rows[X.columns])[:, 1]
    np.testing.assert_allclose(found, table["score"])
    assert (table["reason"] == "profile").all()


def test_wrong_attributes_are_refused():
    X, y = make_log(1.0, n_users=20)
    fit = lambda a, X=X: GenreProfiler(**COLUMNS, attributes=a).fit(X, y)  # noqa: E731
    with pytest.raises(TypeError, match="attributes must be a list or tuple .*'age'"):
        fit("age")
    with pytest.raises(ValueError, match="attributes must be a column of X, got 'sex'"):
        fit(("sex",))
    with pytest.raises(TypeError, match="attribute 'age' must hold .* all of one kind"):
        fit(("age",), X.astype({"age": object}).replace({"age": {0: "old"}}))
    fitted = fit(BOTH)
    with pytest.raises(ValueError, match=r"attributes must be those of the first call"):
        fitted.set_params(attributes=("age",)).partial_fit(X, y)
    fitted = fit(BOTH)
    with pytest.raises(ValueError, match=r"one row for each of 2 users .* \(1, 2\)"):
        fitted.recommend([1, 2], attributes=[["DE", 1]])
    with pytest.raises(
        ValueError, match=r"one column for each of \['country', 'age'\]"
    ):
        fitted.recommend([1, 2], attributes=[["DE"], ["PL"]])
    with pytest.raises(ValueError, match=r"attributes lacks the columns \['age'\]"):
        fitted.recommend([1], attributes=pd.DataFrame({"country": ["DE"]}))


@pytest.mark.slow  # half a minute; `test_common` checks it without attributes
def test_scikit_learns_contract_holds_with_attributes():
    """The last column is the group; in the checks' arrays it may be the only one."""
    model = GenreProfiler(attributes=(-1,))
    results = check_estimator(model, on_fail=None, on_skip=None)
    status = pd.Series([result["status"] for result in results]).value_counts()
    assert status.get("failed", 0) == 0
    assert status["passed"] == 62


def rollout_log(n_users=400, seed=0):
    """Draw a log in which one country completes cats, the other dances."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), 40)
    log = pd.DataFrame({"user_id": user, "video_id": rng.integers(0, 20, len(user))})
    log["genre"] = np.where(log["video_id"] % 2 == 0, "cats", "dance")
    log["country"] = np.where(user % 2 == 0, "DE", "FR")
    likes = (log["genre"] == "cats") == (log["country"] == "DE")
    done = rng.uniform(size=len(user)) < np.where(likes, 0.6, 0.1)
    log["completion"], log["rewatch"] = done * 1.0, 0.0
    return log.assign(share=0.0, comment=0.0, like=0.0)


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_a_rollout_spans_the_groups():
    log = rollout_log()
    log.loc[log["user_id"] < 10, "country"] = None  # five of each
    options = {"threshold": 3.0, "attributes": ("country",), "random_state": 0}
    rollout = BatchRollout((30, 100), **options).fit(log)
    size = rollout.viewers_["persona"].value_counts().to_dict()
    assert size == {"DE": 195, "FR": 195, "unknown": 10}
    likings = rollout.response_.likings["completion"].unstack()
    liked = [likings.loc["DE", "cats"], likings.loc["FR", "dance"]]
    disliked = [likings.loc["FR", "cats"], likings.loc["DE", "dance"]]
    assert min(liked) > 1.4
    assert max(disliked) < 0.5
    videos = pd.DataFrame({"video_id": [100, 101], "creator_id": "c"})
    videos["genre"] = ["cats", "dance"]
    for model in (rollout, FeedWorkflow(BatchRollout((30, 100), **options)).fit(log)):
        run = getattr(model, "run", None) or model.simulate
        result = run(videos, n_worlds=20)
        best = result.decisions.groupby("video_id")["persona"].agg(
            lambda names: names.value_counts().idxmax()
        )
        assert best.to_dict() == {100: "DE", 101: "FR"}
        first = result.events["reason"][result.events["event"] == "first batch"]
        assert first.str.contains("spans 3 personas").all()


def test_a_rollout_names_what_its_log_lacks():
    log = rollout_log(20)
    with pytest.raises(ValueError, match="attributes must be a column of X, got 'age'"):
        BatchRollout(attributes=("age",)).fit(log)
    with pytest.raises(ValueError, match=r"log lacks the columns \['genre'\]"):
        BatchRollout(attributes=("country",)).fit(log.drop(columns="genre"))
    with pytest.raises(TypeError, match="attributes must be a list or tuple"):
        BatchRollout(attributes="country").fit(log)


def test_shifts_of_groups_are_those_that_were_planted():
    """Many impressions, users alike: each group's odds, against the genre's."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(2000), 40)
    group, genre = user % 4, rng.integers(0, 3, len(user))
    rate = rng.uniform(0.2, 0.8, (4, 3))
    y = (rng.uniform(size=len(user)) < rate[group, genre]).astype(int)
    X = pd.DataFrame({"user": user, "genre": genre, "group": group})
    fitted = GenreProfiler("user", "genre", attributes=("group",)).fit(X, y)
    found = fitted._rates.group.unstack().to_numpy() + fitted._rates.genre.to_numpy()
    np.testing.assert_allclose(found, logit(rate), atol=0.12)
