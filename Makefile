# The verbs of this project. `make demo` and `make test` work on a fresh machine with Python >= 3.11 (with venv),
# make and git.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv

.PHONY: demo test check bench proto fmt clean

$(VENV): $(VENV)/.built

$(VENV)/.built: pyproject.toml uv.lock protos/build.py protos/envoy_descriptors.py $(shell find protos/spendgate -name '*.proto')
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'
	$(UV) sync --locked --inexact --quiet
	@touch $@
