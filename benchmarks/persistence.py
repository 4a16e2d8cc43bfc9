"""Does every fitted estimator answer the same wherever its file is loaded?

Each estimator of tests/test_skops.py, whole pipelines among them, is saved by pickle,
joblib and skops, and loaded in other processes: with one thread and two, with joblib
also as a memory map, and once more as a deep copy of what was loaded. All that it
answers must be equal to the last bit. A GPU, where there is one, is a device more:
there float32 may differ in the fourth digit. The table has the size of each file.
"""

import argparse
import copy
import json
import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import skops.io
import torch
from pandas.testing import assert_frame_equal, assert_series_equal

from skchallenge import trusted_types
from skchallenge.exceptions import FewViewersWarning

TESTS = Path(__file__).parents[1] / "tests"


def write_pickle(model, path):
    path.write_bytes(pickle.dumps(model))


def read_skops(path):
    # Whatever else the file names is the tests' own, or a part of scikit-learn's trees.
    asked = skops.io.get_untrusted_types(file=path)
    others = [n for n in asked if n.startswith(("test_", "sklearn."))]
    return skops.io.load(path, trusted=[*trusted_types(), *others])


WRITE = {"pickle": write_pickle, "joblib": joblib.dump, "skops": skops.io.dump}
# Route: the file that it reads, and how.
READ = {
    "pickle": ("pickle", lambda path: pickle.loads(path.read_bytes())),
    "joblib": ("joblib", joblib.load),
    "joblib, mapped": ("joblib", lambda path: joblib.load(path, mmap_mode="r")),
    "deepcopy": ("pickle", lambda path: copy.deepcopy(pickle.loads(path.read_bytes()))),
    "skops": ("skops", read_skops),
}


def save(fitted, ask, folder):
    """Save a model by every route, and what it answers; return the sizes in bytes."""
    folder.mkdir()
    answers = joblib.wrap_non_picklable_objects(ask), ask(fitted)
    (folder / "answers").write_bytes(pickle.dumps(answers))
    for name, write in WRITE.items():
        write(fitted, folder / name)
    return {name: (folder / name).stat().st_size for name in WRITE}


def load_elsewhere(folders, *, n_threads=1, device="cpu"):
    """Load every model by every route in a new process.

    Return ``{name: {route: difference}}``: 0 where all answers are equal to the bit,
    else the largest difference of a number, or what went wrong.
    """
    command = [sys.executable, __file__, "--load", str(n_threads), device]
    found = subprocess.run(
        command, input="\n".join(map(str, folders)), capture_output=True, text=True
    )
    if found.returncode:
        raise RuntimeError(found.stderr)
    return json.loads(found.stdout.splitlines()[-1])


def load_here(folders, device):
    """Do what `load_elsewhere` says, in this process."""
    result = {}
    for folder in map(Path, folders):
        ask, expected = pickle.loads((folder / "answers").read_bytes())
        result[folder.name] = routes = {}
        for route, (name, read) in READ.items():
            try:
                model = moved(read(folder / name), device)
                routes[route] = difference(ask(model), expected)
            except Exception as error:
                routes[route] = f"{type(error).__name__}: {error}"
    return result


def moved(model, device):
    """Set the device of an estimator and of all its parts."""
    if device != "cpu":
        devices = [n for n in model.get_params() if n.split("__")[-1] == "device"]
        model.set_params(**dict.fromkeys(devices, device))
    return model


def difference(found, expected):
    """Return the largest difference of numbers; all else must be the same."""
    if isinstance(expected, list):
        assert len(found) == len(expected) > 0
        return max(map(difference, found, expected))
    assert isinstance(found, type(expected))  # a memory map is an array
    if isinstance(expected, pd.DataFrame):
        rough = {"rtol": np.inf, "atol": np.inf}  # all that floats have is their type
        assert_frame_equal(found, expected, **rough)
        numbers = [c for c in expected if expected[c].dtype.kind == "f"]
        found, expected = found[numbers], expected[numbers]
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if found.dtype.kind != "f":
        # As objects, of which two that are missing are equal.
        cells = (pd.Series(x.ravel().tolist(), dtype=object) for x in (found, expected))
        assert_series_equal(*cells)
        return 0.0
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    differs = (found != expected) & ~np.isnan(expected)
    return float(np.abs(found[differs] - expected[differs]).max(initial=0))


def cases(folder):
    """Yield a name, a fitted estimator and what asks it for everything, for each."""
    import test_skops

    for name, make in test_skops.WITHOUT_FILES.items():
        yield name, *make()
    for name, make in test_skops.WITH_FILES.items():
        media = folder / f"{name}, media"
        media.mkdir()
        yield name, *make(media)


def environments():
    """Yield a name and the options of `load_elsewhere`."""
    yield "1 thread", {"n_threads": 1}
    yield "2 threads", {"n_threads": 2}
    if torch.cuda.is_available():
        yield "cuda", {"device": "cuda"}


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        (place / "media").mkdir()
        sizes = {}
        for name, fitted, ask in cases(place / "media"):
            sizes[name] = save(fitted, ask, place / name)
        folders = [place / name for name in sizes]
        found = {
            where: load_elsewhere(folders, **options)
            for where, options in environments()
        }
    table = pd.DataFrame(index=pd.Index(sizes, name="estimator"))
    n_bad = 0
    for where, results in found.items():
        cells = pd.DataFrame.from_dict(results, orient="index")
        allowed = 1e-4 if where == "cuda" else 0
        results = cells.to_numpy().ravel()
        n_bad += sum(isinstance(r, str) or r > allowed for r in results)
        words = cells.map(lambda r: "same" if r == 0 else str(r)[:60])
        table = table.join(words.agg(set, axis=1).map(", ".join).rename(where))
    for route in WRITE:
        table[f"{route}, kB"] = [f"{sizes[n][route] / 1e3:.1f}" for n in table.index]
    print(table.to_string())
    n = len(sizes) * len(READ) * len(found)
    print(f"\n{len(sizes)} estimators, {n} loaded models, {n_bad} not the same")
    raise SystemExit(int(n_bad > 0))


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", FewViewersWarning)  # of small worlds
    sys.path.insert(0, str(TESTS))  # its modules define parts of the models
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", nargs=2, metavar=("THREADS", "DEVICE"))
    arguments = parser.parse_args()
    if arguments.load:
        torch.set_num_threads(int(arguments.load[0]))
        folders = sys.stdin.read().splitlines()
        print(json.dumps(load_here(folders, arguments.load[1])))
    else:
        main()
