"""Coming from fastai: every row of the table of names works, or answers with its sentence.

The table is what people typed in public notebooks. A row that promises a name, a method or a keyword is tried on a thing
of its kind; the line that a row without one offers is run.
"""
import ast
import builtins
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import lessonlib.field as field
from lessonlib.batches import DataLoaders
from lessonlib.core import set_seed
from lessonlib.drawn_pets import make_pets
from lessonlib.files import DownloadFailed
from lessonlib.images import open_image
from lessonlib.learner import Learner

ROWS = field.field_names()


@pytest.fixture(scope='module')
def here():
    "What a star import gives"
    found = {}
    exec('from lessonlib.all import *', found)
    del found['__builtins__']
    return found


@pytest.fixture(scope='module')
def things(here, tmp_path_factory):
    "Things of the kinds that the table speaks of, under the names that it uses"
    from lessonlib.tables import make_census
    folder = tmp_path_factory.mktemp('things')
    path = make_pets(folder/'pets', number=6, names=['Bengal', 'pug'], mistakes=0)
    n = dict(here)
    exec(f"""
set_seed(1)
path = Path({str(path)!r})
files = get_image_files(path/'images')
label = using_attr(RegexLabeller(r'(.+)_[0-9]+.jpg$'), 'name')
pets = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=label, item_tfms=Resize(32))
dls = pets.dataloaders(path/'images', bs=4)
model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
learn = Learner(dls, model, path={str(folder)!r}, metrics=accuracy)
with learn.no_bar(), learn.no_logging(): learn.fit(1)
interp = ClassificationInterpretation.from_learner(learn)
batch = dls.one_batch()
x, scores = batch[0], model(batch[0])
file = path/'note.txt'; file.write_text('a note')
mask_file = path/'mask.png'; Image.fromarray(np.zeros((8, 8), np.uint8)).save(mask_file)
""", n)
    census = make_census(folder/'census', rows=300) or folder/'census'
    exec(f"""
df = pd.read_csv(next(Path({str(census)!r}).glob('*.csv')))
to = TabularPandas(df, [Categorify, FillMissing, NormalizeColumns], ['workclass', 'education'], ['age'], 'salary',
                   splits=RandomSplitter(seed=1)(df))
tabular = to.dataloaders(bs=32)
ratings = pd.DataFrame(dict(user=[1, 2, 3, 4] * 10, item=[1, 2, 3, 4, 5] * 8, rating=[1., 5, 3, 2] * 10))
collab = collab_learner(CollabDataLoaders.from_df(ratings, bs=8), n_factors=4, y_range=(0, 5.5))
texts = pd.DataFrame(dict(text=['a film', 'not bad'] * 20, label=[0, 1] * 20, is_valid=[0, 0, 0, 1] * 10))
words = TextDataLoaders.from_df(texts, is_lm=True, bs=4, seq_len=4)
speaker = language_model_learner(words, AWD_LSTM, pretrained=False)
""", n)
    return n


def objects(things, owner):
    "The things that a row's owner may stand for: one of them must have what the row names"
    n, learn = things, things['learn']
    return {'Learner': [learn, n['speaker']], 'dls': [n['dls'], n['tabular']], 'dl': [n['dls'].train],
            'DataBlock': [n['pets']], 'Path': [n['path']], 'L': [n['files']], 'Interp': [n['interp']],
            'recorder': [learn.recorder], 'to': [n['to']], 'dsets': [n['pets'].datasets(n['path']/'images')],
            'model': [n['collab'].model], 'vocab': [n['dls'].vocab], 'PILImage': [n['PILImage'].create(n['files'][0])],
            'Image': [n['Image'].open(n['files'][0])], 'tensor': [n['x']], 'opt': [learn.opt],
            }[owner] if not owner.startswith('cls:') else [n[owner.removeprefix('cls:')]]


# --- row by row ------------------------------------------------------------------------------------------------------


def words(rows): return [f'{row.kind} {row.name}' for row in rows]


def test_the_table_says_one_thing_a_name():
    assert len({row[:2] for row in ROWS}) == len(ROWS) >= 504
    assert {row.here for row in ROWS} == {'same', 'companion', 'alias', 'answer', 'page'}
    for row in ROWS:
        left_out = row.here in ('answer', 'page')
        assert bool(row.instead) == bool(row.why) == left_out, row


def test_names_that_are_promised_are_there(here):
    answers = [name for name, thing in here.items() if isinstance(thing, field.Answer)]
    missing = [row.name for row in ROWS if row.kind == 'name' and row.here != 'answer'
               and (row.name not in here or row.name in answers)]
    assert not missing


def test_names_that_are_left_out_answer(here):
    "One that has come since should be promised: then its row says `same`"
    rows = [row for row in ROWS if row.kind == 'name' and row.here == 'answer']
    come = [row.name for row in rows if not isinstance(here[row.name], field.Answer)]
    assert rows and not come, f'{come} work now: let their rows in field_names.csv say same'
    for row in rows:
        with pytest.raises(field.LeftOut) as error: here[row.name]()
        assert row.instead in str(error.value) and row.name in str(error.value)


def test_nothing_in_the_table_is_a_name_error(here):
    assert not {row.name for row in ROWS if row.kind == 'name'} - set(here)


