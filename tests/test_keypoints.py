"Points: they stay where they are through every change, names survive a mirror, what is missing costs nothing."
import contextlib
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import r2_score as their_r2
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from helpers.interruption import Stop
from lessonlib.augmentation import Augment, Dihedral, Flip, Rotate, Warp, Zoom, aug_transforms
from lessonlib.batches import DataLoaders, SigmoidRange, rmse
from lessonlib.checkpoint import Checkpoint, load_learner
from lessonlib.core import set_seed
from lessonlib.data_block import DataBlock, ImageBlock, RegressionBlock
from lessonlib.images import Resize
from lessonlib.items import IndexSplitter
from lessonlib.keypoints import (HeatMaps, OnPicture, PointBlock, PointDistance, PointLoss, R2Score, ScalePoints, TensorPoint,
                                 point_distance, r2_score, scale_points, soft_argmax, to_pixels)
from lessonlib.learner import Learner
from lessonlib.transfer import vision_learner

nan = math.nan
sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))
CHECKS = settings(deadline=None, max_examples=60)


def dotted(x, y, size=(60, 80), spread=2.):
    "A black picture with a soft white dot"
    rows, columns = np.mgrid[:size[0], :size[1]] + .5
    light = 255 * np.exp(-((columns - x)**2 + (rows - y)**2) / (2 * spread**2))
    return Image.fromarray(light.astype(np.uint8)).convert('RGB')


def places(n, size=(60, 80), seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform((.25 * size[1], .25 * size[0]), (.75 * size[1], .75 * size[0]), (n, 2))


def pictures(n=12, size=(60, 80)):
    "Items that are (picture, point)"
    return [(dotted(x, y, size), [x, y]) for x, y in places(n, size)]


def dls_of(items=None, block=PointBlock, item_tfms=Resize(32, 'squish'), batch_tfms=(), bs=4, **kwargs):
    items = pictures() if items is None else items
    return DataBlock((ImageBlock, block), splitter=IndexSplitter(range(len(items) - 4, len(items))), item_tfms=item_tfms,
                     batch_tfms=batch_tfms).dataloaders(items, bs=bs, device='cpu', **kwargs)


def brightest(x):
    "The middle of the light in a batch of pictures, from -1 to 1"
    light = x.mean(1)
    light = (light - light.amin((1, 2), keepdim=True)).clamp(min=0)**2
    h, w = light.shape[1:]
    shares = light / light.sum((1, 2), keepdim=True)
    xs, ys = ((2 * torch.arange(n) + 1) / n - 1 for n in (w, h))
    return torch.stack([(shares.sum(1) * xs).sum(1), (shares.sum(2) * ys).sum(1)], 1)


# ---- places as numbers ----

@given(sizes, st.lists(st.tuples(st.floats(-500, 900), st.floats(-500, 900)), min_size=1, max_size=6))
@CHECKS
def test_scaling_there_and_back(size, points):
    points = torch.tensor(points)
    scaled = scale_points(points, size)
    torch.testing.assert_close(to_pixels(scaled, size), points, atol=1e-2, rtol=1e-4)
    inside = ((points >= 0) & (points <= torch.tensor([size[1], size[0]]))).all(1)
    assert ((scaled.abs() <= 1 + 1e-5).all(1) == inside).all() or (scaled.abs() - 1).abs().min() < 1e-4


@given(sizes, sizes, st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]))
@CHECKS
def test_a_corner_stays_on_its_pixel_at_every_size(size, new, corner):
    "The painted corner pixel, resized by its nearest pixel, is where the point says"
    (h, w), (bottom, right) = size, corner
    mask = torch.zeros(h, w, dtype=torch.uint8)
    mask[-bottom, -right] = 1
    point = [[w - 1. if right else 0., h - 1. if bottom else 0.]]
    new = tuple(max(a, b) for a, b in zip(size, new))       # where it is made smaller, a pixel may vanish
    painted, moved = Resize(new, 'squish')((tv_tensors.Mask(mask), tv_tensors.KeyPoints(point, canvas_size=size)), False)
    x, y = moved[0].round().long().tolist()
    assert painted[y, x] == 1
    torch.testing.assert_close(scale_points(moved.as_subclass(torch.Tensor) + .5, new), scale_points(torch.tensor(point) + .5, size),
                               atol=1e-5, rtol=1e-4)


