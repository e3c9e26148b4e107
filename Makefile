# Two commands: `make demo` (a figure) and `make test`. Both make .venv first, and only when it is out of date.
#
#   PYTHON=python3.13 make test      another interpreter (3.11 or newer)
#   make test-all                    the long tests too
#   make check                       lint, format and types
#   make results                     every experiment again, into results/
#   make gallery                     results/README.md again, from the results
#   make page                        the README's table of methods again, from the code
#   make notebook                    experiments/quickstart.ipynb again, with its outputs
#   make docs                        the API reference, into build/docs

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3.14 python3.13 python3.12 python3.11 python3 python,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
export JAXASGD_DATA ?= $(wildcard $(CURDIR)/../shared/data)
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -q --durations=10

.PHONY: demo check test test-all results gallery page notebook docs clean

demo: $(VENV)/demo.done
	$(BIN)/python experiments/images.py --out results/demo
	@echo "Open results/demo/overview.svg in a browser; the numbers are in results/demo/README.md."

check: $(VENV)/test.done
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: $(VENV)/test.done
	$(PYTEST) -m "not long"

test-all: $(VENV)/test.done
	XLA_FLAGS= $(PYTEST)

results: $(VENV)/demo.done
	$(BIN)/python experiments/regression.py --out results/regression
	$(BIN)/python experiments/images.py --tune --out results/images
	$(BIN)/python experiments/recorded_delays.py --out results/recorded_delays
	$(BIN)/python experiments/stability.py --out results/stability
	$(BIN)/python experiments/implicit_momentum.py --out results/implicit_momentum
	$(BIN)/python experiments/optimizers.py --out results/optimizers
	$(BIN)/python experiments/one_step_delay.py --out results/one_step_delay
	$(BIN)/python experiments/softsync.py --out results/softsync
	$(BIN)/python experiments/dana.py --out results/dana
	$(BIN)/python experiments/portraits.py --out results/portraits
	$(BIN)/python experiments/dispatch.py --out results/dispatch
	$(BIN)/python experiments/heterogeneous.py --out results/heterogeneous
	$(BIN)/python experiments/backups.py --out results/backups
	$(BIN)/python experiments/need_asynchrony.py --out results/need_asynchrony
	$(BIN)/python experiments/least_squares.py --out results/least_squares
	$(BIN)/python experiments/worst_case.py --out results/worst_case
	$(BIN)/python experiments/cluster_plan.py --out results/cluster_plan
	$(BIN)/python experiments/diloco.py --tune --out results/diloco
	$(BIN)/python experiments/pipeline.py --tune --out results/pipeline
	$(BIN)/python experiments/building.py --out results/building
	$(BIN)/python experiments/imports.py --out results/imports
	$(BIN)/python experiments/hosts.py --out results/bench
	$(BIN)/python experiments/bench_sweeps.py --out results/bench
	$(BIN)/python experiments/bench_model.py
	$(BIN)/python experiments/cells.py --out results/cells
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/python experiments/bench_all.py
	$(BIN)/python experiments/reality.py --out results/reality
	$(BIN)/python experiments/throughput.py --out results/throughput
	$(BIN)/python experiments/faults.py --out results/faults

gallery: $(VENV)/demo.done
	$(BIN)/python experiments/gallery.py

page: $(VENV)/demo.done
	$(BIN)/python -c "import jaxasgd; from jaxasgd import listing; listing.rewrite('README.md', jaxasgd.methods)"

notebook: $(VENV)/notebook.done
	$(BIN)/python .docs/notebook.py

docs: $(VENV)/docs.done
	$(BIN)/python .docs/reference.py build/docs

clean:
	rm -rf $(VENV)

$(VENV)/%.done: pyproject.toml
	@test -n "$(PYTHON)" || { echo "jaxasgd needs Python 3.11 or newer; none was found: make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
