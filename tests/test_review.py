"Progress and spaced questions: boxes, days, records that may be anything, and what a learner's notebook notes."
import json
import multiprocessing
import os
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings, strategies as st

from lessonlib import command, core, review
from lessonlib.course import CourseError, lessons, _kernel_environment
from lessonlib.review import (answer_card, ask_questions, due, due_today, my_record, next_box, note_place, note_right,
                              Question, questions, read_record, Record, record_file, where_you_are, write_record)

ROOT = Path(__file__).resolve().parent.parent
TODAY = date(2026, 3, 2)
CHECK = 'check_box_after'  # an exercise of the course


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "A record of one's own"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    return tmp_path/'home'


# ---------------------------------------------------------------- questions

def test_every_folded_answer_of_the_course_is_a_question_with_a_name_of_its_own():
    found = [question for path in lessons(ROOT/'nbs') for question in questions(path)]
    folds = sum(cell['source'].count('<details><summary>Answer</summary>')
                for path in lessons(ROOT/'nbs')
                for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == 'markdown'
                for cell in [dict(cell, source=''.join(cell['source']))])
    assert len(found) == folds > 300
    assert len({question.name for question in found}) == len(found)
    assert all(question.text and question.answer and '<details' not in question.answer for question in found)


@given(st.text('ab \n', min_size=1), st.text('ab \n', min_size=1))
def test_a_name_forgets_spaces_alone(one, other):
    names = [Question('01_a', text, '').name for text in (one, other)]
    assert (names[0] == names[1]) == (one.split() == other.split())
    assert Question('01_b', one, '').name != names[0]


# ---------------------------------------------------------------- boxes and days

@given(st.lists(st.booleans(), max_size=30))
def test_a_card_comes_back_after_the_days_of_its_box_and_never_earlier(answers):
    question, record, day = Question('01_a', 'q', 'a'), Record(reached={'01_a': '2026-01-01'}), TODAY
    for knew in answers:
        assert due(record, [question], day) == [question]
        answer_card(record, question.name, knew, day)
        rest = 2 ** (record.cards[question.name]['box'] - 1)
        assert rest == 1 or knew
        assert not any(due(record, [question], day + timedelta(n)) for n in range(rest))
        day += timedelta(rest)
    assert due(record, [question], day) == [question]
    assert record.cards.get(question.name, dict(times=0))['times'] == len(answers)


def test_what_waits_longest_comes_first_and_a_clock_that_was_wrong_hides_nothing():
    asked = [Question('01_a', word, '') for word in 'abcd']
    record = Record(reached={'01_a': '2026-01-01'})
    for question, ago in zip(asked, (2, 5, None, -3000)):
        if ago is not None: answer_card(record, question.name, False, TODAY - timedelta(ago))
    assert [question.text for question in due(record, asked, TODAY)] == ['b', 'a', 'd', 'c']
    record.cards[asked[3].name]['last'] = '9999-12-31'
    assert asked[3] in due(record, asked, TODAY)


# ---------------------------------------------------------------- records

DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 9)).map(date.isoformat)
CARDS = st.fixed_dictionaries(dict(box=st.integers(1, 5), last=DAYS, times=st.integers(1, 3)))
def tables(keys, values): return st.dictionaries(st.sampled_from(keys), values)
RECORDS = st.builds(Record, tables(['check_a', 'check_b'], DAYS), tables(['01_a#0123abcd', '02_b#0123abce'], CARDS),
                    tables(['01_a', '02_b'], DAYS),
                    st.just({}) | st.fixed_dictionaries(dict(lesson=st.sampled_from(['01_a', '02_b']), when=DAYS)))


@given(RECORDS, RECORDS, RECORDS)
def test_records_may_be_merged_in_any_order_and_twice(a, b, c):
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a and a.merge(b).merge(b) == a.merge(b)
    assert a.merge(Record()) == a


