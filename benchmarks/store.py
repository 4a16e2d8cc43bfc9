"""Time a warm store beside computing, and beside `numpy.load` of the same matrix.

**Cold and warm.** Rendered clips of one second are embedded by the demo backbone (extra
`demo`) with ten frames a clip, and captions by the demo encoder; then both are read
from the store. Target: warm is 100 times as fast.

**Warm and numpy.load.** Cover pictures stand for videos, and a network of one layer for
a ResNet, so that the store has rows as `resnet50` makes them: 50 frames side by
side (102,400 numbers) and their mean (2,048). Both loads come from the page cache of
the operating system, in turns, in one process. A warm `transform` looks up every file,
reads, checks the checksum of each record, and fills a new matrix. Target: half the
speed of `numpy.load` for the wide rows. Short rows are shown without a target: there,
asking the operating system whether 1,000 files have changed takes longer than
`numpy.load` takes.

"of CPU" compares CPU seconds, which a busy machine disturbs less; "ratio" is of wall
clock and decides. Medians of pairs; a missed target is exit code 1.

    python benchmarks/store.py [--n-wide 250] [--n-pairs 15]

`benchmarks/store_choice.py` has the measurement by which the database was chosen.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from PIL import Image
from torch import nn

from skchallenge.datasets import make_challenge_clips
from skchallenge.embed import (
    CaptionEmbedder,
    EmbeddingStore,
    VideoFrameEmbedder,
    demo_caption_model,
    load_demo_backbone,
)

N_NARROW = 1000
TARGET_COLD, TARGET_LOAD = 100.0, 0.5


def one_layer():
    """Return a network of the width of a ResNet-50 that costs nothing."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2048))


def seconds(call):
    """Return the wall clock and CPU seconds of one call; its result is let go."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    times = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return times


def cold_and_warm(name, model, X, unit):
    """Return a row of the first table."""
    model.fit(X)
    cold = seconds(lambda: model.transform(X))[0]
    warm = median(seconds(lambda: model.transform(X))[0] for _ in range(5))
    return {
        "embedder": name,
        "items": f"{len(X)} {unit}",
        "cold s": cold,
        "warm ms": 1000 * warm,
        "cold / warm": cold / warm,
    }


def covers(folder, n):
    """Make `n` pictures that differ."""
    folder.mkdir()
    for number in range(n):
        colour = (number % 256, number // 256, 128)
        Image.new("RGB", (32, 32), colour).save(folder / f"{number:04}.png")
    time.sleep(2.1)  # a store remembers files that have been quiet for two seconds
    return sorted(str(path) for path in folder.iterdir())


def rows_of_frames(folder, n, pooling):
    """Fill a store; return the fitted embedder and the paths."""
    paths = covers(folder / pooling, n)
    model = VideoFrameEmbedder(
        one_layer,
        n_frames=50 if pooling == "concat" else 2,
        image_size=16,
        pooling=pooling,
        precision="float32",
        store=EmbeddingStore(folder / f"{pooling}.db"),
    )
    model.fit_transform(paths)
    return model, paths


def beside_load(name, model, X, folder, n_pairs):
    """Return a row of the second table."""
    file = folder / "matrix.npy"
    expected = model.transform(X)
    np.save(file, expected)
    n_misses = model.store.stats()["misses"]
    pairs = [
        (seconds(lambda: np.load(file)), seconds(lambda: model.transform(X)))
        for _ in range(n_pairs)
    ]
    assert np.array_equal(model.transform(X), np.load(file))
    assert model.store.stats()["misses"] == n_misses, "not read from the store"
    load, warm = (np.median([pair[i] for pair in pairs], axis=0) for i in (0, 1))
    ratios = np.median([np.divide(*pair) for pair in pairs], axis=0)
    return {
        "rows": f"{len(X):,} x {expected.shape[1]:,}",
        "of": name,
        "np.load ms": 1000 * load[0],
        "warm ms": 1000 * warm[0],
        "warm us a row": 1e6 * warm[0] / len(X),
        "ratio": ratios[0],
        "of CPU": ratios[1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-wide", type=int, default=250, help="rows, 400 KB each")
    parser.add_argument("--n-pairs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = make_challenge_clips(
            folder / "clips", n_users=4, n_challenges=1, random_state=1
        )
        time.sleep(2.1)
        store = EmbeddingStore(folder / "demo.db")
        clips, texts = data.videos["path"], [f"dance {i} fyp" for i in range(N_NARROW)]
        frames = VideoFrameEmbedder(load_demo_backbone, n_frames=10, store=store)
        captions = CaptionEmbedder(demo_caption_model(), pooling="mean", store=store)
        first = [
            cold_and_warm("EfficientNet-Lite0, 10 frames", frames, clips, "clips"),
            cold_and_warm("all-MiniLM-L6-v2", captions, texts, "captions"),
        ]
        wide = rows_of_frames(folder, options.n_wide, "concat")
        narrow = rows_of_frames(folder, N_NARROW, "mean")
        second = [
            beside_load("50 frames", *wide, folder, options.n_pairs),
            beside_load("mean of frames", *narrow, folder, options.n_pairs),
            beside_load("captions", captions, texts, folder, options.n_pairs),
        ]
    print(f"{os.cpu_count()} cores\n")
    print(pd.DataFrame(first).round(1).to_string(index=False), "\n")
    print(pd.DataFrame(second).round(2).to_string(index=False), "\n")
    missed = [row["embedder"] for row in first if row["cold / warm"] < TARGET_COLD]
    missed += [row["rows"] for row in second[:1] if row["ratio"] < TARGET_LOAD]
    print(f"missed: {', '.join(missed) or 'nothing'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
