"""Worker processes that isolate hangs and crashes, and that end with their call."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from media.reading import HERE, read_clip, read_luma, read_quality

from skchallenge.exceptions import MediaError
from skchallenge.media import _read, _worker
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import (
    map_in_order,
    read_clips,
    read_first_frames,
    read_metadata,
)

EVIL = """
import os, signal, sys, time
from skchallenge.media import _worker
{at_start}
perform = _worker.perform
def trapped(request, contents):
    if "evil" in request["items"][0]["path"]:
        {line}
    return perform(request, contents)
_worker.perform = trapped
_worker.main()
"""


@pytest.fixture
def sabotage(monkeypatch, tmp_path):
    """Have workers run a line of Python whenever a file named ``evil`` comes."""

    def replace_worker(line="pass", at_start="", program=EVIL):
        name = f"evil_worker{len(os.listdir(tmp_path))}"
        program = program.format(line=line, at_start=at_start)
        (tmp_path / f"{name}.py").write_text(program)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(_read, "_WORKER", name)

    return replace_worker


@pytest.fixture
def evil(clip_paths, tmp_path):
    path = tmp_path / "evil.mp4"
    path.write_bytes(Path(clip_paths[0]).read_bytes())
    return str(path)


@pytest.fixture
def started(monkeypatch):
    """List the processes that are started."""
    processes, popen = [], subprocess.Popen

    def noting(*arguments, **options):
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", noting)
    return processes


@pytest.mark.parametrize(
    "line, message",
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashes the decoder \(.*SIGSEGV"),
        ("os._exit(3)", r"crashes the decoder \(exit code 3\)"),
        ("raise KeyError('x')", r"crashes the decoder \(KeyError: 'x'\)"),
        ("time.sleep(600)", "does not decode within timeout_s=2 seconds. If"),
        ("signal.pthread_sigmask(0, range(1, 65)); time.sleep(600)", ".*timeout_s=2 "),
        ("os.kill(os.getpid(), signal.SIGSTOP)", ".*timeout_s=2 seconds"),
    ],
)
def test_a_file_that_hangs_or_crashes_costs_its_row_only(
    clip_paths, evil, sabotage, line, message
):
    sabotage(line)
    paths = [clip_paths[0], evil, *clip_paths[1:]]
    limits = MediaLimits(timeout_s=2)
    start = time.perf_counter()
    clips = list(read_clips(paths, 3, 8, n_threads=2, limits=limits))
    assert time.perf_counter() - start < 120  # of the 600 s of the file
    with pytest.raises(MediaError, match=f"evil.mp4: {message}"):
        raise clips.pop(1)
    for path, clip in zip(clip_paths, clips, strict=True):
        np.testing.assert_array_equal(clip.frames, read_clip(path, 3, 8, HERE).frames)


def test_a_crash_is_blamed_on_a_file_only_when_it_repeats(evil, tmp_path, sabotage):
    mark = tmp_path / "once"
    sabotage(f"os.path.exists({str(mark)!r}) or os.mkdir({str(mark)!r}) or os._exit(1)")
    assert len(read_clip(evil, 3, 8).frames) == 3
    assert mark.exists()


def test_workers_start_when_needed_and_end_with_their_call(clip_paths, started):
    gone = ["gone.mp4"] * 10
    assert len(list(read_metadata(gone, n_threads=2))) == 10
    assert not started
    clips = read_clips([*gone, *clip_paths * 5], 3, 8, n_threads=2)
    assert sum(not isinstance(clip, MediaError) for clip in clips) == 25
    assert 1 <= len(started) <= 2  # each is asked again and again
    assert all(process.poll() is not None for process in started)
    started.clear()
    clips = read_clips(clip_paths * 5, 3, 8, n_threads=2)
    next(clips)
    clips.close()
    assert all(process.poll() is not None for process in started)


def test_a_worker_that_the_system_ended_is_replaced(clip_paths, started):
    """As it does when memory runs out: while idle, or with a file at hand."""
    clips = read_clips(clip_paths, 1, 8, n_threads=1, ahead=True)
    for clip in clips:
        assert len(clip.frames) == 1
        started[-1].kill()
    assert len(started) > 1


def test_workers_follow_the_working_directory(clip_paths, monkeypatch):
    monkeypatch.chdir(Path(clip_paths[0]).parent)
    assert len(read_clip("video1.mp4", 9, 8).frames) == 7


def test_a_worker_knows_no_torch():
    program = "import sys, skchallenge.media._worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert (done.returncode, done.stdout.strip()) == (0, b"False")


def test_a_worker_runs_nothing_of_the_folder_of_the_moment(
    clip_paths, monkeypatch, tmp_path
):
    (tmp_path / "av.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    assert len(read_clip(clip_paths[0], 1, 8).frames) == 1


def test_a_worker_that_cannot_be_started(clip_paths, sabotage):
    sabotage(program="raise SystemExit(5)")
    with pytest.raises(RuntimeError, match=r"exit code 5.*MediaLimits\(timeout_s=None"):
        read_clip(clip_paths[0], 1, 8)
    assert len(read_clip(clip_paths[0], 1, 8, HERE).frames) == 1


def test_a_search_path_may_hold_what_is_no_text(clip_paths, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert len(read_clip(clip_paths[0], 1, 8).frames) == 1


def test_no_python_to_start(clip_paths, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(RuntimeError, match="/no/python could not be started.*No such"):
        read_clip(clip_paths[0], 1, 8)


def test_a_reply_that_is_cut_short_is_a_crash(clip_paths, sabotage):
    program = """
