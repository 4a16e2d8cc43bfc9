"""Media and text to vectors: frozen pretrained models, nothing is trained."""

from skchallenge.embed._audio import AudioEmbedder
from skchallenge.embed._caption import CaptionEmbedder
from skchallenge.embed._captioner import FrameCaptioner
from skchallenge.embed._demo import (
    demo_caption_model,
    load_demo_backbone,
    load_demo_classifier,
)
from skchallenge.embed._store import EmbeddingStore
from skchallenge.embed._tagger import FrameTagger
from skchallenge.embed._video import VideoFrameEmbedder
from skchallenge.media._limits import MediaLimits
from skchallenge.media._probe import probe_media

__all__ = [
    "AudioEmbedder",
    "CaptionEmbedder",
    "EmbeddingStore",
    "FrameCaptioner",
    "FrameTagger",
    "MediaLimits",
    "VideoFrameEmbedder",
    "demo_caption_model",
    "load_demo_backbone",
    "load_demo_classifier",
    "probe_media",
]
