# Everything that is done with this repository. `make` alone prints the targets.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run setup test check format bench kafka lock clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/ready ## start Leadpact with simulated traffic: make run ARGS="--speed 3600"
	@$(BIN)/leadpact run $(ARGS)

setup: .venv/ready-dev ## make .venv with everything that tests and checks need

# The tests start hundreds of processes: what one has compiled is there for the next.
test: .venv/ready-dev ## run the tests: make test ARGS="-k follow_up"; those whose real parts are missing skip
	@if command -v java >/dev/null && command -v mvn >/dev/null; then \
		$(BIN)/python deploy/dev/kafka.py prepare || echo "without Kafka: its tests will skip"; fi
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: .venv/ready-dev ## lint, formatting, types, and the arrows between the packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready-dev ## mend formatting and what lint can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/ready-dev ## measure, as docs/performance.md tells: make bench ARGS="--help"
	@$(BIN)/python -m bench $(ARGS)

kafka: ## run an Apache Kafka for development at 127.0.0.1:9092 (Java 17 and Maven)
	@$(PYTHON) deploy/dev/kafka.py run $(ARGS)

lock: ## write both lock files anew; newer versions with ARGS="--upgrade"
	@test -x .cache/uv/bin/uv || { $(PYTHON) -m venv .cache/uv && .cache/uv/bin/pip install --quiet 'uv>=0.13'; }
	@$(LOCK) --extra build -o requirements.lock
	@$(LOCK) --extra build --extra dev -o requirements-dev.lock

LOCK = .cache/uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --quiet $(ARGS)

clean: ## remove what was made here, but for the data in .leadpact and the artifacts in .cache
	rm -rf .venv *.egg-info build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -not -path './.*' -exec rm -rf {} +

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "Leadpact needs Python 3.11 or newer, and there is no $(PYTHON): make … PYTHON=python3.x" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Leadpact needs Python 3.11 or newer: make … PYTHON=python3.x" >&2; $(PYTHON) --version >&2; exit 2; }
	@echo "making .venv"
	@$(PYTHON) -m venv --clear .venv

# pip tells of each package as it gets to it; nothing is compiled ahead, what is used compiles when it is imported.
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --no-compile --no-deps
PROGRESS = awk -v all="$$(grep -c == $<)" -v live="$$(test -t 2 && echo 1)" \
	'function say(what) { printf "%s  %-50s%s", live ? "\r" : "", what, live ? "" : "\n"; fflush() } \
	/^(Requirement already|Ignoring)/ { n++ } \
	/^Collecting/ { say(++n " of " all "  " $$2) } \
	/^Installing/ { say("unpacking") } \
	END { if (live) print "" }'

.venv/ready: requirements.lock | .venv/bin/python
	$(install)
	@touch $@

.venv/ready-dev: requirements-dev.lock | .venv/bin/python
	$(install)
	@touch $@ .venv/ready

# A pipe forgets how its first command ended; the file remembers.
define install
@echo "installing what $< names"
@rm -f .venv/installed
@{ $(INSTALL) --require-hashes -r $< && touch .venv/installed; } | $(PROGRESS)
@test -e .venv/installed
@$(INSTALL) --quiet --no-build-isolation --editable .
endef
