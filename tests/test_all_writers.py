"""Whatever the package writes is there as it was or as it shall be, never half.

The writers are found by listing: every function in whose text something is written must be run by one of
the cases below, and every practice set is one. A new writer fails here until it has a case.
"""
import ast
import errno
import json
import multiprocessing
import os
import signal
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable
from unittest import mock

import nbformat
import pytest
import torch

from helpers.archives import entry, forks, tar_bytes
from helpers.data_server import DataServer
from helpers.listing import calls_in, functions, noting
from helpers.notebooks import ANSWER, CHECK, notebook
from lessonlib.callbacks import CSVLogger
from lessonlib.checkpoint import read_tensors, write_tensors
from lessonlib.cleaner import _move, Decisions
from lessonlib.command import lab_environment, write_lessons
from lessonlib.course import _line_colours, _note_key, _write_executed, RunReport
from lessonlib.datasets import _all_sets, _record, _save_record, competition_data, mirror_data, untar_data
from lessonlib.field import _resize, download_url
from lessonlib.files import atomic_path, DatasetError, DiskFull, download, new_folder, parse_sums, sha256_of
from lessonlib.marks import Mark, save_marks, write_nbgrader, write_pages
from lessonlib.production import _write_onnx
from lessonlib.review import read_record, Record, write_record
from lessonlib.segmentation import save_mask
from lessonlib.shards import write_shards
from lessonlib.tokens import Numericalize

pytestmark = forks
LARGE = 'x' * 9000


@dataclass
class Case:
    "How something is written, and what is there: 'old', 'new', or what else it finds"
    old: Callable  # folder -> None: what is there before
    write: Callable  # folder -> None
    look: Callable  # folder -> 'old' or 'new'
    limit: int | None = 500  # bytes a file may have on the full disk; None: it needs no room


CASES = {}


def case(name, **more):
    "A decorator of a class with old, write and look"
    def add(kind): CASES[name] = Case(kind.old, kind.write, kind.look, **more)
    return add


def nothing(folder): pass


@case('atomic_path')
class _:
    def old(folder): (folder/'a.txt').write_text('old')
    def write(folder):
        with atomic_path(folder/'a.txt') as part: part.write_text(LARGE)
    def look(folder): return {'old': 'old', LARGE: 'new'}.get((folder/'a.txt').read_text(), 'half')


@case('new_folder')
class _:
    old = nothing
    def write(folder):
        with new_folder(folder/'new') as work:
            for name in 'ab': (work/name).write_text(LARGE)
    def look(folder):
        if not (folder/'new').exists(): return 'old'
        return 'new' if [(folder/'new'/name).read_text() for name in 'ab'] == [LARGE] * 2 else 'half'


@case('tensors')
class _:
    def old(folder): write_tensors(folder/'m.safetensors', {'a': torch.zeros(3000)}, {})
    def write(folder): write_tensors(folder/'m.safetensors', {'a': torch.ones(3000)}, {})
    def look(folder): return ['old', 'new'][int(read_tensors(folder/'m.safetensors')[0]['a'].mean())]


def some_marks(message): return [Mark('anna', '07_parts', 'check_half', 'right', message=message)]


@case('marks')
class _:
    def old(folder): save_marks(some_marks('old'), folder/'marks.csv')
    def write(folder): save_marks(some_marks(LARGE), folder/'marks.csv')
    def look(folder):
        text = (folder/'marks.csv').read_text()
        return 'new' if LARGE in text else 'old' if 'old' in text and text.endswith('\n') else 'half'


@case('pages of marks')
class _:
    def old(folder): write_pages(some_marks('old'), folder)
    def write(folder): write_pages(some_marks(LARGE), folder)
    def look(folder):
        whole = [path.read_text() for path in (folder/'marks.html', folder/'reports'/'anna.html')]
        if not all(text.endswith('</html>\n') for text in whole): return 'half'
        return 'new' if all(LARGE in text for text in whole) else 'old'


