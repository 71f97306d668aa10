"From files to batches: every promise of the data block notebook"
import enum
import json
import multiprocessing
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.pictures import (bad_files, colour_of, COLOURS, files, is_red, open_files, pictures,  # noqa: F401
                              rgb, same, scene, write_pictures)
from PIL import Image
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from lessonlib.batches import accuracy
from lessonlib.checkpoint import Checkpoint, from_recipe, load_learner, makes_model, NotExportable, Part
from lessonlib.core import get_rng_state, set_seed
from lessonlib.data_block import (_as_transforms, Block, BlockDataset, CategoryBlock, DataBlock,
                                  ImageBlock, IntToFloat, RegressionBlock, TrainOnly, TransformBlock)
from lessonlib.images import open_image, PILImage, PILImageBW, Resize, Transform, UnreadableImage
from lessonlib.items import (ColReader, FuncSplitter, get_image_files, IndexSplitter, NoSplitter,
                             RandomSplitter,
                             RegexLabeller, using_attr)
from lessonlib.learner import Callback, Learner


def block_of(**kwargs):
    return DataBlock(**{**dict(get_items=get_image_files, get_y=colour_of,
                               splitter=RandomSplitter(.25, seed=1),
                               item_tfms=Resize(24)), **kwargs})


def settles(count, seconds=10):
    "Whether no more files than count are open, at once or soon: a thread of multiprocessing's closes a queue's pipes"
    end = time.monotonic() + seconds
    while open_files() > count and time.monotonic() < end: time.sleep(.01)
    return open_files() <= count


# --- blocks ----------------------------------------------------------------------------------------------------------

def test_category_block():
    block = CategoryBlock()
    block.setup(['b', 'a', 'b', 'c'])
    assert block.vocab == ['a', 'b', 'c'] and block.c == 3
    assert [block.decode(block.encode(v)) for v in 'cab'] == list('cab')
    assert block.encode('a').dtype == torch.int64
    ordered = CategoryBlock(sort=False)
    ordered.setup(['b', 'a', 'b'])
    assert ordered.vocab == ['b', 'a']
    numbers = CategoryBlock()
    numbers.setup(np.array([3, 1, 3]))
    assert numbers.vocab == [1, 3] and type(numbers.vocab[0]) is int and json.dumps(numbers.recipe())
    assert from_recipe(numbers.recipe()).encode(3) == 1
    assert CategoryBlock(np.array([3, 1])).vocab == [3, 1] and from_recipe(block.recipe()) == block
    with pytest.raises(TypeError, match='not supported between'): CategoryBlock().setup(['a', 1])
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
    assert block.c == 2 and block.encode((1, 2)).dtype == torch.float32
    assert block.decode(block.encode((1, 2))) == [1, 2]
    single = RegressionBlock()
    single.setup([3])
    assert single.encode(3).shape == (1,) and single.decode(single.encode(3)) == 3.
    for wrong in ((1, 2, 3), (float('nan'), 1), 'ab', None, (float('inf'), 0)):
        with pytest.raises(ValueError): block.check(wrong)
    assert isinstance(block.loss_func, nn.MSELoss) and from_recipe(block.recipe()).c == 2
    assert from_recipe(RegressionBlock(2).recipe()).c == 2


def test_image_block(files):
    block = ImageBlock()
    tensor = block.encode(block.open(files[0]))
    assert type(tensor) is tv_tensors.Image and torch.equal(tensor, V.pil_to_tensor(open_image(files[0])))
    batch = block.collate([tensor, tensor])
    assert type(batch) is tv_tensors.Image and batch.is_contiguous() and batch.dtype == torch.uint8
    assert ImageBlock('L').encode(ImageBlock('L').open(files[0])).shape[0] == 1
    with pytest.raises(ValueError, match='different sizes.*Resize'):
        block.collate([tensor, block.encode(block.open(files[9]))])
    with pytest.raises(ValueError, match='RGB, L'): ImageBlock('CMYK')
    assert ImageBlock(PILImageBW).mode == from_recipe(ImageBlock('L').recipe()).mode == 'L'
    assert from_recipe(ImageBlock().recipe()) == ImageBlock()


def test_int_to_float():
    x = tv_tensors.Image(torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8))
    mask = tv_tensors.Mask(torch.randint(0, 256, (2, 1, 4, 5), dtype=torch.uint8))
    other, labels = torch.rand(2, 3, 4, 5), torch.tensor([1, 2], dtype=torch.uint8)
    a, b, c, d = IntToFloat()((x, mask, other, labels), True)
    assert type(a) is tv_tensors.Image
    assert torch.equal(a.as_subclass(torch.Tensor), x.as_subclass(torch.Tensor).float() / 255)
    assert b is mask and c is other and d is labels and x.dtype == torch.uint8


# --- decoding smaller --------------------------------------------------

