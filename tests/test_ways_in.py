"One line for the usual cases, and the chained way"
from dataclasses import replace

import pandas as pd
import pytest
import torch
from helpers.pictures import (COLOURS, colour_of, files, is_red, pictures,  # noqa: F401
                              scene)

from lessonlib.core import set_seed
from lessonlib.data_block import DataBlock
from lessonlib.images import Resize, Transform
from lessonlib.items import as_rows, ColReader, ColSplitter, FuncSplitter
from lessonlib.multilabel import MultiCategoryBlock
from lessonlib.transfer import vision_learner
from lessonlib.ways_in import ImageDataLoaders, ImageList


class Noise(Transform):
    "Random in the batch stage"
    train_only = True
    def __call__(self, sample, train): return (sample[0] + .1 * torch.randn_like(sample[0]), *sample[1:])


# --- one line for the usual cases, and the chain ---------------------------------------------------------------------

def same_loaders(ways):
    for way in ways:
        assert way.vocab == ways[0].vocab and len(way.train_ds) == len(ways[0].train_ds)
        for loader, other in ((way.train, ways[0].train), (way.valid, ways[0].valid)):
            batches = []
            for one in (loader, other):
                set_seed(3)
                batches.append(list(one))
            for a, b in zip(*batches, strict=True): assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_all_the_ways_say_the_same(pictures, files, tmp_path):
    how = dict(seed=3, item_tfms=Resize(16), bs=5, device='cpu')
    table = pd.DataFrame({'name': [f.stem for f in files], 'label': [colour_of(f) for f in files]})
    table.to_csv(tmp_path/'labels.csv', index=False)
    table.to_csv(tmp_path/'semicolons.csv', index=False, sep=';')
    pattern = r'^(.+)_\d+\.jpg$'
    root = pictures.parent
    listed = dict(folder='pictures', suff='.jpg')
    ways = [ImageDataLoaders.from_name_re(root, files, pattern, **how),
            ImageDataLoaders.from_path_re(root, files, r'/([^/]+)_\d+\.jpg$', **how),
            ImageDataLoaders.from_name_func(root, files, lambda name: name.split('_')[0], **how),
            ImageDataLoaders.from_path_func(root, files, colour_of, **how),
            ImageDataLoaders.from_lists(root, files, [colour_of(f) for f in files], **how),
            ImageDataLoaders.from_df(table, root, **listed, **how),
            ImageDataLoaders.from_df(table, root, fn_col='name', label_col='label', **listed, **how),
            ImageDataLoaders.from_csv(tmp_path, folder=pictures, suff='.jpg', **how),
            ImageDataLoaders.from_csv(tmp_path, 'semicolons.csv', delimiter=';', folder=pictures,
                                      suff='.jpg', **how)]
    def chain(start): return start.split_by_rand_pct(.2, 3)
    def end(labelled, **kw): return labelled.transform(size=16, **kw).databunch(bs=5, device='cpu')
    found = chain(ImageList.from_folder(pictures))
    from_df = chain(ImageList.from_df(table, root, folder='pictures', suffix='.jpg'))
    from_csv = chain(ImageList.from_csv(tmp_path, folder=pictures, suffix='.jpg'))
    same_loaders([*ways, end(found.label_from_re(pattern)), end(found.label_from_func(colour_of)),
                  end(from_df.label_from_df()), end(from_csv.label_from_df('label'), tfms=[])])


def test_from_folders(tmp_path):
    for side, n in (('train', 9), ('valid', 6)):
        for i in range(n):
            name = list(COLOURS)[i % 3]
            file = tmp_path/side/name/f'{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            scene(colour=COLOURS[name], seed=i).save(file)
    (tmp_path/'models').mkdir()
    scene().save(tmp_path/'models'/'not_data.png')
    dls = ImageDataLoaders.from_folder(tmp_path, item_tfms=Resize(8), bs=3)
    chained = ImageList.from_folder(tmp_path).split_by_folder().label_from_folder().transform(size=8).databunch(bs=3)
    same_loaders([dls, chained])
    assert len(dls.train_ds) == 9 and len(dls.valid_ds) == 6 and dls.vocab == sorted(COLOURS)
    mixed = ImageDataLoaders.from_folder(tmp_path/'train', valid_pct=.34, seed=1, item_tfms=Resize(8),
                                         vocab=['red', 'green', 'blue'])
    assert mixed.vocab == ['red', 'green', 'blue'] and len(mixed.valid_ds) == 3
    with pytest.raises(FileNotFoundError): ImageDataLoaders.from_folder(tmp_path/'train')
    with pytest.raises(ValueError, match='dev'): ImageDataLoaders.from_folder(tmp_path, valid='dev')


