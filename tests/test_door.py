"""What people hand over by mistake is refused at the door, and remedies work.

Each remedy of a message is executed: what it suggests must work.
"""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from skchallenge import (
    HistoryEncoder,
    VideoCatalog,
    describe_tags,
    make_deep_challenger,
    make_participation,
    make_virality_stack,
)
from skchallenge._torch import resolve_device
from skchallenge.exceptions import LeakageError
from skchallenge.feed import BatchRollout, FeedWorkflow, JourneyDisplay
from skchallenge.metrics import TrainingCurvesDisplay, virality_report
from skchallenge.tabular import PastCreatorStats, ViralityLabeler

DAY = pd.Timestamp("2024-01-01")
SMALL = {"max_iter": 1, "embedding_size": 2, "max_videos": 2, "random_state": 0}


def table_of_videos():
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", DAY + pd.Timedelta(days=3 * k, hours=u), [])
        for u in range(12)
        for k in range(8)
    ]
    rows += [
        (f"{w}{i}", DAY + pd.Timedelta(days=d + c, hours=i), [f"t{c}"])
        for c in (0, 1)
        for w, d in (("s", 9), ("u", 12))
        for i in range(4)
    ]
    columns = ["user_id", "create_time", "hashtags"]
    videos = pd.DataFrame(rows, columns=columns).rename_axis("video_id").reset_index()
    words = [" ".join(f"w{i}" for i in rng.integers(0, 300, 5)) for _ in rows]
    gaps = np.where(np.arange(len(rows)) % 5, 1.0, np.nan)
    return videos.assign(caption=words, tempo=rng.normal(size=len(rows)), gaps=gaps)


VIDEOS = table_of_videos()
DATA = make_participation(
    VIDEOS,
    challenges=["t0", "t1"],
    n_seeds=3,
    horizon="20D",
    min_history=3,
    until=VIDEOS["create_time"].max() + pd.Timedelta("20D"),
)
NUMBERS = make_column_transformer(("passthrough", ["tempo"]))


def fit(features, **options):
    model = make_deep_challenger(DATA.catalog, features, **SMALL, **options)
    return model.fit(DATA.pairs, DATA.y)


# The factory.


@pytest.mark.parametrize("text", [TfidfVectorizer, CountVectorizer, HashingVectorizer])
@pytest.mark.parametrize("side", ["user_features", "challenge_features"])
def test_sparse_text_features_are_refused_by_the_name_of_the_parameter(text, side):
    sparse = make_column_transformer((text(), "caption"))
    given = {"user_features": NUMBERS, side: sparse}
    match = rf"^{side} must return dense numbers, got a sparse.*TruncatedSVD"
    model = make_deep_challenger(DATA.catalog, **given, **SMALL)
    with pytest.raises(ValueError, match=match):
        model.fit(DATA.pairs, DATA.y)
    dense = make_pipeline(text(), TruncatedSVD(2, random_state=0))
    given[side] = make_column_transformer((dense, "caption"))
    make_deep_challenger(DATA.catalog, **given, **SMALL).fit(DATA.pairs, DATA.y)


@pytest.mark.parametrize("text", [TfidfVectorizer, CountVectorizer, HashingVectorizer])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_vectorizer_of_a_table_is_refused_before_fit(text, wrapped):
    part = make_pipeline(text(), TruncatedSVD(2)) if wrapped else text()
    features = make_column_transformer((part, ["caption"]))
    match = (
        rf"user_features hands {text.__name__} the table \['caption'\].*return dense "
        r"numbers: end it with TruncatedSVD, and name .*as in (make.*)\.$"
    )
    with pytest.raises(ValueError, match=match) as error:
        make_deep_challenger(DATA.catalog, features)
    suggestion = re.search(match, str(error.value))[1].replace("100", "2")
    fit(eval(suggestion))


def test_features_that_are_no_numbers_or_hold_gaps_are_refused_in_its_words():
    words = make_column_transformer(("passthrough", ["caption"]))
    with pytest.raises(
        ValueError, match=r"^user_features must return dense numbers, b"
    ):
        fit(words)
    gaps = make_column_transformer(("passthrough", ["gaps", "tempo"]))
    match = r"^user_features must return finite numbers.*SimpleImputer"
    with pytest.raises(ValueError, match=match):
        fit(gaps)
    fit(make_pipeline(gaps, SimpleImputer()))