def through(moves, points, size=(60, 80), swap=(), keep_outside=True):
    "Points through the block's own transforms and some between, for one picture"
    picture, placed = OnPicture()((tv_tensors.Image(torch.zeros(3, *size)), PointBlock().open(points)), True)
    batch = picture[None], PointBlock().collate([placed])
    for move in moves: batch = move(batch, True)
    return ScalePoints(swap, keep_outside)(batch, True)[1].view(-1, 2)


class Turn(Dihedral):
    "One way to lay down a square picture, always the same"
    way = 0
    def matrix(self, dice, size):
        fixed = dice.clone()
        fixed[:, 0], fixed[:, 1] = 0, (self.way + .5) / 8
        return super().matrix(fixed, size)


def turn(way):
    made = Turn(1.)
    made.way = way
    return Augment([made])


@given(st.lists(st.tuples(st.floats(0, 80), st.floats(0, 60)), min_size=2, max_size=5))
@CHECKS
def test_two_mirrors_are_none(points):
    pairs = [(0, 1)]
    once = through([Augment([Flip(1.)])], points, swap=pairs)
    twice = through([Augment([Flip(1.)]), Augment([Flip(1.)])], points, swap=pairs)
    torch.testing.assert_close(twice, scale_points(torch.tensor(points), (60, 80)), atol=1e-5, rtol=1e-4)
    order = [1, 0, *range(2, len(points))]
    torch.testing.assert_close(once, twice[order] * torch.tensor([-1., 1]), atol=1e-5, rtol=1e-4)


