"A lesson as a learner meets it: the student edition in a real JupyterLab, run from top to bottom."
import json

import pytest

from helpers.browser import browser_page, needs_chromium
from helpers.lab_server import open_notebook, running_lab

from lessonlib.command import write_lessons
from lessonlib.course import exercises, notebooks_folder

LESSON = '01_sgd'
MOVED = ('old => { const image = document.querySelector('
         '".jp-OutputArea-output:has(.widget-slider) img"); return image && image.src !== old }')


@pytest.fixture
def lab(tmp_path, monkeypatch):
    "The address of a JupyterLab on a folder of student editions, and that folder"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))   # a record of its own
    folder = tmp_path/'course'
    write_lessons(folder)
    with running_lab(folder/f'{LESSON}.ipynb', tmp_path) as address: yield address, folder


def wait_until_idle(page, seconds):
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state='attached',
                           timeout=seconds * 1000)


def move_a_slider(page):
    "With the mouse: its reading and the picture change."
    output = page.locator('.jp-OutputArea-output:has(.widget-slider)').first
    handle, reading = output.locator('.noUi-handle').first, output.locator('.widget-readout').first
    picture = output.locator('img').first
    handle.scroll_into_view_if_needed()
    picture.wait_for()
    before, number = picture.get_attribute('src'), reading.inner_text()
    assert len(before) > 5000
    place = handle.bounding_box()
    x, y = place['x'] + place['width'] / 2, place['y'] + place['height'] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 45, y, steps=6)
    page.mouse.up()
    page.wait_for_function(MOVED, arg=before, timeout=20_000)
    assert reading.inner_text() != number and picture.get_attribute('src') not in (before, '')


def choose_a_prediction(page):
    "A question is asked; what came out appears when one has chosen."
    question = page.locator('.jp-OutputArea-output', has_text='Predict first.').first
    question.scroll_into_view_if_needed()
    before = question.inner_text()
    assert 'It is:' not in before and 'As you said:' not in before
    question.locator('button').first.click()
    page.wait_for_function('old => [...document.querySelectorAll(".jp-OutputArea-output")].some('
                           'one => /It is:|As you said:/.test(one.innerText))', arg=before,
                           timeout=20_000)


@needs_chromium
@pytest.mark.xdist_group('lab')
def test_a_lesson_in_jupyterlab(lab):
    address, folder = lab
    with browser_page(1400, 1000) as page:
        open_notebook(page, address, f'{LESSON}.ipynb')
        page.get_by_role('menuitem', name='Run', exact=True).click()
        page.get_by_text('Run All Cells', exact=True).click()
        page.wait_for_selector('.widget-slider .noUi-handle', timeout=90_000, state='attached')
        wait_until_idle(page, 240)
        move_a_slider(page)
        choose_a_prediction(page)

        # An exercise without an answer says so, its hints stay out of sight, and the rest has run
        # all the same.
        answers = page.locator('.jp-OutputArea-output', has_text='Nothing here yet')
        assert answers.count() >= 3 and 'Traceback' not in answers.first.inner_text()
        assert page.locator('.jp-Cell:has-text("@exercise(") .jp-InputArea-editor:visible').count() == 0
        page.keyboard.press('Control+s')
        page.wait_for_function('document.querySelector(".jp-mod-dirty") === null')
        book = json.loads((folder/f'{LESSON}.ipynb').read_text())
        code = [cell for cell in book['cells']
                if cell['cell_type'] == 'code' and ''.join(cell['source']).strip()]
        assert all(cell['execution_count'] for cell in code), 'some cells were not run'
        failed = [output['ename'] for cell in code for output in cell['outputs']
                  if output['output_type'] == 'error']
        assert set(failed) == {'Unsolved'} and len(failed) >= 3
        assert page.watch.external == []
        assert page.get_by_text('Jupyter news').count() == 0, 'a learner is asked about news'


@needs_chromium
@pytest.mark.xdist_group('lab')
def test_a_strip_above_a_lesson(lab, tmp_path):
    "What is right here and in all, what is due, and the way back; a notebook of one's own has none."
    from lessonlib.review import note_place, note_right
    address, folder = lab
    mine = json.loads((folder/f'{LESSON}.ipynb').read_text())
    checks = [found['check'] for found in exercises(notebooks_folder()/f'{LESSON}.ipynb')]
    mine['cells'] = [dict(mine['cells'][0], cell_type='markdown', source='# Shopping')]
    (folder/'mine.ipynb').write_text(json.dumps(mine))
    strip = '.jp-NotebookPanel:not(.lm-mod-hidden) .lessonlib-strip'

    def says(page, *words):
        page.wait_for_function("""([strip, words]) => { const node = document.querySelector(strip)
          return node && !node.hidden && words.every(one => node.innerText.replace(/\\s+/g, ' ').includes(one)) }""",
                               arg=[strip, words], timeout=30_000)

    def run_a_cell(page):
        page.locator('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell').first.click()
        page.keyboard.press('Shift+Enter')

    with browser_page(1400, 1000) as page:
        open_notebook(page, address, f'{LESSON}.ipynb')
        says(page, f'Exercises here 0 of {len(checks)}', 'in all 0 of', 'Questions 0 of')
        note_right(checks[0])
        run_a_cell(page)
        says(page, f'Exercises here 1 of {len(checks)}', 'in all 1 of', 'questions to answer today: lessonlib.review.review()')
        assert 'Last in' not in page.locator(strip).inner_text()
        record = tmp_path/'home'/'progress.json'
        kept = record.read_text()
        record.write_text(kept[:20])   # half a file: no strip, and nothing else
        run_a_cell(page)
        page.wait_for_function('strip => document.querySelector(strip).hidden', arg=strip, timeout=30_000)
        record.write_text(kept)
        note_place('02_files')
        run_a_cell(page)
        says(page, 'Last in 02_files')
        page.locator(strip).get_by_role('button', name='02_files').press('Enter')
        page.get_by_role('tab', name='02_files.ipynb').wait_for(timeout=30_000)
        says(page, 'Exercises here 0 of', 'in all 1 of')
        open_notebook(page, address, 'mine.ipynb')
        page.wait_for_selector(strip, state='attached')
        page.wait_for_timeout(1000)
        assert not page.locator(strip).is_visible()
        assert page.watch.external == []
