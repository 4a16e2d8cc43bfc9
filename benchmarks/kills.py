"""Runs that are killed, and several processes on one store: is anything lost?

Real mp4 files are rendered and embedded into a store, by a network that notes each
video that it computes and then waits a little, so that a kill finds work in progress.

First, run after run is killed with SIGKILL and then resumed: a random while after it
has computed a random number of videos. As long as it runs, this process looks into the
store every few milliseconds, with SQLite alone; a record that it has seen counts as
reported. After the kill, every reported record must be there as it was, `verify` must
be clean, and at most the videos in flight may be computed again. The resumed run must
give the matrix of an uninterrupted one.

Then four processes embed the same files in different orders, and at last four of which
two are killed. Each video must be computed once, but for those in flight at a kill.

A violation is exit code 1.

    python benchmarks/kills.py [--n-runs 20] [--seed 0]
"""

import argparse
import contextlib
import os
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from skchallenge.datasets import make_challenge_clips
from skchallenge.embed import EmbeddingStore, VideoFrameEmbedder

N_FRAMES = 4
IN_FLIGHT = 8  # videos that are computed between two commits, at most
PAUSE_S = 0.03  # a video
PATIENCE_S = 60.0


def noting(log):
    """Return a backbone that adds one byte to a file for each video."""

    def backbone():
        def note(module, inputs, output):
            if inputs[0].std(dim=(2, 3)).max() > 0:  # not the black image of `fit`
                with open(log, "ab") as file:
                    file.write(b".")
                time.sleep(PAUSE_S)

        net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
        net.register_forward_hook(note)
        return net

    return backbone


