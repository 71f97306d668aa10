"Tables: the planted census, preparation, loaders, recipes, dates, and all that may be wrong with a table."
import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.little_tables import CATS, CONTS, prepare, same, table
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lessonlib.checkpoint import from_recipe
from lessonlib.items import RandomSplitter
from lessonlib.tables import (Categorify, FillMissing, FillStrategy, NormalizeColumns, TableStep, TabularDataLoaders, TabularPandas,
                              add_datepart, cont_cat_split, make_census, plan_census)
from lessonlib.tabular import Bands


@pytest.fixture(scope='module')
def census(): return plan_census(rows=1500)


@pytest.fixture
def df(census): return census.table.copy()


# ---- the planted census

def test_the_census_is_the_same_every_time_and_another_with_another_seed(tmp_path):
    same(plan_census(rows=200).table, plan_census(rows=200).table)
    assert not plan_census(rows=200).table.equals(plan_census(1, 200).table)
    folder = make_census(tmp_path/'adult_sample', rows=200)
    read = pd.read_csv(folder/'adult.csv')
    pd.testing.assert_frame_equal(read, plan_census(rows=200).table, check_dtype=False)
    assert list(read) == ('age workclass fnlwgt education education-num marital-status occupation relationship race sex '
                          'capital-gain capital-loss hours-per-week native-country salary').split()
    assert set(read.salary) == {'<50k', '>=50k'} and read.workclass.str.startswith(' ').all()
    with pytest.raises(ValueError, match='one row or more'): plan_census(rows=0)


def test_the_chances_of_the_census_are_true():
    "Shares in rows of about one chance, also in those rows where the job is blank"
    plan = plan_census(seed=7, rows=60_000)
    rich = (plan.table.salary == '>=50k').to_numpy()
    blank = plan.table.occupation.isna().to_numpy()
    assert 600 < blank.sum() < 2000
    for rows, bins in ((~blank, 10), (blank, 3)):
        which = np.minimum((plan.chance[rows] * bins).astype(int), bins - 1)
        for b in range(bins):
            chance, seen = plan.chance[rows][which == b], rich[rows][which == b]
            assert abs(seen.mean() - chance.mean()) < 4 * np.sqrt((chance * (1 - chance)).sum()) / len(chance)


def test_a_blank_job_is_averaged_over():
    "The chance of a row without a job is the same whatever the hidden job is: the mean over jobs"
    from lessonlib.tables import _job
    n = 20_000
    people = dict(school=np.full(n, 12), employer=np.zeros(n, int))
    job, blank, own, chance = _job(np.random.default_rng(0), people, np.full(n, -.5), np.arange(n) % 2 == 0)
    assert len(np.unique(own)) > 8 and len(np.unique(chance[blank])) == 1 and (chance[~blank] == own[~blank]).all()
    assert chance[0] == pytest.approx(own.mean(), abs=.01)


def test_nobody_beats_the_ceiling(census):
    best = census.chance > .5
    assert census.expected(best) == pytest.approx(census.ceiling)
    rng = np.random.default_rng(0)
    for share in (.01, .1, .5):
        other = best ^ (rng.uniform(size=len(best)) < share)
        assert census.expected(other) < census.ceiling
    rows = [5, 3, 8]
    assert census.expected(best[rows], rows) == pytest.approx(np.maximum(census.chance, 1 - census.chance)[rows].mean())
    assert .84 < plan_census().ceiling < .89


def test_race_and_sex_carry_no_effect():
    plan = plan_census(seed=3, rows=40_000)
    for column in ('race', 'sex', 'native-country'):
        means = pd.Series(plan.chance).groupby(plan.table[column]).agg(['mean', 'size'])
        error = plan.chance.std() / np.sqrt(means['size'])
        assert ((means['mean'] - plan.chance.mean()).abs() < 4 * error).all()
    jobs = pd.Series(plan.chance).groupby(plan.table.occupation).mean()
    assert jobs.max() > 3 * jobs.min()


# ---- chores against scikit-learn

