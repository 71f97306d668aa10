"Practice data: the same for a seed, items that do not depend on each other, no leak, clear errors."
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.practice import check_practice_set, check_refused, nearest_mean
from lessonlib.files import new_folder
from lessonlib.practice import (Digit, PracticeSet, _originals, draw_digit, item_rng, make_digits,
                                make_mnist_tiny, plan_digits, practice_set, practice_sets)


def test_digits_keep_to_the_rules(tmp_path):
    check_practice_set(lambda folder, seed=42: make_digits(folder, 12, 6, 2, seed=seed), tmp_path)


def test_an_item_does_not_depend_on_how_many_there_are():
    assert plan_digits(train=5, valid=0)['train'] == plan_digits(train=30, valid=9)['train'][:5]
    assert item_rng(1, 'a', 2).uniform() == item_rng(1, 'a', 2).uniform() != item_rng(1, 'b', 2).uniform()


def test_the_picture_is_a_function_of_the_recipe():
    assert draw_digit(Digit(3, 3)).tobytes() == draw_digit(Digit(3, 3)).tobytes()


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


def test_no_original_digit_is_on_two_sides():
    used = {part: {recipe.original for recipe in recipes} for part, recipes in plan_digits(600, 300, 60).items()}
    assert all(used.values())
    assert not (used['train'] & used['valid'] or used['train'] & used['test'] or used['valid'] & used['test'])
    targets = _originals()[1]
    assert all(targets[recipe.original] == recipe.label for recipe in plan_digits(100, 50)['train'])


def test_pixel_similarity_on_digits_is_good_but_not_perfect():
    plan = plan_digits(600, 400)
    recipes = plan['train'] + plan['valid']
    x = np.stack([np.asarray(draw_digit(recipe), float).ravel() for recipe in recipes])/255
    accuracy = nearest_mean(x, np.array([recipe.label for recipe in recipes]), np.arange(1000) >= 600)
    assert .90 < accuracy < .985


@pytest.mark.parametrize('call, words', [
    (lambda f: make_digits(f, train=-1), 'train must be a whole number'),
    (lambda f: make_digits(f, train=1.5), 'train must be a whole number'),
    (lambda f: make_digits(f, train=0, valid=0), 'nothing to draw'),
    (lambda f: make_digits(f, digits=(3, 12)), 'from 0 to 9'),
    (lambda f: make_digits(f, digits=(3, 3)), 'different'),
    (lambda f: make_digits(f, seed=-1), 'seed must be'),
    (lambda f: make_digits(f, seed='42'), 'seed must be'),
])
def test_bad_arguments(call, words, tmp_path): check_refused(call, words, tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(FileExistsError):
        with new_folder(tmp_path/'file'): pass
    assert (tmp_path/'file').read_text() == 'x'


def test_registry():
    assert {'mnist_sample', 'mnist_tiny'} <= set(practice_sets)
    for name, entry in practice_sets.items():
        assert entry.name == name and entry.version >= 1 and callable(entry.make) and entry.about
    @practice_set('try', version=2, folder='try_folder')
    def make_try(folder):
        "One line.\nAnother."
    try:
        assert practice_sets['try'] == PracticeSet('try', make_try, 2, 'try_folder', 'One line.')
        with pytest.raises(ValueError, match='choose another name'): practice_set('try')(make_digits)
    finally: practice_sets.pop('try')
