# Everything one can do here; `make` lists the commands. Set-up is redone only when the lock or pyproject.toml changed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
LOGDIR ?= runs

.DEFAULT_GOAL := help
.PHONY: help setup train test lint format tensorboard sweep compare bench bench-gpu mutants clean clean-runs clean-cache setup-torchtext test-torchtext setup-peers

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment from requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  "unrolled needs Python 3.11 to 3.13, %s is %d.%d; try make PYTHON=python3.12 ..." % (sys.executable, *v))'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import logging; logging.basicConfig(level="INFO", format="%(message)s"); \
	  from unrolled.nn.engines import native, passes; passes.library(); native.reason_missing()'
	@touch $@

train: $(READY) ## Train once: make train ARGS="model=gru tbptt.chunk_len=32"
	$(BIN)/python train.py $(ARGS)

test: $(READY) ## Run all tests on all cores, or some: make test ARGS="tests/nn -k lstm"
	$(BIN)/python -m pytest $(or $(ARGS),--numprocesses auto --maxprocesses 8 --dist worksteal)

lint: $(READY) ## Check style and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## Format the code, and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

tensorboard: $(READY) ## Show the runs in TensorBoard: make tensorboard LOGDIR=runs
	@find $(LOGDIR) -name '*tfevents*' 2>/dev/null | grep -q . || echo "There are no curves in $(LOGDIR) yet: train in" \
	  "another terminal (make train), and they appear; or name another directory (make tensorboard LOGDIR=...)."
	$(BIN)/tensorboard --logdir $(LOGDIR) --load_fast false

sweep: $(READY) ## Train every model in both implementations: make sweep ARGS="seed=0,1,2"
	$(BIN)/python train.py -m model=rnn,lstm,lstmp,gru model.implementation=handwritten,official $(ARGS)

compare: $(READY) ## Compare the runs: make compare ARGS="runs --format md"
	$(BIN)/python compare.py $(or $(ARGS),runs)

bench: $(READY) ## Time one layer against torch.nn and its matrix products: make bench ARGS="--threads 2"
	$(BIN)/python benchmark.py $(ARGS)

bench-gpu: $(READY) ## The same on a GPU: each recurrence against torch.nn (cuDNN)
	$(BIN)/python benchmark.py --device cuda $(ARGS)

mutants: $(READY) ## Break the code on purpose, and see the tests fail
	$(BIN)/python tests/mutants.py $(ARGS)

clean-cache: $(READY) ## Remove fetched and tokenized data, but no runs
	@cache="$$($(BIN)/python -c 'from unrolled.cli.terminal import run_script; \
	  from unrolled.places import default_cache_dir; run_script(lambda _: print(default_cache_dir()))')" && \
	  rm -rf "$$cache"/tables "$$cache"/tokens "$$cache"/tokenizers "$$cache"/linear && \
	  echo "There are no data left in $$cache."

setup-torchtext: .venv-torchtext/.ready ## Make the environment of torchtext 0.18 (torch 2.3; about 5 GB, five minutes)

.venv-torchtext/.ready: requirements-torchtext.txt
	test -x .venv-torchtext/bin/python || $(PYTHON) -m venv .venv-torchtext
	.venv-torchtext/bin/python -m pip install --quiet --requirement requirements-torchtext.txt
	.venv-torchtext/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

test-torchtext: setup-torchtext ## Run the tests that need torchtext, in its environment
	.venv-torchtext/bin/python -m pytest -m torchtext tests/data/test_torchtext_text.py \
	  tests/data/sources/test_torchtext_sets.py $(ARGS)

setup-peers: .venv-peers/.ready ## Make the environment of Keras for experiments/peers (TensorFlow; 300 MB to fetch)

.venv-peers/.ready: experiments/peers/requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement experiments/peers/requirements.txt
	@touch $@

clean: ## Remove the environment and what tools left, but no runs and no data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-runs: ## Remove all runs, after asking: make clean-runs LOGDIR=runs
	@if ! test -d $(LOGDIR); then echo "There is no directory $(LOGDIR)."; exit 0; fi; \
	  du -sh $(LOGDIR); printf 'Remove every run in $(LOGDIR)? [y/N] '; read -r answer; \
	  if test "$$answer" = y; then rm -rf $(LOGDIR); else echo "Kept."; fi
