"Finding items, labelling them, and splits that keep their promises."
import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from lessonlib.core import get_rng_state
from lessonlib.items import (as_rows, check_split, ColReader, ColSplitter, FuncSplitter, get_files, get_image_files,
                             GrandparentSplitter, GroupSplitter, IndexSplitter, NoSplitter, parent_label,
                             RandomSplitter, RegexLabeller, TrainTestSplitter, using_attr)


def same(item): return item


# --- finding and labelling ------------------------------------------------------------------------------------

def touch(folder, *names):
    for name in names:
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).touch()


def test_get_image_files(tmp_path):
    touch(tmp_path, 'b.JPG', 'a.png', 'note.txt', '.hidden.jpg', 'sub/c.jpeg', 'sub/deep/d.webp', '.git/e.jpg',
          'other/f.png')
    def names(**kw): return [f.relative_to(tmp_path).as_posix() for f in get_image_files(tmp_path, **kw)]
    assert names() == ['a.png', 'b.JPG', 'other/f.png', 'sub/c.jpeg', 'sub/deep/d.webp']
    assert names(recurse=False) == ['a.png', 'b.JPG']
    assert names(folders=['sub']) == names(folders='sub') == ['sub/c.jpeg', 'sub/deep/d.webp']
    assert get_image_files(str(tmp_path)) == get_image_files(tmp_path)
    with pytest.raises(TypeError, match='one folder'): get_image_files([tmp_path])


def test_lists_of_files_can_map(tmp_path):
    touch(tmp_path, 'b.JPG', 'a.png', 'note.txt', '.hidden.jpg', 'sub/c.TXT', '.git/e.txt')
    from fastcore.foundation import L
    pictures, files = get_image_files(tmp_path), get_files(tmp_path)
    assert type(pictures) is type(files) is type(get_files(tmp_path, '.txt')) is L
    assert pictures.map(Path.name.fget) == ['a.png', 'b.JPG'] and len(pictures + pictures) == 4
    assert pictures.sorted(key=str, reverse=True).attrgot('suffix') == ['.JPG', '.png']
    assert [f.name for f in files] == ['a.png', 'b.JPG', 'note.txt', 'c.TXT']
    for kinds in ('.txt', ['.txt'], {'.TXT'}):
        assert [f.name for f in get_files(tmp_path, kinds)] == ['note.txt', 'c.TXT']
    assert [f.name for f in get_files(tmp_path, ['.txt'], recurse=False)] == ['note.txt']
    assert [f.name for f in get_files(tmp_path, folders='sub')] == ['c.TXT'] and get_files(tmp_path, '.doc') == []
    with pytest.raises(TypeError, match='one folder'): get_files(pictures)
    with pytest.raises(FileNotFoundError, match='no folder'): get_files(tmp_path/'none')


@pytest.mark.parametrize('name,options,words', [
    ('text', {}, 'no folder .*there are: texts'), ('x/y', {}, 'nor is there'), ('texts', {}, '1 × .txt'),
    ('.', dict(recurse=False), 'recurse=True'), ('.', dict(folders='train'), r"folders \['train'\]")])
def test_nothing_to_find(tmp_path, name, options, words):
    touch(tmp_path, 'texts/a.txt', 'texts/deep/none')
    (tmp_path/'texts'/'deep'/'none').unlink()
    with pytest.raises(FileNotFoundError, match=words): get_image_files(tmp_path/name, **options)


def test_a_file_is_no_folder(tmp_path):
    touch(tmp_path, 'a.txt')
    with pytest.raises(NotADirectoryError): get_image_files(tmp_path/'a.txt')


def test_labellers():
    label = RegexLabeller(r'(.+)_\d+\.jpg$')
    assert using_attr(label, 'name')(Path('x/great_dane_12.jpg')) == 'great_dane'
    assert RegexLabeller(r'/(\w+)/[^/]+$')(Path('a/b/c.jpg')) == 'b'
    assert RegexLabeller('(b)')('ab') == 'b'
    with pytest.raises(ValueError, match=r"'\(b\)' does not match 'ab'"): RegexLabeller('(b)', match=True)('ab')
    with pytest.raises(ValueError, match=r"\(\.\+\)_.*great\.jpg"): using_attr(label, 'name')(Path('x/great.jpg'))
    with pytest.raises(ValueError, match='no group'): RegexLabeller('abc')
    assert parent_label('a/b/c.jpg') == 'b'


def test_rows_and_columns():
    gaps = dict(tags=['x y', None], gap=['q', float('nan')])
    table = pd.DataFrame({'file name': ['a', 'b'], 'n': [1, 2], **gaps}, index=[7, 9])
    rows = as_rows(table)
    assert rows[1]['file name'] == 'b' and rows[1].n == 2
    for twin in (copy.copy(rows[0]), copy.deepcopy(rows[0]), pickle.loads(pickle.dumps(rows[0]))):
        assert twin == rows[0] and twin.n == 1
    assert ColReader('file name', pref=Path('d'), suff='.jpg')(rows[0]) == os.path.join('d', 'a.jpg')
    assert ColReader('file name', pref='d-')(rows[0]) == 'd-a'
    assert ColReader(['n', 'file name'])(rows[1]) == [2, 'b']
    assert [ColReader('tags', label_delim=' ')(row) for row in rows] == [['x', 'y'], []]
    tuples = next(table.rename(columns={'file name': 'f'}).itertuples(index=False))
    for row in (rows[0], table.iloc[0], dict(rows[0]), tuples):
        assert ColReader(1)(row) == 1 and ColReader(-1)(row) == 'q'


