"lessonlib.transfer: heads, freezing, and learners with a pretrained body."
import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from helpers.small_photos import home, loaders, photos, resnet_file, tiny_learner  # noqa: F401  fixtures too

from lessonlib.augmentation import Flip, Normalize, imagenet_stats
from lessonlib.batches import DataLoaders, accuracy
from lessonlib.core import set_seed
from lessonlib.learner import Learner
from lessonlib.transfer import AdaptiveConcatPool2d, create_head, vision_learner


def quiet(learn): return learn.no_logging()


# ---- heads

def test_concat_pool_is_maximum_then_average():
    x = torch.randn(3, 5, 4, 6)
    pooled = AdaptiveConcatPool2d()(x)
    assert torch.equal(pooled[:, :5, 0, 0], x.amax((2, 3)))
    torch.testing.assert_close(pooled[:, 5:, 0, 0], x.mean((2, 3)))


@given(features=st.integers(1, 40), outputs=st.integers(1, 12), widths=st.lists(st.integers(1, 20), max_size=3),
       concat=st.booleans())
@settings(max_examples=25, deadline=None)
def test_head_takes_any_maps(features, outputs, widths, concat):
    head = create_head(features, outputs, lin_ftrs=widths, concat_pool=concat).eval()
    assert head(torch.randn(2, features, 3, 5)).shape == (2, outputs)
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [*widths, outputs] and all(m.bias is None for m in linear)
    assert linear[0].in_features == features * (1 + concat)


def test_head_is_the_one_of_the_field():
    head = create_head(512, 37)
    kinds = [AdaptiveConcatPool2d, nn.Flatten, nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout,
             nn.Linear]
    assert [type(m) for m in head] == kinds
    assert (head[2].num_features, head[3].p, head[4].out_features, head[7].p, head[8].in_features) == (1024, .25, 512, .5, 512)
    set_seed(3)
    big = create_head(2000, 5)
    assert abs(big[4].weight.std().item() / (2 / 4000)**.5 - 1) < .02      # He et al.: sqrt(2 / inputs)


@pytest.mark.parametrize('args, words', [((0, 3), 'needs features'), ((3, 0), 'needs features')])
def test_head_of_nothing(args, words):
    with pytest.raises(ValueError, match=words): create_head(*args)


def test_with_a_range_answers_start_in_its_middle():
    "A sigmoid is flat at its ends: a head that starts there hardly learns"
    set_seed(0)
    answers = create_head(200, 6, y_range=(-1, 1))(torch.randn(64, 200, 3, 4))
    assert answers.abs().mean() < .15


def test_y_range_keeps_outputs_inside():
    head = create_head(4, 2, y_range=(-1, 3)).eval()
    got = head(1000 * torch.randn(64, 4, 2, 2))
    assert got.min() >= -1 and got.max() <= 3 and got.max() > 2 and got.min() < 0


# ---- freezing

def toy(groups=4):
    model = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(groups)))
    dls = DataLoaders.from_tensors([torch.randn(32, 3), torch.randn(32, 3)], [torch.randn(16, 3), torch.randn(16, 3)], bs=8)
    return Learner(dls, model, nn.MSELoss(), splitter=lambda m: [list(part.parameters()) for part in m])


@given(groups=st.integers(1, 5), data=st.data())
@settings(max_examples=30, deadline=None)
def test_freeze_to(groups, data):
    "Groups from n on are trained, the others are not; negative numbers count from the end."
    learn, n = toy(groups), data.draw(st.integers(-groups, groups - 1))
    learn.freeze_to(n)
    assert [part[0].weight.requires_grad for part in learn.model] == [i >= n % groups for i in range(groups)]
    for wrong in (groups, -groups - 1):
        with pytest.raises(ValueError, match=f'with {groups} layer groups'): learn.freeze_to(wrong)


def test_frozen_stays_the_same_to_the_last_bit():
    "Parameters and the averages of norms, with weight decay and momentum at work."
    learn = toy()
    with quiet(learn):
        learn.fit(1, .1)
        for p in learn.model.parameters(): p.grad = torch.ones_like(p)      # left over from somewhere
        learn.freeze_to(2)
        assert [p.grad is None for p in learn.model.parameters()] == [not p.requires_grad for p in learn.model.parameters()]
        before = {k: v.clone() for k, v in learn.model.state_dict().items()}
        learn.fit(2, .1, wd=.5)
    for name, value in learn.model.state_dict().items():
        assert torch.equal(value, before[name]) == (int(name[0]) < 2), name
    learn.unfreeze()
    with quiet(learn): learn.fit(1, .1)
    assert not any(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())


