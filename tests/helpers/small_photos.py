"Forty small pictures in two folders, and a learner with a small body that counts as pretrained."
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from lessonlib import bodies
from lessonlib.augmentation import imagenet_stats
from lessonlib.batches import accuracy
from lessonlib.core import set_seed
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.images import Resize
from lessonlib.items import RandomSplitter, parent_label
from lessonlib.transfer import vision_learner


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Forty small pictures in two folders: reddish and bluish noise."
    folder, draw = tmp_path_factory.mktemp('photos'), torch.Generator().manual_seed(0)
    for number, name in enumerate(('blue', 'red')):
        (folder/name).mkdir()
        for i in range(20):
            pixels = torch.randint(0, 120, (48, 56, 3), generator=draw)
            pixels[..., 2 - 2 * number] += 120
            Image.fromarray(pixels.byte().numpy()).save(folder/name/f'{i}.png')
    return folder


def loaders(photos, size=32, bs=8, mode='RGB', batch_tfms=None, **kwargs):
    block = DataBlock((ImageBlock(mode), CategoryBlock), get_items=lambda path: sorted(Path(path).glob('*/*.png')),
                      get_y=parent_label, splitter=RandomSplitter(.25, seed=1), item_tfms=Resize(size),
                      batch_tfms=batch_tfms)
    return block.dataloaders(photos, bs=bs, **kwargs)


class Tiny(nn.Module):
    "A network of which bodies are made: three stages, pooling, a linear layer."
    def __init__(self, n_in=3, width=8):
        super().__init__()
        def stage(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.stem, self.middle, self.last = stage(n_in, width), stage(width, width), stage(width, 2 * width)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(2 * width, 10)
    def forward(self, x): return self.fc(self.pool(self.last(self.middle(self.stem(x)))).flatten(1))


def tiny_learner(photos, tmp_path, pretrained=True, **kwargs):
    "A learner with a small body that counts as pretrained."
    set_seed(0)
    body = Tiny()
    for m in body.modules():
        if isinstance(m, nn.BatchNorm2d): m.running_mean.add_(.1)
    return vision_learner(loaders(photos, path=tmp_path), lambda pretrained=True: body, pretrained=pretrained, cut=3,
                          metrics=accuracy, **kwargs)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "A cache of our own, no mirror, and no network: nothing that a test needs may come from elsewhere."
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    monkeypatch.delenv('LESSONLIB_MIRROR', raising=False)
    monkeypatch.setattr(bodies, 'can_reach', lambda url, seconds=3.: '127.0.0.1' in url or 'localhost' in url)
    return tmp_path/'home'


def named(folder, state, stem='resnet18'):
    "Weights in a file named as PyTorch names them: the digest's first eight digits at the end."
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder/'new.pth')
    file = folder/f'{stem}-{hashlib.sha256((folder/"new.pth").read_bytes()).hexdigest()[:8]}.pth'
    return (folder/'new.pth').rename(file)


@pytest.fixture
def resnet_file(tmp_path, monkeypatch):
    "A file of weights for resnet18 as torchvision publishes them, and its address, which can be changed."
    set_seed(5)
    net = bodies.resnet18()
    file, asked = named(tmp_path/'made', net.state_dict()), SimpleNamespace()
    asked.tag, asked.url, asked.mean, asked.std = 'tv_in1k', f'https://download.invalid/{file.name}', *imagenet_stats
    monkeypatch.setattr(bodies, '_config', lambda name: asked)
    return file, net, asked
