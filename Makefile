# What people and CI run. `make` alone lists the targets.

# The system's own where it is new enough: distributions build theirs with profile-guided optimisation. One without it, as
# pyenv builds, takes 1.8 times the processor time.
SYSTEM_PYTHON := /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && echo $(SYSTEM_PYTHON) || echo python3)
PACKAGES ?= tools/packages
UNPACKED ?= tools/unpacked
ROUNDS ?= 20
# Tests wait for most of their time. A file stays with one of the four; the order is kept, for the longest come first.
PARALLEL ?= --numprocesses 4 --dist loadfile --no-loadscope-reorder
ARGS ?=

VENV := .venv
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
BIN := $(VENV)/bin
RUN_FILE := .pillarbox/run.json

SERVERS_FOR_TESTS := rabbitmq-server postfix libsasl2-modules sasl2-bin nsd postgresql opendkim opendkim-tools \
    swaks libnet-ssleay-perl msmtp curl chromium libatomic1
# Exim excludes Postfix; of Prometheus only its promtool is run. They are unpacked side by side and not installed.
UNPACKED_FOR_TESTS := exim4-daemon-light prometheus
# The release of Debian that has RabbitMQ 4, for the tests to run against it beside the one installed, and OpenSMTPD 7:
# that of Debian 12 can do no TLS handshake.
NEWER := trixie
SERVERS_FOR_BENCHES := rabbitmq-server postfix opendkim nsd
# From npm, where there is one; the benchmarks go on without it.
HARAKA := .cache/haraka
HARAKA_VERSION := ^3.1
# Of the recipes in docs/recipes, for what `make test` does not run; npm is Debian's unless there is one.
LANGUAGES_FOR_RECIPES := php-cli php-amqp golang-go golang-github-rabbitmq-amqp091-go-dev
NODE_FOR_RECIPES := .cache/recipes/node
SERVERS_FOR_SOAKS := rabbitmq-server nsd postgresql libfaketime

# Tests start the workers some hundred times: without compiled files each start takes a fifth longer.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help up demo test servers check bench bench-quick bench-cases haraka soak soak-smtp recipes compose repeat docs \
    screenshots clean rabbitmq rabbitmq-4 opensmtpd-7

help: ## list the targets
	@echo "make TARGET [ARGS='...']   (ARGS go to the program behind the target)"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: $(INSTALLED) rabbitmq ## run everything here: broker, workers and a test inbox
	@$(BIN)/pillarbox up $(ARGS)

demo: $(INSTALLED) rabbitmq ## publish some hundred mails, take one back, watch the others arrive
	@$(BIN)/pillarbox demo $(ARGS)

test: $(READY) servers ## run the tests, four files at a time (ARGS='-k name' for some, one by one)
	@$(BIN)/python -m pytest $(or $(ARGS),$(PARALLEL))

servers: ## install and unpack the servers that the tests start
	@$(PACKAGES) $(SERVERS_FOR_TESTS)
	@$(UNPACKED) .cache/debian $(UNPACKED_FOR_TESTS)
	@$(MAKE) --no-print-directory --keep-going rabbitmq-4 opensmtpd-7 || { \
	    echo "make: not all of that is to be had here: what runs against it would be skipped"; [ -z "$$CI" ]; }

check: $(READY) ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(READY) haraka ## run the benchmarks, some twenty minutes
	@$(PACKAGES) $(SERVERS_FOR_BENCHES)
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(READY) ## run short benchmarks (ARGS=--compare: and fail where a figure fell back)
	@$(PACKAGES) $(SERVERS_FOR_BENCHES)
	@$(BIN)/python -m bench --quick $(ARGS)

bench-cases: $(READY) servers ## run each benchmark as small as can be, to see that it works
	@BENCHES=1 $(BIN)/python -m pytest tests/integration/test_bench_cases.py $(ARGS)

haraka: ## install Haraka, a peer of the benchmarks, into .cache, if there is an npm
	@[ -x $(HARAKA)/node_modules/.bin/haraka ] || { mkdir -p $(HARAKA) && npm install --prefix $(HARAKA) --silent \
	    --no-audit --no-fund --omit=optional 'Haraka@$(HARAKA_VERSION)'; } || echo "make: no Haraka here: it is left out"

soak: $(READY) ## do harm for half an hour and account for every mail (ARGS='--minutes 5 --store postgres')
	@$(PACKAGES) $(SERVERS_FOR_SOAKS)
	@$(BIN)/python -m soak $(ARGS)

