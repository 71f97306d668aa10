# Five commands; each makes the environment it needs. `make lab` is where a learner begins.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: lab test test-fastcore2 docs run bench sync clean

# A new constraints.txt or settings.ini installs what is missing into the same environment.
$(READY): settings.ini setup.py constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing lessonlib and what it needs into .venv (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

lab: $(READY)    ## open lesson 1 in JupyterLab, in a folder of your own (my_course)
	@$(BIN)/lessonlib lab --folder my_course

test: $(READY)   ## every notebook and every test
	@$(BIN)/python -m pytest

# nbdev needs fastcore 1; the library must not care. The newest fastcore 2 goes in front of the one in .venv, and all tests
# run again but those of the tools that are for developing alone.
test-fastcore2: $(READY)   ## the library with the newest fastcore 2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target _build/fastcore2 'fastcore>=2'
	@PYTHONPATH=_build/fastcore2 $(BIN)/python -c 'import fastcore; print("fastcore", fastcore.__version__)'
	@PYTHONPATH=$(CURDIR)/_build/fastcore2 $(BIN)/python -m pytest --ignore tests/test_sync.py --ignore tests/test_site.py \
	  --ignore tests/test_lab.py --deselect tests/test_readme.py::test_readme_is_what_the_index_says

docs: $(READY)   ## the site, in _docs/
	@$(BIN)/python docs/build.py

run: $(READY)    ## all lessons headless, with a table at the end
	@$(BIN)/lessonlib run --jobs 2

bench: $(READY)  ## timings against plain PyTorch and torchvision
	@for name in learner_epoch lr_find augmentation collab tabular import_time; do echo; echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || exit 1; done

sync: $(READY)   ## after editing nbs/: write lessonlib/ and README.md anew
	@$(BIN)/python docs/sync.py

clean:           ## remove what was built, keep .venv
	rm -rf _docs _build build dist
