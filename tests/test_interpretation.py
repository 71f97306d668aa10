"Interpretation against torch and scikit-learn; decisions and the cleaner against crashes, collisions and bad files."
import collections
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

from parts import Parts
module = Parts('interpretation', 'cleaner')
from lessonlib.core import get_rng_state, set_seed
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.items import RandomSplitter, parent_label
from lessonlib.images import Resize
from lessonlib.interpretation import ClassificationInterpretation, Interpretation, item_losses
from lessonlib.cleaner import Decision, Decisions, ImageClassifierCleaner
from lessonlib.batches import DataLoaders, TensorDataLoader, accuracy
from lessonlib.learner import Learner
import lessonlib.progress, lessonlib.checkpoint  # noqa: F401  for what they add to classes


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')


def net(outputs=3, seed=0):
    set_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(.5), nn.Linear(8, outputs))


def tensors(n=50, n_valid=21, bs=8, outputs=3, target=None, **kwargs):
    set_seed(9)
    make = target or (lambda n: torch.randint(0, outputs, (n,)))
    train, valid = ((torch.randn(k, 5), make(k)) for k in (n, n_valid))
    return DataLoaders.from_tensors(train, valid, bs=bs, device='cpu', **kwargs)


def learner(dls=None, loss_func=F.cross_entropy, model=None, **kwargs):
    return Learner(dls or tensors(), model or net(), loss_func, **kwargs)


# ---- the loss of each item ----

preds, classes = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 0, 1, 1])
numbers, yes_no = preds * .5 + 1, (preds > 0).float()
each_ce = F.cross_entropy(preds, classes, reduction='none')
weights = torch.tensor([1., 5., .1, 2.])


@pytest.mark.parametrize('loss_func, targs, want', [
    (F.cross_entropy, classes, each_ce), (nn.CrossEntropyLoss(), classes, each_ce),
    (lambda p, t: F.cross_entropy(p, t), classes, each_ce), (nn.CrossEntropyLoss(weight=weights), classes, each_ce),
    (partial(F.cross_entropy, weight=weights), classes, each_ce), (nn.CrossEntropyLoss(reduction='sum'), classes, each_ce),
    (F.mse_loss, numbers, F.mse_loss(preds, numbers, reduction='none').mean(1)),
    (nn.L1Loss(), numbers, (preds - numbers).abs().mean(1)), (lambda p, t: (p - t).square().mean().sqrt(), numbers,
                                                              (preds - numbers).square().mean(1).sqrt()),
    (nn.BCEWithLogitsLoss(), yes_no, F.binary_cross_entropy_with_logits(preds, yes_no, reduction='none').mean(1)),
    (partial(F.cross_entropy, label_smoothing=.1), classes, F.cross_entropy(preds, classes, reduction='none', label_smoothing=.1)),
], ids=lambda x: getattr(x, '__name__', type(x).__name__))
def test_item_losses_are_what_the_loss_says_of_each_item_alone(loss_func, targs, want):
    got = item_losses(loss_func, preds, targs)
    assert torch.allclose(got, want, atol=1e-6)
    alone = torch.stack([loss_func(preds[i:i + 1], targs[i:i + 1]) for i in range(7)])
    assert torch.allclose(got, alone, atol=1e-6)


def test_item_losses_of_masks_skip_what_the_loss_skips():
    set_seed(0)
    pred, targ = torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6))
    targ[0, :2], targ[1, 0] = 255, 255
    each = F.cross_entropy(pred, targ, ignore_index=255, reduction='none')
    want = each.flatten(1).sum(1) / (targ != 255).flatten(1).sum(1)
    assert torch.allclose(item_losses(nn.CrossEntropyLoss(ignore_index=255), pred, targ), want, atol=1e-6)
    interp = ClassificationInterpretation(None, pred.softmax(1), targ, want, ignore=255)
    kept = targ != 255
    assert (interp.confusion_matrix() == metrics.confusion_matrix(targ[kept], pred.argmax(1)[kept])).all()


def test_item_losses_of_several_outputs_and_targets():
    both = lambda p, a, b: F.mse_loss(p[0], a) + F.l1_loss(p[1], b)
    a, b = torch.rand(4, 2), torch.rand(4, 3)
    got = item_losses(both, (a * 2, b + 1), (a, b))
    assert torch.allclose(got, a.square().mean(1) + 1, atol=1e-6)


def test_item_losses_leave_the_loss_and_the_random_state_alone():
    loss_func, state = nn.CrossEntropyLoss(weight=weights), get_rng_state()
    item_losses(loss_func, preds, classes)
    noisy = item_losses(lambda p, t: F.mse_loss(p + torch.randn(()), t), preds, numbers)
    assert loss_func.reduction == 'mean' and loss_func.weight is weights and noisy.shape == (7,)
    assert torch.equal(state['torch'], get_rng_state()['torch'])


@pytest.mark.parametrize('loss_func, target, outputs', [
    (F.cross_entropy, None, 3), (nn.CrossEntropyLoss(), None, 3), (lambda p, t: F.cross_entropy(p, t), None, 3),
    (nn.MSELoss(), lambda n: torch.randn(n, 2), 2), (F.l1_loss, lambda n: torch.randn(n, 1), 1)])
