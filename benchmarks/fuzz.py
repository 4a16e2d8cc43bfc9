"""Feed mutated files to the loader, the store and the decoders; report what escapes.

A mutant is a file of the corpus with bits flipped, bytes cut off, inserted, removed or
swapped, or with a piece of another file. What behaves as no file before it (by the kind
of its outcome, with numbers and quoted names left out) joins the corpus, so that the
next run starts from there. An error other than those a user is told to expect, a crash,
or what takes longer than the limit is a finding: it is printed, the file is kept in the
folder `findings`, and the exit code is 1.

    python benchmarks/fuzz.py [loader|store|media ...] [--seconds 180] [--seed 0]
                              [--corpus .fuzz] [--limit-s 20]
"""

import argparse
import faulthandler
import gzip
import hashlib
import json
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from odd_media import BASES, MUTATIONS, mean_colour
from PIL import Image

from skchallenge.datasets import VideoCatalog, load_tiktok_export
from skchallenge.embed import (
    EmbeddingStore,
    MediaLimits,
    VideoFrameEmbedder,
    probe_media,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from media.odd_media import make_corpus

POST = {
    "id": "6907",
    "text": "new #shoes @ann",
    "createTime": 1608214517,
    "authorMeta": {"id": "17", "name": "ann", "verified": False, "fans": 3},
    "hashtags": [{"name": "shoes"}, {"name": "é"}],
    "mentions": ["@ann"],
    "playCount": "304.9K",
    "videoMeta": {"duration": 15, "height": 1024},
}
EXPECTED = (ValueError, TypeError, OSError)


# Targets: seeds, and what is done with a file. A bad file is one of EXPECTED.


def loader_seeds(folder):
    posts = [POST, {**POST, "id": "6908", "createTime": "2021-01-01T00:00:00Z"}]
    lines = "\n".join(map(json.dumps, posts))
    flat = pd.json_normalize(posts)
    table = flat.rename(columns={"id": "video_id", "createTime": "posted_at"})
    files = {
        "a.json": json.dumps(posts),
        "b.json": json.dumps({"collector": posts, "hasMore": True}),
        "c.jsonl": lines,
        "d.csv": flat.to_csv(index=False),
        "e.csv": table.to_csv(index=False, sep=";"),
        "f.json.gz": gzip.compress(lines.replace("\n", ",").join("[]").encode()),
        "g.json": json.dumps(posts).encode("utf-16"),
    }
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    frame = pd.DataFrame(posts)
    frame["createTime"] = 1608214517
    frame.to_parquet(folder / "h.parquet")
    flat.astype(str).to_parquet(folder / "i.parquet", compression="gzip")


def load(path, _):
    videos = load_tiktok_export(path, on_error="drop")
    rest = VideoCatalog(videos, challenge=None)
    rest.encoder_view(range(len(rest)))
    return "loaded"


def store_seeds(folder):
    with tempfile.TemporaryDirectory() as name:
        picture = Path(name) / "a.png"
        Image.new("RGB", (8, 8), "red").save(picture)
        os.utime(picture, (1e9, 1e9))
        time.sleep(2.1)  # then its digest is remembered
        for n_rows in (0, 1):
            store = EmbeddingStore(folder / f"{n_rows}.db")
            len(store)
            if n_rows:
                embedder(store).fit_transform([picture])
            for helper in folder.glob("*-lock"):
                helper.unlink()


def embedder(store):
    return VideoFrameEmbedder(mean_colour, n_frames=1, image_size=8, store=store)


def use_store(path, limits):
    with tempfile.TemporaryDirectory() as name:
        picture = Path(name) / "a.png"
        Image.new("RGB", (8, 8), "red").save(picture)
        store = EmbeddingStore(Path(name) / "s.db")
        Path(store.path).write_bytes(path.read_bytes())
        rows = embedder(store).fit_transform([picture])
        if rows.shape != (1, 3):
            raise AssertionError(f"a row of shape {rows.shape}")
        store.verify()
        store.forget([picture], texts=["hello"])
        store.prune(0)
    return "used"


def media_seeds(folder):
    with tempfile.TemporaryDirectory() as name:
        paths, _ = make_corpus(Path(name))
        for number, base in enumerate(b for b in BASES if b in paths):
            data = Path(paths[base]).read_bytes()
            (folder / f"{number}{Path(paths[base]).suffix}").write_bytes(data)


def decode(path, limits):
    row = probe_media([path], limits=limits).iloc[0]
    if re.search("crashes the decoder|does not decode within", row["reason"]):
        raise AssertionError(row["reason"])
    return f"{row['status']} {row['codec']} {row['reason']}"


TARGETS = {
    "loader": (loader_seeds, load),
    "store": (store_seeds, use_store),
    "media": (media_seeds, decode),
}


# The loop


def splice(data, other, rng):
    """Put a piece of another file somewhere."""
    start = rng.integers(len(other))
    piece = other[start : start + rng.integers(1, 200)]
    return np.insert(data, rng.integers(len(data)), piece)


def mutant(corpus, rng):
    """Return the name's ending and the bytes of a changed file."""
    parent = corpus[rng.integers(len(corpus))]
    data = np.frombuffer(parent.read_bytes(), np.uint8).copy()
    for _ in range(rng.integers(1, 4)):
        if len(data) < 2:
            break
        if rng.random() < 0.2:
            other = corpus[rng.integers(len(corpus))].read_bytes()
            data = splice(data, np.frombuffer(other or b"0", np.uint8), rng)
        else:
            data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
    return "".join(parent.suffixes[-2:]), data.tobytes()


def kind_of(text):
    """Return an outcome without what differs from file to file."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|/\S+|\d+", "_", text)[:200]


def run(use, path, limits):
    """Return the kind of the outcome, and the traceback of a finding."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind_of(use(path, limits)), None
    except EXPECTED as error:
        return kind_of(f"{type(error).__name__} {error}"), None
    except Exception as error:
        return kind_of(f"! {type(error).__name__} {error}"), traceback.format_exc()


def fuzz(name, seconds, seed, root, limit_s):
    make_seeds, use = TARGETS[name]
    folder = root / name
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    corpus = [p for p in sorted(folder.iterdir()) if p.is_file()]
    if not corpus:
        make_seeds(folder)
        corpus = [p for p in sorted(folder.iterdir()) if p.is_file()]
    n_old, rng = len(corpus), np.random.default_rng(seed)
    limits = MediaLimits(timeout_s=limit_s)
    outcomes = Counter(run(use, path, limits)[0] for path in corpus)
    n_files = n_findings = 0
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        suffix, data = mutant(corpus, rng)
        path = folder / "findings" / f"now{suffix}"  # stays there after a crash
        path.write_bytes(data)
        faulthandler.dump_traceback_later(10 * limit_s, exit=True)
        begin = time.monotonic()
        outcome, problem = run(use, path, limits)
        faulthandler.cancel_dump_traceback_later()
        took = time.monotonic() - begin
        slowest = max(slowest, took)
        n_files += 1
        is_new = outcome not in outcomes
        outcomes[outcome] += 1
        kept = hashlib.sha256(data).hexdigest()[:16] + suffix
        if problem or took > limit_s:
            if is_new or took > limit_s:
                n_findings += 1
                path.replace(folder / "findings" / kept)
                print(f"FOUND {kept}: {outcome}, {took:.1f} s\n{problem or ''}")
        elif is_new:
            path.replace(folder / kept)
            corpus.append(folder / kept)
        path.unlink(missing_ok=True)
    print(
        f"{name}: {n_files} files in {seconds} s, {len(outcomes)} kinds of outcome, "
        f"corpus {n_old} -> {len(corpus)}, slowest {slowest:.1f} s, "
        f"{n_findings} findings"
    )
    return n_findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"))
    parser.add_argument("--limit-s", type=float, default=20)
    o = parser.parse_args()
    targets = o.targets or list(TARGETS)
    found = [fuzz(t, o.seconds, o.seed, o.corpus, o.limit_s) for t in targets]
    return int(sum(found) > 0)


if __name__ == "__main__":
    sys.exit(main())
