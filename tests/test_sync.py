"""The package is what the notebooks export, byte for byte; a mistake in a notebook is told and
changes no file."""
import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.course import lessons, read_notebook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
import sync
from docstrings import add_comments, without_comments


def differences(exported, package):
    "What is wrong with a package, in words: one line a file."
    there = {path.name: path.read_text(encoding='utf-8') for path in package.glob('*.py')}
    lines = [f'{name}: no notebook exports it; remove it'
             for name in sorted(set(there) - set(exported))]
    lines += [f'{name}: missing' for name in sorted(set(exported) - set(there))]
    return lines + [f'{name}: differs from its notebook'
                    for name in sorted(set(there) & set(exported)) if there[name] != exported[name]]


@pytest.fixture(scope='module')
def exported(): return sync.exported(ROOT)


@pytest.mark.xdist_group('sync')
def test_package_is_what_the_notebooks_export(exported):
    wrong = differences(exported[0], ROOT/'lessonlib')
    assert not wrong, 'run `make sync` (and edit notebooks, not modules):\n' + '\n'.join(wrong)


@pytest.mark.xdist_group('sync')
def test_notebooks_are_clean(exported):
    "No outputs, an id for every cell: what `make sync` would write is what is there."
    for name, text in exported[1].items():
        assert (ROOT/'nbs'/name).read_text(encoding='utf-8') == text, f'{name}: run `make sync`'


@pytest.mark.xdist_group('sync')
def test_a_difference_is_seen(exported, tmp_path):
    "A changed module, a missing one and one without a notebook: all are told."
    modules = exported[0]
    for name, text in modules.items(): (tmp_path/name).write_text(text)
    assert differences(modules, tmp_path) == []
    (tmp_path/'core.py').write_text(modules['core.py'] + ' ')
    (tmp_path/'course.py').unlink()
    (tmp_path/'left_over.py').write_text('x = 1\n')
    assert differences(modules, tmp_path) == ['left_over.py: no notebook exports it; remove it',
                                              'course.py: missing',
                                              'core.py: differs from its notebook']


def test_notebooks_are_committed_without_outputs():
    for path in lessons(ROOT/'nbs'):
        for index, cell in enumerate(read_notebook(path)['cells'], 1):
            if cell['cell_type'] != 'code': continue
            clean = not cell['outputs'] and cell['execution_count'] is None
            assert clean, f'{path.name}, cell {index} has outputs'
            assert 'execution' not in cell['metadata'], f'{path.name}, cell {index} has times'


def test_nothing_but_notebooks_in_nbs():
    "Lessons clean up after themselves; what they write goes elsewhere."
    extra = [path.name for path in (ROOT/'nbs').iterdir() if path.suffix != '.ipynb'
             and path.name not in ('.ipynb_checkpoints', '__pycache__')]
    assert not extra, f'left behind in nbs: {extra}'

# ---------------------------------------------------------------- mistakes

def cell(source, kind='code', **more):
    code = dict(outputs=[], execution_count=None) if kind == 'code' else {}
    return dict(id='abcd1234', cell_type=kind, metadata={}, source=source, **code, **more)


def write(path, *cells):
    path.write_text(json.dumps(dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)))


@pytest.fixture
def small(tmp_path):
    "A repository of two notebooks, exported"
    for name in sync.SETTINGS: shutil.copy(ROOT/name, tmp_path)
    (tmp_path/'nbs').mkdir()
    write(tmp_path/'nbs'/'00_one.ipynb', cell('# One\n\n> The first', 'markdown'),
          cell('#| default_exp one'), cell('#| export\ndef one(): return 1'))
    write(tmp_path/'nbs'/'01_two.ipynb', cell('# Two', 'markdown'), cell('#| default_exp two'),
          cell('#| export\nfrom lessonlib.one import one'))
    sync.export(tmp_path)
    return tmp_path


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.mark.parametrize('source, message', [
    ('#| exprot\nx = 1', r'unknown directive `#\| exprot`; did you mean `#\| export`'),
    ('#| frobnicate\nx = 1', 'unknown directive .*there are default_exp, export'),
    ('def f():\n    ### BEGIN SOLUTION\n    return 1', 'a solution needs'),
    ('### BEGIN SOLUTION\nx = 1\n### BEGIN SOLUTION\n### END SOLUTION', 'a solution needs'),
    ('x = 1\n### END SOLUTION', 'a solution needs'),
    ('#| export\nx = 1\ndef f(:\n    return 1', 'line 3 is not Python'),
])
def test_a_mistake_is_told_with_notebook_and_cell_and_changes_nothing(small, source, message):
    write(small/'nbs'/'00_one.ipynb', cell('# Changed', 'markdown'), cell('#| default_exp one'),
          cell('#| export\nx = 2'))
    write(small/'nbs'/'01_two.ipynb', cell('# Two', 'markdown'), cell('#| default_exp two'),
          cell(source))
    before = everything(small)
    with pytest.raises(sync.SyncError, match=f'^01_two.ipynb, cell 3: {message}'):
        sync.export(small)
    assert everything(small) == before


def test_a_file_that_is_no_notebook_is_told(small):
    (small/'nbs'/'01_two.ipynb').write_text('{"cells": [')
    with pytest.raises(sync.SyncError, match='01_two.ipynb: is not a notebook'): sync.export(small)


