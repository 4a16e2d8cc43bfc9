"""The gate before the feed: pass, reject, or let a human look."""

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skchallenge._state import Versioned
from skchallenge._table import read_paths
from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._quality import Quality
from skchallenge.media._read import read_qualities

OUTCOMES = ("pass", "review", "reject")  # from the best to the worst
Bounds = tuple[float | None, float | None] | None
_OF_TAGGERS = ("transform", "get_feature_names_out")
_MEASURES: dict[str, Any] = {
    "width": "Int64",
    "height": "Int64",
    "duration_s": "float64",
    "black_share": "float64",
    "frozen_share": "float64",
    "loudness_lufs": "float64",
}


class Rule(NamedTuple):
    """One thing that is looked at.

    Attributes
    ----------
    parameter : str
        Of the gate; starts with ``min`` or ``max``.
    name : str
        In reasons.
    unit : str
        In reasons, behind the number.
    measure : callable
        Takes it from a file's quality.
    """

    parameter: str
    name: str
    unit: str
    measure: Callable[[Quality], float]

    @property
    def is_least(self) -> bool:
        """Whether less than the bound is worse."""
        return self.parameter.startswith("min")


class Finding(NamedTuple):
    """What a rule has found: an outcome other than pass, and why."""

    outcome: str
    reason: str


def _loudness(quality: Quality) -> float:
    return -math.inf if quality.loudness_lufs is None else quality.loudness_lufs


RULES = (
    Rule("min_side", "shorter side", " px", lambda q: min(q.width, q.height)),
    Rule("min_duration_s", "duration", " s", lambda q: q.duration_s),
    Rule("max_duration_s", "duration", " s", lambda q: q.duration_s),
    Rule("max_black_share", "black share", "", lambda q: q.black_share),
    Rule("max_frozen_share", "frozen share", "", lambda q: q.frozen_share),
    Rule("min_loudness_lufs", "loudness", " LUFS", _loudness),
    Rule("max_loudness_lufs", "loudness", " LUFS", _loudness),
    Rule("max_violation", "violation", "", lambda q: math.nan),  # by classifiers
)


