# The commands of this repository. Each target installs what it needs; it requires only make and Python 3.11 or newer.
# Task: T-002
# Task: T-401

# The first Python in this list that is new enough. python3 comes first, because people expect it.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
CHECK_PYTHON = "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "Python 3.11 or newer is needed. Set its path: make PYTHON=/path/to/python3" >&2; exit 1; }
BIN := .venv/bin
READY := .venv/ready
READY_DEV := .venv/ready-dev
SPECIFICATION := phase2/api-specification.yaml
ARGS ?=
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup run migrate test test-slow test-clock test-fresh test-dockerfile coverage bench check fmt typecheck openapi lock \
	check-format check-lint check-imports check-traceability check-migrations check-openapi force

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

setup: $(READY_DEV) ## Make .venv with everything in requirements-dev.lock

# A virtual environment contains absolute paths. It is made again if it was moved, is incomplete, or lost its Python.
ifneq ($(if $(realpath $(BIN)/python),$(shell cat $(READY) 2>/dev/null)),$(CURDIR))
$(READY) $(READY_DEV): force
endif

# Serving installs only the run-time dependencies. The first target that needs the development tools adds them.
$(READY): requirements.lock pyproject.toml
	@$(CHECK_PYTHON)
	@"$(PYTHON)" scripts/install.py

$(READY_DEV): requirements-dev.lock pyproject.toml
	@$(CHECK_PYTHON)
	@"$(PYTHON)" scripts/install.py --dev

run: $(READY) ## Serve, on an embedded PostgreSQL unless DATABASE_URL is set: make run ARGS="--port 9000"
	@exec $(BIN)/todo serve $(ARGS)

migrate: $(READY) ## Bring the database up to date
	@$(BIN)/todo migrate $(ARGS)

# Task: T-472
# All tests run in one process per processor, each with a PostgreSQL of its own. Selected tests run in one process: they
# end before a second process would have started.
test: setup ## Run all tests but the slow ones, or some: make test ARGS="tests/routes -k complete"
	@echo "==> Tests"
	@$(BIN)/pytest $(if $(ARGS),$(ARGS),-m "not slow" --numprocesses=auto --dist=worksteal)

test-slow: setup ## Run the slow tests
	@echo "==> Slow tests"
	@$(BIN)/pytest -m slow --numprocesses=auto --dist=worksteal $(ARGS)

coverage: setup ## Run all tests, slow ones too, and fail if they cover too few branches
	@echo "==> All tests, with branch coverage"
	@$(BIN)/pytest --cov --numprocesses=auto --dist=worksteal $(ARGS)

test-clock: setup ## Run tests at other times of day, dates and zones: make test-clock ARGS=tests/kit
	@scripts/test-clock $(ARGS)

bench: setup ## Compare the speed with two other servers, in ten minutes; in less than two: make bench ARGS=--quick
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

check: check-format check-lint typecheck check-imports check-traceability check-migrations check-openapi ## Run every check but the tests

check-format: setup
	@echo "==> Format"
	@$(BIN)/ruff format --check .

check-lint: setup
	@echo "==> Lint"
	@$(BIN)/ruff check .

typecheck: setup ## Check types, strictly
	@echo "==> Types"
	@$(BIN)/mypy

check-imports: setup
	@echo "==> Layers"
	@$(BIN)/lint-imports --no-logo

check-traceability: setup
	@echo "==> Task IDs"
	@$(BIN)/pytest -q tests/architecture/test_traceability.py

check-migrations: setup
	@echo "==> Migrations in step with the models"
	@$(BIN)/pytest -q tests/migrations/test_migrations.py -k TestModels

check-openapi: setup
	@echo "==> API specification in step with the code"
	@$(BIN)/todo openapi --check $(SPECIFICATION)

fmt: setup ## Format, and fix what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

openapi: setup ## Write phase2/api-specification.yaml
	@$(BIN)/todo openapi > .venv/specification.yaml
	@mv .venv/specification.yaml $(SPECIFICATION)
	@echo "==> Wrote $(SPECIFICATION)"

# The first lock constrains the second one, so that both have the same versions.
lock: setup ## Lock the dependencies in pyproject.toml again: make lock ARGS="--upgrade"
	@$(COMPILE) --group dev --output-file requirements-dev.lock pyproject.toml $(ARGS)
	@$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml
	@echo "==> Wrote requirements-dev.lock and requirements.lock"

test-fresh: ## Install and call the server in a bare Debian 12, as root
	@scripts/test-fresh

test-dockerfile: ## Build the Dockerfile in bare Debians, without Docker, and call the server, as root
	@scripts/test-dockerfile
