"The practice sets: same pixels for a seed, the real layouts, no leaks, tellable classes, clear errors."
import hashlib
import random
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from parts import Parts
practice = Parts('files', 'practice', 'drawn_pets', 'drawn_streets')
from lessonlib.practice import (Digit, draw_digit, item_rng, make_digits, make_mnist_tiny,
                                plan_digits, practice_set, practice_sets)
from lessonlib.drawn_pets import Pet, breeds, draw_pet, make_pets, plan_pets
from lessonlib.drawn_streets import Street, draw_street, make_streets, plan_streets, street_codes
from lessonlib.files import new_folder

SMALL = {'mnist_sample': lambda folder, seed=42: make_digits(folder, train=12, valid=6, test=2, seed=seed),
         'pets': lambda folder, seed=42: make_pets(folder, number=2, names=['Bengal', 'pug'], seed=seed),
         'camvid_tiny': lambda folder, seed=42: make_streets(folder, number=3, frames=2, seed=seed)}


def fingerprint(folder):
    "Names and pixels (or text) of all files under a folder"
    digest = hashlib.sha256()
    for file in sorted(folder.rglob('*')):
        if not file.is_file(): continue
        digest.update(file.relative_to(folder).as_posix().encode())
        is_picture = file.suffix in ('.png', '.jpg')
        digest.update(np.asarray(Image.open(file)).tobytes() if is_picture else file.read_bytes())
    return digest.hexdigest()


# ---- determinism

@pytest.mark.parametrize('name', SMALL)
def test_same_seed_same_pixels(name, tmp_path):
    first = fingerprint(SMALL[name](tmp_path/'first'))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert fingerprint(SMALL[name](tmp_path/'second')) == first
    assert fingerprint(SMALL[name](tmp_path/'other', seed=7)) != first


@pytest.mark.parametrize('name', SMALL)
def test_global_random_state_is_left_alone(name, tmp_path):
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    SMALL[name](tmp_path/'set')
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_an_item_does_not_depend_on_how_many_there_are():
    assert plan_digits(train=5, valid=0)['train'] == plan_digits(train=30, valid=9)['train'][:5]
    assert plan_pets(2, ['Bombay']) == plan_pets(6, ['Bombay'])[:2]
    assert plan_streets(3) == plan_streets(11)[:3]
    assert item_rng(1, 'a', 2).uniform() == item_rng(1, 'a', 2).uniform() != item_rng(1, 'b', 2).uniform()


def test_the_picture_is_a_function_of_the_recipe():
    for draw, recipe in ((draw_digit, Digit(3, 3)), (draw_pet, Pet('pug', hair=4)),
                         (lambda r: draw_street(r)[0], Street(2))):
        assert draw(recipe).tobytes() == draw(recipe).tobytes()


# ---- layouts of the real archives

def test_digits_layout(tmp_path):
    folder = make_digits(tmp_path/'mnist_sample', train=20, valid=10)
    assert sorted(path.name for path in folder.iterdir()) == ['labels.csv', 'train', 'valid']
    labels = pd.read_csv(folder/'labels.csv')
    assert list(labels.columns) == ['name', 'label'] and len(labels) == 30
    for name, label in labels.itertuples(index=False):
        assert re.fullmatch(r'(train|valid)/[37]/\d+\.png', name)
        assert label == {'3': 0, '7': 1}[name.split('/')[1]]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob('*.png')} == set(labels.name)
    picture = Image.open(folder/labels.name[0])
    assert picture.mode == 'L' and picture.size == (28, 28)
    pixels = np.asarray(picture)
    assert pixels.max() > 200 and pixels[0].max() == 0 and .05 < (pixels > 127).mean() < .4


def test_mnist_tiny_layout(tmp_path):
    folder = make_mnist_tiny(tmp_path/'mnist_tiny')
    labels = pd.read_csv(folder/'labels.csv')
    assert set(labels.label) == {3, 7}
    assert [len(list((folder/part).rglob('*.png'))) for part in ('train', 'valid', 'test')] == [709, 699, 20]
    assert len(labels) == 709 + 699 and not any((folder/'test').glob('*/'))


def test_pets_layout_and_names(tmp_path):
    folder = make_pets(tmp_path/'oxford-iiit-pet', number=1, mistakes=0)
    assert [path.name for path in folder.iterdir()] == ['images']
    files = sorted((folder/'images').iterdir())
    names = {re.match(r'(.+)_\d+\.jpg$', file.name)[1] for file in files}
    assert names == set(breeds) and len(names) == 37
    assert sum(name[0].isupper() for name in names) == 12
    for name, breed in breeds.items(): assert breed.cat == name[0].isupper()
    sizes = {Image.open(file).size for file in files}
    assert len(sizes) > 5 and all(180 <= min(size) <= 230 for size in sizes)
    assert {Image.open(file).mode for file in files} == {'RGB'}


