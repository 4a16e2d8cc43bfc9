"""Which modality tells, where the truth is planted in rendered files.

Short films with a disc of some hue and a sound of some pitch, drawn apart, of users
with three films each. The same files get several labels: by what is heard alone, by
what is seen alone, and, in every fourth seed, by the sum of both and by nothing. For
each, the stack of
`make_virality_stack` is cross-validated by user, and `modality_report` says which
modality tells: sound, pictures (by a fixed network of colours and edges, without
weights) or the metadata, which never do. One store serves all labels, their folds and
inner folds; frames are counted.

It fails if a modality or the stack does not find what one modality decides (AUC below
.9), the report names another in any seed, the stack is no better than either where both
decide, nothing tells something, or a file is embedded twice.

    python benchmarks/modalities.py [--films 72] [--seeds 20] [--first-seed 0]
                                    [--jobs 2]
"""

import argparse
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from PIL import Image, ImageDraw
from sklearn.model_selection import GroupKFold
from torch import nn

from skchallenge import AudioEmbedder, VideoFrameEmbedder, make_virality_stack
from skchallenge.metrics import modality_report

RATE, FPS, SECONDS, SIZE, N_FRAMES = 16_000, 5, 2, 64, 4
OWN = {"heard": "audio", "seen": "video"}
EMBEDDED = []  # frames, at each pass


class ColoursAndEdges(nn.Module):
    """Means and deviations of colours, what opposes them, and edges: 12 features."""

    def forward(self, images):
        EMBEDDED.append(len(images))
        red, green, blue = images.unbind(dim=1)  # (B, H, W) each
        opposed = torch.stack([red - blue, blue - red, red - green, green - red], 1)
        edges = [images.diff(dim=d).abs().mean(dim=(1, 2, 3)) for d in (2, 3)]
        parts = (
            images.mean(dim=(2, 3)),
            images.std(dim=(2, 3)),
            opposed.relu().mean(dim=(2, 3)),
            torch.stack(edges, dim=1),
        )
        return torch.cat(parts, dim=1)  # (B, 12)


def pictures(level, rng):
    """Draw a disc that moves over grainy grey; its hue says `level`, blue to red."""
    light, radius, red = rng.uniform(60, 190), rng.uniform(9, 14), 0.5 + 0.5 * level
    colour = tuple(int(230 * c) for c in (red, 0.2, 1 - red))
    start, step = rng.uniform(radius, SIZE - radius, 2), rng.uniform(-3, 3, 2)
    for number in range(FPS * SECONDS):
        ground = light + rng.normal(0, 12, (SIZE, SIZE, 1)) * np.ones(3)
        image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
        x, y = (start + number * step).clip(radius, SIZE - radius)
        box = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(image).ellipse(box, fill=colour)
        yield np.asarray(image)


def sound(level, rng):
    """Tones that fade, over noise; their pitch says `level`, in octaves."""
    now = np.arange(RATE * SECONDS) / RATE
    hz = 440 * 2 ** (0.8 * level + rng.normal(0, 0.03))
    beat = np.exp(-(now % rng.uniform(0.2, 0.5)) / 0.08)
    tones = rng.uniform(0.2, 0.8) * beat * np.sin(2 * np.pi * hz * now)
    return tones + 10 ** rng.uniform(-4, -2) * rng.normal(size=len(now))


def write_film(path, images, samples):
    """Encode pictures as H.264 and sound as AAC, as phones do."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "fast"})
        video.width = video.height = SIZE
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(np.float32(samples)[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return str(path)


def make_films(folder, n, seed):
    """Return a table of films, and the labels that each world gives them."""
    rng = np.random.default_rng(seed)
    seen, heard = rng.uniform(-1, 1, (2, n))
    films = pd.DataFrame(
        {
            "user_id": np.arange(n) // 3,
            "duration_s": rng.integers(5, 60, n),
            "path": [
                write_film(folder / f"{i}.mp4", pictures(s, rng), sound(h, rng))
                for i, (s, h) in enumerate(zip(seen, heard, strict=True))
            ],
        }
    )
    labels = {"heard": heard > 0, "seen": seen > 0, "both": seen + heard > 0}
    labels["nothing"] = rng.permutation(labels["both"])
    return films, {world: y.astype(int) for world, y in labels.items()}


def report_all(n, seed):
    """Return the report of each world of a seed, and frames embedded a film."""
    with tempfile.TemporaryDirectory() as name:
        return report_films(Path(name), n, seed)


def report_films(folder, n, seed):
    films, labels = make_films(folder, n, seed)
    if seed % 4:
        labels = {world: labels[world] for world in OWN}
    store = folder / "store.db"
    frames = VideoFrameEmbedder(
        ColoursAndEdges,
        n_frames=N_FRAMES,
        image_size=SIZE,
        precision="float32",
        batch_size=N_FRAMES,
        store=store,
    )
    model = make_virality_stack(video=frames, audio=AudioEmbedder(store=store))
    model.set_params(trees="drop")
    EMBEDDED.clear()
    reports = {
        world: modality_report(
            model,
            films,
            y,
            GroupKFold(3),
            modalities={"metadata": "linear"},
            groups=films["user_id"],
            random_state=seed,
        )
        for world, y in labels.items()
    }
    return reports, sum(EMBEDDED) / n


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--films", type=int, default=72)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the network is small
    began = time.perf_counter()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    run = Parallel(n_jobs=options.jobs, backend="multiprocessing")
    results = run(delayed(report_all)(options.films, seed) for seed in seeds)
    frames = [n_frames for _, n_frames in results]
    found = [pd.concat(r, names=["world", "modality"]) for r, _ in results]
    table = pd.concat(found, keys=seeds, names=["seed"])
    by_world = table.groupby(["world", "modality"], sort=False)
    print(
        pd.DataFrame(
            {
                "only": by_world["only"].mean(),
                "least": by_world["only"].min(),
                "most": by_world["only"].max(),
                "added": by_world["added"].mean(),
                "added above 0": by_world["added_low"].agg(lambda low: (low > 0).sum()),
            }
        ).round(3)
    )
    only, added = (table[c].unstack("modality") for c in ("only", "added"))
    checks = {}
    for world, own in OWN.items():
        here = [part.xs(world, level="world") for part in (only, added)]
        named = [part.drop(columns="all").idxmax(axis=1) == own for part in here]
        n_named = int((named[0] & named[1]).sum())
        print(f"{world}: the report names {own} in {n_named} of {options.seeds} seeds")
        checks[f"{world} is named"] = n_named == options.seeds
        checks[f"{world} is found"] = here[0][[own, "all"]].min(axis=None) >= 0.9
    both, nothing = (only.xs(world, level="world") for world in ("both", "nothing"))
    gains = both["all"] - both[["video", "audio"]].max(axis=1)
    print(f"both: the stack gains {gains.mean():.3f} on the better of the two")
    checks["both are joined"] = gains.mean() > 0
    # 3 standard errors of the mean of AUCs of chance, each from three folds.
    error = 3 / np.sqrt(3 * options.films * len(nothing))
    checks["nothing is chance"] = (nothing.mean() - 0.5).abs().max() < error
    checks["embedded once"] = max(frames) < N_FRAMES + 1  # and some to learn the width
    print(f"frames embedded a film, over all labels and folds: {max(frames):.2f}")
    print(f"{time.perf_counter() - began:.0f} s")
    for check, holds in checks.items():
        print(f"{'holds' if holds else 'FAILS'}: {check}")
    return int(not all(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
