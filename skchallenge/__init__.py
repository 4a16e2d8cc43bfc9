"""Scikit-learn estimators for short videos: participation, virality, the feed."""

__version__ = "0.1.0.dev0"

__all__: list[str] = []
