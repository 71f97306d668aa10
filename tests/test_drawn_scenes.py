"The drawn scenes: the real layouts; masks, tags and points that fit their pictures; clear errors."
import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.practice import check_practice_set, check_refused
from lessonlib.drawn_scenes import (_looks, draw_head, draw_street, draw_tile, Head, head_points, label_certainty, make_heads,
                                    make_streets, make_tiles, plan_heads, plan_streets, plan_tiles, Street, street_codes,
                                    Tile, tile_tags)
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
    (lambda f: make_tiles(f, number=-1), 'number must be a whole number'),
    (lambda f: make_tiles(f, number=2, overlook=1), 'overlook is a share'),
    (lambda f: draw_tile(Tile(0, ('clear', 'raod'))), "'raod' is no tag; there are agriculture"),
])
def test_bad_arguments(call, words, tmp_path): check_refused(call, words, tmp_path)


def test_how_certain_a_label_is():
    "Inside a thing it is certain; along outlines, and only there, one can only guess"
    mask, sure = np.asarray(draw_street(Street(3))[1]), label_certainty(Street(3))
    assert sure.shape == mask.shape and sure.max() == 1 and sure.min() >= 1/9
    inside = np.ones(mask.shape, bool)
    for shift in (-1, 1):
        for axis in (0, 1): inside &= np.roll(mask, shift, axis) == mask
    assert (sure[~inside] < 1).mean() > 4*(sure[inside] < 1).mean()
    assert .9 < sure.mean() < .995


# --- tiles -----------------------------------------------------------------------------------------------------------

SKIES = ['clear', 'cloudy', 'haze', 'partly_cloudy']


def test_tiles_keep_to_the_rules(tmp_path):
    check_practice_set(lambda folder, seed=42: make_tiles(folder, number=4, seed=seed), tmp_path)
    assert practice_sets['planet_sample'].folder == 'planet_sample'


def test_a_tile_does_not_depend_on_how_many_there_are():
    assert plan_tiles(3) == plan_tiles(11)[:3]
    assert draw_tile(Tile(5)).tobytes() == draw_tile(Tile(5)).tobytes() != draw_tile(Tile(6)).tobytes()
    assert draw_tile(Tile(5), side=40).size == (40, 40)


def test_tiles_layout_is_the_real_one(tmp_path):
    "A table with image_name and tags, CMYK JPEGs in train, tags in the order of the alphabet"
    folder = make_tiles(tmp_path/'planet_sample', number=12)
    with open(folder/'labels.csv', newline='') as file: rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['image_name', 'tags'] and len(rows) == 12
    assert sorted(f'{row["image_name"]}.jpg' for row in rows) == sorted(f.name for f in (folder/'train').iterdir())
    assert sorted(f.name for f in folder.iterdir()) == ['labels.csv', 'train']
    for row, tile in zip(rows, plan_tiles(12)):
        tags = row['tags'].split(' ')
        assert tags == sorted(set(tags)) and set(tags) <= set(tile_tags)
        with Image.open(folder/'train'/f'{row["image_name"]}.jpg') as picture:
            assert (picture.mode, picture.format, picture.size) == ('CMYK', 'JPEG', (96, 96))
            near = np.abs(np.asarray(picture.convert('RGB'), int) - np.asarray(draw_tile(tile), int)).mean()
        assert near < 14, 'a negative, or another tile'


def test_what_is_planted_in_the_tags():
    plan = plan_tiles(3000)
    has = {tag: np.array([tag in tile.tags for tile in plan]) for tag in tile_tags}
    assert (sum(has[sky] for sky in SKIES) == 1).all(), 'one kind of weather'
    assert not any((has['cloudy'] & has[tag]).any() for tag in tile_tags if tag != 'cloudy')
    share = {tag: seen.mean() for tag, seen in has.items()}
    assert all(share.values()) and .85 < share['primary'] < .97 and share['conventional_mine'] < .015
    farm, road = has['agriculture'], has['road']
    assert road[farm].mean() > 3*road[~farm].mean() and has['habitation'][farm & road].mean() > .3
    overlooked = sum(len(tile.overlooked) for tile in plan)/sum(
        tag in tile.tags for tile in plan for tag in ('road', 'water', 'habitation', 'cultivation'))
    assert .02 < overlooked < .06
    for tile in plan: assert set(tile.written.split()) == set(tile.tags) - set(tile.overlooked)
    assert not any(tile.overlooked for tile in plan_tiles(200, overlook=0))


@pytest.mark.parametrize('tag', [tag for tag in tile_tags if tag not in ('clear', 'primary')])
def test_every_tag_is_to_be_seen(tag):
    "A tile with the tag differs clearly from the same tile without it, somewhere"
    rest = tuple(sky for sky in ('clear',) if tag not in SKIES)
    changes = []
    for number in range(4):
        with_it, without = (draw_tile(Tile(number, tags)) for tags in (('primary', tag, *rest), ('primary', 'clear')))
        changes.append(np.abs(np.asarray(with_it, int) - np.asarray(without, int)).max(2))
    assert np.mean([(change > 40).mean() for change in changes]) > .004


