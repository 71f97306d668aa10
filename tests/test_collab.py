"Collaborative filtering: embeddings, the models and their learner, strangers, and what the lesson claims."
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.little_ratings import NAMES, little, loaders, quietly
from hypothesis import given, settings
from hypothesis import strategies as st
from helpers.interruption import Stop
from torch import nn
from torch.nn import functional as F

from lessonlib.batches import sigmoid_range, SigmoidRange
from lessonlib.checkpoint import Checkpoint, load_learner
from lessonlib.collab import (CollabLearner, ColdStart, Embedding, EmbeddingDotBias, EmbeddingNN, collab_learner,
                              emb_sz_rule)
from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Callback, Learner
from lessonlib.ratings import CollabDataLoaders, plan_ratings
from lessonlib.sgd import mse

MIRROR = os.environ.get('LESSONLIB_TEST_MIRROR')


@pytest.fixture(scope='module')
def plan(): return plan_ratings()


@pytest.fixture(scope='module')
def trained(plan):
    "The practice ratings, and the lesson's last rung"
    table = plan.ratings.merge(plan.movies[['movieId', 'title']])
    dls = quietly(CollabDataLoaders.from_df, table, **NAMES, seed=42, device='cpu')
    set_seed(42)
    learn = collab_learner(dls, y_range=(0, 5.5))
    quietly(learn.fit_one_cycle, 5, 5e-3)
    return learn


# --- embeddings
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_embedding_is_torchs_and_a_one_hot_product(n, width, numbers):
    numbers = torch.tensor(numbers) % n
    ours, theirs = Embedding(n, width), nn.Embedding(n, width)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(numbers), theirs(numbers)) and torch.equal(ours(numbers), ours.weight[numbers])
    assert torch.allclose(F.one_hot(numbers, n).float() @ ours.weight, ours(numbers))
    for layer in (ours, theirs): layer(numbers).square().sum().backward()
    assert torch.equal(ours.weight.grad, theirs.weight.grad)


def test_embedding_starts_small():
    set_seed(0)
    layer = Embedding(2000, 50)
    assert abs(layer.weight.std() - .01) < 2e-4 and abs(layer.weight.mean()) < 2e-4
    assert abs(Embedding(2000, 50, std=1.).weight.std() - 1) < .02
    assert [name for name, _ in layer.named_parameters()] == ['weight'] and '2000, 50' in repr(layer)
    for size in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match='rows and columns'): Embedding(*size)


# --- models

def test_dot_product_by_hand():
    set_seed(0)
    model = EmbeddingDotBias(4, 6, 7, y_range=(1, 9))
    for p in model.parameters(): nn.init.normal_(p)
    x = torch.tensor([[1, 2], [5, 6], [0, 0]])
    for row, got in zip(x.tolist(), model(x).tolist()):
        score = sum(a * b for a, b in zip(model.u_weight.weight[row[0]].tolist(), model.i_weight.weight[row[1]].tolist()))
        score += model.u_bias.weight[row[0]].item() + model.i_bias.weight[row[1]].item()
        assert math.isclose(got, 1 + 8 / (1 + math.exp(-score)), rel_tol=1e-5)
    model.y_range = None
    assert torch.allclose(model(x).sub(model.u_bias.weight[x[:, 0], 0]).sub(model.i_bias.weight[x[:, 1], 0]),
                          (model.u_weight.weight[x[:, 0]] * model.i_weight.weight[x[:, 1]]).sum(1), atol=1e-6)


