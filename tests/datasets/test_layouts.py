"""Whatever people hold: layouts, sources, tables of their own, and broken rows."""

import gzip
import json
import time
import unicodedata
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exports import (
    NAMES,
    VIDEOS,
    as_api,
    as_apify,
    as_apify_row,
    as_aweme,
    as_gallery,
    as_info,
    as_page_item,
    as_pyktok,
    as_research,
    as_scraper,
    as_table,
    expected,
    in_page,
    seconds,
    table_of,
    write,
)
from pandas.testing import assert_frame_equal

from skchallenge import VideoCatalog, load_tiktok_export, make_participation
from skchallenge._grammar import counter_in
from skchallenge._schema import canonical_name
from skchallenge.tabular import TagBinarizer

ID, TIME = "7300000000000000001", 1700000000


def as_files(folder, records, suffix=".info.json"):
    """Write one file a record, in folders; return the folder."""
    for number, record in enumerate(records):
        place = folder / "media" / f"channel{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}{suffix}").write_text(json.dumps(record), "utf-8")
        (place / f"{number}.mp4").touch()
    return folder / "media"


def written(folder, name, content):
    file = folder / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text, "utf-8")
    return file


def research_pages(videos):
    pages = [{"data": {"videos": [as_research(v)], "cursor": 1}} for v in videos]
    return [
        *pages,
        {"data": {"videos": [], "has_more": False}, "error": {"code": "ok"}},
    ]


ELEVEN = {
    "tiktok-scraper": lambda d: written(
        d, "a.json", {"collector": [as_scraper(v) for v in VIDEOS]}
    ),
    "tiktok-api": lambda d: written(d, "a.json", [as_api(v) for v in VIDEOS]),
    "tiktok-api-table": lambda d: write(d, [as_table(v) for v in VIDEOS], ".csv"),
    "research": lambda d: written(d, "a.json", research_pages(VIDEOS)),
    "apify json": lambda d: written(d, "a.json", [as_apify(v) for v in VIDEOS]),
    "apify csv": lambda d: write(d, [as_apify_row(v) for v in VIDEOS], ".csv"),
    "yt-dlp": lambda d: as_files(d, [as_info(v) for v in VIDEOS]),
    "gallery-dl": lambda d: as_files(d, [as_gallery(v) for v in VIDEOS], ".json"),
    "web": lambda d: written(d, "a.json", {"itemList": [as_api(v) for v in VIDEOS]}),
    "aweme": lambda d: written(
        d, "a.json", {"aweme_list": list(map(as_aweme, VIDEOS))}
    ),
    "pyktok": lambda d: write(d, [as_pyktok(v) for v in VIDEOS], ".csv"),
}


@pytest.mark.parametrize("layout", ELEVEN)
def test_eleven_layouts_give_the_same_table(tmp_path, layout):
    source = ELEVEN[layout](tmp_path)
    if layout == "pyktok":
        with pytest.warns(UserWarning, match="create_time .*has no time zone.*as UTC"):
            videos = load_tiktok_export(source)
    else:
        videos = load_tiktok_export(source)
    videos = videos.sort_values("video_id", ignore_index=True)
    assert_frame_equal(videos, table_of(layout))


@pytest.mark.parametrize(
    "wrap",
    [
        in_page,
        lambda videos: {
            f"scope{i}": {"itemInfo": {"itemStruct": as_api(v)}, "statusCode": 0}
            for i, v in enumerate(videos)
        },
        lambda videos: {"statusCode": 0, "data": [as_api(v) for v in videos]},
        lambda videos: {"result": {"any name": [as_api(v) for v in videos]}},
        lambda videos: [{"itemList": [as_api(v)], "hasMore": True} for v in videos],
        lambda videos: [as_page_item(v) for v in videos],
    ],
)
def test_videos_are_found_where_they_are(tmp_path, wrap):
    videos = load_tiktok_export(written(tmp_path, "a.json", wrap(VIDEOS)))
    verified = videos.pop("verified")  # a mere name of an author is not known to be
    assert_frame_equal(videos, expected().drop(columns="verified"))
    assert verified.dtype == "boolean"


