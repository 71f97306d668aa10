"The learning rate finder: its readings, its curve, and what it leaves untouched."
import contextlib
import copy
import io
import math
import random
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from helpers.watched_learner import adagrad, build, quietly, sgd_momentum, three_groups, whole_state
from helpers.real_lesson import needs_mirror, printed_on_real_data

from lessonlib import lr_finder
from lessonlib.batches import DataLoaders
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import set_seed
from lessonlib.learner import Callback, CancelBatchException, Learner
from lessonlib.lr_finder import SuggestedLRs, minimum, slide, steep, valley
from lessonlib.progress import FiniteLoss
from lessonlib.callbacks import EarlyStoppingCallback, SaveModelCallback
from lessonlib.schedules import ParamScheduler, SchedNo

matplotlib.use('agg')


def find(learn, **kwargs): return quietly(learn.lr_find, **{'show_plot': False, **kwargs})


# ---- readings

def curve(n=85): return torch.logspace(-6, 0, n)


def test_minimum_and_steep_on_curves_with_known_answers():
    lrs = curve(61)   # ten steps a decade
    losses = [3.] * 61
    for i in range(30, 46): losses[i] = 3 - (i - 29) * .1
    for i in range(46, 61): losses[i] = 1.4 + (i - 45) * .5
    losses[40:46] = [l - .3 for l in losses[40:46]]   # one step falls by more: from 39 to 40
    assert minimum(lrs, losses) == pytest.approx(lrs[45].item() / 10)
    assert steep(lrs, losses) == pytest.approx(lrs[39].item())
    assert minimum(lrs.tolist(), torch.tensor(losses), 100) == minimum(lrs, losses)


def test_steep_looks_at_the_logarithm():
    lrs = torch.tensor([1e-3, 2e-3, 1e-2, 2e-2])
    assert steep(lrs, [3., 2.5, 1.7, 1.6]) == pytest.approx(1e-3)   # -.5 in one doubling beats -.8 in 2.3 of them


def test_valley_is_the_middle_of_the_longest_fall():
    lrs = curve(50)
    losses = [2.] * 10 + [2 - .05 * i for i in range(1, 31)] + [3.] * 10   # 30 steps fall, and the flat before
    assert valley(lrs, losses) == pytest.approx(lrs[8 + 10 + 5].item())   # length 31, ends at 39: from 8; 31/3 is 10.3
    assert valley(lrs, list(range(50))) == pytest.approx(lrs[0].item())


def test_slide_stops_where_slopes_are_alike():
    lrs, flat = curve(60), [1.] * 60
    assert slide(lrs, flat) == pytest.approx(lrs[44].item())
    steps = [1.] * 50 + [1 + .5 * i for i in range(1, 11)]   # rises from 50 on; slopes .25 at 49, .5 after
    assert slide(lrs, steps) == pytest.approx(lrs[34].item())   # the window 34..49 is the last with unlike ends
    assert slide(lrs[:5], flat[:5]) == pytest.approx(lrs[0].item())


@settings(max_examples=40)
@given(st.lists(st.floats(.1, 10), min_size=5, max_size=60))
def test_readings_are_rates_of_the_curve(losses):
    lrs = curve(len(losses))
    near = lambda lr: (lrs.log10() - math.log10(lr)).abs().min().item() < 1e-4
    for func in (steep, valley, slide): assert near(func(lrs, losses, 100))
    assert near(minimum(lrs, losses, 100) * 10)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=12))
def test_longest_fall_against_trying_all(losses):
    "valley against the plain definition: all subsequences tried, the first end of a longest one"
    def falls(kept): return all(a > b for a, b in zip(kept, kept[1:]))
    def length(end):
        kept = ([loss for i, loss in enumerate(losses[:end + 1]) if mask >> i & 1] for mask in range(1 << end, 2 << end))
        return max(len(some) for some in kept if falls(some))
    lengths = [length(end) for end in range(len(losses))]
    longest = max(lengths)
    first = max(lengths.index(longest) - longest, 0)
    lrs = list(range(1, len(losses) + 1))
    assert valley(lrs, losses) == lrs[first + int(longest / 3) + int(longest / 6)]


# ---- the finder

