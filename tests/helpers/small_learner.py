"A small net on made-up data, for tests of the Learner and what stands on it."
import torch
from torch import nn
from torch.nn import functional as F

from lessonlib.batches import DataLoaders
from lessonlib.core import set_seed
from lessonlib.learner import Learner


def net(seed=0, outputs=3):
    set_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(.2),
                         nn.Linear(8, outputs))



def data(n=50, bs=8, n_valid=21, **kwargs):
    set_seed(9)
    x, y = torch.randn(n, 5), torch.randint(0, 3, (n,))
    valid = (torch.randn(n_valid, 5), torch.randint(0, 3, (n_valid,))) if n_valid is not None else None
    return DataLoaders.from_tensors((x, y), valid, bs=bs, device='cpu', **kwargs)



def learner(dls=None, model=None, loss_func=F.cross_entropy, path='/nowhere', **kwargs):
    return Learner(dls or data(), model or net(), loss_func, path=path, **kwargs)



def same(one, other): return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))



def weights(learn): return [v.clone() for v in learn.model.state_dict().values()]