def test_a_page_with_names_only_knows_users_by_name(tmp_path):
    items = [as_page_item(v) for v in VIDEOS]
    for item in items:
        del item["authorId"]
    videos = load_tiktok_export(items)
    assert videos["user_id"].tolist() == [NAMES[v["user_id"]] for v in VIDEOS]


def test_an_id_here_and_a_name_there_are_not_mixed(tmp_path):
    one = {"id": "1", "createTime": TIME, "authorMeta": {"id": "7", "name": "zoe"}}
    two = one | {"id": "2", "authorMeta": {"name": "zoe"}}
    with pytest.raises(ValueError, match=r"user_id \(authorMeta.id\) must be filled"):
        load_tiktok_export([one, two])
    by_name = {"authorMeta.name": "user_id"}
    assert set(load_tiktok_export([one, two], columns=by_name)["user_id"]) == {"zoe"}
    (tmp_path / "a.json").write_text(json.dumps([one, one | {"id": "3"}]))
    (tmp_path / "b.json").write_text(json.dumps([two, two | {"id": "4"}]))
    with pytest.raises(ValueError, match=r"b\.json has names only, .*a\.json has ids"):
        load_tiktok_export(tmp_path)
    videos = load_tiktok_export(tmp_path, columns=by_name)
    assert videos["user_id"].tolist() == ["zoe"] * 4


# --- sources ------------------------------------------------------------------------


def test_a_source_is_a_file_a_folder_a_pattern_a_list_or_in_memory(tmp_path):
    posts = [as_scraper(v) for v in VIDEOS]
    for number, post in enumerate(posts):
        folder = tmp_path / "all" / str(number)
        folder.mkdir(parents=True)
        (folder / f"{number}.json").write_text(json.dumps([post]))
    (tmp_path / "all" / ".hidden.json").write_text("no")
    (tmp_path / "all" / "notes.txt").write_text("no")
    files = [tmp_path / "all" / str(i) / f"{i}.json" for i in range(3)]
    table = pd.DataFrame([as_table(v) for v in VIDEOS])
    for source in (
        tmp_path / "all",
        str(tmp_path / "all" / "**" / "*.json"),
        files,
        [str(files[0]), tmp_path / "all" / "1", files[2]],
        posts,
        tuple(posts),
        {"collector": posts},
        [files[0], posts[1:]],
        table,
        [table[:1], table[1:]],
        pl.DataFrame([as_table(v) for v in VIDEOS]),
    ):
        assert_frame_equal(load_tiktok_export(source), expected())


def test_a_pandas_table_may_have_any_types_and_rows():
    table = pd.DataFrame([as_table(v) for v in VIDEOS])
    table["create_time"] = pd.to_datetime(table["create_time"], unit="s", utc=True)
    table["user_id"] = table["user_id"].astype("category")
    table["n_plays"] = table["n_plays"].astype("Int64")
    table["hashtags"] = table["hashtags"].map(np.array)
    table.index = [5, 5, 7]
    assert_frame_equal(load_tiktok_export(table), expected())


@pytest.mark.parametrize("form", [".json", ".jsonl", ".csv", ".parquet"])
def test_files_may_be_compressed(tmp_path, form):
    file = write(tmp_path, [as_table(v) for v in VIDEOS], form)
    packed = tmp_path / f"{file.name}.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert_frame_equal(load_tiktok_export(packed), expected())
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ValueError, match="gz is no whole gzip file"):
        load_tiktok_export(packed)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_csv_of_any_spreadsheet(tmp_path, delimiter, encoding):
    file = write(tmp_path, [as_table(v) for v in VIDEOS], ".csv")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    text = table.to_csv(index=False, sep=delimiter)
    file.write_bytes(text.encode(encoding))
    assert_frame_equal(load_tiktok_export(file), expected())
    file.write_bytes(f"sep={delimiter}\r\n{text}".encode(encoding))
    assert_frame_equal(load_tiktok_export(file), expected())


@pytest.mark.parametrize(
    "source, kind, message",
    [
        (3, TypeError, "source must be a path, a folder, .* got int"),
        ([3], TypeError, "source must be a path, .* got int"),
        (pl.LazyFrame({"a": [1]}), TypeError, "collect a LazyFrame"),
        ([], ValueError, "source holds no videos"),
        (pd.DataFrame(), ValueError, "source holds no videos"),
        ("none/*.json", FileNotFoundError, "a pattern that some files match, got none"),
    ],
)
def test_bad_sources_raise(source, kind, message):
    with pytest.raises(kind, match=message):
        load_tiktok_export(source)


