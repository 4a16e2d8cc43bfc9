"""The feed: whom a video is shown to, and how far it travels."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skchallenge.feed._authority import CreatorAuthority
from skchallenge.feed._display import JourneyDisplay, RolloutDisplay
from skchallenge.feed._engagement import (
    EngagementScorer,
    engagement_signals,
    engagement_table,
)
from skchallenge.feed._offpolicy import doubly_robust, inverse_propensity, replay
from skchallenge.feed._profile import GenreProfiler
from skchallenge.feed._rollout import BatchRollout
from skchallenge.feed._workflow import FeedWorkflow

if TYPE_CHECKING:
    from skchallenge.feed._duplicates import DuplicateFinder
    from skchallenge.feed._review import ReviewGate

__all__ = [
    "BatchRollout",
    "CreatorAuthority",
    "DuplicateFinder",
    "EngagementScorer",
    "FeedWorkflow",
    "GenreProfiler",
    "JourneyDisplay",
    "ReviewGate",
    "RolloutDisplay",
    "doubly_robust",
    "engagement_signals",
    "engagement_table",
    "inverse_propensity",
    "replay",
]

# Imported when first asked for: they need the decoder, and the finder the store.
_HOMES = {"DuplicateFinder": "_duplicates", "ReviewGate": "_review"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except AttributeError as error:  # of a dependency, see `skchallenge.__getattr__`
        raise ImportError(f"{__name__}.{name} cannot be imported: {error}") from error


def __dir__() -> list[str]:
    return list(__all__)
