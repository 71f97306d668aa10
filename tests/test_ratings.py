"Ratings: the plan and its truth, the loaders, strangers in a table, and bad input."
import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.little_ratings import little, loaders, quietly
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonlib.checkpoint import from_recipe
from lessonlib.core import get_rng_state, set_seed
from lessonlib.practice import practice_sets
from lessonlib.ratings import CollabDataLoaders, make_ratings, plan_ratings


@pytest.fixture(scope='module')
def plan(): return plan_ratings()


# --- the plan
def test_plan_is_deterministic_and_long_tailed(plan):
    again, other = plan_ratings(seed=42), plan_ratings(seed=43)
    assert again.ratings.equals(plan.ratings) and again.movies.equals(plan.movies)
    assert not other.ratings.equals(plan.ratings)
    assert len(plan.ratings) == 60_000 and len(plan.movies) == 1200 and plan.ratings.userId.nunique() == 600
    assert not plan.ratings.duplicated(['userId', 'movieId']).any() and plan.movies.title.is_unique
    assert set(plan.ratings.rating) <= set(np.arange(1, 11) / 2) and plan.movies.movieId.is_unique
    assert plan.movies.title.str.fullmatch(r'.+ \((19|20)\d\d\)').all()
    assert plan.ratings.groupby('userId').size().min() >= 20
    views = plan.ratings.movieId.value_counts()
    assert views.iloc[:120].sum() > .3 * len(plan.ratings)   # the top tenth has far more than a tenth
    when = plan.ratings.groupby('userId').timestamp
    assert when.is_monotonic_increasing.all()


def test_people_watch_what_they_like(plan):
    u, i = plan.ratings.userId - 1, plan.movies.set_index('movieId').index.get_indexer(plan.ratings.movieId)
    taste = (plan.user_factors[u] * plan.film_factors[i]).sum(1)
    assert taste.mean() > .1 and abs((plan.user_factors @ plan.film_factors.T).mean()) < .02


def test_expected_is_the_best_prediction(plan):
    "Many moods for the same levels: their mean is `expected`, and their variance the ceiling"
    u, i = plan.ratings.userId - 1, plan.movies.set_index('movieId').index.get_indexer(plan.ratings.movieId)
    level = (plan.mean + plan.user_bias[u] + plan.film_bias[i] + (plan.user_factors[u] * plan.film_factors[i]).sum(1))
    level, expected = np.asarray(level)[:2000], plan.expected[:2000]
    moods = np.random.default_rng(0).normal(0, plan.noise, (600, 2000))
    stars = (2 * (level + moods)).round().clip(1, 10) / 2
    assert np.abs(stars.mean(0) - expected).max() < 6 * plan.noise / math.sqrt(600)
    assert abs(np.square(stars - expected).mean() - plan.ceiling) < .03
    assert abs((plan.ratings.rating - plan.expected).mean()) < .01
    assert np.square(plan.ratings.rating - plan.expected - .1).mean() > plan.ceiling


@pytest.mark.parametrize('sizes', [dict(users=8), dict(films=8), dict(ratings=599), dict(ratings=360_001)])
def test_impossible_plans(sizes):
    with pytest.raises(ValueError, match='cannot be'): plan_ratings(**sizes)


@pytest.mark.parametrize('sizes', [dict(users=9, films=10, ratings=45), dict(users=50, films=3000, ratings=50)])
def test_odd_plans(sizes):
    made = plan_ratings(**sizes)
    assert len(made.ratings) == sizes['ratings'] and made.movies.title.is_unique
    assert not made.ratings.duplicated(['userId', 'movieId']).any()


def test_practice_set(tmp_path, plan):
    kit = practice_sets['ml-latest-small']
    assert kit.folder == 'ml-latest-small' and kit.make is make_ratings
    folder = make_ratings(tmp_path/'small')
    assert sorted(file.name for file in folder.iterdir()) == ['movies.csv', 'ratings.csv']
    assert (folder/'ratings.csv').read_text().startswith('userId,movieId,rating,timestamp\n')
    assert (folder/'movies.csv').read_text().startswith('movieId,title,genres\n')
    assert pd.read_csv(folder/'ratings.csv').equals(plan.ratings)
    with pytest.raises(FileExistsError): make_ratings(folder)


# --- loaders