def test_reduced_decoding_looks_the_same(files):
    whole, small = (BlockDataset(files, [ImageBlock(), block], [same, colour_of], Resize(16))
                    for block in (Places(), CategoryBlock(list(COLOURS))))
    assert (whole.smallest, small.smallest) == (None, (16, 16))
    assert small._open(0, 0).width * 2 == whole._open(0, 0).width
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
    assert BlockDataset(files, [ImageBlock(), Places()], [same, same], Resize(8),
                        with_targets=False).smallest == (8, 8)
    late_only = type('Late', (Early,), dict(train_only=True))()
    assert BlockDataset(files, [ImageBlock()], [same], [late_only, Resize(8)], train=True).smallest is None
    assert BlockDataset(files, [ImageBlock()], [same], [late_only, Resize(8)]).smallest == (8, 8)


# --- splitting -------------------------------------------------------------------------------------------------------

def test_nothing_to_find_in_a_block(tmp_path):
    (tmp_path/'texts').mkdir()
    with pytest.raises(FileNotFoundError): block_of().dataloaders(tmp_path/'texts')
    with pytest.raises(TypeError, match='one folder'): block_of().dataloaders([tmp_path])


def test_splitter_that_fails_in_a_block(pictures, files):
    with pytest.raises(ValueError, match='validation side empty.*1 item'):
        block_of().dataloaders(write_pictures(pictures.parent/'one', 1))
    for wrong, words in ((IndexSplitter([99]), '99'), (lambda items: ([0, 1], [1]), 'Item 1'),
                         (FuncSplitter(lambda f: True), 'training side empty')):
        with pytest.raises(ValueError, match=words): block_of(splitter=wrong).dataloaders(pictures)


# --- transforms of several kinds -------------------------------------------------------------------------------------

def add_one(x): return x + 1
def swap(x, y): return y, x
def star(*sample): return sample[::-1]


def test_how_transforms_are_called():
    call = lambda tfm, sample, n_inp=1: _as_transforms(tfm, n_inp)[0](sample, True)
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
        with pytest.raises(TypeError): _as_transforms(wrong)


