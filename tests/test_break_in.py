"""What strangers' files must not do: run code, fill the memory, write into logs."""

import gzip
import io
import json
import pickle
import socket
import string
import subprocess
import sys
import time
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from skchallenge import CaptionEmbedder, VideoCatalog, VideoFrameEmbedder
from skchallenge._grammar import counter_in
from skchallenge._guard import column_roles
from skchallenge._parse import tags_in_captions
from skchallenge._schema import canonical_name
from skchallenge._table import printable, same_text, tag_name
from skchallenge.baselines import Comparison
from skchallenge.datasets import load_tiktok_export
from skchallenge.datasets._sources import _read_parquet
from skchallenge.embed import probe_media
from skchallenge.exceptions import MediaError, MediaWarning
from skchallenge.feed import JourneyDisplay, engagement_signals
from skchallenge.media import _read, _worker
from skchallenge.metrics import TrainingCurvesDisplay
from skchallenge.tabular import SentimentFeaturizer

# A folder of weights with code of its own

BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 30,
}
OWN_CODE = {
    "a configuration": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}},
    "a known model": {**BERT, "auto_map": {"AutoModel": "evil.Evil"}},
    "both": {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"},
    },
    "a tokenizer": {"model_type": "evil", "auto_map": {"AutoTokenizer": "evil.Evil"}},
}


@pytest.mark.parametrize("name", OWN_CODE)
def test_code_in_a_folder_of_weights_never_runs(name, tmp_path, monkeypatch, capsys):
    flag = tmp_path / "ran"
    (tmp_path / "config.json").write_text(json.dumps(OWN_CODE[name]))
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w')\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with pytest.raises(ValueError, match="model must be a folder|comes without its"):
        CaptionEmbedder(tmp_path, max_length=16).fit_transform(["hello"])
    assert not flag.exists()
    assert sys.stdin.tell() == 0  # nobody was asked
    assert "y/N" not in capsys.readouterr().out


def tiny_model(folder, **settings):
    """Write a sound model of few numbers."""
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**BERT)).save_pretrained(folder)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    (folder / "vocab.txt").write_text("\n".join(letters[:30]))
    (folder / "config.json").write_text(json.dumps({**BERT, **settings}))


class Payload:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return open, (str(self.flag), "w")


def tokenizer_of_its_own(folder):
    own = {
        "auto_map": {"AutoTokenizer": ["evil.Evil", None]},
        "tokenizer_class": "Evil",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(own))


def pickled_weights(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(folder / "ran")))


def zipped_weights(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"a": Payload(folder / "ran")}, folder / "pytorch_model.bin")


# Broken in ways of which each raised an error of its own.
def no_weights(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)


def deep_settings(folder):
    (folder / "config.json").write_text("[" * 100_000)


def unknown_activation(folder):
    (folder / "config.json").write_text(json.dumps({**BERT, "hidden_act": "evil"}))


