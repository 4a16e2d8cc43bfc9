"""What a notebook shows: links to our pages, and nobody's text as HTML."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from test_house_style import PUBLIC

from skchallenge import EmbeddingStore, VideoCatalog, make_participation
from skchallenge._factory import _HeldOut
from skchallenge._html import Bunch
from skchallenge._state import Versioned
from skchallenge.feed import EngagementScorer

HOSTILE = "\"'><script src=http://a.b/c.js>alert(1)</script><img src=x onerror=y>&amp;"
REFERENCE = (Path(__file__).parents[1] / "docs" / "api.rst").read_text("utf-8")


class Tags(HTMLParser):
    """Tags and attributes of a text, and what a reader sees of it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.seen = set(), set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.seen += data


def check_harmless(shown):
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    tags = Tags(shown)
    assert tags.tags <= {
        "div",
        "style",
        "p",
        "strong",
        "code",
        "dl",
        "dt",
        "dd",
        *tables,
    }
    assert tags.attributes <= {"border", "class", "scoped", "style"}
    return tags.seen


def pages():
    """Where the reference has each name: the last module that is named before it."""
    module = None
    for line in REFERENCE.splitlines():
        module = (re.match(r"\.\. currentmodule:: (\S+)", line) or [0, module])[1]
        if name := re.fullmatch(r"   (\w+)", line):
            yield f"{module}.{name[1]}"


ESTIMATORS = {
    name: obj
    for name, obj in PUBLIC.items()
    if isinstance(obj, type) and issubclass(obj, BaseEstimator)
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_question_mark_leads_to_the_page_of_the_estimator(name):
    estimator = ESTIMATORS[name].__new__(ESTIMATORS[name])
    link = estimator._get_doc_link()
    page = re.fullmatch(r"https://[\w.]+/\w+/generated/(.+)\.html", link)[1]
    assert page in set(pages())
    assert page.endswith(f".{ESTIMATORS[name].__name__}")


def test_a_diagram_has_the_link():
    assert len(ESTIMATORS) >= 20
    scorer = EngagementScorer()
    assert f'href="{scorer._get_doc_link()}"' in scorer._repr_html_()


def test_private_parts_and_classes_of_users_have_no_page():
    class Mine(EngagementScorer):
        pass

    assert Mine()._get_doc_link() == ""
    assert _HeldOut.__new__(_HeldOut)._get_doc_link() == ""
    assert issubclass(_HeldOut, Versioned)


def hostile_videos():
    return pd.DataFrame(
        {
            "video_id": [f"{HOSTILE}{i}" for i in range(50)],
            "user_id": HOSTILE,
            "create_time": range(50),
            "challenge": HOSTILE,
            "path": HOSTILE * 1000,
            HOSTILE: 1,
        }
    )


def test_a_catalog_is_shown_short_and_escaped():
    catalog = VideoCatalog(hostile_videos())
    shown = catalog._repr_html_()
    seen = check_harmless(shown)
    assert repr(catalog) in seen
    assert "<script" in seen  # as text
    assert len(shown) < 10_000


def test_a_store_is_shown_without_being_made(tmp_path):
    path = tmp_path / HOSTILE.replace("/", "-")
    store = EmbeddingStore(path)
    assert "not made yet" in check_harmless(store._repr_html_())
    assert not list(tmp_path.iterdir())
    assert len(store) == 0  # which makes it
    seen = check_harmless(store._repr_html_())
    assert repr(store) in seen
    assert f"{path.stat().st_size:,} bytes" in seen


def test_a_bunch_is_shown_short_and_escaped():
    bunch = Bunch(table=hostile_videos(), text=HOSTILE * 1000, number=7, **{HOSTILE: 1})
    shown = bunch._repr_html_()
    seen = check_harmless(shown)
    assert "50 rows" in seen
    assert "number7" in seen
    assert HOSTILE[:20] in seen  # as text
    assert len(shown) < 12_000


def test_what_makes_pairs_is_shown():
    videos = pd.DataFrame(
        {
            "video_id": range(9),
            "user_id": ["ann", "bob", "ann", "bob", "cy", "dee", "bob", "ann", "bob"],
            "create_time": [1, 2, 3, 4, 4, 5, 7, 8, 9],
            "hashtags": [[], [], [], [], ["boo"], ["boo"], ["boo"], [], []],
        }
    )
    data = make_participation(
        videos, challenges=["boo"], n_seeds=2, min_history=2, horizon=4
    )
    seen = check_harmless(data._repr_html_())
    for key in data:
        assert key in seen
    assert repr(data.catalog) in seen
