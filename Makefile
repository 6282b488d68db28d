# The whole set-up is here: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := .tools

# Measurements that run in minutes, train nothing and need nothing that is not here.
EVIDENCE := published scores own cost slots kernel-use kernel-noise quadrature phases plan fuzz odd-reading

# What the tests of the page look with. Where it cannot be had they are skipped, with the reason.
CHROMIUM := command -v chromium || command -v chromium-browser || command -v google-chrome

# What is tested with the oldest releases that pyproject.toml allows.
OLDEST := .oldest
OLDEST_TESTS := tests/candidates/test_load.py tests/candidates/test_methods.py tests/report tests/test_curves.py tests/test_forecast.py tests/test_from_python.py

.PHONY: demo test oldest browser tools evidence docs lint format clean

demo: $(READY)
	$(BIN)/lensllm demo

test: $(READY) $(TOOLS)/.ready browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# Not part of the tests: torch 2.6 for Linux brings 3 GB of CUDA along.
oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest $(OLDEST_TESTS)

browser:
	@($(CHROMIUM)) > /dev/null || timeout 240 sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium" > /dev/null 2>&1 || \
		echo "there is no Chromium and it cannot be installed: the tests of the page are skipped"

# The parsers of the tools that configurations are exported for, beside the package.
tools: $(TOOLS)/.ready

evidence: $(READY)
	for subject in $(EVIDENCE); do $(BIN)/python -m evidence $$subject || exit 1; done

# The site, in docs/_build; a warning is an error.
docs: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs,gguf]"
	touch $(READY)

$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[quantized]" hypothesis pytest scikit-learn
	touch $(OLDEST)/.ready

$(TOOLS)/.ready: tests/exporters/tools.txt $(READY)
	rm -rf $(TOOLS)
	$(BIN)/python -m pip install --quiet --no-deps --target $(TOOLS) --requirement tests/exporters/tools.txt
	touch $(TOOLS)/.ready

clean:
	rm -rf $(VENV) $(OLDEST) $(TOOLS) out dist build docs/_build