@given(st.lists(st.tuples(st.floats(0, 64), st.floats(0, 64)), min_size=2, max_size=4))
@CHECKS
def test_four_quarters_are_none(points):
    want = scale_points(torch.tensor(points), (64, 64))
    quarters = [way for way in range(8) if not torch.allclose(through([turn(way)] * 2, points, (64, 64)), want, atol=1e-4)]
    assert len(quarters) in (0, 2)          # two of the eight ways are quarters, unless all points are in the middle
    for way in quarters: torch.testing.assert_close(through([turn(way)] * 4, points, (64, 64)), want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('way', range(8))
def test_names_swap_in_mirrors_and_not_in_turns(way):
    "Of the eight ways to lay down a square, the four mirrors swap, whichever transform made them"
    points, batch = [[10.5, 20.5], [50.5, 24.5]], torch.zeros(1, 3, 64, 64)   # the middles of two pixels
    batch[0, 0, 20, 10], batch[0, 1, 24, 50] = 1, 1
    plain, named = (through([turn(way)], points, (64, 64), swap) for swap in ((), [(0, 1)]))
    moved = turn(way)((tv_tensors.Image(batch),), True)[0]
    corners = torch.zeros(1, 3, 64, 64)
    corners[0, 0, 0, 0], corners[0, 1, 0, 63], corners[0, 2, 63, 0] = 1, 1, 1
    corners = turn(way)((tv_tensors.Image(corners),), True)[0][0]
    a, b, c = [(layer == layer.max()).nonzero()[0].flip(0).float() for layer in corners]
    mirrored = torch.linalg.det(torch.stack([b - a, c - a])) < 0
    assert torch.allclose(named, plain[[1, 0]] if mirrored else plain)
    for layer, point in zip(moved[0], to_pixels(plain, (64, 64))):
        assert layer[int(point[1]), int(point[0])] > .9


def test_names_swap_under_other_peoples_mirrors_too():
    "torchvision mirrors points by their indices: a pixel less; which names they have is right all the same"
    points = [[10., 20], [50, 24]]
    for made, factor in ((v2.RandomHorizontalFlip(1.), (-1, 1)), (v2.RandomVerticalFlip(1.), (1, -1))):
        new = through([lambda batch, train: made(*batch)], points, swap=[(0, 1)])
        torch.testing.assert_close(new, scale_points(torch.tensor(points), (60, 80))[[1, 0]] * torch.tensor(factor),
                                   atol=.04, rtol=0)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('moves', [[Flip(.5)], [Rotate(30, 1.)], [Zoom(.8, 1.2, 1.)], [Warp(.2, 1.)],
                                   aug_transforms(max_lighting=0, pad_mode='zeros')], ids=['flip', 'rotate', 'zoom', 'warp', 'all'])
def test_the_point_stays_on_its_dot(moves, seed):
    tfms = moves if isinstance(moves[0], Augment) else [Augment(moves, pad_mode='zeros')]
    set_seed(seed)
    for x, y in dls_of(pictures(20), item_tfms=Resize((60, 80)), batch_tfms=tfms, bs=8).train:
        off = (brightest(x) - y).abs() * torch.tensor([40., 30])
        assert off.max() < 1, off


@pytest.mark.parametrize('item_tfms', [Resize(32), Resize((30, 50), 'squish'), Resize(48, 'pad', 'zeros'), Resize((20, 60))])
def test_the_point_stays_on_its_dot_in_validation(item_tfms):
    dls = dls_of(item_tfms=item_tfms)
    for x, y in dls.valid:
        off = (brightest(x) - y).abs() * torch.tensor(item_tfms.size[::-1]) / 2
        assert off.max() < .6, off


@pytest.mark.parametrize('counted', [False, True])
def test_a_point_is_on_its_pixel_in_either_way_to_count(counted):
    "Pixels counted from 0, or measured from the edge: mirrored, shown and answered in the same way"
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[7, 49] = 255
    half = 0 if counted else .5
    items = [(Image.fromarray(pixels), [49 + half, 7 + half])] * 6
    dls = dls_of(items, PointBlock(counted=counted), None, Augment([Flip(1.)]), bs=2)
    (picture, point), = dls.train.decode_batch(next(iter(dls.train)), 1)
    row, column = divmod(int(picture[0].argmax()), 50)
    assert (row, column) == (7, 0)
    torch.testing.assert_close(point[0], torch.tensor([0. + half, 7 + half]), atol=1e-3, rtol=0)
    (_, point), = dls.valid.decode_batch(next(iter(dls.valid)), 1)
    torch.testing.assert_close(point[0], torch.tensor([49. + half, 7 + half]), atol=1e-3, rtol=0)
    answer = dls.answer(items[0], next(iter(dls.valid))[1][0])[0]
    torch.testing.assert_close(answer[0], torch.tensor([49. + half, 7 + half]), atol=1e-2, rtol=0)
    for draw in (lambda ax: dls.valid_ds.show(0, ax), lambda ax: dls.blocks[1].show(point, ax)):
        ax = plt.subplots()[1]
        draw(ax)
        assert ax.collections[-1].get_offsets()[0].tolist() == pytest.approx([49, 7], abs=.01)
        plt.close('all')


def test_wrongly_moved_points_would_be_seen():
    "The check above is one: points that stay while the picture is mirrored are off by many pixels"
    x, y = next(iter(dls_of(pictures(20), item_tfms=Resize((60, 80)), batch_tfms=[Augment([Flip(1.)])], bs=16).train))
    assert ((brightest(x) - y * torch.tensor([-1., 1])).abs() * torch.tensor([40., 30])).max() > 4


def test_a_point_may_leave():
    far = Augment([Zoom(3, 3, 1.)])
    for seed in range(6):
        set_seed(seed)
        kept = through([far], [[2., 2], [78, 58], [40, 30]])
        set_seed(seed)
        dropped = through([far], [[2., 2], [78, 58], [40, 30]], keep_outside=False)
        gone = (kept.abs() > 1).any(1)
        assert gone.any() and torch.equal(dropped.isnan().all(1), gone) and torch.equal(dropped[~gone], kept[~gone])


def test_missing_points_travel_and_swap():
    moved = through([Augment([Flip(1.)])], [[nan, nan], [20., 30], [60, 10]], swap=[(0, 1)])
    assert moved[1].isnan().all() and not moved[[0, 2]].isnan().any()
    torch.testing.assert_close(moved[0], torch.tensor([.5, 0]), atol=1e-5, rtol=0)


# ---- loss and metrics ----

def test_the_loss_is_that_of_the_points_that_are_there():
    set_seed(0)
    pred, targ = torch.randn(7, 6, requires_grad=True), torch.randn(7, 6)
    assert torch.allclose(PointLoss()(pred, targ), nn.MSELoss()(pred, targ))
    hidden = torch.rand(7, 6) < .4
    missing = targ.masked_fill(hidden, nan)
    loss = PointLoss()(pred, missing)
    torch.testing.assert_close(loss, (pred - targ)[~hidden].square().mean())
    loss.backward()
    assert (pred.grad[hidden] == 0).all() and (pred.grad[~hidden] != 0).all()
    assert PointLoss()(pred, torch.full((7, 6), nan)) == 0


def test_shapes_that_would_be_stretched_are_refused():
    for call in (PointLoss(), r2_score, lambda p, t: point_distance(p, t, (4, 4))):
        with pytest.raises(ValueError, match='differ'): call(torch.zeros(5, 2), torch.zeros(5, 1, 2))


def test_distance_in_pixels():
    pred, targ = torch.tensor([[0., 0, 1, 1], [.5, 0, 0, 0]]), torch.tensor([[0., .5, nan, nan], [0, 0, 0, 0]])
    torch.testing.assert_close(point_distance(pred, targ, (40, 100)), torch.tensor((10 + 25 + 0) / 3))


def test_metrics_are_those_of_the_whole_set():
    "Over batches of unequal size, as scikit-learn counts"
    set_seed(0)
    x, y = torch.randn(23, 3), torch.randn(23, 2)
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=7, device='cpu')
    learn = Learner(dls, nn.Linear(3, 2), nn.MSELoss(), metrics=[R2Score(), rmse, r2_score, R2Score, PointDistance((2, 2))])
    values = learn.validate()
    pred, targ = learn.get_preds()
    for value in (values[1], values[3], values[4]): assert value == pytest.approx(their_r2(targ, pred), abs=1e-5)
    assert values[2] == pytest.approx((pred - targ).square().mean().sqrt().item(), abs=1e-5)
    assert values[5] == pytest.approx((pred - targ).norm(dim=1).mean().item(), abs=1e-5)
    batches = np.mean([their_r2(t, p) for p, t in zip(pred.split(7), targ.split(7))])
    assert abs(batches - values[1]) > .01


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 1000))
@CHECKS
def test_r2_is_that_of_scikit_learn(n, columns, seed):
    rng = np.random.default_rng(seed)
    targ = rng.normal(size=(n, columns)) * 10**rng.uniform(-2, 2)
    pred = targ + rng.normal(size=(n, columns))
    if seed % 3 == 0: targ[:, 0] = 1.
    if seed % 6 == 0: pred[:, 0] = 1.
    got = r2_score(torch.tensor(pred), torch.tensor(targ))
    assert got.item() == pytest.approx(their_r2(targ, pred), rel=1e-6, abs=1e-9)


