"Optimisers made of steps: each beside torch's or timm's, what is refused, groups, state, and the Learner."
import copy
from functools import partial

import pytest
import torch
from timm.optim import Lamb as TimmLamb
from timm.optim import Lion as TimmLion
from torch import nn
from torch.nn import functional as F

from lessonlib.batches import DataLoaders
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Callback, Learner
from lessonlib.optimizers import (Adam, Lamb, Lion, MomentumSGD, Optimizer, OptimWrapper, RMSProp, adam_step,
                                  average_grad, average_sqr_grad, l2_reg, momentum_step, sgd_step, step_stat,
                                  weight_decay)

quick = pytest.mark.quick
torch_sgd, torch_rms = torch.optim.SGD, torch.optim.RMSprop


# ---- the same steps as others

def trained(make_opt, wd=.1, dtype=torch.float64, steps=20, schedule=None):
    "All weights of a small net; weights decay, biases do not, one parameter never has a gradient"
    set_seed(3)
    x, y = torch.randn(64, 4, dtype=dtype), torch.randn(64, 1, dtype=dtype)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)
    idle = nn.Parameter(torch.ones(2, dtype=dtype))
    opt = make_opt([dict(params=[net[0].weight, net[2].weight], weight_decay=wd),
                    dict(params=[net[0].bias, net[2].bias, idle], weight_decay=0.)])
    for step in range(steps):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        if schedule: schedule(opt, step)
        opt.step()
    assert idle.tolist() == [1, 1]
    return torch.cat([p.detach().flatten() for p in net.parameters()])


PAIRS = {
    'sgd': (partial(MomentumSGD, decouple_wd=False), torch_sgd),
    'momentum': (partial(MomentumSGD, mom=.9, decouple_wd=False), partial(torch_sgd, momentum=.9)),
    'dampened': (partial(MomentumSGD, mom=.9, dampening=True, decouple_wd=False),
                 partial(torch_sgd, momentum=.9, dampening=.9)),
    'nesterov': (partial(MomentumSGD, mom=.9, nesterov=True, decouple_wd=False),
                 partial(torch_sgd, momentum=.9, nesterov=True)),
    'rmsprop': (partial(RMSProp, decouple_wd=False), torch_rms),
    'rmsprop, eps': (partial(RMSProp, eps=.1, decouple_wd=False), partial(torch_rms, eps=.1)),
    'rmsprop, momentum': (partial(RMSProp, mom=.8, sqr_mom=.9, eps=.1, decouple_wd=False),
                          partial(torch_rms, momentum=.8, alpha=.9, eps=.1)),
    'adam': (partial(Adam, decouple_wd=False), partial(torch.optim.Adam, betas=(.9, .99), eps=1e-5)),
    'adam, eps': (partial(Adam, eps=.1, decouple_wd=False), partial(torch.optim.Adam, betas=(.9, .99), eps=.1)),
    'adamw': (Adam, partial(torch.optim.AdamW, betas=(.9, .99), eps=1e-5)),
    'adamw, eps': (partial(Adam, mom=.8, sqr_mom=.999, eps=.1), partial(torch.optim.AdamW, betas=(.8, .999), eps=.1)),
    'lamb': (Lamb, partial(TimmLamb, betas=(.9, .99), eps=1e-5, max_grad_norm=None)),
    'lamb, eps': (partial(Lamb, eps=.1), partial(TimmLamb, betas=(.9, .99), eps=.1, max_grad_norm=None)),
    'lion': (Lion, TimmLion),
}


@quick
@pytest.mark.parametrize('name', PAIRS)
def test_twenty_steps_as_others_make_them(name):
    ours, theirs = (partial(make, lr=.01) for make in PAIRS[name])
    torch.testing.assert_close(trained(ours), trained(theirs), atol=1e-6, rtol=0)
    torch.testing.assert_close(trained(ours, dtype=torch.float32), trained(theirs, dtype=torch.float32), atol=2e-5, rtol=0)


@quick
@pytest.mark.parametrize('name', ['momentum', 'adamw', 'lamb', 'lion'])
def test_rate_and_momentum_may_move(name):
    def schedule(opt, step):
        for group in opt.param_groups:
            group['lr'], mom = .02 - .001 * step, .8 + .005 * step
            if 'betas' in group: group['betas'] = (mom, *group['betas'][1:])
            else: group['momentum'] = mom
    ours, theirs = (trained(partial(make, lr=.01), schedule=schedule) for make in PAIRS[name])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert (ours - trained(partial(PAIRS[name][0], lr=.01))).abs().max() > 1e-3


@quick
def test_the_comparison_sees_a_difference():
    for wrong in (partial(Adam, lr=.01, eps=1e-3), partial(Adam, lr=.01, sqr_mom=.999), partial(Adam, lr=.0101),
                  partial(Adam, lr=.01, decouple_wd=False)):
        assert (trained(wrong) - trained(partial(PAIRS['adamw'][1], lr=.01))).abs().max() > 1e-5


