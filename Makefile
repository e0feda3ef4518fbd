# The front door. `make help` lists the targets; each one sets up what it needs by itself:
# a virtual environment in .venv and, where it may (root on Debian), missing system packages.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

#: any Python >= 3.11; say `make PYTHON=/path/to/python` to choose another
PYTHON ?= $(shell .ci/python)
BIN := .venv/bin
#: further arguments for pytest, as `make test PYTEST='-k executor -x'`
PYTEST ?=
#: further arguments for the benchmarks, as `make bench BENCH='--quick --only W1'`
BENCH ?=

.PHONY: help demo test check format crash bench docs clean

help: ## this list
	@awk -F ' *## *' '/^[a-z]+:.*##/ { sub(/:.*/, "", $$1); printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## install, start a daemon on a fresh spool, run real work, show the results
	@$(BIN)/python examples/demo.py

test: .venv/.test ## everything; what CI runs
	@.ci/packages strace:strace systemd-analyze:systemd mkfs.ext4:e2fsprogs setpriv:util-linux sshd:openssh-server ip:iproute2
	@.ci/packages chromium:chromium
	@.ci/condor
	@.ci/boinc
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m docs.generate --check
	@$(BIN)/python -m docs.generate_cli --check
	@$(BIN)/python -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST)

check: .venv/.test ## format, lint, types, unit, layers: below one minute, no network, for every save
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m docs.generate --check
	@$(BIN)/python -m docs.generate_cli --check
	@$(BIN)/python -m pytest --quiet tests/unit tests/layers $(PYTEST)

format: .venv/.test ## rewrite the sources as ruff wants them
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

crash: .venv/.test ## the full sweep: kill -9 at every system call, also during the recovery
	@.ci/packages strace:strace
	@SPOOLMW_CRASH=full $(BIN)/python -m pytest --timeout=7200 tests/crash $(PYTEST)

bench: .venv/.test ## throughput, latency, backlog and large values, beside ProcessPoolExecutor
	@.ci/packages mkfs.ext4:e2fsprogs
	@$(BIN)/python -m benchmarks $(BENCH)

docs: .venv/.test ## write the generated pages again: docs/states.md and docs/cli.md
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m docs.generate_cli

clean: ## remove the virtual environment, caches, and what the demo made
	@rm -rf .venv build demo-spool* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/pyvenv.cfg:
	@.ci/packages ensurepip:python3-venv
	@$(if $(PYTHON),,echo "No Python 3.11 or later found. Install one, or say make PYTHON=/path/to/python." >&2; exit 1)
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.demo: pyproject.toml | .venv/pyvenv.cfg
	@echo "Installing spoolmw into .venv ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/.test: .venv/.demo
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[demo,test]'
	@touch $@