def test_columns_that_cannot_be_read():
    row = as_rows(pd.DataFrame({'file name': ['a'], 'n': [1], 'gap': [float('nan')]}))[0]
    with pytest.raises(ValueError, match="Column 'gap' is empty.*dropna"): ColReader('gap')(row)
    with pytest.raises(KeyError, match="'nn'.*'file name', 'n'.*Did you mean 'n'"): ColReader('nn')(row)
    with pytest.raises(KeyError, match='no column 9'): ColReader(9)(row)
    with pytest.raises(TypeError, match='rows of a table'): ColReader('n')(Path('a.jpg'))
    with pytest.raises(AttributeError, match='no column'): row.size


# --- splitting ------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=60)
@given(n=st.integers(2, 200), pct=st.floats(.01, .99), seed=st.integers(0, 2**31))
def test_random_splits(n, pct, seed):
    before = get_rng_state()['torch'].clone()
    train, valid = RandomSplitter(pct, seed)(range(n))
    assert sorted(train + valid) == list(range(n)) and len(valid) == int(pct * n)
    assert (train, valid) == RandomSplitter(pct, seed)(range(n)) and torch.equal(before, torch.get_rng_state())


@settings(deadline=None, max_examples=60)
@given(groups=st.lists(st.integers(0, 9), min_size=2, max_size=80), pct=st.floats(.05, .95), seed=st.integers(0, 99))
def test_groups_stay_together(groups, pct, seed):
    before = torch.get_rng_state()
    train, valid = GroupSplitter(same, pct, seed)(groups)
    assert sorted(train + valid) == list(range(len(groups))) and torch.equal(before, torch.get_rng_state())
    assert not {groups[i] for i in train} & {groups[i] for i in valid}
    most = max(groups.count(g) for g in groups)
    assert pct * len(groups) <= len(valid) < pct * len(groups) + most


def test_unseeded_splits_draw_their_own_seed_and_remember_it():
    state = get_rng_state()
    one, two = RandomSplitter(), RandomSplitter()
    assert one(range(99)) == one(range(99)) == RandomSplitter(seed=one.seed)(range(99)) != two(range(99))
    assert GroupSplitter(same).seed != GroupSplitter(same).seed
    after = get_rng_state()
    assert state['python'] == after['python'] and state['numpy'] == after['numpy']
    assert torch.equal(state['torch'], after['torch'])
    for wrong in (0, 1, -1, 20):
        with pytest.raises(ValueError, match='between 0 and 1'): RandomSplitter(wrong)
        with pytest.raises(ValueError, match='between 0 and 1'): GroupSplitter(same, wrong)


def test_splitters_by_position_question_and_folder():
    assert IndexSplitter(np.array([3, 1]))('abcd') == ([0, 2], [3, 1])
    assert FuncSplitter(str.isupper)('aBc') == ([0, 2], [1])
    assert NoSplitter()('ab') == ([0, 1], [])
    paths = ['p/train/a/1.jpg', 'p/valid/a/2.jpg', 'p/extra/a/3.jpg', 'p/test/b/4.jpg']
    assert GrandparentSplitter()(paths) == ([0], [1])
    assert GrandparentSplitter(['train', 'extra'], 'test')(paths) == ([0, 2], [3])
    with pytest.raises(ValueError, match="{'train': 1"): GrandparentSplitter(valid_name='dev')(paths)


def test_splitting_by_a_column():
    table = pd.DataFrame({'is_valid': [True, False, True], 'side': ['train', 'dev', 'test'],
                          'word': ['True', 'false', '1']}, index=[5, 6, 7])
    assert ColSplitter()(table) == ([1], [0, 2]) == ColSplitter()(as_rows(table))
    assert ColSplitter('side', on='dev')(table) == ([0, 2], [1])
    assert ColSplitter('side', on=['dev', 'test'])(table) == ([0], [1, 2])
    assert ColSplitter('word')(table) == ([1], [0, 2])
    with pytest.raises(ValueError, match='neither True nor False'): ColSplitter('side')(table)
    with pytest.raises(KeyError, match="'is_valid', 'side'"): ColSplitter('valid')(table)


def test_check_split_gives_lists():
    assert check_split(([np.int64(1)], torch.tensor([0])), 2) == ([1], [0])
    assert check_split(([0], [1], {2}), 3) == ([0], [1], [2])
    assert check_split(([0], []), 1, may_be_empty=True) == ([0], [])
    assert all(type(i) is int for side in check_split((np.arange(2), range(2, 4)), 4) for i in side)