def test_random_v2_transforms_warn_unless_for_training(files):
    with pytest.warns(UserWarning, match='TrainOnly'):
        block_of(item_tfms=[Resize(8), v2.RandomHorizontalFlip()])
    with pytest.warns(UserWarning, match='ColorJitter'): block_of(batch_tfms=v2.Compose([v2.ColorJitter()]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        block = block_of(item_tfms=[Resize(16), TrainOnly(v2.RandomHorizontalFlip(1))],
                         batch_tfms=v2.Normalize([.5] * 3, [.5] * 3))
    dls = block.dataloaders(files[0].parent, bs=4, device='cpu')
    plain = block_of(item_tfms=Resize(16)).dataloaders(files[0].parent, bs=4, device='cpu')
    x, x0 = next(iter(dls.valid))[0], next(iter(plain.valid))[0]
    assert torch.allclose(x, x0 * 2 - 1, atol=1e-6)                       # normalised, not flipped
    i = dls.train_ds.items.index(plain.train_ds.items[2])
    set_seed(0); a = dls.train_ds[i][0]
    set_seed(0); b = plain.train_ds[2][0]
    assert torch.equal(a.flip(-1).as_subclass(torch.Tensor), b.as_subclass(torch.Tensor))
    with pytest.raises(TypeError, match='RandomHorizontalFlip'): dls.recipe()


@dataclass
class Times(Transform):
    "Notes when it is called"
    order: int = 10
    log: list = None
    def __call__(self, sample, train):
        self.log.append((self.order, train))
        return sample


def test_order_and_stages(pictures):
    log = []
    class Needs(CategoryBlock): item_tfms, batch_tfms = (Times(-1, log),), (Times(50, log),)
    late = type('LateTimes', (Times,), dict(train_only=True))(20, log)
    dls = block_of(blocks=(ImageBlock, Needs), item_tfms=[Times(30, log), Resize(8), late],
                   batch_tfms=[Times(99, log), Times(-5, log), type(late)(40, log)]) \
        .dataloaders(pictures, bs=2, device='cpu')
    log.clear(); next(iter(dls.train))
    assert [o for o, _ in log] == [-1, 20, 30] * 2 + [-5, 40, 50, 99]
    assert {train for _, train in log} == {True}
    log.clear(); next(iter(dls.valid))
    assert [o for o, _ in log] == [-1, 30] * 2 + [-5, 50, 99] and {train for _, train in log} == {False}


# --- the data block --------------------------------------------------------------------------------------------------

def test_a_block_end_to_end(pictures, files):
    dls = block_of().dataloaders(pictures, bs=5, device='cpu', path='somewhere')
    assert dls.vocab == sorted(COLOURS) and dls.c == 3 and isinstance(dls.loss_func, nn.CrossEntropyLoss)
    assert dls.path == Path('somewhere')
    assert sorted(dls.train_ds.items + dls.valid_ds.items) == files and len(dls.valid_ds) == 6
    x, y = next(iter(dls.valid))
    assert type(x) is type(y) is torch.Tensor and x.shape == (5, 3, 24, 24) and x.dtype == torch.float32
    assert 0 <= x.min() <= x.max() <= 1
    assert [dls.vocab[i] for i in y] == [colour_of(f) for f in dls.valid_ds.items[:5]]
    assert len(dls.train) == 3
    assert len(dls.valid) == 2                          # 18 = 3·5 + 3 left out; 6 = 5 + 1
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
    assert first.vocab == sorted(COLOURS) and second.vocab == ['a', 'b']
    assert first.blocks[1].vocab == sorted(COLOURS)
    assert block.blocks[1].vocab is None


def test_labels_that_cannot_be(pictures, files):
    only = block_of(splitter=FuncSplitter(is_red))
    with pytest.raises(ValueError,
                       match=r'red_00.jpg \(validation set\): the label .red. is not in the vocab \(blue, green\)'):
        only.dataloaders(pictures)
    with pytest.raises(ValueError, match="blue_.*training set.*not in the vocab"):
        block_of(blocks=(ImageBlock, CategoryBlock(['red', 'green'])),
                 splitter=IndexSplitter([20])).dataloaders(pictures)
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
    with pytest.raises(ValueError, match='1 getter.*for 3 blocks'):
        DataBlock((ImageBlock, ImageBlock, CategoryBlock), get_x=same, get_y=None, n_inp=3)
    for wrong in (dict(get_x=[same, same], get_y=colour_of), dict(get_y=[colour_of] * 2),
                  dict(getters=[same])):
        with pytest.raises(ValueError, match='getter'): DataBlock(**wrong)
    with pytest.raises(ValueError, match='get_y is missing'): DataBlock(get_x=same)
    with pytest.raises(ValueError, match='n_inp=3'): DataBlock(n_inp=3)
    with pytest.raises(TypeError, match='takes Blocks'): DataBlock(('picture', CategoryBlock))
    with pytest.raises(ValueError, match='get_items=get_image_files'):
        DataBlock(get_y=same).dataloaders(str(pictures))
    with pytest.raises(ValueError, match='gives no items'):
        block_of(get_items=lambda p: []).dataloaders(pictures)
    with pytest.raises(ValueError, match='no items'): DataBlock(get_y=same).dataloaders([])
    with pytest.raises(ValueError, match='tuple of 2 parts'):
        DataBlock(item_tfms=Resize(4)).dataloaders([('a.jpg', 'x'), 'b.jpg', 'c.jpg'] * 3)
    with pytest.raises(TypeError): block_of().dataloaders(pictures, batch_size=3)
    with pytest.raises(ValueError, match='on_bad'): block_of().dataloaders(pictures, on_bad='ignore')


def test_several_inputs_and_targets(files):
    block = DataBlock((ImageBlock, ImageBlock('L'), CategoryBlock, RegressionBlock), n_inp=2,
                      get_x=[same, same],
                      get_y=[colour_of, lambda f: int(f.stem[-2:])], item_tfms=Resize(8))
    dls = block.dataloaders(files, bs=4, device='cpu')
    a, b, c, d = dls.one_batch()
    assert a.shape == (4, 3, 8, 8) and b.shape == (4, 1, 8, 8) and c.shape == (4,) and d.shape == (4, 1)
    assert dls.loss_func is None and dls.vocab is None and dls.n_inp == 2
    assert len(dls.split((a, b, c, d))[1]) == 2
    inputs = dls.prepare((files[0], files[1]))
    assert [x.shape for x in inputs] == [(3, 8, 8), (1, 8, 8)]
    assert [len(batch) for batch in dls.test_dl([(files[0], files[1])])] == [2]
    alone = DataBlock(ImageBlock, item_tfms=Resize(8)).dataloaders(files, bs=4)
    assert len(alone.one_batch()) == 1 and alone.loss_func is None
    pairs = DataBlock(item_tfms=Resize(8)).dataloaders([(f, colour_of(f)) for f in files])
    assert pairs.prepare(files[0])[0].shape == (3, 8, 8)
    assert pairs.prepare(pairs.valid_ds.items[0])[0].shape == (3, 8, 8)
    with pytest.raises(ValueError, match='loss'): Learner(alone, nn.Identity())


def test_more_than_two_sides(files):
    dls = block_of(get_items=None,
                   splitter=lambda items: (range(0, 24, 2), range(1, 24, 4),
                                           range(3, 24, 4))).dataloaders(files)
    assert [len(dl.dataset) for dl in dls.loaders] == [12, 6, 6]
    assert [dl.dataset.train for dl in dls.loaders] == [True, False, False]
    alone = block_of(splitter=NoSplitter()).dataloaders(files[0].parent)
    assert alone.valid is None and len(alone.train_ds) == 24 and len(alone.test_dl(files[:3])) == 1


def test_a_batch_larger_than_the_data(pictures):
    dls = block_of().dataloaders(pictures, bs=512)
    assert len(dls.train) == len(dls.valid) == 1 and len(dls.one_batch()[1]) == 18
    assert len(block_of().dataloaders(pictures, bs=18).train) == 1
    assert len(block_of().dataloaders(pictures, bs=17).train) == 1
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


def longest_first(dataset, shuffle):
    return sorted(range(len(dataset)), key=lambda i: -len(dataset.items[i][0]))


def test_text_goes_through_too():
    words = [('red', 0.), ('green', 1.), ('blue', 2.), ('r', 0.), ('reed', 3.)] * 3
    block = DataBlock((WordBlock, RegressionBlock), splitter=IndexSplitter([0]))
    dls = block.dataloaders(words, bs=4, sampler=longest_first, drop_last=False)
    lengths = [x.shape[1] for x, _ in dls.train]
    assert lengths == sorted(lengths, reverse=True) and dls.blocks[0].vocab == sorted(set('redgreenblue'))
    program = ('import sys\nfrom lessonlib.data_block import Block, CategoryBlock, DataBlock\nimport torch\n'
               'class W(Block):\n    def encode(self, item): return torch.tensor([ord(c) for c in item])\n'
               "dls = DataBlock((W, CategoryBlock), get_y=lambda s: s[0]).dataloaders(['abc', 'bcd', 'abd', 'bbb'] * 5)\n"
               'dls.one_batch()\n'
               "print([m for m in ('torchvision', 'PIL', 'matplotlib', 'pandas', 'IPython') if m in sys.modules])")
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stdout + done.stderr


def test_a_sampler_is_for_training_and_what_is_asked_comes_in_order(pictures):
    from torch.utils.data import WeightedRandomSampler
    n = 18
    def sampler(ds, shuffle): return WeightedRandomSampler([1.] * n, n)     # as many weights as items to train on
    class Noise(nn.Module):
        "Colours as scores"
        def forward(self, x): return x.mean((2, 3))[:, [2, 1, 0]]
    dls = block_of(batch_tfms=TrainOnly(lambda x: x * 0)).dataloaders(pictures, bs=4, sampler=sampler, device='cpu')
    learn = Learner(dls, Noise(), metrics=accuracy)
    assert len(dls.train_ds) == n and len(list(dls.train)) == 4
    for ds_idx in (0, 1):                                        # every item once, not augmented, also the last few
        for dl in (None, dls[ds_idx]):
            preds, targs = learn.get_preds(ds_idx, dl=dl)
            assert [dls.vocab[t] for t in targs] == [colour_of(item) for item in dls[ds_idx].items]
            assert torch.equal(preds.argmax(1), targs) and learn.validate(ds_idx, dl=dl)[1] == 1
    files = [*dls.train.items, *dls.valid.items]
    assert [learn.predict(file)[0] for file in files[-9:]] == [colour_of(file) for file in files[-9:]]
    assert len(learn.get_preds(dl=dls.test_dl(files))[0]) == len(files) and dls.test_dl(files).items == files


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
        assert sorted(Path(f).name for f in skipped) == ['red_90.jpg', 'red_91.jpg', 'red_92.jpg']
        assert all('cannot be read' in why for why in skipped.values())
        assert len(dls.train_ds) + len(dls.valid_ds) == 18
        assert all(len(y) == 4 for x, y in dls.train)
        assert sum(len(y) for x, y in dls.valid) == len(dls.valid_ds)
    only_bad = block_of(splitter=FuncSplitter(lambda f: 90 <= int(f.stem[-2:])))
    with pytest.raises(UnreadableImage, match='None of 3 pictures'):
        only_bad.dataloaders(folder, on_bad='skip')
    table = pd.DataFrame({'f': [*(f.name for f in files), 'gone.jpg'], 'y': [*'ab' * 12, 'a']})
    named = DataBlock(get_x=ColReader('f', pref=files[0].parent), get_y=ColReader('y'),
                      item_tfms=Resize(8)).dataloaders(table, on_bad='skip')
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
    for (x, y), (x0, y0) in zip(dls.valid, plain.valid, strict=True):
        assert torch.equal(x, x0) and torch.equal(y, y0)
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
    assert open_files() <= before                  # fewer, if those of an earlier test are closed meanwhile


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


def make_learner(pictures, folder, seed=0, cbs=(), resume=False):
    set_seed(seed)
    dls = block_of(batch_tfms=Noise()).dataloaders(pictures, bs=4, device='cpu', path=folder)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(.2),
                        nn.LazyLinear(3))
    net(torch.zeros(2, 3, 24, 24))
    return Learner(dls, net, metrics=accuracy, cbs=[Checkpoint(every_batches=1, resume=resume), *cbs])


@pytest.mark.parametrize('stop', [(0, 1), (1, 0), (1, 3), (2, 2)])
def test_resume_is_exact(pictures, tmp_path, stop, capsys):
    whole = make_learner(pictures, tmp_path/'whole')
    whole.fit(3, 1e-2)
    cut = make_learner(pictures, tmp_path/'cut', cbs=[StopAt(*stop)])
    with pytest.raises(KeyboardInterrupt): cut.fit(3, 1e-2)
    again = make_learner(pictures, tmp_path/'cut', seed=99,
                         resume=True)     # another start: all comes from the file
    again.fit(3, 1e-2)
    for (name, a), b in zip(whole.model.state_dict().items(), again.model.state_dict().values()):
        assert torch.equal(a, b), name
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
    for source in (str(file), file.read_bytes(), image, np.asarray(image),
                   torch.from_numpy(np.array(image)).permute(2, 0, 1),
                   image.convert('RGBA'), Image.open(file)):
        assert learn.predict(source)[0] == label, type(source)
    with pytest.raises(FileNotFoundError, match='gone.jpg'): learn.predict('gone.jpg')
    with pytest.raises(UnreadableImage): learn.predict(b'nothing')
    with pytest.raises(TypeError, match='picture comes from'): learn.predict(3)
    with pytest.raises(ValueError, match='got none'): learn.dls.test_dl([])
    with pytest.raises(ValueError, match='Labels are read from items'):
        learn.dls.test_dl([image], with_labels=True)
    assert len(learn.dls.test_dl(file)) == 1


def test_recipes_of_loaders(learn, files, tmp_path):
    recipe = json.loads(json.dumps(learn.dls.recipe()))
    dls = from_recipe(recipe, device='cpu')
    assert dls.vocab == learn.dls.vocab and dls.c == 3 and dls.recipe() == recipe
    assert isinstance(dls.loss_func, nn.CrossEntropyLoss)
    image = PILImage.create(files[0])
    for source in (files[0], str(files[0]), image, np.asarray(image), files[0].read_bytes()):
        assert torch.equal(dls.prepare(source)[0], learn.dls.prepare(source)[0])
    for ours, theirs in zip(dls.test_dl(files[:7], bs=3), learn.dls.test_dl(files[:7], bs=3), strict=True):
        assert torch.equal(ours[0], theirs[0])
    served = Learner(dls, learn.model)
    assert served.predict(files[4])[0] == colour_of(files[4])
    assert len(dls.train) == len(dls.valid) == 0
    with pytest.raises(ValueError, match='empty'): served.fit(1)
    with pytest.raises(ValueError): next(iter(dls.test_dl(files[:2], with_labels=True)))
    for wrong in ({}, None, {**recipe, 'blocks': [{'part': 'Evil'}]},
                  {k: v for k, v in recipe.items() if k != 'n_inp'}):
        with pytest.raises(ValueError): from_recipe(wrong)
    for tfms in (dict(item_tfms=[Resize(8), add_one]), dict(batch_tfms=add_one)):
        with pytest.raises(TypeError, match='add_one'): block_of(**tfms).dataloaders(files[0].parent).recipe()
    for tfms in (dict(item_tfms=[Resize(8), TrainOnly(v2.RandomHorizontalFlip())]),
                 dict(batch_tfms=TrainOnly(v2.ColorJitter()))):
        with pytest.raises(TypeError, match='RandomHorizontalFlip|ColorJitter'):
            block_of(**tfms).dataloaders(files[0].parent).recipe()


def drawn(show):
    "The figure that show() draws; what it gives back does not show itself, so that a notebook shows it once"
    import matplotlib.pyplot as plt
    plt.close('all')
    shown = show()
    assert len(plt.get_fignums()) == 1 and shown.figure is plt.gcf() and shown.axes == shown.figure.axes
    assert shown._ipython_display_() is None
    return plt.gcf()


def test_showing_leaves_random_numbers_alone(learn):
    import matplotlib.pyplot as plt
    before, show = get_rng_state(), learn.dls.show_batch
    draw = [lambda: show(), lambda: show(4, split=1, nrows=1), lambda: show(3, unique=True),
            lambda: learn.dls.train.show_batch(5, seed=4, figsize=(5, 4)),
            lambda: learn.show_results(5, ncols=2), lambda: learn.show_results(20, ds_idx=0)]
    figures = [drawn(do) for do in draw]
    learn.dls.valid_ds.show(0); learn.dls.train_ds.show(1)
    block_of().datasets(learn.dls.train_ds.items[0].parent)
    after = get_rng_state()
    assert torch.equal(before['torch'], after['torch']) and before['python'] == after['python']
    assert before['numpy'] == after['numpy']
    count = [sum(bool(ax.get_title()) for ax in f.axes) for f in figures]
    assert count == [9, 4, 3, 5, 5, 18]
    assert figures[3].get_size_inches().tolist() == [5, 4] and figures[4].axes[0].get_gridspec().ncols == 2
    assert len({ax.get_title() for ax in figures[2].axes}) == 1 and all(f.get_suptitle() for f in figures)
    plt.close('all')


def test_results_mark_what_is_wrong(learn, pictures):
    import matplotlib.pyplot as plt
    titles = [ax.get_title() for ax in drawn(lambda: learn.show_results(6)).axes]
    assert not any('✗' in t for t in titles) and all(t.split('\n')[0] == t.split('(')[1][:-1] for t in titles)
    upside = nn.Sequential(learn.model, nn.Linear(3, 3, bias=False))
    with torch.no_grad(): upside[1].weight.copy_(-torch.eye(3))
    titles = [ax.get_title() for ax in drawn(lambda: Learner(learn.dls, upside).show_results(6)).axes]
    assert all(t.startswith('✗ ') for t in titles)
    plain = Learner(learn.dls, learn.model)
    with pytest.raises(TypeError, match='DataBlock'):
        plain.show_results(dl=learn.dls.test_dl(learn.dls.valid_ds.items))
    plt.close('all')


def test_batches_are_shown_as_people_want_them(pictures):
    class Darker(Transform):
        order = 90
        def __call__(self, sample, train): return (sample[0] / 2 - 3, *sample[1:])
        def undo(self, sample):
            return tuple((x + 3) * 2 if type(x) is tv_tensors.Image else x for x in sample)
    dls = block_of(batch_tfms=Darker()).dataloaders(pictures, bs=4, device='cpu')
    plain = block_of().dataloaders(pictures, bs=4, device='cpu')
    shown, truth = dls.valid.decode_batch(next(iter(dls.valid))), plain.valid.decode_batch(next(iter(plain.valid)))
    for (x, y), (x0, y0) in zip(shown, truth): assert torch.allclose(x, x0, atol=1e-5) and y == y0


# --- summary ---------------------------------------------------------------------------------------------------------

def test_summary_walks_through(pictures, capsys):
    state = torch.get_rng_state()
    block_of(batch_tfms=Noise()).summary(pictures)
    said = capsys.readouterr().out
    for words in ('24 items', '18 + 6', 'CategoryBlock learns', 'blue, green, red', 'RGB picture', 'Resize',
                  '3×24×24',
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
    said = failed(block_of(item_tfms=None), pictures, ValueError, 'collated', 'Resize(224)', '3×50×50',
                  '3×40×60')
    assert said.count('.jpg') >= 4                        # the files of the batch, with their sizes
    failed(block_of(get_y=using_attr(RegexLabeller('(z)'), 'name')), pictures, ValueError,
           'CategoryBlock learns', "'(z)'", '.jpg')
    failed(block_of(splitter=IndexSplitter([])), pictures, ValueError, 'IndexSplitter', 'empty')
    failed(block_of(), tmp_path/'no', FileNotFoundError, 'get_image_files', 'no folder')
    def breaks(image): raise RuntimeError('too small')
    failed(block_of(item_tfms=[Resize(24), breaks]), pictures, RuntimeError, 'breaks', 'too small',
           'RGB picture 24×24')
    def breaks_batch(x): raise RuntimeError('no batch')
    failed(block_of(batch_tfms=breaks_batch), pictures, RuntimeError, 'breaks_batch', 'no batch', '4×3×24×24')
    broken = tmp_path/'broken'
    write_pictures(broken, 12)
    for file in broken.glob('*'): file.write_bytes(file.read_bytes()[:400])
    failed(block_of(), broken, UnreadableImage, 'ImageBlock opens', 'cut short')


# --- torch's loader would accept it ----------------------------------------------------------------------------------

def test_batches_as_a_plain_loop_makes_them(pictures):
    "The same items, opened, cut and stacked in the plainest way"
    dls = block_of(item_tfms=Resize(20, 'squish')).dataloaders(pictures, bs=6, device='cpu')
    x, y = next(iter(dls.valid))
    plain = torch.stack([V.pil_to_tensor(Image.open(f).convert('RGB').resize((20, 20),
                                                                             Image.Resampling.BILINEAR))
                         for f in dls.valid_ds.items]).float() / 255
    assert (x - plain).abs().mean() < .015
    assert y.tolist() == [sorted(COLOURS).index(colour_of(f)) for f in dls.valid_ds.items]


# --- what people label and hand over ---------------------------------------------------------------------------------

def test_labels_that_cannot_be_classes_are_refused_in_a_sentence(files):
    for label in (['a', 'b'], {'a': 1}, {'a'}, np.array([1, 2])):
        with pytest.raises(ValueError, match='label is a .*MultiCategoryBlock'):
            block_of(get_items=None, get_y=lambda file: label).dataloaders(files)
    for missing in (None, float('nan'), pd.NA, pd.NaT):
        with pytest.raises(ValueError, match='missing'):
            block_of(get_items=None, get_y=lambda file: 'a' if is_red(file) else missing).dataloaders(files)


def test_labels_that_look_alike_are_named(files):
    import unicodedata
    pairs = ('cat', 'cat '), tuple(unicodedata.normalize(kind, 'café') for kind in ('NFC', 'NFD'))
    for one, other in pairs:
        with pytest.warns(UserWarning, match=f'{one!r}.*look alike'):
            block_of(get_items=None, get_y=lambda file: one if is_red(file) else other).dataloaders(files)


def test_labels_keep_their_kind_on_their_way_through_json():
    labels = [('cat', 1), ('dog', (2, 'x')), 'text', 7, 2.5, True]
    again = from_recipe(json.loads(json.dumps(CategoryBlock(labels).recipe())))
    assert again.vocab == labels and list(map(type, again.vocab)) == list(map(type, labels))
    for label in (Path('a'), Pet.red, ('x', Path('b'))):
        with pytest.raises(TypeError, match='a recipe holds texts'): CategoryBlock([label, 'b']).recipe()


@makes_model
class Means(nn.Sequential, Part):
    "Scores from the means of three channels"
    def __init__(self, n_out): super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, n_out))


