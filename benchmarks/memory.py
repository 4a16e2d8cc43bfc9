"""Peak memory of embedding 250, 500 and 1,000 videos of 50 x 2,048 features.

Each number of videos runs in a process of its own, with a store, as a matrix in memory
and as a memory map, whose pages the system may drop: anonymous memory is what it may
not, at the end of the run. Figures are those of Linux. The network is a stand-in of the
same width, so that the run takes minutes: weights and activations of a real one come on
top, whatever the number of videos. The process that embeds and its largest decoder are
counted apart.

    python benchmarks/memory.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from common import children_watched, status
from throughput import render
from torch import nn

from skchallenge.embed import VideoFrameEmbedder

COUNTS = (250, 500, 1000)
N_FRAMES, WIDTH = 50, 2048
MOST_BEYOND_OUTPUT = 1.5e9


class Wide(nn.Module):
    """A grid of colours, repeated to the width of ResNet-50's features."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(8)

    def forward(self, x):
        grid = self.pool(x).flatten(1)  # (B, 192)
        return grid.repeat(1, WIDTH // 192 + 1)[:, :WIDTH]


def embed(folder, n, output):
    """Embed in this process and print its peak."""
    paths = sorted(str(path) for path in Path(folder, "videos").iterdir())[:n]
    settings = {"n_frames": N_FRAMES, "pooling": "concat", "output": output}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        tempfile.tempdir = scratch
        store = Path(scratch) / "embeddings.db"
        model = VideoFrameEmbedder(Wide, store=store, **settings).fit(paths)
        before = status("VmHWM")
        with children_watched("VmHWM") as decoders:
            matrix = model.transform(paths)
        assert matrix.shape == (n, N_FRAMES * WIDTH)
        report = {"before": before, "peak": status("VmHWM")}
        report["anonymous"] = status("RssAnon")
        del matrix
    print(json.dumps(report | {"largest decoder": max(decoders.values())}))


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder, "videos")
        videos.mkdir()
        render(Path(folder, "film.mp4"), 0, n_frames=60, height=256, width=144)
        for number in range(max(COUNTS)):  # other content each: a byte at the end
            film = Path(folder, "film.mp4").read_bytes()
            Path(videos, f"{number:04}.mp4").write_bytes(film + b"%d" % number)
        for output in ("array", "memmap"):
            for n in COUNTS:
                command = [sys.executable, __file__, folder, str(n), output]
                found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                n_bytes = 4 * n * N_FRAMES * WIDTH
                report = json.loads(found.stdout)
                beyond = report["peak"] - n_bytes
                rows.append(
                    {"output": output, "videos": n, "output MB": n_bytes / 1e6}
                    | {f"{key} MB": value / 1e6 for key, value in report.items()}
                    | {"peak - output MB": beyond / 1e6}
                )
                print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.0f}".format))
    return int((table["peak - output MB"] > MOST_BEYOND_OUTPUT / 1e6).any())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    if len(sys.argv) > 1:
        embed(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        os.environ.pop("PYTHONWARNINGS", None)
        sys.exit(main())
