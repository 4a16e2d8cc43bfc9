"""How results, catalogs and stores look in a notebook: short, and all text escaped."""

from html import escape
from typing import Any

import pandas as pd
from sklearn import utils

_ROWS = 3


class Bunch(utils.Bunch):
    """Scikit-learn's Bunch, which a notebook shows by keys and heads of tables."""

    def _repr_html_(self) -> str:
        parts = [
            f"<dt><code>{escape(str(key))}</code></dt><dd>{_value(value)}</dd>"
            for key, value in self.items()
        ]
        return f"<dl>{''.join(parts)}</dl>"


def headed(title: str, table: pd.DataFrame) -> str:
    """Show a title, and the first rows of a table."""
    return f"<p><strong>{escape(title)}</strong></p>{_head(table)}"


def _value(value: Any) -> str:
    if isinstance(value, pd.DataFrame):
        return f"{len(value)} rows{_head(value)}"
    text = repr(value)
    return f"<code>{escape(text if len(text) <= 200 else text[:199] + '…')}</code>"


def _head(table: pd.DataFrame) -> str:
    # As in a notebook: text is escaped, and long cells are cut.
    with pd.option_context("display.max_colwidth", 50):
        return table.head(_ROWS).to_html(notebook=True, max_cols=10)
