"""Who joins which challenge among 1,266 real creators, from hashtags and sounds alone.

Reads ``creators_2020.parquet`` from the folder that SKCHALLENGE_DATA names, finds the
challenges, embeds each video's hashtags and sound with the offline sentence encoder of
the extra `demo`, and predicts participation of unseen users. Once with the default
`min_history`, where the number of earlier videos tells who posts much later (the export
holds each creator's latest videos only), and once with as many as the model reads.

    SKCHALLENGE_DATA=path/to/data python benchmarks/participation_creators.py
"""

import time

import numpy as np
import pandas as pd
from common import data_file, line, out_of_fold
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GroupKFold

from skchallenge import (
    CaptionEmbedder,
    HistoryEncoder,
    VideoCatalog,
    load_tiktok_export,
    make_deep_challenger,
    make_participation,
)
from skchallenge.embed import demo_caption_model
from skchallenge.metrics import participation_report

MIN_HISTORY = (8, 3)  # 8 is the default `max_videos` of the factory


def hashtags_and_sound(videos):
    tags = videos["hashtags"].map(" ".join)
    return (tags + " " + videos["song"].fillna("")).to_frame("text")


def embed_text(catalog):
    """Embed each video's text, without challenge tags, once; keep it in a catalog."""
    seen = catalog.without_truth(np.arange(len(catalog)))
    embedder = CaptionEmbedder(demo_caption_model(), pooling="mean", verbose=1)
    vectors = embedder.fit_transform(hashtags_and_sound(seen))
    columns = [f"text{i}" for i in range(vectors.shape[1])]
    truth = ["video_id", "user_id", "challenge", "create_time", "song"]
    videos = catalog.videos[truth].join(pd.DataFrame(vectors, columns=columns))
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


def mean_vectors(data, features):
    """Average each side's videos under the protocol; also return the user's fill."""
    options = {"before": "time", "aggregation": "mean"}
    user = HistoryEncoder(data.catalog, features, by="user_id", **options)
    challenge = HistoryEncoder(
        data.catalog, features, by="challenge", exclude="user_id", **options
    )
    blocks = user.fit_transform(data.pairs)
    return blocks[:, :-1], challenge.fit_transform(data.pairs)[:, :-1], blocks[:, -1]


def cosine(user, challenge):
    length = np.linalg.norm(user, axis=1) * np.linalg.norm(challenge, axis=1)
    return (user * challenge).sum(axis=1) / np.maximum(length, 1e-9)


def study(videos, min_history):
    """Print the scores of all models, for candidates with so many earlier videos."""
    data = make_participation(videos, min_history=min_history)
    users = data.pairs["user_id"]
    print(
        f"\nmin_history={min_history}: {len(data.challenges)} challenges found; "
        f"{len(data.y)} pairs of {users.nunique()} users, {data.y.mean():.2%} join"
    )
    data.catalog, features = embed_text(data.catalog)
    cv = GroupKFold(3)
    scores = {"base rate of the challenge": out_of_fold(BaseRate(), data, cv, users)}
    user, challenge, fill = mean_vectors(data, features)
    scores["cosine of user and challenge"] = cosine(user, challenge)
    scores["fewer videos in the history"] = -fill
    for fusion in ("concat", "attention"):
        model = make_deep_challenger(
            data.catalog, features, fusion=fusion, batch_size="auto", random_state=0
        )
        scores[f"deepChallenger, {fusion}"] = out_of_fold(model, data, cv, users)
    table = pd.DataFrame([line(name, data, score) for name, score in scores.items()])
    print("Unseen users, 3 folds, pooled out-of-fold predictions:")
    print(table.round(4).to_string(index=False))
    best = scores["deepChallenger, attention"]
    report = participation_report(data.y, best, groups=users, random_state=0)
    print("deepChallenger, attention, 95 % intervals by user:")
    print(report.loc[["roc_auc", "average_precision"]].round(4).to_string(), flush=True)


def main():
    start = time.perf_counter()
    videos = load_tiktok_export(data_file("creators_2020.parquet"))
    print(f"{len(videos)} videos")
    for min_history in MIN_HISTORY:
        study(videos, min_history)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
