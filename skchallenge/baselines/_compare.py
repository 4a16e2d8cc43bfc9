"""Models and baselines on the same folds, with paired intervals."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GroupKFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d

from skchallenge._rules import check_catalog
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_option,
    check_real,
    time_kind,
)
from skchallenge._time_index import Rows
from skchallenge.baselines._estimators import default_baselines
from skchallenge.metrics._bootstrap import ranking

Floats = NDArray[np.float64]


class Comparison:
    """Scores of models beside baselines; made by `compare`.

    Printing it shows the scores, and how the average precision compares with the best
    baseline's.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a model, one column a metric: means over the folds.
    differences : pandas.DataFrame
        One row a model and metric, with columns `difference` (the model's score minus
        the best baseline's), `low` and `high` (its interval by user), `low_two_way` and
        `high_two_way` (its interval by user and challenge).
    ratios : pandas.DataFrame
        The same of the model's score over the best baseline's; column `ratio`.
    predictions : pandas.DataFrame
        One row a held-out pair: `fold`, `row`, `y`, and a column of probabilities a
        model.
    reference : str
        The best baseline, by average precision.
    n_challenges : int
        Number of challenges among the held-out pairs. Two-way intervals of few are too
        narrow.

    Attributes
    ----------
    axes_ : matplotlib.axes.Axes
        The axes of the last `plot`.
    figure_ : matplotlib.figure.Figure
        The figure that holds them.

    See Also
    --------
    compare : Makes one.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.baselines import Comparison
    >>> metrics = ["average_precision"]
    >>> rows = pd.MultiIndex.from_product([["mine", "text"], metrics])
    >>> comparison = Comparison(
    ...     table=pd.DataFrame({"average_precision": [0.2, 0.1]}, ["mine", "text"]),
    ...     differences=pd.DataFrame({"difference": [0.1, 0.0]}, rows),
    ...     ratios=pd.DataFrame({
    ...         "ratio": [2.0, 1.0], "low": [1.5, 1.0], "high": [2.5, 1.0],
    ...         "low_two_way": [1.2, 1.0], "high_two_way": [3.0, 1.0],
    ...     }, rows),
    ...     predictions=pd.DataFrame(), reference="text", n_challenges=31,
    ... )
    >>> comparison
          average_precision  ratio      by users       two-way
    mine                0.2    2.0  1.50 to 2.50  1.20 to 3.00
    text                0.1    1.0             -             -
    ratio: average precision over that of 'text', the best baseline, with paired
    intervals; 31 challenges
    """

    def __init__(
        self,
        *,
        table: pd.DataFrame,
        differences: pd.DataFrame,
        ratios: pd.DataFrame,
        predictions: pd.DataFrame,
        reference: str,
        n_challenges: int,
    ) -> None:
        self.table = table
        self.differences = differences
        self.ratios = ratios
        self.predictions = predictions
        self.reference = reference
        self.n_challenges = n_challenges

    def __repr__(self) -> str:
        ratios = self.ratios.xs("average_precision", level=1)
        shown = self.table.round(4).assign(ratio=ratios["ratio"].round(2))
        for name, ending in (("by users", ""), ("two-way", "_two_way")):
            ends = zip(ratios[f"low{ending}"], ratios[f"high{ending}"], strict=True)
            shown[name] = [f"{low:.2f} to {high:.2f}" for low, high in ends]
            shown.loc[self.reference, name] = "-"
        return (
            f"{shown.to_string()}\n"
            f"ratio: average precision over that of {self.reference!r}, the best "
            f"baseline, with paired\nintervals; {self.n_challenges} challenges"
        )

    def plot(self, metric: str = "average_precision", *, ax: Any = None) -> Self:
        """Draw each model's difference from the best baseline, with its intervals.

        Parameters
        ----------
        metric : str, default="average_precision"
            A column of `table`.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        comparison : Comparison
            This object.

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        import matplotlib.pyplot as plt

        check_option("metric", metric, list(self.table.columns))
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        rows = self.differences.xs(metric, level=1).loc[self.table.index[::-1]]
        height = np.arange(len(rows))
        ends = (("_two_way", 1.5, "by users and challenges"), ("", 5, "by users"))
        for ending, width, label in ends:
            low, high = rows[f"low{ending}"], rows[f"high{ending}"]
            ax.hlines(height, low, high, linewidth=width, color="C0", label=label)
        ax.plot(rows["difference"], height, "o", color="black")
        ax.axvline(0, color="grey", linestyle=":")
        score = self.table[metric][self.reference]
        # A name is no formula, whatever dollar signs it has.
        label = f"{metric}, beside that of {self.reference!r}, {score:.3f}"
        ax.set_xlabel(label, parse_math=False)
        ax.set_yticks(height, rows.index, parse_math=False)
        ax.legend(title="paired intervals")
        self.axes_, self.figure_ = ax, ax.figure
        return self


def compare(
    models: Any,
    data: Any,
    cv: Any = None,
    *,
    baselines: Mapping[str, Any] | None = None,
    groups: Any = None,
    k: int = 10,
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
) -> Comparison:
    """Score models beside baselines on the same folds, with paired intervals.

    Parameters
    ----------
    models : estimator or dict of str to estimator
        Classifiers with `predict_proba` that are fitted on ``data.pairs``. They are
        cloned. An empty dict compares the baselines.
    data : sklearn.utils.Bunch
        With `pairs`, `y` (0 or 1) and `catalog`, as `make_participation` returns it.
    cv : splitter, iterable of (train, test) or None, default=None
        The folds. None holds out users, by ``GroupKFold(5)``. A number is refused: such
        folds would mix users.
    baselines : dict of str to estimator or None, default=None
        What to put beside the models. None is `default_baselines`.
    groups : array-like of shape (n_pairs,) or None, default=None
        Given to the splitter. None is the column of users.
    k : int, default=10
        Length of the list of users that is recommended for each challenge.
    confidence_level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    n_resamples : int, default=1000
        Bootstrap samples.
    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap.
    n_jobs : int or None, default=None
        Fits that run at the same time, as in `joblib.Parallel`.

    Returns
    -------
    comparison : Comparison
        With `table`, `differences`, `ratios` and `predictions`; it prints and plots.

    Raises
    ------
    TypeError
        If `data` is no bunch with a catalog, or `cv` is a number.
    ValueError
        If labels are not 0 and 1, names are used twice, a fold has one class only, or a
        model returns no probabilities.

    See Also
    --------
    skchallenge.metrics.participation_report : More scores of one model.

    Notes
    -----
    **Metrics**, each the mean over the folds: ``average_precision``, ``roc_auc``,
    ``roc_auc_within`` (the mean over challenges of the AUC among the challenge's own
    pairs, so that knowing which challenges are large gains nothing), ``brier``,
    ``recall_at_k`` (of those who take part in a challenge, the fraction among its `k`
    highest) and ``ndcg_at_k``, both means over the challenges that anybody takes part
    in. Rows with equal probabilities count as if they stood in random order.

    **Intervals** are percentiles of a bootstrap that draws whole users, or users and
    challenges apart, as in `participation_report`. All models are scored on the same
    draws, and their differences are what is summed up: what makes a draw hard is hard
    for all of them. A user or challenge counts in each metric as often as it was drawn.

    The best baseline is chosen by its score on the same folds, which makes the others'
    task a little harder than it is. Models were fitted once: the intervals are about
    other users, not about other training sets.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import RateBaseline, compare
    >>> rng = np.random.default_rng(0)
    >>> pairs = pd.DataFrame({
    ...     "user_id": np.repeat(np.arange(40), 2), "challenge": ["dance", "sing"] * 40,
    ...     "time": 1,
    ... })
    >>> y = (rng.uniform(size=80) < np.where(pairs["challenge"] == "dance", 0.7, 0.2))
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1], "user_id": [99], "challenge": "dance", "create_time": 0,
    ... }))
    >>> data = Bunch(pairs=pairs, y=y.astype(int), catalog=catalog)
    >>> comparison = compare({}, data, n_resamples=50, random_state=0)
    >>> comparison.reference
    'challenge rate'
    >>> comparison.table[["average_precision", "roc_auc_within"]].round(2)
                    average_precision  roc_auc_within
    challenge rate                0.7             0.5
    user rate                     0.5             0.5
    """
    pairs, y = _check_data(data)
    check_count("k", k)
    check_count("n_resamples", n_resamples)
    check_real("confidence_level", confidence_level, "neither", max_val=1)
    catalog = data.catalog
    if baselines is None:
        baselines = _defaults(catalog)
    everybody = _by_name(models, baselines)
    users = pairs[catalog.user]
    folds = list(_folds(cv, pairs, y, users if groups is None else groups))
    _check_folds(folds, y)
    probabilities = Parallel(n_jobs=n_jobs)(
        delayed(_predict)(name, model, pairs, y, train, test)
        for name, model in everybody.items()
        for train, test in folds
    )
    n = len(folds)  # one list of folds a model
    by_model = [probabilities[i : i + n] for i in range(0, len(probabilities), n)]
    user, challenge = (
        pd.factorize(pairs[c])[0] for c in (catalog.user, catalog.challenge)
    )
    scorers = [
        [
            _Fold(y[test], proba, user[test], challenge[test], k)
            for (_, test), proba in zip(folds, row, strict=True)
        ]
        for row in by_model
    ]
    once = np.ones(len(pairs))
    score = np.array([_mean(row, once, once) for row in scorers])  # (models, metrics)
    names = list(everybody)
    table = pd.DataFrame(score, names, _METRICS)
    best = str(table.loc[list(baselines), "average_precision"].idxmax())
    drawn = _draw(scorers, user, challenge, n_resamples, random_state)
    tail = (1 - confidence_level) / 2
    place = names.index(best)
    frames = [
        _intervals(word, gap(score, place), gap(drawn, place), tail, table)
        for word, gap in (("difference", _difference), ("ratio", _ratio))
    ]
    return Comparison(
        table=table,
        differences=frames[0],
        ratios=frames[1],
        predictions=_predictions(folds, y, names, by_model),
        reference=best,
        n_challenges=len(np.unique(challenge[np.concatenate([t for _, t in folds])])),
    )


# What is compared, and on which folds


def _check_data(data: Any) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    missing = [n for n in ("pairs", "y", "catalog") if not hasattr(data, n)]
    if missing:
        raise TypeError(
            f"data must have pairs, y and a catalog, as make_participation returns "
            f"them, but it lacks {missing}."
        )
    check_catalog(data.catalog)
    pairs = as_frame(data.pairs, "data.pairs")
    needed = [data.catalog.user, data.catalog.challenge]
    check_columns(pairs.columns, needed, "data.pairs")
    y = column_or_1d(data.y)
    if set(np.unique(y)) != {0, 1} or len(y) != len(pairs):
        raise ValueError(
            f"data.y must hold 0 and 1, both, one for each of {len(pairs)} pairs, got "
            f"{len(y)} values: {np.unique(y).tolist()[:5]}."
        )
    return pairs, y.astype(np.int64)


def _defaults(catalog: Any) -> dict[str, Any]:
    is_number = time_kind(catalog.videos[catalog.time]) == "numbers"
    if is_number and catalog.tags in catalog.videos:
        raise ValueError(
            f"baselines=None takes a window of 14 days, but {catalog.time} holds "
            "numbers of unknown unit. Pass baselines=default_baselines(catalog, "
            "window=...) with a number of that unit."
        )
    return dict(default_baselines(catalog))


def _by_name(models: Any, baselines: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(models, Mapping):
        models = {type(models).__name__: models}
    twice = sorted(set(models) & set(baselines))
    if twice or not baselines:
        raise ValueError(
            f"models and baselines must have names of their own, but share {twice}."
            if twice
            else "baselines must hold at least one, against which models are scored. "
            "Leave it out for those of default_baselines."
        )
    everybody = {**models, **baselines}
    for name, model in everybody.items():
        if not hasattr(model, "predict_proba"):
            raise TypeError(
                f"{name!r} must be a classifier with predict_proba, got "
                f"{type(model).__name__}. CalibratedClassifierCV gives one to others."
            )
    return everybody


def _folds(cv: Any, pairs: Any, y: Any, groups: Any) -> Iterator[tuple[Rows, Rows]]:
    if cv is None:
        cv = GroupKFold(5)
    if hasattr(cv, "split"):
        cv = cv.split(pairs, y, groups)
    if not isinstance(cv, Iterable):
        raise TypeError(
            f"cv must be a splitter or an iterable of (train, test), got {cv!r}. Folds "
            "by number mix users: pass GroupKFold(5), for example."
        )
    for train, test in cv:
        yield np.asarray(train), np.asarray(test)


def _check_folds(folds: list[tuple[Rows, Rows]], y: NDArray[np.int64]) -> None:
    if not folds:
        raise ValueError("cv makes no folds.")
    for number, fold in enumerate(folds, start=1):
        for rows, side in zip(fold, ("training", "test"), strict=True):
            if len(np.unique(y[rows])) < 2:
                raise ValueError(
                    f"Each fold must hold both classes, but the {len(rows)} {side} "
                    f"rows of fold {number} have one. Take fewer folds, or shuffle "
                    "them."
                )


def _predict(
    name: str, model: Any, pairs: pd.DataFrame, y: Any, train: Rows, test: Rows
) -> Floats:
    fitted = clone(model).fit(pairs.iloc[train].reset_index(drop=True), y[train])
    asked = pairs.iloc[test].reset_index(drop=True)
    proba = np.asarray(fitted.predict_proba(asked), dtype=np.float64)[:, 1]
    if not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError(
            f"{name!r} must predict probabilities in [0, 1], got values from "
            f"{np.min(proba)} to {np.max(proba)}."
        )
    return proba


# Scores


_METRICS = [
    "average_precision",
    "roc_auc",
    "roc_auc_within",
    "brier",
    "recall_at_k",
    "ndcg_at_k",
]


class _Fold:
    """Held-out rows of one fold with one model's probabilities, sorted once.

    Rows of one challenge and equal probability are a block: what is in random order
    within it is averaged over.
    """

    def __init__(
        self, truth: Any, score: Floats, user: Rows, challenge: Rows, k: int
    ) -> None:
        self.k = k
        self.user, self.challenge = user, challenge
        order = np.argsort(-score, kind="stable")
        self.order, self.truth = order, truth[order]
        self.ties = np.flatnonzero(np.diff(score[order], prepend=np.inf))
        self.loss = (score - truth) ** 2
        # The same by challenge.
        inner = np.lexsort((-score, challenge))
        code, value = challenge[inner], score[inner]
        self.inner, self.inner_truth = inner, truth[inner]
        is_new = np.diff(code, prepend=-1) != 0
        is_block = is_new | (np.diff(value, prepend=np.inf) != 0)
        self.blocks = np.flatnonzero(is_block)
        self.of_challenge = np.flatnonzero(is_new[self.blocks])  # first block of each
        self.codes = code[is_new]
        discount = 1 / np.log2(np.arange(k) + 2)
        self.gain = np.r_[0.0, np.cumsum(discount)]  # of the first so many places

    def scores(self, of_user: Floats, of_challenge: Floats) -> Floats:
        """Score the rows; each user and challenge counts as often as it was drawn."""
        row = of_user[self.user] * of_challenge[self.challenge]
        weight = row[self.order]
        ones, zeros = weight * self.truth, weight * (1 - self.truth)
        if not (ones.any() and zeros.any()):
            return np.full(len(_METRICS), np.nan)
        overall = ranking(*(np.add.reduceat(w, self.ties) for w in (ones, zeros)))
        within, recall, ndcg = self._by_challenge(of_user, of_challenge[self.codes])
        return np.array(
            [
                overall["average_precision"],
                overall["roc_auc"],
                within,
                row @ self.loss / row.sum(),
                recall,
                ndcg,
            ]
        )

    def _by_challenge(
        self, of_user: Floats, drawn: Floats
    ) -> tuple[float, float, float]:
        """Average AUC, recall at k and NDCG at k over the challenges."""
        weight = of_user[self.user[self.inner]]
        ones = np.add.reduceat(weight * self.inner_truth, self.blocks)
        size = np.add.reduceat(weight, self.blocks)
        zeros = size - ones
        n_ones, n_rows = (np.add.reduceat(v, self.of_challenge) for v in (ones, size))
        n_blocks = np.diff(np.r_[self.of_challenge, len(ones)])

        def above(values: Floats, total: Floats) -> Floats:
            """Sum up within the challenge, each block included."""
            return np.cumsum(values) - np.repeat(np.cumsum(total) - total, n_blocks)

        last = above(size, n_rows)
        first = last - size
        pairs_won = zeros * (above(ones, n_ones) - ones / 2)
        won = np.add.reduceat(pairs_won, self.of_challenge)
        per_row = np.divide(ones, size, out=np.zeros_like(ones), where=size > 0)
        top = (self.k - first).clip(0, size)
        hits = np.add.reduceat(per_row * top, self.of_challenge)
        places = [np.minimum(v, self.k).astype(np.intp) for v in (first, last, n_ones)]
        gained = per_row * (self.gain[places[1]] - self.gain[places[0]])
        gained = np.add.reduceat(gained, self.of_challenge)
        return (
            _average(won, n_ones * (n_rows - n_ones), drawn),
            _average(hits, n_ones, drawn),
            _average(gained, self.gain[places[2]], drawn),
        )


def _average(value: Floats, of: Floats, drawn: Floats) -> float:
    """Average value / of over the challenges that have any."""
    weight = drawn * (of > 0)
    if not weight.any():
        return np.nan
    return float(weight @ (value / np.where(of > 0, of, 1)) / weight.sum())


def _mean(row: list[_Fold], of_user: Floats, of_challenge: Floats) -> Floats:
    """Average over the folds that have a score."""
    scores = np.array([fold.scores(of_user, of_challenge) for fold in row])
    known = ~np.isnan(scores)
    n = known.sum(axis=0)
    total = np.where(known, scores, 0.0).sum(axis=0)
    return np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)


def _draw(
    scorers: list[list[_Fold]],
    user: Rows,
    challenge: Rows,
    n_resamples: int,
    random_state: Any,
) -> Floats:
    """Score draws of users, and of users and challenges: (2, n, models, metrics)."""
    rng = check_random_state(random_state)
    n_users, n_challenges = user.max() + 1, challenge.max() + 1
    once = np.ones(n_challenges)
    drawn = np.empty((2, n_resamples, len(scorers), len(_METRICS)))
    for i in range(n_resamples):
        of_user, of_challenge = (
            np.bincount(rng.randint(n, size=n), minlength=n).astype(np.float64)
            for n in (n_users, n_challenges)
        )
        for way, weight in enumerate((once, of_challenge)):
            drawn[way, i] = [_mean(row, of_user, weight) for row in scorers]
    return drawn


def _difference(scores: Floats, place: int) -> Floats:
    return scores - scores[..., [place], :]


def _ratio(scores: Floats, place: int) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return scores / scores[..., [place], :]


def _intervals(
    word: str, value: Floats, drawn: Floats, tail: float, table: pd.DataFrame
) -> pd.DataFrame:
    rows = pd.MultiIndex.from_product(
        [table.index, table.columns], names=["model", "metric"]
    )
    frame = pd.DataFrame({word: value.ravel()}, rows)
    for way, ending in enumerate(("", "_two_way")):
        draws = pd.DataFrame(drawn[way].reshape(len(drawn[way]), -1))
        # No interpolation: a ratio is infinite where the baseline's score is 0.
        ends = draws.quantile([tail, 1 - tail], interpolation="nearest").to_numpy()
        frame[f"low{ending}"], frame[f"high{ending}"] = ends
    return frame


def _predictions(
    folds: list[tuple[Rows, Rows]],
    y: Any,
    names: list[str],
    by_model: list[list[Floats]],
) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "fold": number,
                "row": test,
                "y": y[test],
                **{n: row[number] for n, row in zip(names, by_model, strict=True)},
            }
        )
        for number, (_, test) in enumerate(folds)
    ]
    return pd.concat(parts, ignore_index=True)