def test_unpacks_to_minimum_and_steep():
    learn = build()
    found = find(learn)
    lr_min, lr_steep = found
    assert (lr_min, lr_steep) == (found.minimum, found.steep) and len(found) == 2
    assert isinstance(found, SuggestedLRs) and isinstance(found, tuple)
    assert all(0 < lr < 10 for lr in (found.minimum, found.steep, found.valley, found.slide))
    assert repr(found).startswith('SuggestedLRs(minimum=')
    assert find(learn, suggest_funcs=(valley, slide)) == (found.valley, found.slide)
    assert find(learn, suggest_funcs=valley) == (found.valley,)
    def own(lrs, losses, num_it): return lrs[0].item()
    assert find(learn, suggest_funcs=[own]).own == pytest.approx(found.lrs[10])


def test_rates_multiply_by_the_same_factor():
    found = find(build())
    assert found.lrs[0] == pytest.approx(1e-7) and len(found.lrs) <= 100
    factors = [b / a for a, b in zip(found.lrs, found.lrs[1:])]
    assert factors == pytest.approx([1e8 ** (1 / 99)] * len(factors)) and 1.19 < factors[0] < 1.22
    gentle = find(build(), start_lr=1e-6, end_lr=1e-3, num_it=40)
    assert len(gentle.lrs) == 40 and gentle.lrs[-1] == pytest.approx(1e-3)


def test_losses_are_those_of_a_fit_with_these_rates():
    "Against a loop by hand: the smoothed loss before each step"
    learn = build(dropout=0.)
    found = find(learn, num_it=20, end_lr=1e-2)
    model, average = copy.deepcopy(learn.model).train(), 0.
    learn.create_opt()
    groups = [dict(params=[dict(model.named_parameters())[n] for n, p in learn.model.named_parameters()
                           if any(p is q for q in g['params'])], weight_decay=g['weight_decay'])
              for g in learn.opt.param_groups]
    opt = torch.optim.AdamW(groups, lr=1., betas=(.9, .99), eps=1e-5)
    for i, (x, y) in zip(range(20), learn.dls.train):
        for group in opt.param_groups: group['lr'] = 1e-7 * 1e5 ** (i / 19)
        loss = F.cross_entropy(model(x), y)
        loss.backward(); opt.step(); opt.zero_grad()
        average = .98 * average + .02 * loss.item()
        assert found.losses[i] == pytest.approx(average / (1 - .98 ** (i + 1)), rel=1e-5)


class Climb(nn.Module):
    "A loss that does as it is told, whatever the parameters"
    def __init__(self, losses): super().__init__(); self.w, self.losses, self.at = nn.Parameter(torch.zeros(1)), losses, 0
    def forward(self, x): return self.w * 0 * x.sum()
    def loss(self, pred, y):
        self.at += 1
        return pred.sum() + self.losses[min(self.at, len(self.losses)) - 1]


def told(losses, **kwargs):
    x = torch.randn(64, 2)
    model = Climb(losses)
    dls = DataLoaders.from_tensors((x, x), bs=4, device='cpu')
    return Learner(dls, model, lambda pred, y: model.loss(pred, y), **kwargs)


def test_stops_when_the_smoothed_loss_is_four_times_its_best():
    rising = [1.] * 50 + [10.] * 50   # smoothed, this climbs by a quarter in each step
    found = find(told(rising))
    assert 55 < len(found.lrs) < 90 and found.losses[-1] > 4 * min(found.losses) >= found.losses[-2] > 3.5
    assert len(find(told(rising), stop_div=False).lrs) == 100


def test_negative_losses_do_not_stop_it():
    assert len(find(told([-1. - i / 50 for i in range(100)])).lrs) == 100
    assert len(find(told([-1.] * 60 + [50.] * 40)).lrs) < 100


def test_nan_stops_it_and_leaves_the_rest_readable():
    found = find(told([2. - i / 100 for i in range(70)] + [float('nan')] * 30), stop_div=False)
    assert len(found.lrs) == 71 and math.isnan(found.losses[-1]) and all(map(math.isfinite, found))


@pytest.mark.parametrize('losses, words', [
    ([float('nan')] * 100, 'nothing to read'),
    ([float('inf')] * 100, 'nothing to read'),
    ([1., 1., 1e9] + [1.] * 97, 'nothing to read'),
    ([1. + i / 100 for i in range(100)], 'hardly falls'),
    ([1.] * 100, 'hardly falls'),
    ([2. - i / 60 for i in range(100)], 'still falls'),
])
def test_warns_of_curves_that_cannot_be_read(losses, words):
    learn = told(losses)
    with pytest.warns(UserWarning, match=words), contextlib.redirect_stdout(io.StringIO()):
        found = learn.lr_find(show_plot=False)
    assert words in found.warning


