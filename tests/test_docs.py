"""All code on the pages of the user guide runs and shows what it says."""

import ast
import doctest
import importlib
import math
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

import skchallenge

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Scores of trained models are shown as they print; other processors round otherwise.
ABOUT = doctest.register_optionflag("ABOUT")
# Pages whose code needs the weights of the extra `demo`, or a package of `ci`.
NEEDS = {"weights.rst": "efficientnet_lite_pytorch", "scale.rst": "distributed"}


class _About(doctest.OutputChecker):
    def check_output(self, want, got, flags):
        if not flags & ABOUT:
            return super().check_output(want, got, flags)
        wanted, found = want.split(), got.split()
        return len(wanted) == len(found) and all(map(_is_about, wanted, found))


def _is_about(want, got):
    try:
        return math.isclose(float(want), float(got), rel_tol=0.05, abs_tol=0.05)
    except ValueError:
        return want == got


def test_what_is_about_a_number_is_near_it():
    check = _About().check_output
    assert check("auc  0.80\nn 3", "auc 0.83\nn 3", ABOUT)
    assert not check("auc 0.80", "auc 0.90", ABOUT)
    assert not check("auc 0.80", "ap 0.80", ABOUT)
    assert not check("auc 0.80", "auc 0.80 0.80", ABOUT)
    assert not check("auc 0.80", "auc 0.83", 0)


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
    names = {"__name__": "__main__"}
    text = page.read_text("utf-8")
    code = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
    result = doctest.DocTestRunner(_About(), optionflags=FLAGS).run(code)
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"


def test_code_that_no_test_runs_is_python():
    blocks = [
        textwrap.dedent(block)
        for path in sorted((ROOT / "docs").glob("*.rst"))
        for block in re.findall(
            r"^( *)\.\. code-block:: python\n\n((?:\1 +\S.*\n|\n)+)",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
        for block in block[1:]
    ]
    assert len(blocks) >= 5
    for block in blocks:
        names = {n for n in ast.walk(ast.parse(block)) if isinstance(n, ast.ImportFrom)}
        for node in names:
            if node.module.startswith("skchallenge"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), block


def _guide():
    text = (ROOT / "docs" / "guide.rst").read_text("utf-8")
    trees = re.findall(r"^\.\. toctree::\n((?: {3}.*\n|\n)+)", text, re.MULTILINE)
    pages = re.findall(r"^ {3}(\w+)$", "".join(trees), re.MULTILINE)
    return [p for p in pages if not p.startswith("howto_")]


LISTS = {"conformance", "ethics", "folklore", "glossary", "persistence", "security"}


@pytest.mark.parametrize("page", _guide())
def test_pages_of_the_guide_begin_with_a_picture_and_end_with_limits(page):
    text = (ROOT / "docs" / f"{page}.rst").read_text("utf-8")
    titles = re.findall(r"^(\S.*)\n===+$", text, re.MULTILINE)
    if page not in LISTS:
        first = text.index(titles[1])
        assert re.search(r"^\.\. (plot|figure|image)::", text[:first], re.MULTILINE)
    if page not in LISTS - {"folklore"}:
        *_, last = [t for t in titles if t != "References"]
        assert last.startswith("Limits")


def test_every_page_is_in_the_guide_or_before_it():
    listed = {
        name
        for path in (ROOT / "docs").glob("*.rst")
        for name in re.findall(
            r"^ {3}(?:\w+ <)?(\w+)>?$", path.read_text("utf-8"), re.M
        )
    }
    pages = {path.stem for path in (ROOT / "docs").glob("*.rst")}
    assert len(_guide()) >= 15
    assert pages - listed == {"index"}


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