def test_from_df_numbers_names_and_ratings():
    table = little()
    dls = loaders(table)
    assert dls.user_name == 'user' and dls.item_name == 'item' and dls.rating_name == 'rating'
    assert dls.classes['user'][0] == '#na#' and dls.classes['item'][0] == '#na#'
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(1)).numpy()
    for part, rows in ((dls.train_ds, order[60:]), (dls.valid_ds, order[:60])):
        x, y = part.tensors
        rows = table.iloc[rows]
        assert x.dtype == torch.int64 and y.dtype == torch.float32
        assert np.allclose(y, rows.rating)
        for column, name in enumerate(('user', 'item')):
            numbers = torch.tensor([dls.classes[name].o2i.get(value, 0) for value in rows[name]])
            assert torch.equal(x[:, column], numbers)
    for name in ('user', 'item'):
        names = dls.classes[name][1:]
        assert names == sorted(set(table[name].iloc[order[60:]]))
        assert all(dls.classes[name][dls.classes[name].o2i[value]] == value for value in names)
    assert dls.n_users == len(dls.classes['user']) and dls.n_items == len(dls.classes['item'])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 70), st.booleans(), st.integers(0, 10**6))
def test_every_rating_exactly_once_an_epoch(rows, bs, shuffle, seed):
    table = pd.DataFrame(dict(u=np.arange(rows) % 7, i=np.arange(rows), r=np.arange(rows, dtype=float)))
    dls = loaders(table, valid_pct=0, bs=bs, shuffle=shuffle)
    torch.manual_seed(seed)
    for _ in range(2):
        batches = list(dls.train)
        assert len(batches) == len(dls.train) == math.ceil(rows / bs)
        assert [len(y) for _, y in batches[:-1]] == [bs] * (len(batches) - 1)
        y = torch.cat([y for _, y in batches])
        x = torch.cat([x for x, _ in batches])
        assert y.sort().values.tolist() == list(range(rows))
        assert torch.equal(torch.tensor([dls.classes['i'][n] for n in x[:, 1].tolist()]), y.long())
        if not shuffle: assert torch.equal(y, dls.train_ds.tensors[1])