def test_norms_without_parameters_follow_their_neighbours():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
                          nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    dls = DataLoaders.from_tensors([torch.randn(16, 3, 8, 8), torch.randint(0, 2, (16,))], bs=8)
    learn = Learner(dls, model, nn.CrossEntropyLoss(), splitter=lambda m: [list(p.parameters()) for p in m])
    learn.unfreeze()
    assert learn.frozen_norm.norms() == []
    learn.freeze()
    assert learn.frozen_norm.norms() == [model[0][1]]
    with quiet(learn): learn.fit(1, .1)
    assert model[0][1].num_batches_tracked == 0


@pytest.mark.parametrize('train_bn, frozen_moves, open_moves', [(False, False, False), (True, True, True), ('unfrozen', False, True)])
def test_norms_of_the_body(photos, tmp_path, train_bn, frozen_moves, open_moves):
    learn = tiny_learner(photos, tmp_path, train_bn=train_bn)
    norm = next(m for m in learn.model[0].modules() if isinstance(m, nn.BatchNorm2d))
    with quiet(learn):
        for moves, prepare in ((frozen_moves, learn.freeze), (open_moves, learn.unfreeze)):
            mean, weight = norm.running_mean.clone(), norm.weight.clone()
            prepare()
            learn.fit(1, 1e-2)
            assert (not torch.equal(mean, norm.running_mean)) == moves
            trained = prepare.__name__ == 'unfreeze' or train_bn is True
            assert (not torch.equal(weight, norm.weight)) == trained
    assert all(m.training for m in learn.model.train().modules())       # nothing is left switched off


