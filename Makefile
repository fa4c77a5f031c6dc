# `make run` shows Ratchet at work; `make test` checks everything. Both install what they need into .venv.

# The system's Python comes first: distributions build it optimized, which makes it a fifth faster than one from pyenv.
PYTHON ?= $(shell for p in /usr/bin/python3.11 python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes: none is to compile everything anew

.PHONY: help install run check test lint contracts-check simulate faults interop soak bench requirements deploy-check docs clean

help:
	@echo 'make run           servers, the service and the scenarios A, B, C, live; Ctrl-C stops (ONCE=1: ends by itself;'
	@echo '                   EXAMPLES=1: with two services downstream, certificates and reporting)'
	@echo 'make check         lint, types, and the tests that need no server: a minute, for the inner loop'
	@echo 'make test          lint, types, unit and integration tests (FULL=1: all of the kind where one tells most, as CI does)'
	@echo 'make contracts-check  what would break a reader or a writer since the last release, and what to do'
	@echo 'make simulate      the lanes under random faults, in memory; SEEDS=n (default 10000)'
	@echo 'make faults        every fault on real servers, 100,000 messages each: about an hour; writes tests/faults/RESULTS.md'
	@echo 'make soak HOURS=n  random faults for hours under steady inputs, memory watched; Ctrl-C ends; writes tests/faults/SOAK.md'
	@echo 'make interop       other clients, codecs and topics of every kind, on the real service; writes tests/interop/RESULTS.md'
	@echo 'make bench         Ratchet beside what else does the same work: about 30 minutes; writes tests/benchmarks/RESULTS.md'
	@echo 'make deploy-check  image, Helm chart and trial, checked with the tools that they are for; writes deploy/CHECKED.md'
	@echo 'make requirements  writes deploy/requirements.txt: what the image installs, with hashes; and deploy/sbom.json'
	@echo 'make install       .venv with the command ratchet'
	@echo 'make docs          writes the generated parts: tables and console blocks of the pages, JSON Schemas, AsyncAPI'
	@echo 'make clean         removes .venv and caches'

install: .venv/installed

.venv/installed: pyproject.toml deploy/constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with venv is needed, e.g. apt-get install python3 python3-venv'; exit 2; }
	@$(PYTHON) -m venv .venv
	@echo 'Installing into .venv ...'
	@PIP_CONSTRAINT=deploy/constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable '.[test]'
	@touch $@

run: install
	@$(BIN)/python -m tests.stack.run $(if $(ONCE),--once) $(if $(EXAMPLES),--examples)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

CORES := $(shell getconf _NPROCESSORS_ONLN)
check: lint
	$(BIN)/pytest -n $(CORES) -m 'not servers and not long and not full' --ignore=tests/faults --ignore=tests/simulation

# Two processes for a core: tests wait for servers. Faults are tested by themselves, because others would suffer them.
AMOUNT := $(if $(FULL),,-m 'not full')
test: lint
	$(BIN)/pytest -n $$(($(CORES) * 2)) --dist loadfile --no-loadscope-reorder $(AMOUNT) --ignore=tests/faults
	$(BIN)/pytest -n 2 --dist worksteal $(AMOUNT) tests/faults

contracts-check: install
	$(BIN)/python -m contracts.compatibility

SEEDS ?= 10000
simulate: install
	$(BIN)/python -m tests.simulation.run $(SEEDS)

faults: install
	$(BIN)/python -m tests.faults.matrix --json tests/faults/results.json --markdown tests/faults/RESULTS.md

HOURS ?= 1
soak: install
	$(BIN)/python -m tests.faults.soak $(HOURS) --markdown tests/faults/SOAK.md

interop: install
	$(BIN)/python -m tests.interop.matrix --json tests/interop/results.json --markdown tests/interop/RESULTS.md

bench: install
	$(BIN)/python -m tests.benchmarks.bench --json tests/benchmarks/results.json \
		--markdown tests/benchmarks/RESULTS.md --plots tests/benchmarks
	$(BIN)/python -m tests.benchmarks.profile > tests/benchmarks/PROFILE.txt

# Image, chart and trial with the tools that they are for; what Debian does not have is built once, into a cache.
deploy-check: install
	$(BIN)/python -m tests.deploy.tools
	RATCHET_TEST_DEPLOY=1 $(BIN)/pytest tests/deploy --junitxml=.deploy-check.xml
	$(BIN)/python -m tests.deploy.checked .deploy-check.xml > deploy/CHECKED.md

# What the image installs, each file by its hash; after deploy/constraints.txt has changed.
UV := $(BIN)/uv pip compile --quiet --constraint deploy/constraints.txt --generate-hashes --no-header --no-annotate \
	--python-version 3.11 --python-platform linux --system-certs
CYCLONEDX := $(BIN)/uv tool run --quiet --system-certs --from cyclonedx-bom==7.5.0
requirements: install
	$(UV) pyproject.toml --extra traces --output-file deploy/requirements.txt
	echo setuptools | $(UV) - --output-file deploy/build-requirements.txt
	$(CYCLONEDX) cyclonedx-py requirements deploy/requirements.txt --pyproject pyproject.toml --output-reproducible \
		--spec-version 1.6 --output-format JSON | $(BIN)/python -m tests.deploy.sbom > deploy/sbom.json

docs: install
	$(BIN)/python -m rules.render rules/README.md
	$(BIN)/python -m service.settings_table deploy/README.md
	$(BIN)/python -m service.settings_schema deploy/helm/ratchet/values.schema.json
	$(BIN)/python -m contracts.export
	WRITE_DOCUMENTS=1 $(BIN)/pytest tests/documents

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis *.egg-info
