"""A place for a model that is built when first needed."""

import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from skchallenge._locks import ForkSafeLock

_IN_A_WORKER = 2  # models kept: one for videos, one for captions


class Built:
    """Holds one model, and a token that names the parameters it is built from.

    It pickles and deep-copies as an empty one, so that an estimator which holds it
    takes its weights nowhere, and filling it changes no attribute of the estimator.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._token = ""
        self._made_of = ""
        self._model: Any = None
        self._digests: dict[Callable[[Any], str], str] = {}
        self._mutex = ForkSafeLock()

    def token(self, key: object) -> str:
        """Return a name for `key`; it stays as long as the key does.

        Other processes know the model by it: a function that was pickled is equal to
        no other.
        """
        with self._mutex:
            if not self._token or key != self._key:
                self._token, self._key = uuid.uuid4().hex, key
                _HERE[self._token] = self
            return self._token

    def get(self, token: str, build: Callable[[], Any]) -> Any:
        """Return the model for `token`, built anew only if the token has changed."""
        with self._mutex:
            if self._model is None or token != self._made_of:
                self._model = None  # let go of the old one first
                self._digests.clear()
                self._model, self._made_of = build(), token
            return self._model

    def digest(self, compute: Callable[[Any], str]) -> str:
        """Return `compute` of the model, which is called once a model."""
        with self._mutex:
            if compute not in self._digests:
                self._digests[compute] = compute(self._model)
            return self._digests[compute]

    def __reduce__(self) -> tuple[type["Built"], tuple[()]]:
        return Built, ()


_HERE: WeakValueDictionary[str, Built] = WeakValueDictionary()  # of estimators
_KEPT: OrderedDict[str, Built] = OrderedDict()  # by a worker process, between chunks
_mutex = ForkSafeLock()


def built_of(token: str) -> Built:
    """Return the place of a model: the estimator's, or in another process one kept."""
    with _mutex:
        built = _HERE.get(token) or _KEPT.pop(token, None) or Built()
        if token not in _HERE:
            _KEPT[token] = built
            while len(_KEPT) > _IN_A_WORKER:
                _KEPT.popitem(last=False)
        return built
