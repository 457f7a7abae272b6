# `make demo` and `make test` work from a clean clone; `make help` lists the rest.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHON ?= python3

BIN := .venv/bin
T ?=
OUT ?= out
COUNT ?= 1000000
WORKERS ?= 2
BENCHMARKS = $(sort $(wildcard benchmarks/[a-z]*.py))

.PHONY: help build demo test soak fuzz lint types docs bench clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1#\2/p' Makefile | column -t -s '#' 2>/dev/null || \
	  sed -n 's/^\([a-z]*\):.*## /  make \1: /p' Makefile

build: .venv/.kernels ## Virtual environment with the package (editable), its kernels and what develops it
	@true

.venv/.built: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Caraway needs Python 3.11 or later; say PYTHON=...")'
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing Caraway and its tools into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.venv/.kernels: .venv/.built setup.py $(wildcard src/caraway/*/kernels/*.*)
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

.venv/.docs: .venv/.built
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

demo: ## See it work: a guest that moves to another server under its viewer; pictures go to OUT; QEMU=1 for real VMs
	@ci/install-packages $(if $(QEMU),ci/packages-demo-qemu.txt,ci/packages-demo.txt)
	@$(MAKE) build
	@$(BIN)/caraway demo -o $(OUT) $(if $(QEMU),--qemu) $(if $(VIEW),--view)

test: ## Run the tests, all in WORKERS processes, or T="tests/wire -k init"
	@ci/install-packages ci/packages.txt
	@$(MAKE) build
	@$(BIN)/pytest $(or $(T),-n $(WORKERS))

soak: build ## Peers of every kind come and go for SECONDS: what the process holds, which must not grow
	@CARAWAY_SOAK_SECONDS=$(or $(SECONDS),600) $(BIN)/pytest -q tests/soak

lint: build ## Style, format and the contract of the layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: build ## mypy --strict
	@$(BIN)/mypy
	@$(BIN)/mypy examples

fuzz: build ## Damaged payloads into every kernel, with sanitizers: COUNT for each
	@CARAWAY_SANITIZE=1 $(BIN)/python setup.py --quiet build_ext --inplace
	@$(BIN)/python tests/fuzz/run.py --count $(COUNT) --level v3_asan
	@$(BIN)/python tests/fuzz/run.py --count $(COUNT) --level baseline_asan

docs: .venv/.docs ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: build ## Run the benchmarks
	@$(foreach file,$(BENCHMARKS),echo "== $(file)" && $(BIN)/python $(file) &&) true

clean: ## Remove everything that was made here
	rm -rf .venv build dist site $(OUT) src/*.egg-info .*_cache .hypothesis src/caraway/*/kernels/*/
	find . -name __pycache__ -prune -exec rm -rf {} +
