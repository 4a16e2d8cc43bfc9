"""The table of media files, their limits, and the processes that decode them."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from media.odd_media import KINDS, make_corpus
from PIL import Image
from skchallenge.media._clips import _all_done, read_clips

from skchallenge.exceptions import MediaError
from skchallenge.media import _worker
from skchallenge.media._decode import answer, read_clip
from skchallenge.media._limits import MediaLimits
from skchallenge.media._probe import probe_media

HERE = MediaLimits(timeout_s=None)  # decode in this process


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Paths, and the table of them, of every kind of file that can be made here."""
    paths, lacking = make_corpus(tmp_path_factory.mktemp("odd"))
    assert len(paths) >= 70, f"this PyAV lacks {lacking}"
    table = probe_media(paths.values(), n_jobs=2)
    return paths, table.set_axis(list(paths))


@pytest.fixture
def fresh_workers():
    """Run with new workers, and leave none behind."""
    _worker.end_workers()
    yield
    _worker.end_workers()


@pytest.mark.parametrize("name", KINDS)
def test_what_becomes_of_each_kind(corpus, name):
    paths, table = corpus
    if name not in paths:
        pytest.skip(f"this PyAV has no encoder {KINDS[name].encoder}")
    kind, row = KINDS[name], table.loc[name]
    if kind.reason:
        assert row["status"] == "error"
        assert re.search(kind.reason, row["reason"])
        assert row.isna()[["kind", "n_frames", "width", "codec", "fps"]].all()
    else:
        assert (row["status"], row["reason"]) == ("ok", "")
        assert row["n_frames"] == kind.n_frames or not kind.n_frames
        assert (row["width"], row["height"]) == kind.size
        assert row["kind"] == kind.media
        assert row["size_bytes"] == Path(paths[name]).stat().st_size


def test_the_table_is_a_probe_of_what_is_embedded(corpus):
    """Both modes give the same frames, and the status of the table."""
    paths, table = corpus
    small = [p for name, p in paths.items() if name != "eight k"]
    here = read_clips(small, 4, 16, n_threads=1, limits=HERE)
    apart = read_clips(small, 4, 16, n_threads=2)
    status = table["status"].drop("eight k")
    for a, b, found in zip(here, apart, status, strict=True):
        assert isinstance(a, MediaError) == (found == "error")
        if isinstance(a, MediaError):
            assert str(a) == str(b)
        else:
            np.testing.assert_array_equal(a.frames, b.frames)
            np.testing.assert_array_equal(a.slots, b.slots)


def test_facts_by_hand(corpus):
    table = corpus[1]
    film = table.loc["h264 mp4"]
    assert film["duration_s"] == pytest.approx(12 / 30)
    assert film["fps"] == pytest.approx(30)
    assert (film["rotation"], film["codec"]) == (0, "h264")
    assert table.loc["rotated", "rotation"] == 90
    assert table.loc["wrong duration", "duration_s"] == pytest.approx(12 / 30)
    varying = table.loc["variable frame rate"]
    assert 402 / 30 < varying["duration_s"] < 460 / 30
    assert math.isnan(table.loc["png picture", "duration_s"])
    assert math.isnan(table.loc["h264 raw stream", "fps"])
    assert pd.isna(table.loc["directory", "size_bytes"])


def test_rotation_is_what_turns_the_frame_upright(tmp_path, media):
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 0, 0, 1 << 30]
    stored = media.quadrants()
    path = media.write_video(tmp_path / "a.mp4", [stored] * 2, matrix=matrix)
    (rotation,) = probe_media([path])["rotation"]
    upright = np.rot90(stored, -rotation // 90)  # counterclockwise, says numpy
    shown = read_clip(str(path), 1, 64).frames[0]
    assert np.median(np.abs(shown.astype(int) - upright)) <= 6


def test_columns_and_types(clip_paths):
    table = probe_media(clip_paths)
    types = "object object object object Int64 float64 float64 Int64 Int64 Int64 object"
    assert table.dtypes.astype(str).tolist() == [*types.split(), "Int64"]
    assert probe_media([]).dtypes.equals(table.dtypes)
    assert probe_media([]).empty


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
def test_rows_align_with_paths(clip_paths, tmp_path, n_jobs):
    files = [*clip_paths, tmp_path / "missing.mp4", None, math.nan, *clip_paths[::-1]]
    index = [7 * i for i in range(len(files))]
    series = pd.Series(files, index=index, dtype=object)
    table = probe_media(series, n_jobs=n_jobs)
    assert table.index.tolist() == index
    assert table["path"].tolist()[:6] == files[:6]
    assert (table["status"] == "ok").tolist() == [True] * 5 + [False] * 3 + [True] * 5
    assert table["n_frames"].tolist()[:5] == [3, 7, 11, 15, 1]
    assert table["n_frames"].tolist()[8:] == [1, 15, 11, 7, 3]
    assert table["reason"].tolist()[6] == "is missing: there is no path."


def test_parallel_config_is_heeded(clip_paths, monkeypatch):
    asked = []
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda n: asked.append(n) or 2)
    probe_media(clip_paths)
    assert asked == [None]