def test_objects_of_a_client_are_refused_with_what_to_pass():
    class Video:
        as_dict = as_api(VIDEOS[0])

    with pytest.raises(TypeError, match=r"pass \[video.as_dict for video in videos\]"):
        load_tiktok_export([Video()])


# --- flattened fields ---------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["hashtags/0/name", "hashtags/1/name"],
        ["hashtags.0.name", "hashtags.1.name"],
        ["hashtags[0].name", "hashtags[1].name"],
        ["hashtags_0_name", "hashtags_1_name"],
        ["hashtags__0__name", "hashtags__1__name"],
        ["hashtags/0", "hashtags/1"],
        ["hashtags.1.name", "hashtags.10.name"],
    ],
)
def test_flattened_lists_are_gathered(tmp_path, names):
    header = f"id,text,createTime,authorMeta.id,{','.join(names)}\n"
    rows = "1,no tag,1700000000,7,dance,fyp\n2,#no,1700000000,7,,\n"
    file = written(tmp_path, "a.csv", header + rows)
    assert load_tiktok_export(file)["hashtags"].tolist() == [["dance", "fyp"], []]


def test_objects_that_pandas_wrote_as_text_are_read(tmp_path):
    for make in (as_api, as_scraper):
        posts = pd.DataFrame([make(v) for v in VIDEOS])
        posts.to_csv(tmp_path / "a.csv", index=False)
        assert_frame_equal(load_tiktok_export(tmp_path / "a.csv"), expected())


# --- tables of one's own --------------------------------------------------------------


def mine(**changes):
    table = {
        "Clip ID": ["a1", "a2"],
        "posted by": ["ann", "bob"],
        "posted_at": ["2024-05-01 12:00:00", "2024-05-02 12:00:00"],
        "Views": [10, 20],
        "likes": ["1.2K", 0],
        "Description": ["a #b", None],
        "funny": ["0", "1"],
    }
    return pd.DataFrame(table | changes)


NEEDED = {"Clip ID": "video_id", "posted by": "user_id"}


def test_known_names_are_found_others_mapped_or_kept(tmp_path):
    mine().to_csv(tmp_path / "a.csv", index=False)
    for source in (mine(), tmp_path / "a.csv"):
        videos = load_tiktok_export(source, columns=NEEDED, keep=["funny"])
        assert videos["video_id"].tolist() == ["a1", "a2"]
        assert videos["create_time"].tolist() == list(
            pd.to_datetime(["2024-05-01 12:00", "2024-05-02 12:00"])
        )
        assert videos["n_plays"].tolist() == [10, 20]
        assert videos["n_likes"].tolist() == [1200, 0]
        assert videos["caption"].tolist() == ["a #b", ""]
        assert videos["hashtags"].tolist() == [["b"], []]
        assert videos.columns[-1] == "funny"
    assert videos["funny"].tolist() == [0, 1]


def test_what_is_mapped_goes_before_what_is_known():
    table = mine(other=[5, 6])
    videos = load_tiktok_export(table, columns=NEEDED | {"other": "n_plays"})
    assert videos["n_plays"].tolist() == [5, 6]


def test_kept_columns_keep_what_they_are():
    table = mine(code=["007", "08"], when=pd.to_datetime(["2024", "2025"]), y=[1.5, 2])
    videos = load_tiktok_export(table, columns=NEEDED, keep=["code", "when", "y"])
    assert videos["code"].tolist() == ["007", "08"]
    assert videos["when"].tolist() == table["when"].tolist()
    assert videos["y"].tolist() == [1.5, 2.0]


def test_known_columns_that_are_dropped_are_named_with_what_keeps_them():
    table = mine(saves=[3, 4], total_views=[1, 2]).drop(columns="Views")
    with pytest.warns(UserWarning, match="Columns that are known were dropped") as seen:
        load_tiktok_export(table, columns=NEEDED)
    assert len(seen) == 1
    text = str(seen[0].message)
    assert "'saves': keep=['saves'] keeps it" in text
    assert "columns={'total_views': 'n_plays'} reads it" in text
    remedy = NEEDED | {"total_views": "n_plays"}
    videos = load_tiktok_export(table, columns=remedy, keep=["saves"])
    assert videos[["n_plays", "saves"]].to_numpy().tolist() == [[1, 3], [2, 4]]


