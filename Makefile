# Every command a person types. `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
ROWS := data/train.jsonl
PYTEST := $(BIN)/python -m pytest -m "not e2e" --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install run test lint check-data format unit coverage fuzz mutants smoke e2e test-tracking bench-train bench-decode bench-soak bench-rows up down lock clean

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) $(ROWS)  ## Create .venv and install everything into it

$(INSTALLED): pyproject.toml requirements.lock deploy/install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "No venv could be made: install python3-venv and try again."; exit 1; }
	@echo "Installing into .venv (a few minutes the first time) ..."
	@deploy/install .venv -e '.[model,http,run,dev]'
	@echo "Growing the bundled rows, and compiling for this processor (half a minute, once) ..."
	@$(BIN)/tinygpt compile > .venv/compile.log 2>&1 & compiled=$$!; \
	  $(BIN)/tinygpt data grow || echo "That failed; what needs the rows tries again."; \
	  wait $$compiled; cat .venv/compile.log
	@touch $@

# After a change of what is pinned. It costs nothing if the rows are there.
$(ROWS): data/bundled.json | $(INSTALLED)
	@$(BIN)/tinygpt data grow
	@touch $@

run: $(INSTALLED) $(ROWS)  ## Start the stack without Docker; trains a first model if there is none
	@$(BIN)/python -m services.preflight
	@$(BIN)/honcho --env /dev/null start  # every service reads .env itself, after the environment

up:  ## Start the stack in containers
	docker compose up --build

down:  ## Stop the containers; the volumes stay
	docker compose down

test: $(INSTALLED) lint smoke unit  ## Lint, types and all tests that need no Docker

lint: $(INSTALLED)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check-data: $(INSTALLED)  ## Run the check of every row of the bundled data (some minutes)
	@$(BIN)/tinygpt data build --pinned --check

format: $(INSTALLED)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

smoke: $(INSTALLED)  ## The smoke tests (standard library's unittest)
	@$(BIN)/python -m unittest tests.smoke

unit: $(INSTALLED) $(ROWS)  ## pytest, on a real Redis, on all cores (at most four)
	@$(PYTEST)

coverage: $(INSTALLED) $(ROWS)  ## The same tests, with a table of the lines and branches that they reach
	@$(PYTEST) --cov --cov-report term:skip-covered --cov-report html

SECONDS := 300
fuzz: $(INSTALLED) $(ROWS)  ## Search at random for an example that breaks a property; SECONDS=60 for less
	@end=$$(($$(date +%s) + $(SECONDS))); while [ $$(date +%s) -lt $$end ]; do \
	  HYPOTHESIS_PROFILE=fuzz $(PYTEST) -q -x -m "hypothesis and not e2e" --timeout 600 || exit 1; done

MUTANTS_INSTALLED := .venv-mutants/.installed
$(MUTANTS_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m venv .venv-mutants
	@for site in .venv-mutants/lib/python*/site-packages; do \
	   $(BIN)/python -c 'import sys; print(*(path for path in sys.path if "site-packages" in path), sep="\n")' > $$site/main.pth; done
	@deploy/install .venv-mutants -e '.[mutants]'
	@touch $@

mutants: $(MUTANTS_INSTALLED)  ## Plant small bugs and count those that tests notice; ARGS="lease runs --survivors"
	@.venv-mutants/bin/python -m tests.mutants $(ARGS)

e2e: $(INSTALLED)  ## The compose stack on a real Docker engine: up, train, generate, fail, recover, down
	@$(BIN)/python -m pytest -m e2e --timeout 1200 tests/e2e

# Their own venv on top of .venv, because W&B and MLflow bring hundreds of megabytes.
test-tracking: $(INSTALLED)  ## Test W&B and MLflow, offline, in their own venv
	@$(BIN)/python -m venv .venv-tracking
	@for site in .venv-tracking/lib/python*/site-packages; do \
	   $(BIN)/python -c 'import sys; print(*(path for path in sys.path if "site-packages" in path), sep="\n")' > $$site/main.pth; done
	@deploy/install .venv-tracking -e '.[model,wandb,mlflow,tensorboard]'
	@.venv-tracking/bin/python -m pytest tests/training/tracking

bench-train: $(INSTALLED)  ## Compare training with the tutorial's; ARGS=--help lists the options
	@$(BIN)/python -m benchmarks.bench_train $(ARGS)

# Their own venv on top of .venv, as for the trackers, because only this command needs them.
BENCH_INSTALLED := .venv-bench/.installed
$(BENCH_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m venv .venv-bench
	@for site in .venv-bench/lib/python*/site-packages; do \
	   $(BIN)/python -c 'import sys; print(*(path for path in sys.path if "site-packages" in path), sep="\n")' > $$site/main.pth; done
	@deploy/install .venv-bench -e '.[model,bench]'
	@touch $@

bench-decode: $(BENCH_INSTALLED)  ## Compare generation with other engines; ARGS=--help lists the options
	@.venv-bench/bin/python -m benchmarks.bench_decode $(ARGS)

bench-rows: $(INSTALLED)  ## Measure the cost of a run's data from 1k to 1M rows
	@$(BIN)/python -m benchmarks.bench_rows $(ARGS)

bench-soak: $(INSTALLED)  ## Keep the model server under full load for ten minutes; ARGS="--seconds 60" for less
	@$(BIN)/python -m benchmarks.bench_soak $(ARGS)

lock: $(INSTALLED)  ## Write requirements.lock from the packages in .venv
	@{ echo "# Exact versions; written by \`make lock\`."; \
	   $(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+cpu$$//'; } > requirements.lock.part
	@mv requirements.lock.part requirements.lock

clean:  ## Remove .venv and caches; var/ (your models) stays
	rm -rf .venv .venv-tracking .venv-bench .venv-mutants .mutants .coverage htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