@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=4, max_size=30), st.integers(0, 10**6))
def test_fill_and_normalise_agree_with_sklearn(values, seed):
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler
    column = np.array([np.nan if v is None else v for v in values])
    n_train = len(column) // 2
    if np.isnan(column[:n_train]).all(): return
    df = pd.DataFrame({'x': column, 'y': np.arange(len(column), dtype=float)})
    imputer = SimpleImputer(strategy='median').fit(df[['x']][:n_train])
    scaler = StandardScaler().fit(imputer.transform(df[['x']][:n_train]))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        to = TabularPandas(df, cont_names='x', y_names='y', splits=(range(n_train), range(n_train, len(df))))
    filled = imputer.transform(df[['x']])
    if scaler.var_[0]**.5 > 1e-6 * (1 + abs(scaler.mean_[0])):
        np.testing.assert_allclose(to.xs[['x']], scaler.transform(filled), atol=1e-6, rtol=1e-6)
    assert ('x_na' in to.xs) == bool(np.isnan(column[:n_train]).any())
    if 'x_na' in to.xs: assert (to.decode().x_na == np.isnan(column)).all()


@pytest.mark.parametrize('ours, theirs', [('median', 'median'), ('mode', 'most_frequent'), ('constant', 'constant')])
def test_fill_strategies(ours, theirs):
    from sklearn.impute import SimpleImputer
    df = pd.DataFrame({'x': [1., 1, 5, 9, np.nan, 30], 'y': range(6)})
    to = TabularPandas(df, [FillMissing(ours, fill_val=-1., add_col=False)], cont_names='x', y_names='y')
    filled = SimpleImputer(strategy=theirs, fill_value=-1.).fit_transform(df[['x']])
    np.testing.assert_array_equal(to.xs[['x']], filled)
    with pytest.raises(ValueError, match='median, mode or constant'): FillMissing('mean')


def test_categories_agree_with_sklearn(df):
    from sklearn.preprocessing import OrdinalEncoder
    to = TabularPandas(df, cat_names=CATS, y_names='salary')
    for name in CATS:
        known = df[[name]].dropna()
        codes = OrdinalEncoder().fit_transform(known).ravel() + 1
        assert to.xs[name].loc[known.index].tolist() == codes.tolist()
        assert (to.xs[name][df[name].isna()] == 0).all()


@pytest.mark.parametrize('values, classes', [
    (['b', 'a', None, 'b'], ['#na#', 'a', 'b']), ([3, 1, 1, 2], ['#na#', 1, 2, 3]), ([2., np.nan, 1., 2.], ['#na#', 1., 2.]),
    ([True, False, True, True], ['#na#', False, True]),
    (pd.Categorical(['low', 'high', 'low', None], ['low', 'mid', 'high'], ordered=True), ['#na#', 'low', 'high']),
    (pd.array([1, None, 2, 1], dtype='Int64'), ['#na#', 1, 2]), (pd.array(['x', None, 'y', 'x'], dtype='string'), ['#na#', 'x', 'y'])])
def test_kinds_of_categories(values, classes):
    to = TabularPandas(pd.DataFrame({'c': values, 'y': [0., 1., 2., 3.]}), cat_names='c', y_names='y')
    assert to.classes['c'] == classes
    json.dumps(to.recipe())
    assert to.xs.c.dtype == 'int64' and (to.xs.c == 0).tolist() == pd.isna(pd.Series(values)).tolist()


def test_steps_work_in_their_own_order_and_normalize_is_known_by_name(df):
    class Normalize: "As scripts of the field call it"
    a = TabularPandas(df, [Categorify, FillMissing, NormalizeColumns], CATS, CONTS, 'salary')
    b = TabularPandas(df, [Normalize, FillMissing(), 'Categorify'], CATS, CONTS, 'salary')
    same(a.xs, b.xs)
    step = FillMissing()
    TabularPandas(df, [step, Categorify], CATS, CONTS, 'salary')
    assert step.fills == {}     # the caller's step is not changed


# ---- only training rows teach

def test_validation_rows_change_nothing_in_training(df):
    splits = list(range(1000)), list(range(1000, 1500))
    steps = [Categorify, FillMissing, NormalizeColumns, Bands(['capital-gain'])]
    other = df.copy()
    other.loc[1000:, CONTS] = other.loc[1000:, CONTS] * 1000. + 7
    other.loc[1000:, CATS] = 'something new'
    other.loc[1000:1100, 'age'] = np.nan
    a, b = (TabularPandas(frame, steps, CATS, CONTS, 'salary', splits=splits) for frame in (df, other))
    same(a.train.xs, b.train.xs)
    assert a.recipe() == b.recipe()
    assert not a.valid.xs.equals(b.valid.xs)
    assert (b.valid.xs[CATS] == 0).all().all() and b.unseen['race'] == {'something new': 500}
    for x, y in zip(a.train.tensors(), b.train.tensors()): assert torch.equal(x, y)


