import builtins
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files

import contract
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from vaderSentiment import vaderSentiment
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from skchallenge.tabular import SentimentFeaturizer
from skchallenge.tabular import _sentiment as module

CAPTIONS = [
    "I LOVE this dance!!!",
    "not good :(",
    "The plot was good, but the characters are uncompelling",
    "#happy @friend \U0001f602\U0001f602",
    "",
    "   ",
    "123 456",
    "så kjedelig",
    "worst. day. ever??",
    "I LOVE this dance!!!",
]
ALL = ("compound", "pos", "neu", "neg")


def package(captions, outputs=ALL):
    analyzer = SentimentIntensityAnalyzer()
    scores = [analyzer.polarity_scores(caption) for caption in captions]
    return np.array([[s[o] for o in outputs] for s in scores])


def test_scores_are_the_packages_bit_for_bit():
    expected = package(CAPTIONS)
    assert (expected[:, 0] > 0).any()
    assert (expected[:, 0] < 0).any()
    for outputs in (ALL, ("neg",), ("pos", "compound")):
        found = SentimentFeaturizer(outputs=outputs).fit_transform(CAPTIONS)
        columns = [ALL.index(o) for o in outputs]
        np.testing.assert_array_equal(found, expected[:, columns])


@pytest.mark.parametrize(
    "backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)]
)
def test_jobs_keep_the_order(backend):
    captions = [f"{caption} {i}" for i in range(120) for caption in CAPTIONS]
    with joblib.parallel_config(backend, n_jobs=2):
        found = SentimentFeaturizer(outputs=ALL).fit_transform(captions)
    np.testing.assert_array_equal(found, package(captions))


def test_missing_captions_score_as_empty_ones():
    X = pd.DataFrame({"caption": ["great", None, np.nan, pd.NA, "", 5]})
    found = SentimentFeaturizer(outputs=ALL).fit_transform(X)
    np.testing.assert_array_equal(found[0], package(["great"])[0])
    assert not found[1:5].any()
    np.testing.assert_array_equal(found[5], package(["5"])[0])


def test_tables_give_a_block_for_each_column():
    X = {"caption": CAPTIONS, "bio": CAPTIONS[::-1]}
    featurizer = SentimentFeaturizer(outputs=("compound", "pos"))
    found = featurizer.fit_transform(pd.DataFrame(X))
    expected = package(CAPTIONS, ("compound", "pos"))
    np.testing.assert_array_equal(found, np.hstack([expected, expected[::-1]]))
    names = ["caption_compound", "caption_pos", "bio_compound", "bio_pos"]
    assert featurizer.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(featurizer.fit_transform(pl.DataFrame(X)), found)


def test_each_caption_is_scored_once(monkeypatch):
    seen = []

    class Spy:
        def polarity_scores(self, text):
            seen.append(text)
            return {"compound": 0.0}

    monkeypatch.setattr(module, "_analyzer", Spy)
    SentimentFeaturizer().fit_transform(["b", "a", None, "b", "a"])
    assert seen == ["b", "a"]


def test_nltk_differs_on_the_same_lexicon_where_captions_are_no_prose(monkeypatch):
    """The report's tool; benchmarks/virality_sentiment.py counts on real captions."""
    nltk = pytest.importorskip("nltk")  # of the extra `ci`
    monkeypatch.setattr(nltk.data, "path", [str(files("vaderSentiment"))])
    vader = pytest.importorskip("nltk.sentiment.vader")
    analyzer = vader.SentimentIntensityAnalyzer("vader_lexicon.txt")
    prose = ["I love this dance", "This is a horrible song", "A dance is a dance"]
    captions = ["so happy \U0001f602", "#love", "best day @ever \U0001f60d"]

    def differ(texts):
        ours = SentimentFeaturizer().fit_transform(texts)[:, 0]
        theirs = [analyzer.polarity_scores(text)["compound"] for text in texts]
        return (ours != theirs).tolist()

    assert differ(prose) == [False] * 3
    assert any(differ(captions))


def test_contract():
    X = pd.DataFrame({"caption": [*CAPTIONS, None]})
    factory = partial(SentimentFeaturizer, outputs=["compound", "neg"])
    assert contract.run(factory, X, tol=0) == 106


def test_bad_outputs_are_refused():
    with pytest.raises(ValueError, match=r"outputs must be one of .*, got 'positive'"):
        SentimentFeaturizer(outputs=["positive"]).fit(CAPTIONS)
    for outputs in ("compound", ()):
        with pytest.raises(TypeError, match=r"outputs must be a sequence such as"):
            SentimentFeaturizer(outputs=outputs).fit(CAPTIONS)


def test_threads_that_load_at_once_leave_the_warning_filters_as_found(monkeypatch):
    filters = list(warnings.filters)
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    class Slow:
        def __init__(self):
            if not first_is_in.is_set():
                first_is_in.set()
                second_is_in.wait(0.5)
            else:
                second_is_in.set()
                first_is_out.wait(0.5)

    monkeypatch.setattr(vaderSentiment, "SentimentIntensityAnalyzer", Slow)
    module._analyzer.cache_clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(module._analyzer)
        first.add_done_callback(lambda _: first_is_out.set())
        assert first_is_in.wait(60)
        pool.submit(module._analyzer).result(), first.result()
    module._analyzer.cache_clear()
    assert warnings.filters == filters


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    real = builtins.__import__

    def blocked(name, *args, **kwargs):
        if name.startswith("vaderSentiment"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    module._analyzer.cache_clear()
    for name in [n for n in sys.modules if n.startswith("vaderSentiment")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ImportError, match=r"pip install 'skchallenge\[sentiment\]'"):
        SentimentFeaturizer().fit(CAPTIONS)
