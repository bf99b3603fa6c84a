# Thin names for clbench commands; everything else is in Python. Start with: make bench
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# Options are handed on only when given, e.g. make bench METHOD=inflora,ncm SEEDS=0,1,2
SELECT := $(if $(SUITE),--suite $(SUITE)) $(if $(DATASET),--dataset $(DATASET)) \
	$(if $(METHOD),--method $(METHOD)) $(if $(BACKBONE),--backbone $(BACKBONE)) \
	$(if $(TASKS),--tasks $(TASKS)) $(if $(SEEDS),--seeds $(SEEDS)) \
	$(foreach pair,$(SET),--set '$(pair)')
STORE := $(if $(RESULTS),--results $(RESULTS))
DATA := $(if $(DATA_ROOT),--data-root $(DATA_ROOT))

.DEFAULT_GOAL := help
.PHONY: setup bench plan paper report list check test test-fast coverage lint type speed clean help

setup: $(READY)  ## make the virtual environment and install clbench into it

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --without-pip $(VENV)
	if $(BIN)/python -m pip --version >/dev/null 2>&1; \
	then $(BIN)/python -m pip install --editable '.[dev]'; \
	else $(PYTHON) -m pip --python $(BIN)/python install --editable '.[dev]'; fi
	touch $@

bench: $(READY)  ## run what is missing of the suite, then print the table
	$(strip $(BIN)/clbench run $(SELECT) $(STORE) $(DATA) $(if $(JOBS),--jobs $(JOBS)))

plan: $(READY)  ## what `make bench` would run, and what is done
	$(strip $(BIN)/clbench plan $(SELECT) $(STORE) $(DATA))

paper: $(READY)  ## plan the runs of a table of the InfLoRA paper: TABLE=1; RUN=1 carries them out
	$(if $(TABLE),,$(error say which table of the paper: make paper TABLE=1))
	$(strip $(BIN)/clbench paper $(TABLE) $(if $(RUN),--run) $(if $(METHOD),--method $(METHOD)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(foreach pair,$(SET),--set '$(pair)') \
		$(STORE) $(DATA) $(if $(JOBS),--jobs $(JOBS)))

report: $(READY)  ## tables and figures from whatever is finished
	$(strip $(BIN)/clbench report $(STORE))

list: $(READY)  ## every method, data set, backbone and suite
	@for kind in methods datasets backbones suites; do $(BIN)/clbench list $$kind; echo; done

check: lint type test  ## everything that has to pass before a change lands

test: $(READY)  ## all tests
	$(PYTEST)

test-fast: $(READY)  ## the tests without those that take more than some seconds each
	$(PYTEST) -m "not slow"

coverage: $(READY)  ## all tests, and how much of the code they run
	COVERAGE_CORE=sysmon $(PYTEST) --cov=benchmark --cov=methods --cov-report=term

lint: $(READY)  ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY)  ## types
	$(BIN)/mypy

speed: $(READY)  ## how fast training and evaluation are on this machine
	$(strip $(BIN)/clbench speed $(if $(METHOD),--method $(METHOD)) $(if $(BACKBONE),--backbone $(BACKBONE)))

clean:  ## remove the environment, caches and build products; results stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 10
