"""Numbers from the columns of an export."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._guard import (
    check_nowcast,
    check_roles,
    column_roles,
    warn_if_leaking,
)
from skchallenge._parse import (
    numbers_of,
    plain_cells,
    read_counts,
    refuse,
    to_flags,
    to_sizes,
    to_times,
)
from skchallenge._schema import COLUMNS, canonical_name
from skchallenge._state import Versioned
from skchallenge._table import as_frame, is_missing
from skchallenge.tabular._tags import read_tag_counts

Features = dict[str, NDArray[Any]]  # of float64
Reader = Callable[["pd.Series[Any]", str], Features]


class MetadataFeaturizer(Versioned, TransformerMixin, BaseEstimator):
    """Turn the columns of an export into numbers, and refuse those that leak.

    Columns are known by their name, see `column_roles`. What is counted after the
    video was posted raises an error, unless the question is not a forecast.

    Parameters
    ----------
    nowcast : str or sequence of str, default=()
        Columns of X that are let through although they are not known in time: any name
        of a column of the roles ``post_outcome`` and ``exposure``. Ratios and scores,
        such as comments per view, go by their own names only.

    Attributes
    ----------
    column_roles_ : dict of str to str
        The role of each column of X. ``label_part`` and ``scrape_aggregate`` pass: look
        here for what a good score may rest on.
    empty_columns_ : list of str
        Columns that held no value in `fit`; they make no feature.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`.

    See Also
    --------
    LeakageGuard : Refuses the same columns, and passes the others on as they are.
    column_roles : What each column may be used for.
    TagBinarizer : One column a tag.
    SentimentFeaturizer : The tone of a caption.
    PastCreatorStats : What is known of the creator's earlier videos.

    Notes
    -----
    ==================  ===========================  ===================================
    column              features                     values
    ==================  ===========================  ===================================
    caption             ``{c}_length``               characters
    tags of any kind    ``{c}_count``                tags
    flags               ``{c}``                      0 or 1
    durations, sizes    ``{c}``                      seconds or pixels, as they are
    counts              ``{c}_log``                  log(1 + n)
    time of posting     ``{c}_hour_sin``, ``_cos``,  points on a circle; UTC, because
                        ``{c}_weekday_sin``,         exports do not know local times
                        ``_cos``
    any other numbers   ``{c}``                      as they are
    ==================  ===========================  ===================================

    Counts may be text, also the rounded text of the platform ("304.9K"). Times are
    datetimes, ISO 8601 text or Unix seconds from 2014 to 2099; milliseconds and the
    year 1970 are refused. Missing cells become NaN; imputing and scaling are steps of a
    pipeline. Ids, also those that are integers, titles, addresses and unknown text are
    refused: only you know what they should become.

    The raw time of posting is no feature, because it says how long the video has been
    seen. ``nowcast=["create_time"]`` adds it, in days since 1970.

    With binary y and 1,000 rows or more, columns that give the label away by what they
    hold are warned of, see `LeakageGuard`. Renamed comments and shares cannot be told
    from honest columns.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.tabular import MetadataFeaturizer
    >>> videos = pd.DataFrame({
    ...     "caption": ["new shoes", ""], "n_followers": ["1.5K", 20],
    ...     "duration_s": [15.0, None], "n_likes": [3, 4],
    ... })
    >>> featurizer = MetadataFeaturizer().set_output(transform="pandas")
    >>> featurizer.fit_transform(videos[["caption", "n_followers", "duration_s"]])
       caption_length  n_followers_log  duration_s
    0             9.0         7.313887        15.0
    1             0.0         3.044522         NaN
    >>> featurizer.column_roles_["n_followers"]
    'label_part'
    >>> featurizer.fit(videos)
    Traceback (most recent call last):
        ...
    skchallenge.exceptions.LeakageError: X has the column 'n_likes' (n_likes), whose
    role is 'post_outcome': it is counted after the video was posted. Drop it. To
    describe videos that are online rather than predict, pass nowcast=('n_likes',).
    """

    def __init__(self, *, nowcast: str | Sequence[str] = ()) -> None:
        self.nowcast = nowcast

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the columns and learn which of them are empty.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Columns of an export.
        y : array-like of shape (n_samples,) or None, default=None
            Labels, for the search for leaks only.

        Returns
        -------
        self : MetadataFeaturizer
            The fitted featurizer.

        Raises
        ------
        LeakageError
            If a column is not known in time and `nowcast` does not list it.
        TypeError
            If X has no named columns, or `nowcast` holds other things than strings.
        ValueError
            If a column cannot be read, or X has no column that `nowcast` lists.

        Warns
        -----
        LeakageWarning
            If a column gives y away by what it holds.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Fit, and return the features that were made on the way.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,) or None, default=None
            As in `fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            As in `transform`.
        """
        return np.column_stack(list(self._fit(X, y).values()))

    def _fit(self, X: Any, y: Any) -> Features:
        frame = self._check(X, reset=True)
        names: list[Any] = list(frame)
        nowcast = check_nowcast(self.nowcast, names)
        check_roles([c for c in names if _kind(c) != "time"], nowcast)
        self._raw_times = _allowed_times(names, nowcast)
        self.column_roles_ = column_roles(names)
        self.empty_columns_ = [c for c in names if all(map(is_missing, frame[c]))]
        features = self._features(frame)
        if not features:
            raise ValueError(
                f"X must hold a value in at least one column, but all of "
                f"{self.empty_columns_} are missing in every row."
            )
        self._names = list(features)
        if y is not None:
            table = pd.DataFrame(features)
            roles = column_roles(features)
            # The user's line calls `fit` or `fit_transform`, and these this.
            warn_if_leaking(table, y, roles, stacklevel=4, nowcast=nowcast)
        return features

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Make the features.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            float64, NaN where a cell is missing.
        """
        check_is_fitted(self)
        return np.column_stack(
            list(self._features(self._check(X, reset=False)).values())
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            See the table in Notes of the class.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        return np.array(self._names, dtype=object)

    def _check(self, X: Any, *, reset: bool) -> pd.DataFrame:
        frame = as_frame(X, "X")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return frame

    def _features(self, frame: pd.DataFrame) -> Features:
        features: Features = {}
        for column in frame:
            if column in self.empty_columns_:
                continue
            name = str(column)
            made = _READERS[_kind(name)](frame[column], name)
            if column in self._raw_times:
                made[name] = _days(frame[column], name)
            twice = made.keys() & features
            if twice:
                raise ValueError(
                    f"X has two columns that make the feature {min(twice)!r}, the "
                    f"second is {name!r}. Rename or drop one of them."
                )
            features |= made
        return features

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table with named columns, not numbers
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags


def _allowed_times(columns: Iterable[str], nowcast: Iterable[str]) -> list[str]:
    if "time" not in map(_kind, nowcast):
        return []
    return [c for c in columns if _kind(c) == "time"]


def _kind(column: str) -> str:
    """Return what a column holds, which says how to read it: numbers, if unknown."""
    name = canonical_name(column, logarithms=False)
    if name is None or name == "caption":
        return name or "number"
    # Whoever lets an id through, to nowcast, has it as the number that it is.
    return "number" if name == "video_id" else COLUMNS[name].kind


def _utc_times(values: "pd.Series[Any]", label: str) -> "pd.Series[Any]":
    """Read datetimes, ISO 8601 text or Unix seconds as UTC without a time zone."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        return to_times(plain_cells(values), label)
    utc = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    seconds = (utc - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    to_times(plain_cells(seconds), label)  # the same years are refused
    return utc


def _length(values: "pd.Series[Any]", name: str) -> Features:
    lengths = [np.nan if is_missing(v) else float(len(str(v))) for v in values]
    return {f"{name}_length": np.array(lengths)}


def _tag_count(values: "pd.Series[Any]", name: str) -> Features:
    return {f"{name}_count": read_tag_counts(values, name)}


def _flag(values: "pd.Series[Any]", name: str) -> Features:
    flags = to_flags(plain_cells(values), name)
    return {name: flags.to_numpy(dtype=float, na_value=np.nan)}


def _size(values: "pd.Series[Any]", name: str) -> Features:
    return {name: to_sizes(plain_cells(values), name).to_numpy(dtype=np.float64)}


def _count(values: "pd.Series[Any]", name: str) -> Features:
    return {f"{name}_log": np.log1p(read_counts(values, name))}


def _days(values: "pd.Series[Any]", name: str) -> NDArray[Any]:
    age = _utc_times(values, name) - pd.Timestamp(0)
    return (age / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)


def _time(values: "pd.Series[Any]", name: str) -> Features:
    days = _days(values, name)
    # 1 January 1970 was a Thursday; the circle starts at Monday, 0:00.
    angles = {"hour": days % 1, "weekday": np.floor(days + 3) % 7 / 7}
    return {
        f"{name}_{what}_{wave.__name__}": wave(2 * np.pi * angle)
        for what, angle in angles.items()
        for wave in (np.sin, np.cos)
    }


def _numbers(values: "pd.Series[Any]", name: str) -> Features:
    cells = plain_cells(values)
    numbers = numbers_of(cells)
    bad = (numbers.isna() | np.isinf(numbers)) & cells.notna()
    rule = (
        "finite numbers: no feature is known for this column. Drop it, or encode it "
        "in a step of its own"
    )
    refuse(bad, cells, f"X[{name!r}]", rule)
    return {name: numbers.to_numpy(dtype=np.float64)}


def _no_feature(values: "pd.Series[Any]", name: str) -> Features:
    raise ValueError(
        f"X[{name!r}] makes no feature: ids, titles and addresses are no numbers, even "
        "where they look so. Drop the column, or encode it in a step of its own."
    )


_READERS: dict[str, Reader] = {
    "id": _no_feature,
    "text": _no_feature,
    "caption": _length,
    "tags": _tag_count,
    "flag": _flag,
    "size": _size,
    "count": _count,
    "time": _time,
    "number": _numbers,
}
