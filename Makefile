# make demo   the head-to-head on the embedded model, its comparison table and plots
# make test   the tests, without those that take minutes
# make test-all  all of them, as the continuous integration does
# make venv   only the virtual environment that both use
PYTHON ?= python3
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-all venv lint clean

demo: .venv/installed
	.venv/bin/python -m harness -m experiment=demo
	.venv/bin/python -m harness.compare runs=results/demo baseline=grpo

test: .venv/installed
	.venv/bin/python -m pytest -n 2 -q -m "not long"

test-all: .venv/installed
	.venv/bin/python -m pytest -n 2 -q

lint: .venv/installed
	.venv/bin/ruff check .

venv: .venv/installed

# The stamp is written last: an installation that was cut short is taken up again.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed: make PYTHON=..."'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
	find harness methods tests -name __pycache__ -type d -prune -exec rm -rf {} +
