"Tables: preparation, loaders, model, importance, dates, the planted census, and all that may be wrong with a table."
import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).resolve().parent)]
from interruption import Stop

from lessonlib.core import get_rng_state, set_seed
from lessonlib.checkpoint import Checkpoint
from lessonlib.learner import Learner
from lessonlib.batches import accuracy, rmse
import lessonlib.progress  # noqa: F401  for what they add to classes
from lessonlib.tabular import (Bands, TabularModel, emb_sz_rule, get_emb_sz, plot_importance,
                               shuffle_importance, tabular_config, tabular_learner)
from lessonlib.tables import (Categorify, FillMissing, NormalizeColumns, TableStep,
                              TabularDataLoaders, TabularPandas, add_datepart, cont_cat_split,
                              make_census, plan_census, table_steps)

torch.set_num_threads(1)
CATS = ['workclass', 'education', 'marital-status', 'occupation', 'relationship', 'race', 'sex', 'native-country']
CONTS = ['age', 'fnlwgt', 'education-num', 'capital-gain', 'capital-loss', 'hours-per-week']


@pytest.fixture(scope='module')
def census(): return plan_census(rows=1500)


@pytest.fixture
def df(census): return census.table.copy()


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({'job': rng.choice(['cook', 'nurse', 'pilot'], n), 'age': rng.integers(18, 80, n),
                       'pay': rng.normal(100, 30, n), 'rich': rng.choice(['no', 'yes'], n)})
    df.loc[3, 'pay'] = np.nan
    df.loc[4, 'job'] = None
    return df


def prepare(df=None, **changes):
    given = dict(cat_names=['job'], cont_names=['age', 'pay'], y_names='rich')
    return TabularPandas(table() if df is None else df, **{**given, **changes})


def quietly(action, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()): return action(*args, **kwargs)


def learner(df, bs=64, cbs=None, path='.', **kwargs):
    set_seed(1)
    dls = TabularDataLoaders.from_df(df, path, None, CATS, CONTS, 'salary', seed=0, bs=bs, device='cpu')
    return tabular_learner(dls, [20, 10], metrics=accuracy, cbs=cbs, **kwargs)


def state():
    found = get_rng_state()
    return json.dumps([found['python'], found['numpy'], found['torch'].tolist()])


def same(a, b): pd.testing.assert_frame_equal(a, b, check_exact=True)


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


def test_bands_learn_their_cuts():
    df = pd.DataFrame({'pay': [0.] * 50 + list(range(1, 101)), 'y': range(150)})
    to = TabularPandas(df, [FillMissing, Bands('pay', n=4), Categorify, NormalizeColumns], cont_names='pay', y_names='y')
    assert to.cat_names == ['pay_band'] and to.xs.pay_band.value_counts().sort_index().tolist() == [50, 25, 25, 25, 25]
    bands = to.decode().pay_band
    assert (bands[df.pay == 0] == 0).all() and bands.iloc[50:].is_monotonic_increasing
    assert to.new(pd.DataFrame({'pay': [-5., 1e9]})).decode().pay_band.tolist() == [1, 4]
    with pytest.raises(KeyError, match="did you mean 'pay'"):
        TabularPandas(df, [Bands('pai'), Categorify], cont_names='pay', y_names='y')
    with pytest.raises(ValueError, match='1 or more'): Bands('pay', n=0)


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


def test_all_rows_teach_without_splits(df):
    to = TabularPandas(df, cat_names=CATS, cont_names=CONTS, y_names='salary')
    assert len(to) == to.n_train == len(df)
    assert to.xs[CONTS].mean().abs().max() < 1e-9
    with pytest.raises(ValueError, match='no validation rows'): to.valid
    dls = to.dataloaders(bs=64)
    assert dls.valid is None
    learn = tabular_learner(dls, [8])
    with learn.no_logging(): quietly(learn.fit, 1)
    assert len(learn.recorder.values[0]) == 1


