"""A course of one's own: what comes with it, what is held back, where its buttons lead."""
import json
import re
import subprocess
import sys
from datetime import date
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'docs'), str(ROOT/'tests')]
import anywhere
import build
import edition
from check import missing_notebooks
from common import read
from names import read_module
from test_slides import code, markdown, prints, student

from lessonlib.command import main
from lessonlib.course import _SOLUTION, CourseError

pytestmark = pytest.mark.xdist_group('site')

# ---------------------------------------------------------------- which notebooks

@pytest.mark.parametrize('names', [['01'], ['26,41'], ['05', 'text_classifier'], ['66 62']])
def test_what_lessons_need_comes_with_them(names):
    main_ones, added = edition.chosen(names, ROOT/'nbs')
    assert len(main_ones) == len(re.split('[ ,]', ' '.join(names))) and not set(main_ones) & set(added)
    books = {stem: read(ROOT/'nbs'/f'{stem}.ipynb') for stem in (*main_ones, *added)}
    modules = [module for module in map(read_module, (ROOT/'lessonlib').glob('[!_]*.py')) if module]
    assert missing_notebooks(books, modules, 'lessonlib') == []
    for stem in added:  # and nothing that is not needed
        assert missing_notebooks({name: book for name, book in books.items() if name != stem}, modules, 'lessonlib')


@pytest.mark.parametrize('names, words', [(['77'], "no lesson '77'"), (['index'], 'home page'), (['01,sgdd'], 'sgd')])
def test_a_wrong_name_is_answered(names, words):
    with pytest.raises(CourseError, match=words): edition.chosen(names, ROOT/'nbs')


def test_without_names_it_is_the_whole_course():
    main_ones, rest = edition.chosen([], ROOT/'nbs')
    assert '01_sgd' in main_ones and '00_core' in rest
    assert len(main_ones) + len(rest) == len(list((ROOT/'nbs').glob('[0-9]*.ipynb')))

# ---------------------------------------------------------------- solutions

@pytest.mark.parametrize('words, today, answer', [
    (['folded'], None, (True, '')), (['never'], None, (False, '')),
    (['after', '2026-03-01'], date(2026, 2, 28), (False, 'Solutions from 1 March 2026 on')),
    (['after 2026-03-01'], date(2026, 3, 1), (True, ''))])
def test_until_when_solutions_are_held_back(words, today, answer): assert edition.solutions_shown(words, today) == answer


@pytest.mark.parametrize('words', [['sometimes'], ['after'], ['after', '1.3.2026'], [], ['never', 'ever']])
def test_other_words_are_refused(words):
    with pytest.raises(CourseError, match='never, folded, or after'): edition.solutions_shown(words)


ANSWER = 'def twice(number):\n    ### BEGIN SOLUTION\n    unheard = number + number  # so\n    return unheard.really()\n    ### END SOLUTION'
CHECK = "@exercise('add ünd add', 'it is unheard.really() at the end',\n          'last')\ndef check_twice(f): assert f(2) == 4\ncheck_twice(twice)"

def test_no_line_of_a_solution_is_left():
    book = dict(cells=[markdown('# T'), code(ANSWER, prints('4 of unheard.really()')), code(CHECK, prints('Right')), code('unheard = 1')])
    cells = edition.held_back(book)['cells']
    assert cells[1]['source'] == 'def twice(number):\n    ### BEGIN SOLUTION\n    ...\n    ### END SOLUTION' and cells[1]['outputs'] == []
    assert 'unheard' not in cells[2]['source'] and "'add ünd add', 'that is all" in cells[2]['source'] and "'last')" in cells[2]['source']
    assert cells[2]['outputs'] and cells[3]['source'] == 'unheard = 1'
    compile(cells[2]['source'], 'check', 'exec')


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('[0-9]*.ipynb')), ids=lambda path: path.stem)
def test_in_every_notebook(path):
    before, book = read(path), edition.held_back(read(path))
    lines = edition.solution_lines(before)
    for old, cell in zip(before['cells'], book['cells']):
        if old != cell and re.search(r'^@exercise\b', cell['source'], re.M):
            compile(cell['source'], path.stem, 'exec')
            hints = cell['source'].split('\ndef ')[0]
            assert not [line for line in lines if line in hints]
        for _, text in _SOLUTION.findall(''.join(cell['source'])) if cell['cell_type'] == 'code' else ():
            assert text.strip() == '...'

# ---------------------------------------------------------------- a start anywhere

@pytest.mark.parametrize('address, parts', [
    ('https://github.com/anna/course', ('https://github.com', 'anna/course', 'main')),
    ('https://github.com/anna/course.git', ('https://github.com', 'anna/course', 'main')),
    ('https://github.com/anna/course/tree/spring/26/', ('https://github.com', 'anna/course', 'spring/26')),
    ('https://git.school.example/a/b', ('https://git.school.example', 'a/b', 'main'))])