def test_all_nan_gives_nan_and_still_draws():
    found = find(told([float('nan')] * 100), show_plot=True)
    assert all(math.isnan(lr) for lr in found) and found.plot().get_title()


def test_a_good_curve_has_no_warning_and_disagreement_has_one():
    lrs = [1e-7 * 1e8 ** (i / 99) for i in range(100)]
    good = [3. if i < 50 else 3 - (i - 50) * .06 if i < 80 else 1.2 + (i - 80) * .3 for i in range(90)]
    assert SuggestedLRs([(lrs[:90], good)], [minimum, steep]).warning is None
    good[20:] = [loss - .5 for loss in good[20:]]   # a sudden drop, far too early
    found = SuggestedLRs([(lrs[:90], good)], [minimum, steep])
    assert 'disagree' in found.warning and found.steep < 1e-5 < found.minimum


def test_repeats_give_an_interval():
    learn = build()
    found = find(learn, repeats=3)
    assert len(found.runs) == 4 and find(learn).interval is None
    assert len({tuple(losses) for _, losses in found.runs}) == 4   # other batches each time
    for name in ('minimum', 'steep', 'valley', 'slide'):
        low, high = found.interval[name]
        assert low <= getattr(found, name) <= high
    single = find(learn)
    assert single.losses == found.losses


def test_plot_marks_the_readings():
    found = find(build(), repeats=1)
    ax = found.plot()
    assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel() and ax.get_xscale() == 'log'
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f'minimum {found.minimum:.1e}', f'steep {found.steep:.1e}']


def test_show_plot_is_asked_for(monkeypatch):
    drawn = []
    monkeypatch.setattr(SuggestedLRs, 'plot', lambda self: drawn.append(self))
    find(build(), show_plot=False)
    assert not drawn
    find(build(), show_plot=True)
    assert len(drawn) == 1


@pytest.mark.parametrize('kwargs, words', [
    (dict(start_lr=0), '0 < start_lr'), (dict(start_lr=-1), '0 < start_lr'), (dict(start_lr=1, end_lr=1), '0 < start_lr'),
    (dict(start_lr=1, end_lr=.1), '0 < start_lr'), (dict(end_lr=math.inf), '0 < start_lr'), (dict(num_it=5), '10 or more'),
    (dict(repeats=-1), '0 or more'), (dict(start_lr=math.nan), '0 < start_lr'),
])
def test_bad_input_to_the_finder(kwargs, words):
    learn = build()
    before = whole_state(learn)
    with pytest.raises(ValueError, match=words): find(learn, **kwargs)
    assert whole_state(learn) == before


# ---- everything is as it was

class Items(Dataset):
    def __init__(self, n=60):
        draw = torch.Generator().manual_seed(2)
        self.x, self.y = torch.randn(n, 6, generator=draw), torch.randint(0, 3, (n,), generator=draw)
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.x[i] + .1 * torch.rand(6) + np.random.rand() + random.random(), self.y[i]


class Remember(Callback):
    "Keeps something of its own, which the finder must not touch"
    def __init__(self): self.seen, self.count, self.deep = [], 0, dict(inner=[])
    def after_batch(self):
        self.seen.append(self.learn.loss_value)
        self.deep['inner'].append(self.learn.loss_value)
        self.count += 1
    def state_dict(self): return dict(seen=self.seen, count=self.count, deep=self.deep)
    def load_state_dict(self, state): self.seen, self.count, self.deep = list(state['seen']), state['count'], state['deep']


LEARNERS = {
    'plain': lambda: build(),
    'groups': lambda: build(splitter=three_groups),
    'sgd': lambda: build(sgd_momentum),
    'own generator': lambda: build(generator=torch.Generator().manual_seed(3)),
    'short loader': lambda: build(items=48, bs=16, drop_last=True),
    'one batch': lambda: build(items=40, bs=64),
    'torch loader': lambda: build(train=DataLoader(Items(), 8, shuffle=True, generator=torch.Generator().manual_seed(1))),
    'remembering': lambda: build(cbs=[Remember()]),
    'no FiniteLoss': lambda: (lambda l: (l.remove_cb(FiniteLoss), l)[1])(build()),
    'adagrad': lambda: build(adagrad),
}


