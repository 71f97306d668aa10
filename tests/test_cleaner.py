"Decisions and the cleaner against crashes, collisions and bad files; the cleaner driven by mouse in a real JupyterLab."
import collections
import errno
import itertools
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

from lessonlib import cleaner as module
from lessonlib.batches import DataLoaders
from lessonlib.cleaner import Decision, Decisions, ImageClassifierCleaner
from lessonlib.core import get_rng_state
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.learner import Learner

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'tests')]
from helpers.animals import animal_learner, animals  # noqa: F401  (animals is a fixture)
from helpers.browser import browser_page, needs_chromium
from helpers.lab_server import open_notebook, running_lab
from helpers.real_lesson import needs_mirror, printed_on_real_data


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')


# ---- decisions ----

def tree(*folders):
    "What is in these folders: path -> content"
    return {(folder.name, path.relative_to(folder).as_posix()): path.read_bytes() for folder in folders
            for path in folder.rglob('*') if path.is_file()}


def contents(*folders): return collections.Counter(tree(*folders).values())


@pytest.fixture
def named(tmp_path):
    "Six files named like cat_1.png"
    folder = tmp_path/'pets'
    folder.mkdir()
    for name in ('cat_1', 'cat_2', 'cat_3', 'dog_1', 'dog_2', 'red_fox_07'): (folder/f'{name}.png').write_bytes(name.encode())
    return folder


def test_decisions_survive_and_can_be_undone(named):
    decisions = Decisions(named, 'name')
    decisions.delete(named/'cat_1.png')
    decisions.relabel('cat_2.png', 'dog')       # a path inside the folder will do
    decisions.delete(named/'cat_2.png')
    again = Decisions(named, 'name')
    assert again[named/'cat_2.png'] == Decision('delete') and len(again) == 2 and again['dog_1.png'] is None
    assert again.undo() == named/'cat_2.png' and decisions['cat_2.png'] == Decision('relabel', 'dog')   # the one before it stands again
    assert again.undo() == named/'cat_2.png' and decisions['cat_2.png'] is None
    assert again.undo() == named/'cat_1.png' and again.undo() is None and len(decisions) == 0
    decisions.keep('cat_1.png')
    decisions.keep('cat_1.png')                 # said twice is decided once
    assert decisions.items() == [(named/'cat_1.png', Decision('keep'))]
    decisions.undo()
    assert len(again) == 0 and contents(named).total() == 6


def test_two_sessions_do_not_lose_each_other_s_decisions(named):
    one, other = Decisions(named, 'name'), Decisions(named, 'name')
    one.delete('cat_1.png')
    other.delete('cat_2.png')
    one.keep('cat_3.png')
    assert len(one) == len(other) == 3


def test_a_write_that_fails_leaves_the_file_whole(named, monkeypatch):
    decisions = Decisions(named, None)
    decisions.delete('cat_1.png')
    connect = sqlite3.connect
    def full(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.execute('pragma max_page_count = 1')      # a disk on which nothing can grow
        return db
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, 'connect', full)
        with pytest.raises(OSError, match='full'): decisions.relabel('cat_2.png', 'a long label' * 1000)
    assert decisions.items() == [(named/'cat_1.png', Decision('delete'))]
    assert sorted(p.name for p in named.parent.iterdir()) == ['pets', 'pets.decisions.sqlite']


@pytest.mark.parametrize('damage', [lambda whole: b'[]', lambda whole: b'{"kind": "decisions"}' * 500, lambda whole: whole[:5000],
                                    lambda whole: whole[:2000] + b'?' * 9000, lambda whole: b'\xff\xfe' + whole[2:]])
