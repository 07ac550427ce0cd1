# make          what there is
# make demo     the main job, on a local Genesys; needs Python 3.11 with venv, nothing else
# make test     ruff, mypy, the import contracts, every test

# The first Python that runs and is new enough; a name alone (a version manager's shim, say) proves nothing.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Checks against the vendor's schema and fixtures come on top where they are at hand.
ORACLE := $(wildcard $(CURDIR)/../shared/protocol)
export GUESTWIRE_ORACLE ?= $(ORACLE)

.DEFAULT_GOAL := help
.PHONY: help demo install test lint types bench soak docs lock clean

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/'

$(VENV)/.runtime: pyproject.toml requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || { echo "installing into $(VENV): about half a minute, once"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# The agent page is tested in the system's own Chromium.
$(VENV)/.browser: $(VENV)/.dev
	@for b in chromium chromium-browser google-chrome; do command -v $$b >/dev/null && exit 0; done; \
	  root=; test "$$(id -u)" = 0 || root="sudo -n"; \
	  { $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install --no-install-recommends -y chromium; } \
	    >/dev/null 2>&1 || { echo "a browser for the tests of the agent page is missing: apt-get install chromium"; exit 1; }
	@touch $@

# The unit in deploy/ is held against systemd's own words.
$(VENV)/.systemd: $(VENV)/.dev
	@command -v systemd-analyze >/dev/null || { \
	  root=; test "$$(id -u)" = 0 || root="sudo -n"; \
	  { $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install --no-install-recommends -y systemd; } \
	    >/dev/null 2>&1 || { echo "systemd-analyze for the tests of deploy/ is missing: apt-get install systemd"; exit 1; }; }
	@touch $@

demo: $(VENV)/.runtime ## A day of a support desk on a local Genesys that loses answers
	@$(BIN)/guestwire demo $(ARGS)

install: $(VENV)/.dev ## Everything into .venv

lint: $(VENV)/.dev ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

test: lint types $(VENV)/.browser $(VENV)/.systemd ## Everything that has to hold
	$(BIN)/pytest -n auto --dist loadgroup

bench: $(VENV)/.dev ## Measure: ratios beside the goals
	$(BIN)/python -m benchmarks

MINUTES ?= 10
soak: $(VENV)/.dev ## Steady load with faults, then the long forms of the suites; MINUTES=10
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

docs: $(VENV)/.dev ## Make the generated pages anew
	$(BIN)/python -m tests.wire.parity
	$(BIN)/python -m tests.docs.test_licences
	$(BIN)/python -m tests.docs.outcomes_page
	$(BIN)/python -m tests.docs.guarantees_page

lock: $(VENV)/.dev ## Pin what pyproject.toml asks for, with hashes
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
	  pyproject.toml build-requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
	  --extra dev pyproject.toml build-requirements.in -o requirements-dev.txt

clean: ## Remove what was made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
