"lessonlib.precompute: features of a frozen body, computed once; the head's learner; the way back."
import os
import warnings

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.small_photos import Tiny, home, loaders, photos, tiny_learner  # noqa: F401  fixtures too

from lessonlib import precompute as module
from lessonlib.augmentation import Flip, aug_transforms
from lessonlib.batches import DataLoaders, accuracy, in_order
from lessonlib.checkpoint import Checkpoint, load_learner, read_tensors
from lessonlib.core import get_rng_state, set_seed
from lessonlib.data_block import DataBlock, ImageBlock
from lessonlib.images import Resize
from lessonlib.learner import Learner
from lessonlib.precompute import CopyLoader, HeadLearner
from lessonlib.transfer import vision_learner

class Asked:
    "How many items a module is given"
    def __init__(self, module):
        self.n = 0
        module.register_forward_pre_hook(self)
    def __call__(self, module, inputs): self.n += len(inputs[0])


def augmenting(photos, tmp_path, tfms=None, **kwargs):
    "A learner with a small frozen body, on pictures that are augmented"
    return vision_learner(loaders(photos, path=tmp_path, batch_tfms=aug_transforms(min_scale=.5) if tfms is None else tfms),
                          lambda pretrained=True: Tiny(), cut=3, metrics=accuracy, **kwargs)


@pytest.fixture
def learn(photos, tmp_path):
    made = tiny_learner(photos, tmp_path)
    made.remove_cb(made.progress)
    return made


def same_answers(head, whole):
    for i in (0, 1):
        (ours, targets), (theirs, targets_too) = head.get_preds(i), whole.get_preds(i)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        assert torch.equal(targets, targets_too)


# ---- features, and the way back

@pytest.mark.quick
def test_body_is_asked_once_and_predictions_are_those_of_the_whole(learn):
    asked, n = Asked(learn.model[0]), sum(len(dl.dataset) for dl in learn.dls.loaders)
    head = learn.precompute()
    assert isinstance(head, HeadLearner) and head.whole is learn
    head.no_logging().__enter__()
    head.fit_one_cycle(5, 1e-2)
    assert asked.n == n + 2, 'each item once, and two to know the shapes'
    same_answers(head, learn)
    assert head.validate() == pytest.approx(learn.validate(), abs=1e-5)


@pytest.mark.quick
def test_training_the_head_trains_the_whole(learn):
    before = [p.clone() for p in learn.model.parameters()]
    head = learn.precompute()
    assert all(any(a is b for b in learn.model[1]) for a in head.model), 'the very same modules'
    with head.no_logging(): head.fit(1, 1e-2)
    moved = [not torch.equal(a, b) for a, b in zip(before, learn.model.parameters())]
    assert moved == [p.requires_grad for p in learn.model.parameters()] and any(moved)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-4, 1e-3))
    assert not torch.equal(before[0], next(learn.model.parameters())), 'and the whole goes on'


@pytest.mark.quick
def test_what_the_head_begins_with_is_computed_too(learn, photos, tmp_path):
    head = learn.precompute()
    assert head.dls.train.tensors[0].shape == (30, 1, 32) and isinstance(head.model[0], nn.BatchNorm1d)
    own = nn.Sequential(nn.Dropout(.5), nn.Flatten(), nn.Linear(16 * 16, 2))
    maps = vision_learner(loaders(photos, path=tmp_path), lambda pretrained=True: Tiny(), cut=3, custom_head=own)
    with maps.no_logging(): head = maps.precompute()
    assert head.dls.train.tensors[0].shape == (30, 1, 16, 4, 4), 'dropout stays with the head, and all after it'
    assert [*head.model] == [*own]
    same_answers(head, maps)