class ReviewGate(Versioned, BaseEstimator):
    """Sort videos into pass, human review and reject, with reasons.

    Basic quality is measured from the file: resolution, duration, black and frozen
    pictures, loudness. Policy is judged by classifiers that you bring. Each rule has
    two bounds, ``(reject, review)``: what is worse than the first is rejected, what is
    worse than the second is for a human to see. The worst finding decides.

    Parameters
    ----------
    classifiers : sequence of (str, estimator), default=()
        Names and fitted binary classifiers with `predict_proba`, for example one for
        each rule of a policy. They get the rows of X whose files can be read; the
        probability of their second class is that of a violation.

        A fitted transformer that names its columns, such as
        :class:`~skchallenge.embed.FrameTagger`, will do too: it gets the paths, and the
        column of the entry's name, ``{path}_{name}``, is the probability; missing is
        for a human. If several entries share one object, ``[("weapon", tagger),
        ("fight", tagger)]``, it is asked once.

        Wrap either in `sklearn.frozen.FrozenEstimator`, or `clone` returns a gate with
        unfitted ones.
    path : int or str, default=0
        Column of X with the paths of the files, by position or by name.
    min_side : tuple or None, default=(144, 360)
        Pixels of the shorter side, ``(reject, review)``. Either bound, here and below,
        may be None, and so may be both.
    min_duration_s : tuple or None, default=(0.5, 2.0)
        Least seconds. A still image has 0.
    max_duration_s : tuple or None, default=(None, 600.0)
        Most seconds. `limits` rejects too.
    max_black_share : tuple or None, default=(0.9, 0.3)
        Most of the time, as a fraction in [0, 1], in which the picture is black.
    max_frozen_share : tuple or None, default=(None, 0.5)
        Most of the time, as a fraction in [0, 1], in which the picture stands still for
        second or longer, as in a slide show.
    min_loudness_lufs : tuple or None, default=(None, -40.0)
        Least integrated loudness by EBU R 128. Silence, or no sound, is -inf.
    max_loudness_lufs : tuple or None, default=(None, -5.0)
        Most loudness.
    max_violation : tuple or None, default=(0.95, 0.5)
        Highest probability of a violation, of each classifier.
    limits : MediaLimits or None, default=None
        What a file may cost in pixels, duration and time; None is ``MediaLimits()``.
    n_jobs : int or None, default=None
        Files decoded side by side: None is 1 unless `joblib.parallel_config` says
        otherwise, -1 is one a core.

    Attributes
    ----------
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all were strings.

    Raises
    ------
    NotFittedError
        By `fit`, if a classifier is not fitted.
    TypeError
        If the column of paths holds anything else, or a classifier gives no
        probabilities.
    ValueError
        If a parameter has a wrong value, a classifier is not binary, or a transformer
        has no column of the name.

    See Also
    --------
    DuplicateFinder : Compares videos with each other.
    probe_media : Tells what files hold, without judging them.

    Notes
    -----
    The bounds are a starting point for your own, not those of any platform.

    A file that is missing or unreadable, or is beyond `limits`, is rejected with its
    reason: nobody can watch it. Sound that does not decode is for a human.

    FFmpeg's own filters measure: ``blackdetect`` and ``freezedetect`` on pictures of
    96 x 96 pixels, ``ebur128`` on the sound. A file is decoded in a worker process,
    which may hang or crash without harm to the run.

    `fit` learns the columns of X and checks the classifiers; it opens no file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import av
    >>> import numpy as np
    >>> from skchallenge.feed import ReviewGate
    >>> noise = np.random.default_rng(0).integers(0, 255, (30, 360, 640), np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     with av.open(f"{folder}/a.mp4", "w") as container:
    ...         stream = container.add_stream("libx264", rate=10)
    ...         stream.width, stream.height = 640, 360
    ...         stream.options = {"preset": "ultrafast"}
    ...         for picture in noise:
    ...             frame = av.VideoFrame.from_ndarray(picture, format="gray")
    ...             container.mux(stream.encode(frame))
    ...         container.mux(stream.encode(None))
    ...     gate = ReviewGate().fit([f"{folder}/a.mp4"])
    ...     table = gate.review([f"{folder}/a.mp4", f"{folder}/b.mp4"])
    >>> for row in table.itertuples():
    ...     print(row.outcome, "|", row.reasons)
    review | review: loudness of -inf LUFS is under -40
    reject | reject: cannot be opened (No such file or directory).
    """

    def __init__(
        self,
        classifiers: Sequence[tuple[str, Any]] = (),
        *,
        path: int | str = 0,
        min_side: Bounds = (144, 360),
        min_duration_s: Bounds = (0.5, 2.0),
        max_duration_s: Bounds = (None, 600.0),
        max_black_share: Bounds = (0.9, 0.3),
        max_frozen_share: Bounds = (None, 0.5),
        min_loudness_lufs: Bounds = (None, -40.0),
        max_loudness_lufs: Bounds = (None, -5.0),
        max_violation: Bounds = (0.95, 0.5),
        limits: MediaLimits | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.classifiers = classifiers
        self.path = path
        self.min_side = min_side
        self.min_duration_s = min_duration_s
        self.max_duration_s = max_duration_s
        self.max_black_share = max_black_share
        self.max_frozen_share = max_frozen_share
        self.min_loudness_lufs = min_loudness_lufs
        self.max_loudness_lufs = max_loudness_lufs
        self.max_violation = max_violation
        self.limits = limits
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the columns and check the parameters; no file is opened.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Paths, or a table with a column of paths and whatever columns the
            classifiers want.
        y : None
            Ignored.

        Returns
        -------
        self : ReviewGate
            The fitted gate.
        """
        for rule in RULES:
            _check_bounds(rule, getattr(self, rule.parameter))
        check_limits(self.limits)
        _check_classifiers(self.classifiers)
        read_paths(self, X, reset=True, column=self.path)
        return self

    def predict(self, X: Any) -> NDArray[np.str_]:
        """Return the outcome of each row.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            As in `fit`.

        Returns
        -------
        outcome : ndarray of shape (n,)
            ``"pass"``, ``"review"`` or ``"reject"``.
        """
        return self.review(X)["outcome"].to_numpy(dtype=str)

    def review(self, X: Any) -> pd.DataFrame:
        """Return outcome, reasons and measurements of each row.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            As in `fit`.

        Returns
        -------
        table : pandas.DataFrame
            One row a row of X, with its index if it has one; missing where unknown.

            =============  =======================================================
            outcome        ``"pass"``, ``"review"`` or ``"reject"``
            reasons        each with its outcome in front, the worst first,
                           separated by ``"; "``; empty for a pass
            width, height  pixels of the frames as stored
            duration_s     seconds; 0 for a still image
            black_share    fraction of the time in which the picture is black
            frozen_share   fraction of the time in which it stands still
            loudness_lufs  integrated loudness; -inf for silence and for no sound
            p_<name>       probability of a violation, by each classifier
            =============  =======================================================

        Raises
        ------
        ValueError
            If a classifier returns anything but probabilities.
        """
        check_is_fitted(self)
        paths = read_paths(self, X, reset=False, column=self.path)
        n_threads = joblib.effective_n_jobs(self.n_jobs)
        measured = [
            str(found) if isinstance(found, MediaError) else found
            for found in read_qualities(paths, n_threads=n_threads, limits=self.limits)
        ]
        rows = [row for row, m in enumerate(measured) if isinstance(m, Quality)]
        chances = self._chances(X, paths, rows)
        findings = [
            list(self._findings(quality, {name: p[row] for name, p in chances.items()}))
            for row, quality in enumerate(measured)
        ]
        return _table(measured, chances, findings, getattr(X, "index", None))

    def _chances(
        self, X: Any, paths: list[str | None], rows: list[int]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the chances of a violation; missing in rows that are not read."""
        chances = {name: np.full(len(paths), np.nan) for name, _ in self.classifiers}
        tagged: dict[int, NDArray[np.float64]] = {}  # by id: each is asked once
        for name, classifier in self.classifiers if rows else ():
            if hasattr(classifier, "predict_proba"):
                proba = classifier.predict_proba(_safe_indexing(X, rows))[:, 1]
            else:
                if id(classifier) not in tagged:
                    tagged[id(classifier)] = _tags(classifier, [paths[r] for r in rows])
                proba = tagged[id(classifier)][:, _column_of(name, classifier)]
            wrong = ~((proba >= 0) & (proba <= 1))
            if not hasattr(classifier, "predict_proba"):
                wrong &= ~np.isnan(proba)
            if wrong.any():
                raise ValueError(
                    "classifiers must return probabilities in [0, 1], but "
                    f"{name!r} returned {proba[wrong][0]}. Correct it."
                )
            chances[name][rows] = proba
        return chances

    def _findings(
        self, quality: Quality | str, chances: dict[str, float]
    ) -> Iterator[Finding]:
        if isinstance(quality, str):
            yield Finding("reject", quality)
            return
        for rule in RULES:
            bounds = getattr(self, rule.parameter)
            if rule.parameter == "max_violation":
                for name, chance in chances.items():
                    yield from _judge(rule, bounds, chance, f"chance of {name}")
            else:
                yield from _judge(rule, bounds, rule.measure(quality), rule.name)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        return tags


def _check_classifiers(classifiers: Sequence[tuple[str, Any]]) -> None:
    names = [name for name, _ in classifiers]
    if len(set(names)) < len(names):
        raise ValueError(f"classifiers must have different names, got {names}.")
    for name, classifier in classifiers:
        is_tagger = all(hasattr(classifier, a) for a in _OF_TAGGERS)
        if not is_tagger and not hasattr(classifier, "predict_proba"):
            raise TypeError(
                "classifiers must have predict_proba, or transform and "
                f"get_feature_names_out, but {name!r} is {classifier!r}. Wrap it in "
                "sklearn.calibration.CalibratedClassifierCV."
            )
        check_is_fitted(classifier)
        if not hasattr(classifier, "predict_proba"):
            _column_of(name, classifier)
        elif len(classifier.classes_) != 2:
            raise ValueError(
                f"classifiers must be binary, but {name!r} has the classes "
                f"{list(classifier.classes_)}. Pass one for each violation."
            )


def _column_of(name: str, tagger: Any) -> int:
    """Return the position of the column that a transformer calls by a label."""
    columns = [str(column) for column in tagger.get_feature_names_out()]
    path = _path_of(tagger)
    wanted = f"{'x0' if path is None else path}_{name}"
    if columns.count(wanted) != 1:
        raise ValueError(
            f"classifiers must have one column for the name of each transformer, but "
            f"{name!r} has no {wanted!r}, or several, among {columns[:20]}. Name the "
            "entry by one of its labels."
        )
    return columns.index(wanted)


def _path_of(tagger: Any) -> str | None:
    """Return the name of a transformer's only column; None if it has none."""
    names = getattr(tagger, "feature_names_in_", None)
    n_columns = getattr(tagger, "n_features_in_", 1)
    if n_columns != 1:
        raise ValueError(
            "classifiers that are transformers must take one column, that of paths, "
            f"but {tagger!r} was fitted on {n_columns}. Fit it on the paths only."
        )
    return None if names is None else str(names[0])


def _tags(tagger: Any, paths: list[str | None]) -> NDArray[np.float64]:
    """Return what a transformer makes of paths, under the name that it knows."""
    column = pd.DataFrame({_path_of(tagger): paths}, dtype=object)
    named = hasattr(tagger, "feature_names_in_")
    found = tagger.transform(column if named else column.to_numpy())
    found = np.asarray(found, dtype=np.float64)
    n_columns = len(tagger.get_feature_names_out())
    if found.shape != (len(paths), n_columns):
        raise ValueError(
            "classifiers that are transformers must return one row a video and one "
            f"column a name, ({len(paths)}, {n_columns}), got shape {found.shape}."
        )
    return found


def _judge(rule: Rule, bounds: Bounds, value: float, name: str) -> Iterator[Finding]:
    """Yield what is worse than a bound, if anything is; unknown is for a human."""
    reject, review = bounds or (None, None)
    if math.isnan(value):
        if reject is not None or review is not None:
            yield Finding("review", f"{name} is unknown, for it does not decode")
        return
    for outcome, bound in (("reject", reject), ("review", review)):
        if bound is not None and _is_worse(rule, value, bound):
            side = "under" if rule.is_least else "over"
            number = f"{round(value, 3):g}{rule.unit}"
            yield Finding(outcome, f"{name} of {number} is {side} {bound:g}")
            return


def _is_worse(rule: Rule, value: float, bound: float) -> bool:
    return value < bound if rule.is_least else value > bound


def _check_bounds(rule: Rule, bounds: Any) -> None:
    """Raise unless `bounds` are None, or reject and review in this order."""
    if bounds is None:
        return
    is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not is_pair or not all(b is None or _is_number(b) for b in bounds):
        raise TypeError(
            f"{rule.parameter} must be a pair of numbers, (reject, review), each of "
            f"which may be None, got {bounds!r}."
        )
    reject, review = bounds
    if reject is not None and review is not None and _is_worse(rule, review, reject):
        raise ValueError(
            f"{rule.parameter} must be (reject, review) with the worse value first, "
            f"got {bounds!r}. Exchange them."
        )


def _is_number(bound: object) -> bool:
    is_real = isinstance(bound, Real) and not isinstance(bound, bool)
    return is_real and not math.isnan(float(bound))  # type: ignore[arg-type]  # a Real


def _table(
    measured: list[Quality | str],
    chances: dict[str, NDArray[np.float64]],
    findings: list[list[Finding]],
    index: Any,
) -> pd.DataFrame:
    ranks = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}
    columns: dict[str, Any] = {"outcome": [], "reasons": []}
    for found in findings:
        found.sort(key=lambda finding: -ranks[finding.outcome])  # stable
        columns["outcome"].append(found[0].outcome if found else "pass")
        reasons = [f"{finding.outcome}: {finding.reason}" for finding in found]
        columns["reasons"].append("; ".join(reasons))
    rows = [m._asdict() if isinstance(m, Quality) else {} for m in measured]
    for name, dtype in _MEASURES.items():
        columns[name] = pd.array([row.get(name) for row in rows], dtype=dtype)
    columns |= {f"p_{name}": values for name, values in chances.items()}
    index = index if isinstance(index, pd.Index) else None
    return pd.DataFrame(columns, index=index)