def test_a_damaged_file_is_an_error_and_stays(named, damage):
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    Decisions(named, 'name')                     # a second session: keeps a copy of the last good state
    damaged = damage(decisions.file.read_bytes())
    decisions.file.write_bytes(damaged)
    with pytest.raises(ValueError, match='damaged.*copy .*bak over it.*fresh=True'): Decisions(named, 'name')
    with pytest.raises(ValueError, match='damaged'): decisions.delete('cat_2.png')
    assert decisions.file.read_bytes() == damaged
    spare = decisions.file.with_name(decisions.file.name + '.bak')
    for number in (1, 2):
        decisions.file.write_bytes(damaged)
        assert len(Decisions(named, 'name', fresh=True)) == 0
        assert decisions.file.with_name(f'{decisions.file.name}.aside-{number}').read_bytes() == damaged
    spare.rename(decisions.file)
    assert Decisions(named, 'name')['cat_1.png'] == Decision('delete')


@pytest.mark.parametrize('limit', [0, 5000])
def test_the_spare_copy_is_whole_though_the_disk_is_full(named, limit):
    "Opening makes a new copy; without room for it the one that is there stays"
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    Decisions(named, 'name')
    spare = decisions.file.with_name(decisions.file.name + '.bak')
    whole = spare.read_bytes()
    decisions.keep('cat_2.png')
    script = ('import resource, signal, sys\nfrom lessonlib.cleaner import Decisions\nfrom lessonlib.files import DiskFull\n'
              f'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n'
              f'try: Decisions({str(named)!r}, "name")\nexcept DiskFull: sys.exit(7)')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert spare.read_bytes() == whole and len(Decisions(named, 'name')) == 2
    assert [file.name for file in spare.parent.iterdir() if 'partial' in file.name] == []


def test_a_file_that_is_just_begun_holds_nothing(named):
    "SQLite makes its file empty and fills it at the first commit; broken off in between nothing was decided yet"
    decisions = Decisions(named, 'name')
    decisions.file.touch()
    assert len(Decisions(named, 'name')) == 0 and not decisions.file.with_name(f'{decisions.file.name}.bak').exists()
    decisions.keep('cat_1.png')
    assert len(Decisions(named, 'name')) == 1


def test_decisions_about_other_pictures(named, tmp_path):
    mine = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png'): mine.delete(name)
    (tmp_path/'holiday').mkdir()
    with pytest.raises(ValueError, match="'pets'.*'holiday'"): Decisions(tmp_path/'holiday', file=mine.file)
    other = tmp_path/'elsewhere'/'pets'          # the same name, other pictures under the same names
    other.mkdir(parents=True)
    for name in ('cat_1.png', 'cat_2.png'): (other/name).write_bytes(b'another picture')
    with pytest.raises(ValueError, match='other pictures'): Decisions(other, file=mine.file)
    assert len(mine) == 2 and len(Decisions(other, file=tmp_path/'own.sqlite')) == 0


def test_pictures_gone_or_replaced_since_are_left_out(named):
    decisions = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png', 'cat_3.png'): decisions.delete(name)
    (named/'cat_1.png').unlink()
    (named/'cat_2.png').write_bytes(b'somebody put another picture here')
    moves = Decisions(named, 'name').apply()
    assert [source.name for source, _ in moves.done] == ['cat_3.png']
    assert {path.name: why for path, why in moves.skipped} == {'cat_1.png': 'is no longer there', 'cat_2.png': 'is another picture than the one decided on'}
    assert (named/'cat_2.png').exists() and 'no longer there' in repr(moves)
    with pytest.raises(FileNotFoundError, match='no picture'): decisions.delete('cat_1.png')
    decisions.forget('cat_1.png')                # but a decision about it can be dropped
    assert len(decisions) == 1


