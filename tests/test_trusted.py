"""Which classes a file may name, and of which version it may be."""

import importlib
import inspect
import io
import json
import pickle
import subprocess
import sys
import zipfile
from functools import partial

import joblib
import pandas as pd
import pytest
import skops
import skops.io
from skops.io._protocol import PROTOCOL
from skops.io.exceptions import UntrustedTypesFoundException
from test_house_style import PUBLIC

import skchallenge
from skchallenge import VideoCatalog, _state, trusted_types
from skchallenge._state import Versioned
from skchallenge.feed import EngagementScorer, GenreProfiler
from skchallenge.tabular import SentimentFeaturizer

OURS = [name for name in trusted_types() if name.startswith("skchallenge.")]
# Parts of versioned objects; and a store, which is a path.
UNVERSIONED = {
    "_ColumnsBut",
    "_PathColumn",
    "ChallengeClusterKFold",
    "ColdBothKFold",
    "EmbeddingStore",
    "GroupColumnKFold",
    "PointIndex",
    "MediaLimits",
    "TimeSplit",
}


def resolve(name):
    module, _, attribute = name.rpartition(".")
    return module, getattr(importlib.import_module(module), attribute)


def test_every_public_estimator_and_splitter_is_trusted():
    is_saved = [
        n for n, o in PUBLIC.items() if hasattr(o, "fit") or hasattr(o, "split")
    ]
    names = [f"{PUBLIC[n].__module__}.{PUBLIC[n].__qualname__}" for n in is_saved]
    assert len(names) >= 25
    assert not set(names) - set(trusted_types())


@pytest.mark.parametrize("name", trusted_types())
def test_a_trusted_name_is_a_class_in_its_own_module(name):
    module, found = resolve(name)
    assert isinstance(found, type)
    assert found.__module__ == module


def test_the_list_cannot_be_changed():
    trusted_types().clear()
    assert len(trusted_types()) == len(set(trusted_types())) > 40


# Files as an attacker makes them


def node(loader, name, content, **others):
    module, _, kind = name.rpartition(".")
    known = {"__loader__": loader, "__module__": module, "__class__": kind}
    return {**known, "content": content, **others}


def text(value):
    return node("JsonNode", "builtins.str", json.dumps(value))


def call(name, *arguments):
    content = node("TupleNode", "builtins.tuple", list(arguments))
    return node("ConstructorFromReduceNode", name, content)


def method(of, name, kind):
    return node("MethodNode", kind, {"func": name, "obj": of})


def file_of(schema):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        own = {"protocol": PROTOCOL, "_skops_version": skops.__version__}
        archive.writestr("schema.json", json.dumps(schema | own))
    return file.getvalue()


def command(flag):
    """Run a shell command by functions that modules of the library import."""
    module = call("skchallenge.feed.import_module", text("os"))
    system = method(module, "system", "skchallenge.feed.import_module")
    later = call("skchallenge._history.partial", system, text(f"echo > {flag}"))
    return call("skchallenge.embed._backbone._build_called", later)


def imported(flag):
    return call("skchallenge.feed.import_module", text("antigravity"))


def called_method(flag):
    store = call("skchallenge.embed._store.EmbeddingStore", text(str(flag)))
    return method(store, "stats", "skchallenge.embed._store.EmbeddingStore")


def helper(flag):
    return node("FunctionNode", "skchallenge.datasets._catalog._unpickle", None)


def partial_of_a_class(flag):
    store = node("TypeNode", "skchallenge.embed._store.EmbeddingStore", None)
    return call("skchallenge._history.partial", store, text(str(flag)))


@pytest.mark.parametrize(
    "make", [command, imported, called_method, helper, partial_of_a_class]
)
def test_functions_of_our_modules_are_refused(make, tmp_path):
    data = file_of(make(tmp_path / "flag"))
    asked = skops.io.get_untrusted_types(data=data)
    assert any(name.startswith("skchallenge.") for name in asked)
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.loads(data, trusted=trusted_types())
    assert not list(tmp_path.iterdir())
    assert "antigravity" not in sys.modules


def hostile_state(kind, value):
    """Return what a file may give as the state, for every parameter of a class."""
    names = [*inspect.signature(kind.__init__).parameters][1:]
    names += ["_weights", "_packed", "net_", "videos", "_net_of", "device", "path"]
    entries = dict.fromkeys(names, value)
    entries["_skchallenge_version"] = text(skchallenge.__version__)
    keys = [node("TypeNode", "builtins.str", None) for _ in entries]
    key_types = node("ListNode", "builtins.list", keys)
    return node("DictNode", "builtins.dict", entries, key_types=key_types)