def test_the_split_is_that_of_random_splitter(df):
    from lessonlib.items import RandomSplitter
    splits = RandomSplitter(.2, seed=5)(df)
    a = TabularPandas(df, None, CATS, CONTS, 'salary', splits=splits)
    b = TabularPandas(df, None, CATS, CONTS, 'salary', valid_pct=.2, seed=5)
    same(a.train.xs, b.train.xs)
    same(a.valid.xs, b.valid.xs)
    c = TabularDataLoaders.from_df(df, cat_names=CATS, cont_names=CONTS, y_names='salary', valid_idx=splits[1])
    assert set(c.to.valid.items.index) == set(splits[1]) and len(c.to.train) == len(splits[0])


# ---- the caller's things stay as they are

def test_nothing_of_the_caller_changes(df):
    df.index = [f'row {i}' for i in range(len(df))]
    df['when'] = pd.date_range('2024-01-01', periods=len(df))
    before, steps = df.copy(deep=True), [Categorify, FillMissing, NormalizeColumns]
    learn = quietly(learner, df)
    random = state()
    learn.dls.to.new(df)
    learn.dls.show_batch()
    learn.dls.test_dl(df)
    learn.predict(df.iloc[3])
    learn.show_results(df, 5)
    learn.importance(1)
    learn.embed(learn.dls.to.valid.xs)
    add_datepart(df, 'when', drop=False)
    TabularPandas(df, steps, CATS, CONTS, 'salary', valid_pct=.3)
    same(df, before)
    assert state() == random and steps == [Categorify, FillMissing, NormalizeColumns]
    assert set(learn.dls.to.items.index) == set(df.index)


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
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        new = to.new(df)
    texts = [str(w.message) for w in said]
    assert len(texts) == 2 and "training never saw 'diver', 'smith' (3 rows)" in texts[0]
    assert "'age' is empty in 2 rows, and never was" in texts[1]
    assert new.xs.job.tolist() == [1, 0, 0, 0, 0] and not new.ys.shape[1]
    assert new.decode().age.tolist() == [20, to.procs[0].fills['age'], 30, to.procs[0].fills['age'], 40]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        to.new(table(20, seed=1)[5:])    # nothing to tell


def test_test_dl_with_and_without_labels(df):
    learn = quietly(learner, df)
    dls, fresh = learn.dls, plan_census(9, 100).table
    both, bare = dls.test_dl(fresh), dls.test_dl(fresh.drop(columns='salary'))
    assert len(next(iter(both))) == 3 and len(next(iter(bare))) == 2 == len(next(iter(dls.test_dl(fresh, with_labels=False))))
    preds, targets = learn.get_preds(dl=both)
    assert torch.equal(preds, learn.get_preds(dl=bare)[0]) and learn.get_preds(dl=bare)[1] is None
    assert [dls.vocab[i] for i in targets] == fresh.salary.tolist()
    assert torch.equal(preds, learn.outputs(dls.to.new(fresh).xs))
    for i in (0, 50):
        row, number, probabilities = learn.predict(fresh.iloc[i])
        assert torch.allclose(probabilities, preds[i], atol=1e-6) and number == preds[i].argmax()
        assert row.decode().salary.tolist() == [dls.vocab[number]] and len(row.show()) == 1
        assert torch.allclose(learn.predict(fresh.iloc[i].to_dict())[2], preds[i], atol=1e-6)
        assert torch.allclose(learn.predict(fresh.iloc[[i]])[2], preds[i], atol=1e-6)
    with pytest.raises(ValueError, match='One row at a time'): learn.predict(fresh[:2])
    with pytest.raises(KeyError, match="'age'"): learn.predict(fresh.iloc[0].drop('age'))
    shown = learn.show_results(fresh, 7)
    assert shown['salary_pred'].tolist() == [dls.vocab[i] for i in preds[:7].argmax(1)] and len(shown) == 7


# ---- the recipe

