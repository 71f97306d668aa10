"""The recipes for a container, without building one: they parse, and what they call is there."""
import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES = [line for line in re.sub(r'\\\n', ' ', (ROOT/'Containerfile').read_text()).splitlines() if line.strip() and line[0] != '#']
STEPS = [tuple(line.split(maxsplit=1)) for line in LINES]
DEVCONTAINER = json.loads((ROOT/'.devcontainer'/'devcontainer.json').read_text())


def targets():
    "What make can make here"
    text = (ROOT/'Makefile').read_text()
    names = set(re.findall(r'^([\w-]+):', text, re.M)) | {'.venv/.ready'}
    assert 'READY := .venv/.ready' in text and '$(READY): ' in text
    return names


def made(text):
    "The targets that a command line makes"
    return [word for part in re.split(r'&&|;|\|\|?', text) for words in [shlex.split(part)]
            if words and words[0] == 'make' for word in words[1:] if word[0] != '-']


def test_the_containerfile_is_a_recipe():
    names = [name for name, _ in STEPS]
    assert names[0] == 'FROM' and names.count('CMD') == 1 and names[-1] == 'CMD'
    assert set(names) <= {'FROM', 'RUN', 'WORKDIR', 'COPY', 'EXPOSE', 'CMD'}
    assert names.index('COPY') < next(i for i, (name, rest) in enumerate(STEPS) if name == 'RUN' and made(rest))
    for name, rest in STEPS:
        if name == 'RUN': shlex.split(rest)


def test_what_it_calls_is_there():
    called = [target for name, rest in STEPS if name == 'RUN' for target in made(rest)]
    command = json.loads(STEPS[-1][1])
    assert called == ['.venv/.ready'] and command == ['make', 'lab']
    assert set(called) | set(command[1:]) | set(made(DEVCONTAINER['postCreateCommand'])) <= targets()


def test_its_commands_are_those_of_readme():
    readme = (ROOT/'README.md').read_text()
    head = '\n'.join(line for line in (ROOT/'Containerfile').read_text().splitlines() if line.startswith('#'))
    for command in ('make lab', 'make test'): assert re.search(rf'^{command}$', readme, re.M) and command in head


def test_jupyters_settings_are_json():
    text = next(rest for name, rest in STEPS if name == 'RUN' and 'jupyter_server_config' in rest)
    settings = json.loads(re.search(r"echo '(.*?)'", text)[1])
    from jupyter_server.serverapp import ServerApp
    assert set(settings['ServerApp']) <= set(ServerApp.class_trait_names())


def test_pythons_are_ones_that_the_project_takes():
    least = re.search(r'^min_python = 3\.(\d+)', (ROOT/'settings.ini').read_text(), re.M)[1]
    for image in (STEPS[0][1], DEVCONTAINER['image']): assert int(re.search(r'python:3\.(\d+)', image)[1]) >= int(least)


def test_nothing_that_was_built_goes_in():
    ignored = (ROOT/'.dockerignore').read_text().split()
    for line in (ROOT/'.gitignore').read_text().split():
        if line.rstrip('/') in ('.venv', '_docs', '_slides', '_build', 'build', 'dist', 'my_course'): assert line.rstrip('/') in ignored


@pytest.mark.parametrize('text, found', [('make a && make b', ['a', 'b']), ('apt-get install make', []), ('make -s x', ['x'])])
def test_the_reader_of_commands(text, found): assert made(text) == found
