# Every target does all its set-up on a machine that has Python 3.11 or later, and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Of this release a CPU wheel is found; newer ones bring gigabytes of CUDA.
HELD := torch==2.13.0

# One core a worker: many small matrices gain nothing from more.
export OMP_NUM_THREADS ?= 1

# Processes that begin by the hundred read what the first of them has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts audit system pytest coverage cost soak soak-full bench docs format constraints clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(VENV)/installed  ## evolve images for a simulated neuron, and write the report
	$(BIN)/evolver demo

test: lint types contracts audit pytest  ## everything that must hold: style, types, contracts, dependencies, tests

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/installed-dev
	$(BIN)/basedpyright

contracts: $(VENV)/installed-dev
	$(BIN)/lint-imports

audit: $(VENV)/installed-dev  ## known vulnerabilities of what is installed, where advisories can be reached
	$(BIN)/python -m tests.audit

system: $(VENV)/python  ## a virtual screen and a browser for the tests, where they can be installed
	@$(BIN)/python -m tests.system

pytest: $(VENV)/installed-dev system
	$(BIN)/python -m pytest -n 3 --dist loadgroup

coverage: $(VENV)/installed-dev system  ## which lines and branches the tests run, by room
	rm -rf build/coverage
	mkdir -p build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/python -m coverage run -m pytest -n 4 --dist loadgroup
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage json --quiet
	$(BIN)/python -m tests.coverage

cost: $(VENV)/installed-dev system  ## the processor time of the tests, by room
	rm -rf build/cost
	$(BIN)/python -m pytest -p tests.cost -n 2 --dist loadgroup
	$(BIN)/python -m tests.cost

soak: $(VENV)/installed-dev system  ## kills, faults, damaged messages, all cases: an hour
	$(BIN)/python -m pytest -m soak -n 2 --dist worksteal --timeout 3600
	$(BIN)/python -m pytest -m hypothesis -n 2 --dist loadgroup --hypothesis-profile more

soak-full: $(VENV)/installed-dev system  ## all of them, and new examples for what is tested by examples; hours
	EVOLVER_SOAK=full $(BIN)/python -m pytest -m soak -n 2 --dist worksteal --timeout 7200
	$(BIN)/python -m pytest -m hypothesis -n 2 --dist loadgroup --hypothesis-profile new

bench: $(VENV)/installed-dev  ## the benchmarks behind benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.optimizer_speed
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.journal
	$(BIN)/python -m benchmarks.schedule
	$(BIN)/python -m benchmarks.wire
	$(BIN)/python -m benchmarks.monitor
	$(BIN)/python -m benchmarks.superstimuli
	$(BIN)/python -m benchmarks.optimizers quick
	$(BIN)/python -m benchmarks.latent_spaces
	$(BIN)/python -m benchmarks.generators_speed --quick
	$(BIN)/python -m benchmarks.stylegan3_speed

docs: $(VENV)/installed-dev  ## the guides and the reference, as a site to browse, in site/
	$(BIN)/python docs/site/pages.py site
	@echo "to read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000"
	@echo "and open http://127.0.0.1:8000"

format: $(VENV)/installed-dev  ## put the code in the house's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

constraints:  ## constraints.txt with the newest releases that go together; `make test` says whether they do
	$(PYTHON) -m venv --clear build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check $(HELD) -e '.[dev]'
	{ sed -n '/^#/p' constraints.txt; echo $(HELD); \
	  build/newest/bin/python -m pip freeze --exclude torch | grep '^[^ #-].*=='; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/newest

clean:  ## remove what the other targets made
	rm -rf $(VENV) demo site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "evolver needs Python 3.11 or later; this is $$($(PYTHON) --version). Use make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml constraints.txt
	@echo "installing evolver into $(VENV) …"
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the tools for development into $(VENV) …"
	$(INSTALL) -e '.[dev]'
	@touch $@