import sys
from skchallenge.media._worker import READY
sys.stdout.write(READY.decode()); sys.stdout.flush()
sys.stdin.readline(); sys.stdout.write('{{"n_bytes": 9}}\\nabc')
"""
    sabotage(program=program)
    with pytest.raises(MediaError, match=r"crashes the decoder \(exit code 0\)"):
        read_clip(clip_paths[0], 1, 8)


@pytest.mark.parametrize(
    "line, at_start",
    [
        ("print('a library talks', flush=True)", ""),
        ("os.write(1, b'a library talks'); os.system('echo so does a program')", ""),
        ("sys.stdin.buffer.read(1); os.read(0, 100)", ""),
        ("pass", "print('a library talks', flush=True)"),
        ("pass", "os.write(1, b'without an end of line')"),
    ],
)
def test_what_a_library_prints_or_reads_is_no_message(evil, sabotage, line, at_start):
    sabotage(line, at_start)
    clips = list(read_clips([evil] * 3, 3, 8, n_threads=1))
    assert [len(clip.frames) for clip in clips] == [3, 3, 3]


def test_the_workers_side(clip_paths, tmp_path):
    """The loop that runs in the other process, run here."""
    limits = {"max_pixels": 10_000, "max_duration_s": 9, "max_memory_bytes": 2**30}
    like = {"limits": limits, "hashed": False, "give_up_s": 60, "n_bytes": []}
    clip = {"task": "clip", "settings": {"n_frames": 2, "image_size": 8}}
    good = {"path": clip_paths[1]}
    requests = [
        {"items": [good], **like, **clip},
        {"items": [{"path": str(tmp_path / "missing.mp4")}], **like, **clip},
        {"items": [good], **like, "task": "luma", "settings": {"fps": 5}},
    ]
    lines = "\n".join(json.dumps(request) for request in requests)
    replies = io.BytesIO()
    _worker.serve(io.BytesIO(lines.encode()), replies)
    replies.seek(0)
    assert (replies.readline(), replies.readline()) == (b"\n", _worker.READY)
    header, pixels = _worker.read_message(replies, 2**20)
    assert header == {"frame_index": [0, 1]}
    expected = read_clip(clip_paths[1], 2, 8, HERE).frames
    assert bytes(pixels) == expected.tobytes()
    missing, raised = (_worker.read_message(replies, 2**20)[0] for _ in range(2))
    assert missing["error"].startswith("cannot be opened (No such file")
    assert raised["crash"].startswith("crashes the decoder (TypeError: ")
    assert _worker.read_message(replies, 2**20) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12
def test_a_fork_reads_by_workers_of_its_own(clip_paths):
    expected = read_clip(clip_paths[0], 2, 8).frames
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int((read_clip(clip_paths[0], 2, 8).frames != expected).any())
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


ORPHAN = """
import time
from skchallenge.media import _read
_read._GRACE_S, _read._WORKER = 1, "holding"
limits = _read.MediaLimits(timeout_s=2)
for found in _read.read_metadata([{path!r}], n_threads=1, limits=limits):
    time.sleep(600)
"""


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_does_not_outlive_its_owner(tmp_path, evil, clip_paths, is_busy):
    """It ends by the clock if a file hangs, and at once if it is idle."""
    fcntl = pytest.importorskip("fcntl")
    lock, ready = str(tmp_path / "lock"), tmp_path / "ready"
    hold = f"""