def test_each_epoch_has_its_own_order():
    dls = loaders(bs=240)
    torch.manual_seed(0)
    first, second = (next(iter(dls.train))[1] for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(next(iter(dls.train))[1], first) and not torch.equal(first, second)


def test_split():
    table = little()
    same = [loaders(table, seed=7) for _ in range(2)]
    assert torch.equal(*(dls.train_ds.tensors[0] for dls in same))
    assert not torch.equal(loaders(table, seed=8).train_ds.tensors[1], same[0].train_ds.tensors[1])
    own = loaders(table, seed=None)
    assert own.seed is not None
    assert torch.equal(loaders(table, seed=own.seed).train_ds.tensors[1], own.train_ds.tensors[1])
    assert loaders(table, seed=None).seed != own.seed
    chosen = [3, 0, 299]
    dls = loaders(table, valid_idx=chosen)
    assert np.allclose(dls.valid_ds.tensors[1], table.rating.iloc[chosen])
    assert len(dls.train_ds) == 297
    assert loaders(table, valid_pct=0).valid is None
    for bad in (-.1, 1, 2):
        with pytest.raises(ValueError, match='valid_pct'): loaders(table, valid_pct=bad)
    for bad, words in (([-1], 'position -1'), ([300], 'position 300'), ([3, 3], 'Item 3 is in')):
        with pytest.raises(ValueError, match=words): loaders(table, valid_idx=bad)
    with pytest.raises(ValueError, match='leaves the training side empty'): loaders(table, valid_idx=range(300))


def test_show_batch_shows_ratings_of_the_table():
    table = little()
    shown = loaders(table, valid_pct=0).show_batch(6)
    assert list(shown.columns) == ['user', 'item', 'rating'] and len(shown) == 6
    assert len(shown.merge(table)) == 6 and len(loaders(table).show_batch(50)) == 32
    dls = loaders(table)
    assert dls.show_batch(dls.one_batch(), max_n=4).equals(dls.show_batch(max_n=4)) and len(dls.show_batch(max_n=4)) == 4


def test_from_csv(tmp_path):
    table = little()
    table.to_csv(tmp_path/'r.csv', index=False)
    from_file, from_table = quietly(CollabDataLoaders.from_csv, tmp_path/'r.csv', seed=1, bs=32, device='cpu'), loaders(table)
    for ours, theirs in zip(from_file.train_ds.tensors, from_table.train_ds.tensors): assert torch.equal(ours, theirs)


@pytest.mark.parametrize('change', [lambda c: c.astype(str), lambda c: c.astype('category'), lambda c: c.astype('Int64'),
                                    lambda c: c.astype(float), lambda c: c.astype(object), lambda c: c.astype('int16')])
def test_ids_of_many_types(change):
    table = little()
    plain, changed = loaders(table, valid_pct=0), loaders(table.assign(user=change(table.user)), valid_pct=0)
    assert changed.n_users == plain.n_users
    names = [str(int(float(name))) for name in changed.classes['user'][1:]]
    assert sorted(names) == sorted(map(str, plain.classes['user'][1:]))
    assert [names[n - 1] for n in changed.train_ds.tensors[0][:, 0].tolist()] == \
           [str(plain.classes['user'][n]) for n in plain.train_ds.tensors[0][:, 0].tolist()]


# --- bad input

def cell(column, at, value):
    def change(table):
        values = table[column].astype(object)
        values.iloc[at] = value
        return table.assign(**{column: values})
    return change


@pytest.mark.parametrize('change, kwargs, error, words', [
    (lambda t: t, dict(item_name='itme'), KeyError, r"no column 'itme'. Did you mean 'item'\? It has: 'user', 'item', 'rating'"),
    (lambda t: t, dict(user_name='who'), KeyError, "no column 'who'. It has"),
    (lambda t: t, dict(rating_name='stars'), KeyError, "no column 'stars'"),
    (lambda t: t[['user', 'item']], {}, ValueError, 'need three columns'),
    (lambda t: t, dict(user_name='item'), ValueError, 'need three columns'),
    (lambda t: t[:0], {}, ValueError, 'empty'),
    (lambda t: pd.concat([t, t[['item']]], axis=1), {}, ValueError, r"same name: \['item'\]"),
    (cell('user', 5, None), {}, ValueError, "row 5 of column 'user' holds .*needs a value.*dropna"),
    (cell('item', 7, np.nan), {}, ValueError, "row 7 of column 'item' holds"),
    (cell('rating', 9, np.nan), {}, ValueError, "row 9 of column 'rating' holds nan.*dropna"),
    (lambda t: t.assign(rating=t.rating.where(t.rating < 5, np.inf)), {}, ValueError, 'holds inf .*no mean'),
    (lambda t: t.assign(rating=t.rating.astype(str)), {}, TypeError, r"row 0 of column 'rating' holds '\d.*should hold numbers.*to_numeric"),
    (cell('rating', 11, 'good'), {}, TypeError, "row 11 of column 'rating' holds 'good'"),
    (lambda t: t, dict(rating_name='item', item_name='rating'), TypeError, "column 'item' holds 'film"),
    (cell('user', 4, '17'), {}, TypeError, "mixes number and text: row 4 of column 'user' holds '17'"),
    (cell('item', 2, 17), {}, TypeError, "mixes text and number: row 2 of column 'item' holds 17"),
    (cell('item', 2, ('a',)), {}, TypeError, 'mixes text and tuple: row 2'),
    (lambda t: t.assign(user=pd.Timestamp('2024-01-01')), {}, TypeError, 'holds dates, not names'),
])
def test_bad_tables(change, kwargs, error, words):
    with pytest.raises(error, match=words): loaders(change(little()), **kwargs)


def test_doubles_are_counted_and_used():
    table = little()
    twice = pd.concat([table, table[:7].assign(rating=1.)], ignore_index=True)
    with pytest.warns(UserWarning, match=r'^7 rows rate what the same user has rated.*drop_duplicates'):
        dls = CollabDataLoaders.from_df(twice, valid_pct=0, device='cpu')
    assert len(dls.train_ds) == 307
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        CollabDataLoaders.from_df(table, valid_pct=0, device='cpu')


def test_only_in_the_validation_set():
    table = little()
    who = table.index[(table.user == 4) | (table.item == 'film 9')]
    with pytest.warns(UserWarning) as caught: dls = CollabDataLoaders.from_df(table, valid_idx=who, device='cpu')
    message = str(caught[0].message)
    users, films = (table.user == 4).sum(), (table.item == 'film 9').sum()
    assert f"{users} of 300 rows have a 'user'" in message and f"{films} of 300 rows have a 'item'" in message
    assert 'such as 4' in message and 'mean embedding' in message
    x = dls.valid_ds.tensors[0]
    assert (x[:, 0] == 0).sum() == users and (x[:, 1] == 0).sum() == films
    assert 4 not in dls.classes['user'] and 'film 9' not in dls.classes['item']
    assert (dls.train_ds.tensors[0] > 0).all()


# --- elsewhere

def test_a_recipe_goes_through_json():
    table = little().rename(columns=dict(user='part'))     # a name that means something to recipes
    dls = loaders(table)
    again = from_recipe(json.loads(json.dumps(dls.recipe())), device='cpu', path='/tmp')
    assert again.classes == dls.classes and again.train is None and again.n_users == dls.n_users
    assert type(again) is CollabDataLoaders and again.rating_name == 'rating' and str(again.path) == '/tmp'
    rows = [quietly(lambda: next(iter(one.test_dl(table)))) for one in (dls, again)]
    assert torch.equal(rows[0][0], rows[1][0])


def test_loaders_say_what_they_are():
    assert repr(loaders()).startswith('CollabDataLoaders on cpu: TensorDataLoader of 240 items')
    assert 'object at' not in repr(plan_ratings(9, 9, 36))


def test_marks_say_which_ratings_to_validate_with():
    df = pd.DataFrame(dict(user=np.repeat(range(10), 4), film=np.tile(range(4), 10), stars=np.arange(40.) % 5))
    late = np.arange(40) >= 30
    for given in (late, pd.Series(late), late.tolist(), torch.tensor(late), pd.Series(late, dtype='boolean')):
        dls = CollabDataLoaders.from_df(df, valid_idx=given, bs=8, device='cpu')
        assert len(dls.valid.tensors[0]) == 10 and dls.valid.tensors[1].tolist() == df.stars[late].tolist()
    with pytest.raises(ValueError, match='whole numbers'): CollabDataLoaders.from_df(df, valid_idx=[.5, 1.9])
    with pytest.raises(ValueError, match='3 times True or False'): CollabDataLoaders.from_df(df, valid_idx=[True, False, True])


def test_users_of_two_kinds_stay_one_when_the_advice_is_followed():
    users = [1., 2., 3.] * 4 + ['1', '2', '3'] * 4
    df = pd.DataFrame(dict(user=pd.Series(users, dtype=object), film=list('abcd') * 6, stars=1.))
    with pytest.raises(TypeError, match='is_integer') as caught: CollabDataLoaders.from_df(df, valid_idx=[0])
    advice = str(caught.value).partition("with 1.0 as '1': ")[2]
    with pytest.warns(UserWarning, match='same user'):
        dls = CollabDataLoaders.from_df(df.assign(user=eval(advice)), valid_idx=[0], bs=4, device='cpu')
    assert dls.classes['user'][1:] == ['1', '2', '3']


@pytest.mark.parametrize('encoding', ['cp1252', 'utf-8-sig', None])
def test_ratings_in_a_table_of_another_country(encoding, tmp_path):
    "1.011,5 is a thousand and eleven and a half, by somebody in Zürich"
    towns, rows = ['Köln', 'Zürich', 'Graz'], []
    for i in range(12): rows.append(f'{towns[i % 3]};{"wxyz"[i % 4]};1.{i:03},5')
    (tmp_path/'t.csv').write_text('\n'.join(['wer;was;wie', *rows]), encoding=encoding or 'utf-8')
    how = dict(sep=';', decimal=',', thousands='.', valid_idx=[0], bs=4, device='cpu')
    dls = CollabDataLoaders.from_csv(tmp_path/'t.csv', encoding=encoding, **how)
    assert sorted(y for dl in dls.loaders for y in dl.tensors[1].tolist()) == [1000.5 + i for i in range(12)]
    assert dls.classes['wer'][1:] == ['Graz', 'Köln', 'Zürich']
    if encoding == 'cp1252':
        with pytest.raises(ValueError, match="encoding='cp1252'"): CollabDataLoaders.from_csv(tmp_path/'t.csv', **how)
