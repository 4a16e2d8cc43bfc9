"""Weighted counts of who engaged with what, and the rates that they shrink to.

Counts are all that a profile remembers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln, expit, logit

from skchallenge._state import FramesAsBytes
from skchallenge._table import Column, check_ids, find_column, id_kind

_BRACKETS, _QUOTES = {"[]", "()", "{}"}, " '\""
MISSING, MISSING_NUMBER = "unknown", -1  # the genre of what has none
NO_GROUP = ""  # of who does not tell all of their attributes
FORGOTTEN = 1e-12  # an impression that has faded so far is as good as absent
_OF_VIDEO = ["video", "genre"]
_OF_MEMBER = ["weight", "fade"]
_OF_PAIR = ["weight", "engaged", "fade"]
_ALL_ALIKE = 1e5  # impressions; a prior worth so many hides any difference


@dataclass
class Rows:
    """The columns of X that a profiler reads, one entry a row."""

    user: "pd.Series[Any]"
    genre: "pd.Series[Any]"
    video: "pd.Series[Any] | None" = None
    group: "pd.Series[Any] | None" = None  # of `read_groups`


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
    members : DataFrame with index (user, group)
        Columns `weight`, `fade`: the impressions of each user that name each group.
        Empty where no group is known.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    genres: pd.DataFrame
    members: pd.DataFrame

    @property
    def _tables(self) -> tuple[pd.DataFrame, ...]:
        return self.cells, self.pairs, self.genres, self.members

    def __add__(self, later: "Counts") -> "Counts":
        both = zip(self._tables, later._tables, strict=True)
        return Counts(*(_total(pd.concat(tables)) for tables in both))

    def __mul__(self, factor: float) -> "Counts":
        """Weigh all less, and forget what has faded too far."""
        tables = (table * factor for table in self._tables)
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
    none = cells.iloc[:0]
    pairs, genres = none.rename_axis(["user", "video"]), none.rename_axis(_OF_VIDEO)
    members = none.rename_axis(["user", "group"])
    table["fade"] = fade
    if rows.video is not None:
        video = rows.video.rename("video")
        pairs = _total(table[_OF_PAIR].set_axis(_index(user, video)))
        genres = parts[_OF_MEMBER].set_axis(_index(video.iloc[row], genre))
        genres = _total(genres)
    if rows.group is not None:
        index = _index(user, rows.group.rename("group"))
        named = (rows.group != NO_GROUP).to_numpy()
        members = _total(table[_OF_MEMBER].set_axis(index)[named])
    return Counts(cells, pairs, genres, members)


def read_groups(
    table: pd.DataFrame, columns: Sequence[Column]
) -> "pd.Series[Any] | None":
    """Return the group that each row names by its attributes; None without columns.

    A group is called by its values with commas between them. A row that lacks one of
    them names none.

    Raises
    ------
    TypeError
        If `columns` are no sequence, or an attribute holds values of several kinds.
    ValueError
        If there is no such column.
    """
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        raise TypeError(
            f"attributes must be a list or tuple of columns, got {columns!r}. Put a "
            "single one into a tuple."
        )
    if not columns:
        return None
    parts = []
    for column in columns:
        values = find_column("attributes", column, table).reset_index(drop=True)
        told = check_ids(values.dropna(), f"The attribute {column!r}")
        code, kinds = pd.factorize(told)  # each spelling is written once
        text = np.array([_as_text(kind) for kind in kinds], dtype=object)
        part = pd.Series(text[code], told.index, dtype=object)
        parts.append(part.reindex(values.index, fill_value=""))
    tells_all = np.logical_and.reduce([part != "" for part in parts])
    names = pd.Series(map(", ".join, zip(*parts, strict=True)), dtype=object)
    return names.where(tells_all, NO_GROUP)


def _as_text(value: Any) -> str:
    """Write a value so that a comma within it is told from one between values."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().replace("\\", r"\\").replace(",", r"\,")


def group_of_users(members: pd.DataFrame) -> "pd.Series[Any]":
    """Return the group that most impressions of each user name; of equals the first."""
    weight = members["weight"].reset_index()
    order = ["user", "weight", "group"]
    weight = weight.sort_values(order, ascending=[True, False, True], kind="stable")
    return weight.drop_duplicates("user").set_index("user")["group"]


def read_genres(
    values: "pd.Series[Any]", name: str, like: Any = None, known: str = ""
) -> "pd.Series[Any]":
    """Return genres as `check_ids` does; a missing one is a genre of its own.

    It is called "unknown" among strings, as in KuaiRand, and -1 among numbers. Lists,
    and texts of lists such as "[8, 9]", become "8,9".
    """
    values = genres_or_none(values)
    is_missing = values.isna()
    if is_missing.any():
        others = values[~is_missing]
        kind = id_kind(others)
        if others.empty and like is not None:
            kind = id_kind(like)
        filler = MISSING_NUMBER if kind in {"integers", "floats"} else MISSING
        values = values.astype(object).where(~is_missing, filler)
    return check_ids(values, name, like, known)


