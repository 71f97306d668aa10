"The data cleaner driven by mouse in a real JupyterLab: decisions survive a change of class and a restart of the kernel."
import json
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'tests')]
from browser import browser_page, needs_chromium
from lab_server import open_notebook, running_lab

FIRST = '''import os
from pathlib import Path
from lessonlib.cleaner import ImageClassifierCleaner
files = sorted(Path('animals').glob('*/*.png'))
cleaner = ImageClassifierCleaner((files, [file.parent.name for file in files], [int(file.stem) for file in files]))
print('kernel', os.getpid())
cleaner'''

@pytest.fixture
def lab(tmp_path):
    "The address of a JupyterLab on a folder with pictures and a notebook of two cells, and that folder"
    folder = tmp_path/'course'
    for i in range(6):
        place = folder/'animals'/('cat', 'dog')[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (60, 40), (40 * i, 90, 200 - 30 * i)).save(place/f'{i}.png')
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FIRST), nbformat.v4.new_code_cell('cleaner.apply()')])
    book.metadata.kernelspec = dict(name='python3', display_name='Python 3 (ipykernel)')
    nbformat.write(book, folder/'clean.ipynb')
    with running_lab(folder/'clean.ipynb', tmp_path) as address: yield address, folder

def run_cell(page, number):
    "Runs one cell"
    page.locator('.jp-Notebook .jp-CodeCell .jp-InputPrompt').nth(number).click()
    page.keyboard.press('Control+Enter')

def card(page, name):
    "The menu under the picture of that name"
    return page.locator(f'.cleaner-card:has(img[alt="{name}"]) select')

def chosen(page, name, words):
    "Waits until the menu under that picture says so (it is drawn a moment before its value is set)"
    page.wait_for_function("""([name, words]) => [...document.querySelectorAll('.cleaner-card')].some(card =>
        card.querySelector('img')?.alt === name && card.querySelector('select')?.selectedOptions[0]?.textContent.replace('\u00a0', ' ').trim() === words)""",
        arg=[name, words], timeout=10_000)

def kernel(page): return page.locator('.jp-OutputArea-output', has_text='kernel').first.inner_text().strip()

def say(page, words): page.locator('.cleaner', has_text=words).wait_for(timeout=20_000)

@needs_chromium
@pytest.mark.xdist_group('lab')
def test_cleaning_in_jupyterlab(lab):
    address, folder = lab
    file = folder/'animals.decisions.json'
    decided = lambda: {name: (row['do'], row['label']) for name, row in json.loads(file.read_text())['decisions'].items()}
    with browser_page(1400, 1000) as page:
        open_notebook(page, address, 'clean.ipynb')
        run_cell(page, 0)
        page.locator('.cleaner-card').nth(5).wait_for(timeout=60_000)
        label = page.locator('.cleaner select').nth(1)

        # The pictures are there, highest loss first, and can be seen.
        shown = page.locator('.cleaner-card img')
        assert [shown.nth(i).get_attribute('alt') for i in range(6)] == [f'{i}.png' for i in (5, 4, 3, 2, 1, 0)]
        assert shown.first.evaluate('image => image.complete && image.naturalWidth > 0')

        # A decision, written down at once; another class and back: it is still there.
        card(page, '4.png').select_option(label='delete')
        say(page, '1 to delete')
        assert decided() == {'cat/4.png': ('delete', None)}
        label.select_option(label='dog')
        page.wait_for_function("document.querySelectorAll('.cleaner-card').length === 3")
        assert card(page, '4.png').count() == 0
        card(page, '5.png').select_option(label='→ cat')
        say(page, '1 to relabel')
        label.select_option(label='cat')
        card(page, '4.png').wait_for()
        chosen(page, '4.png', 'delete')
        chosen(page, '2.png', '(undecided)')
        assert decided() == {'cat/4.png': ('delete', None), 'dog/5.png': ('relabel', 'cat')}

        # A new kernel: what was decided is still there, and can be undone.
        page.get_by_role('menuitem', name='Kernel', exact=True).click()
        page.get_by_text('Restart Kernel…', exact=True).click()
        before = kernel(page)
        page.get_by_role('button', name='Confirm Kernel Restart').click()
        page.get_by_role('dialog').wait_for(state='detached')
        page.get_by_text('Python 3 (ipykernel) | Idle').wait_for(timeout=60_000)
        run_cell(page, 0)
        page.wait_for_function("old => { const said = document.body.innerText.match(/kernel \\d+/); return said && said[0] !== old }", arg=before, timeout=60_000)
        card(page, '5.png').wait_for(timeout=60_000)
        chosen(page, '5.png', '→ cat')
        chosen(page, '4.png', 'delete')
        page.get_by_role('button', name='Undo').click()
        say(page, 'undone: 5.png')
        chosen(page, '5.png', '(undecided)')
        assert decided() == {'cat/4.png': ('delete', None)}
        card(page, '1.png').select_option(label='→ cat')
        say(page, '1 to relabel')
        assert len(list((folder/'animals').rglob('*.png'))) == 6 and not (folder/'.animals.bin').exists()

        # Applied: one file in the bin, one in the other folder, and both gone from the view.
        run_cell(page, 1)
        page.locator('.jp-OutputArea-output', has_text='2 moved').wait_for(timeout=30_000)
        card(page, '4.png').wait_for(state='detached')
        assert (folder/'.animals.bin'/'cat'/'4.png').is_file() and not (folder/'animals'/'cat'/'4.png').exists()
        assert (folder/'animals'/'cat'/'1.png').is_file() and not (folder/'animals'/'dog'/'1.png').exists()
        assert page.locator('.cleaner-card').count() == 4 and decided() == {}
        assert page.watch.external == []