def test_what_cannot_be_decided(named, tmp_path):
    decisions = Decisions(named, 'name', vocab=['cat', 'dog', 'red_fox'])
    with pytest.raises(ValueError, match="Did you mean 'dog'"): decisions.relabel('cat_1.png', 'dogg')
    (tmp_path/'alien_1.png').touch()
    for path in (tmp_path/'alien_1.png', named/'..'/'alien_1.png'):
        with pytest.raises(ValueError, match='is not in'): decisions.delete(path)
    free = Decisions(named, 'name')
    for label in ('../up', 'a/b', '..', '', ' ', 'a\\b', 'a\0b'):
        with pytest.raises(ValueError, match='cannot be the name'): free.relabel('cat_1.png', label)
    (named/'no number.png').touch()
    with pytest.raises(ValueError, match='label_12'): free.relabel('no number.png', 'cat')
    with pytest.raises(ValueError, match="place='name'"): Decisions(named).relabel('cat_1.png', 'dog')
    with pytest.raises(ValueError, match='out of'): Decisions(named, lambda path, label: tmp_path/path.name).relabel('cat_1.png', 'dog')
    with pytest.raises(ValueError, match='place is'): Decisions(named, 'nmae')
    with pytest.raises(FileNotFoundError, match='no folder'): Decisions(tmp_path/'nowhere')
    assert len(free) == 0 and not decisions.file.exists()


def test_relabelling_by_name_never_overwrites(named):
    before = tree(named)
    decisions = Decisions(named, 'name')
    for name, label in (('cat_1', 'dog'), ('cat_2', 'dog'), ('dog_1', 'cat'), ('red_fox_07', 'cat')): decisions.relabel(f'{name}.png', label)
    decisions.relabel('cat_3.png', 'cat')        # that is its label already
    moves = decisions.apply()
    after = {name: content.decode() for (_, name), content in tree(named).items()}
    assert after == {'dog_3.png': 'cat_1', 'dog_4.png': 'cat_2', 'cat_4.png': 'dog_1', 'cat_07.png': 'red_fox_07', 'cat_3.png': 'cat_3', 'dog_2.png': 'dog_2'}
    assert len(moves.done) == 4 and len(decisions) == 0 and decisions.undo() is None
    decisions.restore()
    assert tree(named) == before


def test_relabelling_by_folder(animals):
    before = tree(animals)
    (animals/'dog'/'0.png').write_bytes(b'was there before')
    decisions = Decisions(animals)
    decisions.relabel('cat/0.png', 'dog')
    decisions.relabel('cat/2.png', 'fox')        # a folder that is not there yet
    decisions.apply()
    assert tree(animals)['animals', 'dog/2.png'] == before['animals', 'cat/0.png'] and (animals/'fox'/'2.png').exists()
    assert (animals/'dog'/'0.png').read_bytes() == b'was there before'
    decisions.restore()
    assert tree(animals) == {**before, ('animals', 'dog/0.png'): b'was there before'}


def test_labels_that_stand_elsewhere_are_only_written_down(named):
    decisions = Decisions(named, None)
    decisions.relabel('cat_1.png', 'dog')
    decisions.delete('cat_2.png')
    moves = decisions.apply()
    assert len(moves.done) == 1 and 'correct it where the labels stand' in moves.skipped[0][1]
    assert decisions.items() == [(named/'cat_1.png', Decision('relabel', 'dog'))]


def test_the_bin_is_hidden_from_the_data(named):
    from lessonlib.items import get_image_files
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    decisions.apply()
    assert len(get_image_files(named.parent)) == 5 and (decisions.bin/'cat_1.png').read_bytes() == b'cat_1'
    (named/'cat_1.png').write_bytes(b'a new one')        # the same name again
    decisions.delete('cat_1.png')
    decisions.apply()
    assert contents(decisions.bin) == collections.Counter([b'cat_1', b'a new one'])
    moves = decisions.restore()                          # the later one comes back first, and has the place
    assert (named/'cat_1.png').read_bytes() == b'a new one'
    assert len(moves.done) == 1 and 'another cat_1.png' in moves.skipped[0][1]
    (named/'cat_1.png').rename(named/'cat_9.png')
    assert len(decisions.restore().done) == 1 and (named/'cat_1.png').read_bytes() == b'cat_1'


def test_restore_moves_nothing_but_what_was_moved(named):
    decisions = Decisions(named, 'name')
    decisions.relabel('cat_1.png', 'dog')
    [(_, goal)] = decisions.apply().done
    goal.write_bytes(b'a stranger under this name')
    moves = decisions.restore()
    assert not moves.done and 'another picture' in moves.skipped[0][1] and goal.read_bytes() == b'a stranger under this name'