def genres_or_none(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return genres, lists as texts; blank ones and those of none are missing."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values
    cells = values.astype(object).map(_genre_or_none)
    return pd.Series(cells.to_list(), values.index, name=values.name)


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


def mean_points(
    cells: pd.DataFrame, shrinkage: float, group: "pd.Series[Any] | None" = None
) -> pd.DataFrame:
    """Return the shrunken mean points of each user and genre, as `profile_`.

    They shrink to those of the other users of the same `group`, these to the genre's,
    these to the mean of all.
    """
    genre = cells.groupby(level="genre").sum()
    mean = cells["points"].sum() / cells["weight"].sum()
    prior = (genre["points"] + shrinkage * mean) / (genre["weight"] + shrinkage)
    prior = prior.reindex(cells.index, level="genre")
    if group is not None and len(group):
        others = _others(cells, _groups_of_cells(cells, group))
        found = others["points"] + shrinkage * prior
        prior = found / (others["weight"] + shrinkage)
    score = (cells["points"] + shrinkage * prior) / (cells["weight"] + shrinkage)
    return pd.DataFrame({"score": score, "weight": cells["weight"]}).reset_index()


def _groups_of_cells(cells: pd.DataFrame, group: "pd.Series[Any]") -> pd.MultiIndex:
    """Return group and genre of each cell of a user and a genre."""
    user, genre = (cells.index.get_level_values(k) for k in ("user", "genre"))
    named = group.reindex(user).fillna(NO_GROUP)
    return pd.MultiIndex.from_arrays([named, genre], names=["group", "genre"])


def _others(cells: pd.DataFrame, of: pd.MultiIndex) -> pd.DataFrame:
    """Add up, for each cell, those of the others in its group; nobody's in none.

    Without the user's own: else, in a small group, their luck would count twice.
    """
    sums = cells.drop(columns="fade").set_axis(of)
    others = sums.groupby(level=[0, 1]).transform("sum") - sums
    is_named = of.get_level_values("group") != NO_GROUP
    return others.clip(lower=0).mul(is_named, axis=0).set_axis(cells.index)


class Rates(FramesAsBytes):
    """Shrunken rates of genres, groups, users, cells and videos, as log odds.

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
        self.member = group_of_users(counts.members)
        baseline = genre.reindex(cells.index, level="genre")
        self.group, of_others = self._group_shift(cells, baseline)
        # Without groups these are exactly the rates of the genres.
        own = baseline if of_others is None else expit(logit(baseline) + of_others)
        self.user = self._user_shift(cells, own)
        self.cell = self._cell_shift(cells, own)
        if of_others is not None:  # `log_odds` adds the shift of the whole group
            of = _groups_of_cells(cells, self.member)
            self.cell += of_others - _look_up(self.group, of, 0.0)
        self.video, self.viewers = self._videos(counts)

    def _shrink(self, sums: pd.DataFrame, prior: Any) -> "pd.Series[Any]":
        found = sums["engaged"] + self.shrinkage * prior
        return found / (sums["weight"] + self.shrinkage)

    def _group_shift(
        self, cells: pd.DataFrame, baseline: "pd.Series[Any]"
    ) -> tuple["pd.Series[Any]", "pd.Series[Any] | None"]:
        """Tell how far each group is from each genre, and the others in it of a cell.

        Users differ, so a group of few differs from the others by chance; impressions
        count as many as they would be worth if each were another user's [1]_. How
        strongly groups may differ is learned from the counts, as for cells.

        .. [1] Rao, J. N. K., Scott, A. J. "A simple method for the analysis of
           clustered binary data", Biometrics, 1992.
        """
        if self.member.empty:
            names = ["group", "genre"]
            none = pd.MultiIndex.from_arrays([[], self.genre.index[:0]], names=names)
            return pd.Series(dtype=np.float64, index=none), None
        of = _groups_of_cells(cells, self.member)
        named = of.get_level_values("group") != NO_GROUP
        some = cells.loc[named, ["weight", "engaged"]].set_axis(of[named])
        sums = some.groupby(level=[0, 1]).sum()
        effect = _design_effect(some)
        rate = expit(self.genre.reindex(sums.index, level="genre"))
        strength = effect * fit_strength(
            sums["engaged"] / effect, sums["weight"] / effect, rate, self.shrinkage
        )

        def shift(sums: pd.DataFrame, rate: "pd.Series[Any]") -> "pd.Series[Any]":
            found = (sums["engaged"] + strength * rate) / (sums["weight"] + strength)
            return logit(found) - logit(rate)

        return shift(sums, rate), shift(_others(cells, of), baseline)

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

    def _videos(self, counts: Counts) -> tuple["pd.Series[Any]", "pd.Series[Any]"]:
        """Return the odds of each video, and what its viewers' groups add to them.

        Feeds show a video to groups that like it. What these like is held against it:
        else it would count twice.
        """
        sums = counts.pairs.groupby(level="video").sum()
        genre = counts.genres.index.get_level_values("genre")
        weight = counts.genres["weight"]
        odds = (weight * self.genre.reindex(genre).to_numpy()).groupby(level="video")
        odds = odds.sum() / weight.groupby(level="video").sum()
        if self.member.empty or sums.empty:
            return logit(self._shrink(sums, expit(odds))), odds * 0.0
        shown = counts.pairs["weight"].reset_index()
        shown["group"] = self.groups(shown["user"])
        shown = shown.groupby(["video", "group"], as_index=False)["weight"].sum()
        parts = counts.genres["weight"].rename("part").reset_index()
        parts["part"] /= parts.groupby("video")["part"].transform("sum")
        parts = shown.merge(parts, on="video")
        cells = pd.MultiIndex.from_frame(parts[["group", "genre"]])
        parts["shift"] = _look_up(self.group, cells, 0.0) * parts["part"]
        # Of a video of several genres a group likes the mean.
        by = parts.groupby(["video", "group"], as_index=False)
        shown = by.agg(weight=("weight", "first"), shift=("shift", "sum"))
        rate = expit(odds.reindex(shown["video"]).to_numpy() + shown["shift"])
        expected = (rate * shown["weight"]).groupby(shown["video"]).sum()
        expected /= shown.groupby("video")["weight"].sum()
        viewers = logit(expected) - odds
        return logit(self._shrink(sums, expected)) - viewers, viewers

    def groups(
        self, user: "pd.Series[Any]", told: "pd.Series[Any] | None" = None
    ) -> NDArray[Any]:
        """Return the group of each user: the known one, else the one that is told."""
        known = self.member.reindex(user).to_numpy(dtype=object)
        other = NO_GROUP if told is None else told.to_numpy(dtype=object)
        return np.where(pd.isna(known), other, known)

    def of_genres(self, genre: "pd.Series[Any]") -> NDArray[np.float64]:
        """Return the log odds of each row's genres; unknown ones have the overall."""
        row, part, fraction = split_genres(genre)
        value = _look_up(self.genre, pd.Index(part), self.overall)
        return _sum_parts(row, value * fraction, len(genre))

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Add up what is known of each row: its video, group, user, and cell."""
        odds = self.of_genres(rows.genre)
        if rows.video is not None:
            found = _look_up(self.video, pd.Index(rows.video), np.nan)
            odds = np.where(np.isnan(found), odds, found)
        row, part, fraction = split_genres(rows.genre)
        shift = _look_up(self.cell, _index(rows.user.iloc[row], part), 0.0)
        if len(self.group):
            group = pd.Series(self.groups(rows.user, rows.group)[row])
            shift = shift + _look_up(self.group, _index(group, part), 0.0)
        odds = odds + _sum_parts(row, shift * fraction, len(odds))
        return odds + _look_up(self.user, pd.Index(rows.user), 0.0)


def _design_effect(cells: pd.DataFrame) -> float:
    """Return how much more sums over users vary than those of single impressions.

    Parameters
    ----------
    cells : DataFrame with index (group, genre)
        Columns `weight`, `engaged`; one row a user of the group.
    """
    by = cells.groupby(level=[0, 1])
    sums, n = by.transform("sum"), by["weight"].transform("size")
    cells, sums, n = (table[n > 1] for table in (cells, sums, n))
    rate = sums["engaged"] / sums["weight"]
    found = (cells["engaged"] - cells["weight"] * rate) ** 2 * n / (n - 1)
    chance = float(np.sum(cells["weight"] * rate * (1 - rate)))
    return max(1.0, float(np.sum(found)) / chance) if chance > 0 else 1.0


def rates_of(counts: Counts, shrinkage: float) -> Rates:
    """Return the rates.

    Raises
    ------
    ValueError
        If weights are so large beside `shrinkage` that a rate is rounded to 0 or 1.
    """
    with np.errstate(all="ignore"):
        rates = Rates(counts, shrinkage)
        parts = (rates.overall, rates.genre, rates.group, rates.user, rates.cell)
        parts = (*parts, rates.video, rates.viewers)
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