@quick
def test_lamb_takes_layers_that_are_zero_and_lion_moves_by_the_rate():
    zero, bias = nn.Parameter(torch.zeros(3, 3)), nn.Parameter(torch.zeros(3))
    for w in (zero, bias): w.grad = torch.ones_like(w)
    Lamb([zero, bias], lr=.01).step()
    for w in (zero, bias): torch.testing.assert_close(w.detach(), torch.full_like(w, -.01), atol=1e-5, rtol=0)
    still = nn.Parameter(torch.ones(3, 3))
    still.grad = torch.zeros(3, 3)
    Lamb([still], lr=.01, wd=0.).step()
    assert still.eq(1).all()


# ---- what is refused

@quick
@pytest.mark.parametrize('make, error, message', [
    (lambda p: Optimizer(p, [weight_decay, sgd_step], wdd=.1), TypeError, "Did you mean 'wd'"),
    (lambda p: Optimizer(p, sgd_step, wd=.1), TypeError, 'No step asks for wd'),
    (lambda p: Optimizer(p, [average_sqr_grad, sgd_step], sqr_mom=.9, eps=.1), TypeError, 'No step asks for eps'),
    (lambda p: Optimizer(p, [momentum_step]), TypeError, 'momentum_step asks for grad_avg.*give it a default'),
    (lambda p: Optimizer(p, [momentum_step, average_grad], mom=.9), TypeError, 'step before it'),
    (lambda p: Optimizer(p, [average_grad, momentum_step]), TypeError, 'average_grad asks for mom'),
    (lambda p: Adam(p, lr=-1), ValueError, 'lr is -1'),
    (lambda p: Adam(p, lr=float('nan')), ValueError, 'lr is nan'),
    (lambda p: Adam(p, lr=slice(1e-4, 1e-3)), ValueError, 'business of a Learner'),
    (lambda p: Adam(p, mom=1.), ValueError, 'mom is 1.0.*without, 1'),
    (lambda p: RMSProp(p, eps=-1e-8), ValueError, 'eps is -1e-08'),
    (lambda p: Lion(p, memory=1.5), ValueError, 'memory'),
    (lambda p: Adam(p, wd=-.1), ValueError, 'wd is -0.1'),
    (lambda p: MomentumSGD(p, nesterov=True), ValueError, 'mom above 0'),
    (lambda p: Adam([dict(params=p, weight_decay=0.)], wd=.1), ValueError, 'If they come from a Learner'),
    (lambda p: OptimWrapper([dict(params=p, weight_decay=0.)], torch_sgd, lr=1., wd=.1), ValueError, 'If they come'),
    (lambda p: OptimWrapper(p, torch.optim.LBFGS), TypeError, 'once a batch'),
    (lambda p: OptimWrapper(p, torch.optim.SparseAdam), TypeError, 'sparse gradients'),
    (lambda p: Adam([]), ValueError, 'empty'),
])
def test_what_cannot_be_meant_is_refused_when_it_is_made(make, error, message):
    with pytest.raises(error, match=message): make([nn.Parameter(torch.ones(2))])


@quick
def test_sparse_gradients_are_refused_before_anything_moves():
    table = nn.Embedding(5, 2, sparse=True)
    before, opt = table.weight.detach().clone(), Adam(table.parameters(), lr=1.)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(TypeError, match='sparse=False'): opt.step()
    assert torch.equal(table.weight, before)


# ---- steps

@quick
def test_steps_in_the_style_of_the_field():
    "Takes everything, returns a dict, works in place on .data"
    def remember(p, mom, grad_avg=None, **kwargs):
        if grad_avg is None: grad_avg = torch.zeros_like(p.grad.data)
        return {'grad_avg': grad_avg * mom + p.grad.data}
    def move(p, lr, grad_avg, **kwargs):
        p.data.add_(grad_avg, alpha=-lr)
        return p                                  # what is no dict is not remembered
    ours = partial(Optimizer, cbs=[remember, move], lr=.01, mom=.9)
    torch.testing.assert_close(trained(ours, wd=0.), trained(partial(torch_sgd, lr=.01, momentum=.9), wd=0.), atol=1e-6, rtol=0)


@quick
def test_gradients_and_groups_stay_as_they_are():
    w = nn.Parameter(torch.ones(3))
    w.grad = grad = torch.tensor([1., 2, 3])
    groups = [dict(params=[w], weight_decay=.1)]
    Optimizer(groups, [l2_reg, average_sqr_grad, partial(average_grad, dampening=True), momentum_step],
              lr=.1, mom=.9, sqr_mom=.9).step()
    assert w.grad is grad and grad.tolist() == [1, 2, 3] and [*groups[0]] == ['params', 'weight_decay']
    def fails(p): raise RuntimeError('no')
    opt = Optimizer([w], [l2_reg, sgd_step], lr=.1, wd=.1)
    opt.cbs, opt.asks = [l2_reg, fails], [(['wd'], set()), ([], set())]
    with pytest.raises(RuntimeError, match='no'): opt.step()


