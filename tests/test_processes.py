"""Several processes train as one does, decide alike, write once, and end when one of them is gone.

Processes are made by a server that has torch loaded (`helpers/two_processes.py`), have bounded time, and are always ended.
"""
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

sys.path[:0] = [str(Path(__file__).resolve().parent)]
from helpers.digests import digest
from helpers.two_processes import results, together
from lessonlib.batches import DataLoaders, TensorDataLoader, accuracy, rmse
from lessonlib.callbacks import (CSVLogger, EarlyStoppingCallback, GradientAccumulation, GradientClip, MixUp,
                                 ReduceLROnPlateau, SaveModelCallback, ShortEpochCallback)
from lessonlib.checkpoint import Checkpoint, read_tensors
from lessonlib.core import set_seed
from lessonlib.images import FlipItem
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.items import FuncSplitter, IndexSplitter
from lessonlib.learner import Callback, Learner
from lessonlib.processes import (DistributedTrainer, ShardOrder, StreamLoader, _mine, _Share, _sizes, get_shards, launch,
                                 num_distrib, rank0_first, rank_distrib, write_shards)

pytestmark = pytest.mark.xdist_group('processes')   # its server is started once


# ---- what is trained: the same lines for one process and for several

def numbers(n=110):
    set_seed(1)
    x = torch.randn(n, 6)
    return x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > .5).long()


def net(norm=False, dropout=0.):
    set_seed(2)
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(6, 16), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


class Lazy(nn.Module):
    "A part of it takes part in training only for rows whose first number is large"
    def __init__(self):
        super().__init__()
        self.body, self.never, self.seldom = net(), nn.Linear(6, 3), nn.Linear(6, 3)
    def forward(self, x):
        out, few = self.body(x), x[:, 0] > 1.2
        if few.any(): out = out.index_add(0, few.nonzero()[:, 0], self.seldom(x[few]))
        return out


def class_rmse(pred, targ): return rmse(pred.softmax(1), F.one_hot(targ.clamp(min=0), 3).float())
class_rmse.metric = rmse.metric


def build(kind, bs, folder='/nowhere'):
    "A learner whose batches have `bs` items a process"
    x, y = numbers()
    opt = partial(torch.optim.SGD, momentum=.9)
    loss, model, cbs, opt_func, how = nn.CrossEntropyLoss(), net(), [], opt, {}
    if kind == 'adamw': opt_func = None
    if kind == 'ignored': y[20:70:2] = -100
    if kind == 'ignored all':   # one process has none that counts
        y[:77] = -100
        y[torch.tensor([0, 52, 64])], how = torch.tensor([0, 1, 2]), dict(shuffle=False)
    if kind == 'weights': loss = nn.CrossEntropyLoss(torch.tensor([1., 5., .2]))
    if kind == 'accumulate': cbs = [GradientAccumulation(40), GradientClip(.5)]
    if kind == 'lazy': model = Lazy()
    if kind == 'short': cbs = [ShortEpochCallback(.4, short_valid=False)]
    if kind == 'drop last': how = dict(drop_last=True)
    if kind == 'in order': how = dict(shuffle=False)
    if kind == 'norm': model = net(norm=True, dropout=.3)
    if kind == 'frozen norm':
        model = net(norm=True)
        model[1].running_mean += .3
        model[1].requires_grad_(False)
    if kind == 'torch':
        generator = torch.Generator().manual_seed(4)
        train = DataLoader(TensorDataset(x[:77], y[:77]), bs, shuffle=True, generator=generator)
        dls = DataLoaders(train, DataLoader(TensorDataset(x[77:], y[77:]), bs), device='cpu')
    elif kind == 'dsets':
        dls = DataLoaders.from_dsets(TensorDataset(x[:77], y[:77]), TensorDataset(x[77:], y[77:]), bs=bs, device='cpu')
    elif kind == 'stream':
        def samples(): return zip(x[:77], y[:77])
        stream = StreamLoader(samples, 77, bs=bs, window=30)
        dls = DataLoaders(stream, TensorDataLoader(x[77:], y[77:], bs=bs), device='cpu')
    else: dls = DataLoaders.from_tensors((x[:77], y[:77]), (x[77:], y[77:]), bs=bs, device='cpu', **how)
    return Learner(dls, model, loss, opt_func=opt_func, cbs=cbs, metrics=[accuracy, class_rmse], path=folder, lr=.05)


