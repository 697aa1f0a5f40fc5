# Everything runs in .venv, which the first target that needs it makes from requirements.txt.
#
#   make demo    the main job on built-in data: letters -> ten digits
#   make test    the tests
#   make lint    style, types, and what may import what
#   make docs    the pages under docs/ as a site, into site/; broken links fail
#   make bench   speed against the straightforward composition, into benchmarks/results/speed; 15 minutes on 2 cores
#   make bench-check   the part at 32x32, up to 3 minutes; fails if a ratio is 35 % worse than the committed one
#   make transfer-study   hyper-modulation against what people do today, hours; goes on where it was stopped
#   make smoke   source, transfer and pictures at a tiny size, under a minute on a CPU
#   make clean   remove .venv and caches; training runs stay
#
# PYTHON       the interpreter that .venv is made with, 3.10 to 3.13
# TORCH_INDEX  where torch is fetched from, in place of PyPI. PyPI's Linux build brings CUDA (gigabytes);
#              make TORCH_INDEX=https://download.pytorch.org/whl/cpu demo fetches the small CPU build
# STUDY        options of the transfer study: make transfer-study STUDY='--quick', or '--jobs=4'
# WORKERS      test processes at a time

PYTHON ?= python3
TORCH_INDEX ?=
WORKERS ?= 2
STUDY ?=

VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(VENV_PYTHON) -m pip install --disable-pip-version-check
READY := $(VENV)/.ready
SMOKE := smoke-out
BENCH_OUT := training-runs/bench-check
TINY_RUN := --kimg=1 --batch=8 --tick=0.5 --device=cpu

.PHONY: bench bench-check demo docs test lint smoke transfer-study clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(VENV_PYTHON) -m benchmarks.demo

bench: $(READY)
	$(VENV_PYTHON) -m benchmarks.speed
	$(VENV_PYTHON) -m benchmarks.speed.scale
	$(VENV_PYTHON) -m benchmarks.speed --page

bench-check: $(READY)
	$(VENV_PYTHON) -m benchmarks.speed --quick --check --groups=train,sample --outdir=$(BENCH_OUT)

transfer-study: $(READY)
	$(VENV_PYTHON) -m benchmarks.transfer $(STUDY)

# The tensors of tests and of the tiny run are small: more threads only get in each other's way.
test smoke: export OMP_NUM_THREADS := 1

test: $(READY)
	$(VENV_PYTHON) -m pytest -n $(WORKERS) --dist=loadfile

lint: $(READY)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy
	$(VENV)/bin/lint-imports

# Not --quiet: a warning that is not printed does not count for --strict. The variable leaves out an advertisement.
docs: export NO_MKDOCS_2_WARNING := 1

docs: $(READY)
	$(VENV_PYTHON) -m mkdocs build --strict

# The whole job at a tiny size: source data and model, labelled data, transfer, pictures of every class.
smoke: $(READY)
	rm -rf $(SMOKE)
	$(VENV_PYTHON) dataset_tool.py --source=builtin:letters --dest=$(SMOKE)/letters.zip --max-images=256
	$(VENV_PYTHON) dataset_tool.py --source=builtin:digits --dest=$(SMOKE)/digits.zip
	$(VENV_PYTHON) train.py --outdir=$(SMOKE)/source --data=$(SMOKE)/letters.zip $(TINY_RUN) \
	    --z-dim=32 --w-dim=32 --cbase=256 --cmax=32
	$(VENV_PYTHON) train_hyper.py --outdir=$(SMOKE)/transfer --data=$(SMOKE)/digits.zip $(TINY_RUN) \
	    --resume="$$(ls $(SMOKE)/source/*/network-snapshot-*.pkl)" --selfinit
	$(VENV_PYTHON) generate.py --network="$$(ls $(SMOKE)/transfer/*/network-snapshot-*.pkl)" --grid --seeds=0-7 --outdir=$(SMOKE)

clean:
	rm -rf $(VENV) $(SMOKE) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first, by itself: its index may be another one, and no other package may then choose a build of it.
$(READY): requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) $(if $(TORCH_INDEX),--index-url=$(TORCH_INDEX)) "$$(grep '^torch==' requirements.txt)"
	$(PIP_INSTALL) --requirement requirements.txt
	touch $@