@settings(max_examples=20)
@given(RECORDS)
def test_a_record_comes_back_as_it_was_written(record):
    write_record(record, record_file())
    assert read_record(record_file()) == record


@pytest.mark.parametrize('text, fault', [
    ('', 'no version 1'), ('[' * 100_000, 'no version 1'), ('null', 'no version 1'), ('{"version": 2}', 'no version 1'),
    ('{"version": 1, "right": []}', 'no table'), ('{"version": 1, "right": {"check_a": 3}}', '3 is no day'),
    ('{"version": 1, "right": {"check_a": "2026-02-30"}}', "'2026-02-30' is no day"),
    ('{"version": 1, "right": {"a b": "2026-02-03"}}', "'a b' is no name"),
    ('{"version": 1, "cards": {"a": 3}}', 'box, last and times'),
    ('{"version": 1, "cards": {"a": {"box": 6, "last": "2026-02-03", "times": 1}}}', 'no box 6'),
    ('{"version": 1, "cards": {"a": {"box": true, "last": "2026-02-03", "times": 1}}}', 'no box True'),
    ('{"version": 1, "cards": {"a": {"box": 1, "last": "20260203", "times": 1}}}', "'20260203' is no day"),
    ('{"version": 1, "cards": {"a": {"box": 1, "last": "2026-02-03", "times": 0}}}', 'never asked'),
    ('{"version": 1, "place": {"lesson": "01_a"}}', 'lesson and when'),
    ('{"version": 1, "place": {"lesson": "<b>", "when": ""}}', 'no name')])
def test_what_is_no_record_is_refused_and_left_alone(text, fault, home):
    home.mkdir()
    record_file().write_text(text)
    for action in (my_record, lambda: note_place('01_sgd'), lambda: note_right(CHECK)):
        with pytest.raises(CourseError, match=fault): action()
    assert record_file().read_text() == text


def test_a_file_that_is_no_text_is_refused(home):
    home.mkdir()
    record_file().write_bytes(b'\xff\xfe\x00')
    with pytest.raises(CourseError, match='no version 1'): my_record()
    with pytest.raises(CourseError, match='cannot be read'): read_record(home)


def _reach(numbers):
    for number in numbers: note_place(f'{number:02}_x', datetime(2026, 3, 2))


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs os.fork')
def test_two_notebooks_at_once_lose_nothing(capfd):
    workers = [multiprocessing.get_context('fork').Process(target=_reach, args=(range(start, 40, 2),)) for start in (0, 1)]
    for worker in workers: worker.start()
    for worker in workers: worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(my_record().reached) == 40


# ---------------------------------------------------------------- the command

def typing(monkeypatch, *words):
    "Somebody who types these words, then goes away"
    left = iter(words)
    def one(prompt=''):
        word = next(left, None)
        if word is None: raise EOFError
        return word
    monkeypatch.setitem(ask_questions.__globals__, 'input', one)
    monkeypatch.setattr(ask_questions, '__defaults__', (one, *ask_questions.__defaults__[1:]))


def test_review_in_the_terminal(monkeypatch, capsys):
    assert command.main(['review']) == 0
    assert 'Nothing is due' in capsys.readouterr().out
    typing(monkeypatch, '', 'y', '', 'what?', 'N', '')  # and leaves before saying whether the third was known
    assert command.main(['review', 'sgd']) == 0
    shown = capsys.readouterr().out
    asked = questions(ROOT/'nbs'/'01_sgd.ipynb')
    assert asked[1].answer in shown and '1 of 11 known' in shown
    assert {name: card['box'] for name, card in my_record().cards.items()} == {asked[0].name: 1, asked[1].name: 1}
    assert asked[2] == due_today()[0]
    assert command.main(['progress']) == 0
    shown = capsys.readouterr().out
    assert '2 of 11' in shown and '05_mnist' not in shown and '9 to answer today' in shown
    assert command.main(['progress', '--all']) == 0 and '05_mnist' in capsys.readouterr().out