def test_addresses_of_repositories(address, parts): assert anywhere.repository_parts(address) == parts


@pytest.mark.parametrize('address', ['', 'anna/course', 'git@github.com:a/b', 'http://github.com/a/b', 'https://github.com/a', 'https://github.com/a/b?x=1', 'https://github.com/a/b"c'])
def test_other_addresses_are_refused(address):
    with pytest.raises(CourseError, match='expected an address such as'): anywhere.repository_parts(address)


def test_buttons():
    links = anywhere.start_links('https://github.com/anna/course', '01_sgd.ipynb')
    assert links == {'Open in Colab': 'https://colab.research.google.com/github/anna/course/blob/main/student/01_sgd.ipynb',
                     'Binder': 'https://mybinder.org/v2/gh/anna/course/main?urlpath=lab%2Ftree%2Fstudent%2F01_sgd.ipynb'}
    other = anywhere.start_links('https://gitlab.com/anna/course/tree/a/b', '01_sgd.ipynb')
    assert other == {'Binder': 'https://mybinder.org/v2/gl/anna%2Fcourse/a%2Fb?urlpath=lab%2Ftree%2Fstudent%2F01_sgd.ipynb'}


def test_the_cell_installs_where_the_course_is_not(monkeypatch):
    book = anywhere.with_install_cell(dict(cells=[markdown('# T'), code('x')]), 'https://github.com/anna/course')
    source, ran = book['cells'][1]['source'], []
    monkeypatch.setattr(subprocess, 'run', lambda *words, **options: ran.append((words[0], options)))
    exec(source, {})
    assert ran == []  # here it is
    monkeypatch.setattr(util, 'find_spec', lambda name: None)
    exec(source, {})
    (words, options), = ran
    assert words[1:4] == ['-m', 'pip', 'install'] and words[-1] == 'git+https://github.com/anna/course@main' and options == {'check': True}
    assert [cell['source'] for cell in book['cells'][::2]] == ['# T', 'x']

# ---------------------------------------------------------------- the whole of it

MODULE = '''# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/{lesson}.ipynb.

# %% auto #0
__all__ = ['{name}']

# %% ../nbs/{lesson}.ipynb #c1
def {name}(): "Does {name}"
'''


@pytest.fixture(scope='module')
def school(tmp_path_factory):
    "A course of four lessons, and a function that makes an edition of it"
    root = tmp_path_factory.mktemp('school')
    (root/'nbs').mkdir()
    package = root/'toyschool'
    package.mkdir()
    (package/'__init__.py').write_text('')
    def lesson(name, track, *cells): return [markdown(f'# {name}\n\n> You will {name}.\n\n- track: {track}\n- star: true'),
                                             code(f'#| default_exp {name}'), code(f'#| export\ndef {name}(): "Does {name}"', name='c1'), *cells]
    books = {'index': [markdown('# All')],
             '01_add': lesson('add', 'lesson', markdown('## Idea\n\nSee [nothing](04_rest.ipynb#Here) and [times](02_times.ipynb#Idea).')),
             '02_times': lesson('times', 'lesson', code('from toyschool.add import add', name='c2'),
                                markdown('## Idea\n\nSee [adding](01_add.ipynb) and [resting](04_rest.ipynb).\n\n### Exercise 1: twice\n\nWrite it.', name='m2'),
                                code(ANSWER, prints('unheard 4'), name='c3'), code(CHECK, prints('Right'), name='c4')),
             '03_shop': lesson('shop', 'workshop'), '04_rest': lesson('rest', 'lesson')}
    for name, cells in books.items():
        cells = [{**cell, 'id': cell['id'] if cell['id'] in ('c1', 'c2', 'c3', 'c4') else f'x{number}'} for number, cell in enumerate(cells)]
        book = dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)
        (root/'nbs'/f'{name}.ipynb').write_text(json.dumps(book))
        if name != 'index': (package/f'{name[3:]}.py').write_text(MODULE.format(lesson=name, name=name[3:]))
    logo = root/'logo.svg'
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><title>sign of the school</title></svg>')
    site = build.Site(root/'nbs', package, root/'work', root/'out', lambda path, now=True: path, student, 'School')
    def make(name, **options):
        lines = edition.edition(out=root/name, site=site, **options)
        files = {str(path.relative_to(root/name)): path.read_bytes() for path in (root/name).rglob('*') if path.is_file()}
        return SimpleNamespace(lines=lines, files=files, out=root/name, page=lambda name: files[f'site/{name}.html'].decode())
    yield SimpleNamespace(make=make, root=root, logo=logo)
    sys.path.remove(str(root)) if str(root) in sys.path else None