def has(thing, name):
    "Whether it has it, and can be given it"
    if name.endswith(' ='):
        name = name.removesuffix(' =')
        try: setattr(thing, name, getattr(thing, name))
        except AttributeError: return False
        return True
    try: return not isinstance(getattr(thing, name), field.Answer)
    except AttributeError: return False


def test_methods_that_are_promised_are_there(things):
    missing = []
    for row in (row for row in ROWS if row.kind == 'method' and row.here not in ('answer', 'page')):
        owner, _, name = row.name.partition('.')
        if row.name == 'Path.BASE_PATH =': continue            # see test_paths_are_short_below_the_base
        if not any(has(thing, name) for thing in objects(things, owner)): missing.append(row.name)
    assert not missing, ', '.join(missing)


def test_methods_that_are_left_out_answer(things):
    rows = [row for row in ROWS if row.kind == 'method' and row.here == 'answer']
    assert rows
    for row in rows:
        with pytest.raises(field.LeftOut, match=re.escape(row.instead)):
            getattr(things['learn'], row.name.removeprefix('Learner.'))()


def test_methods_of_the_page_are_not_there(things):
    for row in (row for row in ROWS if row.here == 'page' and row.kind == 'method'):
        owner, _, name = row.name.partition('.')
        if owner != 'pipe': assert not any(has(thing, name) for thing in objects(things, owner)), f'{row.name} works'


def test_keywords_of_the_page_are_not_taken(here, things):
    come = [row.name for row in ROWS if 'keyword' in row.kind and row.here == 'page' and taken(row, here, things)]
    assert not come, f'{come} work now: let their rows say same'


# Where the further keywords of a function go: it says so beside them.
GOES_ON = {'ImageDataLoaders': ['ImageDataLoaders.from_path_func', 'ImageDataLoaders.from_df', 'ImageDataLoaders._make',
                                'DataBlock.dataloaders', 'BlockDataLoaders.of'],
           'vision_learner': ['VisionLearner', 'Learner'], 'cnn_learner': ['VisionLearner', 'Learner'],
           'tabular_learner': ['TabularModel', 'Learner'], 'collab_learner': ['Learner'],
           'tabular_config': ['TabularModel'], 'to': ['TabularDataLoaders'],
           'DataBlock': ['BlockDataLoaders.of', 'BlockLoader'], 'dl': ['BlockLoader', 'data_block._grid'],
           'dls': ['BlockLoader.show_batch', 'data_block._grid'], 'show_results': ['data_block._grid'],
           'fit_one_cycle': ['Learner.fit'], 'fine_tune': ['Learner.fit_one_cycle', 'Learner.fit'],
           'fit_flat_cos': ['Learner.fit'], 'TabularDataLoaders': ['TabularDataLoaders.from_df', 'TabularPandas.dataloaders'],
           'CollabDataLoaders': ['CollabDataLoaders.from_df']}


def takes(function, keyword, here, owner, name):
    "Whether it has such a parameter, or hands further ones on to a function that has"
    try: known = inspect.signature(function).parameters
    except (TypeError, ValueError): return False
    if keyword in known: return True
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()): return False
    places = GOES_ON.get(name, []) + GOES_ON.get(owner.removeprefix('cls:'), [])
    for first, _, method in (place.partition('.') for place in places):
        thing = here[first] if first in here else import_module(f'lessonlib.{first}')
        if keyword in inspect.signature(getattr(thing, method) if method else thing).parameters: return True
    return False


def called(row):
    "(owner, function, keyword) of a row such as Learner.fit(wd=)"
    call, keyword = re.fullmatch(r'(.+)\((\w+)=\)', row.name).groups()
    return (*call.rpartition('.')[::2], keyword)


def taken(row, here, things):
    "Whether the keyword of a row is taken by a thing of its kind"
    owner, name, keyword = called(row)
    functions = [getattr(thing, name) for thing in objects(things, owner) if has(thing, name)] if owner else [here[name]]
    return any(takes(function, keyword, here, owner or name, name) for function in functions)


def test_keywords_that_are_promised_are_taken(here, things):
    rows = [row for row in ROWS if 'keyword' in row.kind and row.here != 'page']
    refused = [row.name for row in rows if not taken(row, here, things)]
    assert not refused, ', '.join(refused)


def test_nobody_makes_up_a_keyword(here, things):
    "The check of keywords can fail"
    rows = [row for row in ROWS if 'keyword' in row.kind and row.here != 'page']
    loose = [row.name for row in rows if taken(row._replace(name=row.name.replace('=)', 'x=)')), here, things)]
    assert not loose, ', '.join(loose)


@pytest.mark.parametrize('row', [row for row in ROWS if row.instead], ids=lambda row: row.name)
def test_what_to_write_instead_runs(row, things, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compile(row.instead, row.name, 'single')          # one line
    names = dict(things, ds=things['dls'].train.dataset)
    exec(row.instead, names)
    assert not [name for name, thing in names.items() if isinstance(thing, field.Answer) and name not in field.left_out()]
    plt.close('all')


def test_nearly_all_that_is_typed_works():
    "Of the names that three notebooks or more have, by uses"
    often = [row for row in ROWS if row.kind == 'name' and row.files >= 3]
    works = sum(row.uses for row in often if row.here not in ('answer', 'page'))
    assert len(often) >= 100 and works / sum(row.uses for row in often) >= .97
