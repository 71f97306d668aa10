"""Several labels: the loss against PyTorch's, scores against scikit-learn's, the block, thresholds, and what a learner
with several labels does from a table to an exported file."""
import math
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.metrics import f1_score, fbeta_score, precision_score, recall_score
from torch import nn
from torch.nn import functional as F

from helpers.real_lesson import needs_mirror, printed_on_real_data

from lessonlib.batches import as_metric, DataLoaders, TensorDataLoader
from lessonlib.checkpoint import Checkpoint, load_learner
from lessonlib.core import set_seed
from lessonlib.data_block import DataBlock, ImageBlock
from lessonlib.images import Resize
from lessonlib.items import ColReader, IndexSplitter
from lessonlib.learner import Callback, Learner
from lessonlib.multilabel import (accuracy_multi, accuracy_thresh, bce_with_logits, best_threshold, co_occurrence, F1ScoreMulti,
                                  fbeta, FBetaMulti, label_rows, MultiCategoryBlock, MultiLabelInterpretation, pos_weights,
                                  PrecisionMulti, RecallMulti)
from lessonlib.transfer import vision_learner

AVERAGES = ['samples', 'macro', 'micro', 'weighted', None]
seeds = st.integers(0, 9999)
COLOURS = dict(red=(220, 30, 30), green=(30, 200, 60), blue=(40, 60, 230))


def made(seed, n=30, labels=5, share=.3):
    "Scores, and targets of which some follow the scores"
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(n, labels, generator=generator) < share).float()
    return torch.randn(n, labels, generator=generator) * 2 + targets, targets


# -- the loss -------------------------------------------------------------------------------------------------------

