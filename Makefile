# make demo: train LeNet-5 on real digits and draw the results.   make test: all checks except the slow tests.
# make slow: the slow tests: those that train a net, and all combinations (every net, every order of threads, every
#             planted bug of a kernel) of which make test runs selected cases.
# make bench: measure everything and write docs/benchmarks.md and docs/compiled.md; an hour, on an otherwise idle machine.
#             TORCH_PYTHON=PATH/TO/python, an interpreter that can import torch, adds a comparison with PyTorch;
#             PEER_PYTHON=PATH/TO/python, one that can import onnxruntime or tinygrad, with these.
# make gpu-report: on a machine with a GPU, in under eight minutes and without a network: the tests on the GPU,
#             compute-sanitizer, the benchmarks; all results in runs/gpu-report.
# make web-test: the pages of the lab and the app, and the search of the site, in a browser; needs a Chromium on this
#             machine, or its path in CHROMIUM.
# make docs:  the pages as a site, runs/site/html/index.html, which opens without a server or a network; its figures are
#             drawn again, and every link is checked. The lab in it (docs/in-page.md) needs Pyodide, which
#             python -m docs.site.pyodide gets once.
# make oldest: the tests of the command line, files, data and kernels with every dependency at the oldest version that
#             pyproject.toml declares, in .venv-oldest; PYTHON=python3.11, because old versions have no wheels for new ones.
# They need python3 (3.11 or newer) and make; they install everything else into .venv, once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

TORCH_PYTHON ?=
GPU_PYTHON   ?= python3
PEER_PYTHON  ?=
TORCH  := $(if $(TORCH_PYTHON),--torch-python $(TORCH_PYTHON))
PEERS  := $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))
COMMA  := ,
WITH_TORCH := $(if $(TORCH_PYTHON),torch)
WITH_NETS  := $(if $(TORCH_PYTHON),torch$(COMMA)torch.compile$(COMMA))$(if $(PEER_PYTHON),onnxruntime$(COMMA)tinygrad)

.PHONY: demo test slow bench gpu-report web-test docs oldest lint clean

demo: $(VENV)/.demo
	$(BIN)/minicnn train digits --model lenet5 --out runs/demo --overwrite

# The kernels are compiled first, once, and not by each of pytest's processes.
test: lint
	@if $(BIN)/python -c "import numba" 2>/dev/null; then $(BIN)/python -m minicnn.cpu.compiled.first_use; fi
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

slow: $(VENV)/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow

# Installs nothing: GPU_PYTHON, by default python3, must have CuPy, PyTorch, pytest and what minicnn needs.
gpu-report:
	$(GPU_PYTHON) -m benchmarks.gpu.report

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.cpu.conv --peers textbook,$(WITH_TORCH) $(TORCH)
	$(BIN)/python -m benchmarks.cpu.layers --peers=$(WITH_TORCH) $(TORCH)
	$(BIN)/python -m benchmarks.cpu.models --memory --path compiled,numpy,plan --peers=$(WITH_NETS) $(TORCH) $(PEERS)
	$(BIN)/python -m benchmarks.cpu.steps
	$(BIN)/python -m benchmarks.cpu.scaling
	$(BIN)/python -m benchmarks.cpu.overhead
	$(BIN)/python -m benchmarks.cpu.tuning
	$(BIN)/python -m benchmarks.cpu.compiled
	$(BIN)/python -m benchmarks.render

web-test: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[web-test,docs]'
	$(BIN)/python -m pytest tests/web

docs: $(VENV)/.docs
	$(BIN)/python -m docs.figures.draw
	$(BIN)/python -m docs.site.build

# Newer versions of other packages warn about these old ones, so warnings are not errors here.
oldest:
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) tests/minimum_versions.py > .venv-oldest/pins.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/pins.txt -e '.[test,fast]'
	.venv-oldest/bin/python -m minicnn.cpu.compiled.first_use
	OPENBLAS_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n auto -m "not slow" -W default \
		tests/cli tests/data tests/io tests/train tests/ops tests/cpu

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or sys.exit("minicnn needs Python 3.11 or newer, and $(PYTHON) is " + v + ": say make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot,onnx]'
	$(install_numba)
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(install_numba)
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(install_numba)
	@touch $@ $(VENV)/.demo

# The compiled kernels need numba, which has no wheel for every Python and processor; NumPy computes without it.
define install_numba
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: '$(shell $(PYTHON) -c "import tomllib; print(tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['fast'][0])")' \
	|| echo "no wheel of numba for this Python: minicnn computes with NumPy alone, which is slower"
endef

clean:
	rm -rf $(VENV) .venv-oldest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
