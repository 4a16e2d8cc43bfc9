"""Learn from a log who the viewers are and how they respond."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from skchallenge._state import FramesAsBytes
from skchallenge._table import check_ids
from skchallenge.feed._counts import (
    MISSING,
    Rows,
    count,
    group_of_users,
    mean_points,
    read_genres,
)
from skchallenge.feed._engagement import SIGNALS

_SHRINKAGE = 20.0  # impressions that each prior rate is worth
_FOLDS = 5  # parts of the log, each of which is left out once
_NOTHING = 1e-9  # weight that is left of a cell whose impressions are all left out


def group_users(
    log: pd.DataFrame, points: NDArray[Any], n_personas: int, seed: int
) -> tuple[pd.DataFrame, NDArray[np.int32]]:
    """Group users by the points that they give to genres, one number an impression.

    Who was lucky in a genre lands in a group of lucky users. If their luck were then
    taken for the group's taste, groups would have tastes where no user has any. So each
    impression counts for the group that its user would be in without it, and without a
    fifth of all others.

    Returns
    -------
    viewers : DataFrame with columns `viewer_id` and `persona`
        One row a user of the log.
    persona : ndarray of shape (n_impressions,)
        The group that each impression counts for.
    """
    n_folds = min(_FOLDS, len(log))
    fold = np.random.default_rng(seed).permutation(len(log)) % n_folds
    parts = [_cells(log[fold == k], points[fold == k]) for k in range(n_folds)]
    whole = pd.concat(parts).groupby(level=["user", "genre"]).sum()
    taste = _taste(whole)
    # A genre that a user never saw says nothing: it takes the genre's mean.
    baseline = taste.mean()
    if len(taste) < n_personas:
        raise ValueError(
            f"n_personas={n_personas} is more than the {len(taste)} users of the log. "
            "Pass a smaller number."
        )
    means = KMeans(n_personas, n_init=3, random_state=seed).fit(taste.fillna(baseline))
    row = taste.index.get_indexer(pd.Index(log["user_id"]))
    persona = means.labels_[row]
    for k, part in enumerate(parts):
        rest = whole.sub(part, fill_value=0.0)
        rest = rest[rest["weight"] > _NOTHING]
        if len(rest):
            other = _taste(rest).reindex_like(taste).fillna(baseline)
            persona = np.where(fold == k, means.predict(other)[row], persona)
    viewers = pd.DataFrame({"viewer_id": taste.index, "persona": means.labels_})
    return viewers, persona


def named_users(log: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Group users by the attributes that their impressions name, as `GenreProfiler`.

    Who has none is of the persona "unknown". What is returned is as by `group_users`.
    """
    ones, rows = np.ones(len(log)), Rows(*(log[c] for c in ("user_id", "genre")))
    rows.group = log["group"]
    group = group_of_users(count(rows, ones, ones, ones, ones).members)
    users = pd.Index(np.unique(log["user_id"]))
    persona = group.reindex(users).fillna(MISSING).to_numpy()
    viewers = pd.DataFrame({"viewer_id": users, "persona": persona})
    return viewers, persona[users.get_indexer(log["user_id"])]


def _cells(log: pd.DataFrame, points: NDArray[Any]) -> pd.DataFrame:
    """Add up weights and points of each user and genre."""
    ones, rows = np.ones(len(log)), Rows(log["user_id"], log["genre"])
    return count(rows, ones, ones, ones, points).cells[["weight", "points"]]


def _taste(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the mean points of each user (row) and genre (column), shrunk."""
    table = mean_points(cells, _SHRINKAGE)
    return table.pivot(index="user", columns="genre", values="score")


@dataclass
class LogResponse(FramesAsBytes):
    """Rates of the five signals, learned from a log.

    A persona's rates of a genre are shrunk to the genre's (`group_users` tells which
    impressions count), and a video's, as far as its viewers' personas do not explain
    them, to its genre's. A viewer responds with the video's rates, raised or lowered as
    the persona likes the genre; a video that is not in the log has the genre's rates,
    and a genre that is not, the mean of all genres.

    Parameters
    ----------
    videos : DataFrame with index video and the signals as columns
    genres : DataFrame with index genre and the signals as columns
    likings : DataFrame with index (persona, genre), ratios to the genre's rates
    """

    videos: pd.DataFrame
    genres: pd.DataFrame
    likings: pd.DataFrame

    def __call__(
        self, videos: pd.DataFrame, personas: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return probabilities, of shape (n_videos, n_personas, 5).

        Raises
        ------
        TypeError
            If videos or genres are of another kind than in the log, and so all unknown.
        ValueError
            If a video's id is missing, or a persona is unknown.
        """
        of = "the log of fit"
        check_ids(videos["video_id"], "videos['video_id']", self.videos.index, of)
        genre = read_genres(videos["genre"], "videos['genre']", self.genres.index, of)
        known = self.likings.index.unique("persona")
        strange = [name for name in personas.tolist() if name not in known]
        if strange:
            raise ValueError(
                "viewers['persona'] must hold personas that fit made of the log, "
                f"{known.tolist()}, got {strange}. Take viewers_, or pass a response."
            )
        baseline = self.genres.reindex(genre).fillna(self.genres.mean())
        own = self.videos.reindex(videos["video_id"]).to_numpy()
        own = np.where(np.isnan(own), baseline.to_numpy(), own)
        tables = [
            self.likings.reindex(
                pd.MultiIndex.from_arrays([[name] * len(videos), genre])
            ).fillna(1.0)
            for name in personas.tolist()
        ]
        likings = np.stack([table.to_numpy() for table in tables], axis=1)
        return np.clip(own[:, None] * likings, 0, 1).astype(np.float32)


def learn_response(
    log: pd.DataFrame, persona: NDArray[Any], personas: NDArray[Any]
) -> LogResponse:
    """Learn the rates of videos, genres and personas."""
    log = log.assign(persona=persona)
    genres = _shrink(log, ["genre"], log[list(SIGNALS)].mean())
    names = ["persona", "genre"]
    every = pd.MultiIndex.from_product([personas, genres.index], names=names)
    baseline = genres.reindex(every, level="genre")
    likings = (_shrink(log, names, baseline) / baseline).fillna(1.0)
    return LogResponse(_video_rates(log, genres, likings), genres, likings)


def _video_rates(
    log: pd.DataFrame, genres: pd.DataFrame, likings: pd.DataFrame
) -> pd.DataFrame:
    """Return what the average viewer does with each video.

    Feeds show a video to those who like it, so its signals are held against what the
    viewers it had give to its genre: else their liking would count twice.
    """
    names, by = list(SIGNALS), log["video_id"].to_numpy()
    cells = pd.MultiIndex.from_frame(log[["persona", "genre"]])
    given = genres.reindex(log["genre"]).to_numpy() * likings.reindex(cells).to_numpy()
    expected = pd.DataFrame(given, columns=names).groupby(by).sum()
    found = log[names].groupby(by).sum()
    # The mean of its genres, by impressions, where a video came with several.
    baseline = genres.reindex(log["genre"]).groupby(by).mean()
    prior = _SHRINKAGE * baseline
    return (baseline * (found + prior) / (expected + prior)).fillna(0.0)


def _shrink(log: pd.DataFrame, by: list[str], prior: Any) -> pd.DataFrame:
    sums = log.groupby(by)[list(SIGNALS)].agg("sum")
    counts = log.groupby(by).size()
    if isinstance(prior, pd.DataFrame):
        prior = prior.reindex(sums.index)
    return (sums + _SHRINKAGE * prior).div(counts + _SHRINKAGE, axis=0)