def test_a_recipe_goes_through_json(df):
    steps = [Categorify, FillMissing, NormalizeColumns, Bands(['capital-gain'], n=7)]
    to = TabularPandas(df, steps, CATS, CONTS, 'salary', splits=(range(1000), range(1000, 1500)))
    fresh = plan_census(5, 300).table
    text = json.dumps(to.recipe())
    again = TabularPandas.from_recipe(json.loads(text), fresh)
    for a, b in zip(to.new(fresh).tensors(), again.tensors()): assert torch.equal(a, b)
    assert again.recipe() == to.recipe() and get_emb_sz(again) == get_emb_sz(to)
    same(again.decode(), to.new(fresh).decode())
    broken = json.loads(text)
    broken['procs'][0]['name'] = 'Sparkle'
    with pytest.raises(ValueError, match="a step 'Sparkle'"): TabularPandas.from_recipe(broken, fresh)
    with pytest.raises(ValueError, match='no recipe'): TabularPandas.from_recipe([], fresh)


def test_a_step_of_ones_own(monkeypatch):
    class Root(TableStep):
        order, columns = 1.5, 'cont'
        def encode(self, df, names, report):
            for name in names: df[name] = df[name]**.5
        def decode(self, df, names):
            for name in names: df[name] = df[name]**2
    to = prepare(procs=[Categorify, FillMissing, Root, NormalizeColumns])
    assert to.decode().age.tolist() == table().age.tolist()
    assert np.allclose(to.xs.age, (table().age**.5 - (table().age**.5).mean()) / (table().age**.5).std(ddof=0))
    monkeypatch.setitem(table_steps, 'Root', Root)
    same(TabularPandas.from_recipe(json.loads(json.dumps(to.recipe())), table()).xs, to.xs)


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


def test_batches_have_the_right_kinds(df):
    dls = learner(df).dls
    cats, conts, y = dls.one_batch()
    assert (cats.dtype, conts.dtype, y.dtype) == (torch.int64, torch.float32, torch.int64) and y.shape == (64,)
    assert dls.c == 2 and dls.vocab == ['<50k', '>=50k'] and dls.n_inp == 2
    assert dls.valid.batch_size == 128 and len(dls.to.valid) == 300
    shown = dls.show_batch(6)
    assert len(shown) == 6 and set(shown.salary) <= {'<50k', '>=50k'} and set(shown.age) <= set(df.age)


def test_from_csv_is_from_df(tmp_path, df):
    df.to_csv(tmp_path/'t.csv', index=False)
    kwargs = dict(cat_names=CATS, y_names='salary', seed=3)
    a = TabularDataLoaders.from_csv(tmp_path/'t.csv', **kwargs)
    b = TabularDataLoaders.from_df(pd.read_csv(tmp_path/'t.csv', skipinitialspace=True), **kwargs)
    assert a.cont_names == CONTS and a.classes['sex'] == ['#na#', 'Female', 'Male']
    for x, y in zip(a.train.tensors, b.train.tensors): assert torch.equal(x, y)
    with pytest.raises(FileNotFoundError, match='no file'): TabularDataLoaders.from_csv(tmp_path/'u.csv')
    (tmp_path/'empty.csv').write_text('')
    with pytest.raises(ValueError, match='no table'): TabularDataLoaders.from_csv(tmp_path/'empty.csv')


# ---- the model