def test_the_split_is_that_of_random_splitter(df):
    splits = RandomSplitter(.2, seed=5)(df)
    a = TabularPandas(df, None, CATS, CONTS, 'salary', splits=splits)
    b = TabularPandas(df, None, CATS, CONTS, 'salary', valid_pct=.2, seed=5)
    same(a.train.xs, b.train.xs)
    same(a.valid.xs, b.valid.xs)
    c = TabularDataLoaders.from_df(df, cat_names=CATS, cont_names=CONTS, y_names='salary', valid_idx=splits[1])
    assert set(c.to.valid.items.index) == set(splits[1]) and len(c.to.train) == len(splits[0])


# ---- back to what people read

@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(['a', 'b', 'c', None]), st.floats(-1e5, 1e5), st.integers(-99, 99)),
                min_size=6, max_size=40))
@example([('a', 0., 0)] * 5 + [('a', 2.2e-309, 0)])   # smaller than any number that a float holds in full
def test_decode_is_the_way_back(rows):
    df = pd.DataFrame(rows, columns=['c', 'x', 'n']).assign(y=range(len(rows)))
    if df.c[:4].notna().sum() == 0: return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        to = TabularPandas(df, cat_names='c', cont_names=['x', 'n'], y_names='y', splits=([0, 1, 2, 3], range(4, len(df))))
    back = to.decode()
    assert back.n.tolist() == df.n.tolist() and back.y.tolist() == df.y.tolist()
    np.testing.assert_allclose(back.x, df.x, atol=1e-6 * (1 + df.x.abs().max()))
    seen = set(df.c[:4].dropna())
    assert back.c.tolist() == [v if v in seen else '#na#' for v in df.c]


# ---- other rows

def test_surprises_in_new_rows_are_told():
    to = prepare()
    df = table(5).assign(job=['cook', 'diver', 'diver', None, 'smith'], age=[20, None, 30, None, 40]).drop(columns='rich')
    df['pay'] = [1., 2, 3, 4, 5]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        new = to.new(df)
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2 and "training never saw 'diver', 'smith' (3 row(s))" in texts[0]
    assert "'age' is empty in 2 row(s), and never was" in texts[1]
    assert new.xs.job.tolist() == [1, 0, 0, 0, 0] and not new.ys.shape[1]
    assert new.decode().age.tolist() == [20, to.procs[0].fills['age'], 30, to.procs[0].fills['age'], 40]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        to.new(table(20, seed=1)[5:])    # nothing to tell


# ---- the recipe

def test_a_recipe_goes_through_json(df):
    steps = [Categorify, FillMissing, NormalizeColumns, Bands(['capital-gain'], n=7)]
    to = TabularPandas(df, steps, CATS, CONTS, 'salary', splits=(range(1000), range(1000, 1500)))
    fresh = plan_census(5, 300).table
    text = json.dumps(to.recipe())
    again = from_recipe(json.loads(text))
    assert len(again) == 0 and again.recipe() == to.recipe() and again.cat_names == to.cat_names
    for a, b in zip(to.new(fresh).tensors(), again.new(fresh).tensors()): assert torch.equal(a, b)
    same(again.new(fresh).decode(), to.new(fresh).decode())
    broken = json.loads(text)
    broken['procs'][0]['part'] = 'tables.Sparkle'
    with pytest.raises(ValueError, match='Sparkle'): from_recipe(broken)
    dls = from_recipe(json.loads(json.dumps(to.dataloaders(bs=10).recipe())), device='cpu', path='/tmp')
    assert dls.train is dls.valid is None and dls.vocab == to.y_vocab and dls.val_bs == 20 and str(dls.path) == '/tmp'
    for a, b in zip(dls.prepare(fresh.iloc[0]), to.new(fresh[:1]).tensors()): assert torch.equal(a, b[0])


def test_steps_say_what_they_are():
    assert repr(FillMissing('mode')) == "FillMissing(fill_strategy='mode', fill_val=0.0, add_col=True)"
    to = prepare()
    assert repr(to.procs[2]) == 'NormalizeColumns()' and repr(to) == 'TabularPandas: 60 rows, 60 to train on'
    assert repr(to.dataloaders(device='cpu')).startswith('TabularDataLoaders on cpu: TensorDataLoader of 60 items')


