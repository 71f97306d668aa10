"Schedules, one-cycle and its exact resumption, the learning rate finder and what it leaves untouched."
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

from digests import digest
from real_lesson import needs_mirror, printed_on_real_data

from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Callback, CancelBatchException, Learner, Recorder
from lessonlib.checkpoint import Checkpoint
from lessonlib.batches import DataLoaders, TensorDataLoader, accuracy, _generators
from lessonlib.progress import FiniteLoss, ProgressCallback
from lessonlib.lr_finder import (EarlyStoppingCallback, SaveModelCallback, SuggestedLRs, minimum,
                                 slide, steep, valley)
from lessonlib.schedules import (ParamScheduler, SchedCos, SchedExp, SchedLin, SchedNo, SchedPoly,
                                 Schedule, combine_scheds, combined_cos, sched_cos)
from lessonlib.learner import layer_rates

matplotlib.use('agg')
numbers = st.floats(-100, 100, allow_nan=False)
rates = st.floats(1e-8, 100)
shares = st.floats(0, 1)


def sgd(groups, lr): return torch.optim.SGD(groups, lr=lr)
def sgd_momentum(groups, lr): return torch.optim.SGD(groups, lr=lr, momentum=.9)
def three_groups(model): return [list(model[:1].parameters()), list(model[1:4].parameters()), list(model[4:].parameters())]


def build(opt=None, splitter=None, items=400, bs=16, seed=0, cbs=None, path='.', drop_last=False, generator=None,
          train=None, dropout=.2):
    torch.set_num_threads(1)
    set_seed(seed)
    x = torch.randn(items + 80, 6)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0).long()
    train = train or TensorDataLoader(x[80:], y[80:], bs=bs, shuffle=True, drop_last=drop_last, generator=generator)
    dls = DataLoaders(train, TensorDataLoader(x[:80], y[:80], bs=bs), device='cpu')
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3))
    return Learner(dls, model, F.cross_entropy, opt_func=opt, metrics=accuracy, splitter=splitter, cbs=cbs, path=path)


def quietly(action, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return action(*args, **kwargs)


def find(learn, **kwargs): return quietly(learn.lr_find, **{'show_plot': False, **kwargs})


def whole_state(learn):
    "Everything a user could see of a learner"
    own = ('training', 'epoch', 'n_epoch', 'batches_done', 'lr', 'wd', 'dl', 'xb', 'yb', 'pred', 'loss', 'error')
    return dict(model=digest(learn.model.state_dict()), modes=[m.training for m in learn.model.modules()],
                requires=[p.requires_grad for p in learn.model.parameters()],
                grads=digest([p.grad for p in learn.model.parameters()]),
                opt=learn.opt and digest(learn.opt.state_dict()), opt_id=id(learn.opt),
                params=[id(p) for p in learn.model.parameters()], buffers=[id(b) for b in learn.model.buffers()],
                random=digest(get_rng_state()), own=[g.get_state().tolist() for g in _generators(learn.dls.loaders)],
                cbs=[id(cb) for cb in learn.cbs], listeners={e: len(ls) for e, ls in learn.listeners.items()},
                record=digest([learn.recorder.batches, learn.recorder.values]), recorder=id(learn.recorder),
                notes={name: repr(vars(learn).get(name, 'absent')) for name in own}, names=sorted(vars(learn)))


# ---- schedules

@given(numbers, numbers, shares)
def test_schedules_stay_between_their_ends(start, end, pct):
    low, high = min(start, end), max(start, end)
    slack = 1e-9 * max(1, abs(start), abs(end))
    for sched in (SchedLin(start, end), SchedCos(start, end), SchedPoly(start, end, 3), SchedPoly(start, end, .5)):
        assert low - slack <= sched(pct) <= high + slack
        assert sched(0) == pytest.approx(start) and sched(1) == pytest.approx(end)
    assert SchedNo(start, end)(pct) == start == SchedNo(start)(pct)


@given(rates, rates, shares, shares)
def test_exponential_multiplies_by_the_same_factor(start, end, pct, other):
    sched = SchedExp(start, end)
    assert sched(0) == start and sched(1) == pytest.approx(end)
    assert math.log(sched(pct) / start) == pytest.approx(pct * math.log(end / start), abs=1e-9)
    if pct < other: assert (sched(pct) - sched(other)) * (start - end) >= 0


@given(numbers, numbers, numbers, st.floats(.01, .99))
def test_combined_cos_is_continuous_and_meets_its_points(start, middle, end, share):
    sched = combined_cos(share, start, middle, end)
    assert sched(0) == pytest.approx(start) and sched(1) == pytest.approx(end, abs=1e-9)
    assert sched(share) == pytest.approx(middle, abs=1e-9)
    step = 1e-7
    for pct in (share - step, share + step): assert sched(pct) == pytest.approx(middle, abs=1e-3)
    values = [sched(i / 500) for i in range(501)]
    steepest = math.pi / 2 * max(abs(middle - start) / share, abs(end - middle) / (1 - share)) / 500
    assert max(abs(a - b) for a, b in zip(values, values[1:])) <= steepest * 1.001 + 1e-9


def test_cosine_by_its_formula_and_by_torch():
    for pct in np.linspace(0, 1, 21):
        assert sched_cos(2., 5., pct) == pytest.approx(5 + (2 - 5) * (1 + math.cos(math.pi * pct)) / 2)
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=.3)
    torch_way = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 40, eta_min=.01)
    ours = SchedCos(.3, .01)
    for i in range(41):
        assert opt.param_groups[0]['lr'] == pytest.approx(ours(i / 40))
        opt.step(); torch_way.step()


