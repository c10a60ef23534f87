# Every target does all of its own set-up, in virtual environments inside this folder.
# Nothing is installed globally and nothing needs root.

PYTHON ?= python3
VENV ?= .venv
# Passed on: make test ARGS='-k sendfile', make demo ARGS=--quick
ARGS ?=
# Seconds of `make soak`, and of `make siege`.
SOAK ?= 60
SIEGE ?= 60
# Minor versions of Python for `make pythons`, `make test-all` and `make dist`.
MINORS ?=

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
# Two pips in one environment break each other, so -j means nothing here.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo bench performance test pythons test-all test-libuv conformance coverage faults fuzz mutations soak siege browser \
    versions nightly reliability lint format docs dist clean

BIN := $(VENV)/bin
CODE := gzc monkey tests examples benchmarks .ci/smoke.py
FAST := -m "not slow"
# Two processes, a module in one piece: half the time on two cores.
BOTH := -n 2 --dist loadfile
# Where what takes long leaves its figures; `make reliability` makes a page of them.
FIGURES = --figures build/reliability/$@.json
ENGINE := $(wildcard $(addprefix tests/*/test_,$(addsuffix .py,disk interruption pipes pool_strikes pump sendfile_cases \
    tunnel twins wrappers)))

help: ## Show this list.
	@echo "gzc: zero-copy I/O for gevent. Targets:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "PYTHON=... chooses the Python (now: $(PYTHON)), ARGS=... goes to pytest or the demo."

# -- environments: one stamp for the environment, one for each extra installed into it ---------------------

$(BIN)/.venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "gzc needs Python 3.10 or newer; '$(PYTHON)' is none. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "==> $(VENV): a virtual environment of $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear $(VENV) \
	    || { rm -rf $(VENV); echo "'$(PYTHON)' cannot make one (Debian: apt install python3-venv)." >&2; exit 1; }
	@touch $@

$(BIN)/.extra-%: setup.cfg pyproject.toml | $(BIN)/.venv
	@echo "==> $(VENV): gzc[$*]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# -- the work ----------------------------------------------------------------------------------------------

demo: $(BIN)/.extra-demo ## Stock beside gzc: one unmodified Flask app under gunicorn -k gevent.
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(BIN)/.extra-test ## All tests.
	$(BIN)/pytest $(ARGS)

pythons: ## Make the Pythons that this machine lacks, in build/pythons, out of Debian's packages.
	@.ci/make-pythons $(MINORS)

test-all: ## The fast tests on every other Python >= 3.10 of this machine.
	@mine=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	.ci/pythons | while read -r minor python; do \
	    [ "$$minor" != "$$mine" ] || continue; \
	    [[ -z "$(MINORS)" || " $(MINORS) " == *" $$minor "* ]] || continue; \
	    echo "==> Python $$minor: $$python"; \
	    $(MAKE) --no-print-directory test PYTHON="$$python" VENV=".venv-$$minor" ARGS='$(FAST) $(BOTH) $(ARGS)' </dev/null; \
	done

# nginx and haproxy take part where they are on PATH. ARGS=--quick shows in a minute or two that all of it works.
bench: $(BIN)/.extra-bench ## Everything measured, beside stock gevent, Go, nginx, HAProxy (15 minutes).
	@$(BIN)/python -m benchmarks all $(ARGS)

# The page says which rows failed, so it is written then, too. Have nginx and haproxy on PATH, and the machine to yourself.
performance: $(BIN)/.extra-bench ## Measure everything, and renew docs/performance.md with it (20 minutes).
	@status=0; $(BIN)/python -m benchmarks all --json docs/performance $(ARGS) || status=$$?; \
	$(BIN)/python -m benchmarks page; exit $$status

# ARGS='test_socket urllib3' chooses.
conformance: $(BIN)/.extra-conformance ## The suites of CPython, gevent, gunicorn, Werkzeug, urllib3 under gzc.
	$(BIN)/python -m tests.nightly.conformance $(FIGURES) $(ARGS)

# A process for each module: what one leaves behind in the loop is in no other's way.
test-libuv: $(BIN)/.extra-test ## The fast tests of the engine on gevent's libuv loop.
	@failed=; for module in $(ENGINE); do \
	    echo "==> libuv: $$module"; \
	    GEVENT_LOOP=libuv $(BIN)/pytest -q $(FAST) "$$module" $(ARGS) </dev/null || failed="$$failed $$module"; \
	done; [ -z "$$failed" ] || { echo "on libuv:$$failed" >&2; exit 1; }

# The kernel by script and by strace, a FUSE file system that misbehaves, the limits of the machine, every switch.
faults: $(BIN)/.extra-test ## All that may go wrong below, provoked.
	$(BIN)/pytest -q $(BOTH) $(FIGURES) $(wildcard $(addprefix tests/*/test_,$(addsuffix .py,scripted_kernel disk machine every_switch \
	    interruption pool_strikes))) $(ARGS)

