"The Learner against a hand-written loop, on data of several kinds, and on bad input."
import contextlib
import copy
import gc
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from helpers.small_learner import data, learner, net, same, weights
from lessonlib.batches import (AccumMetric, AvgMetric, DataLoaders, TensorDataLoader, WeightedMean, accuracy,
                               mae, rmse)
from lessonlib.core import set_seed
from lessonlib.learner import (Callback, CancelBatchException, CancelEpochException, CancelFitException,
                               CancelStepException, CancelTrainException, CancelValidException, Learner,
                               Recorder, adamw, default_callbacks, event_names, layer_rates)
from lessonlib.progress import ProgressCallback
from lessonlib.sgd import mse, SGD

ROOT = Path(__file__).resolve().parent.parent


def by_hand(model, batches, loss_func, opt, epochs):
    losses = []
    for _ in range(epochs):
        model.train()
        for xb, yb in batches:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            losses.append(loss.item())
    return losses



OPTIMISERS = {'adamw': (None, lambda groups: torch.optim.AdamW(groups, lr=.01, betas=(.9, .99), eps=1e-5)),
              'momentum': (lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=.9),
                           lambda groups: torch.optim.SGD(groups, lr=.01, momentum=.9))}



@pytest.mark.parametrize('loader', ['tensors', 'torch', 'workers'])
@pytest.mark.parametrize('opt', OPTIMISERS)
def test_parity_with_a_loop_written_by_hand(loader, opt):
    dls = data(n_valid=None)
    if loader != 'tensors':
        dls = DataLoaders.from_dsets(TensorDataset(*dls.train.tensors), bs=8, device='cpu',
                                     num_workers=2 if loader == 'workers' else 0)
    ours, theirs = OPTIMISERS[opt]
    learn = learner(dls, opt_func=ours, lr=.01)
    set_seed(4)
    learn.fit(3)

    model = net()
    plain = [p for n, p in model.named_parameters() if n in ('0.weight', '4.weight')]
    spared = [p for n, p in model.named_parameters() if n not in ('0.weight', '4.weight')]
    opt = theirs([dict(params=plain, weight_decay=.01), dict(params=spared, weight_decay=0.)])
    set_seed(4)
    losses = by_hand(model, dls.train, F.cross_entropy, opt, 3)
    assert same(learn.model.state_dict().values(), model.state_dict().values())
    assert learn.recorder.losses == losses
    mine, theirs = learn.opt.state_dict()['state'], opt.state_dict()['state']
    assert all(same(mine[i].values(), theirs[i].values()) for i in theirs if theirs[i])



def test_events_come_in_order():
    heard = []
    class Listener(Callback): pass
    for event in event_names: setattr(Listener, event, lambda self, event=event: heard.append(event))
    learner(data(n=16, n_valid=3)).fit(1, cbs=Listener)
    batch = ['before_batch', 'after_pred', 'after_loss']
    train = [*batch, 'before_backward', 'after_backward', 'before_step', 'after_step', 'after_batch']
    assert heard == ['before_fit', 'before_epoch', 'before_train', *train, *train, 'after_train',
                     'before_validate', *batch, 'after_batch', 'after_validate', 'after_epoch', 'after_fit']



def test_callbacks_run_by_order_then_as_added():
    heard = []
    def make(label, place):
        return type(label, (Callback,), dict(order=place, before_fit=lambda self: heard.append(label)))
    learner().fit(0, cbs=[make('C', 5), make('A', -5), make('B', 5)])
    assert heard == ['A', 'C', 'B']



@pytest.mark.parametrize('error, event, expected', [
    (CancelStepException, 'before_step', dict(batches=14, rows=2)),
    (CancelBatchException, 'before_batch', dict(batches=0, rows=2)),
    (CancelBatchException, 'after_backward', dict(batches=14, rows=2)),
    (CancelTrainException, 'before_batch', dict(batches=0, rows=2)),
    (CancelEpochException, 'after_batch', dict(batches=2, rows=2)),
    (CancelFitException, 'after_batch', dict(batches=1, rows=0)),
    (CancelValidException, 'before_validate', dict(batches=14, rows=2))])