def test_polynomial_by_torch():
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=.3)
    torch_way = torch.optim.lr_scheduler.PolynomialLR(opt, 40, power=2.)
    for i in range(41):
        assert SchedPoly(0., .3, 2)(1 - i / 40) == pytest.approx(opt.param_groups[0]['lr'])
        opt.step(); torch_way.step()


@pytest.mark.parametrize('total, share', [(100, .25), (40, .5), (200, .1)])
def test_one_cycle_agrees_with_torch_at_the_same_share_of_each_half(total, share):
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1., momentum=.9)
    torch_way = torch.optim.lr_scheduler.OneCycleLR(opt, .1, total_steps=total, pct_start=share, div_factor=25,
                                                    final_div_factor=1e5 / 25, base_momentum=.85, max_momentum=.95)
    lr, mom = combined_cos(share, .1 / 25, .1, .1 / 1e5), combined_cos(share, .95, .85, .95)
    peak = share * total - 1
    for step in range(total):
        pct = share * step / peak if step <= peak else share + (1 - share) * (step - peak) / (total - 1 - peak)
        pct = min(pct, 1.)
        assert opt.param_groups[0]['lr'] == pytest.approx(lr(pct), rel=1e-9)
        assert opt.param_groups[0]['momentum'] == pytest.approx(mom(pct), rel=1e-9)
        opt.step()
        if step < total - 1: torch_way.step()


def test_combined_goes_through_phases_in_order_and_skips_empty_ones():
    sched = combine_scheds([.5, 0, .25, .25], [SchedNo(1.), SchedNo(9.), SchedNo(2.), SchedNo(3.)])
    assert [sched(pct) for pct in (0, .49, .5, .74, .75, 1)] == [1, 1, 2, 2, 3, 3]
    assert combine_scheds([0., 1.], [SchedNo(5.), SchedLin(0., 1.)])(1) == 1
    assert combined_cos(0, 5., 2., 1.)(0) == 2 and combined_cos(1, 5., 2., 1.)(1) == 2


def test_lists_give_lists():
    assert SchedLin([0., 10.], [1., 20.])(.5) == [.5, 15.]
    assert combined_cos(.5, [1., 2.], [3., 4.], [5., 6.])(.5) == [3., 4.]


@pytest.mark.parametrize('make, words', [
    (lambda: combine_scheds([.5, .4], [SchedNo(1.), SchedNo(1.)]), 'add up to 0.9'),
    (lambda: combine_scheds([.5, .5], [SchedNo(1.)]), '2 shares for 1 schedules'),
    (lambda: combine_scheds([], []), '0 shares'),
    (lambda: combine_scheds([-.5, 1.5], [SchedNo(1.), SchedNo(1.)]), '0 or more'),
    (lambda: combined_cos(1.2, 1., 2., 3.), 'between 0 and 1'),
    (lambda: combined_cos(.5, 1., 2., 3.)(-.1), 'between 0 and 1'),
    (lambda: SchedLin(1., 2.)(1.1), 'between 0 and 1'),
    (lambda: SchedExp(0., 1.), 'above 0'),
    (lambda: SchedExp(1., -1.), 'above 0'),
    (lambda: SchedExp([1., 0.], [1., 1.]), 'above 0'),
    (lambda: SchedPoly(1., 2., 0.), 'power must be above 0'),
    (lambda: SchedLin([1., 2.], 3.), 'lists of one length'),
    (lambda: SchedLin([1., 2.], [3.]), 'lists of one length'),
])
def test_bad_schedules(make, words):
    with pytest.raises(ValueError, match=words): make()


