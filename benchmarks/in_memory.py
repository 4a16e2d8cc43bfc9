"""What `VideoFrameEmbedder` takes for bytes and pixels, beside the files they are of.

Videos of 15 seconds, and photos of the same size, are embedded from files, from bytes,
and photos also from PIL images and arrays, in turns; the table shows the median seconds
of each, and its ratio to files. No store is used. The script ends with an error if a
vector of bytes differs from that of the file.

    python benchmarks/in_memory.py [--backbone resnet50] [--videos 4] [--photos 48]
                                   [--rounds 3]
"""

import argparse
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image
from throughput import make_videos

from skchallenge import VideoFrameEmbedder


def first_frame(path):
    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def make_photos(folder, paths, n):
    """Write frames of videos as JPEG, each one shifted so that all differ."""
    for number in range(n):
        picture = np.roll(first_frame(paths[number % len(paths)]), number, axis=1)
        Image.fromarray(picture).save(folder / f"{number:03}.jpg", quality=90)
    return sorted(map(str, folder.iterdir()))


def as_bytes(paths):
    return [Path(path).read_bytes() for path in paths]


def compare(what, forms, options):
    """Embed each form of the same items in turns; return the table of seconds."""
    embedder = VideoFrameEmbedder(options.backbone, weights=None, compile=False)
    embedder.fit(forms["files"])
    expected = embedder.transform(forms["files"])  # and the network is built
    seconds = {form: [] for form in forms}
    for _ in range(options.rounds):
        for form, cells in forms.items():
            start = time.perf_counter()
            vectors = embedder.transform(cells)
            seconds[form].append(time.perf_counter() - start)
            # PIL's pixels of a JPEG are not those of FFmpeg.
            if form in ("files", "bytes") and not np.array_equal(vectors, expected):
                raise SystemExit(f"{what}: {form} give other vectors than files.")
    medians = pd.Series({form: np.median(times) for form, times in seconds.items()})
    return pd.DataFrame({"seconds": medians, "ratio": medians / medians["files"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        films, photos = Path(name) / "films", Path(name) / "photos"
        films.mkdir()
        photos.mkdir()
        paths = make_videos(films, options.videos)
        forms = {"files": paths, "bytes": as_bytes(paths)}
        print(f"{options.videos} videos, {options.backbone}")
        print(compare("videos", forms, options).round(2).to_string())
        paths = make_photos(photos, paths, options.photos)
        images = [Image.open(path) for path in paths]
        arrays = [np.asarray(image) for image in images]
        forms = {"files": paths, "bytes": as_bytes(paths)}
        forms |= {"PIL images": images, "arrays": arrays}
        print(f"{options.photos} photos, {options.backbone}")
        print(compare("photos", forms, options).round(2).to_string())


if __name__ == "__main__":
    main()
