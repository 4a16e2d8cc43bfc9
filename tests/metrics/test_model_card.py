"""A card says what the report says, and what nobody said."""

import textwrap

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from huggingface_hub import ModelCard
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch

from skchallenge import VideoCatalog
from skchallenge.metrics import model_card, participation_report, virality_report
from skchallenge.model_selection import audit_split
from skchallenge.tabular import ViralityLabeler

Y = np.arange(40) % 2
SCORES = np.random.default_rng(0).uniform(size=40)
TEXTS = {"name": "who-joins", "data": "Forty coins.", "split": "Rows at random."}
AUDIT = pd.DataFrame(
    {"count": [0, 2], "of": [9, 8], "fraction": [0.0, 0.25], "examples": [[], ["ann"]]},
    index=["rows", "users"],
)


def report(**options):
    return participation_report(Y, SCORES, n_resamples=50, random_state=0, **options)


def card(made=None, **others):
    made = report() if made is None else made
    return model_card(LogisticRegression(C=3), made, **TEXTS | others)


def section(made, title):
    return made.text.partition(f"## {title}\n\n")[2].partition("\n\n## ")[0]


def test_the_scores_are_the_reports_in_the_text_and_in_the_front_matter():
    made = report(confidence_level=0.9)
    found = card(made)
    assert "Intervals cover 90 %" in section(found, "Scores")
    lines = section(found, "Scores").splitlines()
    table = {line.split(" | ")[0].strip("| "): line for line in lines}
    assert len(made) == len(found.data.eval_results) == 6
    for (metric, row), result in zip(
        made.iterrows(), found.data.eval_results, strict=True
    ):
        values = [f"{row[c]:.3f}" for c in ("score", "low", "high", "chance")]
        assert table[metric] == f"| {metric} | {' | '.join(values)} |"
        assert result.metric_type == metric
        assert result.metric_value == pytest.approx(row["score"], abs=5e-5)
        low, high, chance = values[1:]
        assert result.metric_name == f"{metric}, {low} to {high}, chance {chance}"


def test_a_saved_card_is_read_back_by_the_hubs_client(tmp_path):
    made = card(
        name="a: {b} | 'c'", data="Two\nlines: #1", license="mit", limits=["It is so."]
    )
    made.save(tmp_path / "README.md")
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.text.strip() == made.text.strip()
    assert loaded.data.to_dict() == made.data.to_dict()
    assert loaded.data.model_name == "a: {b} | 'c'"
    assert loaded.data.license == "mit"
    assert loaded.data.library_name == "skchallenge"
    assert loaded.data.eval_results[0].dataset_name == "Two lines: #1"
    assert section(made, "Limits") == "- It is so."


def test_what_is_not_given_is_not_stated():
    found = card()
    for title in ("Use", "Audit of the split", "Features", "Limits"):
        assert section(found, title) == "Not stated."
    for title in ("Model", "Data", "Scores", "Load"):
        assert "Not stated" not in section(found, title)
    assert "    LogisticRegression(C=3)" in section(found, "Model")


def test_the_audit_is_on_the_card_without_its_examples():
    found = section(card(audit=AUDIT), "Audit of the split")
    assert "| users | 2 | 8 | 0.250 |" in found
    assert "- users: users of test rows that have training rows." in found
    assert "ann" not in found
    assert "ann" not in card(audit=AUDIT).content


def test_every_row_of_an_audit_is_explained():
    study = Bunch(
        pairs=pd.DataFrame({"user_id": ["a", "b"], "challenge": "x", "time": 4}),
        y=[1, 0],
        catalog=VideoCatalog(
            pd.DataFrame(
                {
                    "video_id": ["v", "w"],
                    "user_id": ["a", "b"],
                    "challenge": ["x", None],
                    "create_time": [5, 2],
                }
            )
        ),
    )
    audit = audit_split(study, [0], [1], horizon=9)
    lines = section(card(audit=audit), "Audit of the split").splitlines()
    explained = [line[2:].split(":")[0] for line in lines if line.startswith("- ")]
    assert explained == audit.index.tolist()


@pytest.mark.parametrize("file", ["who.skops", "who.joblib"])
def test_a_reader_who_does_as_the_card_says_has_the_model(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = LogisticRegression(C=3)
    (skops.io if file.endswith("skops") else joblib).dump(model, file)
    found = section(card(file=file), "Load")
    code = [line for line in found.splitlines() if line.startswith("    ")]
    names = {}
    exec(textwrap.dedent("\n".join(code)), names)
    assert names["model"].C == 3
    assert ("run any code" in found) == file.endswith("joblib")


def test_the_split_is_called_so():
    assert section(card(), "Scores").startswith("Split: Rows at random.\n")


def test_features_of_a_virality_report_are_listed():
    rng = np.random.default_rng(0)
    hostile = "a | <b>\nc"
    X = pd.DataFrame({hostile: rng.normal(size=60), "duration_s": rng.uniform(size=60)})
    videos = pd.DataFrame({"n_plays": np.arange(60), "n_followers": 9})
    model = LogisticRegression()
    made = virality_report(model, X, videos, ViralityLabeler(), 3, n_resamples=20)
    found = section(card(made), "Features")
    assert "| duration_s | pre_post |" in found
    assert "| a \\| &lt;b&gt; c | unknown |" in found
    assert "when they are known: a \\| &lt;b&gt; c." in found
    assert made.attrs["not_tested"] in found
    made.loc[:, "followers"] = np.nan
    assert "followers |" not in section(card(made), "Scores")


@pytest.mark.parametrize(
    "others, match",
    [
        ({"made": pd.DataFrame({"score": [1.0]})}, r"report must .* lacks \['low'"),
        ({"made": 0.9}, "Pass what participation_report returned"),
        ({"audit": AUDIT[["count"]]}, r"audit must .* lacks \['of', 'fraction'\]"),
        ({"split": " "}, "split must say something, got ' '"),
        ({"file": "model.pt"}, "file must end with .* got 'model.pt'. Save the model"),
    ],
)
def test_a_card_without_evidence_is_refused(others, match):
    with pytest.raises(ValueError, match=match):
        card(**others)
