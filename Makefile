# `make help` lists the verbs.  Each sets up what it needs in $(VENV); the stamp files there
# make every later call quick, until pyproject.toml or the C sources change.

PYTHON ?= python3
VENV ?= .venv
# What is installed for the tests, of [dependency-groups] in pyproject.toml; "test" is the least, for
# interpreters that lack wheels.
GROUP ?= dev
# How many processes `test` runs in.
JOBS ?= 2
# How long `soak` loads the servers.
MINUTES ?= 10
# More arguments: to the server for `serve`, to pytest for `test` and `stress`, to the runner of
# the benchmarks for `bench` and `bench-full`.
ARGS ?=

BIN := $(VENV)/bin
NEW_PIP := $(VENV)/.stamp-pip
BASE := $(VENV)/.stamp-base
DEV := $(VENV)/.stamp-dev
BENCH := $(VENV)/.stamp-bench
DOCS := $(VENV)/.stamp-docs
ECOSYSTEM := $(VENV)/.stamp-ecosystem
RELEASE := $(VENV)/.stamp-release
# Where artefacts are, and where they are tried.
DIST ?= dist
# All that there are targets for.
NEWEST_SCENARIOS := small50,small500,kilo50,kilo500,bulk4,bulk1,latency,frame50,len32,line,$\
	busy100,idle,start,tls-small50,tls-bulk4
NEWEST_SERVERS := native,asyncrev,asyncrev-python,asyncrev-function,uvloop,janus,$\
	executor,by-hand-uvloop
