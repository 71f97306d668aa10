"""Runs a lesson on real data, where a mirror of it is named in LESSONLIB_TEST_MIRROR; all other tests run on practice data."""
import os
from pathlib import Path

import pytest

MIRROR = os.environ.get('LESSONLIB_TEST_MIRROR')
needs_mirror = pytest.mark.skipif(not MIRROR, reason='LESSONLIB_TEST_MIRROR names no mirror of real data')


def printed_on_real_data(notebook, archives, folder, monkeypatch) -> str:
    "What the lesson prints when it runs unchanged on the real data of these archives; it must not fail"
    from lessonlib.course import describe_error, read_notebook, run_notebook
    for archive in archives:
        if '://' not in MIRROR and not (Path(MIRROR)/archive).exists(): pytest.skip(f'no {archive} in {MIRROR}')
    for name, value in dict(DATA='real', MIRROR=MIRROR, HOME=str(folder/'home')).items():
        monkeypatch.setenv(f'LESSONLIB_{name}', value)
    report = run_notebook(notebook, out=folder/'run.ipynb', folder=folder)
    assert report.ok, describe_error(report)
    return ''.join(''.join(output.get('text', '')) for cell in read_notebook(folder/'run.ipynb')['cells']
                   for output in cell.get('outputs', []))