def test_their_mean_is_the_validation_loss(loss_func, target, outputs):
    learn = learner(tensors(target=target, outputs=outputs), loss_func, net(outputs))
    learn.dls.loaders[1] = learn.dls.valid.new(shuffle=True, drop_last=True)   # still every item, in order
    interp = Interpretation.from_learner(learn)
    assert len(interp) == 21 and torch.equal(interp.targs, learn.dls.valid_ds.tensors[1])
    assert interp.losses.mean().item() == pytest.approx(learn.validate(dl=learn.dls.valid.new(shuffle=False, drop_last=False))[0], rel=1e-5)


def test_nan_losses_come_first():
    interp = Interpretation(None, preds, classes, torch.tensor([1., float('nan'), 3, 0, 2, 0, 0]))
    assert interp.top_losses(3)[1].tolist() == [1, 2, 4]
    assert interp.top_losses(2, largest=False)[1].tolist() == [3, 5]   # equals keep their order


# ---- from a learner ----

def state_of(learn):
    modes = [m.training for m in learn.model.modules()]
    return (list(map(id, learn.cbs)), modes, learn.training, learn.xb, learn.yb, learn.pred if hasattr(learn, 'pred') else None, learn.opt,
            {name: [repr(f) for f in fs] for name, fs in learn.listeners.items()}, learn.loss_func)


@pytest.mark.parametrize('ds_idx', [0, 1])
def test_the_learner_and_the_random_state_stay_as_they_were(ds_idx):
    learn = learner(metrics=accuracy)
    with learn.no_logging(): learn.fit(1)
    learn.model.train()
    learn.model[1].eval()
    before, weights, random, rows = state_of(learn), [v.clone() for v in learn.model.state_dict().values()], get_rng_state(), list(learn.recorder.values)
    interp = ClassificationInterpretation.from_learner(learn, ds_idx)
    assert state_of(learn) == before and rows == learn.recorder.values
    assert all(torch.equal(a, b) for a, b in zip(weights, learn.model.state_dict().values()))
    assert torch.equal(random['torch'], get_rng_state()['torch']) and random['python'] == get_rng_state()['python']
    assert torch.equal(interp.targs, learn.dls[ds_idx].dataset.tensors[1])   # in the set's order, also the shuffled one


def test_the_loader_s_own_generator_stays_as_it_was():
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(20, 5), torch.randint(0, 3, (20,))
    valid = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 4, shuffle=True, generator=generator)
    before = generator.get_state()
    interp = Interpretation.from_learner(learner(DataLoaders(TensorDataLoader(x, y), valid, device='cpu')))
    assert torch.equal(before, generator.get_state()) and torch.equal(interp.targs, y)


def test_inputs_are_not_kept():
    interp = ClassificationInterpretation.from_learner(learner())
    assert not any(isinstance(v, torch.Tensor) and v.shape[-1:] == (5,) for v in vars(interp).values())


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


def test_training_pictures_are_seen_as_in_validation(animals):
    learn = animal_learner(animals)
    runs = [ClassificationInterpretation.from_learner(learn, 0) for _ in range(2)]
    assert torch.equal(runs[0].losses, runs[1].losses) and len(runs[0]) == 6       # no random crops
    assert runs[0].ds.items == learn.dls.train_ds.items and not runs[0].ds.train
    other = learn.get_preds(dl=learn.dls.test_dl(learn.dls.train_ds.items))[0]
    assert torch.allclose(other, runs[0].preds, atol=1e-6)
    assert runs[0].vocab == ['cat', 'dog'] and runs[0].certain


def test_bad_input():
    no_valid = Learner(DataLoaders.from_tensors((torch.randn(8, 5), torch.zeros(8).long()), device='cpu'), net(), F.cross_entropy)
    with pytest.raises(ValueError, match='no validation set'): Interpretation.from_learner(no_valid)
    with pytest.raises(ValueError, match='no loader 7'): Interpretation.from_learner(learner(), ds_idx=7)
    assert len(Interpretation.from_learner(no_valid, 0)) == 8
    with pytest.raises(ValueError, match='no targets'):
        Interpretation.from_learner(learner(DataLoaders(tensors().train, tensors().valid, device='cpu', n_inp=1)), dl=TensorDataLoader(torch.randn(4, 5)))
    with pytest.raises(ValueError, match='each item needs one'): Interpretation(None, preds, classes, each_ce[:3])
    with pytest.raises(ValueError, match='not one class an item'): ClassificationInterpretation(None, preds, numbers, each_ce)
    with pytest.raises(ValueError, match='not one class an item'): ClassificationInterpretation(None, (preds, preds), classes, each_ce)
    for k in (0, -3):
        with pytest.raises(ValueError, match='1 or more'): Interpretation(None, preds, classes, each_ce).top_losses(k)
    assert len(Interpretation(None, preds, classes, each_ce).top_losses(100)[0]) == 7
    with pytest.raises(ValueError, match='vocab has 2 names'):
        ClassificationInterpretation(None, preds, classes, each_ce, ['a', 'b']).confusion_matrix()


def test_without_names_the_classes_are_numbers():
    interp = ClassificationInterpretation.from_learner(learner())
    assert interp.vocab == [0, 1, 2] and interp.confusion_matrix().sum() == 21
    assert all(isinstance(a, int) and isinstance(b, int) for a, b, _ in interp.most_confused())
    interp.plot_confusion_matrix(), interp.plot_top_losses(2), interp.print_classification_report()


