"""Softmax and its losses against PyTorch's, the small resnet, breeds from names, and the loaders all pet lessons share."""
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

from helpers.real_lesson import needs_mirror, printed_on_real_data

from lessonlib import pets
from lessonlib.core import set_seed

scores_of = st.floats(-1e4, 1e4, width=32)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 9))
seeds = st.integers(0, 9999)


def rows(shape, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * spread, torch.randint(shape[1], shape[:1], generator=generator)


# -- softmax and log-softmax ----------------------------------------------------------------------------------------

@given(shapes, seeds, st.sampled_from([1e-3, 1., 30., 1e4]), st.sampled_from([0, 1, -1]))
@settings(max_examples=60, deadline=None)
def test_softmax_and_its_logarithm_equal_torch(shape, seed, spread, axis):
    scores, _ = rows(shape, seed, spread)
    assert torch.allclose(pets.softmax(scores, axis), scores.softmax(axis), atol=1e-6)
    assert torch.allclose(pets.log_softmax(scores, axis), scores.log_softmax(axis), rtol=1e-5, atol=1e-5)
    assert torch.allclose(pets.softmax(scores, axis).sum(axis), torch.ones(()), atol=1e-5)


@given(st.lists(scores_of, min_size=2, max_size=8))
@settings(max_examples=80, deadline=None)
def test_extreme_scores_stay_numbers(values):
    scores = torch.tensor(values, requires_grad=True)
    log_probs = pets.log_softmax(scores)
    log_probs[0].backward()
    assert torch.isfinite(log_probs).all() and (log_probs <= 0).all()
    assert torch.isfinite(scores.grad).all() and abs(scores.grad.sum().item()) < 1e-4
    probs = pets.softmax(scores.detach())
    assert ((probs >= 0) & (probs <= 1)).all() and probs[scores.argmax()] == probs.max()


@given(shapes, seeds, st.integers(-4096, 4096))
@settings(max_examples=40, deadline=None)
def test_only_differences_count(shape, seed, shift):
    scores = torch.randint(-50, 50, shape, generator=torch.Generator().manual_seed(seed)).float()   # exact sums
    assert torch.equal(pets.softmax(scores + shift), pets.softmax(scores))
    assert torch.equal(pets.log_softmax(scores + shift), pets.log_softmax(scores))


def test_a_class_that_is_ruled_out():
    "A score of minus infinity is a probability of zero, and the others share the rest, as in torch."
    scores = torch.tensor([[0., -math.inf, 1.], [-math.inf, -math.inf, 3.]])
    for ours, theirs in ((pets.softmax, torch.softmax), (pets.log_softmax, torch.log_softmax)):
        assert torch.equal(ours(scores).isinf(), theirs(scores, -1).isinf())
        assert torch.allclose(ours(scores), theirs(scores, -1), atol=1e-6)
    assert pets.cross_entropy(scores, torch.tensor([1, 2]), 'none').tolist() == [math.inf, 0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_kinds_of_floats_are_kept(dtype):
    scores = torch.tensor([[3., -2., 0.], [60., 61., 0.]], dtype=dtype)
    assert pets.softmax(scores).dtype == pets.log_softmax(scores).dtype == dtype
    assert torch.allclose(pets.softmax(scores).double(), scores.double().softmax(-1), atol=1e-2)


# -- the losses -------------------------------------------------------------------------------------------------------

@given(shapes, seeds, st.sampled_from([1e-2, 1., 30., 1e4]), st.sampled_from(['mean', 'sum', 'none']))
@settings(max_examples=80, deadline=None)
def test_losses_and_gradients_equal_torch(shape, seed, spread, reduction):
    scores, targets = rows(shape, seed, spread)
    ours, theirs = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    loss = pets.cross_entropy(ours, targets, reduction)
    expected = nn.CrossEntropyLoss(reduction=reduction)(theirs, targets)
    loss.sum().backward(); expected.sum().backward()
    assert loss.shape == expected.shape and torch.allclose(loss, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
    log_probs = scores.log_softmax(1)
    assert torch.allclose(pets.nll_loss(log_probs, targets, reduction), F.nll_loss(log_probs, targets, reduction=reduction),
                          rtol=1e-5, atol=1e-5)


@given(shapes, seeds)
@settings(max_examples=30, deadline=None)
def test_gradient_is_probability_minus_truth(shape, seed):
    scores, targets = rows(shape, seed, 5.)
    scores.requires_grad_()
    pets.cross_entropy(scores, targets, 'sum').backward()
    assert torch.allclose(scores.grad, scores.detach().softmax(1) - F.one_hot(targets, shape[1]), atol=1e-5)


def test_gradient_equals_small_steps():
    scores, targets = rows((3, 4), 0, 2.)
    assert torch.autograd.gradcheck(lambda x: pets.cross_entropy(x, targets), scores.double().requires_grad_())


@pytest.mark.parametrize('loss', [pets.nll_loss, pets.cross_entropy])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_whole_numbers_of_any_width_are_targets(loss, dtype):
    "Bytes must not be taken for a mask of yes and no."
    scores, _ = rows((4, 3), 1, 1.)
    targets = torch.tensor([0, 1, 1, 2])
    assert torch.equal(loss(scores, targets.to(dtype), 'none'), loss(scores, targets, 'none'))


@pytest.mark.parametrize('loss', [pets.nll_loss, pets.cross_entropy])
@pytest.mark.parametrize('targets, kind, words', [
    ([0, 3], ValueError, 'from 0 to 3, but there are 3 classes, with numbers 0 to 2'),
    ([-1, 0], ValueError, 'from -1 to 0'),
    ([0., 1.], TypeError, 'float32; convert them with targets.long'),
    ([True, False], TypeError, 'bool'),
    ([[0], [1]], ValueError, r'expected \(n, classes\) and \(n,\)'),
    ([0, 1, 2], ValueError, r'shape \(2, 3\) and targets of shape \(3,\)'),
    (1, ValueError, r'targets of shape \(\)'),
])
def test_targets_that_cannot_be_meant(loss, targets, kind, words):
    with pytest.raises(kind, match=words): loss(torch.zeros(2, 3), torch.tensor(targets))


@pytest.mark.parametrize('loss', [pets.nll_loss, pets.cross_entropy])
def test_other_input_that_cannot_be_meant(loss):
    with pytest.raises(ValueError, match='no items'): loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match=r'expected \(n, classes\)'): loss(torch.zeros(3), torch.tensor([1]))
    with pytest.raises(ValueError, match=r'expected \(n, classes\)'): loss(torch.zeros(1, 3, 2, 2), torch.tensor([1]))
    with pytest.raises(ValueError, match="not 'average'"): loss(torch.zeros(2, 3), torch.tensor([0, 1]), 'average')


def test_knowing_nothing_costs_the_logarithm_of_the_classes():
    for classes in (2, 10, 37):
        assert pets.cross_entropy(torch.zeros(3, classes), torch.tensor([0, 1, 1])).item() == pytest.approx(math.log(classes))


# -- breeds -----------------------------------------------------------------------------------------------------------

@given(st.from_regex(r'[A-Za-z][A-Za-z_0-9 .()é-]{0,20}', fullmatch=True), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_the_breed_is_all_before_the_last_number(breed, number):
    assert pets.pet_breed(Path('a_1.jpg')/'b'/f'{breed}_{number}.jpg') == breed


@pytest.mark.parametrize('name, breed', [
    ('great_pyrenees_173.jpg', 'great_pyrenees'), ('area_51_7.jpg', 'area_51'), ('a__1.jpg', 'a_'), ('1_2_3.jpg', '1_2'),
    ('x_007.jpg', 'x'), ('pug_1.jpg_2.jpg', 'pug_1.jpg'), ('Ünlü_3.jpg', 'Ünlü'), ('shiba inu_4.jpg', 'shiba inu')])
def test_names_that_are_odd_but_right(name, breed): assert pets.pet_breed(name) == breed


@pytest.mark.parametrize('name', [
    '', 'pug.jpg', 'pug_.jpg', '_1.jpg', 'pug_1', 'pug_1.jpeg', 'pug_1.JPG', 'pug_1.jpg.txt', 'pug_1.jpg\n', 'pug_1 .jpg',
    'pug_-1.jpg', 'pug_1.5.jpg', 'pug1.jpg', 'pug_1_jpg', 'pug_1xjpg', 'images/', 'Abyssinian_100.mat', 'a\nb_1.jpg'])
def test_names_without_a_breed(name):
    with pytest.raises(ValueError, match='no breed in the name .*great_pyrenees_17.jpg'): pets.pet_breed(name)


def test_capital_letters_are_cats():
    assert pets.is_cat('Maine_Coon') and pets.is_cat(Path('dogs/Bengal_7.jpg')) and pets.is_cat('Éclair_1.jpg')
    assert not pets.is_cat('pug_1.jpg') and not pets.is_cat('Cats/american_bulldog_3.jpg')
    for name in ('', '_pug_1.jpg', '7.jpg', '.jpg'):
        with pytest.raises(ValueError, match='does not start with a letter'): pets.is_cat(name)


# -- the network ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('height, width', [(64, 64), (33, 47), (7, 5), (1, 1), (224, 30)])
def test_any_size_of_picture(height, width):
    net = pets.small_resnet(5, widths=(4, 6, 8)).eval()
    assert net(torch.rand(2, 3, height, width)).shape == (2, 5)


@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('size', [1, 2, 7, 8, 9])
def test_both_ways_of_a_block_arrive_at_one_size(stride, size):
    x = torch.rand(3, 4, size, size + 1)
    out = pets.ResBlock(4, 6, stride).eval()(x)
    assert out.shape == (3, 6, -(-size // stride), -(-(size + 1) // stride))


def test_the_shortcut_carries_the_input_and_the_gradient():
    block = pets.ResBlock(4)
    nn.init.zeros_(block.convs[2][1].weight)
    x = torch.rand(2, 4, 6, 6, requires_grad=True)
    out = block(x)
    assert torch.equal(out, x)
    out.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_conv_bn_is_a_convolution_and_a_batch_norm():
    set_seed(0)
    pair, x = pets.conv_bn(3, 5, stride=2, size=5), torch.rand(4, 3, 10, 10)
    by_hand = F.batch_norm(F.conv2d(x, pair[0].weight, stride=2, padding=2), None, None, training=True)
    assert pair[0].bias is None and torch.allclose(pair(x), by_hand, atol=1e-5)


def test_weights_and_names_depend_on_the_seed_alone():
    nets = []
    for seed in (3, 3, 4):
        set_seed(seed)
        nets.append(pets.small_resnet(37).state_dict())
    assert list(nets[0]) == list(nets[2]) and all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])
    assert not torch.equal(nets[0]['0.0.weight'], nets[2]['0.0.weight'])


def test_size_of_the_usual_network():
    net = pets.small_resnet(37)
    assert sum(p.numel() for p in net.parameters()) == 307_413
    first = net[0][0].weight
    assert first.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match='widths is empty'): pets.small_resnet(37, ())


def test_one_width_is_a_network_too():
    assert pets.small_resnet(2, widths=(4,), n_in=1).eval()(torch.rand(1, 1, 8, 8)).shape == (1, 2)


# -- the loaders ------------------------------------------------------------------------------------------------------

@pytest.fixture
def few_pets(tmp_path):
    (tmp_path/'images').mkdir()
    generator = torch.Generator().manual_seed(0)
    for breed in ('Bengal', 'pug', 'great_pyrenees'):
        for number in range(1, 11):
            height, width = torch.randint(40, 90, (2,), generator=generator).tolist()
            pixels = torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path/'images'/f'{breed}_{number}.jpg')
    return tmp_path


def test_small_photos_are_opened_once(few_pets, monkeypatch):
    file = few_pets/'images'/'pug_1.jpg'
    small = pets.SmallPhotos(32)
    first = small(file)
    assert min(first.size) == 32 and first.mode == 'RGB'
    with Image.open(file) as photo: ratio = photo.width / photo.height
    assert first.width / first.height == pytest.approx(ratio, abs=.05)
    file.unlink()
    assert small(file) is first


def test_small_photos_keep_no_more_than_they_may(few_pets):
    files = sorted((few_pets/'images').glob('*.jpg'))
    small = pets.SmallPhotos(32, most=20_000)
    sizes = [small(file).size for file in files]
    assert 0 < small.bytes <= 20_000 and 0 < len(small.kept) < len(files)
    assert small.bytes == sum(3 * photo.width * photo.height for photo in small.kept.values())
    assert [small(file).size for file in files] == sizes


@pytest.mark.parametrize('shape', [(1, 500), (500, 1), (3, 3)])
def test_small_photos_of_extreme_shapes(shape, tmp_path):
    Image.new('RGB', shape).save(tmp_path/'pug_1.jpg')
    assert min(pets.SmallPhotos(8)(tmp_path/'pug_1.jpg').size) == 8


def test_the_same_photos_are_held_back_at_every_size(few_pets):
    set_seed(1)
    first = pets.pets_dls(few_pets, size=16, bs=4)
    set_seed(2)
    second = pets.pets_dls(few_pets, size=24, bs=8, batch_tfms=[])
    assert first.valid_ds.items == second.valid_ds.items and len(first.valid_ds.items) == 6
    assert first.vocab == second.vocab == ['Bengal', 'great_pyrenees', 'pug']
    assert first.one_batch()[0].shape == (4, 3, 16, 16) and second.one_batch()[0].shape == (8, 3, 24, 24)


def test_photos_change_in_training_and_not_in_validation(few_pets):
    dls = pets.pets_dls(few_pets, size=16, bs=30)
    set_seed(0)
    once, twice = (torch.cat([x for x, y in dls.valid]) for _ in range(2))
    assert torch.equal(once, twice)
    order = dls.train.new(shuffle=False)
    once, twice = (torch.cat([x for x, y in order]) for _ in range(2))
    assert not torch.equal(once, twice)


def test_colours_are_normalised_last(few_pets):
    from lessonlib.augmentation import imagenet_stats
    dls = pets.pets_dls(few_pets, size=16, bs=6, batch_tfms=[])
    x = next(iter(dls.valid))[0]
    mean, std = (torch.tensor(stat)[:, None, None] for stat in imagenet_stats)
    stored = torch.stack([dls.valid_ds[i][0].as_subclass(torch.Tensor) for i in range(6)])
    assert stored.dtype == torch.uint8 and torch.allclose(x * std + mean, stored / 255, atol=1e-5)


def test_a_file_without_a_breed_is_named(few_pets):
    Image.new('RGB', (40, 40)).save(few_pets/'images'/'mystery.jpg')
    with pytest.raises(ValueError, match="no breed in the name 'mystery.jpg'"): pets.pets_dls(few_pets, size=16)


def test_no_photos_at_all(tmp_path):
    with pytest.raises((ValueError, OSError)): pets.pets_dls(tmp_path)


def test_the_recipe_learns(few_pets):
    "A few epochs on photos with nothing in them but their breed's colour."
    from lessonlib.learner import Learner
    from lessonlib.batches import accuracy
    for file in (few_pets/'images').glob('*.jpg'):
        colour = dict(Bengal=(220, 40, 40), pug=(40, 220, 40), great_pyrenees=(40, 40, 220))[pets.pet_breed(file)]
        Image.new('RGB', (40, 48), colour).save(file)
    set_seed(0)
    dls = pets.pets_dls(few_pets, size=16, bs=8)
    learn = Learner(dls, pets.small_resnet(dls.c, (4, 8)), loss_func=pets.cross_entropy, metrics=accuracy)
    with learn.no_logging(): learn.fit(12, 1e-2)
    assert learn.validate()[1] == 1
    assert learn.predict(few_pets/'images'/'pug_3.jpg')[0] == 'pug'
    assert learn.predict(Image.new('RGB', (300, 200), (220, 40, 40)))[0] == 'Bengal'


# -- the lesson on real photos ------------------------------------------------------------------------------------------

@needs_mirror
def test_the_lesson_runs_unchanged_on_real_photos(root, tmp_path, monkeypatch):
    printed = printed_on_real_data(root/'nbs'/'26_pets.ipynb', ['oxford-iiit-pet.tgz'], tmp_path, monkeypatch)
    assert '12 breeds of cats, 25 of dogs' in printed
