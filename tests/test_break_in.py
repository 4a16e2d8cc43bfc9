"""What strangers' files must not do: run code, fill the memory, write into logs."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from skchallenge import CaptionEmbedder, VideoCatalog, VideoFrameEmbedder
from skchallenge._grammar import counter_in
from skchallenge._guard import column_roles
from skchallenge._parse import tags_in_captions
from skchallenge._schema import canonical_name
from skchallenge.datasets import load_tiktok_export
from skchallenge.embed import probe_media
from skchallenge.exceptions import MediaError, MediaWarning
from skchallenge.feed import JourneyDisplay
from skchallenge.media import _worker
from skchallenge.media._file import printable

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


# Small files that hold much

PEAK = """
import resource, sys
from skchallenge.datasets import load_tiktok_export
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(load_tiktok_export(sys.argv[1])) == 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
N_ROWS = 20_000
LONG = "x" * 50_000  # a gigabyte, if each row had its own


def repeated(text):
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(N_ROWS, np.int32)), pa.array([text])
    )


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


SOON = {"a caption", "a column that nobody knows"}  # the others take a minute


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in SOON)) for n in BOMBS]
)
def test_a_small_parquet_file_takes_no_gigabyte(name, tmp_path):
    columns = {
        "id": repeated("1"),
        "createTime": np.full(N_ROWS, 1600000000),
        "authorMeta.id": repeated("7"),
        "text": repeated("hello"),
        **BOMBS[name],
    }
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table(columns), path, compression="zstd", store_schema="plain" not in name
    )
    assert path.stat().st_size < 1_000_000
    run = [sys.executable, "-c", PEAK, str(path)]
    answer = subprocess.run(run, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) < 300_000  # kilobytes


# Texts that take long to read

LINEAR = {
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
