"""Real ratings: the ladder of models, three seeds each, beside biases alone, alternating least squares and fastai.

    python benchmarks/real_ratings.py RATINGS.csv [--peer PYTHON] [--seeds 3]

RATINGS.csv has columns userId, movieId, rating. The field's settings: 50 factors, 5 epochs of one-cycle at 5e-3, batch 64,
weight decay .1 where the ladder says so, and a random fifth held back (seed 42, the same rows for all).
"""
import argparse
import contextlib
import io
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.ratings import CollabDataLoaders
from lessonlib.collab import ColdStart, EmbeddingDotBias, collab_learner  # noqa: E402
from lessonlib.core import set_seed  # noqa: E402
from lessonlib.learner import adamw, Learner  # noqa: E402
from collab import Peer  # noqa: E402
from timing import machine, table  # noqa: E402


class Dot(nn.Module):
    "The first rung: a dot product and nothing else"
    def __init__(self, whole: EmbeddingDotBias, y_range):
        super().__init__()
        self.u_weight, self.i_weight, self.y_range = whole.u_weight, whole.i_weight, y_range

    def forward(self, x):
        score = (self.u_weight(x[:, 0]) * self.i_weight(x[:, 1])).sum(1)
        if self.y_range is None: return score
        return score.sigmoid() * (self.y_range[1] - self.y_range[0]) + self.y_range[0]


def rung(dls, name: str, seed: int) -> float:
    set_seed(seed)
    whole = EmbeddingDotBias(50, dls.n_users, dls.n_items, (0, 5.5))
    model = {'dot product': lambda: Dot(whole, None), '+ y_range': lambda: Dot(whole, (0, 5.5))}.get(name, lambda: whole)()
    decay = .1 if name == '+ weight decay .1' else 0.
    if name == 'neural network': learn = collab_learner(dls, use_nn=True, layers=[100, 50], y_range=(0, 5.5), wd=.01)
    else: learn = Learner(dls, model, wd=decay, opt_func=partial(adamw, fused=True), cbs=ColdStart())
    with learn.no_logging(), contextlib.redirect_stdout(io.StringIO()): learn.fit_one_cycle(5, 5e-3)
    return learn.recorder.values[-1][1]


def by_rows(rows, values, n: int, factors, strength: float):
    "For each of n rows: the weights that fit `values` best from `factors`, with ridge `strength`"
    k = factors.shape[1]
    left = torch.zeros(n, k, k, dtype=factors.dtype).index_add_(0, rows, factors[:, :, None] * factors[:, None])
    right = torch.zeros(n, k, dtype=factors.dtype).index_add_(0, rows, factors * values[:, None])
    count = torch.bincount(rows, minlength=n).to(factors.dtype)
    left += torch.eye(k, dtype=factors.dtype) * (strength * count.clamp(min=1))[:, None, None]
    return torch.linalg.solve(left, right)


def als(train, valid, users: int, items: int, k: int, strength: float, seed: int, rounds: int = 12) -> float:
    "Biases first, then alternating least squares on what they leave (Zhou et al., 2008: ridge in proportion to the count)"
    (x, y), (vx, vy) = [(x, y.double()) for x, y in (train, valid)]
    mean = y.mean()
    bu, bi = torch.zeros(users, dtype=torch.double), torch.zeros(items, dtype=torch.double)
    for _ in range(15):
        for own, other, rows, others, lam in ((bi, bu, x[:, 1], x[:, 0], 3.), (bu, bi, x[:, 0], x[:, 1], 8.)):
            rest = torch.zeros_like(own).index_add_(0, rows, y - mean - other[others])
            own.copy_(rest / (torch.bincount(rows, minlength=len(own)) + lam))
    guess = mean + bu[vx[:, 0]] + bi[vx[:, 1]]
    if not k: return float(((guess - vy)**2).mean())
    rest = y - mean - bu[x[:, 0]] - bi[x[:, 1]]
    q = torch.randn(items, k, dtype=torch.double, generator=torch.Generator().manual_seed(seed)) * .1
    for _ in range(rounds):
        p = by_rows(x[:, 0], rest, users, q[x[:, 1]], strength)
        q = by_rows(x[:, 1], rest, items, p[x[:, 0]], strength)
    return float(((guess + (p[vx[:, 0]] * q[vx[:, 1]]).sum(1) - vy)**2).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('ratings', type=Path)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter('ignore')
    frame = pd.read_csv(args.ratings)[['userId', 'movieId', 'rating']]
    dls = CollabDataLoaders.from_df(frame, seed=42, bs=64, device='cpu')
    train, valid = dls.train.tensors, dls.valid.tensors

    mse = {'mean of all ratings': lambda seed: float(((train[1].mean() - valid[1])**2).mean()),
           'biases alone, least squares': lambda seed: als(train, valid, dls.n_users, dls.n_items, 0, 0, seed),
           'alternating least squares, 10 factors': lambda seed: als(train, valid, dls.n_users, dls.n_items, 10, .15, seed)}
    for name in ('dot product', '+ y_range', '+ biases', '+ weight decay .1', 'neural network'):
        mse[name] = lambda seed, name=name: rung(dls, name, seed)
    for loader in ('default', 'permuting') if args.peer else ():
        def peer(seed, loader=loader):
            worker = Peer(args.peer, args.threads)
            worker(learner='collab', csv=str(args.ratings), bs=64, loader=loader, seed=42)
            values = worker(one_cycle=5, lr=5e-3, wd=.1, seed=seed)['values']
            worker.process.terminate()
            return values[-1][0]
        mse[f'fastai, {loader} loader, weight decay .1'] = peer
    rows = []
    for name, run in mse.items():
        start = time.perf_counter()
        found = [run(seed) for seed in range(args.seeds)]
        seconds = (time.perf_counter() - start) / args.seeds
        rows.append([name, ' '.join(f'{value:.4f}' for value in found), f'{statistics.mean(found):.4f}', f'{seconds:.1f}'])
        print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows, [f'{len(frame):,} ratings, a fifth held back', 'MSE by seed', 'mean', 'seconds']))
    print(f'\n{machine()}.')


if __name__ == '__main__': main()
