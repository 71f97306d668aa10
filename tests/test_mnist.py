"""The digit reader's pieces against PyTorch's, what they do with bad input, and the lesson on real data."""
import re

import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import nn

from helpers.real_lesson import needs_mirror, printed_on_real_data

from lessonlib import mnist
from lessonlib.core import set_seed

seeds, counts = st.integers(0, 999), st.integers(1, 60)


def numbered(count):
    "A dataset that shows which items were dealt."
    return [(torch.tensor([float(i)]), torch.tensor([i % 2])) for i in range(count)]


def dealt(loader):
    return [[int(i) for i in inputs.flatten()] for inputs, targets in loader]


# -- losses, metrics and distances --------------------------------------------------------------------------------

@given(counts, seeds, st.floats(.1, 50))
@settings(max_examples=50, deadline=None)
def test_mnist_loss_and_its_gradient_equal_the_formula(count, seed, spread):
    set_seed(seed)
    targets = torch.randint(0, 2, (count, 1))
    ours = (torch.randn(count, 1) * spread).requires_grad_()
    formula = ours.detach().clone().requires_grad_()
    loss, expected = mnist.mnist_loss(ours, targets), nn.functional.l1_loss(formula.sigmoid(), targets.float())
    loss.backward(); expected.backward()
    assert torch.allclose(loss, expected, atol=1e-6) and 0 <= loss <= 1
    assert torch.allclose(ours.grad, formula.grad, atol=1e-6)


def test_mnist_loss_stays_finite_far_out():
    scores = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    loss = mnist.mnist_loss(scores, torch.tensor([[0], [1]]))
    loss.backward()
    assert loss == 1 and torch.isfinite(scores.grad).all()


def test_accuracy_turns_at_zero():
    scores = torch.tensor([[.01], [-.01], [0.], [.01]])
    assert mnist.batch_accuracy(scores, torch.tensor([[1], [0], [0], [0]])) == .75


@pytest.mark.parametrize('dtype', [torch.int64, torch.uint8, torch.float32, torch.bool])
def test_zeros_and_ones_of_any_type_are_labels(dtype):
    scores, targets = torch.tensor([[3.], [-2.], [1.]]), torch.tensor([[1], [0], [0]])
    assert mnist.mnist_loss(scores, targets.to(dtype)) == mnist.mnist_loss(scores, targets)
    assert mnist.batch_accuracy(scores, targets.to(dtype)) == pytest.approx(2 / 3)


@pytest.mark.parametrize('function', [mnist.mnist_loss, mnist.batch_accuracy])
def test_predictions_and_targets_that_do_not_fit(function):
    with pytest.raises(ValueError, match=r'shape \(8, 1\) but targets \(8,\)'): function(torch.zeros(8, 1), torch.zeros(8))
    with pytest.raises(ValueError, match=r'shape \(2, 1\) but targets \(3, 1\)'):
        function(torch.zeros(2, 1), torch.zeros(3, 1))
    for label in (7, -1, .5, float('nan')):
        with pytest.raises(ValueError, match='targets must be 0 or 1'):
            function(torch.zeros(2, 1), torch.tensor([[0.], [label]]))


@given(counts, seeds)
@settings(max_examples=30, deadline=None)
def test_distances_equal_torch(count, seed):
    set_seed(seed)
    images, ideal = torch.rand(count, 4, 5), torch.rand(4, 5)
    l1, rmse = mnist.l1_distance(images, ideal), mnist.rmse_distance(images, ideal)
    assert l1.shape == rmse.shape == (count,)
    for i, image in enumerate(images):
        assert torch.allclose(l1[i], nn.functional.l1_loss(image, ideal))
        assert torch.allclose(rmse[i], nn.functional.mse_loss(image, ideal).sqrt())
    assert (l1 <= rmse + 1e-6).all()  # the mean of squares is never below the square of the mean


# -- the data loader ------------------------------------------------------------------------------------------------

@given(counts, st.integers(1, 70), st.booleans(), seeds)
@settings(max_examples=80, deadline=None)
def test_loader_deals_every_item_once_a_round(count, batch_size, shuffle, seed):
    set_seed(seed)
    loader = mnist.SimpleDataLoader(numbered(count), batch_size, shuffle=shuffle)
    for round in range(2):
        batches = dealt(loader)
        assert sorted(sum(batches, [])) == list(range(count))
        assert len(batches) == len(loader)
        assert all(len(batch) == batch_size for batch in batches[:-1])
        if not shuffle: assert sum(batches, []) == list(range(count))


@given(counts, st.integers(1, 70), st.booleans(), seeds)
@settings(max_examples=60, deadline=None)
def test_drop_last_leaves_out_only_what_does_not_fill_a_batch(count, batch_size, shuffle, seed):
    set_seed(seed)
    if count < batch_size:
        with pytest.raises(ValueError, match='no mini-batch'):
            mnist.SimpleDataLoader(numbered(count), batch_size, drop_last=True)
        return
    loader = mnist.SimpleDataLoader(numbered(count), batch_size, shuffle=shuffle, drop_last=True)
    batches = dealt(loader)
    assert len(batches) == len(loader) == count // batch_size
    assert all(len(batch) == batch_size for batch in batches)
    assert len(set(sum(batches, []))) == len(sum(batches, [])) == count - count % batch_size


