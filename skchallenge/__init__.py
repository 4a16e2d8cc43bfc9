"""Scikit-learn estimators for short videos: participation, virality, the feed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skchallenge._adoption import AdoptionHistory
    from skchallenge._factory import make_deep_challenger, make_paper_challenger
    from skchallenge._history import HistoryEncoder
    from skchallenge._participation import DeepChallenger
    from skchallenge._proxy import ProxyEncoder
    from skchallenge._trusted import trusted_types
    from skchallenge._virality import MultimodalVirality
    from skchallenge._virality_stack import make_virality_stack
    from skchallenge.datasets import (
        VideoCatalog,
        describe_tags,
        load_tiktok_export,
        make_challenge_clips,
        make_participation,
    )
    from skchallenge.embed import (
        AudioEmbedder,
        CaptionEmbedder,
        EmbeddingStore,
        FrameCaptioner,
        FrameTagger,
        VideoFrameEmbedder,
    )

__version__ = "0.1.0.dev0"

__all__ = [
    "AdoptionHistory",
    "AudioEmbedder",
    "CaptionEmbedder",
    "DeepChallenger",
    "EmbeddingStore",
    "FrameCaptioner",
    "FrameTagger",
    "HistoryEncoder",
    "MultimodalVirality",
    "ProxyEncoder",
    "VideoCatalog",
    "VideoFrameEmbedder",
    "describe_tags",
    "load_tiktok_export",
    "make_challenge_clips",
    "make_deep_challenger",
    "make_paper_challenger",
    "make_participation",
    "make_virality_stack",
    "trusted_types",
]

# Imported when first asked for: tables and metrics must not wait for torch.
_HOMES = {
    "AdoptionHistory": "_adoption",
    "AudioEmbedder": "embed",
    "CaptionEmbedder": "embed",
    "DeepChallenger": "_participation",
    "EmbeddingStore": "embed",
    "FrameCaptioner": "embed",
    "FrameTagger": "embed",
    "HistoryEncoder": "_history",
    "MultimodalVirality": "_virality",
    "ProxyEncoder": "_proxy",
    "VideoCatalog": "datasets",
    "VideoFrameEmbedder": "embed",
    "describe_tags": "datasets",
    "load_tiktok_export": "datasets",
    "make_challenge_clips": "datasets",
    "make_deep_challenger": "_factory",
    "make_paper_challenger": "_factory",
    "make_participation": "datasets",
    "make_virality_stack": "_virality_stack",
    "trusted_types": "_trusted",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except AttributeError as error:
        # Of a dependency that fails to import; `from skchallenge import ...` would
        # take it for a name that does not exist, and not say why.
        raise ImportError(f"{__name__}.{name} cannot be imported: {error}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
