"The Learner against a hand-written loop, on data of several kinds, and on bad input."
import contextlib
import copy
import gc
import math
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from parts import Parts
module = Parts('batches', 'learner', 'progress', 'checkpoint')
from lessonlib.core import get_rng_state, set_seed
from lessonlib.batches import (AccumMetric, AvgMetric, DataLoaders, TensorDataLoader, WeightedMean,
                               accuracy, as_metric, binary_accuracy, error_rate, mae, rmse)
from lessonlib.progress import BatchCheck, FiniteLoss, ProgressCallback
from lessonlib.learner import (Callback, CancelBatchException, CancelEpochException,
                               CancelFitException, CancelStepException, CancelTrainException,
                               CancelValidException, Learner, Recorder, SmoothMean, adamw, events)
from lessonlib.sgd import mse
from lessonlib.checkpoint import read_tensors

ROOT = Path(__file__).resolve().parent.parent


def net(seed=0, outputs=3):
    set_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(.2),
                         nn.Linear(8, outputs))


def data(n=50, bs=8, n_valid=21, **kwargs):
    set_seed(9)
    x, y = torch.randn(n, 5), torch.randint(0, 3, (n,))
    valid = (torch.randn(n_valid, 5), torch.randint(0, 3, (n_valid,))) if n_valid is not None else None
    return DataLoaders.from_tensors((x, y), valid, bs=bs, device='cpu', **kwargs)


def learner(dls=None, model=None, loss_func=F.cross_entropy, path='/nowhere', **kwargs):
    return Learner(dls or data(), model or net(), loss_func, path=path, **kwargs)


def same(one, other): return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def weights(learn): return [v.clone() for v in learn.model.state_dict().values()]


# ---- the loop ----

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
    for event in events: setattr(Listener, event, lambda self, event=event: heard.append(event))
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


@pytest.mark.parametrize('event', [e for e in events if 'cancel' not in e])
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
    assert not hooks.open and [type(cb) for cb in learn.cbs] == module.default_callbacks
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


# ---- other kinds of data ----

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


# ---- averages and metrics ----

@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=7), min_size=1, max_size=9))
def test_weighted_mean_is_the_mean_of_all_items(batches):
    mean = WeightedMean()
    for batch in batches: mean.add(sum(batch) / len(batch), len(batch))
    items = [x for batch in batches for x in batch]
    assert mean.value == pytest.approx(sum(items) / len(items), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0, .99))
def test_smooth_mean_is_the_weighted_sum(values, beta):
    smooth = SmoothMean(beta)
    for value in values: last = smooth.add(value)
    shares = [beta**age for age in range(len(values))][::-1]
    assert last == pytest.approx(sum(s * v for s, v in zip(shares, values)) / sum(shares), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_metrics_do_not_depend_on_batches(n, bs, seed):
    generator = torch.Generator().manual_seed(seed)
    pred, targ = torch.randn(n, 4, generator=generator), torch.randn(n, 4, generator=generator)
    classes = torch.randint(0, 4, (n,), generator=generator)
    for func, y in ((accuracy, classes), (error_rate, classes), (mse, targ), (mae, targ), (rmse, targ),
                    (binary_accuracy, (targ > 0).float())):
        metric = as_metric(func)
        for p, t in zip(pred.split(bs), y.split(bs)):
            metric.accumulate(type('Batch', (), dict(pred=p, yb=(t,))))
        assert metric.value == pytest.approx(func(pred, y).item(), abs=1e-5), func.__name__


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


# ---- asking ----

def test_asking_leaves_the_learner_as_it_was():
    learn = learner(data(vocab=['a', 'b', 'c']), metrics=accuracy)
    learn.fit(1)
    learn.model.train()
    learn.model[1].eval()   # a frozen norm
    modes = [m.training for m in learn.model.modules()]
    state, before = get_rng_state(), weights(learn)
    learn.validate(); learn.get_preds(); learn.predict(torch.randn(5, generator=torch.Generator())); learn.summary()
    assert [m.training for m in learn.model.modules()] == modes
    assert torch.equal(get_rng_state()['torch'], state['torch']) and same(weights(learn), before)
    assert [type(cb) for cb in learn.cbs] == module.default_callbacks


def test_validate_inside_a_fit_changes_nothing():
    class Ask(Callback):
        def after_backward(self):
            self.learn.validate()
            self.learn.get_preds()
    one, other = learner(), learner()
    for learn, cbs in ((one, Ask), (other, None)):
        set_seed(3)
        learn.fit(2, cbs=cbs)
    assert same(weights(one), weights(other)) and one.recorder.values == other.recorder.values


@pytest.mark.parametrize('loader', ['tensors', 'torch'])
def test_predictions_come_in_order(loader):
    dls = data()
    if loader == 'torch':
        dls = DataLoaders.from_dsets(TensorDataset(*dls.train.tensors), TensorDataset(*dls.valid.tensors), bs=8,
                                     device='cpu', drop_last=True)
    learn = learner(dls)
    x, y = data().train.tensors
    preds, targs = learn.get_preds(0)
    learn.model.eval()
    assert torch.equal(targs, y)
    with torch.no_grad(): assert torch.allclose(preds, learn.model(x), atol=1e-6)
    preds, targs = learn.get_preds(dl=TensorDataLoader(x, bs=9))
    assert targs is None and len(preds) == 50


def test_activation_is_found():
    def loss(pred, targ): return F.cross_entropy(pred, targ)
    loss.activation = lambda pred: pred.softmax(1)
    learn = learner(data(vocab=['red', 'green', 'blue']), loss_func=loss)
    preds = learn.get_preds()[0]
    assert torch.allclose(preds.sum(1), torch.ones(21))
    label, index, output = learn.predict(learn.dls.valid.tensors[0][4])
    assert label == learn.dls.vocab[preds[4].argmax()] and index == preds[4].argmax()
    assert torch.allclose(output, preds[4], atol=1e-6) and learn.dls.c == 3


def test_summary_counts_every_parameter_once():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.one, self.two = nn.Parameter(torch.ones(5)), nn.Linear(5, 5), nn.Linear(5, 5)
            self.two.weight = self.one.weight
            self.one.bias.requires_grad_(False)
        def forward(self, x): return self.two(self.one(x * self.scale))
    learn = learner(model=Odd())
    text = learn.summary()
    assert 'Parameters: 40, of which trained: 35' in text and 'Odd' in text and repr(text) == str(text)


# ---- progress ----

def test_lines_where_there_is_no_terminal(capsys):
    learner(metrics=accuracy).fit(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'time'] and len(lines) == 3


def test_bar_in_a_terminal(capsys):
    learn = learner(cbs=None)
    with learn.removed_cbs(ProgressCallback): learn.fit(2, cbs=ProgressCallback('terminal', every=0))
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and 'epoch 1, training' in err and 'epoch 1, validating' in err
    with learn.removed_cbs(ProgressCallback): learn.fit(2, cbs=ProgressCallback('terminal', bar=False))
    assert 'training' not in capsys.readouterr().err


def test_one_table_in_a_notebook(monkeypatch):
    shown = []
    class Handle:
        def update(self, data, raw): shown.append(data['text/html'])
    def display(data, raw, display_id):
        shown.append(data['text/html'])
        return Handle()
    import IPython.display
    monkeypatch.setattr(IPython.display, 'display', display)
    learn = learner(metrics=accuracy)
    with learn.removed_cbs(ProgressCallback): learn.fit(2, cbs=ProgressCallback('notebook', every=0))
    assert '<progress' in shown[1] and '<progress' not in shown[-1] and shown[-1].count('<tr>') == 3
    count = len(shown)
    learn.fit(1)
    with learn.removed_cbs(ProgressCallback): learn.fit(2, cbs=ProgressCallback('notebook', every=9))
    assert len(shown) - count <= 5, 'updates are throttled'
    class Fail(Callback):
        def after_pred(self):
            if self.epoch: raise KeyboardInterrupt
    with learn.removed_cbs(ProgressCallback), pytest.raises(KeyboardInterrupt):
        learn.fit(2, cbs=[ProgressCallback('notebook', every=0), Fail])
    assert '<progress' not in shown[-1]


def test_quiet(capsys):
    learn = learner()
    with learn.no_logging(): learn.fit(1)
    learn.validate(); learn.get_preds()
    assert capsys.readouterr().out == '' and hasattr(learn, 'progress')
    with learn.no_bar(): assert not learn.progress.with_bar
    assert learn.progress.with_bar


# ---- saving ----

def test_save_and_load(tmp_path):
    learn = learner(path=tmp_path)
    learn.fit(2)
    file = learn.save('stage-1')
    assert file == tmp_path/'models'/'stage-1.safetensors'
    assert [f.name for f in file.parent.iterdir()] == [file.name], 'nothing else is left in the folder'
    other = learner(model=net(8), path=tmp_path).load('stage-1')
    assert same(weights(other), weights(learn))
    for a in (learn, other):
        set_seed(2)
        a.fit(1)
    assert same(weights(other), weights(learn)), 'the optimiser goes on too'
    bare = learner(model=net(8), path=tmp_path)
    bare.load('stage-1', with_opt=False)
    assert bare.opt is None
    assert not any(n.startswith('optim') for n in read_tensors(learn.save('bare', with_opt=False))[0])


def test_tied_weights_and_views(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)
            self.out.weight = self.embed.weight
            self.register_buffer('part', torch.arange(12.).view(3, 4).t())
        def forward(self, x): return self.out(self.embed(x))
    learn = learner(model=Tied(), path=tmp_path)
    learn.save('tied')
    other = learner(model=Tied(), path=tmp_path).load('tied')
    assert same(weights(other), weights(learn)) and other.model.out.weight is other.model.embed.weight


def test_weights_of_other_programs(tmp_path):
    from safetensors.torch import save_file
    (tmp_path/'models').mkdir()
    save_file(net(3).state_dict(), tmp_path/'models'/'foreign.safetensors')
    assert same(learner(path=tmp_path).load('foreign').model.state_dict().values(), net(3).state_dict().values())


def test_checkpoint_of_another_architecture(tmp_path):
    learn = learner(path=tmp_path)
    learn.fit(1)
    learn.save('small')
    wider = learner(model=net(outputs=4), path=tmp_path)
    before = weights(wider)
    with pytest.raises(ValueError, match=r'other shapes 4.weight \(3, 8\) in the file, \(4, 8\) here'): wider.load('small')
    assert same(weights(wider), before)
    with pytest.raises(ValueError, match='the file lacks weight, bias; the model lacks 0.bias, 0.weight'):
        learner(model=nn.Linear(5, 3), path=tmp_path).load('small')
    sgd = learner(path=tmp_path, opt_func=lambda g, lr: torch.optim.SGD(g, lr=lr))
    with pytest.raises(ValueError, match='state of AdamW.*with_opt=False'): sgd.load('small')
    sgd.load('small', with_opt=False)


def test_missing_and_damaged_files(tmp_path):
    learn = learner(path=tmp_path)
    file = learn.save('good')
    with pytest.raises(FileNotFoundError, match='In that folder: good'): learn.load('better')
    before, raw = weights(learn), file.read_bytes()
    for broken in (raw[:-1], raw[:40], b'', b'not a model at all', raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]):
        (file.parent/'broken.safetensors').write_bytes(broken)
        with pytest.raises(ValueError, match='damaged'): learn.load('broken')
    assert same(weights(learn), before)


def test_nothing_is_pickled():
    source = Path(module.__file__).read_text()
    assert 'torch.save' not in source and 'torch.load' not in source and 'import pickle' not in source


# ---- bad input ----

def test_empty_loaders():
    x, y = torch.randn(4, 5), torch.zeros(4).long()
    with pytest.raises(ValueError, match='train loader is empty'): learner(data(n=0)).fit(1)
    with pytest.raises(ValueError, match='valid loader is empty.*valid=None'): learner(data(n_valid=0)).fit(1)
    with pytest.raises(ValueError, match='batch size larger'):
        learner(DataLoaders.from_tensors((x, y), bs=8, drop_last=True, device='cpu')).fit(1)
    with pytest.raises(ValueError, match='Loader 0 is empty'): data(n=0).one_batch()
    with pytest.raises(ValueError, match='training set is empty'): DataLoaders.from_dsets([])
    with pytest.raises(ValueError, match='one row or more'): TensorDataLoader(x, bs=0)


def test_metric_on_an_empty_validation_set():
    learn = learner(data(n_valid=0), metrics=accuracy)
    with pytest.raises(ValueError, match='Loader 1 is empty'): learn.validate()
    with pytest.raises(ValueError, match='validation set empty'): AvgMetric(accuracy).value
    with pytest.raises(ValueError, match='validation set empty'): AccumMetric(accuracy).value


def test_no_validation_set():
    learn = learner(data(n_valid=None), metrics=accuracy)
    learn.fit(1)
    assert learn.recorder.names == ['train_loss']
    with pytest.raises(ValueError, match='no validation set'): learn.validate()
    with pytest.raises(ValueError, match='no validation set'): learn.get_preds()


def test_no_loss_function():
    with pytest.raises(ValueError, match='pass loss_func'): learner(loss_func=None)
    assert learner(data(loss_func=F.cross_entropy), loss_func=None).loss_func is F.cross_entropy


@pytest.mark.parametrize('loss_func', [F.mse_loss, nn.MSELoss(), F.l1_loss, nn.BCEWithLogitsLoss(),
                                       lambda p, t: (p.sigmoid() - t).abs().mean()])
def test_shapes_that_would_be_broadcast(loss_func):
    dls = DataLoaders.from_tensors((torch.randn(64, 5), torch.rand(64)), bs=64, device='cpu')
    learn = learner(dls, net(outputs=1), loss_func)
    start = weights(learn)[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(ValueError, match=r'\(64, 1\) cannot be matched with targets of shape \(64,\)'): learn.fit(1)
    assert torch.equal(start, learn.model[0].weight)


def test_shapes_that_cannot_match():
    x = torch.randn(64, 5)
    three = DataLoaders.from_tensors((x, torch.rand(64, 2)), bs=64, device='cpu')
    with pytest.raises(ValueError, match=r'\(64, 3\) cannot be matched with targets of shape \(64, 2\)'):
        learner(three, loss_func=F.mse_loss).fit(1)
    column = DataLoaders.from_tensors((x, torch.zeros(64, 1).long()), bs=64, device='cpu')
    with pytest.raises(ValueError, match=r'targets \(\(64, 1\) int64\), predictions \(64, 3\) float32'):
        learner(column).fit(1)
    learn = learner(DataLoaders.from_tensors((x, x[:, 0]), (x, x[:, 0]), device='cpu'), net(outputs=1),
                    lambda p, t: (p.mean() - t.mean()).square(), metrics=mse)
    learn.remove_cb(BatchCheck)
    with pytest.raises(ValueError, match=r'predictions have shape \(64, 1\)'): learn.fit(1)
    with pytest.raises(ValueError, match='binary_accuracy'): accuracy(x[:, :1], x[:, 0])


def test_what_is_meant_can_be_said():
    dls = DataLoaders.from_tensors((torch.randn(8, 5), torch.rand(8)), bs=8, device='cpu')
    learn = learner(dls, net(outputs=1), lambda p, t: (p - t).square().mean())
    learn.remove_cb(BatchCheck)
    learn.fit(1)


@pytest.mark.parametrize('x, y, loss_func, words', [
    (torch.ones(8, 5, dtype=torch.uint8), torch.zeros(8).long(), F.cross_entropy, 'inputs are uint8, the weights float32'),
    (torch.ones(8, 5).double(), torch.zeros(8).long(), F.cross_entropy, 'inputs are float64.*to\\(torch.float32'),
    (torch.ones(8, 5), torch.zeros(8), F.cross_entropy, 'targets are float32.*y.long'),
    (torch.ones(8, 5), torch.zeros(8).int(), F.cross_entropy, 'targets are int32.*y.long'),
    (torch.ones(8, 5), torch.zeros(8, 3).long(), F.binary_cross_entropy_with_logits, 'targets are int64.*y.float')])
def test_wrong_types(x, y, loss_func, words):
    with pytest.raises(TypeError, match=words):
        learner(DataLoaders.from_tensors((x, y), device='cpu'), loss_func=loss_func).fit(1)


def test_images_as_bytes():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    dls = DataLoaders.from_tensors((torch.ones(8, 1, 8, 8, dtype=torch.uint8), torch.zeros(8).long()), device='cpu')
    with pytest.raises(TypeError, match='uint8.*float\\(\\) / 255'): learner(dls, model).fit(1)


def test_other_mistakes_are_explained():
    x = torch.randn(9, 5)
    with pytest.raises(ValueError, match='Targets go up to 7 .from 7.*3 scores'):
        learner(DataLoaders.from_tensors((x, torch.full((9,), 7)), device='cpu')).fit(1)
    embed = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(15, 3))
    with pytest.raises(TypeError, match='whole numbers'): learner(model=embed).fit(1)
    tokens = DataLoaders.from_tensors((torch.full((9, 5), 12), torch.zeros(9).long()), device='cpu')
    with pytest.raises(ValueError, match='from 12 to 12'): learner(tokens, embed).fit(1)
    with pytest.raises(ValueError, match='one number'): learner(loss_func=nn.CrossEntropyLoss(reduction='none')).fit(1)
    with pytest.raises(ValueError, match='drop_last'): learner(data(n=9, bs=8, n_valid=None)).fit(1)
    with pytest.raises(ValueError, match='features'):
        learner(DataLoaders.from_tensors((x[:, :4], torch.zeros(9).long()), device='cpu')).fit(1)
    with pytest.raises(ValueError, match='same number of rows, got \\[9, 8\\]'): TensorDataLoader(x, x[:8])


def test_other_errors_pass_unchanged():
    class Broken(nn.Module):
        def __init__(self): super().__init__(); self.linear = nn.Linear(5, 3)
        def forward(self, x): raise RuntimeError('of my own')
    with pytest.raises(RuntimeError, match='^of my own$'): learner(model=Broken()).fit(1)


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


# ---- a loss that is not finite ----

def test_nan_in_the_data_is_stopped_before_the_step():
    dls = data(n=40, bs=8, n_valid=None)
    dls.train.shuffle = False
    dls.train.tensors[0][20, 2] = math.nan   # in batch 2
    seen = []
    class Keep(Callback):
        order = -100
        def before_batch(self): seen.append(weights(self.learn))
    learn = learner(dls)
    with pytest.raises(FloatingPointError, match='epoch 0, batch 2 of 5.*this batch holds nan'): learn.fit(1, cbs=Keep)
    assert same(weights(learn), seen[2]), 'weights and running statistics are those before the batch'
    assert all(v.isfinite().all() for v in learn.model.state_dict().values())
    assert len(learn.recorder.losses) == 2
    dls.train.tensors[0][20, 2] = 0.
    learn.fit(1)


def test_a_rate_that_is_too_high():
    learn = learner(data(n_valid=None), nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)),
                    lambda p, t: F.mse_loss(p, F.one_hot(t, 3).float()), lr=1e4,
                    opt_func=lambda g, lr: torch.optim.SGD(g, lr=lr))
    with pytest.raises(FloatingPointError, match='lower learning rate .now 10000'): learn.fit(5)


def test_the_check_can_be_left_out():
    learn = learner(data(n=8, n_valid=None), loss_func=lambda p, t: p.sum() * math.nan)
    with learn.removed_cbs(FiniteLoss): learn.fit(1)
    assert math.isnan(learn.recorder.losses[0])


# ---- loaders ----

def test_looking_at_a_batch_draws_no_random_numbers():
    generator = torch.Generator().manual_seed(1)
    train = DataLoader(TensorDataset(torch.arange(9.)), 2, shuffle=True, generator=generator)
    dls = DataLoaders(train, device='cpu')
    state, own = torch.get_rng_state(), generator.get_state()
    dls.one_batch()
    assert torch.equal(state, torch.get_rng_state()) and torch.equal(own, generator.get_state())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 40), st.integers(1, 15), st.booleans(), st.booleans())
def test_tensor_loader_gives_every_row_once(n, bs, shuffle, drop_last):
    x = torch.arange(n)
    loader = TensorDataLoader(x, -x, bs=bs, shuffle=shuffle, drop_last=drop_last)
    batches = list(loader)
    assert len(batches) == len(loader)
    rows = [i for a, b in batches for i in a.tolist()]
    assert all(torch.equal(a, -b) for a, b in batches) and len(rows) == (n // bs * bs if drop_last else n)
    assert len(set(rows)) == len(rows) and (shuffle or rows == list(range(len(rows))))


def test_further_loaders():
    dls = data()
    dls.loaders.append(TensorDataLoader(*dls.valid.tensors, bs=4))
    learn = learner(dls, metrics=accuracy)
    assert learn.validate(2) == pytest.approx(learn.validate(1)) and len(dls) == 3


# ---- a light import ----

def test_import_is_light():
    code = ('import sys, torch; before = set(sys.modules); import lessonlib.learner; '
            'print(*{m.partition(".")[0] for m in set(sys.modules) - before})')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {'matplotlib', 'pandas', 'torchvision', 'IPython', 'ipywidgets', 'sklearn', 'tqdm', 'PIL', 'scipy'}
    assert not heavy & set(done.stdout.split()), done.stdout
