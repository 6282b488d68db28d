# The whole set-up is here: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Measurements that run in minutes, train nothing and need nothing that is not here.
EVIDENCE := published own cost slots kernel-use kernel-noise quadrature phases plan fuzz odd-reading

.PHONY: demo test evidence lint format clean

demo: $(READY)
	$(BIN)/lensllm demo

test: $(READY)
	$(BIN)/python -m pytest -n 2

evidence: $(READY)
	for subject in $(EVIDENCE); do $(BIN)/python -m evidence $$subject || exit 1; done

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,gguf]"
	touch $(READY)

clean:
	rm -rf $(VENV) out dist build