@quick
def test_the_trial_leaves_random_numbers_alone():
    def noise(p, lr): p.add_(torch.randn_like(p), alpha=lr)
    set_seed(4)
    before = get_rng_state()
    Optimizer([nn.Parameter(torch.ones(3))], noise, lr=.1)
    assert torch.equal(before['torch'], get_rng_state()['torch'])


@quick
def test_lists_of_parameters_are_groups_and_one_tensor_will_do():
    a, b = (nn.Parameter(torch.ones(2)) for _ in range(2))
    assert len(Adam([[a], [b]]).param_groups) == 2 and len(Adam(a).param_groups) == 1
    assert Adam(iter([a, b])).param_groups[0]['weight_decay'] == .01 and RMSProp([a]).param_groups[0]['weight_decay'] == 0
    assert [*nn.ParameterList([a]).parameters()] and len(Adam(nn.ParameterList([a, b]).named_parameters()).param_groups[0]['params']) == 2


@quick
def test_a_closure_and_schedulers_of_torch():
    w = nn.Parameter(torch.ones(1))
    opt = MomentumSGD([w], lr=.5)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, 1, .1)
    def closure():
        opt.zero_grad()
        (loss := (w**2).sum()).backward()
        return loss
    assert opt.step(closure).item() == 1 and w.item() == 0
    scheduler.step()
    assert opt.param_groups[0]['lr'] == pytest.approx(.05)


# ---- state

@quick
def test_state_goes_with_the_steps_and_no_others():
    def opt_for(make):
        w = nn.Parameter(torch.arange(4.).reshape(2, 2))
        opt = make([w])
        for _ in range(3):
            w.grad = torch.ones(2, 2) + w.detach()
            opt.step()
        return w, opt
    makers = [Adam, partial(Adam, decouple_wd=False), Lamb, Lion, RMSProp, partial(RMSProp, mom=.9), MomentumSGD,
              partial(MomentumSGD, mom=.9), partial(MomentumSGD, mom=.9, dampening=True)]
    states = [opt_for(make)[1].state_dict() for make in makers]
    for make, state in zip(makers, states):
        w, opt = opt_for(make)
        twin = nn.Parameter(w.detach().clone())
        other = make([twin])
        other.load_state_dict(copy.deepcopy(state))
        for parameter, one in ((w, opt), (twin, other)):
            parameter.grad = torch.full((2, 2), .3)
            one.step()
        assert torch.equal(w, twin)
        for foreign in (theirs for theirs in states if theirs is not state):
            with pytest.raises(ValueError, match='Make the optimiser as it was'): opt.load_state_dict(foreign)
        with pytest.raises(ValueError, match='another optimiser'):
            opt.load_state_dict(torch.optim.Adam([twin]).state_dict())


@quick
def test_a_deep_copy_goes_on_alike():
    w = nn.Parameter(torch.ones(2))
    w.grad, opt = torch.ones(2), Adam([w], lr=.1)
    opt.step()
    model, twin = copy.deepcopy([w, opt])
    model.grad = w.grad = torch.tensor([.5, -1])
    for one in (opt, twin): one.step()
    assert torch.equal(w, model) and twin.steps == opt.steps == ['weight_decay', 'average_grad(dampening=True)',
                                                                 'average_sqr_grad', 'step_stat', 'adam_step']


# ---- in the Learner

def learner(opt_func, folder='.', dtype=torch.float32, **kwargs):
    set_seed(0)
    x = torch.randn(60, 4, dtype=dtype)
    dls = DataLoaders.from_tensors((x, x.sum(1, keepdim=True)), bs=8, device='cpu')
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)).to(dtype)
    return Learner(dls, model, F.mse_loss, opt_func, path=folder, **kwargs)


def fit(learn, *args, **kwargs):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(*args, **kwargs)
    return [p.detach().clone() for p in learn.model.parameters()]


class Unplug(Callback):
    def after_batch(self):
        if self.training and (self.epoch, self.iter) == (1, 4): raise KeyboardInterrupt


OURS = dict(sgd=MomentumSGD, momentum=partial(MomentumSGD, mom=.9), rmsprop=partial(RMSProp, mom=.9), adam=Adam,
            lamb=Lamb, lion=Lion, chain=partial(Optimizer, cbs=[weight_decay, partial(average_grad, dampening=True),
                                                                average_sqr_grad, step_stat, adam_step],
                                                mom=.9, sqr_mom=.9, eps=.1))


