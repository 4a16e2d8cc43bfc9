"""Time the loader of exports on posts of many fields.

It writes 10,000 nested posts of 110 fields (23 MB) as TikTok-Api saves them, of which
the loader needs thirty, and loads the file in a fresh process. With `--against FOLDER`,
the checkout of another state, both are timed in turns; the target is a quarter of the
other's seconds. A missed target is exit code 1.

    python benchmarks/loader.py [--n-posts 10000] [--against FOLDER]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

TARGET = 0.25
HERE = Path(__file__).resolve().parents[1]
# The best of three: other work on the machine only adds to it.
LOAD = """
import sys, time
from skchallenge.datasets import load_tiktok_export
seconds = []
for _ in range(int(sys.argv[2])):
    wall, cpu = time.perf_counter(), time.process_time()
    videos = load_tiktok_export(sys.argv[1])
    seconds.append((time.process_time() - cpu, time.perf_counter() - wall))
print(len(videos), *min(seconds))
"""


def post(number, rng):
    """Return a post of 110 fields, as a client of the web pages saves it."""
    word = "".join(rng.choices("abcdefghij", k=8))
    url = f"//{word}"
    author = {"id": str(rng.randrange(10**18)), "uniqueId": word, "verified": False}
    stats = {
        name: rng.randrange(10**6)
        for name in ("playCount", "diggCount", "commentCount", "shareCount")
    }
    item = {
        "id": str(7 * 10**18 + 7919 * number),
        "desc": f"a caption about {word} #{word} #fyp",
        "createTime": 1_600_000_000 + number,
        "author": author | {f"avatar{i}": url for i in range(12)},
        "music": {"id": "6800000000000000123", "title": word, "duration": 30}
        | {f"cover{i}": url for i in range(10)},
        "video": {"duration": 15, "width": 576, "height": 1024, "cover": url}
        | {f"address{i}": url for i in range(14)},
        "stats": stats,
        "statsV2": {name: str(count) for name, count in stats.items()},
        "authorStats": {"followerCount": 5, "followingCount": 6, "heartCount": 7},
        "challenges": [{"id": "1", "title": word, "desc": ""}, {"title": "fyp"}],
        "textExtra": [{"hashtagName": word, "start": 0, "end": 9}],
    }
    n_fields = sum(len(v) if isinstance(v, dict) else 1 for v in item.values())
    return item | {f"isFlag{i}": i % 2 == 0 for i in range(110 - n_fields)}


def load(checkout, file, n_rounds):
    """Return rows, CPU seconds and wall seconds of the checkout's loader."""
    environment = os.environ | {"PYTHONPATH": str(Path(checkout).resolve())}
    command = [sys.executable, "-c", LOAD, str(file), str(n_rounds)]
    done = subprocess.run(  # elsewhere: Python imports from the folder it is run in
        command,
        env=environment,
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    n_rows, cpu, wall = done.stdout.split()
    return int(n_rows), float(cpu), float(wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-posts", type=int, default=10_000)
    parser.add_argument("--n-rounds", type=int, default=3)
    parser.add_argument("--against", help="the checkout of another state")
    options = parser.parse_args()
    if options.against and not (Path(options.against) / "skchallenge").is_dir():
        parser.error(f"--against must be a checkout, got {options.against}")
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.json"
        file.write_text(json.dumps([post(i, rng) for i in range(options.n_posts)]))
        print(f"{options.n_posts} posts, {file.stat().st_size / 1e6:.1f} MB")
        ratios = []
        for _ in range(options.n_rounds):
            n_rows, cpu, wall = load(HERE, file, 3)
            assert n_rows == options.n_posts
            print(f"here: {cpu:.2f} s of CPU, {wall:.2f} s")
            if options.against:
                _, other, wall = load(options.against, file, 3)
                ratios.append(cpu / other)
                print(f"there: {other:.2f} s of CPU, {wall:.2f} s, {cpu / other:.3f}")
    if not ratios:
        return 0
    print(f"ratio {median(ratios):.3f}, target {TARGET}")
    return int(median(ratios) > TARGET)


if __name__ == "__main__":
    sys.exit(main())