class Pet(str, enum.Enum): red, green, blue = 'red', 'green', 'blue'


def by_pair(file): return colour_of(file), int(file.stem[-1]) % 2
def by_number(file): return int(file.stem[-1]) % 2
def by_truth(file): return bool(is_red(file))


@pytest.mark.parametrize('label', [by_pair, by_number, by_truth])
def test_labels_keep_their_kind_in_an_export(label, tmp_path, files):
    set_seed(0)
    dls = block_of(get_items=None, get_y=label).dataloaders(files, path=tmp_path, bs=4, device='cpu')
    learn = Learner(dls, Means(dls.c))
    again = load_learner(learn.export('labels'))
    assert again.dls.vocab == dls.vocab and list(map(type, again.dls.vocab)) == list(map(type, dls.vocab))
    right, got = learn.predict(files[0]), again.predict(files[0])
    assert got[0] == right[0] and type(got[0]) is type(right[0]) and torch.equal(got[2], right[2])


@pytest.mark.parametrize('label', [lambda file: file.parent/colour_of(file), lambda file: Pet[colour_of(file)]],
                         ids=['path', 'enumeration'])
def test_labels_that_an_export_cannot_hold_are_refused(label, tmp_path, files):
    dls = block_of(get_items=None, get_y=label).dataloaders(files, path=tmp_path, bs=4, device='cpu')
    with pytest.raises(NotExportable, match='a recipe holds texts'): Learner(dls, Means(dls.c)).export('labels')
    assert not list(tmp_path.iterdir())


