import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from skchallenge.nn import CoverCNN, CoverFusion


class Mean(nn.Module):
    """A picture's mean colour: a reader whose features are known by hand."""

    def forward(self, pictures):
        return pictures.float().mean(dim=(1, 2))


def fusion(n_metadata=2, **options):
    torch.manual_seed(0)
    defaults = {"out_features": 2, "hidden": (8, 4), **options}
    return CoverFusion(Mean(), 3, 4, n_metadata, **defaults).eval()


def grey(*levels, size=4):
    return torch.stack([torch.full((size, size, 3), v).to(torch.uint8) for v in levels])


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "size, n_parameters",
    [
        # conv 448 + 4,640; 8192-256-128-64-32: 2,097,408 + 32,896 + 8,256 + 2,080
        (64, 2_145_728),
        # 32 * 4 * 4 = 512 inputs of the first linear layer: 131,328
        (16, 179_648),
    ],
)
def test_parameters_of_the_cnn_by_hand(size, n_parameters):
    net = CoverCNN(size)
    assert count(net) == n_parameters
    pictures = torch.zeros(5, size, size, 3, dtype=torch.uint8)
    assert net.see(pictures.permute(0, 3, 1, 2).float()).shape == (5, size * size * 2)
    assert net(pictures).shape == (5, 32)


def test_features_have_the_type_of_the_weights():
    net = CoverCNN(8).double()
    pictures = torch.randint(256, (5, 8, 8, 3), dtype=torch.uint8)
    features = net(pictures)
    assert features.dtype == torch.float64
    torch.testing.assert_close(net.float()(pictures).double(), features)


def test_covers_train_under_autocast():
    net = CoverFusion(CoverCNN(8), 32, 8, n_metadata=2, out_features=2, hidden=(4,))
    covers = torch.randint(256, (3, 9, 9, 3), dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(torch.zeros(2, 2), torch.tensor([1, -1]), covers)
        cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(
    "n_metadata, how, n_parameters",
    [
        (0, "concat", 2_145_794),  # 66 of 32-2
        (10, "concat", 2_200_738),  # 42-512-64-2 and the vector of 32
        (10, "full", 2_190_562),  # 10-512-64, 96-64-2 and the vector of 32
    ],
)
def test_parameters_of_the_reports_networks(n_metadata, how, n_parameters):
    net = CoverFusion(CoverCNN(64), 32, 64, n_metadata, 2, hidden=(512, 64), fusion=how)
    assert count(net) == n_parameters
    covers = torch.zeros(3, 72, 72, 3, dtype=torch.uint8)
    places = torch.tensor([2, -1])
    assert net(torch.zeros(2, n_metadata), places, covers).shape == (2, 2)


def test_dropout_follows_the_first_linear_layer_alone():
    kinds = [type(layer).__name__ for layer in CoverCNN(16, dropout=0.5).read]
    assert kinds == ["Linear", "ReLU", "Dropout", *["Linear", "ReLU"] * 3]


def test_pictures_are_scaled_to_minus_one_and_one():
    net, seen = CoverCNN(16), []
    net.see.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(torch.stack([grey(0, size=16)[0], grey(255, size=16)[0]]))
    assert seen[0].shape == (2, 3, 16, 16)
    assert (seen[0][0] == -1).all()
    assert (seen[0][1] == 1).all()


def test_each_row_gets_the_features_of_its_own_cover():
    net = fusion()
    net.missing.data = torch.tensor([-1.0, -2.0, -3.0])
    places = torch.tensor([2, 0, -1, 2])
    expected = [[30.0] * 3, [10.0] * 3, [-1.0, -2.0, -3.0], [30.0] * 3]
    found = net.embed(places, grey(10, 20, 30))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_rows_without_any_cover_need_no_picture():
    net = fusion()
    places = torch.tensor([-1, -1])
    no_picture = torch.empty(0, 4, 4, 3, dtype=torch.uint8)
    assert (net.embed(places, no_picture) == 0).all()
    net(torch.zeros(2, 2), places, no_picture).sum().backward()
    assert net.missing.grad is not None


def test_the_missing_vector_is_learned_beside_columns_only():
    assert isinstance(fusion(2).missing, nn.Parameter)
    assert not isinstance(fusion(0).missing, nn.Parameter)
    assert "missing" in fusion(0).state_dict()


def test_concat_by_hand():
    net = fusion(hidden=())
    net.classify.head.weight.data = torch.tensor(
        [[1.0, 0, 0, 10, 0], [0, 0, 2, 0, 100]]
    )
    net.classify.head.bias.data = torch.tensor([0.5, 0.0])
    logits = net(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), grey(7))
    torch.testing.assert_close(logits, torch.tensor([[7 + 30 + 0.5, 14.0 + 400]]))


def test_full_reads_the_columns_before_they_meet_the_cover():
    net, seen = fusion(fusion="full"), []
    net.classify.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    metadata = torch.tensor([[3.0, 4.0]])
    net(metadata, torch.tensor([0]), grey(7))
    torch.testing.assert_close(seen[0][:, :3], torch.full((1, 3), 7.0))
    torch.testing.assert_close(seen[0][:, 3:], net.columns(metadata))
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [
        *(8, 4),  # columns
        *(64, 2),  # both
    ]


def test_the_cover_alone_ignores_the_columns():
    net = fusion(0)
    place, cover = torch.tensor([0]), grey(7)
    one, other = (net(torch.full((1, 5), v), place, cover) for v in (0.0, 9.0))
    assert torch.equal(one, other)


def test_the_square_is_the_middle_in_prediction_and_random_in_training():
    net = fusion()
    picture = (
        torch.arange(36, dtype=torch.uint8).reshape(1, 6, 6, 1).expand(-1, -1, -1, 3)
    )
    middle = net._cut(picture)[0, :, :, 0]
    assert middle.tolist() == [[6 * i + j for j in range(1, 5)] for i in range(1, 5)]
    net.train()
    torch.manual_seed(0)
    cut = net._cut(picture.expand(300, -1, -1, -1))[..., 0].long()  # (300, 4, 4)
    corner = cut[:, 0, 0]
    # Each is a true square: one step right is one more, one step down six more.
    steps = torch.arange(4) + 6 * torch.arange(4)[:, None]
    assert (cut == corner[:, None, None] + steps).all()
    # Nine corners of probability 1/9: none is missed by 300 draws.
    assert set(corner.tolist()) == {6 * i + j for i in range(3) for j in range(3)}


def test_sixteen_rows_are_learned_by_heart():
    torch.manual_seed(0)
    net = CoverFusion(CoverCNN(16), 32, 16, 1, 2, hidden=(16,)).train()
    covers = torch.randint(0, 256, (16, 18, 18, 3), dtype=torch.uint8)
    y, places, metadata = torch.tensor([0, 1] * 8), torch.arange(16), torch.zeros(16, 1)
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        adam.zero_grad()
        loss = cross_entropy(net(metadata, places, covers), y)
        loss.backward()
        adam.step()
    assert (net.eval()(metadata, places, covers).argmax(1) == y).all()
