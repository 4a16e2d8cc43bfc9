"""Batch normalisation folded into convolutions: the same function, fewer layers."""

import pytest
import torch
from skchallenge.embed._fold import fold_batch_norms
from torch import nn

from skchallenge.embed import VideoFrameEmbedder
from skchallenge.embed._backbone import build_backbone


def with_statistics(net):
    """Give normalisations weights and statistics as if they had been trained."""
    random = torch.Generator().manual_seed(0)
    for layer in norms(net):
        layer.running_mean.normal_(0, 0.2, generator=random)
        layer.running_var.uniform_(0.5, 2, generator=random)
        layer.weight.data.uniform_(0.5, 2, generator=random)
        layer.bias.data.normal_(0, 0.2, generator=random)
    return net


def norms(net):
    return [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]


def check_same_function(net, n_left):
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = net(images)
    actual = fold_batch_norms(net)(images)
    assert len(norms(net)) == n_left
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * scale)


# DenseNet also normalises what it has put together, where no convolution is before.
@pytest.mark.parametrize(
    ("name", "n_left"),
    [
        ("resnet18", 0),
        ("mobilenet_v3_small", 0),
        ("densenet121", 62),
        ("squeezenet1_1", 0),
    ],
)
@torch.inference_mode()
def test_networks_stay_the_same_function(name, n_left):
    check_same_function(with_statistics(build_backbone(name, None, 64)), n_left)


class Knot(nn.Module):
    """Convolutions and normalisations that are used more than once."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, x):
        conv, norm = self.convs, self.norms
        y = conv[0](x)
        y = norm[0](y) + y  # goes to two places
        y = norm[1](conv[1](norm[1](conv[2](y))))  # one norm after two convolutions
        y = norm[2](conv[3](conv[3](y)))  # one convolution twice
        return norm[3](torch.relu(y)).flatten(1)  # after something else


@torch.inference_mode()
def test_what_has_a_second_use_is_left_alone():
    check_same_function(with_statistics(Knot().eval()), n_left=4)


@pytest.mark.parametrize(("precision", "n_norms"), [("float32", 0), ("bfloat16", 20)])
def test_named_networks_are_folded_in_float32(precision, n_norms):
    embedder = VideoFrameEmbedder("resnet18", weights=None, precision=precision)
    embedder.fit(["a.mp4"])
    network = embedder._model().network(embedder._built)
    assert len(norms(network.encoder)) == n_norms
