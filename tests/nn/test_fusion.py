import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from skchallenge.nn import AttentionFusion

SLOTS, WIDTH, HIDDEN = 4, 3, 6
BLOCK = SLOTS * WIDTH + 1
BLOCKS = ((0, SLOTS, WIDTH), (BLOCK, SLOTS, WIDTH))


def make_net(blocks=BLOCKS, in_features=2 * BLOCK + 2, **options):
    torch.manual_seed(0)
    net = AttentionFusion(in_features, 2, blocks, hidden=(HIDDEN,), **options)
    return net.double().eval()


def make_rows(fills, n_plain=2):
    """Rows with so many videos on each side, noise in the empty slots, plain last."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(fills), 2 * BLOCK + n_plain))
    x[:, [BLOCK - 1, 2 * BLOCK - 1]] = np.asarray(fills) / SLOTS
    return torch.from_numpy(x)


EVERY_FILL = [(a, b) for a in range(SLOTS + 1) for b in range(SLOTS + 1)]


def test_forward_equals_the_equations_without_masks():
    """The oracle loops over the videos that are there; it knows no mask."""
    net, x = make_net(), make_rows(EVERY_FILL)
    w = {k: v.numpy() for k, v in net.state_dict().items()}
    rows = zip(x.numpy(), EVERY_FILL, strict=True)
    expected = [_one_row(w, row, fills) for row, fills in rows]
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-9)


def _one_row(w, row, fills):
    sides = []
    videos = [
        np.maximum(
            row[start : start + n * WIDTH].reshape(n, WIDTH) @ w[f"value.{i}.weight"].T
            + w[f"value.{i}.bias"],
            0,
        )
        for i, ((start, _, _), n) in enumerate(zip(BLOCKS, fills, strict=True))
    ]
    for i, seen in enumerate(videos):
        other = videos[1 - i]
        asker = other.mean(axis=0) if len(other) else np.zeros(HIDDEN)
        query = w[f"query.{i}.weight"] @ asker + w[f"query.{i}.bias"]
        keys = seen @ w[f"key.{i}.weight"].T + w[f"key.{i}.bias"]
        score = np.exp(keys @ query / np.sqrt(HIDDEN))
        sides.append((score / score.sum()) @ seen if len(seen) else np.zeros(HIDDEN))
    a, b = sides
    plain = row[[BLOCK - 1, 2 * BLOCK - 1, -2, -1]]
    joint = np.concatenate([a, b, a * b, np.abs(a - b), plain])
    hidden = w["classify.body.0.weight"] @ joint + w["classify.body.0.bias"]
    head = w["classify.head.weight"] @ np.maximum(hidden, 0)
    return head + w["classify.head.bias"]


def test_the_order_of_the_videos_does_not_matter():
    net, x = make_net(), make_rows([(3, 4), (2, 3)])
    shuffled = x.clone()
    videos = x[:, : SLOTS * WIDTH].reshape(-1, SLOTS, WIDTH)
    shuffled[0, : SLOTS * WIDTH] = videos[0, [2, 0, 1, 3]].flatten()  # 3 are filled
    shuffled[1, : SLOTS * WIDTH] = videos[1, [1, 0, 2, 3]].flatten()  # 2 are filled
    torch.testing.assert_close(net(shuffled), net(x))
    other = x.clone()
    other[0, : SLOTS * WIDTH] = videos[0, [3, 0, 1, 2]].flatten()  # an empty one in
    assert (net(other)[0] - net(x)[0]).abs().max() > 1e-3


def test_what_stands_in_empty_slots_is_ignored():
    net, x = make_net(), make_rows(EVERY_FILL)
    cleared = x.clone()
    for row, fills in zip(cleared, EVERY_FILL, strict=True):
        for (start, _, _), n in zip(BLOCKS, fills, strict=True):
            row[start + n * WIDTH : start + SLOTS * WIDTH] = 0
    torch.testing.assert_close(net(cleared), net(x))


def test_a_longer_block_with_the_same_videos_gives_the_same_logits():
    """The number of slots is no property of a user; only the fill share tells it."""
    short, x = make_net(in_features=2 * BLOCK), make_rows([(2, 3), (0, 4)], n_plain=0)
    longer = BLOCK + WIDTH
    long = make_net(((0, 5, WIDTH), (longer, 5, WIDTH)), 2 * longer)
    long.load_state_dict(short.state_dict())
    sides = [
        torch.cat(
            [x[:, s : s + BLOCK - 1], torch.ones(2, WIDTH), x[:, [s + BLOCK - 1]]], 1
        )
        for s in (0, BLOCK)
    ]
    wide = torch.cat(sides, dim=1)
    wide[:, [longer - 1, 2 * longer - 1]] *= SLOTS / 5
    taken = [s._read(y, 0)[1].sum(1) for s, y in ((short, x), (long, wide))]
    assert torch.equal(*taken)
    fills = torch.tensor([BLOCK - 1, 2 * BLOCK - 1])
    # The shares themselves are features: take their part out on both sides.
    for net in (short, long):
        net.classify.body[0].weight.data[:, -2:] = 0
    assert (x[:, fills] != wide[:, [longer - 1, 2 * longer - 1]]).any()
    torch.testing.assert_close(long(wide), short(x))


@pytest.mark.parametrize("fills", [(0, 0), (0, SLOTS), (SLOTS, 0)])
def test_no_videos_give_finite_logits_and_gradients(fills):
    net, x = make_net(), make_rows([fills, (2, 2)])
    logits = net(x)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_rows_do_not_see_each_other():
    net, x = make_net(), make_rows(EVERY_FILL)
    one_by_one = torch.cat([net(row[None]) for row in x])
    torch.testing.assert_close(net(x), one_by_one)


def test_plain_columns_and_fill_shares_count():
    net, x = make_net(), make_rows([(2, 2)])
    for column in (BLOCK - 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1):
        moved = x.clone()
        moved[:, column] += 0.01
        assert not torch.allclose(net(moved), net(x)), column


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_fill_share_counts_its_videos(dtype):
    """float32 shares such as 3 / 7 * 7 may fall below or above 3."""
    for slots in range(1, 130):
        net = AttentionFusion(slots + 1, 2, [(0, slots, 1)], hidden=(1,), dtype=dtype)
        x = torch.zeros(slots + 1, slots + 1, dtype=dtype)
        x[:, -1] = torch.arange(slots + 1, dtype=dtype) / slots
        assert net._read(x, 0)[1].sum(1).tolist() == list(range(slots + 1))


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_any_number_of_blocks(n_blocks):
    blocks = [(i * BLOCK, SLOTS, WIDTH) for i in range(n_blocks)]
    net = make_net(blocks, n_blocks * BLOCK)
    x = torch.randn(5, n_blocks * BLOCK, dtype=torch.float64)
    assert net(x).shape == (5, 2)
    assert len(net.plain) == n_blocks
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_weights_have_the_dtype(dtype):
    net = AttentionFusion(2 * BLOCK, 2, BLOCKS, hidden=(4,), dtype=dtype)
    assert {p.dtype for p in net.parameters()} == {dtype}


def test_dropout_acts_in_training_only():
    net, x = make_net(dropout=0.5), make_rows([(2, 2)])
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_sixteen_rows_are_learned_by_heart():
    net, x = make_net().train(), make_rows(EVERY_FILL[1:17])
    y = torch.tensor([0, 1] * 8)
    adam = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(200):
        adam.zero_grad()
        loss = cross_entropy(net(x), y)
        loss.backward()
        adam.step()
    assert (net(x).argmax(1) == y).all()
    assert loss.item() < 0.05
