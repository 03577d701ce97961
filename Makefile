# Logferry on one machine. `make` lists the targets.
# Environment variables: LOGFERRY_PORT (4566), LOGFERRY_STATE (.logferry), PROFILE (dev or release),
# PARAMETERS ("Name=value ..." for the template's parameters).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help console uppy otel-rust tools deploy-tools doctor demo test web web-test web-demo web-bundlers web-firefox web-bench web-walk screenshots up down check advisories words planted load abuse bench counts build package deploy sam-local fuzz-api

# Where rustup lacks the pinned release and cannot fetch it, its default takes over.
ifneq ($(shell command -v rustup),)
ifneq ($(shell rustc --version >/dev/null 2>&1 && echo works),works)
export RUSTUP_TOOLCHAIN := $(firstword $(shell rustup default))
endif
endif

TOOLS = .logferry/venv/bin
PYTHON = PYTHONPATH=local $(TOOLS)/python
# For what runs code of packages: without the variables of AWS, which may hold credentials.
WITHOUT_AWS = env $(foreach name,$(filter AWS_%,$(.VARIABLES)),-u $(name))
# Few packages, for commands that run beside credentials for AWS.
DEPLOY_PYTHON = PYTHONPATH=local .logferry/deploy/bin/python

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The pinned tools, in a private folder.
tools:
	@$(WITHOUT_AWS) python3 local/tools.py

doctor: ## say what this machine lacks and, with AWS_REGION, STACK_NAME or AWS_PROFILE, what a deployment lacks
	@python3 local/doctor.py; lacks=$$?; \
	[ -n "$(AWS_REGION)$(STACK_NAME)$(AWS_PROFILE)" ] || exit $$lacks; \
	$(MAKE) --no-print-directory deploy-tools && $(DEPLOY_PYTHON) -m stack doctor && exit $$lacks

demo: tools ## upload three log files, query them, find them in CloudWatch Logs
	@$(PYTHON) local/demo.py

test: tools ## run all tests on local stacks of their own
	@$(PYTHON) -m stack test

web: tools ## build the browser packages, lint and type-check them, run their unit tests
	@$(PYTHON) -m web web

web-test: tools ## run the browser packages' tests in Chromium; some need the stack of `make up`
	@$(PYTHON) -m web test

web-bundlers: tools ## try the browser package in Vite, webpack, Next and esbuild; installs 400 MB
	@$(PYTHON) -m web bundlers

web-firefox: tools ## run some of the browser packages' tests in a stock Firefox
	@$(PYTHON) -m web firefox

web-bench: web ## measure what a call of the logger costs the page, in Chromium
	@PATH=$(abspath $(TOOLS)):$$PATH node web/browser/test/support/bench.ts

web-demo: tools ## serve the example pages of the browser packages on the stack of `make up` (EXAMPLE=vite or next: those too)
	@$(PYTHON) -m web demo

web-walk: tools ## play a first visit to the console on the stack of `make up`, with a picture of each step
	@$(PYTHON) -m web walk

screenshots: tools ## take the documentation's pictures of the console on the stack of `make up`
	@$(PYTHON) -m web screenshots

uppy: ## run the published Uppy uploader 4, 5 and 6 against the stack of `make up`; needs node
	npm install --prefix tests/uppy --no-package-lock --no-audit --no-fund --loglevel=error
	for major in 4 5 6; do UPPY=$$major cargo test --workspace --test it -- --ignored uppy || exit 1; done

otel-rust: tools ## compile the OpenTelemetry SDK for Rust and let it write to the stack of `make up`
	@$(PYTHON) -m doors otel-rust

up: tools ## build, start the emulator on 127.0.0.1, deploy, write .logferry/local.env
	@$(PYTHON) -m stack up

down: tools ## stop what `make up` started
	@$(PYTHON) -m stack down

check: ## check formatting, lints, documentation, dependencies, spelling, wording, template, workflows
	@python3 local/check.py

# The database of advisories is a git repository on GitHub, which some networks do not reach.
ADVISORIES = https://github.com/RustSec/advisory-db
advisories: tools ## check the linked crates for known vulnerabilities, if their database is reachable
	@if git ls-remote --quiet $(ADVISORIES) HEAD >/dev/null 2>&1; then $(TOOLS)/cargo-deny check advisories; \
	else echo "advisories: NOT checked, $(ADVISORIES) is not reachable"; fi

words: ## count words that the project does not use (local/words.txt)
	@python3 local/words.py

planted: tools ## plant bugs in a copy of the tree, one by one, and report which ones a test finds
	$(TOOLS)/python tests/planted/planted.py

load: tools ## send a file of RECORDS (200000) records through the stack of `make up` and count them
	@$(PYTHON) local/load.py

abuse: tools ## run a hostile tenant beside an honest one on the stack of `make up`: SIZE (4), SECONDS (30), RATIO (2)
	@$(PYTHON) -m abuse

bench: tools ## measure speed, memory, sizes and starts; OPTIONS="ingest query --json FILE", OPTIONS=--help lists all
	@cargo build --release --quiet --workspace --bins
	@test -d bench/node/node_modules || $(TOOLS)/npm install --prefix bench/node --no-package-lock --no-audit --no-fund --loglevel=error \
	|| echo "bench: the AWS SDK for Node cannot be installed, it is left out"
	@$${CARGO_TARGET_DIR:-target}/release/logferry-bench $(OPTIONS)

# WRITE=yes writes bench/counts/counts.txt again.
counts: ## count the instructions of the hot functions and compare them with the committed counts; needs valgrind
	@if command -v valgrind >/dev/null; then \
	cargo run --profile counts --quiet --package logferry-counts -- $(if $(filter yes,$(WRITE)),--write); \
	else echo "counts: NOT checked, valgrind is not installed"; fi

deploy-tools:
	@$(WITHOUT_AWS) python3 local/tools.py deploy

console: $(if $(filter no,$(CONSOLE)),,tools) ## build the web console, which `api` serves at /console/; CONSOLE=no leaves it out
	@test "$(CONSOLE)" = no || $(WITHOUT_AWS) $(PYTHON) -m stack console

build: deploy-tools console ## compile the functions for Lambda into target/lambda (ARCHITECTURE=arm64 for Graviton)
	@$(DEPLOY_PYTHON) -m stack build

package: deploy-tools console ## pack the functions for a release into dist, with a template and checksums (ARCHITECTURE)
	@$(DEPLOY_PYTHON) -m stack package

deploy: deploy-tools console ## check, build and deploy to AWS: AWS_REGION, STACK_NAME, PARAMETERS, see docs/operations.md
	@$(DEPLOY_PYTHON) -m stack deploy

fuzz-api: ## fuzz the API of the running local stack with requests from its OpenAPI document
	@python3 local/fuzz_api.py

sam-local: tools ## run the SAM CLI's build, deploy, local invoke and local start-api on the stack of `make up`; needs Docker
	@$(PYTHON) local/sam_local.py
