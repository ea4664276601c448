# One command each: `make run` shows the whole line on the demo, `make test` passes the tests, `make up` opens the UI.
PYTHON ?= python3
# Tests of one file stay in one process, since they share a database.
WORKERS ?= 2
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# Every process of a run and of a test would compile the product again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test coverage check up down clean
help:
	@echo "make run    install, start embedded parts, extract from the demo collection, print the summary"
	@echo "make test   install and run the tests"
	@echo "make coverage  the tests, and which branches they reach"
	@echo "make check  ruff, mypy, import-linter"
	@echo "make up     the Dagster UI on loopback (make down stops it)"
	@echo "make clean  remove the virtual environment (data lives in TOKENOPT_HOME)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

run: $(READY)
	@$(BIN)/tokenopt demo

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

coverage: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: $(READY)
	@$(BIN)/tokenopt up

down: $(READY)
	@$(BIN)/tokenopt down

clean:
	rm -rf $(VENV)
