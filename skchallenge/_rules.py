"""What a row may know: the rules that keep the answer out of the features."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skchallenge._table import (
    check_columns,
    check_ids,
    check_option,
    check_times,
    plain_ids,
    time_values,
)
from skchallenge._time_index import Rows, TimeIndex
from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.exceptions import EmptyHistoryWarning, LeakageWarning

# A table of each user's latest videos has one length for most users, whether they took
# part or not; fewer users or videos may be alike by chance.
_CUT_FRACTION = 0.5
_FEWEST_USERS = 20
_FEWEST_VIDEOS = 5


def check_catalog(catalog: object) -> None:
    """Raise unless it is a catalog."""
    if not isinstance(catalog, VideoCatalog):
        raise TypeError(
            f"catalog must be a VideoCatalog, got {type(catalog).__name__}. Pass "
            "make_participation(videos).catalog, or VideoCatalog(videos), with "
            "challenge=None where videos has no challenges."
        )


def challenge_column(catalog: VideoCatalog) -> str:
    """Return the column of challenges; raise if the catalog was made without one."""
    if catalog.challenge is None:
        raise ValueError(
            "catalog has no challenges: it was made with challenge=None. Pass "
            "make_participation(videos).catalog, which finds them."
        )
    return catalog.challenge


@dataclass(frozen=True)
class ParticipationRules:
    """The rules of one side: which videos a row's history and the fit set may hold.

    The fields are parameters of `HistoryEncoder`, whose notes state the rules. A
    *membership* is a pair of a video's row in the catalog and an entity, a user or a
    challenge, that the video belongs to. X is a table from `read`.
    """

    catalog: VideoCatalog
    by: str
    before: str | None
    exclude: str | None

    @property
    def of_users(self) -> bool:
        """Whether the entities are users, not challenges."""
        return self.by == self.catalog.user

    def check(self) -> None:
        """Raise unless the settings make sense together."""
        ids = [c for c in (self.catalog.user, self.catalog.challenge) if c is not None]
        check_option("by", self.by, ids)
        if self.of_users and self.exclude is not None:
            raise ValueError(
                f"exclude={self.exclude!r} has no use with by={self.by!r}: a user's "
                "history holds no video of a studied challenge. Leave it out."
            )
        check_option("exclude", self.exclude, [None, self.catalog.user])
        if self.exclude is not None and self.before is None:
            raise ValueError(
                f"exclude={self.exclude!r} needs before: without a cut-off only users "
                "who took part would lose a video, and the missing video is the "
                "label. Name the column of cut-off times."
            )
        timeless = self.before is None and not self.of_users
        if timeless and self.catalog.candidates is None:
            raise ValueError(
                f"before=None with by={self.by!r} uses videos by users outside "
                "catalog.candidates only, but candidates is None. Give the catalog "
                "its candidates, or name a column of cut-off times."
            )

    def read(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return X with ids in NumPy's types; raise unless they fit the catalog's."""
        catalog = self.catalog
        needed = [c for c in (self.by, self.before, self.exclude) if c is not None]
        check_columns(X.columns, needed, "X")
        entities = {catalog.user: catalog.videos[catalog.user]}
        if catalog.challenge is not None:
            entities[catalog.challenge] = catalog.memberships["challenge"]
        for column in (self.by, self.exclude):
            if column is not None:
                check_ids(X[column], column, like=entities[column])
        if self.before is not None:
            check_times(X[self.before], self.before, like=catalog.videos[catalog.time])
        elif self.of_users and catalog.candidates is not None:
            self._check_candidates(X[self.by])
        return X.assign(**{c: plain_ids(X[c]) for c in entities if c in X})

    def _check_candidates(self, users: "pd.Series[Any]") -> None:
        """Raise where a challenge's timeless history may hold a row's own video."""
        others = users[~users.isin(self.catalog.candidates or ())]
        if len(others):
            raise ValueError(
                f"before=None asks about catalog.candidates only, but {self.by} holds "
                f"others, such as {others.iloc[0]!r}: their own videos would stand in "
                "the challenge's history. Name a column of cut-off times."
            )

    # Which videos.

    def memberships(self) -> pd.DataFrame:
        """List (row, entity): each video once for each entity that it belongs to."""
        catalog = self.catalog
        if not self.of_users:
            return catalog.memberships.rename(columns={"challenge": "entity"})
        users = catalog.videos[catalog.user]
        return pd.DataFrame({"row": np.arange(len(users)), "entity": users})

    def history(self, X: pd.DataFrame, max_videos: int, n_own: Rows) -> Rows:
        """Find the catalog rows of each row's history, (n, max_videos), -1 if none."""
        members, catalog = self.memberships(), self.catalog
        row = members["row"].to_numpy()
        author = catalog.videos[catalog.user]
        if self.of_users:
            hidden = catalog.is_challenge_video | catalog.has_challenge_sound
            members = members[~hidden[row]]
        elif self.before is None:
            is_candidate = author.isin(catalog.candidates or ()).to_numpy()
            members = members[~is_candidate[row]]
        entity, before = pd.Index(X[self.by]), self._times(X)
        index = self._index(pd.Index(members["entity"]), members["row"].to_numpy())
        history = index.newest(entity, before, max_videos)
        if self.exclude is None:
            return history
        for i in np.flatnonzero(n_own):  # rare: such pairs are at fault
            start, stop = index.spans(entity[[i]], before[[i]])
            rows = index.rows(start[0], stop[0])
            is_other = author.iloc[rows] != X[self.exclude].iloc[i]
            rows = rows[is_other.to_numpy()][:max_videos]
            history[i] = np.pad(rows, (0, max_videos - len(rows)), constant_values=-1)
        return history

    def fit_set(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the memberships that may train the encoder; there may be none."""
        members, catalog = self.memberships(), self.catalog
        row = members["row"].to_numpy()
        keep = members["entity"].isin(X[self.by]).to_numpy()
        if self.before is not None:
            time = time_values(catalog.videos[catalog.time])
            keep = keep & (time[row] < self._times(X).max())
        if self.of_users:
            return members[keep & ~catalog.is_challenge_video[row]]
        author = catalog.videos[catalog.user].iloc[row]
        allowed = np.zeros(len(row), dtype=bool)
        if self.exclude is not None:
            allowed = allowed | author.isin(X[self.exclude]).to_numpy()
        if catalog.candidates is not None:
            allowed = allowed | ~author.isin(catalog.candidates).to_numpy()
        return members[keep & allowed]

    def n_own(self, X: pd.DataFrame) -> Rows:
        """Count each row's videos of the challenge by the user, before its time."""
        user = self._author(X)
        if user is None:
            return np.zeros(len(X), dtype=np.intp)
        members = self.catalog.memberships
        author = self.catalog.videos[self.catalog.user].iloc[members["row"]]
        index = self._index(
            pd.MultiIndex.from_arrays([members["challenge"], author]),
            members["row"].to_numpy(),
        )
        pair = pd.MultiIndex.from_arrays([X[self.by], X[user]])
        start, stop = index.spans(pair, self._times(X))
        return stop - start

    def _author(self, X: pd.DataFrame) -> str | None:
        """Return the column of the user whose own videos would be the label."""
        has_label = not self.of_users and self.before is not None
        if self.exclude is None and has_label and self.catalog.user in X:
            return self.catalog.user
        return self.exclude

    def _index(self, entity: pd.Index, row: Rows) -> TimeIndex:
        videos = self.catalog.videos
        time = time_values(videos[self.catalog.time])[row]
        tie = pd.factorize(videos[self.catalog.video], sort=True)[0][row]
        return TimeIndex(entity, time, tie, row)

    def _times(self, X: pd.DataFrame) -> Any:
        return None if self.before is None else time_values(X[self.before])

    # Pairs and catalogs that tell the label all the same.

    def check_own_videos(self, X: pd.DataFrame, n_own: Rows) -> None:
        """Raise if any row's user has a video among the challenge's."""
        author = self._author(X)
        if author is None or not n_own.any():
            return
        first, n_rows = X.iloc[int(n_own.argmax())], (n_own > 0).sum()
        who = f"{n_rows} rows, such as {first[author]!r} in {first[self.by]!r}"
        if self.exclude is None:
            raise ValueError(
                f"exclude=None leaves the user's own video in the challenge's history "
                f"of {who}: users who took part before {self.before!r}. That video is "
                "the label: drop these pairs, as make_participation does, and pass "
                f"exclude={self.catalog.user!r}."
            )
        raise ValueError(
            f"exclude={self.exclude!r} removes a video from {who}: users who "
            f"took part before {self.before!r}. A missing video is the label: drop "
            "these pairs, as make_participation does."
        )

    def early_birds(self, X: pd.DataFrame, n_own: Rows) -> str:
        """Say which rows ask about users who have taken part."""
        user = self.catalog.user
        challenge = challenge_column(self.catalog)
        first = X.iloc[int(n_own.argmax())]
        return (
            f"{(n_own > 0).sum()} rows of X, such as {first[user]!r} in "
            f"{first[challenge]!r}, are of users who took part before {self.before!r}: "
            "what is known of them tells the answer. Drop these pairs, as "
            "make_participation does."
        )

    def warn_of_own_videos(self, n_own: Rows) -> None:
        """Warn of the same when a fitted encoder is asked about it."""
        if not n_own.any():
            return
        what = (
            "stand among the challenge's, and tell"
            if self.exclude is None
            else "are left out of the challenge's, and what is missing tells"
        )
        warnings.warn(
            f"X holds users who took part before {self.before!r}: their own videos "
            f"{what} that they took part.",
            LeakageWarning,
            stacklevel=4,  # scikit-learn wraps `transform`
        )

    def warn_of_unknown_users(self, X: pd.DataFrame) -> None:
        """Warn of users who are in X but not in the catalog, such as deleted ones."""
        if not self.of_users:
            return
        catalog, users = self.catalog, X[self.by]
        unknown = users[~users.isin(catalog.videos[catalog.user])]
        unknown = unknown[~unknown.isin(list(catalog.candidates or ()))]
        if len(unknown):
            warnings.warn(
                f"The catalog knows nothing of {unknown.nunique()} users of X, such as "
                f"{unknown.iloc[0]!r}: neither a video nor a candidate. Their "
                f"histories are empty, but {len(unknown)} rows of X train on them. "
                "Drop these rows if the users were taken out of the catalog.",
                EmptyHistoryWarning,
                stacklevel=5,  # past `_fit`, `fit` and what wraps it
            )

    def warn_of_cut_histories(
        self, X: pd.DataFrame, history: Rows, teller: str
    ) -> None:
        """Warn of empty slots if the catalog seems to hold latest videos only.

        `teller` is what holds the number of videos before the cut-off.
        """
        if not self.of_users or self.before is None or (history >= 0).all():
            return
        catalog = self.catalog
        authors = catalog.videos[catalog.user]
        counts = authors[authors.isin(X[self.by])].value_counts()
        if len(counts) < _FEWEST_USERS:
            return
        common = int(counts.mode().max())
        took_part = counts.index.isin(authors[catalog.is_challenge_video])
        fractions = [
            (counts[part] == common).mean() for part in (took_part, ~took_part)
        ]
        if common < _FEWEST_VIDEOS or min(fractions) < _CUT_FRACTION:
            return
        warnings.warn(
            f"Most users have exactly {common} videos in the catalog, whether they "
            "took part or not: it seems to hold the latest of each. Then who posts "
            "more after the cut-off, a participation or not, has fewer before it, and "
            f"{teller} tells. Ask make_participation for min_history="
            f"{history.shape[1]}, which is max_videos, or lower max_videos.",
            LeakageWarning,
            stacklevel=5,  # past `_fit`, `fit` and what wraps it
        )