def test_an_export_skips_what_cannot_be_read_too(tmp_path, files):
    broken = tmp_path/'red_99.jpg'
    dls = block_of(get_items=None).dataloaders(files, path=tmp_path, bs=4, on_bad='skip', device='cpu')
    learn = Learner(dls, Means(dls.c))
    again = load_learner(learn.export('colours'))
    broken.write_bytes(b'no picture')
    with pytest.warns(UserWarning, match='1 of 3 pictures cannot be read.*red_99.jpg'):
        dl = again.dls.test_dl([files[0], broken, files[1]])
    preds = again.get_preds(dl=dl)[0]
    assert len(preds) == 2 and torch.allclose(preds, learn.get_preds(dl=learn.dls.test_dl(files[:2]))[0])
    assert list(dl.dataset.skipped) == [str(broken)]


def test_the_class_of_pictures_by_its_name_in_the_field(files):
    grey = ImageBlock(cls=PILImageBW)
    assert grey == ImageBlock(PILImageBW) == ImageBlock('L') and grey.recipe() == ImageBlock('L').recipe()
    assert from_recipe(json.loads(json.dumps(ImageBlock(white=4095).recipe()))).white == 4095


def test_one_picture_is_one_item(files):
    import io
    dls = block_of(get_items=None, splitter=RandomSplitter(.25, seed=1)).dataloaders(files, bs=4, device='cpu')
    file, content, pixels = files[0], files[0].read_bytes(), np.array(open_image(files[0]))
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    right = dls.prepare(file)[0]
    for one in (file, str(file), content, bytearray(content), memoryview(content), io.BytesIO(content), Image.open(file), pixels, tensor):
        batches = list(dls.test_dl(one))
        assert len(batches) == 1 and torch.allclose(batches[0][0][0], right, atol=.06), type(one)   # a file is decoded small
    for many in (torch.stack([tensor] * 3), np.stack([pixels] * 3), [pixels] * 3, [file] * 3, np.zeros((8, 9, 9), np.uint8)):
        assert len(dls.test_dl(many).items) == len(many)


