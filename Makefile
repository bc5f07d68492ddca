# Every target sets up .venv by itself; a machine needs Python 3.11 or later with pip and venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: run chat test soak lint bench clean

run: .venv/.core
	@$(BIN)/hearth run

chat: .venv/.core
	@$(BIN)/hearth chat

test: lint
	$(BIN)/python -m pytest -m "not gpu and not soak"

soak: .venv/.test
	$(BIN)/python -m pytest -m soak -s --timeout=7200

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,postgresql]'
	@touch .venv/.core $@
