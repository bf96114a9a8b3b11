# `make run` and `make test` are all that a fresh machine needs, with Python 3.11 or later and the package index.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: run test check demo bench slow torture screenshots clean

run: .venv/.installed  ## Start the studio at http://127.0.0.1:8501
	$(BIN)/sdstudio run

test: .venv/.installed-dev  ## Run the tests that take seconds
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

slow: .venv/.installed-dev  ## Run the tests that take minutes
	$(BIN)/pytest -m slow

TORTURE := hostile_names datasets_hostile datasets_killed engine_resume jobs_killed jobs_disk_full jobs_locks \
	generate_hub hub_jobs sessions pickles access
torture: .venv/.installed-dev  ## Kill, fuzz, lock, crowd and forge, at full count: some twenty minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow or not slow" -n 2 --dist worksteal $(TORTURE:%=tests/test_%.py)

screenshots: .venv/.installed-dev  ## Walk a newcomer's hour in Chromium and take the pictures of README and guides anew
	$(BIN)/pytest -m slow tests/test_browser_hour.py --shots docs/images

check: .venv/.installed-dev  ## Lint, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

demo: .venv/.installed  ## Annotate, train, generate and evaluate on the starter, without a browser
	$(BIN)/sdstudio demo

bench: .venv/.installed-dev  ## Print the benchmarks' ratios
	for file in bench/*.py; do $(BIN)/python $$file || exit 1; done

clean:  ## Remove the environment and the caches; the workspace stays
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: https://www.python.org/downloads/"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "The environment could not be made; on Debian: apt install python3-venv"; exit 1; }

.venv/.installed: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
