# Everything that a person or CI does with this project. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv
CDK := tools/node_modules/.bin/cdk
STAGE ?= dev
SEEDS ?= 100000
CASES ?= 2000
# The pinned CDK command line; node comes with the virtual environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(UV): requirements/uv.txt
	@echo "Installing uv into .tools ..."
	@$(PYTHON) -m venv .tools || { echo "python3 needs its venv module (on Debian: apt install python3-venv)."; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.ready: $(UV) requirements/dev.txt pyproject.toml .python-version
	@echo "Installing the project into $(VENV) (Python $$(cat .python-version)) ..."
	@test -x $(BIN)/python || $(UV) venv --quiet $(VENV)
	@$(UV) pip sync --quiet --python $(VENV) --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## install everything that the project needs into .venv

.PHONY: run
run: $(VENV)/.ready ## run the whole stack on this machine (Ctrl-C stops it); make run MARKET=solana swaps on Solana
	@MARKET="$(MARKET)" RPC_URL="$(RPC_URL)" SEND_URL="$(SEND_URL)" SIGNER="$(SIGNER)" POOLS="$(POOLS)" \
		exec $(BIN)/python -m local

.PHONY: test
test: $(CDK) ## lint, check types and import rules, run all tests
	@$(MAKE) --no-print-directory --jobs 2 lint pytest

# A worker more than a small machine has cores: many tests wait for a stack that takes its time.
.PHONY: pytest
pytest: $(VENV)/.ready ## run all tests
	$(BIN)/pytest -n 3 --dist loadfile -q

.PHONY: test-long
test-long: $(CDK) ## the same promises on many more cases: 216 orders, 200 cut streams, 10,000 orders of a neighbour, days of pause
	$(BIN)/pytest -n 2 --dist loadfile -q -m long

.PHONY: lint
lint: $(VENV)/.ready ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.ready ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(VENV)/.ready ## pin the dependencies again: names, versions and hashes
	cd requirements && for name in layer dev ministack; do \
		../$(UV) pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --universal --python-version 3.13 \
			--custom-compile-command "make lock" $$name.in --output-file $$name.txt; done
	cd requirements && ../$(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.13 \
		--custom-compile-command "make lock" mutants.in --output-file mutants.txt
	cd requirements && ../$(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.8 \
		--custom-compile-command "make lock" uv.in --output-file uv.txt

# --- deployment ----------------------------------------------------------------------------------------------------

# For example: make deploy STAGE=dev CONTEXT="-c alarmEmail=ops@example.com -c reservedConcurrency=none"
CONTEXT ?=

$(CDK): tools/package.json tools/package-lock.json | $(VENV)/.ready
	@echo "Installing the command lines of the CDK and of newman ..."
	@npm ci --prefix tools --silent --no-fund --no-audit
	@touch $@

.PHONY: synth
synth: $(CDK) ## synthesise the CloudFormation template into cdk.out and lint it
	$(CDK) synth --quiet -c stage=$(STAGE) $(CONTEXT)
	$(BIN)/cfn-lint --config-file infra/cfnlint.yaml -- cdk.out/*.template.json

.PHONY: bootstrap
bootstrap: $(CDK) ## prepare an AWS account and region, once (LOG_ROLE=arn… takes a given role for API Gateway's logs)
	@$(BIN)/python -m infra.bootstrap $(STAGE) $(if $(LOG_ROLE),--log-role $(LOG_ROLE)) $(CONTEXT)

# Asks before permissions widen, except in CI.
.PHONY: deploy
deploy: $(CDK) ## deploy a stage: make deploy STAGE=dev
	@$(BIN)/python -m infra.deploy $(STAGE) $(if $(FRESH),--fresh) $(CONTEXT)

.PHONY: preflight
preflight: $(CDK) ## look whether the account can take a stage, and deploy nothing
	@$(BIN)/python -m infra.deploy $(STAGE) --check $(CONTEXT)

.PHONY: firewall
firewall: $(CDK) ## make the firewall of a stage outside us-east-1 that has edge=true (REMOVE=1 removes it)
	@$(BIN)/python -m infra.firewall $(STAGE) $(if $(REMOVE),--remove) $(CONTEXT)

.PHONY: adopt
adopt: $(CDK) ## make a removed stage's stack anew out of the tables that it left: make adopt STAGE=prod
	@$(BIN)/python -m infra.adopt $(STAGE) $(CONTEXT)

.PHONY: sbom
sbom: $(VENV)/.ready ## write the bill of materials of what is deployed: build/sbom.cdx.json
	@$(BIN)/python -m infra.sbom

.PHONY: diff
diff: $(CDK) ## show what a deployment would change
	$(CDK) diff -c stage=$(STAGE) $(CONTEXT)

# What only removes a stack does not build the layer first.
.PHONY: destroy
destroy: $(CDK) ## remove a stage
	$(CDK) destroy --force -c stage=$(STAGE) -c bundle=false $(CONTEXT)

.PHONY: deploy-test
deploy-test: $(CDK) ## deploy into an emulator of AWS, use it, update it, remove it
	$(BIN)/python -m tests.deploy

# --- proofs and pictures -------------------------------------------------------------------------------------------

.PHONY: simulate
simulate: $(VENV)/.ready ## search for broken promises: make simulate SEEDS=100000
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs 2

.PHONY: release
release: $(VENV)/.ready ## keep what the next release must get on with: make release VERSION=1.2.3
	@$(BIN)/python -m tests.release $(VERSION)

.PHONY: programs
programs: $(VENV)/.ready ## save the venues' programs from a Solana node, for tests and make run: make programs RPC_URL=https://…
	@test -n "$(RPC_URL)" || { echo "Which node? make programs RPC_URL=https://…"; exit 1; }
	@$(BIN)/python -m local.solana.programs --rpc-url "$(RPC_URL)"

$(VENV)/.mutants: requirements/mutants.txt $(VENV)/.ready
	@$(UV) pip install --quiet --python $(VENV) --require-hashes -r requirements/mutants.txt
	@touch $@

# For example: make mutants MODULES="order_engine/domain process/batch.py" JOBS=2
MODULES ?=
JOBS ?= 1
.PHONY: mutants
mutants: $(VENV)/.mutants ## plant every small slip in the engine, and name those that no test notices
	nice $(BIN)/python -m tests.mutation --jobs $(JOBS) $(MODULES)

.PHONY: postman
postman: $(CDK) ## run the Postman collection against a local stack with newman
	$(BIN)/python -m tests.api.postman

.PHONY: screenshots
screenshots: $(VENV)/.ready ## take the pictures of the order desk again (needs chromium)
	$(BIN)/python -m tests.web.screenshots

.PHONY: routes-report
routes-report: $(VENV)/.ready ## compare routing strategies over a day of simulated market
	$(BIN)/python -m bench.routes_report --seed 1 --out docs/routes-report.html

.PHONY: routing-proof
routing-proof: $(VENV)/.ready ## compare routes with the best of all: make routing-proof CASES=100000
	$(BIN)/python -m bench.routing compare --cases $(CASES) --workers $(shell nproc) --state build/routing.json --references build/optimum.jsonl

.PHONY: audit
audit: $(VENV)/.ready ## compare the pinned dependencies with the public advisories (needs the internet)
	$(UV) tool run pip-audit@2.10.1 -r requirements/layer.txt --disable-pip --require-hashes
	$(UV) tool run pip-audit@2.10.1 -r requirements/dev.txt --disable-pip --require-hashes
	npm audit --prefix tools

.PHONY: clean
clean: ## remove what was built and installed
	rm -rf $(VENV) .tools build cdk.out node_modules tools/node_modules
