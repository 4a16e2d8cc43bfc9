"""Render a small participation study whose truth is known."""

import colorsys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skchallenge._html import Bunch
from skchallenge._table import check_count, check_real
from skchallenge.datasets._pairs import make_participation

_SIZE = 96  # pixels
_N_FRAMES = _FPS = 12
_N_SEEDS = 5
_START = pd.Timestamp("2020-09-01")
_END = _START + pd.Timedelta(days=120)  # nobody posts after the last window
# logit = bias + signal * strength * (cos of hues apart + cos of topics apart)
_BIAS, _STRENGTH = -1.0, 5.0
_HUE_NOISE = 0.4  # radians, per video
_FOCUS = 3.0  # how closely words follow the topic; a von Mises concentration

# Topics lie on a circle; neighbours are as close in taste as they are in this list.
_TOPICS = (
    "cake recipe baking kitchen chocolate dinner",
    "garden flowers plants harvest vegetables farm",
    "dog puppy cat kitten pets animals",
    "hiking mountain forest camping river nature",
    "football goal training gym running sport",
    "dance music song guitar concert singing",
    "makeup fashion outfit hair style nails",
    "painting drawing craft sewing art pottery",
)
_FILLERS = "my new today look this best day love when finally"
_SONGS = ("original sound", "sunset drive", "paper planes", "slow tide", "neon rain")


