"""Scores with intervals and chance floors, and pictures of training."""

from skchallenge.metrics._display import TrainingCurvesDisplay
from skchallenge.metrics._report import chance_floors, participation_report
from skchallenge.metrics._virality import virality_report

__all__ = [
    "TrainingCurvesDisplay",
    "chance_floors",
    "participation_report",
    "virality_report",
]
