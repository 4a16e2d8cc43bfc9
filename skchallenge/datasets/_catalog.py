"""The side table of all known videos."""

import hashlib
import pickle
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, Self
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_float_dtype, is_integer_dtype

from skchallenge._grammar import counter_in
from skchallenge._html import headed
from skchallenge._schema import COLUMNS, Role, canonical_name
from skchallenge._state import pack_state, unpack_state, with_version, without_version
from skchallenge._table import (
    HASH_SIGNS,
    as_frame,
    check_columns,
    check_ids,
    check_times,
    plain_ids,
    same_text,
    same_texts,
    tag_name,
)

# A sound is a challenge's own if at least half of the challenge's videos carry it
# and at most one in twenty of the videos of no challenge do ("original sound").
_OWN_SOUND_FRACTION = 0.5
_COMMON_SOUND_FRACTION = 0.05
# The user, and what an export knows as of the scrape, which is after the cut-offs.
_SCRAPED: tuple[Role, ...] = ("label_part", "post_outcome", "scrape_aggregate")
_HIDDEN = {"user_id", *(c for c, known in COLUMNS.items() if known.role in _SCRAPED)}
# Hash signs are looked at once, from the first: a caption may consist of them.
_WORD = re.compile(rf"(?<![{HASH_SIGNS}])[{HASH_SIGNS}]*\w+")
# Held while rows are added: threads of a server may append to one catalog. Readers need
# no lock, see `snapshot`.
_appending = Lock()
# What was pickled in this process and is still in use, by a digest of its state; and
# the table and the candidates that it held then.
_pickled: WeakValueDictionary[bytes, "VideoCatalog"] = WeakValueDictionary()
_held: WeakKeyDictionary["VideoCatalog", tuple[Any, Any]] = WeakKeyDictionary()
_NO_CHALLENGES = (
    " If no video is of any, pass challenge=None; make_participation finds challenges, "
    "and makes a catalog of them."
)
_OPTIONAL = {"caption": "caption", "tags": "hashtags", "sound": "song"}