def test_streets_layout_and_masks(tmp_path):
    folder = make_streets(tmp_path/'camvid_tiny', number=6, frames=2)
    codes = (folder/'codes.txt').read_text().split()
    assert codes == street_codes == sorted(street_codes, key=str.lower) and len(codes) == 32
    images, labels = sorted((folder/'images').iterdir()), sorted((folder/'labels').iterdir())
    assert [f'{image.stem}_P.png' for image in images] == [label.name for label in labels]
    for image, label in zip(images, labels):
        picture, mask = Image.open(image), Image.open(label)
        assert picture.mode == 'RGB' and mask.mode == 'L' and picture.size == mask.size == (128, 96)
        assert np.asarray(mask).max() < len(codes)
        seen = {codes[code] for code in np.unique(mask)}
        assert {'Sky', 'Road', 'Building', 'Sidewalk'} <= seen


def test_all_named_things_appear_somewhere():
    seen = set()
    for recipe in plan_streets(40, frames=1): seen |= set(np.unique(draw_street(recipe)[1]).tolist())
    wanted = 'Sky Building Road LaneMkgsDriv Sidewalk Tree Car Pedestrian SignSymbol Column_Pole Void'.split()
    assert {street_codes.index(code) for code in wanted} <= seen


def test_masks_fit_their_pictures():
    "Light changes the picture, not the mask; a thing that is gone is gone from both, in the same place"
    day, mask = draw_street(Street(5, light='noon'))
    dull, same = draw_street(Street(5, light='dull'))
    assert mask.tobytes() == same.tobytes() and day.tobytes() != dull.tobytes()
    busy, quiet = (draw_street(Street(5, cars=number, people=0)) for number in (9, 0))
    cars = [street_codes.index(code) for code in ('Car', 'SUVPickupTruck', 'Truck_Bus')]
    assert np.isin(busy[1], cars).sum() > 30 and not np.isin(quiet[1], cars).any()
    for name in ('Car', 'Sky', 'Road'):
        code, change = street_codes.index(name), np.abs(np.asarray(busy[0], int) - np.asarray(quiet[0])).max(2)
        here, there = (np.asarray(side[1]) == code for side in (busy, quiet))
        if name == 'Car': assert change[here].mean() > 25
        else: assert change[here & there].mean() < 12


# ---- no leaks, known ceilings

def test_no_original_digit_is_on_two_sides():
    used = {part: {recipe.original for recipe in recipes} for part, recipes in plan_digits(600, 300, 60).items()}
    assert all(used.values())
    assert not (used['train'] & used['valid'] or used['train'] & used['test'] or used['valid'] & used['test'])
    targets = practice._originals()[1]
    assert all(targets[recipe.original] == recipe.label for recipe in plan_digits(100, 50)['train'])


def test_frames_of_a_street_share_its_name():
    plan = plan_streets(8, frames=4)
    assert [recipe.name for recipe in plan[:5]] == [f'Street000_f{k:02d}' for k in range(4)] + ['Street001_f00']
    assert len({recipe.name for recipe in plan}) == 8


def test_wrong_labels_are_as_many_as_planned():
    assert all(pet.breed == pet.label for pet in plan_pets(3, mistakes=0))
    wrong = [pet for pet in plan_pets(60, mistakes=.1) if pet.breed != pet.label]
    assert .07 < len(wrong)/(37*60) < .13
    assert all(breeds[pet.breed].cat == breeds[pet.label].cat for pet in wrong)


# ---- the classes can be told apart, and not too easily

def nearest_mean(x, y, valid):
    "Accuracy on `valid` of the class whose mean over the rest is nearest"
    names = np.unique(y)
    means = np.stack([x[~valid & (y == name)].mean(0) for name in names])
    away = ((x[valid][:, None] - means)**2).sum(-1)
    return (names[away.argmin(1)] == y[valid]).mean()


def test_pixel_similarity_on_digits_is_good_but_not_perfect():
    plan = plan_digits(600, 400)
    recipes = plan['train'] + plan['valid']
    x = np.stack([np.asarray(draw_digit(recipe), float).ravel() for recipe in recipes])/255
    accuracy = nearest_mean(x, np.array([recipe.label for recipe in recipes]), np.arange(1000) >= 600)
    assert .90 < accuracy < .985


