import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exports import (
    DTYPES,
    LAYOUTS,
    VIDEOS,
    as_scraper,
    as_table,
    expected,
    flat,
    write,
)
from pandas.testing import assert_frame_equal

from skchallenge import _schema
from skchallenge.datasets._tiktok import load_tiktok_export

DATA = os.environ.get("SKCHALLENGE_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="set SKCHALLENGE_DATA to the folder with the real exports"
)


def post(**changes):
    """Return a minimal tiktok-scraper post."""
    base = {"id": "1", "createTime": 1608214517, "authorMeta": {"id": "7"}}
    return base | changes


def load(folder, *posts, **options):
    return load_tiktok_export(write(folder, list(posts), ".json"), **options)


# --- laws ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", [".json", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_videos_give_the_same_table(tmp_path, layout, form):
    file = write(tmp_path, [LAYOUTS[layout](v) for v in VIDEOS], form)
    for choice in ("auto", layout):
        videos = load_tiktok_export(str(file), layout=choice)
        assert_frame_equal(videos, expected())
        assert type(videos["hashtags"][0]) is list


@pytest.mark.parametrize("layout", LAYOUTS)
def test_absent_columns_are_missing_in_every_row(tmp_path, layout):
    keys = {
        "tiktok-scraper": ["id", "createTime", "authorMeta"],
        "tiktok-api": ["id", "createTime", "author"],
        "tiktok-api-table": ["video_id", "create_time", "user_id"],
    }[layout]
    records = [{k: LAYOUTS[layout](v)[k] for k in keys} for v in VIDEOS[1:]]
    for record in records:
        for author in ("authorMeta", "author"):
            if author in record:
                record[author] = {"id": record[author]["id"]}
    videos = load_tiktok_export(write(tmp_path, records, ".json"))
    absent = videos.columns[videos.isna().all()]
    assert set(absent) == set(DTYPES) - {"video_id", "user_id", "create_time"}
    assert (videos.dtypes == expected().dtypes).all()


@pytest.mark.parametrize("form", [".csv", ".parquet"])
def test_saved_table_loads_again(tmp_path, form):
    records = [as_scraper(v) for v in VIDEOS]
    for record in records:
        del record["mentions"], record["hashtags"], record["text"]
    videos = load_tiktok_export(write(tmp_path, records, ".json"))
    file = tmp_path / f"table{form}"
    if form == ".csv":
        videos.to_csv(file, index=False)  # lists become Python text, times ISO text
    else:
        videos.to_parquet(file)
    assert_frame_equal(load_tiktok_export(file), videos)


def test_collector_and_flat_json_records(tmp_path):
    records = [as_scraper(v) for v in VIDEOS]
    file = write(tmp_path, {"collector": records, "csv": "x"}, ".json")
    assert_frame_equal(load_tiktok_export(file), expected())
    file = write(tmp_path, [flat(r) for r in records], ".json")
    assert_frame_equal(load_tiktok_export(file), expected())


def test_byte_order_mark_is_ignored(tmp_path):
    for form in (".json", ".csv"):
        file = write(tmp_path, [as_table(v) for v in VIDEOS], form)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        assert_frame_equal(load_tiktok_export(file), expected())


def test_unknown_columns_are_dropped(tmp_path):
    videos = load(tmp_path, post(shiny="x", authorMeta={"id": "7", "name": "zoe"}))
    assert list(videos) == list(DTYPES)


# --- tags ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell, tags",
    [
        (["fyp", "#Fyp", " #fyp ", "fyp", ""], ["fyp", "Fyp"]),
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ("[{'name': 'a', 'title': None}]", ["a"]),
        ("a,b", ["a", "b"]),
        ("#a #b, #c", ["a", "b", "c"]),
        ("#@a", ["@a"]),
        ("[]", []),
        ("nan", []),
        (None, []),
        (float("nan"), []),
        ([{"name": None}], []),
        ([2020], ["2020"]),
        (["cut \ud83d"], ["cut ?"]),
    ],
)
def test_tag_cells(tmp_path, cell, tags):
    videos = load(tmp_path, post(hashtags=cell), post(id="2", hashtags=["x"]))
    assert videos["hashtags"].tolist() == [tags, ["x"]]


def test_effect_names_keep_their_spaces(tmp_path):
    videos = load(tmp_path, post(effectStickers="Green Screen, #1"))
    assert videos["effect_stickers"][0] == ["Green Screen", "#1"]


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("['a' 'b']", "the text of a NumPy array has no commas"),
        ("['a' 'b' ... 'c']", "the text of a NumPy array has no commas"),
        (["ok", ["nested"]], "list is not a name"),
        ([{"title": "a"}], "it has no 'name'"),
        (3, "int is not a list"),
    ],
)
def test_unreadable_tags_raise(tmp_path, cell, reason):
    message = rf"hashtags \(hashtags\[\]\.name\) must be a list.*Row 1 .*{reason}"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, post(hashtags=[]), post(id="2", hashtags=cell))


