# Logferry on one machine. `make` lists what there is; README.md tells more.
# Chosen by environment: LOGFERRY_PORT (4566), LOGFERRY_STATE (.logferry), PROFILE (release or dev),
# PARAMETERS ("Name=value ..." for the template).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up down build

STACK = PYTHONPATH=local "$$(python3 local/tools.py)"/bin/python -m stack

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## build, start the emulator on loopback, deploy, write .logferry/local.env
	@$(STACK) up

down: ## stop what `make up` started
	@$(STACK) down

build: ## compile the functions for Lambda into target/lambda
	@$(STACK) build
