"""Tables in which nobody is named."""

import hashlib
import hmac
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from skchallenge._parse import IN_CAPTION
from skchallenge._schema import canonical_name
from skchallenge._table import as_frame, check_columns, check_ids, is_missing, same_text

_N_BYTES = 16  # of a pseudonym: no two ids of a table share one by chance
_SHORTEST_SALT = 16  # bytes: nobody tries them all
_FEWEST_BYTES = 8  # that differ: "aaaaaaaaaaaaaaaa" is guessed
_NAMING = {"user_id", "nickname", "signature", "avatar"}


def pseudonymize(
    videos: Any,
    *,
    salt: bytes | str,
    columns: Sequence[str] | None = None,
    texts: Sequence[str] = ("caption",),
) -> pd.DataFrame:
    """Replace ids of users by pseudonyms that only the holder of the salt can make.

    A pseudonym is the keyed hash (HMAC-SHA-256) of an id. Equal ids have equal ones,
    so groups, histories and splits stay what they are, and tables that were given the
    same salt can be joined. Without the salt, nobody can tell whether an id that they
    know stands behind one; who has it can. Keep it apart from the tables, and destroy
    it when nothing needs to be joined any more.

    Parameters
    ----------
    videos : pandas or polars DataFrame
        A table of videos, or any other that names users.
    salt : bytes or str
        The secret, of at least 16 bytes: ``secrets.token_bytes(32)`` makes one.
    columns : sequence of str or None, default=None
        Columns of ids, or of lists of them. None: ``"user_id"``, and ``"mentions"`` if
        there is one. Add ``"video_id"`` where no media are read any more.
    texts : sequence of str, default=("caption",)
        Columns of texts in which each ``@name`` becomes ``@`` and its pseudonym; what
        is not there is passed over.

    Returns
    -------
    pandas.DataFrame
        A copy of the table, rows numbered from 0, in which the ids are texts of 32
        hexadecimal digits.

    Raises
    ------
    TypeError
        If `salt` is neither bytes nor text, or a column holds no ids.
    ValueError
        If `salt` is short or hardly varies, or a column is not there.

    Warns
    -----
    UserWarning
        If columns are left that are known to name users, such as ``nickname``.

    See Also
    --------
    VideoCatalog.without_users : Take users out of a catalog.
    skchallenge.embed.EmbeddingStore.forget : Take their videos out of a store.

    Notes
    -----
    **What still identifies.** This is pseudonymous data, not anonymous. The id of a
    video leads to its page, and holds the time of posting; ``path`` and ``cover`` hold
    the id of the video. Captions, sounds, times to the second and counts find a public
    video again, and faces and voices in media say who somebody is. A name that stands
    in a text without ``@``, or in a hashtag, stays. Few users with rare histories can
    be told apart whatever they are called.

    An id and its text, 7 and "7", have one pseudonym. The name of a user and the id of
    the same user have two: where an export has ids, mentions do not join them.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.datasets import pseudonymize
    >>> videos = pd.DataFrame({
    ...     "video_id": ["v1", "v2"], "user_id": ["ann", "bob"],
    ...     "caption": ["hi @bob", "hi"], "mentions": [["bob"], []],
    ... })
    >>> hidden = pseudonymize(videos, salt="not a secret: it is in the docs")
    >>> hidden["user_id"].str.len().tolist()
    [32, 32]
    >>> hidden["caption"][0] == "hi @" + hidden["user_id"][1]
    True
    >>> hidden["mentions"][0] == [hidden["user_id"][1]]
    True
    """
    key = _check_salt(salt)
    frame = as_frame(videos, "videos").copy()
    if columns is None:
        columns = ["user_id", *(c for c in ("mentions",) if c in frame)]
    elif isinstance(columns, str):
        raise TypeError(f"columns must be a list of names, got {columns!r}.")
    check_columns(frame.columns, columns, "videos", " Name its ids with columns=[...].")

    def hide(value: Any) -> str:
        data = same_text(str(value)).encode("utf-8", "surrogatepass")
        return hmac.digest(key, data, hashlib.sha256)[:_N_BYTES].hex()

    for column in columns:
        frame[column] = _hidden(frame[column], column, hide)
    for column in set(texts) & set(frame.columns):
        frame[column] = [
            IN_CAPTION["mentions"].sub(lambda m: f"@{hide(m[1])}", text)
            if isinstance(text, str)
            else text
            for text in frame[column]
        ]
    others = frame.columns.difference([*columns, *texts])
    left = [c for c in others if canonical_name(c) in _NAMING]
    if left:
        warnings.warn(
            f"videos has further columns that name users: {left}. Drop them, or list "
            "those of ids in columns=.",
            stacklevel=2,
        )
    return frame


def _check_salt(salt: bytes | str) -> bytes:
    if not isinstance(salt, bytes | str):
        raise TypeError(
            f"salt must be bytes or text, got {type(salt).__name__}: "
            "secrets.token_bytes(32) makes one."
        )
    key = salt.encode() if isinstance(salt, str) else salt
    if len(key) < _SHORTEST_SALT or len(set(key)) < _FEWEST_BYTES:
        raise ValueError(
            f"salt must be a secret of at least {_SHORTEST_SALT} bytes that nobody "
            f"guesses, got {len(key)} bytes, {len(set(key))} of them different: "
            "secrets.token_bytes(32) makes one. Keep it to join further tables."
        )
    return key


def _hidden(
    cells: pd.Series, column: str, hide: Callable[[Any], str]
) -> list[Any] | pd.Series:
    """Return ids, or lists of them, as pseudonyms; what is missing stays."""
    if any(isinstance(cell, list | tuple) for cell in cells):
        return pd.Series(
            [
                cell if is_missing(cell) else [hide(name) for name in cell]
                for cell in cells
            ],
            index=cells.index,
            dtype=object,
        )
    known = cells.dropna()
    ids = check_ids(known, column) if len(known) else known
    return ids.map(hide).reindex(cells.index)
