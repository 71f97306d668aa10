"Callbacks that people look for: each does what it says, alone, with others, and after a break."
import csv
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.digests import digest
from helpers.interruption import Stop
from helpers.watched_learner import build, quietly, sgd, sgd_momentum, whole_state

from lessonlib.batches import DataLoaders, Metric
from lessonlib.callbacks import (CSVLogger, CutMix, EarlyStoppingCallback, EMACallback, GradientAccumulation, GradientClip,
                                 MixUp, ReduceLROnPlateau, SaveModelCallback, ShortEpochCallback, ShowGraphCallback,
                                 TensorBoardCallback, Tracker)
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import set_seed
from lessonlib.learner import Callback, CancelEpochException, CancelFitException, Learner


# ---- watching a value

class Told(Callback):
    "Puts these numbers into the table in place of the loss"
    order = 51
    def __init__(self, losses): self.told = losses
    def after_epoch(self): self.learn.recorder.values[-1][1] = self.told[self.learn.epoch]


@pytest.mark.parametrize('losses, patience, min_delta, epochs', [
    ([5, 4, 3, 3.5, 2], 1, 0, 4), ([5, 4, 4.5, 4.4, 3, 3, 3], 2, 0, 4), ([5, 6, 4, 3, 2], 2, 0, 5),
    ([5, 4.9, 4.8, 4.7], 2, .5, 3), ([5, 4, 3], 1, 0, 3),
])
def test_early_stopping_counts_epochs_without_gain(losses, patience, min_delta, epochs):
    learn = build(items=32)
    quietly(learn.fit, len(losses), cbs=[Told(losses), EarlyStoppingCallback(patience=patience, min_delta=min_delta)])
    assert len(learn.recorder.values) == epochs


def test_direction_by_name_and_by_hand():
    learn = build(items=64)
    stop = EarlyStoppingCallback('accuracy')
    quietly(learn.fit, 1, cbs=stop)
    assert stop.sign == 1 and stop.best == learn.recorder.values[0][2]
    stop = EarlyStoppingCallback('accuracy', comp=np.less)
    quietly(learn.fit, 1, cbs=stop)
    assert stop.sign == -1
    with pytest.raises(ValueError, match='there are train_loss, valid_loss, accuracy'):
        quietly(learn.fit, 1, cbs=EarlyStoppingCallback('f1'))


@pytest.mark.parametrize('fname', [None, 'best'])
def test_the_best_epoch_comes_back(tmp_path, fname):
    kept = {}
    class Copy(Callback):
        order = 52
        def after_epoch(self): kept[self.learn.epoch] = digest(self.learn.model.state_dict())
    learn, save = build(items=32, path=tmp_path), SaveModelCallback(fname=fname)
    quietly(learn.fit, 4, .01, cbs=[Told([3, 1, 2, 2]), save, Copy])
    assert save.epoch == 1 and digest(learn.model.state_dict()) == kept[1] != kept[3]
    assert (tmp_path/'models'/'best.safetensors').exists() == bool(fname)


@pytest.mark.parametrize('fname', [None, 'best'])
def test_saving_goes_on_after_a_break(tmp_path, fname):
    def cbs(**kwargs): return [Told([3, 1, 2, 2]), SaveModelCallback(fname=fname), Checkpoint(**kwargs)]
    class Break(Callback):
        def before_epoch(self):
            if self.epoch == 3: raise KeyboardInterrupt
    whole = build(items=32, path=tmp_path)
    quietly(whole.fit, 4, .01, cbs=cbs())
    broken = build(items=32, path=tmp_path)
    with pytest.raises(KeyboardInterrupt): quietly(broken.fit, 4, .01, cbs=[*cbs(), Break])
    again = build(items=32, path=tmp_path)
    quietly(again.fit, 4, .01, cbs=cbs(resume=True))
    assert digest(again.model.state_dict()) == digest(whole.model.state_dict())


