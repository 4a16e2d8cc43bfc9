"""Check the parameters of a rollout, and lay out its worlds."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skchallenge._table import check_columns, check_option, check_real
from skchallenge.feed._authority import with_prior
from skchallenge.feed._engagement import SIGNALS, points_by_signal
from skchallenge.feed._plan import check_table, falls_of, upload_days
from skchallenge.feed._rules import RULES
from skchallenge.feed._world import Plan, Response


def check_parameters(rollout: Any) -> None:
    """Refuse parameters of a `BatchRollout` that are out of range."""
    check_option("rule", rollout.rule, list(RULES))
    check_option("momentum", rollout.momentum, [None, "creator", "probe"])
    stages = np.asarray(rollout.stages)
    if (
        stages.ndim != 1
        or not len(stages)
        or not np.issubdtype(stages.dtype, np.integer)
        or (np.diff(stages, prepend=0) < 1).any()
    ):
        raise ValueError(
            "stages must be whole numbers from 1, strictly increasing, got "
            f"{rollout.stages!r}. Sort them and drop repeats."
        )
    check_real("alpha", rollout.alpha, "neither", max_val=1)
    check_real("epsilon", rollout.epsilon, max_val=1)
    check_real("fraction", rollout.fraction, "right", max_val=1)
    check_scalar(rollout.n_personas, "n_personas", Integral, min_val=1)
    check_scalar(rollout.cooldown_days, "cooldown_days", Integral, min_val=1)
    if rollout.threshold is not None:
        check_real("threshold", rollout.threshold, "neither")
    _points_of(rollout)
    if rollout.authority is not None:
        check_is_fitted(rollout.authority)


def _points_of(rollout: Any) -> NDArray[np.float64]:
    """Return the points of the five signals.

    Raises
    ------
    ValueError
        If one is negative, all are 0, or they do not fit into a log of float32.
    """
    points = points_by_signal(rollout.points)
    values = list(points.values())
    if not set(points) <= set(SIGNALS) or min(values) < 0 or max(values) == 0:
        raise ValueError(
            f"points must give some of {list(SIGNALS)} more than 0 and none less, as "
            f"the evidence of a rollout needs, got {rollout.points!r}."
        )
    if not 1e-15 <= max(values) <= 1e15:  # a log has them as float32
        raise ValueError(
            f"points must be from 1e-15 to 1e15, the most, got {max(values)}. Take "
            "another unit, and the threshold in it."
        )
    return np.array([points.get(name, 0) for name in SIGNALS], dtype=np.float64)


def viewers_of(rollout: Any, viewers: Any) -> pd.DataFrame:
    """Return the viewers that were given, or those of the log."""
    if viewers is None:
        viewers = getattr(rollout, "viewers_", None)
    if viewers is None:
        raise ValueError(
            "viewers=None takes the users of the log, but fit saw no log with "
            "user_id and genre. Pass a table of viewer_id and persona."
        )
    viewers = check_table(viewers, "viewers", "viewer_id", ["persona"])
    missing = viewers["persona"].isna().sum()
    kind = pd.api.types.infer_dtype(viewers["persona"])
    if missing:
        raise ValueError(
            f"viewers['persona'] must have no missing values, got {missing}. Drop the "
            "viewers, or name a persona for them."
        )
    if kind in {"mixed", "mixed-integer"}:
        raise TypeError(
            f"viewers['persona'] must hold values of one kind, got {kind} values. "
            "Convert it with .astype(str)."
        )
    return viewers


def make_plan(
    rollout: Any,
    videos: pd.DataFrame,
    viewers: pd.DataFrame,
    response: Response | None,
    activity: Any,
) -> Plan:
    """Gather what all worlds share."""
    persona, names = pd.factorize(viewers["persona"], sort=True)
    if rollout.stages[0] < len(names):
        raise ValueError(
            f"stages[0] must be at least the number of personas, {len(names)}, so that "
            f"the first batch spans them, got {rollout.stages[0]}. Raise it, or group "
            "viewers into fewer personas."
        )
    if response is None:
        response = _learned(rollout, videos, persona, np.asarray(names))
    if not callable(response):
        raise TypeError(
            "response must be a function of video, viewer and day, got "
            f"{type(response).__name__}. Rates of each video become one by "
            "lambda video, viewer, day: rates[video]."
        )
    none = np.zeros((len(videos), 0), dtype=bool)
    return Plan(
        stages=np.asarray(rollout.stages, dtype=np.int64),
        rule=rollout.rule,
        alpha=rollout.alpha,
        fraction=rollout.fraction,
        epsilon=rollout.epsilon,
        cooldown_days=rollout.cooldown_days,
        momentum=rollout.momentum,
        upload=upload_days(videos),
        points=_points_of(rollout),
        threshold=_thresholds(rollout, videos),
        persona=persona.astype(np.int64),
        names=np.asarray(names),
        response=response,
        falls=falls_of(videos, activity) if rollout.momentum == "creator" else none,
    )


def _learned(
    rollout: Any, videos: pd.DataFrame, persona: NDArray[Any], names: NDArray[Any]
) -> Response:
    if not hasattr(rollout, "response_"):
        raise ValueError(
            "response=None takes what fit learned, but fit saw no log with user_id "
            "and genre. Pass a function."
        )
    check_columns(videos.columns, ["genre"], "videos")
    table = rollout.response_(videos, names)
    return lambda video, viewer, day: table[video, persona[viewer]]


def _thresholds(rollout: Any, videos: pd.DataFrame) -> NDArray[np.float64]:
    if rollout.threshold_ <= 0:
        raise ValueError(
            f"threshold_ must be above 0, got {rollout.threshold_}: half of the log's "
            "videos earned nothing. Pass a threshold."
        )
    threshold = np.full(len(videos), rollout.threshold_)
    if rollout.authority is None:
        return threshold
    authority, prior = with_prior(rollout.authority, videos)
    known = ~np.isnan(prior)
    lowest = np.minimum(authority, prior)[known]
    if not (lowest > 0).all():
        raise ValueError(
            "authority must score all creators above 0, got "
            f"{lowest.min()}. Fit it on non-negative points."
        )
    # In this order, who is as good as the prior has exactly the threshold.
    return np.where(known, threshold * (prior / authority), threshold)
