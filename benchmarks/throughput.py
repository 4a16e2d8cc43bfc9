"""Videos a second, from files to vectors, beside the usual loops.

(a) is the usual loop, one frame at a time, (b) the same in batches of 50: all frames
are decoded, the wanted ones converted, and the network runs in float32 and evaluation
mode. Both are timed on one video a round, in turns with the embedder on all of them;
the table shows medians over rounds, and ratios of them. Decoding alone and the network
alone are timed in the same rounds, each at its best: an embedder that loses nothing
reaches an efficiency of 1. "of peak" compares the operations of the network alone to
those of a product of big matrices in the same precision, which is about what the
processor can do; "peak / (a)" and "peak / (b)" are what that would win if decoding were
free.

Speed does not depend on weights, so the networks have random ones; the cosine of frames
in bfloat16 to those in float32 is that of EfficientNet-Lite0 with ImageNet weights
(extra ``demo``). Where the processor has no bfloat16 it is emulated for that.

    python benchmarks/throughput.py [--backbone resnet50] [--videos 20] [--rounds 3]
                                    [--compile False True openvino] [--clips FOLDER]

Everything is run twice: with the default allocator and with glibc told to keep large
blocks (MALLOC_MMAP_THRESHOLD_), which spares page faults.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import av
import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from skchallenge.embed import VideoFrameEmbedder, load_demo_backbone
from skchallenge.embed._backbone import build_backbone
from skchallenge.embed._engine import encode_clips
from skchallenge.media._frame_sampling import frame_positions
from skchallenge.media._read import read_clips

N_FRAMES, SIZE = 50, 224
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
KEEP_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "-1"}


def render(path, seed, n_frames=450, height=1024, width=576):
    """Write 15 seconds of moving texture as H.264, 30 frames a second."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height // 8, 2 * width // 8, 3), dtype=np.uint8)
    texture = np.kron(texture, np.ones((8, 8, 1), dtype=np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(n_frames):
            shift = 2 * i % width
            picture = np.roll(texture, i, axis=0)[:, shift : shift + width]
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_videos(folder, n, n_distinct=4):
    """Render a few videos, and copy them: no cache is used here."""
    for number in range(n):
        path = folder / f"{number:02}.mp4"
        if number < n_distinct:
            render(path, number)
        else:
            shutil.copy(folder / f"{number % n_distinct:02}.mp4", path)
    return sorted(map(str, folder.iterdir()))


def usual_loop(path, net, batch_size):
    """Embed one video as tutorials do."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    pictures = [
        frames[i].to_ndarray(
            format="rgb24", width=SIZE, height=SIZE, interpolation="BILINEAR"
        )
        for i in frame_positions(len(frames), N_FRAMES)
    ]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    x = ((x - MEAN) / STD).contiguous()
    with torch.no_grad():
        return torch.cat([net(part) for part in x.split(batch_size)]).numpy()


def seconds(run, *args):
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def network_alone(embedder, clips):
    """Return a call that runs the embedder's network on clips that are decoded."""
    engine = embedder._sight().engine(
        embedder._dtype(), embedder.compile, batch_size=16, n_frames=0
    )
    return lambda: sum(len(rows) for rows in encode_clips(iter(clips), engine, 16))


def flops_of(net):
    """Count the operations of a frame."""
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, SIZE, SIZE))
    return counter.get_total_flops()


def decode(paths):
    n_threads = torch.get_num_threads()
    return list(read_clips(paths, N_FRAMES, SIZE, n_threads=n_threads))


def peak_flops(dtype, n=2048):
    """Return the operations a second of a product of big matrices, at its best."""
    a, b = torch.rand(2, n, n).to(dtype)
    return 2 * n**3 / min(seconds(torch.mm, a, b) for _ in range(10))


