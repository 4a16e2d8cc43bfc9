"""Scores with intervals and chance floors."""

from skchallenge.metrics._report import chance_floors, participation_report
from skchallenge.metrics._virality import virality_report

__all__ = ["chance_floors", "participation_report", "virality_report"]
