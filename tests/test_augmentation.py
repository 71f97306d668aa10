"""Augmentation against torchvision where they overlap; everything in a picture moves alike; what each promise says."""
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from lessonlib import augmentation as A
from lessonlib.augmentation import (Augment, Brightness, Contrast, Dihedral, Flip, Normalize,
                                    RandomResizedCrop, RandomResizedCropGPU, Rotate, Warp, Zoom,
                                    aug_transforms, imagenet_stats)
from lessonlib.checkpoint import from_recipe
from lessonlib.core import get_rng_state, set_seed
from lessonlib.data_block import Block, CategoryBlock, DataBlock, ImageBlock
from lessonlib.items import IndexSplitter, get_image_files
from lessonlib.images import Cuts, Resize, Transform

seeds = st.integers(0, 10_000)
sides = st.integers(17, 70)
usual = [Flip(), Warp(.3, p=1), Rotate(45, p=1), Zoom(.8, 1.4, p=1)]
devices = ['cpu'] + ['cuda'] * torch.cuda.is_available()


def smooth(n=1, channels=3, height=64, width=64, seed=0):
    "Pictures without fine detail, so that different ways to interpolate agree"
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 7, 7, generator=generator)
    return F.interpolate(coarse, size=(height, width), mode='bicubic', align_corners=True).clamp(0, 1)


def eye(n=1): return torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)


def plain(x): return x.as_subclass(torch.Tensor)


def inner(x, margin=3): return plain(x)[..., margin:-margin, margin:-margin]


# -- the same as torchvision --------------------------------------------------------------------------------------

@pytest.mark.parametrize('degrees', [-170, -30, 7.5, 90])
@pytest.mark.parametrize('size', [(64, 64), (48, 81)])
def test_rotation_is_torchvisions(degrees, size):
    x = smooth(2, height=size[0], width=size[1])
    ours = A.resample(x, A._rotation(torch.tensor([float(degrees)])).repeat(2, 1, 1), size, pad_mode='zeros')
    theirs = V.rotate(x, degrees, interpolation=V.InterpolationMode.BILINEAR)
    away = V.rotate(torch.ones_like(x), degrees, interpolation=V.InterpolationMode.BILINEAR) > .99  # not at the edge
    assert away.float().mean() > .3
    torch.testing.assert_close(ours[away], theirs[away], atol=2e-4, rtol=0)


def test_flip_is_torchvisions():
    x = smooth(3, height=33, width=50)
    torch.testing.assert_close(Flip(p=1)((x,), True)[0], V.horizontal_flip(x), atol=2e-5, rtol=0)


@pytest.mark.parametrize('axis', [0, 1])
def test_tilt_is_torchvisions_perspective(axis):
    "The four corners say what tilt looks at; torchvision solves for the matrix"
    t, x = .3, smooth(1, height=60, width=60)
    half = torch.tensor([30., 30, 1]).double()
    ours = A.resample(x, A._tilt(torch.tensor([t]), axis) * half[:, None] / half, (60, 60), pad_mode='zeros')
    corners = np.array([[-1., -1], [1, -1], [1, 1], [-1, 1]])
    seen = corners.copy()
    seen[:, 1 - axis] *= 1 - t * corners[:, axis]
    to_pixels = lambda places: ((places + 1) * 30).tolist()  # from the corner of the picture
    theirs = V.perspective(x, startpoints=to_pixels(seen), endpoints=to_pixels(corners),
                           interpolation=V.InterpolationMode.BILINEAR)
    torch.testing.assert_close(inner(ours, 8), inner(theirs, 8), atol=5e-3, rtol=0)


@given(seeds, st.sampled_from([(40, 40), (40, 56), (64, 33)]))
@settings(max_examples=15, deadline=None)
def test_a_crop_is_torchvisions_resized_crop(seed, size):
    "Boxes on whole pixels, shrinking little (above 1.8 both average, each in its way)"
    generator = torch.Generator().manual_seed(seed)
    height, width = (int(torch.randint(20, 61, (1,), generator=generator)) for _ in range(2))
    top, left = 80 - height, (90 - width) // 2
    x = smooth(1, height=80, width=90, seed=seed)
    box = torch.tensor([[left + width / 2 - 45, top + height / 2 - 40, width, height]]).double()
    ours = A.resample(x, A._box_matrix(box, size), size, pad_mode='border')
    theirs = V.resized_crop(x, top, left, height, width, list(size), antialias=False)
    torch.testing.assert_close(inner(ours), inner(theirs), atol=2e-4, rtol=0)


def test_validation_is_close_to_torchvisions_antialiased_resize():
    x = smooth(2, height=115, width=115)
    for side in (115, 90, 56, 28):
        ours, = Augment(size=side)((x,), False)
        theirs = V.resize(x, [side, side], antialias=True)
        torch.testing.assert_close(inner(ours), inner(theirs), atol=.03, rtol=0)


def test_light_against_torchvisions():
    """Both make brighter or harder, with other curves: torchvision multiplies the brightness, and the distance to the
    mean grey; here the log-odds are shifted, or multiplied, so middle grey is the fixed point and nothing is clipped."""
    x = torch.linspace(.02, .98, 49).view(1, 1, 7, 7).expand(-1, 3, -1, -1).contiguous()
    one, zero = torch.ones(1), torch.zeros(1)
    brighter, harder = A._relight(x.clone(), one, one * .8), A._relight(x.clone(), one * 1.5, zero)
    assert ((brighter - x > 0) == (V.adjust_brightness(x, 1.3) - x > 0)).all() and brighter.max() < 1
    theirs = V.adjust_contrast(x, 1.5) - x
    clear = (x - .5).abs() > .05
    assert ((harder - x > 0) == (theirs > 0))[clear].all()
    near = (x - .5).abs() < .06  # near the middle, both are multiplication
    torch.testing.assert_close(harder[near] - .5, (x[near] - .5) * 1.5, atol=2e-3, rtol=0)
    assert A._relight(torch.full((1, 1, 1, 1), .5), one * 3, zero).item() == pytest.approx(.5)


def test_normalize_is_torchvisions():
    x = smooth(2)
    ours, = Normalize.from_stats(*imagenet_stats)((x,))
    torch.testing.assert_close(ours, V.normalize(x, *imagenet_stats), atol=1e-5, rtol=0)