@pytest.mark.parametrize('values, best, epochs', [([math.nan, .5, .9, .7, .6, .4], 2, 5), ([.5, math.nan, math.nan, .9], 3, 3),
                                                  ([math.nan] * 4, None, 4)])
def test_nan_is_never_the_best(tmp_path, values, best, epochs):
    kept = {}
    class Score(Metric):
        def accumulate(self, learn): self.now = values[learn.epoch]
        value = property(lambda self: self.now)
    class Copy(Callback):
        order = 52
        def after_epoch(self): kept[self.learn.epoch] = digest(self.learn.model.state_dict())
    learn = build(items=32, path=tmp_path)
    learn.metrics = [Score()]
    quietly(learn.fit, len(values), .01, cbs=[SaveModelCallback('score'), Copy])
    assert digest(learn.model.state_dict()) == kept[len(values) - 1 if best is None else best]
    learn = build(items=32, path=tmp_path)
    learn.metrics = [Score()]
    quietly(learn.fit, len(values), .01, cbs=EarlyStoppingCallback('score', patience=2))
    assert len(learn.recorder.values) == epochs


@pytest.mark.parametrize('cb', [lambda: SaveModelCallback(fname='best'), lambda: Checkpoint('best')])
def test_what_cannot_be_written_says_so_before_the_first_batch(tmp_path, cb):
    (tmp_path/'models').write_text('a file in the place of the folder')
    learn = build(items=32, path=tmp_path)
    with pytest.raises(OSError): quietly(learn.fit, 1, cbs=cb())
    assert not learn.recorder.batches


@pytest.mark.parametrize('how, names', [(dict(every_epoch=2), ['model_0', 'model_2']), (dict(at_end=True, fname='end'), ['end']),
                                        (dict(every_epoch=1, fname='a'), ['a_0', 'a_1', 'a_2'])])
def test_all_epochs_or_the_last(tmp_path, how, names):
    learn = build(items=32, path=tmp_path)
    quietly(learn.fit, 3, .01, cbs=[Told([3, 1, 2]), SaveModelCallback(**how)])
    now = digest(learn.model.state_dict())
    assert sorted(file.stem for file in (tmp_path/'models').iterdir()) == names
    assert (digest(learn.load(names[-1]).model.state_dict()) == now) == (names[-1] in ('end', 'a_2', 'model_2'))


def test_the_optimiser_comes_back_too(tmp_path):
    kept = {}
    class Copy(Callback):
        order = 64
        def after_epoch(self): kept[self.learn.epoch] = digest(self.learn.opt.state_dict())
    learn = build(items=32, path=tmp_path)
    quietly(learn.fit, 3, .01, cbs=[Told([3, 1, 2]), SaveModelCallback(fname='best', with_opt=True), Copy])
    assert digest(learn.opt.state_dict()) == kept[1]


# ---- a rate that is divided

def test_the_rate_falls_on_a_plateau():
    learn = build(sgd, items=32)
    quietly(learn.fit, 8, 1., cbs=[Told([5, 4, 4, 4, 3, 3, 3, 3]), ReduceLROnPlateau(patience=2, factor=5, min_lr=.1)])
    ends = [learn.recorder.lrs[end - 1] for end in learn.recorder.ends]
    assert ends == pytest.approx([1, 1, 1, 1, .2, .2, .2, .1])
    learn = build(items=32)
    with pytest.raises(ValueError, match='use ReduceLROnPlateau with learn.fit'):
        quietly(learn.fit_one_cycle, 1, cbs=ReduceLROnPlateau())
    with pytest.raises(ValueError, match='expected more than 1'): quietly(learn.fit, 1, cbs=ReduceLROnPlateau(factor=.1))
    assert not learn.recorder.batches


def test_no_floor_raises_a_rate():
    learn = build(sgd, items=32)
    quietly(learn.fit, 3, .01, cbs=[Told([1, 2, 3]), ReduceLROnPlateau(min_lr=.1)])
    assert set(learn.recorder.lrs) == {.01}


# ---- short epochs

