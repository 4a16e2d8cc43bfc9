"""Time and memory of ten million simulated and logged impressions.

The log is streamed: each chunk is counted, or hashed, and dropped. Targets: under 10 s
and under 500 MB, and the same bits for the same seed. A missed target is exit code 1.

    python benchmarks/feed_speed.py
"""

import hashlib
import resource
import sys
import time

import numpy as np
import pandas as pd

from skchallenge.feed import BatchRollout

SHARES = np.array([0.2, 1.0, 0.05, 0.1, 0.3], dtype=np.float32)
N_VIDEOS, N_VIEWERS, N_PERSONAS = 1900, 100_000, 4


class Counter:
    """Count impressions and forget them."""

    def __init__(self):
        self.n = 0

    def __call__(self, chunk):
        self.n += len(chunk)


class Digest(Counter):
    """Hash every bit of the log as well."""

    def __init__(self):
        super().__init__()
        self.hash = hashlib.blake2b(digest_size=8)

    def __call__(self, chunk):
        super().__call__(chunk)
        for name in chunk.columns:
            self.hash.update(np.ascontiguousarray(chunk[name].to_numpy()))


def simulate(seed, take):
    rng = np.random.default_rng(0)
    appeal = rng.beta(2.0, 5.0, (N_VIDEOS, 1)) * rng.uniform(0.5, 1.5, (1, N_PERSONAS))
    rates = (appeal[..., None] * SHARES).clip(0, 1).astype(np.float32).reshape(-1, 5)
    videos = pd.DataFrame({"video_id": np.arange(N_VIDEOS), "creator_id": 0})
    persona = np.arange(N_VIEWERS) % N_PERSONAS
    viewers = pd.DataFrame({"viewer_id": np.arange(N_VIEWERS), "persona": persona})

    def response(video, viewer, day):
        return rates.take(video * N_PERSONAS + persona[viewer], axis=0)

    rollout = BatchRollout(threshold=3.0, epsilon=0.1, random_state=seed).fit()
    start = time.perf_counter()
    rollout.simulate(videos, viewers, response, log=take)
    return time.perf_counter() - start


def megabytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    before = megabytes()
    counter = Counter()
    seconds = [simulate(0, counter) for _ in range(3)]
    n, peak = counter.n // 3, megabytes()
    took = min(seconds) * 1e7 / n
    print(
        f"{n:,} impressions, log streamed: best of three {min(seconds):.1f} s "
        f"({took:.1f} s for ten million, target under 10), all "
        f"{', '.join(f'{s:.1f}' for s in seconds)} s; peak {peak:.0f} MB "
        f"(target under 500), {before:.0f} MB of it before the simulation"
    )
    digests = [Digest() for _ in range(3)]
    for digest, seed in zip(digests, (0, 0, 1), strict=True):
        simulate(seed, digest)
    first, again, other = (d.hash.hexdigest() for d in digests)
    print(f"same seed, same bits: {first == again}; another seed: {first == other}")
    ok = took < 10 and peak < 500 and first == again and first != other
    print("all targets met" if ok else "A TARGET IS MISSED")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