import fcntl
lock = open({lock!r}, "w"); fcntl.flock(lock, fcntl.LOCK_EX)
open({str(ready)!r}, "w").close()
"""
    program = EVIL.format(line="time.sleep(600)", at_start=hold)
    (tmp_path / "holding.py").write_text(program)
    search_path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    code = ORPHAN.format(path=evil if is_busy else clip_paths[0])
    owner = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": search_path}
    )
    while not ready.exists():
        assert owner.poll() is None
        time.sleep(0.05)
    time.sleep(1)  # until it has read the file, or hangs
    owner.kill()
    owner.wait()
    give_up = time.monotonic() + 120
    with open(lock, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < give_up
                time.sleep(0.05)


WAITS = """
import os, signal, sys, threading, time
from skchallenge.embed import probe_media
from skchallenge.media import _read
from skchallenge.feed import DuplicateFinder, ReviewGate

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell
_read._WORKER = "hanging"
marks, paths = {marks!r}, {paths!r}
reads = [
    lambda: list(_read.read_clips(paths, 3, 8, n_threads=2)),
    lambda: list(_read.read_clips(paths, 3, 8, n_threads=2, ahead=True)),
    lambda: list(_read.read_first_frames(paths, 8, n_threads=2)),
    lambda: probe_media(paths, n_jobs=2),
    lambda: ReviewGate(n_jobs=2).fit(paths).review(paths),
    lambda: DuplicateFinder(n_jobs=2).fit(paths),
]
for mark, read in zip(marks, reads, strict=True):
    os.environ["MARK"] = mark
    try:
        read()
    except KeyboardInterrupt:
        assert threading.active_count() == 1  # nobody asks any longer
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_does_not_wait_for_a_decoder_that_hangs(evil, clip_paths, tmp_path):
    line = "os.mkdir(os.environ['MARK']); time.sleep(600)"
    (tmp_path / "hanging.py").write_text(EVIL.format(line=line, at_start=""))
    marks = [str(tmp_path / f"hangs{number}") for number in range(6)]
    program = WAITS.format(marks=marks, paths=[evil, *clip_paths])
    search_path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search_path},
    ) as caller:
        for mark in marks:
            while not os.path.exists(mark):
                assert caller.poll() is None
                time.sleep(0.05)
            start = time.perf_counter()
            caller.send_signal(signal.SIGINT)
            assert caller.stdout.readline() == "interrupted\n"
            assert time.perf_counter() - start < 30  # of the 120 s of a file
    assert caller.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.parametrize("in_batches", [False, True])
def test_a_signal_that_does_not_wake_the_waiting_thread(in_batches):
    """As one that comes just before it falls asleep."""
    is_over, answers = threading.Event(), []

    def interrupt(number, frame):
        raise KeyboardInterrupt

    def call(_):
        time.sleep(0.2)  # until the other thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        answers.append(is_over.wait(30))

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(KeyboardInterrupt):
                list(map_in_order(pool, call, [0], in_batches=in_batches))
            is_over.set()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [True]  # not after 30 s


@pytest.mark.parametrize("wait_for", ["wait_until_ready", "ask"])
def test_who_leaves_waits_neither_for_a_start_nor_for_an_answer(
    clip_paths, sabotage, monkeypatch, wait_for
):
    """And starts no worker in place of the one that was ended."""
    begun, n_begun = threading.Event(), []
    original = getattr(_read._Worker, wait_for)

    def noting(self, *arguments):
        n_begun.append(self)
        begun.set()
        return original(self, *arguments)

    monkeypatch.setattr(_read._Worker, wait_for, noting)
    hang = "time.sleep(600)"
    always = EVIL.replace('"evil" in request["items"][0]["path"]', "True")
    sabotage(hang, program=always if wait_for == "ask" else f"import time; {hang}")
    start = time.perf_counter()
    with _read._Decoders(1, None) as decoders:
        results = decoders.ask_for_each(clip_paths, "metadata", lambda r: r)
        leaving = ThreadPoolExecutor(1)
        leaving.submit(next, results)
        assert begun.wait(60)
    assert time.perf_counter() - start < 30
    assert len(n_begun) == 1
    leaving.shutdown(wait=False)


class Result:
    """Something that a weak reference can see."""


def test_a_result_is_let_go_of_when_it_was_taken():
    """A list of covers would fill the memory."""
    with ThreadPoolExecutor(1) as pool:
        results = map_in_order(pool, lambda _: Result(), range(2))
        first = weakref.ref(next(results))
        next(results)
        pool.submit(int).result()  # a thread may keep its last one
        assert first() is None


def test_every_reader_reads_the_same_apart(clip_paths):
    apart = MediaLimits()
    for path in clip_paths:
        assert read_quality(path) == read_quality(path, limits=apart)
        np.testing.assert_array_equal(
            read_luma(path, fps=5, size=8), read_luma(path, fps=5, size=8, limits=apart)
        )
    for read in (read_metadata, lambda *a, **k: read_first_frames(*a, 8, **k)):
        here, there = (
            list(read(clip_paths, n_threads=2, limits=x)) for x in (HERE, apart)
        )
        for a, b in zip(here, there, strict=True):
            np.testing.assert_equal(a, b)