def test_tags_come_from_the_caption_only_if_the_export_has_no_field(tmp_path):
    text = "Go! #TryIt, #try_it#\u6559\u5ba4\u3002 @zoe.b. #TryIt \uff03caf\u00e9 1#"
    videos = load(tmp_path, post(text=text), post(id="2", text=None))
    assert videos["hashtags"].tolist() == [
        ["TryIt", "try_it", "\u6559\u5ba4", "caf\u00e9"],
        [],
    ]
    assert videos["mentions"].tolist() == [["zoe.b"], []]
    assert videos["effect_stickers"].isna().all()
    assert videos["caption"].tolist() == [text, ""]
    with_field = load(tmp_path, post(text=text, hashtags=[]))
    assert with_field["hashtags"][0] == []


def test_text_extra_fills_in_for_challenges(tmp_path):
    extra = [{"hashtagName": "a"}, {"userUniqueId": "zoe", "hashtagName": ""}]
    item = {"id": "1", "createTime": 1608214517, "author": {"id": "7"}}
    first = item | {"textExtra": extra}
    second = item | {"id": "2", "challenges": [{"title": "b"}], "textExtra": extra}
    videos = load(tmp_path, first, second)
    assert videos["hashtags"].tolist() == [["a"], ["b"]]
    assert videos["mentions"].tolist() == [["zoe"], ["zoe"]]


# --- numbers, flags, ids, texts -------------------------------------------------------


@pytest.mark.parametrize(
    "cell, count",
    [
        ("44800", 44800),
        (" 12.0 ", 12),
        ("304.9K", 304900),
        ("1.1m", 1100000),
        ("2 B", 2e9),
        (None, np.nan),
        ("", np.nan),
        ("NaN", np.nan),
    ],
)
def test_counts(tmp_path, cell, count):
    videos = load(tmp_path, post(playCount=5), post(id="2", playCount=cell))
    np.testing.assert_array_equal(videos["n_plays"], [5, count])


@pytest.mark.parametrize(
    "cell", [3.5, "3.5", "many", "1,000", "304.9Q", True, [1], "inf"]
)
def test_bad_counts_raise(tmp_path, cell):
    rule = r"n_plays \(playCount\) must be a whole number.*Row 1 .*"
    with pytest.raises(ValueError, match=rule + re.escape(repr(cell))):
        load(tmp_path, post(playCount=5), post(id="2", playCount=cell))


@pytest.mark.parametrize("cell", [-1, "long", "inf"])
def test_bad_sizes_raise(tmp_path, cell):
    message = r"duration_s \(videoMeta.duration\) must be a finite number.*Row 0 "
    with pytest.raises(ValueError, match=message):
        load(tmp_path, post(videoMeta={"duration": cell}))


def test_flags(tmp_path):
    cells = [True, "false", "TRUE", 0, 1.0, None]
    posts = [
        post(id=str(i), authorMeta={"id": "7", "verified": c})
        for i, c in enumerate(cells)
    ]
    verified = load(tmp_path, *posts)["verified"]
    assert verified.tolist() == [True, False, True, False, True, pd.NA]
    with pytest.raises(ValueError, match=r"verified .* must be true or false.*'maybe'"):
        load(tmp_path, post(authorMeta={"id": "7", "verified": "maybe"}))


@pytest.mark.parametrize("cell", [6.9e18, "6.90723E+18", "6907.0"])
def test_ids_that_lost_digits_raise(tmp_path, cell):
    message = r"sound_id \(musicMeta.musicId\) must be text or an integer; a float has"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, post(musicMeta={"musicId": cell}))


def test_integer_ids_keep_their_digits_beside_missing_ones(tmp_path):
    table = pd.DataFrame(
        {
            "video_id": [6907228749016714497, 6907228749016714498],
            "user_id": [" 51e12 ", "51e13"],  # hashes, not floats
            "create_time": 1608214517,
            "sound_id": pd.array([6808098113188120839, None], dtype="Int64"),
        }
    )
    table.to_parquet(tmp_path / "table.parquet")
    videos = load_tiktok_export(tmp_path / "table.parquet")
    assert videos["video_id"].tolist() == ["6907228749016714497", "6907228749016714498"]
    assert videos["user_id"].tolist() == ["51e12", "51e13"]
    assert videos["sound_id"][0] == "6808098113188120839"
    assert videos["sound_id"].isna().tolist() == [False, True]


