"""Marks for a class: a made class on one small lesson, with everything that a class can hand in.

What an answer tries against the marking is tried for real: each costs its own row, and never gives one.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.notebooks import ANSWER, CHECK, notebook
from lessonlib import marks
from lessonlib.command import main, student_edition
from lessonlib.course import CourseError, read_notebook, replace_solution
from lessonlib.marks import (class_page, confinement, find_answers, find_hand_ins, MarkLimits, load_marks, Mark, mark_class,
                             nbgrader_edition, save_marks, student_page, write_nbgrader, write_pages)

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='marking needs a system that can copy a process')
WALL = confinement()
SECOND = ANSWER.replace('half', 'third').replace('/ 2', '/ 3'), \
    "@exercise('divide by three')\ndef check_third(third):\n    assert abs(third(9.) - by(9., 3)) < 1e-9, 'not a third'\ncheck_third(third)"
SETUP = 'from lessonlib.core import exercise\nimport ipywidgets, math, matplotlib.pyplot as plt\ndef by(a, b): return a / b'


@pytest.fixture
def nbs(tmp_path):
    "An author's folder with one lesson of two exercises"
    notebook(tmp_path/'nbs'/'07_parts.ipynb', '# Parts', SETUP, ANSWER, CHECK, *SECOND)
    return tmp_path/'nbs'


def hand_in(nbs, to, half=None, third=None, change=lambda cells: None):
    "The student edition with answers, or whole cells that begin with `def` or more, put in"
    author = read_notebook(nbs/'07_parts.ipynb')
    book = student_edition(author)
    for index, answer in ((2, half), (4, third)):
        if answer is None: continue
        whole = re.search(r'^(def|%|import|from|!)', answer, re.M) and '\n' in answer
        book['cells'][index]['source'] = answer if whole else replace_solution(author['cells'][index]['source'], answer)
    change(book['cells'])
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(book))
    return book


HALF, THIRD = 'def half(number):\n    return number / 2', 'def third(number):\n    return number / 3'
BEFORE = {   # what stands in the cell above a right answer, or inside one; how it must end
    'right': ('', 'right'),
    'magic and widget': ('%%time\nplt.plot([1]); plt.show()\n'
                         'display(ipywidgets.IntSlider())\n', 'right'),
    'loops': ('while True: pass\n', 'broke'),
    'prints for ever': ('while True: print("x" * 10_000)\n', 'broke'),
    'prints a lot': ('for _ in range(20): print("x" * 10_000_000)\n', 'right'),
    'asks': ('answer = input("go on?")\n', 'broke'),
    'exits': ('import sys\nsys.exit()\n', 'broke'),
    'leaves': ('import os\nos._exit(0)\n', 'broke'),
    'leaves well': ('import sys\nprint("Right: half halves")\nsys.stdout.flush()\nimport os; os._exit(0)\n', 'broke'),
    'syntax': ('import\n', 'broke'),
    'memory': ('import numpy\nnumpy.ones(2**30)\n', 'broke'),
    'disk': ('for i in range(100): open(f"large{i}", "wb").write(bytes(2**20))\n', 'broke'),
    'socket': ('import socket\nsocket.create_connection(("127.0.0.1", 1), 2)\n', 'broke'),
    'check': ('def wrong(*args): pass\nexercise = lambda *hints: (lambda check: wrong)\n', 'right'),   # has no effect
    'patches': ('import lessonlib.core as core\ncore.exercise.__code__ = (lambda *h: (lambda c: print)).__code__\n', 'broke'),
    'builtin': ('import builtins\nbuiltins.abs = lambda x: 0\n', 'broke'),
    'wire': ('import os\nfor fd in range(3, 99):\n    try: os.write(fd, b\'{"state": "right", "token": "0"}\\n\')\n'
             '    except OSError: pass\n', 'broke'),
    'leaves a process': ('import subprocess\nsubprocess.Popen(["sleep", "987"], start_new_session=True)\n', 'right'),
}


def test_a_class(nbs, tmp_path):
    "One row each, the right one, and nobody costs more than a row"
    room, checks = tmp_path/'room', tmp_path/'checks'
    checks.mkdir()
    (checks/'check_third.py').write_text('assert third(0) == 0, "SECRET"')
    for name, (before, _) in BEFORE.items():
        hand_in(nbs, room/name/'07_parts.ipynb', f'{before}{HALF}', THIRD)
    hand_in(nbs, room/'wrong'/'07_parts.ipynb', 'return number', f'{THIRD} if number else 1')
    hand_in(nbs, room/'nothing'/'07_parts.ipynb')
    (room/'broken').mkdir()
    (room/'broken'/'x.ipynb').write_text('{"cells": 3}')
    (room/'what.ipynb').write_text(json.dumps(dict(cells=[], metadata={}, nbformat=4, nbformat_minor=5)))
    found = mark_class(room, nbs, checks=checks, jobs=4, limits=MarkLimits(seconds=15, memory=1024, disk=32))
    state = {(mark.student, mark.check): mark for mark in found}
    wrong = {name: (mark.state, mark.message) for name, (_, ends) in BEFORE.items()
             if (mark := state[name, 'check_half']).state != ends}
    assert not wrong
    for name in BEFORE:                  # what the first answer did is gone for the second
        assert (state[name, 'check_third'].state, state[name, 'check_third'].further) == ('right', 'passed'), name
    assert str(state['wrong', 'check_half']) == 'hint 1' and 'gave 4.0' in state['wrong', 'check_half'].message
    assert (state['wrong', 'check_third'].state, state['wrong', 'check_third'].further) == ('right', 'failed')
    assert state['nothing', 'check_half'].state == state['nothing', 'check_third'].state == 'not tried'
    assert state['broken', 'x.ipynb'].state == state['what', 'what.ipynb'].state == 'broke'
    assert 'exercise' in state['patches', 'check_half'].message and 'abs' in state['builtin', 'check_half'].message
    assert 'only the marking' in state['wire', 'check_half'].message
    if WALL == 'system':
        running = [path.read_bytes() for path in Path('/proc').glob('[0-9]*/cmdline') if os.access(path, os.R_OK)]
        assert not any(b'sleep\x00987' in words for words in running)
    pages = write_pages(found, room, WALL)
    assert 'SECRET' in pages[0].read_text()
    assert not any('SECRET' in page.read_text() or 'further' in page.read_text() for page in pages[1:])


@pytest.mark.skipif(WALL != 'system', reason='this system gives no walls')
def test_walls(nbs, tmp_path):
    "An answer sees neither the others nor the further checks, and writes nowhere else"
    room, checks, other = tmp_path/'room', tmp_path/'checks', tmp_path/'other'
    for folder in (checks, other): folder.mkdir()
    (checks/'check_half.py').write_text('assert True')
    hand_in(nbs, room/'anna'/'07_parts.ipynb', f'{HALF} # KEY')
    reads = 'import os\nassert not os.listdir({!r})\n'
    hand_in(nbs, room/'ben'/'07_parts.ipynb', reads.format(str(room)) + HALF,
            reads.format(str(checks)) + THIRD)
    hand_in(nbs, room/'eve'/'07_parts.ipynb', f'open("{other}/x", "w")\n{HALF}',
            f'import os, tempfile\nopen(tempfile.mkstemp()[1], "w"); open("x", "w")\nassert not os.path.exists("/proc/self/x")\n{THIRD}')
    hand_in(nbs, room/'kim'/'07_parts.ipynb', f'import os\nos.kill(os.getppid(), 9)\n{HALF}',
            f'import gc\nassert not any("KEY" in x for x in gc.get_objects() if type(x) is str and x != "KEY" and "assert" not in x)\n{THIRD}')
    found = {(mark.student, mark.check): mark for mark in
             mark_class(room, nbs, checks=checks, limits=MarkLimits(seconds=60, disk=16))}
    assert found['ben', 'check_half'].state == found['ben', 'check_third'].state == 'right', found
    assert 'Read-only' in found['eve', 'check_half'].message and not any(other.iterdir())
    assert found['eve', 'check_third'].state == 'right', found['eve', 'check_third']
    assert found['anna', 'check_half'].further == 'passed' and found['kim', 'check_third'].state == 'right'


def test_without_walls(nbs, tmp_path, monkeypatch):
    "A sign in Python; and an answer that takes the lesson's process with it costs itself"
    monkeypatch.setattr(marks, 'confinement', lambda: 'python')
    room = tmp_path/'room'
    for name, before in dict(anna='', ben='import os\nos.kill(os.getppid(), 9)\n', disk=BEFORE['disk'][0],
                             net='import socket\nsocket.create_connection(("127.0.0.1", 1))\n').items():
        hand_in(nbs, room/name/'07_parts.ipynb', before + HALF, THIRD)
    found = {(mark.student, mark.check): mark for mark in mark_class(room, nbs, limits=MarkLimits(seconds=60, disk=16))}
    assert 'no network while marking' in found['net', 'check_half'].message
    assert found['ben', 'check_half'].state == found['disk', 'check_half'].state == 'broke'
    assert all(found[name, 'check_third'].state == 'right' for name in ('anna', 'ben', 'disk', 'net'))
    assert found['anna', 'check_half'].state == 'right'


def test_late_and_only(nbs, tmp_path, capsys):
    "A second run marks what is new or changed; --only marks one check; the command says it all"
    room, words = tmp_path/'room', ['--nbs', str(nbs), '--seconds', '60']
    hand_in(nbs, room/'07_parts-anna.ipynb', HALF, 'return number')
    assert main(['grade', str(room), '--only', 'check_half', *words]) == 0
    assert [(mark.student, mark.check) for mark in load_marks(room/'marks.csv')] == [('anna', 'check_half')]
    hand_in(nbs, room/'late/07_parts.ipynb', 'return 1', change=lambda cells: cells[3].update(
        outputs=[dict(output_type='error', ename='Unsolved', evalue='', traceback=['Hint (2 of 3): x'])]))
    seen = []
    found = mark_class(room, nbs, notify=seen.append, limits=MarkLimits(60))
    assert [(mark.student, mark.check) for mark in seen] == [('late', 'check_third'), ('anna', 'check_third'), ('late', 'check_half')] \
        or len(seen) == 3
    assert [str(mark) for mark in found] == ['right', 'hint 1', 'hint 2', 'not tried']
    seen.clear()
    assert mark_class(room, nbs, notify=seen.append, limits=MarkLimits(60)) == found and not seen
    for file in room.rglob('*.ipynb'): file.unlink()
    assert mark_class(room, nbs) == found                 # who has left keeps the marks
    capsys.readouterr()
    assert main(['grade', str(room), '--nbs', str(nbs)]) == 0
    assert '1 right, 2 hint, 1 not tried' in capsys.readouterr().out and (room/'marks.html').is_file()
    for bad, says in ((['nowhere'], 'no folder'), ([str(room), '--only', 'x'], 'no check x'), ([], 'which folder')):
        assert main(['grade', *bad, '--nbs', str(nbs)]) == 2 and says in capsys.readouterr().err


def test_an_author_who_fails(nbs, tmp_path):
    "If the lesson itself breaks nobody is blamed, and the next run tries again"
    notebook(nbs/'07_parts.ipynb', '# Parts', SETUP, ANSWER, CHECK, '1 / 0', *SECOND)
    hand_in_ = notebook(tmp_path/'room'/'07_parts-a.ipynb', '# Parts', SETUP, HALF, CHECK, '1 / 0', THIRD, SECOND[1])
    found = mark_class(tmp_path/'room', nbs, limits=MarkLimits(60))
    assert [mark.state for mark in found] == ['right', 'not marked'] and not found[1].digest
    assert "author's own cell 5 fails: ZeroDivisionError" in found[1].message and hand_in_.is_file()


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
def test_ctrl_c_ends_everything(nbs, tmp_path):
    room = tmp_path/'room'
    hand_in(nbs, room/'07_parts-anna.ipynb', HALF)
    hand_in(nbs, room/'07_parts-zoe.ipynb', f'while True: pass\n{HALF}')
    words = [sys.executable, '-X', 'faulthandler', '-c', 'from lessonlib.command import main; import sys; sys.exit(main())',
             'grade', str(room), '--nbs', str(nbs)]
    (tmp_path/'t').mkdir()
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, 'TMPDIR': str(tmp_path/'t')})
    def ours():
        lines = [path.read_bytes() for path in Path('/proc').glob('[0-9]*/cmdline') if os.access(path, os.R_OK)]
        return [line for line in lines if b'_lesson_process' in line and str(tmp_path).encode() in line]
    try:
        lines = [run.stdout.readline() for _ in range(3)]      # two not tried, and anna
        assert sum(b'right' in line for line in lines) == 1, lines
        end = time.monotonic() + 30
        while len(ours()) < (3 if WALL == 'system' else 2) and time.monotonic() < end: time.sleep(.05)
        assert ours()
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    finally:
        run.send_signal(signal.SIGABRT)   # if it still runs, it says where
        print(*run.communicate())
    end = time.monotonic() + 10
    while ours() and time.monotonic() < end: time.sleep(.1)
    assert not ours() and not list((tmp_path/'t').iterdir())
    assert [mark.state for mark in load_marks(room/'marks.csv')] == ['right', 'not tried', 'not tried']


@pytest.mark.quick
def test_which_cells_are_the_answer(nbs, tmp_path):
    author = read_notebook(nbs/'07_parts.ipynb')
    def cell(source, name): return dict(id=name, cell_type='code', metadata={}, source=source, outputs=[])
    def answers(change): return find_answers(author, hand_in(nbs, tmp_path/'x.ipynb', 'return help(number)', change=change))
    first = answers(lambda cells: cells.insert(1, cell('import os\ndef help(n): return two(n)', 'a')) or cells.insert(
        1, cell('def two(n): return n', 'b')) or cells.insert(1, cell('junk = 1', 'c')))[0]
    assert first.own == ['def two(n): return n', 'import os\ndef help(n): return two(n)'] and 'help(number)' in first.source
    assert answers(lambda cells: cells.pop(2))[0].source is None
    for cells_of in (lambda cells: cells.pop(3), lambda cells: [one.pop('id') for one in cells]):
        got = answers(cells_of)
        assert 'help(number)' in got[0].source and got[1].source is None
    swapped = answers(lambda cells: cells.reverse())
    assert 'help(number)' in swapped[0].source
    stub = answers(lambda cells: cells[2].update(source='def half(number):\n    # YOUR CODE HERE\n    raise NotImplementedError()'))
    assert stub[0].source is None


@pytest.mark.quick
def test_whose_it_is(nbs, tmp_path):
    room, books = tmp_path/'room', {'07_parts': read_notebook(nbs/'07_parts.ipynb')}
    hand_in(nbs, room/'anna'/'deep'/'renamed.ipynb')
    hand_in(nbs, room/'07_parts (1) ben.ipynb')
    hand_in(nbs, room/'my_07_parts.ipynb', change=lambda cells: [one.pop('id') for one in cells])
    hand_in(nbs, room/'eve.ipynb', change=lambda cells: [one.pop('id') for one in cells])
    (room/'anna'/'.ipynb_checkpoints').mkdir()
    hand_in(nbs, room/'anna'/'.ipynb_checkpoints'/'renamed.ipynb')
    (room/'link.ipynb').symlink_to(room/'eve.ipynb')
    os.mkfifo(room/'pipe.ipynb')
    found = find_hand_ins(room, books)
    assert [(one.student, one.lesson) for one in found] == [
        ('(1) ben', '07_parts'), ('anna', '07_parts'), ('eve', '07_parts'), ('my', '07_parts')]
    hand_in(nbs, room/'other.ipynb', change=lambda cells: [one.pop('id') for one in cells] and cells.__delitem__(slice(0, 2)))
    assert [one.fault[:15] for one in find_hand_ins(room, books) if one.fault] == ['which lesson is']


@pytest.mark.quick
def test_table_is_safe_and_reads_again(tmp_path):
    rows = [Mark(name, 'a', 'b', 'hint', 2, message) for name in ('=1+1', '+1', '-1', '@x', "'q", 'ordinary', '\tt')
            for message in ('=cmd|x', 'two\nlines, "q"', '')]
    save_marks(rows, tmp_path/'marks.csv')
    assert load_marks(tmp_path/'marks.csv') == rows
    text = (tmp_path/'marks.csv').read_bytes().decode()
    assert not re.search(r'(^|[\n,])"?[=+\-@\t]', text)
    (tmp_path/'marks.csv').write_text('a,b\n1,2\n')
    with pytest.raises(CourseError, match='not a table of marks'): load_marks(tmp_path/'marks.csv')


@pytest.mark.quick
def test_pages_say_words_as_they_are():
    evil = '<img src=x onerror=alert(1)> $a$ $b$'
    rows = [Mark(evil, '07_parts', f'check_{state}', state, 1, evil, 'failed', f'note {evil}') for state in marks.STATES]
    for page in (class_page(rows, 'system'), student_page(rows, evil)):
        assert '<img' not in page and '&lt;img' in page and '<script' not in page and 'http' not in page
    assert 'note' not in student_page(rows, evil) and '0 students' in class_page([])


def test_further_checks_that_go_with_nothing(nbs, tmp_path):
    (tmp_path/'checks').mkdir()
    (tmp_path/'room').mkdir()
    for name, source, says in (('check_x', '', 'goes with no exercise'), ('check_half', 'assert (', 'was never closed')):
        (tmp_path/'checks'/f'{name}.py').write_text(source)
        with pytest.raises(CourseError, match=says): mark_class(tmp_path/'room', nbs, checks=tmp_path/'checks')
        (tmp_path/'checks'/f'{name}.py').unlink()
    with pytest.raises(CourseError, match='no folder'): mark_class(tmp_path/'room', nbs, checks=tmp_path/'none')


# ---- nbgrader

RULES = dict(schema_version=int, grade=bool, solution=bool, locked=bool, task=bool, grade_id=str)   # of schema 3


@pytest.mark.quick
def test_nbgrader_metadata_by_its_rules(root):
    "What nbgrader 0.9 asks of a cell's metadata: names, kinds, points where there is a grade, ids of their own"
    import nbformat
    for path in sorted((root/'nbs').glob('9*.ipynb')):
        book = nbgrader_edition(path)
        nbformat.validate(book)
        kept = [cell['metadata']['nbgrader'] for cell in book['cells'] if 'nbgrader' in cell['metadata']]
        assert len({one['grade_id'] for one in kept}) == len(kept)
        for one in kept:
            assert {name: type(one[name]) for name in RULES} == RULES and one['schema_version'] == 3
            assert re.fullmatch(r'[a-zA-Z0-9_-]+', one['grade_id']) and ('points' in one) == one['grade']
            assert one['grade'] != one['solution'] and one['locked'] == one['grade'] and not one['task']


def test_nbgrader_takes_it(nbs, tmp_path):
    "nbgrader's own validator and its step that makes the students' copy"
    pytest.importorskip('nbgrader', reason='nbgrader is not installed: its metadata is checked by its rules above')
    from nbgrader.nbgraderformat import MetadataValidatorV3
    import nbformat
    write_nbgrader(tmp_path/'course', nbs)
    book = nbformat.read(tmp_path/'course'/'source'/'07_parts'/'07_parts.ipynb', 4)
    MetadataValidatorV3().validate_nb(book)