def test_tables_say_what_is_wrong(files, tmp_path):
    table = pd.DataFrame({'name': [f.name for f in files], 'label': [colour_of(f) for f in files],
                          'is_valid': [i < 6 for i in range(24)]})
    make = lambda table=table, **kw: ImageDataLoaders.from_df(table, files[0].parent, item_tfms=Resize(8),
                                                              **kw)
    assert make(valid_col='is_valid').valid_ds.items == as_rows(table)[:6]
    holes = table.copy()
    holes.loc[4, 'label'] = float('nan')
    with pytest.raises(ValueError, match="'label' is empty.*blue_02|'label' is empty"): make(holes)
    with pytest.raises(KeyError, match="'name', 'label', 'is_valid'"): make(label_col='breed')
    with pytest.raises(KeyError, match="'name', 'label'"): make(fn_col='file').one_batch()
    with pytest.raises(FileNotFoundError, match='no file .*nope'):
        make(table.assign(name='nope.jpg')).one_batch()
    with pytest.raises(FileNotFoundError, match='Tables in that folder: none'):
        ImageDataLoaders.from_csv(tmp_path)
    with pytest.raises(ValueError, match='2 files but 3 labels'):
        ImageDataLoaders.from_lists('.', files[:2], 'abc')
    csv = tmp_path/'t.csv'
    table.to_csv(csv, index=False)
    dls = DataBlock(get_x=ColReader('name', pref=files[0].parent), get_y=ColReader('label'),
                    splitter=ColSplitter(), item_tfms=Resize(8)).dataloaders(csv)
    assert len(dls.valid_ds) == 6 and dls.prepare(files[0])[0].shape == (3, 8, 8)
    assert [len(b) for b in dls.test_dl(table.head(3))] == [1]
    assert [len(b) for b in dls.test_dl(table.head(3), with_labels=True)] == [2]


def test_steps_in_the_wrong_order(pictures, files):
    start = ImageList.from_folder(pictures)
    split = start.split_by_idx([0, 1])
    for step in (lambda: start.label_from_folder(), lambda: start.databunch(),
                 lambda: start.transform(size=8), lambda: start.label_from_re('(a)')):
        with pytest.raises(ValueError, match='first call split_by_rand_pct'): step()
    for step in (lambda: split.databunch(), lambda: split.transform(size=8)):
        with pytest.raises(ValueError, match='first call label_from_folder'): step()
    assert start.splitter is None                          # a chain can branch: steps change a copy
    labelled = split.label_from_func(colour_of)
    assert [len(labelled.transform(size=s).databunch().valid_ds) for s in (8, 9)] == [2, 2]
    assert not labelled.item_tfms
    everything = start.split_none().label_from_func(colour_of).transform(size=8).databunch()
    assert everything.valid is None and len(everything.train_ds) == 24
    half = start.split_by_valid_func(is_red)
    assert half.splitter(files) == FuncSplitter(is_red)(files)
    pair = labelled.transform(([Noise()], []), size=8)
    assert [type(t) for t in pair.batch_tfms] == [Noise]


# --- several labels in a cell, and pictures that nobody has labelled ---------------------------------------------------

@pytest.fixture
def tagged(files):
    return pd.DataFrame({'name': [f.name for f in files],
                         'tags': [f'{colour_of(f)} {"odd" if i % 2 else "even"}' for i, f in enumerate(files)]})


def test_label_delim_is_enough(files, tagged, tmp_path):
    folder, how = files[0].parent, dict(seed=3, item_tfms=Resize(8), bs=5, device='cpu')
    tagged.to_csv(tmp_path/'labels.csv', index=False)
    def chain(start): return start.split_by_rand_pct(.2, 3)
    def end(labelled): return labelled.transform(size=8).databunch(bs=5, device='cpu')
    ways = [ImageDataLoaders.from_df(tagged, folder, label_delim=' ', **how),
            ImageDataLoaders.from_csv(tmp_path, folder=folder, label_delim=' ', **how),
            end(chain(ImageList.from_df(tagged, folder)).label_from_df(label_delim=' ')),
            end(chain(ImageList.from_csv(tmp_path, folder=folder)).label_from_df(label_delim=' '))]
    same_loaders(ways)
    assert ways[0].vocab == sorted([*COLOURS, 'even', 'odd']) and ways[0].one_batch()[1].shape == (5, 5)
    assert isinstance(ways[0].blocks[-1], MultiCategoryBlock)
    narrow = MultiCategoryBlock(sorted([*COLOURS, 'even', 'odd', 'rare']))
    for dls in (ImageDataLoaders.from_df(tagged, folder, label_delim=' ', y_block=narrow, **how),
                end(chain(ImageList.from_df(tagged, folder)).label_from_df(label_delim=' ', y_block=narrow))):
        assert dls.c == 6
    with pytest.raises(ValueError, match='label_delim'):
        ImageDataLoaders.from_df(tagged, folder, y_block=MultiCategoryBlock, **how)