def test_boxes_of_a_mirrored_picture_are_torchvisions():
    raw = [[4., 6, 20, 30], [0, 0, 48, 40], [10, 10, 11, 12]]
    start = tv_tensors.BoundingBoxes(raw, format='XYXY', canvas_size=(40, 48))
    picture = tv_tensors.Image(torch.rand(3, 3, 40, 48))
    for form in ('XYXY', 'XYWH', 'CXCYWH'):
        boxes = V.convert_bounding_box_format(start, new_format=form)
        _, ours = Flip(p=1)((picture, boxes), True)
        assert type(ours) is tv_tensors.BoundingBoxes and ours.format == boxes.format
        torch.testing.assert_close(plain(ours), plain(V.horizontal_flip(boxes)), atol=1e-3, rtol=0)
        many = plain(boxes)[:, None].repeat(1, 4, 1).as_subclass(tv_tensors.BoundingBoxes)  # four boxes a picture
        many.format, many.canvas_size, many.clamping_mode = boxes.format, boxes.canvas_size, 'soft'
        _, ours = Flip(p=1)((picture, many), True)
        torch.testing.assert_close(plain(ours)[:, 2], plain(V.horizontal_flip(boxes)), atol=1e-3, rtol=0)


# -- all parts move alike -----------------------------------------------------------------------------------------

@given(seeds, sides, sides)
@settings(max_examples=30, deadline=None)
def test_a_point_stays_on_its_dot(seed, height, width):
    set_seed(seed)
    n, height, width = 4, height * 2, width * 2
    y, x = torch.meshgrid(torch.arange(height) + .5, torch.arange(width) + .5, indexing='ij')
    points = (.3 + .4 * torch.rand(n, 1, 2)) * torch.tensor([width, height])
    dots = torch.exp(-((x - points[:, :, :1, None][:, 0])**2 + (y - points[:, 0, 1, None, None])**2) / 8)[:, None]
    move = Augment([Dihedral(), *usual], pad_mode='zeros')
    image, moved = move((tv_tensors.Image(dots), tv_tensors.KeyPoints(points - .5, canvas_size=(height, width))), True)
    image, moved = plain(image)[:, 0], plain(moved)[:, 0] + .5
    assert moved.shape == (n, 2)
    for picture, place in zip(image, moved):
        if not (15 < place[0] < width - 15 and 15 < place[1] < height - 15): continue  # cut by the edge
        found = torch.stack([(picture * x).sum(), (picture * y).sum()]) / picture.sum()
        assert (found - place).norm() < 1


@given(seeds, st.sampled_from([None, (40, 60), (33, 33)]), st.sampled_from(['reflection', 'border', 'zeros']))
@settings(max_examples=25, deadline=None)
def test_a_mask_stays_on_its_picture(seed, size, pad_mode):
    x = smooth(3, 1, 61, 75, seed)
    mask = tv_tensors.Mask((x[:, 0] > .5).long() * 200)
    set_seed(seed)
    inside = tv_tensors.Image(torch.ones_like(x))  # with zeros beyond: 1 inside, 0 beyond, and between where the edge fades
    new, moved, inside = Augment(usual, size, .5, pad_mode=pad_mode)((tv_tensors.Image(x), mask, inside), True)
    assert moved.dtype == torch.int64 and set(moved.unique().tolist()) <= {0, 200}
    assert plain(new).shape[-2:] == moved.shape[-2:] == torch.Size(size or (61, 75))
    clear = (plain(new)[:, 0] - .5).abs() > .12  # beside the outline, the nearest pixel may be on its other side
    clear &= (plain(inside)[:, 0] - .5).abs() > .49  # a picture's edge fades into what is beyond, a mask's does not
    assert ((plain(new)[:, 0] > .5) == (moved == 200))[clear].float().mean() > .995


@pytest.mark.parametrize('size', [None, (96, 96), (70, 110)])
def test_mask_and_point_lie_where_the_picture_is_to_a_fraction_of_a_pixel(size):
    "Half a pixel is what a wrong convention about corners costs. In the mean over many discs it cannot hide"
    set_seed(1)
    n, height, width, radius = 128, 120, 120, 14
    y, x = torch.meshgrid(torch.arange(height) + .5, torch.arange(width) + .5, indexing='ij')
    centre = torch.tensor([width, height]) * (.4 + .2 * torch.rand(n, 1, 2))
    far = ((x - centre[:, :, :1])**2 + (y - centre[:, :, 1:])**2).sqrt()
    sample = (tv_tensors.Image((radius + .5 - far).clamp(0, 1)[:, None]), tv_tensors.Mask((far < radius).long()),
              tv_tensors.KeyPoints(centre - .5, canvas_size=(height, width)))
    image, mask, point = Augment([Rotate(p=1), Warp(p=1), Zoom(1, 1.1)], size, .9, pad_mode='zeros')(sample, True)
    y, x = torch.meshgrid(*(torch.arange(side) + .5 for side in mask.shape[-2:]), indexing='ij')
    def middle(parts):
        return torch.stack([(parts * place).sum((1, 2)) / parts.sum((1, 2)) for place in (x, y)], 1)
    seen = middle(plain(image)[:, 0])
    assert (middle(plain(mask).float()) - seen).mean(0).abs().max() < .05
    assert (plain(point)[:, 0] + .5 - seen).mean(0).abs().max() < .05


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64, torch.float32, torch.bool])
@pytest.mark.parametrize('shape', [(3, 20, 30), (3, 1, 20, 30), (3, 2, 20, 30)])
def test_masks_of_any_type_and_shape(dtype, shape):
    mask = tv_tensors.Mask(torch.randint(0, 2, shape).to(dtype))
    _, new = Augment(usual, (16, 24))((tv_tensors.Image(smooth(3, 3, 20, 30)), mask), True)
    assert new.dtype == dtype and type(new) is tv_tensors.Mask and new.shape == (*shape[:-2], 16, 24)


@pytest.mark.parametrize('x, y', [(49, 7), (0, 0), (20, 39)])
@pytest.mark.parametrize('move', [Flip(1.), Dihedral(1.), Rotate(180, p=1)])
def test_a_point_counts_pixels_and_stays_on_its_own(x, y, move):
    "As np.argwhere gives it, and as torchvision moves it"
    picture = torch.zeros(1, 3, 40, 40 if isinstance(move, Dihedral) else 50, dtype=torch.uint8)
    x = min(x, picture.shape[-1] - 1)
    picture[:, :, y, x] = 255
    size = tuple(picture.shape[-2:])
    for seed in range(4):
        set_seed(seed)
        image, moved = Augment([move], pad_mode='zeros')(
            (tv_tensors.Image(picture), tv_tensors.KeyPoints([[[float(x), float(y)]]], canvas_size=size)), True)
        if plain(image).max() < 128: continue      # turned out of the picture
        row, column = divmod(int(plain(image)[0, 0].argmax()), size[1])
        assert (plain(moved)[0, 0] - torch.tensor([column, row])).abs().max() < .75
    theirs = V.horizontal_flip(tv_tensors.KeyPoints([[float(x), float(y)]], canvas_size=size))
    ours = Augment([Flip(1.)])((tv_tensors.Image(picture), tv_tensors.KeyPoints([[[float(x), float(y)]]], canvas_size=size)), True)
    torch.testing.assert_close(plain(ours[1])[0], plain(theirs).float(), atol=1e-4, rtol=0)