def measure(backbone, paths, compile, rounds):
    """Return a row of the table, in videos a second."""
    plain = build_backbone(backbone, None, SIZE)
    embedder = VideoFrameEmbedder(backbone, weights=None, compile=compile)
    embedder.fit(["a.mp4"])
    first = seconds(embedder.transform, paths[:1])  # builds, and compiles if asked
    clips = decode(paths)
    alone = network_alone(embedder, clips)
    flops = N_FRAMES * flops_of(plain)  # of a video
    peaks = []
    times = {"(a)": [], "(b)": [], "ours": [], "decoding": [], "network": []}
    for path in islice(cycle(paths), rounds):
        times["(a)"].append(seconds(usual_loop, path, plain, 1))
        times["(b)"].append(seconds(usual_loop, path, plain, 50))
        times["ours"].append(seconds(embedder.transform, paths) / len(paths))
        times["decoding"].append(seconds(decode, paths) / len(paths))
        times["network"].append(seconds(alone) / len(paths))
        peaks.append(peak_flops(embedder._dtype()))
    a, b, ours = (median(times[key]) for key in ("(a)", "(b)", "ours"))
    best = min(times["decoding"]) + min(times["network"])
    return {
        "compile": compile,
        "(a) videos/s": 1 / a,
        "(b) videos/s": 1 / b,
        "ours videos/s": 1 / ours,
        "ours / (a)": a / ours,
        "ours / (b)": b / ours,
        "peak / (a)": a * max(peaks) / flops,
        "peak / (b)": b * max(peaks) / flops,
        "network frames/s": N_FRAMES / min(times["network"]),
        "of peak": flops / min(times["network"]) / max(peaks),
        "decoding s/video": min(times["decoding"]),
        "efficiency": best / min(times["ours"]),
        "first call s": first,
    }


def cosines(paths, compile):
    """Compare frames of the demo network to float32, on identical pictures."""
    rounded = "auto" if compile == "openvino" else "bfloat16"
    rows = []
    for precision, how in (("float32", False), (rounded, compile)):
        embedder = VideoFrameEmbedder(
            load_demo_backbone, pooling="concat", precision=precision, compile=how
        )
        matrix = embedder.fit_transform(paths).astype(float)
        rows.append(matrix.reshape(-1, embedder.width_))
    norms = [np.linalg.norm(matrix, axis=1) for matrix in rows]
    return (rows[0] * rows[1]).sum(axis=1) / (norms[0] * norms[1])


def show_cosines(paths, what, options):
    for compile in options.compile:
        found = cosines(paths, compile)
        print(
            f"cosine of frames, {what}, compile={compile}: worst {found.min():.4f}, "
            f"median {np.median(found):.4f}, {np.mean(found < 0.999):.1%} below 0.999",
            flush=True,
        )


def show(options, paths, what):
    rows = [
        measure(options.backbone, paths, compile, options.rounds)
        for compile in options.compile
    ]
    table = pd.DataFrame(rows)
    slow = table.loc[table["compile"].eq(False)]
    if len(slow):
        saved = 1 / slow["ours videos/s"].iloc[0] - 1 / table["ours videos/s"]
        extra = table["first call s"] - slow["first call s"].iloc[0]
        table["repaid after videos"] = (extra / saved).where(saved > 0).round()
    print(f"{options.backbone}, {what}")
    print(table.to_string(index=False, float_format="{:.3g}".format), "\n", flush=True)


def as_option(text):
    return {"True": True, "False": False}.get(text, text)


def run(options):
    torch.set_grad_enabled(False)
    videos = sorted(map(str, Path(options.folder).iterdir()))
    allocator = "glibc keeps blocks" if KEEP_BLOCKS.keys() <= os.environ.keys() else ""
    name = f"allocator: {allocator or 'default'}"
    show(options, videos, f"{len(videos)} rendered videos, {name}")
    if options.clips:
        clips = real_clips(options.clips)
        show(options, clips, f"{len(clips)} real clips, {name}")


def real_clips(folder):
    return [str(p) for p in sorted(folder.iterdir()) if p.suffix in (".mkv", ".mp4")]


def capabilities():
    known = torch.cpu.get_capabilities()
    names = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
    return ", ".join(name for name in names if known.get(name)) or "none known"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", nargs="+", type=as_option, default=[False, True])
    parser.add_argument("--clips", type=Path, help="a folder with real clips as well")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        return run(options)
    precision = VideoFrameEmbedder()._dtype()
    print(f"processor: {capabilities()}; precision 'auto' is {precision}")
    with tempfile.TemporaryDirectory() as name:
        paths = make_videos(Path(name), options.videos)
        show_cosines(paths[:2], "rendered", options)
        if options.clips:
            show_cosines(real_clips(options.clips), "real", options)
        for extra in ({}, KEEP_BLOCKS):
            command = [sys.executable, *sys.argv, "--folder", name]
            subprocess.run(command, check=True, env={**os.environ, **extra})
    return None


if __name__ == "__main__":
    main()
