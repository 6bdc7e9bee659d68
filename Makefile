# Five verbs: demo, test, lint, bench, docs. Each makes the environment it needs, in .venv.
PY ?= python3
# Where torch comes from: cpu, auto, or a CUDA release such as cu130.
TORCH ?= cpu
V := .venv
BIN := $(V)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
UV := VIRTUAL_ENV=$(V) $(BIN)/uv pip install -q -c constraints.txt

.PHONY: demo test lint bench docs
.DELETE_ON_ERROR:

# torch first and by itself: a wheel that pip already knows of, then the CPU build through uv, then whatever the
# registry has (on Linux that is several GB of CUDA, so it is said before it happens).
$(V)/.ready: pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit("Partita needs Python 3.11 or newer; this is %d.%d. Try: make $(MAKECMDGOALS) PY=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(V) (about a minute with a warm cache) ..."
	@$(PY) -m venv $(V) || { echo "venv failed. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PIP) install uv 2>/dev/null || true
	@$(PIP) install --no-index --no-deps -c constraints.txt torch 2>/dev/null \
	  || $(UV) --torch-backend=$(TORCH) torch 2>/dev/null \
	  || { echo "No CPU build of torch was found; taking the registry's (large)."; $(PIP) install -c constraints.txt torch; }
	@$(UV) -e '.[all,dev]' || $(PIP) install -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: $(V)/.ready
	@$(BIN)/partita demo

test: $(V)/.ready
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine -q
	@$(BIN)/python tests/coverage_floor.py

lint: $(V)/.ready
	@$(BIN)/ruff format --check src tests benchmarks examples
	@$(BIN)/ruff check src tests benchmarks examples
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(V)/.ready
	@for b in benchmarks/[a-z]*.py; do echo "== $$b"; $(BIN)/python $$b --json benchmarks/results/$$(basename $$b .py).json || exit 1; done

docs: $(V)/.ready
	@$(BIN)/python -m partita.cli.reference > docs/cli.md
	@$(BIN)/python -m partita.cli.reference docs/platforms.md
	@$(BIN)/python -m pytest tests/test_docs.py
