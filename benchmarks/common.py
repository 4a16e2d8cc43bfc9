"""What the studies share: vectors computed once, memory, and a table of scores."""

import contextlib
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import HistoryEncoder, VideoCatalog

PENALTIES = [1e-4, 1e-3, 1e-2, 1e-1]
DATA = Path(os.environ.get("SKCHALLENGE_DATA", "data"))


def data_file(name):
    """Return the path of a file of real data; end the study if it is not there."""
    if not (DATA / name).is_file():
        raise SystemExit(
            f"{DATA / name} is not there: set SKCHALLENGE_DATA to the folder with it."
        )
    return DATA / name


@contextlib.contextmanager
def children_watched(name):
    """Yield a dict of the last figure of each child process, on Linux.

    Decoders end with the call that needs them, and `getrusage` counts what the parent
    had, too.
    """
    figures, is_over = {}, threading.Event()

    def watch():
        while not is_over.wait(0.02):
            with contextlib.suppress(OSError, IndexError):  # one has ended
                for task in Path("/proc/self/task").iterdir():
                    for child in (task / "children").read_text().split():
                        figures[child] = status(name, child)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield figures
    finally:
        is_over.set()
        watcher.join()


def status(name, process="self"):
    """Return a figure of a process, in bytes."""
    text = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(text.partition(f"{name}:")[2].split()[0])


def with_vectors(catalog, blocks):
    """Embed all videos once and return a catalog that holds the vectors.

    Parameters
    ----------
    catalog : VideoCatalog
    blocks : dict of str to (transformer, column)
        Frozen embedders by name.

    Returns
    -------
    catalog : VideoCatalog
        The same videos and truth, with the vectors as numeric columns.
    features : dict of str to ColumnTransformer
        Passes the columns of each block on.
    """
    seen = catalog.encoder_view(np.arange(len(catalog)))
    truth = [catalog.video, catalog.user, catalog.challenge, catalog.time]
    tables, features = [catalog.videos[truth]], {}
    for name, (transformer, column) in blocks.items():
        vectors = transformer.fit_transform(seen[[column]])
        columns = [f"{name}{i}" for i in range(vectors.shape[1])]
        tables.append(pd.DataFrame(vectors, columns=columns))
        features[name] = make_column_transformer(("passthrough", columns))
    videos = pd.concat(tables, axis=1)
    return VideoCatalog(videos, candidates=catalog.candidates), features


def both(features):
    """Join several blocks of `with_vectors` into one transformer."""
    columns = [c for f in features for c in f.transformers[0][2]]
    return make_column_transformer(("passthrough", columns))


def out_of_fold(model, data, cv, groups):
    """Predict each row by a model that never saw its group."""
    proba = np.full(len(data.y), np.nan)
    for train, test in cv.split(data.pairs, data.y, groups):
        model.fit(data.pairs.iloc[train], data.y[train])
        proba[test] = model.predict_proba(data.pairs.iloc[test])[:, 1]
    return proba


def mean_vectors(data, features, **options):
    """Average each side's videos under the protocol; also return the user's fill."""
    options = {"before": "time", "aggregation": "mean", **options}
    user = HistoryEncoder(data.catalog, features, by="user_id", **options)
    challenge = HistoryEncoder(
        data.catalog, features, by="challenge", exclude="user_id", **options
    )
    blocks = user.fit_transform(data.pairs)
    return blocks[:, :-1], challenge.fit_transform(data.pairs)[:, :-1], blocks[:, -1]


def logistic(X, data, cv, groups):
    """Predict as `out_of_fold` does, with a penalty that is tuned in inner folds."""
    proba = np.full(len(data.y), np.nan)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    grid = {"logisticregression__C": PENALTIES}
    search = GridSearchCV(model, grid, cv=GroupKFold(3), scoring="roc_auc")
    for train, test in cv.split(X, data.y, groups):
        search.fit(X[train], data.y[train], groups=np.asarray(groups)[train])
        proba[test] = search.predict_proba(X[test])[:, 1]
    return proba


def within_challenge_auc(data, score):
    """Average the AUC over challenges, so that popularity alone scores 0.5."""
    rows = data.pairs.groupby("challenge").indices.values()
    both_classes = [r for r in rows if 0 < data.y[r].mean() < 1]
    return np.mean([roc_auc_score(data.y[r], score[r]) for r in both_classes])


def line(name, data, score):
    """Score one row of a table."""
    return {
        "model": name,
        "AUC": roc_auc_score(data.y, score),
        "AUC within challenge": within_challenge_auc(data, score),
        "average precision": average_precision_score(data.y, score),
    }
