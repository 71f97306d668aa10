"""The peer's side of learner_epoch.py, run by a Python that has fastai: trains when told to on standard input.

Each line that arrives is `OPTIMISER BATCH_SIZE EPOCHS`; each answer is a line, once that much training is done.
"""
import sys

import torch
from torch import nn
from torch.nn import functional as F


def learner(opt: str, bs: int):
    "fastai's Learner with its default callbacks on the same net and as many items."
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import SGD, Adam
    torch.manual_seed(0)
    x, y = torch.rand(12_396, 784), torch.randint(0, 2, (12_396, 1)).float()
    dls = DataLoaders(DataLoader(list(zip(x, y)), bs=bs, shuffle=True), DataLoader(list(zip(x[:64], y[:64])), bs=64))
    model = nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1))
    learn = Learner(dls, model, F.binary_cross_entropy_with_logits, opt_func={'AdamW': Adam, 'SGD': SGD}[opt], lr=1e-3)
    learn.add_cb(SkipValidation())
    return learn


if __name__ == '__main__':
    from fastai.callback import progress  # noqa: F401  (adds no_bar)
    from fastai.callback.core import Callback, CancelValidException

    class SkipValidation(Callback):
        "Train only, as the other contestants do"
        def before_validate(self): raise CancelValidException

    torch.set_num_threads(int(sys.argv[1]))
    learners = {}
    for line in sys.stdin:
        opt, bs, epochs = line.split()
        if (opt, bs) not in learners: learners[opt, bs] = learner(opt, int(bs))
        learn = learners[opt, bs]
        with learn.no_bar(), learn.no_logging(): learn.fit(int(epochs))
        print('done', flush=True)
