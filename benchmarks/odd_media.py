"""What becomes of odd, bad and randomly damaged media files.

First a table of one file a kind, from the corpus that the tests use, with its outcome
under each `on_error` of `VideoFrameEmbedder`. Then files that are damaged at random:
bits flipped, bytes cut off, inserted, removed or swapped, under a seed. Each is decoded
in a worker process within a time limit; a worker that had to be ended, or ended by
itself, is counted, and so are rows that do not stand where their files do. A missed
target is exit code 1.

With `--sound`, the same for the sound of files, odd and damaged, by `AudioEmbedder`.

    python benchmarks/odd_media.py [--n-mutants 1000] [--seed 0] [--timeout-s 20]
                                   [--sound]
"""

import argparse
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from skchallenge.embed import (
    AudioEmbedder,
    MediaLimits,
    VideoFrameEmbedder,
    probe_media,
)
from skchallenge.exceptions import MediaError

os.environ["SVT_LOG"] = "0"  # one of the encoders talks
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from media.odd_media import KINDS, make_corpus
from media.sounds import make_odd_sounds

from skchallenge.media._read import read_sounds

BASES = [
    "h264 mp4",
    "h264 mkv",
    "hevc mp4",
    "vp8 webm",
    "vp9 webm",
    "av1 mp4",
    "mjpeg avi",
    "animated gif",
    "animated png",
    "png picture",
    "webp picture",
    "jpeg picture",
]


def flip(data, rng):
    """Flip up to 64 bits."""
    places = rng.integers(len(data), size=rng.integers(1, 65))
    data[places] ^= (1 << rng.integers(8, size=len(places))).astype(np.uint8)
    return data


def truncate(data, rng):
    """Cut the end off."""
    return data[: rng.integers(1, len(data))]


def insert(data, rng):
    """Insert up to 64 random bytes."""
    noise = rng.integers(256, size=rng.integers(1, 65), dtype=np.uint8)
    return np.insert(data, rng.integers(len(data)), noise)


def remove(data, rng):
    """Remove up to 64 bytes."""
    start = rng.integers(len(data))
    return np.delete(data, slice(start, start + rng.integers(1, 65)))


def overwrite(data, rng):
    """Set a word to one of the values on which arithmetic fails."""
    words = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
    word = int(rng.choice(words)).to_bytes(4, "big")
    start = rng.integers(max(1, len(data) - 4))
    data[start : start + 4] = np.frombuffer(word, np.uint8)[: len(data) - start]
    return data


MUTATIONS = [flip, truncate, insert, remove, overwrite]


def mutants(paths, folder, n, seed, bases=BASES):
    """Yield (base, mutation, path) of damaged copies."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        base = bases[number % len(bases)]
        mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
        data = np.frombuffer(Path(paths[base]).read_bytes(), np.uint8).copy()
        path = folder / f"{number}{Path(paths[base]).suffix}"
        path.write_bytes(mutation(data, rng).tobytes())
        yield base, mutation.__name__, str(path)


def as_expected(kind, row):
    """Tell whether a row of the table is what the corpus says."""
    if kind.reason:
        return row.status == "error" and bool(re.search(kind.reason, row.reason))
    size = (row.width, row.height)
    return (
        row.status == "ok"
        and kind.n_frames in (None, row.n_frames)
        and (size == kind.size and row.kind == kind.media)
    )


def mean_colour():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def embed(paths, limits, on_error):
    """Embed files under a policy; return the rows, and how many were filled in."""
    model = VideoFrameEmbedder(
        mean_colour, n_frames=3, image_size=32, limits=limits, on_error=on_error
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = model.fit_transform(paths)
    found = [re.match(r"(\d+) of", str(w.message)) for w in caught]
    return rows, sum(int(match[1]) for match in found if match)


def raised(path, limits):
    """Tell whether a file is an error under on_error="raise"."""
    try:
        embed([path], limits, "raise")
    except MediaError:
        return "error"
    return "row"


def policies(paths, limits):
    """Return the outcome of each file under each policy."""
    filled, n_filled = embed(paths, limits, "nan")
    zeros, n_zeros = embed(paths, limits, "zero")
    assert n_filled == np.isnan(filled).all(axis=1).sum() == n_zeros
    assert np.isfinite(zeros).all()
    return pd.DataFrame(
        {
            "raise": [raised(path, limits) for path in paths],
            "nan": np.where(np.isnan(filled).all(axis=1), "NaN", "row"),
            "zero": np.where(zeros.any(axis=1), "row", "zeros"),
        }
    )


def show_kinds(paths, limits):
    """Print one line a kind; return how many are not as the corpus says."""
    names = list(paths.values())
    table = probe_media(names, limits=limits, n_jobs=2).join(policies(names, limits))
    rows = list(table.itertuples())
    expected = pd.Series(
        [as_expected(KINDS[k], row) for k, row in zip(paths, rows, strict=True)]
    )
    bad = table["status"].eq("error")
    expected &= table["raise"].eq("error").eq(bad) & table["nan"].eq("NaN").eq(bad)
    expected &= table["zero"].eq("zeros").eq(bad)
    columns = ["status", "raise", "nan", "zero", "kind", "n_frames", "width", "height"]
    shown = table[[*columns, "reason"]]
    shown = shown.set_axis(list(paths)).assign(as_expected=expected.to_numpy())
    width = {"display.width": 200, "display.max_colwidth": 70, "display.max_rows": None}
    with pd.option_context(*[part for item in width.items() for part in item]):
        print(shown.to_string(na_rep="-", max_colwidth=70))
    return int((~expected).sum())


def outcome(row):
    if row.status == "ok":
        return "ok"
    if "crashes the decoder" in row.reason:
        return "crash"
    return "overdue" if "timeout_s" in row.reason else "error"


def show_mutants(damaged, limits):
    """Print counts a base; return the number of crashes and of files overdue."""
    start = time.perf_counter()
    table = probe_media([path for *_, path in damaged], limits=limits, n_jobs=2)
    seconds = time.perf_counter() - start
    assert table["path"].tolist() == [path for *_, path in damaged], "rows moved"
    found = [outcome(row) for row in table.itertuples()]
    names = pd.Series([base for base, *_ in damaged], name="damaged file")
    print(pd.crosstab(names, pd.Series(found, name="outcome"), margins=True))
    total = Counter(found)
    filled = np.isnan(embed(list(table["path"]), limits, "nan")[0]).all(axis=1)
    n_moved = int((filled != table["status"].eq("error")).sum())
    print(
        f"{len(damaged)} damaged files in {seconds:.1f} s: {total['ok']} ok, "
        f"{total['error']} errors, {total['crash']} crashes, {total['overdue']} overdue"
        f"; {n_moved} rows of the embedder not where their files are"
    )
    for (base, mutation, path), row in zip(damaged, table.itertuples(), strict=True):
        if outcome(row) in ("crash", "overdue"):
            print(base, mutation, Path(path).name, row.reason)
    return total["crash"] + total["overdue"] + n_moved


# Sound


def hear(paths, limits, **policy):
    """Return a row a file, or the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AudioEmbedder(limits=limits, **policy).fit_transform(paths)
    except MediaError as error:
        return str(error)