@given(counts, st.integers(1, 70), st.booleans())
@settings(max_examples=40, deadline=None)
def test_loader_equals_torch(count, batch_size, drop_last):
    items, drop_last = numbered(count), drop_last and count >= batch_size
    ours = mnist.SimpleDataLoader(items, batch_size, drop_last=drop_last)
    theirs = torch.utils.data.DataLoader(items, batch_size, drop_last=drop_last)
    assert len(ours) == len(theirs)
    for (x, y), (their_x, their_y) in zip(ours, theirs, strict=True):
        assert torch.equal(x, their_x) and torch.equal(y, their_y) and y.dtype == their_y.dtype


def test_shuffling_follows_the_seed_and_changes_every_round():
    loader = mnist.SimpleDataLoader(numbered(50), 8, shuffle=True)
    set_seed(1); first, second = dealt(loader), dealt(loader)
    set_seed(1); again = dealt(loader)
    assert first == again != second
    assert all(int(x) % 2 == int(y) for xs, ys in loader for x, y in zip(xs, ys))  # labels stay with their inputs


def test_loader_refuses_what_it_cannot_deal():
    with pytest.raises(ValueError, match='0 items give no mini-batch'): mnist.SimpleDataLoader([])
    with pytest.raises(ValueError, match='batch_size must be 1 or more, not 0'): mnist.SimpleDataLoader(numbered(3), 0)
    with pytest.raises(TypeError, match="'str'"):
        list(mnist.SimpleDataLoader([(torch.zeros(2), 'three'), (torch.zeros(2), 'seven')]))
    with pytest.raises(RuntimeError, match=r'\[2\] at entry 0 and \[3\] at entry 1'):
        list(mnist.SimpleDataLoader([(torch.zeros(2), 1), (torch.zeros(3), 0)]))


def test_plain_numbers_are_labels_too():
    x, y = mnist.stack_items([(torch.zeros(2), 1), (torch.ones(2), 0)])
    assert x.shape == (2, 2) and y.tolist() == [1, 0]


# -- training -------------------------------------------------------------------------------------------------------

@given(st.floats(1e-3, 2), seeds)
@settings(max_examples=30, deadline=None)
def test_optimiser_equals_torch_sgd(lr, seed):
    ends = []
    for optimiser_class in (mnist.BasicOptim, torch.optim.SGD):
        set_seed(seed)
        net, x, y = mnist.simple_net(6, 5), torch.randn(16, 6), torch.randint(0, 2, (16, 1))
        optimiser = optimiser_class(net.parameters(), lr=lr)
        for _ in range(6):
            mnist.calc_grad(net, x, y)
            optimiser.step()
            optimiser.zero_grad()
        ends.append(nn.utils.parameters_to_vector(net.parameters()))
    assert torch.allclose(*ends, atol=1e-6)


def test_optimiser_leaves_parameters_without_gradient_and_names_bad_ones():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = mnist.BasicOptim(iter([used, unused]), lr=.5)
    for _ in range(2):  # an iterator would be used up by the first step
        used.sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert used.tolist() == [0, 0] and unused.tolist() == [1, 1] and used.grad is None
    with pytest.raises(ValueError, match='no parameters'): mnist.BasicOptim([], lr=.1)
    with pytest.raises(TypeError, match='list of tensors'): mnist.BasicOptim(used, lr=.1)


def test_train_epoch_equals_a_hand_written_loop():
    set_seed(3)
    items = [(torch.randn(6), torch.tensor([i % 2])) for i in range(23)]
    net, other = mnist.simple_net(6, 4), mnist.simple_net(6, 4)
    other.load_state_dict(net.state_dict())
    loader = mnist.SimpleDataLoader(items, 5)
    mean = mnist.train_epoch(net, loader, mnist.BasicOptim(net.parameters(), lr=.3))
    optimiser, losses = torch.optim.SGD(other.parameters(), lr=.3), []
    for x, y in torch.utils.data.DataLoader(items, 5):
        sure = other(x).sigmoid()
        loss = torch.where(y == 1, 1 - sure, sure).mean()
        optimiser.zero_grad(); loss.backward(); optimiser.step()
        losses += [loss.item()] * len(x)
    assert mean == pytest.approx(sum(losses) / 23)
    for ours, theirs in zip(net.parameters(), other.parameters()): assert torch.allclose(ours, theirs, atol=1e-6)