@pytest.mark.parametrize('pct, done', [(.01, 1), (.5, 10), (.51, 11), (1., 20)])
def test_short_epochs(pct, done):
    learn = build(items=320)
    quietly(learn.fit, 2, cbs=ShortEpochCallback(pct))
    assert learn.recorder.ends == [done, 2 * done] and len(learn.recorder.values[1]) == 3
    whole = build(items=320)
    quietly(whole.fit, 2, cbs=ShortEpochCallback(pct, short_valid=False))
    assert digest(whole.model.state_dict()) == digest(learn.model.state_dict())
    assert learn.validate()[0] == pytest.approx(whole.recorder.values[-1][1])
    with pytest.raises(ValueError, match='a share up to 1'): quietly(learn.fit, 1, cbs=ShortEpochCallback(0))


# ---- gradients

def plain(bs, opt=sgd_momentum, loss=F.cross_entropy, n=100, **kwargs):
    "A learner without norms and dropout, whose batches come in order"
    set_seed(3)
    x, y = torch.randn(n, 6), torch.randint(3, (n,))
    dls = DataLoaders.from_tensors((x, y), (x[:20], y[:20]), bs=bs, device='cpu')
    dls.loaders[0] = dls.train.new(shuffle=False)
    return Learner(dls, nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)), loss, opt_func=opt, **kwargs)


def vector(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


@pytest.mark.parametrize('loss', [F.cross_entropy, nn.CrossEntropyLoss(torch.tensor([.2, 1., 3.])),
                                  nn.CrossEntropyLoss(ignore_index=1), lambda p, y: F.mse_loss(p, F.one_hot(y, 3).float())])
@pytest.mark.parametrize('bs', [8, 16, 32])
def test_gathered_gradients_are_those_of_the_large_batch(bs, loss):
    whole, parts = plain(32, loss=loss), plain(bs, loss=loss)
    quietly(whole.fit, 3, .1)
    quietly(parts.fit, 3, .1, cbs=GradientAccumulation(32))
    assert torch.allclose(vector(whole), vector(parts), atol=1e-6)
    other = plain(20, loss=loss)
    quietly(other.fit, 3, .1)
    assert not torch.allclose(vector(whole), vector(other), atol=1e-3)
    assert all(p.grad is None or not p.grad.any() for p in parts.model.parameters())


def test_groups_that_do_not_come_out_even():
    parts = plain(7)                              # 15 batches, 5 to a group: after 35, 70 and 100 items
    steps = []
    class Count(Callback):
        def after_step(self): steps.append(self.learn.iter)
    quietly(parts.fit, 1, .1, cbs=[GradientAccumulation(32), Count])
    assert steps == [4, 9, 14]


def test_a_last_batch_that_is_left_out_costs_no_group():
    def losses(n, *cbs):
        learn = plain(4, n=n)
        learn.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        set_seed(1)
        for layer in learn.model: layer.reset_parameters()
        steps = []
        class Count(Callback):
            def after_step(self): steps.append(self.learn.iter)
        quietly(learn.fit, 1, .1, cbs=[GradientAccumulation(16), Count])
        return steps, vector(learn)
    (even, same), (odd, left_out) = losses(24), losses(25)     # of 25 the last row is alone: no batch for a norm
    assert len(even) == len(odd) == 2
    assert not torch.equal(same, plain(4, n=24).model[0].weight) and torch.isfinite(left_out).all()


def test_clipping_with_gathering():
    "The gathered gradient is clipped, not its parts"
    whole, parts = plain(32, sgd), plain(8, sgd)
    quietly(whole.fit, 2, .1, cbs=GradientClip(.05))
    quietly(parts.fit, 2, .1, cbs=[GradientClip(.05), GradientAccumulation(32)])
    free = plain(32, sgd)
    quietly(free.fit, 2, .1)
    assert torch.allclose(vector(whole), vector(parts), atol=1e-6)
    assert not torch.allclose(vector(whole), vector(free), atol=1e-4)


@pytest.mark.parametrize('norm_type', [2., math.inf])
def test_clipped_to_a_length(norm_type):
    norms = []
    class Norm(Callback):
        order = 31
        def before_step(self):
            grads = torch.cat([p.grad.flatten() for p in self.learn.model.parameters()])
            norms.append(grads.norm(norm_type).item())
    learn = plain(8)
    quietly(learn.fit, 2, .1, cbs=[GradientClip(.03, norm_type), Norm])
    assert max(norms) == pytest.approx(.03, rel=1e-3)
    norms.clear()
    quietly(learn.fit, 1, .1, cbs=[GradientClip(1e6), Norm])
    assert min(norms) > .03 and max(norms) < 1e6


# ---- mixed pictures

class Watch(Callback):
    order = 11
    def before_fit(self): self.batches = []
    def before_batch(self):
        if self.learn.training: self.batches.append((self.learn.xb[0].clone(), self.learn.yb[0].clone()))


def pictures(**kwargs):
    set_seed(0)
    x, y = torch.rand(40, 3, 8, 6), torch.randint(3, (40,))
    dls = DataLoaders.from_tensors((x, y), (x[:9], y[:9]), bs=10, device='cpu')
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(144, 3)), F.cross_entropy, **kwargs)