# What an installation is made of; when one of them changes, the kernels are built again.
SOURCES := pyproject.toml setup.py asyncrev/version.py $(wildcard asyncrev/native/*.[ch])
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help serve test stress soak matrix style analyse types sanitize conformance ecosystem packaging prove mutants mutmut workflows docs picture bench bench-full bench-newest artefacts install-tests sbom clean
.DEFAULT_GOAL := help

help:
	@echo "make serve        run the server on 127.0.0.1:9090 (more options: ARGS='...')"
	@echo "make test         the fast tests (more pytest options: ARGS='...')"
	@echo "make stress       the slow tests and the stress tests"
	@echo "make soak         servers under a mixed load for MINUTES, now $(MINUTES) (ARGS='--help')"
	@echo "make matrix       the protocol's tests over all loops and transports (more options: ARGS='...')"
	@echo "make style        ruff: lint and formatting; codespell; gcc's analyser (make analyse)"
	@echo "make types        mypy"
	@echo "make conformance  CPython's own asyncio tests on our event loop"
	@echo "make ecosystem    other people's programs on our loop (docs/compatibility.md)"
	@echo "make packaging    what is in packaging/: HAProxy, image (buildah, as root), manifests"
	@echo "make prove        the models of docs/models, all interleavings (needs spin and gcc)"
	@echo "make sanitize     the C code under three sanitizers, and two threads on its plane (needs gcc)"
	@echo "make mutants      seeded bugs, each of which the tests must find (ARGS='--only TEXT')"
	@echo "make mutmut       mutation testing of ring, bridge and frames, half an hour (docs/proof.md)"
	@echo "make workflows    weaknesses of what GitHub runs, by zizmor, without a network"
	@echo "make docs         these pages as a site, build/docs/index.html; warnings are errors"
	@echo "make picture      records the moving picture of the first page (needs Chromium), two minutes"
	@echo "make bench        the benchmarks, for two minutes (needs gcc; more options: ARGS='--help')"
	@echo "make bench-full   all of them, for half an hour; renews docs/benchmarks.md and its plots"
	@echo "make bench-newest PYTHON=... VENV=...   its main part with another interpreter, a quarter of an hour"
	@echo "make artefacts    sdist and wheels of the last commit, checked, in DIST, now $(DIST)"
	@echo "make install-tests   those in DIST, each installed on every Python that is found"
	@echo "make sbom         what a wheel in DIST brings along, as CycloneDX JSON, in DIST"
	@echo "make clean        remove environments and caches"
	@echo "Variables: PYTHON (now '$(PYTHON)', needs 3.11 or later), VENV (now '$(VENV)')"

# `exec` leaves no shell between make and the server, so a signal reaches the server itself.
serve: $(BASE)
	@exec $(BIN)/asyncrev serve $(ARGS)

# tests/proof explores the plane in Python, so it is run with that, too, where the native one was chosen.
PROOF ?= $(if $(ARGS),no,yes)
test: $(DEV)
	@if [ $(PROOF) = yes ] && [ "$$($(BIN)/python -c 'from asyncrev.native import choice; print(choice.NAME)')" = native ]; then \
		echo "The plane in Python, explored:"; \
		ASYNCREV_PLANE=python $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not stress" tests/proof; \
	fi
	@exec $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not stress" \
		--ignore tests/ecosystem --ignore tests/artefacts $(ARGS)

# The long tests bring their own limits; this is only a net under them.
stress: $(DEV)
	@exec $(BIN)/python -m pytest -m "slow or stress" --timeout 900 -o faulthandler_timeout=890 \
		--ignore tests/ecosystem --ignore tests/artefacts $(ARGS)

# Tests that say nothing new over a transport, or that it has nothing for, are skipped there.
ALL_LOOPS := epoll,asyncio,uvloop,aiofastnet,aiofastnet-uvloop
TCP_LOOPS ?= $(ALL_LOOPS)
matrix: $(DEV)
	@run() { \
		echo "over $$1, on $$2"; \
		ASYNCREV_TEST_TRANSPORT=$$1 ASYNCREV_TEST_LOOPS=$$2 $(BIN)/python -m pytest tests/protocol \
			-rfE -m "not slow and not stress" $(ARGS); \
	}; \
	run tcp $(TCP_LOOPS) && run unix $(ALL_LOOPS) && run tls $(ALL_LOOPS) && run loop-tls $(ALL_LOOPS)

# Fails if a byte was wrong, or if memory, descriptors or threads grew.
soak: $(DEV)
	@exec $(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

style: $(DEV) analyse
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# Warnings are errors here, and only here: none may break the installation of a user.
ANALYSED := gcc -std=c11 -O2 -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror -fanalyzer
# What has Python.h: built with the limited API, and without it for free-threaded Python.
CORES := $(wildcard asyncrev/native/*_core*.c)
MODULES := $(filter-out $(CORES),$(wildcard asyncrev/native/*.c))
INCLUDE = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
analyse: $(DEV)
	@if ! command -v gcc >/dev/null; then \
		echo "gcc is missing: the C sources were not analysed"; \
	elif [ ! -e "$(INCLUDE)/Python.h" ]; then \
		echo "Python.h is missing: the C sources were not analysed"; \
	else \
		set -ex; \
		for core in $(CORES); do \
			$(ANALYSED) -Wpedantic -c $$core -o /dev/null; \
		done; \
		for module in $(MODULES); do \
			$(ANALYSED) -isystem "$(INCLUDE)" -c $$module -o /dev/null; \
			$(ANALYSED) -isystem "$(INCLUDE)" -DPy_LIMITED_API=0x030B0000 -c $$module -o /dev/null; \
		done; \
	fi

types: $(DEV)
	$(BIN)/mypy

conformance: $(BASE)
	@exec $(BIN)/python tests/conformance/run_stdlib_asyncio_tests.py $(ARGS)

# What has no wheel for the interpreter is named, and its tests are skipped.
ecosystem: $(ECOSYSTEM)
	@exec $(BIN)/python -m pytest -n $(JOBS) tests/ecosystem $(ARGS)

# Long ones included; the schemas of Kubernetes take 100 MB, so they are not among the other tools.
packaging: $(DEV)
	@$(PIP) install --prefer-binary --editable . --group manifests || echo "manifests are not validated"
	@exec $(BIN)/python -m pytest tests/process/test_haproxy.py \
		tests/process/test_kubernetes.py tests/process/test_container.py $(ARGS)

# The cores with a fuzz target and a stress program, the extensions under the tests that use them
# (ARGS='--help').
sanitize: $(DEV)
	@exec $(BIN)/python -m tests.native.sanitize $(ARGS)

prove: $(BASE)
	@exec $(BIN)/python docs/models/prove.py

mutants: $(DEV)
	@exec $(BIN)/python -m tests.mutants.run $(ARGS)

# In a copy, because it writes beside what it mutates. The first run notes which test calls what. A
# call of mutated code takes twenty times as long then, so a test may take ten minutes, not 40 s;
# this run also tests the mutants of one short method. The second run tests all others; what hangs
# is killed, so deadlines are short.
# Native kernels would run instead of what is mutated.
MUTMUT = cd build/mutmut && ASYNCREV_PLANE=python ASYNCREV_TEST_SCALE=$(1) PYTEST_TIMEOUT=$(2) \
	$(abspath $(BIN))/mutmut
mutmut: $(DEV)
	@$(PIP) install --editable . --group mutation
	rm -rf build/mutmut && mkdir -p build/mutmut
	cp -r asyncrev tests docs examples pyproject.toml Makefile README.md LICENSE build/mutmut
	$(call MUTMUT,1,600) run --max-children 1 '*Grammar*forbidden*'
	$(call MUTMUT,0.3,40) run --max-children 1 $(ARGS)
	cd build/mutmut && $(abspath $(BIN))/mutmut results

# zizmor is a binary, which not every machine has a wheel of.
workflows: $(NEW_PIP)
	@if $(PIP) install --only-binary :all: --group workflows; then \
		$(BIN)/zizmor --offline --pedantic --no-progress .github; \
	else \
		echo "zizmor is missing: what GitHub runs was not looked at"; \
	fi

# Read anew every time (-E), because a page that is not read again does not repeat its warnings.
docs: $(DOCS)
	@$(BIN)/python -m sphinx -E -W --keep-going -n -q -b html $(ARGS) docs build/docs
	@echo "build/docs/index.html"

# Before other programs, which would show in the plots; `nice` only warns if that is not allowed.
picture: $(DEV)
	@$(PIP) install 'pillow>=11'
	@exec nice -n -20 $(BIN)/python -m docs.record $(ARGS)

# Both exit with an error if a reply was wrong or a server failed.
bench: $(BENCH)
	@exec $(BIN)/python -m benchmarks.run --json benchmarks/results/quick.json \
		--plot benchmarks/results $(ARGS)

bench-full: $(BENCH)
	$(BIN)/python -m benchmarks.run --full --json benchmarks/results/full.json \
		--plot docs/performance --markdown docs/benchmarks.md $(ARGS)
	rm -f benchmarks/results/micro.json
	$(BIN)/python -m benchmarks.micro --fast --quiet --output benchmarks/results/micro.json
	$(BIN)/python -m benchmarks.report docs/benchmarks.md --micro benchmarks/results/micro.json

# With an interpreter and an environment of its own: PYTHON=python3.13 VENV=.venvs/bench-3.13
bench-newest: $(BENCH)
	$(BIN)/python -m benchmarks.run --json benchmarks/results/newest.json --rounds 9 \
		--scenarios $(NEWEST_SCENARIOS) --servers $(NEWEST_SERVERS) $(ARGS)
	$(BIN)/python -m benchmarks.report docs/benchmarks.md --newest benchmarks/results/newest.json

# docs/releasing.md has the order of these.
artefacts: $(RELEASE)
	@exec $(BIN)/python -m release.build --dist $(DIST) $(ARGS)

install-tests: $(RELEASE)
	@ASYNCREV_DIST=$(abspath $(DIST)) exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile \
		tests/artefacts -o faulthandler_timeout=290 $(ARGS)

sbom: $(RELEASE)
	@exec $(BIN)/python -m release.sbom --dist $(DIST) $(ARGS)

clean:
	rm -rf .venv .venvs build dist *.egg-info asyncrev/native/*.so htmlcov .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache
	find asyncrev benchmarks docs examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Only when the environment is missing or its interpreter is gone.
$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "error: no '$(PYTHON)' here; name a Python 3.11 or later with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: '$(PYTHON)' is not Python 3.11 or later; name one with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: '$(PYTHON)' lacks the venv module (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear "$(VENV)"

# The first that knows dependency groups; what comes with Python may be older, and makes no trouble
# for `serve`, which needs none.
$(NEW_PIP): | $(BIN)/python
	@$(PIP) install 'pip>=25.1'
	@touch $@

$(BASE): $(SOURCES) | $(BIN)/python
	@echo "installing asyncrev into $(VENV)"
	@$(PIP) install --editable .
	@$(BIN)/asyncrev --version
	@touch $@

$(DEV): $(SOURCES) | $(NEW_PIP)
	@echo "installing asyncrev and its development tools into $(VENV)"
	@$(PIP) install --prefer-binary --editable . --group $(GROUP)
	@$(BIN)/asyncrev --version
	@touch $(BASE) $@

$(BENCH): $(SOURCES) | $(NEW_PIP)
	@echo "installing asyncrev and what its benchmarks compare it with into $(VENV)"
	@$(PIP) install --editable . --group benchmarks
	@touch $(BASE) $@

$(DOCS): $(SOURCES) | $(NEW_PIP)
	@echo "installing asyncrev and what makes a site of its pages into $(VENV)"
	@$(PIP) install --editable . --group docs
	@touch $(BASE) $@

$(ECOSYSTEM): $(SOURCES) tests/ecosystem/install.py | $(NEW_PIP)
	@echo "installing asyncrev and other people's programs into $(VENV)"
	@$(PIP) install --prefer-binary --editable . --group test
	@$(BIN)/python tests/ecosystem/install.py
	@touch $(BASE) $@

$(RELEASE): $(DEV) release/requirements.txt
	@echo "installing what makes artefacts and looks at them into $(VENV)"
	@$(PIP) install --requirement release/requirements.txt
	@touch $@
