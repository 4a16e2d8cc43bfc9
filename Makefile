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
	$(PYTHON) -m pytest --cov --cov-report=term

docs:
	$(PYTHON) -m sphinx -W --keep-going -b html docs docs/_build/html

study:
	$(PYTHON) benchmarks/participation_clips.py
	$(PYTHON) benchmarks/paper_tables.py
	$(PYTHON) benchmarks/participation_creators.py
	$(PYTHON) benchmarks/virality_covers.py
	$(PYTHON) benchmarks/virality_report.py
	$(PYTHON) benchmarks/virality_creators.py
	$(PYTHON) benchmarks/virality_resampling.py

bench:
	$(PYTHON) benchmarks/training.py
	$(PYTHON) benchmarks/odd_media.py
	$(PYTHON) benchmarks/virality_sentiment.py