def test_a_point_that_leaves_says_so():
    points = tv_tensors.KeyPoints([[[10., 20.]]], canvas_size=(40, 40))
    _, moved = Augment([Zoom(2, 2, p=1)])((tv_tensors.Image(torch.rand(1, 3, 40, 40)), points), False)
    assert plain(moved).tolist() == [[[10., 20.]]]  # validation: nothing happens
    lower_right = torch.tensor([[.5, 0, 10], [0, .5, 10], [0, 0, 1]]).double()[None]
    torch.testing.assert_close(A.move_points(plain(points), lower_right, (40, 40), (40, 40)),
                               torch.tensor([[[-20., 0.]]]))


def test_boxes_lie_around_what_they_held_and_end_at_the_edge():
    box = tv_tensors.BoundingBoxes([[10., 10, 30, 30]], format='XYXY', canvas_size=(40, 40))
    picture = tv_tensors.Image(torch.rand(1, 3, 40, 40))
    set_seed(0)
    for _ in range(20):
        _, moved = Augment([Rotate(180, p=1), Zoom(1, 2, p=1)])((picture, box), True)
        left, top, right, low = plain(moved)[0].tolist()
        assert 0 <= left <= right <= 40 and 0 <= top <= low <= 40
    whole = tv_tensors.BoundingBoxes([[0., 0, 40, 40]], format='XYXY', canvas_size=(40, 40))
    assert plain(Augment([Rotate(180, p=1)])((picture, whole), True)[1]).tolist() == [[0, 0, 40, 40]]


def test_rotated_boxes_are_refused():
    box = tv_tensors.BoundingBoxes([[20., 20, 10, 5, 30]], format='CXCYWHR', canvas_size=(40, 40))
    with pytest.raises(ValueError, match='upright boxes'):
        Rotate(10, p=1)((tv_tensors.Image(torch.rand(1, 3, 40, 40)), box), True)


# -- one resampling -----------------------------------------------------------------------------------------------

def test_pictures_are_looked_up_once(monkeypatch):
    calls, real = [], F.grid_sample
    monkeypatch.setattr(F, 'grid_sample', lambda *a, **k: calls.append(1) or real(*a, **k))
    Augment(usual + [Brightness(), Contrast()], 40, .5)((tv_tensors.Image(smooth(1)),), True)
    assert len(calls) == 1


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_products_of_matrices_are_moves_in_order(seed):
    set_seed(seed)
    matrices = [m.matrix(torch.rand(1, m.dice).double(), (50, 80)) for m in (Dihedral(), *usual)]
    points = torch.rand(1, 5, 2) * 50
    one = points
    for m in matrices: one = A.move_points(one, m, (50, 80), (50, 80))
    product = eye()
    for m in matrices: product = product @ m
    torch.testing.assert_close(A.move_points(points, product, (50, 80), (50, 80)), one, atol=1e-2, rtol=1e-3)


class Always(A.Move):
    "A move without chance"
    def __init__(self, numbers): self.numbers = torch.tensor(numbers, dtype=torch.float64)
    def matrix(self, dice, size): return self.numbers.repeat(len(dice), 1, 1)


def test_moves_happen_in_the_order_in_which_they_are_given_after_the_crop():
    right = Always([[1, 0, -10.], [0, 1, 0], [0, 0, 1]])   # what is shown comes from 10 to the left
    twice = Always([[.5, 0, 0.], [0, .5, 0], [0, 0, 1]])
    sample = tv_tensors.Image(torch.rand(1, 1, 80, 80)), tv_tensors.KeyPoints([[[39.5, 43.5]]], canvas_size=(80, 80))
    def ends(moves, **kwargs): return (plain(Augment(moves, **kwargs)(sample, True)[1]) + .5).flatten().tolist()
    assert ends([right, twice]) == pytest.approx([60, 48], abs=1e-3)
    assert ends([twice, right]) == pytest.approx([50, 48], abs=1e-3)
    assert ends([right, twice], size=40) == pytest.approx([40, 24], abs=1e-3)  # first half as large, then right