@pytest.mark.parametrize('sides,words', [
    (([0], []), 'validation side empty'), (([], [0]), 'training side empty'), (([0], [2]), 'position 2'),
    (([-1], [0]), 'position -1'), (([0, 1], [1]), 'Item 1 is in the training and the validation'),
    (([0, 0], [1]), 'Item 0 is in the training and the training'), (([0],), 'lists'), (None, 'lists'),
    (([None], [0]), 'lists'), ([0, 1], 'lists'), (([.5], [1]), 'lists'), (([True, False], [False, True]), 'flatnonzero')])
def test_check_split_names_what_is_wrong(sides, words):
    with pytest.raises(ValueError, match=words): check_split(sides, 2)


@pytest.mark.parametrize('part', [RandomSplitter(seed=3), RegexLabeller('(a)'), ColReader('x', suff='.jpg'),
                                  IndexSplitter([1]), using_attr(parent_label, 'name')])
def test_parts_can_be_copied_sent_and_read(part):
    for twin in (copy.copy(part), copy.deepcopy(part), pickle.loads(pickle.dumps(part))): assert twin == part
    assert repr(part).startswith(type(part).__name__ + '(')


# --- what other people's folders and tables hold ---------------------------------------------------------------------

def test_each_picture_is_found_once_whatever_links_there_are(tmp_path):
    touch(tmp_path/'data', 'cat/a.png', 'dog/b.png')
    touch(tmp_path/'outside', 'c.png', 'deep/d.png')
    data = tmp_path/'data'
    os.symlink(data, data/'dog'/'all', target_is_directory=True)              # back to the top
    os.symlink(data/'dog', data/'a_link', target_is_directory=True)           # comes first by its name
    os.symlink(tmp_path/'outside', data/'more', target_is_directory=True)     # this one brings something
    os.symlink(tmp_path/'outside', data/'more_again', target_is_directory=True)
    os.symlink(tmp_path, tmp_path/'outside'/'up', target_is_directory=True)
    found = [f.relative_to(data).as_posix() for f in get_image_files(data)]
    assert found == ['cat/a.png', 'dog/b.png', 'more/c.png', 'more/deep/d.png']


def test_pictures_of_other_kinds_are_taken_or_named(tmp_path):
    touch(tmp_path, 'a.jpg', 'b.jpe', 'c.jp2', 'd.avif', 'e.heic', 'f.heic', 'g.CR2', 'labels.csv', 'note.txt')
    with pytest.warns(UserWarning, match='2 × .heic, 1 × .cr2'): found = get_image_files(tmp_path)
    assert [f.name for f in found] == ['a.jpg', 'b.jpe', 'c.jp2', 'd.avif']


def test_what_lies_deeper_than_its_label_is_counted():
    items = ['train/cat/1.jpg', 'train/cat/more/2.jpg', 'train/3.jpg', 'valid/dog/4.jpg']
    with pytest.warns(UserWarning, match='2 of 4 files are on neither side'): sides = GrandparentSplitter()(items)
    assert sides == ([0], [3])


def test_missing_values_of_every_library():
    for missing in (None, float('nan'), np.nan, pd.NA, pd.NaT, np.datetime64('NaT')):
        with pytest.raises(ValueError, match='empty'): ColReader('a')(dict(a=missing))
        assert ColReader('a', label_delim=' ')(dict(a=missing)) == []
    table = pd.DataFrame(dict(side=pd.Series(['train', pd.NA], dtype='string')))
    with pytest.raises(ValueError, match='empty'): ColSplitter('side', on='valid')(table)


def test_whole_paths_in_a_table_stay_as_they_are(tmp_path):
    read = ColReader('f', pref=tmp_path, suff='.png')
    assert read(dict(f='a')) == str(tmp_path/'a.png') and read(dict(f=tmp_path/'b'/'c')) == str(tmp_path/'b'/'c.png')
    assert ColReader('f', pref='x_')(dict(f='/a')) == 'x_/a'         # a text is put before, whatever comes


@pytest.mark.parametrize('cols', [pd.Index(['a', 'b']), np.array(['a', 'b']), ('a', 'b'), dict(a=1, b=2).keys()])
def test_columns_in_any_collection(cols): assert ColReader(cols)(dict(a=1, b=2)) == [1, 2]


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    touch(tmp_path/'pictures', 'a.png')
    assert get_image_files('~/pictures') == [tmp_path/'pictures'/'a.png']


def test_train_test_splitter():
    labels = ['a'] * 40 + ['b'] * 20
    train, valid = TrainTestSplitter(.25, random_state=3, stratify=labels)(labels)
    assert sorted(train + valid) == list(range(60)) and [labels[i] for i in valid].count('b') == 5
    assert TrainTestSplitter(.25, random_state=3, stratify=labels)(labels) == (train, valid)
    before = get_rng_state()
    split = TrainTestSplitter()
    assert split(labels) == split(labels) and len(split(labels)[1]) == 12, 'a seed of its own'
    assert get_rng_state()['numpy'] == before['numpy']
    assert TrainTestSplitter(12, shuffle=False)(labels)[1] == list(range(48, 60))
    assert check_split(split(labels), 60)