@case('lessons for nbgrader')
class _:
    def old(folder): notebook(folder/'nbs'/'07_parts.ipynb', '# Parts', ANSWER, CHECK, f'# {LARGE}')
    def write(folder): write_nbgrader(folder/'course', folder/'nbs')
    def look(folder):
        made = folder/'course'/'source'/'07_parts'/'07_parts.ipynb'
        return 'old' if not made.exists() else 'new' if LARGE in made.read_text() else 'half'


def onnx_graph(name):
    import onnx
    value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
    made = onnx.helper.make_graph([onnx.helper.make_node('Identity', [name], ['out'])], name, [value],
                                  [onnx.helper.make_tensor_value_info('out', onnx.TensorProto.FLOAT, [1])], doc_string=LARGE)
    return onnx.helper.make_model(made)


@case('shards')
class _:
    old = nothing
    def write(folder): write_shards([{'txt': LARGE}] * 3, folder/'shards', per_shard=2)
    def look(folder):
        if not (folder/'shards').exists(): return 'old'
        files = sorted((folder/'shards').iterdir())
        return 'new' if [len(tarfile.open(file).getnames()) for file in files] == [2, 1] else 'half'


@case('a graph in ONNX')
class _:
    def old(folder): _write_onnx(onnx_graph('old'), folder/'m.onnx', None)
    def write(folder): _write_onnx(onnx_graph('new'), folder/'m.onnx', ['a'])
    def look(folder):
        import onnx
        return onnx.load(folder/'m.onnx').graph.name


@case('a vocabulary')
class _:
    def old(folder): Numericalize(['xxunk', 'xxpad', 'old']).save(folder/'vocab.json')
    def write(folder): Numericalize(['xxunk', 'xxpad', LARGE]).save(folder/'vocab.json')
    def look(folder): return {'old': 'old', LARGE: 'new'}[Numericalize.load(folder/'vocab.json').vocab[2]]


@case('decisions', limit=5000)
class _:
    def old(folder):
        (folder/'cats').mkdir()
        for name in 'ab': (folder/'cats'/f'{name}.jpg').write_text(name * 9)
        Decisions(folder/'cats', place=None).delete('a.jpg')
    def write(folder): Decisions(folder/'cats', place=None).delete('b.jpg')
    def look(folder):
        names = {path.stem for path, _ in Decisions(folder/'cats', place=None).items()}
        return {1: 'old', 2: 'new'}[len(names)] if 'a' in names else 'lost'


@case('decisions put aside', limit=None)
class _:
    old = CASES['decisions'].old
    def write(folder): Decisions(folder/'cats', place=None, fresh=True)
    def look(folder): return 'old' if len(Decisions(folder/'cats', place=None)) else 'new'


@case('a picture moves to another disk')
class _:
    def old(folder): (folder/'a.jpg').write_text(LARGE)
    def write(folder):
        with mock.patch.object(os, 'rename', side_effect=OSError(errno.EXDEV, 'another disk')):
            if (folder/'a.jpg').exists() and (folder/'b.jpg').exists(): (folder/'b.jpg').unlink()
            _move(folder/'a.jpg', folder/'b.jpg')
    def look(folder):
        there = [name for name in 'ab' if (folder/f'{name}.jpg').exists()]
        whole = all((folder/f'{name}.jpg').read_text() == LARGE for name in there)
        return ('new' if there == ['b'] else 'old') if there and whole else 'half'


def book(text):
    return dict(cells=[dict(cell_type='markdown', metadata={}, id='a', source=f'# {text}')],
                metadata={}, nbformat=4, nbformat_minor=5)


@case('lessons of a learner')
class _:
    def old(folder):
        (folder/'nbs').mkdir()
        (folder/'nbs'/'01_a.ipynb').write_text(json.dumps(book('old')))
        write_lessons(folder/'mine', folder/'nbs')
        (folder/'nbs'/'01_a.ipynb').write_text(json.dumps(book(LARGE)))
    def write(folder): write_lessons(folder/'mine', folder/'nbs')
    def look(folder):
        text = json.loads((folder/'mine'/'01_a.ipynb').read_text())['cells'][0]['source']
        return {'# old': 'old', f'# {LARGE}': 'new'}[''.join(text)]