def test_bias_and_weight_by_name():
    dls = loaders(valid_pct=0)
    model = EmbeddingDotBias.from_classes(3, dls.classes)
    names = ['film 3', 'film 20', 'film 3']
    rows = torch.tensor([dls.classes['item'].o2i[name] for name in names])
    assert torch.equal(model.bias(names), model.i_bias.weight[rows, 0]) and model.bias(names).shape == (3,)
    assert torch.equal(model.weight(pd.Series(names)), model.i_weight.weight[rows])
    assert torch.equal(model.weight(7, is_item=False)[0], model.u_weight.weight[dls.classes['user'].o2i[7]])
    assert torch.equal(model.bias([7, 8], is_item=False), model.u_bias.weight[[7, 8], 0])
    assert not model.bias(names).requires_grad
    swapped = EmbeddingDotBias.from_classes(3, dls.classes, user='item', item='user')
    assert swapped.u_weight.num_embeddings == dls.n_items and swapped.i_bias.num_embeddings == dls.n_users
    with pytest.raises(KeyError, match="'fim 3' is not in the training set. Did you mean 'film 3'"): model.bias('fim 3')
    with pytest.raises(KeyError, match='99'): model.weight(99, is_item=False)
    with pytest.raises(KeyError): model.bias('#na#')
    with pytest.raises(ValueError, match='from_classes'): EmbeddingDotBias(3, 4, 5).bias('film 3')


def test_network():
    dls = loaders(valid_pct=0)
    model = EmbeddingNN([(21, 5), (31, 3)], [7, 6], y_range=(0, 5.5)).eval()
    x = dls.train_ds.tensors[0][:9]
    joined = torch.cat([model.embeds[0].weight[x[:, 0]], model.embeds[1].weight[x[:, 1]]], 1)
    assert isinstance(model.layers[-1], SigmoidRange)
    assert torch.allclose(model(x), model.layers[:-1](joined)[:, 0].sigmoid() * 5.5, atol=1e-6) and model(x).shape == (9,)
    linear = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(8, 7), (7, 6), (6, 1)]
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in model.layers) == 2
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in EmbeddingNN([(4, 2), (5, 2)], [3], use_bn=False).layers)
    learn = collab_learner(dls, use_nn=True, emb_szs=dict(item=4), y_range=(0, 5.5))
    assert [e.embedding_dim for e in learn.model.embeds] == [emb_sz_rule(21), 4]
    assert learn.model.layers[0].out_features == 50
    assert collab_learner(dls, 9, use_nn=True).model.layers[0].out_features == 9
    assert collab_learner(dls, use_nn=True, layers=[11, 12]).model.layers[3].out_features == 12
    with pytest.raises(KeyError, match="'film' is no column"): collab_learner(dls, use_nn=True, emb_szs=dict(film=4))
    quietly(learn.fit, 2, .01)
    assert learn.recorder.values[1][0] < learn.recorder.values[0][0]


def test_network_dropout_only_in_training():
    set_seed(0)
    model, x = EmbeddingNN([(9, 4), (9, 4)], [5], ps=.5, embed_p=.5, use_bn=False), torch.ones(50, 2, dtype=torch.long)
    for p in model.parameters(): nn.init.normal_(p)
    assert model(x).unique().numel() > 3 and model.eval()(x).unique().numel() == 1


@pytest.mark.parametrize('y_range', [(5, 0), (3, 3), (0,), (0, 1, 2), (float('nan'), 5)])
def test_range_upside_down(y_range):
    for build in (lambda: collab_learner(loaders(), y_range=y_range), lambda: EmbeddingDotBias(3, 4, 5, y_range),
                  lambda: EmbeddingNN([(4, 2), (5, 2)], [3], y_range), lambda: collab_learner(loaders(), use_nn=True, y_range=y_range)):
        with pytest.raises(ValueError, match='low below high'): build()


def test_ratings_outside_the_range_are_counted():
    table = little()
    low, high = (table.rating < 1).sum(), (table.rating > 4).sum()
    assert low and high
    with pytest.warns(UserWarning, match=rf'of 300 targets {low} are below and {high} are above'):
        collab_learner(loaders(table), y_range=(1, 4))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        collab_learner(loaders(table), y_range=(0, 5.5))
        collab_learner(loaders(table), y_range=(.5, 5))
        collab_learner(loaders(table))