def test_new_loaders_skip_what_cannot_be_read_too(tmp_path, files):
    folder = write_pictures(tmp_path/'mixed', 18)
    broken = folder/'red_99.jpg'
    broken.write_bytes(b'no picture')
    block = block_of()
    dls = block.dataloaders(folder, bs=4, on_bad='skip', device='cpu')
    again = from_recipe(json.loads(json.dumps(dls.recipe())), device='cpu')
    for loaders in (dls, again):
        with pytest.warns(UserWarning, match='1 of 3 pictures cannot be read.*red_99.jpg'): dl = loaders.test_dl([files[0], broken, files[1]])
        assert dl.items == [files[0], files[1]] and list(dl.dataset.skipped) == [str(broken)]
        with pytest.raises(UnreadableImage, match='red_99'): loaders.prepare(broken)
    broken.unlink()
    strict = block.dataloaders(folder, bs=4, device='cpu')
    assert 'on_bad' not in strict.recipe()
    broken.write_bytes(b'no picture')
    with pytest.raises(UnreadableImage): list(strict.test_dl([files[0], broken]))


# --- what scripts of the field ask ------------------------------------------------------------------------------------

def test_a_batch_can_be_shown(learn):
    dls = learn.dls
    x, y = dls.one_batch()
    words = [dls.vocab[i] for i in y.tolist()]
    for show in (dls.show_batch, dls.train.show_batch):
        assert [ax.get_title() for ax in drawn(lambda: show((x, y), max_n=4)).axes if ax.get_title()] == words[:4]
    assert len(drawn(lambda: dls.show_batch((x, y), 2)).axes) == len(drawn(lambda: dls.show_batch(2)).axes) == 2
    assert dls.decode_batch((x, y), 3)[2][1] == words[2]
    assert [float(part.max()) <= 1 for part in dls.train.decode((x, y))[:1]] == [True]


