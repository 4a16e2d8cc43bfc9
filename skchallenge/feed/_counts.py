"""Weighted counts of who engaged with what, and the rates that they shrink to.

Counts are all that a profile remembers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln, expit, logit

from skchallenge._state import FramesAsBytes
from skchallenge._table import check_ids, id_kind

_BRACKETS, _QUOTES = {"[]", "()", "{}"}, " '\""
MISSING, MISSING_NUMBER = "unknown", -1  # the genre of what has none
FORGOTTEN = 1e-12  # an impression that has faded so far is as good as absent
_ALL_ALIKE = 1e5  # impressions; a prior worth so many hides any difference


@dataclass
class Rows:
    """The columns of X that a profiler reads, one entry a row."""

    user: "pd.Series[Any]"
    genre: "pd.Series[Any]"
    video: "pd.Series[Any] | None"


@dataclass
class Counts(FramesAsBytes):
    """Sums of the weight, the weighted label and the weighted points.

    Parameters
    ----------
    cells : DataFrame with index (user, genre)
        Columns `weight`, `engaged`, `points`, and `fade`, that of the newest row. A row
        of several genres counts for each of them in equal parts.
    pairs : DataFrame with index (user, video)
        Columns `weight`, `engaged`, `fade`. Empty where no video is known.
    genres : DataFrame with index (video, genre)
        Columns `weight`, `fade`: the impressions of each video with each of its genres.
        Empty where no video is known.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    genres: pd.DataFrame

    def __add__(self, later: "Counts") -> "Counts":
        return Counts(
            _total(pd.concat([self.cells, later.cells])),
            _total(pd.concat([self.pairs, later.pairs])),
            _total(pd.concat([self.genres, later.genres])),
        )

    def __mul__(self, factor: float) -> "Counts":
        """Weigh all less, and forget what has faded too far."""
        tables = (t * factor for t in (self.cells, self.pairs, self.genres))
        return Counts(*(t[t["fade"] > FORGOTTEN] for t in tables))

    def fade(self, age: float, half_life: float) -> "Counts":
        """Halve all weights once each half-life.

        Raises
        ------
        ValueError
            If the age is infinite: the times of the impressions were not read.
        """
        if np.isinf(age):
            raise ValueError(
                f"half_life={half_life} must not be set between calls: impressions "
                "were learned without it, so that their age is unknown. Call fit to "
                "start anew."
            )
        return self * 0.5 ** (age / half_life)


def count(rows: Rows, weight: Any, fade: Any, engaged: Any, points: Any) -> Counts:
    """Add up one batch of impressions, each weighing `weight` times `fade`."""
    weight = weight * fade
    sums = {"weight": weight, "engaged": weight * engaged, "points": weight * points}
    table = pd.DataFrame(sums, dtype=np.float64)
    row, genre, fraction = split_genres(rows.genre)
    parts = table.iloc[row].mul(fraction, axis=0).assign(fade=fade[row])
    user, genre = rows.user.rename("user"), genre.rename("genre")
    cells = _total(parts.set_axis(_index(user.iloc[row], genre)))
    if rows.video is None:
        none = cells.iloc[:0]
        pairs, genres = ["user", "video"], ["video", "genre"]
        return Counts(cells, none.rename_axis(pairs), none.rename_axis(genres))
    video = rows.video.rename("video")
    pairs = table[["weight", "engaged"]].assign(fade=fade)
    pairs = _total(pairs.set_axis(_index(user, video)))
    genres = parts[["weight", "fade"]].set_axis(_index(video.iloc[row], genre))
    return Counts(cells, pairs, _total(genres))


def read_genres(
    values: "pd.Series[Any]", name: str, like: Any = None, known: str = ""
) -> "pd.Series[Any]":
    """Return genres as `check_ids` does; a missing one is a genre of its own.

    It is called "unknown" among strings, as in KuaiRand, and -1 among numbers. Lists,
    and texts of lists such as "[8, 9]", become "8,9".
    """
    if not pd.api.types.is_numeric_dtype(values.dtype):
        cells = values.astype(object).map(_genre_or_none)
        values = pd.Series(cells.to_list(), values.index, name=values.name)
    is_missing = values.isna()
    if is_missing.any():
        others = values[~is_missing]
        kind = id_kind(others)
        if others.empty and like is not None:
            kind = id_kind(like)
        filler = MISSING_NUMBER if kind in {"integers", "floats"} else MISSING
        values = values.astype(object).where(~is_missing, filler)
    return check_ids(values, name, like, known)