def test_known_columns_are_kept_by_the_name_of_the_schema():
    posts = [as_api(v) | {"stats": {"collectCount": "1.5K"}} for v in VIDEOS]
    videos = load_tiktok_export(posts, keep=["n_saves"])
    assert videos["n_saves"].tolist() == [1500.0] * 3


def test_two_columns_for_one_count_are_refused_if_they_differ():
    table = mine(plays=[10, 20])
    assert load_tiktok_export(table, columns=NEEDED)["n_plays"].tolist() == [10, 20]
    table = mine(plays=[10, 21])
    with pytest.raises(ValueError, match=r"n_plays .*differ.*columns=\{'plays': 'n_pl"):
        load_tiktok_export(table, columns=NEEDED)
    videos = load_tiktok_export(table, columns=NEEDED | {"plays": "n_plays"})
    assert videos["n_plays"].tolist() == [10, 21]


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"columns": ["a"]}, TypeError, "columns must be a dict, .* got list"),
        ({"columns": {"a": "b"}}, ValueError, r"columns must map .* got \['b'\]"),
        (
            {"columns": {"a": "user_id", "b": "user_id"}},
            ValueError,
            r"one column to each name, got two: \['user_id'\]",
        ),
        (
            {"columns": NEEDED | {"no": "song"}},
            ValueError,
            r"got \['no'\]; it has .*Cl",
        ),
        ({"columns": NEEDED, "keep": ["no"]}, ValueError, r"keep must name .*\['no'\]"),
        ({"keep": "funny"}, TypeError, r"keep must be a list of names, got 'funny'"),
        ({"keep": ["song"]}, ValueError, r"\['song'\] are loaded anyway"),
        ({"on_error": "zero"}, ValueError, r"on_error must be one of \['raise', 'drop"),
        ({}, ValueError, r"columns=\{'your name': 'video_id'\}\. It has \['Clip ID'"),
    ],
)
def test_bad_options_raise(options, kind, message):
    with pytest.raises(kind, match=message):
        load_tiktok_export(mine(), **options)


# --- rows that cannot be used ---------------------------------------------------------


