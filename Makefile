# Everything a developer or CI runs. `make` alone lists the targets; CONTRIBUTING.md says when to use which.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(VENV)/bin/pytest

# What is handed on to the program behind a target: make test ARGS="-k alarm -x"
ARGS ?=
# In how many processes `make test` runs the tests; those of one xdist_group stay together.
WORKERS ?= 3
# The worker that `make dev` runs.
FILE ?= examples/session_affinity/worker.py
# How often `make chaos` kills the platform in each of its tests.
KILLS ?= 30

# Debian packages, named by a command that each provides.
TEST_TOOLS := nginx=nginx strace=strace node=nodejs npm=npm dockerd=docker.io ip=iproute2 \
    curl=curl nghttp=nghttp2-client openssl=openssl
LOAD_TOOLS := dockerd=docker.io wrk=wrk cc=gcc:libc6-dev taskset=util-linux
SOAK_TOOLS := $(LOAD_TOOLS) h2load=nghttp2-client
BENCH_TOOLS := $(LOAD_TOOLS) nginx=nginx haproxy=haproxy caddy=caddy h2load=nghttp2-client nghttpd=nghttp2-server

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

.PHONY: setup
setup: ## make .venv, with .venv/bin/moorings in it (nothing is done where it is up to date)
	@tools/setup

# Where Python is told to keep no bytecode, each platform that is started would compile itself anew.
.PHONY: bytecode
bytecode: setup
	@$(PY) -m compileall -q -j 0 src tests tools bench

.PHONY: demo
demo: bytecode ## run the platform on the examples, drive it, and print what that proved
	@$(PY) -m tools.demo $(ARGS)

.PHONY: dev
dev: setup ## run FILE (a worker) with reload on change
	@$(VENV)/bin/moorings dev $(FILE) $(ARGS)

.PHONY: test
test: bytecode ## run every test: unit, contract, integration, examples, chaos with a few kills
	@tools/apt-ensure $(TEST_TOOLS)
	@$(PYTEST) -n $(WORKERS) --dist loadgroup $(ARGS)

.PHONY: check
check: setup ## lint, format, types, layer contract, file length
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(PY) tools/check_file_length.py

.PHONY: format
format: setup ## rewrite the files as `make check` wants them
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

.PHONY: chaos
chaos: bytecode ## the chaos tests with KILLS kills each
	@tools/apt-ensure $(TEST_TOOLS)
	@$(PYTEST) tests/chaos --kills $(KILLS) --timeout 900 $(ARGS)

.PHONY: soak
soak: bytecode ## long runs that end with an error where memory, processes or files grow
	@tools/apt-ensure $(SOAK_TOOLS)
	@$(PY) -m bench.soak $(ARGS)

.PHONY: bench
bench: bytecode ## measure the platform beside nginx, haproxy and caddy (a report, never a gate)
	@tools/apt-ensure $(BENCH_TOOLS)
	@$(PY) -m bench $(ARGS)

.PHONY: bench-quick
bench-quick: bytecode ## the same beside nginx alone, in a minute
	@tools/apt-ensure $(BENCH_TOOLS)
	@$(PY) -m bench --quick $(ARGS)

.PHONY: clean
clean: ## remove .venv, caches and what the bench wrote
	@rm -rf $(VENV) bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
