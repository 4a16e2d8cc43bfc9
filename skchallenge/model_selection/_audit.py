"""What the two sides of a split share."""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from skchallenge._rules import ParticipationRules, challenge_column, check_catalog
from skchallenge._table import check_columns, check_real, read_duration, time_values
from skchallenge._time_index import Rows
from skchallenge.datasets._catalog import VideoCatalog, snapshot
from skchallenge.model_selection._clusters import challenge_clusters

_N_EXAMPLES = 3
_FEWEST_WORDS = 4  # fewer are alike by chance
_MAX_VIDEOS = 8  # of a user's history, the default of the encoders
_WORD = re.compile(r"\w+")


def audit_split(
    data: Any,
    train: ArrayLike,
    test: ArrayLike,
    *,
    horizon: Any = None,
    overlap: float = 0.2,
    time: str = "time",
) -> pd.DataFrame:
    """Count what training and test rows share, with examples.

    Not all of it is a fault: users on both sides are right if the question is about
    known users. What the table shows is the question that a score answers.

    Parameters
    ----------
    data : sklearn.utils.Bunch
        With `pairs`, `y` (0 or 1) and `catalog`, as `make_participation` returns it.
    train : array-like of int of shape (n_train,)
        Row numbers of the pairs that a model is trained on.
    test : array-like of int of shape (n_test,)
        Row numbers of the pairs that it is scored on.
    horizon : str, pandas.Timedelta, number or None, default=None
        Length of the windows in which taking part counted. None is ``data.horizon``.
    overlap : float, default=0.2
        When two challenges are siblings, see `ChallengeClusterKFold`.
    time : str, default="time"
        Column of the pairs with the cut-offs.

    Returns
    -------
    audit : pandas.DataFrame
        One row a check, with columns `count`, `of` (how many there are), `fraction`
        and `examples` (a list of at most three):

        ``rows``
            Test rows that are training rows.
        ``users``
            Users of test rows that have training rows.
        ``challenges``
            Challenges of test rows that have training rows.
        ``sibling challenges``
            Challenges of test rows without training rows, but with a sibling that has
            some; examples are pairs of names.
        ``videos``
            Test positives whose video is that of a training positive, under another
            tag or the same; examples are video ids.
        ``captions``
            Videos in the histories of test rows, of users without training rows, whose
            words are those of another user's video in the histories of training rows,
            whatever their order, case and punctuation. At least four words; the
            hashtags, where there is no caption. Examples are pairs of video ids.
        ``labels not yet known``
            Training rows whose window was not over when the first test row is asked.
            In service they would have no label; examples are (user, challenge).

    Raises
    ------
    TypeError
        If `data` has no catalog, or `horizon` does not fit the times.
    ValueError
        If a row number is out of range, `horizon` is not known, or a side is empty.

    See Also
    --------
    TimeSplit : Trains on labels that were known.
    ChallengeClusterKFold : Keeps siblings together.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.model_selection import audit_split
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": ["v1", "v2", "v3"], "user_id": ["cy", "ann", "bob"],
    ...     "challenge": [["boo", "boo2"], ["boo", "boo2"], None],
    ...     "create_time": [1, 5, 2],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["ann", "bob"] * 2, "challenge": ["boo", "boo", "boo2", "boo2"],
    ...     "time": 4,
    ... })
    >>> data = Bunch(pairs=pairs, y=[1, 0, 1, 0], catalog=catalog)
    >>> audit = audit_split(data, train=[0, 1], test=[2, 3], horizon=9)
    >>> audit.loc[["users", "sibling challenges", "videos"], ["count", "examples"]]
                        count       examples
    users                   2     [ann, bob]
    sibling challenges      1  [(boo2, boo)]
    videos                  1           [v2]
    """
    catalog = _check_data(data, time)
    check_real("overlap", overlap, "right", max_val=1)
    train, test = (
        _check_rows(rows, name, len(data.pairs))
        for rows, name in ((train, "train"), (test, "test"))
    )
    window = _window(data, horizon, time)
    past, asked = data.pairs.iloc[train], data.pairs.iloc[test]
    user, challenge = catalog.user, catalog.challenge
    checks = {
        "rows": _shared(test, train),
        "users": _shared(asked[user].unique(), past[user]),
        "challenges": _shared(asked[challenge].unique(), past[challenge]),
        "sibling challenges": _siblings(catalog, overlap, past, asked),
        "videos": _shared_videos(data, catalog, train, test, time),
        "captions": _captions(catalog, past, asked, time),
        "labels not yet known": _not_known(past, asked, window, time, catalog),
    }
    rows = {
        name: {
            "count": len(found),
            "of": total,
            "fraction": len(found) / total if total else 0.0,
            "examples": found[:_N_EXAMPLES],
        }
        for name, (found, total) in checks.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _check_data(data: Any, time: str) -> VideoCatalog:
    missing = [n for n in ("pairs", "y", "catalog") if not hasattr(data, n)]
    if missing:
        raise TypeError(
            f"data must have pairs, y and a catalog, as make_participation returns "
            f"them, but it lacks {missing}."
        )
    check_catalog(data.catalog)
    catalog = snapshot(data.catalog)
    needed = [catalog.user, challenge_column(catalog), time]
    check_columns(data.pairs.columns, needed, "data.pairs")
    return catalog


def _check_rows(rows: Any, name: str, n_rows: int) -> Rows:
    found = check_array(rows, ensure_2d=False, dtype=None, input_name=name)
    if found.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must hold row numbers, got {found.dtype} values. Pass "
            "numpy.flatnonzero(mask) for a mask."
        )
    if found.min() < 0 or found.max() >= n_rows:
        raise ValueError(
            f"{name} must hold row numbers from 0 to {n_rows - 1}, got "
            f"{found.min()} to {found.max()}."
        )
    return np.asarray(found, dtype=np.intp)


