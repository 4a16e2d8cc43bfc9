"""skops saves every fitted estimator, and each answers to the bit as before."""

from functools import partial

import contract
import numpy as np
import pandas as pd
import pytest
import seeing_models as seeing
import skops.io
from feed.films import choreography, mirrored, performance, write
from media.sounds import tone, write_sound
from pandas.testing import assert_frame_equal
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from test_contract import CASES as TRAINED
from test_contract import colour_grid
from test_house_style import PUBLIC
from test_virality_stack import study

from skchallenge import (
    AdoptionHistory,
    AudioEmbedder,
    CaptionEmbedder,
    FrameCaptioner,
    FrameTagger,
    MultimodalVirality,
    VideoCatalog,
    VideoFrameEmbedder,
    make_challenge_clips,
    make_deep_challenger,
    make_virality_stack,
    trusted_types,
)
from skchallenge.baselines import (
    AdoptionBaseline,
    CosineBaseline,
    RateBaseline,
    RecommenderBaseline,
    TextBaseline,
)
from skchallenge.embed import EmbeddingStore, MediaLimits
from skchallenge.feed import (
    BatchRollout,
    CreatorAuthority,
    DuplicateFinder,
    EngagementScorer,
    FeedWorkflow,
    GenreProfiler,
    ReviewGate,
)
from skchallenge.tabular import (
    LeakageGuard,
    MetadataFeaturizer,
    PastCreatorStats,
    SentimentFeaturizer,
    TagBinarizer,
    ViralityLabeler,
)