soak-smtp: $(READY) servers ## send ten thousand mails over SMTP while the gateway is killed, and account for each
	@SMTP_MAILS=10000 $(BIN)/python -m pytest tests/e2e/test_the_gateway_is_killed_under_load.py $(ARGS)

recipes: $(READY) servers ## run every recipe of docs/recipes, also those of Node, PHP and Go
	@$(PACKAGES) $(LANGUAGES_FOR_RECIPES)
	@command -v npm >/dev/null || $(PACKAGES) nodejs npm
	@[ -d $(NODE_FOR_RECIPES)/node_modules ] || { mkdir -p $(NODE_FOR_RECIPES) && npm install --prefix $(NODE_FOR_RECIPES) \
	    --silent --no-audit --no-fund 'amqplib@^0.10' 'nodemailer@^7'; }
	@RECIPES=1 $(BIN)/python -m pytest tests/e2e/test_recipes.py $(ARGS)

compose: $(READY) ## run the compose file by the Docker Compose that is here, and send mail through it (as root)
	@COMPOSE=1 $(BIN)/python -m pytest tests/e2e/test_the_compose_file_runs.py $(ARGS)

repeat: $(READY) servers ## repeat fuzz and end-to-end tests, to find one that is not steady (ROUNDS=20)
	@FUZZ=$(ROUNDS) $(BIN)/python -m pytest tests/unit/sender/test_fuzz.py tests/fuzz --timeout 0
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; trap 'exit 130' INT; failed=0; \
	for round in $$(seq $(ROUNDS)); do \
	    if $(BIN)/python -m pytest tests/e2e $(ARGS) >"$$log" 2>&1; then \
	        echo "round $$round of $(ROUNDS): $$(tail -n 1 "$$log")"; \
	    else \
	        failed=$$((failed + 1)); echo "round $$round of $(ROUNDS): FAILED"; cat "$$log"; \
	    fi; \
	done; \
	echo "$(ROUNDS) rounds, $$failed failed"; test $$failed = 0

rabbitmq-4: ## unpack RabbitMQ 4 and its Erlang into .cache, for the tests
	@$(UNPACKED) --release $(NEWER) .cache/$(NEWER) rabbitmq-server
	@cd .cache/$(NEWER)/rabbitmq-server && mkdir -p bin \
	    && ln -sf ../usr/lib/rabbitmq/bin/rabbitmq-server ../usr/bin/erl ../usr/bin/epmd ../usr/bin/erl_call bin

opensmtpd-7: ## unpack OpenSMTPD 7 into .cache, for the tests
	@$(UNPACKED) --release $(NEWER) .cache/$(NEWER) opensmtpd

docs: $(READY) ## write from code and tests: asyncapi.yaml, openapi.json, conformance.md, the tables of settings.md and metrics.md
	@$(BIN)/python -m shared.asyncapi
	@$(BIN)/python -m shared.settings_table
	@$(BIN)/python -m shared.metrics_table
	@$(BIN)/python -m services.console.openapi
	@$(BIN)/python -m tests.support.conformance

screenshots: $(READY) servers ## take pictures of the web page into docs/screenshots
	@$(BIN)/python -m tools.screenshots docs/screenshots $(ARGS)

clean: ## remove the environment, the private node and its data, and all caches
	@pid=$$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' $(RUN_FILE) 2>/dev/null | head -n 1); \
	if [ -n "$$pid" ] && kill -0 "$$pid" 2>/dev/null; then \
	    echo "make clean: Pillarbox runs here (process $$pid): stop it first" >&2; exit 1; \
	fi
	@rm -rf $(VENV) .pillarbox .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Only where no RabbitMQ is found at all, and none elsewhere is to be used.
rabbitmq:
	@[ -n "$$PILLARBOX_AMQP_URL$$PILLARBOX_RABBITMQ" ] || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] \
	    || command -v rabbitmq-server >/dev/null || $(PACKAGES) rabbitmq-server

$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON): install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $$($(PYTHON) --version) is too old: Pillarbox takes 3.11 or newer;" \
	        "name one with  make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(PACKAGES) python3-venv
	@echo "make: installing Pillarbox into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable .
	@touch $@

# What tests, checks and benchmarks need beside it: `make up` does not wait for that.
$(READY): $(INSTALLED)
	@echo "make: installing what tests and checks need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable '.[dev]'
	@touch $@