@pytest.mark.parametrize(
    "features, what",
    [
        ("caption", "'caption'"),
        (["caption"], "list"),
        (TfidfVectorizer, "the class TfidfVectorizer"),
        (VIDEOS, "DataFrame"),
    ],
)
def test_features_must_be_transformers(features, what):
    match = rf"user_features must be a transformer .*CaptionEmbedder.*, got {what}"
    with pytest.raises(TypeError, match=match):
        make_deep_challenger(DATA.catalog, features)
    with pytest.raises(TypeError, match="^challenge_features must be a transformer"):
        make_deep_challenger(DATA.catalog, NUMBERS, features)


def test_videos_are_no_pairs():
    model = make_deep_challenger(DATA.catalog, NUMBERS, **SMALL)
    match = r"X lacks the columns \['time', 'challenge'\].*Pass the pairs of make_part"
    with pytest.raises(ValueError, match=match):
        model.fit(VIDEOS, np.arange(len(VIDEOS)) % 2)
    model.fit(DATA.pairs, DATA.y)
    with pytest.raises(ValueError, match=match):
        model.predict(VIDEOS)
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame"):
        model.predict(DATA.pairs.to_numpy())


# Catalogs.


def test_a_table_is_no_catalog_and_the_remedies_work():
    match = r"got DataFrame\. Pass make_participation\(videos\)\.catalog, or VideoCatal"
    with pytest.raises(TypeError, match=match):
        make_deep_challenger(VIDEOS)
    with pytest.raises(TypeError, match=match):
        HistoryEncoder(VIDEOS, NUMBERS, by="user_id", before="time").fit(DATA.pairs)
    catalog = VideoCatalog(VIDEOS, challenge=None)
    encoder = HistoryEncoder(catalog, NUMBERS, by="user_id", before="time")
    assert len(encoder.fit_transform(DATA.pairs)) == len(DATA.pairs)


def test_a_catalog_may_have_no_challenges():
    with pytest.raises(ValueError, match=r"lacks the columns .*pass challenge=None"):
        VideoCatalog(VIDEOS)
    catalog = VideoCatalog(VIDEOS, challenge=None)
    assert catalog.challenges == []
    assert not catalog.is_challenge_video.any()
    assert "caption" in catalog.encoder_view([0])
    late = VIDEOS.iloc[:1].assign(video_id=10_000)
    assert len(catalog.append(late)) == len(VIDEOS) + 1
    with pytest.raises(ValueError, match=r"got one with challenge=None. Pass make_par"):
        make_deep_challenger(catalog, NUMBERS)
    with pytest.raises(ValueError, match=r"by must be"):
        HistoryEncoder(catalog, NUMBERS, by="challenge", before="time").fit(DATA.pairs)


def test_what_needs_a_catalog_suggests_one_that_works():
    videos = VIDEOS.assign(n_plays=np.arange(len(VIDEOS)) % 7)
    keys = videos[["user_id", "create_time"]]
    remedy = r"VideoCatalog\(videos, challenge=None\)"
    with pytest.raises(TypeError, match=remedy):
        PastCreatorStats(videos).fit(keys)
    PastCreatorStats(VideoCatalog(videos, challenge=None)).fit(keys)
    with pytest.raises(TypeError, match=remedy):
        ViralityLabeler("creator_relative", catalog=videos).fit(videos)
    labeler = ViralityLabeler(
        "creator_relative", catalog=VideoCatalog(videos, challenge=None)
    )
    labeler.fit(videos[labeler.labelable(videos)])


