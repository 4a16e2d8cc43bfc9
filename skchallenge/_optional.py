"""Dependencies that are imported when first used."""

import importlib
from types import ModuleType


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or say which extra of skchallenge installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package {module!r}. "
            f"Install it with: pip install 'skchallenge[{extra}]'"
        ) from error
