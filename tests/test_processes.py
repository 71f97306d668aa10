"""Several processes train as one does, decide alike, write once, and end when one of them is gone.

Processes are made by a server that has torch loaded (`helpers/two_processes.py`), have bounded time, and are always ended.
"""
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
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
from lessonlib.processes import (DistributedTrainer, _mine, _Share, _sizes, launch, num_distrib, rank0_first,
                                 rank_distrib)
from lessonlib.shards import get_shards, ShardOrder, StreamLoader, write_shards

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


class Drawn(Callback):
    "Notes a random number in each batch"
    def before_fit(self): self.numbers = []
    def before_batch(self): self.numbers.append(torch.rand(()).item())


def draw(bs):
    learn = build('plain', bs)
    set_seed(3)
    with learn.distributed(timeout=20): learn.fit(2, cbs=(drawn := Drawn()))
    return drawn.numbers


def test_each_process_draws_numbers_of_its_own(capsys):
    one, other = results(draw, 16)
    assert one == draw(32) and not {*one} & {*other}


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


# ---- a break, and going on

class Copies(Callback):
    "Keeps a copy of the checkpoint at one place of the fit"
    order, writes = 2000, True
    def __init__(self, keeper, epoch, batches): self.keeper, self.place = keeper, (epoch, batches)
    def after_batch(self):
        if self.training and (self.learn.epoch, self.learn.batches_done) == self.place:
            shutil.copy(self.keeper.file, self.keeper.file.with_name('half.safetensors'))


def break_and_go_on(folder, shards):
    "A fit with a copy of its checkpoint in the middle of an epoch, and one that goes on from there"
    done = {}
    def learner(kind):
        if kind == 'pictures': return pictures(shards, 5, flip=True)
        learn = build('norm', 9, folder/kind)
        learn.dls.train.generator = torch.Generator().manual_seed(7)
        return learn
    for kind in ('numbers', 'pictures'):
        for resume in (False, 'half'):
            set_seed(3 if not resume else 99)
            learn = learner(kind)
            learn.path = folder/kind
            if not resume: set_seed(3)
            with learn.distributed(timeout=20):
                keeper = Checkpoint(every_batches=1, resume=resume)
                learn.fit(2, cbs=[keeper, Copies(keeper, 1, 2)])
                torch.distributed.barrier()     # the file is read by a fit of its own
            done[kind, resume] = digest([learn.model.state_dict(), learn.opt.state_dict(), learn.recorder.batches,
                                         learn.recorder.values, torch.rand(3)])
    return done


def go_on(folder):
    learn = build('norm', 9, folder/'numbers')
    with learn.distributed(timeout=20): learn.fit(2, cbs=Checkpoint('half', resume=True))


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp('broken')
    make_shards(folder/'shards')
    return folder, results(break_and_go_on, folder, folder/'shards')


@pytest.mark.parametrize('kind', ['numbers', 'pictures'])
def test_resume_in_the_middle_is_exact_in_each_process(broken, kind):
    for mine in broken[1]: assert mine[kind, False] == mine[kind, 'half']


def test_another_number_of_processes_is_a_sentence(broken):
    with pytest.raises(ValueError, match=r'a fit of 2 process\(es\), and this is one of 1.*learn.load'): go_on(broken[0])
    for _, error, _, _ in together(go_on, broken[0], n=3):
        assert error.startswith('ValueError') and 'of 2 process(es), and this is one of 3' in error
    learn = build('norm', 9, broken[0]/'numbers')
    learn.load('half', with_opt=False)


# ---- who writes, who prints, who decides

def write(folder):
    "Everything that writes, with a note of what this process has written"
    written, plain = [], os.replace
    def replace(source, goal, **how):
        written.append(Path(goal).name)
        return plain(source, goal, **how)
    os.replace = replace
    learn = build('norm', 16, folder)
    stop, save = EarlyStoppingCallback(patience=2), SaveModelCallback(fname='best', with_opt=True)
    set_seed(3)
    with learn.distributed(timeout=20):
        learn.fit(8, lr=1., cbs=[stop, save, CSVLogger(), ReduceLROnPlateau(), Checkpoint(),
                              ShortEpochCallback(.9, short_valid=False)])
        learn.save('last')
        learn.load('last')
        preds, targs, losses = learn.get_preds(with_loss=True)
        both = learn.get_preds(with_input=True)
    os.replace = plain
    return dict(written=sorted({*written}), epochs=len(learn.recorder.values), lrs=learn.recorder.lrs, best=save.best,
                sizes=[len(preds), len(targs), len(losses), *both[0].shape], rate=learn.opt.param_groups[0]['lr'],
                weights=digest(learn.model.state_dict()))


