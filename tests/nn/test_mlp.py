import pytest
import torch
from torch import nn

from skchallenge.nn import MLP


def test_forward_by_hand():
    net = MLP(2, 2, hidden=(2,))
    with torch.no_grad():
        net.body[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        net.body[0].bias.copy_(torch.tensor([0.5, 1.0]))
        net.head.weight.copy_(torch.tensor([[1.0, 10.0], [2.0, 0.0]]))
        net.head.bias.copy_(torch.tensor([0.0, -1.0]))
    x = torch.tensor([[1.0, 1.0], [3.0, -1.0]])
    # Hidden, row 1: relu(1 + 2 + .5, -1 + 1) and row 2: relu(3 - 2 + .5, -3 + 1).
    torch.testing.assert_close(net.embed(x), torch.tensor([[3.5, 0.0], [1.5, 0.0]]))
    torch.testing.assert_close(net(x), torch.tensor([[3.5, 6.0], [1.5, 2.0]]))


def test_no_hidden_layer_is_linear():
    net = MLP(3, 2, hidden=())
    x = torch.randn(4, 3)
    torch.testing.assert_close(net.embed(x), x)
    torch.testing.assert_close(net(x), x @ net.head.weight.T + net.head.bias)


def test_widths_follow_hidden():
    net = MLP(5, 3, hidden=(7, 4))
    widths = [(m.in_features, m.out_features) for m in net.modules() if _linear(m)]
    assert widths == [(5, 7), (7, 4), (4, 3)]
    assert net.embed(torch.randn(2, 5)).shape == (2, 4)


def _linear(module):
    return isinstance(module, nn.Linear)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_weights_have_the_dtype(dtype):
    net = MLP(5, 3, hidden=(7, 4), dtype=dtype)
    assert {p.dtype for p in net.parameters()} == {dtype}


def test_dropout_acts_in_training_only_and_at_its_rate():
    torch.manual_seed(0)
    net = MLP(5, 2, hidden=(400,), dropout=0.5)
    net.body[0].bias.data.fill_(100.0)  # every unit fires
    x = torch.randn(50, 5)
    # 20,000 coins: the share of zeros is 0.5 +- 0.0035; the margin is 4 of those.
    share = (net.train().embed(x) == 0).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.014)
    assert (net.eval().embed(x) > 0).all()