def test_export_and_import_merge(tmp_path, monkeypatch, capsys):
    note_right(CHECK, datetime(2026, 3, 2))
    assert command.main(['progress', '--export', str(tmp_path/'a.json')]) == 0
    record_file().unlink()
    note_right('check_review_load', datetime(2026, 3, 5))
    assert command.main(['progress', '--import', str(tmp_path/'a.json')]) == 0
    assert set(my_record().right) == {CHECK, 'check_review_load'}
    assert my_record().place['when'].startswith('2026-03-05')
    assert '2 of 2' in capsys.readouterr().out
    assert command.main(['progress', '--import', str(tmp_path/'none.json')]) == 2
    assert 'cannot be read' in capsys.readouterr().err


def test_a_home_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'file'/'home'))
    assert command.main(['review', '01_sgd']) == 2
    assert 'Set LESSONLIB_HOME' in capsys.readouterr().err


# ---------------------------------------------------------------- a learner's notebook

class Live:
    "What IPython is in a kernel"
    @staticmethod
    def get_ipython(): return object()


def solve(name=CHECK):
    def check(answer): "so it is"; assert answer
    check.__name__ = name
    core.exercise('a hint')(check)(True)


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setitem(sys.modules, 'IPython', Live)
    for name in ('CI', 'LESSONLIB_PAPER'): monkeypatch.delenv(name, raising=False)
    core._tries.pop('', None)


def test_a_right_answer_in_a_live_notebook_is_kept(live, capsys):
    solve()
    assert list(my_record().right) == [CHECK] and my_record().place['lesson'] == '92_review'
    assert '(1 of 2 here, 1 of ' in capsys.readouterr().out
    solve('check_of_my_own')
    assert list(my_record().right) == [CHECK] and '(' not in capsys.readouterr().out


@pytest.mark.parametrize('change', [lambda m: m.setenv('LESSONLIB_PAPER', ''), lambda m: m.setenv('CI', 'true'),
                                    lambda m: m.delitem(sys.modules, 'IPython')])
def test_nothing_is_kept_when_nobody_learns(live, change, monkeypatch, home, capsys):
    change(monkeypatch)
    solve()
    assert not home.exists() and capsys.readouterr().out == 'Right: so it is\n'


def test_the_course_run_by_itself_says_so_to_its_kernels(tmp_path):
    for paper in (True, False): assert 'LESSONLIB_PAPER' in _kernel_environment(tmp_path, paper)


def test_a_record_that_cannot_be_kept_costs_one_sentence(live, tmp_path, monkeypatch, capsys):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'file'))
    for _ in range(3): solve()
    shown = capsys.readouterr().out
    assert shown.count('could not be kept') == 1 and shown.count('Right') == 3


def test_a_wrong_answer_is_not_kept(live):
    def check_box_after(answer): assert answer
    with pytest.raises(core.Unsolved): core.exercise('a hint')(check_box_after)(False)
    assert my_record() == Record()


def test_a_real_kernel_notes_the_exercise(tmp_path, monkeypatch, home):
    "The student's cell with an answer in it, run as JupyterLab would run it"
    from nbclient import NotebookClient
    source = ('from lessonlib.core import exercise\n@exercise("h")\ndef check_box_after(f):\n    "ok"\n    assert f() == 1\n'
              'check_box_after(lambda: 1)')
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    for name in ('CI', 'LESSONLIB_PAPER'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    NotebookClient(book, timeout=120).execute(cwd=str(tmp_path))
    assert ''.join(output.text for output in book.cells[0].outputs).startswith('Right: ok\n(1 of 2 here')
    assert list(my_record().right) == [CHECK]


def test_the_strip_shows_words_as_words():
    note_right(CHECK, datetime(2026, 3, 2))
    strip = where_you_are(today=TODAY)._repr_html_()
    assert 'value="1"' in strip and '92_review' in strip and '3 to answer today' in strip
    assert '<b>' not in where_you_are(Record(place=dict(lesson='<b>', when='')))._repr_html_()
