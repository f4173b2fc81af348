# Set-up, checks and the demo. Everything it makes stays in this folder and is in .gitignore.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The tests start Python hundreds of times; each would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

# The locks are made for the oldest Python supported, so that one is tried first. Running it
# distinguishes a real interpreter from a version manager's placeholder of the same name.
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3.13 python3,$(shell \
	$(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input -qq
UV ?= .venv/bin/uv
PYTEST_ARGS ?=
# Each has an S3 server and a browser of its own, and often waits for them: more than the cores of a small machine.
TEST_PROCESSES ?= 3
# What uses each dependency; the conformance tests use obstore, against an S3 server from PyPI.
LOWEST_TESTS ?= tests/unit tests/store/test_conformance.py tests/api/test_read.py \
  tests/api/test_extract.py tests/api/test_missing_packages.py tests/video/test_phash.py \
  tests/cli/test_cli_help.py tests/cli/test_cli_ls_info.py tests/server/test_http_reading.py
RAY_TESTS ?= tests/ray_cluster
TORCH_TESTS ?= tests/pytorch tests/api/test_worker_processes.py
BENCH_ARGS ?=
CLIPS := .cache/clips
PROSE := src tests scripts benchmarks examples docs viewer hatch_build.py Makefile pyproject.toml *.md
NODE := $(shell node -p '((a, b) => a > 20 || (a == 20 && b >= 19) ? "new enough" : "")(...process.versions.node.split("."))' 2>/dev/null)
VIEWER_SOURCES := $(shell find viewer -name node_modules -prune -o -type f -print)

.PHONY: help
help: ## Show this list
	@echo "framecache: make TARGET"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 12

.PHONY: demo
demo: .venv/runtime clips ## Extract real video, draw overlays, show them (SERVE=0: do not); sets itself up
	@.venv/bin/python examples/demo.py $(CLIPS) demo
ifneq ($(SERVE),0)
	@$(MAKE) viewer
	@.venv/bin/framecache serve --cache demo/.framecache --open
endif

.PHONY: test
test: .venv/dev ## Run every check, then the tests; sets itself up (PYTEST_ARGS="-k name")
	@scripts/install-test-tools.sh
	@$(MAKE) lint clips viewer
	@echo "==> the viewer's checks and tests"
	@.venv/bin/python hatch_build.py check test
	@echo "==> pytest"
	@.venv/bin/python -m pytest -m "not (bench or interop or ray or torch or lambda_runtime)" -n $(TEST_PROCESSES) --dist loadfile \
	  --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-lowest
test-lowest: .cache/lowest/installed ## Test with the lowest allowed version of every dependency
	@.cache/lowest/bin/python -m pytest -m "" $(LOWEST_TESTS) \
	  -k "not (ceph or local) and (not s3 or conformance)" $(PYTEST_ARGS)

.PHONY: test-interop
test-interop: .cache/interop/installed ## Test with torchcodec, decord, transformers, datasets and Lance; installs torch
	@scripts/install-test-tools.sh
	@.cache/interop/bin/python -m pytest -m interop tests/interop $(PYTEST_ARGS)

# Every test uses the one cluster of a session, so a second process would only start another.
.PHONY: test-ray
test-ray: .cache/ray/installed ## Test framecache.ray on a cluster of two nodes, with Ray in .cache/ray
	@scripts/install-test-tools.sh
	@.cache/ray/bin/python -m pytest -m ray $(RAY_TESTS) $(PYTEST_ARGS)

.PHONY: test-torch
test-torch: .cache/torch/installed ## Test framecache.torch, with PyTorch in .cache/torch
	@scripts/install-test-tools.sh
	@.cache/torch/bin/python -m pytest -m torch $(TORCH_TESTS) -n $(TEST_PROCESSES) --dist loadfile \
	  $(PYTEST_ARGS)

.PHONY: test-lambda
test-lambda: .cache/lambda/installed ## Test framecache.aws_lambda in the runtime client of AWS Lambda
	@.cache/lambda/bin/python -m pytest -m lambda_runtime tests/lambda_runtime $(PYTEST_ARGS)

.PHONY: torture
torture: .venv/dev clips viewer ## Run all tests on every store, the proofs far more often; takes hours
	@scripts/install-test-tools.sh nginx-light=nginx
	@.venv/bin/python -m pytest -m "not (interop or ray or torch or lambda_runtime)" --every-store --proofs long $(PYTEST_ARGS)

.PHONY: coverage
coverage: ## Run the tests, and show which lines they do not reach
	@$(MAKE) test PYTEST_ARGS='--cov --cov-report=term $(PYTEST_ARGS)'

# import-linter's cache keeps what it once took an import for, even when a module of that name
# has come since; without it the check takes a third of a second.
.PHONY: lint
lint: .venv/dev ## Run ruff, mypy, import-linter and the checks of the language
	@echo "==> ruff, mypy, import-linter, codespell, the language of the prose"
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet || { .venv/bin/ruff format --diff; exit 1; }
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo --no-cache
	@.venv/bin/codespell $(PROSE)
	@.venv/bin/python scripts/check_language.py

.PHONY: viewer
viewer: .venv/viewer ## Build the page that framecache serve shows

.PHONY: format
format: .venv/dev ## Format the code and repair what ruff can repair
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

.PHONY: hooks
hooks: .venv/dev ## Have git run the quick checks before each commit
	@.venv/bin/pre-commit install

.PHONY: docs
docs: .venv/dev clips viewer ## Serve the documentation site; a changed page is built again
	@.venv/bin/python scripts/docs_site.py serve

.PHONY: docs-check
docs-check: .venv/dev clips viewer ## Build the documentation site; a broken link is an error
	@.venv/bin/python scripts/docs_site.py build

.PHONY: bench
bench: .venv/dev clips ## Compare with limits and peers, against S3 (BENCH_ARGS="--tasks local")
	@scripts/install-test-tools.sh nginx-light=nginx
	@.venv/bin/python -m benchmarks --clips $(CLIPS) $(BENCH_ARGS)

.PHONY: package
package: .venv/dev ## Build the wheel and the source package into dist/, and try them as users get them
	@scripts/check-package.sh

.PHONY: lock
lock: ## Bring the lock files up to pyproject.toml (LOCK_ARGS=--upgrade for newer releases)
	@set -- pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(LOCK_ARGS); \
	"$(UV)" "$$@" pyproject.toml --extra dev --output-file requirements-dev.lock; \
	"$(UV)" "$$@" pyproject.toml --extra extract --extra server --constraint requirements-dev.lock \
	  --no-annotate --output-file requirements.lock; \
	sed -n '/^docs = \[/,/^\]/s/^  "\(.*\)",.*/\1/p' pyproject.toml \
	  | "$(UV)" "$$@" - --constraint requirements-dev.lock \
	  --no-annotate --output-file requirements-docs.lock; \
	"$(UV)" "$$@" --resolution lowest-direct pyproject.toml --extra all \
	  --group test-lowest --no-annotate --output-file requirements-lowest.lock; \
	"$(UV)" "$$@" --group package --no-annotate --output-file requirements-package.lock; \
	sed -n 's/^requires = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '"' | tr , '\n' \
	  | "$(UV)" "$$@" - --constraint requirements-dev.lock \
	  --no-annotate --output-file requirements-build.lock

.PHONY: clean
clean: ## Remove the environment, caches, downloads and the demo's output
	@rm -rf .venv .cache demo build dist .coverage .hypothesis .import_linter_cache .mypy_cache \
	  .pytest_cache .ruff_cache viewer/node_modules tests/azurite/node_modules src/framecache/server/viewer
	@find src tests scripts examples benchmarks -name __pycache__ -prune -exec rm -rf {} + \
	  2>/dev/null || true

.PHONY: clips
clips: .venv/runtime
	@.venv/bin/python scripts/fetch_clips.py $(CLIPS)

# Each stamp is newer than what it was made from, so a second run has nothing to do.
# The locks name everything, so pip resolves nothing: older ones then meet releases that are newer
# than the lock, and refuse them because they have no hash.

.venv/runtime: .venv/bin/python requirements.lock requirements-build.lock pyproject.toml
	@echo "==> installing framecache and what it needs into .venv"
	@$(PIP) install --no-deps --require-hashes -r requirements-build.lock -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# uv needs a quarter of pip's time, but ignores pip's settings, such as another index: pip then does it.
.venv/dev: .venv/runtime requirements-dev.lock
	@echo "==> installing the development tools into .venv"
	@$(PIP) install --no-deps --require-hashes -r <(sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock)
	@UV_HTTP_RETRIES=0 UV_HTTP_TIMEOUT=20 "$(UV)" pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r requirements-dev.lock \
	  || $(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

.cache/lowest/installed: requirements-lowest.lock pyproject.toml | .venv/dev
	@echo "==> installing the lowest allowed versions into .cache/lowest"
	@.venv/bin/python -m venv --clear --without-pip .cache/lowest
	@$(UV) pip install --quiet --python .cache/lowest/bin/python --no-deps --require-hashes \
	  -r requirements-lowest.lock
	@$(UV) pip install --quiet --python .cache/lowest/bin/python --no-deps \
	  --build-constraint requirements-build.lock --editable .
	@touch $@

# Everything else comes from .venv, next to which these packages would take 1 GB.
.cache/interop/installed: requirements-interop.txt | .venv/dev
	@echo "==> installing torch, torchcodec, decord, transformers, datasets and Lance into .cache/interop"
	@.venv/bin/python -m venv --clear .cache/interop
	@.venv/bin/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > "$$(.cache/interop/bin/python -c 'import site; print(site.getsitepackages()[0])')/framecache-dev.pth"
	@.cache/interop/bin/python -m pip --disable-pip-version-check -q install -r requirements-interop.txt
	@touch $@

# Each has an environment of its own, which takes all else from .venv.
define environment-on-venv
@echo "==> installing $(2) into .cache/$(1)"
@.venv/bin/python -m venv --clear --without-pip .cache/$(1)
@.venv/bin/python -c 'import sysconfig; \
  print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
  >"$$(.cache/$(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dev.pth"
@$(PIP) --python .cache/$(1)/bin/python install -r requirements-$(1).txt
@touch $@
endef

.cache/ray/installed: requirements-ray.txt | .venv/dev
	$(call environment-on-venv,ray,Ray)

.cache/torch/installed: requirements-torch.txt | .venv/dev
	$(call environment-on-venv,torch,PyTorch)

.cache/lambda/installed: requirements-lambda.txt | .venv/dev
	$(call environment-on-venv,lambda,the runtime client of AWS Lambda)

# Node comes from PATH where it is 20.19 or newer, else from a wheel among the development tools.
.venv/viewer: $(if $(NODE),.venv/runtime,.venv/dev) hatch_build.py $(VIEWER_SOURCES)
	@echo "==> building the viewer"
	@.venv/bin/python hatch_build.py
	@touch $@

# Debian ships Python without what makes an environment's pip; the pip outside can put it there.
.venv/bin/python:
	@[[ -n "$(PYTHON)" ]] || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/it" >&2; exit 1; }
	@echo "==> making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip .venv; \
	       $(PYTHON) -m pip -qq --python .venv/bin/python install pip; }
