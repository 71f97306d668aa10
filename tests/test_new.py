"`make new`: the template of a lesson passes what a lesson must pass."
import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.course import about, describe_error, exercises, run_notebook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
from new import write_new
import shutil
import sync


@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "A repository with a new lesson and nothing else"
    root = tmp_path_factory.mktemp('fresh')
    for name in sync.SETTINGS: shutil.copy(ROOT/name, root)
    write_new(root, '33_blots', 'Blots', 'lesson')
    return root


def test_three_files(fresh):
    files = {str(path.relative_to(fresh)) for path in fresh.rglob('*.*')
             if path.suffix in ('.py', '.ipynb')}
    assert files - {'setup.py'} == {'nbs/33_blots.ipynb', 'tests/test_blots.py',
                                    'tests/wrong_answers/33_blots.py'}
    front = about(fresh/'nbs'/'33_blots.ipynb')
    assert (front.title, front.track, front.module) == ('Blots', 'lesson', 'blots')
    assert front.sentence and front.time == 'a few seconds'


def test_the_template_runs_and_its_checks_tell_right_from_wrong(fresh):
    names = {}
    exec((fresh/'tests'/'wrong_answers'/'33_blots.py').read_text(), names)
    path = fresh/'nbs'/'33_blots.ipynb'
    assert len(exercises(path)) == 3
    report = run_notebook(path, out=fresh/'done.ipynb', wrong_answers=names['WRONG'])
    assert report.ok, describe_error(report)
    for trial in report.exercises:
        assert (trial['solution'], trial['empty']) == ('accepted', 'refused'), trial
        assert trial['wrong'] == ['refused'] * len(trial['wrong']) and trial['hints'] == [0,
                                                                                          1], trial
    figures = [output for cell in json.loads((fresh/'done.ipynb').read_text())['cells']
               for output in cell.get('outputs', []) if 'image/png' in output.get('data', {})]
    assert figures and all(output['metadata']['alt'] for output in figures)


def test_the_template_exports_and_its_test_passes(fresh):
    sync.export(fresh)
    module = ast.parse((fresh/'lessonlib'/'blots.py').read_text())
    assert ast.get_docstring(module).startswith('You will be able to say')
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests'],
                          cwd=fresh, env={'PYTHONPATH': str(fresh), 'PATH': ''},
                          capture_output=True, text=True)
    assert done.returncode == 0 and '4 passed' in done.stdout, done.stdout + done.stderr


def test_a_workshop_notebook_has_less(tmp_path):
    write_new(tmp_path, '14_wheels', 'Wheels', 'workshop')
    path = tmp_path/'nbs'/'14_wheels.ipynb'
    assert len(exercises(path)) == 1 and about(path).track == 'workshop'


@pytest.mark.parametrize('name, track, message', [
    ('blots', 'lesson', 'no name for a notebook'), ('3_blots', 'lesson', 'no name'),
    ('33_Blots', 'lesson', 'no name'), ('33_spots', 'lesson', '33_blots.ipynb is there already'),
    ('34_blots', 'lesson', '33_blots.ipynb is there already'), ('35_x', 'essay', 'is no track')])
def test_a_name_that_will_not_do_is_told(fresh, name, track, message):
    before = sorted(fresh.rglob('*'))
    with pytest.raises(ValueError, match=message): write_new(fresh, name, 'Title', track)
    assert sorted(fresh.rglob('*')) == before
