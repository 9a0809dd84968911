# `make demo` and `make test` need nothing but Python 3.11 or newer with pip.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DOCS_STAMP := .venv/.installed_docs
# Two workers, each with one thread for its small matrices: those of two get into each other's way.
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test quick lint types docs benchmark clean

demo: $(STAMP)  ## install, and run the main job
	$(BIN)/python -m overlaps

test: lint types  ## everything that has to hold: lint, types, all tests
	$(PYTEST)

quick: $(STAMP)  ## the quick tests alone
	$(PYTEST) -m "not slow"

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(STAMP)
	$(BIN)/basedpyright

docs: $(DOCS_STAMP)  ## build the site in docs/_build/html; with EXAMPLES=all every example runs, which takes long
	rm -rf docs/_build docs/gallery docs/reference/generated
	OPENBLAS_NUM_THREADS=1 EXAMPLES=$(EXAMPLES) $(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(BIN)/python docs/_site/check.py docs/_build/html

benchmark: $(STAMP)
	$(BIN)/python benchmarks/linear_learning.py
	$(BIN)/python benchmarks/nonlinear_learning.py
	$(BIN)/python benchmarks/batch_start.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/closure_bias.py
	$(BIN)/python benchmarks/integration_errors.py
	$(BIN)/python benchmarks/compilation.py
	$(BIN)/python benchmarks/ensembles.py
	$(BIN)/python benchmarks/bulk_cost.py

clean:
	rm -rf .venv docs/_build docs/gallery docs/reference/generated

# Debian's Python has no ensurepip, and its pip refuses to install outside of an environment: make a bare one there, and let
# the system's pip fill it.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ rm -rf .venv; $(PYTHON) -m venv --without-pip .venv; }
	if $(BIN)/python -m pip --version >/dev/null 2>&1; \
		then $(BIN)/python -m pip install --quiet -e '.[test]'; \
		else $(PYTHON) -m pip --python $(BIN)/python install --quiet -e '.[test]'; fi
	touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	if $(BIN)/python -m pip --version >/dev/null 2>&1; \
		then $(BIN)/python -m pip install --quiet -e '.[docs]'; \
		else $(PYTHON) -m pip --python $(BIN)/python install --quiet -e '.[docs]'; fi
	touch $(DOCS_STAMP)
