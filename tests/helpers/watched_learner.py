"A small learner on made-up numbers, and everything a user could see of it."
import contextlib
import io
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from helpers.digests import digest

from lessonlib.batches import DataLoaders, TensorDataLoader, _generators, accuracy
from lessonlib.core import get_rng_state, set_seed
from lessonlib.learner import Learner


def sgd(groups, lr): return torch.optim.SGD(groups, lr=lr)
def sgd_momentum(groups, lr): return torch.optim.SGD(groups, lr=lr, momentum=.9)
def adagrad(groups, lr): return torch.optim.Adagrad(groups, lr=lr)
def three_groups(model): return [list(part.parameters()) for part in (model[:1], model[1:4], model[4:])]


def build(opt=None, splitter=None, items=400, bs=16, seed=0, cbs=None, path='.', drop_last=False, generator=None,
          train=None, dropout=.2):
    torch.set_num_threads(1)
    set_seed(seed)
    x = torch.randn(items + 80, 6)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0).long()
    train = train or TensorDataLoader(x[80:], y[80:], bs=bs, shuffle=True, drop_last=drop_last, generator=generator)
    dls = DataLoaders(train, TensorDataLoader(x[:80], y[:80], bs=bs), device='cpu')
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3))
    return Learner(dls, model, F.cross_entropy, opt_func=opt, metrics=accuracy, splitter=splitter, cbs=cbs, path=path)


def quietly(action, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return action(*args, **kwargs)


def whole_state(learn):
    "Everything a user could see of a learner"
    own = ('training', 'epoch', 'n_epoch', 'batches_done', 'lr', 'wd', 'dl', 'xb', 'yb', 'pred', 'loss', 'error')
    return dict(model=digest(learn.model.state_dict()), modes=[m.training for m in learn.model.modules()],
                requires=[p.requires_grad for p in learn.model.parameters()],
                grads=digest([p.grad for p in learn.model.parameters()]),
                opt=learn.opt and digest(learn.opt.state_dict()), opt_id=id(learn.opt),
                params=[id(p) for p in learn.model.parameters()], buffers=[id(b) for b in learn.model.buffers()],
                random=digest(get_rng_state()), own=[g.get_state().tolist() for g in _generators(learn.dls)],
                cbs=[id(cb) for cb in learn.cbs], listeners={e: len(ls) for e, ls in learn.listeners.items()},
                record=digest([learn.recorder.batches, learn.recorder.values]), recorder=id(learn.recorder),
                notes={name: repr(vars(learn).get(name, 'absent')) for name in own}, names=sorted(vars(learn)))