def test_cancelling(error, event, expected):
    def stop(self):
        if self.training or event == 'before_validate': raise error
    seen = []
    name = {'Valid': 'validate'}.get(error.__name__[6:-9], error.__name__[6:-9].lower())
    cb = type('Stopper', (Callback,), {'order': 55, event: stop, f'after_cancel_{name}': lambda self: seen.append(1)})
    learn = learner(metrics=accuracy)
    start = weights(learn)
    learn.fit(2, cbs=cb)
    assert seen and len(learn.recorder.losses) == expected['batches']
    assert len(learn.recorder.values) == expected['rows']
    if error in (CancelStepException, CancelBatchException):
        assert torch.equal(learn.model[0].weight, start[0]), 'no step was made'
    if error is CancelValidException: assert learn.recorder.values[0][1:] == [None, None]
    learn.fit(1)
    assert not torch.equal(learn.model[0].weight, start[0])



@pytest.mark.parametrize('event', [e for e in event_names if 'cancel' not in e])
def test_ctrl_c_anywhere_leaves_a_usable_learner(event):
    def press(self):
        if self.epoch == 1 or event in ('before_fit', 'after_fit'): raise KeyboardInterrupt
    class Hooks(Callback):
        "Opens something, and must get the chance to close it"
        open = False
        def before_fit(self): self.open = True
        def after_fit(self): self.open = False
    Hooks.order = -100
    hooks = Hooks()
    learn = learner(metrics=accuracy)
    with pytest.raises(KeyboardInterrupt): learn.fit(3, cbs=[hooks, type('Press', (Callback,), {event: press})])
    recorder = learn.recorder
    n = len(recorder.losses)
    assert n == len(recorder.lrs) == len(recorder.smooth_losses) == len(recorder.moms)
    assert len(recorder.values) == len(recorder.seconds) == len(recorder.ends) <= 3
    assert not hooks.open and [type(cb) for cb in learn.cbs] == default_callbacks
    assert not learn.model.training and not learn.training and not hasattr(learn, 'press')
    assert all(p.grad is None for p in learn.model.parameters())
    assert learn.pred is None and learn.loss is None
    learn.fit(1)
    assert len(recorder.values) == 1 and math.isfinite(recorder.values[0][0])



def test_after_an_interruption_nothing_is_left_in_the_gradients():
    class Press(Callback):
        def after_backward(self): raise KeyboardInterrupt
    interrupted, fresh = learner(), learner()
    with pytest.raises(KeyboardInterrupt): interrupted.fit(1, cbs=Press)
    interrupted.model.load_state_dict(fresh.model.state_dict())
    for learn in (interrupted, fresh):
        set_seed(1)
        learn.fit(1, reset_opt=True)
    assert same(weights(interrupted), weights(fresh))



def test_position_in_the_fit():
    seen = []
    class Watch(Callback):
        def before_epoch(self): seen.append(('epoch', self.pct_train))
        def before_batch(self): seen.append(('batch', self.pct_train))
        def after_fit(self): seen.append(('end', self.pct_train))
    learner(data(n=16, n_valid=None)).fit(2, cbs=Watch)
    assert seen == [('epoch', 0), ('batch', 0), ('batch', .25), ('epoch', .5), ('batch', .5), ('batch', .75),
                    ('end', 1)]



def test_a_fit_leaves_nothing_behind():
    learn = learner()
    learn.fit(1)
    def tensors():
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())
    before = tensors()
    for _ in range(3): learn.fit(1)
    assert tensors() <= before
    assert not any(m._forward_hooks for m in learn.model.modules())