# --- training

def plain_loop(dls, epochs, lr, wd, bs, seed):
    "The same training with nothing but torch"
    set_seed(seed)
    tables = [torch.randn(n, k) * .01 for n, k in ((dls.n_users, 5), (dls.n_items, 5), (dls.n_users, 1), (dls.n_items, 1))]
    u, i, bu, bi = (nn.Embedding.from_pretrained(t, freeze=False) for t in tables)
    params = [layer.weight for layer in (u, i, bu, bi)]
    opt = torch.optim.AdamW(params, lr=lr, betas=(.9, .99), eps=1e-5, weight_decay=wd, fused=True)
    (x, y), losses = dls.train_ds.tensors, []
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for rows in order.split(bs):
            users, items = x[rows, 0], x[rows, 1]
            score = (u(users) * i(items)).sum(1) + (bu(users) + bi(items)).squeeze(1)
            loss = F.mse_loss(score.sigmoid() * 5.5, y[rows])
            loss.backward()
            opt.step()
            opt.zero_grad()
            losses.append(loss.item())
    return params, losses


def test_same_numbers_as_a_plain_torch_loop():
    dls = loaders()
    params, losses = plain_loop(dls, 3, .02, .1, 32, seed=5)
    set_seed(5)
    learn = collab_learner(dls, 5, y_range=(0, 5.5))
    quietly(learn.fit, 3, .02)
    assert len(losses) == len(learn.recorder.losses) == 24
    assert np.allclose(learn.recorder.losses, losses, atol=1e-6)
    for ours, theirs in zip(learn.model.parameters(), params): assert torch.allclose(ours[1:], theirs[1:], atol=1e-6)
    assert losses[-1] < losses[0]


def test_defaults_of_the_learner():
    learn = collab_learner(loaders())
    assert isinstance(learn, CollabLearner) and learn.wd == .1 and learn.loss_func is mse
    assert learn.model.i_weight.embedding_dim == 50 and learn.model.y_range is None
    assert sum(isinstance(cb, ColdStart) for cb in learn.cbs) == 1
    assert collab_learner(loaders(), wd=.3, loss_func=F.l1_loss, lr=.5).lr == .5
    learn.create_opt()   # biases of people and films decay, as do factors
    assert all(group['weight_decay'] == .1 for group in learn.opt.param_groups)


def sgd_groups(groups, lr): return torch.optim.SGD(groups, lr=lr)
def adam_groups(groups, lr): return torch.optim.Adam(groups, lr=lr, betas=(.9, .99), eps=1e-5)


@pytest.mark.parametrize('opt_func, same', [(sgd_groups, True), (adam_groups, False)])
def test_weight_decay_against_l2(opt_func, same):
    "L2 in the loss and true decay: one thing for SGD, two for Adam"
    def weights(make):
        set_seed(1)
        learn = make(loaders())
        for p in learn.model.parameters(): nn.init.normal_(p, std=.5)
        quietly(learn.fit, 2, .05)
        return torch.cat([p[1:].flatten() for p in learn.model.parameters()]).detach()

    class Decay(Callback):
        "Shrinks the weights by hand, before the step"
        def before_step(self):
            with torch.no_grad():
                for p in self.learn.model.parameters(): p.mul_(1 - .05 * .2)

    def with_l2(dls):
        learn = collab_learner(dls, 5, y_range=(0, 5.5), opt_func=opt_func, wd=0.)
        def loss(pred, targ): return mse(pred, targ) + .1 * sum(p.square().sum() for p in learn.model.parameters())
        learn.loss_func = loss
        return learn

    def by_hand(dls): return collab_learner(dls, 5, y_range=(0, 5.5), opt_func=opt_func, wd=0., cbs=Decay)
    def built_in(dls):
        func = opt_func if same else lambda groups, lr: torch.optim.AdamW(groups, lr=lr, betas=(.9, .99), eps=1e-5)
        return collab_learner(dls, 5, y_range=(0, 5.5), opt_func=func, wd=.2)
    assert torch.allclose(weights(by_hand), weights(built_in), atol=1e-5)
    gap = (weights(with_l2) - weights(built_in)).abs().max()
    assert gap < 1e-4 if same else gap > .05