@pytest.mark.parametrize('ps, embed_p, use_bn, bn_cont', [(0., 0., True, True), ([.1, .2], .3, True, False), (.5, 0., False, True)])
def test_the_model_is_a_plain_sequential(ps, embed_p, use_bn, bn_cont):
    "Same weights and dropouts: same outputs and gradients while training, down to the random numbers"
    set_seed(0)
    model = TabularModel([(5, 3), (9, 4)], 2, 3, [7, 6], ps, embed_p, None, use_bn, bn_cont)
    p = ps if isinstance(ps, list) else [ps, ps]
    norm = (lambda n: [nn.BatchNorm1d(n)]) if use_bn else (lambda n: [])
    drop = lambda p: [nn.Dropout(p)] if p else []
    plain = nn.Sequential(nn.Linear(9, 7, bias=not use_bn), nn.ReLU(), *norm(7), *drop(p[0]),
                          nn.Linear(7, 6, bias=not use_bn), nn.ReLU(), *norm(6), *drop(p[1]), nn.Linear(6, 3))
    plain.load_state_dict(model.layers.state_dict())
    tables = [nn.Embedding.from_pretrained(e.weight.detach().clone(), freeze=False) for e in model.embeds]
    bn, dropout = nn.BatchNorm1d(2) if bn_cont else nn.Identity(), nn.Dropout(embed_p)
    cats, conts = torch.stack([torch.randint(0, 5, (16,)), torch.randint(0, 9, (16,))], 1), torch.randn(16, 2)
    torch.manual_seed(4)
    ours = model(cats, conts)
    torch.manual_seed(4)
    theirs = plain(torch.cat([dropout(torch.cat([t(cats[:, i]) for i, t in enumerate(tables)], 1)), bn(conts)], 1))
    assert torch.equal(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for mine, other in zip(model.embeds, tables): assert torch.allclose(mine.weight.grad, other.weight.grad, atol=1e-6)
    for mine, other in zip(model.layers.parameters(), plain.parameters()): assert torch.allclose(mine.grad, other.grad, atol=1e-6)


def test_models_without_categories_or_without_numbers():
    assert TabularModel([], 3, 1).eval()(torch.zeros(4, 0, dtype=torch.long), torch.randn(4, 3)).shape == (4, 1)
    assert TabularModel([(4, 2)], 0, 5).eval()(torch.ones(4, 1, dtype=torch.long), torch.zeros(4, 0)).shape == (4, 5)
    with pytest.raises(ValueError, match='no inputs'): TabularModel([], 0, 1)
    with pytest.raises(ValueError, match='3 dropouts for 2 hidden'): TabularModel([], 3, 1, ps=[.1, .1, .1])
    out = TabularModel([], 3, 1, y_range=(2, 5)).eval()(torch.zeros(99, 0, dtype=torch.long), 1e4 * torch.randn(99, 3))
    assert 2 <= out.min() < out.max() <= 5


def test_widths():
    assert [emb_sz_rule(n) for n in (1, 3, 40, 1000, 10**7)] == [2, 3, 13, 77, 600]
    with pytest.raises(ValueError, match='one level'): emb_sz_rule(0)
    to = prepare()
    assert get_emb_sz(to) == [(4, 3), (3, 3)] and get_emb_sz(to, {'job': 9})[0] == (4, 9)
    with pytest.raises(KeyError, match="'pay' is no column of categories"): get_emb_sz(to, {'pay': 2})


def test_settings_of_the_learner(df):
    learn = learner(df, config=tabular_config(ps=.2, embed_p=.1), emb_szs={'race': 11}, wd=.3)
    assert isinstance(learn, Learner) and learn.wd == .3
    assert learn.model.embeds[CATS.index('race')].weight.shape[1] == 11
    assert learn.model.emb_drop.p == .1 and sum(isinstance(m, nn.Dropout) for m in learn.model.layers) == 2
    with pytest.raises(TypeError, match="no 'embed'"): tabular_config(embed=.1)
    with pytest.raises(TypeError, match='needs TabularDataLoaders'): tabular_learner(object())
    with pytest.raises(ValueError, match='y_range is for numbers'): learner(df, y_range=(0, 1))


def test_regression_with_two_targets():
    df = table(300).assign(rich=lambda d: d.age * 2. + 1, poor=lambda d: -d.age)
    dls = TabularDataLoaders.from_df(df, cat_names='job', cont_names='age', y_names=['rich', 'poor'], seed=0)
    assert dls.c == 2 and dls.one_batch()[2].shape == (64, 2) and dls.to.y_kind == 'regression'
    set_seed(0)
    learn = tabular_learner(dls, [30], metrics=rmse, y_range=(-300, 300))
    with learn.no_logging(): quietly(learn.fit_one_cycle, 40, .05)
    assert learn.recorder.values[-1][-1] < .3 * df[['rich', 'poor']].to_numpy().std()
    row, value, output = learn.predict(df.iloc[0])
    assert value.shape == (2,) and torch.equal(value, output)
    assert np.allclose(row.decode()[['rich', 'poor']], value[None], atol=1e-3)
    assert {'rich_pred', 'poor_pred'} <= set(learn.show_results(max_n=3))
    assert learn.importance(2).index[0] == 'age'
    with pytest.warns(UserWarning, match='cannot reach them all'): tabular_learner(dls, y_range=(0, 1))
    with pytest.raises(ValueError, match='from low to high'): tabular_learner(dls, y_range=(1, 0))


def test_field_names_make_a_whole_script(df):
    class CategoryBlock: "As scripts of the field name it"
    to = TabularPandas(df, procs=[Categorify, FillMissing, NormalizeColumns], cat_names=CATS, cont_names=CONTS, y_names='salary',
                       y_block=CategoryBlock(), splits=(list(range(1200)), list(range(1200, 1500))))
    dls = to.dataloaders(bs=64)
    learn = tabular_learner(dls, layers=[200, 100], metrics=accuracy)
    with learn.no_logging(): quietly(learn.fit_one_cycle, 1, 1e-2)
    row, clas, probs = learn.predict(df.iloc[0])
    assert row.show() is not None and probs.sum() == pytest.approx(1) and int(clas) in (0, 1)
    test_to = to.new(df.drop(columns='salary'))
    test_to.process()
    assert to.train.xs.shape[1] == test_to.xs.shape[1] and to.valid.ys.values.ravel().shape == (300,)


# ---- resume

@pytest.mark.parametrize('after', [3, 19, 25])
def test_resume_at_a_batch_boundary_is_bit_equal(df, tmp_path, after):
    def run(path, stop=None, resume=None):
        learn = learner(df, path=path, cbs=Checkpoint(every_batches=1), config=tabular_config(ps=.2, embed_p=.2))
        with learn.no_logging():
            try: quietly(learn.fit_one_cycle, 2, 1e-2, cbs=stop and Stop(stop), resume=resume)
            except KeyboardInterrupt: pass
        return learn
    whole = run(tmp_path/'a')
    run(tmp_path/'b', stop=after)
    set_seed(99)
    resumed = run(tmp_path/'b', resume=True)
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values()): assert torch.equal(a, b), name
    assert [row[0] for row in whole.recorder.batches] == [row[0] for row in resumed.recorder.batches]
    assert whole.recorder.values == resumed.recorder.values