@pytest.mark.parametrize('side', [20, 150])
def test_a_picture_does_not_depend_on_its_batch(side, monkeypatch):
    "Whether pictures go in groups, one by one, or all at once"
    x = tv_tensors.Image((smooth(6, 3, side, side) * 255).byte())
    tfm = aug_transforms(size=max(side // 2, 16), min_scale=.4)[0]
    set_seed(0)
    drawn = tfm.draw(6, (side, side))
    size = tfm.size
    together = plain(tfm._pictures(x, *drawn, size))
    alone = torch.cat([plain(tfm._pictures(x[i:i + 1], *(d[i:i + 1] for d in drawn), size)) for i in range(6)])
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 4)
    in_fours = plain(tfm._pictures(x, *drawn, size))
    # a step of the table of light is 1 / 4096: what differs by rounding may fall on its other side
    torch.testing.assert_close(together, alone, atol=4e-4, rtol=0)
    torch.testing.assert_close(together, in_fours, atol=4e-4, rtol=0)


@pytest.mark.parametrize('factor', [2.5, 4, 6])
def test_what_shrinks_does_not_alias(factor):
    noise = torch.rand(1, 1, 360, 360, generator=torch.Generator().manual_seed(0))
    side = int(300 / factor)
    small = A.resample(noise, torch.diag(torch.tensor([factor, factor, 1])).double()[None], (side, side))
    # the mean over factor² pixels has a spread of .289 / factor; looking up four pixels leaves about .13 to .29
    assert small.std() < 1.35 * .289 / factor


def test_the_middle_stays_in_the_middle_when_blocks_leave_a_rest():
    x = torch.zeros(1, 1, 103, 101)
    x[..., 50:53, 49:52] = 1  # around the centre of the picture
    small = A.resample(x, torch.diag(torch.tensor([5., 5, 1])).double()[None], (21, 21))[0, 0]
    assert small.argmax() == 10 * 21 + 10
    torch.testing.assert_close(small, small.flip(0), atol=.02, rtol=0)
    torch.testing.assert_close(small, small.T, atol=.02, rtol=0)


# -- chance -------------------------------------------------------------------------------------------------------

def test_one_draw_a_batch_from_torchs_generator():
    tfm, x = aug_transforms(size=20)[0], tv_tensors.Image(smooth(5))
    set_seed(3)
    before = get_rng_state()
    tfm((x,), True)
    after = get_rng_state()
    set_seed(3)
    torch.rand(5, 4 + sum(m.dice for m in tfm.moves), dtype=torch.float64)
    assert torch.equal(after['torch'], torch.get_rng_state())
    assert after['python'] == before['python'] and after['numpy'] == before['numpy']


def test_a_seed_repeats_and_another_differs():
    tfm, x = aug_transforms()[0], tv_tensors.Image(smooth(4))
    def with_seed(seed): set_seed(seed); return plain(tfm((x,), True)[0])
    assert torch.equal(with_seed(1), with_seed(1)) and not torch.equal(with_seed(1), with_seed(2))
    pictures = plain(tfm((tv_tensors.Image(smooth(1).repeat(6, 1, 1, 1)),), True)[0])
    assert len({tuple(p.flatten()[:50].tolist()) for p in pictures}) == 6  # dice of its own for each picture


def test_validation_throws_no_dice():
    x = tv_tensors.Image((smooth(3) * 255).byte())
    state = torch.get_rng_state()
    for tfm in (aug_transforms()[0], Flip(p=1), RandomResizedCropGPU(32)):
        first, second = (tfm((x,), False)[0] for _ in range(2))
        assert torch.equal(plain(first), plain(second))
    assert aug_transforms()[0]((x,), False)[0] is x
    assert torch.equal(state, torch.get_rng_state())


def test_each_happens_to_its_share_of_the_pictures():
    n = 4000
    dice = lambda move: torch.rand(n, move.dice, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for move, share in ((Flip(), .5), (Rotate(p=.75), .75), (Warp(p=.75), .75), (Zoom(p=.75), .75), (Dihedral(), 7 / 8)):
        changed = (move.matrix(dice(move), (32, 32)) - eye()).abs().amax((1, 2)) > 1e-9
        assert changed.float().mean() == pytest.approx(share, abs=.03), move
    for move in (Brightness(), Contrast()):
        a, b = move.light(dice(move))
        assert ((a != 1) | (b != 0)).float().mean() == pytest.approx(.75, abs=.03), move
    for p in (0, 1):
        assert ((Flip(p).matrix(dice(Flip()), (8, 8))[:, 0, 0] < 0).float().mean()).item() == p


def test_draws_keep_to_their_limits_and_reach_them():
    dice = torch.rand(4000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    m = Rotate(10, p=1).matrix(dice[:, :2], (20, 20))
    degrees = torch.rad2deg(torch.atan2(m[:, 1, 0], m[:, 0, 0]))
    assert 9.5 < degrees.max() <= 10 and -10 <= degrees.min() < -9.5 and abs(degrees.mean()) < .5
    m = Zoom(.8, 1.25, p=1).matrix(dice, (20, 30))
    assert .8 <= m[:, 0, 0].min() < .82 and 1.2 < m[:, 0, 0].max() <= 1.25
    m = Zoom(1, 2, p=1).matrix(dice, (20, 30))  # nearer never looks beyond the edge
    corners = torch.tensor([[-15., -10, 1], [15, 10, 1]]).double()
    seen = (m[:, None] @ corners[..., None])[..., 0]
    assert (seen[..., 0].abs() <= 15 + 1e-9).all() and (seen[..., 1].abs() <= 10 + 1e-9).all()
    a, _ = Contrast(.2, p=1).light(dice[:, :2])
    assert .8 <= a.min() < .81 and 1.24 < a.max() <= 1.25
    _, b = Brightness(.2, p=1).light(dice[:, :2])
    assert .4 - 1e-9 <= b.sigmoid().min() < .41 and .59 < b.sigmoid().max() <= .6 + 1e-9


def test_the_eight_symmetries():
    x = torch.arange(25.).view(1, 1, 5, 5)
    expected = {tuple(F.pad(t, (0, 0)).flatten().tolist()) for k in range(4)
                for t in (torch.rot90(x, k, (2, 3)), torch.rot90(x, k, (2, 3)).flip(-1))}
    dice = torch.stack([torch.zeros(8), (torch.arange(8) + .5) / 8], 1).double()
    ours = A.resample(x.repeat(8, 1, 1, 1), Dihedral().matrix(dice, (5, 5)), (5, 5)).round()
    assert {tuple(p.flatten().tolist()) for p in ours} == expected and len(expected) == 8
    wide = torch.arange(15.).view(1, 1, 3, 5)
    ours = A.resample(wide.repeat(8, 1, 1, 1), Dihedral().matrix(dice, (3, 5)), (3, 5)).round()
    assert {tuple(p.flatten().tolist()) for p in ours} == {tuple(t.flatten().tolist()) for t in (
        wide, wide.flip(-1), wide.flip(-2), wide.flip((-1, -2)))}


# -- pictures of all kinds ----------------------------------------------------------------------------------------

@given(st.integers(1, 3), st.sampled_from([1, 3, 4]), sides, sides, st.sampled_from([None, 24, (31, 18)]),
       st.sampled_from(['bilinear', 'nearest', 'bicubic']), st.booleans())
@settings(max_examples=30, deadline=None)
def test_any_picture_keeps_its_kind(n, channels, height, width, size, mode, as_bytes):
    x = smooth(n, channels, height, width)
    x = tv_tensors.Image((x * 255).byte() if as_bytes else x)
    before = plain(x).clone()
    for train in (True, False):
        new, label = aug_transforms(size=size, min_scale=.5, mode=mode)[0]((x, torch.arange(n)), train)
        expected = (height, width) if size is None else (24, 24) if size == 24 else size
        assert new.shape == (n, channels, *expected) and type(new) is tv_tensors.Image
        if train or expected != (height, width):
            assert new.dtype == torch.float32 and 0 <= new.min() and new.max() <= 1 + 1e-5
        else: assert new is x            # there is nothing to do
        assert label.tolist() == list(range(n))
    assert torch.equal(before, plain(x))  # the batch itself is left alone


def test_bytes_and_floats_give_the_same():
    x = (smooth(4) * 255).byte()
    tfm, results = aug_transforms(size=32)[0], []
    for pictures in (x, x / 255):
        set_seed(0)
        results.append(plain(tfm((tv_tensors.Image(pictures),), True)[0]))
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)


def test_light_leaves_the_alpha_channel_and_black_and_white():
    x = smooth(2, 4)
    lit = A._relight(x.clone(), torch.full((2,), 1.3), torch.full((2,), -.5))
    assert torch.equal(lit[:, 3], x[:, 3]) and not torch.equal(lit[:, :3], x[:, :3])
    ends = A._relight(torch.tensor([0., 1, 1.0000002, -1e-7]).view(1, 1, 2, 2), torch.tensor([.7]), torch.tensor([.4]))
    assert ends.flatten().tolist() == [0, 1, 1, 0]


def test_other_parts_and_samples_without_pictures_pass():
    labels = torch.arange(3)
    assert Flip(p=1)((labels,), True)[0] is labels
    tokens = torch.randint(0, 9, (3, 12))
    assert aug_transforms()[0]((tokens, labels), True)[0] is tokens


@pytest.mark.parametrize('device', devices)
def test_each_device_gives_the_same(device):
    x = (smooth(5, height=90, width=70) * 255).byte()
    mask = (x[:, 0] > 120).long()
    points = torch.rand(5, 2, 2) * 60
    results = []
    for where in ('cpu', device):
        set_seed(0)
        sample = (tv_tensors.Image(x.to(where)), tv_tensors.Mask(mask.to(where)),
                  tv_tensors.KeyPoints(points.to(where), canvas_size=(90, 70)))
        out = aug_transforms(size=(40, 32), min_scale=.5)[0](sample, True)
        out = Normalize.from_stats(*imagenet_stats)(out)
        assert all(o.device.type == where for o in out)
        results.append([plain(o).cpu().float() for o in out])
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-3, rtol=0)
    assert (results[0][1] == results[1][1]).float().mean() > .99
    torch.testing.assert_close(results[0][2], results[1][2], atol=1e-3, rtol=0)


# -- wrong input --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, values', [
    ('max_rotate', (-1, 181, math.nan, math.inf, 'ten', None, True)), ('max_warp', (-.1, 1, math.nan)),
    ('max_zoom', (0, -1, math.nan, 100)), ('min_zoom', (0, math.nan)), ('max_lighting', (-.2, 1, math.nan)),
    ('p_affine', (-.1, 1.1, math.nan)), ('p_lighting', (2,)), ('mult', (-1, math.nan, 1e9)),
    ('min_scale', (0, 1.5, math.nan)), ('size', (0, -3, 2.5, 'large', (1, 2, 3), (0, 4), True, math.nan)),
    ('mode', ('cubic',)), ('pad_mode', ('mirror',))])