@pytest.mark.parametrize(
    "paths, message",
    [
        ("a.mp4", "paths must be a sequence of paths, got one: 'a.mp4'"),
        (Path("a.mp4"), "paths must be a sequence of paths, got one"),
        (pd.DataFrame({"path": ["a.mp4"]}), r"got a table.*such as table\['path'\]"),
        (["a.mp4", 3], "paths must hold paths.*row 1 is a int: 3"),
        ([["a.mp4"]], "paths must hold paths.*row 0 is a list"),
    ],
)
def test_anything_but_paths_is_refused(paths, message):
    with pytest.raises(TypeError, match=message):
        probe_media(paths)


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"max_pixels": 64 * 64 - 1}, "has 64 x 64 pixels, more than .*=4,095"),
        ({"max_duration_s": 1.5}, "lasts 2 seconds, more than .*max_duration_s=2"),
    ],
)
@pytest.mark.parametrize("timeout_s", [None, 60])
def test_a_file_beyond_a_limit_is_refused(tmp_path, media, limits, message, timeout_s):
    path = str(media.write_video(tmp_path / "a.mp4", media.grey_frames(50)))
    (name,) = limits
    fits = {"max_pixels": 64 * 64, "max_duration_s": 50 / 30}[name]
    assert read_clip(path, 2, 8, MediaLimits(**{name: fits}, timeout_s=timeout_s))
    with pytest.raises(MediaError, match=f"a.mp4: {message}"):
        read_clip(path, 2, 8, MediaLimits(**limits, timeout_s=timeout_s))


def test_a_bomb_is_refused_before_it_is_decoded(corpus):
    start = time.thread_time()  # of the processor: others may be busy
    with pytest.raises(MediaError, match="more pixels than MediaLimits.max_pixels"):
        read_clip(corpus[0]["decompression bomb"], 1, 8, HERE)
    assert time.thread_time() - start < 0.5
    generous = MediaLimits(max_pixels=2**40, timeout_s=60)
    black = read_clip(corpus[0]["decompression bomb"], 1, 8, generous)
    assert black.frames.max() < 16


@pytest.mark.parametrize(
    "limits, error, message",
    [
        ({"max_pixels": 0}, ValueError, "max_pixels must be positive and finite"),
        ({"max_pixels": 1e6}, TypeError, "max_pixels must be an integer, got 1000000"),
        ({"max_duration_s": math.inf}, ValueError, "max_duration_s must be positive"),
        ({"max_duration_s": "1"}, TypeError, "max_duration_s must be a number"),
        ({"timeout_s": -1}, ValueError, "timeout_s must be positive and finite"),
        ({"timeout_s": math.nan}, ValueError, "timeout_s must be positive and finite"),
        ({"timeout_s": True}, TypeError, "timeout_s must be a number or None"),
    ],
)
def test_wrong_limits(limits, error, message):
    with pytest.raises(error, match=message):
        MediaLimits(**limits)


def test_limits_are_limits(clip_paths):
    with pytest.raises(TypeError, match="limits must be a MediaLimits or None, got 60"):
        probe_media(clip_paths, limits=60)


def test_limits_take_numbers_of_numpy(clip_paths):
    limits = MediaLimits(np.int64(10_000), np.float32(60), np.float64(60))
    assert (probe_media(clip_paths, limits=limits)["status"] == "ok").all()