@pytest.mark.quick
def test_modes_random_numbers_and_averages_are_left_alone(learn, photos, tmp_path):
    learn.dls = loaders(photos, path=tmp_path, batch_tfms=aug_transforms())
    learn.model.train()
    modes, state = [m.training for m in learn.model.modules()], learn.model.state_dict()
    state, random = {k: v.clone() for k, v in state.items()}, get_rng_state()
    head = learn.precompute(augmented=2)
    assert [m.training for m in learn.model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in learn.model.state_dict().items())
    assert torch.equal(get_rng_state()['torch'], random['torch'])
    with torch.no_grad(): wanted = learn.model.eval()[0](learn._loader(1).one_batch()[0]).amax((2, 3))
    torch.testing.assert_close(head.dls.valid.tensors[0][:len(wanted), :16], wanted), 'as in evaluation'


def test_head_predicts_shows_and_exports_through_the_whole(learn, photos):
    head = learn.precompute()
    with head.no_logging(): head.fit_one_cycle(3, 1e-2)
    file = learn.dls.valid_ds.items[0]
    ours, theirs = head.predict(file), learn.predict(file)
    assert ours[0] == theirs[0] and torch.equal(ours[1], theirs[1])
    torch.testing.assert_close(ours[2], theirs[2], atol=1e-6, rtol=0)
    assert head.show_results(max_n=2).axes
    assert head.model_file('a') != learn.model_file('a'), 'neither writes over the other'


def test_export_has_both_halves(photos, tmp_path):
    learn = vision_learner(loaders(photos, path=tmp_path), 'resnet18', pretrained=False, train_bn=False, path=tmp_path)
    learn.freeze()
    with learn.no_logging(): head = learn.precompute()
    with head.no_logging(): head.fit(1)
    again, file = load_learner(head.export()), learn.dls.valid_ds.items[0]
    torch.testing.assert_close(again.predict(file)[2], learn.predict(file)[2], atol=1e-5, rtol=0)
    assert again.card['trained']['epochs'] == 1 and again.card['items'] == dict(training=30, validation=10)
    assert again.card['reached']['valid_loss'] == pytest.approx(head.recorder.values[-1][1])
    assert load_learner(head.export('more', card=dict(purpose='a test'))).card['purpose'] == 'a test'


