"A lesson as a learner meets it: the student edition in a real JupyterLab, run from top to bottom, a slider moved by mouse."
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'tests')]
from browser import browser_page, needs_chromium
from lab_server import open_notebook, running_lab

from lessonlib.command import write_lessons

LESSON = '01_sgd'

@pytest.fixture
def lab(tmp_path):
    "The address of a JupyterLab on a folder of student editions, and that folder"
    folder = tmp_path/'course'
    write_lessons(folder)
    with running_lab(folder/f'{LESSON}.ipynb', tmp_path) as address: yield address, folder

def idle(page, status, timeout): page.wait_for_selector(f'.jp-Notebook-ExecutionIndicator[data-status="{status}"]', state='attached', timeout=timeout * 1000)

@needs_chromium
@pytest.mark.xdist_group('lab')
def test_a_lesson_in_jupyterlab(lab):
    address, folder = lab
    with browser_page(1400, 1000) as page:
        open_notebook(page, address, f'{LESSON}.ipynb')
        page.get_by_role('menuitem', name='Run', exact=True).click()
        page.get_by_text('Run All Cells', exact=True).click()
        page.wait_for_selector('.widget-slider .noUi-handle', timeout=90_000, state='attached')
        idle(page, "idle", 240)

        # The slider is moved with the mouse: its reading and the picture change.
        output = page.locator('.jp-OutputArea-output:has(.widget-slider)').first
        handle, reading, picture = output.locator('.noUi-handle').first, output.locator('.widget-readout').first, output.locator('img').first
        handle.scroll_into_view_if_needed()
        picture.wait_for()
        before, said = picture.get_attribute('src'), reading.inner_text()
        assert len(before) > 5000
        place = handle.bounding_box()
        x, y = place['x'] + place['width'] / 2, place['y'] + place['height'] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 45, y, steps=6)
        page.mouse.up()
        page.wait_for_function('old => { const image = document.querySelector(".jp-OutputArea-output:has(.widget-slider) img"); '
                               'return image && image.src !== old }', arg=before, timeout=20_000)
        assert reading.inner_text() != said and picture.get_attribute('src') not in (before, '')

        # An exercise without an answer says so in a box with a hint, and the rest of the notebook has run all the same.
        answers = page.locator('.jp-OutputArea-output', has_text='Hint:')
        assert answers.count() >= 3 and 'Not yet: nothing here yet' in answers.first.inner_text()
        assert 'Traceback' not in answers.first.inner_text()
        page.keyboard.press('Control+s')
        page.wait_for_function('document.querySelector(".jp-mod-dirty") === null')
        book = json.loads((folder/f'{LESSON}.ipynb').read_text())
        code = [cell for cell in book['cells'] if cell['cell_type'] == 'code' and ''.join(cell['source']).strip()]
        assert all(cell['execution_count'] for cell in code), 'some cells were not run'
        failed = [output['ename'] for cell in code for output in cell['outputs'] if output['output_type'] == 'error']
        assert set(failed) == {'Unsolved'} and len(failed) >= 3
        assert page.watch.external == []
        assert page.get_by_text('Jupyter news').count() == 0, 'a learner is asked about news'
