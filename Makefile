# Everything sets itself up: the first call makes a virtual environment next to this file, later calls download nothing.
# All paths are relative, because targets of make cannot hold spaces and the folder's own path may.
#
# Another Python, in an environment of its own:  make test PYTHON=python3.13 VENV=.venv-3.13
# Some tests only:                               make test ARGS="-k feeder"
# The same chaos again, for a minute:            make chaos SECONDS=60 SEED=7
# One workload only, or a quick look at all:     make bench ONLY=noop, make bench QUICK=1, make bench ROUNDS=9

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SECONDS ?= 20
SEED ?=
ONLY ?=
QUICK ?=
ROUNDS ?=

RUN = "$(VENV)/bin/python"
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check
# What an environment is bound to: an editable install holds the folder's absolute path, so a moved folder needs a new one.
ORIGIN = printf '%s\n' "$$(pwd -P)" "$(PYTHON)"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test chaos orphans soak bench lint types format clean

help:  ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

demo: $(VENV)/.ready-demo  ## make 400 pictures, their thumbnails and a contact sheet
	@$(RUN) examples/images.py

test: $(VENV)/.ready-test  ## run the tests
	@$(RUN) -m pytest $(ARGS)

chaos: $(VENV)/.ready-library  ## kill, stop and starve workers under 100,000 items, SECONDS=60 for longer
	@$(RUN) -W error chaos/chaos.py $(SECONDS) $(SEED)

orphans: $(VENV)/.ready-library  ## kill main processes at random moments and look for orphans, ROUNDS=200
	@$(RUN) -W error chaos/orphans.py $(if $(ROUNDS),--rounds $(ROUNDS))

soak: $(VENV)/.ready-library  ## ten million items with recycling: does anything grow?
	@$(RUN) -W error chaos/soak.py

bench: $(VENV)/.ready-bench  ## measure against other libraries; QUICK=1 for a look of three minutes
	@$(RUN) -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))

lint: $(VENV)/.ready-lint  ## check style and formatting
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

types: $(VENV)/.ready-lint  ## check the types
	@$(RUN) -m mypy

format: $(VENV)/.ready-lint  ## put code into shape
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

clean:  ## remove everything that was made here, environments included
	rm -rf "$(VENV)" .venv .venv-* demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for the environment, one for the library in it, one per group of tools; with fresh stamps pip is not run at all.
ifneq ($(shell test "$$(cat "$(VENV)/.ready-venv" 2>/dev/null)" = "$$($(ORIGIN))" && echo same),same)
.PHONY: $(VENV)/.ready-venv
endif

$(VENV)/.ready-venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "QuasiQueue needs Python 3.11 or newer, and '$(PYTHON)' is not: name another one, as in 'make test PYTHON=python3.13'." >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module: install it first (on Debian and Ubuntu: apt install python3-venv)." >&2; \
		exit 1; }
	@echo "Setting up $(VENV), once"
	@"$(PYTHON)" -m venv --clear "$(VENV)"
	@# Dependency groups came with pip 25.1; a newer one that is already there is left alone.
	@$(PIP) "pip>=25.1"
	@$(ORIGIN) > $@

$(VENV)/.ready-library: pyproject.toml $(VENV)/.ready-venv
	@$(PIP) --editable .
	@touch $@

$(VENV)/.ready-bench: pyproject.toml $(VENV)/.ready-library
	@$(PIP) --group bench
	@# One needs a compiler where it has no wheel. Without it the results say "not installed".
	@$(PIP) --group bench-native >/dev/null 2>&1 || echo "faster-fifo cannot be installed here: it is left out."
	@touch $@

$(VENV)/.ready-%: pyproject.toml $(VENV)/.ready-library
	@$(PIP) --group $*
	@touch $@