@given(counts, st.integers(1, 70), seeds)
@settings(max_examples=30, deadline=None)
def test_validation_averages_over_items_not_batches(count, batch_size, seed):
    set_seed(seed)
    items = [(torch.randn(4), torch.randint(0, 2, (1,))) for _ in range(count)]
    x, y = mnist.stack_items(items)
    model, loader = nn.Linear(4, 1), mnist.SimpleDataLoader(items, batch_size)
    for metric in (mnist.batch_accuracy, mnist.mnist_loss):
        assert mnist.validate_epoch(model, loader, metric) == pytest.approx(metric(model(x), y).item(), abs=1e-6)
    seen = []
    mnist.validate_epoch(model, loader, lambda predictions, targets: (seen.append(predictions), predictions.sum())[1])
    assert not any(predictions.requires_grad for predictions in seen)  # no graph is kept for a backward pass


def test_training_gives_the_same_numbers_twice():
    histories = []
    for _ in range(2):
        set_seed(0)
        loader = mnist.SimpleDataLoader([(torch.randn(5), torch.tensor([i % 2])) for i in range(20)], 8, shuffle=True)
        net = mnist.simple_net(5, 3)
        histories.append(mnist.train_model(net, loader, loader, mnist.BasicOptim(net.parameters(), lr=1.), 4))
    assert histories[0] == histories[1]
    assert [row['epoch'] for row in histories[0]] == [0, 1, 2, 3]
    assert set(histories[0][0]) == {'epoch', 'train_loss', 'valid_loss', 'batch_accuracy'}


# -- networks -------------------------------------------------------------------------------------------------------

@given(st.integers(1, 40), seeds)
@settings(max_examples=25, deadline=None)
def test_bends_follow_any_polyline_that_has_its_joints_there(hidden, seed):
    set_seed(seed)
    joints = torch.linspace(0, 1, hidden + 1)
    x = torch.linspace(0, 1, 20 * hidden + 1).unsqueeze(1)
    start, slopes = torch.randn(1), torch.randn(hidden)
    y = start + ((x - joints[:-1]).clamp(0, 1 / hidden) * slopes).sum(1, keepdim=True)
    net = mnist.fit_bends(x, y, hidden)
    assert (net(x) - y).abs().max() < 1e-3
    assert [tuple(param.shape) for param in net.parameters()] == [(hidden, 1), (hidden,), (1, hidden), (1,)]


def test_fit_bends_needs_a_unit():
    with pytest.raises(ValueError, match='1 unit or more'): mnist.fit_bends(torch.zeros(3, 1), torch.zeros(3, 1), 0)


def test_784_30_1_has_the_parameters_one_counts_by_hand():
    assert sum(param.numel() for param in mnist.simple_net().parameters()) == 784 * 30 + 30 + 30 + 1
    weights = mnist.init_params(784, 2, std=.5)
    assert weights.shape == (784, 2) and weights.requires_grad and weights.is_leaf
    assert weights.std().item() == pytest.approx(.5, rel=.1)


# -- reading digits -------------------------------------------------------------------------------------------------

def test_read_digits_takes_pictures_in_order_and_from_0_to_1(tmp_path):
    for name, level in (('b', 255), ('a', 0), ('c', 51)): Image.new('L', (4, 6), level).save(tmp_path/f'{name}.png')
    Image.new('RGB', (4, 6), (255, 255, 255)).save(tmp_path/'d.png')
    digits = mnist.read_digits(tmp_path)
    assert digits.shape == (4, 6, 4) and digits.dtype == torch.float32
    assert digits.mean((1, 2)).tolist() == pytest.approx([0, 1, .2, 1])


def test_folders_that_hold_no_digits(tmp_path):
    for folder in (tmp_path, tmp_path/'nowhere'):
        with pytest.raises(FileNotFoundError, match='no PNG files in .*expected the pictures of one digit'):
            mnist.read_digits(folder)
    Image.new('L', (28, 28)).save(tmp_path/'a.png')
    Image.new('L', (20, 28)).save(tmp_path/'b.png')
    with pytest.raises(ValueError, match=r'b\.png has shape \(28, 20\), but a\.png has \(28, 28\)'):
        mnist.read_digits(tmp_path)
    (tmp_path/'b.png').write_bytes(b'not a picture')
    with pytest.raises(OSError, match=r'b\.png'): mnist.read_digits(tmp_path)


def test_digit_dataset_pairs_pixels_with_labels():
    items = mnist.digit_dataset(torch.ones(2, 3, 4), torch.zeros(3, 3, 4))
    assert [int(label) for _, label in items] == [1, 1, 0, 0, 0]
    assert all(pixels.shape == (12,) and label.shape == (1,) for pixels, label in items)


# -- the lesson on the real digits ----------------------------------------------------------------------------------

@needs_mirror
def test_the_lesson_runs_unchanged_on_the_real_digits(root, tmp_path, monkeypatch):
    "The lesson asserts its own reference numbers when it finds 12,396 digits; here we see that it did."
    printed = printed_on_real_data(root/'nbs'/'05_mnist.ipynb', ['mnist_sample.tgz'], tmp_path, monkeypatch)
    assert re.search(r'6131 \+ 6265 digits to learn from, 1010 \+ 1028 to check with', printed)
