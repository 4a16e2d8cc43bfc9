"""What tells whether a video of 1,266 real creators goes viral, and what only seems to.

Reads ``creators_2020.parquet`` and ``trending_2020.json`` from the folder that
SKCHALLENGE_DATA names. The label is views per follower above the median of the training
rows. AUC, mean of three folds; the models of a row share their folds.

    SKCHALLENGE_DATA=path/to/data python benchmarks/virality_creators.py
"""

import time
import warnings

import numpy as np
import pandas as pd
from common import data_file
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import (
    MultimodalVirality,
    VideoCatalog,
    load_tiktok_export,
    make_virality_stack,
)
from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.metrics import virality_report
from skchallenge.tabular import MetadataFeaturizer, PastCreatorStats, ViralityLabeler

PRE_POST = ["user_id", "duration_s", "hashtags", "create_time"]
SCRAPED = [*PRE_POST, "n_followers", "n_total_likes", "n_total_videos"]
OUTCOMES = ["n_plays", "n_likes", "n_comments", "n_shares"]
YOUNG = pd.Timedelta("14D")


def on_metadata(model):
    """Give a model the features of all columns but the user."""
    columns = make_column_transformer((MetadataFeaturizer(), without_user))
    return make_pipeline(columns, model)


def without_user(X):
    return [column for column in X if column != "user_id"]


def linear():
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    return make_pipeline(imputer, StandardScaler(), LogisticRegression(max_iter=1000))


def models():
    return {
        "logistic": on_metadata(linear()),
        "boosting": on_metadata(HistGradientBoostingClassifier(random_state=0)),
        "stack": make_virality_stack(),
    }


def fold_aucs(fitted_models, X, videos, folds):
    """Return the AUC of each model in each fold; labels are learnt in the fold."""
    aucs = {name: [] for name in fitted_models}
    for train, test in folds:
        labeler = ViralityLabeler().fit(videos.iloc[train])
        y, y_test = (labeler.transform(videos.iloc[rows]) for rows in (train, test))
        for name, model in fitted_models.items():
            p = model.fit(X.iloc[train], y).predict_proba(X.iloc[test])[:, 1]
            aucs[name].append(roc_auc_score(y_test, p))
    return {name: np.array(values) for name, values in aucs.items()}


def line(name, aucs):
    """Put the stack beside the better of the two plain models, fold by fold."""
    means = {model: values.mean() for model, values in aucs.items()}
    plain = max(("logistic", "boosting"), key=means.get)
    difference = (aucs["stack"] - aucs[plain]).mean()
    return {"columns": name, **means, "stack - better": difference}


def feature_tables(videos):
    catalog = VideoCatalog(videos.assign(challenge=None))
    tables = {"pre-post": videos[PRE_POST], "+ creator at the scrape": videos[SCRAPED]}
    for min_age in ("7D", "0D"):
        past = PastCreatorStats(catalog, min_age=min_age)
        past = past.set_output(transform="pandas")
        statistics = past.fit_transform(videos[["user_id", "create_time"]])
        tables[f"+ past, {min_age}"] = videos[SCRAPED].join(statistics)
        # Sums as of the scrape count this very video: what does the past tell alone?
        tables[f"pre-post + past, {min_age}"] = videos[PRE_POST].join(statistics)
        followers = videos[[*PRE_POST, "n_followers"]]
        tables[f"pre-post + followers + past, {min_age}"] = followers.join(statistics)
    return tables


def pasts_length(videos, tables):
    """Tell the label by how short the past is, which its statistics show."""
    folds = both_splits(videos)["unseen creators"]
    print("\nHow short the past is, no counts, unseen creators, AUC:")
    for min_age in ("7D", "0D"):
        past = tables[f"+ past, {min_age}"]
        mean = past["past_plays_mean"]
        told = {
            "none": mean.isna(),
            "one": np.isclose(mean, past["past_plays_last"]),
            "up to five": np.isclose(mean, past["past_plays_recent"]),
        }
        X = pd.DataFrame(told).astype(float)
        (aucs,) = fold_aucs({"": LogisticRegression()}, X, videos, folds).values()
        print(f"  min_age={min_age!r}: {aucs.mean():.4f}", flush=True)


def compare(videos, tables):
    folds = both_splits(videos)["unseen creators"]
    rows = [
        line(name, fold_aucs(models(), X, videos, folds)) for name, X in tables.items()
    ]
    print(pd.DataFrame(rows).round(4).to_string(index=False), flush=True)


