"Interpretation against torch and scikit-learn: losses of single items, counts, pictures of mistakes."
import collections
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

from helpers.animals import animal_learner, animals  # noqa: F401  (animals is a fixture)
from lessonlib.core import get_rng_state, set_seed
from lessonlib.interpretation import ClassificationInterpretation, Interpretation, item_losses
from lessonlib.batches import DataLoaders, TensorDataLoader, accuracy
from lessonlib.learner import Learner


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


def test_import_is_light():
    script = 'import json, sys; import lessonlib.interpretation; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert not set(json.loads(done.stdout)) & {'torchvision', 'matplotlib', 'pandas', 'sklearn', 'ipywidgets', 'IPython', 'timm', 'PIL'}


def test_items_that_nobody_has_labelled_cost_nothing_and_come_last():
    dls = tensors()
    x, y = dls.valid.tensors
    y[::4] = -100
    learn = learner(dls, nn.CrossEntropyLoss())
    interp = ClassificationInterpretation.from_learner(learn)
    unlabelled = set(range(0, 21, 4))
    losses, order = interp.top_losses()
    assert losses.isfinite().all() and {*order[-len(unlabelled):].tolist()} == unlabelled
    assert interp.confusion_matrix().sum() == 21 - len(unlabelled)
    assert '(no label)' in interp.describe(0) and '(no label)' not in interp.describe(1)
    interp.plot_top_losses(21)
    masks = torch.randint(0, 3, (4, 6, 6))
    masks[1] = -100
    each = item_losses(nn.CrossEntropyLoss(), torch.randn(4, 3, 6, 6), masks)
    assert each[1] == 0 and (each[[0, 2, 3]] > 0).all()


def test_top_losses_belong_to_items_whatever_a_sampler_does():
    from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler
    x = torch.arange(40.)[:, None]
    ds = TensorDataset(x, torch.zeros(40, 1))
    dls = DataLoaders(DataLoader(ds, 8, sampler=WeightedRandomSampler([1.] * 20 + [9.] * 20, 40)),
                      DataLoader(ds, 8, sampler=SubsetRandomSampler(range(30, 40))), device='cpu')
    learn = Learner(dls, nn.Identity(), F.mse_loss)
    assert torch.equal(learn.get_preds(0)[0], x) and torch.equal(learn.get_preds()[0], x[30:])
    assert torch.equal(learn.get_preds(dl=dls.train)[0], x)
    for ds_idx, n in ((0, 40), (1, 10)):
        interp = Interpretation.from_learner(learn, ds_idx)
        losses, places = interp.top_losses(3)
        assert len(interp) == n and torch.equal(torch.cat([interp.ds[i][0]**2 for i in places.tolist()]), losses)


def test_top_losses_come_with_their_items_and_in_rows(animals):
    interp = ClassificationInterpretation.from_learner(animal_learner(animals))
    losses, places, items = interp.top_losses(2, items=True)
    assert items == [interp.ds.items[i] for i in places.tolist()]
    for k, nrows, columns in ((2, 2, 1), (6, 3, 2), (5, 2, 3), (6, None, 3)):
        figure = interp.plot_top_losses(k, nrows=nrows)
        grid, drawn = figure.axes[0].get_gridspec(), sum(bool(ax.images) for ax in figure.axes)
        assert (grid.nrows, grid.ncols, drawn) == (nrows or 2, columns, k)
        plt.close(figure)


@pytest.mark.parametrize('n', [101, 3000])
def test_a_matrix_of_many_classes_keeps_its_size(n):
    t = torch.arange(n)
    interp = ClassificationInterpretation(None, t, t, torch.zeros(n), vocab=[f'bird {i}' for i in range(n)])
    interp.actual = interp.predicted = t
    ax = interp.plot_confusion_matrix()
    assert max(ax.figure.get_size_inches()) < 10 and not ax.texts and len(ax.get_xticks()) < 30


def test_a_notebook_shows_each_picture_once(tmp_path):
    "As the last line of a cell, and with the figure in a variable"
    import nbformat
    from lessonlib.course import _client, _kernel_environment
    setup = """import torch
from torch import nn
from lessonlib.batches import DataLoaders
from lessonlib.data_block import Block, CategoryBlock, DataBlock, TransformBlock
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.learner import Learner
block = DataBlock((TransformBlock, CategoryBlock), get_x=lambda n: torch.full((1, 4, 4), float(n)), get_y=lambda n: n % 2)
dls = block.dataloaders(range(20), bs=4)
learn = Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
interp = ClassificationInterpretation.from_learner(learn)"""
    cells = ['dls.show_batch()', 'dls.show_batch(dls.one_batch())', 'dls.train.show_batch(max_n=2)', 'learn.show_results()',
             'interp.plot_top_losses(4)', 'interp.plot_confusion_matrix()', 'fig = dls.show_batch()', 'fig = interp.plot_top_losses(2)']
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in [setup, *cells]])
    _client(book, tmp_path, 120).execute(env=_kernel_environment(tmp_path, paper=False))
    count = [sum('image/png' in output.get('data', {}) for output in cell.outputs) for cell in book.cells[1:]]
    assert dict(zip(cells, count)) == dict.fromkeys(cells, 1)
