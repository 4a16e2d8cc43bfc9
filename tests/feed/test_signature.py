import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skchallenge.feed._index import HashIndex
from skchallenge.feed._signature import (
    NO_SIGNATURE,
    Signature,
    content_box,
    sign_film,
    size_of,
)


def film(seed, n=20, side=64):
    """Coarse random squares that change with time."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 255, (n, 8, 8), np.uint8)
    return squares.repeat(side // 8, axis=1).repeat(side // 8, axis=2)


def bordered(inside, top, left, height, width, colour):
    """Set a film into a border whose edges fall between the lines."""
    big = np.full((len(inside), 640, 640), colour, np.uint8)
    rows, columns = np.linspace(0, 63.99, height), np.linspace(0, 63.99, width)
    big[:, top : top + height, left : left + width] = inside[
        :, rows.astype(int)[:, None], columns.astype(int)
    ]
    return big.reshape(-1, 64, 10, 64, 10).mean(axis=(2, 4)).astype(np.uint8)


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize(
    "edges", [(184, 0, 270, 640), (0, 107, 640, 426), (93, 61, 444, 500)]
)
def test_the_border_is_found_to_a_part_of_a_line(edges, colour):
    top, left, height, width = edges
    (y0, y1), (x0, x1) = content_box(bordered(film(0), *edges, colour))
    expected = np.array([top, top + height, left, left + width]) / 10
    np.testing.assert_allclose([y0, y1, x0, x1], expected, atol=0.25)


def test_no_border_is_found_where_there_is_none():
    assert content_box(film(0)) == ((0, 64), (0, 64))
    flat = np.full((10, 64, 64), 80, np.uint8)
    assert content_box(flat) == ((0, 64), (0, 64))


def test_a_border_that_changes_is_none():
    pictures = bordered(film(0), 184, 0, 270, 640, 0)
    pictures[:, :18] = np.linspace(0, 200, len(pictures))[:, None, None]
    assert content_box(pictures)[0][0] == 0


def test_cells_are_means():
    pictures = film(0)
    cells = sign_film(pictures).cells
    expected = np.rint(pictures.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4)))
    assert_array_equal(cells, expected)


def test_a_border_does_not_change_the_signature():
    plain = sign_film(film(0))
    inside = sign_film(bordered(film(0), 160, 0, 320, 640, 255))
    off = np.abs(plain.cells.astype(int) - inside.cells)
    assert off.mean() < 3
    bits = np.bitwise_count(plain.hashes[:, None] ^ inside.hashes).sum(axis=2)
    assert bits.min() < 60


def test_hashes_of_a_mirrored_film_are_the_mirrored_hashes():
    one, other = sign_film(film(0)), sign_film(film(0)[:, :, ::-1])
    assert_array_equal(np.unique(one.mirrored, axis=0), np.unique(other.hashes, axis=0))


def test_a_film_of_one_step_has_a_hash():
    assert len(sign_film(film(0, n=1)).hashes) == 1


def test_signatures_survive_as_bytes():
    for signature in (sign_film(film(0)), sign_film(film(1, n=1)), NO_SIGNATURE):
        data = signature.to_bytes()
        assert size_of(data[:16]) == len(data)
        again = Signature.from_bytes(data + b"more")
        for a, b in zip(signature, again, strict=True):
            assert_array_equal(a, b)
            assert a.dtype == b.dtype
            assert a.shape == b.shape


# The index


def hashes(seed, n=1):
    return np.random.default_rng(seed).integers(0, 256, (n, 64), np.uint8)


def flipped(some, n_bits, seed=0):
    bits = np.unpackbits(some, axis=1)
    places = np.random.default_rng(seed).permutation(512)[:n_bits]
    bits[:, places] ^= 1
    return np.packbits(bits, axis=1)


@pytest.mark.parametrize("n_bits", [0, 1, 8, 15])
def test_whatever_differs_in_fewer_bits_than_pieces_is_found(n_bits):
    collection = [hashes(i) for i in range(200)]
    index = HashIndex(collection)
    for number in range(0, 200, 20):
        found, n_seen = index.find(flipped(collection[number], n_bits, number))
        assert_array_equal(found, [number])
        assert n_seen == 1


def test_more_than_a_quarter_of_the_bits_is_another_picture():
    one = hashes(0)
    far = flipped(one, 129)
    far[:, :4] = one[:, :4]  # they share a piece all the same
    n_bits = np.bitwise_count(one ^ far).sum()
    found, n_seen = HashIndex([one]).find(far)
    assert n_seen == 1
    assert len(found) == (n_bits <= 128)


def test_only_videos_before_one_if_asked():
    index = HashIndex([hashes(0), hashes(1), hashes(0), hashes(0)])
    assert_array_equal(index.find(hashes(0))[0], [0, 2, 3])
    assert_array_equal(index.find(hashes(0), before=3)[0], [0, 2])
    assert_array_equal(index.find(hashes(0), before=0)[0], [])


def test_flat_pieces_find_nothing():
    dull = np.zeros((1, 64), np.uint8)
    dull[0, 0] = 3  # two bits of the first piece
    assert HashIndex([dull, dull]).find(dull)[1] == 0


def test_an_empty_index_finds_nothing():
    assert HashIndex([]).find(hashes(0))[1] == 0
    assert HashIndex([NO_SIGNATURE.hashes]).find(hashes(0))[1] == 0


def test_the_share_of_pairs_compared_is_small():
    rng = np.random.default_rng(0)
    collection = [rng.integers(0, 256, (8, 64), np.uint8) for _ in range(300)]
    index = HashIndex(collection)
    seen = sum(index.find(h, row)[1] for row, h in enumerate(collection))
    assert seen / (300 * 299 / 2) < 0.01


def test_a_piece_counts_in_its_own_place_only():
    one = hashes(0)
    moved = hashes(1)
    moved[:, 4:8] = one[:, :4]  # the first piece of one is the second of the other
    assert HashIndex([one]).find(moved)[1] == 0
    moved[:, :4] = one[:, :4]
    assert HashIndex([one]).find(moved)[1] == 1