def frozen(learn):
    learn.model[0].requires_grad_(False)
    learn.model[1].eval()
    return learn


@pytest.mark.parametrize('first', ['fresh', 'trained', 'frozen'])
@pytest.mark.parametrize('kind', LEARNERS)
def test_leaves_everything_as_it_was(kind, first):
    learn = LEARNERS[kind]()
    if first == 'frozen': frozen(learn)
    if first == 'trained': quietly(learn.fit_one_cycle, 1, 1e-2)
    before, remembered = whole_state(learn), getattr(learn, 'remember', None) and list(learn.remember.seen)
    found = find(learn)
    after = whole_state(learn)
    assert [part for part in before if before[part] != after[part]] == []
    if kind == 'remembering':
        assert learn.remember.seen == learn.remember.deep['inner'] == remembered
        assert learn.remember.count == len(remembered)
    assert len(found.lrs) > 40


@pytest.mark.parametrize('kind', LEARNERS)
def test_a_fit_after_it_is_the_fit_without_it(kind):
    with_it, without = LEARNERS[kind](), LEARNERS[kind]()
    set_seed(7); find(with_it, repeats=1); quietly(with_it.fit_one_cycle, 2, 1e-2)
    set_seed(7); quietly(without.fit_one_cycle, 2, 1e-2)
    a, b = whole_state(with_it), whole_state(without)
    for part in ('model', 'opt', 'record', 'random', 'own'): assert a[part] == b[part], part


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize('where', ['before_batch', 'after_pred', 'after_backward', 'after_batch', 'before_fit'])
def test_interrupted_it_restores_too(error, where):
    class Break(Callback):
        calls, armed = 0, False
        def go(self):
            if not self.armed: return
            self.calls += 1
            if self.calls == (1 if where == 'before_fit' else 30): raise error('now')
    setattr(Break, where, Break.go)
    learn = build(cbs=[Break])
    quietly(learn.fit_one_cycle, 1, 1e-2)
    learn.break_ = None
    learn.cbs[-1].armed = True
    del learn.break_
    before = whole_state(learn)
    with pytest.raises(error, match='now'): find(learn)
    assert whole_state(learn) == before
    learn.cbs[-1].armed = False
    quietly(learn.fit, 1)


def test_an_optimiser_of_ones_own_and_its_settings_stay():
    learn = build()
    learn.create_opt()
    learn.opt.param_groups[0]['eps'] = .123
    opt = learn.opt
    find(learn)
    assert learn.opt is opt and opt.param_groups[0]['eps'] == .123 and not opt.state


def test_no_optimiser_stays_none():
    learn = build()
    find(learn)
    assert learn.opt is None and 'n_layer_groups' not in vars(learn)


def test_gradients_and_states_of_layers_stay():
    class Counter(nn.Module):
        def __init__(self): super().__init__(); self.calls, self.log = 0, []; self.register_buffer('n', torch.zeros(1), persistent=False)
        def forward(self, x):
            self.calls += 1
            self.log.append(self.calls)
            self.n = self.n + 1    # a new tensor in place of the old
            return x
    learn = build()
    learn.model.append(Counter())
    learn.model[0].weight.grad = torch.ones(32, 6)
    before, n = whole_state(learn), learn.model[-1].n
    find(learn)
    assert whole_state(learn) == before and learn.model[-1].n is n and n.item() == 0
    assert (learn.model[-1].calls, learn.model[-1].log) == (0, [])
    assert learn.model[0].weight.grad.eq(1).all()


def test_hooks_of_the_model_can_still_be_removed():
    learn, calls = build(), []
    handle = learn.model[0].register_forward_hook(lambda *args: calls.append(1))
    find(learn)
    seen = len(calls)
    handle.remove()
    quietly(learn.fit, 1)
    assert seen > 40 and len(calls) == seen


def test_lstm_survives():
    class Last(nn.Module):
        def __init__(self): super().__init__(); self.lstm, self.out = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)
        def forward(self, x): return self.out(self.lstm(x[:, None])[0][:, -1])
    learn = build()
    learn.model = Last()
    find(learn)
    assert all(any(p is q for q in learn.model.lstm.parameters()) for p in learn.model.lstm._flat_weights)
    quietly(learn.fit, 1)


