"Every exercise accepts its solution and refuses the empty answer and the usual wrong ones."
import ast
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from lessonlib.course import about, exercises, lessons, read_notebook, replace_solution

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))
from convert import check_of

ENOUGH = dict(lesson=(3, 8), workshop=(1, 0), appendix=(0, 0))  # exercises, questions with answers


def wrong_answers(name):
    "WRONG of tests/wrong_answers/NAME.py; empty if there is no such file."
    path, names = ROOT/'tests'/'wrong_answers'/f'{name}.py', {}
    if path.exists(): exec(compile(path.read_text(), str(path), 'exec'), names)
    return names.get('WRONG', {})


def test_exercises_are_well_formed(notebook_name):
    "Each solution region has its check, and what is left without the solution is still Python."
    cells = read_notebook(ROOT/'nbs'/f'{notebook_name}.ipynb')['cells']
    found = exercises(ROOT/'nbs'/f'{notebook_name}.ipynb')
    regions = [index for index, cell in enumerate(cells) if cell['cell_type'] == 'code'
               for _ in re.findall(r'^[ \t]*### BEGIN SOLUTION', cell['source'], re.M)]
    assert regions == [exercise['answer'] for exercise in found], \
        'one region a cell, each followed by its check'
    for exercise in found:
        source = cells[exercise['answer']]['source']
        empty = replace_solution(source)
        assert 'SOLUTION' not in empty and empty != source
        ast.parse(empty)


def test_enough_wrong_answers(notebook_name):
    "At least two an exercise, and none for an exercise that does not exist."
    wrong = wrong_answers(notebook_name)
    checks = {exercise['check'] for exercise in exercises(ROOT/'nbs'/f'{notebook_name}.ipynb')}
    file = f'tests/wrong_answers/{notebook_name}.py'
    assert set(wrong) == checks, f'{file} must list exactly the exercises'
    for check, answers in wrong.items():
        assert len(set(answers)) >= 2, f'{check}: list two usual wrong answers or more'


def hints_of(notebook_name):
    "Check -> its hints"
    path = ROOT/'nbs'/f'{notebook_name}.ipynb'
    cells = read_notebook(path)['cells']
    return {found['check']: check_of(cells[found['checker']]['source'])[0]
            for found in exercises(path)}


def test_checks_tell_right_from_wrong(notebook_name, executed_notebook):
    """Read from the trial that follows each run: solution, empty answer, wrong answers and their
    hints."""
    done = executed_notebook(notebook_name).report
    if not done.ok: pytest.skip('the notebook stopped; see test_notebook_runs')
    wrong, hints = wrong_answers(notebook_name), hints_of(notebook_name)
    assert [trial['check'] for trial in done.exercises] == list(hints)
    for trial in done.exercises:
        name, answers = trial['check'], wrong.get(trial['check'], [])
        solution = trial['solution']
        assert solution == 'accepted', f"{name}: the author's own solution is {solution}"
        assert trial['empty'] == 'refused', f'{name}: the empty answer is accepted'
        assert len(trial['wrong']) == len(answers)
        for answer, outcome in zip(answers, trial['wrong']):
            assert outcome == 'refused', f'{name}: this wrong answer is {outcome}:\n{answer}'
        in_a_row = [min(number, len(hints[name]) - 1) for number in range(len(answers))]
        assert trial['hints'] == in_a_row, f'{name}: hints {trial["hints"]} came, not {in_a_row}'


def test_there_is_enough_to_do(notebook_name):
    "Exercises, and questions with folded answers, as the track of the notebook asks."
    path = ROOT/'nbs'/f'{notebook_name}.ipynb'
    if notebook_name == 'index': return
    cells = read_notebook(path)['cells']
    prose = '\n'.join(cell['source'] for cell in cells if cell['cell_type'] == 'markdown')
    folded = re.findall(r'<details>\s*<summary>Answer</summary>(.*?)</details>', prose, re.S)
    tasks, questions = ENOUGH[about(path).track]
    assert len(exercises(path)) >= tasks
    assert len([answer for answer in folded if answer.strip()]) >= questions


def test_every_check_has_a_name_of_its_own():
    "The hints of a check are counted by its name."
    names = Counter(found['check'] for path in lessons(ROOT/'nbs') for found in exercises(path))
    assert not [name for name, count in names.items() if count > 1]