@case('settings of JupyterLab', limit=5)
class _:
    old = nothing
    def write(folder): lab_environment(folder)
    def look(folder):
        file = folder/'.jupyter'/'labconfig'/'default_setting_overrides.json'
        return 'new' if file.exists() and json.loads(file.read_text()) else 'old'


@case("matplotlib's colours of lines", limit=5)
class _:
    old = nothing
    def write(folder): _line_colours(folder)
    def look(folder): return 'new' if (folder/'matplotlibrc').exists() and (folder/'matplotlibrc').read_text() else 'old'


@case('a record of progress')
class _:
    def old(folder): write_record(Record(reached={'01_old': '2026-03-01'}), folder/'progress.json')
    def write(folder): write_record(Record(reached={f'{n}_{"x" * 70}': '2026-03-01' for n in range(99)}), folder/'progress.json')
    def look(folder): return 'old' if '01_old' in read_record(folder/'progress.json').reached else 'new'


@case('an executed copy')
class _:
    def old(folder): _write_executed(nbformat.from_dict(book('old')), RunReport('a'), folder/'a.ipynb')
    def write(folder): _write_executed(nbformat.from_dict(book(LARGE)), RunReport('a'), folder/'a.ipynb')
    def look(folder): return 'old' if '# old' in nbformat.read(folder/'a.ipynb', 4).cells[0].source else 'new'


@case('the key of an executed copy')
class _:
    old = CASES['an executed copy'].old
    def write(folder): _note_key(folder/'a.ipynb', LARGE)
    def look(folder): return 'new' if nbformat.read(folder/'a.ipynb', 4).metadata.lessonlib['key'] else 'old'


@case('a record')
class _:
    def old(folder): _save_record('pets', a='1')
    def write(folder): _save_record('pets', b=LARGE)
    def look(folder): return {('a',): 'old', ('a', 'b'): 'new'}.get(tuple(sorted(_record('pets'))), 'lost')


def archive(folder, text):
    (folder/'set.tgz').write_bytes(tar_bytes([('set/a.txt', text.encode()), ('set/b.txt', text.encode()),
                                              entry('set/c.txt', b'2', 'a.txt')]))
    return (folder/'set.tgz').as_uri()


@case('a mirror', limit=50)
class _:
    def old(folder):
        mirror_data(folder/'mirror', [archive(folder, 'old')])
        archive(folder, LARGE)
    def write(folder): mirror_data(folder/'mirror', [(folder/'set.tgz').as_uri()])
    def look(folder):
        listed = parse_sums((folder/'mirror'/'SHA256SUMS').read_text()).get('set.tgz')
        there = sha256_of(folder/'mirror'/'set.tgz')
        if listed not in (None, there): return 'half'
        return 'new' if listed == sha256_of(folder/'set.tgz') else 'old'


@case('a data set')
class _:
    def old(folder):
        untar_data(archive(folder, 'old'))
        archive(folder, LARGE)
    def write(folder): untar_data((folder/'set.tgz').as_uri(), force_download=True)
    def look(folder):
        there = untar_data((folder/'set.tgz').as_uri(), network=False)
        texts = {(there/name).read_text() for name in ('a.txt', 'b.txt', 'c.txt')}
        return {'old': 'old', LARGE: 'new'}[texts.pop()] if len(texts) == 1 else 'half'


@case('a download')
class _:
    old = nothing
    def write(folder): download((folder/'address').read_text(), folder/'got')
    def look(folder):
        if not (folder/'got').exists(): return 'old'
        return 'new' if (folder/'got').read_bytes() == LARGE.encode() else 'half'


@case('the table of a fit')
class _:
    def old(folder): (folder/'log.csv').write_text('old')
    def write(folder):
        log = CSVLogger('log.csv')
        log.learn = SimpleNamespace(path=folder, recorder=SimpleNamespace(names=[LARGE], values=[[1.]], seconds=[2.]))
        log.before_fit()
        log.after_epoch()
    def look(folder): return {'old': 'old', f'epoch,{LARGE},time\n0,1.0,2.0\n': 'new'}.get((folder/'log.csv').read_text(), 'half')


