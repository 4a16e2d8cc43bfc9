"""All code on the pages of the user guide runs and shows what it says."""

import ast
import doctest
import importlib
import re
import tomllib
from pathlib import Path

import pytest

import skchallenge

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Pages whose code needs the weights of the extra `demo`, or a package of `ci`.
NEEDS = {"weights.rst": "efficientnet_lite_pytorch", "scale.rst": "distributed"}


def _pages():
    for path in sorted((ROOT / "docs").glob("*.rst")):
        if ">>>" in path.read_text("utf-8"):
            marks = [pytest.mark.demo] if path.name == "weights.rst" else []
            yield pytest.param(path, id=path.name, marks=marks)


@pytest.mark.parametrize("page", list(_pages()))
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    if page.name in NEEDS:
        pytest.importorskip(NEEDS[page.name])
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
    packages = [p.parent.name for p in ROOT.glob("skchallenge/*/__init__.py")]
    for package in ("", *packages, "exceptions"):
        module = importlib.import_module(f"skchallenge.{package}".strip("."))
        missing = [
            name
            for name in module.__all__
            if not re.search(rf"^   {name}$", reference, re.MULTILINE)
        ]
        assert not missing, f"{module.__name__}: {missing}"


def test_the_first_tables_of_the_reference_are_what_skchallenge_exports():
    reference = (ROOT / "docs" / "api.rst").read_text("utf-8")
    assert "Everything in the first four tables can be imported" in reference
    tables = reference.split(".. autosummary::")[1:5]
    names = re.findall(r"^   (\w+)$", "".join(tables), re.MULTILINE)
    assert sorted(names) == skchallenge.__all__
    titles = re.findall(r"^(.+)\n===+$", reference, re.MULTILINE)
    assert len(set(titles)) == len(titles)


def test_the_site_links_names_of_every_package():
    conf = (ROOT / "docs" / "conf.py").read_text("utf-8")
    listed = ast.literal_eval(re.search(r"^MODULES = (\(.*?^\))", conf, re.M | re.S)[1])
    packages = [path.parent.name for path in ROOT.glob("skchallenge/*/__init__.py")]
    assert set(listed) == {"", "exceptions", *packages}


def test_every_extra_is_on_the_page_about_installing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "install.rst").read_text("utf-8")
    listed = re.findall(r"^``(\w+)``  ", page, re.MULTILINE)
    assert set(listed) == set(project["optional-dependencies"])


def test_the_citation_states_the_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {skchallenge.__version__}\n" in citation
