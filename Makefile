# `make help` lists what there is. Everything runs in .venv/, which setup makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo
EXTRAS := build,prefect,browse,pandas,models,train,dask,s3,docs,dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz lint golden mutants interpreters bench rehearsal card pictures docs clean

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

# pip compiles with one processor; compileall with all. It fails at packages' templates, harmlessly.
setup: $(INSTALLED) ## Make .venv with every extra, at the tested versions

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (several minutes and about 7 GB the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

demo: $(INSTALLED) ## Build, verify, train and generate on the bundled synthetic sample
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh pipelines/demo.sh $(DEMO)

# One process more than the two cores that the suite is measured on: some tests wait for servers.
test: lint ## Lint, type-check, hold the import contract, run all tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

fuzz: $(INSTALLED) ## Run the property tests on many random examples, and attack all that reads from servers
	@$(BIN)/python tests/sources/fuzz_servers.py --seconds 600
	@$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile=fuzz

lint: $(INSTALLED) ## ruff, mypy and the import contract
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

golden: $(INSTALLED) ## Record the digests of two small builds in tests/golden.toml
	@$(BIN)/python tests/golden.py --write

mutants: $(INSTALLED) ## Check that the tests notice every change in tests/mutants.toml
	@$(BIN)/python tests/mutants.py --jobs 2

interpreters: $(INSTALLED) ## Install and check the core alone on the other Pythons that are here
	@$(BIN)/python tests/interpreters.py

bench: $(INSTALLED) ## Run every benchmark that docs/benchmarks.md quotes
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

rehearsal: $(INSTALLED) ## Build a release of full size from small synthetic media (under an hour, 6 GB)
	@$(BIN)/python benchmarks/rehearsal.py --pairs 105884 --more --out rehearsal

card: pictures ## Write data_cards/ again, from a small build of the sample, and take the pictures
	@cp $(DEMO)/card/shards/index.parquet $(DEMO)/card/shards/index.json data_cards
	@$(BIN)/python -m artsound.reports.card data_cards data_cards

pictures: $(INSTALLED) ## Take all pictures of the documentation again (needs Chromium)
	@rm -rf $(DEMO)/card && mkdir -p $(DEMO)
	@$(BIN)/artsound build --recipe data_cards/recipe.toml --out $(DEMO)/card
	@$(BIN)/python docs/pictures.py $(DEMO)/card

docs: $(INSTALLED) ## Build the documentation as one site: build/docs/index.html
	@$(BIN)/python docs/recipe_tables.py
	@$(BIN)/python docs/column_tables.py
	@$(BIN)/python docs/dependency_tables.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "For the search, serve it: $(BIN)/python -m http.server --directory build/docs"

clean: ## Remove the demo's output and caches; keeps .venv and what fuzz has found
	@rm -rf $(DEMO) build/docs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find artsound pipelines tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
