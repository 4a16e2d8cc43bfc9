"""The feed: whom a video is shown to, and how far it travels."""

from skchallenge.feed._duplicates import DuplicateFinder

__all__ = ["DuplicateFinder"]
