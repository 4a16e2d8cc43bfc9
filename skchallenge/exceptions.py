"""Errors and warnings that callers may want to catch.

The tree::

    ValueError
    ├── LeakageError          a column tells the label, or is not known in time
    └── MediaError            a media file cannot become frames or sound
    UserWarning
    ├── EmptyHistoryWarning   no row of a table has any history, or users have none
    ├── FewViewersWarning     a batch of a rollout is smaller than its stage
    ├── LeakageWarning        features may tell the label
    ├── MediaWarning          media files were filled in, or there are none
    ├── OneClassWarning       all labels are alike, so nothing can be learnt
    └── OpenWindowWarning     labels are of windows that were not over yet
"""

__all__ = [
    "EmptyHistoryWarning",
    "FewViewersWarning",
    "LeakageError",
    "LeakageWarning",
    "MediaError",
    "MediaWarning",
    "OneClassWarning",
    "OpenWindowWarning",
]


class LeakageError(ValueError):
    """A column holds what cannot be known when the question is asked."""


class MediaError(ValueError):
    """A media file is missing, unreadable or holds no picture (or no sound)."""


class EmptyHistoryWarning(UserWarning):
    """Histories are empty: of every row, or of users whom the catalog lacks."""


class FewViewersWarning(UserWarning):
    """Batches of a rollout are smaller than their stages: viewers are too few."""


class LeakageWarning(UserWarning):
    """The features of a table may tell its labels."""


class MediaWarning(UserWarning):
    """Rows of media files hold a filler, as `on_error` says, or no row names a file."""


class OneClassWarning(UserWarning):
    """All labels of a data set are alike, so no classifier can be fitted."""


class OpenWindowWarning(UserWarning):
    """Windows in which taking part counts end after the table of videos does."""
