"""Scores with intervals and chance floors, their card, and pictures of training."""

from skchallenge.metrics._frame_display import FrameDisplay
from skchallenge.metrics._modality_report import modality_report
from skchallenge.metrics._model_card import model_card
from skchallenge.metrics._participation_report import (
    chance_floors,
    participation_report,
)
from skchallenge.metrics._training_display import TrainingCurvesDisplay
from skchallenge.metrics._virality_report import virality_report

__all__ = [
    "FrameDisplay",
    "TrainingCurvesDisplay",
    "chance_floors",
    "modality_report",
    "model_card",
    "participation_report",
    "virality_report",
]
