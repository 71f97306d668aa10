"Every notebook of the course runs from its first cell to its last, in a fresh process of its own."
import json

import pytest

from lessonlib.course import describe_error, directives, exercises, read_notebook, run_notebook
from lessonlib.command import student_edition


def test_notebook_runs(notebook_name, executed_notebook):
    report = executed_notebook(notebook_name).report
    if not report.ok: pytest.fail(describe_error(report), pytrace=False)
    assert len(report.cell_seconds) == report.cells, 'some cells were not reached'


def test_every_code_cell_was_run(notebook_name, executed_notebook):
    done = executed_notebook(notebook_name)
    if not done.report.ok: pytest.skip('the notebook stopped; see test_notebook_runs')
    for index, cell in enumerate(done.book['cells']):
        if cell['cell_type'] != 'code' or not cell['source'].strip(): continue
        shown_only = directives(cell['source']).get('eval') == 'false'
        not_run = cell['execution_count'] is None
        assert not_run == shown_only, f'cell {index + 1}: {cell["source"][:80]}'
        errors = [output['ename'] for output in cell['outputs'] if output['output_type'] == 'error']
        assert not errors, f'cell {index + 1} shows {errors}'


def test_figures_have_alt_text(notebook_name, executed_notebook):
    "Every picture says in words what it shows."
    silent = []
    for index, cell in enumerate(executed_notebook(notebook_name).book['cells']):
        for output in cell.get('outputs', []):
            picture = 'image/png' in output.get('data', {})
            if picture and not output['metadata'].get('alt'): silent.append(index + 1)
    assert not silent, f'pictures without a title, so without alt text, in cells {silent}'


def test_nothing_needs_a_solution(notebook_name, executed_notebook):
    """In each run the cells after an exercise go on from the learner's empty answer, which the check
    refuses as `Unsolved`; and pictures that move on the page also move with sliders."""
    done = executed_notebook(notebook_name).report
    if not done.ok: pytest.skip('the notebook stopped; see test_notebook_runs')
    assert {trial['check']: trial['left'] for trial in done.exercises if trial['left'] != 'refused'} == {}
    assert done.live == []


# One with sliders, and those whose student edition leaves out cells or shows widgets.
@pytest.mark.parametrize('name', ['index', '01_sgd', '22_images', '65_serve'])
def test_student_edition_runs_live(name, root, tmp_path):
    """What a learner opens: Run All reaches the end, sliders and all, and only unsolved exercises
    answer with an error."""
    edition, source = tmp_path/f'{name}.ipynb', root/'nbs'/f'{name}.ipynb'
    edition.write_text(json.dumps(student_edition(source)))
    report = run_notebook(edition, out=tmp_path/'done.ipynb', folder=tmp_path, paper=False)
    if not report.ok: pytest.fail(describe_error(report), pytrace=False)
    errors = [output['ename'] for cell in read_notebook(tmp_path/'done.ipynb')['cells']
              for output in cell.get('outputs', []) if output['output_type'] == 'error']
    assert errors == ['Unsolved'] * len(exercises(source))
