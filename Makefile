# SPDX-License-Identifier: GPL-3.0-or-later
# What a developer types; ./patchfarm sets up what is needed.
BIN := .venv/bin
COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-annotate --no-emit-index-url --no-emit-find-links --no-header
.PHONY: help check test test-fast test-all bench docs lock

help: ## this list
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/\1\t\2/p' Makefile

.venv/made-of: requirements.lock
	@./patchfarm --no-install --help >/dev/null

check: .venv/made-of ## ruff, formatting, mypy, import contracts, shellcheck
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	shellcheck patchfarm .ci/run

test test-fast: .venv/made-of ## the tests that need no program of the machine and no network: seconds
	$(BIN)/pytest --numprocesses auto -m "not engine and not system"

test-all: ## every check and every test
	./patchfarm test

bench: .venv/made-of ## every benchmark, one after the other; needs a container engine and most of an hour
	for name in idle dispatch packing packed log build recovery faults cuts clocks liars architectures host; do $(BIN)/python -m benchmarks.$$name || exit; done

docs: .venv/made-of ## writes anew what is generated: the diagram and the recipe schema
	$(BIN)/python -m coordinator.diagram >.diagram
	sed -i -e '/^```mermaid/,/^```$$/{//!d}' -e '/^```mermaid/r .diagram' ARCHITECTURE.md
	rm .diagram
	$(BIN)/python -m coordinator.recipe_schema

lock: ## writes requirements.lock and the two for images anew from pyproject.toml; needs uv
	$(COMPILE) --extra server --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra server --constraints requirements.lock --output-file coordinator/requirements.lock pyproject.toml
	$(COMPILE) --constraints requirements.lock --output-file workers/requirements.lock pyproject.toml
	sed -i '1i # SPDX-License-Identifier: GPL-3.0-or-later\n# Every Python package by version and digest; made from pyproject.toml by `make lock`.' \
		requirements.lock coordinator/requirements.lock workers/requirements.lock
