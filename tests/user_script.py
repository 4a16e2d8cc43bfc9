"""What users write, with the types they get: mypy checks it, strictly."""

from typing import Any, assert_type

import numpy as np
import pandas as pd

import skchallenge
from skchallenge import DeepChallenger, HistoryEncoder, MultimodalVirality, ProxyEncoder
from skchallenge.feed import EngagementScorer, GenreProfiler, engagement_signals
from skchallenge.metrics import participation_report
from skchallenge.model_selection import TimeSplit
from skchallenge.tabular import MetadataFeaturizer

Floats = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]


def participation(path: str) -> pd.DataFrame:
    videos = skchallenge.load_tiktok_export(path, media_dir="videos")
    assert_type(videos, pd.DataFrame)
    data = skchallenge.make_participation(videos, min_history=3)
    model = skchallenge.make_deep_challenger(data.catalog, random_state=0)
    [(train, test)] = TimeSplit("30D").split(data.pairs)
    model.fit(data.pairs.iloc[train], data.y[train])
    scores = model.predict_proba(data.pairs.iloc[test])[:, 1]
    return participation_report(data.y[test], scores)


def estimators(X: pd.DataFrame, y: Floats, catalog: skchallenge.VideoCatalog) -> None:
    assert_type(DeepChallenger((8,), random_state=0).fit(X, y), DeepChallenger)
    assert_type(MultimodalVirality(image="cover").fit(X, y), MultimodalVirality)
    assert_type(MetadataFeaturizer().fit(X), MetadataFeaturizer)
    encoder = HistoryEncoder(catalog, ProxyEncoder(8), by="user_id", before="time")
    assert_type(encoder.fit(X), HistoryEncoder)


def feed(log: pd.DataFrame) -> pd.DataFrame:
    signals = engagement_signals(log)
    scorer = skchallenge.feed.EngagementScorer({"like": 4})
    assert_type(scorer.fit(signals), EngagementScorer)
    profiler = GenreProfiler("user_id", "genre").fit(log, signals["completion"])
    assert_type(profiler, GenreProfiler)
    return profiler.recommend(log["user_id"], k=5)