@pytest.mark.parametrize('mixer', [MixUp, CutMix])
def test_mixed_inputs_and_both_labels(mixer):
    learn, mix, watch, losses = pictures(), mixer(), Watch(), []
    class ByHand(Callback):
        order = 12
        def after_loss(self):
            if not self.learn.training: return
            pred, other = self.learn.pred, mix.others[0]
            right = mix.share * F.cross_entropy(pred, self.learn.yb[0]) + (1 - mix.share) * F.cross_entropy(pred, other)
            losses.append((self.learn.loss.item(), self.learn.loss_grad.item(), right.item()))
    raw = {tuple(x.flatten().tolist()) for x in learn.dls.train.dataset.tensors[0]} if hasattr(learn.dls.train, 'dataset') else ()
    quietly(learn.fit, 2, 1e-2, cbs=[mix, watch, ByHand])
    assert len(losses) == 8
    for mine, grad, right in losses: assert mine == pytest.approx(right, abs=1e-6) and grad == pytest.approx(right, abs=1e-6)
    again = pictures()
    quietly(again.fit, 2, 1e-2, cbs=[mixer(), seen := Watch()])
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(watch.batches, seen.batches))   # by the seed


def test_each_mixed_picture_is_the_two_it_says():
    x = torch.stack([torch.full((3, 8, 8), float(i)) for i in range(6)])
    for mixer in (MixUp(), CutMix()):
        learn = pictures()
        learn.add_cb(mixer)
        for seed in range(20):
            set_seed(seed)
            learn.training, learn.xb, learn.yb = True, (x,), (torch.arange(6.),)
            mixer.before_batch()
            mixed, (others,), share = learn.xb[0], mixer.others, mixer.share
            assert 0 <= share <= 1 and torch.equal(x[:, 0, 0, 0], torch.arange(6.))       # the batch itself is whole
            means = mixed.mean((1, 2, 3))
            assert torch.allclose(means, share * learn.yb[0] + (1 - share) * others, atol=1e-5)
            if isinstance(mixer, CutMix): assert all(set(m.unique().tolist()) <= {a, b.item()}
                                                     for m, a, b in zip(mixed, range(6), others))


def test_mixing_is_for_training_alone():
    for mixer in (MixUp(), CutMix()):
        learn = pictures()
        learn.add_cb(mixer)
        before = learn.validate()
        assert learn.validate() == before and torch.equal(learn.get_preds()[0], learn.get_preds()[0])


def test_what_cannot_be_mixed_says_so():
    numbers = DataLoaders.from_tensors((torch.randint(9, (20, 4)), torch.randint(2, (20,))), None, bs=5, device='cpu')
    learn = Learner(numbers, nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(8, 2)), F.cross_entropy)
    with pytest.raises(ValueError, match='mixes pictures and other decimal numbers; the input is int64'):
        quietly(learn.fit, 1, cbs=MixUp())
    with pytest.raises(ValueError, match='CutMix wants pictures'): quietly(build(items=32).fit, 1, cbs=CutMix())
    with pytest.raises(ValueError, match='more than 0'): quietly(build(items=32).fit, 1, cbs=MixUp(0))