def test_two_inputs():
    class Pair(nn.Module):
        def __init__(self): super().__init__(); self.mix = nn.Bilinear(3, 2, 1)
        def forward(self, a, b): return self.mix(a, b)[:, 0]
    set_seed(0)
    a, b = torch.randn(200, 3), torch.randn(200, 2)
    y = (a[:, 0] * b[:, 1]) - a[:, 2] * b[:, 0]
    learn = learner(DataLoaders.from_tensors((a, b, y), (a, b, y), bs=20, device='cpu'), Pair(), F.mse_loss,
                    lr=.05, metrics=[mse, rmse, mae])
    learn.fit(15)
    loss, squared, root, absolute = learn.validate()
    assert squared < .01 and loss == pytest.approx(squared) and root == pytest.approx(squared**.5, rel=1e-4)
    value, _, output = learn.predict((a[0], b[0]))
    assert abs(value - y[0]) < .5 and torch.equal(value, output)
    (first, second), preds, targs = learn.get_preds(with_input=True)
    assert torch.equal(first, a) and torch.equal(second, b) and torch.equal(targs, y)
    with pytest.raises(TypeError, match='1 inputs'): learn.predict(a[0])



def test_inputs_in_a_tuple_of_their_own():
    "Items such as ((a, b), y): the model gets one argument, a list"
    class Pair(nn.Module):
        def __init__(self): super().__init__(); self.linear = nn.Linear(4, 1)
        def forward(self, both): return self.linear(torch.cat(list(both), 1))
    items = [((torch.randn(2), torch.randn(2)), torch.randn(1)) for _ in range(12)]
    learn = learner(DataLoaders.from_dsets(items, items, bs=5, device='cpu'), Pair(), F.mse_loss)
    learn.fit(1)
    assert learn.get_preds()[0].shape == (12, 1)



def test_integer_sequences():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(6, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 6)
        def forward(self, tokens): return self.head(self.rnn(self.embed(tokens))[0])
    set_seed(0)
    start = torch.randint(0, 6, (160, 1))
    tokens = (start + torch.arange(9)) % 6
    dls = DataLoaders.from_tensors((tokens[:, :-1], tokens[:, 1:]), (tokens[:, :-1], tokens[:, 1:]), bs=32,
                                   device='cpu')
    loss = lambda pred, targ: F.cross_entropy(pred.flatten(0, 1), targ.flatten())
    learn = learner(dls, Last(), loss, lr=.02, metrics=accuracy)
    learn.fit(8)
    assert learn.validate()[1] > .95
    assert '(32, 8, 16)' in learn.summary() and 'LSTM' in learn.summary()
    named = {id(p): n for n, p in learn.model.named_parameters()}
    for group in learn.opt.param_groups:
        for p in group['params']:
            assert ('bias' in named[id(p)]) == (group['weight_decay'] == 0)



def test_several_targets_and_a_loss_of_its_own():
    class Heads(nn.Module):
        def __init__(self): super().__init__(); self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 1)
        def forward(self, x): return self.a(x), self.b(x)[:, 0]
    def loss(pred, kind, size): return F.cross_entropy(pred[0], kind) + F.mse_loss(pred[1], size)
    def kind_right(pred, kind, size): return (pred[0].argmax(1) == kind).float().mean()
    def largest_error(pred, kind, size): return (pred[1] - size).abs().max()
    set_seed(0)
    x = torch.randn(90, 5)
    kind, size = x[:, :3].argmax(1), x.sum(1)
    dls = DataLoaders.from_tensors((x, kind, size), (x[:31], kind[:31], size[:31]), bs=16, n_inp=1, device='cpu')
    learn = learner(dls, Heads(), loss, lr=.05, metrics=[kind_right, AccumMetric(largest_error)])
    learn.fit(30)
    _, right, error = learn.validate()
    (_, sizes), (_, wanted) = learn.get_preds()
    assert right > .9 and error == pytest.approx((sizes - wanted).abs().max().item(), abs=1e-5) and error < .2
    assert learn.recorder.names == ['train_loss', 'valid_loss', 'kind_right', 'largest_error']



