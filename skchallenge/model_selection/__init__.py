"""Splits that are honest about users, challenges and time; works without torch."""

from skchallenge.model_selection._audit import audit_split
from skchallenge.model_selection._clusters import ChallengeClusterKFold, ColdBothKFold
from skchallenge.model_selection._time import TimeSplit

__all__ = ["ChallengeClusterKFold", "ColdBothKFold", "TimeSplit", "audit_split"]