class Root(TableStep):
    "A step of one's own"
    order, columns = 1.5, 'cont'
    def encode(self, df, names, report):
        for name in names: df[name] = df[name]**.5
    def decode(self, df, names):
        for name in names: df[name] = df[name]**2


def test_a_step_of_ones_own():
    to = prepare(procs=[Categorify, FillMissing, Root, NormalizeColumns])
    assert to.decode().age.tolist() == table().age.tolist()
    assert np.allclose(to.xs.age, (table().age**.5 - (table().age**.5).mean()) / (table().age**.5).std(ddof=0))
    same(from_recipe(json.loads(json.dumps(to.recipe()))).new(table()).xs, to.xs)


# ---- loaders

@settings(max_examples=30, deadline=None)
@given(st.integers(2, 90), st.integers(2, 40), st.integers(0, 10**6))
def test_an_epoch_has_every_row_once(n, bs, seed):
    df = pd.DataFrame({'x': np.arange(n) + .5, 'c': [f'{i:03}' for i in range(n)], 'y': np.arange(n) * 2.})
    dls = TabularPandas(df, cat_names='c', cont_names='x', y_names='y').dataloaders(bs=bs)
    torch.manual_seed(seed)
    batches = list(dls.train)
    assert len(batches) == len(dls.train) == n // bs + (n % bs > 1)
    ids = torch.cat([b[0] for b in batches]).flatten()
    assert len(ids.unique()) == len(ids) == n - (n % bs == 1)
    assert torch.equal(torch.cat([b[2] for b in batches]).flatten(), (ids - 1) * 2.)    # rows stay together
    if len(ids) > 20: assert ids.tolist() != sorted(ids.tolist())


def test_from_csv_is_from_df(tmp_path, df):
    df.to_csv(tmp_path/'t.csv', index=False)
    kwargs = dict(cat_names=CATS, y_names='salary', seed=3)
    a = TabularDataLoaders.from_csv(tmp_path/'t.csv', **kwargs)
    b = TabularDataLoaders.from_df(pd.read_csv(tmp_path/'t.csv', skipinitialspace=True), **kwargs)
    assert a.cont_names == CONTS and a.classes['sex'] == ['#na#', 'Female', 'Male']
    for x, y in zip(a.train.tensors, b.train.tensors): assert torch.equal(x, y)
    with pytest.raises(FileNotFoundError, match='There is no file'): TabularDataLoaders.from_csv(tmp_path/'u.csv')
    (tmp_path/'empty.csv').write_text('')
    with pytest.raises(pd.errors.EmptyDataError): TabularDataLoaders.from_csv(tmp_path/'empty.csv')


# ---- dates and proposals

def test_date_parts_are_those_of_pandas():
    days = pd.date_range('2019-12-28', periods=900, freq='37h')
    df = pd.DataFrame({'saledate': days, 'n': range(900)})
    got = add_datepart(df, 'saledate', time=True)
    names = dict(Year='year', Month='month', Day='day', Dayofweek='day_of_week', Dayofyear='day_of_year', Is_month_end='is_month_end',
                 Is_quarter_start='is_quarter_start', Is_year_start='is_year_start', Hour='hour', Minute='minute')
    for ours, theirs in names.items(): assert got[f'sale{ours}'].tolist() == getattr(days, theirs).tolist()
    assert got.saleWeek.tolist() == days.isocalendar().week.tolist()
    assert got.saleElapsed.tolist() == [day.timestamp() for day in days]
    assert list(got)[0] == 'n' and 'saleHour' not in add_datepart(df, 'saledate')
    assert 'saledate' in add_datepart(df, 'saledate', drop=False) and 'xYear' in add_datepart(df, 'saledate', prefix='x')
    texts = add_datepart(df.assign(saledate=days.strftime('%Y-%m-%d %H:%M:%S')), 'saledate', time=True)
    pd.testing.assert_frame_equal(texts, got, check_dtype=False)
    zoned = add_datepart(df.assign(saledate=days.tz_localize('Asia/Tokyo')), 'saledate')
    assert zoned.saleDay.tolist() == days.day.tolist()