def test_one_writes_one_prints_all_decide_alike(tmp_path):
    (one, error, text, _), (other, error_2, text_2, _) = together(write, tmp_path)
    assert error is error_2 is None, text + text_2
    assert text.count('train_loss') == 1 and text_2 == ''
    assert other.pop('written') == [], 'the second process has written'
    assert {'best.safetensors', 'last.safetensors', 'checkpoint.safetensors', 'history.csv'} <= {*one.pop('written')}
    assert one == other and one['epochs'] < 8 and one['sizes'] == [33, 33, 33, 33, 6]
    assert len((tmp_path/'history.csv').read_text().splitlines()) == one['epochs'] + 1


def find_and_predict(folder, shards):
    learn = build('plain', 16)
    with learn.distributed(timeout=20):
        rates = learn.lr_find(show_plot=False, num_it=30)
        one = learn.predict(numbers()[0][0])
    assert num_distrib() == 2
    order = []
    def action(): order.append(time.monotonic()); return 'made'
    if rank_distrib() == 0: time.sleep(.3)
    made = rank0_first(action)
    return dict(rates=list(rates), one=one[2].tolist(), made=made, when=order[0])


def test_finder_prediction_and_rank0_first(tmp_path, capsys):
    one, other = results(find_and_predict, tmp_path, tmp_path)
    assert one['rates'] == other['rates'] and one['one'] == other['one'] and one['when'] < other['when']
    learn = build('plain', 32)
    assert close(learn.lr_find(show_plot=False, num_it=30)[0], one['rates'][0], 1e-4)
    assert close(learn.predict(numbers()[0][0])[2].tolist(), one['one'])
    assert rank0_first(lambda a, b: a + b, 1, b=2) == 3 and (rank_distrib(), num_distrib()) == (0, 1)


# ---- one is gone

class Ends(Callback):
    "Something happens to the second process in the second epoch"
    def __init__(self, how): self.how = how
    def before_batch(self):
        if self.epoch != 1 or rank_distrib() != 1 or not self.training: return
        if self.how == 'killed': os.kill(os.getpid(), signal.SIGKILL)
        if self.how == 'hangs': time.sleep(6)
        if self.how == 'fails': raise KeyError('the picture is gone')


def end(how, folder):
    learn = build('norm', 16, folder)
    with learn.distributed(timeout=2.):
        learn.fit(3, cbs=[Ends(how), Checkpoint()])


@pytest.mark.parametrize('how, sentence', [
    ('killed', 'another one has ended without a word'), ('hangs', r'did not answer in 2.0 s'),
    ('fails', 'process 1 has stopped with KeyError')])
def test_others_end_with_a_sentence(tmp_path, how, sentence):
    began = time.monotonic()
    (_, error, text, code), (_, other, _, code_2) = together(end, how, tmp_path, seconds=25)
    assert error.startswith('ProcessLost: Process 0 of 2 stops: ') and sentence in error and code == 1, (error, text)
    assert 'Traceback' not in text and 'resume=True' in error
    if how == 'fails': assert other.startswith('KeyError') and code_2 == 1
    assert time.monotonic() - began < 25
    _, info = read_tensors(tmp_path/'models'/'checkpoint.safetensors')
    assert (info['epoch'], info['processes']) == (1, 2)


def differ(what):
    x, y = numbers()
    number = rank_distrib() or int(os.environ['RANK'])
    learn = build('plain', 16)
    if what == 'items': learn.dls = DataLoaders.from_tensors((x[:70 + number], y[:70 + number]), bs=16, device='cpu')
    if what == 'callbacks' and number: learn.add_cb(GradientClip)
    if what == 'weights' and number: learn.model[0].requires_grad_(False)
    if what == 'loader': learn.dls = DataLoaders([(x[:9], y[:9])], device='cpu')
    if what == 'drop last': learn.dls = DataLoaders.from_tensors((x[:20], y[:20]), bs=16, drop_last=True, device='cpu')
    with learn.distributed(timeout=20): learn.fit(1 + (number if what == 'epochs' else 0))


