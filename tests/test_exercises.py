"Every exercise accepts its solution and refuses the empty answer and the usual wrong ones."
import ast
import re
from pathlib import Path

import pytest

from lessonlib.course import exercises, read_notebook, replace_solution

ROOT = Path(__file__).resolve().parent.parent
STARRED = ('01_sgd', '05_mnist', '26_pets', '29_lr_finder', '31_transfer', '33_segmentation', '51_language_model', '52_text_classifier',
           '41_collab')


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
    assert regions == [exercise['answer'] for exercise in found], 'one region a cell, each followed by its check'
    for exercise in found:
        source = cells[exercise['answer']]['source']
        empty = replace_solution(source)
        assert 'SOLUTION' not in empty and empty != source
        ast.parse(empty)


def test_enough_wrong_answers(notebook_name):
    "At least two an exercise, and none for an exercise that does not exist."
    wrong = wrong_answers(notebook_name)
    checks = {exercise['check'] for exercise in exercises(ROOT/'nbs'/f'{notebook_name}.ipynb')}
    assert set(wrong) == checks, f'tests/wrong_answers/{notebook_name}.py must list exactly the exercises'
    for check, answers in wrong.items():
        assert len(set(answers)) >= 2, f'{check}: list two usual wrong answers or more'


def test_checks_tell_right_from_wrong(notebook_name, executed_notebook):
    "Read from the trial that follows each run: solution, empty answer, wrong answers."
    done = executed_notebook(notebook_name).report
    if not done.ok: pytest.skip('the notebook stopped; see test_notebook_runs')
    wrong = wrong_answers(notebook_name)
    expected = [exercise['check'] for exercise in exercises(ROOT/'nbs'/f'{notebook_name}.ipynb')]
    assert [told['check'] for told in done.exercises] == expected
    for told in done.exercises:
        name, answers = told['check'], wrong.get(told['check'], [])
        assert told['solution'] == 'accepted', f"{name}: the author's own solution is {told['solution']}"
        assert told['empty'] == 'refused', f'{name}: the empty answer is accepted'
        assert len(told['wrong']) == len(answers)
        for answer, outcome in zip(answers, told['wrong']):
            assert outcome == 'refused', f'{name}: this wrong answer is {outcome}:\n{answer}'


@pytest.mark.parametrize('name', [name for name in STARRED if (ROOT/'nbs'/f'{name}.ipynb').exists()])
def test_starred_lessons_have_enough(name):
    "Three exercises and eight questions with folded answers."
    cells = read_notebook(ROOT/'nbs'/f'{name}.ipynb')['cells']
    prose = '\n'.join(cell['source'] for cell in cells if cell['cell_type'] == 'markdown')
    folded = re.findall(r'<details>\s*<summary>Answer</summary>(.*?)</details>', prose, re.S)
    assert len(exercises(ROOT/'nbs'/f'{name}.ipynb')) >= 3
    assert len([answer for answer in folded if answer.strip()]) >= 8
