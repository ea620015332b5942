# make demo   environment, install, the main job
# make test   environment, install, tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: venv demo test test-slow lint bench clean

venv: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,bench]"
	touch $@

demo: venv
	$(BIN)/gridtwin run scenarios/suburb_day_ahead --overwrite

test: $(BIN)/.installed-dev
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(BIN)/.installed-dev
	$(BIN)/python -m pytest -m slow

lint: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(BIN)/.installed-dev
	$(BIN)/python -m pytest benchmarks --benchmark-only

clean:
	rm -rf $(VENV) build dist runs