def no_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    "harm",
    [
        *(tokenizer_of_its_own, pickled_weights, zipped_weights),
        *(no_weights, deep_settings, unknown_activation, no_tokenizer),
    ],
)
def test_a_folder_that_is_harmed_is_an_error_and_no_more(harm, tmp_path, monkeypatch):
    tiny_model(tmp_path)
    model = CaptionEmbedder(tmp_path, max_length=16)
    assert model.fit_transform(["hello"]).shape == (1, 8)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    harm(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with pytest.raises(ValueError, match="model must be a folder with a BERT-family"):
        model.fit(["hello"]).transform(["hello"])
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.tell() == 0


def test_kernels_that_settings_name_are_not_loaded(tmp_path, monkeypatch):
    from transformers import modeling_utils

    asked = []
    monkeypatch.setattr(
        modeling_utils,
        "lazy_import_flash_attention",
        lambda name, **_: asked.append(name),
    )
    tiny_model(tmp_path, _attn_implementation="kernels-community/evil")
    model = CaptionEmbedder(tmp_path, max_length=16)
    assert model.fit_transform(["hello"]).shape == (1, 8)
    assert not asked


# Small files that hold much

PEAK = """
import resource, sys
from skchallenge.datasets import load_tiktok_export
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    assert len(load_tiktok_export(sys.argv[1])) == 1
except ValueError as error:  # known not to be worth reading, or no text
    assert "can only repeat each other" in str(error) or "must be" in str(error), error
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
N_ROWS = 20_000
LONG = "x" * 50_000  # a gigabyte, if each row had its own


def same(value, n_rows):
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(n_rows, np.int32)), pa.array([value])
    )


def repeated(value):
    return same(value, N_ROWS)


POST = {
    "id": repeated("1"),
    "createTime": np.full(N_ROWS, 1600000000),
    "authorMeta.id": repeated("7"),
}
BOMBS = {
    "a caption": {"text": repeated(LONG)},
    "a caption, typed as plain text": {"text": repeated(LONG)},
    "an id": {"authorMeta.id": repeated(LONG)},
    "a column that nobody knows": {"zzz": repeated(LONG)},
    "numbers that nobody knows": {
        "zzz": pa.FixedSizeListArray.from_arrays(
            pa.array(np.zeros(N_ROWS * 5000, np.int8)), 5000
        )
    },
}


def in_lists(values, size):
    offsets = pa.array(np.arange(N_ROWS + 1, dtype=np.int32) * size)
    return pa.ListArray.from_arrays(offsets, values)


BOMBS |= {
    "a text of an object": {
        "authorMeta": pa.StructArray.from_arrays(
            [repeated("7"), repeated(LONG)], ["id", "signature"]
        )
    },
    "bytes": {"videoMeta.height": repeated(LONG.encode())},
}
# The others take a minute.
SOON = {"a caption", "a column that nobody knows", "a text of an object"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in SOON)) for n in BOMBS]
)
def test_a_small_parquet_file_takes_no_gigabyte(name, tmp_path):
    columns = {**POST, "text": repeated("hello"), **BOMBS[name]}
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table(columns), path, compression="zstd", store_schema="plain" not in name
    )
    assert path.stat().st_size < 1_000_000
    run = [sys.executable, "-c", PEAK, str(path)]
    answer = subprocess.run(run, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) < 300_000  # kilobytes


def rows_that_repeat(path):
    n_rows = 1_000_000
    columns = {"id": "1", "authorMeta.id": "7", "text": "hello"}
    table = {name: same(text, n_rows) for name, text in columns.items()}
    table["createTime"] = np.full(n_rows, 1600000000)
    pq.write_table(pa.table(table), path / "a.parquet", compression="zstd")
    return path / "a.parquet", "1,000,000 rows in .* can only repeat each other"


def lists_that_repeat(path):
    tags = in_lists(same("x" * 100, N_ROWS * 500), 500)
    pq.write_table(pa.table({**POST, "hashtags": tags}), path / "a.parquet")
    return path / "a.parquet", "10,000,000 values of column 'hashtags' in"


def bytes_of_one_size(path):
    texts = pa.array([b"x" * 50_000] * 2000, pa.binary(50_000))
    table = {**POST, "text": pa.concat_arrays([texts] * 10)}
    pq.write_table(pa.table(table), path / "a.parquet", compression="zstd")
    return path / "a.parquet", "values of column 'text' in"


def plain_texts(path):
    texts = pa.array([LONG] * 2000)
    table = {**POST, "text": pa.concat_arrays([texts] * 10)}
    options = {"compression": "zstd", "use_dictionary": False}
    pq.write_table(pa.table(table), path / "a.parquet", **options)
    return path / "a.parquet", "20,000 values of column 'text' in"


def spaces(path):
    with gzip.open(path / "a.json.gz", "wb") as file:
        for _ in range(65):
            file.write(b" " * 2**20)
    return path / "a.json.gz", "holds more than 67,108,864 bytes in .* unpack it first"


@pytest.mark.parametrize(
    "make",
    [
        *(rows_that_repeat, lists_that_repeat, bytes_of_one_size),
        *(plain_texts, spaces),
    ],
)
def test_a_file_that_repeats_itself_is_refused(make, tmp_path):
    path, message = make(tmp_path)
    begin = time.process_time()
    with pytest.raises(ValueError, match=message):
        load_tiktok_export(path)
    assert time.process_time() - begin < 5.0


def test_sound_files_are_read_however_well_they_are_packed(tmp_path):
    n_rows = 120_000
    columns = {
        "video_id": [f"{7 * 10**18 + 977 * i}" for i in range(n_rows)],
        "user_id": same("7", n_rows),
        "create_time": 1600000000 + np.arange(n_rows),
        "n_plays": np.zeros(n_rows, np.int64),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="zstd")
    assert len(load_tiktok_export(tmp_path / "a.parquet")) == n_rows


NESTED = {
    "id": ["1", "2", "3"],
    "createTime": [1600000000] * 3,
    "authorMeta": [{"id": "7", "verified": True}, {"id": "8", "verified": None}] * 2,
    "hashtags": [[{"name": "a"}, {"name": "b"}], None, [], [{"name": None}]],
    "covers": [None, {"default": "x"}, {"default": None}, None],
}


def test_texts_of_objects_that_are_all_different_are_read(tmp_path):
    """Their pages are written without a dictionary from some point on."""
    names = [f"{i}" * 30 for i in range(N_ROWS)]
    posts = [{"id": str(i), "name": name} for i, name in enumerate(names)]
    table = {**POST, "authorMeta": posts}
    del table["authorMeta.id"]
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    assert _read_parquet(data, "a", lambda _: True).cells("authorMeta") == posts


@pytest.mark.parametrize("slices", [False, True])
def test_nested_columns_of_parquet_are_what_arrow_says(slices, tmp_path):
    table = pa.table({k: v[:3] for k, v in NESTED.items()})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2 if slices else 9)
    table = pq.read_table(tmp_path / "a.parquet")
    export = _read_parquet((tmp_path / "a.parquet").read_bytes(), "a", lambda _: True)
    for name in table.column_names:
        assert export.cells(name) == table.column(name).to_pylist()
    assert load_tiktok_export(tmp_path / "a.parquet")["hashtags"].tolist() == [
        ["a", "b"],
        [],
        [],
    ]


# Texts that take long to read

MARKS = "a" + "\u0316\u0300"  # below and above: to be sorted
LINEAR = {
    "marks": lambda n: same_text(MARKS * (n // 3) + MARKS[1:] * n),
    "marks of a tag": lambda n: tag_name("\u0300" * n + "\u0316" * n),
    "emoji": lambda n: SentimentFeaturizer().fit_transform(["\U0001f600" * n]),
    "many words": lambda n: SentimentFeaturizer().fit_transform(
        ["good " * n + "bad " * n + "but bad"]
    ),
    "hash signs": lambda n: tags_in_captions(pd.Series(["#" * n]), "hashtags"),
    "at signs": lambda n: tags_in_captions(pd.Series(["@." * n]), "mentions"),
    "digits": lambda n: counter_in("1" * n + "é"),
    "dots": lambda n: canonical_name("a." * n),
    "capitals": lambda n: counter_in("aA" * n),
    "what is made of a column": lambda n: column_roles(["a_length" * n]),
    "underscores": lambda n: canonical_name("log_" * n),
    "a caption to scrub": lambda n: VideoCatalog(
        pd.DataFrame(
            {
                "video_id": ["a", "b"],
                "user_id": ["u", "v"],
                "challenge": [None, "dance"],
                "create_time": [1, 2],
                "caption": ["#" * n, "x"],
            }
        )
    ).encoder_view([0]),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_long_text_is_read_in_linear_time(name):
    LINEAR[name](100)
    begin = time.process_time()
    LINEAR[name](20_000)
    assert time.process_time() - begin < 5.0  # linear: one second


@pytest.mark.parametrize("seed", range(5))
def test_long_texts_have_the_form_of_short_ones(seed):
    rng = np.random.default_rng(seed)
    letters = list("aé\u0300\u0316\u0345\u1100\u1161\u11a8\uac00\u01f0 ß한\u0f71\u0f72")
    text = "".join(rng.choice(letters, size=3000))
    assert same_text(text) == unicodedata.normalize("NFC", text)


def test_scores_are_those_of_vader_whose_copies_are_saved():
    vader = pytest.importorskip("vaderSentiment.vaderSentiment")
    words = (
        "never so this without doubt not good kind of the shit the bomb bad ass yeah"
    )
    words = [
        *words.split(),
        *["but", "least", "at", "very", "GREAT", "sort", "cut", "mustard", "love"],
    ]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=n)) for n in rng.integers(1, 40, 500)]
    outputs = ("compound", "pos", "neu", "neg")
    ours = SentimentFeaturizer(outputs=outputs).fit_transform(texts)
    analyzer = vader.SentimentIntensityAnalyzer()
    theirs = [[analyzer.polarity_scores(t)[o] for o in outputs] for t in texts]
    np.testing.assert_array_equal(ours, theirs)


# Files that are no media, and names that are no text


@pytest.mark.parametrize("name", ["notes.txt", "notes.nfo", "notes.ans", "notes.idf"])
def test_a_text_is_no_film(name, tmp_path):
    path = tmp_path / name
    path.write_text("My password is 1234\n" * 4000)
    table = probe_media([path])
    assert table["status"].tolist() == ["error"]
    assert "is text, not a video" in table["reason"][0]


NAME = "x\nrow 1: ok \x1b[2K\u2028\u202e.mp4"


def test_a_name_writes_no_line_of_its_own(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"x")
    shown = r"x\nrow 1: ok \x1b[2K\u2028\u202e.mp4"
    assert printable(NAME) == shown
    assert printable("Tänzerin 1.mp4") == "Tänzerin 1.mp4"
    assert probe_media([path])["reason"][0].isprintable()
    options = {"weights": None, "n_frames": 1}
    model = VideoFrameEmbedder("resnet50", **options, on_error="zero").fit([path])
    with pytest.warns(MediaWarning) as caught:
        model.transform([path])
    assert str(caught[0].message).isprintable()
    assert shown in str(caught[0].message)
    with pytest.raises(MediaError) as raised:
        VideoFrameEmbedder("resnet50", **options).fit([path]).transform([path])
    assert str(raised.value).isprintable()


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{file}\n",
    "b.mp4": "ffconcat version 1.0\nfile '{file}'\n",
    "b.mkv": "ffconcat version 1.0\nfile '{url}'\n",
    "c.svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
}
SUBTITLES = {
    "a.srt": "1\n00:00:00,000 --> 00:00:05,000\nMy password\n\n" * 50,
    "a.vtt": "WEBVTT\n\n" + "00:00.000 --> 00:05.000\nMy password\n\n" * 50,
    "a.ass": "[Script Info]\n[Events]\n" + "Dialogue: 0,0:00:00.00,pw\n" * 50,
    "a.csv": "id,password\n" * 9000,
}


def test_texts_that_name_other_files_open_none(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "secret.png")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for name, text in {**PLAYLISTS, **SUBTITLES}.items():
            text = text.replace("{file}", str(tmp_path / "secret.png"))
            (tmp_path / name).write_text(text.replace("{url}", url))
        table = probe_media([tmp_path / n for n in (*PLAYLISTS, *SUBTITLES)])
        with pytest.raises(TimeoutError):
            server.accept()  # nobody asked
    assert set(table["status"]) == {"error"}
    wide = [(tmp_path / f"{e}.txt", e) for e in ("utf-16", "utf-32", "latin-1")]
    for path, encoding in wide:
        path.write_bytes(("Tätowierung, geheim\n" * 4000).encode(encoding))
    assert set(probe_media([p for p, _ in wide])["status"]) == {"error"}


ROW = {"id": "1", "createTime": 1600000000, "authorMeta": {"id": "7"}}
TABLE = {"video_id": ["1"], "user_id": ["1"], "create_time": [1600000000]}
EVIL = "x\nINFO: ok \x1b[2K"


def of_a_file(folder):
    (folder / f"{EVIL}.csv").write_text('video_id\n"1')
    load_tiktok_export(folder / f"{EVIL}.csv")


def of_a_column(folder):
    load_tiktok_export([{**TABLE, "view\x1b[2K\ns": "x"}], columns={})


def of_ids_that_clash(folder):
    clash = {**ROW, "id": EVIL}
    other = {**clash, "authorMeta": {"id": "8"}}
    load_tiktok_export([ROW, clash, other], on_error="drop")


def of_an_id_without_media(folder):
    load_tiktok_export([{**ROW, "id": EVIL}], media_dir=folder)


def of_a_mapped_column(folder):
    table = pd.DataFrame({**TABLE, EVIL: ["x"]})
    load_tiktok_export(table, columns={EVIL: "n_plays"})


@pytest.mark.parametrize(
    "read",
    [
        *(of_a_file, of_a_column, of_ids_that_clash),
        *(of_an_id_without_media, of_a_mapped_column),
    ],
)
def test_names_in_exports_write_no_lines_of_their_own(read, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read(tmp_path)
        except ValueError as error:
            caught.append(error)
    assert caught
    for told in caught:
        text = str(getattr(told, "message", told))
        assert "\x1b" not in text
        assert "\nINFO" not in text
        assert len(text) < 3000


def test_a_message_does_not_repeat_a_name_of_a_megabyte():
    with pytest.raises(ValueError, match="lacks columns") as raised:
        load_tiktok_export([{"k" * 10**6: 1}])
    assert len(str(raised.value)) < 3000


@pytest.mark.parametrize("column", ["video_id", "user_id", "challenge"])
def test_ids_of_a_catalog_are_no_bytes(column):
    known = {
        "video_id": ["a"],
        "user_id": ["u"],
        "challenge": ["c"],
        "create_time": [1],
    }
    for bad in (b"a", [b"a"]):
        table = pd.DataFrame({**known, column: pd.Series([bad], dtype=object)})
        with pytest.raises(TypeError, match=f"{column} must hold strings or integers"):
            VideoCatalog(table)


def columns_of_one_name(folder):
    names = ["id", "id", "createTime", "authorMeta.id"]
    values = [pa.array(v) for v in (["1"], ["2"], [1600000000], ["7"])]
    pq.write_table(pa.table(values, names=names), folder / "a.parquet")
    load_tiktok_export(folder / "a.parquet")


def numbers_beyond_floats(folder):
    log = {"play_time_ms": [10**400, 1], "duration_ms": [1, 1]}
    engagement_signals(pd.DataFrame(log))


def challenges_in_lists(folder):
    table = {"video_id": ["a"], "user_id": ["u"], "create_time": [1]}
    VideoCatalog(pd.DataFrame({**table, "challenge": [[["a", ["b"]]]]}))


@pytest.mark.parametrize(
    "read", [columns_of_one_name, numbers_beyond_floats, challenges_in_lists]
)
def test_tables_of_strangers_end_in_errors_of_their_own(read, tmp_path):
    with pytest.raises((TypeError, ValueError)):
        read(tmp_path)


def test_ids_are_text_or_whole_numbers(tmp_path):
    table = {"id": [b"123"], "createTime": [1600000000], "authorMeta.id": ["7"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    post = {"createTime": 1600000000, "authorMeta": {"id": "7"}}
    sources = [tmp_path / "a.parquet"]
    for bad in (float("inf"), True, -1.5, {"a": 1}):
        sources.append([{**post, "id": bad}])
    for source in sources:
        with pytest.raises(ValueError, match=r"video_id \(id\) must be"):
            load_tiktok_export(source)


@pytest.mark.parametrize("name", [r"$\bad{$", "$$", r"$\frac$ $x", "$x_$"])
def test_an_id_is_no_formula(name):
    events = pd.DataFrame(
        {
            "video_id": [name],
            "event": ["machine review"],
            "stage": [0],
            "score": [0.0],
            "reason": [f"machine review: {name} stopped"],
        }
    )
    display = JourneyDisplay(events, pd.Series([5], index=[name]))
    display.plot(ax=Figure().subplots()).figure_.savefig(io.BytesIO())
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == [name]


def test_a_worker_whose_libraries_print_still_answers():
    code = _worker.__file__
    source = (
        "import runpy, sys, atexit, os\n"
        "print('a library talks', flush=True)\n"
        f"sys.argv = [{code!r}, str(2**31)]\n"
        "import skchallenge.media._worker as w\n"
        "old = w.perform\n"
        "def perform(*a, **k):\n"
        "    print('it talks again', flush=True); os.write(1, b'raw'); "
        "return {'fine': 1}, b'abc'\n"
        "w.perform = perform\n"
        "w.main()\n"
    )
    request = json.dumps({"n_bytes": [], "give_up_s": 60.0, "limits": {}}) + "\n"
    answer = subprocess.run(
        [sys.executable, "-c", source], input=request.encode(), capture_output=True
    )
    _, _, rest = answer.stdout.partition(_worker.READY)
    assert rest == b'{"fine": 1, "n_bytes": 3}\nabc', answer.stderr


MEANT = ["half a frame", "frames that are not there", "other metadata"]
TALK = """
import skchallenge.media._worker as w, json, sys, os
answers = {answers}
def serve(requests, replies):
    replies.write(b"\\n" + w.READY)
    replies.flush()
    for line in requests:
        replies.write(answers)
        replies.flush()
w.serve = serve
w.main()
"""
NONSENSE = {
    "no message": b"hello\n",
    "a list": b"[1]\n",
    "no length": b"{}\n",
    "a length below 0": b'{"n_bytes": -1}\n',
    "a length beyond memory": b'{"n_bytes": 1000000000000}\n',
    "a length of text": b'{"n_bytes": "9"}\n',
    "deep": b"[" * 10**6 + b"\n",
    "a line without an end": b"x" * 2**25,
    "less than it says": b'{"n_bytes": 5}\n1',
    "half a frame": b'{"n_bytes": 5, "frame_index": [0]}\n12345',
    "frames that are not there": b'{"n_bytes": 0, "frame_index": [7]}\n',
    "other metadata": b'{"n_bytes": 0, "n_frames": "x", "codec": 3}\n',
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_message_is_none(name):
    answer = _worker.read_message(io.BytesIO(NONSENSE[name]), 2**20)
    assert (answer is not None) == (name in MEANT)


@pytest.mark.parametrize("name", ["deep", *MEANT])
def test_whatever_a_worker_answers_is_a_bad_file(name, tmp_path, monkeypatch):
    """A decoder that a file has taken over may say anything."""
    (tmp_path / "talk.py").write_text(TALK.format(answers=NONSENSE[name]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_read, "_WORKER", "talk")
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    if name == "other metadata":
        reason = probe_media([path])["reason"][0]
    else:
        (reason,) = map(str, _read.read_clips([str(path)], 1, 8, n_threads=1))
    assert "crashes the decoder" in reason


@pytest.mark.parametrize("name", [r"$\bad{$", r"$\frac$ $x", "$x_$"])
def test_a_model_of_that_name_is_no_formula(name):
    display = TrainingCurvesDisplay([1.0], [0.5], estimator_name=name)
    display.plot(Figure().subplots(1, 2)).figure_.savefig(io.BytesIO())
    assert display.axes_[0].get_legend().get_texts()[0].get_text().startswith(name)
    table = pd.DataFrame({"average_precision": [0.5, 0.4]}, index=[name, "b"])
    ends = ["difference", "low", "high", "low_two_way", "high_two_way"]
    index = pd.MultiIndex.from_product([table.index, table.columns])
    shown = Comparison.__new__(Comparison)
    shown.table, shown.reference = table, name
    shown.differences = pd.DataFrame(0.0, index=index, columns=ends)
    shown.plot("average_precision", ax=Figure().subplots())
    shown.figure_.savefig(io.BytesIO())
    assert name in [t.get_text() for t in shown.axes_.get_yticklabels()]