def test_dictionaries_of_inputs():
    class Take(nn.Module):
        def __init__(self): super().__init__(); self.linear = nn.Linear(2, 2)
        def forward(self, batch): return self.linear(batch['a'])
    items = [(dict(a=torch.randn(2), b='text'), i % 2) for i in range(9)]
    learn = learner(DataLoaders.from_dsets(items, items, bs=4, device='cpu'), Take(), metrics=accuracy)
    learn.fit(1)
    assert len(learn.get_preds()[1]) == 9



def test_layer_groups_and_their_rates():
    learn = learner(splitter=lambda model: [list(model[:3].parameters()), list(model[3:].parameters())], lr=[.001, .1])
    learn.fit(1)
    assert [(g['layer_group'], g['lr'], g['weight_decay'], len(g['params'])) for g in learn.opt.param_groups] == [
        (0, .001, .01, 1), (0, .001, 0, 3), (1, .1, .01, 1), (1, .1, 0, 1)]
    assert learn.recorder.lrs[-1] == .1
    learn.fit(1, lr=.5, wd=.2)
    assert {g['lr'] for g in learn.opt.param_groups} == {.5}
    assert {g['weight_decay'] for g in learn.opt.param_groups} == {.2, 0}
    with pytest.raises(ValueError, match='3 learning rates for 2'): learn.fit(1, lr=[1, 2, 3])
    with pytest.raises(ValueError, match="leaves out 2 parameters: \\['4.weight', '4.bias'\\]"):
        learner(splitter=lambda model: [model[:4].parameters()]).fit(1)



def test_frozen_layers_stay():
    learn = learner()
    learn.model[0].requires_grad_(False)
    start = learn.model[0].weight.clone()
    learn.fit(2)
    assert torch.equal(learn.model[0].weight, start)



def test_a_new_model_gets_a_new_optimiser():
    learn = learner()
    learn.fit(1)
    learn.model = net(5)
    start = weights(learn)
    learn.fit(1)
    assert not torch.equal(learn.model[0].weight, start[0])



def test_the_table_holds_the_values_of_the_whole_set():
    learn = learner(metrics=[accuracy, AccumMetric(accuracy, name='whole')])
    learn.fit(2)
    x, y = learn.dls.valid.tensors
    with torch.no_grad(): pred = learn.model(x)
    row = learn.recorder.values[-1]
    assert row[1] == pytest.approx(F.cross_entropy(pred, y).item(), abs=1e-6)
    assert row[2] == pytest.approx(accuracy(pred, y).item()) == row[3]
    assert learn.recorder.names == ['train_loss', 'valid_loss', 'accuracy', 'whole']
    mean = sum(l * n for l, n in zip(learn.recorder.losses[7:], [8] * 6 + [2])) / 50
    assert row[0] == pytest.approx(mean)



def test_recorder_writes_what_the_optimiser_used():
    learn = learner(opt_func=lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=.8), lr=.3)
    learn.fit(2)
    assert learn.recorder.lrs == [.3] * 14 and learn.recorder.moms == [.8] * 14
    ax = learn.recorder.plot_loss()
    assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel() and len(ax.lines) == 3



def test_empty_loaders():
    x, y = torch.randn(4, 5), torch.zeros(4).long()
    with pytest.raises(ValueError, match='train loader is empty'): learner(data(n=0)).fit(1)
    with pytest.raises(ValueError, match='valid loader is empty.*valid=None'): learner(data(n_valid=0)).fit(1)
    with pytest.raises(ValueError, match='batch size larger'):
        learner(DataLoaders.from_tensors((x, y), bs=8, drop_last=True, device='cpu')).fit(1)
    with pytest.raises(ValueError, match='Loader 0 is empty'): data(n=0).one_batch()
    with pytest.raises(ValueError, match='training set is empty'): DataLoaders.from_dsets([])
    with pytest.raises(ValueError, match='one row or more'): TensorDataLoader(x, bs=0)



