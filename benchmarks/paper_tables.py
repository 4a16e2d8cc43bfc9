"""Tables I and II of the deepChallenger paper, on any catalog.

Table I: how well frozen features tell a video's challenge and a video's user (the
proxy tasks). Table II: baselines that see the user's videos only, and deepChallenger.
Macro precision, recall and F1 (the mean of the classes' F1) of the 80/20 split and the
mean of 3-fold cross-validation, beside the best that guessing reaches.

    python benchmarks/paper_tables.py                      # rendered clips, offline
    python benchmarks/paper_tables.py --export export.json --media-dir videos/ \
        --backbones vgg16 resnet50 --text bert-base-uncased --pooling concat

Differences from the paper: pairs are split by user, so that no user is on both sides;
cut-offs and histories follow this library's protocol; its baselines' scores cannot be
reproduced, because .188/.750/.188 is no macro precision, recall and F1 of any two-class
prediction.
"""

import argparse
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
from common import both, with_vectors
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import (
    CaptionEmbedder,
    DeepChallenger,
    HistoryEncoder,
    ProxyEncoder,
    VideoFrameEmbedder,
    load_tiktok_export,
    make_challenge_clips,
    make_deep_challenger,
    make_paper_challenger,
    make_participation,
)
from skchallenge.embed import demo_caption_model, load_demo_backbone
from skchallenge.metrics import chance_floors

SCORES = ["macro_precision", "macro_recall", "macro_f1"]


def macro(y_true, y_pred):
    scores = precision_recall_fscore_support(
        y_true, y_pred, average="macro", zero_division=0.0
    )
    return pd.Series(scores[:3], index=SCORES, dtype=float)


def evaluate(model, X, y, groups=None):
    """Score the 80/20 split and three folds; return one flat row."""
    if groups is None:
        split, folds = (
            ShuffleSplit(1, test_size=0.2, random_state=0),
            KFold(3, shuffle=True, random_state=0),
        )
    else:
        split, folds = (
            GroupShuffleSplit(1, test_size=0.2, random_state=0),
            GroupKFold(3),
        )

    def score(train, test):
        model.fit(X.iloc[train], y[train])
        return macro(y[test], model.predict(X.iloc[test]))

    train, held_out = next(split.split(X, y, groups))
    once = score(train, held_out)
    cv = np.mean([score(*fold) for fold in folds.split(X, y, groups)], axis=0)
    row = {f"{name} 80/20": once[name] for name in SCORES}
    row |= {f"{name} 3-fold": value for name, value in zip(SCORES, cv, strict=True)}
    floor = chance_floors(y[held_out])["macro_f1"].max()
    return row | {"chance macro_f1": floor}


def table_one(catalog, features, network):
    """Tell a video's challenge, and a plain video's user, from frozen features."""
    members = catalog.memberships
    candidates = catalog.videos[catalog.user].isin(catalog.candidates)
    plain = np.flatnonzero(candidates & ~catalog.is_challenge_video)
    tasks = {
        "challenge": (members["row"].to_numpy(), members["challenge"].to_numpy()),
        "user": (plain, catalog.videos[catalog.user].to_numpy()[plain]),
    }
    rows = []
    for task, (videos, labels) in tasks.items():
        X = catalog.encoder_view(videos)
        for name, chosen in features.items():
            model = make_pipeline(chosen, StandardScaler(), ProxyEncoder(**network))
            start = time.perf_counter()
            rows.append({"proxy task": task, "features": name})
            rows[-1] |= evaluate(model, X, np.asarray(labels, dtype=object))
            progress(f"Table I, {task}, {name}", start)
    return pd.DataFrame(rows)


def table_two(data, features, network, challenge_features, user_features):
    """Predict participation from the user's videos alone, and with the challenge's."""
    models = {
        name: make_pipeline(
            HistoryEncoder(
                data.catalog,
                make_pipeline(chosen, StandardScaler()),
                by="user_id",
                before="time",
            ),
            DeepChallenger(**network),
        )
        for name, chosen in features.items()
    }
    models["deepChallenger"] = make_paper_challenger(
        data.catalog, user_features, challenge_features, **network
    )
    models["deepChallenger, attention"] = make_deep_challenger(
        data.catalog,
        user_features,
        challenge_features,
        adoption=False,
        linear_path=False,
        held_out="rows",
        **network,
    )
    rows = []
    for name, model in models.items():
        start = time.perf_counter()
        rows.append({"model": name})
        rows[-1] |= evaluate(model, data.pairs, data.y, data.pairs["user_id"])
        progress(f"Table II, {name}", start)
    return pd.DataFrame(rows)


def progress(what, start):
    print(f"  {what}: {time.perf_counter() - start:.0f} s", flush=True)


def load(options):
    if options.export is None:
        folder = tempfile.mkdtemp()
        return make_challenge_clips(folder, n_users=options.users, random_state=0)
    videos = load_tiktok_export(options.export, media_dir=options.media_dir)
    videos = videos.dropna(subset="path")
    return make_participation(videos, challenges=options.challenges)


def embed(data, options):
    """Embed every video once with every backbone, and its caption."""
    text = demo_caption_model() if options.text == "demo" else options.text
    pooling = "mean" if options.text == "demo" else "cls"
    blocks = {
        name: (
            VideoFrameEmbedder(
                load_demo_backbone if name == "demo" else name,
                n_frames=options.n_frames,
                pooling=options.pooling,
                verbose=1,
            ),
            "path",
        )
        for name in options.backbones
    }
    blocks["text"] = (CaptionEmbedder(text, pooling=pooling), "caption")
    data.catalog, single = with_vectors(data.catalog, blocks)
    features = {}
    for name in options.backbones:
        features[name] = single[name]
        features[f"{name} + text"] = both([single[name], single["text"]])
    return SimpleNamespace(
        all=features,
        challenge=features[f"{options.backbones[0]} + text"],
        user=features[f"{options.backbones[-1]} + text"],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", help="tiktok export; default: rendered clips")
    parser.add_argument("--media-dir", help="folder with the export's video files")
    parser.add_argument("--challenges", nargs="*", help="tags; default: found")
    parser.add_argument("--users", type=int, default=60, help="of the rendered clips")
    parser.add_argument("--backbones", nargs="+", default=["demo"])
    parser.add_argument("--text", default="demo", help="BERT-family model")
    parser.add_argument("--n-frames", type=int, default=3, help="50 in the paper")
    parser.add_argument("--pooling", default="mean", choices=["mean", "concat"])
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    start = time.perf_counter()
    data = load(options)
    features = embed(data, options)
    network = {"batch_size": options.batch_size, "random_state": 0}
    first = table_one(data.catalog, features.all, network)
    second = table_two(data, features.all, network, features.challenge, features.user)
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print("\nTable I: proxy tasks")
        print(first.round(3).to_string(index=False))
        print(f"\nTable II: participation, {len(data.pairs)} pairs of unseen users")
        print(second.round(3).to_string(index=False))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
