"""SentimentFeaturizer beside the package vaderSentiment in a loop, and beside NLTK.

Captions are those of ``trending_2020.json`` in the folder that SKCHALLENGE_DATA names,
put together in pairs until there are enough. NLTK is given the lexicon file of the
package vaderSentiment, so nothing is downloaded. Needs ``pip install nltk``.

    SKCHALLENGE_DATA=path/to/data python benchmarks/virality_sentiment.py
"""

import time
from importlib.resources import files

import nltk
import numpy as np
from common import data_file
from nltk.sentiment.vader import SentimentIntensityAnalyzer as NltkAnalyzer
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from skchallenge import load_tiktok_export
from skchallenge.tabular import SentimentFeaturizer

N_LOOP, N_JOBS, REPEATS = 5_000, 100_000, 3


def enough(captions, n):
    """Make n different captions of realistic length from pairs of real ones."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(captions), size=(2, n))
    pairs = zip(first, second, range(n), strict=True)
    return [f"{captions[i]} {captions[j]} {k}" for i, j, k in pairs]


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def loop(captions):
    analyzer = SentimentIntensityAnalyzer()
    return [analyzer.polarity_scores(caption)["compound"] for caption in captions]


def one_process(captions):
    """Print how fast one process is: the median over turns of the ratio."""
    ours = SentimentFeaturizer().fit(captions)
    ratios = []
    for _ in range(REPEATS):
        theirs = seconds(lambda: loop(captions))
        ratios.append(theirs / seconds(lambda: ours.transform(captions)))
    same = np.array_equal(ours.transform(captions)[:, 0], loop(captions))
    print(
        f"{len(captions)} captions, one process: {np.median(ratios):.2f} times the "
        f"speed of the package in a loop; same bits: {same}"
    )


def two_processes(captions):
    both = SentimentFeaturizer(n_jobs=2).fit(captions)
    both.transform(captions[:2000])  # starts the processes
    theirs = seconds(lambda: loop(captions))
    ratio = theirs / seconds(lambda: both.transform(captions))
    print(
        f"{len(captions)} captions, two warm processes: {ratio:.2f} times the speed of "
        "the package in a loop"
    )


def beside_nltk(captions):
    nltk.data.path.append(str(files("vaderSentiment")))  # it reads nowhere else
    analyzer = NltkAnalyzer("vader_lexicon.txt")
    theirs = np.array([analyzer.polarity_scores(c)["compound"] for c in captions])
    ours = SentimentFeaturizer().fit_transform(captions)[:, 0]
    differ, product = ours != theirs, np.sign(ours) * np.sign(theirs)
    print(
        f"{len(captions)} real captions: NLTK differs in {differ.mean():.1%}, by "
        f"{np.abs(ours - theirs)[differ].mean():.3f} on average; {(product < 0).sum()} "
        f"change sign, {((product == 0) & differ).sum()} are zero in one of them; "
        f"correlation {np.corrcoef(ours, theirs)[0, 1]:.3f}"
    )


def main():
    captions = load_tiktok_export(data_file("trending_2020.json"))["caption"].tolist()
    beside_nltk(captions)
    one_process(enough(captions, N_LOOP))
    two_processes(enough(captions, N_JOBS))


if __name__ == "__main__":
    main()
