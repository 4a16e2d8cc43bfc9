.PHONY: all lint type test docs study bench
PYTHON ?= python

all: lint type test docs

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	lint-imports

type:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal --cov --cov-report=term

docs:
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

study:
	$(PYTHON) -m pytest -m slow
	$(PYTHON) benchmarks/participation_clips.py
	$(PYTHON) benchmarks/paper_tables.py
	$(PYTHON) benchmarks/participation_creators.py
	$(PYTHON) benchmarks/participation_study.py
	$(PYTHON) benchmarks/report_coverage.py
	$(PYTHON) benchmarks/virality_covers.py
	$(PYTHON) benchmarks/virality_report.py
	$(PYTHON) benchmarks/virality_creators.py
	$(PYTHON) benchmarks/virality_resampling.py
	$(PYTHON) benchmarks/feed_duplicates.py
	$(PYTHON) benchmarks/feed_profiles.py
	$(PYTHON) benchmarks/feed_offpolicy.py
	$(PYTHON) benchmarks/feed_momentum.py

bench:
	$(PYTHON) benchmarks/loader.py
	$(PYTHON) benchmarks/guard.py
	$(PYTHON) benchmarks/in_memory.py
	$(PYTHON) benchmarks/sound.py
	$(PYTHON) benchmarks/tags.py
	$(PYTHON) benchmarks/one_decode.py
	$(PYTHON) benchmarks/training.py
	$(PYTHON) benchmarks/reports.py
	$(PYTHON) benchmarks/odd_media.py
	$(PYTHON) benchmarks/store.py
	$(PYTHON) benchmarks/kills.py
	$(PYTHON) benchmarks/memory.py
	$(PYTHON) benchmarks/throughput.py
	$(PYTHON) benchmarks/captions.py
	$(PYTHON) benchmarks/virality_sentiment.py
	$(PYTHON) benchmarks/feed_speed.py
