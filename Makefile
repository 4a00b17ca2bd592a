# Every target sets up what it needs, in .venv, the first time that it runs.
#   make lab                    open notebook 01 in JupyterLab
#   make lab TORCH=cuda         auto (default), cpu or cuda: which build of PyTorch to install
#   make lab PYTHON=python3.12  which Python to set up with

PYTHON ?= python3
TORCH ?= auto

# OpenMP's threads spin while they wait. Where a browser or another run wants the same few cores,
# spinning threads hold up the ones they wait for, and a step takes many times as long.
export OMP_WAIT_POLICY ?= passive

# What a module compiles to is kept: else each of a hundred processes would compile PyTorch anew.
unexport PYTHONDONTWRITEBYTECODE

# Two runs share the cores; each with threads for all of them would have threads wait for threads.
SHARED = OMP_NUM_THREADS=1

VENV := .venv
BIN := $(VENV)/bin
# A set-up leaves a stamp that names its TORCH. `auto` is content with any; another name is not.
STAMPS := $(if $(filter auto,$(TORCH)),$(wildcard $(VENV)/ready-*))
READY := $(firstword $(STAMPS) $(VENV)/ready-$(TORCH))
FIRST_NOTEBOOK = $(notdir $(firstword $(wildcard notebooks/01-*.ipynb)))
HEADING = @printf '\n=== %s ===\n'
# Jupyter refuses to run as root (in a container, say) unless told that this is meant.
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

# A style of each painter, and one more to fill the sheet.
GALLERY = woodblock vortex stained_glass art_nouveau marbling mosaic-cathedral ink_wash neoplastic \
	pointillism-pond cubism-fauve engraving gilded halftone-surf impasto weaving-dazzle vortex-dawn

.DEFAULT_GOAL := help
.PHONY: help setup lab demo test render gallery book student bench soak gpu clean

help:
	@echo "make lab     open notebook 01 in JupyterLab"
	@echo "make demo    stylise a photo and print where it was saved"
	@echo "make test    lint, types, unit tests, notebooks, browser tests"
	@echo "make render  execute the notebooks in place"
	@echo "make gallery paint the styles again, and stylise photos by each; writes data/"
	@echo "make book    build the notebooks and the reference as a site: build/book/html"
	@echo "make student copy the course without its solutions: OUT=folder; CHECK=1 runs it first"
	@echo "make bench   measure how fast this machine stylises"
	@echo "make soak    measure what takes too long for CI; writes data/benchmarks/"
	@echo "make gpu     prove the kernels, on an NVIDIA GPU where there is one, and measure them there"
	@echo "make clean   remove .venv and everything that was generated"

setup: $(READY)

$(READY): pyproject.toml constraints.txt tools/set_up.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This course needs Python 3.11 or newer; '$(PYTHON)' is missing or older." >&2; \
		echo "Install one (python.org), or name it: make $(or $(MAKECMDGOALS),lab) PYTHON=python3.12" >&2; \
		exit 1; }
	$(HEADING) "Set-up"
	@rm -f $(VENV)/ready-*
	@$(PYTHON) tools/set_up.py $(VENV) --torch $(patsubst $(VENV)/ready-%,%,$@)
	@touch $@

lab: $(READY)
	$(BIN)/jupyter lab --ip=127.0.0.1 $(AS_ROOT) --notebook-dir=. \
		--LabApp.default_url=/lab/tree/notebooks/$(FIRST_NOTEBOOK)

demo: $(READY)
	@$(BIN)/nst demo