# Thousands of random histories. GZC_FUZZ_EXAMPLES=n tries any number.
fuzz: $(BIN)/.extra-test ## Random histories of copies, thousands of them.
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q $(BOTH) $(FIGURES) tests/core/test_fuzz.py tests/core/test_fuzz_tunnel.py $(ARGS)

mutations: $(BIN)/.extra-test ## Take each remedy away in turn: a test must notice.
	$(BIN)/python -m tests.nightly.mutations -j 2 $(FIGURES) $(ARGS)

soak: $(BIN)/.extra-test ## Hundreds of clients against gunicorn and a tunnel, for SOAK seconds; 10,000 idle tunnels.
	$(BIN)/python -m tests.nightly.soak --seconds $(SOAK) $(FIGURES) $(ARGS)

siege: $(BIN)/.extra-test ## gzc serve and gzc proxy under slow, silent, hostile and normal clients, for SIEGE seconds.
	$(BIN)/python -m tests.nightly.siege --seconds $(SIEGE) $(FIGURES) $(ARGS)

# gevent's and gunicorn's oldest that setup.cfg allows and that Python can have, and their newest.
# RESUME=--resume: rows that have passed on this very code stand.
versions: $(BIN)/.extra-test ## The fast tests on Python 3.10 to 3.15, libev and libuv, oldest and newest gevent and gunicorn.
	@$(BIN)/python -m tests.nightly.versions --engine $(ENGINE) $(FIGURES) $(RESUME) $(ARGS)

# Chromium is the system's (.ci/apt-nightly.txt). ARGS='--pictures docs/img' renews the pictures of the documentation.
browser: $(BIN)/.extra-test docs ## The web pages and the documentation, looked at in headless Chromium.
	$(BIN)/python -m tests.nightly.browser $(FIGURES) $(ARGS)

# One after the other, each within its bound; ARGS='soak versions' chooses, ARGS=--resume goes on with one cut short.
nightly: $(BIN)/.extra-test ## All that takes long, with a table of what it came to (some hours).
	@$(BIN)/python -m tests.nightly --make $(MAKE) $(ARGS)

reliability: $(BIN)/.extra-test ## Take the figures that the last runs have left into docs/reliability.md.
	$(BIN)/python -m tests.nightly.reliability --collect

# About ten minutes. The total is also in build/reliability/coverage.json. gevent runs without its C extensions: the
# tracer notices a switch of greenlets by the next Python function that is called or left, and books lines under
# another file until then (coveragepy#841). A failed test does not end it: the tracer loses a Ctrl-C now and then.
coverage: $(BIN)/.extra-test ## All tests, and which lines and branches they reach.
	@rm -f .coverage .coverage.*
	-PURE_PYTHON=1 $(BIN)/coverage run $(BIN)/pytest $(BOTH) -m 'not untraced' $(ARGS)
	$(BIN)/coverage combine -q
	@mkdir -p build/reliability
	@$(BIN)/coverage json -q --fail-under=0 -o - | $(BIN)/python -c 'import json, platform, sys; \
	    totals = json.load(sys.stdin)["totals"]; print(json.dumps({"python": platform.python_version(), **totals}))' \
	    >build/reliability/coverage.json
	$(BIN)/coverage report

lint: $(BIN)/.extra-lint ## ruff check, ruff format --check, mypy --strict, the schema of the workflows.
	$(BIN)/ruff check $(wildcard $(CODE))
	$(BIN)/ruff format --check $(wildcard $(CODE))
	$(BIN)/mypy -p gzc
	$(BIN)/mypy examples/demo.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(wildcard .github/workflows/*.yml)

format: $(BIN)/.extra-lint ## Let ruff repair and format the code.
	$(BIN)/ruff check --fix $(wildcard $(CODE))
	$(BIN)/ruff format $(wildcard $(CODE))

docs: $(BIN)/.extra-docs ## The documentation as web pages, in build/site; a warning is an error.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

dist: $(BIN)/.extra-dist ## sdist and wheel; both must work in an empty environment, outside this folder.
	@rm -rf dist
	$(BIN)/python -m build
	@[[ -n "$(MINORS)" ]] || PYTHON="$(BIN)/python" .ci/check-dist dist
	@.ci/pythons | while read -r minor python; do \
	    [[ " $(MINORS) " != *" $$minor "* ]] || PYTHON="$$python" .ci/check-dist dist </dev/null; \
	done

clean: ## Remove everything these targets have made, the environments too.
	rm -rf .venv .venv-* build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find gzc monkey tests examples .ci -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