def test_captions(tmp_path):
    posts = [post(text="cut \ud83d"), post(id="2", text=None), post(id="3", text=2020)]
    assert load(tmp_path, *posts)["caption"].tolist() == ["cut ?", "", "2020"]
    with pytest.raises(ValueError, match=r"caption \(text\) must be text.*\['no'\]"):
        load(tmp_path, post(text=["no"]))


# --- times --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        1608214517,
        "1608214517",
        1608214517.0,
        "2020-12-17T14:15:17",
        "2020-12-17T14:15:17.000Z",
        "2020-12-17 15:15:17+01:00",
    ],
)
def test_times(tmp_path, cell):
    videos = load(tmp_path, post(createTime=cell))
    assert videos["create_time"].tolist() == [pd.Timestamp("2020-12-17 14:15:17")]
    assert videos["create_time"].dtype == "datetime64[us]"


def test_parquet_times(tmp_path):
    times = pd.to_datetime(["2020-12-17 14:15:17.5"])
    for values in (times, times.tz_localize("UTC").tz_convert("Asia/Tokyo")):
        table = pd.DataFrame({"video_id": "1", "user_id": "7", "create_time": values})
        table.to_parquet(tmp_path / "table.parquet")
        videos = load_tiktok_export(tmp_path / "table.parquet")
        assert videos["create_time"].tolist() == list(times)


@pytest.mark.parametrize(
    "cell, message",
    [
        (
            1608214517000,
            r"milliseconds: divide the column by 1000\. Row 1 .*608214517000;",
        ),
        ("1608214517000", "milliseconds: divide the column by 1000. Row 1 "),
        (0, r"a time from 2014 to 2099.*Row 1 .* holds 0; rows like it: \[1\], 1 in"),
        (-9e30, "a time from 2014 to 2099"),
        (9_999_999_999, "a time from 2014 to 2099"),
        ("1970-01-01", "a time from 2014 to 2099"),
        ("20201217", "a time from 2014 to 2099"),
        ("yesterday", "a time from 2014 to 2099"),
        (True, "a time from 2014 to 2099"),
        (None, "filled: drop or repair .* Row 1 .* holds None"),
    ],
)
def test_bad_times_raise(tmp_path, cell, message):
    with pytest.raises(
        ValueError, match=r"create_time \(createTime\) must be .*" + message
    ):
        load(tmp_path, post(), post(id="2", createTime=cell))


# --- whole rows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad, label",
    [
        ({"id": None}, r"video_id \(id\)"),
        ({"authorMeta": {"id": " "}}, r"user_id \(authorMeta.id\)"),
        ({"authorMeta": None}, r"user_id \(authorMeta.id\)"),
    ],
)
def test_rows_without_key_raise(tmp_path, bad, label):
    rows = [post(id=str(i)) for i in range(3)] + [post(**bad)] * 7
    message = label + r" must be filled.*Row 3 .*: \[3, 4, 5, 6, 7\] \.\.\., 7 in all"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, *rows)


def test_equal_repeated_rows_are_kept_once(tmp_path):
    a, b = post(hashtags=["x"]), post(id="2", hashtags=[])
    assert load(tmp_path, a, b, a)["video_id"].tolist() == ["2", "1"]


def test_of_differing_repeated_rows_the_latest_scrape_is_kept(tmp_path):
    rows = [
        post(id="b", playCount=7),
        post(id="a", playCount=9, text="most"),
        post(id="a", playCount=5),
        post(id="c", playCount=1, text="first"),
        post(id="c", playCount=1, text="last"),
        post(id="d", text="unknown"),
        post(id="d", playCount=0, text="known"),
        post(id="d", playCount=0, text="known"),
    ]
    with pytest.warns(UserWarning, match="3 videos come more than once") as record:
        videos = load(tmp_path, *rows)
    assert Path(record[0].filename) == Path(__file__)
    assert videos["video_id"].tolist() == ["b", "a", "c", "d"]
    assert videos["caption"].tolist() == ["", "most", "last", "known"]
    assert videos.index.equals(pd.RangeIndex(4))


@pytest.mark.parametrize("change", [{"authorMeta": {"id": "8"}}, {"createTime": 1.6e9}])
def test_ids_of_two_videos_raise(tmp_path, change):
    with pytest.raises(
        ValueError, match=r"video_id must belong to one .*\['1'\], 1 in"
    ):
        load(tmp_path, post(), post(**change))


# --- media --------------------------------------------------------------------------


