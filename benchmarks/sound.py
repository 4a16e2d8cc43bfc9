"""What sound costs beside pictures, and what it tells when it alone decides.

First the time for the sound of a 15 s file, decoding and log-mel features, beside the
time for its frames through ResNet-50, by the engine that is named; medians over rounds
in turns. Speed does not depend on weights, so those of the network are random.

Then rendered clips with pictures and real sound of which the pitch, the rhythm or
nothing decides a label, while pictures, loudness and lengths are drawn alike: the AUC
of a logistic regression on the features of sound in 5 folds, for some seeds.

    python benchmarks/sound.py [--videos 4] [--rounds 3] [--compile openvino]
                               [--clips 120] [--seeds 3] [--first-seed 0]
"""

import argparse
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from throughput import render

from skchallenge.embed import AudioEmbedder, VideoFrameEmbedder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from media.sounds import planted_clips

RATE = 44_100


def with_sound(silent, path, seconds=15):
    """Copy the pictures of a file, and give it sound in AAC as phones do."""
    rng = np.random.default_rng(0)
    time_s = np.arange(RATE * seconds) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 0.5 < 0.2)
    sound = np.float32([sound, sound]) + rng.normal(0, 0.02, (2, len(time_s)))
    with av.open(str(silent)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        audio = container.add_stream("aac", rate=RATE, layout="stereo")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(sound.astype(np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return str(path)


def seconds(run, *args):
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def show_speed(folder, n_videos, n_rounds, compile):
    paths = []
    for number in range(n_videos):
        render(folder / "silent.mp4", number)
        paths.append(with_sound(folder / "silent.mp4", folder / f"{number}.mp4"))
    embedders = {
        "sound": AudioEmbedder(),
        "frames": VideoFrameEmbedder("resnet50", weights=None, compile=compile),
    }
    for embedder in embedders.values():
        embedder.fit_transform(paths[:1])  # networks are built, and compiled
    took = {name: [] for name in embedders}
    for _ in range(n_rounds):
        for name, embedder in embedders.items():
            took[name].append(seconds(embedder.transform, paths) / n_videos)
    sound, frames = (median(took[name]) for name in ("sound", "frames"))
    ratios = [s / f for s, f in zip(*took.values(), strict=True)]
    print(
        f"a 15 s file: sound {sound:.3f} s, frames {frames:.3f} s "
        f"(resnet50, compile={compile}); sound / frames {median(ratios):.2f}"
    )
    return median(ratios) <= 1 / 3


def show_signal(folder, n_clips, seeds):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    is_right = True
    for decides in ("pitch", "rhythm", "nothing"):
        found = []
        for seed in seeds:
            place = folder / f"{decides}{seed}"
            place.mkdir()
            paths, y = planted_clips(place, decides, n_clips, seed)
            X = AudioEmbedder().fit_transform(paths)
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            chances = cross_val_predict(model, X, y, cv=folds, method="predict_proba")
            found.append(roc_auc_score(y, chances[:, 1]))
        shown = " ".join(f"{auc:.3f}" for auc in found)
        print(f"{decides} decides: AUC {shown}")
        if decides == "nothing":  # 2 standard errors of an AUC of chance
            is_right &= abs(np.mean(found) - 0.5) < 2 / np.sqrt(
                3 * n_clips * len(seeds)
            )
        else:
            is_right &= min(found) >= 0.9
    return is_right


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", default="openvino")
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    compile = {"True": True, "False": False}.get(options.compile, options.compile)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        is_fast = show_speed(folder, options.videos, options.rounds, compile)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        is_right = show_signal(folder, options.clips, seeds)
    return int(not (is_fast and is_right))


if __name__ == "__main__":
    sys.exit(main())