def _genre_or_none(cell: Any) -> Any:
    """Return a genre, or several with commas between them; None if there is none."""
    if isinstance(cell, set | frozenset):
        cell = sorted(map(str, cell))
    if isinstance(cell, list | tuple | np.ndarray):
        return ",".join(map(str, cell)) or None
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text[:1] + text[-1:] in _BRACKETS:
        cell = ",".join(part.strip(_QUOTES) for part in text[1:-1].split(","))
    return cell if cell.strip(" ,") else None


def split_genres(
    genre: "pd.Series[Any]",
) -> tuple[NDArray[np.intp], "pd.Series[Any]", NDArray[np.float64]]:
    """Split ``"39,68"`` into 39 and 68.

    Returns
    -------
    row : ndarray of shape (n_parts,)
        The row that each part belongs to.
    part : Series of shape (n_parts,)
        One genre each.
    fraction : ndarray of shape (n_parts,)
        Of its row; they add up to 1 over a row.
    """
    code, values = pd.factorize(genre)  # each spelling is split once
    parts = [_parts(value) for value in values]
    flat = pd.Series([p for part in parts for p in part]).infer_objects()
    n_parts = np.array([len(p) for p in parts], dtype=np.intp)  # of each spelling
    start = np.cumsum(n_parts) - n_parts
    n = n_parts[code]  # of each row
    row = np.repeat(np.arange(len(code)), n)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
    return row, flat.iloc[start[code][row] + offset], 1 / n[row]


def _parts(genre: Any) -> list[Any]:
    if not isinstance(genre, str):
        return [genre]
    parts = dict.fromkeys(part.strip() for part in genre.split(","))
    return [part for part in parts if part] or [""]


def _index(*levels: "pd.Series[Any]") -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays(
        [level.to_numpy() for level in levels], names=[level.name for level in levels]
    )


def _total(table: pd.DataFrame) -> pd.DataFrame:
    by = table.groupby(level=[0, 1], sort=True)
    with np.errstate(over="ignore"):  # `rates_of` refuses it
        return by.sum().assign(fade=by["fade"].max())


def mean_points(cells: pd.DataFrame, shrinkage: float) -> pd.DataFrame:
    """Return the shrunken mean points of each user and genre, as `profile_`."""
    genre = cells.groupby(level="genre").sum()
    mean = cells["points"].sum() / cells["weight"].sum()
    prior = (genre["points"] + shrinkage * mean) / (genre["weight"] + shrinkage)
    prior = prior.reindex(cells.index, level="genre")
    score = (cells["points"] + shrinkage * prior) / (cells["weight"] + shrinkage)
    return pd.DataFrame({"score": score, "weight": cells["weight"]}).reset_index()