def test_missing_dates_are_missing_parts():
    got = add_datepart(pd.DataFrame({'d': pd.to_datetime(['2024-05-01', None])}), 'd')
    assert got.isna().iloc[1].all() and not got.isna().iloc[0].any()
    with pytest.warns(UserWarning, match='in every training row'):
        to = TabularPandas(got.assign(y=[1., 2.]).iloc[[0, 0, 1]], [FillMissing, Categorify], ['dMonth', 'dIs_month_start'],
                           ['dElapsed'], 'y')
    assert to.xs['dIs_month_start'].tolist() == [1, 1, 0] and to.xs['dElapsed_na'].tolist() == [1, 1, 2]


@pytest.mark.parametrize('column, error, words', [
    (['2024-01-01', 'soon', 'later'], ValueError, r"row 1 of column 'd' holds 'soon' \(2 rows"),
    (['2024-01-01', '2024-02-30'], ValueError, '2024-02-30'), ([1, 2], TypeError, 'numbers, not dates')])
def test_unreadable_dates(column, error, words):
    with pytest.raises(error, match=words): add_datepart(pd.DataFrame({'d': column}), 'd')


def test_dates_and_names_that_clash():
    df = pd.DataFrame({'date': pd.to_datetime(['2024-05-01']), 'Year': [1]})
    with pytest.raises(ValueError, match="already has a column 'Year'"): add_datepart(df, 'date')
    with pytest.raises(KeyError, match="Did you mean 'date'"): add_datepart(df, 'dat')


def test_proposal():
    df = pd.DataFrame({'few': [1, 2, 3] * 20, 'many': range(60), 'real': np.linspace(0, 1, 60), 'text': ['x'] * 60,
                       'truth': [True, False] * 30, 'y': range(60)})
    assert cont_cat_split(df, dep_var='y') == (['many', 'real'], ['few', 'text', 'truth'])
    assert cont_cat_split(df, max_card=2, dep_var=['y'])[0] == ['few', 'many', 'real']


# ---- what may be wrong with a table

def _with(**columns): return lambda: prepare(table().assign(**columns))
def _opts(**options): return lambda: prepare(**options)
_odd = pd.Series(['1'] + list(range(59)), dtype=object)