@pytest.mark.parametrize('name', OURS)
def test_an_interrupted_fit_ends_in_the_same_bits(name, tmp_path):
    whole = fit(learner(OURS[name]), 2, .01)
    with pytest.raises(KeyboardInterrupt):
        fit(learner(OURS[name], tmp_path), 2, .01, cbs=[Checkpoint(every_batches=3), Unplug()])
    resumed = learner(OURS[name], tmp_path)
    assert all(map(torch.equal, fit(resumed, 2, .01, cbs=Checkpoint(resume=True)), whole))
    other = learner(OURS['momentum' if name != 'momentum' else 'adam'], tmp_path)
    with pytest.raises(ValueError, match='Use the same opt_func'): fit(other, 3, .01, cbs=Checkpoint(resume=resumed.model_file('checkpoint')))


def test_saved_with_torchs_adam_is_not_loaded_into_ours(tmp_path):
    for one, two in ((torch.optim.Adam, Adam), (Adam, torch.optim.Adam)):
        learn = learner(one, tmp_path)
        fit(learn, 1)
        learn.save('one')
        with pytest.raises(ValueError, match='with_opt=False'): learner(two, tmp_path).load('one')
        learner(two, tmp_path).load('one', with_opt=False)


def test_groups_slices_freezing_and_no_decay_on_norms():
    def layers(model): return [[*model[:2].parameters()], [*model[2:].parameters()]]
    learn = learner(partial(Adam, sqr_mom=.95), splitter=layers, wd=.2)
    fit(learn, 1, slice(1e-4, 1e-2), moms=(.9, .8, .9))
    assert min(learn.recorder.moms) == pytest.approx(.8, abs=.01) and max(learn.recorder.lrs) == pytest.approx(1e-2, rel=.05)
    groups = learn.opt.param_groups
    assert [g['weight_decay'] for g in groups] == [.2, 0, .2, 0] and {g['sqr_mom'] for g in groups} == {.95}
    learn.set_lr(slice(1e-4, 1e-2))
    assert [g['lr'] for g in groups] == [1e-4, 1e-4, 1e-2, 1e-2]
    learn.freeze()
    before = [p.detach().clone() for p in learn.model.parameters()]
    after = fit(learn, 1, 1e-2)
    assert [torch.equal(a, b) for a, b in zip(before, after)] == [True] * 4 + [False] * 2
    learn.unfreeze()
    assert not any(map(torch.equal, after, fit(learn, 1, 1e-2)))


def test_as_torchs_in_the_learner():
    ours, theirs = (fit(learner(opt_func, dtype=torch.float64), 2, .01) for opt_func in (Adam, None))
    for a, b in zip(ours, theirs): torch.testing.assert_close(a, b, atol=1e-8, rtol=0)


@quick
@pytest.mark.parametrize('opt', [torch.optim.NAdam, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.Rprop,
                                 torch.optim.RMSprop, torch.optim.Adamax, torch.optim.ASGD, torch.optim.AdamW])
def test_any_class_of_torch_that_steps_alone(opt):
    for opt_func in (opt, partial(OptimWrapper, opt=opt)):
        learn = learner(opt_func, lr=.1)
        before = [p.detach().clone() for p in learn.model.parameters()]
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
        assert type(learn.opt) is opt and not any(map(torch.equal, before, learn.model.parameters()))


@quick
def test_settings_of_torch_under_short_names():
    w = [nn.Parameter(torch.ones(1))]
    assert OptimWrapper(w, torch.optim.AdamW, mom=.8, wd=.3).param_groups[0]['betas'] == (.8, .999)
    assert OptimWrapper(w, torch.optim.AdamW, sqr_mom=.8).param_groups[0]['betas'] == (.9, .8)
    group = OptimWrapper(w, torch.optim.RMSprop, mom=.8, sqr_mom=.7, wd=.3).param_groups[0]
    assert (group['momentum'], group['alpha'], group['weight_decay']) == (.8, .7, .3)


class TwoPasses(torch.optim.SGD):
    def step(self, closure): closure()


@quick
@pytest.mark.parametrize('opt_func', [torch.optim.LBFGS, partial(torch.optim.LBFGS, max_iter=3), TwoPasses,
                                      partial(OptimWrapper, opt=torch.optim.LBFGS), partial(OptimWrapper, opt=TwoPasses),
                                      partial(OptimWrapper, opt=torch.optim.SparseAdam), partial(Adam, wd=.1),
                                      partial(Optimizer, cbs=[momentum_step]), partial(Adam, epss=.1)])
def test_what_a_learner_cannot_use_is_refused_before_the_first_batch(opt_func):
    class NoBatch(Callback):
        def before_batch(self): raise AssertionError('a batch was begun')
    learn = learner(opt_func, cbs=NoBatch)
    with pytest.raises((TypeError, ValueError)), learn.no_logging(): learn.fit(1)