class Rates(FramesAsBytes):
    """Shrunken rates of genres, users, cells and videos, as log odds.

    Parameters
    ----------
    counts : Counts
        The counts.
    shrinkage : float
        How many impressions the prior of each rate is worth.
    """

    def __init__(self, counts: Counts, shrinkage: float) -> None:
        self.shrinkage = shrinkage
        cells = counts.cells
        total = cells.sum()
        # One engaged and one other impression more, so that no log odds are infinite.
        overall = (total["engaged"] + 1) / (total["weight"] + 2)
        genre = self._shrink(cells.groupby(level="genre").sum(), overall)
        self.overall = logit(overall)
        self.genre = logit(genre)
        baseline = genre.reindex(cells.index, level="genre")
        self.user = self._user_shift(cells, baseline)
        self.cell = self._cell_shift(cells, baseline)
        self.video = self._videos(counts)

    def _shrink(self, sums: pd.DataFrame, prior: Any) -> "pd.Series[Any]":
        found = sums["engaged"] + self.shrinkage * prior
        return found / (sums["weight"] + self.shrinkage)

    def _user_shift(
        self, cells: pd.DataFrame, baseline: "pd.Series[Any]"
    ) -> "pd.Series[Any]":
        """Tell how far each user is from the baseline of what they were shown."""
        sums = cells.groupby(level="user").sum()
        expected = (baseline * cells["weight"]).groupby(level="user").sum()
        expected /= sums["weight"]
        return logit(self._shrink(sums, expected)) - logit(expected)

    def _cell_shift(
        self, cells: pd.DataFrame, baseline: "pd.Series[Any]"
    ) -> "pd.Series[Any]":
        """Tell how far each user is, in a genre, from what user and genre explain."""
        prior = logit(baseline) + self.user.reindex(cells.index, level="user")
        rate = expit(prior)
        strength = fit_strength(cells["engaged"], cells["weight"], rate, self.shrinkage)
        found = cells["engaged"] + strength * rate
        return logit(found / (cells["weight"] + strength)) - prior

    def _videos(self, counts: Counts) -> "pd.Series[Any]":
        sums = counts.pairs.groupby(level="video").sum()
        genre = counts.genres.index.get_level_values("genre")
        weight = counts.genres["weight"]
        odds = (weight * self.genre.reindex(genre).to_numpy()).groupby(level="video")
        prior = expit(odds.sum() / weight.groupby(level="video").sum())
        return logit(self._shrink(sums, prior))

    def of_genres(self, genre: "pd.Series[Any]") -> NDArray[np.float64]:
        """Return the log odds of each row's genres; unknown ones have the overall."""
        row, part, fraction = split_genres(genre)
        value = _look_up(self.genre, pd.Index(part), self.overall)
        return _sum_parts(row, value * fraction, len(genre))

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Add up what is known of each row: its video, its user, and both together."""
        odds = self.of_genres(rows.genre)
        if rows.video is not None:
            found = _look_up(self.video, pd.Index(rows.video), np.nan)
            odds = np.where(np.isnan(found), odds, found)
        row, part, fraction = split_genres(rows.genre)
        cell = _index(rows.user.iloc[row], part)
        shift = _look_up(self.cell, cell, 0.0) * fraction
        odds = odds + _sum_parts(row, shift, len(odds))
        return odds + _look_up(self.user, pd.Index(rows.user), 0.0)


def rates_of(counts: Counts, shrinkage: float) -> Rates:
    """Return the rates.

    Raises
    ------
    ValueError
        If weights are so large beside `shrinkage` that a rate is rounded to 0 or 1.
    """
    with np.errstate(all="ignore"):
        rates = Rates(counts, shrinkage)
        parts = (rates.overall, rates.genre, rates.user, rates.cell, rates.video)
        is_finite = all(np.isfinite(part).all() for part in parts)
        total = counts.cells["weight"].sum()
    if not is_finite:
        raise ValueError(
            "sample_weight counts impressions, and must not be so large beside "
            f"shrinkage={shrinkage} that rates are rounded to 0 or 1, got weights that "
            f"sum to {total:g}. Divide them, for example by their mean."
        )
    return rates


def fit_strength(engaged: Any, weight: Any, rate: Any, least: float) -> float:
    """Find how many impressions the prior of a cell is worth.

    It is the strength, from `least` up, under which beta-binomial counts with mean
    `rate` are most likely. If cells differ from `rate` by chance alone, it is huge, and
    they are believed to be alike.
    """

    def loss(log_strength: float) -> float:
        a = np.exp(log_strength) * rate
        b = np.exp(log_strength) * (1 - rate)
        likelihood = betaln(a + engaged, b + weight - engaged) - betaln(a, b)
        return -float(likelihood.sum())

    bounds = (np.log(least), np.log(max(_ALL_ALIKE, least * np.e)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _sum_parts(
    row: NDArray[np.intp], values: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    return np.bincount(row, values, minlength=n).astype(np.float64)


def _look_up(
    table: "pd.Series[Any]", keys: pd.Index, default: float
) -> NDArray[np.float64]:
    index = table.index.get_indexer(keys)
    values = np.append(table.to_numpy(dtype=np.float64), default)
    return values[index]  # -1, not found, is the default