def network(title, videos, tables, folds):
    """Put MultimodalVirality beside the better plain model, fold by fold."""
    scaled = make_pipeline(
        MetadataFeaturizer(), SimpleImputer(strategy="median"), StandardScaler()
    )
    columns = make_column_transformer(
        (scaled, without_user), ("passthrough", ["user_id"])
    ).set_output(transform="pandas")  # whole creators are held out
    net = MultimodalVirality(groups="user_id", batch_size="auto", random_state=0)
    plain = {name: model for name, model in models().items() if name != "stack"}
    rows = []
    for name in ("pre-post", "+ creator at the scrape"):
        compared = {**plain, "network": make_pipeline(columns, net)}
        aucs = fold_aucs(compared, tables[name], videos, folds)
        means = {model: values.mean() for model, values in aucs.items()}
        better = max(("logistic", "boosting"), key=means.get)
        difference = (aucs["network"] - aucs[better]).mean()
        rows.append({"columns": name, **means, "network - better": difference})
    print(f"\nThe metadata network, {len(videos)} videos, {title}, AUC:")
    print(pd.DataFrame(rows).round(4).to_string(index=False), flush=True)


def both_splits(videos):
    at_random = KFold(3, shuffle=True, random_state=0)
    return {
        "unseen creators": list(GroupKFold(3).split(videos, groups=videos["user_id"])),
        "random folds": list(at_random.split(videos)),
    }


def without_young(videos, tables):
    old = videos["create_time"] < videos["create_time"].max() - YOUNG
    kept = {name: X[old].reset_index(drop=True) for name, X in tables.items()}
    return videos[old].reset_index(drop=True), kept


def contrast(videos, tables):
    """Show what users in training and test at once do, outside and inside the stack."""
    X = tables["+ creator at the scrape"]
    grouped, at_random = both_splits(videos).values()
    boosting = {"boosting": models()["boosting"]}
    shuffled = make_virality_stack().set_params(
        cv=StratifiedKFold(5, shuffle=True, random_state=0)
    )
    text = X.assign(text=videos["hashtags"].map(" ".join))
    print("\nWith the creator at the scrape:")
    for name, fitted, table, folds in (
        ("boosting, folds by creator", boosting, X, grouped),
        ("boosting, random folds", boosting, X, at_random),
        ("stack, inner folds shuffled", {"stack": shuffled}, X, grouped),
        (
            "stack, hashtags as text",
            {"stack": make_virality_stack(caption="text")},
            text,
            grouped,
        ),
    ):
        (aucs,) = fold_aucs(fitted, table, videos, folds).values()
        print(f"  {name:30} {aucs.mean():.4f}", flush=True)


def guard(videos, tables):
    """Try outcomes by name, outcomes renamed, and honest columns."""
    y = ViralityLabeler().fit(videos).transform(videos)
    print("\nThe guard:")
    for column in OUTCOMES:
        try:
            MetadataFeaturizer().fit(videos[["n_followers", column]], y)
        except LeakageError:
            print(f"  {column}: LeakageError")
    honest = tables["+ past, 0D"].drop(columns=["user_id", "hashtags", "create_time"])
    honest = honest.rename(columns={"duration_s": "length", "n_total_likes": "fame"})
    tried = {"honest columns and past statistics, renamed or not": honest}
    for column in OUTCOMES:
        copy = videos[column].rename("mine")
        tried[f"renamed {column}"] = videos[["n_followers"]].join(copy)
    for name, X in tried.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            MetadataFeaturizer().fit(X, y)
        found = [w for w in caught if issubclass(w.category, LeakageWarning)]
        print(f"  {name}: {'LeakageWarning' if found else 'nothing'}", flush=True)


def trending():
    videos = load_tiktok_export(data_file("trending_2020.json"))
    print(f"\ntrending_2020: {len(videos)} videos")
    try:
        ViralityLabeler().labelable(videos)
    except ValueError as error:
        print(f"  {error}")
    y = ViralityLabeler("views", quantile=0.9).fit(videos).transform(videos)
    print(f"  top 10 % of views: {y.sum()} viral videos")


def main():
    start = time.perf_counter()
    videos = load_tiktok_export(data_file("creators_2020.parquet"))
    videos = videos[ViralityLabeler().labelable(videos)].reset_index(drop=True)
    tables = feature_tables(videos)
    print(f"{len(videos)} videos of {videos['user_id'].nunique()} creators.")
    print("\nUnseen creators, AUC:")
    compare(videos, tables)
    old, old_tables = without_young(videos, tables)
    share = 1 - len(old) / len(videos)
    print(f"\nThe same without the {share:.0%} younger than {YOUNG.days} days:")
    compare(old, old_tables)
    pasts_length(videos, tables)
    for data, features in ((videos, tables), (old, old_tables)):
        for title, folds in both_splits(data).items():
            network(title, data, features, folds)
    contrast(videos, tables)
    guard(videos, tables)
    trending()
    print("\nstack, + past, 7D, in full:")
    report = virality_report(
        make_virality_stack(),
        tables["+ past, 7D"],
        videos,
        ViralityLabeler(),
        GroupKFold(3),
        groups=videos["user_id"],
        n_resamples=100,
        random_state=0,
    )
    print(report.round(4).to_string())
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