def test_wrong_numbers_are_named(name, values):
    for value in values:
        with pytest.raises(ValueError, match=name):
            aug_transforms(**{name: value})


def test_what_is_no_move_is_refused():
    with pytest.raises(TypeError, match='Resize'): Augment([Flip(), Resize(20)])
    with pytest.raises(ValueError, match='ratio'): RandomResizedCropGPU(20, ratio=(2, 1))
    with pytest.raises(ValueError, match='ratio'): RandomResizedCrop(20, ratio=1)
    with pytest.raises(ValueError, match='above max_zoom'): aug_transforms(min_zoom=1.5)


def test_parts_of_different_size_are_refused():
    sample = (tv_tensors.Image(torch.rand(2, 3, 20, 20)), tv_tensors.Mask(torch.zeros(2, 20, 30)))
    with pytest.raises(ValueError, match='Image 20×20, Mask 20×30'): Flip()(sample, True)


def test_a_picture_that_is_a_plain_tensor_moves_with_its_mask():
    x = smooth(2, 1, 30, 30)
    set_seed(0)
    new, mask = Rotate(45, p=1)((x, tv_tensors.Mask((x[:, 0] > .5).long())), True)
    assert ((new[:, 0] > .5) == (mask == 1)).float().mean() > .93 and not torch.equal(new, x)


# -- Normalize ----------------------------------------------------------------------------------------------------

def test_normalize_measures_and_takes_back():
    x = smooth(20, 3, 16, 16)
    for batches in ([x], x.split(7), [((x * 255).byte(), torch.arange(20))]):
        tfm = Normalize().measure(batches)
        new, = tfm((x,))
        torch.testing.assert_close(new.mean((0, 2, 3)), torch.zeros(3), atol=.02, rtol=0)
        torch.testing.assert_close(new.std((0, 2, 3)), torch.ones(3), atol=.02, rtol=0)
        torch.testing.assert_close(tfm.undo((new,))[0], x, atol=1e-5, rtol=0)
        torch.testing.assert_close(tfm.decode((new, 1))[0], x, atol=1e-5, rtol=0)


def test_normalize_of_one_flat_colour_stays_finite():
    new, = Normalize().measure([torch.full((4, 3, 8, 8), .4)])((torch.full((4, 3, 8, 8), .4),))
    assert torch.isfinite(new).all()


def test_normalize_refuses_what_cannot_be():
    x = smooth(2)
    for args in (((.5,) * 3, (.1, .2, 0)), ((.5,) * 3, (.1,)), ((.5,), (math.nan,))):
        with pytest.raises(ValueError, match='std above 0'): Normalize(*args)
    with pytest.raises(ValueError, match='both'): Normalize((.5,))
    with pytest.raises(ValueError, match='no numbers yet'): Normalize()((x,))
    with pytest.raises(TypeError, match='floats'): Normalize((.5,), (.5,))(((x * 255).byte(),))
    with pytest.raises(ValueError, match='4 channels'): Normalize(*imagenet_stats)((smooth(2, 4),))
    with pytest.raises(ValueError, match='no training pictures'): Normalize().measure([])
    with pytest.raises(ValueError, match='no pictures'): Normalize().measure([torch.zeros(3, 4)])
    assert Normalize((.5,), (.5,))((x,))[0].shape == x.shape  # one number for all channels


def test_normalize_leaves_masks_points_and_labels():
    mask, label = tv_tensors.Mask(torch.ones(2, 8, 8)), torch.tensor([1, 2])
    points = tv_tensors.KeyPoints(torch.ones(2, 1, 2), canvas_size=(8, 8))
    new = Normalize(*imagenet_stats)((tv_tensors.Image(smooth(2, 3, 8, 8)), mask, points, label), True)
    assert new[1] is mask and new[2] is points and new[3] is label and type(new[0]) is tv_tensors.Image