def start(paths, folder, out):
    """Fork a process that embeds the paths into the store and saves the matrix."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        model = VideoFrameEmbedder(
            noting(folder / "log"),
            n_frames=N_FRAMES,
            image_size=32,
            precision="float32",
            batch_size=N_FRAMES,  # a batch is a video
            store=folder / "embeddings.db",
        )
        np.save(out, model.fit_transform(paths))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def ended(child):
    """Wait for a process; return its exit status."""
    return os.waitpid(child, 0)[1]


def n_computed(folder):
    log = folder / "log"
    return log.stat().st_size if log.exists() else 0


def records(folder):
    """Return key -> checksum of what the store holds, read with SQLite alone."""
    path = folder / "embeddings.db"
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return dict(connection.execute("SELECT key, checksum FROM records"))
    except sqlite3.OperationalError:  # its tables are being made
        return {}
    finally:
        connection.close()


def kill_at(child, moment, folder):
    """Kill a process at a moment; return the records that were seen before.

    A moment is a number of computed videos, and seconds after that.
    """
    reported, (n_videos, seconds) = {}, moment
    give_up, deadline = time.monotonic() + PATIENCE_S, None
    while deadline is None or time.monotonic() < deadline:
        reported |= records(folder)
        if time.monotonic() > give_up:
            raise RuntimeError(f"{n_videos} videos were not computed in a minute.")
        if deadline is None and n_computed(folder) >= n_videos:
            deadline = time.monotonic() + seconds
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    ended(child)
    return reported


def n_lost(reported, stored):
    """Count the reported records that are gone or have changed."""
    return sum(stored.get(key) != code for key, code in reported.items())


def unclean(folder):
    """Count what `verify` finds wrong."""
    report = EmbeddingStore(folder / "embeddings.db").verify()
    return report["damaged"] + report["changed"]


def differs(out, expected):
    """Tell whether a saved matrix is missing or is not the expected one."""
    return not out.exists() or not np.array_equal(np.load(out), expected)


def killed_and_resumed(paths, folder, moment, expected):
    """Return a row of the table."""
    folder.mkdir()
    out = folder / "rows.npy"
    reported = kill_at(start(paths, folder, out), moment, folder)
    was_done = out.exists()
    out.unlink(missing_ok=True)
    computed, stored = n_computed(folder), records(folder)
    n_unclean = unclean(folder)
    status = ended(start(paths, folder, out))
    row = {
        "killed at": f"{moment[0]} videos + {1000 * moment[1]:.0f} ms",
        "was done": was_done,
        "reported": len(reported),
        "computed": computed,
        "stored": len(stored),
        "lost": n_lost(reported, stored),
        "repeated": n_computed(folder) - len(paths),
        "unclean": n_unclean + unclean(folder),
        "differs": differs(out, expected),
    }
    in_flight = 0 <= row["repeated"] <= IN_FLIGHT
    row["ok"] = in_flight and status == 0 and is_right(row, folder, len(paths))
    return row


def side_by_side(paths, folder, kills, expected, rng):
    """Let four processes work at once, and kill some; return a row of the table."""
    folder.mkdir()
    orders = [rng.permutation(len(paths)) for _ in range(4)]
    outs = [folder / f"{number}.npy" for number in range(4)]
    children = [
        start([paths[i] for i in order], folder, out)
        for order, out in zip(orders, outs, strict=True)
    ]
    reported = {}
    for child, moment in zip(children, kills, strict=False):
        reported |= kill_at(child, moment, folder)
    statuses = [ended(child) for child in children[len(kills) :]]
    finished = list(zip(orders, outs, strict=True))[len(kills) :]
    row = {
        "processes": 4,
        "killed": len(kills),
        "reported": len(reported),
        "stored": len(records(folder)),
        "lost": n_lost(reported, records(folder)),
        "repeated": n_computed(folder) - len(paths),
        "unclean": unclean(folder),
        "differs": any(differs(out, expected[order]) for order, out in finished),
    }
    in_flight = 0 <= row["repeated"] <= IN_FLIGHT * len(kills)
    row["ok"] = in_flight and not any(statuses) and is_right(row, folder, len(paths))
    return row


def is_right(row, folder, n):
    """Tell whether nothing was lost and all is there in the end."""
    is_whole = len(records(folder)) == n
    return is_whole and not (row["lost"] or row["unclean"] or row["differs"])


def moments(rng, n, n_videos):
    """Draw when to kill."""
    return list(
        zip(rng.integers(n_videos, size=n), rng.uniform(0, 0.3, size=n), strict=True)
    )


def run(n_runs, seed, folder):
    """Print both tables; return whether all was right."""
    rng = np.random.default_rng(seed)
    clips = make_challenge_clips(
        folder / "clips", n_users=6, n_challenges=1, videos_per_user=4, random_state=0
    )
    paths = clips.videos["path"].tolist()
    time.sleep(2.1)  # a store remembers files that have been quiet for two seconds
    whole = folder / "whole"
    whole.mkdir()
    if ended(start(paths, whole, whole / "rows.npy")):
        raise RuntimeError("The uninterrupted run failed.")
    expected = np.load(whole / "rows.npy")
    print(f"{len(paths)} videos\n")
    killed = pd.DataFrame(
        killed_and_resumed(paths, folder / f"killed{i}", moment, expected)
        for i, moment in enumerate(moments(rng, n_runs, len(paths)))
    )
    print(killed.to_string(), "\n")
    shared = pd.DataFrame(
        side_by_side(paths, folder / f"shared{i}", kills, expected, rng)
        for i, kills in enumerate([[], moments(rng, 2, len(paths) // 2)])
    )
    print(shared.to_string(), "\n")
    is_ok = bool(killed["ok"].all() and shared["ok"].all())
    print(
        f"{n_runs} runs killed and resumed: {killed['lost'].sum()} of "
        f"{killed['reported'].sum()} reported records lost, at most "
        f"{killed['repeated'].max()} videos repeated; {'ok' if is_ok else 'FAILED'}"
    )
    return is_ok


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        return int(not run(options.n_runs, options.seed, Path(name)))


if __name__ == "__main__":
    sys.exit(main())
