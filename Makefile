# SPDX-License-Identifier: GPL-3.0-or-later
# What a developer types; ./patchfarm sets up what is needed.
BIN := .venv/bin
.PHONY: help check test test-fast test-all docs lock

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
	$(BIN)/pytest -m "not engine and not system"

test-all: ## every check and every test
	./patchfarm test

docs: .venv/made-of ## writes anew what is generated: the diagram and the recipe schema
	$(BIN)/python -m coordinator.diagram >.diagram
	sed -i -e '/^```mermaid/,/^```$$/{//!d}' -e '/^```mermaid/r .diagram' ARCHITECTURE.md
	rm .diagram
	$(BIN)/python -m coordinator.recipe_schema

lock: ## writes requirements.lock anew from pyproject.toml; needs uv
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra server --extra dev \
		--no-emit-index-url --no-emit-find-links --no-header pyproject.toml --output-file requirements.lock
	sed -i '1i # SPDX-License-Identifier: GPL-3.0-or-later\n# Every Python package by version and digest; made from pyproject.toml by `make lock`.' requirements.lock