def test_too_few_challenges_list_the_nearest():
    match = (
        r"min_participants=20 users .* max_spread='21D'\. Nearest: t0 8 users, spread "
        r"2 days .*; t1 8 users.*describe_tags\(videos\) lists all"
    )
    with pytest.raises(ValueError, match=match) as error:
        make_participation(VIDEOS)
    assert str(error.value).count("users, spread") == 2
    many = VIDEOS.assign(hashtags=[[f"tag{i}", "fyp"] for i in range(len(VIDEOS))])
    with pytest.raises(ValueError, match="Nearest") as error:
        make_participation(many)
    assert str(error.value).count("users, spread") == 10
    assert "fyp" not in str(error.value)
    loose = make_participation(
        VIDEOS,
        min_participants=8,
        n_seeds=3,
        horizon="20D",
        min_history=3,
        until=VIDEOS["create_time"].max() + pd.Timedelta("20D"),
    )
    assert loose.catalog.challenges == ["t0", "t1"]


def test_tags_are_described_as_they_are_found():
    tags = describe_tags(VIDEOS, min_participants=8)
    assert tags["challenge"].tolist() == ["t0", "t1"]
    assert tags["n_users"].tolist() == [8, 8]
    assert tags["is_found"].all()
    users = VIDEOS[[bool(tag) and tag[0] == "t0" for tag in VIDEOS["hashtags"]]]
    times = users["create_time"]
    expected = times.quantile(0.75) - times.quantile(0.25)
    assert tags["spread"][0] == expected
    assert not describe_tags(VIDEOS)["is_found"].any()
    wide = describe_tags(VIDEOS, min_participants=8, max_spread=expected / 2)
    assert not wide["is_found"].any()
    with pytest.raises(ValueError, match="max_spread must be positive"):
        describe_tags(VIDEOS, max_spread="0D")


# Reports and displays.

PLAYS = pd.DataFrame({"n_plays": np.arange(60.0) % 17, "n_followers": 10.0})
TEMPO = pd.DataFrame({"tempo": np.random.default_rng(0).normal(size=60)})


def report(model=None, X=TEMPO, labeler=None, **options):
    model = LogisticRegression() if model is None else model
    labeler = ViralityLabeler("views") if labeler is None else labeler
    options = {"n_resamples": 2, "random_state": 0, **options}
    return virality_report(model, X, PLAYS, labeler, 3, **options)


@pytest.mark.parametrize(
    "model, labeler, match",
    [
        (LinearSVC(), None, r"estimator must .*LinearSVC. Wrap it in .*Calibrated"),
        (LogisticRegression, None, r"got the class LogisticRegression. Pass an obj"),
        (None, PLAYS["n_plays"] > 3, r"labeler must be .* got Series. Pass Virality"),
        (None, ViralityLabeler, r"got the class ViralityLabeler. Pass .*Labeler\(\)"),
        ("logistic", None, r"estimator must be an estimator with fit and predict_prob"),
    ],
)
def test_reports_say_what_they_take(model, labeler, match):
    with pytest.raises(TypeError, match=match):
        report(model, labeler=labeler)


def test_the_remedies_of_reports_work():
    report(CalibratedClassifierCV(LinearSVC(), cv=2))
    X = TEMPO.assign(play_count=PLAYS["n_plays"])
    with pytest.raises(LeakageError, match=r"nowcast=\('play_count',\)"):
        report(X=X)
    nowcast = report(X=X, nowcast=("play_count",))
    assert nowcast.attrs["column_roles"]["play_count"] == "post_outcome"
    assert nowcast.attrs["unrecognised"] == ["tempo"]
    assert "Renamed likes" in nowcast.attrs["not_tested"]
    with pytest.raises(ValueError, match="nowcast must hold names of columns of X"):
        report(nowcast="n_likes")


def test_times_are_refused_where_a_model_reads_them_as_numbers():
    X = TEMPO.assign(create_time=np.arange(60) + 1.5e9)
    with pytest.raises(LeakageError, match="'create_time'"):
        report(X=X)
    passed = make_column_transformer(("passthrough", ["create_time"]))
    with pytest.raises(LeakageError, match="'passthrough__create_time'"):
        report(make_pipeline(passed, LogisticRegression()), X=X)
    dropped = make_column_transformer(("passthrough", ["tempo"]))
    report(make_pipeline(dropped, LogisticRegression()), X=X)
    hours = FunctionTransformer(
        lambda X: X.assign(create_time=X["create_time"] % 86400),
        feature_names_out=lambda _, names: [f"hour_{name}" for name in names],
    )
    report(make_pipeline(hours, LogisticRegression()), X=X)