def test_no_validation_set():
    learn = learner(data(n_valid=None), metrics=accuracy)
    learn.fit(1)
    assert learn.recorder.names == ['train_loss']
    with pytest.raises(ValueError, match='no validation set'): learn.validate()
    with pytest.raises(ValueError, match='no validation set'): learn.get_preds()



def test_no_loss_function():
    with pytest.raises(ValueError, match='pass loss_func'): learner(loss_func=None)
    assert learner(data(loss_func=F.cross_entropy), loss_func=None).loss_func is F.cross_entropy



def test_misspelt_and_clashing_callbacks():
    with pytest.raises(ValueError, match='after_epoch'):
        learner(cbs=type('Typo', (Callback,), dict(after_epoc=lambda self: None)))
    for name in ('Model', 'Fit', 'DlsCallback'):
        with pytest.raises(ValueError, match='rename'): learner(cbs=type(name, (Callback,), {}))
    with pytest.raises(AttributeError, match='no learner yet'): Recorder().model



def test_two_callbacks_of_one_class():
    class Note(Callback):
        def __init__(self, text): self.text = text
    first, second = Note('first'), Note('second')
    learn = learner(cbs=first)
    with learn.added_cbs(second): assert learn.note is second
    assert learn.note is first and first in learn.cbs and second.learn is None



def test_import_is_light():
    code = ('import sys, torch; before = set(sys.modules); import lessonlib.learner; '
            'print(*{m.partition(".")[0] for m in set(sys.modules) - before})')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {'matplotlib', 'pandas', 'torchvision', 'IPython', 'ipywidgets', 'sklearn', 'tqdm', 'PIL', 'scipy'}
    assert not heavy & set(done.stdout.split()), done.stdout


# --- habits of scripts from elsewhere ----------------------------------------------------------------------------------

def heard_by(**attributes):
    "How many training and validation batches a callback with these attributes hears of in a fit, and the fits"
    heard = dict(train=0, valid=0, epochs=0)
    def after_batch(self): heard['train' if self.training else 'valid'] += 1
    def before_epoch(self): heard['epochs'] += 1
    cb = type('Ear', (Callback,), dict(after_batch=after_batch, before_epoch=before_epoch, **attributes))()
    return learner(cbs=cb), cb, heard


@pytest.mark.parametrize('off, left', [({}, ('train', 'valid')), (dict(run_valid=False), ('train',)),
                                       (dict(run_train=False), ('valid',))])
def test_callbacks_may_leave_out_a_phase(off, left):
    learn, _, heard = heard_by(**off)
    learn.fit(1)
    assert heard['epochs'] == 1 and [name for name in ('train', 'valid') if heard[name]] == list(left)
    assert heard['train'] in (0, len(learn.dls.train)) and heard['valid'] in (0, len(learn.dls.valid))


def test_a_callback_keeps_quiet_for_one_fit():
    learn, cb, heard = heard_by(before_fit=lambda self: setattr(self, 'run', self.learn.n_epoch > 1))
    learn.fit(1)
    assert heard['epochs'] == 0 and cb.run is True, 'off until the fit is over'
    learn.fit(2)
    assert heard['epochs'] == 2
    cb.run_valid = False   # an instance, between fits
    before = heard['valid']
    learn.fit(2)
    assert heard['valid'] == before and heard['epochs'] == 4


def test_callbacks_say_whom_they_follow():
    heard = []
    def make(label, **attributes):
        return type(label, (Callback,), dict(before_fit=lambda self: heard.append(label), **attributes))
    late = make('Late', run_after=Recorder, order=-90)
    early = make('Early', run_before=[late, ProgressCallback], order=90)
    last = make('Last', toward_end=True, order=-99)
    learn = learner(cbs=[last, late, early])
    learn.fit(0)
    assert heard == ['Early', 'Late', 'Last']
    calls = [type(f.__self__) for f in learn.listeners['before_fit']]
    assert calls.index(Recorder) < calls.index(late) and calls.index(early) < calls.index(ProgressCallback)
    circle = make('Circle', run_before=late)
    learn.add_cb(circle)
    late.run_before = circle
    with pytest.raises(ValueError, match='waits for another'): learn.fit(1)