class VideoCatalog:
    """Append-only table of videos, one row each, that encoders look things up in.

    A catalog is shared, never copied: `sklearn.base.clone` and `copy.deepcopy`
    return the same object, so every fold of a search sees one table. So does
    unpickling where the same catalog is at hand, which has not been appended to since
    it was pickled: a model from ``Pipeline(memory=...)``, or from a worker, shares the
    catalog that it was fitted with. Encoders that hold it see appended videos at their
    next `transform`, which is how a fitted model is served.

    The catalog holds the truth (a row with a challenge *is* a participation). What
    keeps it out of the features are the rules of `HistoryEncoder`.

    Parameters
    ----------
    videos : pandas or polars DataFrame
        One row a video. The columns of `caption`, `tags` and `sound` may be absent;
        further columns are kept for the encoders.
    video : str, default="video_id"
        Column of unique video ids: strings or numbers, of which a whole float is the
        integer that it equals.
    user : str, default="user_id"
        Column of the ids of the users who made the videos, as above.
    challenge : str or None, default="challenge"
        Column of the studied challenges that the video takes part in: missing, one
        name, or a list of names. None: there are none, as a table of past videos needs.
    time : str, default="create_time"
        Column of upload times: datetimes, or numbers of one unit.
    caption : str, default="caption"
        Column of captions.
    tags : str, default="hashtags"
        Column of lists of hashtags.
    sound : str, default="song"
        Column of sounds.
    candidates : iterable of user ids or None, default=None
        Users who may appear in pairs; None means all.

    Attributes
    ----------
    videos : pandas.DataFrame
        The table, in the order of arrival. Treat it as read-only.
    candidates : frozenset or None
        Users who may appear in pairs.
    challenges : list
        Names of all challenges, sorted.
    memberships : pandas.DataFrame with columns `row`, `challenge`
        One line per video and challenge that it takes part in.
    is_challenge_video : ndarray of bool of shape (n_videos,)
        Whether each video takes part in any challenge.
    has_challenge_sound : ndarray of bool of shape (n_videos,)
        Whether each video carries the own sound of any challenge: one that at least
        half of the challenge's videos carry and at most 5 % of the videos of no
        challenge, so that "original sound" is none.
    hidden_columns : list
        Columns that no encoder sees: the users and the challenges, other names of the
        users, and what `skchallenge.tabular.column_roles` knows to be counted or told
        as of the scrape, such as likes and followers. An export's counts of an old
        video hold what came after a cut-off, taking part among it.

    See Also
    --------
    make_participation : Makes a catalog, pairs and labels from a table of videos.
    HistoryEncoder : Looks up the videos of a user or a challenge.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": ["v1", "v2"], "user_id": ["ann", "bob"],
    ...     "challenge": [None, "dance"], "create_time": [10, 20],
    ...     "caption": ["my cat", "my turn! #Dance #fun"],
    ... }))
    >>> catalog
    VideoCatalog(2 videos, 2 users, 1 challenges)
    >>> catalog.encoder_view([1])["caption"].tolist()
    ['my turn!  #fun']
    """

    def __init__(
        self,
        videos: Any,
        *,
        video: str = "video_id",
        user: str = "user_id",
        challenge: str | None = "challenge",
        time: str = "create_time",
        caption: str = "caption",
        tags: str = "hashtags",
        sound: str = "song",
        candidates: Iterable[Any] | None = None,
    ) -> None:
        self.video, self.user, self.challenge, self.time = video, user, challenge, time
        self.caption, self.tags, self.sound = caption, tags, sound
        self.videos = self._check(as_frame(videos, "videos"), _NO_CHALLENGES)
        self._check_optional_columns()
        self.candidates = (
            None if candidates is None else _read_users(candidates, "candidates")
        )
        if self.candidates:
            listed = pd.Series(list(self.candidates))
            check_ids(listed, "candidates", like=self.videos[user])

    def append(self, videos: Any) -> Self:
        """Add new videos; rows that are already there never change.

        Fitted models may go on predicting in other threads meanwhile.

        Parameters
        ----------
        videos : pandas or polars DataFrame
            Rows with the columns of the catalog. Optional columns may be absent and
            are then missing; unknown columns are refused.

        Returns
        -------
        self : VideoCatalog
            The same catalog, longer.

        Raises
        ------
        ValueError
            If a video id is known already, or the columns do not fit.
        TypeError
            If ids or times are of another type than the catalog's.
        """
        with _appending:
            self._append(as_frame(videos, "videos"))
        return self

    def without_users(self, users: Iterable[Any]) -> Self:
        """Return a catalog that has never heard of some users.

        This one stays as it is: rows never change, and fitted models hold it. Fit them
        anew with what is returned, then let go of the old catalog and of all files
        that hold it.

        Parameters
        ----------
        users : iterable of user ids
            Their videos and their places among the candidates are left out. What
            others' captions and mentions say of them stays.

        Returns
        -------
        catalog : VideoCatalog
            A new catalog, with all other rows in their order.

        Raises
        ------
        TypeError
            If `users` is no list of ids, or they are of another type than the
            catalog's.
        ValueError
            If the catalog does not know a user.

        See Also
        --------
        skchallenge.embed.EmbeddingStore.forget : Take their videos out of a store.
        pseudonymize : Replace the ids of users by others.

        Examples
        --------
        >>> import pandas as pd
        >>> from skchallenge import VideoCatalog
        >>> catalog = VideoCatalog(pd.DataFrame({
        ...     "video_id": ["v1", "v2"], "user_id": ["ann", "bob"],
        ...     "challenge": [None, "dance"], "create_time": [10, 20],
        ... }))
        >>> catalog.without_users(["ann"])
        VideoCatalog(1 videos, 1 users, 1 challenges)
        """
        gone = _read_users(users, "users")
        now = snapshot(self)
        known = now.videos[self.user]
        check_ids(pd.Series(list(gone), dtype=object), "users", like=known)
        unknown = gone.difference(known, now.candidates or ())
        if unknown:
            raise ValueError(
                f"users must be known to the catalog, which has neither videos nor "
                f"candidates called {sorted(unknown)[:5]}."
            )
        rest = VideoCatalog.__new__(type(self))
        kept = now.videos[~known.isin(gone)].reset_index(drop=True)
        candidates = None if now.candidates is None else now.candidates - gone
        state = _without_caches(now.__dict__)
        rest.__dict__ = {**state, "videos": kept, "candidates": candidates}
        return rest

    def _append(self, new: pd.DataFrame) -> None:
        unknown = [c for c in new.columns if c not in self.videos.columns]
        if unknown:
            raise ValueError(
                f"videos has columns that the catalog lacks: {unknown}. Drop them; "
                f"the catalog has {list(self.videos.columns)}."
            )
        new = self._check(new)
        for column in (self.video, self.user):
            check_ids(new[column], column, like=self.videos[column])
        check_times(new[self.time], self.time, like=self.videos[self.time])
        studied = self.memberships["challenge"]
        taken = self._memberships(new)["challenge"]
        check_ids(taken, str(self.challenge), like=studied)
        known = new[self.video].isin(self.videos[self.video])
        if known.any():
            raise ValueError(
                f"videos holds ids that the catalog has already, such as "
                f"{new[self.video][known].tolist()[0]!r}: rows are never altered."
            )
        new = new.reindex(columns=self.videos.columns)
        joined = pd.concat([self.videos, new], ignore_index=True)
        for column in (self.video, self.user):
            if is_float_dtype(joined[column]) and is_integer_dtype(new[column]):
                raise TypeError(  # int64 beside uint64
                    f"{column} must hold strings or integers of one type: some are too "
                    "large for the others'. Make all of them strings."
                )
        # A new state: other threads go on with the old one, see `snapshot`.
        self.__dict__ = {**_without_caches(self.__dict__), "videos": joined}

    @cached_property
    def memberships(self) -> pd.DataFrame:
        """One line per (video, challenge): its row number and the challenge's name."""
        return self._memberships(self.videos)

    def _memberships(self, videos: pd.DataFrame) -> pd.DataFrame:
        if self.challenge is None:
            return pd.DataFrame({"row": np.empty(0, dtype=np.intp), "challenge": []})
        names = [_as_list(cell) for cell in videos[self.challenge]]
        rows = np.repeat(np.arange(len(names)), [len(row) for row in names])
        flat = pd.Series([name for row in names for name in row], dtype=object)
        return pd.DataFrame({"row": rows, "challenge": plain_ids(flat)})

    @property
    def challenges(self) -> list[Any]:
        """Names of all challenges, sorted."""
        return sorted(self.memberships["challenge"].unique())

    @cached_property
    def is_challenge_video(self) -> NDArray[np.bool_]:
        """Whether each video takes part in any studied challenge."""
        mask = np.zeros(len(self.videos), dtype=bool)
        mask[self.memberships["row"]] = True
        return mask

    @cached_property
    def has_challenge_sound(self) -> NDArray[np.bool_]:
        """Whether each video carries the own sound of any challenge."""
        if self.sound not in self.videos:
            return np.zeros(len(self.videos), dtype=bool)
        sound = same_texts(self.videos[self.sound])
        members = self.memberships
        inside = sound.iloc[members["row"]].groupby(members["challenge"].to_numpy())
        # Videos without a sound count: a sound that few carry is nobody's own.
        fraction = inside.value_counts(normalize=True, dropna=False)
        is_frequent = fraction >= _OWN_SOUND_FRACTION
        frequent = fraction.index.get_level_values(1)[is_frequent]
        outside = sound[~self.is_challenge_video]
        outside = outside.value_counts(normalize=True, dropna=False)
        named = [s for s in frequent if not pd.isna(s) and s != ""]
        own = [s for s in named if outside.get(s, 0.0) <= _COMMON_SOUND_FRACTION]
        return sound.isin(own).to_numpy()

    @cached_property
    def hidden_columns(self) -> list[Any]:
        """Columns that `encoder_view` leaves out."""
        seen = [self.video, self.time, self.caption, self.tags, self.sound]
        names = {c: str(c) for c in self.videos}
        known = {c: canonical_name(n) or counter_in(n) for c, n in names.items()}
        return [
            column
            for column, name in known.items()
            if column in (self.user, self.challenge)
            or (name in _HIDDEN and column not in seen)
        ]

    def encoder_view(self, rows: Sequence[int] | NDArray[np.intp]) -> pd.DataFrame:
        """Return videos as an encoder may see them.

        Parameters
        ----------
        rows : array-like of int of shape (n,)
            Row numbers.

        Returns
        -------
        videos : pandas.DataFrame of shape (n, n_columns)
            The rows without the hidden columns, and with the names of all studied
            challenges taken out of captions and tags, whatever their case and Unicode
            form. In captions that is the word itself too, with or without hash sign.
        """
        table = self.videos.iloc[np.asarray(rows, dtype=np.intp)]
        table = table.drop(columns=self.hidden_columns).reset_index(drop=True)
        pattern = self._tag_pattern
        if pattern is None:
            return table
        names = {tag_name(name) for name in self.challenges}
        if self.caption in table:
            captions = [_scrub(c, pattern, names) for c in table[self.caption]]
            table[self.caption] = captions
        if self.tags in table:
            tags = [_scrub_tags(t, pattern, names) for t in table[self.tags]]
            table[self.tags] = pd.Series(tags, dtype=object)
        return table

    @cached_property
    def _tag_pattern(self) -> re.Pattern[str] | None:
        """Match a studied challenge's name as a whole word, hash sign or not."""
        raw = {str(name).lstrip(HASH_SIGNS) for name in self.memberships["challenge"]}
        names = {form for name in raw for form in (name, name.casefold())} - {""}
        if not names:
            return None
        longest_first = sorted(names, key=lambda n: (-len(n), n))
        body = "|".join(re.escape(n) for n in longest_first)
        return re.compile(rf"(?:[{HASH_SIGNS}]|(?<!\w))(?:{body})(?!\w)", re.IGNORECASE)

    def _check_optional_columns(self) -> None:
        for role, default in _OPTIONAL.items():
            column = getattr(self, role)
            if column != default:  # a name that was misspelt would turn a rule off
                check_columns(self.videos.columns, [column], "videos")

    def _check(self, videos: pd.DataFrame, remedy: str = "") -> pd.DataFrame:
        needed = [self.video, self.user, self.time]
        studied = [] if self.challenge is None else [self.challenge]
        hint = ""
        if studied and self.challenge not in videos.columns:
            hint = (
                f" Column {self.challenge!r} has the studied challenges of each video: "
                f"None where a video is of none.{remedy}"
            )
        check_columns(videos.columns, [*needed, *studied], "videos", hint)
        for column in (self.video, self.user):
            videos[column] = check_ids(videos[column], column)
        check_times(videos[self.time], self.time)
        check_ids(self._memberships(videos)["challenge"], str(self.challenge))
        repeated = videos[self.video].duplicated()
        if repeated.any():
            raise ValueError(
                f"{self.video} must be unique, but "
                f"{videos[self.video][repeated].tolist()[0]!r} occurs more than once. "
                "Keep one row a video; a video of several challenges has a list in "
                f"column {self.challenge!r}."
            )
        return videos

    def __len__(self) -> int:
        return len(self.videos)

    def __repr__(self) -> str:
        return (
            f"VideoCatalog({len(self)} videos, {self.videos[self.user].nunique()} "
            f"users, {len(self.challenges)} challenges)"
        )

    def _repr_html_(self) -> str:
        return headed(repr(self), self.videos)

    def __sklearn_clone__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Any:
        """Pickle the state, by whose digest an unpickled catalog finds this one."""
        now = snapshot(self)
        state = now.__getstate__()
        _pickled[_digest(state)] = self
        _held[self] = now.videos, now.candidates
        return _unpickle, (type(self), state)

    def __getstate__(self) -> dict[str, Any]:
        state = _without_caches(self.__dict__)
        if self.candidates is not None:  # in one order: joblib digests the state
            state["candidates"] = pd.Series(sorted(self.candidates), dtype=object)
        return with_version(pack_state(state))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = without_version(state)
        self.__dict__.update(unpack_state(state))
        if self.candidates is not None:
            self.candidates = frozenset(self.candidates)


