# Two commands do everything on a fresh machine: `make demo` and `make test`. Both create what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := tests/clients/.built
ONCE ?=

.PHONY: demo test test-clients check bench bench-quick clean

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . --group dev
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/upshift demo $(if $(ONCE),--once,)

test: $(STAMP)
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m pytest -n auto

check: $(STAMP)
	@$(BIN)/ruff format --check src tests bench
	@$(BIN)/ruff check src tests bench
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config .importlinter

# Hundreds of megabytes of coding agents and SDKs, run against a simulated provider.
test-clients: $(STAMP) $(CLIENTS)/.installed
	@$(BIN)/python -m pytest tests/clients

$(CLIENTS)/.installed: tests/clients/package.json $(wildcard tests/clients/requirements*.txt) | $(STAMP)
	@echo "installing clients into $(CLIENTS) ..."
	@$(BIN)/python -m tests.clients.install
	@touch $@

bench: $(STAMP)
	@$(BIN)/python -m bench.gateway

bench-quick: $(STAMP)
	@$(BIN)/python -m bench.gateway --quick

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