@pytest.mark.parametrize('make, error, words', [
    (_opts(cat_names=['jab']), KeyError, r"no column 'jab'. Did you mean 'job'\? It has"),
    (_opts(cont_names=['age', 'wage']), KeyError, "no column 'wage'"),
    (_opts(y_names='ritch'), KeyError, "Did you mean 'rich'"),
    (_opts(cont_names=['age', 'age']), ValueError, "cont_names has 'age' twice"),
    (_opts(cont_names=['job', 'age']), ValueError, "'job' is in cat_names and in cont_names"),
    (_opts(cat_names=['job', 'rich']), ValueError, "target 'rich' is among the inputs"),
    (_opts(cat_names=None, cont_names=None), ValueError, 'No inputs'),
    (lambda: prepare(table()[:0]), ValueError, 'empty'),
    (lambda: prepare([1, 2]), TypeError, 'Expected a pandas DataFrame, got list'),
    (lambda: prepare(pd.concat([table(), table()[['age']]], axis=1)), ValueError, r"same name: \['age'\]"),
    (_with(rich=table().rich.where(table().index != 7)), ValueError, "row 7 of column 'rich' holds .* and every row needs a value"),
    (_with(rich=np.where(np.arange(60) == 9, np.nan, 1. * np.arange(60))), ValueError, "row 9 of column 'rich' holds nan"),
    (_with(rich='yes'), ValueError, "target 'rich' is 'yes' in every training row"),
    (_with(pay=np.nan), ValueError, "'pay' is missing in every training row"),
    (_with(job=None), ValueError, "'job' has no value in any training row"),
    (_with(pay=np.where(np.arange(60) == 11, np.inf, 1.)), ValueError, "row 11 of column 'pay' holds inf"),
    (_with(pay=np.where(np.arange(60) == 11, -np.inf, 1.)), ValueError, 'holds -inf'),
    (_with(pay=_odd), TypeError, "row 0 of column 'pay' holds '1', and the column should hold numbers"),
    (_with(pay=['12'] * 60), TypeError, r"holds '12' \(60 rows"),
    (_with(job=_odd), TypeError, "'job' mixes number and text: row 0 of column 'job' holds '1'"),
    (_with(job=pd.Series([('a',)] * 60)), TypeError, 'holds tuple objects'),
    (_with(pay=pd.date_range('2024', periods=60)), TypeError, 'holds dates, not numbers: add_datepart'),
    (_with(job=pd.date_range('2024', periods=60)), TypeError, 'holds dates, not names'),
    (_opts(splits=([0, 1, 2], [2, 3])), ValueError, 'Item 2 is in the training and the validation side'),
    (_opts(splits=([], [2, 3])), ValueError, 'leaves the training side empty'),
    (_opts(splits=([1, 2], [])), ValueError, 'leaves the validation side empty'),
    (_opts(splits=([1, 2], [60])), ValueError, 'position 60, and 60 items go from 0 to 59'),
    (_opts(splits=([1, 1], [5])), ValueError, 'Item 1 is in the training and the training side'),
    (_opts(splits=[1, 2, 3]), ValueError, 'gives lists of positions'),
    (_opts(splits=([True, False], [False, True])), ValueError, 'np.flatnonzero'),
    (_opts(valid_pct=1.), ValueError, 'between 0 and 1'),
    (_opts(valid_pct=.001), ValueError, 'leaves the validation side empty'),
    (_opts(procs=[FillMissing]), ValueError, 'needs Categorify'),
    (_opts(procs=[Categorify]), ValueError, 'FillMissing among the procs fills gaps'),
    (_opts(procs=['Sparkle']), ValueError, "'Sparkle' is no step"),
    (_opts(y_block='picture'), ValueError, 'category or regression'),
    (_opts(cat_names='job', cont_names='age', y_names=['rich', 'pay']), ValueError, 'Several targets must be numbers'),
    (lambda: prepare(table().assign(pay_na=1.), cont_names=['pay', 'pay_na']), ValueError, "adds a column 'pay_na'"),
    (lambda: prepare(table(), y_names=None).dataloaders(), ValueError, 'needs a target'),
    (lambda: prepare().dataloaders(bs=1), ValueError, 'batch norm needs two'),
    (lambda: prepare().dataloaders(bs=500, drop_last=True), ValueError, '60 training rows: not one full batch'),
    (lambda: prepare().new(table()[:0]), ValueError, 'The table is empty'),
    (lambda: prepare().new(table().drop(columns='age')), KeyError, "no column 'age'"),
    (lambda: prepare().new(table().assign(rich='perhaps')), ValueError, "holds 'perhaps' .* which no training row has"),
    (lambda: prepare(table().assign(rich=['no', 'yes'] * 29 + ['hm', 'hm']), splits=(range(58), [58, 59])), ValueError, "holds 'hm'"),
])
def test_bad_tables(make, error, words):
    with pytest.raises(error, match=words): make()


def test_one_row_is_no_training_set():
    with pytest.raises(ValueError, match='1 training row is not enough'): prepare().new(table()[:1]).dataloaders()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='nothing to learn'): prepare(splits=([5], [6, 7]))


def test_columns_of_a_single_value_are_named_and_harmless():
    with pytest.warns(UserWarning) as caught: to = prepare(table().assign(pay=5., job='cook'))
    texts = ' '.join(str(w.message) for w in caught)
    assert "'pay' is 5 in every training row" in texts and "'job' is 'cook' in every training row" in texts
    assert (to.xs.pay == 0).all() and torch.isfinite(to.tensors()[1]).all()
    assert (to.decode().pay == 5).all()


def test_a_target_of_two_numbers_is_asked_about():
    df = table().assign(rich=lambda d: (d.rich == 'yes').astype(int))
    with pytest.warns(UserWarning, match="y_block='category'"): assert prepare(df).y_kind == 'regression'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        to = prepare(df, y_block='category')
    assert to.y_vocab == [0, 1] and to.tensors()[2].dtype == torch.int64


def test_a_batch_larger_than_the_table_is_the_table():
    dls = prepare().dataloaders(bs=500)
    assert len(dls.train) == 1 and len(dls.one_batch()[0]) == 60


# ---- tables as other programs, other countries and other libraries give them

def test_names_come_in_any_collection():
    df = table()
    right = prepare().xs
    for cats, conts in ((df.columns[:1], df.columns[1:3]), (np.array(['job']), np.array(['age', 'pay'])),
                        ({'job'}, {'pay', 'age'}), (dict(job=1).keys(), pd.Series(['age', 'pay'])), (('job',), ('age', 'pay'))):
        got = prepare(cat_names=cats, cont_names=conts)
        assert got.xs.equals(right) and json.dumps(got.recipe())
    assert prepare(y_names=df.columns[3:]).y_names == ['rich']
    dls = TabularDataLoaders.from_df(df, cat_names=df.columns[:1], y_names=df.columns[3:], seed=1, device='cpu')
    assert dls.to.raw_conts == ['age', 'pay']
    assert cont_cat_split(df, dep_var=df.columns[3:]) == cont_cat_split(df, dep_var='rich')


