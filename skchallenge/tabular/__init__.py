"""From the columns of an export to numbers and labels; works without torch."""

from skchallenge._guard import column_roles
from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.tabular._creator import PastCreatorStats
from skchallenge.tabular._guard import LeakageGuard
from skchallenge.tabular._label import ViralityLabeler
from skchallenge.tabular._metadata import MetadataFeaturizer
from skchallenge.tabular._sentiment import SentimentFeaturizer
from skchallenge.tabular._tags import TagBinarizer

__all__ = [
    "LeakageError",
    "LeakageGuard",
    "LeakageWarning",
    "MetadataFeaturizer",
    "PastCreatorStats",
    "SentimentFeaturizer",
    "TagBinarizer",
    "ViralityLabeler",
    "column_roles",
]
