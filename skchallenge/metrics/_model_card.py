"""A model card, filled from a report and an audit."""

import html
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd

from skchallenge import _state

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

_COLUMNS = ["score", "low", "high", "chance"]
_PACKAGES = ("scikit-learn", "torch", "numpy", "pandas")
# What `audit_split` counts, by the name of its row.
_CHECKS = {
    "rows": "test rows that are training rows",
    "users": "users of test rows that have training rows",
    "challenges": "challenges of test rows that have training rows",
    "sibling challenges": "challenges of test rows without training rows, but with a "
    "sibling, a challenge that shares videos with them, that has some",
    "videos": "test positives whose video is that of a training positive",
    "captions": "videos of unseen users in the histories of test rows, in the words of "
    "another user's video in those of training rows",
    "labels not yet known": "training rows whose label was not known yet when the "
    "first test row is asked",
}
_LOADERS = {
    ".skops": (
        "import skops.io, skchallenge",
        "skops.io.load({file!r}, trusted=skchallenge.trusted_types())",
    ),
    ".joblib": ("import joblib", "joblib.load({file!r})"),
}


def model_card(
    model: Any,
    report: pd.DataFrame,
    *,
    name: str,
    data: str,
    split: str,
    audit: pd.DataFrame | None = None,
    uses: str | None = None,
    limits: Iterable[str] = (),
    license: str | None = None,
    file: str = "model.skops",
) -> "ModelCard":
    """Write the card that goes with a shared model: what was measured, and how.

    A file of Markdown whose front matter lists the scores, in the format of the
    Hugging Face Hub. What is not given is on the card as not stated.

    Parameters
    ----------
    model : estimator
        The model that is shared; its parameters are written out, paths among them.
    report : pandas.DataFrame
        As `participation_report` or `virality_report` returns it. Its scores stand
        beside their intervals and chance floors; what is known of the features, in
        the ``attrs`` of the second, is written too.
    name : str
        Name of the model.
    data : str
        What the model learnt from and was scored on: source, period, how many.
    split : str
        What the test rows do not share with the training rows, such as
        ``"GroupKFold(3) by user: users it has not seen"``.
    audit : pandas.DataFrame or None, default=None
        As `skchallenge.model_selection.audit_split` returns it. Its examples hold ids
        of people, so they are left out.
    uses : str or None, default=None
        What the model is for, and what it must not be used for.
    limits : iterable of str, default=()
        What a score does not show, one sentence each.
    license : str or None, default=None
        An SPDX identifier in lower case, such as ``"bsd-3-clause"``.
    file : str, default="model.skops"
        Name of the file that goes with the card. Its suffix, ``.skops`` or
        ``.joblib``, decides how the card says to load it.

    Returns
    -------
    card : huggingface_hub.ModelCard
        Its ``save(path)`` writes the file, usually ``README.md``; ``content`` is the
        text.

    Raises
    ------
    ValueError
        If `report` or `audit` lacks columns that the named functions return, a
        required text is empty, or `file` has another suffix.

    See Also
    --------
    participation_report : Scores with intervals and chance floors.
    skchallenge.model_selection.audit_split : What training and test rows share.
    skchallenge.trusted_types : For loading the file that goes with the card.

    References
    ----------
    M. Mitchell et al., "Model cards for model reporting", FAT* 2019.
    https://doi.org/10.1145/3287560.3287596

    Examples
    --------
    >>> from skchallenge.baselines import RateBaseline
    >>> from skchallenge.metrics import model_card, participation_report
    >>> y_true, y_score = [0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.7, 0.6, 0.8, 0.9]
    >>> report = participation_report(y_true, y_score, n_resamples=100, random_state=0)
    >>> card = model_card(
    ...     RateBaseline("challenge"),
    ...     report.loc[["roc_auc", "brier"]],
    ...     name="who-joins",
    ...     data="Six made-up pairs.",
    ...     split="None: these are training rows.",
    ... )
    >>> print(card.text.partition("## Scores")[2].partition("##")[0].strip())
    Split: None: these are training rows.
    <BLANKLINE>
    Intervals cover 95 %, by bootstrap; chance is what guessing reaches.
    <BLANKLINE>
    | | score | low | high | chance |
    | --- | --- | --- | --- | --- |
    | roc_auc | 1.000 | 1.000 | 1.000 | 0.500 |
    | brier | 0.112 | 0.035 | 0.229 | 0.250 |
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    _check_columns(report, "report", _COLUMNS, "participation_report")
    if audit is not None:
        _check_columns(audit, "audit", ["count", "of", "fraction"], "audit_split")
        audit = audit[["count", "of", "fraction"]]
    for parameter, value in {"name": name, "data": data, "split": split}.items():
        if not value.strip():
            raise ValueError(f"{parameter} must say something, got {value!r}.")
    load = _load(file)

    results = [
        EvalResult(
            task_type="tabular-classification",
            dataset_type="unpublished",
            dataset_name=" ".join(data.split()),
            dataset_split=" ".join(split.split()),
            metric_type=str(metric),
            metric_name=f"{metric}, {row['low']:.3f} to {row['high']:.3f}, chance "
            f"{row['chance']:.3f}",
            metric_value=round(float(row["score"]), 4),
        )
        for metric, row in report.iterrows()
    ]
    metadata = ModelCardData(
        model_name=name,
        eval_results=results,
        library_name="skchallenge",
        license=license,
        tags=["scikit-learn", "skchallenge", "tabular-classification"],
    )
    level = report.attrs.get("confidence_level")
    coverage = f"cover {100 * level:g} %" if level else "are as the report says"
    lines = "\n".join(f"    {line}" for line in repr(model).splitlines())
    sections = {
        "Use": uses,
        "Model": f"{lines}\n\n{_versions()}",
        "Data": data,
        "Scores": f"Split: {split}\n\nIntervals {coverage}, by bootstrap; chance is "
        f"what guessing reaches.\n\n{_markdown(report.dropna(axis=1, how='all'))}",
        "Audit of the split": None if audit is None else _audit(audit),
        "Features": _features(report),
        "Limits": "\n".join(f"- {sentence}" for sentence in limits),
        "Load": load,
    }
    body = "\n\n".join(
        f"## {title}\n\n{text or 'Not stated.'}" for title, text in sections.items()
    )
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n# {name}\n\n{body}\n")


def _check_columns(table: Any, name: str, columns: list[str], maker: str) -> None:
    found = list(getattr(table, "columns", []))
    lacking = [column for column in columns if column not in found]
    if lacking:
        raise ValueError(
            f"{name} must be a table with the columns {columns}, but lacks {lacking}. "
            f"Pass what {maker} returned."
        )


def _load(file: str) -> str:
    """Say how to load a file, by its suffix."""
    suffix = PurePath(file).suffix
    if suffix not in _LOADERS:
        raise ValueError(
            f"file must end with one of {list(_LOADERS)}, got {file!r}. Save the model "
            "by skops.io.dump or joblib.dump under such a name."
        )
    imports, call = _LOADERS[suffix]
    lines = [f"    {imports}", "", f"    model = {call.format(file=file)}"]
    if suffix == ".joblib":
        lines += [
            "",
            "Only if you trust who made the file: loading it can run any code.",
        ]
    return "\n".join(lines)


def _audit(audit: pd.DataFrame) -> str:
    """Return the table of an audit, and what its rows count."""
    meanings = [
        f"- {name}: {_CHECKS[name]}." for name in audit.index if name in _CHECKS
    ]
    return "\n".join([_markdown(audit), "", *meanings])


def _versions() -> str:
    versions = [f"skchallenge {_state._VERSION}", f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    return f"Made with {', '.join(versions)}."


def _features(report: pd.DataFrame) -> str | None:
    """Say what is known of the features that a report of virality looked at."""
    if "column_roles" not in report.attrs:
        return None
    roles = pd.Series(report.attrs["column_roles"], name="role", dtype=object)
    unknown = ", ".join(map(_cell, report.attrs["unrecognised"])) or "none"
    told = f"Names that say nothing of when they are known: {unknown}."
    untested = f"Not tested: {report.attrs['not_tested']}"
    return "\n\n".join([_markdown(roles.to_frame()), told, untested])


def _markdown(table: pd.DataFrame) -> str:
    """Return a table of Markdown; floats have three decimals."""
    rows = [["", *table.columns], ["---"] * (table.shape[1] + 1)]
    rows += map(list, table.itertuples(name=None))
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    # Names come from exports: they must not end a cell, nor be read as HTML.
    return " ".join(html.escape(text, quote=False).replace("|", "\\|").split())
