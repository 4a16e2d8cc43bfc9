"""Random structures and tables: documented errors only, and no row that is wrong.

The oracle is what was put in. Structures are JSON of any shape, with the names of
fields that layouts know; a row that comes out of one must have stood in it. Tables are
videos, written in a random layout, form and spelling, with broken rows among them.
"""

import json
import warnings

import pandas as pd
import pytest
from exports import (
    NAMES,
    as_api,
    as_apify,
    as_apify_row,
    as_aweme,
    as_info,
    as_page_item,
    as_research,
    as_scraper,
    as_table,
    seconds,
    write,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from skchallenge import load_tiktok_export

DOCUMENTED = (ValueError, TypeError, FileNotFoundError)
# To shrink a case takes longer than to find it: it is printed as it is.
QUICK = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],
}
FIRST, LAST = 1_388_534_400, 4_102_444_799  # 2014 to 2099

FIELDS = [
    *("id", "aweme_id", "video_id", "createTime", "create_time", "timestamp"),
    *("author", "authorMeta", "username", "uploader_id", "user_id", "name", "uid"),
    *("text", "desc", "caption", "hashtags", "challenges", "title", "textExtra"),
    *("stats", "statistics", "playCount", "play_count", "n_plays", "video"),
    *("duration", "data", "itemList", "collector", "entries", "hashtags/0/name"),
    *("authorMeta.id", "author.id", "uniqueId"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([FIRST, FIRST + 5, 1000 * FIRST, 2**53 + 1, -(2**31), 10**400])
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["1", "7", "zoe", "1.2K", '="12"', "6.9E+18", "null", "[", "\ud800"]
    )
    | st.sampled_from(
        ["['a', 'b']", 'c("a")', "#a#b", "{'id': '7'}", "2020-12-17", "now"]
    )
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=25,
)
# Half of them hold something like a post, or nothing would ever be read.
POSTS = st.fixed_dictionaries(
    {"id": SCALARS, "createTime": st.sampled_from([FIRST, str(FIRST), None]) | SCALARS},
    optional={
        "authorMeta": st.fixed_dictionaries({"id": SCALARS}) | SCALARS,
        "author": st.fixed_dictionaries({"id": SCALARS}) | SCALARS,
        "text": SCALARS,
        "hashtags": STRUCTURES,
        "playCount": SCALARS,
        "videoMeta": STRUCTURES,
    },
)
CONTENTS = (
    STRUCTURES
    | st.lists(POSTS, min_size=1, max_size=4)
    | st.fixed_dictionaries({"data": st.lists(POSTS, min_size=1, max_size=3)})
)


def scalars(content):
    """Return all texts and numbers of a structure, as the text that ids are."""
    if isinstance(content, dict):
        return {s for value in content.values() for s in scalars(value)}
    if isinstance(content, list):
        return {s for value in content for s in scalars(value)}
    if isinstance(content, float) and content.is_integer():
        return {str(int(content))}
    try:
        text = str(content)
    except ValueError:  # an integer of more digits than Python prints
        return set()
    return {
        text.strip(),
        text.strip().strip("=\"'"),
        text.encode(errors="replace").decode(),
    }


def check_structure(content, on_error, form, folder):
    source = content
    if form == "file":
        source = folder / "a.json"
        source.write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            videos = load_tiktok_export(source, on_error=on_error)
        except DOCUMENTED:
            return
    known = scalars(content)
    known |= {word for text in known for word in ("7", "1") if word in text}
    assert set(videos["video_id"]) <= known
    assert set(videos["user_id"]) <= known
    assert videos["video_id"].is_unique
    assert videos["create_time"].between("2014", "2100").all()
    assert not (videos["n_plays"] < 0).any()


def video_strategy():
    name = st.text("abcdefg_\u00e9\u6559", min_size=1, max_size=5)
    count = st.integers(0, 2**53).map(float)
    optional = {
        "song": st.sampled_from(["Element", "None", "a, b", 'say "so"']),
        "sound_id": st.sampled_from(["6808098113188120838", "12"]),
        "sound_original": st.booleans(),
        "sound_duration_s": st.sampled_from([7.5, 60.0]),
        "duration_s": st.integers(1, 600).map(float),
        "width": st.just(576.0),
        "height": st.just(1024.0),
        "verified": st.booleans(),
        "cover": st.just("https://example.org/a.jpg"),
    }
    counts = (
        "n_plays n_likes n_comments n_shares n_followers n_following n_total_likes "
        "n_user_likes n_total_videos"
    )
    always = {
        # Odd, or they might look rounded, and be refused.
        "video_id": st.integers(1, 10**18 - 1).map("{}7".format),
        "user_id": st.sampled_from(sorted(NAMES)),
        "create_time": st.integers(FIRST, LAST).map(
            lambda t: str(pd.Timestamp(t, unit="s"))
        ),
        # A new line that a CSV file changes is the file's; a blank caption is none.
        "caption": st.text("ab #@,;\t'\"[{\u00e9\u2764\n", max_size=12).filter(
            lambda text: text == text.strip()
        ),
        "hashtags": st.lists(name, max_size=3, unique_by=str.casefold),
        "mentions": st.lists(
            st.text("abz_", min_size=1, max_size=4), max_size=2, unique=True
        ),
        "effect_stickers": st.just([]),
    }
    optional |= dict.fromkeys(counts.split(), count)
    return st.fixed_dictionaries(always | optional)


