"""The house rules that a linter cannot state."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import skchallenge

ROOT = Path(skchallenge.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
PACKAGES = [
    *("", "baselines", "datasets", "embed", "feed", "metrics", "model_selection", "nn"),
    *("tabular", "exceptions"),
]


def public_objects():
    """Every public object once, under its own name."""
    modules = [
        importlib.import_module(f"skchallenge.{name}".strip(".")) for name in PACKAGES
    ]
    found = {f"{m.__name__}.{n}": getattr(m, n) for m in modules for n in m.__all__}
    first = {id(obj): name for name, obj in reversed(found.items())}
    return {name: obj for name, obj in found.items() if first[id(obj)] == name}


PUBLIC = public_objects()
# Their examples need the extra `demo`; a test that has it runs them.
NEEDS_WEIGHTS = {
    "skchallenge.embed.demo_caption_model",
    "skchallenge.embed.load_demo_backbone",
}


def is_error(obj):
    return inspect.isclass(obj) and issubclass(obj, Exception)


ORDINARY = {name: obj for name, obj in PUBLIC.items() if not is_error(obj)}


def functions(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, kinds)]


def by_file(path):
    return str(path.relative_to(ROOT))


def test_something_is_checked():
    assert len(SOURCES) >= 20
    assert len(ORDINARY) >= 15
    assert sum(len(functions(path)) for path in SOURCES) >= 100


@pytest.mark.parametrize("path", SOURCES, ids=by_file)
def test_modules_have_a_one_line_summary(path):
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    assert first.endswith("."), "the module's docstring starts with no sentence"


@pytest.mark.parametrize("name", ORDINARY)
def test_documented_defaults_are_the_real_ones(name):
    parameters = inspect.signature(ORDINARY[name]).parameters
    stated = stated_defaults(inspect.getdoc(ORDINARY[name]))
    assert set(stated) == set(parameters), "documents other parameters than it has"
    for parameter in parameters.values():
        text = stated[parameter.name]
        if parameter.default is parameter.empty:
            assert text is None, f"{parameter.name} has no default"
        else:
            assert text is not None, f"{parameter.name} states no default"
            assert same_default(text, parameter.default), parameter.name


def stated_defaults(doc):
    """Map each parameter of a numpydoc text to what it says after ``default=``."""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}|\Z)", doc, re.M | re.S
    )
    heads = re.findall(r"^([\w, *]+) : (.*)$", section[1], re.M) if section else []
    return {
        name.lstrip("*"): (re.search(r"default=(.+)$", kind) or [None, None])[1]
        for names, kind in heads
        for name in names.split(", ")
    }


def same_default(text, default):
    try:
        value = ast.literal_eval(text)
    except ValueError:  # a name, such as torch.float32
        return text == str(default)
    return type(value) is type(default) and value == default


@pytest.mark.parametrize("name", ORDINARY)
def test_docstrings_say_what_goes_in_and_comes_out(name):
    doc, obj = inspect.getdoc(ORDINARY[name]), ORDINARY[name]
    if inspect.signature(obj).parameters:
        assert re.search(r"^Parameters\n-{10}\n", doc, re.M)
    if inspect.isfunction(obj):
        assert re.search(r"^(Returns\n-{7}|Yields\n-{6})\n", doc, re.M)
    elif hasattr(obj, "fit"):
        assert re.search(r"^Attributes\n-{10}\n", doc, re.M)


@pytest.mark.parametrize("name", ORDINARY)
def test_public_methods_are_documented(name):
    for method, function in vars(ORDINARY[name]).items():
        if inspect.isfunction(function) and not method.startswith("_"):
            doc = inspect.getdoc(function)
            assert doc, f"{method} has no docstring"
            assert doc.partition("\n")[0].endswith("."), method


@pytest.mark.parametrize("name", sorted(set(ORDINARY) - NEEDS_WEIGHTS))
def test_there_is_an_executed_example(name):
    doc = inspect.getdoc(ORDINARY[name])
    assert ">>> " in doc


@pytest.mark.parametrize("name", PUBLIC)
def test_no_example_is_skipped(name):
    assert "+SKIP" not in inspect.getdoc(PUBLIC[name])


@pytest.mark.parametrize("path", SOURCES, ids=by_file)
def test_no_utils(path):
    assert path.stem.strip("_") not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("path", SOURCES, ids=by_file)
def test_every_exemption_gives_a_reason(path):
    for line in path.read_text().splitlines():
        for mark in ("type: ignore", "noqa"):
            if f"# {mark}" in line:
                tail = line.partition(f"# {mark}")[2]
                assert re.match(r"(: [A-Z]+\d+|\[[\w, -]+\]).*  # \w", tail), line