def decide(decisions):
    for name in ('cat_1', 'dog_2', 'red_fox_07'): decisions.delete(f'{name}.png')
    decisions.relabel('cat_2.png', 'dog')
    decisions.relabel('dog_1.png', 'cat')
    decisions.keep('cat_3.png')


class Off(BaseException): "the power fails"


def breaks_at(step):
    "A `_Journal.change` whose block number `step` ends without being written down"
    change, calls = module._Journal.change, itertools.count()
    @contextmanager
    def failing(journal):
        with change(journal) as db:
            yield db
            if next(calls) == step: raise Off
    return failing


def fails_at(function, step):
    "`function`, but its call number `step` is never made"
    calls = itertools.count()
    def failing(*args, **kwargs):
        if next(calls) == step: raise Off
        return function(*args, **kwargs)
    return failing


@pytest.mark.parametrize('action', ['apply', 'restore'])
@pytest.mark.parametrize('where, step', [*(('rename', i) for i in range(6)), *(('change', i) for i in range(12)), ('replace', 0)])
def test_broken_off_anywhere_nothing_is_lost(named, monkeypatch, action, where, step):
    original = tree(named)
    decisions = Decisions(named, 'name')
    decide(decisions)
    if action == 'restore': decisions.apply()
    everything = contents(named, decisions.bin) if decisions.bin.exists() else contents(named)
    with monkeypatch.context() as patched:
        if where == 'change': patched.setattr(module._Journal, 'change', breaks_at(step))
        else: patched.setattr(os, where, fails_at(getattr(os, where), step))
        try: getattr(decisions, action)()
        except Off: pass
    assert contents(named, decisions.bin) == everything
    again = Decisions(named, 'name')             # a new session
    again.apply()
    assert contents(named, decisions.bin) == everything
    if action == 'apply':
        assert {path.name for path in decisions.bin.glob('*.png')} == {'cat_1.png', 'dog_2.png', 'red_fox_07.png'}
        assert len(tree(named)) == 3 and [decision for _, decision in again.items()] == [Decision('keep')]
    again.restore()
    assert tree(named) == original and not list(decisions.bin.glob('*.png'))


def test_killed_between_two_moves(named):
    decisions, original = Decisions(named, 'name'), tree(named)
    decide(decisions)
    script = ('import os, sys\nfrom lessonlib import cleaner\nmove, calls = cleaner._move, []\ndef dies(*ends):\n'
              '    if len(calls) == 2: os._exit(9)\n    calls.append(move(*ends))\n'
              'cleaner._move = dies\ncleaner.Decisions(sys.argv[1], "name").apply()')
    done = subprocess.run([sys.executable, '-c', script, str(named)], cwd=Path(__file__).parent.parent)
    assert done.returncode == 9 and len(tree(named)) == 4
    again = Decisions(named, 'name')
    assert len(again.apply().done) == 5 and len(tree(named)) == 3
    again.restore()
    assert tree(named) == original


def test_broken_off_after_the_last_move(named, monkeypatch):
    "All pictures that were decided on are in the bin, and the file does not know it yet: that is no file of other pictures"
    decisions = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png'): decisions.delete(name)
    with monkeypatch.context() as patched, pytest.raises(Off):
        patched.setattr(module, '_settle', fails_at(module._settle, 1))
        decisions.apply()
    assert len(Decisions(named, 'name')) == 2 and len(Decisions(named, 'name').apply().done) == 2 and len(decisions) == 0


def test_names_that_something_may_come_back_to_stay_free(named):
    original, decisions = tree(named), Decisions(named, 'name')
    decisions.delete('dog_2.png')
    decisions.apply()
    decisions.relabel('cat_1.png', 'dog')
    decisions.relabel('red_fox_07.png', 'dog')
    (named/'dog_07.png').write_bytes(b'seven')
    assert {goal.name for _, goal in decisions.apply().done} == {'dog_3.png', 'dog_08.png'}
    assert len(decisions.restore().done) == 3
    assert tree(named) == {**original, ('pets', 'dog_07.png'): b'seven'}


