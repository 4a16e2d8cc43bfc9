"""Media and text to vectors: frozen pretrained models, nothing is trained."""

from skchallenge.embed._caption import CaptionEmbedder
from skchallenge.embed._demo import demo_caption_model, load_demo_backbone
from skchallenge.embed._video import VideoFrameEmbedder

__all__ = [
    "CaptionEmbedder",
    "VideoFrameEmbedder",
    "demo_caption_model",
    "load_demo_backbone",
]
