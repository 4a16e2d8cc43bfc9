"""A short run of benchmarks/kills.py, on real mp4 files, and its eye for violations."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from skchallenge.datasets import make_challenge_clips
from skchallenge.embed import VideoFrameEmbedder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("kills", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PAUSE_S = 0.1  # or a busy machine would kill when all is done
    module.PATIENCE_S = 600.0
    return module


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    clips = make_challenge_clips(
        folder, n_users=3, n_challenges=1, videos_per_user=4, random_state=0
    )
    return clips.videos["path"].tolist()


@pytest.fixture(scope="module")
def expected(kills, paths, tmp_path_factory):
    """The matrix that an embedder without a store computes in this process."""
    model = VideoFrameEmbedder(
        kills.noting(tmp_path_factory.mktemp("log") / "log"),
        n_frames=kills.N_FRAMES,
        image_size=32,
        precision="float32",
        batch_size=kills.N_FRAMES,
    )
    return model.fit_transform(paths)


def test_a_killed_run_is_resumed_without_a_loss(kills, paths, expected, tmp_path):
    row = kills.killed_and_resumed(paths, tmp_path / "a", (9, 0.05), expected)
    assert row["ok"], row
    assert 0 < row["reported"] <= row["stored"] < len(paths)
    assert row["stored"] <= row["computed"]


def test_four_processes_of_which_one_is_killed(kills, paths, expected, tmp_path):
    rng = np.random.default_rng(0)
    row = kills.side_by_side(paths, tmp_path / "a", [(5, 0.05)], expected, rng)
    assert row["ok"], row
    assert row["stored"] == len(paths)


def test_violations_are_seen(kills, paths, expected, tmp_path):
    stored = {b"a": b"1", b"b": b"2"}
    assert kills.n_lost({b"a": b"1"}, stored) == 0
    assert kills.n_lost({b"a": b"2", b"c": b"3"}, stored) == 2
    right = {"lost": 0, "unclean": 0, "differs": False}
    assert not kills.is_right(right, tmp_path, 1)  # there is no store
    assert kills.is_right(right, tmp_path, 0)
    for wrong in ({"lost": 1}, {"unclean": 1}, {"differs": True}):
        assert not kills.is_right(right | wrong, tmp_path, 0)
    out = tmp_path / "rows.npy"
    assert kills.differs(out, expected)
    np.save(out, expected + 1)
    assert kills.differs(out, expected)
    np.save(out, expected)
    assert not kills.differs(out, expected)