@pytest.mark.quick
def test_rates_are_looked_for_without_a_copy_of_the_body(learn, monkeypatch):
    head = learn.precompute()
    monkeypatch.setattr(type(learn.model[0]), '__deepcopy__', lambda *_: pytest.fail('the body was copied'), raising=False)
    before = [p.clone() for p in head.model.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert head.lr_find(num_it=20, show_plot=False).lrs
    assert all(torch.equal(a, b) for a, b in zip(before, head.model.parameters()))


@pytest.mark.quick
def test_settings_are_taken_over(photos, tmp_path):
    learn = augmenting(photos, tmp_path, wd=.3, lr=slice(1e-5, 3e-3), opt_func=torch.optim.SGD)
    with learn.no_logging(): head = learn.precompute(bs=5)
    assert (head.lr, head.wd, head.opt_func, head.metrics) == (3e-3, .3, torch.optim.SGD, [accuracy])
    assert (head.dls.bs, head.dls.vocab, head.dls.c) == (5, learn.dls.vocab, 2)


# ---- what cannot be

@pytest.mark.quick
def test_only_frozen_bodies(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    learn.unfreeze()
    with pytest.raises(ValueError, match=r'9 tensors of the body are trained .*learn.freeze\(\)\.$'): learn.precompute()
    learn.freeze_to(1)
    with pytest.raises(ValueError, match='First learn.freeze'): learn.precompute()
    norms = tiny_learner(photos, tmp_path, train_bn=True)
    with pytest.raises(ValueError, match='train_bn=False: now norms are trained'): norms.precompute()
    learn.freeze()
    for p in learn.model[1].parameters(): p.requires_grad_(False)
    with pytest.raises(ValueError, match='Nothing of the head is trained'): learn.precompute()


@pytest.mark.quick
def test_only_models_of_two_halves(photos, tmp_path):
    learn = Learner(loaders(photos, path=tmp_path), Tiny(), F.cross_entropy)
    with pytest.raises(TypeError, match=r'Tiny is none: nn.Sequential\(body, head\)'): learn.precompute()


@pytest.mark.quick
def test_copies_need_something_random(learn, photos, tmp_path):
    with pytest.raises(ValueError, match='augmented=-1'): learn.precompute(-1)
    learn.dls = loaders(photos, (48, 56), path=tmp_path)        # as they are: no cut at a random place
    with pytest.warns(UserWarning, match='All copies of each item are the same'): learn.precompute(1)


@pytest.mark.quick
def test_memory_is_refused_before_the_pass(learn, monkeypatch):
    asked = Asked(learn.model[0])
    monkeypatch.setattr(module, '_free_ram', lambda: 3000)
    with pytest.raises(MemoryError, match=r'need 5.4 kB, 136 bytes for each row of 30 × 1 \+ 10 × 1, and 3.0 kB are free'):
        learn.precompute()
    assert asked.n == 2
    monkeypatch.setattr(module, '_free_ram', lambda: None)     # a system that does not tell
    learn.precompute()


@pytest.mark.quick
def test_features_are_one_tensor():
    class Pair(nn.Module):
        def forward(self, x): return x, x
    x, y = torch.randn(8, 3), torch.zeros(8).long()
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=4, device='cpu')
    learn = Learner(dls, nn.Sequential(Pair(), nn.Linear(3, 2)), F.cross_entropy)
    with pytest.raises(TypeError, match='gives a tuple, and features are one tensor'): learn.precompute()


# ---- copies

@pytest.mark.quick
def test_copies_of_a_row():
    x = torch.arange(12).view(4, 3)
    loader = CopyLoader(x, x * 10, bs=3, shuffle=True, generator=torch.Generator().manual_seed(0))
    seen = [[a for xb, yb in loader for a, b in zip(xb.tolist(), yb.tolist()) if b == 10 * a] for _ in range(60)]
    assert all(sorted(a // 3 for a in epoch) == [0, 1, 2, 3] for epoch in seen), 'each row once, with its own target'
    assert {a for epoch in seen for a in epoch} == set(range(12)), 'in the end every copy'
    plain = in_order(loader)
    assert isinstance(plain, CopyLoader) and [a for xb, _ in plain for a in xb.tolist()] == [0, 3, 6, 9]


def test_augmented_copies(photos, tmp_path):
    learn = augmenting(photos, tmp_path)
    with learn.no_logging(): one, two, other = (learn.precompute(2, seed=s) for s in (0, 0, 5))
    x = one.dls.train.tensors[0]
    assert x.shape == (30, 3, 32) and len(one.dls.train_ds) == 30
    assert torch.equal(x, two.dls.train.tensors[0]), 'the same seed, the same copies'
    assert torch.equal(x[:, 0], other.dls.train.tensors[0][:, 0])
    for a, b in ((x[:, 0], x[:, 1]), (x[:, 1], x[:, 2]), (x[:, 1], other.dls.train.tensors[0][:, 1])):
        assert (a != b).any(1).all(), 'another cut of each picture'
    assert one.dls.valid.tensors[0].ndim == 2, 'nothing is drawn for validation'
    same_answers(one, learn)


@pytest.mark.quick
def test_targets_move_with_their_copies(photos, tmp_path):
    from lessonlib.keypoints import PointBlock
    block = DataBlock((ImageBlock, PointBlock), get_items=lambda path: sorted(path.glob('*/*.png')), get_y=lambda file: [7., 9.],
                      item_tfms=Resize(32, 'squish'), batch_tfms=Flip(1.))
    learn = vision_learner(block.dataloaders(photos, bs=8, path=tmp_path), lambda pretrained=True: Tiny(), cut=3)
    with learn.no_logging(): y = learn.precompute(1).dls.train.tensors[1]
    assert torch.allclose(y[:, 0, 0], -y[:, 1, 0]) and torch.allclose(y[:, 0, 1], y[:, 1, 1]), 'mirrored with its picture'


def test_workers_give_the_same(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    alone = learn.precompute().dls.valid.tensors[0]
    learn.dls = loaders(photos, path=tmp_path, num_workers=1)
    with learn.no_logging(): assert torch.equal(learn.precompute().dls.valid.tensors[0], alone)


# ---- a body that changes

@pytest.mark.quick
def test_features_of_another_body_are_refused(learn):
    head = learn.precompute()
    head.remove_cb(head.progress)
    learn.save('before')
    learn.unfreeze()
    learn.fit(1, 1e-2)
    for ask in (lambda: head.fit(1), head.validate, head.get_preds, lambda: head.lr_find(num_it=10)):
        with pytest.raises(ValueError, match='The body has changed since it gave these features'): ask()
    learn.load('before', with_opt=False)
    head.fit(1)                                # the old weights, written anew, are the old body
    learn.freeze()
    same_answers(learn.precompute(), learn)


@pytest.mark.quick
def test_averages_of_norms_belong_to_the_body(learn):
    head = learn.precompute()
    learn.model[0].train()
    learn.model[0](torch.randn(4, 3, 32, 32))
    with pytest.raises(ValueError, match='The body has changed'): head.fit(1)


# ---- kept on disk

def kept(photos, tmp_path, augmented=0, tfms=(), change=None, **how):
    "File of the features, and how often the body was asked"
    set_seed(3)
    learn = augmenting(photos, tmp_path, tfms)
    if change: change(learn)
    asked = Asked(learn.model[0])
    with learn.no_logging(): head = learn.precompute(augmented, 'features', **how)
    same_answers(head, learn)
    return head.dls.file, asked.n - 40            # 40: the answers of the whole


@pytest.mark.quick
def test_kept_features_are_taken_up(photos, tmp_path):
    file, asked = kept(photos, tmp_path)
    assert (file.parent, asked) == (tmp_path/'features', 42)
    written = file.stat().st_mtime_ns
    assert kept(photos, tmp_path) == (file, 2) and file.stat().st_mtime_ns == written
    assert [f.name for f in file.parent.iterdir()] == [file.name], 'nothing else is left in the folder'


def test_whatever_differs_is_computed_anew(photos, tmp_path):
    def heavier(learn): next(learn.model[0].parameters()).data *= 1.1
    def averages(learn): next(b for b in learn.model[0].buffers() if b.ndim).add_(1)
    flips = dict(tfms=[Flip()])
    calls = [{}, dict(augmented=1, **flips), dict(augmented=1, seed=1, **flips), dict(augmented=2, **flips), flips,
             dict(change=heavier), dict(change=averages)]
    results = [kept(photos, tmp_path, **call) for call in calls]
    assert len({file for file, _ in results}) == len(calls) and all(asked > 40 for _, asked in results)
    first = photos/'red'/'0.png'
    was = first.stat()
    os.utime(first, ns=(was.st_atime_ns, was.st_mtime_ns + 1000))
    file, asked = kept(photos, tmp_path)
    os.utime(first, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert asked == 42 and file != results[0][0], 'a picture that was written anew'


@pytest.mark.quick
def test_damaged_features_are_computed_anew(photos, tmp_path):
    file, _ = kept(photos, tmp_path)
    whole = file.read_bytes()
    tensors = {name: tensor.clone() for name, tensor in read_tensors(file)[0].items()}   # not a view of the file
    for broken in (whole[:-9], b'', whole[:-4] + b'\1\2\3\4'):
        file.write_bytes(broken)
        assert kept(photos, tmp_path) == (file, 42)
        assert all(torch.equal(a, tensors[name]) for name, a in read_tensors(file)[0].items())


@pytest.mark.quick
def test_nothing_is_left_of_a_pass_that_failed(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_fill', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt): kept(photos, tmp_path)
    assert list((tmp_path/'features').iterdir()) == []


@pytest.mark.quick
def test_features_are_not_kept_by_what_cannot_be_written_down(photos, tmp_path):
    with pytest.raises(TypeError, match='that cannot be written down: .*Without path they are kept in memory'):
        kept(photos, tmp_path, tfms=[lambda x: x * 2])


@pytest.mark.quick
def test_tensors_are_told_apart_by_their_contents(tmp_path):
    x, y, files = torch.randn(40, 6), torch.arange(40) % 2, []
    for change in (0, 0, 1):
        x[5, 5] += change
        set_seed(1)
        model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
        learn = Learner(DataLoaders.from_tensors((x, y), (x, y), bs=8, device='cpu'), model, F.cross_entropy, path=tmp_path,
                        splitter=lambda m: [list(m[0].parameters()), list(m[2].parameters())])
        learn.freeze()
        with learn.no_logging(): head = learn.precompute(path=tmp_path/'kept')
        assert len(head.model) == 1, 'the ReLU, too, gives the same every time'
        same_answers(head, learn)
        files.append(head.dls.file)
    assert files[0] == files[1] != files[2]


# ---- checkpoints, and texts

@pytest.mark.parametrize('stop', [2, 5])
def test_a_fit_on_copies_goes_on_exactly(photos, tmp_path, stop):
    class Stop(Exception): pass
    def run():
        set_seed(0)
        learn = augmenting(photos, tmp_path)
        with learn.no_logging(): head = learn.precompute(2)
        head.remove_cb(head.progress)
        set_seed(7)
        return head
    through = run()
    through.fit_one_cycle(2, 1e-2)
    broken, done = run(), []
    plain = broken.loss_func
    def breaks(pred, targets):
        if broken.training: done.append(1)
        if len(done) > stop: raise Stop
        return plain(pred, targets)
    broken.loss_func = breaks
    with pytest.raises(Stop): broken.fit_one_cycle(2, 1e-2, cbs=Checkpoint(every_batches=1))
    again = run()
    set_seed(99)
    again.fit_one_cycle(2, 1e-2, cbs=Checkpoint(every_batches=1, resume=True))
    assert again.recorder.losses == through.recorder.losses and len(through.recorder.losses) == 6
    assert all(torch.equal(a, b) for a, b in zip(through.model.state_dict().values(), again.model.state_dict().values()))


@pytest.mark.quick
def test_texts_are_read_once(tmp_path):
    from lessonlib.text_classifier import text_classifier_learner
    from lessonlib.tokens import TextDataLoaders
    words = 'warm dull long film cast story clever silly'.split()
    items = [' '.join(words[(i * k) % 8] for k in range(1, 3 + i % 9)) for i in range(48)]
    dls = TextDataLoaders.from_df(pd.DataFrame(dict(text=items, label=list('ab') * 24)), seed=1, bs=8, device='cpu')
    learn = text_classifier_learner(dls, config=dict(emb_sz=6, n_hid=8, n_layers=2), path=tmp_path)
    learn.freeze()
    with learn.no_logging(): head, again = (learn.precompute(path='features') for _ in range(2))
    assert head.dls.file == again.dls.file and head.dls.train.tensors[0].shape[1:] == (1, 18)
    with head.no_logging(): head.fit_one_cycle(2, 1e-2)
    same_answers(head, learn)
    assert head.predict(items[0])[0] == learn.predict(items[0])[0]


def test_an_encoder_is_asked_once(tmp_path):
    from test_attention import learner
    learn = learner(tmp_path, pretrained=True)
    with learn.no_logging(): head = learn.precompute()
    assert [type(layer).__name__ for layer in head.model] == ['Dropout', 'Linear']
    with head.no_logging(): head.fit_one_cycle(2, 1e-2)
    same_answers(head, learn)
