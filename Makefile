# Every target makes what it needs: Python 3.11 or newer and make are all that must be there.
# PYTHON=/path/to/python3 chooses the interpreter.

SHELL = /bin/sh
# Compiled files are kept, whatever the environment says: or each worker of the tests would compile all of them anew, and
# so would each program that a test starts.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL = help
.NOTPARALLEL:
.PHONY: help demo test test-full floors docs pictures lint check dist release release-check deb sbom image-test lock clean bench bench-profile bench-scenarios scale scale-docs faults faults-quick promtool node cc tools chromium browser wheels

BIN = .venv/bin
PACKAGING = setup.cfg setup.py pyproject.toml
# Most tests wait rather than work, for a deadline, a lease or a back-off: two processors are busy with eight of them.
JOBS = 8
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
FLOORS = .venv-floors
WHEELS = 3.11 3.13 3.14

# A failed test runs once more, because a machine may be too busy for any deadline. The summary names each such test.
# `make test-full` gives no test a second chance.
RERUNS = --reruns 1 --reruns-delay 2 -rR

# Run the tests that the marks in $(2) leave, with the Python $(1). Those that busy neighbours would disturb go first:
# they need a fifth of a processor each, so that three of them leave enough to each other.
define run-tests
	$(1) -m pytest -m "alone$(2)" -n 3 --dist worksteal $(3) tests/process
	$(1) -m pytest -m "not alone$(2)" -n $(JOBS) --dist worksteal $(3)
endef

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: .venv/courier.stamp ## deliver 5,000 messages with no AWS at all, and count them
	@$(BIN)/python -m courier demo

test: .venv/dev.stamp promtool node cc tools browser wheels ## run the tests, without those that take minutes
	$(call run-tests,$(BIN)/python, and not full,$(RERUNS))

test-full: .venv/dev.stamp promtool node cc tools browser wheels ## run all the tests; takes most of an hour
	@$(MAKE) --no-print-directory tools TOOLS='lintian=lintian zsh=zsh fish=fish'
	$(call run-tests,$(BIN)/python)

floors: $(FLOORS)/floors.stamp promtool node cc tools chromium ## run the tests on Python 3.11 with the oldest dependencies that setup.cfg admits
	@$(call install-browser,$(FLOORS))
	$(call run-tests,$(FLOORS)/bin/python, and not full,$(RERUNS))

# The tests are collected beside mypy, which uses one processor: their workers then find them all compiled.
lint: .venv/dev.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest --collect-only -qq >.venv/collected.txt 2>&1 & collection=$$!; \
	    echo $(BIN)/mypy; $(BIN)/mypy; checked=$$?; \
	    wait $$collection || { cat .venv/collected.txt; exit 1; }; exit $$checked
	$(BIN)/lint-imports --no-logo

docs: .venv/courier.stamp ## write docs/configuration.md, the dashboard and the alerts for Kubernetes anew from what they show
	$(BIN)/python scripts/write_configuration.py
	$(BIN)/python scripts/write_dashboard.py
	$(BIN)/python scripts/write_alerts.py

pictures: browser ## take the pictures of the live page in docs/ anew; takes 7 minutes
	COURIER_PICTURES=300 COURIER_PICTURE_RATE=300 $(BIN)/python -m pytest -q --timeout 900 tests/browser/test_looks.py

faults: .venv/dev.stamp node cc ## test the delivery promise under faults of processes, disks, networks and clocks; takes up to 20 minutes
	@$(BIN)/python -m scripts.faults run $(FAULTS)

faults-quick: .venv/dev.stamp cc ## test it under a few of these faults; takes up to 3 minutes
	@$(BIN)/python -m scripts.faults run --quick $(FAULTS)

check: lint demo faults-quick test ## all that CI runs: lint, the demo, a few fault tests, the tests

dist: .venv/dist.stamp ## build the wheel and the source distribution into dist/; the same source gives the same bytes
	@$(BIN)/python -m scripts.distributions dist