def test_media(tmp_path):
    media = tmp_path / "media"
    (media / "sub").mkdir(parents=True)
    for name in ("1.jpg", "1.MP4", "1.txt", "2.png", "12.mp4", "sub/3.mp4"):
        (media / name).touch()
    posts = [post(), post(id="2"), post(id="3")]
    for folder in (media, str(media)):
        paths = load(tmp_path, *posts, media_dir=folder)["path"]
        assert paths[:2].tolist() == [str(media / "1.MP4"), str(media / "2.png")]
        assert paths.isna().tolist() == [False, False, True]
        assert paths.dtype == expected()["path"].dtype


def test_path_column_of_the_table(tmp_path):
    row = as_table(VIDEOS[0]) | {"path": "clips/a.mp4"}
    videos = load(tmp_path, row)
    assert videos["path"].tolist() == ["clips/a.mp4"]
    (tmp_path / f"{row['video_id']}.mp4").touch()
    videos = load(tmp_path, row, media_dir=tmp_path)
    assert videos["path"].tolist() == [str(tmp_path / f"{row['video_id']}.mp4")]


def test_a_sheet_may_name_its_files(tmp_path):
    table = pd.DataFrame(
        {
            "clip": ["1", "2.mp4", "3"],
            "user_id": "ann",
            "create_time": "2024-05-01 12:00",
            "file": ["elsewhere/a.mp4", None, "lost.mp4"],
        }
    )
    for name in ("a.mp4", "2.mp4", "3.mp4"):
        (tmp_path / name).touch()
    columns = {"clip": "video_id", "file": "path"}
    videos = load_tiktok_export(table, columns=columns, media_dir=tmp_path)
    assert [Path(p).name for p in videos["path"]] == ["a.mp4", "2.mp4", "3.mp4"]


def test_a_table_may_have_some_names_of_ours_and_others():
    """The layout of our own names would leave the others out."""
    table = pd.DataFrame(
        {
            "video_id": ["1", "2"],
            "user_id": ["ann", "bob"],
            "create_time": "2024-05-01 12:00",
            "views": [5, 7],
            "likes": [1, 2],
            "duration": [9, 14],
        }
    )
    videos = load_tiktok_export(table)
    assert videos["n_plays"].tolist() == [5, 7]
    assert videos["n_likes"].tolist() == [1, 2]
    assert videos["duration_s"].tolist() == [9, 14]


def test_bad_media_dir_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="media_dir must be an existing folder"):
        load(tmp_path, post(), media_dir=tmp_path / "none")
    (tmp_path / "x.mp4").touch()
    with pytest.raises(NotADirectoryError, match="media_dir must be a folder"):
        load(tmp_path, post(), media_dir=tmp_path / "x.mp4")
    message = r"no file like 1.mp4, .* for any of the 1 videos \(1 media files"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, post(), media_dir=tmp_path)


# --- files and layouts --------------------------------------------------------------