@pytest.mark.parametrize('what, sentence', [('items', 'differ in items'), ('epochs', 'differ in epochs'),
                                            ('callbacks', 'differ in callbacks'), ('weights', 'differ in weights'),
                                            ('loader', 'list cannot be shared out'),
                                            ('drop last', '2 processes have batches of 32')])
def test_what_differs_is_said_before_the_first_batch(what, sentence):
    for _, error, text, _ in together(differ, what):
        assert error.startswith(('ValueError', 'TypeError')) and sentence in error, error
        assert 'epoch' not in text.split('Traceback')[0]


# ---- starting

def hello(word):
    import os, sys
    print('hello', word, os.environ['RANK'], os.environ['WORLD_SIZE'])
    if word == 'fail' and os.environ['RANK'] == '1': sys.exit('no more')
    if word == 'wait':
        import time
        time.sleep(60)


def test_launch(capfd):
    lines = launch(hello, 'you', n=3, show=False).splitlines()
    assert sorted(lines) == ['[1] hello you 1 3', '[2] hello you 2 3', 'hello you 0 3']
    with pytest.raises(RuntimeError, match=r'(?s)Process 1 of 2 ended with code 1.*no more'): launch(hello, 'fail', show=False)
    with pytest.raises(TimeoutError, match='still running, and were ended'): launch(hello, 'wait', timeout=2, show=False)


def test_launch_says_what_it_cannot_start(tmp_path):
    def outside(): return tmp_path
    with pytest.raises(ValueError, match='do not know tmp_path'): launch(outside)
    with pytest.raises(ValueError, match='cannot be handed to a new process'): launch(hello, object())
    with pytest.raises(FileNotFoundError, match='no script'): launch(tmp_path/'none.py')
    with pytest.raises(ValueError, match='n=0'): launch(hello, 'you', n=0)


def test_torchrun_starts_the_same_script(tmp_path):
    script = tmp_path/'train.py'
    script.write_text("""
import torch
from lessonlib.batches import DataLoaders
from lessonlib.learner import Learner
x = torch.arange(40.)[:, None]
dls = DataLoaders.from_tensors((x, x), (x[:33], x[:33]), bs=8, device='cpu')
learn = Learner(dls, torch.nn.Linear(1, 1), torch.nn.MSELoss())
torch.nn.init.ones_(learn.model.weight), torch.nn.init.ones_(learn.model.bias)
with learn.distributed(timeout=60): text = f'loss {learn.validate()} {len(learn.get_preds()[0])}\\n'
print(text, end='', flush=True)       # in one piece: the other process prints, too
""")
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_addr',
                                '127.0.0.1', '--master_port', str(port), str(script)], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.STDOUT, start_new_session=True,
                               env=os.environ | dict(PYTHONPATH=str(Path(__file__).parent.parent)))
    try: text, _ = process.communicate(timeout=150)
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0 and text.count('loss [1.0] 33') == 2, text


# ---- shares

@pytest.mark.quick
def test_shares_lose_nothing():
    for n in range(1, 80):
        for number in range(1, 7):
            sizes = _sizes(n, number)
            assert sum(sizes) == n and len(sizes) == number and max(sizes) - min(size for size in sizes if size) <= 1
            parts = [_mine(range(n), rank, number) for rank in range(number)]
            assert [i for size, part in zip(sizes, parts) for i in part[:size]] == [*range(n)]
            assert all(len(part) >= min(2, n) for part in parts)


@pytest.mark.quick
def test_shares_of_a_stream_are_the_stream():
    def source(): return ((torch.tensor([float(i)]),) for i in range(10))
    parts = []
    for rank in range(3):
        set_seed(1)
        share = _Share(StreamLoader(source, 10, bs=2, window=5), rank, 3, True)
        parts.append([x.flatten().tolist()[:share.sizes(i)[rank]] for i, (x,) in enumerate(share)])
    set_seed(1)
    assert [sum(part, []) for part in zip(*parts)] == [x.flatten().tolist() for x, in StreamLoader(source, 10, bs=6, window=5)]