@pytest.mark.parametrize('cut', [1, 8, 11, 19])
@pytest.mark.parametrize('use_nn', [False, True])
def test_resume_is_exact(tmp_path, cut, use_nn):
    def make(cbs=(), resume=False):
        set_seed(9)
        return collab_learner(loaders(), 5, use_nn=use_nn, y_range=(0, 5.5), path=tmp_path,
                              cbs=[Checkpoint(every_batches=1, resume=resume), *cbs])
    whole = make()
    quietly(whole.fit_one_cycle, 3, .02)
    set_seed(9)
    (tmp_path/'models'/'checkpoint.safetensors').unlink()
    with pytest.raises(KeyboardInterrupt): quietly(make([Stop(cut)]).fit_one_cycle, 3, .02)
    again = make(resume=True)
    set_seed(1234)
    quietly(again.fit_one_cycle, 3, .02)
    for name, value in whole.model.state_dict().items(): assert torch.equal(again.model.state_dict()[name], value), name
    assert again.recorder.batches == whole.recorder.batches and again.recorder.values == whole.recorder.values


def test_lr_find_leaves_no_trace():
    set_seed(0)
    learn = collab_learner(loaders(), 5, y_range=(0, 5.5))
    before = [p.clone() for p in learn.model.parameters()]
    quietly(learn.lr_find, show_plot=False)
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters())) and learn.opt is None


def test_ratings_that_leave_one_over():
    "65 in batches of 16: batch norm cannot have one row alone, and lr_find still tries every rate."
    set_seed(0)
    dls = loaders(little(80), bs=16, valid_idx=range(3, 78, 5))
    assert [len(x) for x, _ in dls.train] == [16] * 4 + [1]
    learn = collab_learner(dls, 4, use_nn=True, y_range=(.5, 5.5))
    found = quietly(learn.lr_find, num_it=30, stop_div=False, show_plot=False)
    assert np.isfinite(found.losses).all() and found.lrs[-1] == pytest.approx(10)
    quietly(learn.fit, 1)
    assert len(learn.recorder.losses) == 4 and np.isfinite(learn.recorder.values[0]).all()


def test_save_and_load(tmp_path):
    learn, fresh = (collab_learner(loaders(), 5, y_range=(0, 5.5), path=tmp_path) for _ in range(2))
    quietly(learn.fit, 1, .02)
    learn.save('films')
    fresh.load('films')
    assert torch.equal(learn.get_preds()[0], fresh.get_preds()[0])
    assert quietly(learn.predict, (999, 'nothing'))[0] == \
           quietly(fresh.predict, (999, 'nothing'))[0]


@pytest.mark.parametrize('use_nn', [False, True])
def test_export_and_load(tmp_path, use_nn):
    "In a process that imports nothing else: the same predictions, names and all"
    table = little()
    learn = collab_learner(loaders(table), 5, use_nn=use_nn, y_range=(0, 5.5), path=tmp_path)
    quietly(learn.fit, 2, .02)
    file = learn.export('films')
    table[['user', 'item']][:40].to_csv(tmp_path/'pairs.csv', index=False)
    script = f"""
import warnings
import pandas as pd
from lessonlib.checkpoint import load_learner
warnings.simplefilter('ignore')
learn = load_learner({str(file)!r})
preds, _ = learn.get_preds(dl=learn.dls.test_dl(pd.read_csv({str(tmp_path/'pairs.csv')!r})))
print(type(learn).__name__, *preds.tolist(), learn.predict((3, 'film 4'))[0], len(learn.recommend(3, 99)))"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    name, *numbers = done.stdout.split()
    preds = learn.get_preds(dl=quietly(learn.dls.test_dl, table[:40]))[0].tolist()
    assert name == 'CollabLearner' and np.allclose([float(n) for n in numbers[:40]], preds, atol=1e-6)
    assert math.isclose(float(numbers[40]), quietly(learn.predict, (3, 'film 4'))[0], abs_tol=1e-6)
    assert int(numbers[41]) == learn.dls.n_items - 1       # no ratings travel, so nothing is left out
    if not use_nn: assert torch.equal(load_learner(file).model.bias('film 4'), learn.model.bias('film 4'))


def test_all_that_a_learner_can_do_is_there_at_once():
    script = """