# ---- rates of layer groups

@given(rates, rates, st.integers(2, 9))
def test_slice_is_geometric(first, last, n):
    spread = layer_rates(slice(first, last), n)
    assert len(spread) == n and spread[0] == pytest.approx(first) and spread[-1] == last
    assert all(b / a == pytest.approx((last / first) ** (1 / (n - 1))) for a, b in zip(spread, spread[1:]))
    assert layer_rates(slice(last), n) == [last / 10] * (n - 1) + [last]


def test_rates_as_the_field_has_them():
    assert layer_rates(slice(1e-6, 1e-4), 3) == pytest.approx([1e-6, 1e-5, 1e-4])
    assert layer_rates(slice(2e-3), 3) == pytest.approx([2e-4, 2e-4, 2e-3])
    assert layer_rates(slice(1e-6, 1e-4), 1) == [1e-4] == layer_rates(slice(1e-4), 1)
    assert layer_rates(.1, 3) == [.1] * 3 and layer_rates((1, 2), 2) == [1, 2]
    assert layer_rates(np.array([1., 2.]), 2) == [1., 2.] == layer_rates(torch.tensor([1., 2.]), 2)


@pytest.mark.parametrize('lr, words', [
    (slice(0, 1e-3), 'above 0'), (slice(-1e-3, 1e-3), 'above 0'), (slice(1e-3, 0), 'above 0'), (slice(None), 'above 0'),
    (slice(1e-3, None), 'above 0'), (slice(1e-5, 1e-3, 2), 'no step'), ([1e-3, 1e-4], '2 learning rates for 3'),
])
def test_bad_rates(lr, words):
    with pytest.raises(ValueError, match=words): layer_rates(lr, 3)
    learn = build(splitter=three_groups)
    with pytest.raises(ValueError, match=words): quietly(learn.fit_one_cycle, 1, lr)
    with pytest.raises(ValueError, match=words): quietly(learn.fit, 1, lr)


@pytest.mark.parametrize('fit', ['fit_one_cycle', 'fit_flat_cos', 'fit_sgdr'])
@pytest.mark.parametrize('lr', [0., -1., float('nan'), [.1, 0., .1]])
def test_schedules_need_rates_above_zero(fit, lr):
    with pytest.raises(ValueError, match='above 0'): quietly(getattr(build(splitter=three_groups), fit), 1, **{'lr' if fit == 'fit_flat_cos' else 'lr_max': lr})


def test_fit_takes_slices_too():
    seen = []
    class Look(Callback):
        def before_batch(self): seen.append([g['lr'] for g in self.opt.param_groups if g['decays']])
    learn = build(splitter=three_groups)
    quietly(learn.fit, 1, slice(1e-5, 1e-3), cbs=Look)
    assert seen[0] == pytest.approx([1e-5, 1e-3])   # the middle group has batch norm only: nothing that decays
    assert [g['lr'] for g in learn.opt.param_groups if g['layer_group'] == 1] == pytest.approx([1e-4])


# ---- fits with schedules

def run(learn, fit='fit_one_cycle', *args, **kwargs):
    quietly(getattr(learn, fit), *args, **kwargs)
    return learn.recorder.lrs, learn.recorder.moms


def test_one_cycle_exactly():
    lrs, moms = run(build(), 'fit_one_cycle', 4, 1e-2)
    n = len(lrs)
    assert n == 100
    for i in range(n):
        pct = i / n
        if pct < .25: lr, mom = sched_cos(4e-4, 1e-2, pct / .25), sched_cos(.95, .85, pct / .25)
        else: lr, mom = sched_cos(1e-2, 1e-7, (pct - .25) / .75), sched_cos(.85, .95, (pct - .25) / .75)
        assert lrs[i] == pytest.approx(lr) and moms[i] == pytest.approx(mom)


def test_one_cycle_settings_and_groups():
    rows = []
    class Look(Callback):
        def before_batch(self):
            if self.training: rows.append([(g['layer_group'], g['lr'], g['betas']) for g in self.opt.param_groups])
    learn = build(splitter=three_groups)
    quietly(learn.fit_one_cycle, 2, slice(1e-5, 1e-3), div=5, div_final=100, pct_start=.5, moms=(.8, .7, .8), cbs=Look())
    for group, lr, betas in rows[0]: assert lr == pytest.approx([1e-5, 1e-4, 1e-3][group] / 5) and betas == (.8, .99)
    for group, lr, betas in rows[25]:
        assert lr == pytest.approx([1e-5, 1e-4, 1e-3][group]) and betas[0] == pytest.approx(.7)


