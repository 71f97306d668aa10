"A lesson as a learner meets it: the student edition in a real JupyterLab, run from top to bottom, a slider moved by mouse."
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'tests')]
from browser import browser_page, needs_chromium

from lessonlib.course import lab_command, lab_environment, write_lessons

LESSON = '01_sgd'
OPEN_TO_ALL = ['--allow-root', '--IdentityProvider.token=', '--ServerApp.password=', '--ServerApp.disable_check_xsrf=True', '--ServerApp.port_retries=0']

def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]

def wait_until_up(server, url, log, tries=300):
    for _ in range(tries):
        if server.poll() is not None: break
        try: return urllib.request.urlopen(url, timeout=2).read()
        except OSError:
            try: server.wait(.2)
            except subprocess.TimeoutExpired: pass
    pytest.fail(f'JupyterLab did not start:\n{log.read_text()[-3000:]}', pytrace=False)

@pytest.fixture
def lab(tmp_path):
    "The address of a JupyterLab on a folder of student editions, and that folder"
    folder, log, port = tmp_path/'course', tmp_path/'lab.log', free_port()
    write_lessons(folder)
    # Every cell stays in the page, also when it is scrolled away, so that the test can look at all of them.
    settings = tmp_path/'settings'/'@jupyterlab'/'notebook-extension'/'tracker.jupyterlab-settings'
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({'windowingMode': 'none'}))
    mine = {'JUPYTER_CONFIG_DIR': 'config', 'JUPYTER_DATA_DIR': 'data', 'JUPYTER_RUNTIME_DIR': 'runtime', 'IPYTHONDIR': 'ipython',
            'JUPYTERLAB_SETTINGS_DIR': 'settings', 'JUPYTERLAB_WORKSPACES_DIR': 'workspaces'}
    environment = {**lab_environment(folder), **{name: str(tmp_path/place) for name, place in mine.items()}, 'PYTHONPATH': str(ROOT)}
    for name in ('MPLBACKEND', 'LESSONLIB_PAPER'): environment.pop(name, None)
    with log.open('w') as output:
        server = subprocess.Popen([*lab_command(folder/f'{LESSON}.ipynb', browser=False, port=port), *OPEN_TO_ALL], env=environment,
                                  cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_up(server, f'http://127.0.0.1:{port}/api/status', log)
        yield f'http://127.0.0.1:{port}', folder
    finally:
        server.send_signal(signal.SIGTERM)   # it stops its kernels, which have process groups of their own
        try: server.wait(20)
        except subprocess.TimeoutExpired: pass
        try: os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError: pass

def idle(page, status, timeout): page.wait_for_selector(f'.jp-Notebook-ExecutionIndicator[data-status="{status}"]', state='attached', timeout=timeout * 1000)

@needs_chromium
@pytest.mark.xdist_group('lab')
def test_a_lesson_in_jupyterlab(lab):
    address, folder = lab
    with browser_page(1400, 1000) as page:
        page.goto(f'{address}/lab/tree/{LESSON}.ipynb?reset', wait_until='load')
        page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
        page.get_by_text('Python 3 (ipykernel) | Idle').wait_for(timeout=60_000)   # before that, Run would ask for a kernel
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
