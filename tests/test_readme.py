"""README.md is the home page as it runs, and what it promises exists."""
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'docs'))


@pytest.mark.xdist_group('index')
def test_readme_is_what_the_index_says(executed_notebook):
    from sync import readme
    text, pictures = readme(executed_notebook('index').book)
    assert (ROOT/'README.md').read_text(encoding='utf-8') == text, 'run `make sync`'
    assert pictures and all((ROOT/path).is_file() for path in pictures), 'run `make sync`'


def test_links_and_pictures_of_the_readme_exist():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    assert '](CONTRIBUTING.md)' in text and '](nbs/../' not in text
    targets = re.findall(r'\]\((?!https?:|#)([^)]+)\)', text)
    assert targets and all((ROOT/target).exists() for target in targets), targets
    for name in re.findall(r'(?:`|^)make ([\w-]+)', text, re.M):
        assert re.search(rf'^{name}:', (ROOT/'Makefile').read_text(),
                         re.M), f'README promises make {name}'


def test_every_lesson_is_on_the_map():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    for notebook in ROOT.glob('nbs/*.ipynb'):
        if notebook.stem == 'index': continue
        assert f'](nbs/{notebook.name})' in text, f'{notebook.name} is not on the map'
