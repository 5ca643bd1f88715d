# make demo   the main job: render a toy factory, train one detector for all its products, evaluate, draw
# make test   every check: style, types, layers, tests
# make settings  the table of settings and docs/settings.md, after the configuration changed
# make docs   the documentation as a site, in site/
# make build  wheel and source distribution in dist/, checked, and tried in a fresh environment
# make venv-cpu TORCH_INDEX=…   the environment with torch from an index of CPU builds (docs/install.md): run it first
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check tests settings docs build venv-cpu bench clean

demo: $(VENV)/.installed
	$(BIN)/muad demo --out demo

test: check tests

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The settings that ship with muad and their page, from the configuration.
settings: $(VENV)/.installed
	$(BIN)/python -c "from pathlib import Path; from muad.configuration.listing import write_tables; \
		write_tables(Path('src/muad/configuration/settings.json'), Path('docs/settings.md'))"

# Nothing is fetched; whatever is not right is an error. `python -m http.server -d site` shows it.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "muad needs Python 3.11 or newer, got $$($(PYTHON) --version). Run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

build: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest -m release tests/wheel

venv-cpu:
	@test -n "$(TORCH_INDEX)" || \
		{ echo "TORCH_INDEX must be an index of torch's CPU builds, got none. docs/install.md names PyTorch's own."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url $(TORCH_INDEX) torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(VENV)/.installed

# Timings side by side, written to docs/performance.md; wants a quiet machine for half an hour.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) demo site build dist