def test_pictures_to_be_tested_ride_along(files, tagged, tmp_path):
    folder = files[0].parent
    labelled = ImageList.from_df(tagged, folder).split_by_idx([0, 1]).label_from_df(label_delim=' ')
    (tmp_path/'test').mkdir()
    for i, colour in enumerate(COLOURS.values()): scene(colour=colour, seed=i).save(tmp_path/'test'/f'{i}.png')
    in_folder = replace(labelled, path=tmp_path).add_test_folder()
    listed = labelled.add_test(ImageList.from_folder(tmp_path/'test'))
    rows = labelled.add_test(tagged.head(3))
    for chain in (in_folder, listed, rows):
        dls = chain.transform(size=8).databunch(bs=2, device='cpu')
        assert [len(batch) for batch in dls[2]] == [1, 1] and len(dls[2].dataset) == 3 and not dls[2].shuffle
        learn = vision_learner(dls, 'resnet18', pretrained=False)
        preds, targets = learn.get_preds(2)
        assert preds.shape == (3, dls.c) and targets is None
        for again in (learn.get_preds(ds_type=2), learn.get_preds(dl=learn.dls[2])): assert torch.equal(again[0], preds)
        first = dls[2].dataset.items[0]
        assert torch.allclose(learn.predict(first)[2], preds[0], atol=1e-5)
        dls.show_batch(max_n=2)
    assert labelled.test is None and len(labelled.transform(size=8).databunch(bs=2)) == 2
    with pytest.raises(ValueError, match='first call split_by_rand_pct'): ImageList.from_folder(folder).add_test(files)
    with pytest.raises(FileNotFoundError, match='no folder'): labelled.add_test_folder('nowhere')


def test_tables_of_other_programs(tmp_path):
    for i in range(8): scene(seed=i).save(tmp_path/f'{i}.png')
    towns = pd.DataFrame(dict(datei=[f'{i}.png' for i in range(8)], ort=['Köln', 'Zürich'] * 4))
    for encoding in ('cp1252', 'utf-8-sig', 'utf-8'):
        towns.to_csv(tmp_path/'t.csv', sep=';', encoding=encoding, index=False)
        for how in (dict(delimiter=';'), dict(sep=';')):
            one = ImageDataLoaders.from_csv(tmp_path, 't.csv', encoding=encoding, bs=2, seed=1, device='cpu', **how)
            chain = ImageList.from_csv(tmp_path, 't.csv', encoding=encoding, **how).split_by_rand_pct(.25, seed=1).label_from_df()
            assert list(one.vocab) == list(chain.databunch(bs=2).vocab) == ['Köln', 'Zürich']


def test_whole_paths_in_a_table_and_several_labels(tmp_path):
    for i in range(8): scene(seed=i).save(tmp_path/f'{i}.png')
    whole = pd.DataFrame(dict(file=[str((tmp_path/f'{i}.png').absolute()) for i in range(8)], tags=['sea', 'sea sky', 'sky', 'sea'] * 2))
    for df in (whole, whole.assign(file=[tmp_path/f'{i}.png' for i in range(8)])):
        for path in ('.', tmp_path, tmp_path/'elsewhere'):
            dls = ImageDataLoaders.from_df(df, path, label_delim=' ', seed=1, bs=2, drop_last=False, device='cpu')
            assert sum(len(x) for dl in dls.loaders for x, _ in dl) == 8 and dls.vocab == ['sea', 'sky']
            one = df.assign(tags=df.tags.str.split().str[0])
            chain = ImageList.from_df(one, path).split_by_rand_pct(.25, seed=1).label_from_df()
            dls = chain.databunch(bs=2, drop_last=False, device='cpu')
            assert sum(len(x) for dl in dls.loaders for x, _ in dl) == 8 and dls.vocab == ['sea', 'sky']


def test_pictures_that_a_split_by_folder_leaves_out_are_counted(tmp_path):
    for name in ('train/a/1.png', 'train/b/2.png', 'valid/a/3.png', 'valid/b/4.png', 'train/a/more/5.png', 'train/6.png'):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        scene().save(tmp_path/name)
    for make in (lambda: ImageDataLoaders.from_folder(tmp_path, bs=2),
                 lambda: ImageList.from_folder(tmp_path).split_by_folder().label_from_folder().databunch(bs=2)):
        with pytest.warns(UserWarning, match='2 of 6 files are on neither side'): make()