import warnings
import numpy as np, pandas as pd
from lessonlib.ratings import CollabDataLoaders
from lessonlib.collab import collab_learner
warnings.simplefilter('ignore')
table = pd.DataFrame(dict(u=np.arange(200) % 9, i=np.arange(200) % 23, r=np.arange(200) % 5 + 1.))
learn = collab_learner(CollabDataLoaders.from_df(table, seed=0, bs=16, device='cpu'), 3, y_range=(0, 5.5))
with learn.no_bar(): learn.fit_one_cycle(1, slice(1e-3, 1e-2))
learn.lr_find(show_plot=False, num_it=10)
print(len(learn.validate()), len(learn.get_preds()), len(learn.show_results(4)), len(learn.predict((1, 2))))
for name in 'save load export summary recommend fit fine_tune freeze'.split(): getattr(learn, name)"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert done.stdout.split()[-4:] == ['1', '2', '4', '3']


def test_an_optimiser_of_ones_own():
    def weights(opt_func):
        set_seed(2)
        learn = collab_learner(loaders(), 5, y_range=(0, 5.5), opt_func=opt_func)
        quietly(learn.fit_one_cycle, 3, .02)
        return learn
    ours = weights(None)
    plain = weights(lambda groups, lr: torch.optim.AdamW(groups, lr=lr, betas=(.9, .99), eps=1e-5))
    assert type(ours.opt) is type(plain.opt) is torch.optim.AdamW
    for mine, other in zip(ours.model.parameters(), plain.model.parameters()):
        assert torch.allclose(mine, other, atol=1e-5)


# --- strangers, predictions

def test_row_of_the_unknown_is_the_mean():
    for make in (lambda dls: collab_learner(dls, 5, y_range=(0, 5.5)), lambda dls: collab_learner(dls, use_nn=True),
                 lambda dls: Learner(dls, Plain(dls), cbs=ColdStart)):
        learn = make(loaders())
        seen = []
        class Look(Callback):
            def before_validate(self):
                layers = [m for m in self.learn.model.modules() if isinstance(m, (Embedding, nn.Embedding))]
                seen.append(all(torch.allclose(m.weight[0], m.weight[1:].mean(0)) for m in layers) and len(layers) > 1)
        quietly(learn.fit, 2, .05, cbs=Look)
        assert seen == [True, True]


class Plain(nn.Module):
    def __init__(self, dls):
        super().__init__()
        self.u, self.i = nn.Embedding(dls.n_users, 4), Embedding(dls.n_items, 4)
    def forward(self, x): return (self.u(x[:, 0]) * self.i(x[:, 1])).sum(1)


def test_the_mean_answers_even_after_an_interrupt():
    learn = collab_learner(loaders(), 5, y_range=(0, 5.5), cbs=Stop(3))
    with pytest.raises(KeyboardInterrupt): quietly(learn.fit, 2, .05)
    assert torch.allclose(learn.model.i_weight.weight[0], learn.model.i_weight.weight[1:].mean(0))


