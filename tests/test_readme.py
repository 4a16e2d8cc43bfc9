"""The README's quick start runs as it stands."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


PARTICIPATION, VIRALITY, FEED = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code):
    assert len(code.splitlines()) <= 20
    names = {}
    exec(code, names)
    return names


def test_participation_finds_the_signal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # 240 pairs a fold, captions alone. Chance is 0.5 with a standard error of 0.02.
    assert run(PARTICIPATION)["scores"].mean() > 0.75


def test_virality_finds_the_signal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    posts = [
        {
            "id": str(i),
            "text": ["my cat", "a dance #dance"][i % 2],
            "createTime": 1_600_000_000 + 9000 * i,
            "authorMeta": {"id": str(i // 4)},
            "videoMeta": {"duration": int(rng.integers(5, 60))},
            "playCount": int(rng.lognormal(5 + i % 2)),
        }
        for i in range(240)
    ]
    Path("export.json").write_text(json.dumps({"collector": posts}))
    report = run(VIRALITY)["report"]
    assert report.loc["roc_auc", "low"] > 0.5


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_feed_recommends_what_is_liked_and_shows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": np.arange(9000) % 600})
    log["video_id"] = rng.integers(60, size=9000)
    fan = log["video_id"] < 30  # everybody completes cats only
    log["genre"] = np.where(fan, "cats", "dance")
    log = log.assign(play_time_ms=np.where(fan, 9900, 100), duration_ms=10_000)
    log[["is_like", "is_comment", "is_forward", "is_hate"]] = 0
    log.to_parquet("log.parquet")
    names = run(FEED)
    assert (names["shown"].query("reason == 'profile'")["video"] < 30).mean() > 0.9
    paused = names["journeys"]["outcome"] == "paused"
    assert (paused == (names["journeys"]["genre"] == "dance")).all()
    assert 0 < paused.sum() < len(paused) == 20


def test_every_row_of_a_table_is_in_a_table():
    parts = [part.splitlines() for part in README.split("\n\n")]
    tables = [part for part in parts if any(line.startswith("|") for line in part)]
    assert len(tables) == 2
    for header, rule, *rows in tables:
        assert set(rule) == set("|-")
        assert {row.count("|") for row in (header, *rows)} == {rule.count("|")}


def test_commands_call_what_there_is():
    assert "python examples/plot_participation.py" in README
    assert "make test" in README
    assert (Path(__file__).parents[1] / "examples/plot_participation.py").is_file()