def show_sounds(odd, limits):
    """Print one line a kind of sound; return how many are not as they should be."""
    rows, n_wrong = {}, 0
    for kind, (path, expected) in odd.items():
        found = {
            "raise": hear([path], limits),
            "nan": hear([path], limits, on_error="nan"),
            "zero": hear([path], limits, on_error="zero"),
            "no_sound=error": hear([path], limits, no_sound="error"),
        }
        shown = {name: shown_row(value) for name, value in found.items()}
        n_wrong += tuple(shown.values()) != OUTCOMES[expected]
        rows[kind] = shown
    print(pd.DataFrame(rows).T.to_string())
    return n_wrong


OUTCOMES = {
    "sound": ("row", "row", "row", "row"),
    "no sound": ("zeros", "zeros", "zeros", "error"),
    "bad": ("error", "NaN", "zeros", "error"),
}


def shown_row(found):
    if isinstance(found, str):
        return "error"
    if np.isnan(found).all():
        return "NaN"
    return "row" if found[0, -1] == 1 and np.isfinite(found).all() else "zeros"


def show_damaged_sounds(damaged, limits):
    """Print counts a base; return the number of crashes, of files overdue or moved."""
    paths = [path for *_, path in damaged]
    start = time.perf_counter()
    sounds = read_sounds(paths, 16_000, 60.0, n_threads=2, limits=limits)
    found = [heard(sound) for sound in sounds]
    seconds = time.perf_counter() - start
    names = pd.Series([base for base, *_ in damaged], name="damaged file")
    print(pd.crosstab(names, pd.Series(found, name="outcome"), margins=True))
    rows = hear(paths, limits, on_error="nan")
    alike = {"error": np.isnan(rows).all(axis=1), "sound": rows[:, -1] == 1}
    n_moved = sum(
        not alike[what][row] for row, what in enumerate(found) if what in alike
    )
    total = Counter(found)
    print(
        f"{len(damaged)} damaged files in {seconds:.1f} s: {total['crash']} crashes, "
        f"{total['overdue']} overdue; {n_moved} rows not where their files are"
    )
    return total["crash"] + total["overdue"] + n_moved


def heard(sound):
    if not isinstance(sound, MediaError):
        return "no sound" if sound.samples is None else "sound"
    if "crashes the decoder" in str(sound):
        return "crash"
    return "overdue" if "timeout_s" in str(sound) else "error"


def study_sounds(folder, n_mutants, seed, limits):
    (folder / "odd").mkdir()
    (folder / "damaged").mkdir()
    odd = make_odd_sounds(folder / "odd")
    n_wrong = show_sounds(odd, limits)
    print(f"{len(odd)} kinds of sound, {n_wrong} not as expected\n")
    paths = {kind: path for kind, (path, what) in odd.items() if what == "sound"}
    del paths["3 hours"]
    bases = list(paths)
    damaged = list(mutants(paths, folder / "damaged", n_mutants, seed, bases))
    return n_wrong + show_damaged_sounds(damaged, limits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-mutants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout-s", type=float, default=20.0)
    parser.add_argument("--sound", action="store_true")
    options = parser.parse_args()
    limits = MediaLimits(timeout_s=options.timeout_s)
    if options.sound:
        with tempfile.TemporaryDirectory() as name:
            n_bad = study_sounds(Path(name), options.n_mutants, options.seed, limits)
        return int(n_bad > 0)
    with tempfile.TemporaryDirectory() as name:
        corpus, folder = Path(name) / "corpus", Path(name) / "damaged"
        corpus.mkdir()
        folder.mkdir()
        paths, lacking = make_corpus(corpus)
        n_wrong = show_kinds(paths, limits)
        print(f"{len(paths)} kinds, {n_wrong} not as expected; no encoder: {lacking}\n")
        damaged = list(mutants(paths, folder, options.n_mutants, options.seed))
        n_bad = show_mutants(damaged, limits)
    return int(n_wrong + n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
