"Opening and resizing: every promise of the notebook on pictures"
import copy
import io
import json
import os
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.pictures import bad_files, files, open_files, pictures, rgb, scene  # noqa: F401
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageOps
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from lessonlib.checkpoint import from_recipe
from lessonlib.core import set_seed
from lessonlib.images import (CropPad, FlipItem, open_image, PadMode, PILImage, PILImageBW, RandomCrop, Resize, ResizeMethod, Transform,
                              UnreadableImage, verify_images)


# --- opening ---------------------------------------------------------------------------------------------------------

def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    scene().save(tmp_path/'a.png')
    (tmp_path/'b.png').write_bytes(b'no picture')
    assert rgb(open_image('~/a.png')).tolist() == rgb(PILImage.create('~/a.png')).tolist() == rgb(scene()).tolist()
    assert verify_images(['~/a.png', '~/b.png']) == ['~/b.png']


def test_every_mode_becomes_rgb(tmp_path):
    base = scene()
    clear = base.copy()
    clear.putalpha(255)
    tiff = {'I': np.asarray(base.convert('L')).astype(np.int32) * 257,
            'F': np.asarray(base.convert('L')) / np.float32(255)}
    for name, image, near in [('1.png', base.convert('1'), None),
                              ('L.png', base.convert('L'), base.convert('L')),
                              ('LA.png', clear.convert('LA'), base.convert('L')),
                              ('P.png', base.quantize(256), base.quantize(256)),
                              ('RGB.png', base, base), ('RGBA.png', clear, base),
                              ('CMYK.jpg', base.convert('CMYK'), base),
                              ('YCbCr.jpg', base.convert('YCbCr'), base),
                              ('I.tif', Image.fromarray(tiff['I']), base.convert('L')),
                              ('F.tif', Image.fromarray(tiff['F']), base.convert('L')),
                              ('gif.gif', base.quantize(64), None),
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


def test_unreadable_pictures_are_named(tmp_path, files):
    for file in bad_files(tmp_path, files):
        with pytest.raises(UnreadableImage) as caught: open_image(file)
        assert str(file) in str(caught.value) and 'verify_images' in str(caught.value)
        assert "'skip'" in str(caught.value)
    for name, words in (('empty.jpg', '0 bytes'), ('cut.jpg', 'cut short'), ('text.png', 'no picture'),
                        ('folder.jpg', 'folder')):
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
    for source in (str(files[0]), files[0].read_bytes(), io.BytesIO(files[0].read_bytes()),
                   Image.open(files[0]), array, tensor,
                   array.astype(np.int64), (array / 255).astype(np.float32), tensor / 255, array.transpose(2, 0, 1),
                   array.astype(np.uint16) * 257, tv_tensors.Image(tensor)):
        assert (rgb(open_image(source)) == array).all(), type(source)
    assert open_image(np.zeros((4, 6), bool)).size == (6, 4)
    assert open_image(np.ones((4, 6), bool)).getpixel((0, 0)) == (255, 255, 255)
    for wrong in (array.astype(float), np.full((4, 4), np.nan), np.zeros((4, 4), int) - 1,
                  np.zeros((4, 4), int) + 256):
        with pytest.raises(ValueError, match='values from 0'): open_image(wrong)
    for wrong in (np.zeros(5), np.zeros((2, 2, 2, 3)), np.zeros((5, 5, 7)), np.zeros((0, 5))):
        with pytest.raises(ValueError, match='shape'): open_image(wrong)
    assert PILImage.create(files[0]).mode == 'RGB' and PILImageBW.create(array).mode == 'L'


def test_no_file_is_left_open(tmp_path, files):
    frames = [scene(seed=i) for i in range(3)]
    for name in ('film.gif', 'pages.tif', 'film.webp'):
        frames[0].save(tmp_path/name, save_all=True, append_images=frames[1:])
    bad = bad_files(tmp_path, files)
    before = open_files()
    for _ in range(5):
        kept = [open_image(file) for file in (*files, tmp_path/'film.gif', tmp_path/'pages.tif',
                                              tmp_path/'film.webp')]
        for file in bad:
            with pytest.raises(UnreadableImage): open_image(file)
        assert open_files() <= before
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

@dataclass
class Both(Transform):
    "A transform that holds others"
    first: Transform
    others: list = ()
    def __call__(self, sample, train): return sample


def test_parts_come_back_from_their_recipes():
    for part in (Resize((3, 4), 'pad'), Both(Resize(5), [Resize(6, 'squish'), Resize(7)])):
        back = from_recipe(json.loads(json.dumps(part.recipe())))
        assert back == part and type(back) is type(part)
    with pytest.raises(ValueError): from_recipe({**Resize(5).recipe(), 'siez': 3})


def test_parts_can_be_copied_and_sent():
    part = Resize(5, 'pad')
    for twin in (copy.copy(part), copy.deepcopy(part), pickle.loads(pickle.dumps(part))): assert twin == part
    assert repr(part) == "Resize(size=(5, 5), method='pad', pad_mode='reflection')"
    with pytest.raises(TypeError): Resize()


# --- resize ----------------------------------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


@settings(deadline=None, max_examples=150)
@given(shape=sizes, size=sizes, method=st.sampled_from(['crop', 'pad', 'squish']),
       pad=st.sampled_from(['reflection', 'border', 'zeros']),
       where=st.tuples(st.floats(0, 1), st.floats(0, 1)))
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
    assert image.size == (w, h) and tuple(small.shape) == size and label == 'label'
    assert points.canvas_size == size
    known = set(mask.unique().tolist()) | ({0} if pad == 'zeros' else set())
    assert set(small.unique().tolist()) <= known and type(small) is tv_tensors.Mask
    assert small.dtype == torch.uint8


def test_resize_as_torchvision_does():
    image = scene((90, 60))
    mask = tv_tensors.Mask(torch.randint(0, 9, (60, 90), dtype=torch.uint8))
    points = tv_tensors.KeyPoints([[10., 50.], [88., 3.]], canvas_size=(60, 90))
    boxes = tv_tensors.BoundingBoxes([[10, 5, 30, 20]], format='XYWH', canvas_size=(60, 90))
    got = Resize((30, 40), 'squish')((image, mask, points, boxes), False)
    assert np.abs(rgb(got[0]) - rgb(V.resize(image, [30, 40]))).mean() < 2
    nearest = torch.nn.functional.interpolate(mask.as_subclass(torch.Tensor)[None, None], (30, 40), mode='nearest-exact')
    assert torch.equal(got[1].as_subclass(torch.Tensor), nearest[0, 0])     # torchvision before 0.24 took 'nearest'
    assert torch.allclose(got[2].as_subclass(torch.Tensor),
                          V.resize(points, [30, 40]).as_subclass(torch.Tensor).float(), atol=.5)   # it forgets the half
    assert got[3].format == tv_tensors.BoundingBoxFormat.XYWH and got[3].canvas_size == (30, 40)
    assert torch.allclose(got[3].as_subclass(torch.Tensor),
                          V.resize(boxes, [30, 40]).as_subclass(torch.Tensor).float(), atol=1)
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
            sample = (Image.fromarray(pixels), tv_tensors.Mask(mask),
                      tv_tensors.KeyPoints([[x + 5.5, y + 5.5]], canvas_size=(H, W)),
                      tv_tensors.BoundingBoxes([[x, y, x + 12, y + 12]], format='XYXY', canvas_size=(H, W)))
            image, small, point, box = Resize((h, w), method, 'zeros')(sample, train=True)
            dot = np.argwhere(np.asarray(image)[..., 0] > 127)
            inside = 8 < point[0, 0] < w - 8 and 8 < point[0, 1] < h - 8
            if not inside or not len(dot): continue
            centre = (dot + .5).mean(0)[::-1]
            assert np.abs(centre - point[0].numpy() - .5).max() < 1.1
            seen = (small.as_subclass(torch.Tensor) == 7).nonzero().float().mean(0).flip(0).numpy() + .5
            assert np.abs(seen - centre).max() < 1.1
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
    rows = {mode: np.asarray(Resize(6, 'pad', mode)((image,), False)[0])[:, 0].tolist()
            for mode in ('reflection', 'border', 'zeros')}
    assert rows == dict(reflection=[1, 7, 1, 7, 1, 7], border=[1, 1, 1, 7, 7, 7], zeros=[0, 0, 1, 7, 0, 0])


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 7), size=st.integers(8, 60))
def test_reflection_counts_backwards_however_far(n, size):
    "A strip of n rows on a tall canvas: row i shows |i| mod (2n - 2), counted from the other end beyond n - 1"
    image = Image.fromarray(np.arange(n, dtype=np.uint8)[:, None].repeat(size, 1))
    rows = np.asarray(Resize((size, size), 'pad')((image,), False)[0])[:, 0]
    where = np.abs(np.arange(size) - (size - n) // 2) % max(2 * n - 2, 1)
    assert (rows == np.minimum(where, max(2 * n - 2, 1) - where if n > 1 else 0)).all()


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize('shape', [(40, 60), (1, 40, 60), (2, 40, 60)])
def test_masks_of_any_type_and_shape(dtype, shape):
    values = torch.tensor([0, .5, 1] if dtype == torch.float32 else [0, 1] if dtype == torch.bool else [0, 7, 200])
    mask = tv_tensors.Mask(values[torch.randint(0, len(values), shape)].to(dtype))
    new = Resize((20, 24), 'pad', 'zeros')((scene(), mask), False)[1]
    assert new.dtype == dtype and new.shape == (*shape[:-2], 20, 24) and type(new) is tv_tensors.Mask
    assert set(new.unique().tolist()) <= {*mask.unique().tolist(), 0}


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


@pytest.mark.parametrize('kind', ['float32', 'int32', 'uint16'])
def test_one_scale_for_all_pictures_of_a_scanner(tmp_path, kind):
    for name, most in (('dim', 300), ('bright', 3000)):
        pixels = np.full((8, 8), 200, kind)
        pixels[:, 4:] = most
        Image.fromarray(pixels).save(tmp_path/f'{name}.tif')
    for white in (None, 4095):
        dim, bright = (np.asarray(open_image(tmp_path/f'{name}.tif', 'L', white=white)) for name in ('dim', 'bright'))
        assert (dim[:, :4] == bright[:, :4]).all() and dim[0, 7] <= bright[0, 7] and bright[0, 0] < bright[0, 7]
        if white: assert abs(int(bright[0, 7]) - 3000 * 255 / 4095) <= 1
    if kind != 'uint16':
        Image.fromarray((np.full((8, 8), 70_000)).astype(kind)).save(tmp_path/'most.tif')
        with pytest.raises(UnreadableImage, match='white=4095'): open_image(tmp_path/'most.tif')
    assert open_image(np.full((4, 4), 4000, np.int32), 'L', white=4095).getpixel((0, 0)) == 249
    with pytest.raises(ValueError) as caught: open_image(np.full((4, 4), 4000, np.int32))
    assert '.max()' not in str(caught.value) and '4095' in str(caught.value)


def test_rounding_beyond_the_range_is_no_error():
    white = np.ones((4, 4, 3), np.float32)
    for picture, want in ((white * np.float32(1.0000001), 255), (np.zeros((4, 4, 3)) - 5.6e-17, 0)):
        assert (np.asarray(open_image(picture)) == want).all()
    with pytest.raises(ValueError, match='from 0 to 1'): open_image(white * 1.01)


def test_bytes_of_every_kind(files):
    content = files[0].read_bytes()
    for kind in (bytes, bytearray, memoryview): assert (rgb(open_image(kind(content))) == rgb(open_image(files[0]))).all()
    with pytest.raises(UnreadableImage) as caught: open_image(bytearray(b'nothing' * 10_000))
    assert len(str(caught.value)) < 400
    with pytest.raises(TypeError) as caught: open_image([1.5] * 10_000)
    assert len(str(caught.value)) < 300


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no named pipes here')
def test_a_pipe_is_no_picture_and_nobody_waits(tmp_path):
    Image.new('RGB', (9, 9)).save(tmp_path/'good.jpg')
    os.mkfifo(tmp_path/'pipe.jpg')
    bad = verify_images([tmp_path/'pipe.jpg', tmp_path/'good.jpg'])
    assert bad == [tmp_path/'pipe.jpg'] and 'no file, but a pipe' in repr(bad)
    from lessonlib.segmentation import read_mask
    with pytest.raises(UnreadableImage, match='pipe'): read_mask(tmp_path/'pipe.jpg')


def test_pictures_know_their_shape_and_show_themselves():
    import pickle
    import matplotlib.pyplot as plt
    grey, colour = PILImageBW.create(np.zeros((20, 30), np.uint8)), PILImage.create(np.zeros((20, 30, 3), np.uint8))
    assert colour.shape == (20, 30) and isinstance(colour, Image.Image)
    assert isinstance(colour, PILImage) and isinstance(grey, PILImage) and isinstance(grey, PILImageBW)
    assert not isinstance(colour, PILImageBW) and not isinstance('RGB', PILImage)
    assert isinstance(Image.new('RGB', (2, 2)), PILImage), 'any PIL image of that mode'
    assert colour.to_thumb(10).size == (10, 7) and colour.to_thumb(4, 30).shape == (4, 6) and colour.size == (30, 20)
    ax = colour.show(figsize=(2, 2), alpha=.5, title='black')
    assert ax.get_title() == 'black' and ax.images[0].get_alpha() == .5 and ax.figure.get_size_inches().tolist() == [2, 2]
    other = plt.subplots()[1]
    assert colour.show(ctx=other) is other and len(other.images) == 1
    again = pickle.loads(pickle.dumps(colour))
    assert again.shape == (20, 30) and again.tobytes() == colour.tobytes()
    plt.close('all')


def parts_of_one_item():
    "A picture whose red is the column and green the row, its mask, and a point"
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(30), np.arange(20)[:, None]
    mask = tv_tensors.Mask(torch.arange(30).repeat(20, 1))
    return Image.fromarray(pixels), mask, tv_tensors.KeyPoints([[12., 9.]], canvas_size=(20, 30)), 'label'


@pytest.mark.parametrize('tfm', [CropPad(10), CropPad((10, 40)), CropPad((32, 8)), RandomCrop((12, 14)), FlipItem(1.)])
def test_parts_move_together(tfm):
    set_seed(3)
    picture, mask, points, label = tfm(parts_of_one_item(), train=True)
    pixels, (x, y) = np.asarray(picture), (int(v) for v in points[0])
    assert label == 'label' and picture.size[::-1] == tuple(mask.shape) == tuple(points.canvas_size)
    assert picture.size[::-1] == (20, 30) if isinstance(tfm, FlipItem) else picture.size[::-1] == tfm.size
    assert (mask.numpy() == pixels[..., 0]).all()
    inside = 0 <= x < pixels.shape[1] and 0 <= y < pixels.shape[0]
    assert not inside or (pixels[y, x, 0], pixels[y, x, 1]) == (12, 9)
    assert inside or isinstance(tfm, (RandomCrop, CropPad))


def test_crops_and_mirrors_are_for_training():
    item = parts_of_one_item()[:2]
    for tfm in (FlipItem(1.), RandomCrop(8)):
        assert np.array_equal(tfm(item, train=False)[0], tfm(item, train=False)[0])
    assert np.array_equal(RandomCrop(8)(item, train=False)[0], CropPad(8)(item, train=True)[0])
    assert {np.asarray(RandomCrop(8)(item, train=True)[0])[0, 0, 0] for _ in range(30)} > {3}
    assert FlipItem(0.)(item, train=True) is item and FlipItem(1.)(item, train=False) is item
    assert 20 < sum(FlipItem()(item, train=True) is item for _ in range(80)) < 60
    assert CropPad(8)(('text',), train=True) == ('text',)