release: dist sbom ## put all files of a release into dist/: both distributions, the lock, the bill of materials, checksums
	@cp requirements.lock dist/
	@cd dist && sha256sum courier-*.whl courier-*.tar.gz requirements.lock courier.cdx.json >SHA256SUMS && cat SHA256SUMS

deb: dist ## build the Debian package into dist/, with the libraries of requirements.lock; for Python 3.13, or DEB_PYTHON=3.12
	@$(MAKE) --no-print-directory tools TOOLS="dpkg-buildpackage=dpkg-dev dh=debhelper"
	@$(BIN)/python -m scripts.debian dist $(if $(DEB_PYTHON),--python $(DEB_PYTHON))

release-check: .venv/courier.stamp ## say what is missing for a release
	@$(BIN)/python -m scripts.release_check

sbom: .venv/release.stamp ## write the bill of materials of the image, dist/courier.cdx.json (CycloneDX)
	@mkdir -p build dist
	@printf '[project]\nname = "courier"\nversion = "%s"\n' "$$($(BIN)/python -c 'import courier; print(courier.__version__)')" \
	    >build/pyproject.toml
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject build/pyproject.toml --mc-type application \
	    --output-reproducible --output-file dist/courier.cdx.json

image-test: .venv/dev.stamp tools ## build the image without a daemon, and test its containers; takes a minute, as root
	@CI=true $(BIN)/python -m pytest -q tests/process/test_image.py

lock: .venv/courier.stamp ## write the image's requirements.lock and requirements-build.lock anew, with the newest releases
	$(BIN)/python scripts/requirements.py lock

bench: .venv/bench.stamp ## compare what a message costs with other programs, on this machine
	$(BIN)/python -m scripts.bench run $(BENCH)

bench-profile: .venv/bench.stamp ## tell where the CPU time of a message goes
	$(BIN)/python -m scripts.bench profile $(BENCH)

SCENARIOS = latency slots bodies growth processes tls distance idle steady
.PHONY: $(SCENARIOS:%=bench-%)
bench-scenarios: $(SCENARIOS:%=bench-%) ## all of bench-latency, -slots, -bodies, -growth, -processes, -tls, -distance, -idle, -steady

$(SCENARIOS:%=bench-%): bench-%: .venv/bench.stamp
	$(BIN)/python -m scripts.bench $* $(BENCH)

scale: .venv/bench.stamp ## measure 1, 2 and 4 instances on a queue, for the model of docs/sizing.md
	$(BIN)/python -m scripts.scale measure $(SCALE)

scale-docs: .venv/bench.stamp ## write the tables of docs/sizing.md anew from the model
	$(BIN)/python -m scripts.scale document

clean: ## remove what was made here, .venv too
	rm -rf .venv $(FLOORS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
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
	@# A program whose environment forbids compiled files, or whose user can't write here, would compile all at each start.
	@$(BIN)/python -m compileall -q courier
	@touch $@

.venv/dev.stamp: .venv/courier.stamp
	@$(PIP) --editable '.[test,dev]'
	@touch $@

.venv/dist.stamp: .venv/courier.stamp
	@$(PIP) 'build >= 1.2' 'setuptools >= 70.1'
	@touch $@

.venv/release.stamp: .venv/courier.stamp
	@$(PIP) --editable '.[release]'
	@touch $@

# The wheels of the lock for the Pythons that are here: from them tests install as a machine without the Internet does.
# Without them those tests are skipped, but in CI they fail.
wheels: .venv/wheels.stamp
.venv/wheels.stamp: .venv/dist.stamp requirements.lock
	@rm -rf .venv/wheels; for python in $(WHEELS); do \
	    "python$$python" -c '' 2>/dev/null && $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
	        --require-hashes --only-binary :all: --python-version "$$python" --requirement requirements.lock \
	        --dest ".venv/wheels/$$python" & \
	done; wait
	@touch $@

$(FLOORS)/floors.stamp: $(PACKAGING) scripts/requirements.py
	@python3.11 -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: the floors are those of Python 3.11; install it with its venv module" >&2; exit 1; }
	@python3.11 -m venv --clear $(FLOORS)
	@$(FLOORS)/bin/python scripts/requirements.py floors >$(FLOORS)/floors.txt
	@$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(FLOORS)/floors.txt --editable '.[test]'
	@touch $@

# Prometheus's own tool judges the alerts. Without it their tests are skipped.
promtool:
	@command -v promtool >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends promtool; } \
	    >/dev/null 2>&1 || echo "make: promtool is missing, the tests of the alerts are skipped;" \
	    "install it (Debian and Ubuntu: apt-get install promtool, or prometheus in older releases)" >&2

