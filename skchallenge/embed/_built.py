"""A place for a model that is built when first needed."""

import threading
from collections.abc import Callable
from typing import Any


class Built:
    """Holds one model and the parameters it was built from.

    It pickles and deep-copies as an empty one, so that an estimator which holds it
    takes its weights nowhere, and filling it changes no attribute of the estimator.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._model: Any = None
        self._digest: str | None = None
        self._mutex = threading.RLock()

    def get(self, key: object, build: Callable[[], Any]) -> Any:
        """Return the model for `key`, built anew only if the key has changed."""
        with self._mutex:
            if self._model is None or key != self._key:
                self._model = self._digest = None  # let go of the old one first
                self._model, self._key = build(), key
            return self._model

    def digest(self, compute: Callable[[Any], str]) -> str:
        """Return `compute` of the model, which is called once a model."""
        with self._mutex:
            if self._digest is None:
                self._digest = compute(self._model)
            return self._digest

    def __reduce__(self) -> tuple[type["Built"], tuple[()]]:
        return Built, ()
