"""The README's quick start runs as it stands."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_quick_start_finds_the_signal(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    # 120 pairs a fold, captions alone. Chance is 0.5 with a standard error of 0.03.
    assert names["scores"].mean() > 0.65


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