@pytest.mark.parametrize('loss_func, dtype', [(nn.BCEWithLogitsLoss(), torch.float), (lambda p, t: F.mse_loss(p, t), torch.float)])
@pytest.mark.parametrize('flat', [False, True])
def test_one_score_an_item_is_two_classes(loss_func, dtype, flat):
    target = lambda n: torch.randint(0, 2, (n,) if flat else (n, 1)).to(dtype)
    model = nn.Sequential(net(1), nn.Flatten(0)) if flat else net(1)
    learn = learner(tensors(target=target, vocab=['no', 'yes']), loss_func, model)
    interp = ClassificationInterpretation.from_learner(learn)
    outputs, targs = learn.get_preds(act=lambda x: x)
    assert (interp.confusion_matrix() == metrics.confusion_matrix(targs.flatten(), outputs.flatten() > 0)).all()
    assert interp.certain == (loss_func.__class__ is nn.BCEWithLogitsLoss)
    assert 'no' in interp.describe(0) or 'yes' in interp.describe(0)


# ---- counting ----

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)

def from_pairs(pairs, n=5):
    actual, said = (torch.tensor(x) for x in zip(*pairs))
    return ClassificationInterpretation(None, F.one_hot(said, n).float(), actual, torch.zeros(len(actual)), list('abcde'[:n]), certain=True)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_scikit_learn(pairs):
    interp = from_pairs(pairs)
    actual, said = zip(*pairs)
    matrix = interp.confusion_matrix()
    assert (matrix == metrics.confusion_matrix(actual, said, labels=range(5))).all()
    report, theirs = interp.classification_report(), metrics.classification_report(
        actual, said, labels=range(5), target_names=list('abcde'), output_dict=True, zero_division=0)
    for name in 'abcde':
        assert np.allclose(report.loc[name], [theirs[name][key] for key in ('precision', 'recall', 'f1-score', 'support')])
    found = interp.most_confused()
    wrong = collections.Counter(('abcde'[a], 'abcde'[b]) for a, b in pairs if a != b)
    assert {(a, b): n for a, b, n in found} == wrong
    assert [n for *_, n in found] == sorted((n for *_, n in found), reverse=True)
    for least in (2, 3): assert interp.most_confused(least) == [row for row in found if row[2] >= least]


def test_the_printed_report_is_scikit_learn_s(capsys):
    interp = from_pairs([(0, 0), (1, 2), (2, 2)])
    interp.print_classification_report()
    assert capsys.readouterr().out.strip() == metrics.classification_report([0, 1, 2], [0, 2, 2], labels=range(5), target_names=list('abcde'), zero_division=0).strip()


def test_the_matrix_as_a_picture():
    interp = from_pairs([(0, 0), (0, 1), (0, 1), (2, 2)], 3)
    ax = interp.plot_confusion_matrix()
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {((0, 0), '1'), ((1, 0), '2'), ((2, 2), '1')}
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ('Confusion matrix', 'predicted', 'actual')
    assert [t.get_text() for t in ax.get_xticklabels()] == [t.get_text() for t in ax.get_yticklabels()] == list('abc')
    right, wrong = ax.images
    assert right.get_array().compressed().tolist() == [1, 1] and wrong.get_array().compressed().tolist() == [2]
    shares = interp.plot_confusion_matrix(normalize=True, norm_dec=3)
    assert sorted(t.get_text() for t in shares.texts) == ['0.333', '0.667', '1.000'] and 'shares' in shares.get_title()
    assert not interp.plot_confusion_matrix(plot_txt=False).texts
    own = plt.subplots()[1]
    assert interp.plot_confusion_matrix(ax=own) is own


def test_the_picture_of_37_classes_can_be_read():
    n = 37
    actual = torch.arange(n).repeat(3)
    interp = ClassificationInterpretation(None, F.one_hot((actual * 2) % n, n).float(), actual, torch.zeros(len(actual)),
                                          [f'a_rather_long_name_{i}' for i in range(n)])
    ax = interp.plot_confusion_matrix()
    ax.figure.canvas.draw()
    for labels, side in ((ax.get_xticklabels(), 'x'), (ax.get_yticklabels(), 'y')):
        boxes = sorted((box.x0, box.x1) if side == 'x' else (box.y0, box.y1) for box in (t.get_window_extent() for t in labels))
        assert len(boxes) == n and all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(boxes)), f'names along {side} overlap'
    box = ax.texts[0].get_window_extent()
    assert box.width < ax.bbox.width / n and box.height < ax.bbox.height / n
    assert ax.get_tightbbox().x0 >= 0 and ax.get_tightbbox().y0 >= 0


# ---- looking ----

def test_top_losses_shows_files_and_says_what_is_gone(animals):
    learn = animal_learner(animals)
    interp = ClassificationInterpretation.from_learner(learn)
    order = interp.top_losses(3)[1].tolist()
    interp.ds.items[order[1]].unlink()
    state = get_rng_state()
    figure = interp.plot_top_losses(100)
    assert torch.equal(state['torch'], get_rng_state()['torch'])
    axes = [ax for ax in figure.axes if ax.get_title()]
    assert len(axes) == 6 and len(axes[0].images) == 1 and not axes[1].images
    assert 'no longer there' in axes[1].texts[0].get_text() and interp.ds.items[order[1]].name in axes[1].texts[0].get_text()
    for ax, i in zip(axes, order):
        p, loss = interp.preds[i].max(), interp.losses[i]
        assert ax.get_title() == f'{interp.vocab[interp.predicted[i]]} /\n{interp.vocab[interp.actual[i]]}\n{loss:.2f} / {p:.2f}'
    assert 'highest' in figure.get_suptitle() and 'lowest' in interp.plot_top_losses(2, largest=False).get_suptitle()


