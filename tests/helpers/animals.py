"Small pictures of two kinds, and a learner on them, for the tests of interpretation and of the cleaner"
import numpy as np
import pytest
from PIL import Image
from torch import nn

from lessonlib.core import set_seed
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.images import Resize
from lessonlib.items import RandomSplitter, parent_label
from lessonlib.learner import Learner


@pytest.fixture
def animals(tmp_path):
    "A folder of pictures in class folders: reddish cats, bluish dogs"
    return make_animals(tmp_path/'animals')


def make_animals(folder, n=12):
    for i in range(n):
        kind = ('cat', 'dog')[i % 2]
        (folder/kind).mkdir(parents=True, exist_ok=True)
        noise = np.random.RandomState(i).randint(0, 90, (24, 30, 3)) + [150 * (kind == 'cat'), 20, 20]
        Image.fromarray(noise.clip(0, 255).astype('uint8')).save(folder/kind/f'{i}.png')
    return folder


def animal_learner(folder, **kwargs):
    block = DataBlock((ImageBlock, CategoryBlock), get_y=parent_label, splitter=RandomSplitter(.5, seed=1), item_tfms=Resize(16))
    dls = block.dataloaders(sorted(folder.rglob('*.png')), bs=4, device='cpu')
    set_seed(0)
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), **kwargs)
