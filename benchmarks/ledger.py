"""Write the tables of docs/conformance.rst, from the checks that the tests count.

Runs those tests, or the named ones, with the scikit-learn that is installed. What they
do not count stays as it was: run it with all of them, and once more with an older
scikit-learn and the one that is named here.

    python benchmarks/ledger.py [tests/test_common.py]
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import conformance


def main():
    counting = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"contract\.run\(|conformance\.confirm\(", path.read_text("utf-8"))
    ]
    wanted = "contract or every_estimator_does"
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        os.environ[conformance.NOTES] = str(notes)
        options = ["-q", "-p", "no:cacheprovider", "-m", "", "-W", "default"]
        code = pytest.main([*options, "-k", wanted, *(sys.argv[1:] or counting)])
        lines = [json.loads(line) for line in notes.read_text("utf-8").splitlines()]
    if code:
        raise SystemExit(code)
    write(lines)


def write(lines):
    """Put noted cells into the tables."""
    found = pd.DataFrame(lines, columns=["table", "row", "column", "value"])
    for name, notes in found.groupby("table"):
        cells = notes.pivot_table("value", "row", "column", " + ".join)
        columns = [*notes["column"].unique()]
        path = conformance.TABLES / f"{name}.csv"
        if path.exists():
            old = conformance.read(name)
            cells, columns = cells.combine_first(old), [*columns, *old]
        # Versions of scikit-learn first, in order.
        order = sorted(
            dict.fromkeys(columns), key=lambda c: c if c[0].isdigit() else "~"
        )
        cells = cells[order].fillna("-").rename_axis("estimator")
        path.parent.mkdir(exist_ok=True)
        cells.to_csv(path)


if __name__ == "__main__":
    main()