def _window(data: Any, horizon: Any, time: str) -> Any:
    if horizon is None:
        horizon = getattr(data, "horizon", None)
    if horizon is None:
        raise ValueError(
            "horizon is not known: data has none. Pass the horizon of the pairs, such "
            "as horizon='30D'."
        )
    return read_duration(horizon, "horizon", data.pairs[time])


def _shared(values: Any, others: Any) -> tuple[list[Any], int]:
    distinct = pd.Series(pd.unique(pd.Series(values)))
    return distinct[distinct.isin(others)].tolist(), len(distinct)


def _siblings(
    catalog: VideoCatalog, overlap: float, past: pd.DataFrame, asked: pd.DataFrame
) -> tuple[list[Any], int]:
    cluster = challenge_clusters(catalog, overlap).to_dict()
    trained = past[catalog.challenge].unique().tolist()
    tested = asked[catalog.challenge].unique().tolist()
    found = []
    for name in tested:
        siblings = [o for o in trained if cluster.get(o, o) == cluster.get(name, name)]
        if siblings and name not in trained:
            found.append((name, siblings[0]))
    return found, len(tested)


def _shared_videos(
    data: Any, catalog: VideoCatalog, train: Rows, test: Rows, time: str
) -> tuple[list[Any], int]:
    """Find each positive's video: the user's first of the challenge after the time."""
    user, challenge = catalog.user, catalog.challenge
    row = catalog.memberships["row"].to_numpy()
    videos = catalog.videos
    uses = pd.DataFrame(
        {
            user: videos[user].to_numpy()[row],
            challenge: catalog.memberships["challenge"],
            "use": time_values(videos[catalog.time])[row],
            "video": videos[catalog.video].to_numpy()[row],
        }
    )
    y = np.asarray(data.y)

    def answers(rows: Rows) -> "pd.Series[Any]":
        asked = data.pairs.iloc[rows[y[rows] == 1]]
        asked = pd.DataFrame(
            {
                user: asked[user].to_numpy(),
                challenge: asked[challenge].to_numpy(),
                "asked": time_values(asked[time]),
            }
        )
        later = asked.merge(uses, on=[user, challenge])
        later = later[later["use"] > later["asked"]].sort_values("use", kind="stable")
        return later.drop_duplicates([user, challenge])["video"]

    tested = answers(test)
    return tested[tested.isin(answers(train))].tolist(), int(y[test].sum())


def _captions(
    catalog: VideoCatalog, past: pd.DataFrame, asked: pd.DataFrame, time: str
) -> tuple[list[Any], int]:
    """Find videos of unseen users with the words of another user's."""
    user = catalog.user
    unseen = asked[~asked[user].isin(past[user])]
    known = _words(catalog, past, time)
    tested = _words(catalog, unseen, time)
    like = dict(zip(known["words"], known["video"], strict=True))
    found = [
        (video, like[words])
        for video, words in zip(tested["video"], tested["words"], strict=True)
        if words in like and like[words] != video
    ]
    return found, len(tested)


def _words(catalog: VideoCatalog, pairs: pd.DataFrame, time: str) -> pd.DataFrame:
    """Return the words of the videos in the histories of pairs, where enough."""
    columns = [c for c in (catalog.caption, catalog.tags) if c in catalog.videos]
    if not (len(pairs) and columns):
        return pd.DataFrame({"video": [], "words": []})
    rules = ParticipationRules(catalog, catalog.user, time, exclude=None)
    nobody = np.zeros(len(pairs), dtype=np.intp)
    history = rules.history(rules.read(pairs), _MAX_VIDEOS, nobody)
    rows = np.unique(history[history >= 0])
    seen = catalog.encoder_view(rows)
    words: list[tuple[str, ...]] = [() for _ in rows]
    for column in columns:
        found = [_words_of(cell) for cell in seen[column]]
        words = [old or new for old, new in zip(words, found, strict=True)]
    table = pd.DataFrame(
        {"video": catalog.videos[catalog.video].to_numpy()[rows], "words": words}
    )
    return table[table["words"].map(len) >= _FEWEST_WORDS]


def _words_of(cell: Any) -> tuple[str, ...]:
    if isinstance(cell, list | tuple | np.ndarray):
        cell = " ".join(map(str, cell))
    return (
        tuple(sorted(_WORD.findall(cell.casefold()))) if isinstance(cell, str) else ()
    )


def _not_known(
    past: pd.DataFrame,
    asked: pd.DataFrame,
    window: Any,
    time: str,
    catalog: VideoCatalog,
) -> tuple[list[Any], int]:
    end: NDArray[Any] = time_values(past[time]) + window
    late = past[end >= time_values(asked[time]).min()]
    names = [catalog.user, catalog.challenge]
    return list(late[names].itertuples(index=False, name=None)), len(past)