def test_breeds_can_be_told_apart():
    plan = [practice.replace(pet, width=64, height=64) for pet in plan_pets(8, mistakes=0)]
    x = np.stack([np.asarray(draw_pet(pet).resize((12, 12)), float).ravel() for pet in plan])
    y, valid = np.array([pet.breed for pet in plan]), np.array([pet.number > 6 for pet in plan])
    assert nearest_mean(x, y, valid) > .15                      # guessing: .027
    shuffled = item_rng(0, 'shuffle').permutation(y)
    assert nearest_mean(x, shuffled, valid) < .12               # the measure itself does not leak


@pytest.mark.parametrize('one, other', [('Siamese', 'Bombay'), ('Persian', 'Sphynx'), ('beagle', 'pug'),
                                        ('samoyed', 'newfoundland'), ('Birman', 'Ragdoll')])
def test_traits_show_in_the_pixels(one, other):
    "Same pose, same light, same room: another breed changes many pixels, another seed of hair only some"
    pixels = lambda *args, **kwargs: np.asarray(draw_pet(Pet(*args, **kwargs)), int)
    same_breed = np.abs(pixels(one) - pixels(one, light=1.02)).mean()
    assert np.abs(pixels(one) - pixels(other)).mean() > 2*same_breed > 0


# ---- errors: clear, and nothing lost

@pytest.mark.parametrize('call, words', [
    (lambda f: make_digits(f, train=-1), 'train must be a whole number'),
    (lambda f: make_digits(f, train=1.5), 'train must be a whole number'),
    (lambda f: make_digits(f, train=0, valid=0), 'nothing to draw'),
    (lambda f: make_digits(f, digits=(3, 12)), 'from 0 to 9'),
    (lambda f: make_digits(f, digits=(3, 3)), 'different'),
    (lambda f: make_digits(f, seed=-1), 'seed must be'),
    (lambda f: make_digits(f, seed='42'), 'seed must be'),
    (lambda f: make_pets(f, number=-2), 'number must be a whole number'),
    (lambda f: make_pets(f, number=0), 'nothing to draw'),
    (lambda f: make_pets(f, names=['Siamse']), 'did you mean Siamese'),
    (lambda f: make_pets(f, names=[]), 'list of breeds is empty'),
    (lambda f: make_pets(f, mistakes=2), 'share from 0 to 1'),
    (lambda f: make_streets(f, number=-1), 'number must be a whole number'),
    (lambda f: make_streets(f, frames=0), 'frames must be a whole number'),
    (lambda f: draw_pet(Pet('griffin')), 'no breed is called'),
    (lambda f: draw_street(Street(0, light='moon')), 'noon'),
    (lambda f: draw_pet(Pet('pug', scene='moon')), 'garden'),
])
def test_bad_arguments(call, words, tmp_path):
    with pytest.raises(ValueError, match=words): call(tmp_path/'set')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', SMALL)
def test_a_folder_with_files_is_left_alone(name, tmp_path):
    (tmp_path/'set').mkdir()
    (tmp_path/'set/mine.txt').write_text('keep')
    with pytest.raises(FileExistsError, match='Nothing was written'): SMALL[name](tmp_path/'set')
    assert [path.name for path in tmp_path.rglob('*')] == ['set', 'mine.txt']
    assert (tmp_path/'set/mine.txt').read_text() == 'keep'


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    (tmp_path/'empty').mkdir()
    assert any(SMALL['camvid_tiny'](tmp_path/'empty').iterdir())
    assert SMALL['mnist_sample'](tmp_path/'a/b/c').is_dir()


def test_interrupted_work_leaves_nothing(tmp_path, monkeypatch):
    drawn = []
    def breaks(pet):
        drawn.append(pet)
        if len(drawn) == 3: raise KeyboardInterrupt
        return Image.new('RGB', (20, 20))
    monkeypatch.setattr(practice, 'draw_pet', breaks)
    with pytest.raises(KeyboardInterrupt): SMALL['pets'](tmp_path/'set')
    assert len(drawn) == 3 and not list(tmp_path.iterdir())
    with pytest.raises(FileExistsError):
        (tmp_path/'file').write_text('x')
        with new_folder(tmp_path/'file'): pass


# ---- the registry

def test_registry():
    assert {'mnist_sample', 'mnist_tiny', 'pets', 'camvid_tiny'} <= set(practice_sets)
    assert practice_sets['pets'].folder == 'oxford-iiit-pet'
    for name, entry in practice_sets.items():
        assert entry.name == name and entry.version >= 1 and callable(entry.make) and entry.about
    @practice_set('try', version=2, folder='try_folder')
    def make_try(folder):
        "One line.\nAnother."
    try:
        assert practice_sets['try'] == practice.PracticeSet('try', make_try, 2, 'try_folder', 'One line.')
        with pytest.raises(ValueError, match='choose another name'): practice_set('try')(make_pets)
    finally: practice_sets.pop('try')
