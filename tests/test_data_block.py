"From files to batches: every promise of the data block lesson."
import copy
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageOps
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from parts import Parts
module = Parts('items', 'images', 'data_block', 'ways_in')
from lessonlib.core import get_rng_state, set_seed
from lessonlib.items import *; from lessonlib.images import *; from lessonlib.data_block import *; from lessonlib.ways_in import *
from lessonlib.learner import Callback, Learner
from lessonlib.checkpoint import Checkpoint
from lessonlib.batches import accuracy
import lessonlib.progress  # noqa: F401  for what they add to classes

COLOURS = {'red': (220, 30, 30), 'green': (30, 200, 30), 'blue': (30, 30, 220)}


def scene(size=(60, 40), colour=(200, 120, 40), seed=0):
    "A smooth picture that differs in all corners"
    w, h = size
    noise = np.random.default_rng(seed).integers(0, 40, (3, 3, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    ramp = np.linspace(0, 1, w)[None, :, None] * np.linspace(.3, 1, h)[:, None, None]
    return Image.fromarray((np.asarray(image) * .5 + ramp * np.array(colour) * .9).clip(0, 255).astype(np.uint8))


def write_pictures(folder, n=24, sizes=((60, 40), (40, 60), (50, 50))):
    "n pictures named colour_number.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        name = list(COLOURS)[i % 3]
        scene(sizes[i % len(sizes)], COLOURS[name], i).save(folder/f'{name}_{i:02}.jpg', quality=90)
    return folder


@pytest.fixture(scope='module')
def pictures(tmp_path_factory): return write_pictures(tmp_path_factory.mktemp('data')/'pictures')


@pytest.fixture(scope='module')
def files(pictures): return get_image_files(pictures)


def colour_of(file): return Path(file).name.split('_')[0]
def is_red(file): return colour_of(file) == 'red'
def same(item): return item


def block_of(**kwargs):
    return DataBlock(**{**dict(get_items=get_image_files, get_y=colour_of, splitter=RandomSplitter(.25, seed=1),
                               item_tfms=Resize(24)), **kwargs})


def open_files(): return len(os.listdir('/proc/self/fd'))


def settles(count, seconds=10):
    "Whether no more files than count are open, at once or soon: a thread of multiprocessing's closes a queue's pipes"
    end = time.monotonic() + seconds
    while open_files() > count and time.monotonic() < end: time.sleep(.01)
    return open_files() <= count
def rgb(image): return np.asarray(image.convert('RGB')).astype(int)


# --- opening ---------------------------------------------------------------------------------------------------------

def test_every_mode_becomes_rgb(tmp_path):
    base = scene()
    clear = base.copy()
    clear.putalpha(255)
    tiff = {'I': np.asarray(base.convert('L')).astype(np.int32) * 257, 'F': np.asarray(base.convert('L')) / np.float32(255)}
    for name, image, near in [('1.png', base.convert('1'), None), ('L.png', base.convert('L'), base.convert('L')),
                              ('LA.png', clear.convert('LA'), base.convert('L')), ('P.png', base.quantize(256), base.quantize(256)),
                              ('RGB.png', base, base), ('RGBA.png', clear, base), ('CMYK.jpg', base.convert('CMYK'), base),
                              ('YCbCr.jpg', base.convert('YCbCr'), base), ('I.tif', Image.fromarray(tiff['I']), base.convert('L')),
                              ('F.tif', Image.fromarray(tiff['F']), base.convert('L')), ('gif.gif', base.quantize(64), None),
                              ('webp.webp', base, base), ('bmp.bmp', base, base)]:
        image.save(tmp_path/name)
        got = open_image(tmp_path/name)
        assert (got.mode, got.size) == ('RGB', base.size), name
        if near is not None: assert np.abs(rgb(got) - rgb(near)).mean() < 6, name
        assert open_image(tmp_path/name, 'L').mode == 'L' and open_image(tmp_path/name, 'RGBA').mode == 'RGBA'


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    for suffix in ('png', 'tif'):
        Image.fromarray(grey).save(tmp_path/f'deep.{suffix}')
        got = np.asarray(open_image(tmp_path/f'deep.{suffix}'))
        assert np.abs(got[..., 0].astype(int) - grey / 257).max() <= 1
    assert np.abs(np.asarray(open_image(grey))[..., 0].astype(int) - grey / 257).max() <= 1
    dark = (grey // 300).astype(np.uint16)          # a dark 16-bit picture stays dark
    Image.fromarray(dark).save(tmp_path/'dark.png')
    assert np.asarray(open_image(tmp_path/'dark.png')).max() <= 1


def test_transparent_becomes_white(tmp_path):
    half = scene().convert('RGBA')
    half.paste((10, 20, 30, 0), (0, 0, 30, 40))      # the left half: see-through, dark beneath
    half.save(tmp_path/'a.png')
    half.convert('LA').save(tmp_path/'la.png')
    palette = Image.new('P', (20, 10), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.paste(0, (0, 0, 10, 10))
    palette.save(tmp_path/'p.png', transparency=0)
    palette.save(tmp_path/'p.gif', transparency=0)
    keyed = Image.new('RGB', (20, 10), (200, 10, 10))
    keyed.paste((1, 2, 3), (0, 0, 10, 10))
    keyed.save(tmp_path/'trns.png', transparency=(1, 2, 3))
    for name in ('a.png', 'la.png', 'p.png', 'p.gif', 'trns.png'):
        got = np.asarray(open_image(tmp_path/name))
        assert (got[:, :4] == 255).all(), name
        assert got[:, -4:].mean() < 250, name
    assert open_image(tmp_path/'a.png', 'RGBA').getpixel((0, 0))[3] == 0


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_note_is_followed(tmp_path, orientation):
    note = Image.Exif()
    note[0x0112] = orientation
    for name in ('turned.jpg', 'turned.png', 'turned.webp'):
        scene((64, 40)).save(tmp_path/name, exif=note)
        upright = ImageOps.exif_transpose(Image.open(tmp_path/name)).convert('RGB')
        got = open_image(tmp_path/name)
        assert got.size == ((64, 40) if orientation < 5 else (40, 64)) and (rgb(got) == rgb(upright)).all()
        assert (rgb(open_image(Image.open(tmp_path/name))) == rgb(upright)).all()
    scene((640, 400)).save(tmp_path/'big.jpg', exif=note)
    small = open_image(tmp_path/'big.jpg', smallest=(100, 60) if orientation < 5 else (160, 60))
    assert small.size == ((160, 100) if orientation < 5 else (100, 160))


@settings(deadline=None, max_examples=40)
@given(w=st.integers(9, 400), h=st.integers(9, 400), a=st.integers(1, 200), b=st.integers(1, 200))
def test_reduced_decoding_stays_large_enough(w, h, a, b):
    buffer = io.BytesIO()
    scene((w, h)).save(buffer, 'JPEG')
    small = open_image(buffer.getvalue(), smallest=(b, a))
    assert small.size == (w, h) or (small.width >= a and small.height >= b)


def test_reduced_decoding_looks_the_same(files):
    whole, small = (BlockDataset(files, [ImageBlock(), block], [same, colour_of], Resize(16))
                    for block in (Places(), CategoryBlock(list(COLOURS))))
    assert (whole.smallest, small.smallest) == (None, (16, 16))
    assert small.open_part(0, 0).width * 2 == whole.open_part(0, 0).width
    for i in range(6): assert (whole[i][0].float() - small[i][0].float()).abs().mean() < 3


class Places(Block):
    "A target that may hold places in the picture"
    def encode(self, item): return torch.zeros(1)


class Early(Transform):
    order = 1
    def __call__(self, sample, train): return sample


def test_reduced_decoding_only_where_nothing_can_notice(files):
    assert BlockDataset(files, [ImageBlock()], [same], [Early(), Resize(8)]).smallest is None
    assert BlockDataset(files, [ImageBlock()], [same], []).smallest is None
    assert BlockDataset(files, [ImageBlock(), Places()], [same, same], Resize(8), with_targets=False).smallest == (8, 8)
    late_only = type('Late', (Early,), dict(train_only=True))()
    assert BlockDataset(files, [ImageBlock()], [same], [late_only, Resize(8)], train=True).smallest is None
    assert BlockDataset(files, [ImageBlock()], [same], [late_only, Resize(8)]).smallest == (8, 8)


BAD = {'empty.jpg': b'', 'text.png': b'hello, I am not a picture', 'html.jpg': b'<html>not found</html>'}


def bad_files(folder, files):
    whole = files[0].read_bytes()
    buffer = io.BytesIO()
    scene((80, 80)).save(buffer, 'PNG')
    content = {**BAD, 'cut.jpg': whole[:len(whole) * 2 // 3], 'cut.png': buffer.getvalue()[:-800],
               'head.png': buffer.getvalue()[:20]}
    for name, what in content.items(): (folder/name).write_bytes(what)
    (folder/'folder.jpg').mkdir(exist_ok=True)
    return [folder/name for name in (*content, 'folder.jpg')]


def test_unreadable_pictures_are_named(tmp_path, files):
    for file in bad_files(tmp_path, files):
        with pytest.raises(UnreadableImage) as caught: open_image(file)
        assert str(file) in str(caught.value) and 'verify_images' in str(caught.value) and "'skip'" in str(caught.value)
    for name, words in (('empty.jpg', '0 bytes'), ('cut.jpg', 'cut short'), ('text.png', 'no picture'), ('folder.jpg', 'folder')):
        with pytest.raises(UnreadableImage, match=words): open_image(tmp_path/name)
    with pytest.raises(FileNotFoundError, match='nowhere.jpg'): open_image(tmp_path/'nowhere.jpg')
    with pytest.raises(UnreadableImage): open_image(b'nothing')
    for wrong in (None, 3, float('nan'), ['a.jpg']):
        with pytest.raises(TypeError, match='comes from a path'): open_image(wrong)


def test_every_cut_is_noticed(files):
    whole = files[0].read_bytes()
    for share in (.1, .3, .6, .9, .98):
        with pytest.raises(UnreadableImage): open_image(whole[:int(len(whole) * share)], smallest=(1, 1))
    assert open_image(whole, smallest=(1, 1)).size


def test_arrays_tensors_bytes_and_pil_agree(files):
    want = open_image(files[0])
    array = np.asarray(want)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for source in (str(files[0]), files[0].read_bytes(), io.BytesIO(files[0].read_bytes()), Image.open(files[0]), array, tensor,
                   array.astype(np.int64), (array / 255).astype(np.float32), tensor / 255, array.transpose(2, 0, 1),
                   array.astype(np.uint16) * 257, tv_tensors.Image(tensor)):
        assert (rgb(open_image(source)) == array).all(), type(source)
    assert open_image(np.zeros((4, 6), bool)).size == (6, 4)
    assert open_image(np.ones((4, 6), bool)).getpixel((0, 0)) == (255, 255, 255)
    for wrong in (array.astype(float), np.full((4, 4), np.nan), np.zeros((4, 4), int) - 1, np.zeros((4, 4), int) + 256):
        with pytest.raises(ValueError, match='values from 0'): open_image(wrong)
    for wrong in (np.zeros(5), np.zeros((2, 2, 2, 3)), np.zeros((5, 5, 7)), np.zeros((0, 5))):
        with pytest.raises(ValueError, match='shape'): open_image(wrong)
    assert PILImage.create(files[0]).mode == 'RGB' and PILImageBW.create(array).mode == 'L'


def test_no_file_is_left_open(tmp_path, files):
    frames = [scene(seed=i) for i in range(3)]
    for name in ('film.gif', 'pages.tif', 'film.webp'): frames[0].save(tmp_path/name, save_all=True, append_images=frames[1:])
    bad = bad_files(tmp_path, files)
    before = open_files()
    for _ in range(5):
        kept = [open_image(file) for file in (*files, tmp_path/'film.gif', tmp_path/'pages.tif', tmp_path/'film.webp')]
        for file in bad:
            with pytest.raises(UnreadableImage): open_image(file)
        assert open_files() == before
    assert {image.mode for image in kept} == {'RGB'}


def test_verify_images(tmp_path, files):
    bad = bad_files(tmp_path, files)
    found = verify_images([*files, *bad, tmp_path/'gone.jpg'])
    assert list(found) == [*bad, tmp_path/'gone.jpg'] and set(found.why) == set(found)
    assert '0 bytes' in found.why[tmp_path/'empty.jpg'] and 'cut short' in found.why[tmp_path/'cut.jpg']
    assert all(str(file) in repr(found) for file in bad)
    assert verify_images(files) == [] and 'all' in repr(verify_images(files))
    assert found.map(lambda f: f.name)[0] == 'empty.jpg'


# --- parts -----------------------------------------------------------------------------------------------------------

class Mine(Transform):
    def __init__(self, a, b=2, *, c='x', **more): self.a, self.b, self.c, self.more = a, b, c, more
    def __call__(self, sample, train): return sample


def test_recipes_go_through_json():
    part = Mine(1, c=Path('a/b'), inner=Resize((3, 4), 'pad'), numbers=np.arange(3), tensor=torch.ones(2), two=[Resize(5)])
    back = from_recipe(json.loads(json.dumps(part.recipe())))
    assert (back.a, back.b, back.c, back.more['numbers'], back.more['tensor']) == (1, 2, 'a/b', [0, 1, 2], [1, 1])
    assert isinstance(back.more['inner'], Resize) and back.more['inner'].size == (3, 4) and back.more['two'][0].size == (5, 5)
    assert from_recipe(RegressionBlock(2).recipe()).c == 2 and from_recipe(ImageBlock('L').recipe()).mode == 'L'
    assert from_recipe(ImageBlock(PILImageBW).recipe()).mode == 'L' and ImageBlock().recipe() == from_recipe(ImageBlock().recipe()).recipe()


def test_recipes_refuse_what_is_unknown(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Did you mean Resize"): from_recipe({'part': 'Resise', 'size': 3})
    with pytest.raises(ValueError, match='does not fit'): from_recipe({'part': 'Resize', 'siez': 3})
    with pytest.raises(ValueError, match='does not fit'): from_recipe({'part': 'Resize'})
    for wrong in ('Resize', None, {}, {'part': 3}, {'size': 3}):
        with pytest.raises(ValueError, match='A recipe is a dict'): from_recipe(wrong)
    (tmp_path/'evil.py').write_text('raise SystemExit("imported")')
    monkeypatch.syspath_prepend(tmp_path)
    for name in ('evil', 'lessonlib.evil.x', 'lessonlib;evil', '../evil'):
        with pytest.raises(ValueError, match='no such part'): from_recipe({'part': 'Unheard', 'module': name})
    with pytest.raises((TypeError, ValueError)): Mine(lambda x: x).recipe()
    with pytest.raises(TypeError, match='is_red.*given as a'): Mine(is_red).recipe()


def test_parts_can_be_copied_and_sent():
    for part in (Resize(5, 'pad'), RandomSplitter(seed=3), CategoryBlock(['a', 'b']), Mine(1, z=2), RegexLabeller('(a)')):
        for twin in (copy.copy(part), copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
            assert type(twin) is type(part) and twin.made_with == part.made_with
    assert repr(Resize(5, 'pad')) == "Resize(size=5, method='pad')"
    with pytest.raises(TypeError): Resize()


# --- blocks ----------------------------------------------------------------------------------------------------------

def test_category_block():
    block = CategoryBlock()
    block.setup(['b', 'a', 'b', 'c'])
    assert block.vocab == ['a', 'b', 'c'] and block.c == 3
    assert [block.decode(block.encode(v)) for v in 'cab'] == list('cab') and block.encode('a').dtype == torch.int64
    ordered = CategoryBlock(sort=False)
    ordered.setup(['b', 'a', 'b'])
    assert ordered.vocab == ['b', 'a']
    numbers = CategoryBlock()
    numbers.setup(np.array([3, 1, 3]))
    assert numbers.vocab == [1, 3] and type(numbers.vocab[0]) is int and json.dumps(numbers.recipe())
    assert from_recipe(numbers.recipe()).encode(3) == 1
    with pytest.raises(TypeError, match="'int', 'str'"): CategoryBlock().setup(['a', 1])
    with pytest.raises(ValueError, match='more than once'): CategoryBlock(['a', 'a'])
    with pytest.raises(ValueError, match="'d' is not in the vocab"): block.check('d')
    for missing in (None, float('nan')):
        with pytest.raises(ValueError, match='missing'): block.check(missing)
    with pytest.warns(UserWarning, match='same label'): CategoryBlock().setup(['a', 'a'])
    assert CategoryBlock(['a', 'b']).decide(torch.tensor([.7])) == 1   # one output for two classes
    assert block.agree('a', 'a') is True and block.agree('a', 'b') is False and Block().agree(1, 1) is None


def test_regression_block():
    block = RegressionBlock()
    block.setup([(1, 2), (3, 4)])
    assert block.c == 2 and block.encode((1, 2)).dtype == torch.float32 and block.decode(block.encode((1, 2))) == [1, 2]
    single = RegressionBlock()
    single.setup([3])
    assert single.encode(3).shape == (1,) and single.decode(single.encode(3)) == 3.
    for wrong in ((1, 2, 3), (float('nan'), 1), 'ab', None, (float('inf'), 0)):
        with pytest.raises(ValueError): block.check(wrong)
    assert isinstance(block.loss_func, nn.MSELoss) and from_recipe(block.recipe()).c == 2


def test_image_block(files):
    block = ImageBlock()
    tensor = block.encode(block.open(files[0]))
    assert type(tensor) is tv_tensors.Image and torch.equal(tensor, V.pil_to_tensor(open_image(files[0])))
    batch = block.collate([tensor, tensor])
    assert type(batch) is tv_tensors.Image and batch.is_contiguous() and batch.dtype == torch.uint8
    assert ImageBlock('L').encode(ImageBlock('L').open(files[0])).shape[0] == 1
    with pytest.raises(ValueError, match='different sizes.*Resize'): block.collate([tensor, block.encode(block.open(files[9]))])
    with pytest.raises(ValueError, match='RGB, L'): ImageBlock('CMYK')


def test_int_to_float():
    x = tv_tensors.Image(torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.randint(0, 256, (2, 1, 4, 5), dtype=torch.uint8))
    other, labels = torch.rand(2, 3, 4, 5), torch.tensor([1, 2], dtype=torch.uint8)
    a, b, c, d = IntToFloat()((x, mask, other, labels), True)
    assert type(a) is tv_tensors.Image and torch.equal(a.as_subclass(torch.Tensor), x.as_subclass(torch.Tensor).float() / 255)
    assert b is mask and c is other and d is labels and x.dtype == torch.uint8


# --- resize ----------------------------------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(deadline=None, max_examples=150)
@given(shape=sizes, size=sizes, method=st.sampled_from(['crop', 'pad', 'squish']),
       pad=st.sampled_from(['reflection', 'border', 'zeros']), where=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_resize_properties(shape, size, method, pad, where):
    (H, W), (h, w) = shape, size
    resize = Resize(size, method, pad)
    (left, top, right, bottom), (x, y, width, height) = resize.plan(shape, where)
    assert 0 <= left <= right <= W and 0 <= top <= bottom <= H
    assert 0 <= x and 0 <= y and x + width <= w and y + height <= h and width > 0 and height > 0
    if method == 'crop':       # touches two opposite sides, and keeps the shape of things
        assert np.isclose(right - left, W) or np.isclose(bottom - top, H)
        assert np.isclose((right - left) / (bottom - top), w / h)
    if method == 'squish': assert (right - left, bottom - top, width, height) == (W, H, w, h)
    if method == 'pad': assert width == w or height == h
    mask = tv_tensors.Mask(torch.randint(1, 5, shape, dtype=torch.uint8))
    sample = (scene((W, H)), mask, tv_tensors.KeyPoints([[0., 0.], [W, H]], canvas_size=shape), 'label')
    image, small, points, label = resize(sample, train=True)
    assert image.size == (w, h) and tuple(small.shape) == size and label == 'label' and points.canvas_size == size
    known = set(mask.unique().tolist()) | ({0} if pad == 'zeros' else set())
    assert set(small.unique().tolist()) <= known and type(small) is tv_tensors.Mask and small.dtype == torch.uint8


def test_resize_as_torchvision_does():
    image = scene((90, 60))
    mask = tv_tensors.Mask(torch.randint(0, 9, (60, 90), dtype=torch.uint8))
    points = tv_tensors.KeyPoints([[10., 50.], [88., 3.]], canvas_size=(60, 90))
    boxes = tv_tensors.BoundingBoxes([[10, 5, 30, 20]], format='XYWH', canvas_size=(60, 90))
    got = Resize((30, 40), 'squish')((image, mask, points, boxes), False)
    assert np.abs(rgb(got[0]) - rgb(V.resize(image, [30, 40]))).mean() < 2
    nearest = V.resize(mask, [30, 40], interpolation=v2.InterpolationMode.NEAREST_EXACT)
    assert torch.equal(got[1].as_subclass(torch.Tensor), nearest.as_subclass(torch.Tensor))
    assert torch.allclose(got[2].as_subclass(torch.Tensor), V.resize(points, [30, 40]).as_subclass(torch.Tensor).float())
    assert got[3].format == tv_tensors.BoundingBoxFormat.XYWH and got[3].canvas_size == (30, 40)
    assert torch.allclose(got[3].as_subclass(torch.Tensor), V.resize(boxes, [30, 40]).as_subclass(torch.Tensor).float(), atol=1)
    crop = Resize(30)((image,), False)[0]
    assert np.abs(rgb(crop) - rgb(V.resize(V.center_crop(image, [60, 60]), [30, 30]))).mean() < 2
    tensor = tv_tensors.Image(V.pil_to_tensor(image))
    assert torch.equal(Resize(30)((tensor,), False)[0], V.pil_to_tensor(crop))


def test_resize_moves_everything_alike():
    "A bright dot is where its mask and its point are, for all methods and places"
    set_seed(0)
    for _ in range(40):
        W, H, h, w = (int(n) for n in torch.randint(40, 120, (4,)))
        x, y = int(torch.randint(0, W - 12, (1,))), int(torch.randint(0, H - 12, (1,)))
        pixels, mask = np.zeros((H, W, 3), np.uint8), torch.zeros(H, W, dtype=torch.uint8)
        pixels[y:y + 12, x:x + 12], mask[y:y + 12, x:x + 12] = 255, 7
        for method in ('crop', 'pad', 'squish'):
            sample = (Image.fromarray(pixels), tv_tensors.Mask(mask), tv_tensors.KeyPoints([[x + 6., y + 6.]], canvas_size=(H, W)),
                      tv_tensors.BoundingBoxes([[x, y, x + 12, y + 12]], format='XYXY', canvas_size=(H, W)))
            image, small, point, box = Resize((h, w), method, 'zeros')(sample, train=True)
            dot = np.argwhere(np.asarray(image)[..., 0] > 127)
            inside = 8 < point[0, 0] < w - 8 and 8 < point[0, 1] < h - 8
            if not inside or not len(dot): continue
            centre = (dot + .5).mean(0)[::-1]
            assert np.abs(centre - point[0].numpy()).max() < 1.1
            assert np.abs((small.as_subclass(torch.Tensor) == 7).nonzero().float().mean(0).flip(0).numpy() + .5 - centre).max() < 1.1
            assert np.abs(box[0, :2].numpy() + box[0, 2:].numpy() - 2 * centre).max() < 2.2


def test_resize_is_random_in_training_only():
    image, state = scene((90, 30)), torch.get_rng_state()
    middle = Resize(30)((image,), False)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert (rgb(middle) == rgb(image)[:, 30:60]).all()
    set_seed(0)
    crops = {Resize(30)((image,), True)[0].tobytes() for _ in range(20)}
    assert len(crops) > 10
    for method in ('pad', 'squish'):
        assert len({Resize(30, method)((image,), True)[0].tobytes() for _ in range(4)}) == 1


def test_pad_modes():
    image = Image.fromarray(np.arange(1, 13, dtype=np.uint8).reshape(2, 6))
    rows = {mode: np.asarray(Resize(6, 'pad', mode)((image,), False)[0])[:, 0].tolist() for mode in ('reflection', 'border', 'zeros')}
    assert rows == dict(reflection=[1, 7, 1, 7, 1, 7], border=[1, 1, 1, 7, 7, 7], zeros=[0, 0, 1, 7, 0, 0])


@pytest.mark.parametrize('size', [0, -3, 2.5, '64', None, (3,), (1, 2, 3), (0, 5), (2.5, 4), True, [True, 3]])
def test_nonsense_sizes(size):
    with pytest.raises(ValueError, match='whole number of pixels'): Resize(size)


def test_resize_bad_input():
    with pytest.raises(ValueError, match='crop, pad, squish'): Resize(5, 'stretch')
    with pytest.raises(ValueError, match='pad_mode'): Resize(5, 'pad', 'mirror')
    with pytest.raises(ValueError, match='PIL 40×60, Mask 41×60'):
        Resize(5)((scene(), tv_tensors.Mask(torch.zeros(41, 60, dtype=torch.uint8))), False)
    assert Resize(5)(('no', 'picture'), True) == ('no', 'picture')
    assert Resize([4, 6]).size == (4, 6) and Resize(8, ResizeMethod.Pad, PadMode.Zeros).method == 'pad'


# --- finding and labelling -------------------------------------------------------------------------------------------

def test_get_image_files(tmp_path):
    for name in ('b.JPG', 'a.png', 'note.txt', '.hidden.jpg', 'sub/c.jpeg', 'sub/deep/d.webp', '.git/e.jpg', 'other/f.png'):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).touch()
    names = lambda **kw: [f.relative_to(tmp_path).as_posix() for f in get_image_files(tmp_path, **kw)]
    assert names() == ['a.png', 'b.JPG', 'other/f.png', 'sub/c.jpeg', 'sub/deep/d.webp'] and names(recurse=False) == ['a.png', 'b.JPG']
    assert names(folders=['sub']) == names(folders='sub') == ['sub/c.jpeg', 'sub/deep/d.webp']
    assert get_image_files(str(tmp_path)) == get_image_files(tmp_path)


def test_nothing_to_find(tmp_path):
    (tmp_path/'texts'/'deep').mkdir(parents=True)
    (tmp_path/'texts'/'a.txt').touch()
    with pytest.raises(FileNotFoundError, match='no folder .*there are: texts'): get_image_files(tmp_path/'text')
    with pytest.raises(FileNotFoundError, match='nor is there'): get_image_files(tmp_path/'x'/'y')
    with pytest.raises(FileNotFoundError, match='1 × .txt'): get_image_files(tmp_path/'texts')
    with pytest.raises(FileNotFoundError, match='recurse=True'): get_image_files(tmp_path, recurse=False)
    with pytest.raises(FileNotFoundError, match="folders \\['train'\\]"): get_image_files(tmp_path, folders='train')
    with pytest.raises(NotADirectoryError): get_image_files(tmp_path/'texts'/'a.txt')
    with pytest.raises(FileNotFoundError): block_of().dataloaders(tmp_path/'texts')
    with pytest.raises(TypeError, match='one folder'): block_of().dataloaders([tmp_path])


def test_labellers():
    label = RegexLabeller(r'(.+)_\d+\.jpg$')
    assert using_attr(label, 'name')(Path('x/great_dane_12.jpg')) == 'great_dane'
    assert RegexLabeller(r'/(\w+)/[^/]+$')(Path('a/b/c.jpg')) == 'b'
    assert RegexLabeller('(b)')('ab') == 'b'
    with pytest.raises(ValueError, match=r"'\(b\)' does not match 'ab'"): RegexLabeller('(b)', match=True)('ab')
    with pytest.raises(ValueError, match=r"\(\.\+\)_.*great\.jpg"): using_attr(label, 'name')(Path('x/great.jpg'))
    with pytest.raises(ValueError, match='no group'): RegexLabeller('abc')
    assert parent_label('a/b/c.jpg') == 'b'


def test_rows_and_columns():
    table = pd.DataFrame({'file name': ['a', 'b'], 'n': [1, 2], 'tags': ['x y', None], 'gap': ['q', float('nan')]}, index=[7, 9])
    rows = as_rows(table)
    assert rows[1]['file name'] == 'b' and rows[1].n == 2 and pickle.loads(pickle.dumps(rows[0])) == rows[0]
    assert ColReader('file name', pref=Path('d'), suff='.jpg')(rows[0]) == os.path.join('d', 'a.jpg')
    assert ColReader('file name', pref='d-')(rows[0]) == 'd-a' and ColReader(['n', 'file name'])(rows[1]) == [2, 'b']
    assert ColReader('tags', label_delim=' ')(rows[0]) == ['x', 'y'] and ColReader('tags', label_delim=' ')(rows[1]) == []
    for row in (rows[0], table.iloc[0], dict(rows[0]), next(table.rename(columns={'file name': 'f'}).itertuples(index=False))):
        assert ColReader(1)(row) == 1 and ColReader(-1)(row) == 'q'
    with pytest.raises(ValueError, match="Column 'gap' is empty.*dropna"): ColReader('gap')(rows[1])
    with pytest.raises(KeyError, match="'nn'.*'file name', 'n'.*Did you mean 'n'"): ColReader('nn')(rows[0])
    with pytest.raises(KeyError, match='no column 9'): ColReader(9)(rows[0])
    with pytest.raises(TypeError, match='rows of a table'): ColReader('n')(Path('a.jpg'))
    with pytest.raises(AttributeError, match='no column'): rows[0].size


# --- splitting -------------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 200), pct=st.floats(.01, .99), seed=st.integers(0, 2**31))
def test_random_splits(n, pct, seed):
    before = get_rng_state()['torch'].clone()
    train, valid = RandomSplitter(pct, seed)(range(n))
    assert sorted(train + valid) == list(range(n)) and len(valid) == int(pct * n)
    assert (train, valid) == RandomSplitter(pct, seed)(range(n)) and torch.equal(before, torch.get_rng_state())


@settings(deadline=None, max_examples=60)
@given(groups=st.lists(st.integers(0, 9), min_size=2, max_size=80), pct=st.floats(.05, .95), seed=st.integers(0, 99))
def test_groups_stay_together(groups, pct, seed):
    before = torch.get_rng_state()
    train, valid = GroupSplitter(same, pct, seed)(groups)
    assert sorted(train + valid) == list(range(len(groups))) and torch.equal(before, torch.get_rng_state())
    assert not {groups[i] for i in train} & {groups[i] for i in valid}
    most = max(groups.count(g) for g in groups)
    assert pct * len(groups) <= len(valid) < pct * len(groups) + most


def test_unseeded_splits_draw_their_own_seed_and_remember_it():
    state = get_rng_state()
    one, two = RandomSplitter(), RandomSplitter()
    assert one(range(99)) == one(range(99)) == RandomSplitter(seed=one.seed)(range(99)) != two(range(99))
    assert GroupSplitter(same).seed != GroupSplitter(same).seed
    after = get_rng_state()
    assert state['python'] == after['python'] and state['numpy'] == after['numpy'] and torch.equal(state['torch'], after['torch'])
    for wrong in (0, 1, -1, 20):
        with pytest.raises(ValueError, match='between 0 and 1'): RandomSplitter(wrong)


def test_other_splitters():
    assert IndexSplitter(np.array([3, 1]))('abcd') == ([0, 2], [3, 1])
    assert FuncSplitter(str.isupper)('aBc') == ([0, 2], [1])
    paths = ['p/train/a/1.jpg', 'p/valid/a/2.jpg', 'p/extra/a/3.jpg', 'p/test/b/4.jpg']
    assert GrandparentSplitter()(paths) == ([0], [1]) and GrandparentSplitter(['train', 'extra'], 'test')(paths) == ([0, 2], [3])
    with pytest.raises(ValueError, match="validation|{'train': 1"): GrandparentSplitter(valid_name='dev')(paths)
    table = pd.DataFrame({'is_valid': [True, False, True], 'side': ['train', 'dev', 'test'], 'word': ['True', 'false', '1']}, index=[5, 6, 7])
    assert ColSplitter()(table) == ([1], [0, 2]) == ColSplitter()(as_rows(table)) and ColSplitter('side', on='dev')(table) == ([0, 2], [1])
    assert ColSplitter('side', on=['dev', 'test'])(table) == ([0], [1, 2]) and ColSplitter('word')(table) == ([1], [0, 2])
    with pytest.raises(ValueError, match='neither True nor False'): ColSplitter('side')(table)
    with pytest.raises(KeyError, match="'is_valid', 'side'"): ColSplitter('valid')(table)


def test_check_split():
    assert check_split(([np.int64(1)], torch.tensor([0])), 2) == ([1], [0]) and check_split(([0], [1], [2]), 3) == ([0], [1], [2])
    assert check_split(([0], []), 1, may_be_empty=True) == ([0], [])
    for sides, words in ((([0], []), 'validation side empty'), (([], [0]), 'training side empty'), (([0], [2]), 'position 2'),
                         (([-1], [0]), 'position -1'), (([0, 1], [1]), 'Item 1'), (([0, 0], [1]), 'Item 0'), (([0],), 'lists'),
                         (None, 'lists'), (([None], [0]), 'lists'), ([0, 1], 'lists')):
        with pytest.raises(ValueError, match=words): check_split(sides, 2)


def test_splitter_that_fails_in_a_block(pictures, files):
    with pytest.raises(ValueError, match='validation side empty.*1 item'): block_of().dataloaders(write_pictures(pictures.parent/'one', 1))
    for wrong, words in ((IndexSplitter([99]), '99'), (lambda items: ([0, 1], [1]), 'Item 1'), (FuncSplitter(lambda f: True), 'training side empty')):
        with pytest.raises(ValueError, match=words): block_of(splitter=wrong).dataloaders(pictures)


# --- transforms of several kinds -------------------------------------------------------------------------------------

def add_one(x): return x + 1
def swap(x, y): return y, x
def star(*sample): return sample[::-1]


def test_how_transforms_are_called():
    call = lambda tfm, sample, n_inp=1: module._as_transforms(tfm, n_inp)[0](sample, True)
    assert call(add_one, (1, 10)) == (2, 10) and call(add_one, (1, 10, 100), n_inp=2) == (2, 11, 100)
    assert call(swap, (1, 2)) == (2, 1) and call(star, (1, 2, 3)) == (3, 2, 1)
    image = scene()
    flipped = call(v2.RandomHorizontalFlip(1), (image, 'label'))
    assert (rgb(flipped[0]) == rgb(image)[:, ::-1]).all() and flipped[1] == 'label'
    mask = tv_tensors.Mask(torch.arange(60 * 40).reshape(40, 60))
    both = call(v2.Compose([v2.RandomHorizontalFlip(1)]), (image, mask))
    assert torch.equal(both[1].as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor).flip(1))
    from torchvision import transforms as v1
    assert call(v1.RandomVerticalFlip(1), (image, 'x'))[1] == 'x'
    assert call(v1.Resize((5, 6)), (image, 'x'))[0].size == (6, 5)
    assert len(call(v2.RandomHorizontalFlip(1), (image,))) == 1
    for wrong in (Resize, 'flip', 3):
        with pytest.raises(TypeError): module._as_transforms(wrong)


def test_random_v2_transforms_warn_unless_for_training(files):
    with pytest.warns(UserWarning, match='TrainOnly'): block_of(item_tfms=[Resize(8), v2.RandomHorizontalFlip()])
    with pytest.warns(UserWarning, match='ColorJitter'): block_of(batch_tfms=v2.Compose([v2.ColorJitter()]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        block = block_of(item_tfms=[Resize(16), TrainOnly(v2.RandomHorizontalFlip(1))], batch_tfms=v2.Normalize([.5] * 3, [.5] * 3))
    dls = block.dataloaders(files[0].parent, bs=4, device='cpu')
    plain = block_of(item_tfms=Resize(16)).dataloaders(files[0].parent, bs=4, device='cpu')
    x, x0 = next(iter(dls.valid))[0], next(iter(plain.valid))[0]
    assert torch.allclose(x, x0 * 2 - 1, atol=1e-6)                       # normalised, not flipped
    i = dls.train_ds.items.index(plain.train_ds.items[2])
    set_seed(0); a = dls.train_ds[i][0]
    set_seed(0); b = plain.train_ds[2][0]
    assert torch.equal(a.flip(-1).as_subclass(torch.Tensor), b.as_subclass(torch.Tensor))
    with pytest.raises(TypeError, match='RandomHorizontalFlip cannot'): dls.recipe()


class Times(Transform):
    def __init__(self, order, log): self.order, self.log = order, log
    def __call__(self, sample, train):
        self.log.append((self.order, train))
        return sample


def test_order_and_stages(pictures):
    log = []
    class Needs(CategoryBlock): item_tfms, batch_tfms = (Times(-1, log),), (Times(50, log),)
    late = type('LateTimes', (Times,), dict(train_only=True))(20, log)
    dls = block_of(blocks=(ImageBlock, Needs), item_tfms=[Times(30, log), Resize(8), late], batch_tfms=[Times(99, log), Times(-5, log), type(late)(40, log)]) \
        .dataloaders(pictures, bs=2, device='cpu')
    log.clear(); next(iter(dls.train))
    assert [o for o, _ in log] == [-1, 20, 30] * 2 + [-5, 40, 50, 99] and {train for _, train in log} == {True}
    log.clear(); next(iter(dls.valid))
    assert [o for o, _ in log] == [-1, 30] * 2 + [-5, 50, 99] and {train for _, train in log} == {False}


# --- the data block --------------------------------------------------------------------------------------------------

def test_a_block_end_to_end(pictures, files):
    dls = block_of().dataloaders(pictures, bs=5, device='cpu', path='somewhere')
    assert dls.vocab == sorted(COLOURS) and dls.c == 3 and isinstance(dls.loss_func, nn.CrossEntropyLoss) and dls.path == Path('somewhere')
    assert sorted(dls.train_ds.items + dls.valid_ds.items) == files and len(dls.valid_ds) == 6
    x, y = next(iter(dls.valid))
    assert type(x) is type(y) is torch.Tensor and x.shape == (5, 3, 24, 24) and x.dtype == torch.float32 and 0 <= x.min() <= x.max() <= 1
    assert [dls.vocab[i] for i in y] == [colour_of(f) for f in dls.valid_ds.items[:5]]
    assert len(dls.train) == 3 and len(dls.valid) == 2                          # 18 = 3·5 + 3 left out; 6 = 5 + 1
    orders = [torch.cat([y for _, y in dls.train]).tolist() for _ in range(4)]
    assert len({tuple(o) for o in orders}) > 1
    state = torch.get_rng_state()
    assert torch.equal(torch.cat([b[1] for b in dls.valid]), torch.cat([b[1] for b in dls.valid]))
    assert torch.equal(state, torch.get_rng_state())    # training does not depend on how often one validates


def test_one_block_serves_many_sources(tmp_path, pictures):
    block = block_of()
    first = block.dataloaders(pictures)
    other = tmp_path/'other'
    other.mkdir()
    for i in range(8): scene(seed=i).save(other/f'{"ab"[i % 2]}_{i}.jpg')
    second = block.dataloaders(other)
    assert first.vocab == sorted(COLOURS) and second.vocab == ['a', 'b'] and first.blocks[1].vocab == sorted(COLOURS)
    assert block.blocks[1].vocab is None


def test_labels_that_cannot_be(pictures, files):
    only = block_of(splitter=FuncSplitter(is_red))
    with pytest.raises(ValueError, match=r'red_00.jpg \(validation set\): the label .red. is not in the vocab \(blue, green\)'):
        only.dataloaders(pictures)
    with pytest.raises(ValueError, match="blue_.*training set.*not in the vocab"):
        block_of(blocks=(ImageBlock, CategoryBlock(['red', 'green'])), splitter=IndexSplitter([20])).dataloaders(pictures)
    dls = block_of(blocks=(ImageBlock, CategoryBlock(['red', 'green', 'blue', 'more']))).dataloaders(pictures)
    assert dls.vocab == ['red', 'green', 'blue', 'more'] and dls.c == 4
    with pytest.raises(ValueError, match='missing'): block_of(get_y=lambda f: None).dataloaders(pictures)
    with pytest.warns(UserWarning, match='same label'): block_of(get_y=lambda f: 'x').dataloaders(pictures)
    with pytest.raises(ValueError, match=r"'\(z\)' does not match '\w+_\d+.jpg'"):
        block_of(get_items=None, get_y=using_attr(RegexLabeller('(z)'), 'name')).dataloaders(files[::-1])
    with pytest.raises(ValueError, match='not a number'):
        block_of(blocks=(ImageBlock, RegressionBlock)).dataloaders(pictures)
    with pytest.raises(ValueError, match='expected 1'):
        block_of(blocks=(ImageBlock, RegressionBlock), get_y=lambda f: [1, 2] if is_red(f) else 1,
                 get_items=None, splitter=IndexSplitter([0])).dataloaders([f for f in files if not is_red(f)] + [files[-1]])


def test_blocks_and_getters_must_match(pictures):
    with pytest.raises(ValueError, match='1 getter.*for 3 blocks'): DataBlock((ImageBlock, ImageBlock, CategoryBlock), get_x=same, get_y=None, n_inp=3)
    for wrong in (dict(get_x=[same, same], get_y=colour_of), dict(get_y=[colour_of] * 2), dict(getters=[same])):
        with pytest.raises(ValueError, match='getter'): DataBlock(**wrong)
    with pytest.raises(ValueError, match='get_y is missing'): DataBlock(get_x=same)
    with pytest.raises(ValueError, match='n_inp=3'): DataBlock(n_inp=3)
    with pytest.raises(TypeError, match='takes Blocks'): DataBlock(('picture', CategoryBlock))
    with pytest.raises(ValueError, match='get_items=get_image_files'): DataBlock(get_y=same).dataloaders(str(pictures))
    with pytest.raises(ValueError, match='gives no items'): block_of(get_items=lambda p: []).dataloaders(pictures)
    with pytest.raises(ValueError, match='no items'): DataBlock(get_y=same).dataloaders([])
    with pytest.raises(ValueError, match='tuple of 2 parts'): DataBlock(item_tfms=Resize(4)).dataloaders([('a.jpg', 'x'), 'b.jpg', 'c.jpg'] * 3)
    with pytest.raises(TypeError): block_of().dataloaders(pictures, batch_size=3)
    with pytest.raises(ValueError, match='on_bad'): block_of().dataloaders(pictures, on_bad='ignore')


def test_several_inputs_and_targets(files):
    block = DataBlock((ImageBlock, ImageBlock('L'), CategoryBlock, RegressionBlock), n_inp=2, get_x=[same, same],
                      get_y=[colour_of, lambda f: int(f.stem[-2:])], item_tfms=Resize(8))
    dls = block.dataloaders(files, bs=4, device='cpu')
    a, b, c, d = dls.one_batch()
    assert a.shape == (4, 3, 8, 8) and b.shape == (4, 1, 8, 8) and c.shape == (4,) and d.shape == (4, 1)
    assert dls.loss_func is None and dls.vocab is None and dls.n_inp == 2 and len(dls.split((a, b, c, d))[1]) == 2
    inputs = dls.prepare((files[0], files[1]))
    assert [x.shape for x in inputs] == [(3, 8, 8), (1, 8, 8)]
    assert [len(batch) for batch in dls.test_dl([(files[0], files[1])])] == [2]
    alone = DataBlock(ImageBlock, item_tfms=Resize(8)).dataloaders(files, bs=4)
    assert len(alone.one_batch()) == 1 and alone.loss_func is None
    pairs = DataBlock(item_tfms=Resize(8)).dataloaders([(f, colour_of(f)) for f in files])
    assert pairs.prepare(files[0])[0].shape == (3, 8, 8) and pairs.prepare(pairs.valid_ds.items[0])[0].shape == (3, 8, 8)
    with pytest.raises(ValueError, match='loss'): Learner(alone, nn.Identity())


def test_more_than_two_sides(files):
    dls = block_of(get_items=None, splitter=lambda items: (range(0, 24, 2), range(1, 24, 4), range(3, 24, 4))).dataloaders(files)
    assert [len(dl.dataset) for dl in dls.loaders] == [12, 6, 6] and [dl.dataset.train for dl in dls.loaders] == [True, False, False]
    alone = block_of(splitter=NoSplitter()).dataloaders(files[0].parent)
    assert alone.valid is None and len(alone.train_ds) == 24 and len(alone.test_dl(files[:3])) == 1


def test_a_batch_larger_than_the_data(pictures):
    dls = block_of().dataloaders(pictures, bs=512)
    assert len(dls.train) == len(dls.valid) == 1 and len(dls.one_batch()[1]) == 18
    assert len(block_of().dataloaders(pictures, bs=18).train) == 1 and len(block_of().dataloaders(pictures, bs=17).train) == 1
    assert len(block_of().dataloaders(pictures, bs=17, drop_last=False).train) == 2
    assert len(dls.train.new(drop_last=True)) == 1
    with pytest.raises(ValueError, match='bs=0'): block_of().dataloaders(pictures, bs=0)


class WordBlock(Block):
    "Texts as a later lesson has them: numbers of characters, padded when collated"
    positional = False
    def setup(self, values): self.vocab = sorted(set(''.join(values)))
    def encode(self, item): return torch.tensor([self.vocab.index(c) for c in item])
    def collate(self, tensors): return nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    def decode(self, tensor): return ''.join(self.vocab[i] for i in tensor)


def longest_first(dataset, shuffle): return sorted(range(len(dataset)), key=lambda i: -len(dataset.items[i][0]))


def test_text_goes_through_too():
    words = [('red', 0.), ('green', 1.), ('blue', 2.), ('r', 0.), ('reed', 3.)] * 3
    block = DataBlock((WordBlock, RegressionBlock), splitter=IndexSplitter([0]))
    dls = block.dataloaders(words, bs=4, sampler=longest_first, drop_last=False)
    lengths = [x.shape[1] for x, _ in dls.train]
    assert lengths == sorted(lengths, reverse=True) and dls.blocks[0].vocab == sorted(set('redgreenblue'))
    program = ('import sys\nfrom lessonlib.items import *; from lessonlib.images import *; from lessonlib.data_block import *; from lessonlib.ways_in import *\nimport torch\n'
               'class W(Block):\n    def encode(self, item): return torch.tensor([ord(c) for c in item])\n'
               "dls = DataBlock((W, CategoryBlock), get_y=lambda s: s[0]).dataloaders(['abc', 'bcd', 'abd', 'bbb'] * 5)\n"
               'dls.one_batch()\n'
               "print([m for m in ('torchvision', 'PIL', 'matplotlib', 'pandas', 'IPython') if m in sys.modules])")
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stdout + done.stderr


# --- bad pictures in training ----------------------------------------------------------------------------------------

def test_bad_pictures_stop_training_or_are_skipped(tmp_path, files):
    folder = write_pictures(tmp_path/'mixed', 18)
    bad = [f for f in bad_files(folder, files) if f.suffix == '.jpg' and not f.is_dir()]
    for n, file in enumerate(bad): file.rename(folder/f'red_{90 + n}.jpg')
    (folder/'folder.jpg').rmdir()
    for file in folder.glob('*.png'): file.unlink()
    block = block_of()
    for workers in (0, 2):
        with pytest.raises(UnreadableImage, match=r'red_9\d.jpg.*verify_images'):
            for batch in block.dataloaders(folder, bs=6, num_workers=workers).train: pass
            for batch in block.dataloaders(folder, bs=6, num_workers=workers).valid: pass
        dls = block.dataloaders(folder, bs=4, num_workers=workers, on_bad='skip')
        skipped = {**dls.train_ds.skipped, **dls.valid_ds.skipped}
        assert sorted(Path(f).name for f in skipped) == ['red_90.jpg', 'red_91.jpg', 'red_92.jpg'] and all('cannot be read' in why for why in skipped.values())
        assert len(dls.train_ds) + len(dls.valid_ds) == 18
        assert all(len(y) == 4 for x, y in dls.train) and sum(len(y) for x, y in dls.valid) == len(dls.valid_ds)
    only_bad = block_of(splitter=FuncSplitter(lambda f: 90 <= int(f.stem[-2:])))
    with pytest.raises(UnreadableImage, match='None of 3 pictures'): only_bad.dataloaders(folder, on_bad='skip')
    table = pd.DataFrame({'f': [*(f.name for f in files), 'gone.jpg'], 'y': [*'ab' * 12, 'a']})
    named = DataBlock(get_x=ColReader('f', pref=files[0].parent), get_y=ColReader('y'), item_tfms=Resize(8)).dataloaders(table, on_bad='skip')
    assert [Path(f).name for f in {**named.train_ds.skipped, **named.valid_ds.skipped}] == ['gone.jpg']


def test_errors_name_the_item(tmp_path, files):
    def fails(image):
        if image.size == (60, 40): raise RuntimeError('some step')
        return image
    if sys.version_info < (3, 11): pytest.skip('errors have no notes before Python 3.11')
    with pytest.raises(RuntimeError, match='some step') as caught:
        for _ in block_of(item_tfms=fails).dataloaders(files[0].parent, bs=1).train: pass
    assert any('This was item' in note and '.jpg' in note for note in caught.value.__notes__)


# --- workers ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_workers_give_the_same_and_go_away(pictures, context):
    if context not in multiprocessing.get_all_start_methods(): pytest.skip(f'no {context} here')
    plain = block_of().dataloaders(pictures, bs=4, device='cpu')
    workers, rounds = dict(fork=(2, 2), spawn=(1, 0))[context]    # spawned ones take long to start
    dls = block_of().dataloaders(pictures, bs=4, device='cpu', num_workers=workers, mp_context=context)
    for (x, y), (x0, y0) in zip(dls.valid, plain.valid, strict=True): assert torch.equal(x, x0) and torch.equal(y, y0)
    assert not multiprocessing.active_children()
    before = open_files()
    for _ in range(rounds):
        for batch in dls.train: break                   # left early
        del batch
        assert not multiprocessing.active_children()
    assert settles(before)


def test_lambdas_cannot_be_sent(pictures):
    dls = block_of(get_y=lambda f: colour_of(f)).dataloaders(pictures, num_workers=1, mp_context='spawn')
    with pytest.raises(ValueError, match='lambda.*num_workers=0'): next(iter(dls.train))
    assert not multiprocessing.active_children()


def test_epochs_leave_no_files_open(pictures):
    dls = block_of().dataloaders(pictures, bs=4)
    list(dls.train)
    before = open_files()
    for _ in range(3): list(dls.train); list(dls.valid)
    assert open_files() == before


# --- with the Learner ------------------------------------------------------------------------------------------------

class Noise(Transform):
    "Random in the batch stage"
    train_only = True
    def __call__(self, sample, train): return (sample[0] + .1 * torch.randn_like(sample[0]), *sample[1:])


class StopAt(Callback):
    order = 2000
    def __init__(self, epoch, batch): self.at = (epoch, batch)
    def after_batch(self):
        if self.training and (self.epoch, self.iter) == self.at: raise KeyboardInterrupt


def make_learner(pictures, folder, seed=0, cbs=()):
    set_seed(seed)
    dls = block_of(batch_tfms=Noise()).dataloaders(pictures, bs=4, device='cpu', path=folder)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(.2), nn.LazyLinear(3))
    net(torch.zeros(2, 3, 24, 24))
    return Learner(dls, net, metrics=accuracy, cbs=[Checkpoint(every_batches=1), *cbs])


@pytest.mark.parametrize('stop', [(0, 1), (1, 0), (1, 3), (2, 2)])
def test_resume_is_exact(pictures, tmp_path, stop, capsys):
    whole = make_learner(pictures, tmp_path/'whole')
    whole.fit(3, 1e-2)
    cut = make_learner(pictures, tmp_path/'cut', cbs=[StopAt(*stop)])
    with pytest.raises(KeyboardInterrupt): cut.fit(3, 1e-2)
    again = make_learner(pictures, tmp_path/'cut', seed=99)     # another start: all must come from the file
    again.fit(3, 1e-2, resume=True)
    for (name, a), b in zip(whole.model.state_dict().items(), again.model.state_dict().values()): assert torch.equal(a, b), name
    assert whole.recorder.losses == again.recorder.losses and whole.recorder.values == again.recorder.values
    different = make_learner(pictures, tmp_path/'other', seed=99)
    different.fit(3, 1e-2)
    assert different.recorder.losses != whole.recorder.losses


@pytest.fixture(scope='module')
def learn(pictures, tmp_path_factory):
    return trained(pictures, tmp_path_factory.mktemp('learn'))


def trained(pictures, folder):
    set_seed(0)
    dls = block_of().dataloaders(pictures, bs=6, device='cpu', path=folder)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 3))
    learn = Learner(dls, model, metrics=accuracy)
    with learn.no_logging(): learn.fit(20, .1)
    return learn


def test_it_learns_colours(learn): assert learn.validate()[1] == 1


def test_predictions_come_in_order(learn, files):
    preds, targs = learn.get_preds()
    assert [learn.dls.vocab[t] for t in targs] == [colour_of(f) for f in learn.dls.valid_ds.items]
    for i in (0, 3): assert torch.allclose(learn.predict(learn.dls.valid_ds.items[i])[2], preds[i], atol=1e-5)
    train_preds, train_targs = learn.get_preds(0)
    assert [learn.dls.vocab[t] for t in train_targs] == [colour_of(f) for f in learn.dls.train_ds.items]
    picked = files[::-1][:7]
    preds, none = learn.get_preds(dl=learn.dls.test_dl(picked))
    assert none is None and [learn.dls.vocab[i] for i in preds.argmax(1)] == [colour_of(f) for f in picked]
    _, targs = learn.get_preds(dl=learn.dls.test_dl(picked, with_labels=True, bs=2))
    assert [learn.dls.vocab[t] for t in targs] == [colour_of(f) for f in picked]


def test_predict_takes_anything(learn, files):
    file = files[5]
    label, number, shares = learn.predict(file)
    assert label == colour_of(file) == learn.dls.vocab[number] and abs(shares.sum() - 1) < 1e-5
    image = PILImage.create(file)
    for source in (str(file), file.read_bytes(), image, np.asarray(image), torch.from_numpy(np.array(image)).permute(2, 0, 1),
                   image.convert('RGBA'), Image.open(file)):
        assert learn.predict(source)[0] == label, type(source)
    with pytest.raises(FileNotFoundError, match='gone.jpg'): learn.predict('gone.jpg')
    with pytest.raises(UnreadableImage): learn.predict(b'nothing')
    with pytest.raises(TypeError, match='picture comes from'): learn.predict(3)
    with pytest.raises(ValueError, match='got none'): learn.dls.test_dl([])
    with pytest.raises(ValueError, match='Labels are read from items'): learn.dls.test_dl([image], with_labels=True)
    assert len(learn.dls.test_dl(file)) == 1


def test_recipes_of_loaders(learn, files, tmp_path):
    recipe = json.loads(json.dumps(learn.dls.recipe()))
    dls = BlockDataLoaders.from_recipe(recipe, device='cpu')
    assert dls.vocab == learn.dls.vocab and dls.c == 3 and dls.recipe() == recipe and isinstance(dls.loss_func, nn.CrossEntropyLoss)
    image = PILImage.create(files[0])
    for source in (files[0], str(files[0]), image, np.asarray(image), files[0].read_bytes()):
        assert torch.equal(dls.prepare(source)[0], learn.dls.prepare(source)[0])
    for ours, theirs in zip(dls.test_dl(files[:7], bs=3), learn.dls.test_dl(files[:7], bs=3), strict=True): assert torch.equal(ours[0], theirs[0])
    served = Learner(dls, learn.model)
    assert served.predict(files[4])[0] == colour_of(files[4])
    assert len(dls.train) == len(dls.valid) == 0
    with pytest.raises(ValueError, match='empty'): served.fit(1)
    with pytest.raises(ValueError): next(iter(dls.test_dl(files[:2], with_labels=True)))
    for wrong in ({}, None, {**recipe, 'blocks': [{'part': 'Evil'}]}, {k: v for k, v in recipe.items() if k != 'n_inp'}):
        with pytest.raises(ValueError): BlockDataLoaders.from_recipe(wrong)
    for tfms in (dict(item_tfms=[Resize(8), add_one]), dict(batch_tfms=add_one)):
        with pytest.raises(TypeError, match='add_one'): block_of(**tfms).dataloaders(files[0].parent).recipe()
    for tfms in (dict(item_tfms=[Resize(8), TrainOnly(v2.RandomHorizontalFlip())]), dict(batch_tfms=TrainOnly(v2.ColorJitter()))):
        with pytest.raises(TypeError, match='RandomHorizontalFlip|ColorJitter'): block_of(**tfms).dataloaders(files[0].parent).recipe()


def test_showing_leaves_random_numbers_alone(learn):
    import matplotlib.pyplot as plt
    before, batches = get_rng_state(), []
    figures = [learn.dls.show_batch(), learn.dls.show_batch(4, split=1, nrows=1), learn.dls.show_batch(3, unique=True),
               learn.dls.train.show_batch(5, seed=4, figsize=(5, 4)), learn.show_results(5, ncols=2), learn.show_results(20, ds_idx=0)]
    learn.dls.valid_ds.show(0); learn.dls.train_ds.show(1)
    block_of().datasets(learn.dls.train_ds.items[0].parent)
    after = get_rng_state()
    assert torch.equal(before['torch'], after['torch']) and before['python'] == after['python'] and before['numpy'] == after['numpy']
    count = [sum(bool(ax.get_title()) for ax in f.axes) for f in figures]
    assert count == [9, 4, 3, 5, 5, 18]
    assert figures[3].get_size_inches().tolist() == [5, 4] and figures[4].axes[0].get_gridspec().ncols == 2
    assert len({ax.get_title() for ax in figures[2].axes}) == 1 and all(f.get_suptitle() for f in figures)
    plt.close('all')


def test_results_mark_what_is_wrong(learn, pictures):
    import matplotlib.pyplot as plt
    titles = [ax.get_title() for ax in learn.show_results(6).axes]
    assert not any('✗' in t for t in titles) and all(t.split('\n')[0] == t.split('(')[1][:-1] for t in titles)
    upside = nn.Sequential(learn.model, nn.Linear(3, 3, bias=False))
    with torch.no_grad(): upside[1].weight.copy_(-torch.eye(3))
    titles = [ax.get_title() for ax in Learner(learn.dls, upside).show_results(6).axes]
    assert all(t.startswith('✗ ') for t in titles)
    plain = Learner(learn.dls, learn.model)
    with pytest.raises(TypeError, match='DataBlock'): plain.show_results(dl=learn.dls.test_dl(learn.dls.valid_ds.items))
    plt.close('all')


def test_batches_are_shown_as_people_want_them(pictures):
    class Darker(Transform):
        order = 90
        def __call__(self, sample, train): return (sample[0] / 2 - 3, *sample[1:])
        def undo(self, sample): return tuple((x + 3) * 2 if type(x) is tv_tensors.Image else x for x in sample)
    dls = block_of(batch_tfms=Darker()).dataloaders(pictures, bs=4, device='cpu')
    plain = block_of().dataloaders(pictures, bs=4, device='cpu')
    shown, truth = dls.valid.decode_batch(next(iter(dls.valid))), plain.valid.decode_batch(next(iter(plain.valid)))
    for (x, y), (x0, y0) in zip(shown, truth): assert torch.allclose(x, x0, atol=1e-5) and y == y0


# --- summary ---------------------------------------------------------------------------------------------------------

def test_summary_walks_through(pictures, capsys):
    state = torch.get_rng_state()
    block_of(batch_tfms=Noise()).summary(pictures)
    said = capsys.readouterr().out
    for words in ('24 items', '18 + 6', 'CategoryBlock learns', 'blue, green, red', 'RGB picture', 'Resize', '3×24×24',
                  'collated', '4×3×24×24', 'IntToFloat', 'float32', 'Noise'): assert words in said, words
    assert 'FAILED' not in said and torch.equal(state, torch.get_rng_state())
    DataBlock((WordBlock, RegressionBlock)).summary([('red', 1), ('blue', 2)] * 4)
    assert 'collated' in capsys.readouterr().out


def test_summary_says_where_it_fails(pictures, tmp_path, capsys):
    def failed(block, source, error, *words):
        with pytest.raises(error): block.summary(source)
        said = capsys.readouterr().out
        assert sum('FAILED' in line for line in said.splitlines()) == 1
        for word in words: assert word in said, f'{word} not in\n{said}'
        return said
    said = failed(block_of(item_tfms=None), pictures, ValueError, 'collated', 'Resize(224)', '3×50×50', '3×40×60')
    assert said.count('.jpg') >= 4                        # the files of the batch, with their sizes
    failed(block_of(get_y=using_attr(RegexLabeller('(z)'), 'name')), pictures, ValueError, 'CategoryBlock learns', "'(z)'", '.jpg')
    failed(block_of(splitter=IndexSplitter([])), pictures, ValueError, 'IndexSplitter', 'empty')
    failed(block_of(), tmp_path/'no', FileNotFoundError, 'get_image_files', 'no folder')
    def breaks(image): raise RuntimeError('too small')
    failed(block_of(item_tfms=[Resize(24), breaks]), pictures, RuntimeError, 'breaks', 'too small', 'RGB picture 24×24')
    def breaks_batch(x): raise RuntimeError('no batch')
    failed(block_of(batch_tfms=breaks_batch), pictures, RuntimeError, 'breaks_batch', 'no batch', '4×3×24×24')
    broken = tmp_path/'broken'
    write_pictures(broken, 12)
    for file in broken.glob('*'): file.write_bytes(file.read_bytes()[:400])
    failed(block_of(), broken, UnreadableImage, 'ImageBlock opens', 'cut short')


# --- one line for the usual cases, and the chain ---------------------------------------------------------------------

def same_loaders(ways):
    for way in ways:
        assert way.vocab == ways[0].vocab and len(way.train_ds) == len(ways[0].train_ds)
        for loader, other in ((way.train, ways[0].train), (way.valid, ways[0].valid)):
            batches = []
            for one in (loader, other):
                set_seed(3)
                batches.append(list(one))
            for a, b in zip(*batches, strict=True): assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_all_the_ways_say_the_same(pictures, files, tmp_path):
    how = dict(seed=3, item_tfms=Resize(16), bs=5, device='cpu')
    table = pd.DataFrame({'name': [f.stem for f in files], 'label': [colour_of(f) for f in files]})
    table.to_csv(tmp_path/'labels.csv', index=False)
    table.to_csv(tmp_path/'semicolons.csv', index=False, sep=';')
    pattern = r'^(.+)_\d+\.jpg$'
    root = pictures.parent
    listed = dict(folder='pictures', suff='.jpg')
    same_loaders([ImageDataLoaders.from_name_re(root, files, pattern, **how),
                  ImageDataLoaders.from_path_re(root, files, r'/([^/]+)_\d+\.jpg$', **how),
                  ImageDataLoaders.from_name_func(root, files, lambda name: name.split('_')[0], **how),
                  ImageDataLoaders.from_path_func(root, files, colour_of, **how),
                  ImageDataLoaders.from_lists(root, files, [colour_of(f) for f in files], **how),
                  ImageDataLoaders.from_df(table, root, **listed, **how),
                  ImageDataLoaders.from_df(table, root, fn_col='name', label_col='label', **listed, **how),
                  ImageDataLoaders.from_csv(tmp_path, folder=pictures, suff='.jpg', **how),
                  ImageDataLoaders.from_csv(tmp_path, 'semicolons.csv', delimiter=';', folder=pictures, suff='.jpg', **how),
                  ImageList.from_folder(pictures).split_by_rand_pct(.2, 3).label_from_re(pattern).transform(size=16).databunch(bs=5, device='cpu'),
                  ImageList.from_folder(pictures).split_by_rand_pct(.2, 3).label_from_func(colour_of).transform(size=16).databunch(bs=5, device='cpu'),
                  ImageList.from_df(table, root, folder='pictures', suffix='.jpg').split_by_rand_pct(.2, 3).label_from_df().transform(size=16).databunch(bs=5, device='cpu'),
                  ImageList.from_csv(tmp_path, folder=pictures, suffix='.jpg').split_by_rand_pct(.2, 3).label_from_df('label').transform([], size=16).databunch(bs=5, device='cpu')])


def test_from_folders(tmp_path):
    for side, n in (('train', 9), ('valid', 6)):
        for i in range(n):
            name = list(COLOURS)[i % 3]
            file = tmp_path/side/name/f'{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            scene(colour=COLOURS[name], seed=i).save(file)
    (tmp_path/'models').mkdir()
    scene().save(tmp_path/'models'/'not_data.png')
    dls = ImageDataLoaders.from_folder(tmp_path, item_tfms=Resize(8), bs=3)
    chained = ImageList.from_folder(tmp_path).split_by_folder().label_from_folder().transform(size=8).databunch(bs=3)
    same_loaders([dls, chained])
    assert len(dls.train_ds) == 9 and len(dls.valid_ds) == 6 and dls.vocab == sorted(COLOURS)
    mixed = ImageDataLoaders.from_folder(tmp_path/'train', valid_pct=.34, seed=1, item_tfms=Resize(8), vocab=['red', 'green', 'blue'])
    assert mixed.vocab == ['red', 'green', 'blue'] and len(mixed.valid_ds) == 3
    with pytest.raises(FileNotFoundError): ImageDataLoaders.from_folder(tmp_path/'train')
    with pytest.raises(ValueError, match='dev'): ImageDataLoaders.from_folder(tmp_path, valid='dev')


def test_tables_say_what_is_wrong(files, tmp_path):
    table = pd.DataFrame({'name': [f.name for f in files], 'label': [colour_of(f) for f in files], 'is_valid': [i < 6 for i in range(24)]})
    make = lambda table=table, **kw: ImageDataLoaders.from_df(table, files[0].parent, item_tfms=Resize(8), **kw)
    assert make(valid_col='is_valid').valid_ds.items == as_rows(table)[:6]
    holes = table.copy()
    holes.loc[4, 'label'] = float('nan')
    with pytest.raises(ValueError, match="'label' is empty.*blue_02|'label' is empty"): make(holes)
    with pytest.raises(KeyError, match="'name', 'label', 'is_valid'"): make(label_col='breed')
    with pytest.raises(KeyError, match="'name', 'label'"): make(fn_col='file').one_batch()
    with pytest.raises(ValueError, match='MultiCategoryBlock'): make(label_delim=' ')
    with pytest.raises(FileNotFoundError, match='no file .*nope'): make(table.assign(name='nope.jpg')).one_batch()
    with pytest.raises(FileNotFoundError, match='Tables in that folder: none'): ImageDataLoaders.from_csv(tmp_path)
    with pytest.raises(ValueError, match='2 files but 3 labels'): ImageDataLoaders.from_lists('.', files[:2], 'abc')
    csv = tmp_path/'t.csv'
    table.to_csv(csv, index=False)
    dls = DataBlock(get_x=ColReader('name', pref=files[0].parent), get_y=ColReader('label'), splitter=ColSplitter(), item_tfms=Resize(8)).dataloaders(csv)
    assert len(dls.valid_ds) == 6 and dls.prepare(files[0])[0].shape == (3, 8, 8)
    assert [len(b) for b in dls.test_dl(table.head(3))] == [1] and [len(b) for b in dls.test_dl(table.head(3), with_labels=True)] == [2]


def test_steps_in_the_wrong_order(pictures, files):
    start = ImageList.from_folder(pictures)
    split = start.split_by_idx([0, 1])
    for step in (lambda: start.label_from_folder(), lambda: start.databunch(), lambda: start.transform(size=8), lambda: start.label_from_re('(a)')):
        with pytest.raises(ValueError, match='first call split_by_rand_pct'): step()
    for step in (lambda: split.databunch(), lambda: split.transform(size=8)):
        with pytest.raises(ValueError, match='first call label_from_folder'): step()
    assert start.splitter is None                          # a chain can branch: steps change a copy
    labelled = split.label_from_func(colour_of)
    assert [len(labelled.transform(size=s).databunch().valid_ds) for s in (8, 9)] == [2, 2] and labelled.item_tfms == []
    everything = start.split_none().label_from_func(colour_of).transform(size=8).databunch()
    assert everything.valid is None and len(everything.train_ds) == 24
    half = start.split_by_valid_func(is_red)
    assert half.splitter(files) == FuncSplitter(is_red)(files)
    pair = labelled.transform(([Noise()], []), size=8)
    assert [type(t) for t in pair.batch_tfms] == [Noise]


# --- torch's loader would accept it ----------------------------------------------------------------------------------

def test_batches_as_a_plain_loop_makes_them(pictures):
    "The same items, opened, cut and stacked in the plainest way"
    dls = block_of(item_tfms=Resize(20, 'squish')).dataloaders(pictures, bs=6, device='cpu')
    x, y = next(iter(dls.valid))
    plain = torch.stack([V.pil_to_tensor(Image.open(f).convert('RGB').resize((20, 20), Image.Resampling.BILINEAR))
                         for f in dls.valid_ds.items]).float() / 255
    assert (x - plain).abs().mean() < .015
    assert y.tolist() == [sorted(COLOURS).index(colour_of(f)) for f in dls.valid_ds.items]
