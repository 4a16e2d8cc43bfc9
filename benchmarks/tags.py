"""What a classifier of ImageNet says of real clips, over their frames and the first.

The weights are those of the extra `demo`. Prints the three likeliest labels of each
clip, with their probabilities, and those of its first frame, which stands in for a
cover. Some of the clips are well known to the network's thousand classes, and gestures
before a wall are not: the table shows both.

    SKCHALLENGE_DATA=data python benchmarks/tags.py
"""

import av
import numpy as np
from common import DATA, data_file

from skchallenge.embed import FrameTagger, load_demo_classifier


def likeliest(tagger, cells):
    """Return the labels of each row as text, with their probabilities."""
    rows = tagger.fit_transform(cells)
    texts = []
    for row in rows:
        order = np.argsort(-row)[:3]
        texts.append(", ".join(f"{tagger.labels_[i]} {row[i]:.2f}" for i in order))
    return texts


def first_frame(path):
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def main():
    data_file("clips/yes.mkv")
    paths = sorted((DATA / "clips").iterdir())
    paths = [path for path in paths if path.suffix in (".mkv", ".mp4")]
    whole = likeliest(FrameTagger(load_demo_classifier), paths)
    covers = [first_frame(path) for path in paths]
    first = likeliest(FrameTagger(load_demo_classifier, n_frames=1), covers)
    print(f"{'clip':28} {'8 frames':62} first frame")
    for path, a, b in zip(paths, whole, first, strict=True):
        print(f"{path.name:28} {a:62} {b}")


if __name__ == "__main__":
    main()
