"Schedules, one-cycle and its exact resumption, fine-tuning, and callbacks that watch a value."
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers.digests import digest
from helpers.watched_learner import adagrad, build, quietly, sgd, sgd_momentum, three_groups, whole_state

from lessonlib.batches import Metric
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import set_seed
from lessonlib.learner import Callback, layer_rates
from lessonlib.schedules import (ParamScheduler, SchedCos, SchedExp, SchedLin, SchedNo, SchedPoly, combine_scheds,
                                 combined_cos, sched_cos)

numbers = st.floats(-100, 100, allow_nan=False)
rates = st.floats(1e-8, 100)
shares = st.floats(0, 1)


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
    (lambda: combine_scheds([-.5, 1.5], [SchedNo(1.), SchedNo(1.)]), 'between 0 and 1'),
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
    (slice(1e-3, None), 'above 0'), (slice(1e-5, 1e-3, 2), r'slice\(first, last\)'), ([1e-3, 1e-4], '2 learning rates for 3'),
])
def test_bad_rates(lr, words):
    with pytest.raises(ValueError, match=words): layer_rates(lr, 3)
    learn = build(splitter=three_groups)
    with pytest.raises(ValueError, match=words): quietly(learn.fit_one_cycle, 1, lr)
    assert not learn.recorder.batches
    with pytest.raises(ValueError, match=words): quietly(learn.fit, 1, lr)


@pytest.mark.parametrize('fit', ['fit_one_cycle', 'fit_flat_cos', 'fit_sgdr'])
@pytest.mark.parametrize('lr', [0., -1., float('nan'), [.1, 0., .1]])
def test_schedules_need_rates_above_zero(fit, lr):
    name = 'lr' if fit == 'fit_flat_cos' else 'lr_max'
    with pytest.raises(ValueError, match='above 0'): quietly(getattr(build(splitter=three_groups), fit), 1, **{name: lr})


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
    assert set(run(build(adagrad), 'fit_one_cycle', 1, .1)[1]) == {None}


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
        quietly(build(adagrad).fit, 1, cbs=ParamScheduler(dict(mom=SchedNo(1.))))


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
        quietly(getattr(again, fit), *args, cbs=Checkpoint('b', every_batches=1, resume=True))
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
    learn = build(adagrad)
    quietly(learn.fit, 1)
    assert not learn.recorder.plot_sched()[1].lines


# ---- fine-tuning

def phases(learn, *args, **kwargs):
    "What fine_tune asks of fit_one_cycle: epochs, rates, whether the first layers are trained, the rest"
    calls = []
    learn.fit_one_cycle = lambda n, lr, **kw: calls.append((n, lr, next(learn.model.parameters()).requires_grad, kw))
    learn.fine_tune(*args, **kwargs)
    return calls


def test_fine_tune_is_two_cycles():
    assert phases(build(splitter=three_groups), 4, 8e-3, freeze_epochs=2, wd=.2) == [
        (2, slice(8e-3), False, dict(pct_start=.99, wd=.2)), (4, slice(4e-5, 4e-3), True, dict(pct_start=.3, div=5., wd=.2))]
    assert phases(build(splitter=three_groups), 1, freeze_epochs=0) == [(1, slice(1e-5, 1e-3), True, dict(pct_start=.3, div=5.))]
    with pytest.raises(ValueError, match='one epoch or more'): build().fine_tune(0)


def test_fine_tune_trains_the_first_layers_only_in_its_second_phase():
    seen = []
    class Look(Callback):
        def before_batch(self):
            if self.learn.training: seen.append(self.learn.model[0].weight.requires_grad)
    learn = build(splitter=three_groups)
    quietly(learn.fine_tune, 2, cbs=Look)
    assert seen == [False] * 25 + [True] * 50 and len(learn.recorder.lrs) == 50


@pytest.mark.parametrize('at', [1, 3, 6, 7, 10, 13, 14, 20])   # 7 batches an epoch, the first phase is one epoch
def test_fine_tune_again_goes_on_where_it_was_interrupted(tmp_path, at):
    class Break(Callback):
        order, count = 2000, 0   # the checkpoint of this batch is written
        def after_batch(self):
            self.count += self.learn.training
            if self.count == at: raise KeyboardInterrupt
    def make(): return build(splitter=three_groups, items=100, path=tmp_path)
    def state(learn): return {name: whole_state(learn)[name] for name in ('model', 'opt', 'record', 'random')}
    whole, broken, again = make(), make(), make()
    set_seed(1)
    quietly(whole.fine_tune, 2, 1e-2, cbs=Checkpoint('a', every_batches=1))
    set_seed(1)
    with pytest.raises(KeyboardInterrupt):
        quietly(broken.fine_tune, 2, 1e-2, cbs=[Checkpoint('b', every_batches=1, resume=True), Break()])
    for learn in (broken, again):   # in the same process, the same cell once more; or a fresh one
        file = tmp_path/'models'/'b.safetensors'
        left = file.read_bytes()
        set_seed(99)
        quietly(learn.fine_tune, 2, 1e-2, cbs=Checkpoint('b', every_batches=1, resume=True))
        assert state(learn) == state(whole)
        file.write_bytes(left)