# ---- the average of the weights

def test_the_average_by_hand():
    learn, own, now = plain(10), [], []
    class ByHand(Callback):
        order = 901
        def before_fit(self): self.mean, self.n = vector(self.learn), 0
        def after_step(self):
            self.n += 1
            self.mean = self.mean.lerp(vector(self.learn), 1 - min(.9, self.n / (self.n + 9)))
        def before_validate(self): own.append((vector(self.learn), self.mean))
        def before_train(self): now.append(vector(self.learn))
    quietly(learn.fit, 3, .1, cbs=[EMACallback(.9), hand := ByHand()])
    for mine, mean in own: assert torch.allclose(mine, mean, atol=1e-6)
    assert torch.allclose(vector(learn), hand.mean, atol=1e-6)
    bare = plain(10)
    quietly(bare.fit, 3, .1, cbs=[watch := ByHand()])
    assert all(torch.equal(a, b) for a, b in zip(now[:3], now[3:]))           # training goes on from the weights themselves
    assert not torch.allclose(vector(bare), vector(learn), atol=1e-4)


def test_what_is_saved_is_what_was_judged(tmp_path):
    learn = build(items=64, path=tmp_path)
    quietly(learn.fit, 5, .05, cbs=[EMACallback(.8), save := SaveModelCallback('accuracy')])
    assert learn.validate()[1] == pytest.approx(max(row[2] for row in learn.recorder.values))
    learn = build(items=64, path=tmp_path)
    quietly(learn.fit, 6, .05, cbs=[EMACallback(.8), EarlyStoppingCallback('accuracy', patience=1)])
    assert learn.validate() == pytest.approx(learn.recorder.values[-1][1:], abs=1e-5)


def test_an_error_leaves_the_weights_and_not_the_average():
    class Trip(Callback):
        def after_batch(self):
            if not self.learn.training and self.learn.epoch == 1: raise RuntimeError('stumbled')
    learn = build(items=64)
    with pytest.raises(RuntimeError, match='stumbled'): quietly(learn.fit, 3, .05, cbs=[EMACallback(.8), Trip])
    other = build(items=64)
    with pytest.raises(RuntimeError, match='stumbled'): quietly(other.fit, 3, .05, cbs=[Trip])
    for (name, a), b in zip(learn.model.state_dict().items(), other.model.state_dict().values()): assert torch.equal(a, b), name


def test_a_permanent_average_disturbs_nobody():
    learn = build(items=64, cbs=EMACallback(.8))
    quietly(learn.fit, 2, .05)
    before, scores = digest(learn.model.state_dict()), learn.validate()
    assert learn.validate() == scores and digest(learn.model.state_dict()) == before
    class Ask(Callback):
        def before_epoch(self): self.scores = quietly(self.learn.validate)
    asked = build(items=64, cbs=EMACallback(.8))
    quietly(asked.fit, 2, .05, cbs=Ask)
    assert digest(asked.model.state_dict()) == before
    for cancel in (CancelFitException, CancelEpochException):
        class Cut(Callback):
            def after_batch(self):
                if self.learn.training and self.learn.epoch == 1 and self.learn.iter == 2: raise cancel
        cut = build(items=64)
        quietly(cut.fit, 2, .05, cbs=[average := EMACallback(.8), Cut])
        values = {name: value for name, value in cut.model.state_dict().items() if value.is_floating_point()}
        assert average.inside and not all(torch.equal(values[name], average.averages[name]) for name in values)


def test_an_average_without_validation():
    learn = plain(10)
    learn.dls.loaders[1] = None
    quietly(learn.fit, 2, .1, cbs=EMACallback(.9))
    judged = plain(10)
    quietly(judged.fit, 2, .1, cbs=EMACallback(.9))
    assert torch.equal(vector(learn), vector(judged))