# A part of scikit-learn's boosted trees that skops warns of.
TREES = {"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
SIGNALS = ["rewatch", "completion", "share", "comment", "like"]
POSTED = ["caption", "n_followers", "create_time"]
HERE = MediaLimits(timeout_s=None)
TAGS = [["fyp", "cat"], np.array(["dog"], dtype=object), "fyp", None]
VIDEOS = pd.DataFrame(
    {
        "video_id": range(18),
        "user_id": ["ann", "bob", "cy"] * 6,
        "creator_id": ["ann", "bob", "cy"] * 6,
        "challenge": [None, "dance", ["dance", "sing"], np.nan] * 3 + [None] * 6,
        "hashtags": [*TAGS, *TAGS, *TAGS, *TAGS, [], []],
        "create_time": pd.date_range("2020", periods=18, freq="9D", tz="CET"),
        "n_plays": np.arange(18.0) ** 3,
        "n_followers": np.arange(18) + 1,
        "score": np.arange(18) / 7,
        "caption": ["I love it", "so bad", None, "two cats!"] * 4 + ["", "x"],
    }
)
GENRES = ["dance", "cats", "dance,cats", "owls"]
LOG = pd.DataFrame(
    {
        "user_id": np.arange(60) % 7,
        "video_id": np.arange(60) % 11,
        "genre": [GENRES[i % 11 % 4] for i in range(60)],
        "like": np.arange(60) % 3 == 0,
        "comment": 0.0,
        "share": 0.0,
        "completion": np.arange(60) % 5 == 0,
        "rewatch": 0.0,
    }
).astype({"like": float, "completion": float})
NEW = VIDEOS[["video_id", "creator_id"]].head(4)
NEW = NEW.assign(genre=["dance", "owls", "cats", "new"])
ROLLOUT = {"stages": (20, 100), "n_personas": 2, "random_state": 0}


# Nobody in these pairs has taken part by then, and both sides have videos before it.
BASELINES = (
    AdoptionBaseline,
    CosineBaseline,
    RateBaseline,
    RecommenderBaseline,
    TextBaseline,
)
PAIRS = pd.DataFrame(
    {
        "user_id": ["ann", "bob", "ann"] * 4,
        "challenge": ["dance", "sing", "sing"] * 4,
        "time": pd.Timestamp("2020-02-20", tz="CET"),
    }
)
TAGGED = VIDEOS.assign(hashtags=[["fyp", "cat"], ["dog"]] * 9)


# Each makes a fitted estimator, and what asks it for all that it answers.


def answers(estimator, X, y=None):
    fitted = estimator.fit(X) if y is None else estimator.fit(X, y)
    methods = [m for m in contract.METHODS if hasattr(fitted, m)]
    assert methods
    return fitted, lambda model: [getattr(model, m)(X) for m in methods]


def profiler():
    columns = {"user": "user_id", "genre": "genre", "video": "video_id"}
    fitted = GenreProfiler(**columns, random_state=0).fit(LOG, LOG["like"] > 0)

    def ask(model):
        lists = model.recommend([0, 3, 99], k=4)
        return [model.predict_proba(LOG), model.profile_, lists]

    return fitted, ask


def rollout(log=LOG):
    fitted = BatchRollout(**ROLLOUT).fit(log)
    return fitted, lambda model: [model.threshold_, *model.simulate(NEW).values()]


def workflow():
    gate = Machine()
    fitted = FeedWorkflow(BatchRollout(**ROLLOUT), review=gate).fit(LOG)
    return fitted, lambda model: list(model.run(NEW).values())


class Machine:
    """A review that lets all but the second video pass."""

    def review(self, videos):
        outcome = np.where(np.arange(len(videos)) == 1, "reject", "pass")
        return pd.DataFrame({"outcome": outcome, "reasons": ""})


def finder(folder):
    paths = films(folder)
    fitted = DuplicateFinder(limits=HERE).fit(paths)
    assert len(fitted.duplicates_) == 1
    ask = "labels_", "duplicates_", "comparable_"
    return fitted, lambda m: [m.duplicates(paths), *(getattr(m, a) for a in ask)]


def films(folder):
    one, other = (performance(choreography(i), i, size=64)[:30] for i in range(2))
    made = {"one": one, "other": other, "mirror": [mirrored(p) for p in one]}
    return [write(folder / f"{name}.mp4", film) for name, film in made.items()]


def covers(folder):
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{i}.png") for i in range(8)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    return pd.DataFrame({"cover": paths, "duration_s": np.arange(8.0)})


def virality(folder):
    sizes = {"image_size": 8, "metadata_layers": (4,), "max_iter": 2}
    model = MultimodalVirality(image="cover", random_state=0, **sizes)
    return answers(model, covers(folder), np.arange(8) % 2)


def frames(folder):
    store = EmbeddingStore(folder / "store.db")
    embedder = VideoFrameEmbedder(colour_grid, n_frames=2, image_size=8, store=store)
    return answers(embedder, covers(folder)[["cover"]])


def tags(folder):
    labels = [f"corner {i}" for i in range(12)]
    options = {"n_frames": 2, "image_size": 8, "limits": HERE}
    tagger = FrameTagger(colour_grid, labels=labels, **options)
    return answers(tagger, covers(folder)[["cover"]])


def descriptions(folder):
    model = seeing.save(seeing.git, folder / "git")
    captioner = FrameCaptioner(model, max_new_tokens=2, limits=HERE)
    return answers(captioner, covers(folder)[["cover"]])


def sounds(folder):
    paths = [write_sound(folder / f"{i}.wav", tone(hz=200 * i)) for i in (1, 2)]
    store = EmbeddingStore(folder / "store.db")
    embedder = AudioEmbedder(store=store, limits=HERE)
    return answers(embedder, pd.DataFrame({"path": paths}))


def gate(folder):
    X = pd.DataFrame({"path": films(folder), "caption": ["good", "bad", "fine"]})
    words = make_column_transformer((TfidfVectorizer(), "caption"))
    chances = make_pipeline(words, LogisticRegression()).fit(X, [0, 1, 0])
    fitted = ReviewGate([("rude", chances)], path="path", limits=HERE).fit(X)
    return fitted, lambda model: [model.review(X), model.predict(X)]


def pipeline(folder):
    data = make_challenge_clips(folder, n_users=6, n_challenges=2, random_state=0)
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0))
    model = make_deep_challenger(
        data.catalog,
        make_column_transformer((words, "caption")),
        embedding_size=4,
        max_iter=2,
        random_state=0,
    )
    return answers(model, data.pairs, data.y)


def stack():
    X, y = study(36)
    return answers(make_virality_stack(caption="caption"), X, y)


def trained(name):
    (factory, X, y), *_ = TRAINED[name]
    return answers(factory(), X, y)


def baseline(kind):
    first = "user_id" if kind is RateBaseline else VideoCatalog(TAGGED)
    options = {"random_state": 0} if kind is RecommenderBaseline else {}
    return answers(kind(first, **options), PAIRS, [0, 1, 1] * 4)


