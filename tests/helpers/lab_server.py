"""A real JupyterLab for the browser tests: on a folder of their own, with settings of its own, gone
when they are done."""
import json
import os
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from lessonlib.command import lab_command, lab_environment

ROOT = Path(__file__).resolve().parents[2]
OPEN_TO_ALL = ['--allow-root', '--IdentityProvider.token=', '--ServerApp.password=',
               '--ServerApp.disable_check_xsrf=True', '--ServerApp.port_retries=0']
OWN_FOLDERS = {'JUPYTER_CONFIG_DIR': 'config', 'JUPYTER_DATA_DIR': 'data',
               'JUPYTER_RUNTIME_DIR': 'runtime', 'IPYTHONDIR': 'ipython',
               'JUPYTERLAB_SETTINGS_DIR': 'settings', 'JUPYTERLAB_WORKSPACES_DIR': 'workspaces'}

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

@contextmanager
def running_lab(notebook, own):
    """The address of a JupyterLab on the folder of a notebook; its settings and its log are kept in
    the folder `own`"""
    log, port = own/'lab.log', free_port()
    # Every cell stays in the page, also when it is scrolled away, so that a test can look at all of
    # them.
    settings = own/'settings'/'@jupyterlab'/'notebook-extension'/'tracker.jupyterlab-settings'
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({'windowingMode': 'none'}))
    environment = {**lab_environment(notebook.parent),
                   **{name: str(own/place) for name, place in OWN_FOLDERS.items()},
                   'PYTHONPATH': str(ROOT)}
    for name in ('MPLBACKEND', 'LESSONLIB_PAPER'): environment.pop(name, None)
    with log.open('w') as output:
        server = subprocess.Popen([*lab_command(notebook, browser=False, port=port), *OPEN_TO_ALL],
                                  env=environment,
                                  cwd=notebook.parent, stdout=output, stderr=subprocess.STDOUT,
                                  start_new_session=True)
    try:
        wait_until_up(server, f'http://127.0.0.1:{port}/api/status', log)
        yield f'http://127.0.0.1:{port}'
    finally:
        # it stops its kernels, which have process groups of their own
        server.send_signal(signal.SIGTERM)
        try: server.wait(20)
        except subprocess.TimeoutExpired: pass
        try: os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError: pass

def open_notebook(page, address, name):
    "Opens a notebook and waits for its kernel: before that, Run would ask for one"
    page.goto(f'{address}/lab/tree/{name}?reset', wait_until='load')
    page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
    page.get_by_text('Python 3 (ipykernel) | Idle').wait_for(timeout=60_000)
