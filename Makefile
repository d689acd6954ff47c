# Every target makes what it needs: Python 3.11 or newer and make are all that must be there.
# PYTHON=/path/to/python3 chooses the interpreter.

SHELL = /bin/sh
.DEFAULT_GOAL = help
.NOTPARALLEL:
.PHONY: help demo test test-full docs lint check clean bench bench-profile bench-scenarios

BIN = .venv/bin
PACKAGING = setup.cfg setup.py pyproject.toml
# Most tests wait rather than work, for a deadline, a lease or a back-off.
JOBS = 4
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: .venv/courier.stamp ## deliver 5,000 messages with no AWS at all, and count them
	@$(BIN)/python -m courier demo

test: .venv/dev.stamp ## run the tests, without those that take minutes
	$(BIN)/python -m pytest -m "alone and not full"
	$(BIN)/python -m pytest -m "not alone and not full" -n $(JOBS) --dist worksteal

test-full: .venv/dev.stamp ## run all the tests
	$(BIN)/python -m pytest

lint: .venv/dev.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: .venv/courier.stamp ## write docs/configuration.md anew from the options
	$(BIN)/python scripts/write_configuration.py

check: lint demo test ## all that CI runs: lint, the demo, the tests

bench: .venv/bench.stamp ## compare what a message costs with other programs, on this machine
	$(BIN)/python -m scripts.bench run $(BENCH)

bench-profile: .venv/bench.stamp ## tell where the CPU time of a message goes
	$(BIN)/python -m scripts.bench profile $(BENCH)

SCENARIOS = latency slots bodies growth processes tls distance idle
.PHONY: $(SCENARIOS:%=bench-%)
bench-scenarios: $(SCENARIOS:%=bench-%) ## all of bench-latency, -slots, -bodies, -growth, -processes, -tls, -distance, -idle

$(SCENARIOS:%=bench-%): bench-%: .venv/bench.stamp
	$(BIN)/python -m scripts.bench $* $(BENCH)

clean: ## remove what was made here, .venv too
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment whose interpreter is gone (an upgrade, a moved directory) is made anew.
.venv/courier.stamp: $(PACKAGING)
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	    for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 none; do \
	        "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    done; \
	    if [ "$$python" = none ]; then \
	        echo "make: courier needs Python 3.11 or newer with its venv module; install it" \
	            "(Debian and Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    "$$python" -m venv --clear .venv; \
	fi
	@$(PIP) --editable .
	@touch $@

.venv/dev.stamp: .venv/courier.stamp
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/bench.stamp: .venv/courier.stamp
	@$(PIP) --editable '.[bench]'
	@touch $@
