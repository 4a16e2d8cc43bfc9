import av
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

from skchallenge import make_challenge_clips, make_participation
from skchallenge.datasets._challenge_clips import _Tastes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return make_challenge_clips(folder, n_users=12, n_challenges=3, random_state=0)


def test_every_candidate_meets_every_challenge(data):
    assert len(data.pairs) == len(data.y) == len(data.proba) == 36
    assert not data.pairs.duplicated(["user_id", "challenge"]).any()


def test_labels_are_the_participations_of_the_table(data):
    joined = data.catalog.videos.explode("challenge")
    joined = set(zip(joined["user_id"], joined["challenge"], strict=True))
    pairs = zip(data.pairs["user_id"], data.pairs["challenge"], strict=True)
    assert_array_equal(data.y, [pair in joined for pair in pairs])


def test_make_participation_finds_the_same_pairs(data):
    options = {"min_history": 3, "until": pd.Timestamp("2021-01-01")}
    names = data.catalog.challenges
    again = make_participation(data.videos, challenges=names, **options)
    assert_frame_equal(again.pairs, data.pairs)
    assert_array_equal(again.y, data.y)


def test_files_are_h264_of_one_second(data):
    for path in data.videos["path"].iloc[::20]:
        with av.open(path) as container:
            (stream,) = container.streams.video
            assert stream.codec_context.name == "h264"
            frames = sum(1 for _ in container.decode(stream))
            assert frames == 12
            assert float(stream.duration * stream.time_base) == pytest.approx(1.0)


def test_hue_is_visible(data):
    """The disc of a challenge's seeds has the challenge's hue, give or take."""
    seeds = data.catalog.memberships.query("challenge == 'challenge0'")["row"][:5]
    red_blue = []
    for path in data.videos["path"].iloc[seeds]:
        with av.open(path) as container:
            image = next(container.decode(video=0)).to_ndarray(format="rgb24")
        saturated = np.ptp(image.astype(int), axis=2) > 60
        assert 500 < saturated.sum() < 2500  # a disc of 18 to 26 pixels radius
        red_blue.append(image[saturated].mean(axis=0))
    assert np.std(red_blue, axis=0).max() < 80  # noise of 0.4 radians, not of a turn


def test_one_seed_gives_one_study(tmp_path):
    sizes = {"n_users": 4, "n_challenges": 2, "videos_per_user": 1}
    first, second, other = (
        make_challenge_clips(tmp_path / str(i), random_state=seed, **sizes)
        for i, seed in enumerate((1, 1, 2))
    )
    columns = ["user_id", "create_time", "caption"]
    assert_frame_equal(first.videos[columns], second.videos[columns])
    assert not first.videos[columns].equals(other.videos[columns])
    for a, b in zip(first.videos["path"], second.videos["path"], strict=True):
        with open(a, "rb") as one, open(b, "rb") as two:
            assert one.read() == two.read()


@pytest.mark.parametrize(
    "signal, ceiling", [(0.0, 0.5), (0.3, 0.82), (0.5, 0.90), (1.0, 0.96)]
)
def test_documented_ceilings(signal, ceiling):
    """Mean of five draws of 240,000 pairs; its standard error is below 0.002."""
    scores = []
    for seed in range(5):
        tastes = _Tastes(np.random.RandomState(seed), 4000, 60, signal)
        scores.append(roc_auc_score(tastes.takes_part.ravel(), tastes.proba.ravel()))
    assert np.mean(scores) == pytest.approx(ceiling, abs=0.006)


def test_labels_have_no_quotas():
    """Positives a challenge vary as independent draws do."""
    counts = [
        _Tastes(np.random.RandomState(seed), 100, 50, 0.0).takes_part.sum(axis=0)
        for seed in range(20)
    ]
    p = 1 / (1 + np.exp(1))
    # 1,000 draws: the ratio of variances has a standard error of 0.045.
    assert np.var(counts) / (100 * p * (1 - p)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"n_users": 0}, "n_users == 0, must be >= 1"),
        ({"n_challenges": 0}, "n_challenges == 0, must be >= 1"),
        ({"videos_per_user": 0}, "videos_per_user == 0, must be >= 1"),
        ({"signal": -1.0}, "signal == -1.0, must be >= 0"),
        ({"signal": float("nan")}, "signal must be a finite number, got nan"),
    ],
)
def test_refuses_bad_sizes(options, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        make_challenge_clips(tmp_path, **options)