def test_one_run_writes_ids_strips_outputs_and_removes_what_has_no_notebook(small):
    new = cell('#| export\nx = 1')
    del new['id']
    new['outputs'] = [dict(output_type='stream', name='stdout', text='hello')]
    new['execution_count'] = 7
    write(small/'nbs'/'02_three.ipynb', cell('# Three', 'markdown'), cell('#| default_exp three'),
          new)
    (small/'nbs'/'01_two.ipynb').unlink()
    (small/'lessonlib'/'by_hand.py').write_text('x = 1\n')
    sync.export(small)
    done = read_notebook(small/'nbs'/'02_three.ipynb')['cells'][2]
    assert done['outputs'] == [] and done['execution_count'] is None and done['id']
    modules = {path.name for path in (small/'lessonlib').glob('*.py')}
    assert {'one.py', 'three.py', '_late.py', 'by_hand.py'} < modules and 'two.py' not in modules
    before = everything(small)
    sync.export(small)
    assert everything(small) == before, 'a second run changes nothing'

# ---------------------------------------------------------------- what later modules add

MODULE = '# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/{}.ipynb.\n{}'


def test_late_methods_are_those_of_later_modules():
    modules = {
        'first.py': MODULE.format('09_first', '@patch\ndef early(self: Learner): ...'),
        'learner.py': MODULE.format('11_learner', 'class Learner: ...\n'
                                    '@patch\ndef own(self: Learner): ...'),
        'later.py': MODULE.format('12_later', '''
@patch
def added(self:Learner): ...
@patch(as_prop=True)
def seen(self: 'Learner'): ...
@patch(cls_method=True)
def made(cls: Learner): ...
@patch
def other(self: Loader): ...
default_callbacks.append(Bar)'''),
    }
    names = {}
    exec(sync.late_names(modules), names)
    assert names['methods'] == {'added': 'later', 'seen': 'later'}
    assert names['callbacks'] == ['later']
    modules['last.py'] = MODULE.format('13_last', '@patch\ndef added(self: Learner): ...')
    with pytest.raises(sync.SyncError, match='Learner.added is added by later and by last'):
        sync.late_names(modules)


def test_the_table_of_the_package_names_what_is_there():
    from importlib import import_module
    from lessonlib import _late
    for name, module in _late.methods.items():
        tree = ast.parse((ROOT/'lessonlib'/f'{module}.py').read_text(encoding='utf-8'))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for module in _late.callbacks: import_module(f'lessonlib.{module}')

# ---------------------------------------------------------------- comments in docstrings

def test_comments_reach_the_docstring():
    source = '''
def pick(
    items: list,  # what there is
    *, size=3,  # how many; a \\ and """ are fine
    # counted from the end
    start: int = 0,
    rest=None, last=1,  # the last one
    **kwargs,  # noqa: F401
) -> list:  # some of them
    "Take a few \\\\ of them"
    return items

def bare(x, y): "No comments"

class Box:
    "A box"
    def __init__(self, width: float = 1.,  # in metres
                 colour='red'):  # or blue
        self.width = width

class Bag(Box):
    "A bag"
    order = 15  # late
    def __init__(self, width, rest=None):
        self.width = width

@dataclass
class Point:
    "Where it is"
    x: int = 0  # to the right
    y: int = 0  # down

    def shift(self, by: int  # pixels
             ): "Moved"
'''
    names = {}
    exec('from dataclasses import dataclass\n' + add_comments(source), names)
    doc = {name: inspect.getdoc(names[name]) for name in ('pick', 'bare', 'Box', 'Bag', 'Point')}
    assert doc['pick'] == '''Take a few \\ of them

Args:
    items: what there is
    size: how many; a \\ and """ are fine
    start: counted from the end
    rest, last: the last one

Returns:
    some of them'''
    assert doc['bare'] == 'No comments'
    assert doc['Box'] == 'A box\n\nArgs:\n    width: in metres\n    colour: or blue'
    assert doc['Bag'] == 'A bag'           # what is above its __init__ is about something else
    assert doc['Point'] == 'Where it is\n\nArgs:\n    x: to the right\n    y: down'
    assert 'Args:\n    by: pixels' in inspect.getdoc(names['Point'].shift)
    assert [without_comments(text) for text in doc.values()] == [
        'Take a few \\ of them', 'No comments', 'A box', 'A bag', 'Where it is']


def test_docstrings_and_comments_agree_with_fastcore():
    "What is written into the docstrings is what fastcore reads beside the parameters."
    from fastcore.docments import docments
    from lessonlib.learner import Learner
    for thing in (Learner.__init__, Learner.fit):
        doc = inspect.getdoc(Learner if thing is Learner.__init__ else thing)
        comments = {name: text for name, text in docments(thing).items()
                    if text and name != 'return'}
        assert comments, thing
        for name, text in comments.items():
            assert re.search(rf'^    {name}: {re.escape(" ".join(text.split()))}$', doc, re.M), name


def test_ipython_shows_the_comments():
    "Really typed: `?Learner.fit` and `?Learner`, as for a tool tip or in a notebook."
    script = '''
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
shell.run_cell('from lessonlib.learner import Learner')
for name in ('Learner.fit', 'Learner'):
    print(shell.object_inspect_mime(name)['text/plain'])
'''
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    from lessonlib.learner import Learner
    for doc in (inspect.getdoc(Learner.fit), inspect.getdoc(Learner)):
        rows = re.findall(r'^    \w+: .+$', doc, re.M)
        assert rows and all(row in done.stdout for row in rows)


def test_python_that_cannot_be_compiled_is_told(small):
    for source, words in (('#| export\nreturn 1', "'return' outside function"), ('#| export\nx = "\0"', 'is not Python')):
        assert any(words in fault for fault in sync.faults_of_cell(source))