def account(learn):
    "All that a fit leaves behind"
    recorder = learn.recorder
    try: preds = learn.get_preds()
    except ValueError: preds = None      # windows of a stream differ in width
    return dict(weights={k: v.clone() for k, v in learn.model.state_dict().items()}, preds=preds,
                batches=recorder.batches, values=recorder.values, valid=learn.validate(),
                never=[p.grad is None for p in learn.model.parameters()], n=len(learn.dls.train))


def train(kind, bs, epochs=2):
    learn = build(kind, bs)
    set_seed(3)
    with learn.distributed(timeout=20):
        learn.fit(epochs)
        return account(learn)


def train_all(kinds, bs): return {kind: train(kind, bs) for kind in kinds}


def close(one, other, eps=1e-6):
    if isinstance(one, torch.Tensor): return torch.equal(one, other) if not one.is_floating_point() \
        else (one - other).abs().max().item() < eps
    if isinstance(one, dict): return all(close(one[k], other[k], eps) for k in one)
    if isinstance(one, (list, tuple)): return len(one) == len(other) and all(close(a, b, eps) for a, b in zip(one, other))
    return one is other is None or one == other or one != one and other != other or abs(one - other) < eps


KINDS = ['plain', 'adamw', 'ignored', 'ignored all', 'weights', 'accumulate', 'lazy', 'short', 'drop last', 'in order',
         'torch', 'dsets', 'stream', 'frozen norm', 'norm']


@pytest.fixture(scope='module')
def pair(): return results(train_all, KINDS, 16)


@pytest.mark.parametrize('kind', [kind for kind in KINDS if kind != 'norm'])
def test_two_processes_are_one_with_the_larger_batch(pair, kind, capsys):
    alone = train(kind, 32)
    for mine in pair:
        for what in ('weights', 'batches', 'values', 'preds', 'valid', 'never'):
            assert close(mine[kind][what], alone[what], 2e-6), what
    assert pair[0][kind]['n'] == 5 - (kind == 'drop last')   # 77 of 16: after the fit its loaders count as before


def test_processes_hold_the_same_bits(pair):
    for kind in KINDS:
        one, other = (digest([mine[kind][what] for what in ('weights', 'batches', 'values', 'preds', 'valid')]) for mine in pair)
        assert one == other, kind


def test_batch_norm_is_what_differs(pair, capsys):
    alone = train('norm', 32)
    assert not close(pair[0]['norm']['weights'], alone['weights'], 1e-4)
    for mine in pair:
        assert close(mine['norm']['weights']['1.running_mean'], mine['norm']['weights']['1.running_mean'])
    assert pair[0]['frozen norm']['weights']['1.running_mean'].mean() == pytest.approx(.3)


def test_three_processes(capsys):
    alone = train('plain', 48)
    for mine in results(train, 'plain', 16, n=3): assert close(mine['weights'], alone['weights'], 2e-6)


# ---- other kinds of data

def pictures(folder, bs, workers=0, items=None, flip=False, **how):
    block = DataBlock((ImageBlock, CategoryBlock), get_x=itemgetter('jpg'), get_y=itemgetter('cls'),
                      splitter=IndexSplitter(range(24, 37)), item_tfms=[FlipItem()] if flip else [])
    dls = block.dataloaders(get_shards(folder), bs=bs, num_workers=workers, device='cpu', drop_last=False,
                            sampler=partial(ShardOrder, window=6), **how)
    set_seed(2)
    return Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)), metrics=accuracy, path=folder, lr=.05)


def make_shards(folder, n=37):
    from PIL import Image
    rng = np.random.default_rng(0)
    def samples():
        for i in range(n):
            picture, label = io.BytesIO(), int(rng.integers(2))
            Image.fromarray(rng.integers(0, 200, (8, 8, 3), dtype=np.uint8) + np.uint8(50 * label)).save(picture, 'JPEG')
            yield {'jpg': picture.getvalue(), 'cls': label, 'json': dict(i=i)}
    return write_shards(samples(), folder, per_shard=8)


