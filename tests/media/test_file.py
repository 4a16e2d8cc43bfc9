"""The state and the hash of files, and that what is hashed is what is decoded."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from media.reading import HERE, read_clip

from skchallenge.exceptions import MediaError
from skchallenge.media import _file, _worker
from skchallenge.media._file import absolute, file_stat, hash_file
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_clips, read_luma_thumbnails


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).digest()


def test_the_hash_of_a_file(clip_paths):
    status = os.stat(clip_paths[0])
    stat, digest = hash_file(clip_paths[0], 10)
    assert digest == sha256(clip_paths[0])
    assert stat == file_stat(clip_paths[0])
    assert (stat.inode, stat.size) == (status.st_ino, status.st_size)
    assert hash_file(clip_paths[0], None) == (stat, digest)


def test_what_is_no_regular_file_has_no_state(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "gone", tmp_path / "pipe", "a\0b", "/dev/zero"):
        assert file_stat(str(path)) is None
        assert hash_file(str(path), 10) == (None, None)


def test_a_pipe_put_in_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    """It would wait for a writer; nobody is there."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    regular = os.stat(tmp_path / "file")
    monkeypatch.setattr(_file.os, "stat", lambda path: regular)
    assert hash_file(str(tmp_path / "pipe"), 10) == (None, None)
    with pytest.raises(MediaError, match="is not a regular file"):
        read_clip(tmp_path / "pipe", 1, 8, HERE)


def test_a_file_that_may_not_be_read_has_a_state_only(clip_paths, monkeypatch):
    def forbidden(path, flags):
        raise PermissionError(13, "Permission denied", path)

    stat = file_stat(clip_paths[0])
    monkeypatch.setattr(_file.os, "open", forbidden)
    assert hash_file(clip_paths[0], 10) == (stat, None)


def test_a_file_that_is_being_written_has_no_digest(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    original = _file.hash_open

    def written_meanwhile(file, *arguments):
        path.write_bytes(b"xy")
        return original(file, *arguments)

    monkeypatch.setattr(_file, "hash_open", written_meanwhile)
    stat, digest = hash_file(str(path), 10)
    assert stat.size == 1
    assert digest is None


@pytest.fixture
def huge(tmp_path):
    path = tmp_path / "huge.mp4"
    with open(path, "wb") as file:
        file.truncate(2**36)  # sparse: it takes no room on the disk
    return str(path)


def test_hashing_obeys_the_limit_of_time(huge):
    start = time.perf_counter()
    with pytest.raises(MediaError, match=r"is not hashed within timeout_s=0.5 seconds"):
        hash_file(huge, 0.5)
    assert time.perf_counter() - start < 20


def test_hashing_stops_when_told_to(huge):
    stop = threading.Event()
    found = []
    thread = threading.Thread(
        target=lambda: found.append(hash_file(huge, None, stop=stop))
    )
    thread.start()
    stop.set()
    thread.join(20)
    assert found == [(file_stat(huge), None)]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_hashing(huge):
    program = f"""
import signal
from skchallenge.media._file import hash_file
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    hash_file({huge!r}, None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout.readline() == "ready\n"
        time.sleep(0.3)
        start = time.perf_counter()
        caller.send_signal(signal.SIGINT)
        assert caller.stdout.readline() == "interrupted\n"
        assert time.perf_counter() - start < 10


@pytest.mark.parametrize("limits", [HERE, MediaLimits()])
def test_what_is_read_comes_with_its_digest(clip_paths, limits):
    options = {"n_threads": 2, "limits": limits, "hashed": True}
    clips = read_clips(clip_paths, 3, 8, **options)
    luma = read_luma_thumbnails(clip_paths, fps=5, size=8, **options)
    for path, clip, thumbnails in zip(clip_paths, clips, luma, strict=True):
        assert clip.digest == thumbnails.digest == sha256(path)
        plain = read_clip(path, 3, 8, limits)
        assert plain.digest is None
        np.testing.assert_array_equal(plain.frames, clip.frames)


def test_the_file_that_is_hashed_is_the_one_that_is_decoded(
    clip_paths, tmp_path, monkeypatch
):
    """Also where a link points to another file meanwhile."""
    link = tmp_path / "link.mp4"
    link.symlink_to(clip_paths[0])
    original = _worker.hash_open

    def flipping(*arguments, **options):
        digest = original(*arguments, **options)
        link.unlink()
        link.symlink_to(clip_paths[1])
        return digest

    monkeypatch.setattr(_worker, "hash_open", flipping)
    [clip] = read_clips([str(link)], 3, 8, n_threads=1, limits=HERE, hashed=True)
    assert clip.digest == sha256(clip_paths[0])
    np.testing.assert_array_equal(clip.frames, read_clip(clip_paths[0], 3, 8).frames)


def test_a_file_that_changes_while_it_is_read_is_bad(clip_paths, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(Path(clip_paths[0]).read_bytes())
    original = _worker.sample_frames

    def written_meanwhile(*arguments):
        found = original(*arguments)
        with open(path, "ab") as file:
            file.write(b"more")
        return found

    monkeypatch.setattr(_worker, "sample_frames", written_meanwhile)
    with pytest.raises(MediaError, match=r"a.mp4: was changed while it was read"):
        read_clip(path, 3, 8, HERE)


def test_a_path_means_the_same_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b.mp4") == os.path.join(os.getcwd(), "a/../b.mp4")
    assert absolute("/a/b.mp4") == "/a/b.mp4"
    assert absolute("") == ""