# Node runs the SQS server that nobody here wrote. Without it the tests of that server are skipped.
node:
	@{ command -v node && command -v npm; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nodejs npm; } \
	    >/dev/null 2>&1 || echo "make: node or npm is missing, what runs on the SQS server fauxqs is skipped;" \
	    "install them (Debian and Ubuntu: apt-get install nodejs npm), Node 20 or newer" >&2

# The faults of disks and clocks are libraries in C. Without a compiler their tests are skipped.
cc:
	@has_compiler() { echo '#include <dlfcn.h>' | $(CC) -E - >/dev/null 2>&1; }; has_compiler || { [ "$$(id -u)" = 0 ] && \
	    command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev && has_compiler; } \
	    >/dev/null 2>&1 || echo "make: a C compiler is missing, the faults of disks and clocks can't be tested;" \
	    "install it (Debian and Ubuntu: apt-get install gcc libc6-dev), or name it: make CC=/path/to/cc" >&2

# What the tests of units, packages, images and manifests run: each command with its Debian package. Without one its
# tests are skipped, but in CI they fail.
TOOLS = systemd-analyze=systemd dpkg-buildpackage=dpkg-dev dh=debhelper man=man-db \
    mmdebstrap=mmdebstrap buildah=buildah netavark=netavark kustomize=kustomize
# Some are for root, and one is no user's command.
TOOL_PATH = $$PATH:/usr/sbin:/sbin:/usr/lib/podman

# Packages that this release doesn't have would stop the others: those that it has are installed.
tools:
	@PATH="$(TOOL_PATH)"; \
	missing() { for tool in $(TOOLS); do command -v "$${tool%%=*}" >/dev/null || echo "$${tool#*=}"; done; }; \
	packages="$$(missing)"; [ -z "$$packages" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=60 \
	        $$(for package in $$packages; do apt-cache show "$$package" >/dev/null 2>&1 && echo "$$package"; done); } \
	    >/dev/null 2>&1; \
	for package in $$(missing); do echo "make: $$package is missing, the tests that run it are skipped;" \
	    "install it (Debian and Ubuntu: apt-get install $$package)" >&2; done

# The live page is tested in a browser. Without one its tests are skipped, but in CI they fail.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; } \
	    >/dev/null 2>&1 || echo "make: chromium is missing, the tests of the live page in a browser are skipped;" \
	    "install it (Debian and Ubuntu: apt-get install chromium fonts-dejavu-core)" >&2

# What steers the browser, and what judges the page. npm gets axe-core, so that node comes first.
browser: .venv/dev.stamp node chromium
	@$(call install-browser,.venv)

define install-browser
cmp -s tests/browser/package-lock.json $(1)/browser/package-lock.json && [ -e $(1)/browser/installed ] || { \
    mkdir -p $(1)/browser && cp tests/browser/package.json tests/browser/package-lock.json $(1)/browser && \
    $(1)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]' && \
    npm ci --silent --no-audit --no-fund --prefix $(1)/browser && touch $(1)/browser/installed; } || \
    echo "make: playwright or axe-core can't be installed, the tests of the live page in a browser are skipped;" \
    "they come from the registries of pip and npm" >&2
endef

.venv/bench.stamp: .venv/courier.stamp
	@$(PIP) --editable '.[bench]'
	@touch $@