def test_permanent_callbacks_that_would_interfere_stay_out(tmp_path):
    learn = build(path=tmp_path, cbs=[ParamScheduler(dict(lr=SchedNo(5.))), Checkpoint(every_batches=1),
                                      EarlyStoppingCallback(), SaveModelCallback(fname='best')])
    cbs = list(learn.cbs)
    found = find(learn)
    assert found.lrs[0] == pytest.approx(1e-7) and not list(tmp_path.iterdir())
    assert [type(cb) for cb in learn.cbs] == [type(cb) for cb in cbs] and all(cb.learn is learn for cb in cbs)


def test_callbacks_that_belong_to_training_stay_in():
    class Accumulate(Callback):
        count = 0
        def after_backward(self):
            type(self).count += 1
            if self.iter % 2: raise CancelBatchException
    assert len(find(build(cbs=[Accumulate])).lrs) > 40 and Accumulate.count > 40


def test_no_file_is_written_and_nothing_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        build().lr_find(show_plot=False)
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ''


@pytest.mark.parametrize('kind, shown', [('notebook', True), ('terminal', True), ('lines', False), ('paper', False)])
def test_a_bar_where_there_is_room_for_one(monkeypatch, kind, shown):
    calls = []
    class Bar(lr_finder.progress):
        def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs, kind=kind)
        def update(self, done, text=''): calls.append((done, self.total))
        def close(self): calls.append('closed')
    monkeypatch.setattr(lr_finder, 'progress', Bar)
    find(build(), num_it=20)
    assert calls == [(i, 20) for i in range(1, 21)] * shown + ['closed']
    learn, before = build(), len(calls)
    with learn.no_bar(): find(learn, num_it=20)
    assert calls[before:] == ['closed']


def test_what_cannot_be_copied_is_named():
    class Log(Callback):
        def __init__(self): self.file = open(__file__)
    learn = build(cbs=Log)
    before = whole_state(learn)
    with pytest.raises(TypeError, match='Log cannot be copied.*in_lr_find = False'): find(learn)
    assert whole_state(learn) == before
    Log.in_lr_find = False
    assert len(find(learn).lrs) > 40
    learn.log.file.close()
    learn = build()
    learn.model[0].trace = (learn.model[0].weight * 2).sum()     # hangs on a graph
    with pytest.raises(TypeError, match='Sequential cannot be copied'): find(learn)


def test_the_twin_trains_alone():
    "Callbacks, hooks and listeners see the twin; the data are shared."
    seen = []
    class Look(Callback):
        def after_batch(self): seen.append((self.learn, self.learn.model, self.learn.dls))
    learn = build(cbs=Look)
    find(learn)
    twin, model, dls = seen[-1]
    assert twin is not learn and model is not learn.model and dls is learn.dls
    assert twin.opt is not None and learn.opt is None and twin.look is not learn.look and learn.look.learn is learn


def test_pictures_show_all_of_every_run():
    lrs = [1e-7 * 1e8 ** (i / 99) for i in range(100)]
    def run(low, begin=3.): return lrs[:90], [begin] * 50 + [begin - (begin - low) * i / 30 for i in range(1, 31)] + [9.] * 10
    found = SuggestedLRs([run(2.), run(1.), run(2.5, 3.5)], [minimum])
    low, high = found.plot().get_ylim()
    assert low < 1. and high > 3.5


# ---- the lesson on real data

@needs_mirror
def test_the_lesson_runs_unchanged_on_real_data(root, tmp_path, monkeypatch):
    printed = printed_on_real_data(root/'nbs'/'29_lr_finder.ipynb', ['oxford-iiit-pet.tgz', 'mnist_sample.tgz'], tmp_path,
                                   monkeypatch)
    assert 'times the guess' in printed and 'accuracy on the first half' in printed


def test_a_loss_of_nan_on_the_curve_is_no_reading():
    rates = [10 ** (-5 + i / 10) for i in range(50)]
    losses = [1 - .01 * i for i in range(25)] + [.75 - .02 * i for i in range(15)] + [.9] * 8
    for read in (lr_finder.minimum, lr_finder.steep, lr_finder.valley, lr_finder.slide):
        for end in (math.nan, math.inf):
            assert read(rates, losses + [end] * 2, 50) == pytest.approx(read(rates[:48], losses, 50)), read.__name__
        with pytest.raises(ValueError, match='none is finite'): read(rates, [math.nan] * 50, 50)