# ---- heat maps ----

@given(st.floats(-.8, .8), st.floats(-.8, .8), st.tuples(st.integers(16, 60), st.integers(16, 60)))
@CHECKS
def test_the_answer_of_a_heat_map_is_where_it_is_hot(x, y, size):
    rows, columns = ((2 * torch.arange(n) + 1) / n - 1 for n in size)
    scores = -((columns - x)**2 + (rows[:, None] - y)**2) / (2 * .1**2)
    torch.testing.assert_close(soft_argmax(scores[None, None])[0], torch.tensor([x, y]), atol=.03, rtol=0)


def test_heat_maps_of_several_points():
    maps = torch.full((2, 3, 4, 8), -50.)
    maps[0, 0, 0, 0] = maps[0, 1, 3, 7] = maps[0, 2, 1, 2] = maps[1, :, 2, 5] = 50
    answers = to_pixels(soft_argmax(maps).view(2, 3, 2), (4, 8))
    torch.testing.assert_close(answers[0], torch.tensor([[.5, .5], [7.5, 3.5], [2.5, 1.5]]))
    torch.testing.assert_close(answers[1], torch.tensor([[5.5, 2.5]] * 3))
    assert HeatMaps(6, 3)(torch.randn(2, 6, 5, 7)).shape == (2, 6)