def make_challenge_clips(
    directory: str | Path,
    *,
    n_users: int = 60,
    n_challenges: int = 6,
    videos_per_user: int = 4,
    signal: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Render H.264 clips with captions and a known truth of participation.

    Every user and every challenge has a taste of two angles: a hue, which colours the
    disc in the pictures, and a topic, from which caption words are drawn. The
    log-odds of taking part are ``-1 + 5 * signal * (cos(difference of hues) +
    cos(difference of topics))``, and labels are drawn independently per pair. Single
    videos scatter around the taste, so it must be gathered from several.

    Parameters
    ----------
    directory : str or path-like
        Folder that receives one mp4 file a video (96 x 96 pixels, one second). It is
        created if need be; files of the same name are overwritten.
    n_users : int, default=60
        Candidates. Each challenge has 5 more users who start it.
    n_challenges : int, default=6
        Challenges.
    videos_per_user : int, default=4
        Videos of a candidate before any challenge starts; one more follows after. Of
        these, `make_participation` asks for three, or for all if there are fewer.
    signal : float, default=1.0
        Strength of taste, 0 or more; 0 makes labels pure noise.
    random_state : int, RandomState instance or None, default=None
        Seed of everything but the bytes that an encoder's version may change.

    Returns
    -------
    data : sklearn.utils.Bunch
        videos : pandas.DataFrame
            One row a clip: `video_id`, `user_id`, `create_time`, `caption`,
            `hashtags`, `song`, `path`.
        pairs : pandas.DataFrame with columns `user_id`, `challenge`, `time`
            All candidates with all challenges.
        y : ndarray of shape (n_pairs,)
            1 where the user takes part, else 0.
        catalog : VideoCatalog
            The videos as `make_participation` returns them.
        proba : ndarray of shape (n_pairs,)
            True probabilities, the best predictor that there is: no model can beat
            its score but by luck. Its AUC, ``roc_auc_score(data.y, data.proba)``, is
            expected to be 0.50 for signal 0, 0.82 for 0.3, 0.90 for 0.5, 0.96 for 1.
        horizon : pandas.Timedelta
            Length of the windows in which taking part counts.

    Raises
    ------
    ValueError
        If a size is below 1 or `signal` is negative.

    Warns
    -----
    OneClassWarning
        If all labels happen to be alike, which more users would change.

    See Also
    --------
    make_participation : Makes pairs and labels from any table of videos.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from skchallenge import make_challenge_clips
    >>> with TemporaryDirectory() as folder:
    ...     data = make_challenge_clips(
    ...         folder, n_users=4, n_challenges=2, videos_per_user=2, random_state=0
    ...     )
    >>> data.videos.shape, data.pairs.shape
    ((25, 7), (8, 3))
    """
    for name, value in (
        ("n_users", n_users),
        ("n_challenges", n_challenges),
        ("videos_per_user", videos_per_user),
    ):
        check_count(name, value)
    check_real("signal", signal)
    rng = check_random_state(random_state)
    tastes = _Tastes(rng, n_users, n_challenges, signal)
    videos = pd.DataFrame(_plan(rng, tastes, videos_per_user))
    videos = videos.sort_values("create_time", kind="stable", ignore_index=True)
    videos.insert(0, "video_id", [f"v{i:05d}" for i in range(len(videos))])
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    videos["path"] = [str(directory / f"{v}.mp4") for v in videos["video_id"]]
    hue = videos.pop("hue")
    for path, angle in zip(videos["path"], hue, strict=True):
        _render(path, angle, rng)
    data = make_participation(
        videos,
        challenges=tastes.challenges,
        n_seeds=_N_SEEDS,
        min_history=min(3, videos_per_user),
        until=_END,
    )
    row = pd.Index(tastes.users).get_indexer(data.pairs["user_id"])
    column = pd.Index(tastes.challenges).get_indexer(data.pairs["challenge"])
    return Bunch(
        videos=videos,
        pairs=data.pairs,
        y=data.y,
        catalog=data.catalog,
        proba=tastes.proba[row, column],
        horizon=data.horizon,
    )


class _Tastes:
    """Who likes what, and who takes part where."""

    def __init__(
        self,
        rng: np.random.RandomState,
        n_users: int,
        n_challenges: int,
        signal: float,
    ) -> None:
        self.users = [f"user{i:04d}" for i in range(n_users)]
        self.challenges = [f"challenge{i}" for i in range(n_challenges)]
        # Columns: hue and topic, both in radians.
        self.of_users = rng.uniform(0, 2 * np.pi, (n_users, 2))
        # Spread evenly, so that a handful of challenges covers both circles.
        turn = 2 * np.pi * np.arange(n_challenges) / n_challenges
        start = rng.uniform(0, 2 * np.pi, 2)
        self.of_challenges = np.c_[turn + start[0], rng.permutation(turn) + start[1]]
        difference = self.of_users[:, None] - self.of_challenges
        affinity = np.cos(difference).sum(axis=2)  # (n_users, n_challenges)
        self.proba = 1 / (1 + np.exp(-_BIAS - signal * _STRENGTH * affinity))
        self.takes_part = rng.uniform(size=self.proba.shape) < self.proba


def _plan(
    rng: np.random.RandomState, tastes: _Tastes, videos_per_user: int
) -> list[dict[str, Any]]:
    """List all videos: histories, seeds of the challenges, participations."""
    videos = []
    n_challenges = len(tastes.challenges)
    for u, user in enumerate(tastes.users):
        days = [*rng.uniform(0, 55, videos_per_user), rng.uniform(75, 85)]
        videos += [_video(rng, user, d, tastes.of_users[u]) for d in days]
    for c, name in enumerate(tastes.challenges):
        taste, start = tastes.of_challenges[c], 60 + 10 * c / n_challenges
        for s in range(_N_SEEDS):
            day = start + 0.2 * (s + rng.uniform())
            videos.append(_video(rng, f"{name}seed{s}", day, taste, name))
        for u in np.flatnonzero(tastes.takes_part[:, c]):
            mixed = np.where(rng.uniform(size=2) < 0.8, taste, tastes.of_users[u])
            day = start + 1.5 + rng.uniform(0, 25)
            videos.append(_video(rng, tastes.users[u], day, mixed, name))
    return videos


def _video(
    rng: np.random.RandomState,
    user: str,
    day: float,
    taste: NDArray[np.float64],
    challenge: str | None = None,
) -> dict[str, Any]:
    tags = [str(rng.choice(["fyp", "foryou", "viral"]))]
    if challenge is not None:
        tags.insert(rng.randint(2), challenge)
    song = f"sound of {challenge}" if challenge else str(rng.choice(_SONGS))
    caption = " ".join([*_words(rng, taste[1]), *(f"#{tag}" for tag in tags)])
    return {
        "user_id": user,
        "create_time": (_START + pd.Timedelta(days=day)).floor("s"),
        "caption": caption,
        "hashtags": tags,
        "song": song,
        "hue": taste[0] + _HUE_NOISE * rng.normal(),
    }


def _words(rng: np.random.RandomState, topic: float) -> list[str]:
    """Draw words from topics near an angle, with fillers between them."""
    angles = 2 * np.pi * np.arange(len(_TOPICS)) / len(_TOPICS)
    weight = np.exp(_FOCUS * np.cos(angles - topic))
    chosen = rng.choice(len(_TOPICS), size=4, p=weight / weight.sum())
    words = [str(rng.choice(_TOPICS[i].split())) for i in chosen]
    return [w for word in words for w in (str(rng.choice(_FILLERS.split())), word)]


def _render(path: str, hue: float, rng: np.random.RandomState) -> None:
    """Write a clip of a disc that circles over a grey, grainy ground."""
    colour = np.array(colorsys.hsv_to_rgb(hue / (2 * np.pi) % 1, 0.9, 0.9)) * 255
    ground, phase, radius = rng.uniform((60, 0, 18), (200, 2 * np.pi, 26))
    grain = rng.normal(0, 8, (_SIZE, _SIZE, 1))
    y, x = np.mgrid[:_SIZE, :_SIZE]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=_FPS)
        stream.width = stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "20"}
        stream.codec_context.thread_count = 1
        stream.time_base = Fraction(1, _FPS)
        for t in range(_N_FRAMES):
            angle = phase + np.pi * t / _N_FRAMES
            centre = _SIZE / 2 + 20 * np.array([np.cos(angle), np.sin(angle)])
            inside = np.hypot(x - centre[0], y - centre[1]) < radius
            image = np.where(inside[..., None], colour, ground) + grain
            pixels = image.clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