def adoption():
    return answers(AdoptionHistory(VideoCatalog(TAGGED), before="time"), PAIRS)


WITHOUT_FILES = {
    "AdoptionHistory": adoption,
    **{kind.__name__: partial(baseline, kind) for kind in BASELINES},
    **{name: partial(trained, name) for name in TRAINED},
    "BatchRollout": rollout,
    "CreatorAuthority": lambda: answers(CreatorAuthority(), VIDEOS),
    "EngagementScorer": lambda: answers(EngagementScorer(), LOG[SIGNALS]),
    "FeedWorkflow": workflow,
    "GenreProfiler": profiler,
    "LeakageGuard": lambda: answers(LeakageGuard(), VIDEOS[POSTED]),
    "MetadataFeaturizer": lambda: answers(MetadataFeaturizer(), VIDEOS[POSTED]),
    "PastCreatorStats": lambda: answers(
        PastCreatorStats(VideoCatalog(VIDEOS)), VIDEOS[["user_id", "create_time"]]
    ),
    "SentimentFeaturizer": lambda: answers(SentimentFeaturizer(), VIDEOS["caption"]),
    "TagBinarizer": lambda: answers(
        TagBinarizer(min_frequency=1, sparse_output=False), VIDEOS[["hashtags"]]
    ),
    "ViralityLabeler": lambda: answers(
        ViralityLabeler("log_residual", catalog=VideoCatalog(VIDEOS)), VIDEOS
    ),
    "ViralityLabeler, creators": lambda: answers(
        ViralityLabeler("creator_relative", catalog=VideoCatalog(VIDEOS)), VIDEOS
    ),
    "make_virality_stack": stack,
}
WITH_FILES = {
    "AudioEmbedder": sounds,
    "DuplicateFinder": finder,
    "FrameCaptioner": descriptions,
    "FrameTagger": tags,
    "MultimodalVirality": virality,
    "ReviewGate": gate,
    "VideoFrameEmbedder": frames,
    "make_deep_challenger": pipeline,
}


def check(fitted, ask):
    """Save, load, and compare; return what the file asks to be trusted."""
    expected = ask(fitted)
    data = skops.io.dumps(fitted)
    types = skops.io.get_untrusted_types(data=data)
    loaded = skops.io.loads(data, trusted=types)
    assert type(loaded) is type(fitted)
    found = ask(loaded)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        compare(one, other)
    return types


def compare(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        assert_frame_equal(found, expected, check_exact=True)
    else:
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_an_estimator_answers_as_before(name):
    allowed = TREES if name == "make_virality_stack" else ()
    assert not others(check(*WITHOUT_FILES[name]()), allowed)


@pytest.mark.parametrize("name", WITH_FILES)
def test_an_estimator_of_media_answers_as_before(name, tmp_path):
    assert not others(check(*WITH_FILES[name](tmp_path)))


def test_captions_answer_as_before(tiny_bert):
    X = pd.DataFrame({"caption": ["a cat", "dance", None, "funny"]})
    embedder = CaptionEmbedder(tiny_bert, precision="float32")
    assert not others(check(*answers(embedder, X)))


def others(types, allowed=()):
    """Return what a reader of the file must trust besides this library."""
    mine = {name for name in types if name.startswith(("test_", "tests."))}
    return set(types) - set(trusted_types()) - mine - set(allowed)


def test_every_public_estimator_is_saved():
    tested = " ".join([*WITHOUT_FILES, *WITH_FILES, "CaptionEmbedder"])
    estimators = {name for name, obj in PUBLIC.items() if hasattr(obj, "fit")}
    assert len(estimators) >= 18
    assert not {e for e in estimators if e.rpartition(".")[2] not in tested}


def test_a_catalog_is_loaded_once_and_can_grow(tmp_path):
    model, _ = pipeline(tmp_path)
    catalog = model["sides"].transformers_[0][1].catalog
    data = skops.io.dumps((model, catalog))
    types = skops.io.get_untrusted_types(data=data)
    served, own = skops.io.loads(data, trusted=types)
    assert_frame_equal(own.videos, catalog.videos, check_exact=True)
    assert own.candidates == catalog.candidates
    for _, side, _ in served["sides"].transformers_[:2]:
        assert side.catalog is own
    new = catalog.videos.tail(1).assign(video_id="a new one")
    assert len(own.append(new)) == len(catalog) + 1
