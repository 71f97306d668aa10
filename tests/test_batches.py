"Loaders give every row once, averages are those of all items, looking leaves no trace."
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from lessonlib.batches import (AccumMetric, AvgMetric, DataLoaders, SmoothMean, TensorDataLoader,
                               WeightedMean, accuracy, as_metric, binary_accuracy, error_rate, in_order,
                               mae, random_kept, rmse, sigmoid_range, SigmoidRange, Vocab)
from lessonlib.core import set_seed
from lessonlib.sgd import mse


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


def test_random_states_are_kept():
    own = torch.Generator().manual_seed(1)
    dls = DataLoaders(TensorDataLoader(torch.arange(9), shuffle=True, generator=own), device='cpu')
    with random_kept(dls): first, noise = next(iter(dls.train))[0], torch.rand(3)
    assert torch.equal(next(iter(dls.train))[0], first) and torch.equal(torch.rand(3), noise)


def test_in_order_knows_what_it_can_put_in_order():
    data = TensorDataset(torch.arange(9))
    shuffled = DataLoader(data, 2, shuffle=True, drop_last=True)
    assert torch.cat([b[0] for b in in_order(shuffled)]).tolist() == list(range(9))
    plain = DataLoader(data, 2)
    assert in_order(plain) is plain and in_order(batches := [1, 2]) is batches
    def given(loader): return torch.cat([b[0] for b in in_order(loader)]).tolist()
    assert given(DataLoader(data, 2, sampler=[3, 1])) == given(DataLoader(data, batch_sampler=[[3], [1]])) == [1, 3]
    assert given(DataLoader(data, 2, sampler=SubsetRandomSampler([5, 7, 0]))) == [0, 5, 7]
    assert given(DataLoader(data, 2, sampler=WeightedRandomSampler([1.] * 9, 4))) == list(range(9))
    twice = [1, 1, 4]                                        # drawn with replacement: of all of them
    assert given(DataLoader(data, 2, sampler=twice)) == list(range(9))
    state = torch.get_rng_state()
    in_order(DataLoader(data, 2, sampler=SubsetRandomSampler([5, 7, 0])))
    assert torch.equal(state, torch.get_rng_state())
    class OwnWay(DataLoader):
        def __iter__(self): return iter(())
    own = OwnWay(data, 2, shuffle=True)
    assert in_order(own) is own


def test_representations_can_be_read():
    dls = DataLoaders(TensorDataLoader(torch.zeros(9, 3), torch.zeros(9), bs=4, shuffle=True), device='cpu')
    assert repr(dls) == ('DataLoaders on cpu: TensorDataLoader of 9 items of (3,), (), 3 batches of 4, shuffled; None')
    assert 'object at 0x' not in repr(DataLoaders(DataLoader(range(9)), device='cpu')) + repr(AvgMetric(mae))


def test_sigmoid_range():
    x = torch.linspace(-9, 9, 50)
    y = sigmoid_range(x, -1, 3)
    assert y.min() > -1 and y.max() < 3 and torch.equal(SigmoidRange(-1, 3)(x), y)
    assert sigmoid_range(torch.zeros(1), -1, 3).item() == pytest.approx(1)


def test_a_loss_says_how_much_a_batch_counts():
    "Rows with different numbers of words: the mean is over words, since the loss says so."
    from types import SimpleNamespace

    from lessonlib.batches import AvgMetric
    metric = AvgMetric(lambda pred, targ: pred.mean(), 'mean')
    for count, expected in ((None, 2.), (lambda targ: targ.numel(), 1.5)):
        metric.reset()
        for pred in (torch.ones(2, 3), torch.full((2, 1), 3.)):
            loss = SimpleNamespace(count=count) if count else None
            metric.accumulate(SimpleNamespace(pred=pred, xb=(pred,), yb=(pred,), loss_func=loss))
        assert metric.value == expected


def test_metrics_take_arrays():
    pred, targ = torch.randn(12, 3), torch.randint(0, 3, (12,))
    for func, y in ((accuracy, targ), (error_rate, targ), (mae, pred + 1), (rmse, pred + 1), (mse, pred + 1),
                    (binary_accuracy, (pred > .5).float())):
        assert torch.as_tensor(func(pred.numpy(), y.numpy())) == pytest.approx(func(pred, y)), func.__name__


def test_accuracy_leaves_out_what_nobody_has_labelled():
    pred, targ = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 2, -100, -100])
    assert accuracy(pred, targ) == .5 and error_rate(pred, targ) == .5


def test_messages_are_short():
    from lessonlib.files import _short
    for value in (b'x' * 10**6, 'y' * 10**6, list(range(10**5)), torch.zeros(99, 99), {i: i for i in range(999)}):
        assert len(_short(value)) < 80, type(value)
    assert (_short('cat'), _short(3.5), _short(torch.zeros(2, 3))) == ("'cat'", '3.5', 'Tensor (2, 3)')


def test_what_scripts_ask_of_loaders():
    x, y = torch.rand(10, 2), torch.arange(10) % 2
    dls = DataLoaders.from_tensors((x, y), (x[:3], y[:3]), bs=4, vocab=['no', 'yes'], device='cpu')
    assert dls.bs == 4 and dls.dataset is dls.train_ds and (dls.train.n, dls.valid.n) == (10, 3)
    assert dls.vocab == ['no', 'yes'] and dls.vocab.o2i == {'no': 0, 'yes': 1} and type(dls.vocab) is Vocab
    state = torch.get_rng_state()
    first = dls.train.one_batch()[0]
    assert torch.equal(first, dls.train.one_batch()[0]) and torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match='no batch'): TensorDataLoader(x[:0]).one_batch()
    own = DataLoaders.from_dsets(list(zip(x, y)), bs=3, device='cpu')
    assert own.bs == 3 and own.to('cpu') is own


def test_loaders_go_to_another_device():
    x, y = torch.rand(10, 2), torch.arange(10) % 2
    dls = DataLoaders.from_tensors((x, y), (x[:3], y[:3]), bs=4, device='cpu')
    assert dls.to('meta') is dls and {part.device.type for part in dls.valid.one_batch()} == {'meta'}
    dls = DataLoaders.from_tensors((x, y), (x, y), device='cpu')
    assert dls.cpu().device.type == 'cpu' and dls.one_batch()[0].device.type == 'cpu'
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match='leave .cuda.. or .to.. out'): dls.cuda()
        assert dls.device.type == 'cpu'
    elif dls.cuda(): assert dls.one_batch()[0].is_cuda and next(iter(dls.train))[1].is_cuda
