"""The wheel in an empty environment: with the oldest versions that settings.ini allows, or with the newest.

    python tests/helpers/versions.py oldest [lesson ...]
    python tests/helpers/versions.py newest
    python tests/helpers/versions.py extras

The first two install the wheel with its extras, run the tests that are quick and then the lessons that are named (without a name:
those the course is named for). `extras` installs what each extra asks for into a folder of its own, in front of a plain install of
the wheel, and imports what it promises; `newest` begins with that, since afterwards the install is no longer plain. Environments
are kept in `_build/versions` and used again while the wheel asks for the same.
"""
import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT/'_build'/'versions'
STARS = '01_sgd 05_mnist 26_pets 29_lr_finder 31_transfer 33_segmentation 41_collab 51_language_model 52_text_classifier'.split()
# Tests of the tools for developing, which the wheel does not bring.
TOOLS = ('test_sync test_site test_lab test_new test_readme test_command test_eyes test_slides test_edition '
         'test_containers').split()
# What somebody can do after `pip install lessonlib[extra]`, and not before.
PROMISES = dict(
    text='import tokenizers; from lessonlib.tokens import HFTokenizer',
    track='from torch.utils.tensorboard import SummaryWriter; from lessonlib.callbacks import TensorBoardCallback',
    serve='import starlette, uvicorn, onnx, onnxscript, onnxruntime; from lessonlib.serve import serve')


def settings() -> dict:
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return dict(config['DEFAULT'])


def lowest(requirements: list[str]) -> list[str]:
    "Each requirement at the oldest version that it allows; ValueError if one names none"
    found = {one: re.fullmatch(r'([\w.-]+)>=([\w.]+)(,<[\w.]+)?', one) for one in requirements}
    open_ended = [one for one, match in found.items() if match is None]
    if open_ended: raise ValueError(f'no oldest version is said for {", ".join(open_ended)}')
    return [f'{match[1]}=={match[2]}' for match in found.values()]


def call(*words, **kwargs) -> None:
    print('$', shlex.join(map(str, words)), flush=True)
    subprocess.run([*map(str, words)], check=True, **kwargs)


def wheel() -> Path:
    "Built from the repository as it is"
    folder = FOLDER/'wheel'
    for old in folder.glob('*.whl'): old.unlink()
    call(sys.executable, '-m', 'build', '--wheel', '--outdir', folder, ROOT, stdout=subprocess.DEVNULL)
    found, = folder.glob('*.whl')
    return found


def environment(kind: str, file: Path) -> Path:
    "The Python of an environment with the wheel in it"
    config = settings()
    asked = config['requirements'] + ' ' + ' '.join(config[f'{extra}_requirements'] for extra in PROMISES) * (kind == 'oldest')
    limits = lowest(shlex.split(asked)) if kind == 'oldest' else []
    place, python = FOLDER/kind, FOLDER/kind/'bin'/'python'
    mark, key = place/'made-from', hashlib.sha256(repr((limits, asked)).encode()).hexdigest()
    if not python.exists(): call(sys.executable, '-m', 'venv', place)
    pip = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    (place/'limits.txt').write_text('\n'.join(limits) + '\n')
    if not mark.exists() or mark.read_text() != key:
        wanted = f'{file}[{",".join(PROMISES)}]' if kind == 'oldest' else file
        call(*pip, '-c', place/'limits.txt', wanted, 'pytest>=8', 'pytest-xdist>=3.6', 'hypothesis>=6.100')
        mark.write_text(key)
    call(*pip, '--force-reinstall', '--no-deps', file)
    return python


def run_there(python: Path, words: list[str], **more) -> None:
    "A program of the environment, which does not see the repository's own package"
    call(python.parent/words[0], *words[1:], cwd=ROOT, env={**{name: value for name, value in os.environ.items()
         if name != 'PYTHONPATH'}, 'LESSONLIB_DATA': 'practice', 'LESSONLIB_HOME': str(ROOT/'_build'/'home'), **more})


def try_versions(kind: str, lessons: list[str]) -> None:
    python = environment(kind, wheel())
    run_there(python, ['pip', 'list', '--disable-pip-version-check'])
    run_there(python, ['lessonlib', 'doctor'])
    if kind == 'newest':
        try_extras(python)
        asked = shlex.split(' '.join(settings()[f'{name}_requirements'] for name in PROMISES))
        call(python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *asked)
    left_out = [word for name in TOOLS for word in ('--ignore', f'tests/{name}.py')]
    run_there(python, ['pytest', '-q', '-m', 'quick', '-p', 'no:cacheprovider', *left_out])
    run_there(python, ['lessonlib', 'run', '--jobs', '2', *lessons])


def try_extras(python: Path) -> None:
    config = settings()
    extras = sorted(name.removesuffix('_requirements') for name in config if name.endswith('_requirements'))
    assert extras == sorted([*PROMISES, 'dev']), f'no promise is written down for one of {extras}'
    for name, promise in PROMISES.items():
        before = subprocess.run([python, '-c', promise], capture_output=True, text=True)
        place = FOLDER/f'extra-{name}'
        call(python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--upgrade', '--target', place,
             *shlex.split(config[f'{name}_requirements']))
        call(python, '-c', promise, env={**os.environ, 'PYTHONPATH': str(place)})
        print(f'{name}: works with its extra, and without it '
              + ('it works, too' if before.returncode == 0 else before.stderr.strip().splitlines()[-1]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=('oldest', 'newest', 'extras'))
    parser.add_argument('lessons', nargs='*', default=STARS)
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.kind == 'extras': try_extras(environment('newest', wheel()))
    else: try_versions(args.kind, args.lessons or STARS)


if __name__ == '__main__': main()
