"""What covers tell: planted signals, none, real clips, memory, and a ResNet-50.

Every part prints its target beside what it found; a missed one is exit code 1.

    python benchmarks/virality_covers.py                # all parts
    python benchmarks/virality_covers.py signal mixed   # some of them
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import DATA, children_watched, status
from PIL import Image
from rendered import draw_covers
from scipy import stats
from sklearn.metrics import roc_auc_score

from skchallenge import MultimodalVirality

N, N_TRAIN = 1000, 700
COLUMNS = ["x0", "x1", "x2"]  # x0 may tell something, the others are noise
SEEDS = 5
ONE_EPOCH_COVERS = 20_000
MODELS = {
    "columns alone": {"image": None},
    "cover alone": {"metadata_layers": None},
    "multimodal, concat": {"fusion": "concat"},
    "multimodal, full": {"fusion": "full"},
}


def model(**options):
    fixed = {"image": "cover", "linear_path": False, "n_jobs": 2}
    return MultimodalVirality(**{**fixed, **options})


def signal():
    """Disc red or blue, at 64 pixels: the CNN alone."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=N)
    with tempfile.TemporaryDirectory() as folder:
        levels = 1.2 * y - 0.6 + rng.normal(0, 0.3, size=N)
        X = pd.DataFrame({"cover": draw_covers(folder, levels, rng)})
        cnn = model(metadata_layers=None, max_iter=15, random_state=0)
        score = cnn.fit(X[:N_TRAIN], y[:N_TRAIN]).score(X[N_TRAIN:], y[N_TRAIN:])
    print(f"{N} covers, planted signal, 64 px: CNN accuracy {score:.3f} (target 0.9).")
    return score >= 0.9


def mixed_table(folder, seed, strength):
    """Label: one column and the hue of the cover, added up, with noise."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(N, len(COLUMNS))), columns=COLUMNS)
    hue = rng.normal(size=N)
    y = strength * (X["x0"] + hue) + rng.normal(0, 0.5, size=N) > 0
    return X.assign(cover=draw_covers(folder, hue / 2, rng)), y.astype(int)


def seed_scores(seed, strength, names):
    with tempfile.TemporaryDirectory() as folder:
        X, y = mixed_table(folder, seed, strength)
        scores = {}
        for name in names:
            options = {"image_size": 32, "max_iter": 15, **MODELS[name]}
            table = X[COLUMNS] if name == "columns alone" else X
            fitted = model(random_state=seed, **options).fit(
                table[:N_TRAIN], y[:N_TRAIN]
            )
            proba = fitted.predict_proba(table[N_TRAIN:])[:, 1]
            scores[name] = roc_auc_score(y[N_TRAIN:], proba)
    return scores


def mixed():
    """Label from both: each multimodal network against each modality alone."""
    table = pd.DataFrame([seed_scores(s, 1.0, MODELS) for s in range(SEEDS)])
    print(f"{N} covers a seed, label of cover and column, 32 px, AUC on 300 rows:")
    print(table.round(3).to_string())
    alone = table[["columns alone", "cover alone"]].max(axis=1)
    gains = table[["multimodal, concat", "multimodal, full"]].sub(alone, axis=0)
    print(
        f"Least gain over the better modality alone: {gains.min().min():.3f} "
        f"(target above 0 in all {SEEDS} seeds); mean {gains.mean().mean():.3f}."
    )
    return bool((gains > 0).all(axis=None))


def null():
    """Label of noise: the interval over seeds must hold 0.5."""
    names = ["cover alone", "multimodal, concat"]
    table = pd.DataFrame([seed_scores(100 + s, 0.0, names) for s in range(SEEDS)])
    held = True
    print(f"{N} covers a seed, no signal, 32 px, AUC on 300 rows, {SEEDS} seeds:")
    for name, values in table.items():
        low, high = stats.t.interval(
            0.95, len(values) - 1, values.mean(), stats.sem(values)
        )
        held &= low <= 0.5 <= high
        print(
            f"  {name}: {values.mean():.3f}, 95 % interval {low:.3f} to {high:.3f} "
            "(target: holds 0.5)."
        )
    return bool(held)


def clips():
    """First frames of real clips as covers."""
    paths = sorted(map(str, (DATA / "clips").glob("*.m[kp]*")))
    if not paths:
        print(f"No clips in {DATA / 'clips'}: set SKCHALLENGE_DATA. Skipped.")
        return True
    X = pd.DataFrame({"cover": paths})
    y = np.arange(len(paths)) % 2
    cnn = model(metadata_layers=None, max_iter=3, early_stopping=False, random_state=0)
    start = time.perf_counter()
    proba = cnn.fit(X, y).predict_proba(X)
    print(
        f"First frames of {len(paths)} real clips as covers: probabilities of all "
        f"rows, {time.perf_counter() - start:.1f} s for a fit and a prediction."
    )
    return bool(np.isfinite(proba).all())


def memory():
    """One epoch over many covers, in a process of its own; decoders are counted."""
    with tempfile.TemporaryDirectory() as folder:
        write_noise(folder)
        code = f"import virality_covers; virality_covers.one_epoch({folder!r})"
        here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        output = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": here},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    gigabytes, seconds = map(float, output.split())
    print(
        f"{ONE_EPOCH_COVERS:,} covers, 64 px, one epoch: peak {gigabytes:.2f} GB "
        f"(target below 2), {seconds:.0f} s with decoding."
    )
    return gigabytes < 2


def write_noise(folder):
    rng = np.random.default_rng(0)
    for i in range(ONE_EPOCH_COVERS):
        pixels = rng.integers(0, 256, size=(72, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{folder}/{i:05d}.jpg", quality=75)


def one_epoch(folder):
    """Print the peak memory in GB and the seconds of one epoch."""
    X = pd.DataFrame({"cover": sorted(map(str, Path(folder).iterdir()))})
    X["x0"] = np.arange(len(X)) / len(X)
    start = time.perf_counter()
    with children_watched("VmHWM") as decoders:
        model(max_iter=1, random_state=0).fit(X, np.arange(len(X)) % 2)
    seconds = time.perf_counter() - start
    print((status("VmHWM") + sum(decoders.values())) / 1e9, seconds)


def resnet():
    """A ResNet-50 from random weights: it trains, no target but a falling loss."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=400)
    with tempfile.TemporaryDirectory() as folder:
        X = pd.DataFrame({"cover": draw_covers(folder, 1.6 * y - 0.8, rng)})
        net = model(
            image_encoder="resnet50",
            weights=None,
            metadata_layers=None,
            max_iter=2,
            early_stopping=False,
            random_state=0,
        )
        start = time.perf_counter()
        score = net.fit(X[:300], y[:300]).score(X[300:], y[300:])
    losses = " to ".join(f"{loss:.3f}" for loss in net.loss_curve_)
    print(
        f"ResNet-50 from random weights, 64 px, 300 covers, 2 passes: loss {losses}, "
        f"accuracy on 100 others {score:.3f}, {time.perf_counter() - start:.0f} s."
    )
    return net.loss_curve_[1] < net.loss_curve_[0]


PARTS = {f.__name__: f for f in (signal, mixed, null, clips, memory, resnet)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help="which ones")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    met = []
    for name in parser.parse_args().parts:
        met.append(PARTS[name]())
        print(flush=True)
    print("All targets are met." if all(met) else "A target is missed.")
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
