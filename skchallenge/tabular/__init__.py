"""From the columns of an export to numbers and labels; works without torch."""

from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.tabular._roles import column_roles

__all__ = ["LeakageError", "LeakageWarning", "column_roles"]
