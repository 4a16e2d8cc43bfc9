"""Study C: what a peer does with the same question, in lines, seconds and score.

Unseen users and later challenges of ``creators_2020.parquet`` (SKCHALLENGE_DATA), as in
``participation_study.py``. Each peer is given what its users would give it: one row a
pair, the words of the user's eight newest videos before the cut-off, without tags of
studied challenges (that rule is ours, and is applied for everybody), the challenge, and
the time. Then the same with the columns of `AdoptionHistory` beside them.

- skrub's `tabular_pipeline`: vectorises any table, and boosts trees;
- all-MiniLM-L6-v2 (sentence-transformers' model; extra `demo`) and TfidfVectorizer,
  each with a logistic regression whose penalty is tuned;
- `make_deep_challenger`.

    pip install skrub && SKCHALLENGE_DATA=path/to/data python benchmarks/peers.py
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
import warnings

import numpy as np
import pandas as pd
import skrub
from common import data_file
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skchallenge import (
    AdoptionHistory,
    CaptionEmbedder,
    load_tiktok_export,
    make_deep_challenger,
    make_participation,
)
from skchallenge.baselines import TextBaseline
from skchallenge.embed import demo_caption_model
from skchallenge.model_selection import TimeSplit

START = pd.Timestamp("2020-09-01")


def tables(data):
    """Return the table of words, and the one with the columns of adoption."""
    reader = TextBaseline(data.catalog)
    rules = reader._sides()[0]  # the rules of histories, which are ours
    words = data.pairs.assign(words=reader._texts(rules.read(data.pairs), rules))
    columns = [
        AdoptionHistory(data.catalog, before="time", by=by)
        .set_output(transform="pandas")
        .fit_transform(data.pairs)
        for by in ("user_id", "challenge")
    ]
    words = words.drop(columns="user_id")  # a code of it tells nothing of new users
    return words, words.join(columns)


def linear(step, numbers=()):
    """Logistic regression of the words by one step, the challenge, and numbers."""
    known = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (step, "words"), (known, ["challenge"]), (StandardScaler(), list(numbers))
    )
    return make_pipeline(
        columns,
        LogisticRegressionCV(
            Cs=(0.1, 1, 10),
            l1_ratios=(0,),
            scoring="average_precision",
            use_legacy_attributes=False,
            max_iter=1000,
        ),
    )


def peers(data):
    """Yield (name, table, model, lines of code of a user)."""
    words, both = tables(data)
    numbers = [c for c in both if c not in words]
    embedder = CaptionEmbedder(
        demo_caption_model(), pooling="mean", store=f"{tempfile.gettempdir()}/peers.db"
    )
    for title, table, columns in (("words", words, ()), ("+ adoption", both, numbers)):
        boosted = skrub.tabular_pipeline("classifier")
        yield f"skrub, {title}", table, boosted, 4
        yield f"MiniLM, {title}", table, linear(embedder, columns), 7
        tfidf = TfidfVectorizer(sublinear_tf=True, min_df=2)
        yield f"TF-IDF, {title}", table, linear(tfidf, columns), 7
    model = make_deep_challenger(data.catalog, random_state=0)
    yield "make_deep_challenger", data.pairs, model, 2


def main():
    warnings.simplefilter("ignore")
    data = make_participation(load_tiktok_export(data_file("creators_2020.parquet")))
    users = data.pairs["user_id"]
    splits = {
        "unseen users": list(GroupKFold(3).split(data.pairs, groups=users)),
        "later challenges": list(TimeSplit("30D", start=START).split(data.pairs)),
    }
    rows = []
    for name, table, model, lines in peers(data):
        row, start = {"peer": name, "lines": lines}, time.perf_counter()
        for split, folds in splits.items():
            scores = []
            for train, test in folds:
                model.fit(table.iloc[train], data.y[train])
                proba = model.predict_proba(table.iloc[test])[:, 1]
                scores.append(
                    (
                        average_precision_score(data.y[test], proba),
                        roc_auc_score(data.y[test], proba),
                    )
                )
            row[f"AP, {split}"], row[f"AUC, {split}"] = np.mean(scores, axis=0)
        rows.append(row | {"seconds": time.perf_counter() - start})
        print(pd.DataFrame(rows).round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
