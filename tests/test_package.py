"""What `import skchallenge` gives, and what it does not cost."""

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skchallenge

ROOT = Path(skchallenge.__file__).parent
PACKAGES = [
    ".".join(("skchallenge", *path.parent.relative_to(ROOT).parts))
    for path in sorted(ROOT.rglob("__init__.py"))
]


def imported_names(source):
    """Names that a module imports from skchallenge, also for type checkers only."""
    return {
        name.asname or name.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("skchallenge")
        for name in node.names
    }


def run(code):
    """Run code in a fresh process, as a user with no warnings to spare."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_packages_are_those_of_the_layers():
    assert len(PACKAGES) >= 5
    assert {"skchallenge.nn", "skchallenge.metrics"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_complete_and_importable(package):
    module = importlib.import_module(package)
    public = list(module.__all__)
    assert len(set(public)) == len(public)
    submodules = set(getattr(module, "_SUBMODULES", ()))
    imported = imported_names(Path(module.__file__).read_text())
    assert set(public) | submodules == imported
    for name in public:
        home = getattr(module, name).__module__
        assert home.startswith("skchallenge."), name
    listed = {name for name in dir(module) if not name.startswith("_")}
    assert listed == set(public) | submodules


def test_every_top_level_name_has_a_home():
    assert (
        list(skchallenge._HOMES) == skchallenge.__all__ == sorted(skchallenge.__all__)
    )
    for name in skchallenge.__all__:
        assert getattr(skchallenge, name).__name__ == name


def test_exceptions_are_public():
    module = importlib.import_module("skchallenge.exceptions")
    assert all(issubclass(getattr(module, name), Exception) for name in module.__all__)


def test_dir_lists_public_names_that_are_not_imported_yet():
    out = run("import skchallenge; print(*dir(skchallenge))")
    expected = {*skchallenge.__all__, *skchallenge._SUBMODULES, "__version__"}
    assert out == sorted(expected)


def test_every_public_package_is_a_lazy_submodule():
    packages = {name.removeprefix("skchallenge.") for name in PACKAGES[1:]}
    assert set(skchallenge._SUBMODULES) == packages - {"media"} | {"exceptions"}


@pytest.mark.parametrize("name", skchallenge._SUBMODULES)
def test_a_submodule_is_there_after_one_import(name):
    out = run(f"import skchallenge; print(skchallenge.{name}.__name__)")
    assert out == [f"skchallenge.{name}"]


def test_importing_the_package_imports_nothing_heavy():
    """It takes 13 ms so; NumPy alone would take ten times that."""
    code = (
        "import sys; before = set(sys.modules); import skchallenge\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*new - sys.stdlib_module_names)"
    )
    assert run(code) == ["skchallenge"]


def test_an_unknown_name_is_an_attribute_error():
    match = "module 'skchallenge' has no attribute 'DeepChallanger'"
    with pytest.raises(AttributeError, match=match):
        skchallenge.DeepChallanger  # noqa: B018  # reading it is the test
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
        from skchallenge import no_such_name  # noqa: F401


def test_tables_and_metrics_do_not_import_torch():
    code = (
        "import sys, skchallenge, skchallenge.datasets, skchallenge.metrics\n"
        "import skchallenge.tabular, skchallenge.baselines, "
        "skchallenge.model_selection; skchallenge.AdoptionHistory\n"
        "import skchallenge.feed; skchallenge.feed.EngagementScorer\n"
        "skchallenge.make_participation, skchallenge.VideoCatalog\n"
        "heavy = {'torch', 'skorch', 'torchvision', 'transformers'}\n"
        "print(*(heavy & set(sys.modules)), 'end')\n"
    )
    assert run(code) == ["end"]


def test_import_leaves_threads_generators_and_warnings_alone():
    code = (
        "import warnings, numpy as np, torch\n"
        "def state():\n"
        "    numpy = [str(part) for part in np.random.get_state()]\n"
        "    generators = (torch.get_rng_state().tolist(), numpy)\n"
        "    return torch.get_num_threads(), generators, list(warnings.filters)\n"
        "np.random.seed(0); torch.manual_seed(0)\n"
        "import sklearn, skorch, torchvision, transformers\n"
        "before = state()\n"
        "from skchallenge import *\n"
        "print(state() == before)\n"
    )
    assert run(code) == ["True"]


@pytest.mark.slow
def test_a_users_script_type_checks_with_their_own_settings(tmp_path):
    """`make type` checks it too, with the project's settings."""
    script = Path(__file__).with_name("user_script.py")
    # Silent, as of installed packages: errors of the script are all that users see.
    options = "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path)
    command = [sys.executable, "-m", "mypy", "--config-file=", *options, str(script)]
    # Where the package is comes from Python's path, which mypy does not read.
    paths = os.environ | {"MYPYPATH": str(ROOT.parent)}
    if "site-packages" in ROOT.parts:
        del paths["MYPYPATH"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=paths
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.skipif("CI" not in os.environ, reason="here these tests may be skipped")
@pytest.mark.parametrize("name", ["distributed", "nltk", "openvino"])
def test_ci_skips_no_test_for_want_of_a_package(name):
    assert importlib.util.find_spec(name)