# ---- the block: bad input ----

@pytest.mark.parametrize('points, words', [
    ('nose', 'no list of points'), ({'x': 1}, 'no list of points'), ([1., 2, 3], 'pairs'), (7, 'pairs'), (None, 'pairs'),
    ([], 'pairs'), ([[1., 2], [3]], 'no list of points'), ([math.inf, 2], 'two finite numbers'), ([nan, 2.], 'nan, nan'),
    ([[1., 2, 3, 4]] * 2 + [[5., 6, 7, 8]], '6 points, expected 1')], ids=str)
def test_what_are_no_points_is_refused_with_the_item(points, words):
    items = pictures()
    items[5] = (items[5][0], points)
    with pytest.raises(ValueError, match=words): dls_of(items)


def test_too_many_and_too_few_points():
    with pytest.raises(ValueError, match='1 points, expected 2'): dls_of(block=PointBlock(2))
    items = pictures()
    items[-1] = (items[-1][0], [[1., 2], [3, 4]])
    with pytest.raises(ValueError, match=r'validation set\): 2 points, expected 1'): dls_of(items)


@pytest.mark.parametrize('point', [[9000., 20], [20, -2000]])
def test_points_far_outside_are_refused(point):
    dls = dls_of([(dotted(9, 9), point)] * 8)
    with pytest.raises(ValueError, match='80 wide and 60 high'): dls.train_ds[0]
    assert dls_of([(dotted(9, 9), [82., -3])] * 8).train_ds[0][1].shape == (4, 2)      # a little outside is fine


@pytest.mark.parametrize('swap', [[(0, 0)], [(0, 3)], [(0, 1), (1, 2)], [(-1, 1)]])
def test_wrong_pairs_are_refused(swap):
    items = [(dotted(9, 9), [[9., 9], [20, 30], [40, 50]])] * 8
    with pytest.raises(ValueError, match='pairs of different positions'): dls_of(items, PointBlock(swap=swap))


def test_points_without_a_picture():
    with pytest.raises(ValueError, match='lie in a picture'): OnPicture()((PointBlock().open([1., 2]),), True)


def test_what_may_be_points():
    for value in ([1, 2], (1., 2.), np.array([1, 2]), torch.tensor([[1., 2]]), [[1, 2]], [torch.tensor(1.), torch.tensor(2.)],
                  np.array([1., 2]).astype('>f8')):
        assert TensorPoint.create(value).tolist() == [[1., 2]]
    with pytest.raises(ValueError): TensorPoint.create('here')


# ---- the block: whole ways ----

def flat(n_out=2): return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, n_out), SigmoidRange(-1.1, 1.1))


def learner(dls=None, path='.', n_out=2, **kwargs):
    set_seed(0)
    return Learner(dls or dls_of(path=path), flat(n_out), path=path, **kwargs)


def quietly(action):
    with contextlib.redirect_stdout(io.StringIO()): return action()