def test_changing_one_s_mind_after_a_break(named, monkeypatch):
    decisions, original = Decisions(named, 'name'), tree(named)
    for name in ('cat_1.png', 'cat_2.png', 'cat_3.png'): decisions.delete(name)
    with monkeypatch.context() as patched, pytest.raises(Off):
        patched.setattr(os, 'rename', fails_at(os.rename, 1))
        decisions.apply()
    decisions.keep('cat_2.png')
    decisions.apply()
    assert (named/'cat_2.png').exists() and not (named/'cat_1.png').exists() and not (named/'cat_3.png').exists()
    decisions.restore()
    assert tree(named) == original


@pytest.mark.parametrize('crash', [False, True])
def test_a_bin_on_another_disk(named, tmp_path, monkeypatch, crash):
    original = tree(named)
    decisions = Decisions(named, 'name', bin=tmp_path/'other disk'/'bin')
    decide(decisions)
    def elsewhere(source, goal):
        if str(source).startswith(str(decisions.bin)) != str(goal).startswith(str(decisions.bin)): raise OSError(errno.EXDEV, 'another device')
        return rename(source, goal)
    rename = os.rename
    monkeypatch.setattr(os, 'rename', elsewhere)
    if crash:
        with monkeypatch.context() as patched, pytest.raises(Off):       # copied, and not yet removed
            patched.setattr(Path, 'unlink', lambda self, **kw: (_ for _ in ()).throw(Off) if self.parent == named else os.unlink(self) if self.exists() else None)
            decisions.apply()
        assert contents(named)[b'cat_1'] == contents(decisions.bin)[b'cat_1'] == 1
    decisions.apply()
    assert len(tree(decisions.bin)) == len(tree(named)) == 3 and set(contents(named, decisions.bin)) == set(original.values())
    decisions.restore()
    assert tree(named) == original


def test_a_move_never_lands_on_a_file(named):
    decisions = Decisions(named, 'name')
    with pytest.raises(FileExistsError): module._move(named/'cat_1.png', named/'cat_2.png')
    assert (named/'cat_2.png').read_bytes() == b'cat_2' and (named/'cat_1.png').exists()


steps = st.lists(st.one_of(st.tuples(st.sampled_from(['delete', 'keep', 'forget', 'cat', 'dog', 'fox']), st.integers(0, 5)),
                           st.tuples(st.sampled_from(['undo', 'apply', 'restore', 'reopen']), st.just(0))), max_size=14)


@given(steps, st.sampled_from(['name', 'folder']))
@settings(max_examples=60, deadline=None)
def test_whatever_is_decided_nothing_is_lost(steps, place):
    with tempfile.TemporaryDirectory() as place_for_it:
        folder = Path(place_for_it)/'pets'
        for i, kind in enumerate(['cat', 'cat', 'cat', 'dog', 'dog', 'fox']):
            file = folder/kind/f'{i // 2}.png' if place == 'folder' else folder/f'{kind}_{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f'{kind}{i}'.encode())
        original, decisions = tree(folder), Decisions(folder, place)
        for what, i in steps:
            files = sorted(path for path in folder.rglob('*.png'))
            if what in ('undo', 'apply', 'restore'): getattr(decisions, what)()
            elif what == 'reopen': decisions = Decisions(folder, place)
            elif i < len(files):
                before = decisions.items()
                if what in ('delete', 'keep', 'forget'): getattr(decisions, what)(files[i])
                else: decisions.relabel(files[i], what)
                if decisions.items() != before:
                    decisions.undo()
                    assert sorted(decisions.items()) == sorted(before)
                    decisions.relabel(files[i], what) if what in ('cat', 'dog', 'fox') else getattr(decisions, what)(files[i])
            assert contents(folder, decisions.bin) == collections.Counter(original.values())
        decisions.restore()
        assert tree(folder) == original


