"""What another rule would have earned, from the decisions of the rule that ran."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.utils.validation import column_or_1d

from skchallenge._table import (
    as_frame,
    check_columns,
    check_real,
    check_times,
    read_numbers,
)

Floats = NDArray[np.float64]


def inverse_propensity(
    log: Any, target: ArrayLike, *, confidence_level: float = 0.95
) -> "pd.Series[float]":
    """Estimate a rule's value by weighting what was logged.

    Each reward counts as often as the target rule would have led there, relative to the
    rule that logged it: with the product, over the decisions up to that reward, of
    target / propensity. The estimate is unbiased if the propensities are true, and it
    varies the more the rules differ and the smaller the propensities are.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_decisions, n_columns)
        Decisions, the earlier ones of a video first, such as ``decisions`` of
        `BatchRollout.simulate`: `video_id`, `propensity` of what was done, in (0, 1],
        and `reward`. With `world`, each world's videos are apart; with `day`, the order
        is checked.
    target : array-like of shape (n_decisions,)
        Probability that the target rule does what was done, in [0, 1];
        `BatchRollout.propensity` computes it.
    confidence_level : float, default=0.95
        Coverage of the normal interval over videos, in (0, 1). Each video of each world
        is taken as independent of the others. So with several worlds the interval is
        about the same videos again, not about other videos.

    Returns
    -------
    estimate : pandas.Series
        `value` (mean reward of a video), `low`, `high`, `n_videos`, and
        `n_effective`, the number of videos that would be as informative if the target
        rule itself had been logged.

    Raises
    ------
    ValueError
        If the log has no propensities, lacks an id or a day, or has a video's decisions
        in another order, a number is out of range, or the target rule sometimes does
        what the log never does.
    TypeError
        If `day` holds neither numbers nor datetimes.

    See Also
    --------
    doubly_robust : Varies less, given a model of the rewards.
    replay : For logs of fair coins.

    References
    ----------
    .. [1] Precup, D., Sutton, R., Singh, S. "Eligibility traces for off-policy policy
       evaluation", ICML 2000: per-decision weights.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import inverse_propensity
    >>> log = pd.DataFrame({
    ...     "video_id": ["a", "b", "c", "d"], "widened": [True, False, True, False],
    ...     "propensity": 0.5, "reward": [8.0, 0.0, 2.0, 0.0],
    ... })
    >>> always = log["widened"].astype(float)
    >>> float(inverse_propensity(log, always)["value"])
    5.0
    """
    table, ratio = _check_log(log, target, confidence_level)
    weight = _weights(table, ratio)
    return _summary(table, weight * table["reward"], weight, confidence_level)


def doubly_robust(
    log: Any,
    target: ArrayLike,
    expected: ArrayLike,
    expected_target: ArrayLike,
    *,
    confidence_level: float = 0.95,
) -> "pd.Series[float]":
    """Estimate a rule's value by a model of the rewards, corrected by weighting.

    It is unbiased if the propensities are true, whatever the model, and varies little
    if the model is good. Fit the model on other videos than those of the log, or by
    cross-fitting; a model that saw the rewards makes the interval too short.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_decisions, n_columns)
        As for `inverse_propensity`.
    target : array-like of shape (n_decisions,)
        Probability that the target rule does what was done, in [0, 1].
    expected : array-like of shape (n_decisions,)
        What the model expects from here on, in this decision's and the video's later
        rewards, after what was done.
    expected_target : array-like of shape (n_decisions,)
        The same, averaged over what the target rule would do here.
    confidence_level : float, default=0.95
        Coverage of the normal interval over videos, in (0, 1).

    Returns
    -------
    estimate : pandas.Series
        As for `inverse_propensity`.

    Raises
    ------
    ValueError
        As for `inverse_propensity`, and if the model's numbers are not finite.

    See Also
    --------
    inverse_propensity : The same with a model that expects nothing.

    References
    ----------
    .. [1] Jiang, N., Li, L. "Doubly robust off-policy value evaluation for
       reinforcement learning", ICML 2016.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import doubly_robust
    >>> log = pd.DataFrame({
    ...     "video_id": ["a", "b", "c", "d"], "widened": [True, False, True, False],
    ...     "propensity": 0.5, "reward": [8.0, 0.0, 2.0, 0.0],
    ... })
    >>> always = log["widened"].astype(float)
    >>> model = [7.0, 0.0, 3.0, 0.0]  # pausing earns nothing
    >>> float(doubly_robust(log, always, model, [7.0, 6.0, 3.0, 4.0])["value"])
    5.0
    """
    table, ratio = _check_log(log, target, confidence_level)
    q = _finite(expected, "expected", len(table))
    v = _finite(expected_target, "expected_target", len(table))
    weight = _weights(table, ratio)
    before = weight.groupby(table["unit"]).shift(fill_value=1.0)
    value = before * v + weight * (table["reward"] - q)
    return _summary(table, value, weight, confidence_level)


def replay(
    log: Any, target: ArrayLike, *, confidence_level: float = 0.95
) -> "pd.Series[float]":
    """Estimate a rule's value from the decisions on which it agrees with a fair coin.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_decisions, n_columns)
        As for `inverse_propensity`, but with one decision a video and all propensities
        equal: only then are the agreed decisions a fair sample.
    target : array-like of shape (n_decisions,)
        Whether the target rule does what was done, 0 or 1.
    confidence_level : float, default=0.95
        Coverage of the normal interval, in (0, 1).

    Returns
    -------
    estimate : pandas.Series
        As for `inverse_propensity`; `n_effective` is the number of agreed decisions.

    Raises
    ------
    ValueError
        If propensities differ, a video has several decisions, or nothing is agreed on.

    See Also
    --------
    inverse_propensity : For all other logs.

    References
    ----------
    .. [1] Li, L., Chu, W., Langford, J., Wang, X. "Unbiased offline evaluation of
       contextual-bandit-based news article recommendation algorithms", WSDM 2011.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import replay
    >>> log = pd.DataFrame({
    ...     "video_id": ["a", "b", "c", "d"], "widened": [True, False, True, False],
    ...     "propensity": 0.5, "reward": [8.0, 0.0, 2.0, 0.0],
    ... })
    >>> replay(log, log["widened"].astype(float))[["value", "n_effective"]].tolist()
    [5.0, 2.0]
    """
    table, _ = _check_log(log, target, confidence_level, support=False)
    agreed = column_or_1d(target, dtype=np.float64)
    spread = table["propensity"].agg(["min", "max"])
    if not np.allclose(table["propensity"], 0.5):
        raise ValueError(
            "replay needs uniform logging, propensities of 0.5 throughout, got "
            f"{spread['min']} to {spread['max']}. Use inverse_propensity, or log with "
            "epsilon=1."
        )
    if table["unit"].duplicated().any():
        raise ValueError(
            "replay needs one decision a video, got "
            f"{table['unit'].duplicated().sum()} further ones. Keep one stage's, or "
            "use inverse_propensity."
        )
    if not np.isin(agreed, [0, 1]).all() or not agreed.any():
        raise ValueError(
            "target must hold 0 and 1, some 1, got values from "
            f"{agreed.min()} to {agreed.max()}. Use inverse_propensity for rules that "
            "draw lots."
        )
    kept = table[agreed == 1]
    ones = pd.Series(1.0, index=kept.index)
    return _summary(kept, kept["reward"], ones, confidence_level)


def _check_log(
    log: Any, target: ArrayLike, level: float, *, support: bool = True
) -> tuple[pd.DataFrame, Floats]:
    check_real("confidence_level", level, "neither", max_val=1)
    log = as_frame(log, "log")
    if "propensity" not in log.columns:
        raise ValueError(
            "log lacks the column 'propensity': what another rule would have earned "
            "cannot be told from a log that does not say how likely each decision was. "
            f"Log it; the columns are {list(log.columns)}."
        )
    check_columns(log.columns, ["video_id", "reward"], "log")
    chance = _finite(target, "target", len(log))
    propensity = _finite(log["propensity"], "log['propensity']", len(log))
    _check_range("target", chance, (chance >= 0) & (chance <= 1), "[0, 1]")
    allowed = (propensity > 0) & (propensity <= 1)
    _check_range("log['propensity']", propensity, allowed, "(0, 1]")
    table = pd.DataFrame({"propensity": propensity})
    table["reward"] = _finite(log["reward"], "log['reward']", len(log))
    table["unit"] = _units(log)
    ratio = chance / propensity
    # What the target rule never reaches, it need not be able to judge.
    before = _weights(table, ratio).groupby(table["unit"]).shift(fill_value=1.0)
    unseen = (propensity == 1) & (chance < 1) & (before > 0).to_numpy()
    if support and unseen.any():
        raise ValueError(
            "The log must do everything that the target rule may do, but in row "
            f"{int(unseen.argmax())} the logged decision was certain and the target "
            "rule may decide otherwise. Log with epsilon above 0."
        )
    return table, ratio


def _units(log: pd.DataFrame) -> "pd.Series[int]":
    """Give each video of each world a number; check ids and the order."""
    keys = [name for name in ("world", "video_id") if name in log.columns]
    if log[keys].isna().any(axis=None):
        raise ValueError(
            f"log{keys} must have no missing ids, or their decisions would count for "
            "nobody. Drop those rows."
        )
    unit = log.groupby(keys, sort=False, observed=True).ngroup()
    day = log["day"] if "day" in log.columns else unit
    day = check_times(day, "log['day']")  # as text, "10" is before "9"
    # Ranks of numbers and of datetimes alike are numbers.
    if (day.rank().groupby(unit).diff() < 0).any():
        raise ValueError(
            "log must have the earlier decisions of a video first, got a later day "
            "before an earlier one. Sort log, target and all else alike."
        )
    return unit


def _finite(values: ArrayLike, name: str, n: int) -> Floats:
    numbers = read_numbers(pd.Series(column_or_1d(values)), name)
    if len(numbers) != n or not n or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} must hold one finite number a decision, {n}, got {len(numbers)}, "
            f"{np.isfinite(numbers).sum()} of them finite. Drop incomplete decisions."
        )
    return numbers


def _check_range(
    name: str, values: Floats, allowed: NDArray[np.bool_], interval: str
) -> None:
    if not allowed.all():
        raise ValueError(
            f"{name} must hold probabilities in {interval}, got {values[~allowed][0]} "
            f"in row {int((~allowed).argmax())}. They are of what was done, whatever "
            "it was."
        )


def _weights(table: pd.DataFrame, ratio: Floats) -> "pd.Series[float]":
    """Multiply the ratios of a video's decisions so far."""
    return pd.Series(ratio, index=table.index).groupby(table["unit"]).cumprod()


def _summary(
    table: pd.DataFrame,
    value: "pd.Series[float]",
    weight: "pd.Series[float]",
    level: float,
) -> "pd.Series[float]":
    by_video = value.groupby(table["unit"]).sum()
    last = weight.groupby(table["unit"]).last()
    n, mean = len(by_video), by_video.mean()
    error = by_video.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    reach = norm.isf((1 - level) / 2) * error
    squares = (last**2).sum()
    return pd.Series(
        {
            "value": mean,
            "low": mean - reach,
            "high": mean + reach,
            "n_videos": float(n),
            "n_effective": last.sum() ** 2 / squares if squares else 0.0,
        }
    )