def test_what_loaders_know():
    dls = dls_of()
    x, y = dls.one_batch()
    assert (x.shape, y.shape, dls.c) == ((4, 3, 32, 32), (4, 2), 2) and type(y) is torch.Tensor
    assert isinstance(dls.loss_func, PointLoss)
    assert dls_of([(dotted(9, 9), [[9., 9], [20, 30], [nan, nan]])] * 8).c == 6
    assert 'PointBlock' in repr(dls.train)


@pytest.mark.parametrize('workers', [0, 2])
def test_targets_with_workers(workers):
    x, y = next(iter(dls_of(num_workers=workers, shuffle=False).train))
    torch.testing.assert_close(y, scale_points(torch.tensor(places(12)[:4], dtype=torch.float32), (60, 80)), atol=1e-4, rtol=0)


def drawn(action):
    plt.close('all')
    action()
    return plt.gcf()


def dots(ax): return np.concatenate([collection.get_offsets() for collection in ax.collections])


@pytest.mark.parametrize('moves', [(), [Augment([Flip(1.)])]], ids=['plain', 'mirrored'])
def test_dots_are_shown_on_their_places(moves):
    figure = drawn(lambda: dls_of(item_tfms=Resize((60, 80)), batch_tfms=moves).show_batch(4))
    for ax in figure.axes:
        light = ax.images[0].get_array()[..., 0]
        (x, y), = dots(ax)
        assert light[round(y), round(x)] > .9 * light.max()
        assert ax.get_xlim() == (-.5, 79.5)      # a dot does not widen the picture


def test_one_item_is_shown_on_its_place():
    dls, (x, y) = dls_of(item_tfms=Resize((60, 80))), places(12)[0]
    ax = dls.train_ds.show(0)
    np.testing.assert_allclose(dots(ax), [[x - .5, y - .5]], atol=1e-3)


def test_results_show_truth_and_prediction():
    learn = learner(dls_of(item_tfms=Resize((60, 80))))
    figure = drawn(lambda: learn.show_results(max_n=4))
    preds, targs = learn.get_preds()
    truths = {tuple((to_pixels(t, (60, 80)) - .5).tolist()) for t in targs}
    answers = {tuple((to_pixels(p, (60, 80)) - .5).tolist()) for p in preds}
    shown = [tuple(dots(ax)[0].tolist()) for ax in figure.axes]
    def near(some, others): return all(min(math.dist(one, other) for other in others) < .02 for one in some)
    assert len(shown) == 8 and near(shown[::2], truths) and near(shown[1::2], answers)


@pytest.mark.parametrize('tfms', [(Resize((30, 40)), ()), (Resize(32), ()), (Resize(32, 'pad'), ()), (Resize((24, 60), 'squish'), ()),
                                  (Resize(40), aug_transforms(size=24)), ((), aug_transforms(size=(20, 30)))], ids=str)
def test_predict_answers_in_pixels_of_the_photo(tfms):
    "A model that always finds the dot names its place in the photo, whatever was done to the photo"
    class Finds(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1))
        def forward(self, x): return brightest(x) + 0 * self.nothing
    dls = dls_of(item_tfms=tfms[0], batch_tfms=tfms[1])
    learn = Learner(dls, Finds())
    for factor in (1, 2.5):
        for x, y in places(4, seed=5):
            size = tuple(round(n * factor) for n in (60, 80))
            photo = dotted(x * factor, y * factor, size, 2 * factor)
            point, target, output = learn.predict(photo)
            assert point.shape == (1, 2) and target.shape == output.shape == (2,)
            assert math.dist(point[0].tolist(), (x * factor, y * factor)) < 1.2 * factor


def test_predict_is_exact_whatever_the_size():
    "The way back has no error of its own, even from a small picture to a large photo"
    dls = dls_of(item_tfms=Resize((30, 32)))
    block = dls.blocks[1]
    photo = Image.new('RGB', (4000, 3000))
    (box, _), size = dls.item_tfms[1].plan((3000, 4000)), (30, 32)
    for share in ([0., 0], [-1, -1], [1, 1], [.3, -.7]):
        x, y = to_pixels(torch.tensor(share), size).tolist()
        scale = (box[2] - box[0]) / 32
        got = block.answer(torch.tensor(share), photo, dls)[0].tolist()
        assert math.dist(got, (box[0] + x * scale, box[1] + y * scale)) < 1