@pytest.mark.parametrize('item, kind', [(torch.rand(3, 4, 4), 'images'), (torch.rand(1, 4, 4), 'images'), (torch.rand(4, 4), 'images'),
                                        (torch.rand(5), 'patches'), (torch.tensor(3.), 'texts'), (torch.rand(2, 3, 4, 4), 'texts')])
def test_items_of_any_shape_can_be_shown(item, kind):
    interp = Interpretation([(item, torch.tensor(1.))], torch.rand(1, 2), torch.rand(1), torch.rand(1))
    ax = interp.show(0)
    assert len(getattr(ax, kind)) >= 1 and 'loss' in ax.get_title()
    assert interp.plot_top_losses().get_suptitle()


def test_regression_from_end_to_end():
    learn = learner(tensors(target=lambda n: torch.randn(n, 2)), F.mse_loss, net(2))
    interp = Interpretation.from_learner(learn)
    worst = interp.top_losses(1)[1].item()
    assert worst == (interp.preds - interp.targs).square().mean(1).argmax()
    assert f'{interp.preds[worst, 0]:.3g}' in interp.describe(worst) and f'{interp.targs[worst, 1]:.3g}' in interp.describe(worst)
    interp.plot_top_losses(4)


# ---- decisions ----

def tree(*folders):
    "What is in these folders: path -> content"
    return {(folder.name, path.relative_to(folder).as_posix()): path.read_bytes() for folder in folders
            for path in folder.rglob('*') if path.is_file() and path.name != 'manifest.json'}


def contents(*folders): return collections.Counter(tree(*folders).values())


@pytest.fixture
def named(tmp_path):
    "Six files named like cat_1.png"
    folder = tmp_path/'pets'
    folder.mkdir()
    for name in ('cat_1', 'cat_2', 'cat_3', 'dog_1', 'dog_2', 'red_fox_07'): (folder/f'{name}.png').write_bytes(name.encode())
    return folder


def test_decisions_survive_and_can_be_undone(named):
    decisions = Decisions(named, 'name')
    decisions.delete(named/'cat_1.png')
    decisions.relabel('cat_2.png', 'dog')       # a path inside the folder will do
    decisions.delete(named/'cat_2.png')
    again = Decisions(named, 'name')
    assert again[named/'cat_2.png'] == Decision('delete') and len(again) == 2 and again['dog_1.png'] is None
    assert again.undo() == named/'cat_2.png' and decisions['cat_2.png'] == Decision('relabel', 'dog')   # the one before it stands again
    assert again.undo() == named/'cat_2.png' and decisions['cat_2.png'] is None
    assert again.undo() == named/'cat_1.png' and again.undo() is None and len(decisions) == 0
    decisions.keep('cat_1.png')
    decisions.keep('cat_1.png')                 # said twice is decided once
    assert decisions.items() == [(named/'cat_1.png', Decision('keep'))]
    decisions.undo()
    assert len(again) == 0 and contents(named).total() == 6


def test_two_sessions_do_not_lose_each_other_s_decisions(named):
    one, other = Decisions(named, 'name'), Decisions(named, 'name')
    one.delete('cat_1.png')
    other.delete('cat_2.png')
    one.keep('cat_3.png')
    assert len(one) == len(other) == 3