# ---- several at once ----

def in_processes(work, *arguments):
    "Runs `work` in one process for each argument, all at the same time; what they return"
    fork = multiprocessing.get_context('fork')
    start, results = fork.Barrier(len(arguments)), fork.Queue()
    def run(argument):
        start.wait()
        results.put(work(argument))
    processes = [fork.Process(target=run, args=(argument,)) for argument in arguments]
    for process in processes: process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes: process.join(30)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return found


@pytest.fixture
def many(tmp_path):
    "Sixty files"
    (tmp_path/'pets').mkdir()
    for i in range(60): (tmp_path/'pets'/f'cat_{i}.png').write_bytes(f'cat {i}'.encode())
    return tmp_path/'pets'


def test_decisions_of_several_notebooks_at_once_are_all_kept(many):
    def decide(part):
        decisions = Decisions(many, 'name')
        for i in range(part, 60, 3): decisions.delete(f'cat_{i}.png')
    in_processes(decide, 0, 1, 2)
    assert len(Decisions(many, 'name')) == 60


def test_two_who_apply_at_once_do_it_once(many):
    decisions, original = Decisions(many, 'name'), tree(many)
    for i in range(60): decisions.delete(f'cat_{i}.png')
    done = in_processes(lambda _: len(Decisions(many, 'name').apply().done), 'one', 'the other')
    assert sorted(done) == [0, 60] and not tree(many)
    assert len(decisions.restore().done) == 60 and tree(many) == original


# ---- the cleaner ----

def cleaner_of(folder, **kwargs):
    files = sorted(folder.rglob('*.png'))
    return ImageClassifierCleaner((files, [file.parent.name for file in files], [int(file.stem) / 10 for file in files]), **kwargs)


def test_the_cleaner_from_a_learner(animals):
    learn = animal_learner(animals)
    state = get_rng_state()
    cleaner = ImageClassifierCleaner(learn)
    assert torch.equal(state['torch'], get_rng_state()['torch'])
    assert list(cleaner.sets) == ['Train', 'Valid'] and cleaner.vocab == ['cat', 'dog']
    assert (cleaner.decisions.folder, cleaner.decisions.place) == (animals, 'folder')
    interp = ClassificationInterpretation.from_learner(learn)
    losses, order = interp.top_losses()
    for picture, loss, i in zip(cleaner.view('Valid'), losses, order.tolist(), strict=True):
        assert picture.path == interp.ds.items[i] and picture.loss == pytest.approx(loss.item())
        assert picture.label == picture.path.parent.name and picture.predicted == interp.vocab[interp.predicted[i]]
    assert {p.path for p in cleaner.view('Train')} == set(learn.dls.train_ds.items)
    no_valid = DataLoaders(learn.dls.train, None, vocab=learn.dls.vocab, device='cpu')
    assert list(ImageClassifierCleaner(Learner(no_valid, learn.model, F.cross_entropy)).sets) == ['Train']


def test_views_of_the_cleaner(animals):
    cleaner = cleaner_of(animals, max_n=4)
    assert [p.path.stem for p in cleaner.pictures] == ['11', '10', '9', '8']
    assert [p.path.stem for p in cleaner.view(label='cat')] == ['10', '8', '6', '4']
    cleaner.decisions.delete(cleaner.pictures[1].path)
    cleaner.decisions.relabel(cleaner.pictures[3].path, 'dog')
    cleaner.decisions.keep(cleaner.pictures[0].path)
    assert (cleaner.delete(), cleaner.change()) == ([1], [(3, 'dog')])
    cleaner.view(label='dog')
    assert (cleaner.delete(), cleaner.change()) == ([], [])
    assert cleaner_of(animals).view(label='cat') and cleaner_of(animals, max_n=4).decisions.items() == cleaner.decisions.items()
    cleaner.view(label='cat')
    (animals/'cat'/'10.png').unlink()             # somebody deleted it by hand
    assert [p.path.stem for p in cleaner.view(label='cat')] == ['8', '6', '4', '2']
    with pytest.raises(ValueError, match='no class'): cleaner.view(label='cot')
    with pytest.raises(ValueError, match='no split'): cleaner.view('Test')