def test_wd_and_reset_opt_and_default_rate_reach_the_fit():
    learn = build()
    learn.lr = 5e-3
    lrs, _ = run(learn, 'fit_one_cycle', 1, wd=.3)
    assert max(lrs) == pytest.approx(5e-3, rel=.02)
    assert {g['weight_decay'] for g in learn.opt.param_groups} == {.3, 0.}
    before = learn.opt
    run(learn, 'fit_one_cycle', 1)
    assert learn.opt is before
    run(learn, 'fit_one_cycle', 1, reset_opt=True)
    assert learn.opt is not before


def test_flat_cos_and_sgdr():
    lrs, moms = run(build(), 'fit_flat_cos', 4, .01)
    assert lrs[:76] == [.01] * 76 and lrs[99] < 1e-4 and set(moms) == {.9}
    assert lrs[88] == pytest.approx(sched_cos(.01, 1e-7, (.88 - .75) / .25))
    lrs, _ = run(build(), 'fit_sgdr', 3, 1, .01)
    assert len(lrs) == 7 * 25 and [i for i, lr in enumerate(lrs) if lr == .01] == [0, 25, 75]
    assert lrs[24] < 1e-4 and lrs[75 + 50] == pytest.approx(.005)
    lrs, _ = run(build(), 'fit_sgdr', 3, 1, .01, cycle_mult=1)
    assert len(lrs) == 75
    with pytest.raises(ValueError, match='1 or more'): build().fit_sgdr(0)


def test_momentum_of_sgd_is_scheduled_and_none_is_added():
    assert min(run(build(sgd_momentum), 'fit_one_cycle', 2, .1)[1]) == pytest.approx(.85, abs=1e-3)
    assert set(run(build(sgd), 'fit_one_cycle', 2, .1)[1]) == {0}
    assert set(run(build(sgd_momentum), 'fit_one_cycle', 2, .1, moms=None)[1]) == {.9}
    adagrad = build(lambda groups, lr: torch.optim.Adagrad(groups, lr=lr))
    assert set(run(adagrad, 'fit_one_cycle', 1, .1)[1]) == {None}


def test_after_the_fit_the_optimiser_has_its_settings_back():
    learn = build(splitter=three_groups)
    quietly(learn.fit_one_cycle, 1, [.1, .2, .3])
    assert {g['betas'] for g in learn.opt.param_groups} == {(.9, .99)}
    assert [g['lr'] for g in learn.opt.param_groups if g['layer_group'] == 2] == [.3, .3]
    class Stop(Callback):
        def after_batch(self): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): quietly(learn.fit_one_cycle, 1, .1, cbs=Stop)
    assert {g['betas'] for g in learn.opt.param_groups} == {(.9, .99)}


def test_param_scheduler_sets_what_it_is_told_to():
    seen = []
    class Look(Callback):
        def before_batch(self):
            if self.training: seen.append([(g['weight_decay'], g['eps'], g['decays']) for g in self.opt.param_groups])
    quietly(build().fit, 1, cbs=[ParamScheduler(dict(wd=SchedLin(0., 1.), eps=lambda pct: 1e-3)), Look])
    assert seen[10][0] == (pytest.approx(.4), 1e-3, True) and seen[10][1] == (0., 1e-3, False)
    with pytest.raises(ValueError, match='AdamW has no setting speed; it has .*lr, betas'):
        quietly(build().fit, 1, cbs=ParamScheduler(dict(speed=SchedNo(1.))))
    with pytest.raises(ValueError, match='no setting params'):
        quietly(build().fit, 1, cbs=ParamScheduler(dict(params=SchedNo(1.))))
    with pytest.raises(ValueError, match='no setting momentum'):
        quietly(build(lambda g, lr: torch.optim.Adagrad(g, lr=lr)).fit, 1, cbs=ParamScheduler(dict(mom=SchedNo(1.))))