def test_a_write_that_fails_leaves_the_file_whole(named, monkeypatch):
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    def full(*args): raise OSError(errno.ENOSPC, 'no space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError): decisions.delete('cat_2.png')
    assert decisions.items() == [(named/'cat_1.png', Decision('delete'))]
    assert sorted(p.name for p in named.parent.iterdir()) == ['pets', 'pets.decisions.json']


@pytest.mark.parametrize('text', ['', '{"kind": "decis', '[]', '{"kind": "something else"}', 'null', b'\xff\xfe'])
def test_a_damaged_file_is_an_error_and_stays(named, text):
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    Decisions(named, 'name')                     # a second session: keeps a copy of the last good state
    text = text if isinstance(text, bytes) else text.encode()
    decisions.file.write_bytes(text)
    with pytest.raises(ValueError, match='damaged.*bak.*fresh=True'): Decisions(named, 'name')
    with pytest.raises(ValueError, match='damaged'): decisions.delete('cat_2.png')
    assert decisions.file.read_bytes() == text
    spare = decisions.file.with_name(decisions.file.name + '.bak')
    assert 'cat_1.png' in json.loads(spare.read_text())['decisions']
    for number in (1, 2):
        decisions.file.write_bytes(text)
        assert len(Decisions(named, 'name', fresh=True)) == 0
        assert decisions.file.with_name(f'{decisions.file.name}.aside-{number}').read_bytes() == text
    shutil.copy(spare, decisions.file)
    assert len(Decisions(named, 'name')) == 1


def test_decisions_about_other_pictures(named, tmp_path):
    mine = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png'): mine.delete(name)
    (tmp_path/'holiday').mkdir()
    with pytest.raises(ValueError, match="'pets'.*'holiday'"): Decisions(tmp_path/'holiday', file=mine.file)
    other = tmp_path/'elsewhere'/'pets'          # the same name, other pictures under the same names
    other.mkdir(parents=True)
    for name in ('cat_1.png', 'cat_2.png'): (other/name).write_bytes(b'another picture')
    with pytest.raises(ValueError, match='other pictures'): Decisions(other, file=mine.file)
    assert len(mine) == 2 and len(Decisions(other, file=tmp_path/'own.json')) == 0


def test_pictures_gone_or_replaced_since_are_left_out(named):
    decisions = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png', 'cat_3.png'): decisions.delete(name)
    (named/'cat_1.png').unlink()
    (named/'cat_2.png').write_bytes(b'somebody put another picture here')
    moves = Decisions(named, 'name').apply()
    assert [source.name for source, _ in moves.done] == ['cat_3.png']
    assert {path.name: why for path, why in moves.skipped} == {'cat_1.png': 'is no longer there', 'cat_2.png': 'is another picture than the one decided on'}
    assert (named/'cat_2.png').exists() and 'no longer there' in repr(moves)
    with pytest.raises(FileNotFoundError, match='no picture'): decisions.delete('cat_1.png')
    decisions.forget('cat_1.png')                # but a decision about it can be dropped
    assert len(decisions) == 1


def test_what_cannot_be_decided(named, tmp_path):
    decisions = Decisions(named, 'name', vocab=['cat', 'dog', 'red_fox'])
    with pytest.raises(ValueError, match='Did you mean dog'): decisions.relabel('cat_1.png', 'dogg')
    (tmp_path/'alien_1.png').touch()
    for path in (tmp_path/'alien_1.png', named/'..'/'alien_1.png'):
        with pytest.raises(ValueError, match='is not in'): decisions.delete(path)
    free = Decisions(named, 'name')
    for label in ('../up', 'a/b', '..', '', ' ', 'a\\b', 'a\0b'):
        with pytest.raises(ValueError, match='cannot be the name'): free.relabel('cat_1.png', label)
    (named/'no number.png').touch()
    with pytest.raises(ValueError, match='label_12'): free.relabel('no number.png', 'cat')
    with pytest.raises(ValueError, match="place='name'"): Decisions(named).relabel('cat_1.png', 'dog')
    with pytest.raises(ValueError, match='out of'): Decisions(named, lambda path, label: tmp_path/path.name).relabel('cat_1.png', 'dog')
    with pytest.raises(ValueError, match='place is'): Decisions(named, 'nmae')
    with pytest.raises(FileNotFoundError, match='no folder'): Decisions(tmp_path/'nowhere')
    assert len(free) == 0 and not decisions.file.exists()


def test_relabelling_by_name_never_overwrites(named):
    before = tree(named)
    decisions = Decisions(named, 'name')
    for name, label in (('cat_1', 'dog'), ('cat_2', 'dog'), ('dog_1', 'cat'), ('red_fox_07', 'cat')): decisions.relabel(f'{name}.png', label)
    decisions.relabel('cat_3.png', 'cat')        # that is its label already
    moves = decisions.apply()
    after = {name: content.decode() for (_, name), content in tree(named).items()}
    assert after == {'dog_3.png': 'cat_1', 'dog_4.png': 'cat_2', 'cat_4.png': 'dog_1', 'cat_07.png': 'red_fox_07', 'cat_3.png': 'cat_3', 'dog_2.png': 'dog_2'}
    assert len(moves.done) == 4 and len(decisions) == 0 and decisions.undo() is None
    decisions.restore()
    assert tree(named) == before


def test_relabelling_by_folder(animals):
    before = tree(animals)
    (animals/'dog'/'0.png').write_bytes(b'was there before')
    decisions = Decisions(animals)
    decisions.relabel('cat/0.png', 'dog')
    decisions.relabel('cat/2.png', 'fox')        # a folder that is not there yet
    decisions.apply()
    assert tree(animals)['animals', 'dog/2.png'] == before['animals', 'cat/0.png'] and (animals/'fox'/'2.png').exists()
    assert (animals/'dog'/'0.png').read_bytes() == b'was there before'
    decisions.restore()
    assert tree(animals) == {**before, ('animals', 'dog/0.png'): b'was there before'}


def test_labels_that_stand_elsewhere_are_only_written_down(named):
    decisions = Decisions(named, None)
    decisions.relabel('cat_1.png', 'dog')
    decisions.delete('cat_2.png')
    moves = decisions.apply()
    assert len(moves.done) == 1 and 'correct it where the labels stand' in moves.skipped[0][1]
    assert decisions.items() == [(named/'cat_1.png', Decision('relabel', 'dog'))]


def test_the_bin_is_hidden_from_the_data(named):
    from lessonlib.items import get_image_files
    decisions = Decisions(named, 'name')
    decisions.delete('cat_1.png')
    decisions.apply()
    assert len(get_image_files(named.parent)) == 5 and (decisions.bin/'cat_1.png').read_bytes() == b'cat_1'
    (named/'cat_1.png').write_bytes(b'a new one')        # the same name again
    decisions.delete('cat_1.png')
    decisions.apply()
    assert contents(decisions.bin) == collections.Counter([b'cat_1', b'a new one'])
    moves = decisions.restore()                          # the later one comes back first, and has the place
    assert (named/'cat_1.png').read_bytes() == b'a new one'
    assert len(moves.done) == 1 and 'another cat_1.png' in moves.skipped[0][1]
    (named/'cat_1.png').rename(named/'cat_9.png')
    assert len(decisions.restore().done) == 1 and (named/'cat_1.png').read_bytes() == b'cat_1'


def test_restore_moves_nothing_but_what_was_moved(named):
    decisions = Decisions(named, 'name')
    decisions.relabel('cat_1.png', 'dog')
    [(_, goal)] = decisions.apply().done
    goal.write_bytes(b'a stranger under this name')
    moves = decisions.restore()
    assert not moves.done and 'another picture' in moves.skipped[0][1] and goal.read_bytes() == b'a stranger under this name'


def decide(decisions):
    for name in ('cat_1', 'dog_2', 'red_fox_07'): decisions.delete(f'{name}.png')
    decisions.relabel('cat_2.png', 'dog')
    decisions.relabel('dog_1.png', 'cat')
    decisions.keep('cat_3.png')


class Off(BaseException): "the power fails"


def fails_at(function, step):
    "`function`, but its call number `step` is never made"
    calls = itertools.count()
    def failing(*args, **kwargs):
        if next(calls) == step: raise Off
        return function(*args, **kwargs)
    return failing


@pytest.mark.parametrize('action', ['apply', 'restore'])
@pytest.mark.parametrize('where', ['os.rename', '_write_json', 'os.replace'])
@pytest.mark.parametrize('step', range(6))
def test_broken_off_anywhere_nothing_is_lost(named, monkeypatch, action, where, step):
    original = tree(named)
    decisions = Decisions(named, 'name')
    decide(decisions)
    if action == 'restore': decisions.apply()
    everything = contents(named, decisions.bin) if decisions.bin.exists() else contents(named)
    target, name = (module, where) if where == '_write_json' else (os, where.partition('.')[2])
    with monkeypatch.context() as patched:
        patched.setattr(target, name, fails_at(getattr(target, name), step))
        try: getattr(decisions, action)()
        except Off: pass
    assert contents(named, decisions.bin) == everything
    again = Decisions(named, 'name')             # a new session
    again.apply()
    assert contents(named, decisions.bin) == everything
    if action == 'apply':
        assert {path.name for path in decisions.bin.glob('*.png')} == {'cat_1.png', 'dog_2.png', 'red_fox_07.png'}
        assert len(tree(named)) == 3 and [decision for _, decision in again.items()] == [Decision('keep')]
    again.restore()
    assert tree(named) == original and not list(decisions.bin.glob('*.png'))


def test_killed_between_two_moves(named):
    decisions, original = Decisions(named, 'name'), tree(named)
    decide(decisions)
    script = ('import os, sys\nfrom lessonlib.cleaner import Decisions\nclass Dies(Decisions):\n    n = 0\n    def _move(self, *ends):\n'
              '        if self.n == 2: os._exit(9)\n        self.n += 1\n        super()._move(*ends)\nDies(sys.argv[1], "name").apply()')
    done = subprocess.run([sys.executable, '-c', script, str(named)], cwd=Path(__file__).parent.parent)
    assert done.returncode == 9 and len(tree(named)) == 4
    again = Decisions(named, 'name')
    assert len(again.apply().done) == 5 and len(tree(named)) == 3
    again.restore()
    assert tree(named) == original


def test_broken_off_after_the_last_move(named, monkeypatch):
    "All pictures that were decided on are in the bin, and the file does not know it yet: that is no file of other pictures"
    decisions = Decisions(named, 'name')
    for name in ('cat_1.png', 'cat_2.png'): decisions.delete(name)
    with monkeypatch.context() as patched, pytest.raises(Off):
        patched.setattr(module, '_write_json', fails_at(module._write_json, 1))
        decisions.apply()
    assert len(Decisions(named, 'name')) == 2 and len(Decisions(named, 'name').apply().done) == 2 and len(decisions) == 0


def test_names_that_something_may_come_back_to_stay_free(named):
    original, decisions = tree(named), Decisions(named, 'name')
    decisions.delete('dog_2.png')
    decisions.apply()
    decisions.relabel('cat_1.png', 'dog')
    decisions.relabel('red_fox_07.png', 'dog')
    (named/'dog_07.png').write_bytes(b'seven')
    assert {goal.name for _, goal in decisions.apply().done} == {'dog_3.png', 'dog_08.png'}
    assert len(decisions.restore().done) == 3
    assert tree(named) == {**original, ('pets', 'dog_07.png'): b'seven'}


def test_changing_one_s_mind_after_a_break(named, monkeypatch):
    decisions, original = Decisions(named, 'name'), tree(named)
    for name in ('cat_1.png', 'cat_2.png', 'cat_3.png'): decisions.delete(name)
    with monkeypatch.context() as patched, pytest.raises(Off):
        patched.setattr(os, 'rename', fails_at(os.rename, 1))
        decisions.apply()
    decisions.keep('cat_2.png')
    decisions.apply()
    assert (named/'cat_2.png').exists() and not (named/'cat_1.png').exists() and not (named/'cat_3.png').exists()
    decisions.restore()
    assert tree(named) == original


@pytest.mark.parametrize('crash', [False, True])
def test_a_bin_on_another_disk(named, tmp_path, monkeypatch, crash):
    original = tree(named)
    decisions = Decisions(named, 'name', bin=tmp_path/'other disk'/'bin')
    decide(decisions)
    def elsewhere(source, goal):
        if str(source).startswith(str(decisions.bin)) != str(goal).startswith(str(decisions.bin)): raise OSError(errno.EXDEV, 'another device')
        return rename(source, goal)
    rename = os.rename
    monkeypatch.setattr(os, 'rename', elsewhere)
    if crash:
        with monkeypatch.context() as patched, pytest.raises(Off):       # copied, and not yet removed
            patched.setattr(Path, 'unlink', lambda self, **kw: (_ for _ in ()).throw(Off) if self.parent == named else os.unlink(self) if self.exists() else None)
            decisions.apply()
        assert contents(named)[b'cat_1'] == contents(decisions.bin)[b'cat_1'] == 1
    decisions.apply()
    assert len(tree(decisions.bin)) == len(tree(named)) == 3 and set(contents(named, decisions.bin)) == set(original.values())
    decisions.restore()
    assert tree(named) == original


def test_a_move_never_lands_on_a_file(named):
    decisions = Decisions(named, 'name')
    with pytest.raises(FileExistsError): decisions._move(named/'cat_1.png', named/'cat_2.png')
    assert (named/'cat_2.png').read_bytes() == b'cat_2' and (named/'cat_1.png').exists()


steps = st.lists(st.one_of(st.tuples(st.sampled_from(['delete', 'keep', 'forget', 'cat', 'dog', 'fox']), st.integers(0, 5)),
                           st.tuples(st.sampled_from(['undo', 'apply', 'restore', 'reopen']), st.just(0))), max_size=14)


@given(steps, st.sampled_from(['name', 'folder']))
@settings(max_examples=60, deadline=None)
def test_whatever_is_decided_nothing_is_lost(steps, place):
    with tempfile.TemporaryDirectory() as place_for_it:
        folder = Path(place_for_it)/'pets'
        for i, kind in enumerate(['cat', 'cat', 'cat', 'dog', 'dog', 'fox']):
            file = folder/kind/f'{i // 2}.png' if place == 'folder' else folder/f'{kind}_{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f'{kind}{i}'.encode())
        original, decisions = tree(folder), Decisions(folder, place)
        for what, i in steps:
            files = sorted(path for path in folder.rglob('*.png'))
            if what in ('undo', 'apply', 'restore'): getattr(decisions, what)()
            elif what == 'reopen': decisions = Decisions(folder, place)
            elif i < len(files):
                before = decisions.items()
                if what in ('delete', 'keep', 'forget'): getattr(decisions, what)(files[i])
                else: decisions.relabel(files[i], what)
                if decisions.items() != before:
                    decisions.undo()
                    assert sorted(decisions.items()) == sorted(before)
                    decisions.relabel(files[i], what) if what in ('cat', 'dog', 'fox') else getattr(decisions, what)(files[i])
            assert contents(folder, decisions.bin) == collections.Counter(original.values())
        decisions.restore()
        assert tree(folder) == original


# ---- the cleaner ----

def cleaner_of(folder, **kwargs):
    files = sorted(folder.rglob('*.png'))
    return ImageClassifierCleaner((files, [file.parent.name for file in files], [int(file.stem) / 10 for file in files]), **kwargs)


def test_the_cleaner_from_a_learner(animals):
    learn = animal_learner(animals)
    state = get_rng_state()
    cleaner = ImageClassifierCleaner(learn)
    assert torch.equal(state['torch'], get_rng_state()['torch'])
    assert list(cleaner.sets) == ['Train', 'Valid'] and cleaner.vocab == ['cat', 'dog']
    assert (cleaner.decisions.folder, cleaner.decisions.place) == (animals, 'folder')
    interp = ClassificationInterpretation.from_learner(learn)
    losses, order = interp.top_losses()
    for picture, loss, i in zip(cleaner.view('Valid'), losses, order.tolist(), strict=True):
        assert picture.path == interp.ds.items[i] and picture.loss == pytest.approx(loss.item())
        assert picture.label == picture.path.parent.name and picture.predicted == interp.vocab[interp.predicted[i]]
    assert {p.path for p in cleaner.view('Train')} == set(learn.dls.train_ds.items)
    no_valid = DataLoaders(learn.dls.train, None, vocab=learn.dls.vocab, device='cpu')
    assert list(ImageClassifierCleaner(Learner(no_valid, learn.model, F.cross_entropy)).sets) == ['Train']


def test_views_of_the_cleaner(animals):
    cleaner = cleaner_of(animals, max_n=4)
    assert [p.path.stem for p in cleaner.pictures] == ['11', '10', '9', '8']
    assert [p.path.stem for p in cleaner.view(label='cat')] == ['10', '8', '6', '4']
    cleaner.decisions.delete(cleaner.pictures[1].path)
    cleaner.decisions.relabel(cleaner.pictures[3].path, 'dog')
    cleaner.decisions.keep(cleaner.pictures[0].path)
    assert (cleaner.delete(), cleaner.change()) == ([1], [(3, 'dog')])
    cleaner.view(label='dog')
    assert (cleaner.delete(), cleaner.change()) == ([], [])
    assert cleaner_of(animals).view(label='cat') and cleaner_of(animals, max_n=4).decisions.items() == cleaner.decisions.items()
    cleaner.view(label='cat')
    (animals/'cat'/'10.png').unlink()             # somebody deleted it by hand
    assert [p.path.stem for p in cleaner.view(label='cat')] == ['8', '6', '4', '2']
    with pytest.raises(ValueError, match='no class'): cleaner.view(label='cot')
    with pytest.raises(ValueError, match='no split'): cleaner.view('Test')


def test_the_cleaner_applies_and_restores(animals):
    before, cleaner = tree(animals), cleaner_of(animals)
    cleaner.decisions.delete(animals/'cat'/'10.png')
    cleaner.decisions.relabel(animals/'dog'/'11.png', 'cat')
    assert len(cleaner.apply().done) == 2 and [p.path.stem for p in cleaner.pictures][:2] == ['9', '8']
    assert (animals/'cat'/'11.png').exists() and (cleaner.decisions.bin/'cat'/'10.png').exists()
    cleaner.restore()
    assert tree(animals) == before and cleaner.pictures[0].path.stem == '11'


def test_where_labels_stand_is_found_out(animals, named, tmp_path):
    files = sorted(named.iterdir())
    labels = [file.stem.rpartition('_')[0] for file in files]
    found = ImageClassifierCleaner((files, labels, range(6)))
    assert (found.decisions.place, found.decisions.folder, found.vocab) == ('name', named, ['cat', 'dog', 'red_fox'])
    one_class = sorted((animals/'cat').iterdir())
    assert ImageClassifierCleaner((one_class, ['cat'] * 6, range(6))).decisions.folder == animals
    elsewhere = ImageClassifierCleaner((files, list('abcabc'), range(6)), file=tmp_path/'x.json')
    assert elsewhere.decisions.place is None


def test_the_cleaner_and_bad_input(animals, tmp_path):
    files = sorted(animals.rglob('*.png'))
    with pytest.raises(ValueError, match='not paths'): ImageClassifierCleaner(learner())
    with pytest.raises(ValueError, match='12 files, 3 labels'): ImageClassifierCleaner((files, ['cat'] * 3, range(12)))
    with pytest.raises(ValueError, match='no pictures'): ImageClassifierCleaner(([], [], []))
    nan = ImageClassifierCleaner((files, [f.parent.name for f in files], [float('nan') if i == 5 else i for i in range(12)]))
    assert nan.pictures[0].path == files[5]
    (animals/'cat'/'0.png').write_bytes(b'not a picture at all')
    assert len(cleaner_of(animals)._make_face().children[2].children) == len(cleaner_of(animals).sheet().axes) == 12


def test_the_face_writes_decisions_down_and_undoes_them(animals):
    cleaner = cleaner_of(animals)
    face = cleaner._make_face()
    split, label, undo = face.children[0].children
    menu = lambda i: face.children[2].children[i].children[1]
    menu(0).label = 'delete'
    menu(1).label = '→ dog'
    assert cleaner.decisions.items() == [(animals/'dog'/'11.png', Decision('delete')), (animals/'cat'/'10.png', Decision('relabel', 'dog'))]
    assert '1 to delete, 1 to relabel' in face.children[1].value
    label.value = 'dog'
    assert len(face.children[2].children) == 6 and menu(0).label == 'delete'
    label.value = ''
    assert menu(1).label == '→ dog'
    undo.click()
    assert menu(1).label == '(undecided)' and 'undone: 10.png' in face.children[1].value and len(cleaner.decisions) == 1
    menu(0).label = '(undecided)'
    assert len(cleaner.decisions) == 0
    (animals/'dog'/'9.png').unlink()
    menu(2).label = 'delete'                      # gone while it was shown
    assert 'not written down' in face.children[1].value and len(cleaner.decisions) == 0
    assert '#ddd' in face.children[2].children[2].layout.border_top


def test_on_paper_it_is_a_figure(animals, monkeypatch):
    shown = []
    monkeypatch.setattr('IPython.display.display', shown.append)
    cleaner = cleaner_of(animals)
    cleaner.decisions.delete(animals/'dog'/'11.png')
    cleaner.decisions.relabel(animals/'cat'/'10.png', 'dog')
    monkeypatch.setenv('LESSONLIB_PAPER', '1')
    cleaner._ipython_display_()
    figure, = shown
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == 'dog\nloss 1.10\ndelete' and titles[1] == 'cat\nloss 1.00\nrelabel: dog' and titles[2].endswith('undecided')
    assert 'highest loss first' in figure.get_suptitle() and '1 to delete, 1 to relabel' in figure.get_suptitle()
    assert [bool(ax.get_title()) for ax in cleaner.sheet(3, columns=2).axes] == [True] * 3 + [False]
    assert cleaner._face is None                  # no widget was made
    monkeypatch.delenv('LESSONLIB_PAPER')
    cleaner._ipython_display_()
    assert type(shown[1]).__name__ == 'VBox' and '12 All' in repr(cleaner)


def test_import_is_light():
    script = 'import json, sys; import lessonlib.interpretation; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert not set(json.loads(done.stdout)) & {'torchvision', 'matplotlib', 'pandas', 'sklearn', 'ipywidgets', 'IPython', 'timm', 'PIL'}
