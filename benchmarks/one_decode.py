"""Whether one reading of a file for all embedders would pay.

Renders clips of 15 s with sound, and times what three estimators of one column do that
each read the files by themselves: frames through ResNet-50, tags by the same network,
and log-mel sound. Beside it stands the time that decoding takes of each. What a shared
reading could save is the frames of the second reader, at most; sound and pictures are
streams of their own, and a file is opened in a millisecond.

    python benchmarks/one_decode.py [--videos 4] [--rounds 3] [--compile openvino]
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from sound import with_sound
from throughput import render

from skchallenge.embed import AudioEmbedder, FrameTagger, VideoFrameEmbedder
from skchallenge.media._read import read_clips, read_sounds

N_FRAMES = {"frames": 50, "tags": 8}


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", default="openvino")
    arguments = parser.parse_args()
    threads = {"n_threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(arguments.videos):
            silent = Path(folder) / f"silent{number}.mp4"
            render(silent, number)
            paths.append(with_sound(silent, Path(folder) / f"{number}.mp4"))
        network = {"weights": None, "compile": arguments.compile}
        whole = {
            "frames": VideoFrameEmbedder(n_frames=N_FRAMES["frames"], **network),
            "tags": FrameTagger(n_frames=N_FRAMES["tags"], **network),
            "sound": AudioEmbedder(),
        }
        calls = {f"{name}, in all": (m.transform, paths) for name, m in whole.items()}
        for model in whole.values():
            model.fit(paths).transform(paths)  # compiled, and in the system's cache
        for name, n_frames in N_FRAMES.items():
            calls[f"{name}, decoding"] = (_decode, paths, n_frames, threads)
        calls["sound, decoding"] = (_hear, paths, threads)
        found = {name: [] for name in calls}
        for _ in range(arguments.rounds):
            for name, (function, *args) in calls.items():
                found[name].append(seconds(lambda f=function, a=args: f(*a)))
    times = {name: median(values) for name, values in found.items()}
    for name, value in times.items():
        print(f"{name:18} {value / len(paths):6.3f} s a file")
    total = sum(times[f"{name}, in all"] for name in whole)
    saved = min(times[f"{name}, decoding"] for name in N_FRAMES)
    print(f"a shared reading would save {saved / total:.0%} of the three, at most")


def _decode(paths, n_frames, threads):
    return list(read_clips(paths, n_frames, 224, **threads))


def _hear(paths, threads):
    return list(read_sounds(paths, 16_000, 60.0, **threads))


if __name__ == "__main__":
    main()