def test_the_cleaner_applies_and_restores(animals):
    before, cleaner = tree(animals), cleaner_of(animals)
    cleaner.decisions.delete(animals/'cat'/'10.png')
    cleaner.decisions.relabel(animals/'dog'/'11.png', 'cat')
    assert len(cleaner.apply().done) == 2 and [p.path.stem for p in cleaner.pictures][:2] == ['9', '8']
    assert (animals/'cat'/'11.png').exists() and (cleaner.decisions.bin/'cat'/'10.png').exists()
    cleaner.restore()
    assert tree(animals) == before and cleaner.pictures[0].path.stem == '11'


def test_where_labels_stand_is_found_out(animals, named, tmp_path):
    files = sorted(named.iterdir())
    labels = [file.stem.rpartition('_')[0] for file in files]
    found = ImageClassifierCleaner((files, labels, range(6)))
    assert (found.decisions.place, found.decisions.folder, found.vocab) == ('name', named, ['cat', 'dog', 'red_fox'])
    one_class = sorted((animals/'cat').iterdir())
    assert ImageClassifierCleaner((one_class, ['cat'] * 6, range(6))).decisions.folder == animals
    elsewhere = ImageClassifierCleaner((files, list('abcabc'), range(6)), file=tmp_path/'x.sqlite')
    assert elsewhere.decisions.place is None


def test_the_cleaner_and_bad_input(animals, tmp_path):
    files = sorted(animals.rglob('*.png'))
    numbers = torch.randn(8, 5), torch.zeros(8).long()
    without_files = Learner(DataLoaders.from_tensors(numbers, numbers, device='cpu'), nn.Linear(5, 2), F.cross_entropy)
    with pytest.raises(ValueError, match='not paths'): ImageClassifierCleaner(without_files)
    with pytest.raises(ValueError, match='12 files, 3 labels'): ImageClassifierCleaner((files, ['cat'] * 3, range(12)))
    with pytest.raises(ValueError, match='no pictures'): ImageClassifierCleaner(([], [], []))
    nan = ImageClassifierCleaner((files, [f.parent.name for f in files], [float('nan') if i == 5 else i for i in range(12)]))
    assert nan.pictures[0].path == files[5]
    (animals/'cat'/'0.png').write_bytes(b'not a picture at all')
    assert len(module._Face(cleaner_of(animals)).box.children[2].children) == len(cleaner_of(animals).sheet().axes) == 12


def test_the_face_writes_decisions_down_and_undoes_them(animals):
    cleaner = cleaner_of(animals)
    cleaner._face = module._Face(cleaner)
    face = cleaner._face.box
    split, label, undo = face.children[0].children
    menu = lambda i: face.children[2].children[i].children[1]
    menu(0).label = 'delete'
    menu(1).label = '→ dog'
    assert cleaner.decisions.items() == [(animals/'dog'/'11.png', Decision('delete')), (animals/'cat'/'10.png', Decision('relabel', 'dog'))]
    assert '1 to delete, 1 to relabel' in face.children[1].value
    label.value = 'dog'
    assert len(face.children[2].children) == 6 and menu(0).label == 'delete'
    label.value = ''
    assert menu(1).label == '→ dog'
    undo.click()
    assert menu(1).label == '(undecided)' and 'undone: 10.png' in face.children[1].value and len(cleaner.decisions) == 1
    menu(0).label = '(undecided)'
    assert len(cleaner.decisions) == 0
    (animals/'dog'/'9.png').unlink()
    menu(2).label = 'delete'                      # gone while it was shown
    assert 'not written down' in face.children[1].value and len(cleaner.decisions) == 0
    assert '#ddd' in face.children[2].children[2].layout.border_top