def test_haze_hides_the_ground():
    def change(sky):
        "How much fields change the tile, in this weather"
        one, other = (np.asarray(draw_tile(Tile(4, (*land, sky))), int) for land in (('primary', 'agriculture'), ('primary',)))
        return np.abs(one - other).mean()
    assert change('haze') < .7*change('clear')
# ---- heads ----

def test_heads_keep_to_the_rules(tmp_path):
    check_practice_set(lambda folder, seed=42: make_heads(folder, people=2, frames=2, seed=seed), tmp_path)
    assert practice_sets['biwi_head_pose'].folder == 'biwi_head_pose'


def test_heads_layout(tmp_path):
    "That of the field's set: its own script reads centre and camera, and finds the point in the table"
    folder = make_heads(tmp_path/'biwi_head_pose', people=2, frames=3)
    shots = sorted(folder.glob('*/*_rgb.jpg'))
    assert [shot.relative_to(folder).as_posix() for shot in shots][:2] == ['01/frame_00003_rgb.jpg', '01/frame_00004_rgb.jpg']
    points = pd.read_csv(folder/'points.csv', index_col='file')
    assert list(points.index) == [shot.relative_to(folder).as_posix() for shot in shots] and points.shape == (6, 12)
    for shot in shots:
        pose, cal = f'{str(shot)[:-7]}pose.txt', np.genfromtxt(shot.parent/'rgb.cal', skip_footer=6)
        assert cal.shape == (3, 3) and Image.open(shot).size == (160, 120)
        turn, centre = np.genfromtxt(pose, max_rows=3), np.genfromtxt(pose, skip_header=3)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-4)
        assert np.linalg.det(turn) > 0 and centre.shape == (3,)
        seen = cal @ centre / centre[2]
        np.testing.assert_allclose(seen[:2], points.loc[shot.relative_to(folder).as_posix()][:2], atol=.02)


def test_a_head_does_not_depend_on_how_many_there_are():
    assert plan_heads(3, frames=4) == plan_heads(5, frames=4)[:12]
    assert plan_heads(2, frames=3)[0] == plan_heads(2, frames=9)[0]


def test_heads_stay_in_the_picture_and_some_points_hide():
    points = np.stack([head_points(recipe) for recipe in plan_heads()])
    centres, hidden = points[:, 0], np.isnan(points).any(2)
    assert (centres > 25).all() and (centres < (135, 95)).all()
    assert not hidden[:, [0, 3]].any() and .02 < hidden.mean() < .3
    assert (np.isnan(points).any(2) == np.isnan(points).all(2)).all()


@pytest.mark.parametrize('yaw, pitch', [(0, 0), (25, 0), (-25, 10), (10, -15)])
def test_points_lie_on_what_they_name(yaw, pitch):
    "A pupil is darker than the skin beside it, on each side; the nose goes where the face turns"
    recipe = next(Head(person, yaw=yaw, pitch=pitch, z=420) for person in range(1, 60)
                  if not _looks(Head(person))['glasses'] and _looks(Head(person))['skin'].min() > .5)
    centre, left, right, nose, *mouth = head_points(recipe)
    picture = np.asarray(draw_head(recipe).convert('L')).astype(int)
    for x, y in (left, right):
        column, row = int(x), int(y)     # edges are whole numbers: the pixel that holds the point
        assert picture[row - 1:row + 2, column - 1:column + 2].min() + 40 < picture[row + 5, column]
    assert left[0] > right[0] and mouth[0][0] > mouth[1][0]
    facing_us = head_points(Head(recipe.person, z=420))[3]
    assert np.sign(nose - facing_us).round().tolist() == [np.sign(yaw), -np.sign(pitch)] or (yaw, pitch) == (0, 0) \
        or abs((nose - facing_us)[1]) < 3 and np.sign((nose - facing_us)[0]) == np.sign(yaw)


def test_frames_of_a_person_look_alike():
    "Nearer to the next frame of the same person than to any other person"
    plan = plan_heads(4, frames=4)
    looks = np.stack([np.asarray(draw_head(recipe)).astype(float).ravel() for recipe in plan])
    away = ((looks[:, None] - looks[None])**2).mean(-1)
    for i, recipe in enumerate(plan):
        others = [away[i, j] for j, other in enumerate(plan) if other.person != recipe.person]
        near = [away[i, j] for j, other in enumerate(plan) if other.person == recipe.person and j != i]
        assert min(near) < min(others)


@pytest.mark.parametrize('call, words', [
    (lambda f: make_heads(f, people=0, frames=0), 'nothing to draw'),
    (lambda f: make_heads(f, people='two'), 'people must be a whole number'),
    (lambda f: make_heads(f, frames=-2), 'frames must be a whole number'),
    (lambda f: make_heads(f, seed=-1), 'seed must be a whole number'),
])
def test_bad_arguments_of_heads(call, words, tmp_path): check_refused(call, words, tmp_path)
