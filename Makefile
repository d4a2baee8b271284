# Two commands a stranger needs: `make demo` and `make test`. Both set up .venv themselves.
PYTHON ?= python3
PYTHON_OLDEST ?= python3.10
VENV := .venv
BIN := $(VENV)/bin
PROMPT ?= a red mushroom with white spots
MINUTES ?= 3
.DEFAULT_GOAL := help

# Three workers of one thread each: some tests wait for processes or clocks, and two workers leave a
# quarter of two cores idle. Files start in the order of tests/conftest.py, the slow ones first.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	--durations=30 --durations-min=3

.PHONY: help demo test run-tests test-all run-all-tests docs check-wheel test-fast test-oldest test-processors test-viewers fuzz chaos audit lint ruff types format clean gpu-check

gpu-check: $(VENV)/installed
	PYTHON=$(BIN)/python scripts/gpu_check.sh

help:
	@echo "make demo    set up .venv and make splats from \"$(PROMPT)\" in $(MINUTES) minutes, offline"
	@echo "make test    set up .venv, lint, check the format, run the tests"
	@echo "make test-all  the same, with the tests that take long and seldom find what others do not"
	@echo "make test-fast  the tests that take no whole runs, in about a minute"
	@echo "make test-oldest  the fast tests with the oldest Python and packages (gigabytes to download)"
	@echo "make test-processors  all tests with the kernels of two older processors"
	@echo "make test-viewers  open what gs3d writes in other people's viewers (npm, Chromium)"
	@echo "make docs    the site in build/site, from docs/ and the code"
	@echo "make check-wheel  build the wheel and the sdist, look into them, and try the wheel by itself"
	@echo "make fuzz    2,000 files and model folders with one field changed, in some minutes"
	@echo "make chaos   kill small runs fifty times, continue them, compare the results, in some minutes"
	@echo "make audit   licenses and known vulnerabilities of the packages that gs3d needs (network)"
	@echo "make gpu-check  everything that needs a CUDA card, in one go"
	@echo "make lint    the checks without the tests"
	@echo "make format  rewrite the files as the format check wants them"

# Compiling all modules of all packages takes a minute, and few of them are ever imported.
INSTALL := install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# torch is named alone first, so that pip takes a CPU build where one is offered.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip $(INSTALL) torch
	$(BIN)/python -m pip $(INSTALL) -e ".[dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/gs3d generate "$(PROMPT)" --minutes $(MINUTES)

# The type checker runs beside the tests, which leave a core idle at times.
test: ruff
	$(MAKE) -j2 types run-tests

run-tests: $(VENV)/installed
	$(PYTEST) -m "not thorough"

test-all: ruff
	$(MAKE) -j2 types run-all-tests

run-all-tests: $(VENV)/installed
	$(PYTEST)

# Its links and anchors are checked; a broken one fails.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

check-wheel: $(VENV)/installed
	rm -rf build/dist build/lib build/bdist.*
	$(BIN)/python -m build --outdir build/dist
	$(BIN)/python scripts/check_wheel.py build/dist

test-fast: $(VENV)/installed
	$(PYTEST) -m "not slow and not thorough"

# The oldest Python and the oldest releases of all packages that pyproject.toml allows. torch of that
# age is a CUDA build of gigabytes; it runs without a GPU.
OLDEST := build/oldest
test-oldest: $(VENV)/installed
	mkdir -p build
	$(BIN)/python scripts/oldest.py > $(OLDEST).txt
	test -x $(OLDEST)/bin/python || $(PYTHON_OLDEST) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST).txt torch
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST).txt \
		-e ".[lora,view,batch]" "pytest>=8" "pytest-xdist>=3.8"
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not thorough"

# torch and oneDNN choose kernels by the processor; tests must not depend on the choice.
test-processors: $(VENV)/installed
	ATEN_CPU_CAPABILITY=default $(PYTEST)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST)

test-viewers: $(VENV)/installed tests/viewers/node_modules/installed
	GS3D_TEST_VIEWERS=1 $(PYTEST) tests/viewers

tests/viewers/node_modules/installed: tests/viewers/package.json
	cd tests/viewers && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

fuzz: $(VENV)/installed
	$(BIN)/python -m tests.fuzz.test_fuzz 0 2000

chaos: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos.test_chaos 50

# pip-audit has an environment of its own, so that it changes no version that gs3d runs with. If it
# cannot be installed, the script says that nothing was looked up, and fails.
audit: $(VENV)/installed
	test -x $(VENV)/audit/bin/python || $(PYTHON) -m venv $(VENV)/audit
	-$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.9"
	$(BIN)/python scripts/audit.py --auditor $(VENV)/audit/bin/python

lint: ruff types

ruff: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Fewer collections of garbage: a third less time.
types: $(VENV)/installed
	NODE_OPTIONS=--max-semi-space-size=128 $(BIN)/pyright

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info
