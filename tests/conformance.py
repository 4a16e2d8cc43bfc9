"""The tables of docs/conformance.rst: what tests counted, and that they still do.

Tests that count checks `confirm` their counts. Where that fails, and for a new version
of scikit-learn, ``python benchmarks/ledger.py`` writes the tables anew.
"""

import json
import os
from pathlib import Path

import pandas as pd
import sklearn

TABLES = Path(__file__).parents[1] / "docs" / "conformance"
# Names a file to which counts are added, instead of comparing them with the tables.
NOTES = "SKCHALLENGE_LEDGER"
VERSION = sklearn.__version__


def read(name):
    """Return a table; all cells are text."""
    path = TABLES / f"{name}.csv"
    return pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False)


def confirm(name, row, column, value):
    """Assert that a table has a value in a cell, alone or as one of several.

    Columns of versions of scikit-learn that the table lacks are not compared.
    """
    if NOTES in os.environ:
        with open(os.environ[NOTES], "a", encoding="utf-8") as file:
            file.write(json.dumps([name, row, column, str(value)]) + "\n")
        return
    table = read(name)
    if row in table.index and column in table:
        cell = table.loc[row, column]
        assert str(value) in cell.split(" + "), (
            f"docs/conformance/{name}.csv says {cell!r} for {row}, {column}, but it is "
            f"{value!r}: run benchmarks/ledger.py"
        )
