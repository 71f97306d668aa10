"The drawn pets: the real layout, traits that show, breeds that can be told apart, clear errors."
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.practice import check_practice_set, check_refused, nearest_mean
from lessonlib import drawn_pets
from lessonlib.drawn_pets import Pet, breeds, draw_pet, make_pets, plan_pets
from lessonlib.practice import item_rng, practice_sets


def two_breeds(folder, seed=42): return make_pets(folder, number=2, names=['Bengal', 'pug'], seed=seed)


def test_pets_keep_to_the_rules(tmp_path):
    check_practice_set(two_breeds, tmp_path)
    assert practice_sets['pets'].folder == 'oxford-iiit-pet'


def test_an_item_does_not_depend_on_how_many_there_are():
    assert plan_pets(2, ['Bombay']) == plan_pets(6, ['Bombay'])[:2]


def test_the_picture_is_a_function_of_the_recipe():
    assert draw_pet(Pet('pug', hair=4)).tobytes() == draw_pet(Pet('pug', hair=4)).tobytes()


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


def test_wrong_labels_are_as_many_as_planned():
    assert all(pet.breed == pet.label for pet in plan_pets(3, mistakes=0))
    wrong = [pet for pet in plan_pets(60, mistakes=.1) if pet.breed != pet.label]
    assert .07 < len(wrong)/(37*60) < .13
    assert all(breeds[pet.breed].cat == breeds[pet.label].cat for pet in wrong)


def test_breeds_can_be_told_apart():
    plan = [replace(pet, width=64, height=64) for pet in plan_pets(8, mistakes=0)]
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


@pytest.mark.parametrize('call, words', [
    (lambda f: make_pets(f, number=-2), 'number must be a whole number'),
    (lambda f: make_pets(f, number=0), 'nothing to draw'),
    (lambda f: make_pets(f, names=['Siamse']), "Did you mean 'Siamese'"),
    (lambda f: make_pets(f, names=[]), 'list of breeds is empty'),
    (lambda f: make_pets(f, mistakes=2), 'share from 0 to 1'),
    (lambda f: draw_pet(Pet('griffin')), 'no breed is called'),
    (lambda f: draw_pet(Pet('pug', scene='moon')), 'garden'),
])
def test_bad_arguments(call, words, tmp_path): check_refused(call, words, tmp_path)


def test_interrupted_work_leaves_nothing(tmp_path, monkeypatch):
    drawn = []
    def breaks(pet):
        drawn.append(pet)
        if len(drawn) == 3: raise KeyboardInterrupt
        return Image.new('RGB', (20, 20))
    monkeypatch.setattr(drawn_pets, 'draw_pet', breaks)
    with pytest.raises(KeyboardInterrupt): two_breeds(tmp_path/'set')
    assert len(drawn) == 3 and not list(tmp_path.iterdir())