GOOD = {"id": "1", "createTime": TIME, "authorMeta": {"id": "7"}, "playCount": 3}
BAD = {
    "an error record": {"url": "x", "error": "not found"},
    "no author": GOOD | {"id": "2", "authorMeta": None},
    "no time": GOOD | {"id": "3", "createTime": 0},
    "a float id": GOOD | {"id": 7.3e18},
    "no count": GOOD | {"id": "4", "playCount": "many"},
    "no list": GOOD | {"id": "5", "hashtags": 3},
    "no object": "deleted",
    "milliseconds": GOOD | {"id": "6", "createTime": 1000 * TIME},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_row_refuses_the_rest_or_is_dropped(tmp_path, bad):
    rows = [GOOD, bad, GOOD | {"id": "9"}]
    file = written(tmp_path, "a.json", rows)
    with pytest.raises(ValueError, match=r"must be .*Row 1 "):
        load_tiktok_export(file)
    with pytest.warns(UserWarning, match=r"1 of 3 rows dropped: 1 because .*\(row 1\)"):
        videos = load_tiktok_export(file, on_error="drop")
    assert videos["video_id"].tolist() == ["1", "9"]
    assert videos.index.tolist() == [0, 1]


def test_all_that_is_dropped_is_told_in_one_warning(tmp_path):
    rows = [GOOD | {"id": str(i + 10)} for i in range(4)]
    rows += [v for v in BAD.values() if isinstance(v, dict)]
    with pytest.warns(UserWarning, match="7 of 11 rows dropped") as seen:
        videos = load_tiktok_export(rows, on_error="drop")
    assert len(seen) == 1
    assert len(videos) == 4
    text = str(seen[0].message)
    assert text.startswith("7 of 11 rows dropped: 1 because video_id (id) must be ")
    assert "1 because hashtags (hashtags[].name) must be a list" in text
    assert "(row 10)" in text


def test_lines_and_files_that_are_broken_are_dropped(tmp_path):
    lines = [json.dumps(GOOD), '{"id": "2"', json.dumps(GOOD | {"id": "3"})]
    written(tmp_path, "a.jsonl", "\n".join(lines))
    table = "video_id,user_id,create_time,caption\n"
    table += f"5,7,{TIME},a\n6,7,{TIME},a, b\n8,7,{TIME},b\n9,7,17000"
    written(tmp_path, "b.csv", table)
    written(tmp_path, "c.json", {"settings": {"theme": "dark"}})
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: no JSON"):
        load_tiktok_export(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match=r"b\.csv .* line 3: it has 5 cells, the head"):
        load_tiktok_export(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"c\.json must hold a list of videos"):
        load_tiktok_export([tmp_path / "c.json", tmp_path / "a.jsonl"])
    with pytest.warns(UserWarning, match=r"3 of 7 rows dropped.*1 file dropped:.*c\."):
        videos = load_tiktok_export(tmp_path, on_error="drop")
    assert videos["video_id"].tolist() == ["1", "3", "5", "8"]


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(
        ValueError, match=r"No row is left\. 1 of 1 rows dropped: 1 bec"
    ):
        load_tiktok_export([GOOD | {"createTime": 0}], on_error="drop")
    with pytest.raises(ValueError, match="lacks columns that every export must have"):
        load_tiktok_export([BAD["an error record"]], on_error="drop")


def test_a_video_of_two_users_is_dropped_whole():
    rows = [GOOD, GOOD | {"authorMeta": {"id": "8"}}, GOOD | {"id": "2"}]
    with pytest.warns(
        UserWarning, match=r"2 of 3 rows dropped: 2 because video_id must"
    ):
        videos = load_tiktok_export(rows, on_error="drop")
    assert videos["video_id"].tolist() == ["2"]


@pytest.mark.parametrize("on_error", ["raise", "drop"])
@pytest.mark.parametrize("count", [-1, "-3", -977433948, 2**60, "-1.0"])
def test_counts_that_cannot_be_are_missing(count, on_error):
    rows = [GOOD, GOOD | {"id": "2", "playCount": count}]
    with pytest.warns(UserWarning, match=r"1 of n_plays \(playCount\), first row 1"):
        videos = load_tiktok_export(rows, on_error=on_error)
    np.testing.assert_array_equal(videos["n_plays"], [3, np.nan])


def test_a_row_of_many_files_is_named_by_its_file(tmp_path):
    infos = [as_info(v) for v in VIDEOS]
    infos[1]["view_count"] = "many"
    folder = as_files(tmp_path, infos)
    with pytest.raises(
        ValueError, match=r"n_plays .* Row 2 is .*channel1.1\.info\.json\."
    ):
        load_tiktok_export(folder)
    with pytest.warns(UserWarning, match=r"1 of 3 rows dropped.*1\.info\.json"):
        assert len(load_tiktok_export(folder, on_error="drop")) == 2


# --- nothing is invented --------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "#dance#fyp",
        "#dance #fyp",
        "\uff03dance\uff03fyp",
        "dance\uff0cfyp",
        "dance\u3001fyp",
        "dance\uff1bfyp",
        "('dance', 'fyp')",
        "{'dance', 'fyp'}",
        "frozenset({'dance', 'fyp'})",
        'c("dance", "fyp")',
        'list("dance", "fyp")',
        "array(['dance', 'fyp'], dtype=object)",
        "np.array(['dance', 'fyp'])",
        "Index(['dance', 'fyp'], dtype='object')",
        "[{'name': 'dance', 'n': -1.5}, {'name': 'fyp'}]",
        ("dance", "fyp"),
        {"fyp", "dance"},
        np.array(["dance", "fyp"]),
    ],
    ids=lambda cell: cell if isinstance(cell, str) else type(cell).__name__,
)
def test_other_spellings_of_lists_are_read(cell):
    table = pd.DataFrame({"video_id": ["1"], "user_id": "7", "create_time": TIME})
    table["hashtags"] = pd.Series([cell], dtype=object)
    assert sorted(load_tiktok_export(table)["hashtags"][0]) == ["dance", "fyp"]
    tags = TagBinarizer(min_frequency=1).fit(table[["hashtags"]]).tags_[0]
    assert tags.tolist() == ["dance", "fyp"]