@pytest.mark.parametrize('opt', [None, sgd_momentum])
@pytest.mark.parametrize('fit, args', [('fit_one_cycle', (3, slice(1e-4, 1e-2))), ('fit_sgdr', (2, 1, 1e-2)),
                                       ('fit_flat_cos', (3, 1e-2))])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, fit, args, opt):
    "Bit for bit: weights, optimiser, record and random state"
    class Break(Callback):
        order = 2000   # the checkpoint of this batch is written
        def __init__(self, at): self.at = at
        def after_batch(self):
            if self.training and self.epoch * self.n_iter + self.iter == self.at: raise KeyboardInterrupt
    def make(): return build(opt, three_groups, items=100, path=tmp_path)
    whole = make()
    quietly(getattr(whole, fit), *args, cbs=Checkpoint('a', every_batches=1))
    want = {name: whole_state(whole)[name] for name in ('model', 'opt', 'record', 'random')}
    for at in (0, 3, 6, 7, 13, 20):   # 7 batches an epoch
        broken = make()
        with pytest.raises(KeyboardInterrupt):
            quietly(getattr(broken, fit), *args, cbs=[Checkpoint('b', every_batches=1), Break(at)])
        again = make()
        set_seed(99)
        quietly(getattr(again, fit), *args, cbs=Checkpoint('b', every_batches=1), resume=True)
        got = whole_state(again)
        assert {name: got[name] for name in want} == want, f'broken after batch {at}'
        assert again.recorder.lrs == whole.recorder.lrs and again.recorder.moms == whole.recorder.moms


def test_another_schedule_ends_elsewhere():
    a, b = build(), build()
    quietly(a.fit_one_cycle, 2, 1e-2)
    quietly(b.fit, 2, 1e-2)
    assert whole_state(a)['model'] != whole_state(b)['model']


def test_plots_have_words_and_lines():
    learn = build()
    with pytest.raises(ValueError, match='no batch has been trained'): learn.recorder.plot_sched()
    quietly(learn.fit_one_cycle, 1, .01)
    for ax, values in zip(learn.recorder.plot_sched(), (learn.recorder.lrs, learn.recorder.moms)):
        assert ax.get_title() and ax.get_xlabel() and ax.get_ylabel()
        assert list(ax.lines[0].get_ydata()) == values
    learn = build(lambda groups, lr: torch.optim.Adagrad(groups, lr=lr))
    quietly(learn.fit, 1)
    assert not learn.recorder.plot_sched()[1].lines


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
    'adagrad': lambda: build(lambda groups, lr: torch.optim.Adagrad(groups, lr=lr)),
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


def test_a_bar_where_there_is_room_for_one(monkeypatch):
    monkeypatch.delenv('LESSONLIB_PAPER', raising=False)
    class Bar:
        has_bar, calls, stopped = True, [], 0
        def bar(self, done, total, text): self.calls.append((done, total))
        def stop(self): type(self).stopped += 1
    monkeypatch.setattr(ProgressCallback, 'kinds', dict(lines=Bar, terminal=Bar, notebook=Bar))
    find(build(), num_it=20)
    assert Bar.calls == [(i, 20) for i in range(1, 21)] and Bar.stopped == 1
    learn = build()
    with learn.no_bar(): find(learn, num_it=20)
    assert len(Bar.calls) == 20


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


def test_saving_goes_on_after_a_break(tmp_path):
    learn = build(items=32, path=tmp_path)
    with pytest.raises(ValueError, match='give it an fname'):
        quietly(learn.fit, 1, cbs=[SaveModelCallback(), Checkpoint()])
    def cbs(): return [Told([3, 1, 2, 2]), SaveModelCallback(fname='best'), Checkpoint()]
    class Break(Callback):
        def before_epoch(self):
            if self.epoch == 3: raise KeyboardInterrupt
    whole = build(items=32, path=tmp_path)
    quietly(whole.fit, 4, .01, cbs=cbs())
    broken = build(items=32, path=tmp_path)
    with pytest.raises(KeyboardInterrupt): quietly(broken.fit, 4, .01, cbs=[*cbs(), Break])
    again = build(items=32, path=tmp_path)
    quietly(again.fit, 4, .01, cbs=cbs(), resume=True)
    assert digest(again.model.state_dict()) == digest(whole.model.state_dict())


# ---- the lesson on real data

@needs_mirror
def test_the_lesson_runs_unchanged_on_real_data(root, tmp_path, monkeypatch):
    printed = printed_on_real_data(root/'nbs'/'29_lr_finder.ipynb', ['oxford-iiit-pet.tgz', 'mnist_sample.tgz'], tmp_path,
                                   monkeypatch)
    assert 'times the guess' in printed and 'a whole cycle of 4 epochs' in printed
