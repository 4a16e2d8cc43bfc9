"""The rules of a review: what is measured, and the bounds of reject and review."""

import math
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NamedTuple

from skchallenge.media._quality import Quality

Bounds = tuple[float | None, float | None] | None
_NO_BOUNDS = (None, None)


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


def judge(rule: Rule, bounds: Bounds, value: float, name: str) -> Iterator[Finding]:
    """Yield what is worse than a bound, if anything is; unknown is for a human."""
    reject, review = bounds or _NO_BOUNDS
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


def check_bounds(rule: Rule, bounds: Any) -> None:
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