@pytest.mark.parametrize(
    "cell",
    [
        "['dance' 'fyp']",
        "['dance''fyp']",
        "[dance, fyp]",
        "{dance,fyp}",
        "<dance><fyp>",
        "{'a': 'dance'}",
        'c("dance" "fyp")',
        "dance=1,fyp=2",
        "'dance','fyp'",
        "[True]",
        "[1.5]",
        "[['dance']]",
        "[u'dance']",
        "[" * 3000,
        "[" + "-" * 10**5 + "1]",
        r"['\d']",
    ],
    ids=lambda cell: cell[:20],
)
def test_spellings_that_are_not_known_are_refused(cell):
    table = pd.DataFrame({"video_id": ["1"], "user_id": "7", "create_time": TIME})
    with pytest.raises(ValueError, match=r"hashtags .* must be a list.*Row 0 .* holds"):
        load_tiktok_export(table.assign(hashtags=cell))
    with pytest.raises(ValueError, match=r"X\['hashtags'\]: hashtags .*must be a list"):
        TagBinarizer(min_frequency=1).fit(pd.DataFrame({"hashtags": [cell]}))


@pytest.mark.parametrize(
    "empty", ["character(0)", "set()", "c()", "[]", "()", "array([])"]
)
def test_empty_lists_are_empty(empty):
    rows = [GOOD | {"hashtags": empty}, GOOD | {"id": "2", "hashtags": "a"}]
    assert load_tiktok_export(rows)["hashtags"].tolist() == [[], ["a"]]


def sheet(i):
    """Return an id as a spreadsheet keeps it: 15 digits, then zeros."""
    spare = len(str(i)) - 15
    return i if spare <= 0 else i // 10**spare * 10**spare


IDS = [7301234567890123456, 7301234567890987654, 7309876543210123456]


@pytest.mark.parametrize(
    "lose",
    [
        sheet,
        lambda i: int(float(i)),
        lambda i: int(f"{float(i):.16e}"[:-4].replace(".", "") + "00"),
    ],
    ids=["spreadsheet", "float", "JavaScript"],
)
@pytest.mark.parametrize("column", ["video_id", "user_id", "sound_id"])
def test_ids_that_were_rounded_are_refused(lose, column):
    table = pd.DataFrame({"video_id": IDS, "user_id": IDS[::-1], "create_time": TIME})
    table["sound_id"] = IDS
    assert len(load_tiktok_export(table)) == 3
    table[column] = [lose(i) for i in table[column]]
    for cells in (table[column], table[column].astype(str)):
        with pytest.raises(
            ValueError, match=rf"{column} .*must be ids with all their d"
        ):
            load_tiktok_export(table.assign(**{column: cells}))


def test_ids_that_end_in_zeros_by_chance_are_read():
    # One in ten of 16 digits ends in a zero, one in 10,000 of 19 in four.
    short = [f"{1234567890123 + 7 * i:013}{i % 10}{j}0" for i in range(4) for j in "1"]
    short += [f"12345678901234{i:02}" for i in range(41, 69)]
    long = [f"73012345678{i:08}" for i in range(9_991, 10_020)]
    for ids in (short, long):
        table = pd.DataFrame({"video_id": ids, "user_id": "7", "create_time": TIME})
        assert load_tiktok_export(table)["video_id"].tolist() == ids


@pytest.mark.parametrize("cell", ['="123"', "'123", " 123 ", 123, 123.0])
def test_ids_with_marks_of_a_spreadsheet(cell):
    videos = load_tiktok_export([GOOD | {"id": cell}])
    assert videos["video_id"].tolist() == ["123"]


@pytest.mark.parametrize("cell", [True, [1], {"a": 1}, "{'id': 1}", b"1", 10**50])
def test_what_is_no_id_is_refused(cell):
    table = pd.DataFrame({"user_id": ["7"], "create_time": TIME})
    table["video_id"] = pd.Series([cell], dtype=object)
    with pytest.raises(ValueError, match="video_id"):
        load_tiktok_export(table)


