"""The feed: whom a video is shown to, and how far it travels."""

from skchallenge.feed._authority import CreatorAuthority
from skchallenge.feed._display import JourneyDisplay
from skchallenge.feed._engagement import (
    EngagementScorer,
    engagement_signals,
    engagement_table,
)
from skchallenge.feed._offpolicy import doubly_robust, inverse_propensity, replay
from skchallenge.feed._profile import GenreProfiler
from skchallenge.feed._rollout import BatchRollout
from skchallenge.feed._workflow import FeedWorkflow

__all__ = [
    "BatchRollout",
    "CreatorAuthority",
    "EngagementScorer",
    "FeedWorkflow",
    "GenreProfiler",
    "JourneyDisplay",
    "doubly_robust",
    "engagement_signals",
    "engagement_table",
    "inverse_propensity",
    "replay",
]
