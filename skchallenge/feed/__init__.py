"""The feed: whom a video is shown to, and how far it travels."""

from skchallenge.feed._engagement import (
    EngagementScorer,
    engagement_signals,
    engagement_table,
)

__all__ = ["EngagementScorer", "engagement_signals", "engagement_table"]