def sabotage(monkeypatch, line):
    """Have workers run a line of Python whenever a file named ``evil`` comes."""
    trap = f"""
def trapped(request):
    if "evil" in request["path"]:
        {line}
    return answer(request)
serve(trapped,"""
    program = _worker._PROGRAM.replace("serve(answer,", trap)
    monkeypatch.setattr(_worker, "_PROGRAM", "import os, signal, time" + program)


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
@pytest.mark.usefixtures("fresh_workers")
def test_a_file_that_hangs_or_crashes_costs_its_row_only(
    clip_paths, tmp_path, monkeypatch, line, message
):
    sabotage(monkeypatch, line)
    evil = tmp_path / "evil.mp4"
    evil.write_bytes(Path(clip_paths[0]).read_bytes())
    paths = [clip_paths[0], str(evil), *clip_paths[1:]]
    limits = MediaLimits(timeout_s=2)
    start = time.perf_counter()
    clips = list(read_clips(paths, 3, 8, n_threads=2, limits=limits))
    assert time.perf_counter() - start < 120  # of the 600 s of the file
    with pytest.raises(MediaError, match=f"evil.mp4: {message}"):
        raise clips.pop(1)
    for path, clip in zip(clip_paths, clips, strict=True):
        np.testing.assert_array_equal(clip.frames, read_clip(path, 3, 8, HERE).frames)