def test_export_and_load(tmp_path):
    photo = dotted(33, 20)
    photo.save(tmp_path/'photo.png')
    dls = dls_of(block=PointBlock(swap=[]), path=tmp_path, batch_tfms=aug_transforms(size=64))
    set_seed(0)
    learn = vision_learner(dls, 'resnet18', pretrained=False, y_range=(-1, 1), path=tmp_path)
    assert learn.model[1][-2].out_features == 2 and isinstance(learn.loss_func, PointLoss)
    quietly(lambda: learn.fit_one_cycle(1, 1e-3))
    mine = learn.predict(tmp_path/'photo.png')
    again = load_learner(learn.export('points'))
    for one, other in zip(mine, again.predict(tmp_path/'photo.png')): torch.testing.assert_close(one, other)
    assert again.dls.blocks[1].n_points == 1
    assert [type(tfm).__name__ for tfm in again.dls.item_tfms] == [type(tfm).__name__ for tfm in dls.item_tfms]


def test_resume_is_exact(tmp_path):
    def made(folder):
        set_seed(0)
        dls = dls_of(pictures(16), batch_tfms=aug_transforms(), path=folder)
        return learner(dls, folder)
    whole = made(tmp_path/'whole')
    set_seed(1)
    quietly(lambda: whole.fit_one_cycle(2, 1e-2, cbs=[Checkpoint()]))
    cut = made(tmp_path/'cut')
    set_seed(1)
    with contextlib.suppress(KeyboardInterrupt): quietly(lambda: cut.fit_one_cycle(2, 1e-2, cbs=[Checkpoint(every_batches=1), Stop(4)]))
    fresh = made(tmp_path/'cut')
    quietly(lambda: fresh.fit_one_cycle(2, 1e-2, cbs=[Checkpoint(every_batches=1, resume=True)]))
    for one, other in zip(whole.model.parameters(), fresh.model.parameters()): assert torch.equal(one, other)
    assert whole.recorder.values == fresh.recorder.values


def test_training_finds_the_dot():
    "Heat maps on dots: within a pixel of 32 after a few epochs, missing points and all"
    items = [(dotted(x, y), [[x, y], [nan, nan] if i % 3 else [x, y]]) for i, (x, y) in enumerate(places(80))]
    dls = dls_of(items, batch_tfms=[Augment([Flip(.5)])], bs=8)
    set_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), HeatMaps(8, 2, 8))
    learn = Learner(dls, model, metrics=PointDistance((32, 32)))
    quietly(lambda: learn.fit_one_cycle(8, 3e-2))
    assert learn.validate()[1] < 1 and not torch.stack([p.isnan().any() for p in model.parameters()]).any()


# ---- numbers ----

def test_results_of_numbers_are_shown(tmp_path):
    "Neither right nor wrong: in the usual colour, prediction over truth"
    items = [(dotted(x, y), [x / 80, y / 60]) for x, y in places(12)]
    for block, items in ((RegressionBlock, items), (RegressionBlock(1), [(photo, both[0]) for photo, both in items])):
        dls = dls_of(items, block)
        learn = Learner(dls, flat(dls.c))
        figure = drawn(lambda: learn.show_results(max_n=3))
        preds, targs = learn.get_preds()
        for ax in figure.axes:
            prediction, truth = ax.get_title().split('\n')
            assert truth.strip('()') in {', '.join(f'{v:.4g}' for v in t.tolist()) for t in targs}
            assert prediction in {', '.join(f'{v:.4g}' for v in p.tolist()) for p in preds}
            assert ax.title.get_color() == 'black'
        answer = learn.predict(items[0][0])[0]
        assert isinstance(answer, float) if dls.c == 1 else len(answer) == 2