# ---- a diary

def test_the_table_in_a_file(tmp_path):
    learn, log = build(items=64, path=tmp_path), CSVLogger('logs/run, "one".csv')
    quietly(learn.fit, 3, .01, cbs=log)
    table = log.read_log()
    assert list(table) == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'time'] and table.epoch.tolist() == [0, 1, 2]
    assert np.allclose(table[['train_loss', 'valid_loss', 'accuracy']], learn.recorder.values)
    assert pd.read_csv(tmp_path/'logs'/'run, "one".csv').equals(table)
    assert [file.name for file in (tmp_path/'logs').iterdir()] == ['run, "one".csv']
    quietly(learn.fit, 2, .01, cbs=(more := CSVLogger('logs/run, "one".csv', append=True)))
    rows = list(csv.reader((tmp_path/'logs'/'run, "one".csv').open()))
    assert [row[0] for row in rows] == ['epoch', '0', '1', '2', 'epoch', '0', '1'] and len(more.read_log()) == 2
    quietly(learn.fit, 1, .01, cbs=CSVLogger('logs/run, "one".csv'))
    assert len(list(csv.reader((tmp_path/'logs'/'run, "one".csv').open()))) == 2


def test_a_table_with_odd_names(tmp_path):
    class Odd(Metric):
        name = 'a, "b"\nepoch,'
        value = 1.
        def accumulate(self, learn): pass
    learn, log = build(items=32, path=tmp_path), CSVLogger()
    learn.metrics = [Odd()]
    quietly(learn.fit, 1, cbs=log)
    assert list(csv.reader(log.file.open(newline='')))[0][3] == 'a, "b"\nepoch,'


def test_a_file_that_cannot_be_says_so_first(tmp_path):
    (tmp_path/'taken').mkdir()
    learn = build(items=32, path=tmp_path)
    with pytest.raises(OSError, match='is a folder'): quietly(learn.fit, 1, cbs=CSVLogger('taken'))
    assert not learn.recorder.batches


def test_dictionaries_of_numbers():
    learn, told = build(items=64), []
    quietly(learn.fit, 2, .01, cbs=Tracker(told.append, every=3))
    batches = [row for row in told if 'batch' in row]
    assert [row['batch'] for row in batches] == [0, 3, 6]
    assert [row['loss'] for row in batches] == [learn.recorder.losses[i] for i in (0, 3, 6)]
    assert [row for row in told if 'epoch' in row] == [
        dict(zip(['epoch', 'train_loss', 'valid_loss', 'accuracy'], [i, *row])) for i, row in enumerate(learn.recorder.values)]
    with pytest.raises(TypeError, match='cannot be called'): quietly(learn.fit, 1, cbs=Tracker(3))


def test_curves_can_be_read_back(tmp_path):
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator', reason='tensorboard is not installed')
    learn = build(items=64, path=tmp_path)
    quietly(learn.fit, 2, .01, cbs=TensorBoardCallback('curves'))
    events = reader.EventAccumulator(str(tmp_path/'curves'))
    events.Reload()
    losses = events.Scalars('batch/loss')
    assert [event.step for event in losses] == list(range(8))
    assert [event.value for event in losses] == pytest.approx(learn.recorder.losses)
    assert [event.value for event in events.Scalars('epoch/accuracy')] == pytest.approx([row[2] for row in learn.recorder.values])


