"""A run that was cut and taken up again in a new process ends as one that was not: bit for bit.

This file is also the program the new processes run: `test_resume.py whole|resume|die FOLDER KIND...`.
"""
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

sys.path[:0] = [str(Path(__file__).resolve().parent)]
from helpers.digests import digest
from lessonlib import checkpoint
from lessonlib.batches import DataLoaders, TensorDataLoader, _generators, accuracy, rmse
from lessonlib.checkpoint import Checkpoint, read_tensors
from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Callback, CancelBatchException, Learner
from lessonlib.optimizers import Adam

pytestmark = pytest.mark.xdist_group("resume")   # its processes are started once
EPOCHS, ITEMS, BATCH = 3, 44, 8   # 6 batches an epoch, the last of 4 items
KINDS = {'tensors': dict(opt='adamw'), 'tensors-own-generator': dict(opt='sgd', generator=True),
         'workers-0': dict(opt='sgd', workers=0), 'workers-2': dict(opt='adamw', workers=2),
         'accumulate': dict(opt='sgd', accumulate=3), 'frozen': dict(opt='adamw', frozen=True),
         'steps': dict(opt='steps')}


class Noisy(Dataset):
    "Items with noise from three random number generators"
    def __init__(self, x, y): self.x, self.y = x, y
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        noise = torch.rand(6) + np.random.rand() + random.random()
        return self.x[i] + .1 * noise, self.y[i]


class Schedule(Callback):
    "Learning rate and momentum from the position in the fit, as one-cycle has it"
    def before_batch(self):
        if not self.training: return
        for group in self.opt.param_groups:
            group['lr'] = .02 * (1 - .9 * self.pct_train)
            if 'momentum' in group: group['momentum'] = .85 + .1 * self.pct_train


class Remember(Callback):
    "Keeps something of its own"
    def before_fit(self): self.seen = []
    def after_batch(self): self.seen.append([self.learn.epoch, self.learn.iter])
    def state_dict(self): return dict(seen=self.seen)
    def load_state_dict(self, state): self.seen = state['seen']


class Accumulate(Callback):
    "Steps only once in several batches: gradients are carried across a checkpoint"
    def __init__(self, n): self.n = n
    def after_backward(self):
        if (self.iter + 1) % self.n: raise CancelBatchException


class Copies(Callback):
    "Keeps a copy of every checkpoint"
    order = 2000
    def __init__(self, keeper, name): self.keeper, self.label = keeper, name
    def _copy(self, where):
        file = self.keeper.file
        shutil.copy(file, file.with_name(f'{self.label}@{where}.safetensors'))
    def after_batch(self):
        if self.training: self._copy(f'{self.learn.epoch}-{self.learn.batches_done}')
    def after_epoch(self): self._copy(f'{self.learn.epoch + 1}-0')


def build(folder, kind):
    torch.set_num_threads(1)
    how = KINDS[kind]
    set_seed(0)
    x, y = torch.randn(ITEMS, 6), torch.randint(0, 3, (ITEMS,))
    valid = TensorDataLoader(x[:10], y[:10], bs=BATCH)
    if 'workers' in how:
        train = DataLoader(Noisy(x, y), BATCH, shuffle=True, num_workers=how['workers'])
    else:
        generator = torch.Generator().manual_seed(5) if how.get('generator') else None
        train = TensorDataLoader(x, y, bs=BATCH, shuffle=True, generator=generator)
    set_seed(1)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(.3),
                          nn.Linear(12, 3))
    if how.get('frozen'): model[0].requires_grad_(False)
    momentum = lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=.9)
    cbs = [Schedule, Remember] + ([Accumulate(how['accumulate'])] if 'accumulate' in how else [])
    one_hot_rmse = type('Rmse', (), {'__call__': lambda self, p, t: rmse(p, F.one_hot(t, 3).float())})()
    return Learner(DataLoaders(train, valid, device='cpu'), model, F.cross_entropy, path=folder,
                   opt_func=dict(sgd=momentum, steps=Adam).get(how['opt']), lr=.02, cbs=cbs,
                   metrics=[accuracy, one_hot_rmse])


def digests(learn) -> dict:
    recorder = learn.recorder
    generators = [g.get_state() for g in _generators(learn.dls)]
    return dict(parameters=digest(learn.model.state_dict()), optimiser=digest(learn.opt.state_dict()),
                recorder=digest([recorder.batches, recorder.values, recorder.ends]),
                callback=digest(learn.remember.seen), random=digest([get_rng_state(), generators]),
                batches=len(recorder.batches))


def quietly(action):
    with contextlib.redirect_stdout(io.StringIO()): return action()


def whole(folder, kinds):
    "Trains without a break and keeps a copy of the checkpoint at every batch"
    results = {}
    for kind in kinds:
        keeper, learn = Checkpoint(f'{kind}', every_batches=1), build(folder, kind)
        set_seed(2)
        quietly(lambda: learn.fit(EPOCHS, cbs=[keeper, Copies(keeper, kind)]))
        results[kind] = digests(learn)
    return results