# ---- importance and embeddings

def test_importance_of_a_known_score():
    rng = np.random.default_rng(0)
    xs = pd.DataFrame({'a': rng.normal(size=4000), 'b': rng.normal(size=4000), 'c': rng.integers(0, 9, 4000)})
    y, before = 3 * xs.a + xs.b, xs.copy()
    def score(frame): return -((3 * frame.a + frame.b - y)**2).mean()
    found = shuffle_importance(score, xs, repeats=10)
    assert found.index.tolist() == ['a', 'b', 'c'] and found.importance['c'] == 0 == found['std']['c']
    assert found.importance['a'] == pytest.approx(2 * 9 * xs.a.var(), rel=.05)     # twice the variance it brings
    assert found.importance['b'] == pytest.approx(2 * xs.b.var(), rel=.05)
    same(xs, before)
    alone = shuffle_importance(score, xs, repeats=10, groups={'b': ['b']})
    assert alone.importance['b'] == found.importance['b']
    assert shuffle_importance(score, xs, seed=1).importance['a'] != shuffle_importance(score, xs).importance['a']
    both = shuffle_importance(lambda f: float((f.a == f.d).mean()), xs.assign(d=xs.a), groups={'both': ['a', 'd']})
    assert both.importance['both'] == 0          # shuffled together
    with pytest.raises(ValueError, match='1 or more'): shuffle_importance(score, xs, repeats=0)
    with pytest.raises(KeyError, match="'z'"): shuffle_importance(score, xs, groups={'z': ['z']})