def test_a_decoder_that_hangs_does_not_outlive_its_owner(tmp_path):
    """Not for long: it ends by itself when the time of its file is over."""
    fcntl = pytest.importorskip("fcntl")
    place, ready = tmp_path / "lock", tmp_path / "ready"
    hang = f"""
import fcntl
lock = open({str(place)!r}, "w"); fcntl.flock(lock, fcntl.LOCK_EX)
open({str(ready)!r}, "w").close(); time.sleep(600)"""
    program = f"""
from skchallenge.media import _worker
_worker._GRACE_S = 1
end = "serve(answer,"
_worker._PROGRAM = "import time" + _worker._PROGRAM.replace(
    end, "def hang(request):" + {hang!r}.replace(chr(10), chr(10) + "    ")
    + chr(10) + "serve(hang,")
_worker.ask({{}}, 2)
"""
    owner = subprocess.Popen([sys.executable, "-c", program])
    while not ready.exists():
        assert owner.poll() is None
        time.sleep(0.05)
    owner.kill()
    owner.wait()
    give_up = time.monotonic() + 120
    with open(place, "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < give_up
                time.sleep(0.05)


@pytest.mark.usefixtures("fresh_workers")
def test_a_crash_is_blamed_on_a_file_only_when_it_repeats(
    clip_paths, tmp_path, monkeypatch
):
    mark = tmp_path / "once"
    line = f"os.path.exists({str(mark)!r}) or (os.mkdir({str(mark)!r}), os._exit(1))"
    sabotage(monkeypatch, line)
    evil = tmp_path / "evil.mp4"
    evil.write_bytes(Path(clip_paths[0]).read_bytes())
    assert len(read_clip(str(evil), 3, 8).frames) == 3
    assert mark.exists()


@pytest.mark.usefixtures("fresh_workers")
def test_workers_are_used_again_and_replaced(clip_paths):
    read_clip(clip_paths[0], 1, 8)
    (worker,) = _worker._idle
    read_clip(clip_paths[1], 1, 8)
    assert _worker._idle == [worker]
    worker._process.kill()  # as the system does when memory runs out
    worker._process.wait()
    read_clip(clip_paths[1], 1, 8)
    assert len(_worker._idle) == 1
    assert _worker._idle != [worker]


@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_that_ends_just_before_its_request(clip_paths, monkeypatch):
    read_clip(clip_paths[0], 1, 8)
    (worker,) = _worker._idle
    worker._process.kill()
    worker._process.wait()
    monkeypatch.setattr(worker, "is_alive", lambda: True)
    assert len(read_clip(clip_paths[0], 1, 8).frames) == 1
    assert worker not in _worker._idle


@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_of_another_process_is_let_go(clip_paths):
    read_clip(clip_paths[0], 1, 8)
    (worker,) = _worker._idle
    worker._owner = 0
    read_clip(clip_paths[0], 1, 8)
    assert worker not in _worker._idle
    assert os.waitpid(worker._process.pid, 0)[1] == 0  # its input had an end


@pytest.mark.usefixtures("fresh_workers")
def test_workers_follow_the_working_directory(clip_paths, monkeypatch):
    read_clip(clip_paths[0], 1, 8)
    monkeypatch.chdir(Path(clip_paths[0]).parent)
    assert len(read_clip("video1.mp4", 9, 8).frames) == 7


@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_knows_no_torch_and_starts_fast():
    program = _worker._PROGRAM.replace(
        "serve(answer,", "assert 'torch' not in sys.modules; serve(answer,"
    )
    assert program != _worker._PROGRAM
    code = program.format(
        search_path=sys.path, folder=os.path.dirname(_worker.__file__)
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True)
    assert (done.returncode, done.stdout) == (0, b'{"n_bytes": 0}\n')


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12
@pytest.mark.usefixtures("fresh_workers")
def test_a_fork_starts_workers_of_its_own(clip_paths):
    expected = read_clip(clip_paths[0], 2, 8).frames
    (worker,) = _worker._idle
    child = os.fork()
    if child == 0:
        code = 1
        try:
            same = (read_clip(clip_paths[0], 2, 8).frames == expected).all()
            code = 0 if same and worker not in _worker._idle else 2
        finally:
            _worker.end_workers()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert worker.is_alive()
    assert (read_clip(clip_paths[0], 2, 8).frames == expected).all()


@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_that_cannot_be_started(clip_paths, monkeypatch):
    monkeypatch.setattr(_worker, "_PROGRAM", "raise SystemExit(5)")
    with pytest.raises(RuntimeError, match=r"exit code 5.*MediaLimits\(timeout_s=None"):
        read_clip(clip_paths[0], 1, 8)
    assert len(read_clip(clip_paths[0], 1, 8, HERE).frames) == 1


@pytest.mark.usefixtures("fresh_workers")
def test_a_search_path_may_hold_what_is_no_text(clip_paths, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert len(read_clip(clip_paths[0], 1, 8).frames) == 1


@pytest.mark.usefixtures("fresh_workers")
def test_no_python_to_start(clip_paths, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(RuntimeError, match="/no/python could not be started.*No such"):
        read_clip(clip_paths[0], 1, 8)


@pytest.mark.usefixtures("fresh_workers")
def test_a_reply_that_is_cut_short_is_a_crash(clip_paths, monkeypatch):
    program = """
import sys
sys.stdout.write('{"n_bytes": 0}\\n'); sys.stdout.flush()
sys.stdin.readline(); sys.stdout.write('{"n_bytes": 9}\\nabc')
"""
    monkeypatch.setattr(
        _worker, "_PROGRAM", program.replace("{", "{{").replace("}", "}}")
    )
    with pytest.raises(MediaError, match=r"crashes the decoder \(exit code 0\)"):
        read_clip(clip_paths[0], 1, 8)


def test_the_workers_side(clip_paths, tmp_path):
    """The loop that runs in the other process, run here."""
    sizes = {"n_frames": 2, "image_size": 8, "limits": [10_000, 9]}
    paths = [clip_paths[1], str(tmp_path / "missing.mp4")]
    requests = [*({"path": path, **sizes} for path in paths), {}]
    lines = [json.dumps({**request, "give_up_s": 60}) for request in requests]
    replies = io.BytesIO()
    before = signal.getsignal(signal.SIGINT)
    served = threading.Thread(
        target=_worker.serve,
        args=(answer, io.BytesIO("\n".join(lines).encode()), replies),
    )
    served.start()
    served.join()
    assert signal.getsignal(signal.SIGINT) == before  # a thread cannot set it
    replies.seek(0)
    assert _worker._read_message(replies) == ({}, b"")
    header, pixels = _worker._read_message(replies)
    assert (header["n_frames"], header["codec"]) == (7, "h264")
    expected = read_clip(clip_paths[1], 2, 8, HERE).frames
    assert bytes(pixels) == expected.tobytes()
    missing, raised = (_worker._read_message(replies)[0] for _ in range(2))
    assert missing["error"].startswith("cannot be opened (No such file")
    assert raised == {"raised": "KeyError: 'limits'"}
    assert _worker._read_message(replies) is None


def test_threads_that_meet_at_the_last_idle_worker():
    class Stolen(list):
        def pop(self):
            super().clear()
            raise IndexError

    idle, _worker._idle = _worker._idle, Stolen(["worker"])
    try:
        assert _worker._take_idle() is None
    finally:
        _worker._idle = idle


WAITS = """
import os, signal, sys, threading, time
from skchallenge.embed import probe_media
from skchallenge.media import _worker
from skchallenge.media._clips import read_clips
from skchallenge.media._covers import read_covers
from skchallenge.feed import DuplicateFinder, ReviewGate

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell
marks, paths = {marks!r}, {paths!r}
trap = "def hang(request):"
trap += " 'evil' in request['path'] and (os.mkdir({{mark!r}}), time.sleep(600));"
trap += " return answer(request)"
program = "import os, time" + _worker._PROGRAM.replace(
    "serve(answer,", trap + chr(10) + "serve(hang,"
)
reads = [
    lambda: list(read_clips(paths, 3, 8, n_threads=2)),
    lambda: list(read_clips(paths, 3, 8, n_threads=2, ahead=True)),
    lambda: list(read_covers(paths, 8, n_threads=2)),
    lambda: probe_media(paths, n_jobs=2),
    lambda: ReviewGate(n_jobs=2).fit(paths).review(paths),
    lambda: DuplicateFinder(n_jobs=2).fit(paths),
]
for mark, read in zip(marks, reads, strict=True):
    _worker.end_workers()
    _worker._PROGRAM = program.replace("{{mark!r}}", repr(mark))
    try:
        read()
    except KeyboardInterrupt:
        assert threading.active_count() == 1  # nobody asks any longer
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_does_not_wait_for_a_decoder_that_hangs(clip_paths, tmp_path):
    (tmp_path / "evil.mp4").write_bytes(Path(clip_paths[0]).read_bytes())
    paths = [str(tmp_path / "evil.mp4"), *clip_paths]
    marks = [str(tmp_path / f"hangs{number}") for number in range(6)]
    program = WAITS.format(marks=marks, paths=paths)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
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


def wait_in_order(pool, call):
    list(_worker.map_in_order(pool, lambda _: call(), [0]))


def wait_for_all(pool, call):
    _all_done(deque([pool.submit(call)]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.parametrize("wait", [wait_in_order, wait_for_all])
def test_a_signal_that_does_not_wake_the_waiting_thread(wait):
    """As one that comes just before it falls asleep."""
    is_over, answers = threading.Event(), []

    def interrupt(number, frame):
        raise KeyboardInterrupt

    def call():
        time.sleep(0.2)  # until the other thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        answers.append(is_over.wait(30))

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(KeyboardInterrupt):
                wait(pool, call)
            is_over.set()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [True]  # not after 30 s


class SlowWorker:
    """A worker that takes its time to start, or to answer."""

    def __init__(self, start=lambda: None, answer=lambda: None):
        self.answer = answer
        self.n_asked, self.is_expired = 0, False
        start()

    def ask(self, request, timeout_s):
        self.n_asked += 1
        self.answer()
        return {}, b""

    def is_mine(self):
        return True

    def expire(self):
        self.is_expired = True

    def end(self):
        pass


def test_who_leaves_while_a_worker_starts_waits_for_no_answer(monkeypatch):
    begun, left, made = threading.Event(), threading.Event(), []

    def start():
        begun.set()
        assert left.wait(60)

    class Starting(SlowWorker):
        def __init__(self):
            made.append(self)
            super().__init__(start)

    class Threads(ThreadPoolExecutor):
        def shutdown(self, wait=True, **options):
            if wait:  # for the last time
                left.set()
            super().shutdown(wait, **options)

    monkeypatch.setattr(_worker, "_idle", [])
    monkeypatch.setattr(_worker, "Worker", Starting)
    monkeypatch.setattr(_worker, "ThreadPoolExecutor", Threads)
    with _worker.asking_threads(1) as pool:
        future = pool.submit(_worker.ask, {}, 60)
        assert begun.wait(60)
    assert isinstance(future.exception(), _worker.OverdueError)
    assert [worker.n_asked for worker in made] == [0]


def test_who_leaves_ends_no_worker_that_another_has_by_now(monkeypatch):
    """The thread gives its worker back just when it is looked up."""
    looked_up, given_back, states = threading.Event(), threading.Event(), []
    worker = SlowWorker(answer=lambda: looked_up.wait(60))
    worker.expire = lambda: states.append(given_back.is_set())

    class Asked(set):
        def __iter__(self):
            for asked in list(super().__iter__()):
                looked_up.set()
                given_back.wait(0.5)
                yield asked

        def discard(self, asked):
            super().discard(asked)
            given_back.set()

    class Call(_worker._Call):
        def __init__(self):
            super().__init__()
            self.asked = Asked()
            calls.append(self)

    calls = []
    monkeypatch.setattr(_worker, "_Call", Call)
    monkeypatch.setattr(_worker, "_idle", [])
    monkeypatch.setattr(_worker, "Worker", lambda: worker)
    with _worker.asking_threads(1) as pool:
        asked = pool.submit(_worker.ask, {}, 60)
        while not len(calls[0].asked):
            assert not asked.done()
            time.sleep(0.001)
    assert states == [False]  # not after it was given back


def test_who_leaves_in_a_fork_ends_no_worker_of_the_parent():
    worker, call = SlowWorker(), _worker._Call()
    call.take(worker)
    worker.is_mine = lambda: False
    call.leave()
    assert not worker.is_expired


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12
@pytest.mark.usefixtures("fresh_workers")
def test_a_fork_waits_until_a_worker_has_started(monkeypatch):
    """It would hold the pipe open, by whose end a worker is known to have ended."""
    starting, forked, is_starting = threading.Event(), threading.Event(), []
    popen = subprocess.Popen

    def slow(*arguments, **options):
        is_starting.append(True)
        starting.set()
        forked.wait(0.5)
        is_starting.clear()
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", slow)
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(_worker.Worker)
        assert starting.wait(60)
        child = os.fork()
        if child == 0:
            os._exit(len(is_starting))
        forked.set()
        worker.result().end()
    assert os.waitpid(child, 0)[1] == 0


def test_ctrl_c_just_before_a_fork_leaves_no_lock(monkeypatch):
    class Interrupted:
        def __init__(self):
            self.release = threading.RLock().release

        def acquire(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(_worker, "_handing_over", Interrupted())
    with pytest.raises(KeyboardInterrupt):  # Python would go on, and fork
        _worker._before_fork()
    _worker._after_fork()
    with ThreadPoolExecutor(1) as pool:
        is_free = pool.submit(_worker._starting.acquire, blocking=False)
        assert is_free.result()
        pool.submit(_worker._starting.release).result()


def test_a_result_is_let_go_of_when_it_was_taken():
    """A list of covers would fill the memory."""
    with ThreadPoolExecutor(1) as pool:
        results = _worker.map_in_order(pool, lambda _: SlowWorker(), range(2))
        first = weakref.ref(next(results))
        next(results)
        pool.submit(int).result()  # a thread may keep its last one
        assert first() is None


def test_ctrl_c_ends_the_worker_at_hand(clip_paths, monkeypatch, fresh_workers):
    def interrupted(self, request, timeout_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(_worker.Worker, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_clip(clip_paths[0], 1, 8)
    assert _worker._idle == []


def test_randomly_damaged_files(corpus, tmp_path):
    """A sample of what benchmarks/odd_media.py does a thousand times."""
    rng = np.random.default_rng(0)
    files = []
    bases = ["h264 mp4", "h264 mkv", "animated gif", "png picture", "webp picture"]
    for number in range(60):
        source = Path(corpus[0][bases[number % len(bases)]])
        data = bytearray(source.read_bytes())
        for place in rng.integers(len(data), size=20):
            data[place] ^= 1 << rng.integers(8)
        files.append(tmp_path / f"{number}{source.suffix}")
        files[-1].write_bytes(data[: rng.integers(1, len(data) * 2)])
    table = probe_media(files, limits=MediaLimits(timeout_s=30), n_jobs=2)
    assert table["path"].tolist() == files
    assert set(table["status"]) == {"ok", "error"}
    assert not table["reason"].str.contains("crashes|timeout_s").any()


def test_a_still_image_of_the_past_stays_a_still_image(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.bmp")
    row = probe_media([tmp_path / "a.bmp"], limits=HERE).iloc[0]
    assert (row["kind"], row["width"], row["height"]) == ("image", 5, 4)