@given(seeds, st.sampled_from([1e-3, 1., 30., 1e4]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_loss_and_gradient_equal_torch(seed, spread, weighted):
    scores, targets = made(seed)
    scores = (scores * spread).requires_grad_()
    weight = torch.linspace(.2, 9, 5) if weighted else None
    grads = []
    for loss in (bce_with_logits(scores, targets, weight), F.binary_cross_entropy_with_logits(scores, targets, pos_weight=weight)):
        grads += [loss, *torch.autograd.grad(loss, scores)]
    assert torch.allclose(grads[0], grads[2], rtol=1e-5, atol=1e-6)
    assert torch.allclose(grads[1], grads[3], atol=1e-7)


@pytest.mark.parametrize('score', [0., -0., 17., -17., 200., -200., 1e30, -1e30])
@pytest.mark.parametrize('target', [0., .3, 1.])
def test_extreme_scores_stay_numbers(score, target):
    "At 0, where a maximum has a corner, the gradient counts too"
    x = torch.tensor([score], requires_grad=True)
    loss = bce_with_logits(x, torch.tensor([target]))
    loss.backward()
    want = F.binary_cross_entropy_with_logits(torch.tensor([score]), torch.tensor([target]))
    assert torch.isfinite(loss) and torch.allclose(loss.detach(), want, rtol=1e-5, atol=1e-7)
    assert torch.allclose(x.grad, torch.sigmoid(x.detach()) - target, atol=1e-6)


@pytest.mark.parametrize('scores, targets, words', [
    (torch.zeros(3, 4), torch.zeros(3), r'\(3, 4\).*\(3,\)'),
    (torch.zeros(3), torch.tensor([0, 2, 1]), 'from 0 to 2.*cross_entropy'),
    (torch.zeros(2), torch.tensor([0., math.nan]), 'from'),
])
def test_loss_refuses(scores, targets, words):
    with pytest.raises(ValueError, match=words): bce_with_logits(scores, targets)


# -- scores ---------------------------------------------------------------------------------------------------------

@given(seeds, st.sampled_from(AVERAGES), st.sampled_from([0., .5, 1., 2., math.inf]), st.sampled_from([0., 1., math.nan]),
       st.floats(.05, .95), st.sampled_from([0., .05, .4, 1.]))
@settings(max_examples=150, deadline=None)
def test_fbeta_equals_scikit_learn(seed, average, beta, zero_division, thresh, share):
    scores, targets = made(seed, n=9, share=share)
    scores[:, 0], targets[:, 1] = -20, 0               # a label that is never given, and one that is never true
    scores[2], targets[2] = -20, 0                     # an item with nothing, rightly
    guess = (scores.sigmoid() > thresh).int()
    theirs = {0.: precision_score, math.inf: recall_score}.get(beta, partial(fbeta_score, beta=beta))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        want = theirs(targets.int(), guess, average=average, zero_division=zero_division)
    got = fbeta(scores, targets, beta, thresh, average, zero_division=zero_division)
    assert np.allclose(got.numpy(), want, equal_nan=True), (got, want)


def test_classes_equal_scikit_learn():
    scores, targets = made(3)
    guess = (scores.sigmoid() > .2).int()
    for average in AVERAGES[:4]:
        how = dict(average=average, zero_division=0)
        for metric, theirs, name in ((F1ScoreMulti, f1_score, 'f1'), (PrecisionMulti, precision_score, 'precision'),
                                     (RecallMulti, recall_score, 'recall')):
            ours = metric(.2, average=average)
            assert ours.name == f'{name}_{average}' and over_batches(ours, scores, targets, [30]) == pytest.approx(
                theirs(targets.int(), guess, **how))


def over_batches(metric, preds, targets, sizes):
    metric = as_metric(metric)
    metric.reset()
    for p, t in zip(preds.split(sizes), targets.split(sizes)):
        metric.accumulate(type('Learn', (), dict(pred=p, yb=(t,))))
    return metric.value


@pytest.mark.parametrize('average', AVERAGES[:4])
@pytest.mark.parametrize('sizes', [[30], [16, 14], [13, 13, 4], [29, 1]])
def test_unequal_batches_change_nothing(average, sizes):
    scores, targets = made(5)
    for metric in (FBetaMulti(2, .2, average=average), partial(fbeta, thresh=.2, average=average)):
        assert over_batches(metric, scores, targets, sizes) == pytest.approx(fbeta(scores, targets, 2, .2, average).item())
    assert over_batches(partial(accuracy_multi, thresh=.2), scores, targets, sizes) == pytest.approx(
        ((scores.sigmoid() > .2) == targets.bool()).float().mean().item())


def test_a_mean_of_batches_would_be_wrong():
    "So the test above can fail"
    scores, targets = made(5)
    means = [fbeta(p, t, 2, .2, 'macro') for p, t in zip(scores.split(8), targets.split(8))]
    assert abs(torch.stack(means).mean() - fbeta(scores, targets, 2, .2, 'macro')) > .01


def test_accuracy_multi():
    scores, targets = made(1)
    assert accuracy_thresh is accuracy_multi and as_metric(partial(accuracy_multi, thresh=.2)).name == 'accuracy_multi'
    assert accuracy_multi(scores.sigmoid(), targets, sigmoid=False) == accuracy_multi(scores, targets)
    each = [.1, .3, .5, .7, .9]
    by_hand = torch.stack([(scores[:, i].sigmoid() > t) == targets[:, i].bool() for i, t in enumerate(each)]).float().mean()
    assert accuracy_multi(scores, targets, thresh=each) == by_hand
    assert accuracy_multi(scores, targets, torch.tensor(each)) == by_hand


@pytest.mark.parametrize('call, words', [
    (lambda: fbeta(torch.zeros(2, 3), torch.zeros(2)), r'\(2, 3\).*\(2,\)'),
    (lambda: accuracy_multi(torch.zeros(2, 3), torch.zeros(3, 2)), 'differ'),
    (lambda: fbeta(torch.zeros(2, 3), torch.zeros(2, 3), average='mean'), "samples, macro.*'mean'"),
    (lambda: fbeta(torch.zeros(2, 3), torch.zeros(2, 3), beta=-1), 'beta is 0 or more, not -1'),
    (lambda: fbeta(torch.zeros(2, 3), torch.zeros(2, 3), beta=math.nan), 'beta is 0 or more'),
    (lambda: FBetaMulti(2, average=None), "macro.*'?None"),
])
def test_scores_refuse(call, words):
    with pytest.raises(ValueError, match=words): call()


# -- thresholds, weights, what goes together ------------------------------------------------------------------------

@given(seeds, st.sampled_from([.5, 1., 2.]), st.sampled_from(['samples', 'macro', 'micro']))
@settings(max_examples=20, deadline=None)
def test_best_threshold_is_best(seed, beta, average):
    scores, targets = made(seed)
    probs, score = scores.sigmoid(), partial(fbeta, sigmoid=False)
    best = best_threshold(probs, targets, beta, average)
    top = score(probs, targets, beta, best, average)
    assert all(score(probs, targets, beta, t / 20, average) <= top + 1e-9 for t in range(1, 20))
    each = best_threshold(probs, targets, beta, per_label=True)
    assert score(probs, targets, beta, each, 'macro') >= score(probs, targets, beta, best, 'macro') - 1e-9


def test_a_label_that_never_occurs_takes_the_common_threshold():
    scores, targets = made(2)
    targets[:, 3] = 0
    common, each = (best_threshold(scores.sigmoid(), targets, per_label=p) for p in (False, True))
    assert each[3] == common and len(each) == 5 and all(isinstance(t, float) for t in [common, *each])


def test_weights_and_companions():
    rows = torch.tensor([[1., 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    for most, last in ((10, 4), (2, 2)): assert pos_weights(rows, most).tolist() == pytest.approx([1 / 3, 1, last])
    together = co_occurrence(rows)
    assert together[0].tolist() == pytest.approx([1, 2 / 3, 0]) and together[1].tolist() == [1, 1, 0]
    assert together[2].isnan().all()


# -- the block ------------------------------------------------------------------------------------------------------

def test_encode_and_decode():
    block = MultiCategoryBlock(['a', 'b', 'c'])
    assert block.c == 3 and block.encode(('c', 'a', 'a')).tolist() == [1, 0, 1] and block.encode([]).tolist() == [0, 0, 0]
    assert block.decode(torch.tensor([0., 1, 1])) == ['b', 'c'] and block.decode(torch.zeros(3)) == []
    assert block.encode({'b'}).dtype == torch.float32 and isinstance(block.loss_func, nn.BCEWithLogitsLoss)
    assert block.decide(torch.tensor([.5, .51, .9])).tolist() == [False, True, True]
    assert MultiCategoryBlock('abc', thresh=[.9, .1, .5]).decide(torch.tensor([.5, .5, .5])).tolist() == [False, True, False]
    assert block.agree(['a', 'b'], ['b', 'a']) and not block.agree(['a'], ['a', 'b'])
    assert torch.equal(block.activation(torch.tensor([0., 3.])), torch.tensor([0., 3.]).sigmoid())


@given(st.lists(st.sets(st.sampled_from('abcdefg')), min_size=1, max_size=9).filter(any))
@settings(max_examples=50, deadline=None)
def test_any_set_of_labels_comes_back(sets):
    block = MultiCategoryBlock()
    block.setup(list(map(list, sets)))
    assert block.vocab == sorted(set().union(*sets)) and block.c == len(block.vocab)
    for labels in sets: assert set(block.decode(block.encode(list(labels)))) == labels


@pytest.mark.parametrize('block, value, words', [
    (MultiCategoryBlock(['clear', 'road']), 'clear road', "'clear road'.*label_delim"),
    (MultiCategoryBlock(['clear', 'road']), ['clear', 'raod'], "Did you mean 'road'.*MultiCategoryBlock"),
    (MultiCategoryBlock(['clear', 'road']), None, 'missing.*empty list'),
    (MultiCategoryBlock(['clear', 'road']), math.nan, 'missing.*empty list'),
    (MultiCategoryBlock(['clear', 'road']), ['clear', None], 'missing'),
    (MultiCategoryBlock(['clear', 'road']), 3, 'expected a list'),
    (MultiCategoryBlock(['clear', 'road'], encoded=True), [0, 1, 1], '3 zeros and ones for 2 labels'),
    (MultiCategoryBlock(['clear', 'road'], encoded=True), [0, 2], r'zeros and ones.*\[0, 2\]'),
    (MultiCategoryBlock(['clear', 'road'], encoded=True), ['clear'], 'zeros and ones'),
    (MultiCategoryBlock(), 'clear', 'label_delim'),
])
def test_values_that_cannot_be_right(block, value, words):
    with pytest.raises(ValueError, match=words): block.check(value)


def test_vocab_twice_and_no_labels_at_all():
    with pytest.raises(ValueError, match="'a'.*more than once"): MultiCategoryBlock(['a', 'b', 'a'])
    with pytest.raises(ValueError, match='No item of the training set has a label'): MultiCategoryBlock().setup([[], []])


def test_rows_that_are_encoded_already():
    block = MultiCategoryBlock(encoded=True)
    block.setup([[0, 1, 0], [1, 1, 0]])
    assert block.vocab == [0, 1, 2] and block.encode(np.array([0, 1, 1])).tolist() == [0, 1, 1]
    assert block.encode([True, False, False]).tolist() == [1, 0, 0]
    assert block.decode(torch.tensor([True, False, True])) == [0, 2]


# -- from a table to a file -----------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def table(tmp_path_factory):
    "48 pictures whose left and right halves each have a colour or none: up to three labels, or no label"
    folder, rows = tmp_path_factory.mktemp('halves'), []
    generator = np.random.default_rng(0)
    for i in range(48):
        picture, names = Image.new('RGB', (24, 24), (128, 128, 128)), []
        for k, name in enumerate(COLOURS):
            if generator.random() < .5:
                names.append(name)
                picture.paste(COLOURS[name], (8 * k, 0, 8 * k + 8, 24))
        picture.convert('CMYK').save(folder/f'{i}.jpg', quality=95)
        rows.append((str(i), ' '.join(names)))
    frame = pd.DataFrame(rows, columns=['name', 'tags'])
    frame.to_csv(folder/'labels.csv', index=False)
    return folder, pd.read_csv(folder/'labels.csv')    # an empty cell is read as nan


def block_of(folder, **how):
    return DataBlock((ImageBlock, MultiCategoryBlock(**how)), get_x=ColReader('name', pref=folder, suff='.jpg'),
                     get_y=ColReader('tags', label_delim=' '), splitter=IndexSplitter(range(36, 48)), item_tfms=Resize(16))


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AvgPool2d((16, 5)), nn.Flatten(), nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 3))


def learner(table, epochs=0, **how):
    folder, frame = table
    set_seed(1)
    dls = block_of(folder, **how).dataloaders(frame, bs=8, device='cpu')
    learn = Learner(dls, Small(), metrics=[FBetaMulti(2, .2), accuracy_multi], path=folder)
    with learn.no_logging(): learn.fit(epochs, 3e-2)
    return learn


def test_it_learns_several_things_at_once(table):
    learn = learner(table, 25)
    assert isinstance(learn.loss_func, nn.BCEWithLogitsLoss) and learn.dls.c == 3 and learn.dls.vocab == ['blue', 'green', 'red']
    _, f2, right = learn.validate()
    assert f2 > .9 and right > .9
    probs, truth = learn.get_preds()
    assert ((probs >= 0) & (probs <= 1)).all() and torch.equal(truth, label_rows(learn.dls.valid_ds))
    assert any(not row.any() for row in label_rows(learn.dls.train_ds)), 'some picture has no label'
    folder, frame = table
    for i in range(36, 48):
        names, mask, p = learn.predict(folder/f'{i}.jpg')
        assert names == [n for n, on in zip(learn.dls.vocab, mask) if on] and torch.equal(mask, p > .5)
        assert torch.allclose(p, probs[i - 36], atol=1e-5)
    learn.dls.blocks[-1].thresh = 0.
    assert learn.predict(folder/'36.jpg')[0] == ['blue', 'green', 'red']


def test_export_keeps_vocab_and_threshold(table, tmp_path):
    folder, frame = table
    for thresh in (.3, [.2, .9, .5]):
        dls = block_of(folder, thresh=thresh).dataloaders(frame, bs=8, device='cpu')
        learn = vision_learner(dls, 'resnet18', pretrained=False, path=tmp_path)
        again = load_learner(learn.export('several'))
        assert again.dls.vocab == dls.vocab and again.dls.blocks[-1].thresh == thresh
        for one, other in zip(learn.predict(folder/'3.jpg'), again.predict(folder/'3.jpg')):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_resume_ends_as_if_there_had_been_no_break(table, tmp_path):
    class Cut(Callback):
        def after_loss(self):
            if self.training and (self.epoch, self.iter) == (1, 2): raise KeyboardInterrupt
    def run(*cbs):
        learn = learner(table)
        learn.path = tmp_path
        set_seed(3)
        with learn.no_logging(): learn.fit(3, 1e-2, cbs=[Checkpoint(every_batches=1, resume=True), *cbs])
        return learn
    with pytest.raises(KeyboardInterrupt): run(Cut())
    cut = run()
    for file in (tmp_path/'models').iterdir(): file.unlink()
    whole = run()
    assert cut.recorder.values == whole.recorder.values
    for one, other in zip(cut.model.parameters(), whole.model.parameters()): assert torch.equal(one, other)


def test_a_label_that_only_validation_has(table):
    folder, frame = table
    other = frame.assign(tags=frame.tags.fillna(''))
    other.loc[40, 'tags'] = 'red gren'
    with pytest.raises(ValueError, match="'gren'.*Did you mean 'green'"): block_of(folder).dataloaders(other)
    other.loc[40, 'tags'] = 'red purple'
    with pytest.raises(ValueError, match='40.*validation set.*purple'): block_of(folder).dataloaders(other)
    dls = block_of(folder, vocab=['blue', 'green', 'purple', 'red']).dataloaders(other, bs=8)
    assert dls.c == 4 and label_rows(dls.valid_ds)[4].tolist() == [0, 0, 1, 1]


def test_a_column_that_was_not_split(table):
    folder, frame = table
    block = block_of(folder)
    block.getters[1] = ColReader('tags')
    with pytest.raises(ValueError, match='label_delim'): block.dataloaders(frame.fillna('red'))


def test_a_column_for_each_label(table):
    folder, frame = table
    wide = frame.assign(**{name: frame.tags.fillna('').str.contains(name).astype(int) for name in sorted(COLOURS)})
    block = DataBlock((ImageBlock, MultiCategoryBlock(sorted(COLOURS), encoded=True)),
                      get_x=ColReader('name', pref=folder, suff='.jpg'), get_y=ColReader(sorted(COLOURS)),
                      splitter=IndexSplitter(range(36, 48)), item_tfms=Resize(16))
    assert torch.equal(label_rows(block.datasets(wide)[0]), label_rows(block_of(folder).datasets(frame)[0]))


def test_pictures_of_it(table):
    import matplotlib.pyplot as plt
    learn = learner(table, 1)
    learn.dls.show_batch(max_n=4)
    titles = [ax.get_title() for ax in plt.gcf().axes]
    assert any(';' in title for title in titles) or '(none)' in titles
    learn.show_results(max_n=6)
    titles = [ax.get_title() for ax in plt.gcf().axes[:6]]
    assert all('\n(' in title for title in titles)
    plt.close('all')


# -- reading mistakes -----------------------------------------------------------------------------------------------

def test_interpretation_counts_what_is_there(table):
    learn = learner(table, 3, thresh=.4)
    interp = MultiLabelInterpretation.from_learner(learn)
    probs, truth = learn.get_preds()
    assert interp.thresh == .4 and torch.allclose(interp.preds, probs) and len(interp) == 12
    assert MultiLabelInterpretation.from_learner(learn, thresh=.7).thresh == .7
    each = F.binary_cross_entropy(probs, truth, reduction='none').mean(1)
    assert torch.allclose(interp.losses, each, atol=1e-5)
    rows, given = interp.by_label(), probs > .4
    for i, name in enumerate(learn.dls.vocab):
        missed, invented = interp.mistakes(name)
        assert set(missed.tolist()) == {k for k in range(12) if truth[k, i] and not given[k, i]}
        assert set(invented.tolist()) == {k for k in range(12) if not truth[k, i] and given[k, i]}
        assert (probs[missed, i].diff() >= 0).all() and (probs[invented, i].diff() <= 0).all(), 'the surest first'
        assert rows.loc[name, ['items', 'missed', 'invented']].tolist() == [truth[:, i].sum(), len(missed), len(invented)]
        assert rows.recall[name] == pytest.approx(recall_score(truth[:, i], given[:, i], zero_division=0))
        assert rows.precision[name] == pytest.approx(precision_score(truth[:, i], given[:, i], zero_division=0))
    assert rows['items'].is_monotonic_decreasing
    with pytest.raises(ValueError, match="'gren' is not in the vocab.*Did you mean 'green'"): interp.mistakes('gren')
    worst = interp.top_losses(1)[1].item()
    figure = interp.plot_top_losses(2)
    assert figure.axes[0].get_title() == interp.describe(worst) and 'missed / invented' in figure.get_suptitle()


def test_interpretation_of_plain_tensors():
    "Loaders without blocks: a threshold of one half, unless one is given"
    x, y = torch.randn(20, 4), (torch.rand(20, 3) < .4).float()
    learn = Learner(DataLoaders.from_tensors((x, y), (x, y), bs=6, vocab=list('abc')), nn.Linear(4, 3), nn.BCEWithLogitsLoss(), path='.')
    interp = MultiLabelInterpretation.from_learner(learn)
    assert interp.thresh == .5 and torch.allclose(interp.preds, learn.model(x).sigmoid().detach(), atol=1e-6)
    assert interp.by_label()['items'].sum() == y.sum()
    learn.dls.vocab = None                              # no names: numbers
    interp = MultiLabelInterpretation.from_learner(learn, thresh=0)
    assert sorted(interp.by_label().index) == [0, 1, 2] and interp.describe(0).startswith('– /')
    one_class = Learner(DataLoaders.from_tensors((x, y[:, 0].long()), (x, y[:, 0].long())), nn.Linear(4, 3), nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match='each of 3 labels.*ClassificationInterpretation'):
        MultiLabelInterpretation.from_learner(one_class)


@needs_mirror
def test_lesson_on_real_data(tmp_path, monkeypatch):
    from pathlib import Path
    book = Path(__file__).parent.parent/'nbs'/'34_multilabel.ipynb'
    assert 'never looking' in printed_on_real_data(book, ['planet_sample.tgz'], tmp_path, monkeypatch)