# -- recipes ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('part', [
    *usual, Dihedral(.3), Brightness(.4), Contrast(.4), Normalize(*imagenet_stats), Normalize().measure([smooth(4)]),
    Augment([Flip(), Rotate(20)], (40, 50), .5, (.8, 1.2), 'nearest', 'zeros'), Augment(Flip()), Augment(),
    RandomResizedCrop((20, 30), .2), RandomResizedCropGPU(20, .3, moves=[Flip()]), aug_transforms(size=30)[0]], ids=str)
def test_parts_come_back_from_their_recipe(part):
    written = json.loads(json.dumps(part.recipe()))
    again = from_recipe(written)
    assert type(again) is type(part) and json.loads(json.dumps(again.recipe())) == written
    x = smooth(3, height=50, width=60)
    results = []
    for tfm in (part, again):
        set_seed(0)
        sample = (Image.fromarray(np.uint8(x[0].permute(1, 2, 0) * 255)),) if isinstance(tfm, Resize) else (x,)
        results.append(np.asarray(tfm(sample, True)[0]))
    assert np.array_equal(*results)


# -- end to end ---------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    "Twenty pictures, odd ones darker, 70 × 60"
    for i in range(20):
        pixels = smooth(1, 3, 60, 70, seed=i)[0].permute(1, 2, 0).numpy() * (.4 if i % 2 else 1)
        Image.fromarray(np.uint8(pixels * 255)).save(tmp_path/f'{i:02}.png')
    return tmp_path


def parity(file): return int(file.stem) % 2


