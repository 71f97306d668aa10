"""Scripts as people of the field write them run as files, one as a notebook too: only their import
lines are ours."""
import json
import os
import re
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from lessonlib.course import describe_error, read_notebook, run_notebook
from lessonlib.drawn_pets import make_pets

SCRIPT, TABLES = (Path(__file__).parent/'helpers'/name for name in ('field_script.py',
                                                                    'field_tables.py'))
BREEDS = ['Siamese', 'Bengal', 'Sphynx', 'pug', 'samoyed', 'beagle']


@pytest.fixture(scope='module')
def mirror(tmp_path_factory):
    """A mirror whose pets archive holds drawn pets: the script's `untar_data` really fetches,
    checks and unpacks it."""
    folder = tmp_path_factory.mktemp('mirror')
    drawn = make_pets(folder/'drawn'/'oxford-iiit-pet', number=16, names=BREEDS, mistakes=0)
    with tarfile.open(folder/'oxford-iiit-pet.tgz', 'w:gz') as archive:
        archive.add(drawn, 'oxford-iiit-pet')
    digest = sha256((folder/'oxford-iiit-pet.tgz').read_bytes()).hexdigest()
    (folder/'SHA256SUMS').write_text(f'{digest}  oxford-iiit-pet.tgz\n')
    return folder


def errors_of(text):
    "The two error rates in the script's last line"
    return [float(x) for x in re.search(r'error ([\d.]+) cats or dogs ([\d.]+)', text).groups()]


@pytest.mark.parametrize('script', [SCRIPT, TABLES], ids=lambda script: script.stem)
def test_only_the_import_is_ours(script):
    lines = script.read_text().splitlines()
    assert [line for line in lines if 'import' in line] == ['from lessonlib.all import *'] and 'lessonlib' not in '\n'.join(lines[1:])


@pytest.mark.xdist_group('field_script')
def test_runs_as_a_file(mirror, tmp_path):
    env = {**os.environ, 'LESSONLIB_MIRROR': str(mirror), 'LESSONLIB_HOME': str(tmp_path/'home'),
           'MPLBACKEND': 'Agg'}
    done = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, env=env, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    breeds, cats = errors_of(done.stdout)
    assert breeds <= .25 and cats <= .25, done.stdout   # guessing: .83 and .5


@pytest.mark.xdist_group('field_script')
def test_runs_in_a_notebook(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv('LESSONLIB_MIRROR', str(mirror))
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    cells = [dict(cell_type='code', id=f'cell-{i}', metadata={}, execution_count=None, outputs=[],
                  source=part)
             for i, part in enumerate(SCRIPT.read_text().split('\n\n'))]
    book = tmp_path/'script.ipynb'
    book.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    report = run_notebook(book, out=tmp_path/'done.ipynb', folder=tmp_path, paper=False)
    assert report.ok, describe_error(report)
    outputs = [output for cell in read_notebook(tmp_path/'done.ipynb')['cells'] for output in cell.get('outputs', [])]
    printed = ''.join(''.join(output.get('text', '')) for output in outputs)
    breeds, cats = errors_of(printed)
    assert breeds <= .25 and cats <= .25
    assert sum('image/png' in output.get('data',
                                         {}) for output in outputs) >= 5, 'the pictures were not shown'


@pytest.mark.xdist_group('field_script')
def test_tables_run_as_a_file(tmp_path):
    """Ratings and a census; the practice data of both, whose mean and whose largest class give 1.04
    and .76"""
    done = subprocess.run([sys.executable, str(TABLES)], cwd=tmp_path, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    error, right, rows, train, valid = re.search(r'ratings ([\d.]+) salary ([\d.]+) rows (\d+) (\d+) (\d+)', done.stdout).groups()
    assert float(error) < .7 and float(right) > .78, done.stdout
    assert (int(rows), int(train), int(valid)) == (10_000, 8_000, 2_000)
