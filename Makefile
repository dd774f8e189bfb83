# make quickstart   the whole story on embedded scenes, from a bare clone
# make test         every check and test that ends in minutes
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow check lock clean

quickstart: .venv/ready
	$(BIN)/segshift quickstart

test: .venv/ready check
	$(BIN)/pytest -n 2 -m "not slow and not gpu"

test-slow: .venv/ready
	$(BIN)/pytest -m "slow or gpu"

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv installs the same hash-locked files as pip in a third of the time; it comes hash-locked itself.
.venv/ready: requirements/locked.txt requirements/installer.txt pyproject.toml
	$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f'Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/locked.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# Writes both lock files anew from the bounds in pyproject.toml.
lock:
	$(BIN)/uv pip compile pyproject.toml --extra test --extra weights --extra ray --extra depth --extra tensorboard --extra wandb --extra mlflow --extra huggingface --extra bands --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements/locked.txt
	$(BIN)/uv pip compile requirements/installer.in --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements/installer.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src -name '*.nb[ic]' -delete