@pytest.mark.parametrize('kind', ['numbers', 'pairs'])
def test_columns_may_be_named_by_numbers_or_by_pairs(kind):
    df = table()
    df.columns = range(4) if kind == 'numbers' else pd.MultiIndex.from_tuples(
        [('work', 'job'), ('life', 'age'), ('work', 'pay'), ('work', 'rich')])
    job, age, pay, rich = df.columns
    to = TabularPandas(df, None, [job], [age, pay], [rich])
    assert len(to.cat_names) == 2 and to.xs.shape == (60, 4)         # pay has gaps
    again = from_recipe(json.loads(json.dumps(to.recipe())))
    direct = TabularPandas.from_recipe(json.loads(json.dumps(to.recipe())), df[:5])
    for other in (again.new(df[:5]), direct): assert np.array_equal(other.xs.to_numpy(float), to.new(df[:5]).xs.to_numpy(float))


def test_the_advice_about_texts_loses_no_number():
    for texts, word in ((['980', '1,250', '12'], 'thousands'), (['3,75', '4', '1'], 'decimal'), (['3', '4.5', '1'], 'to_numeric')):
        df = table(60).assign(pay=texts * 20)
        with pytest.raises(TypeError, match=word) as caught: prepare(df)
        assert 'coerce' not in str(caught.value)
    with pytest.raises(TypeError, match='coerce'): prepare(table(60).assign(pay=['3', 'unknown', '1'] * 20))
    for texts in (['The Hedgehog of Cardiff (2005)', 'Jaws 2', 'Psycho'], ['12 kg', '4', '1'], ['2024-02-29', '12:30', '1']):
        with pytest.raises(TypeError, match='wrong column') as caught: prepare(table(60).assign(pay=texts * 20))
        assert not re.search('thousands|decimal|coerce', str(caught.value))   # no country writes numbers like that


def test_tables_of_other_countries(tmp_path):
    file, right = tmp_path/'t.csv', [1000.5 + i for i in range(24)]
    rows = [f'{"Köln Zürich Graz".split()[i % 3]};{"uv"[i % 2]};1.{i:03},5' for i in range(24)]
    how = dict(cat_names='ort', cont_names='zahl', y_names='y', valid_idx=[0], bs=4, device='cpu', sep=';', decimal=',', thousands='.')
    for encoding in ('cp1252', 'utf-8-sig', 'utf-8'):
        file.write_text('\n'.join(['ort;y;zahl', *rows]), encoding=encoding)
        dls = TabularDataLoaders.from_csv(file, encoding=encoding, **how)
        assert sorted(dls.to.decode()['zahl'].round(3)) == right
        assert dls.to.classes['ort'][1:] == ['Graz', 'Köln', 'Zürich']
    file.write_text('\n'.join(['ort;y;zahl', *rows]), encoding='cp1252')
    with pytest.raises(ValueError, match="encoding='cp1252'"): TabularDataLoaders.from_csv(file, **how)
    file.write_text('\n'.join(['ort;y;zahl', *rows]))
    with pytest.raises(ValueError, match="Give sep=';'"): TabularDataLoaders.from_csv(file, cat_names='ort', y_names='y')


def test_dates_with_zones():
    def seconds(column): return add_datepart(pd.DataFrame({'Date': column}), 'Date', time=True)
    for texts in (['2024-01-01T00:00:00Z', '2024-07-01T12:00:00Z'], ['2024-01-01T03:00:00+01:00', '2024-01-02T00:00:00+01:00'],
                  ['2024-01-01T00:30:00+01:00', '2024-07-01T00:00:00+02:00']):
        made, stamps = seconds(texts), [pd.Timestamp(text) for text in texts]
        assert made.Elapsed.tolist() == [stamp.timestamp() for stamp in stamps]
        assert made.Hour.tolist() == [stamp.hour for stamp in stamps] and made.Day.tolist() == [stamp.day for stamp in stamps]
    night = pd.date_range('2024-10-26 23:30', periods=5, freq='h', tz='UTC').tz_convert('Europe/Berlin')
    made = seconds(night.to_series(index=range(5)))
    assert made.Elapsed.diff().dropna().tolist() == [3600.] * 4 and made.Elapsed[0] == night[0].timestamp()
    assert made.Hour.tolist() == [1, 2, 2, 3, 4]                       # the clock there was put back
    gaps = seconds(pd.Series(['2024-01-01T00:00:00+01:00', None]))
    assert np.isnan(gaps.Elapsed[1])


