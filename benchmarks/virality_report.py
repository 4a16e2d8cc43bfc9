"""The virality report's comparison of models, on three exports and under two splits.

Every network of the report and the library's stack, with its labels learnt anew on each
training side: views per follower above the median, or, where an export has no
followers, the top quarter of views. Beside them: what guessing reaches, what followers
alone tell, and the figures that the report prints.

    python benchmarks/virality_report.py

Real exports are read from the folder SKCHALLENGE_DATA and skipped where it is not.
"""

import sys
import tempfile
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
import torch
from common import DATA
from rendered import write_export
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import MultimodalVirality, load_tiktok_export, make_virality_stack
from skchallenge.metrics import virality_report
from skchallenge.tabular import (
    MetadataFeaturizer,
    SentimentFeaturizer,
    TagBinarizer,
    ViralityLabeler,
)

# Known before posting; then half of the label; then about the user, as of the scrape.
METADATA = ["caption", "hashtags", "mentions", "effect_stickers", "sound_original"]
METADATA += ["sound_duration_s", "duration_s", "width", "height", "create_time"]
METADATA += ["n_followers"]
METADATA += ["verified", "n_following", "n_total_likes", "n_user_likes"]
METADATA += ["n_total_videos"]
TAGS = ["hashtags", "mentions", "effect_stickers"]
N_CREATORS = 150
RESNET_TRAIN, RESNET_TEST = 120, 75
N_RESAMPLES = 100

# The report's figures: accuracy, of its confusion matrices where it prints one.
REPORT = {
    "LR, metadata": "0.749 (fig. 7)",
    "DL, metadata": "0.744 (fig. 9)",
    "LR, metadata + captions": "0.703 (fig. 11)",
    "DL, metadata + captions": "0.774 (fig. 13)",
    "multimodal": "0.764 (fig. 15)",
    "CNN, cover alone": "0.60 (text)",
    "ResNet-50, cover alone": "0.65 (text)",
    "MM_FULL": "0.46 (text)",
    "stack": "-",
}
LOGISTIC = {"metadata_layers": (), "lr": 0.01}
COVER = {"image": -1, "max_iter": 10}
RESNET = {"image_encoder": "resnet50", "weights": None, "max_iter": 2}


def numbers(columns, *, captions):
    """Turn columns of an export into scaled numbers."""
    steps = [("metadata", MetadataFeaturizer(), columns)]
    tags = [c for c in columns if c in TAGS]
    if tags:
        steps.append(
            ("tags", TagBinarizer(min_frequency=10, sparse_output=False), tags)
        )
    if captions:
        steps.append(("sentiment", SentimentFeaturizer(), ["caption"]))
    return make_pipeline(
        ColumnTransformer(steps), SimpleImputer(strategy="median"), StandardScaler()
    )


def models(columns):
    """Build the report's models: name -> pipeline."""
    build = partial(MultimodalVirality, linear_path=False, random_state=0)

    def on_numbers(captions, **options):
        return make_pipeline(numbers(columns, captions=captions), build(**options))

    def on_covers(**options):
        both = [
            ("numbers", numbers(columns, captions=True), columns),
            ("cover", "passthrough", ["cover"]),
        ]
        return make_pipeline(ColumnTransformer(both), build(**COVER, **options))

    return {
        "LR, metadata": on_numbers(False, **LOGISTIC),
        "DL, metadata": on_numbers(False),
        "LR, metadata + captions": on_numbers(True, **LOGISTIC),
        "DL, metadata + captions": on_numbers(True),
        "multimodal": on_covers(),
        "CNN, cover alone": on_covers(metadata_layers=None),
        "ResNet-50, cover alone": on_covers(metadata_layers=None).set_params(
            **{f"multimodalvirality__{k}": v for k, v in RESNET.items()}
        ),
        "MM_FULL": on_covers(fusion="full"),
        "stack": make_virality_stack(caption="caption"),
    }


def compare(videos, labeler, splits, gaps):
    """Print one table a split: a row a model, or why there is none.

    Parameters
    ----------
    videos : DataFrame
        Rows that have a label.
    labeler : ViralityLabeler
    splits : dict of str to splitter
    gaps : dict of str to str
        Model -> what the export lacks for it.
    """
    columns = [c for c in METADATA if videos[c].notna().any()]
    X = videos[["user_id", *columns, "cover"]]
    for name, splitter in splits.items():
        folds = list(splitter.split(X, groups=videos["user_id"]))
        n_test = sum(len(test) for _, test in folds)
        print(f"\n{name}: {len(folds)} fold(s), {n_test} test rows in all")
        rows = {}
        for model, estimator in models(columns).items():
            if model not in gaps:
                table = X[["user_id", *columns]] if model == "stack" else X
                cv = few(folds) if model.startswith("ResNet") else folds
                began = time.perf_counter()
                rows[model] = virality_report(
                    estimator,
                    table,
                    videos,
                    labeler,
                    cv,
                    groups=videos["user_id"],
                    n_resamples=N_RESAMPLES,
                    random_state=0,
                )
                seconds = time.perf_counter() - began
                print(f"  {model}: {seconds:.0f} s", file=sys.stderr, flush=True)
        print(table_of(rows, gaps).to_string(), flush=True)