def test_bad_paths_raise(tmp_path):
    with pytest.raises(FileNotFoundError, match="source must be an existing file"):
        load_tiktok_export(tmp_path / "none.json")
    with pytest.raises(
        FileNotFoundError, match="a folder with exports, but .* no file"
    ):
        load_tiktok_export(tmp_path)
    (tmp_path / "export.xlsx").touch()
    with pytest.raises(ValueError, match=r"source must end in one of \['.json'.*xlsx"):
        load_tiktok_export(tmp_path / "export.xlsx")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.json", "", r"a.json is not valid JSON: Expecting value: line 1"),
        ("a.json", '[\n{"id": 1,}]', r"is not valid JSON: .*: line 2"),
        ("a.json", '{"id": 1}\n{"id": 2}', r"One object a line\? Name it .jsonl"),
        ("a.json", "[]", "a.json holds no videos"),
        ("a.json", "[{}]", "a.json holds no videos"),
        ("a.json", "[3]", "must hold one object a video; row 0 is 3"),
        ("a.json", "3", "must hold a list of videos.*it holds 3"),
        ("a.json", '{"id": {"0": 1}}', r"it holds \['id'\].*orient='records'"),
        ("a.json", b"[\xff]", "a.json is not UTF-8 text"),
        ("a.jsonl", '{"id": 1}\n{"id"', r"a.jsonl, line 2: no JSON"),
        ("a.ndjson", "\n", "a.ndjson holds no videos"),
        ("a.csv", "", "a.csv holds no videos"),
        ("a.csv", "video_id,user_id\n", "a.csv holds no videos"),
        ("a.csv", "a\n1,2\n1,2,3\n", "a.csv is not valid CSV"),
        ("a.csv", b"a\n\xff\n", "a.csv is not UTF-8 text"),
        ("a.parquet", "PAR1", "a.parquet is not valid Parquet"),
    ],
)
def test_bad_files_raise(tmp_path, name, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        load_tiktok_export(tmp_path / name)


def test_unfit_export_lists_what_is_missing_and_found(tmp_path):
    with pytest.raises(ValueError, match="lacks columns that every") as caught:
        load(tmp_path, {"id": "1", "createTime": 1608214517, "user": {"name": "zoe"}})
    message = str(caught.value)
    assert "layout 'tiktok-scraper' needs 'user_id' (as authorMeta.id or " in message
    assert "layout 'tiktok-api' needs 'user_id' (as author.id or authorId or" in message
    assert "'create_time' (as create_time or video_time)\n" in message
    assert message.endswith("It has ['id', 'createTime', 'user.name'].")
    with pytest.raises(ValueError, match=r"'x39'\] and 10 more\.$"):
        load(tmp_path, {f"x{i}": 1 for i in range(50)})


def test_chosen_layout_must_fit(tmp_path):
    with pytest.raises(ValueError, match="tiktok-api'") as caught:
        load(tmp_path, post(), layout="tiktok-api")
    assert "tiktok-scraper" not in str(caught.value)
    with pytest.raises(ValueError, match=r"layout must be one of \['auto', 'tiktok-s"):
        load(tmp_path, post(), layout="tiktok")


def test_ambiguous_layout_must_be_chosen(tmp_path):
    both = as_scraper(VIDEOS[0]) | as_table(VIDEOS[1])
    with pytest.raises(ValueError, match=r"more than one layout: \['tiktok-scraper', "):
        load(tmp_path, both)
    videos = load(tmp_path, both, layout="tiktok-api-table")
    assert videos["video_id"].tolist() == [VIDEOS[1]["video_id"]]


# --- real exports -------------------------------------------------------------------


@needs_data
def test_real_scraper_export():
    file = Path(DATA) / "trending_2020.json"
    posts = json.loads(file.read_text())["collector"]
    videos = load_tiktok_export(file)
    assert len(videos) == 1000
    assert videos["user_id"].nunique() == 802
    assert videos["n_plays"].tolist() == [p["playCount"] for p in posts]
    assert videos["caption"].tolist() == [p["text"] for p in posts]
    assert videos.columns[videos.isna().all()].tolist() == [
        "effect_stickers",
        "sound_duration_s",
        "n_followers",
        "n_following",
        "n_total_likes",
        "n_user_likes",
        "n_total_videos",
        "cover",
        "path",
    ]
    named = [list(dict.fromkeys(h["name"] for h in p["hashtags"])) for p in posts]
    assert videos["hashtags"].tolist() == named


@needs_data
def test_real_table_loads_in_seconds():
    file = Path(DATA) / "creators_2020.parquet"
    raw = pd.read_parquet(file)
    start = time.process_time()
    videos = load_tiktok_export(file)
    assert time.process_time() - start < 5.0  # 0.7 s on an idle machine
    assert len(videos) == 35_209
    assert videos["user_id"].nunique() == 1_266
    assert videos["video_id"].tolist() == raw["video_id"].tolist()
    unix = (videos["create_time"] - pd.Timestamp(0)) // pd.Timedelta("1s")
    assert unix.tolist() == raw["create_time"].tolist()
    for new, old in {
        "duration_s": "video_length",
        "n_total_videos": "n_total_vids",
    }.items():
        known = raw[old].replace(0, np.nan) if old == "video_length" else raw[old]
        np.testing.assert_array_equal(videos[new], known)
    named = [[t for t in dict.fromkeys(tags) if t] for tags in raw["hashtags"]]
    assert videos["hashtags"].tolist() == named


DTYPE_OF_KIND = {
    "id": "str",
    "text": "str",
    "time": "datetime64[us]",
    "tags": "object",
    "flag": "boolean",
    "count": "float64",
    "size": "float64",
}


def test_the_documented_columns_are_those_of_the_schema():
    row = r"^ {8}(\w+) +([\w\[\]]+) +\S"
    rows = re.findall(row, load_tiktok_export.__doc__, re.MULTILINE)
    rows = [(name, dtype) for name, dtype in rows if dtype in DTYPE_OF_KIND.values()]
    expected = {c: DTYPE_OF_KIND[known.kind] for c, known in _schema.LOADED.items()}
    assert dict(rows) == expected
    assert [name for name, _ in rows] == list(expected)


def test_layouts_hold_known_columns_only():
    for columns in _schema.LAYOUTS.values():
        assert set(_schema.REQUIRED) <= set(columns) <= set(_schema.LOADED)