def test_strangers_get_the_mean_embedding(trained):
    m = trained.model
    title = trained.dls.classes['title'][5]
    with pytest.warns(UserWarning, match=r"1 of 1 rows have a 'userId'.*such as 9999"):
        stars, _, _ = trained.predict((9999, title))
    with torch.no_grad():
        score = m.u_weight.weight[1:].mean(0) @ m.i_weight.weight[5] + m.u_bias.weight[1:].mean() + m.i_bias.weight[5, 0]
    assert math.isclose(stars, float(sigmoid_range(score, 0, 5.5)), abs_tol=1e-4)
    with pytest.warns(UserWarning, match="'title'"): stars, _, _ = trained.predict({'userId': 1, 'title': 'Not Made Yet'})
    assert .5 < stars < 5
    with pytest.warns(UserWarning, match="'userId'.*'title'"): trained.predict((9999, 'Not Made Yet'))


def test_predict_and_test_dl_agree(trained, plan):
    table = plan.ratings.merge(plan.movies[['movieId', 'title']]).sample(50, random_state=0)
    preds, targs = trained.get_preds(dl=quietly(trained.dls.test_dl, table, bs=7))
    assert targs is None and preds.shape == (50,)
    one_by_one = [quietly(trained.predict, row)[0] for _, row in table.iterrows()]
    assert np.allclose(preds, one_by_one, atol=1e-5)
    assert quietly(trained.predict, (table.userId.iloc[0], table.title.iloc[0]))[0] == one_by_one[0]
    preds, targs = trained.get_preds(dl=quietly(trained.dls.test_dl, table, with_labels=True))
    assert np.allclose(targs, table.rating) and 0 < preds.min() < preds.max() < 5.5
    assert math.isclose(trained.validate(dl=quietly(trained.dls.test_dl, table, with_labels=True))[0],
                        mse(preds, targs).item(), rel_tol=1e-5)


def test_recommend(trained, plan):
    table = plan.ratings.merge(plan.movies[['movieId', 'title']])
    for user in (1, 77):
        best, rated = trained.recommend(user, 12), {*table.title[table.userId == user]}
        assert len(best) == 12 and not rated & {*best.title} and best.predicted.is_monotonic_decreasing
        dls = trained.dls
        others = [t for t in dls.classes['title'][1:] if t not in rated]
        preds, _ = trained.get_preds(dl=dls.test_dl(pd.DataFrame(dict(userId=user, title=others))))
        assert best.title.tolist() == [others[i] for i in preds.topk(12).indices.tolist()]
        whole = trained.recommend(user, 10**6)
        assert len(whole) == len(others)
        assert len(trained.recommend(user, 10**6, seen=True)) == dls.n_items - 1
    with pytest.warns(UserWarning, match="'userId'"): assert len(trained.recommend(10**6, 4)) == 4
    with pytest.raises(TypeError, match='kind text'): trained.recommend('1')


def test_other_kind_of_ids_later(trained):
    table = pd.DataFrame(dict(userId=['1'], title=['The Waltz of Cardiff (1993)']))
    with pytest.raises(TypeError, match=r"'userId' holds names of kind text, such as '1'; in the training set.*number"):
        trained.dls.test_dl(table)
    with pytest.raises(TypeError, match='kind number'): trained.predict((1, 5))
    with pytest.raises(KeyError, match="no column 'title'"): trained.dls.test_dl(table[['userId']].astype(int))
    with pytest.raises(KeyError, match="no column 'userId'"): trained.predict(dict(title='x'))
    with pytest.raises(ValueError, match='needs a value'): trained.predict((None, 'x'))
    with pytest.raises(ValueError, match='empty'): trained.dls.test_dl(table[:0])
    for wrong in ('x', 5, (1, 2, 3)):
        with pytest.raises(TypeError, match='pair'): trained.predict(wrong)


def test_nothing_touches_the_random_state(trained):
    table = little()
    set_seed(3)
    before = get_rng_state()
    dls = loaders(table, seed=None)
    dls.show_batch()
    plan_ratings(20, 20, 60)
    trained.recommend(1, 3)
    quietly(trained.predict, (1, 'nobody knows this'))
    after = get_rng_state()
    assert torch.equal(before['torch'], after['torch']) and before['python'] == after['python']
    assert before['numpy'] == after['numpy']


