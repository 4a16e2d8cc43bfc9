"""Errors and warnings that callers may want to catch.

The tree::

    ValueError
    ├── LeakageError          a column tells the label, or is not known in time
    └── MediaError            a media file cannot become frames
    UserWarning
    ├── EmptyHistoryWarning   no row of a table has any history
    └── LeakageWarning        features may tell the label
"""

__all__ = ["EmptyHistoryWarning", "LeakageError", "LeakageWarning", "MediaError"]


class LeakageError(ValueError):
    """A column holds what cannot be known when the question is asked."""


class MediaError(ValueError):
    """A media file is missing, unreadable or holds no picture."""


class EmptyHistoryWarning(UserWarning):
    """Every row's history is empty, so every block is zero."""


class LeakageWarning(UserWarning):
    """The features of a table may tell its labels."""
