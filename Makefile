# Five commands; each makes the environment it needs. `make lab` is where a learner begins.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: lab test docs run bench sync clean

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

docs: $(READY)   ## the site, in _docs/
	@$(BIN)/python docs/build.py

run: $(READY)    ## all lessons headless, with a table at the end
	@$(BIN)/lessonlib run

bench: $(READY)  ## timings against plain PyTorch
	@for file in benchmarks/[a-z]*.py; do echo; echo "== $$file"; $(BIN)/python $$file || exit 1; done

sync: $(READY)   ## after editing nbs/: write lessonlib/ and README.md anew
	@$(BIN)/python docs/sync.py

clean:           ## remove what was built, keep .venv
	rm -rf _docs _build build dist
