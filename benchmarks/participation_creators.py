"""Who joins which challenge among 1,266 real creators, from hashtags and sounds alone.

Reads ``creators_2020.parquet`` from the folder that SKCHALLENGE_DATA names, finds the
challenges, embeds each video's hashtags and sound with the offline sentence encoder of
the extra `demo`, and predicts participation of unseen users. Once with the default
`min_history`, where the number of earlier videos tells who posts much later (the export
holds each creator's latest videos only), and once with as many as the model reads.

The plain models read the same videos: a logistic regression of the mean vectors, of the
user alone or of both sides with their products and distances. Its penalty is chosen in
inner folds by user. Networks are trained under several seeds.

    SKCHALLENGE_DATA=path/to/data python benchmarks/participation_creators.py
"""

import time

import numpy as np
import pandas as pd
from common import data_file, line, logistic, mean_vectors, out_of_fold
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GroupKFold

from skchallenge import (
    CaptionEmbedder,
    VideoCatalog,
    load_tiktok_export,
    make_deep_challenger,
    make_participation,
)
from skchallenge.embed import demo_caption_model
from skchallenge.metrics import participation_report

MIN_HISTORY = (8, 3)  # 8 is the default `max_videos` of the factory
SEEDS = range(3)


def hashtags_and_sound(videos):
    tags = videos["hashtags"].map(" ".join)
    return (tags + " " + videos["song"].fillna("")).to_frame("text")


def text_vectors(catalog):
    """Embed each video's text, without challenge tags."""
    seen = catalog.encoder_view(np.arange(len(catalog)))
    embedder = CaptionEmbedder(demo_caption_model(), pooling="mean", verbose=1)
    vectors = embedder.fit_transform(hashtags_and_sound(seen))
    return pd.DataFrame(vectors).add_prefix("text")


def with_text(catalog, vectors):
    """Keep the vectors in a catalog."""
    truth = ["video_id", "user_id", "challenge", "create_time", "song"]
    videos = catalog.videos[truth].join(vectors)
    columns = list(vectors.columns)
    catalog = VideoCatalog(videos, candidates=catalog.candidates)
    return catalog, make_column_transformer(("passthrough", columns))


class BaseRate:
    """Predict each challenge's share of participants among the training users."""

    def fit(self, X, y):
        self.rates_ = pd.Series(y).groupby(X["challenge"].to_numpy()).mean()
        self.overall_ = y.mean()
        return self

    def predict_proba(self, X):
        rate = X["challenge"].map(self.rates_).fillna(self.overall_).to_numpy()
        return np.c_[1 - rate, rate]


def cosine(user, challenge):
    length = np.linalg.norm(user, axis=1) * np.linalg.norm(challenge, axis=1)
    return (user * challenge).sum(axis=1) / np.maximum(length, 1e-9)


def study(data, cv):
    """Score all models; return their out-of-fold scores by name."""
    users = data.pairs["user_id"]
    scores = {"base rate of the challenge": out_of_fold(BaseRate(), data, cv, users)}
    user, challenge, fill = mean_vectors(data, data.features)
    scores["cosine of user and challenge"] = cosine(user, challenge)
    scores["fewer videos in the history"] = -fill
    scores["logistic, user alone"] = logistic(user, data, cv, users)
    met = np.hstack([user, challenge, user * challenge, np.abs(user - challenge)])
    scores["logistic, both sides"] = logistic(met, data, cv, users)
    for fusion in ("concat", "attention"):
        for seed in SEEDS:
            model = make_deep_challenger(
                data.catalog,
                data.features,
                fusion=fusion,
                adoption=False,
                linear_path=False,
                held_out="rows",
                random_state=seed,
            )
            name = f"deepChallenger, {fusion}, seed {seed}"
            scores[name] = out_of_fold(model, data, cv, users)
    return scores


def show(data, scores):
    """Print a row a model, means over seeds, and intervals of two of them."""
    table = pd.DataFrame([line(name, data, score) for name, score in scores.items()])
    print("Unseen users, 3 folds, pooled out-of-fold predictions:")
    print(table.round(4).to_string(index=False))
    for fusion in ("concat", "attention"):
        found = table[table["model"].str.contains(fusion)].drop(columns="model")
        means = found.mean().round(4).to_dict()
        print(f"deepChallenger, {fusion}, mean of {len(found)} seeds: {means}")
    for name in ("logistic, both sides", "deepChallenger, attention, seed 0"):
        report = participation_report(
            data.y, scores[name], groups=data.pairs["user_id"], random_state=0
        )
        print(f"{name}, 95 % intervals by user:")
        rows = report.loc[["roc_auc", "average_precision"]]
        print(rows.round(4).to_string(), flush=True)


def main():
    start = time.perf_counter()
    videos = load_tiktok_export(data_file("creators_2020.parquet"))
    print(f"{len(videos)} videos")
    vectors = None
    for min_history in MIN_HISTORY:
        data = make_participation(videos, min_history=min_history)
        n_users = data.pairs["user_id"].nunique()
        print(
            f"\nmin_history={min_history}: {len(data.challenges)} challenges found; "
            f"{len(data.y)} pairs of {n_users} users, {data.y.mean():.2%} join"
        )
        late = data.pairs["time"] + pd.Timedelta("30D") > videos["create_time"].max()
        print(f"{late.mean():.0%} of the windows end after the export does")
        print("tags:", ", ".join(data.challenges["challenge"]))
        if vectors is None:  # the challenges, whose tags are taken out, stay the same
            vectors = text_vectors(data.catalog)
        data.catalog, data.features = with_text(data.catalog, vectors)
        show(data, study(data, GroupKFold(3)))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
