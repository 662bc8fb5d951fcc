# `make` alone lists what there is.

# Debian's own, where it is: everybody may run it, which a python below /root is not.
PYTHON ?= $(or $(wildcard /usr/bin/python3),python3)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto
# Where .ci/packages puts what Debian's packages do not let be installed.
export PATH := $(CURDIR)/build/tools:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint boot bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.installed ## install everything for using and changing it into .venv

$(VENV)/.installed: pyproject.toml
	.ci/packages run
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: setup ## build the embedded example and look at it
	$(BIN)/python fixtures/make_base.py build/busybox
	$(BIN)/golem-assemble build -t golem-example -o build/golem-example.gvmi \
	    --store build/store --build-context busybox:latest=oci:build/busybox fixtures/busybox
	$(BIN)/golem-assemble inspect build/golem-example.gvmi
	@echo
	@echo "Go on with:"
	@echo "  $(BIN)/golem-assemble ls build/golem-example.gvmi"
	@echo "  $(BIN)/golem-assemble verify build/golem-example.gvmi"
	@echo "  $(BIN)/golem-assemble build --store build/store -o build/mine.gvmi" \
	    "--build-context busybox:latest=oci:build/busybox fixtures/busybox"

lint: setup ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup lint ## run all tests, with coverage
	.ci/packages test
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term

boot: setup ## boot an image in qemu as a provider would
	.ci/packages test
	$(BIN)/python tests/boot/boot_example.py

bench: setup ## time ours beside its peers (root, 10 GB of disk, half an hour)
	.ci/packages test bench
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/context.py
	$(BIN)/python tests/bench/run.py

clean: ## remove what the other targets made
	rm -rf $(VENV) build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
