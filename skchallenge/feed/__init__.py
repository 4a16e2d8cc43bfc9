"""The feed: whom a video is shown to, and how far it travels."""

from skchallenge.feed._duplicates import DuplicateFinder
from skchallenge.feed._review import ReviewGate

__all__ = ["DuplicateFinder", "ReviewGate"]
