# `make demo` and `make test` work in a fresh clone with nothing installed but Python >= 3.11. `make check` only checks, `make format` only writes.

PYTHON ?= python3
OUT ?= out
SECONDS ?= 1800
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$(( n > 8 ? 8 : n > 1 ? n : 0 )))

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
TORCH := $(shell grep '^torch==' constraints.txt)
EXTRAS := torch,demo,plot,report,test,dev
COMPILED = $(BIN)/python -m tests.compile_kernels --jobs $(JOBS)
CUDA_FILES = $(wildcard kernels/cuda/*.cu kernels/cuda/*.cuh)

export PYTHONUNBUFFERED := 1
# tests start hundreds of processes; where it is set each of them takes 0.6 s to compile the same Python files
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-quick test-all mutants campaign check format bench bench-peers bench-compare report docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## reproduce the tutorial, fit 142 countries and a million small fits; the picture goes to out/
	$(BIN)/fastgd demo

test: $(READY)  ## run the tests, with a share of the large grids
	$(COMPILED)
	$(BIN)/python -P -m pytest -n $(JOBS)

test-quick: $(READY)  ## before every commit: no PyTorch, no CUDA; under a minute once compiled
	$(COMPILED)
	$(BIN)/python -P -m pytest -n $(JOBS) --quick tests/input tests/data tests/planning tests/results tests/fit

test-all: $(READY)  ## run the tests, with all of the large grids
	$(COMPILED)
	$(BIN)/python -P -m pytest -n $(JOBS) --full

mutants: $(READY)  ## plant defects one at a time: each must fail a test. JOBS=2 runs two at a time; some of them: see tests/README.md
	$(BIN)/python -m tests.mutants --jobs $(JOBS)

campaign: $(READY)  ## attack the promises with random cases for SECONDS (1800); the table goes to docs/reliability.md
	$(BIN)/python -m tests.campaign --seconds $(SECONDS) --jobs $(JOBS) --out docs/reliability.md

check: $(READY)  ## lint, formatting, types, and the rules about structure and packaging
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CUDA_FILES)
	$(BIN)/mypy
	$(BIN)/python -P -m pytest tests/house/test_architecture.py tests/house/test_imports.py tests/house/test_packaging.py

format: $(READY)  ## sort the imports and lay out the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .
ifneq ($(CUDA_FILES),)
	$(BIN)/clang-format -i $(CUDA_FILES)
endif

bench: $(READY)  ## every case beside the limits of this machine, scaling, cold start and memory: 10 minutes; rows go to out/bench.jsonl
	$(BIN)/python -P benchmarks/run.py --out $(OUT)/bench.jsonl

bench-peers: $(READY)  ## the same cases by other libraries, which it installs (JAX, optax, polars-ds): 30 minutes; out/peers.jsonl
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS),peers]'
	$(BIN)/python -P benchmarks/run.py --peers --out $(OUT)/peers.jsonl

bench-compare: $(READY)  ## instructions of the kernels' loops, AVX-512 and AVX2, and functions of Python, beside benchmarks/counts.json
	$(BIN)/python -P benchmarks/compare.py

report: $(READY)  ## benchmarks/RESULTS.md, the README's table and pictures, from the runs in benchmarks/results
	$(BIN)/python -P benchmarks/report.py

docs: $(READY)  ## build the documentation site in out/site; a warning is an error
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS),docs]'
	$(BIN)/python -P -m sphinx -W --keep-going -b html -c docs . $(OUT)/site

clean:  ## remove the environment and everything that was built
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# once, and again whenever the dependencies change
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fastgd needs Python >= 3.11, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) -V), $(TORCH) and the versions of constraints.txt: a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt $(TORCH) setuptools
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[$(EXTRAS)]"
	@touch $@
