"""Compare training with a plain PyTorch loop, and time the histories of 60,000 pairs.

Runs come in pairs, one of each kind, in turns. Training uses one thread and is timed in
CPU seconds, so that a busy machine does not decide: on a free one these are seconds.
The table shows the median of the per-pair ratios; a missed target is exit code 1.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from torch import nn

from skchallenge import (
    DeepChallenger,
    HistoryEncoder,
    MultimodalVirality,
    ProxyEncoder,
    VideoCatalog,
)
from skchallenge.nn import MLP, AttentionFusion

N, F = 4000, 1024
SLOTS, WIDTH = 7, 73  # two blocks of 7 * 73 + 1 columns are 1,024
BLOCKS = {"user_id": (SLOTS, WIDTH), "challenge": (SLOTS, WIDTH)}
PLACES = ((0, SLOTS, WIDTH), (F // 2, SLOTS, WIDTH))
RUNS = {4: (1, 15), 32: (2, 15), 256: (10, 15)}  # batch -> epochs, pairs of runs
TARGETS = {4: 1.25, 32: 1.25, 256: 1.10}
SMALL_AND_LARGE = (4, 256)
TARGET_HISTORY_S = 2.0


def plain_loop(module: nn.Module, X: Any, y: Any, batch_size: int, epochs: int) -> None:
    """Train as a textbook does, with the data in two tensors."""
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    criterion = nn.CrossEntropyLoss()
    module.train()
    for _ in range(epochs):
        total = 0.0
        for index in torch.randperm(len(X)).split(batch_size):
            optimizer.zero_grad()
            loss = criterion(module(X[index]), y[index])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)


def seconds(
    run: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> float:
    """Time one call."""
    start = clock()
    run()
    return clock() - start


def compare(model: Any, module: Callable[[], nn.Module], batch_size: int) -> list[Any]:
    """Return a row of the table: median seconds of both, and of the ratio."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, F)).astype(np.float32)
    X[:, [F // 2 - 1, F - 1]] = rng.integers(0, SLOTS + 1, size=(N, 2)) / SLOTS
    y = (X[:, 0] > 0).astype(np.int64)
    epochs, pairs = RUNS[batch_size]
    model.set_params(
        batch_size=batch_size, max_iter=epochs, early_stopping=False, device="cpu"
    )
    ours = [0.0] * pairs
    plain = [0.0] * pairs
    model.fit(X, y)  # warm both up
    plain_loop(module(), X, y, batch_size, epochs=1)
    for i in range(pairs):
        ours[i] = seconds(lambda: model.fit(X, y))
        plain[i] = seconds(lambda: plain_loop(module(), X, y, batch_size, epochs))
    ratio = median(a / b for a, b in zip(ours, plain, strict=True))
    return [median(ours), median(plain), ratio]


def training_table() -> pd.DataFrame:
    """Compare each estimator with its own network in the plain loop."""
    cases = {
        "ProxyEncoder": (
            ProxyEncoder(),
            lambda: MLP(F, 2, dropout=0.2),
            SMALL_AND_LARGE,
        ),
        "DeepChallenger": (
            DeepChallenger(),
            lambda: MLP(F, 2, dropout=0.2),
            SMALL_AND_LARGE,
        ),
        "DeepChallenger, attention": (
            DeepChallenger(fusion="attention", blocks=BLOCKS),
            lambda: AttentionFusion(F, 2, PLACES, dropout=0.2),
            SMALL_AND_LARGE,
        ),
        # The metadata network of the virality report, at its default batch.
        "MultimodalVirality": (
            MultimodalVirality(linear_path=False),
            lambda: MLP(F, 2, (512, 64), dropout=0.5),
            (32,),
        ),
    }
    rows = {
        (name, batch_size): [*compare(model, net, batch_size), TARGETS[batch_size]]
        for name, (model, net, batch_sizes) in cases.items()
        for batch_size in batch_sizes
    }
    return pd.DataFrame.from_dict(
        {f"{name}, batch {b}": row for (name, b), row in rows.items()},
        orient="index",
        columns=["fit_s", "plain_loop_s", "ratio", "target"],
    )


def history_seconds(
    n_videos: int = 35_000, n_users: int = 1_200, n_pairs: int = 60_000
) -> float:
    """Time the transform of `n_pairs` pairs to 8 videos of 128 numbers each."""
    rng = np.random.default_rng(0)
    names = [f"f{j}" for j in range(128)]
    users = np.array([f"user{i:04d}" for i in range(n_users)])
    features = rng.normal(size=(n_videos, 128)).astype(np.float32)
    videos = pd.DataFrame(features, columns=names).assign(
        video_id=[f"video{i:05d}" for i in range(n_videos)],
        user_id=rng.choice(users, n_videos),
        challenge=None,
        create_time=rng.integers(0, 10**9, n_videos),
    )
    pairs = pd.DataFrame(
        {
            "user_id": rng.choice(users, n_pairs),
            "time": rng.integers(5 * 10**8, 10**9, n_pairs),
        }
    )
    trivial = make_column_transformer(("passthrough", names))
    encoder = HistoryEncoder(VideoCatalog(videos), trivial, by="user_id", before="time")
    encoder.fit(pairs)
    times = (
        seconds(lambda: encoder.transform(pairs), time.perf_counter) for _ in range(5)
    )
    return median(times)


def main() -> int:
    """Print the table and say whether the targets are met."""
    torch.set_num_threads(1)
    print(f"Training on {N:,} x {F:,} float32, CPU seconds on one thread, medians:")
    table = training_table()
    print(table.round(3).to_string())
    history = history_seconds()
    print(f"60,000 pairs to histories: {history:.2f} s (target {TARGET_HISTORY_S} s).")
    met = (table["ratio"] <= table["target"]).all() and history <= TARGET_HISTORY_S
    print("All targets are met." if met else "A target is missed.")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
