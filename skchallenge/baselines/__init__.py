"""Plain models that a new one has to beat, and one call that puts them beside it."""

from skchallenge.baselines._compare import Comparison, compare
from skchallenge.baselines._estimators import (
    AdoptionBaseline,
    CosineBaseline,
    RateBaseline,
    TextBaseline,
    default_baselines,
)
from skchallenge.baselines._recommender import RecommenderBaseline

__all__ = [
    "AdoptionBaseline",
    "Comparison",
    "CosineBaseline",
    "RateBaseline",
    "RecommenderBaseline",
    "TextBaseline",
    "compare",
    "default_baselines",
]