@case('a file from the network')
class _:
    old = nothing
    def write(folder): download_url((folder/'address').read_text(), folder/'got', show_progress=False)
    look = CASES['a download'].look


@case('a competition')
class _:
    def old(folder):                                                  # downloaded by hand
        archive = Path(os.environ['LESSONLIB_HOME'])/'archives'/'kaggle-petals.zip'
        archive.parent.mkdir(parents=True)
        with zipfile.ZipFile(archive, 'w') as made: made.writestr('a.txt', LARGE)
    def write(folder): competition_data('petals')
    def look(folder):
        here = Path(os.environ['LESSONLIB_HOME'])/'data'/'kaggle-petals'
        return 'old' if not here.exists() else 'new' if (here/'a.txt').read_text() == LARGE else 'half'


@case('a smaller picture')
class _:
    def old(folder):
        from PIL import Image
        for name, size in (('in', 300), ('out', 64)):
            (folder/name).mkdir()
            Image.effect_noise((size, size), 90).convert('RGB').save(folder/name/'a.png')
    def write(folder): _resize(folder/'in'/'a.png', folder/'out'/'a.png', 200, 'RGB', None, 2, {})    # in threads of resize_images
    def look(folder):
        from PIL import Image
        with Image.open(folder/'out'/'a.png') as picture:
            picture.load()
            return {64: 'old', 200: 'new'}[picture.width]


@case('a mask')
class _:
    def old(folder): save_mask(torch.zeros(64, 64, dtype=torch.uint8), folder/'m.png')
    def write(folder): save_mask(torch.arange(90_000).reshape(300, 300).mul(7919) % 251, folder/'m.png')
    def look(folder):
        from PIL import Image
        with Image.open(folder/'m.png') as picture:
            picture.load()
            return {64: 'old', 300: 'new'}[picture.width]


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder, with a cache in it, and a server"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    for name in ('LESSONLIB_MIRROR', 'LESSONLIB_DATA'): monkeypatch.delenv(name, raising=False)
    with DataServer() as shop:
        shop.files['a.txt'] = LARGE.encode()
        (tmp_path/'work').mkdir()
        (tmp_path/'work'/'address').write_text(shop.address('a.txt'))
        yield tmp_path/'work'


def child(work):
    "What comes of `work` in a process of its own: its exit code"
    def run():
        with open(os.devnull, 'w') as quiet: os.dup2(quiet.fileno(), 1), os.dup2(quiet.fileno(), 2)
        try: work()
        except DiskFull: os._exit(7)
        except (OSError, DatasetError): os._exit(3)
        except BaseException: os._exit(1)
        os._exit(0)
    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def done(process):
    process.join(60)
    assert process.exitcode is not None, 'it waits for ever'
    return process.exitcode


STEPS = 'open', 'os.rename', 'os.mkdir', 'os.remove', 'os.rmdir', 'shutil.copyfile', 'sqlite3.connect'


def killed_at(step, work, folder):
    "Runs `work` in a process that is killed at this step of its writing; its exit code"
    def run():
        left = [step]
        def watch(event, args):
            if event not in STEPS or not args: return
            if event == 'open' and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)): return
            if not str(args[0]).startswith(str(folder)): return
            left[0] -= 1
            if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        work()
    return done(child(run))


def content(folder):
    "Files, without locks and what SQLite keeps"
    return {path for path in folder.parent.rglob('*')
            if path.is_file() and not path.name.endswith(('.lock', '.bak', '-journal'))}


@pytest.mark.parametrize('name', CASES)
def test_killed_anywhere(name, place):
    it, step = CASES[name], 0
    it.old(place)
    while True:
        step += 1
        code = killed_at(step, lambda: it.write(place), place.parent)
        assert it.look(place) in ('old', 'new'), f'killed at step {step}'
        if code != -signal.SIGKILL or it.look(place) == 'new' or step == 40: break
    if it.look(place) == 'old': it.write(place)                  # the dead are in nobody's way
    assert it.look(place) == 'new' and step > 1


