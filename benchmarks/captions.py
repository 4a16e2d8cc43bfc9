"""Captions a second beside SentenceTransformer.encode and skrub's TextEncoder.

The same weights (all-MiniLM-L6-v2 of the extra ``demo``), the same texts, and defaults;
models are loaded and warm. Rounds come in turns; the table shows medians over rounds,
the ratio to `SentenceTransformer.encode`, and the worst cosine of a caption to its row.

    SKCHALLENGE_DATA=... python benchmarks/captions.py [--rounds 5]

The texts are the captions of ``trending_2020.json`` in SKCHALLENGE_DATA. The other two
libraries come from PyPI: ``pip install sentence-transformers skrub``.
"""

import argparse
import json
import os
import time
from statistics import median

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pandas as pd
import torch
from common import data_file

from skchallenge.embed import CaptionEmbedder, demo_caption_model


def real_captions():
    export = json.loads(data_file("trending_2020.json").read_text())
    return [video["text"] for video in export["collector"]]


def sentence_transformer(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return model.encode


def skrub_encoder(folder, captions):
    from skrub import TextEncoder

    model = TextEncoder(
        folder, n_components=None, device="cpu", store_weights_in_pickle=False
    )
    column = pd.Series(captions, name="caption")
    model.fit(column)
    return lambda texts: model.transform(pd.Series(texts, name="caption")).to_numpy()


def cosines(a, b):
    a, b = (np.asarray(m, dtype=float) for m in (a, b))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    captions, folder = real_captions(), demo_caption_model()
    ours = CaptionEmbedder(folder, pooling="mean", max_length=256).fit(captions)
    encoders = {
        "SentenceTransformer.encode": sentence_transformer(folder),
        "skrub.TextEncoder": skrub_encoder(folder, captions),
        "CaptionEmbedder": ours.transform,
    }
    rows = {name: encode(captions) for name, encode in encoders.items()}  # warm
    times = {name: [] for name in encoders}
    for _ in range(options.rounds):
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode(captions)
            times[name].append(time.perf_counter() - start)
    base, *_ = times
    table = pd.DataFrame(
        {
            "captions/s": {
                name: len(captions) / median(t) for name, t in times.items()
            },
            "ratio": {n: median(times[base]) / median(t) for n, t in times.items()},
            "worst cosine": {n: cosines(r, rows[base]).min() for n, r in rows.items()},
        }
    )
    precision = ours._encoder().net.dtype
    counts = f"{len(captions)} captions, {len(set(captions))} distinct"
    print(f"{counts}; {precision}, {torch.get_num_threads()} threads")
    print(table.to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