@pytest.fixture(scope='module')
def held(school):
    return school.make('held', only=['02'], title='Two <times> two', logo=school.logo, solutions=['after', '2030-01-31'],
                       repository='https://github.com/anna/course', today=date(2029, 1, 1))


def test_until_the_day_no_byte_of_the_solution_is_there(held):
    assert [name for name, content in held.files.items() if b'unheard' in content] == []
    assert [name for name, content in held.files.items() if b'really()' in content] == []
    assert 'Solutions from 31 January 2030 on' in held.page('02_times') and 'class="solution"' not in held.page('02_times')
    assert 'site/downloads/02_times.ipynb' not in held.files and 'with solutions' not in held.page('02_times')
    assert any('Build again on that day' in line for line in held.lines)


def test_site_slides_and_student_folder(held):
    assert {name.split('/')[0] for name in held.files} == {'site', 'slides', 'student', edition.MARK}
    assert sorted(name for name in held.files if name.startswith('student/') and name.endswith('.ipynb')) == [
        'student/01_add.ipynb', 'student/02_times.ipynb', 'student/index.ipynb']
    assert 'slides/02_times.html' in held.files and 'slides/01_add.html' not in held.files
    assert held.lines[:2] == ['Two <times> two: 02_times', 'They stand on these, which come with them: 01_add']
    assert 'Two &lt;times&gt; two' in held.page('02_times') and b'Two &lt;times&gt; two' in held.files['slides/02_times.html']


def test_what_came_with_it_stands_behind_the_course(held):
    home = held.page('index')
    assert '02_times.html' in home and 'workshop.html' in home and 'rest' not in home.lower().replace('restor', '')
    assert '01 · add' in held.page('workshop')
    assert b'- track: workshop' in held.files['student/01_add.ipynb'] and b'star' not in held.files['student/01_add.ipynb']


def test_links_to_what_is_left_out_are_plain_text(held):
    for name, content in held.files.items(): assert b'04_rest' not in content, name
    assert 'resting' in held.page('02_times') and 'href="01_add.html"' in held.page('02_times')
    assert '[adding](01_add.ipynb) and resting.' in json.loads(held.files['student/02_times.ipynb'])['cells'][-3]['source']
    assert '[times](02_times.ipynb#Idea)' in held.files['student/01_add.ipynb'].decode()


def test_logo_and_buttons(held):
    assert b'sign of the school' in held.files['site/_static/logo.svg'] and '_static/logo.svg' in held.page('02_times')
    assert 'logo.svg' in held.files['slides/02_times.html'].decode() and 'slides/logo.svg' in held.files
    assert 'https://colab.research.google.com/github/anna/course/blob/main/student/02_times.ipynb' in held.page('02_times')
    assert b'git+https://github.com/anna/course@main' in held.files['student/02_times.ipynb']


def test_on_the_day_solutions_are_folded(school):
    made = school.make('folded', only=['02', '01'], solutions=['after', '2030-01-31'], today=date(2030, 1, 31))
    assert 'class="solution"' in made.page('02_times') and 'unheard' in made.page('02_times') and b'unheard = number' not in made.files['student/02_times.ipynb']
    assert b'unheard' in made.files['site/downloads/02_times.ipynb']
    assert not any('come with them' in line for line in made.lines) and 'workshop.html' not in made.page('index')
    for name, content in made.files.items():  # nobody said where a repository is
        assert b'colab' not in content.lower() and b'mybinder' not in content, name


@pytest.mark.parametrize('wrong, words', [(dict(logo='nowhere.png'), 'no such picture'), (dict(only=['9']), "no lesson '9'"),
                                          (dict(repository='here'), 'expected an address')])
def test_a_wrong_word_makes_nothing(school, wrong, words):
    with pytest.raises(CourseError, match=words): school.make('nothing', **{'only': ['01'], **wrong})
    assert not (school.root/'nothing').exists()


def test_a_folder_of_other_things_is_left_alone(school):
    (school.root/'mine').mkdir()
    (school.root/'mine'/'diary.txt').write_text('dear')
    with pytest.raises(CourseError, match='holds something else'): school.make('mine', only=['01'])
    assert [path.name for path in (school.root/'mine').iterdir()] == ['diary.txt']


def test_the_command_needs_the_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('lessonlib.command.notebooks_folder', lambda: tmp_path/'nbs')
    assert main(['build', '--only', '01', '--out', str(tmp_path/'x')]) == 2
    assert 'a copy of the repository' in capsys.readouterr().err and not (tmp_path/'x').exists()