def train_pictures(folder, bs, workers):
    learn = pictures(folder, bs, workers)
    set_seed(3)
    with learn.distributed(timeout=20):
        learn.fit(2)
        return account(learn)


def others(folder, bs):
    "Texts, a language model, a table and ratings"
    import pandas as pd
    from lessonlib.collab import CollabDataLoaders, collab_learner
    from lessonlib.tabular import tabular_learner
    from lessonlib.tables import Categorify, NormalizeColumns, TabularDataLoaders
    from lessonlib.tokens import TextDataLoaders
    rng, made = np.random.default_rng(1), {}
    words = 'good bad film very not at all a the story'.split()
    texts = pd.DataFrame(dict(text=[' '.join(rng.choice(words, rng.integers(3, 30))) for _ in range(61)],
                              label=rng.choice(['pos', 'neg'], 61), is_valid=[i > 43 for i in range(61)]))
    dls = TextDataLoaders.from_df(texts, text_col='text', label_col='label', valid_col='is_valid', bs=bs, device='cpu')
    class Bag(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.words, self.out = nn.Embedding(size, 8, padding_idx=dls.pad), nn.Linear(8, 2)
        def forward(self, x): return self.out(self.words(x).sum(1))
    set_seed(2)
    made['texts'] = Learner(dls, Bag(len(dls.text_vocab)), nn.CrossEntropyLoss(), metrics=accuracy, lr=.05)
    dls = TextDataLoaders.from_df(texts, text_col='text', valid_col='is_valid', is_lm=True, bs=bs // 4, seq_len=8, device='cpu')
    class Guess(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.words, self.out = nn.Embedding(size, 8), nn.Linear(8, size)
        def forward(self, x): return self.out(self.words(x)).transpose(1, 2)
    set_seed(2)
    made['language model'] = Learner(dls, Guess(len(dls.vocab)), nn.CrossEntropyLoss(), lr=.05)
    table = pd.DataFrame(dict(a=rng.normal(size=70), b=rng.choice(['x', 'y', 'z'], 70), c=rng.choice(['no', 'yes'], 70)))
    dls = TabularDataLoaders.from_df(table, procs=[Categorify, NormalizeColumns], cat_names=['b'], cont_names=['a'], y_names='c',
                                     valid_idx=list(range(50, 70)), bs=bs, device='cpu')
    set_seed(2)
    made['table'] = tabular_learner(dls, layers=[8], metrics=accuracy, config=dict(use_bn=False, bn_cont=False))
    ratings = pd.DataFrame(dict(user=rng.integers(0, 9, 90), item=rng.integers(0, 7, 90), rating=rng.integers(1, 6, 90) * 1.))
    dls = CollabDataLoaders.from_df(ratings, bs=bs, seed=1, device='cpu')
    set_seed(2)
    made['ratings'] = collab_learner(dls, n_factors=4, y_range=(0, 5.5))
    return made


def train_others(folder, bs):
    done = {}
    for kind, learn in others(folder, bs).items():
        set_seed(3)
        with learn.distributed(timeout=20):
            learn.fit(2)
            done[kind] = account(learn)
    return done


@pytest.mark.parametrize('workers', [0, 2])
def test_pictures_out_of_shards(tmp_path, workers, capsys):
    make_shards(tmp_path/'shards')
    alone = train_pictures(tmp_path/'shards', 12, 0)
    for mine in results(train_pictures, tmp_path/'shards', 6, workers):
        for what in ('weights', 'values', 'preds', 'valid'): assert close(mine[what], alone[what], 2e-6), what


def test_texts_tables_and_ratings(tmp_path, capsys):
    alone, both = train_others(tmp_path, 16), results(train_others, tmp_path, 8)
    for kind in alone:
        for mine in both:
            for what in ('weights', 'values', 'preds', 'valid'): assert close(mine[kind][what], alone[kind][what], 3e-6), (kind, what)
