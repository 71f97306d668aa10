"Small pictures for the tests of images, data blocks and ways in"
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lessonlib.items import get_image_files

COLOURS = {'red': (220, 30, 30), 'green': (30, 200, 30), 'blue': (30, 30, 220)}


def scene(size=(60, 40), colour=(200, 120, 40), seed=0):
    "A smooth picture that differs in all corners"
    w, h = size
    noise = np.random.default_rng(seed).integers(0, 40, (3, 3, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    ramp = np.linspace(0, 1, w)[None, :, None] * np.linspace(.3, 1, h)[:, None, None]
    pixels = np.asarray(image) * .5 + ramp * np.array(colour) * .9
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


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
def open_files(): return len(os.listdir('/proc/self/fd'))
def rgb(image): return np.asarray(image.convert('RGB')).astype(int)


BAD = {'empty.jpg': b'', 'text.png': b'hello, I am not a picture', 'html.jpg': b'<html>not found</html>'}


def bad_files(folder, files):
    "Writes files that are no pictures, or not whole ones"
    whole = files[0].read_bytes()
    buffer = io.BytesIO()
    scene((80, 80)).save(buffer, 'PNG')
    content = {**BAD, 'cut.jpg': whole[:len(whole) * 2 // 3], 'cut.png': buffer.getvalue()[:-800],
               'head.png': buffer.getvalue()[:20]}
    for name, what in content.items(): (folder/name).write_bytes(what)
    (folder/'folder.jpg').mkdir(exist_ok=True)
    return [folder/name for name in (*content, 'folder.jpg')]
