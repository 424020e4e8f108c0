# All that is needed is Python >= 3.11, git and make: uv is put into .tools/ if it is not there.
TEMPLATE := {{cookiecutter.project_slug}}
PYTHON ?= python3
RUN := .venv/bin/
END ?= not prerelease
# One more than there are cores: tests wait for processes that begin.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")

# Not the system's sh: the old make of macOS would run simple commands with another PATH.
SHELL := /bin/bash
UV := $(if $(shell command -v uv),,.tools/bin/uv)
export PATH := $(PATH):$(CURDIR)/.tools/bin

# Cookiecutter would copy caches out of the template folder.
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/.tools/pycache
export RUFF_NO_CACHE := true
# An environment that happens to be active is not the one meant.
unexport VIRTUAL_ENV
unexport UV_PROJECT_ENVIRONMENT

.PHONY: help demo test test-fast test-ends chaos bench lint clean

help:
	@echo "make demo       generate a project in demo/, install it, train and test a network"
	@echo "make test       lint, types and all tests"
	@echo "make test-fast  the tests that take less than a minute together"
	@echo "make test-ends  those of a project, at the lowest and the highest versions it allows"
	@echo "make chaos      kill training processes hundreds of times"
	@echo "make bench      measure against loops written by hand: benchmarks/RESULTS.md"
	@echo "make lint       ruff and mypy only"
	@echo "make clean      remove what make has made"

demo: | $(UV)
	uv run --no-dev cookiecutter . --no-input --default-config --overwrite-if-exists \
		project_name=Demo
	cd demo && uv sync && uv run python main.py

test: lint
	$(RUN)pytest --numprocesses $(WORKERS) --dist loadscope

test-fast: .venv/ready
	$(RUN)pytest -m "not slow and not chaos and not ends"

# One end alone: END=lowest, highest or prerelease.
test-ends: .venv/ready
	$(RUN)pytest -m ends -k "$(END)"

chaos: .venv/ready
	$(RUN)pytest -m chaos -s

# In an environment such as a user has: more packages would start more slowly.
bench: .venv/ready
	rm -rf .tools/bench
	$(RUN)cookiecutter . --no-input --default-config --output-dir .tools/bench project_name=Bench
	cd .tools/bench/bench && uv sync
	COOKIECUTTER=$(CURDIR)/$(RUN)cookiecutter \
		.tools/bench/bench/.venv/bin/python benchmarks/bench.py .tools/bench/bench

lint: .venv/ready
	$(RUN)ruff check
	$(RUN)ruff format --check
	$(RUN)mypy

clean:
	rm -rf .venv .tools demo uv.lock .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find '$(TEMPLATE)' \( -name __pycache__ -o -name '.*_cache' \) -prune -exec rm -rf {} +

# One environment for the tests and for what they generate. The versions of the generated
# project's dependencies are read from a project generated for that purpose.
.venv/ready: pyproject.toml $(TEMPLATE)/pyproject.toml cookiecutter.json | $(UV)
	uv sync --inexact
	$(RUN)cookiecutter . --no-input --default-config --accept-hooks no \
		--overwrite-if-exists --output-dir .tools project_name=Environment
	uv pip install --python .venv --requirements .tools/environment/pyproject.toml \
		--group .tools/environment/pyproject.toml:dev --extra export --extra loggers \
		--extra studies
	@touch $@

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv
