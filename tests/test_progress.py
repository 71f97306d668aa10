"Table and bar, checks that speak up, answers that disturb nothing."
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from helpers.small_learner import data, learner, net, same, weights
from lessonlib.batches import AccumMetric, AvgMetric, DataLoaders, TensorDataLoader, accuracy, binary_accuracy
from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Callback, Learner, default_callbacks
from lessonlib.progress import BatchCheck, FiniteLoss, FrozenNorm, ProgressCallback
from lessonlib.sgd import mse


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
    assert [type(cb) for cb in learn.cbs] == default_callbacks



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



def test_without_a_table_the_bar_stays(capsys):
    learn = learner(cbs=ProgressCallback('terminal', every=0))
    learn.cbs = [cb for cb in learn.cbs if not isinstance(cb, ProgressCallback) or cb.kind]
    with learn.no_table(): learn.fit(2)
    out, err = capsys.readouterr()
    assert out == '' and 'epoch 1, training' in err
    with pytest.raises(ZeroDivisionError), learn.no_table(): 1 / 0
    with learn.no_table(), learn.no_bar(): learn.fit(2)
    assert capsys.readouterr() == ('', '')
    learn.fit(2)
    assert len(capsys.readouterr().out.splitlines()) == 3


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
    tables = [html for html in shown if '<table' in html]
    assert tables[-1].count('<tr>') == 3 and '<progress' in ''.join(shown) and shown[-1] == '', 'the bar is gone'
    count = len(shown)
    with learn.removed_cbs(ProgressCallback): learn.fit(2, cbs=ProgressCallback('notebook', every=9))
    assert len(shown) - count <= 5, 'updates are throttled'
    class Fail(Callback):
        def after_pred(self):
            if self.epoch: raise KeyboardInterrupt
    with learn.removed_cbs(ProgressCallback), pytest.raises(KeyboardInterrupt):
        learn.fit(2, cbs=[ProgressCallback('notebook', every=0), Fail])
    assert '<progress' not in shown[-1]


def test_names_of_metrics_are_text_in_html(monkeypatch):
    import IPython.display
    shown = []
    monkeypatch.setattr(IPython.display, 'display', lambda data, **kw: shown.append(data['text/html']))
    odd = AvgMetric(accuracy, name='<b>share</b>')
    learn = learner(metrics=odd)
    with learn.removed_cbs(ProgressCallback): learn.fit(0, cbs=ProgressCallback('paper'))
    with learn.removed_cbs(ProgressCallback):
        try: learn.fit(1, cbs=ProgressCallback('paper'))
        except AttributeError: pass   # this display gives no handle to write on
    assert '&lt;b&gt;share' in shown[0] and '<b>' not in shown[0]


def test_quiet(capsys):
    learn = learner()
    with learn.no_logging(): learn.fit(1)
    learn.validate(); learn.get_preds()
    assert capsys.readouterr().out == '' and hasattr(learn, 'progress')
    with learn.no_bar(): assert not learn.progress.with_bar
    assert learn.progress.with_bar



def test_metric_on_an_empty_validation_set():
    learn = learner(data(n_valid=0), metrics=accuracy)
    with pytest.raises(ValueError, match='loader is empty'): learn.validate()
    with pytest.raises(ValueError, match='validation set empty'): AvgMetric(accuracy).value
    with pytest.raises(ValueError, match='validation set empty'): AccumMetric(accuracy).value



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
    with pytest.raises(RuntimeError, match=r'targets \(64, 1\) int64 from 0 to 0, predictions \(64, 3\) float32'):
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
    (torch.ones(8, 5, dtype=torch.uint8), torch.zeros(8).long(), F.cross_entropy,
     'inputs \\(8, 5\\) uint8 from 1 to 1.*weights float32'),
    (torch.ones(8, 5).double(), torch.zeros(8).long(), F.cross_entropy, 'inputs \\(8, 5\\) float64'),
    (torch.ones(8, 5), torch.zeros(8), F.cross_entropy, 'targets \\(8,\\) float32, predictions \\(8, 3\\) float32'),
    (torch.ones(8, 5), torch.zeros(8).int(), F.cross_entropy, 'targets \\(8,\\) int32 from 0 to 0'),
    (torch.ones(8, 5), torch.zeros(8, 3).long(), F.binary_cross_entropy_with_logits, 'targets \\(8, 3\\) int64')])
def test_wrong_types_are_told(x, y, loss_func, words):
    "torch's own error, and under it what the batch was like"
    with pytest.raises(RuntimeError, match=words):
        learner(DataLoaders.from_tensors((x, y), device='cpu'), loss_func=loss_func).fit(1)


def test_other_mistakes_are_told():
    x = torch.randn(9, 5)
    with pytest.raises((IndexError, RuntimeError), match='targets \\(9,\\) int64 from 7 to 7, predictions \\(9, 3\\)'):
        learner(DataLoaders.from_tensors((x, torch.full((9,), 7)), device='cpu')).fit(1)
    embed = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(15, 3))
    with pytest.raises(RuntimeError, match='inputs \\(8, 5\\) float32'): learner(model=embed).fit(1)
    tokens = DataLoaders.from_tensors((torch.full((9, 5), 12), torch.zeros(9).long()), device='cpu')
    with pytest.raises(IndexError, match='int64 from 12 to 12'): learner(tokens, embed).fit(1)
    with pytest.raises(ValueError, match='one number'): learner(loss_func=nn.CrossEntropyLoss(reduction='none')).fit(1)
    with pytest.raises(ValueError, match='inputs \\(1, 5\\)'): learner(data(n=9, bs=1, n_valid=None)).fit(1)
    with pytest.raises(RuntimeError, match='inputs \\(9, 4\\)'):
        learner(DataLoaders.from_tensors((x[:, :4], torch.zeros(9).long()), device='cpu')).fit(1)
    with pytest.raises(ValueError, match='same number of rows, got \\[9, 8\\]'): TensorDataLoader(x, x[:8])


def test_other_errors_pass_unchanged():
    class Broken(nn.Module):
        def __init__(self): super().__init__(); self.linear = nn.Linear(5, 3)
        def forward(self, x): raise RuntimeError('of my own')
    with pytest.raises(RuntimeError, match='^of my own\n'): learner(model=Broken()).fit(1)



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



def test_further_loaders():
    dls = data()
    dls.loaders.append(TensorDataLoader(*dls.valid.tensors, bs=4))
    learn = learner(dls, metrics=accuracy)
    assert learn.validate(2) == pytest.approx(learn.validate(1)) and len(dls) == 3


def test_frozen_norms_keep_their_averages():
    "A default callback: nobody has to know of it"
    learn = learner(splitter=lambda model: [list(model[:3].parameters()), list(model[3:].parameters())])
    learn.freeze()
    learn.fit(1)
    assert torch.equal(learn.model[1].running_mean, torch.zeros(8))
    learn.unfreeze()
    learn.fit(1)
    assert learn.model[1].running_mean.abs().max() > 0
    learn.frozen_norm.body = learn.model[:3]
    before = learn.model[1].running_mean.clone()
    learn.fit(1)
    assert torch.equal(learn.model[1].running_mean, before), 'norms of `body` keep theirs even while it is trained'
    learn.train_bn, learn.frozen_norm.body = True, None
    learn.freeze()
    assert [n for n, p in learn.model.named_parameters() if p.requires_grad] == ['1.weight', '1.bias', '4.weight', '4.bias']


def test_get_preds_follows_a_loaders_order():
    "A loader that gives its items sorted says so; answers come in the order of the items."
    torch.manual_seed(0)
    x, y = torch.randn(10, 3), torch.arange(10)
    learn = Learner(DataLoaders.from_tensors((x, y), (x, y), bs=4), torch.nn.Linear(3, 10),
                    torch.nn.CrossEntropyLoss())
    order = torch.randperm(10)
    batches = [(x[rows], y[rows]) for rows in order.split(4)]
    class Sorted(list): pass
    mixed = Sorted(batches)
    assert not torch.equal(learn.get_preds(dl=mixed)[1], y)
    mixed.order = order.tolist()
    inputs, preds, targets = learn.get_preds(dl=mixed, with_input=True)
    assert torch.equal(targets, y) and torch.equal(inputs, x)
    torch.testing.assert_close(preds, learn.get_preds(dl=Sorted(zip(x.split(5), y.split(5))))[0])


# ---- nothing that is asked is answered for another

def test_a_last_batch_of_one_row_is_left_out_where_batch_norm_could_not_take_it():
    learn = learner(data(n=9, bs=8))
    with learn.no_logging(): learn.fit(2)
    assert len(learn.recorder.losses) == 2 and math.isfinite(learn.recorder.values[0][0])
    plain = learner(data(n=9, bs=8), nn.Linear(5, 3))
    with plain.no_logging(): plain.fit(2)
    assert len(plain.recorder.losses) == 4


def one_argument(pred): return pred.mean()
def three_arguments(pred, targ, weight): return (pred * weight).mean()
def no_such(pred, targ): return pred.no_such_method()


@pytest.mark.parametrize('metric', ['accuracy', .5])
def test_what_is_no_metric_is_refused_by_the_learner(metric):
    with pytest.raises(TypeError, match='A metric is a function'): learner(metrics=metric)
    learn = learner()
    learn.metrics = [metric]
    with pytest.raises(TypeError, match='A metric is a function'): learn.fit(1)


@pytest.mark.parametrize('metric', [one_argument, three_arguments, AvgMetric(no_such), AccumMetric(no_such), F.mse_loss])
def test_a_metric_that_cannot_work_is_refused_before_the_first_batch(metric):
    refused_at_once(learner(metrics=metric))


def refused_at_once(learn):
    class Count(Callback):
        n = 0
        def before_batch(self): self.n += self.learn.training
    count = Count()
    with pytest.raises((TypeError, AttributeError, ValueError, RuntimeError)): learn.fit(1, cbs=count)
    assert count.n == 0


@pytest.mark.parametrize('metric, outputs', [(accuracy, 1), (binary_accuracy, 2)])
def test_a_metric_of_another_task_is_refused_before_the_first_batch(metric, outputs):
    "Accuracy of one number, and of many labels where there is one of two classes"
    x = torch.randn(24, 5)
    y = x[:, :1] if outputs == 1 else torch.arange(24) % 2
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=8, device='cpu')
    refused_at_once(learner(dls, net(outputs=outputs), mse if outputs == 1 else F.cross_entropy, metrics=metric))


def test_trying_metrics_first_changes_nothing():
    "Also a metric that needs many items is let through, and it is tried once only."
    calls = []
    def picky(pred, targ):
        calls.append(len(targ))
        if len(targ) < 20: raise ValueError('too few')
        return (pred.argmax(1) == targ).float().mean()
    one, other = learner(metrics=AccumMetric(picky)), learner()
    for learn in (one, other):
        set_seed(3)
        with learn.no_logging(): learn.fit(2)
    assert same(weights(one), weights(other)) and calls == [2, 2, 21, 21, 21]
    with one.no_logging(): one.fit(1)
    assert calls == [2, 2, 21, 21, 21, 21]


def test_predictions_have_callbacks_of_their_own():
    class Notes(Callback):
        last, log = None, []
        def __init__(self): self.log = []
        def before_batch(self): self.last = self.iter; self.log.append(self.iter)
    notes = Notes()
    learn = learner(cbs=notes)
    before = {name: id(value) for name, value in vars(learn).items()}
    learn.get_preds(); learn.validate(); learn.predict(torch.randn(5))
    assert (notes.last, notes.log) == (None, []) and notes.learn is learn
    assert {name: id(value) for name, value in vars(learn).items()} == before


def test_a_metric_that_somebody_holds_tells_of_the_last_validation():
    metric = AvgMetric(accuracy)
    learn = learner(metrics=metric)
    assert learn.validate()[1] == metric.value


def test_modes_return_when_the_last_has_asked():
    from lessonlib.progress import evaluating
    model = net().train()
    first, second = evaluating(model), evaluating(model)
    first.__enter__(); second.__enter__()
    first.__exit__(None, None, None)
    assert not any(m.training for m in model.modules())      # the second is still asking
    second.__exit__(None, None, None)
    assert all(m.training for m in model.modules())


def test_targets_that_do_not_count_spoil_no_loss_and_no_metric():
    x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
    y[:16] = -100                                            # nobody has labelled the first batches
    learn = learner(DataLoaders.from_tensors((x, y), (x, y), bs=8, device='cpu'), metrics=accuracy)
    share = learn.validate()[1]
    with torch.no_grad(): pred = learn.model.eval()(x)
    assert share == pytest.approx((pred.argmax(1) == y)[16:].float().mean().item())
    learn.loss_func = nn.CrossEntropyLoss()
    assert learn.validate()[0] == pytest.approx(F.cross_entropy(pred, y).item(), rel=1e-5)
    with pytest.raises(FloatingPointError, match='all are -100'), learn.no_logging():
        learner(DataLoaders.from_tensors((x[:8], y[:8]), device='cpu'), loss_func=nn.CrossEntropyLoss()).fit(1)


@pytest.mark.parametrize('bs', [1, 4, 16, 40])
def test_the_validation_loss_with_class_weights_is_that_of_all_items_at_once(bs):
    set_seed(1)
    x, y, loss_func = torch.randn(40, 5), (torch.rand(40) < .1).long(), nn.CrossEntropyLoss(torch.tensor([1., 20., 3.]))
    learn = learner(DataLoaders.from_tensors((x, y), (x, y), bs=bs, device='cpu'), loss_func=loss_func)
    with torch.no_grad(): whole = loss_func(learn.model.eval()(x), y).item()
    assert learn.validate()[0] == pytest.approx(whole, rel=1e-5)


def test_arrays_are_taken_as_tensors_are():
    "The same losses, metrics and predictions"
    x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
    arrays = x.double().numpy()[::-1][::-1], y.numpy()
    def trained(*data):
        dls, model = DataLoaders.from_tensors(data, data, bs=8, device='cpu'), net()
        learn = learner(dls, model, metrics=accuracy)
        with learn.no_logging(): learn.fit(2)
        return learn
    right, learn = trained(x, y), trained(*arrays)
    assert learn.recorder.values == right.recorder.values and len(right.recorder.values) == 2
    preds = right.get_preds()[0]
    assert torch.equal(learn.get_preds()[0], preds)
    for dl in ([arrays], TensorDataLoader(*arrays, bs=8)): assert torch.allclose(learn.get_preds(dl=dl)[0], preds)
    assert torch.allclose(learn.predict(arrays[0][3])[2], preds[3], atol=1e-6)
    rows, targets = next(iter(TensorDataLoader(*arrays, bs=8)))
    assert torch.equal(rows, x[:8]) and torch.equal(targets, y[:8])


@pytest.mark.parametrize('one', [accuracy, lambda: AvgMetric(accuracy, 'right')], ids=['function', 'metric'])
def test_a_single_metric_may_be_set_later(one):
    "`learn.metrics = f`, without a list, as people do between two looks at the same model"
    learn = learner()
    learn.metrics = one if one is accuracy else one()
    assert len(learn.validate()) == 2 and len(learn.get_preds()) == 2
    learn.fit(1)
    assert len(learn.recorder.values[-1]) == 3


def test_callbacks_see_the_batch_and_where_the_fit_is():
    seen = []
    class Look(Callback):
        def after_batch(self):
            if self.training: seen.append((self.x is self.xb[0], self.learn.y is self.yb[0], self.train_iter, self.epoch))
    learn = learner(cbs=Look)
    learn.fit(2)
    n = len(learn.dls.train)
    assert seen == [(True, True, i + 1, i // n) for i in range(2 * n)]
    assert learn.smooth_loss == learn.recorder.smooth_losses[-1] and learn.x is learn.y is None


def test_get_preds_gives_what_is_asked_for():
    learn = learner(data(vocab=['a', 'b', 'c']), loss_func=nn.CrossEntropyLoss())
    preds, targs = learn.get_preds()
    inputs, *same_two, decoded, losses = learn.get_preds(with_input=True, with_decoded=True, with_loss=True)
    assert torch.equal(same_two[0], preds) and torch.equal(decoded, preds.argmax(1)) and len(inputs) == len(preds)
    outputs = learn.get_preds(act=lambda x: x)[0]
    assert torch.allclose(losses, F.cross_entropy(outputs, targs, reduction='none'), atol=1e-5)
    assert len(learn.get_preds(with_loss=True)) == 3
    no_targets = TensorDataLoader(torch.randn(4, 5))
    with pytest.raises(ValueError, match='Without targets'): learn.get_preds(dl=no_targets, with_loss=True)
    class Sorted(list): pass
    turned = Sorted([tuple(part.flip(0) for part in learn.dls.valid.tensors)])
    turned.order = list(range(len(targs)))[::-1]
    assert torch.equal(learn.get_preds(dl=turned, reorder=False)[1], targs.flip(0))
    assert torch.equal(learn.get_preds(dl=turned)[1], targs)