# --- what the lesson claims

def test_planted_truth_is_found(trained, plan):
    learn, names = trained, trained.dls.classes['title']
    quality = learn.model.bias(names[1:]).numpy()
    table = plan.ratings.merge(plan.movies[['movieId', 'title']])
    views = table.title.value_counts().reindex(names[1:]).to_numpy()
    at = plan.movies.set_index('title').index.get_indexer(names[1:])
    known = views >= 20
    assert np.corrcoef(quality[known], plan.film_bias[at][known])[0, 1] > .85
    kindness = learn.model.bias(learn.dls.classes['userId'][1:], is_item=False)
    assert np.corrcoef(kindness, plan.user_bias)[0, 1] > .8
    known = views >= 50
    factors = learn.model.weight([n for n, k in zip(names[1:], known) if k])
    factors = factors - factors.mean(0)
    left, spread, _ = torch.linalg.svd(factors, full_matrices=False)
    assert spread[3] > 1.3 * spread[4]
    found = np.c_[(left * spread)[:, :4].numpy(), np.ones(known.sum())]
    planted = plan.film_factors[at][known]
    rest = planted - found @ np.linalg.lstsq(found, planted, rcond=None)[0]
    assert (1 - rest.var(0) / planted.var(0)).min() > .8


def test_the_last_rung_comes_close_to_the_truth(trained, plan):
    x, y = trained.dls.valid_ds.tensors
    valid = trained.recorder.values[-1][1]
    mean = mse(trained.dls.train_ds.tensors[1].mean().expand(len(y)), y).item()
    assert .42 < plan.ceiling < valid < .6 and (mean - valid) / (mean - plan.ceiling) > .75
    set_seed(42)
    without = collab_learner(trained.dls, y_range=(0, 5.5), wd=0.)
    quietly(without.fit_one_cycle, 5, 5e-3)
    assert without.recorder.values[-1][1] > valid + .02 and without.recorder.values[-1][0] < trained.recorder.values[-1][0]


@pytest.mark.skipif(not MIRROR, reason='needs real ratings: LESSONLIB_TEST_MIRROR')
def test_real_ratings(tmp_path, monkeypatch):
    from lessonlib.datasets import untar_data
    monkeypatch.setenv('LESSONLIB_MIRROR', MIRROR)
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path))
    path = quietly(untar_data, 'ml-latest-small')
    ratings, movies = pd.read_csv(path/'ratings.csv'), pd.read_csv(path/'movies.csv')
    made = plan_ratings()
    assert list(ratings) == list(made.ratings) and list(movies) == list(made.movies)
    dls = quietly(CollabDataLoaders.from_df, ratings.merge(movies[['movieId', 'title']]), **NAMES, seed=42, device='cpu')
    losses = {}
    for wd in (0., .1):
        set_seed(42)
        learn = collab_learner(dls, y_range=(0, 5.5), wd=wd)
        quietly(learn.fit_one_cycle, 5, 5e-3)
        losses[wd] = learn.recorder.values[-1][1]
    assert .7 < losses[.1] < .785 and losses[0.] > losses[.1] + .04
    best = learn.model.bias(['Shawshank Redemption, The (1994)', "Schindler's List (1993)"])
    worst = learn.model.bias(['Battlefield Earth (2000)', 'Inspector Gadget (1999)'])
    assert best.min() > .2 > -.1 > worst.max()


def test_widths_of_embeddings_of_ratings():
    from lessonlib.tabular import get_emb_sz
    dls = loaders()
    widths = get_emb_sz(dls)
    assert [n for n, _ in widths] == [len(known) for known in dls.classes.values()]
    assert get_emb_sz(dls, {dls.user_name: 3})[0][1] == 3 and all(width >= 1 for _, width in widths)
