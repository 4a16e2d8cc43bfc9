"""Plain PyTorch modules; nothing in here knows about scikit-learn."""

from skchallenge.nn._cnn import CoverCNN, CoverFusion
from skchallenge.nn._fusion import AttentionFusion
from skchallenge.nn._mlp import MLP
from skchallenge.nn._wide import WideAndDeep

__all__ = ["MLP", "AttentionFusion", "CoverCNN", "CoverFusion", "WideAndDeep"]