def test_the_gradient_is_that_of_loss_grad():
    class Nothing(Callback):
        def after_loss(self): self.learn.loss_grad = self.loss * 0
    learn = learner(cbs=Nothing, opt_func=torch.optim.SGD)
    before = weights(learn)
    learn.fit(1, .1, wd=0.)
    assert torch.equal(learn.model[0].weight, before[0]) and learn.recorder.losses[0] > 0


def test_the_first_error_is_the_one_to_be_seen():
    class Broken(Callback):
        def before_batch(self): self.nowhere.shape
        def after_fit(self): [][0]
    learn = learner(cbs=Broken)
    with pytest.raises(AttributeError, match="A Broken has no 'nowhere'.*learner") as caught: learn.fit(1)
    if sys.version_info >= (3, 11): assert any('IndexError' in note for note in caught.value.__notes__)
    learn.remove_cb(Broken)
    learn.fit(1)
    class Late(Callback):
        def after_fit(self): [][0]
    with pytest.raises(IndexError): learn.fit(1, cbs=Late)


def test_what_is_missing_on_the_recorder_names_it():
    learn = learner(metrics=accuracy)
    with pytest.raises(AttributeError, match="A Recorder has no 'metric_name'. Did you mean 'metric_names'"):
        learn.recorder.metric_name
    assert learn.recorder.metric_names == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'time']
    assert learn.recorder.model is learn.model


@pytest.mark.parametrize('theirs', [SGD, partial(SGD, momentum=.9), partial(SGD, mom=.9, dampening=0.)])
def test_the_sgd_of_the_first_lesson_trains_a_learner(theirs):
    momentum = .9 if isinstance(theirs, partial) else 0.
    ours = learner(opt_func=theirs)
    other = learner(opt_func=partial(torch.optim.SGD, momentum=momentum))
    for learn in (ours, other):
        set_seed(3)
        learn.fit(2, .05)
    assert same(weights(ours), weights(other))


def test_an_optimiser_without_groups_is_refused_before_the_first_batch():
    class Own:
        def __init__(self, params, lr): pass
    learn = learner(opt_func=Own)
    with pytest.raises(TypeError, match='Own knows no parameter groups.*opt_func=SGD'): learn.fit(1)
    assert not learn.recorder.batches


def test_the_loop_says_what_callbacks_are_for(capsys):
    learn = learner()
    learn.show_training_loop()
    plain = capsys.readouterr().out
    learn.show_training_loop(verbose=True)
    assert capsys.readouterr().out.endswith(plain) and 'Writes down losses' not in plain
    learn.show_training_loop(verbose=True)
    assert 'Recorder: Writes down losses' in capsys.readouterr().out


def test_a_learner_may_be_told_of_norms_and_decay():
    from lessonlib.schedules import combined_cos  # noqa: F401  brings fit_one_cycle
    learn = learner(wd_bn_bias=True, train_bn=True, splitter=lambda m: [list(m[:4].parameters()), list(m[4:].parameters())])
    learn.freeze()
    assert learn.model[1].weight.requires_grad and not learn.model[0].weight.requires_grad
    learn.fit_one_cycle(2, .01)
    assert all(group['weight_decay'] == learn.wd for group in learn.opt.param_groups)
    learn.fit_one_cycle(1, max_lr=.02)
    assert max(learn.recorder.lrs) == pytest.approx(.02, rel=.05)
    plain = learner()
    plain.fit_one_cycle(1, .01)
    assert not plain.train_bn
    assert 0. in {group['weight_decay'] for group in plain.opt.param_groups}
