"""What a store has forgotten is in none of its bytes."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from skchallenge.embed import EmbeddingStore, VideoFrameEmbedder
from skchallenge.embed._keys import item_key
from skchallenge.embed._store import open_store


def mean_colour():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def embed(paths, store, n_frames=1):
    settings = {"n_frames": n_frames, "image_size": 8, "store": store}
    return VideoFrameEmbedder(mean_colour, **settings).fit_transform(paths)


def bytes_of(store):
    files = Path(store.path).parent.glob("s.db*")
    return b"".join(file.read_bytes() for file in files)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for number, colour in enumerate([(11, 22, 33), (44, 55, 66), (77, 88, 99)]):
        paths.append(tmp_path / f"picture{number}.png")
        Image.new("RGB", (8, 8), colour).save(paths[-1])

        os.utime(paths[-1], (1e9, 1e9))
    return paths


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    return EmbeddingStore(tmp_path / "store" / "s.db")


def test_nothing_of_a_file_is_left_whatever_embedded_it(pictures, store, monkeypatch):
    monkeypatch.setattr("skchallenge.embed._store._QUIET_NS", -(10**12))  # old files
    vectors = [embed(pictures, store, n) for n in (1, 2)]
    gone = [v[0].tobytes() for v in vectors]
    kept = [v[1].tobytes() for v in vectors]
    name = str(pictures[0]).encode()
    before = bytes_of(store)
    assert all(vector in before for vector in gone)
    assert name in before
    n_dropped = store.forget([pictures[0]])
    assert n_dropped == 2
    after = bytes_of(store)
    assert not any(vector in after for vector in gone)
    assert name not in after
    assert all(vector in after for vector in kept)
    assert len(store) == 4
    assert store.verify()["damaged"] == 0
    np.testing.assert_array_equal(embed(pictures[1:], store), vectors[0][1:])
    assert store.stats()["misses"] == 6  # those of the others were still there
    embed(pictures, store)
    assert store.stats()["misses"] == 7


def test_what_was_freed_before_is_cleaned_too(pictures, store):
    old = embed(pictures, store)
    store.prune(0)  # frees pages, which stay as they were
    embed([pictures[0]], store, 3)
    assert store.forget([pictures[0]]) == 1
    assert not any(row.tobytes() in bytes_of(store) for row in old)


def test_a_plain_deletion_would_leave_bytes(pictures, store):
    """The proof can fail."""
    vector = embed(pictures, store)[0].tobytes()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("DELETE FROM records")
    connection.commit()
    connection.close()
    assert vector in bytes_of(store)


def test_a_file_that_is_gone_is_known_by_its_path(pictures, store, monkeypatch):
    monkeypatch.setattr("skchallenge.embed._store._QUIET_NS", -(10**12))
    embed(pictures, store)
    pictures[0].unlink()
    assert store.forget([pictures[0]]) == 1
    with pytest.raises(ValueError, match=r"picture0\.png cannot be read\. Nothing"):
        store.forget([pictures[1], pictures[0]])
    assert len(store) == 2


def test_contents_lists_and_missing_values_are_known_as_embedders_know_them(
    pictures, store
):
    post = [str(p) for p in pictures]
    column = np.empty(1, dtype=object)
    column[0] = post
    embed(column, store)
    embed(pictures, store)
    assert store.forget([pictures[0].read_bytes(), None, np.nan]) == 1
    assert store.forget([post]) == 1
    assert store.forget([post]) == 0
    assert len(store) == 2


def test_texts_are_forgotten_by_every_model(store):
    texts = ["my cat", "my dog", "\ud800"]
    with open_store(store) as session:
        for model in (b"a" * 32, b"b" * 32):
            contents = [t.encode("utf-8", "surrogatepass") for t in texts]
            session.write([(item_key(model, c), b"vector of " + c) for c in contents])
    assert store.forget(texts=["my cat", "\ud800", None]) == 4
    data = bytes_of(store)
    assert b"vector of my dog" in data
    assert b"vector of my cat" not in data
    assert len(store) == 2


def test_pages_that_a_reader_still_needs_are_told(pictures, store, monkeypatch):
    monkeypatch.setattr("skchallenge.embed._store._BUSY_S", 0.1)
    embed(pictures, store)
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchall()
    with pytest.raises(TimeoutError, match="run again|end it"):
        store.forget(pictures[:1])
    reader.close()
    assert store.forget(pictures[:1]) == 0
    assert len(store) == 2


def test_one_path_or_text_is_no_list(store):
    for media in ("a.png", b"x", Path("a.png")):
        with pytest.raises(TypeError, match="media must be a list"):
            store.forget(media)
    with pytest.raises(TypeError, match="texts must be a list"):
        store.forget(texts="my cat")
    with pytest.raises(TypeError, match="texts must hold texts"):
        store.forget(texts=[b"my cat"])