def test_importance_agrees_with_sklearn(df):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.inspection import permutation_importance
    to = TabularPandas(df, None, CATS, CONTS, 'salary', valid_pct=.4, seed=0)
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(to.train.xs, to.train.ys.salary)
    ours = shuffle_importance(lambda xs: forest.score(xs, to.valid.ys.salary), to.valid.xs, repeats=12)
    theirs = permutation_importance(forest, to.valid.xs, to.valid.ys.salary, n_repeats=12, random_state=0)
    means, stds = (pd.Series(v, to.xs.columns)[ours.index] for v in (theirs.importances_mean, theirs.importances_std))
    luck = 4 * np.sqrt((stds**2 + ours['std']**2) / 12) + 1e-3
    assert ((ours.importance - means).abs() < luck).all()
    assert np.corrcoef(ours.importance, means)[0, 1] > .97
    ax = plot_importance(ours, 'Needs')
    assert ax.get_title() == 'Needs' and ax.get_xlabel() and len(ax.get_yticklabels()) == len(ours)


def test_importance_of_a_learner_is_what_it_says(df):
    learn = learner(df)
    with learn.no_logging(): quietly(learn.fit_one_cycle, 2, 2e-2)
    found = learn.importance(3)
    assert set(found.index) == set(CATS + CONTS)      # the flag goes with its column
    to, whole = learn.dls.to.valid, learn.validate()[1]
    y = to.tensors()[2]
    assert accuracy(learn.outputs(to.xs), y) == pytest.approx(whole)
    flat = learn.importance(1, score=lambda preds, y: 1.)
    assert (flat.importance == 0).all()


def test_embeddings_can_be_taken_out(df):
    learn = learner(df)
    rows = learn.embedding('occupation')
    assert rows.index.tolist() == learn.dls.classes['occupation']
    xs = learn.dls.to.valid.xs
    wide = learn.embed(xs)
    cats, conts, _ = learn.dls.to.valid.tensors()
    direct = torch.cat([e(cats[:, i]) for i, e in enumerate(learn.model.embeds)] + [conts], 1).detach()
    np.testing.assert_allclose(wide.to_numpy('float32'), direct, atol=1e-6)
    assert wide.index.equals(xs.index) and wide.columns.is_unique
    with pytest.raises(KeyError, match="'age' is no column of categories"): learn.embedding('age')


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
    (['2024-01-01', '2024-02-30'], ValueError, "holds '2024-02-30'"), ([1, 2], TypeError, 'numbers, not dates')])
def test_unreadable_dates(column, error, words):
    with pytest.raises(error, match=words): add_datepart(pd.DataFrame({'d': column}), 'd')


def test_dates_and_names_that_clash():
    df = pd.DataFrame({'date': pd.to_datetime(['2024-05-01']), 'Year': [1]})
    with pytest.raises(ValueError, match="already has a column 'Year'"): add_datepart(df, 'date')
    with pytest.raises(KeyError, match="did you mean 'date'"): add_datepart(df, 'dat')


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
    (_opts(cat_names=['jab']), KeyError, r"no column 'jab' \(did you mean 'job'\?\)"),
    (_opts(cont_names=['age', 'wage']), KeyError, "no column 'wage'"),
    (_opts(y_names='ritch'), KeyError, "did you mean 'rich'"),
    (_opts(cont_names=['age', 'age']), ValueError, "cont_names has 'age' twice"),
    (_opts(cont_names=['job', 'age']), ValueError, "'job' is in cat_names and in cont_names"),
    (_opts(cat_names=['job', 'rich']), ValueError, "target 'rich' is among the inputs"),
    (_opts(cat_names=None, cont_names=None), ValueError, 'No inputs'),
    (lambda: prepare(table()[:0]), ValueError, 'empty'),
    (lambda: prepare([1, 2]), TypeError, 'Expected a pandas DataFrame, got list'),
    (lambda: prepare(pd.concat([table(), table()[['age']]], axis=1)), ValueError, r"same name: \['age'\]"),
    (_with(rich=table().rich.where(table().index != 7)), ValueError, "row 7 of column 'rich' holds None, and it is the target"),
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
    (_with(job=pd.date_range('2024', periods=60)), TypeError, 'holds dates, not categories'),
    (_opts(splits=([0, 1, 2], [2, 3])), ValueError, r'Both sides of the split have row 2 \(shared rows: 1\)'),
    (_opts(splits=([], [2, 3])), ValueError, 'training side of the split is empty'),
    (_opts(splits=([1, 2], [])), ValueError, 'validation side of the split is empty'),
    (_opts(splits=([1, 2], [60])), IndexError, 'position 60, and rows go from 0 to 59'),
    (_opts(splits=([1, 1], [5])), ValueError, 'a row twice'),
    (_opts(splits=[1, 2, 3]), ValueError, 'splits is a pair'),
    (_opts(splits=([True, False], [False, True])), TypeError, 'np.flatnonzero'),
    (_opts(valid_pct=1.), ValueError, 'between 0 and 1'),
    (_opts(valid_pct=.001), ValueError, 'validation side of the split is empty'),
    (_opts(procs=[FillMissing]), ValueError, 'needs Categorify'),
    (_opts(procs=[Categorify]), ValueError, 'FillMissing among the procs would fill it'),
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
    with pytest.warns(UserWarning) as said: to = prepare(table().assign(pay=5., job='cook'))
    texts = ' '.join(str(w.message) for w in said)
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


