"""What `import skchallenge` gives, and what it does not cost."""

import ast
import importlib
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
    assert set(public) == imported_names(Path(module.__file__).read_text())
    for name in public:
        home = getattr(module, name).__module__
        assert home.startswith("skchallenge."), name
        assert set(public) <= set(dir(module))


def test_every_top_level_name_has_a_home():
    assert (
        list(skchallenge._HOMES) == skchallenge.__all__ == sorted(skchallenge.__all__)
    )
    for name in skchallenge.__all__:
        assert getattr(skchallenge, name).__name__ == name


def test_exceptions_are_public():
    module = importlib.import_module("skchallenge.exceptions")
    assert all(issubclass(getattr(module, name), Exception) for name in module.__all__)


def test_dir_lists_names_that_are_not_imported_yet():
    out = run("import skchallenge; print(*dir(skchallenge))")
    assert set(skchallenge.__all__) | {"__version__"} <= set(out)
    assert out == sorted(out)


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