@pytest.mark.parametrize(
    "text", ["now", "today", "2024-05", "2024", "01/05/2024", "5 May"]
)
def test_times_that_would_be_guessed_are_refused(text):
    with pytest.raises(ValueError, match="create_time .*must be a time from 2014"):
        load_tiktok_export([GOOD | {"createTime": text}])


def test_zeros_that_mean_none_are_missing():
    photo = {"duration": 0, "width": 0, "height": 0}
    rows = [GOOD | {"videoMeta": photo, "musicMeta": {"musicId": "0", "duration": 0}}]
    rows += [
        GOOD | {"id": "2", "videoMeta": {"duration": 9, "width": 5}, "playCount": 0}
    ]
    videos = load_tiktok_export(rows)
    sizes = videos[["duration_s", "width", "height", "sound_duration_s"]].to_numpy()
    assert np.isnan(sizes[0]).all()
    assert sizes[1, :2].tolist() == [9, 5]
    assert videos["sound_id"].isna().all()
    assert videos["n_plays"].tolist() == [3, 0]  # nobody saw it


def test_durations_in_milliseconds_are_refused():
    rows = [
        GOOD | {"id": str(i), "videoMeta": {"duration": 9000 + i}} for i in range(3)
    ]
    with pytest.raises(ValueError, match="duration_s .* can only be milliseconds"):
        load_tiktok_export(rows)


def test_one_tag_in_two_forms_is_one():
    forms = [unicodedata.normalize(f, "Caf\u00e9") for f in ("NFC", "NFD")]
    hearts = ["\u2764\ufe0f", "\u2764"]
    rows = [GOOD | {"hashtags": [*forms, *hearts]}]
    assert load_tiktok_export(rows)["hashtags"].tolist() == [[forms[0], hearts[0]]]
    for pair in (forms, hearts, ["\u1e9e", "ss"]):
        X = pd.DataFrame({"hashtags": [[pair[0]], [pair[1]]]})
        assert TagBinarizer(sparse_output=False).fit_transform(X).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    "forms",
    [
        ["Caf\u00e9", "Cafe\u0301"],
        ["\u2764\ufe0f", "\u2764"],
        ["\u212b", "\u00c5"],
        ["da\u200bnce", "dance"],
    ],
)
def test_a_challenge_keeps_its_participants_whatever_their_devices(forms):
    day = pd.Timestamp("2024-01-01")
    days = pd.to_timedelta(3 * np.arange(8), unit="D")

    def study(forms):
        rows = [(f"u{u}", day + d, []) for u in range(12) for d in days]
        rows += [
            (f"{who}{i}", day + pd.Timedelta(days=late, hours=i), [forms[i % 2]])
            for who, late in (("s", 9), ("u", 11))
            for i in range(6)
        ]
        videos = pd.DataFrame(rows, columns=["user_id", "create_time", "hashtags"])
        videos = videos.rename_axis("video_id").reset_index()
        return make_participation(
            videos,
            challenges=[forms[1]],
            n_seeds=3,
            horizon="20D",
            min_history=3,
            until=videos["create_time"].max() + pd.Timedelta("20D"),
        )

    one, both = study([forms[1]] * 2), study(forms)
    pd.testing.assert_frame_equal(one.challenges, both.challenges)
    assert one.y.tolist() == both.y.tolist()
    hidden = both.catalog.encoder_view(range(len(both.catalog)))["hashtags"]
    assert not hidden.map(len).any()


def test_what_no_layout_knows_is_never_built():
    class Never:
        """An object that must not be looked at."""

        def __eq__(self, other):
            raise AssertionError

        __hash__ = None

        def __str__(self):
            raise AssertionError

        __repr__ = __str__

    rows = [GOOD | {"id": str(i), f"k{i}": Never()} for i in range(1, 50)]
    assert len(load_tiktok_export(rows)) == 49


