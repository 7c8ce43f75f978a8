# Everything a person or CI does here. Each target sets up what it needs; only Python 3.11 to 3.14, git and make must be there.
# Another Python: make PYTHON=python3.13 demo
PY := .venv/bin/python
export PYTHON
WORKERS := $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) * 3 / 2 )))

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 24

demo: .venv/demo.stamp ## run the whole loop on real data, start to end
	@.venv/bin/interlock demo

up: .venv/demo.stamp ## serve the example project and keep its loop turning
	@cd examples/employment && ../../.venv/bin/interlock up

# The contracts run beside the other tests, and three workers share two cores: tests often wait for processes.
test: .venv/dev.stamp ## run all tests
	@$(MAKE) -k --no-print-directory test-contracts test-contracts-serving > .venv/contracts.log 2>&1 & contracts=$$!; \
	$(PY) -m pytest -n $(WORKERS) --dist worksteal; status=$$?; \
	wait $$contracts; other=$$?; [ $$other = 0 ] && grep ' passed' .venv/contracts.log || cat .venv/contracts.log; exit $$((status ? status : other))

test-contracts: .venv/dev.stamp .venv-contracts/contracts.stamp ## drive our server with real MLflow clients
	@PYTEST_ADDOPTS= .venv-contracts/bin/python -m pytest -c tests/contracts/pytest.ini tests/contracts $(CONTRACTS)

test-contracts-serving: .venv/dev.stamp .venv-contracts-serving/contracts-serving.stamp .venv-contracts-azure/contracts-azure.stamp ## drive our endpoints with real serving clients
	@CONTRACTS_AZURE_PYTHON="$(CURDIR)/.venv-contracts-azure/bin/python" PYTEST_ADDOPTS= .venv-contracts-serving/bin/python -m pytest -c tests/contracts_serving/pytest.ini tests/contracts_serving $(CONTRACTS_SERVING)

faults: .venv/dev.stamp ## kill, fuzz and collect at full length: some fifteen minutes
	@KILL_ROUNDS=200 OPENAPI_FUZZ_REQUESTS=100000 $(PY) -m pytest tests/faults -n 2 -o faulthandler_timeout=0

check: .venv/dev.stamp ## format, lint, types, arrows between rooms, guards
	@scripts/check

fix: .venv/dev.stamp ## format, and mend what the linter can
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: .venv/dev.stamp ## print every benchmark: our figure and its baseline
	@for script in benchmarks/*.py; do echo "== $$script" && $(PY) "$$script" || exit 1; done

docs: .venv/dev.stamp ## write docs/reference from the code
	@$(PY) scripts/reference.py

lock: .venv/dev.stamp ## write requirements/*.txt from pyproject.toml
	@scripts/lock

clean: ## remove all environments, caches and builds (no workspace)
	rm -rf .venv .venv-contracts .venv-contracts-serving .venv-contracts-azure build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.stamp: requirements/%.txt pyproject.toml scripts/setup
	@scripts/setup $*

.venv-contracts/%.stamp: requirements/%.txt scripts/setup
	@scripts/setup $*

.venv-contracts-serving/%.stamp: requirements/%.txt scripts/setup
	@scripts/setup $*

.venv-contracts-azure/%.stamp: requirements/%.txt scripts/setup
	@scripts/setup $*

.PHONY: help demo up test test-contracts test-contracts-serving faults check fix bench docs lock clean
