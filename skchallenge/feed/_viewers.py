"""Learn from a log who the viewers are and how they respond."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from skchallenge.feed._columns import check_kind
from skchallenge.feed._engagement import SIGNALS, EngagementScorer
from skchallenge.feed._profile import GenreProfiler

_SHRINKAGE = 20.0  # impressions that each prior rate is worth


def group_users(log: pd.DataFrame, n_personas: int, seed: int) -> pd.DataFrame:
    """Group users by the points that they give to genres.

    Returns
    -------
    viewers : DataFrame with columns `viewer_id` and `persona`
        One row a user of the log.
    """
    X = log[["user_id", "genre"]]
    points = EngagementScorer().fit_transform(log[list(SIGNALS)])[:, 0]
    profiler = GenreProfiler("user_id", "genre", shrinkage=_SHRINKAGE)
    profiler.fit(X, points > 0, points=points)
    taste = profiler.profile_.pivot(index="user", columns="genre", values="score")
    # A genre that a user never saw says nothing: it takes the genre's mean.
    taste = taste.fillna(taste.mean())
    if len(taste) < n_personas:
        raise ValueError(
            f"n_personas={n_personas} is more than the {len(taste)} users of the log. "
            "Pass a smaller number."
        )
    groups = KMeans(n_personas, n_init=3, random_state=seed).fit_predict(taste)
    return pd.DataFrame({"viewer_id": taste.index, "persona": groups})


@dataclass
class LogResponse:
    """Rates of the five signals, learned from a log.

    A persona's rates of a genre are shrunk to the genre's, and a video's to its
    genre's. A viewer responds with the video's rates, raised or lowered as the persona
    likes the genre; a video that is not in the log has the genre's rates.

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
            If genres are of another kind than in the log, and so all unknown.
        ValueError
            If a persona is unknown.
        """
        check_kind(videos["genre"], self.genres.index, "genre")
        known = self.likings.index.unique("persona")
        strange = [name for name in personas.tolist() if name not in known]
        if strange:
            raise ValueError(
                "viewers['persona'] must hold personas that fit made of the log, "
                f"{known.tolist()}, got {strange}. Take viewers_, or pass a response."
            )
        usual = self.genres.reindex(videos["genre"]).fillna(self.genres.mean())
        own = self.videos.reindex(videos["video_id"]).to_numpy()
        own = np.where(np.isnan(own), usual.to_numpy(), own)
        tables = [
            self.likings.reindex(
                pd.MultiIndex.from_arrays([[name] * len(videos), videos["genre"]])
            ).fillna(1.0)
            for name in personas.tolist()
        ]
        likings = np.stack([table.to_numpy() for table in tables], axis=1)
        return np.clip(own[:, None] * likings, 0, 1).astype(np.float32)


def learn_response(log: pd.DataFrame, viewers: pd.DataFrame) -> LogResponse:
    """Learn the rates of videos, genres and personas."""
    names = list(SIGNALS)
    persona = log["user_id"].map(viewers.set_index("viewer_id")["persona"])
    mean = log[names].mean()
    genres = _shrink(log, ["genre"], mean)
    genre_of = log.drop_duplicates("video_id", keep="last").set_index("video_id")
    prior = genres.reindex(genre_of["genre"]).set_axis(genre_of.index)
    videos = _shrink(log, ["video_id"], prior)
    cells = log.assign(persona=persona)
    prior = genres.reindex(
        pd.MultiIndex.from_product(
            [viewers["persona"].unique(), genres.index], names=["persona", "genre"]
        ),
        level="genre",
    )
    likings = _shrink(cells, ["persona", "genre"], prior)
    usual = genres.reindex(likings.index, level="genre")
    return LogResponse(videos, genres, (likings / usual).fillna(1.0))


def _shrink(log: pd.DataFrame, by: list[str], prior: Any) -> pd.DataFrame:
    sums = log.groupby(by)[list(SIGNALS)].agg("sum")
    counts = log.groupby(by).size()
    if isinstance(prior, pd.DataFrame):
        prior = prior.reindex(sums.index)
    return (sums + _SHRINKAGE * prior).div(counts + _SHRINKAGE, axis=0)