def test_datasets_know_train_and_valid(pictures):
    block = block_of()
    sets = block.datasets(pictures)
    train, valid = sets
    assert train is sets.train is sets[0] and valid is sets.valid and len(sets) == 2
    assert sets.vocab == train.vocab == ['blue', 'green', 'red'] and sets.vocab.o2i['red'] == 2
    assert sorted(sets.items) == sorted(train.items + valid.items) and sets.n_inp == 1
    picture, colour = sets.decode(train[0])
    assert colour == colour_of(train.items[0]) and picture.shape == (3, 24, 24)
    assert sets.show(train[0]).get_title() == colour == train.show(0).get_title()
    dls = sets.dataloaders(bs=5, device='cpu')
    assert dls.bs == dls.train.bs == 5 and dls.one_batch()[0].shape == (5, 3, 24, 24)
    assert (dls.train.n, dls.valid.n) == (18, 6) and dls.train.one_batch()[0].shape[0] == 5
    assert dls.to('meta').device.type == 'meta' and {dl.device.type for dl in dls.loaders} == {'meta'}


def test_a_block_with_other_transforms(pictures):
    def double(x): return x * 2
    block = block_of(batch_tfms=double)
    dls = block.dataloaders(pictures, bs=4, device='cpu')
    other = block.new(item_tfms=Resize(16)).dataloaders(pictures, bs=4, device='cpu')
    assert dls.one_batch()[0].max() > 1.1 and other.one_batch()[0].max() <= 1, 'new leaves out what it is not given'
    assert other.one_batch()[0].shape[-1] == 16 and dls.one_batch()[0].shape[-1] == 24
    now = block.dataloaders(pictures, bs=4, device='cpu', item_tfms=Resize(12))
    assert now.one_batch()[0].shape[-1] == 12 and now.one_batch()[0].max() > 1.1, 'the other stage stays'
    assert block.dataloaders(pictures, bs=4, device='cpu').one_batch()[0].shape[-1] == 24
    plain = block.dataloaders(pictures, bs=4, device='cpu', batch_tfms=[])
    assert plain.one_batch()[0].max() <= 1 and plain.one_batch()[0].is_floating_point()


