"""scikit-learn's callbacks, where it has them: from 1.9 on.

`CallbackSupportMixin` and `with_callbacks` are scikit-learn's. Before 1.9 they are
made here: estimators then have no `set_callbacks`, and nothing is called.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, Self, TypeVar

__all__ = ["CallbackSupportMixin", "with_callbacks"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:

    class _NoContext:
        """Stand in for a context to which no callback listens."""

        def subcontext(self, **options: Any) -> Self:
            return self

        def call_on_fit_task_begin(self, **arguments: Any) -> Self:
            return self

        def call_on_fit_task_end(self, **arguments: Any) -> bool:
            return False

        def propagate_callback_context(
            self, sub_estimator: Any
        ) -> AbstractContextManager[None]:
            return nullcontext()

    class CallbackSupportMixin:  # type: ignore[no-redef]  # the older scikit-learn's
        """Stand in for scikit-learn's mixin."""

        def _init_callback_context(self, **options: Any) -> _NoContext:
            return _NoContext()

    def _with_callbacks(method: Any) -> Any:
        """Return the method in a wrapper, so that warnings name the same line."""

        @wraps(method)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return wrapped


def with_callbacks(method: _Method) -> _Method:
    """Let callbacks listen to a method, and say that its types stay as they are."""
    return _with_callbacks(method)