def test_without_tensorboard_one_sentence(tmp_path, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    learn = build(items=32, path=tmp_path)
    with pytest.raises(ImportError, match=r"needs the package tensorboard: pip install 'lessonlib\[track\]'"):
        quietly(learn.fit, 1, cbs=TensorBoardCallback())
    assert not learn.recorder.batches and not (tmp_path/'runs').exists()


def test_a_curve_only_where_there_is_a_notebook():
    import matplotlib.pyplot as plt
    plt.close('all')                     # those of other tests
    learn = build(items=32)
    quietly(learn.fit, 2, cbs=ShowGraphCallback)
    assert not plt.get_fignums()


# ---- with a break

WITH_A_BREAK = {
    'accumulate': lambda: [GradientAccumulation(48)], 'average': lambda: [EMACallback(.8)], 'mixup': lambda: [MixUp()],
    'plateau': lambda: [ReduceLROnPlateau(factor=3)], 'short': lambda: [ShortEpochCallback(.6)],
    'log': lambda: [CSVLogger('log.csv', append=True)], 'kept': lambda: [SaveModelCallback('accuracy')],
    'all': lambda: [GradientAccumulation(48), EMACallback(.8), MixUp(), GradientClip(.1), SaveModelCallback('accuracy'),
                    CSVLogger('log.csv', append=True), Tracker([].append)],
}


@pytest.mark.parametrize('name', WITH_A_BREAK)
@pytest.mark.parametrize('after', [1, 6, 10, 13])
def test_a_break_changes_nothing(tmp_path, name, after):
    def run(path, *more, **kwargs):
        path.mkdir(exist_ok=True)
        if not (path/'log.csv').exists(): (path/'log.csv').write_text('epoch,earlier\n0,1\n')
        learn = build(items=80, path=path)                     # 5 batches an epoch
        cbs = [*WITH_A_BREAK[name](), Checkpoint(every_batches=1, **kwargs), *more]
        try: quietly(learn.fit, 4, .2, cbs=cbs)
        except KeyboardInterrupt: pass
        return learn
    whole = run(tmp_path/'whole')
    run(tmp_path/'broken', Stop(after))
    again = run(tmp_path/'broken', resume=True)
    assert digest(again.model.state_dict()) == digest(whole.model.state_dict())
    assert again.recorder.batches == whole.recorder.batches and again.recorder.values == whole.recorder.values
    if name in ('log', 'all'):
        tables = [[row[:-1] for row in csv.reader((tmp_path/folder/'log.csv').open())] for folder in ('whole', 'broken')]
        assert tables[0] == tables[1] and len(tables[0]) == 7


# ---- manners

EVERY = {'stop': lambda: EarlyStoppingCallback(), 'save': lambda: SaveModelCallback(), 'plateau': lambda: ReduceLROnPlateau(),
         'short': lambda: ShortEpochCallback(.5), 'clip': lambda: GradientClip(), 'accumulate': lambda: GradientAccumulation(40),
         'mixup': lambda: MixUp(), 'average': lambda: EMACallback(), 'log': lambda: CSVLogger(),
         'tell': lambda: Tracker([].append), 'graph': lambda: ShowGraphCallback()}


@pytest.mark.parametrize('name', EVERY)
def test_they_go_with_the_fit_and_leave_the_learner_as_it_was(tmp_path, name):
    class Trip(Callback):
        def after_backward(self):
            if self.learn.iter == 1: raise RuntimeError('stumbled')
    learn = build(items=64, path=tmp_path)
    quietly(learn.fit, 1, .01)
    before = whole_state(learn)
    with pytest.raises(RuntimeError, match='stumbled'): quietly(learn.fit, 2, .01, cbs=[EVERY[name](), Trip])
    after = whole_state(learn)
    for what in ('cbs', 'listeners', 'grads', 'modes', 'requires'): assert after[what] == before[what], what
    quietly(learn.fit, 1, .01, cbs=[EVERY[name](), EVERY[name]()])          # two of a kind, and the learner is usable
    assert [id(cb) for cb in learn.cbs] == before['cbs'] and len(learn.recorder.values) == 1


@pytest.mark.parametrize('name', EVERY)
def test_the_learning_rate_finder_puts_up_with_them(tmp_path, name):
    learn = build(items=400, path=tmp_path, cbs=EVERY[name]())
    before = digest(learn.model.state_dict())
    quietly(learn.lr_find, show_plot=False)
    assert digest(learn.model.state_dict()) == before and not list(tmp_path.iterdir())