def _unpickle(kind: type[VideoCatalog], state: dict[str, Any]) -> VideoCatalog:
    """Return the catalog of this process that was pickled in this state, or a new one.

    A cache that pickles, or a worker that sends a model back, must not part a model
    from its catalog: videos that are appended to the one would be missing in the other.
    joblib has pickled a catalog, to digest it, before it loads what it has of it.
    """
    live = _pickled.get(_digest(state))
    if live is not None:
        videos, candidates = _held[live]
        if live.videos is videos and live.candidates is candidates:
            return live
    catalog = kind.__new__(kind)
    catalog.__setstate__(state)
    return catalog


def _digest(state: dict[str, Any]) -> bytes:
    """Return what only equal tables under equal names have."""
    data = pickle.dumps(sorted(state.items()), protocol=5)
    return hashlib.blake2b(data, digest_size=16).digest()


def snapshot(catalog: VideoCatalog) -> VideoCatalog:
    """Return the catalog of the moment, which appending does not change.

    What is worked out from the table is kept for both, as long as they are the same.
    """
    now = VideoCatalog.__new__(VideoCatalog)
    now.__dict__ = catalog.__dict__
    return now


def _without_caches(state: dict[str, Any]) -> dict[str, Any]:
    """Drop what is worked out from the table."""
    derived = {k for k, v in vars(VideoCatalog).items() if type(v) is cached_property}
    return {k: v for k, v in state.copy().items() if k not in derived}