WATCH = """
import contextlib, importlib, pickle, sys, warnings
warnings.simplefilter("ignore")
import skops.io, skchallenge
for name in skchallenge.trusted_types():
    importlib.import_module(name.rpartition(".")[0])
files = pickle.load(sys.stdin.buffer)
trusted, seen, watch = skchallenge.trusted_types(), set(), False
KINDS = ("open", "os.", "subprocess.", "socket.", "sqlite3.", "shutil.", "import",
         "exec", "compile", "pickle.", "ctypes.", "marshal.")
def hook(event, arguments):
    if watch and event.startswith(KINDS):
        seen.add((event, str(arguments)[:80]))
sys.addaudithook(hook)
loaded = 0
for watch in (False, True):  # first what Python and skops import once
    for data in files:
        with contextlib.suppress(Exception):
            skops.io.loads(data, trusted=trusted)
            loaded += watch
watch = False
print(loaded, seen)
"""


def test_trusted_classes_are_inert_whatever_they_are_given(tmp_path):
    """They may refuse what they are given, but do nothing with it."""
    flag = str(tmp_path / "flag")
    values = [
        text(flag),
        text({"path": flag}),
        node("TypeNode", "skchallenge.embed._store.EmbeddingStore", None),
        call("skchallenge.embed._store.EmbeddingStore", text(flag)),
        node("ListNode", "builtins.list", [text(flag), text("antigravity")]),
    ]
    files = []
    for name in OURS:
        kind = resolve(name)[1]
        for value in values:
            files.append(file_of(node("ObjectNode", name, hostile_state(kind, value))))
            files += [file_of(call(name, *[value] * n)) for n in range(3)]
    answer = subprocess.run(
        [sys.executable, "-c", WATCH], input=pickle.dumps(files), capture_output=True
    )
    n_loaded, _, seen = answer.stdout.decode().strip().partition(" ")
    assert seen == "set()", answer.stderr.decode()
    assert int(n_loaded) > len(OURS)
    assert not list(tmp_path.iterdir())


# Versions


def test_what_has_a_state_has_a_version():
    lacks = {n for n in OURS if not issubclass(resolve(n)[1], Versioned)}
    assert {n.rpartition(".")[2] for n in lacks} == UNVERSIONED | {"VideoCatalog"}
    assert VideoCatalog(VIDEOS).__getstate__()[_state._ENTRY] == _state._VERSION


VIDEOS = pd.DataFrame(
    {"video_id": ["a"], "user_id": ["u"], "challenge": ["c"], "create_time": [1]}
)
LOG = pd.DataFrame({"user_id": ["a", "b"], "genre": ["x", "y"]})
profiler = partial(GenreProfiler, user="user_id", genre="genre")
SAVED = {
    "estimator": lambda: SentimentFeaturizer(),
    "fitted": lambda: EngagementScorer().fit([[0.1, 0.8, 0.0, 0.0, 1.0]]),
    "with tables": lambda: GenreProfiler(user="user_id", genre="genre").fit(
        LOG, [0, 1]
    ),
    "catalog": lambda: VideoCatalog(VIDEOS),
}


def by_joblib(obj):
    file = io.BytesIO()
    joblib.dump(obj, file)
    return file.getvalue()


ROUTES = {
    "pickle": (pickle.dumps, pickle.loads),
    "joblib": (by_joblib, lambda data: joblib.load(io.BytesIO(data))),
    "skops": (
        skops.io.dumps,
        lambda data: skops.io.loads(data, trusted=trusted_types()),
    ),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", SAVED)
def test_files_of_newer_and_unknown_versions_are_refused(name, route, monkeypatch):
    dump, load = ROUTES[route]
    obj = SAVED[name]()
    assert type(load(dump(obj))) is type(obj)
    for version, match in {
        "99.1": r"by skchallenge 0\..* was saved by 99\.1\. Load it with skchallenge",
        "yesterday": "names the version 'yesterday'.*fit and save the model again",
        None: "names the version None",
        3: "names the version 3",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(_state, "_VERSION", version)
            data = dump(SAVED[name]())
        with pytest.raises(ValueError, match=match):
            load(data)


def test_files_of_older_versions_load(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_state, "_VERSION", "0.0.1")
        data = pickle.dumps(SAVED["with tables"]())
    loaded = pickle.loads(data)
    assert loaded.predict_proba(LOG).shape == (2, 2)
    assert _state._ENTRY not in vars(loaded)


def test_a_state_without_a_version_is_refused():
    for state in ({}, None, {"lexicon": 1}, [1]):
        with pytest.raises(ValueError, match="known version .* the version None"):
            SentimentFeaturizer().__setstate__(state)
