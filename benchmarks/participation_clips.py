"""Find a planted signal in video files, and nothing where there is none.

Renders clips, embeds them with the offline weights of the extra `demo`, and predicts
participation of unseen users and in unseen challenges.

    python benchmarks/participation_clips.py
"""

import argparse
import tempfile
import time

import numpy as np
import pandas as pd
from common import both, line, logistic, mean_vectors, out_of_fold, with_vectors
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from skchallenge import (
    CaptionEmbedder,
    VideoFrameEmbedder,
    make_challenge_clips,
    make_deep_challenger,
)
from skchallenge.embed import demo_caption_model, load_demo_backbone

# The clips have no tags that spread: the network alone, as the figures are about it.
SETTINGS = {"adoption": False, "linear_path": False, "held_out": "rows"}
SETTINGS |= {"max_videos": 4, "max_iter": 100, "random_state": 0}


def embedded(folder, **options):
    """Render one study and embed its videos."""
    data = make_challenge_clips(folder, **options)
    blocks = {
        # The clips are 96 pixels wide: larger pictures would show no more.
        "frames": (
            VideoFrameEmbedder(load_demo_backbone, n_frames=3, image_size=96),
            "path",
        ),
        "words": (CaptionEmbedder(demo_caption_model(), pooling="mean"), "caption"),
    }
    data.catalog, features = with_vectors(data.catalog, blocks)
    return data, features


def signal_study(n_users):
    """Compare video + caption with either alone, on unseen users."""
    with tempfile.TemporaryDirectory() as folder:
        data, features = embedded(
            folder, n_users=n_users, n_challenges=8, random_state=0
        )
    users = data.pairs["user_id"]
    rows = [line("truth (best reachable)", data, data.proba)]
    runs = {
        "video + caption": both(features.values()),
        "video alone": features["frames"],
        "caption alone": features["words"],
    }
    for name, chosen in runs.items():
        user, challenge, _ = mean_vectors(data, chosen, max_videos=4)
        met = np.hstack([user, challenge, user * challenge, np.abs(user - challenge)])
        score = logistic(met, data, GroupKFold(3), users)
        rows.append(line(f"{name}, logistic", data, score))
    for fusion in ("attention", "concat"):
        settings = {**SETTINGS, "fusion": fusion}
        for name, chosen in runs.items():
            model = make_deep_challenger(data.catalog, chosen, **settings)
            score = out_of_fold(model, data, GroupKFold(3), users)
            rows.append(line(f"{name}, {fusion}", data, score))
        crossed = make_deep_challenger(
            data.catalog, runs["video + caption"], cross_fit=3, **settings
        )
        score = out_of_fold(crossed, data, GroupKFold(3), users)
        rows.append(line(f"video + caption, {fusion}, cross_fit=3", data, score))
    print(f"{n_users} users x 8 challenges, signal 1, unseen users, 3 folds")
    print(pd.DataFrame(rows).round(3).to_string(index=False), "\n", flush=True)


def null_study(n_users, n_seeds):
    """Score at signal 0: the interval over seeds must hold 0.5.

    Scores of all folds together are below 0.5 without signal: where a fold has more
    ones by chance, the others, from which its probabilities come, have fewer.
    """
    scores = {
        (split, how): []
        for split in ("unseen users", "unseen challenges")
        for how in ("mean of the folds", "folds together")
    }
    for seed in range(n_seeds):
        with tempfile.TemporaryDirectory() as folder:
            data, features = embedded(
                folder, n_users=n_users, n_challenges=6, signal=0, random_state=seed
            )
        model = make_deep_challenger(
            data.catalog, both(features.values()), fusion="attention", **SETTINGS
        )
        for split, column in (
            ("unseen users", "user_id"),
            ("unseen challenges", "challenge"),
        ):
            groups = data.pairs[column]
            score = out_of_fold(model, data, GroupKFold(3), groups)
            folds = GroupKFold(3).split(data.pairs, data.y, groups)
            each = [roc_auc_score(data.y[test], score[test]) for _, test in folds]
            scores[split, "mean of the folds"].append(np.mean(each))
            scores[split, "folds together"].append(roc_auc_score(data.y, score))
    print(f"{n_users} users x 6 challenges, signal 0, {n_seeds} seeds")
    for (split, how), values in scores.items():
        low, high = stats.t.interval(
            0.95, len(values) - 1, np.mean(values), stats.sem(values)
        )
        print(
            f"{split}, {how}: AUC {np.mean(values):.3f}, 95 % interval {low:.3f} to "
            f"{high:.3f}, {np.round(values, 3).tolist()}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=200, help="0: no signal only")
    parser.add_argument("--null-users", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=15, help="of the null study")
    parser.add_argument("--seed", type=int, default=0, help="of the networks")
    options = parser.parse_args()
    SETTINGS["random_state"] = options.seed
    start = time.perf_counter()
    if options.users:
        signal_study(options.users)
    null_study(options.null_users, options.seeds)
    print(f"{time.perf_counter() - start:.0f} s")