def test_levels_that_look_alike_are_named():
    with pytest.warns(UserWarning, match="'cook' and 'cook '"): prepare(table().replace({'job': {'pilot': 'cook '}}))
    with pytest.warns(UserWarning, match="'no' and 'no '"): prepare(table().replace({'rich': {'yes': 'no '}}))
    import unicodedata
    one, other = (unicodedata.normalize(form, 'café') for form in ('NFC', 'NFD'))     # é in two ways
    for change in ({'job': {'cook': one, 'pilot': other}}, {'rich': {'no': one, 'yes': other}}):
        with pytest.warns(UserWarning, match=f'{one!r}.*look alike'): prepare(table().replace(change))


# ---- what scripts of the field ask

def test_parts_of_a_prepared_table():
    to = prepare(valid_pct=.2, seed=1)
    assert list(to.cats) == to.cat_names and list(to.conts) == to.cont_names and to.x_names == to.cat_names + to.cont_names
    same(to.xs, pd.concat([to.cats, to.conts], axis=1))
    assert to.y.tolist() == to.ys.iloc[:, 0].tolist() and len(to.valid.y) == len(to.valid) and to.dataloaders(bs=8).x_names == to.x_names
    assert to.loc[to.items.index[3]].tolist() == to.iloc[3].tolist() == to.items.iloc[3].tolist()
    scaled = next(step for step in to.procs if isinstance(step, NormalizeColumns))
    assert to.means == scaled.means and to.stds == scaled.stds and set(to.means) == set(to.cont_names)
    filled = next(step for step in to.procs if isinstance(step, FillMissing))
    assert to.na_dict == filled.fills and prepare(procs=[Categorify, FillMissing]).means == {}


def test_no_copy_is_asked_for_and_the_table_stays():
    df = table()
    before = df.copy()
    to = TabularPandas(df, None, ['job'], ['age', 'pay'], 'rich', inplace=True, reduce_memory=False)
    same(df, before)
    same(to.items, TabularPandas(df, None, ['job'], ['age', 'pay'], 'rich').items)


def test_ways_to_fill():
    df = pd.DataFrame(dict(a=[1., 2., 9., np.nan], b=[1., 1., 5., np.nan], y=list('pqpq')))
    def filled(*args, **kwargs):
        return TabularPandas(df, FillMissing(*args, **kwargs), None, ['a', 'b'], 'y').items.iloc[3, :2].tolist()
    assert filled(FillStrategy.median) == filled() == [2., 1.] and filled(FillStrategy.mode) == [1., 1.]
    assert filled(FillStrategy.constant) == [0., 0.] and filled(FillStrategy.constant, fill_val=7) == [7., 7.]
    assert filled(fill_strategy=FillStrategy.constant, fill_vals={'b': 3.}) == [0., 3.]
    step = FillMissing('constant', fill_vals={'b': 3.})
    step.setup(df, ['a', 'b'])
    assert from_recipe(step.recipe()) == step


def test_a_batch_of_a_table_can_be_shown():
    dls = prepare().dataloaders(bs=16)
    shown = dls.show_batch(dls.one_batch(), max_n=3)
    same(shown, dls.show_batch(3))
    assert len(shown) == 3


def test_a_decoded_batch_has_the_values_of_the_table():
    df = table(200)
    df['gain'] = np.where(np.arange(200) % 17 == 0, 99_999., 0.)
    to = prepare(df, cont_names=['gain'])
    dls = to.dataloaders(bs=200, device='cpu')
    cats, conts, y = dls.one_batch()
    assert {*dls.show_batch(200).gain} == {0., 99_999.}
    none = conts[:, 0] < 0                    # the 0 of float32 on this scale is a hair more or less
    assert {*dls.show_batch((cats[none], conts[none], y[none]), 200).gain} == {0.}
    assert {*to.show(200).gain} == {0., 99_999.}
