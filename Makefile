# Every target works alone in a fresh clone: each makes the environment first, and a second call costs nothing.
.PHONY: setup demo test docs check format wheel-test

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
WHEEL := build/wheel-test

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(BIN)/python -c 'import pip, sys; assert sys.version_info >= (3, 11)' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

# Two workers with one thread each are faster than one with two: the networks of the tests are small.
test: setup check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Whole and anew, so that no page is left out and every warning, which is an error, is seen again.
docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env --write-all --doctree-dir build/doctrees docs site

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The wheel as users get it: built from the source archive, in an environment with what it depends on alone.
wheel-test: setup
	rm -rf $(WHEEL)
	$(BIN)/python -m build --outdir $(WHEEL)/dist
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --disable-pip-version-check $(WHEEL)/dist/*.whl
	$(WHEEL)/venv/bin/python -I tests/installed_wheel.py
	$(WHEEL)/venv/bin/fpnas --version