def few(folds):
    return [(train[:RESNET_TRAIN], test[:RESNET_TEST]) for train, test in folds]


def table_of(rows, gaps):
    """Put the reports side by side, floors and baseline below."""
    lines = {}
    for model, figure in REPORT.items():
        if model in rows:
            lines[model] = cells(rows[model]) | {"report's accuracy": figure}
        else:
            lines[model] = {"accuracy": f"- {gaps[model]}", "report's accuracy": figure}
    full = rows["LR, metadata"]  # all test rows, unlike the ResNet's
    for line, column in (("followers alone", "followers"), ("guessing", "chance")):
        lines[line] = {m: f"{v:.3f}" for m, v in full[column].items()}
    if full["followers"].isna().all():
        lines["followers alone"] = {"accuracy": "- the export has no followers"}
    return pd.DataFrame.from_dict(lines, orient="index").fillna("")


def cells(report):
    return {
        metric: f"{row['score']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for metric, row in report.iterrows()
    }


def rendered():
    with tempfile.TemporaryDirectory() as folder:
        videos = load_tiktok_export(write_export(folder))
        print(
            f"\n== Rendered export: {len(videos)} videos of "
            f"{videos['user_id'].nunique()} users, followers, captions and covers.\n"
            "One hold-out of 195 rows, as in the report. Networks of covers run for at "
            f"most {COVER['max_iter']} passes.\nResNet-50: random weights (no network "
            f"is asked), {RESNET['max_iter']} passes, {RESNET_TRAIN} training and "
            f"{RESNET_TEST} test covers.\nThe stack goes without covers, to save time."
        )
        splits = {
            "Random split": ShuffleSplit(1, test_size=195, random_state=0),
            "Split by creator": GroupShuffleSplit(1, test_size=65, random_state=0),
        }
        compare(videos, ViralityLabeler(), splits, gaps={})


NO_COVERS = "the export has no covers"
WITHOUT_COVERS = dict.fromkeys(
    ["multimodal", "CNN, cover alone", "ResNet-50, cover alone", "MM_FULL"], NO_COVERS
)
THREE_FOLDS = {
    "Random split": KFold(3, shuffle=True, random_state=0),
    "Split by creator": GroupKFold(3, shuffle=True, random_state=0),
}


def creators():
    videos = load_tiktok_export(DATA / "creators_2020.parquet")
    n_all, users = len(videos), videos["user_id"].unique()
    chosen = np.random.default_rng(0).choice(users, N_CREATORS, replace=False)
    videos = videos[videos["user_id"].isin(chosen)].reset_index(drop=True)
    labeler = ViralityLabeler()
    videos = videos[labeler.labelable(videos)].reset_index(drop=True)
    videos["caption"] = [" ".join(tags) for tags in videos["hashtags"]]
    print(
        f"\n== creators_2020: {len(videos)} of {n_all} videos, those of {N_CREATORS} "
        "creators drawn at random, to save time.\nIt has no captions: hashtags, put "
        "side by side, stand in for them."
    )
    compare(videos, labeler, THREE_FOLDS, WITHOUT_COVERS)


def trending():
    videos = load_tiktok_export(DATA / "trending_2020.json")
    print(f"\n== trending_2020: {len(videos)} videos.")
    try:
        ViralityLabeler().fit(videos)
    except ValueError as error:
        print(f"Views per follower cannot be had here: {error}")
    print("Label instead: the top quarter of views.")
    labeler = ViralityLabeler("views", quantile=0.75)
    compare(videos, labeler, THREE_FOLDS, WITHOUT_COVERS)


def main():
    torch.set_num_threads(1)  # small networks; and two threads do not repeat each other
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "The groups parameter is ignored")
    start = time.perf_counter()
    rendered()
    for study, file in (
        (creators, "creators_2020.parquet"),
        (trending, "trending_2020.json"),
    ):
        if (DATA / file).exists():
            study()
        else:
            print(f"\n== {file} is not in {DATA}: set SKCHALLENGE_DATA. Skipped.")
    print(
        "\nThe report's figures come from 195 test rows: the 95 % interval of an "
        "accuracy of 0.75 is 0.68 to 0.80 there,\nwhich holds the figures of all five "
        "models with columns: they rank none of them. Its columns included\nlikes, "
        "comments and shares of the video itself, which are refused here, so its "
        "figures are no target either."
    )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