# ---- as a whole

def test_import_is_light():
    script = 'import sys, lessonlib.tabular; print(*sys.modules)'
    loaded = set(subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout.split())
    assert 'lessonlib.tabular' in loaded
    assert not loaded & {'pandas', 'sklearn', 'matplotlib', 'IPython', 'ipywidgets', 'torchvision', 'timm', 'scipy',
                         'lessonlib.data_block', 'lessonlib.augmentation', 'lessonlib.pets', 'lessonlib.transfer'}


def test_the_network_comes_close_to_the_ceiling():
    plan = plan_census()
    steps = [Categorify, FillMissing, NormalizeColumns, Bands(['capital-gain', 'capital-loss'])]
    dls = TabularDataLoaders.from_df(plan.table, '.', steps, CATS, CONTS, 'salary', seed=3, device='cpu')
    set_seed(3)
    learn = tabular_learner(dls, metrics=accuracy)
    with learn.no_logging(): quietly(learn.fit_one_cycle, 3, 5e-3)
    rows = dls.to.valid.items.index
    best = plan.expected(plan.chance[rows] > .5, rows)
    assert best - .025 < plan.expected(learn.get_preds()[0].argmax(1), rows) < best


@pytest.mark.skipif(not os.environ.get('LESSONLIB_TEST_MIRROR'), reason='needs a mirror with the real Adult table')
def test_the_real_adult_table(tmp_path, monkeypatch):
    "Three epochs reach .83; boosting beside it; with bands the two are level"
    from sklearn.ensemble import HistGradientBoostingClassifier
    from lessonlib.datasets import untar_data
    monkeypatch.setenv('LESSONLIB_MIRROR', os.environ['LESSONLIB_TEST_MIRROR'])
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path))
    path = untar_data('adult_sample')
    found = {}
    for name, extra in (('plain', []), ('bands', [Bands(['capital-gain', 'capital-loss'])])):
        dls = TabularDataLoaders.from_csv(path/'adult.csv', procs=[Categorify, FillMissing, NormalizeColumns, *extra],
                                          cat_names=CATS, cont_names=CONTS, y_names='salary', seed=42, device='cpu')
        set_seed(42)
        learn = tabular_learner(dls, metrics=accuracy)
        with learn.no_logging(): quietly(learn.fit_one_cycle, 3, 5e-3)
        found[name] = learn.recorder.values[-1][-1]
    boosting = HistGradientBoostingClassifier(random_state=0).fit(dls.to.train.xs, dls.to.train.ys.salary)
    found['boosting'] = boosting.score(dls.to.valid.xs, dls.to.valid.ys.salary)
    assert found['plain'] > .84 and found['boosting'] > found['plain'] + .005
    assert found['bands'] > found['plain'] + .008 and abs(found['bands'] - found['boosting']) < .01