def resume(folder, kinds):
    "Goes on from each copy that is asked for, as kind@epoch-batches"
    results = {}
    for name in kinds:
        kind, _, where = name.partition('@')
        learn = build(folder, kind)
        if kind == 'frozen': learn.model[0].requires_grad_(True)   # the checkpoint knows better
        set_seed(77)
        quietly(lambda: learn.fit(EPOCHS, cbs=Checkpoint('again', every_batches=1, resume=name)))
        results[name] = digests(learn)
    return results


def die(folder, kinds):
    "Is killed with half of a checkpoint written"
    calls, save_file = [], checkpoint.save_file
    def save_half(tensors, path, **kwargs):
        calls.append(path)
        save_file(tensors, path, **kwargs)
        if len(calls) == 9:
            with open(path, 'rb+') as file: file.truncate(os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.save_file = save_half
    learn = build(folder, kinds[0])
    set_seed(2)
    learn.fit(EPOCHS, cbs=Checkpoint(every_batches=1))


def process(what, folder, kinds):
    root = Path(__file__).parent.parent
    env = {**os.environ, 'PYTHONPATH': f'{root}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'}
    done = subprocess.run([sys.executable, __file__, what, str(folder), *kinds], env=env, text=True,
                          capture_output=True, timeout=240)
    return done


def answers(what, folder, kinds):
    done = process(what, folder, kinds)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "One process trains all kinds, another takes up every one of their checkpoints"
    folder = tmp_path_factory.mktemp('runs')
    references = answers('whole', folder, list(KINDS))
    copies = sorted(file.stem for file in (folder/'models').glob('*@*'))
    few = {'0-1', '0-6', '1-0', '1-4', '2-2', '3-0'}   # starting workers takes its time
    asked = [c for c in copies if not c.startswith('workers-2') or c.partition('@')[2] in few]
    return references, answers('resume', folder, asked), folder


@pytest.mark.parametrize('kind', KINDS)
def test_resume_at_every_batch_is_bit_equal(runs, kind):
    references, resumed, _ = runs
    mine = {name: result for name, result in resumed.items() if name.partition('@')[0] == kind}
    assert len(mine) == (6 if kind == 'workers-2' else EPOCHS * 6 + EPOCHS)
    assert references[kind]['batches'] >= EPOCHS * 2
    for name, result in mine.items():
        wrong = [part for part in result if result[part] != references[kind][part]]
        assert not wrong, f'{name}: {wrong} differ from the run without a break'


def test_the_kinds_differ(runs):
    "The digests can tell runs apart"
    references = runs[0]
    assert len({r['parameters'] for r in references.values()}) == len(KINDS)


def test_another_seed_ends_elsewhere(runs, tmp_path, monkeypatch):
    "A resume that ignored the random state would be noticed"
    references, _, folder = runs
    learn = build(tmp_path, 'tensors')
    monkeypatch.setattr(checkpoint, '_set_random_state', lambda dls, state: None)
    set_seed(77)
    learn.fit(EPOCHS, cbs=Checkpoint('again', resume=folder/'models'/'tensors@1-4'))
    assert digests(learn)['parameters'] != references['tensors']['parameters']


def test_killed_while_writing_keeps_the_checkpoint_before(runs, tmp_path):
    done = process('die', tmp_path, ['tensors'])
    assert done.returncode == -signal.SIGKILL
    tensors, info = read_tensors(tmp_path/'models'/'checkpoint.safetensors')
    assert (info['epoch'], info['batches']) == (1, 1)   # the eighth: 6 batches, the epoch, 1 batch
    learn = build(tmp_path, 'tensors')
    learn.fit(EPOCHS, cbs=Checkpoint(every_batches=1, resume=True))
    assert digests(learn) == runs[0]['tensors']


def test_file_is_one_safetensors_with_plain_names(runs):
    tensors, info = read_tensors(runs[2]/'models'/'accumulate@1-4.safetensors')
    assert {name.partition('.')[0] for name in tensors} == {'model', 'optim', 'rng'}
    assert any(name.startswith('optim.grad.') for name in tensors)
    assert info['kind'] == 'checkpoint' and 'recorder' in info['callbacks']


def test_resume_true_without_a_file_starts_from_the_beginning(tmp_path):
    learn = build(tmp_path, 'tensors')
    learn.fit(1, cbs=Checkpoint('first', resume=True))
    assert len(learn.recorder.values) == 1 and (tmp_path/'models'/'first.safetensors').exists()


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    learn = build(tmp_path, 'tensors')
    learn.fit(2, cbs=Checkpoint())
    before = digests(learn)
    again = build(tmp_path, 'tensors')
    again.fit(2, cbs=Checkpoint(resume=True))
    assert digests(again) == before


def test_more_epochs_than_planned(tmp_path):
    learn = build(tmp_path, 'tensors')
    learn.fit(2, cbs=Checkpoint())
    later = build(tmp_path, 'tensors')
    later.fit(3, cbs=Checkpoint(resume=True))
    assert len(later.recorder.values) == 3 and later.recorder.values[:2] == learn.recorder.values
    with pytest.raises(ValueError, match='n_epoch is 1'):
        build(tmp_path, 'tensors').fit(1, cbs=Checkpoint(resume=True))


@pytest.mark.parametrize('second', [1, 2])
def test_a_fit_that_is_over_is_not_taken_for_the_next(second, tmp_path):
    "Two fits in one script, with one name: each trains, and a script that starts again goes on in the second"
    class Cut(Callback):
        def after_loss(self):
            if self.n_fits == 1 and self.training and (self.epoch, self.iter) == (second - 1, 2): raise KeyboardInterrupt
    def script(folder, *cbs, keep=True):
        learn, rows = build(folder, 'tensors'), []
        set_seed(2)
        for epochs in (1, second):
            learn.fit(epochs, cbs=[Checkpoint(every_batches=1, resume=True)] * keep + [*cbs])
            rows.append(learn.recorder.values)
        return digests(learn), rows
    plain, rows = script(tmp_path/'plain', keep=False)
    assert list(map(len, rows)) == [1, second] and not (tmp_path/'plain').exists()
    assert script(tmp_path/'whole') == (plain, rows)
    with pytest.raises(KeyboardInterrupt): script(tmp_path/'cut', Cut)
    assert script(tmp_path/'cut')[0] == plain


def test_the_same_cell_again_after_ctrl_c_goes_on(tmp_path):
    "An interrupted fit does not count: running the cell once more resumes it"
    class Cut(Callback):
        def after_loss(self):
            if self.training and (self.epoch, self.iter) == (1, 2): raise KeyboardInterrupt
    whole, learn = build(tmp_path/'whole', 'tensors'), build(tmp_path/'cut', 'tensors')
    set_seed(2); whole.fit(2)
    set_seed(2)
    with pytest.raises(KeyboardInterrupt): learn.fit(2, cbs=[Checkpoint(every_batches=1, resume=True), Cut])
    learn.fit(2, cbs=Checkpoint(every_batches=1, resume=True))
    assert digests(learn) == digests(whole)


@pytest.mark.parametrize('change, words', [
    (lambda learn: setattr(learn, 'model', nn.Linear(6, 3)), 'another architecture: the file lacks weight, bias'),
    (lambda learn: learn.remove_cb(Remember), "callbacks \\['remember'\\]"),
    (lambda learn: setattr(learn, 'opt_func', lambda g, lr: torch.optim.SGD(g, lr=lr)), 'state of AdamW'),
    (lambda learn: setattr(learn.dls.train, 'batch_size', 4), '6 batches, and now there are 11'),
])
def test_a_checkpoint_that_does_not_fit(tmp_path, change, words):
    build(tmp_path, 'tensors').fit(1, cbs=Checkpoint())
    learn = build(tmp_path, 'tensors')
    change(learn)
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(ValueError, match=words): learn.fit(2, cbs=Checkpoint(resume='checkpoint'))
    assert all(torch.equal(p, b) for p, b in zip(learn.model.parameters(), before))


def test_a_file_to_go_on_from_must_be_there_and_be_a_checkpoint(tmp_path):
    learn = build(tmp_path, 'tensors')
    with pytest.raises(FileNotFoundError, match='no saved models'): learn.fit(1, cbs=Checkpoint(resume='nothing'))
    learn.save('weights')
    with pytest.raises(ValueError, match='not a checkpoint'): learn.fit(1, cbs=Checkpoint(resume='weights'))


@pytest.mark.parametrize('spoil', ['cut', 'header', 'flip', 'empty'])
def test_damaged_checkpoint(tmp_path, spoil):
    learn = build(tmp_path, 'tensors')
    learn.fit(1, cbs=Checkpoint())
    file = tmp_path/'models'/'checkpoint.safetensors'
    raw = bytearray(file.read_bytes())
    if spoil == 'cut': raw = raw[:len(raw) // 2]
    if spoil == 'header': raw[:8] = b'\xff' * 8
    if spoil == 'flip': raw[-100] ^= 4
    if spoil == 'empty': raw = b''
    file.write_bytes(raw)
    with pytest.raises(ValueError, match='damaged'): learn.fit(2, cbs=Checkpoint(resume='checkpoint'))


def test_state_that_is_not_plain_is_named(tmp_path):
    class Odd(Callback):
        def state_dict(self): return dict(a={1, 2})
    with pytest.raises(TypeError, match='callback odd'):
        build(tmp_path, 'tensors').fit(1, cbs=[Odd, Checkpoint()])
    assert not list((tmp_path/'models').glob('*')) if (tmp_path/'models').exists() else True


if __name__ == '__main__':
    result = globals()[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:])
    print(json.dumps(result))
