# The verbs of this project: demo, test, test-all, tables, check, lint, bench, proto, fmt; tidy, unit, property, contract
# and e2e for the tests of one folder. Each works from a clean clone on a machine that has Python >= 3.11 (with venv), make
# and git; everything else comes from package registries into .venv, and for test-all into .test-all.

VENV   := .venv
BIN    := $(VENV)/bin
UV_PIN := 0.13.9
# The first Python of the PATH that is new enough. Another one: make PYTHON=/path/to/python3.12 .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  && echo "$$python" && break; done)
ROUNDS ?= 3
# AWAKE=1 keeps the cores from sleeping while `make bench` runs.
AWAKE  ?=
# Sizes of the ledger in bench-size. With 10000000 it takes some minutes more, and 20 GB of disk.
CALLS  ?= 100000 1000000

# The order of tests is drawn anew in each run, and make prints what it was drawn by: `make test SEED=1` draws it again.
SEED   ?= $(shell date +%s)
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --random-order-bucket=module --random-order-seed=$(SEED)
# The tests of a file run one after the other in one process: they share a gateway, and what is in it.
BY_FILE := --dist loadfile --no-loadscope-reorder
# Compiled modules are what make the command line and the services start fast.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: tables demo test test-all tidy unit property contract e2e check lint bench bench-busy bench-size bench-peers proto fmt
.DEFAULT_GOAL := test

# After a new migration.
tables: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.tables

demo: $(VENV) | gen/spendgate
	$(BIN)/spendgate demo

test: $(VENV) | gen/spendgate
	$(PYTEST) $(BY_FILE) tests

# Also what needs programs of others (Node and its packages, more clients in Python: 2.5 GB below .test-all), or minutes.
test-all: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.clients
	$(PYTEST) $(BY_FILE) -m "full or not full" tests

tidy unit property contract e2e: $(VENV) | gen/spendgate
	$(PYTEST) $(BY_FILE) tests/$@

check: lint
	$(PYTEST) tests/tidy tests/unit

# All that reads the code without running it.
lint: $(VENV) | gen/spendgate
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	.ci/buf

bench: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) $(if $(AWAKE),--awake)

# Calls while other work goes on: settling after an outage, a simulation, reports.
bench-busy: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.bench.busy --rounds $(ROUNDS)

bench-size: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.bench.size --rounds $(ROUNDS) --calls $(CALLS)

# Installs other gateways below .bench-peers.
bench-peers: $(VENV) | gen/spendgate
	$(BIN)/python -m tests.bench.peers --rounds $(ROUNDS)

proto: $(VENV)
	$(BIN)/python protos/build.py

fmt: $(VENV)
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

$(VENV): $(VENV)/.built

$(VENV)/.built: pyproject.toml uv.lock protos/build.py protos/envoy_descriptors.py $(shell find protos/spendgate -name '*.proto')
	@.ci/environment $(VENV) $(UV_PIN) $(PYTHON)
	@touch $@

# An existing environment does not notice that its generated code was deleted.
gen/spendgate: | $(VENV)
	$(BIN)/python protos/build.py