def _read_users(users: Iterable[Any], name: str) -> frozenset[Any]:
    if isinstance(users, str):
        raise TypeError(f"{name} must be a list of ids, got {users!r}.")
    if hasattr(users, "columns"):
        raise TypeError(f"{name} must be a list of ids, got a table.")
    return frozenset(same_text(u) if isinstance(u, str) else u for u in users)


def _as_list(value: Any) -> list[Any]:
    """Read a challenge cell: missing, one name, or several."""
    if isinstance(value, str):
        return [value] if value else []
    is_list = isinstance(value, Iterable) and not isinstance(value, bytes | bytearray)
    values = value if is_list else [value]  # of bytes it would be numbers
    values = [same_text(v) if isinstance(v, str) else v for v in values]
    return list(dict.fromkeys(v for v in values if not pd.isna(v) and v != ""))


def _scrub(caption: Any, pattern: re.Pattern[str], names: set[str]) -> Any:
    """Take names out of a text.

    The pattern finds names that are more than one word; full case folding, which
    makes "ß" equal to "SS", needs a look at each word.
    """
    if not isinstance(caption, str):
        return caption
    text = pattern.sub("", same_text(caption))
    return _WORD.sub(lambda m: "" if tag_name(m[0]) in names else m[0], text).strip()


def _scrub_tags(tags: Any, pattern: re.Pattern[str], names: set[str]) -> Any:
    """Drop tags of studied challenges from a list; a string is read as a caption."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        return _scrub(tags, pattern, names)
    return [t for t in tags if tag_name(t) not in names]
