"""Tables of videos, and the pairs, labels and catalogs made from them."""

from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.datasets._challenge_clips import make_challenge_clips
from skchallenge.datasets._pairs import describe_tags, make_participation
from skchallenge.datasets._privacy import pseudonymize
from skchallenge.datasets._tiktok import load_tiktok_export

__all__ = [
    "VideoCatalog",
    "describe_tags",
    "load_tiktok_export",
    "make_challenge_clips",
    "make_participation",
    "pseudonymize",
]