def test_a_frozen_body_leaves_no_graph(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    x, _ = learn.dls.one_batch()
    assert learn.model[0](x).grad_fn is None
    frozen = learn.step_memory(4)
    learn.unfreeze()
    kept = learn.step_memory(4) + x[:4].nbytes                         # the first layer needs the batch again
    assert learn.model[0](x).grad_fn is not None and kept > 5 * frozen


def test_not_pretrained_trains_everything(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    assert all(p.requires_grad for p in learn.model.parameters()) and learn.stats is None
    assert learn.frozen_norm.body is None and learn.frozen_norm.norms() == []


def test_layer_groups_table(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    text = str(learn.layer_groups(slice(1e-6, 1e-4)))
    assert [line.split()[-1] for line in text.splitlines()] == ['rate', '1e-06', '1e-05', '0.0001']
    total = sum(int(line.split()[2].replace(',', '')) for line in text.splitlines()[1:])
    assert total == sum(p.numel() for p in learn.model.parameters())


# ---- learners

def test_data_are_scaled_as_the_body_wants(photos):
    dls = loaders(photos, batch_tfms=[Flip(), Normalize(*imagenet_stats)])
    learn = vision_learner(dls)
    means = lambda dls: [tuple(t.mean) for t in dls.batch_tfms if isinstance(t, Normalize)]
    assert means(learn.dls) == [(.5, .5, .5)] and means(dls) == [imagenet_stats[0]]     # theirs stays theirs
    x, _ = learn.dls.one_batch()
    assert -1 <= x.min() < -.8 and .6 < x.max() <= 1
    learn.dls = loaders(photos, size=48)
    assert means(learn.dls) == [(.5, .5, .5)] and learn.dls.one_batch()[0].shape[-1] == 48
    assert means(vision_learner(dls, normalize=False).dls) == [imagenet_stats[0]]


def test_whichever_loader_brings_the_pictures_the_predictions_agree(photos, tmp_path):
    dls = loaders(photos, path=tmp_path)
    files = dls.valid.items
    early, kept = dls.test_dl(files), dls.valid
    learn = tiny_learner(photos, tmp_path)
    with quiet(learn): learn.fit(1, 1e-2)
    right, losses = learn.get_preds()[0], learn.validate()
    own = learn.dls.valid
    learn.dls = dls
    for dl in (early, kept, dls.valid, dls.test_dl(files), learn.dls.test_dl(files), learn.dls.valid, own):
        torch.testing.assert_close(learn.get_preds(dl=dl)[0], right)
        if dl.dataset.with_targets: assert learn.validate(dl=dl) == pytest.approx(losses)
    other = vision_learner(dls)                                  # of a body that wants other numbers
    assert other.stats != learn.stats
    torch.testing.assert_close(other.get_preds(dl=learn.dls.valid)[0], other.get_preds()[0])
    torch.testing.assert_close(learn.get_preds(dl=other.dls.valid)[0], right)     # and never twice
    torch.testing.assert_close(learn.get_preds()[0], right)


def test_plain_loaders_get_a_warning():
    dls = DataLoaders.from_tensors([torch.rand(16, 3, 32, 32), torch.randint(0, 2, (16,))], vocab=['a', 'b'],
                                   loss_func=nn.CrossEntropyLoss())
    with pytest.warns(UserWarning, match='normalise the pictures yourself'): learn = vision_learner(dls)
    assert learn.model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_outputs_unknown():
    dls = DataLoaders.from_tensors([torch.rand(16, 3, 32, 32), torch.rand(16)])
    with pytest.raises(ValueError, match='pass n_out'): vision_learner(dls)


def test_channels_last(photos):
    learn = vision_learner(loaders(photos))
    assert learn.model[0].net.conv_stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_fine_tune_learns(photos, tmp_path):
    set_seed(0)
    learn = vision_learner(loaders(photos, size=64, path=tmp_path), metrics=accuracy)
    with quiet(learn): learn.fine_tune(2, 5e-3)
    assert learn.validate()[1] >= .9
    rates = {g['layer_group']: g['lr'] for g in learn.opt.param_groups}
    assert rates[0] < rates[1] < rates[2]


def test_larger_pictures_go_on(photos, tmp_path):
    "Optimiser, record and stages survive a change of the data."
    learn = tiny_learner(photos, tmp_path)
    with quiet(learn): learn.fit_one_cycle(1, 1e-3)
    opt = learn.opt
    learn.dls = loaders(photos, size=64, bs=4, path=tmp_path)
    with quiet(learn): learn.fit_one_cycle(2, 1e-3)
    assert learn.opt is opt and len(learn.recorder.losses) == 2 * len(learn.dls.train)
    learn.save('stage')
    kept = learn.get_preds()[0]
    with quiet(learn): learn.fit(1, 1e-2)
    assert not torch.equal(learn.get_preds()[0], kept)
    assert torch.equal(learn.load('stage').get_preds()[0], kept)


def test_aliases_and_field_script(photos, tmp_path, resnet_file, home):
    "What a script of the field says, word for word."
    (home/'weights').mkdir(parents=True)
    (home/'weights'/resnet_file[0].name).write_bytes(resnet_file[0].read_bytes())
    from lessonlib.all import cnn_learner, create_cnn, error_rate, resnet18, vision_learner
    for make in (vision_learner, cnn_learner, create_cnn):
        learn = make(loaders(photos, path=tmp_path), resnet18, metrics=error_rate)
        assert learn.model.recipe['arch'] == 'resnet18' and not next(learn.model.parameters()).requires_grad
    with quiet(learn): learn.fine_tune(1)
    assert len(learn.recorder.values[0]) == 3


def test_grey_data_make_a_grey_body(photos):
    learn = vision_learner(loaders(photos, mode='L'))
    assert learn.model[0].net.conv_stem.weight.shape[1] == 1
    x, _ = learn.dls.one_batch()
    assert x.shape[1] == 1 and learn.model.eval()(x).shape == (8, 2)
    with quiet(learn): learn.fit(1, 1e-3)


# ---- import

def test_import_is_light():
    script = 'import json, sys, lessonlib.transfer; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {'timm', 'matplotlib', 'pandas', 'IPython', 'sklearn', 'ipywidgets', 'huggingface_hub'}


# ---- test-time augmentation

def test_copies_and_the_plain_picture_are_mixed(photos):
    n = 3
    learn = vision_learner(loaders(photos, batch_tfms=Flip(), device='cpu'), 'resnet18', pretrained=False)
    set_seed(5)
    plain, copies, targs = learn.tta(n=n, beta=None)
    assert torch.equal(plain, learn.get_preds()[0]) and torch.equal(targs, learn.get_preds()[1])
    assert not torch.equal(plain, copies)
    set_seed(5)
    mixed, _ = learn.tta(n=n, beta=.25)
    assert torch.allclose(mixed, .25 * plain + .75 * copies, atol=1e-6)
    set_seed(5)
    before = torch.get_rng_state()
    highest = learn.tta(n=n, beta=None, use_max=True)[1]
    assert (highest >= copies - 1e-6).all() and torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(learn.tta(beta=1)[0], plain)
    with pytest.raises(TypeError, match='needs loaders of a DataBlock'):
        learn.tta(dl=[(torch.randn(2, 3, 32, 32),)])