def test_names_of_a_million_parts_and_texts_of_signs_take_no_time():
    n = 20_000
    videos = {"video_id": ["a", "b"], "user_id": ["u", "v"], "create_time": [1, 2]}
    videos |= {"challenge": [None, "dance"], "caption": ["#" * n, "x"]}
    start = time.process_time()
    caption = VideoCatalog(pd.DataFrame(videos)).encoder_view([0])["caption"]
    assert caption.tolist() == ["#" * n]
    for end in "\u00e9\u6559":
        assert counter_in("1" * n + end) is None
    assert canonical_name("a." * n) is None
    assert canonical_name("a." * n + "diggCount") == "n_likes"
    assert time.process_time() - start < 5  # a quadratic pattern takes minutes


N = 100_000


@pytest.mark.parametrize(
    "cell",
    [
        "#" * N,
        "@" + "." * N,
        "@." * N,
        "'" * N,
        r"\'" * N,
        "'" + r"\'" * N,
        "[" + "'," * N,
        "[" + "1" * N,
        "['" + " " * N,
        "c(" * N,
        "c(" + ", dtype=" * N,
        "c(a" + "," + " " * N,
        "{" * N,
        "[" + "-" * N + "1]",
        "1" * N + "K",
        "=" + '"' * N,
        "1" * N + "e",
    ],
    ids=lambda cell: cell[:6],
)
def test_hostile_cells_take_no_time(cell):
    post = GOOD | {"text": cell, "musicMeta": {"musicName": cell}}
    start = time.process_time()
    videos = load_tiktok_export([post])
    assert videos["caption"][0] == cell
    for field in ("hashtags", "mentions", "playCount", "createTime", "id"):
        rows = [GOOD, GOOD | {"id": "2", field: cell}]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_tiktok_export(rows, on_error="drop")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"playCount": 10**400}, "n_plays .*a whole number from 0"),
        ({"playCount": "\ud800"}, "n_plays .*a whole number from 0"),
        ({"hashtags": "[" * 3000}, "hashtags .*must be a list"),
        ({"hashtags": "[" + "-" * 10**5 + "1]"}, "hashtags .*must be a list"),
        ({"createTime": "\ud800"}, "create_time .*must be a time"),
        ({"createTime": 10**400}, "create_time .*must be in Unix seconds"),
        ({"id": 10**4000}, "video_id .*text or an integer.*an integer of 13288 bits"),
        ({"authorMeta": {"id": [[]]}}, "user_id .*text or an integer"),
    ],
)
def test_no_cell_ends_in_an_error_that_is_not_documented(tmp_path, change, message):
    file = written(tmp_path, "a.json", [GOOD | change])
    for source in (file, [GOOD | change]):
        with pytest.raises(ValueError, match=message):
            load_tiktok_export(source)


def test_no_file_ends_in_an_error_that_is_not_documented(tmp_path):
    for text in ("[" * 10**5, '{"a":' * 10**5, "1" * 5000):
        with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
            load_tiktok_export(written(tmp_path, "a.json", text))
    times = pa.array([2**58], pa.timestamp("ms"))
    table = pa.table({"video_id": ["1"], "user_id": ["7"], "create_time": times})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet is not valid Parquet: column 'cre"):
        load_tiktok_export(tmp_path / "a.parquet")


# --- media --------------------------------------------------------------------------


def test_photo_posts_and_names_of_downloaders(tmp_path):
    names = ("1_2.jpg", "1_1.jpg", "1_10.png", "2_1.jpg", "3.mp4", "3_1.jpg")
    more = ("A title [4].mp4", "5.jpg", "Cafe\u0301.mp4")
    for name in (*names, *more):
        (tmp_path / name).touch()
    rows = [GOOD | {"id": i} for i in ("1", "2", "3", "4", "5", "Caf\u00e9", "6")]
    paths = load_tiktok_export(rows, media_dir=tmp_path)["path"].tolist()
    assert paths[0] == [str(tmp_path / f"1_{n}") for n in ("1.jpg", "2.jpg", "10.png")]
    found = ["2_1.jpg", "3.mp4", "A title [4].mp4", "5.jpg", "Cafe\u0301.mp4"]
    assert paths[1:6] == [str(tmp_path / name) for name in found]
    assert paths[6] is None


def test_warnings_name_the_line_of_the_caller():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        load_tiktok_export([GOOD | {"playCount": -1}])
    assert [w.filename for w in seen] == [__file__]
    assert seconds(VIDEOS[0]) == 1608214517