MAKERS = {
    "scraper": as_scraper,
    "api": as_api,
    "table": as_table,
    "apify": as_apify,
    "apify row": as_apify_row,
    "research": as_research,
    "yt-dlp": as_info,
    "page": as_page_item,
    "aweme": as_aweme,
}
# What a row may be that cannot be used. Each names the rows that go.
BREAKS = {
    "no id": lambda row, key: row | {key: None},
    "float id": lambda row, key: row | {key: 7.3e18},
    "object id": lambda row, key: row | {key: {"a": 1}},
    "an error": lambda row, key: {"error": "not found"},
}
# The columns that are the same in each layout that has them at all.
SAME = ["create_time", "caption", "n_plays", "n_likes", "n_comments", "n_shares"]


@st.composite
def tables(draw):
    videos = draw(
        st.lists(
            video_strategy(), min_size=1, max_size=5, unique_by=lambda v: v["video_id"]
        )
    )
    maker = draw(st.sampled_from(sorted(MAKERS)))
    form = draw(st.sampled_from([".json", ".jsonl", ".csv", "memory", "frame"]))
    breaks = draw(
        st.lists(
            st.sampled_from([None, None, None, *BREAKS]),
            min_size=len(videos),
            max_size=len(videos),
        )
    )
    return videos, maker, form, breaks


def check_table(case, folder):
    videos, maker, form, breaks = case
    records = [MAKERS[maker](video) for video in videos]
    key = next(k for k in ("id", "aweme_id", "video_id") if k in records[0])
    broken = [
        BREAKS[how](record, key) if how else record
        for record, how in zip(records, breaks, strict=True)
    ]
    good = [v for v, how in zip(videos, breaks, strict=True) if not how]
    if form == "memory":
        source = broken
    elif form == "frame":
        source = pd.DataFrame(broken, dtype=object)
    else:
        source = write(folder, broken, form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not good:
            with pytest.raises(ValueError, match="No row is left|lacks col|no videos"):
                load_tiktok_export(source, on_error="drop")
            return
        found = load_tiktok_export(source, on_error="drop")
    assert found["video_id"].tolist() == [v["video_id"] for v in good]
    named = maker == "research"
    users = [NAMES[v["user_id"]] if named else v["user_id"] for v in good]
    assert found["user_id"].tolist() == users
    assert found["create_time"].tolist() == [
        pd.Timestamp(v["create_time"]) for v in good
    ]
    for column in SAME[1:]:
        values = found[column]
        if column == "caption":  # one that no row fills is missing in all
            values = values.fillna("")
        assert values.tolist() == [v[column] for v in good], column
    if maker != "yt-dlp":
        expected = [v["hashtags"] for v in good]
        if found["hashtags"].notna().any() and any(map(len, found["hashtags"])):
            assert found["hashtags"].tolist() == expected
    assert [seconds(v) for v in good] == [
        int(t.timestamp()) for t in found["create_time"]
    ]


ON_ERROR = st.sampled_from(["raise", "drop"])
WHERE = st.sampled_from(["memory", "file"])


@settings(max_examples=60, derandomize=True, **QUICK)
@given(CONTENTS, ON_ERROR, WHERE)
def test_structures_give_rows_that_stood_in_them(
    tmp_path_factory, content, on_error, form
):
    check_structure(content, on_error, form, tmp_path_factory.getbasetemp())


@settings(max_examples=30, derandomize=True, **QUICK)
@given(tables())
def test_tables_give_the_rows_that_were_put_in(tmp_path_factory, case):
    check_table(case, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@settings(max_examples=5_000, **QUICK)
@given(CONTENTS, ON_ERROR, WHERE)
def test_five_thousand_structures(tmp_path_factory, content, on_error, form):
    check_structure(content, on_error, form, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@settings(max_examples=2_000, **QUICK)
@given(tables())
def test_two_thousand_tables(tmp_path_factory, case):
    check_table(case, tmp_path_factory.getbasetemp())