def block(item_tfms=Resize(48), batch_tfms=()):
    return DataBlock(blocks=(ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parity,
                     splitter=IndexSplitter(list(range(15, 20))), item_tfms=item_tfms, batch_tfms=batch_tfms)


def test_through_a_data_block(folder):
    dls = block(batch_tfms=[*aug_transforms(size=(32, 40), min_scale=.7), Normalize()]).dataloaders(folder, bs=5)
    x, y = dls.one_batch()
    assert x.shape == (5, 3, 32, 40) and type(x) is torch.Tensor and x.dtype == torch.float32
    first, second = (torch.cat([x for x, y in dls.valid]) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (5, 3, 32, 40)
    whole = torch.cat([x for x, y in dls.train] + [first])
    assert whole.mean().abs() < .5 and .6 < whole.std() < 1.5
    again = from_recipe(dls.recipe())
    files = get_image_files(folder)
    torch.testing.assert_close(again.prepare(files[0])[0], dls.prepare(files[0])[0])


def test_normalize_learns_from_the_training_set_alone_and_for_each_source(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('dark')
    for file in get_image_files(folder):
        Image.fromarray(np.asarray(Image.open(file)) // 4).save(other/file.name)
    template = block(batch_tfms=[*aug_transforms(), Normalize()])
    set_seed(0)
    state = get_rng_state()
    bright, dark = (template.dataloaders(path, bs=4) for path in (folder, other))
    assert torch.equal(state['torch'], get_rng_state()['torch']) and state['python'] == get_rng_state()['python']
    a, b = (dls.batch_tfms[-1] for dls in (bright, dark))
    assert a.mean[0] > 3 * b.mean[0] and template.batch_tfms[-1].mean is None
    train = torch.stack([ds / 255. for ds in (plain(bright.train_ds[i][0]) for i in range(15))])
    assert a.mean == pytest.approx(train.mean((0, 2, 3)).tolist(), abs=.03)


def test_pictures_of_many_sizes_are_told_to_resize(folder):
    Image.new('RGB', (30, 90)).save(folder/'00.png')
    dls = block(item_tfms=None, batch_tfms=aug_transforms(size=32)).dataloaders(folder, bs=15)
    with pytest.raises(ValueError, match='Resize'): next(iter(dls.train))


def test_extra_transforms(folder):
    class Darker(Transform):
        order = 20
        def __call__(self, sample, train): return (sample[0] * .5, *sample[1:])
    tfms = aug_transforms(xtra_tfms=[Zoom(2, 2, p=1), Darker()], max_lighting=0, do_flip=False, max_warp=0)
    assert [type(m) for m in tfms[0].moves] == [Rotate, Zoom, Zoom] and len(tfms) == 2
    assert block(batch_tfms=tfms).dataloaders(folder, bs=5).one_batch()[0].max() <= .501


def test_torchvision_transforms_work_beside(folder):
    dls = block(batch_tfms=[*aug_transforms(size=32), v2.Grayscale(3)]).dataloaders(folder, bs=5)
    x, y = dls.one_batch()
    assert x.shape == (5, 3, 32, 32) and torch.allclose(x[:, 0], x[:, 2])


# -- crops of items -----------------------------------------------------------------------------------------------

@given(seeds, st.sampled_from([(24, 24), (16, 40)]), st.floats(.05, 1))
@settings(max_examples=30, deadline=None)
def test_random_boxes_of_items_stay_inside_and_keep_their_scale(seed, size, min_scale):
    set_seed(seed)
    tfm = RandomResizedCrop(size, min_scale, ratio=(3/4, 4/3))
    (left, top, right, low), inner_box = tfm.plan((90, 70), tuple(torch.rand(4).tolist()))
    assert 0 <= left < right <= 70 and 0 <= top < low <= 90 and inner_box == (0, 0, size[1], size[0])
    most = min(90 / size[0], 70 / size[1])**2 * size[0] * size[1]
    assert (right - left) * (low - top) <= most * 1.0001


def test_items_and_their_masks_are_cropped_alike():
    x = (smooth(1, 1, 90, 120)[0, 0] * 255).byte()
    photo, mask = Image.fromarray(x.numpy()).convert('RGB'), tv_tensors.Mask((x > 128).long())
    set_seed(0)
    tfm = RandomResizedCrop(40, .3)
    seen = set()
    for _ in range(5):
        new, moved = tfm((photo, mask), True)
        assert new.size == (40, 40) and moved.shape == (40, 40)
        assert ((torch.from_numpy(np.array(new))[..., 0] > 128) == (moved == 1)).float().mean() > .93
        seen.add(new.tobytes())
    assert len(seen) == 5
    still, resized = tfm((photo, mask), False)[0], Resize(40)((photo, mask), False)[0]
    assert still.tobytes() == resized.tobytes()


def test_boxes_of_batches_have_the_promised_area_and_shape():
    tfm = RandomResizedCropGPU(32, min_scale=.08, ratio=(3/4, 4/3))
    set_seed(0)
    matrix, _, _ = tfm.draw(3000, (100, 100))
    wide, high = matrix[:, 0, 0] * 32, matrix[:, 1, 1] * 32
    area, shape = wide * high / 1e4, wide / high
    assert .07 < area.min() < .1 and .9 < area.max() <= 1 + 1e-9
    assert .75 - 1e-9 <= shape.min() < .77 and 1.3 < shape.max() <= 4/3 + 1e-9
    assert (matrix[:, 0, 2].abs() + wide / 2 <= 50 + 1e-9).all()


def test_importing_it_loads_no_plotting():
    code = ("import sys, lessonlib.augmentation\n"
            "print([m for m in ('matplotlib', 'pandas', 'IPython', 'ipywidgets', 'sklearn') if m in sys.modules])")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == '[]', done.stdout + done.stderr


def test_nothing_waits_for_or_mixes_devices():
    "On the pretend device `meta`, which has shapes but no values: reading a pixel or mixing devices is an error"
    sample = (tv_tensors.Image(torch.empty(4, 3, 60, 50, dtype=torch.uint8, device='meta')),
              tv_tensors.Mask(torch.empty(4, 60, 50, dtype=torch.int64, device='meta')),
              tv_tensors.KeyPoints(torch.empty(4, 2, 2, device='meta'), canvas_size=(60, 50)))
    for size in (24, 15):  # with and without blocks
        for train in (True, False):
            out = aug_transforms(size=size, min_scale=.3)[0](sample, train)
            out = Normalize.from_stats(*imagenet_stats)(out, train)
            assert [o.device.type for o in out] == ['meta'] * 3 and out[0].shape == (4, 3, size, size)


def test_a_batch_may_be_changed_alike():
    x = torch.rand(1, 3, 24, 24).expand(6, -1, -1, -1).contiguous()
    set_seed(5)
    alike, = aug_transforms(batch=True)
    apart, = aug_transforms()
    new = alike((x,), train=True)[0]
    assert all(torch.equal(row, new[0]) for row in new) and not torch.equal(new[0], x[0])
    assert not torch.equal(alike((x,), train=True)[0][0], new[0]), 'another change for another batch'
    new = apart((x,), train=True)[0]
    assert not torch.equal(new[0], new[1])


def test_other_names_of_normalize():
    plain = Normalize([.5], [.2])
    assert Normalize(means=[.5], stds=[.2]) == plain == Normalize.from_stats([.5], [.2], cuda=False)
    assert from_recipe(Normalize(means=[.5], stds=[.2]).recipe()) == plain
    with pytest.raises(ValueError, match='both'): Normalize(means=[.5])


# -- from the file in one look: a Resize that only says which box ----------------------------------------------------

class Plain(Transform):
    "Does nothing, in batches, before anything else: then pictures must have one size already"
    order = -50
    def __call__(self, sample, train): return sample


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Smooth photos of many sizes, each with a mask and a point on its brightest spot"
    folder = tmp_path_factory.mktemp('photos')
    for i, (height, width) in enumerate([(90, 140), (200, 150), (64, 64), (300, 420), (131, 97), (75, 260)]):
        y, x = torch.meshgrid(torch.arange(height) + .5, torch.arange(width) + .5, indexing='ij')
        side = min(height, width)
        spot = torch.exp(-((x - width / 2 - side / 9)**2 + (y - height / 2 + side / 7)**2) / (side / 9)**2)
        pixels = smooth(1, 3, height, width, seed=i)[0] * .4 + .6 * spot
        Image.fromarray(np.uint8(pixels.permute(1, 2, 0) * 255)).save(folder/f'{i:02}.png')
    return folder


class PlaceBlock(Block):
    "A mask of the spot, and the place of its middle"
    def __init__(self, mask): self.mask = mask
    def open(self, file):
        with Image.open(file) as image: width, height = image.size
        side = min(height, width)
        x, y = width / 2 + side / 9, height / 2 - side / 7
        if not self.mask: return tv_tensors.KeyPoints([[x - .5, y - .5]], canvas_size=(height, width))
        rows, columns = torch.meshgrid(torch.arange(height) + .5, torch.arange(width) + .5, indexing='ij')
        return tv_tensors.Mask(((columns - x)**2 + (rows - y)**2 < (side / 10)**2).byte() * 7)
    def collate(self, tensors):
        new = torch.stack([plain(t) for t in tensors])
        return tv_tensors.Mask(new) if self.mask else tv_tensors.KeyPoints(new, canvas_size=tensors[0].canvas_size)


def same(x): return x


def loaders(folder, resize, batch_tfms, blocks=(ImageBlock,), **kwargs):
    return DataBlock(blocks, n_inp=1, get_items=get_image_files, getters=[same] * len(blocks),
                     splitter=IndexSplitter([0, 1]), item_tfms=resize,
                     batch_tfms=batch_tfms).dataloaders(folder, bs=4, shuffle=False, device='cpu', **kwargs)


def both_ways(folder, resize, tfms, seed=0, **kwargs):
    "Batches to train on and to validate with, straight from the files, and with the pictures of `Resize` between"
    made = []
    for before in ([], [Plain()]):
        set_seed(seed)
        dls = loaders(folder, resize, [*before, *tfms], **kwargs)
        made.append(list(dls.train) + list(dls.valid) + [torch.rand(1)])
    return zip(*made)


@pytest.mark.parametrize('resize', [Resize(112), Resize((120, 150)), Resize((90, 130), 'squish'),
                                    RandomResizedCrop(100, .4)], ids=str)
@pytest.mark.parametrize('size', [48, (40, 56)])
def test_straight_from_the_file_shows_the_same(photos, resize, size):
    "The same dice, so the same places, and the random numbers are left in the same state"
    pairs = list(both_ways(photos, resize, aug_transforms(size=size, min_scale=.6)))
    assert torch.equal(*pairs.pop()) and len(pairs) == 2
    for (a,), (b,) in pairs:
        assert a.shape == b.shape and a.dtype == b.dtype == torch.float32
        assert (inner(a) - inner(b)).abs().mean() < .01 and (inner(a) - inner(b)).abs().max() < .12


def test_mask_and_point_lie_on_pictures_straight_from_the_file(photos):
    tfms = aug_transforms(size=64, min_scale=.8, max_lighting=0)
    *pairs, _ = both_ways(photos, Resize(128), tfms, blocks=(ImageBlock, PlaceBlock(True), PlaceBlock(False)))
    for (x, mask, point), (_, old_mask, old_point) in pairs:
        assert set(mask.unique().tolist()) == {0, 7} == set(old_mask.unique().tolist())
        assert (point - old_point).abs().max() < .01
        y, columns = torch.meshgrid(torch.arange(64.), torch.arange(64.), indexing='ij')
        for one, m, (px, py) in zip(x.mean(1), mask, point[:, 0]):
            here = m.float() / m.float().sum()
            middle = torch.stack([(here * columns).sum(), (here * y).sum()])
            assert (middle - torch.stack([px, py])).norm() < .6
            bright = (one - one.quantile(.93)).clamp(min=0) * (m > 0)
            assert ((bright * columns).sum() / bright.sum() - px).abs() < 2


def test_no_large_picture_is_made_on_the_way(photos, monkeypatch):
    "Training makes no picture of the size of Resize, validation one of the last size; else it is as it was"
    sizes, real = [], Resize._picture
    def note(self, image, box, inner, *nearest):
        sizes.append(inner[2:])
        return real(self, image, box, inner, *nearest)
    monkeypatch.setattr(Resize, '_picture', note)
    def made(*args, **kwargs):
        sizes.clear()
        dls = loaders(photos, *args, **kwargs)
        list(dls.train)
        train = set(sizes)
        sizes.clear()
        list(dls.valid)
        return train, set(sizes)
    tfms = aug_transforms(size=32)
    assert made(Resize(90), tfms) == (set(), {(32, 32)})
    assert made(Resize(90), aug_transforms()) == (set(), {(90, 90)})
    assert made(Resize(90), [Plain(), *tfms]) == ({(90, 90)}, {(90, 90)})
    assert made(Resize(90), [Augment()]) == ({(90, 90)}, {(90, 90)})
    assert made(Resize(90), [Flip(), *tfms]) == ({(90, 90)}, {(32, 32)})
    assert made([Resize(90), Late()], tfms) == ({(90, 90)}, {(90, 90)})
    assert (32, 32) not in made(Resize(90, 'pad'), tfms)[1]   # what fills up belongs to the picture
    class Own(ImageBlock):
        def encode(self, item): return super().encode(item.convert('L'))
    assert made(Resize(90), tfms, blocks=(Own,)) == ({(90, 90)}, {(32, 32)})


class Late(Transform):
    def __call__(self, sample, train): return sample


def test_validation_is_pillows_antialiased_resize(photos):
    x, = list(loaders(photos, Resize(120), aug_transforms(size=40)).valid)[0]
    for one, file in zip(x, get_image_files(photos)[:2]):
        with Image.open(file) as image:
            side, (w, h) = min(image.size), image.size
            box = (w - side) / 2, (h - side) / 2, (w + side) / 2, (h + side) / 2
            small = image.resize((40, 40), Image.Resampling.BILINEAR, box=box)
        assert (one * 255 - V.pil_to_tensor(small)).abs().max() < 4   # it may leave out pixels of a huge photo


def test_fine_lines_are_no_coarse_ones_and_no_grey(tmp_path):
    "Lines as fine as a file can hold vanish, those that the new pictures can hold stay, without being enlarged"
    for name, width in (('fine', 1), ('wide', 8)):
        rows = (np.arange(400) // width % 2 * 255).astype(np.uint8)[:, None].repeat(400, 1)
        for i in range(3): Image.fromarray(rows).convert('RGB').save(tmp_path/f'{name}{i}.png')
    dls = loaders(tmp_path, Resize(230), [Augment([Rotate(8, p=1)], size=112, min_scale=.8)])
    x = torch.cat([x for x, in dls.train])[..., 8:-8, 8:-8]
    names = [item.name[:4] for item in dls.train.items]
    spread = {name: x[[i for i, n in enumerate(names) if n == name]].std() for name in ('fine', 'wide')}
    assert spread['fine'] < .03 and spread['wide'] > .3


def test_workers_resume_and_recipes_know_nothing_of_it(photos):
    tfms = [*aug_transforms(size=32, min_scale=.5), Normalize.from_stats(*imagenet_stats)]
    alone = loaders(photos, Resize(90), tfms)
    assert 'Within' not in str(alone.recipe()) and alone.item_tfms[0].waiting == ()
    assert alone.train_ds[0][0].shape == (3, 90, 90)
    again = from_recipe(alone.recipe())
    files = get_image_files(photos)
    torch.testing.assert_close(again.prepare(files[3])[0], alone.prepare(files[3])[0])
    torch.testing.assert_close(list(alone.test_dl(files[:2]))[0][0], list(alone.valid)[0][0])
    def epoch(dls):
        set_seed(4)
        return torch.cat([x for x, in dls.train])
    assert torch.equal(epoch(alone), epoch(alone))
    with_worker = loaders(photos, Resize(90), tfms, num_workers=1)
    assert torch.equal(epoch(with_worker), epoch(with_worker)) and epoch(with_worker).shape == epoch(alone).shape


@pytest.mark.parametrize('mode', ['L', 'RGBA'])
def test_other_modes_come_straight_too(photos, mode):
    *pairs, _ = both_ways(photos, Resize(112), aug_transforms(size=48), blocks=(ImageBlock(mode),))
    for (a,), (b,) in pairs:
        assert a.shape[1:] == b.shape[1:] == (len(mode), 48, 48)
        assert (inner(a) - inner(b)).abs().mean() < .01


def test_cuts_stay_on_their_device():
    shapes = [(30, 40, 3), (64, 20, 3)]
    cuts = Cuts(torch.empty(sum(map(math.prod, shapes)), dtype=torch.uint8, device='meta'), shapes,
                [(0., 0., 30., 30.), (.5, -2., 20., 20.)], (60, 60))
    out, = aug_transforms(size=24, min_scale=.5)[0]((cuts,), True)
    assert out.device.type == 'meta' and out.shape == (2, 3, 24, 24) and type(out) is tv_tensors.Image


def test_tiny_pictures_and_narrow_ones_come_through(tmp_path):
    for i, (w, h) in enumerate([(1, 1), (2, 300), (300, 1), (3, 3), (5, 4), (7, 7)]):
        Image.new('RGB', (w, h), (200, 100, 50)).save(tmp_path/f'{i}.png')
    for resize in (Resize(60), Resize(60, 'squish'), RandomResizedCrop(60)):
        for batch in loaders(tmp_path, resize, aug_transforms(size=20, max_lighting=0)).train:
            colour = torch.tensor([200., 100, 50]).view(3, 1, 1) / 255
            assert (batch[0] - colour).abs().max() < .005
