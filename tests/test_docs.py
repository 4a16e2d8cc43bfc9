"""All code on the pages of the user guide runs and shows what it says."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

import skchallenge

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# The pages whose code needs the weights of the extra `demo`.
NEED_WEIGHTS = {"weights.rst"}


def _pages():
    for path in sorted((ROOT / "docs").glob("*.rst")):
        if ">>>" in path.read_text("utf-8"):
            marks = [pytest.mark.demo] if path.name in NEED_WEIGHTS else []
            yield pytest.param(path, id=path.name, marks=marks)


@pytest.mark.parametrize("page", list(_pages()))
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    if page.name in NEED_WEIGHTS and not importlib.util.find_spec(
        "efficientnet_lite_pytorch"
    ):
        pytest.skip("needs the extra `demo`")
    monkeypatch.chdir(tmp_path)  # pages write clips to a relative folder
    # __name__ lets classes of the page be printed and pickled as in a session.
    result = doctest.testfile(
        str(page),
        module_relative=False,
        optionflags=FLAGS,
        globs={"__name__": "__main__"},
        encoding="utf-8",
    )
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"


def test_every_public_name_is_in_the_reference():
    reference = (ROOT / "docs" / "api.rst").read_text("utf-8")
    packages = ("", ".datasets", ".embed", ".metrics", ".nn", ".tabular", ".exceptions")
    for package in packages:
        module = importlib.import_module(f"skchallenge{package}")
        missing = [
            name
            for name in module.__all__
            if not re.search(rf"^   {name}$", reference, re.MULTILINE)
        ]
        assert not missing, f"{module.__name__}: {missing}"


def test_the_citation_states_the_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {skchallenge.__version__}\n" in citation
