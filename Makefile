# `make demo` and `make test` set everything up by themselves: Python >= 3.11 with pip, git and make are enough.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# What the benchmarks compare with, apart: their versions need not agree with ours.
PEERS := .venv-bench/.installed
SERVICE_PEERS := .venv-bench-service/.installed
# Two processes with a thread each, and with servers of their own: many tests wait for a process or a server.
TWO := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo up test test-all lint format bench-train bench-runner bench-scaling bench-peak bench-overhead bench-gpu bench-service bench-methods cards constraints clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "softreg needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## Start the service, train on the digits, download the model, check it
	$(BIN)/softreg demo

up: $(INSTALLED)  ## Start the service here and keep it running (Ctrl-C ends it)
	$(BIN)/softreg up

test: $(INSTALLED)  ## Every test but the long ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO) -m 'not long'

test-all: $(INSTALLED)  ## Every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO)

lint: $(INSTALLED)  ## Formatting, style, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED)  ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(PEERS): benchmarks/peers.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

bench-train: $(INSTALLED) $(PEERS)  ## Training in each tier against Keras, Lightning, skorch, a bare loop and JAX
	$(BIN)/python -m benchmarks.train $(OPTIONS)

bench-scaling: $(INSTALLED)  ## Steps per second and peak memory over rows, width and pack size
	$(BIN)/python -m benchmarks.scaling $(OPTIONS)

bench-peak: $(INSTALLED)  ## What this machine can do at most, and the floors that this sets
	$(BIN)/python -m benchmarks.peak $(OPTIONS)

bench-overhead: $(INSTALLED)  ## A step with each divergence against one with the base alone
	$(BIN)/python -m benchmarks.overhead $(OPTIONS)

bench-gpu: $(INSTALLED)  ## On a GPU: resnet-20 against a loop tuned by hand, and recorded steps against eager ones
	$(BIN)/python -m benchmarks.gpu $(OPTIONS)

bench-runner: $(INSTALLED)  ## What a job spends in a warm runner, by phase; two runners side by side
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.runner $(OPTIONS)

$(SERVICE_PEERS): benchmarks/service_peers.txt
	$(PYTHON) -m venv .venv-bench-service
	.venv-bench-service/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/service_peers.txt
	@touch $@

bench-service: $(INSTALLED) $(SERVICE_PEERS)  ## Jobs, requests, files, memory and start beside MLflow and Ray Jobs
	$(BIN)/python -m benchmarks.service $(OPTIONS)

bench-methods: $(INSTALLED)  ## Where each divergence helps and where not (long)
	$(BIN)/python -m benchmarks.methods

cards: $(INSTALLED)  ## Plots and figures into the method cards
	$(BIN)/python -m benchmarks.cards

bench-export: $(INSTALLED)  ## Every network in every export format: seconds, bytes, distance from torch
	$(BIN)/python -m benchmarks.export

constraints: $(INSTALLED)  ## Write constraints.txt from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f > .venv/constraints
	(echo '# Exact versions that the checks run with; `make constraints` writes this file anew.'; \
	 cat .venv/constraints; grep -E '^(editables|hatchling|trove-classifiers)==' constraints.txt) > .venv/new
	mv .venv/new constraints.txt

clean:  ## Remove the virtual environment and every cache
	rm -rf .venv .venv-bench .venv-bench-service .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
