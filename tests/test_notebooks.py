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


def test_student_edition_runs_live(notebook_name, root, tmp_path):
    """What a learner opens: Run All reaches the end, sliders and all, and only unsolved exercises
    answer with an error."""
    edition = tmp_path/f'{notebook_name}.ipynb'
    edition.write_text(json.dumps(student_edition(root/'nbs'/f'{notebook_name}.ipynb')))
    report = run_notebook(edition, out=tmp_path/'done.ipynb', folder=tmp_path, paper=False)
    if not report.ok: pytest.fail(describe_error(report), pytrace=False)
    errors = [output['ename'] for cell in read_notebook(tmp_path/'done.ipynb')['cells']
              for output in cell.get('outputs', []) if output['output_type'] == 'error']
    assert errors == ['Unsolved'] * len(exercises(root/'nbs'/f'{notebook_name}.ipynb'))