test: $(READY)
	$(HEADING) "Lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(HEADING) "Types"
	$(BIN)/mypy -n 2
	$(HEADING) "Unit tests"
	$(SHARED) $(BIN)/pytest tests nstlib -m "not browser and not soak" --ignore tests/test_book.py \
		-n 3 --dist loadfile --durations=10
	$(HEADING) "Kernels, in Triton's interpreter"
	NSTLIB_KERNELS=triton TRITON_INTERPRET=1 $(SHARED) $(BIN)/pytest tests/kernels -n 2 --durations=5
	$(HEADING) "Notebooks"
	$(SHARED) $(BIN)/pytest --nbval-lax --nbval-current-env notebooks -n 2 --dist loadfile \
		--durations=10
	$(HEADING) "Book and browser"
	$(SHARED) $(BIN)/pytest tests/test_book.py tests/test_browser*.py -m "not soak" \
		tests/test_video_reading.py::test_what_is_read_is_what_a_browser_shows \
		-n 2 --dist loadfile --durations=5
	$(HEADING) "All passed"

render: $(READY)
	@$(BIN)/python tools/render.py notebooks/*.ipynb

gallery: $(READY)
	$(BIN)/python -m nstlib.painting
	$(BIN)/nst gallery --styles $(GALLERY) --out data/gallery.jpg
	$(BIN)/nst gallery --net fast --style-weight 10 --size 384 --out data/weights/fast.jpg
	$(BIN)/nst gallery --model adain --styles $(GALLERY) --size 384 --out data/weights/adain.jpg
	$(BIN)/python tools/opening.py

book: $(READY)
	@rm -rf build/book
	$(BIN)/sphinx-build -q -W --keep-going -c book -d build/book/doctrees . build/book/html
	@echo "Open build/book/html/index.html"

student: $(READY)
	@$(BIN)/python tools/student.py $(if $(CHECK),--check) "$(or $(OUT),out/student)"

bench: $(READY)
	@$(BIN)/nst bench --quick
	@$(BIN)/nst bench gatys --profile
	@$(BIN)/nst bench control
	@$(BIN)/nst bench video

soak: $(READY)
	$(BIN)/nst bench --out data/benchmarks
	$(BIN)/nst bench gatys --size 256 512 --repeats 30 --profile --out data/benchmarks
	$(BIN)/nst bench fast --size 256 512 --repeats 30 --out data/benchmarks
	$(BIN)/nst bench adain --size 256 512 --large 4000 6000 --out data/benchmarks
	$(BIN)/nst bench control --repeats 30 --out data/benchmarks
	$(BIN)/nst bench video --repeats 30 --frames 30 300 2000 --out data/benchmarks
	$(BIN)/nst evaluate video --out data/benchmarks
	$(BIN)/python tools/serving_load.py --json data/benchmarks/serving.json
	$(BIN)/python tools/serving_fuzz.py --json data/benchmarks/serving-fuzz.json
	$(BIN)/pytest tests -m soak
	$(BIN)/python tools/student.py --check out/student-checked
ifdef PICTURES
	$(BIN)/nst evaluate fast --photos "$(PICTURES)/content" --out data/benchmarks
	$(BIN)/nst evaluate adain --photos "$(PICTURES)/content" --styles "$(PICTURES)/style" --gatys \
		--out data/benchmarks
	$(BIN)/nst evaluate control --photos "$(PICTURES)/content" --styles "$(PICTURES)/style" \
		--out data/benchmarks
	$(BIN)/nst evaluate encoder --encoders slim vgg19 random --pictures "$(PICTURES)" \
		--out data/benchmarks
else
	@echo "Not evaluated: the encoder. The pictures of the pairs in data/evaluation do not ship;"
	@echo "say where they lie: make soak PICTURES=folder"
endif

# An image with a GPU may have PyTorch, Triton, NumPy, pytest and no network: then nothing is set up.
ifneq ($(filter gpu,$(MAKECMDGOALS)),)
CAN_RUN := $(shell $(PYTHON) tools/gpu.py --can-run 2>/dev/null && echo yes)
endif

gpu: $(if $(CAN_RUN),,$(READY))
	@$(if $(CAN_RUN),$(PYTHON),$(BIN)/python) tools/gpu.py

clean:
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