def test_reports_name_their_lines(capsys):
    report(verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        "[virality_report] fold 1 of 3, LogisticRegression on 40"
    )


def test_stacks_name_their_lines(capsys):
    X = TEMPO.assign(caption=["a cat", "my dog"] * 30, user_id=np.arange(60) % 20)
    y = np.arange(60) % 2
    make_virality_stack(caption="caption", verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    named = re.compile(r"\[make_virality_stack, (linear|trees|caption)\] fitted on")
    assert len(lines) == 3 * 6  # five inner folds and all rows
    assert all(map(named.match, lines))
    with pytest.raises(TypeError, match=r"caption must be the name of a .*got DataFr"):
        make_virality_stack(caption=X)


def simulated(**options):
    videos = pd.DataFrame({"video_id": ["a", "b"], "creator_id": ["ann", "bob"]})
    viewers = pd.DataFrame({"viewer_id": range(400), "persona": "all"})
    rollout = BatchRollout((10, 100), threshold=3.0, random_state=0).fit()
    rates = np.full((1, 5), 0.3)
    return rollout.simulate(
        videos, viewers, lambda v, w, d: rates.repeat(len(v), axis=0), **options
    )


def test_simulations_name_their_bar(capsys):
    simulated(n_worlds=2, verbose=1)
    assert "BatchRollout.simulate: 100%" in capsys.readouterr().err
    simulated()
    assert not capsys.readouterr().err
    assert FeedWorkflow.run.__kwdefaults__["verbose"] == 0


def test_displays_say_how_they_are_made():
    result = simulated()
    match = r"got Bunch. Draw .* with JourneyDisplay.from_result\(result\)"
    with pytest.raises(TypeError, match=match):
        JourneyDisplay(result)
    JourneyDisplay.from_result(result)
    with pytest.raises(TypeError, match="result must be what BatchRollout.simulate"):
        JourneyDisplay.from_result(result.journeys)
    with pytest.raises(ValueError, match="max_videos"):
        JourneyDisplay.from_result(result, max_videos=0)
    with pytest.raises(ValueError, match="events lacks the columns"):
        JourneyDisplay(result.journeys[["world"]], result.journeys["exposures"])
    model = LogisticRegression().fit(TEMPO, PLAYS["n_plays"] > 3)
    with pytest.raises(TypeError, match=r"TrainingCurvesDisplay.from_estimator\(model"):
        TrainingCurvesDisplay(model)
    with pytest.raises(ValueError, match=r"one number an epoch, got lengths \[1, 2\]"):
        TrainingCurvesDisplay([0.3], [0.5, 0.6])


# Imports and devices.


@pytest.mark.parametrize(
    "module, source",
    [
        ("skorch", "import os\nos.no_such_name"),
        ("torch", "None.a_name"),
        ("av", "import json\njson.JSONDecoder.gone"),
    ],
)
def test_a_broken_dependency_is_named(tmp_path, module, source):
    (tmp_path / f"{module}.py").write_text(source)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from skchallenge import DeepChallenger, VideoFrameEmbedder"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    cause = r"ImportError: skchallenge\.\w+ cannot be imported: .*attribute"
    assert re.match(cause, last)
    assert f"{module}.py" in done.stderr


def test_a_dependency_that_fails_without_docstrings_is_named():
    code = "from skchallenge import DeepChallenger"
    done = subprocess.run(
        [sys.executable, "-OO", "-c", code], capture_output=True, text=True
    )
    if done.returncode:
        assert "cannot import name" not in done.stderr.splitlines()[-1]
        assert "DeepChallenger cannot be imported: " in done.stderr


@pytest.mark.parametrize("device", ["cuda:9", "mps", "xpu", "hpu", "xla", "npu:1"])
def test_models_of_any_accelerator_load_where_there_is_none(device):
    assert resolve_device(device, or_cpu=True).type in {"cpu", "cuda"}
    assert resolve_device("cpu", or_cpu=True).type == "cpu"
