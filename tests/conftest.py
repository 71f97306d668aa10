"""What all tests share: their environment, executed notebooks, what is quick, the table at the end.

Notebooks are run once and kept under `_build/executed/`; the site uses the same copies. A copy is used
again only while nothing that it was made from has changed (`lessonlib.course.notebook_key`).
"""
import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
NBS, EXECUTED = ROOT/'nbs', ROOT/'_build'/'executed'

# Before anything else is imported, and so that kernels and other processes inherit it. Tests make
# or draw
# all their data; the few that need real data take it from LESSONLIB_MIRROR, if set, and skip
# otherwise.
MIRROR = os.environ.get('LESSONLIB_TEST_MIRROR') or os.environ.get('LESSONLIB_MIRROR')
for name in [name for name in os.environ if name.startswith('LESSONLIB_')]: del os.environ[name]
os.environ.update(LESSONLIB_DATA='practice', LESSONLIB_HOME=str(ROOT/'_build'/'home'),
                  MPLBACKEND='Agg')
if MIRROR:
    os.environ['LESSONLIB_TEST_MIRROR'] = MIRROR if '://' in MIRROR else os.path.abspath(MIRROR)
# tests run two at a time
for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'): os.environ[name] = '1'

import pytest

from lessonlib.course import executed, lessons, read_notebook, read_report
from lessonlib.command import report_table

STARTED = time.time()


def pytest_configure(config):
    "A copy that failed is used by all tests of one session; the next session tries again."
    if hasattr(config, 'workerinput'): return
    for copy in EXECUTED.glob('*.ipynb'):
        report = read_report(copy)
        if report is None or not report.ok: copy.unlink(missing_ok=True)


def notebook_params():
    "One parameter a notebook, its name as id; all tests of one notebook go to the same worker."
    return [pytest.param(path.stem, id=path.stem, marks=pytest.mark.xdist_group(path.stem))
            for path in lessons(NBS)]


def pytest_generate_tests(metafunc):
    if 'notebook_name' in metafunc.fixturenames:
        metafunc.parametrize('notebook_name', notebook_params())


# What takes long: training, running notebooks, a browser, other processes.
LONG = re.compile(r'\.fit\w*\(|fine_tune|lr_find|_learner\(|run_notebook|run_lessons|executed'
                  r'|subprocess|running_lab|browser_page|needs_chromium|Popen')


def pytest_collection_modifyitems(items):
    "`-m quick`: the tests in whose text, fixtures and helpers nothing takes long."
    for item in items:
        if not LONG.search(text_of(item)): item.add_marker('quick')


def text_of(item):
    "The source of a test, of its fixtures, and of the functions of its file that they call."
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    todo = [item.function, *(fixture.func for several in fixtures for fixture in several)]
    seen, parts = set(), []
    while todo:
        function = inspect.unwrap(todo.pop())
        if function in seen or not hasattr(function, '__code__'): continue
        seen.add(function)
        try: parts.append(inspect.getsource(function))
        except OSError: continue
        for name in function.__code__.co_names:
            called = function.__globals__.get(name)
            if inspect.isfunction(called) and called.__module__ == function.__module__:
                todo.append(called)
    return '\n'.join(parts)


def run_once(name):
    "The executed copy of a notebook: its path, its cells, and the report of its run."
    copy = executed(NBS/f'{name}.ipynb', EXECUTED, keep_errors=True)
    return SimpleNamespace(path=copy, book=read_notebook(copy), report=read_report(copy))


@pytest.fixture(scope='session')
def executed_notebook():
    "A function: name of a notebook -> its executed copy (path, book, report), made now if need be."
    return run_once


@pytest.fixture(scope='session')
def site():
    "The folder of the built site"
    run = subprocess.run([sys.executable, str(ROOT/'docs'/'build.py')], capture_output=True,
                         text=True, cwd=ROOT)
    if run.returncode: pytest.fail(f'the site was not built:\n{run.stdout}{run.stderr}'[-6000:],
                                   pytrace=False)
    return ROOT/'_docs'


@pytest.fixture(scope='module')
def browser(site):
    "One page of Chromium for the tests of a file that look at the site"
    from helpers.browser import browser_page
    with browser_page() as page: yield page


@pytest.fixture(scope='session')
def root():
    "The repository."
    return ROOT


def pytest_terminal_summary(terminalreporter):
    "Every notebook with its time and its slowest cell."
    outcomes = [report for kind in ('passed', 'failed')
                for report in terminalreporter.stats.get(kind, [])]
    names = {report.nodeid.partition('[')[2].partition(']')[0].partition('@')[0]
             for report in outcomes if 'test_notebooks.py::test_notebook_runs[' in report.nodeid}
    copies = [EXECUTED/f'{path.stem}.ipynb' for path in lessons(NBS) if path.stem in names]
    reports = [report for report in map(read_report, copies) if report]
    if not reports: return
    terminalreporter.section('notebooks')
    kept = [copy.stem for copy in copies if copy.exists() and copy.stat().st_mtime < STARTED]
    terminalreporter.write_line(report_table(reports))
    if kept:
        terminalreporter.write_line(f'unchanged since an earlier run: {", ".join(kept)}')
