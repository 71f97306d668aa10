"The drawn streets: the real layout, masks that fit their pictures, clear errors."
import numpy as np
import pytest
from PIL import Image

from helpers.practice import check_practice_set, check_refused
from lessonlib.drawn_scenes import Street, draw_street, make_streets, plan_streets, street_codes
from lessonlib.practice import practice_sets


def test_streets_keep_to_the_rules(tmp_path):
    check_practice_set(lambda folder, seed=42: make_streets(folder, number=3, frames=2, seed=seed), tmp_path)
    assert practice_sets['camvid_tiny'].folder == 'camvid_tiny'


def test_an_item_does_not_depend_on_how_many_there_are():
    assert plan_streets(3) == plan_streets(11)[:3]


def test_the_picture_is_a_function_of_the_recipe():
    for first, again in zip(draw_street(Street(2)), draw_street(Street(2))): assert first.tobytes() == again.tobytes()


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


def test_frames_of_a_street_share_its_name():
    plan = plan_streets(8, frames=4)
    assert [recipe.name for recipe in plan[:5]] == [f'Street000_f{k:02d}' for k in range(4)] + ['Street001_f00']
    assert len({recipe.name for recipe in plan}) == 8


@pytest.mark.parametrize('call, words', [
    (lambda f: make_streets(f, number=-1), 'number must be a whole number'),
    (lambda f: make_streets(f, frames=0), 'frames must be a whole number'),
    (lambda f: draw_street(Street(0, light='moon')), 'noon'),
])
def test_bad_arguments(call, words, tmp_path): check_refused(call, words, tmp_path)