def test_transform_block(pictures):
    block = DataBlock((TransformBlock(type_tfms=PILImage.create, batch_tfms=IntToFloat()),
                       TransformBlock([colour_of, len])), get_items=get_image_files, get_y=same, item_tfms=Resize(8))
    dls = block.dataloaders(pictures, bs=4, device='cpu')
    x, y = dls.one_batch()
    assert x.shape == (4, 3, 8, 8) and x.is_floating_point() and set(y.tolist()) <= {3, 4, 5}
    assert len(drawn(lambda: dls.show_batch(2)).axes[0].images) == 1
    numbers = DataBlock((TransformBlock, RegressionBlock(c_out=1)), get_x=lambda n: torch.tensor([n, n]), get_y=float)
    x, y = numbers.dataloaders(range(20), bs=4, device='cpu').one_batch()
    assert x.tolist() == [[n, n] for n in y[:, 0].tolist()]


def test_an_answer_of_yes_or_no_is_a_text_and_a_truth(pictures):
    dls = block_of(get_y=is_red, splitter=RandomSplitter(.25, seed=1)).dataloaders(pictures, bs=6, device='cpu')
    for red in (True, False):
        model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        with torch.no_grad(): model[-1].bias.copy_(torch.tensor([-9., 9.] if red else [9., -9.]))
        answer, number, shares = Learner(dls, model).predict(dls.valid_ds.items[0])
        assert answer == red and answer == str(red) and answer != str(not red) and bool(answer) is red
        assert f'{answer}' == repr(answer) == str(red) and number == int(red) and answer != 'red'
        assert {red: 'found'}[answer] == 'found' and (not answer) is (not red)


def test_results_in_order(learn):
    first = [learn.dls.vocab[y] for y in learn.get_preds()[1][:4]]
    titles = [ax.get_title() for ax in drawn(lambda: learn.show_results(max_n=4, shuffle=False)).axes if ax.get_title()]
    assert [title.split('(')[1][:-1] for title in titles] == first
