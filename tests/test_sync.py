"The package is what the notebooks export, byte for byte; the notebooks are committed without outputs."
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.course import lessons, read_notebook

ROOT = Path(__file__).resolve().parent.parent


def export(copy):
    "Export all notebooks of a copy of the repository, into a package that is empty but for its version."
    shutil.rmtree(copy/'lessonlib', ignore_errors=True)
    (copy/'lessonlib').mkdir()
    shutil.copy(ROOT/'lessonlib'/'__init__.py', copy/'lessonlib')
    script = 'from nbdev.doclinks import nbdev_export; nbdev_export()'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_bytes() for path in (copy/'lessonlib').glob('*.py')}


def differences(exported, package):
    "What is wrong with a package, in words: one line a file."
    there = {path.name: path.read_bytes() for path in package.glob('*.py')}
    lines = [f'{name}: no notebook exports it; remove it' for name in sorted(set(there) - set(exported))]
    lines += [f'{name}: missing' for name in sorted(set(exported) - set(there))]
    return lines + [f'{name}: differs from its notebook' for name in sorted(set(there) & set(exported))
                    if there[name] != exported[name]]


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "What an export into an empty package writes."
    copy = tmp_path_factory.mktemp('export')
    shutil.copytree(ROOT/'nbs', copy/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    for name in ('settings.ini', 'setup.py', 'pyproject.toml'): shutil.copy(ROOT/name, copy)
    return export(copy)


@pytest.mark.xdist_group('sync')
def test_package_is_what_the_notebooks_export(exported):
    wrong = differences(exported, ROOT/'lessonlib')
    assert not wrong, 'run nbdev_export (and edit notebooks, not modules):\n' + '\n'.join(wrong)


@pytest.mark.xdist_group('sync')
def test_a_difference_is_seen(exported, tmp_path):
    "A changed module, a missing one, one without a notebook and one nobody has committed: all are told."
    for name, text in exported.items(): (tmp_path/name).write_bytes(text)
    assert differences(exported, tmp_path) == []
    (tmp_path/'core.py').write_bytes(exported['core.py'] + b' ')
    (tmp_path/'course.py').unlink()
    (tmp_path/'left_over.py').write_text('x = 1\n')
    assert differences(exported, tmp_path) == ['left_over.py: no notebook exports it; remove it', 'course.py: missing',
                                               'core.py: differs from its notebook']


def test_notebooks_are_committed_without_outputs():
    for path in lessons(ROOT/'nbs'):
        if path.stem == 'index': continue
        for index, cell in enumerate(read_notebook(path)['cells']):
            if cell['cell_type'] != 'code': continue
            assert not cell['outputs'] and cell['execution_count'] is None, f'{path.name}, cell {index + 1} has outputs'
            assert 'execution' not in cell['metadata'], f'{path.name}, cell {index + 1} has times in its metadata'


def test_nothing_but_notebooks_in_nbs():
    "Lessons clean up after themselves; what they write goes elsewhere."
    extra = [path.name for path in (ROOT/'nbs').iterdir()
             if path.suffix != '.ipynb' and path.name not in ('.ipynb_checkpoints', '__pycache__')]
    assert not extra, f'left behind in nbs: {extra}'
