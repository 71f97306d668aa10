"Version, changes and citation say the same; every requirement has an oldest version that can be tried."
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'/'helpers'))
from versions import lowest, PROMISES, settings, STARS, TOOLS  # noqa: E402


def test_one_version_everywhere():
    import lessonlib
    version = settings()['version']
    assert lessonlib.__version__ == version
    assert re.search(r'^version: (.+)$', (ROOT/'CITATION.cff').read_text('utf-8'), re.M)[1] == version
    newest = re.search(r'^## (\S+)', (ROOT/'CHANGELOG.md').read_text('utf-8'), re.M)[1]
    assert newest == version


def test_the_citation_is_complete():
    "What the format (version 1.2) asks for; nothing in it is invented"
    fields = dict(re.findall(r'^([\w-]+): *(.*)$', (ROOT/'CITATION.cff').read_text('utf-8'), re.M))
    assert fields['cff-version'] == '1.2.0' and {'message', 'title', 'authors'} <= set(fields)
    assert fields['license'] == 'Apache-2.0' and 'doi' not in fields and 'url' not in fields


def test_every_requirement_has_an_oldest_version():
    config = settings()
    limits = dict(limit.split('==') for limit in lowest(shlex.split(config['requirements'])))
    assert limits['torch'] == '2.8' and len(limits) > 15
    for extra in PROMISES: assert lowest(shlex.split(config[f'{extra}_requirements']))
    with pytest.raises(ValueError, match='no oldest version is said for numpy'): lowest(['numpy', 'torch>=2.8'])


def test_every_extra_has_a_promise_and_every_name_exists():
    extras = {name.removesuffix('_requirements') for name in settings() if name.endswith('_requirements')}
    assert extras == {*PROMISES, 'dev'}
    for name in STARS: assert (ROOT/'nbs'/f'{name}.ipynb').is_file(), name
    for name in TOOLS: assert (ROOT/'tests'/f'{name}.py').is_file(), name
