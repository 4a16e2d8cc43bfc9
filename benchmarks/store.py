"""Time a warm store beside computing, and a search over a store beside a ready matrix.

**Cold and warm.** Rendered clips of one second are embedded by the demo backbone (extra
`demo`) with ten frames a clip, and captions by the demo encoder; then both are read
from the store. Target: warm is 500 times as fast for clips, 90 times for captions.

**Beside numpy.load.** Cover pictures stand for videos, and a network of one layer for
a ResNet, so that the store has rows as `resnet50` makes them: 50 frames side by
side (102,400 numbers) and their mean (2,048). Both loads come from the page cache of
the operating system, in turns, in one process. A warm `transform` looks up every file,
reads, checks the checksum of each record, and fills a new matrix. No target.

**A search.** The same grid search of a logistic regression twice: over paths, whose
vectors are in the store, and over the matrix of these vectors. Target: at most 1.3
times the seconds. In the first round the process learns what a network is; it is shown
apart.

Medians of pairs; a missed target is exit code 1.

    python benchmarks/store.py [--n-wide 250] [--n-pairs 15]
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
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import squeezenet1_1

from skchallenge.datasets import make_challenge_clips
from skchallenge.embed import (
    CaptionEmbedder,
    EmbeddingStore,
    VideoFrameEmbedder,
    demo_caption_model,
    load_demo_backbone,
)

N_NARROW = 1000
TARGET_CLIPS, TARGET_CAPTIONS, TARGET_SEARCH = 500.0, 90.0, 1.3


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
    np.save(file, model.transform(X))
    n_misses = model.store.stats()["misses"]
    pairs = [
        (seconds(lambda: np.load(file)), seconds(lambda: model.transform(X)))
        for _ in range(n_pairs)
    ]
    assert np.array_equal(model.transform(X), np.load(file))
    assert model.store.stats()["misses"] == n_misses, "not read from the store"
    load, warm = (np.median([pair[i] for pair in pairs], axis=0) for i in (0, 1))
    return {
        "rows": f"{len(X):,} x {model.transform(X[:1]).shape[1]:,}",
        "of": name,
        "np.load ms": 1000 * load[0],
        "warm ms": 1000 * warm[0],
        "warm us a row": 1e6 * warm[0] / len(X),
    }


def searches(name, embedder, X, n_pairs):
    """Return a row of the third table."""
    matrix = embedder.fit_transform(X)
    y = matrix[:, 0] > np.median(matrix[:, 0])
    grid = {"logisticregression__C": [0.01, 0.1, 1, 10]}
    ready = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), grid
    )
    steps = make_pipeline(embedder, StandardScaler(), LogisticRegression(max_iter=1000))
    stored = GridSearchCV(steps, grid)
    first = seconds(lambda: stored.fit(X, y))[0]
    pairs = [
        (seconds(lambda: ready.fit(matrix, y)), seconds(lambda: stored.fit(X, y)))
        for _ in range(n_pairs)
    ]
    times = [[wall for wall, _ in column] for column in zip(*pairs, strict=True)]
    return {
        "embedder": name,
        "rows": f"{matrix.shape[0]:,} x {matrix.shape[1]:,}",
        "matrix s": median(times[0]),
        "first s": first,
        "stored s": median(times[1]),
        "stored / matrix": median(b / a for a, b in zip(*times, strict=True)),
    }


def weights(folder):
    """Save the random weights of a network; return their path."""
    torch.manual_seed(0)
    path = folder / "weights.pt"
    torch.save(squeezenet1_1().state_dict(), path)
    return path


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
        names = {
            "squeezenet1_1": {"backbone": "squeezenet1_1", "weights": weights(folder)},
            "a function": {"backbone": load_demo_backbone},
        }
        third = [
            searches(
                name,
                VideoFrameEmbedder(**backbone, n_frames=1, store=store),
                narrow[1],
                3,
            )
            for name, backbone in names.items()
        ]
        third.append(searches("captions", captions, texts, 3))
    print(f"{os.cpu_count()} cores\n")
    print(pd.DataFrame(first).round(1).to_string(index=False), "\n")
    print(pd.DataFrame(second).round(2).to_string(index=False), "\n")
    print(pd.DataFrame(third).round(2).to_string(index=False), "\n")
    targets = (TARGET_CLIPS, TARGET_CAPTIONS)
    missed = [
        row["embedder"]
        for row, target in zip(first, targets, strict=True)
        if row["cold / warm"] < target
    ]
    missed += [r["embedder"] for r in third if r["stored / matrix"] > TARGET_SEARCH]
    print(f"missed: {', '.join(missed) or 'nothing'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