def test_on_paper_it_is_a_figure(animals, monkeypatch):
    shown = []
    monkeypatch.setattr('IPython.display.display', shown.append)
    cleaner = cleaner_of(animals)
    cleaner.decisions.delete(animals/'dog'/'11.png')
    cleaner.decisions.relabel(animals/'cat'/'10.png', 'dog')
    monkeypatch.setenv('LESSONLIB_PAPER', '1')
    cleaner._ipython_display_()
    figure, = shown
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == 'dog\nloss 1.10\ndelete' and titles[1] == 'cat\nloss 1.00\nrelabel: dog' and titles[2].endswith('undecided')
    assert 'highest loss first' in figure.get_suptitle() and '1 to delete, 1 to relabel' in figure.get_suptitle()
    assert [bool(ax.get_title()) for ax in cleaner.sheet(3, columns=2).axes] == [True] * 3 + [False]
    assert cleaner._face is None                  # no widget was made
    monkeypatch.delenv('LESSONLIB_PAPER')
    cleaner._ipython_display_()
    assert type(shown[1]).__name__ == 'VBox' and '12 All' in repr(cleaner)


# ---- in JupyterLab ----

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
    decided = lambda: {f'{path.parent.name}/{path.name}': tuple(decision) for path, decision in Decisions(folder/'animals').items()}
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


# ---- the lesson on real photos ----

@needs_mirror
def test_the_lesson_runs_unchanged_on_real_photos(root, tmp_path, monkeypatch):
    printed = printed_on_real_data(root/'nbs'/'27_cleaner.ipynb', ['oxford-iiit-pet.tgz'], tmp_path, monkeypatch)
    assert '0 wrong labels in all' in printed and '0 photos renamed' in printed


def test_positions_name_files(tmp_path):
    for name in ('a', 'b'):
        (tmp_path/name).mkdir()
        for i in range(2): Image.new('RGB', (8, 8)).save(tmp_path/name/f'{name}_{i}.png')
    files = sorted(tmp_path.rglob('*.png'))
    cleaner = ImageClassifierCleaner((files, [file.parent.name for file in files], [1., 4., 3., 2.]))
    cleaner.decisions.delete(files[1])
    cleaner.decisions.relabel(files[2], 'a')
    assert [cleaner.fns[i] for i in cleaner.delete()] == [files[1]]
    assert [(cleaner.fns[i], label) for i, label in cleaner.change()] == [(files[2], 'a')]
    cleaner.view(label='b')
    assert [file.name for file in cleaner.fns] == ['b_0.png', 'b_1.png']


def test_a_sampler_mixes_no_labels_and_no_losses(tmp_path):
    from torch.utils.data import WeightedRandomSampler
    from lessonlib.data_block import DataBlock
    from lessonlib.items import IndexSplitter, parent_label
    for i in range(20):
        (tmp_path/'rb'[i % 2]).mkdir(exist_ok=True)
        colour = [10 + 10 * i if channel == 2 * (i % 2) else 0 for channel in range(3)]    # the brighter, the surer
        Image.new('RGB', (8, 8), tuple(colour)).save(tmp_path/'rb'[i % 2]/f'{i:02}.png')
    files = sorted(tmp_path.rglob('*.png'), key=lambda file: file.name)
    class Scores(nn.Module):
        def forward(self, x): return 10 * x.mean((2, 3))[:, [2, 0]]
    dls = DataBlock(get_y=parent_label, splitter=IndexSplitter([0, 1, 2, 3])).dataloaders(
        files, bs=4, device='cpu', sampler=lambda ds, shuffle: WeightedRandomSampler([1.] * len(ds), len(ds)))
    shown = ImageClassifierCleaner(Learner(dls, Scores())).sets['Train']
    assert [p.path for p in shown] == files[4:] and all(p.label == p.path.parent.name for p in shown)
    right = [F.softplus(torch.tensor(-10 * (10 + 10 * i) / 255.)).item() for i in range(4, 20)]   # two scores, one of them 0
    assert [p.loss for p in shown] == pytest.approx(right, rel=1e-4)