@pytest.mark.parametrize('name', [name for name in CASES if CASES[name].limit])
def test_full_disk(name, place):
    it = CASES[name]
    it.old(place)
    before = content(place)
    def work():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (it.limit, it.limit))
        it.write(place)
    assert done(child(work)) == 7, 'DiskFull was expected'
    assert it.look(place) == 'old' and content(place) <= before
    it.write(place)
    assert it.look(place) == 'new'


@pytest.mark.parametrize('name', CASES)
def test_two_at_once(name, place):
    it, start = CASES[name], multiprocessing.get_context('fork').Barrier(2)
    it.old(place)
    def work():
        start.wait(30)
        it.write(place)
    both = [child(work) for _ in range(2)]
    codes = sorted(map(done, both))
    assert codes[0] == 0 and codes[1] in (0, 3)                  # done, or a sentence of our own
    assert it.look(place) == 'new' or name == 'decisions put aside'


@pytest.mark.parametrize('name', sorted(_all_sets()))
def test_practice_sets(name, tmp_path):
    "Killed, or without room, while they are drawn: there is no folder, and what was begun does not count"
    kit, goal = _all_sets()[name], tmp_path/'set'
    assert killed_at(3, lambda: kit.make(goal), tmp_path) == -signal.SIGKILL and not goal.exists()
    def work():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        kit.make(tmp_path/'other')
    assert done(child(work)) == 7
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith('.set.')]

# ---- found by listing

# into a buffer; and what practice sets alone use, inside their new folder
# into memory, a folder that goes, or to the system
EXEMPT = {'cleaner._card_text', 'course._peak_memory', 'files._save_jpeg', 'marks._confine',
          'marks._leave_system', 'processes._as_script', 'serve._data_uri'}
ALWAYS = {'write_text', 'write_bytes', 'save_file', 'to_csv', 'to_parquet', 'savetxt', 'copyfile', 'copy2',
          'copytree', 'touch', 'atomic_path', 'new_folder', 'savez', 'tofile', 'writestr'}


def writes(call):
    "Is this a call that writes a file or gives one its name?"
    words = ast.unparse(call.func)
    name = words.rpartition('.')[2]
    if name in ALWAYS or name == '_save_jpeg' or words in ('os.replace', 'os.rename', 'os.link', 'shutil.move', 'sqlite3.connect', 'torch.save',
                                   'np.save', 'json.dump', 'pickle.dump'): return True
    if name == 'rename': return len(call.args) == 1 and not call.keywords and '.' in words
    if name == 'save': return bool(call.args) and not words.startswith(('self.learn', 'learn', 'self.save'))
    if name != 'open' or words == 'Image.open': return False
    mode = [*call.args[1:2], *(key.value for key in call.keywords if key.arg == 'mode')]
    return any(isinstance(m, ast.Constant) and set(str(m.value)) & set('wax+') for m in mode)


def writers():
    "Every function of the package in whose text something is written, but the makers of practice sets"
    for name, node in functions():
        inside = {call for other in ast.walk(node) if other is not node and isinstance(other, ast.FunctionDef)
                  for call in calls_in(other)}
        if any(ast.unparse(mark).startswith('practice_set(') for mark in node.decorator_list): continue
        if any(writes(call) for call in calls_in(node) if call not in inside): yield name


def test_every_writer_is_tried(tmp_path_factory, monkeypatch):
    run = set()
    with DataServer() as shop:
        shop.files['a.txt'] = LARGE.encode()
        for number, it in enumerate(CASES.values()):
            folder = tmp_path_factory.mktemp(f'case{number}')
            monkeypatch.setenv('LESSONLIB_HOME', str(folder/'home'))
            (folder/'address').write_text(shop.address('a.txt'))
            it.old(folder)
            with noting(run): it.write(folder)
            assert it.look(folder) == 'new'
    missing = set(writers()) - run - EXEMPT
    assert not missing, f'these write files, and no case above runs them: {sorted(missing)}'
    assert len(run & set(writers())) > 15
