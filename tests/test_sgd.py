"""SGD from scratch against PyTorch's, and the pieces around it."""
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from lessonlib import sgd
from lessonlib.core import set_seed

rates = st.floats(1e-3, 0.2)
shares = st.sampled_from([0., 0.5, 0.9, 0.99])


@given(rates, shares, st.sampled_from([0., 1e-4, 0.1]), st.sampled_from([0., 0.5, 0.9]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_sgd_equals_torch(lr, momentum, weight_decay, dampening, seed):
    if not momentum: dampening = 0.
    nets = []
    for optimiser in (sgd.SGD, torch.optim.SGD):
        set_seed(seed)
        net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
        x, y = torch.randn(16, 5), torch.randn(16, 2)
        opt = optimiser(net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, dampening=dampening)
        for _ in range(8):
            opt.zero_grad(); nn.functional.mse_loss(net(x), y).backward(); opt.step()
        nets.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.allclose(*nets, atol=1e-6, rtol=1e-5)


def test_sgd_skips_parameters_without_gradient_and_names_bad_settings():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    opt = sgd.SGD([used, unused], lr=0.5, weight_decay=0.1)
    used.sum().backward(); opt.step()
    assert torch.equal(unused, torch.ones(2)) and not torch.equal(used, torch.ones(2))
    with pytest.raises(ValueError, match='no parameters'): sgd.SGD([], lr=0.1)
    with pytest.raises(ValueError, match='negative'): sgd.SGD([used], lr=-1)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_numerical_gradient_agrees_with_autograd(values):
    loss = lambda p: (p.sin() * p).sum() + p.prod()
    params = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    loss(params).backward()
    assert torch.allclose(sgd.numerical_gradient(loss, params, step=1e-5), params.grad, atol=1e-5)


@given(st.integers(1, 200), st.integers(1, 70))
@settings(max_examples=50, deadline=None)
def test_batches_hold_each_item_once(count, size):
    dealt = list(sgd.mini_batches(count, size))
    assert torch.cat(dealt).sort().values.tolist() == list(range(count))
    assert all(len(batch) == size for batch in dealt[:-1]) and 1 <= len(dealt[-1]) <= size


def test_mse_says_both_shapes():
    assert torch.equal(sgd.mse(torch.ones(3), torch.zeros(3)), torch.tensor(1.))
    with pytest.raises(ValueError, match=r'\(4, 1\).*\(4,\)'): sgd.mse(torch.ones(4, 1), torch.ones(4))


def test_gradient_descent_finds_least_squares_and_leaves_its_start():
    set_seed(0)
    x, y, start = torch.randn(50, 2), torch.randn(50), torch.zeros(2)
    found = sgd.gradient_descent(lambda a: sgd.mse(x @ a, y), start, lr=0.1, steps=300)
    assert torch.allclose(found.params, torch.linalg.lstsq(x, y[:, None]).solution[:, 0], atol=1e-4)
    assert torch.equal(start, torch.zeros(2)) and found.path.shape == (301, 2) and len(found.losses) == 300


def test_loss_map_is_the_loss_at_each_point():
    set_seed(0)
    x, y = torch.randn(20, 2), torch.randn(20)
    across, up, losses = sgd.loss_map(x, y, (-1, 1), (-2, 2), size=7)
    for i, j in [(0, 0), (3, 5), (6, 2)]:
        assert torch.allclose(losses[j, i], sgd.mse(x @ torch.stack([across[i], up[j]]), y))
