# make demo trains a model to a report; make test checks all that is quick to check. Both need Python 3.11+ and no more.

PYTHON ?= python3
WORKERS ?= 2
# where to take PyTorch from, when not from pip's default: README.md says when
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal
# newer than what it was installed from, so a second call installs nothing
INSTALLED := $(VENV)/.installed
DEMO := runs/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types fast test-all docs bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hypersphere needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --constraint constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[train,report,robustness,export,docs,dev]'
	@touch $@

install: $(INSTALLED) ## make .venv with the tested versions of everything

demo: $(INSTALLED) ## train the digits recipe to a report; goes on where an interrupted demo stopped
	@test -e $(DEMO)/report.html || $(BIN)/hypersphere train digits --out $(DEMO) $$(test -e $(DEMO) && echo --resume)
	@echo "The report lies at $(CURDIR)/$(DEMO)/report.html (open it in a browser; to train again, remove $(DEMO))."

test: lint types fast ## lint, types and the fast tests

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED)
	$(BIN)/mypy

fast: $(INSTALLED)
	$(PYTEST) -m "not slow"

test-all: lint types docs ## test, the slow tests and the docs as well
	$(PYTEST)

docs: $(INSTALLED) ## build the pages into docs/_build/html, warnings are errors
	$(BIN)/sphinx-build -W --keep-going --jobs auto docs docs/_build/html

bench: $(INSTALLED) ## measure speed and memory against plain PyTorch, as ratios
	$(BIN)/python -m benchmarks.run

clean: ## remove what was built, not what was trained
	rm -rf $(VENV) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -exec rm -rf {} +
