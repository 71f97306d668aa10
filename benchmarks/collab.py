"""Seconds per epoch of a dot product with biases on invented ratings: the Learner against a hand-written loop over the same
tensors with the same optimiser and, in an environment of its own, fastai. Then how time and memory grow with the ratings.

    python benchmarks/collab.py [--rounds 5] [--threads 1] [--peer PYTHON] [--growth FILE]
"""
import argparse
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.ratings import CollabDataLoaders, plan_ratings
from lessonlib.collab import EmbeddingDotBias, collab_learner  # noqa: E402
from lessonlib.learner import adamw  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

BASE, Y_RANGE, WD, LR = 'hand-written loop', (0, 5.5), .1, 5e-3


class Peer:
    "fastai in a process of its own, which works when it is told to and waits otherwise"
    def __init__(self, python: str, threads: int):
        script = Path(__file__).parent/'fastai_tables.py'
        self.process = subprocess.Popen([python, '-W', 'ignore', str(script), str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, **task) -> dict:
        self.process.stdin.write(json.dumps(task) + '\n')
        line = self.process.stdout.readline()
        if not line: sys.exit('fastai stopped; its error is above')
        return json.loads(line)


def by_hand(x, y, users: int, items: int, bs: int):
    "One epoch, as one would write it: tensors, a permutation, the same model, loss and optimiser"
    model = EmbeddingDotBias(50, users, items, Y_RANGE)
    opt = adamw([dict(params=list(model.parameters()), weight_decay=WD)], lr=LR, fused=True)
    def run():
        for rows in torch.randperm(len(x)).split(bs):
            loss = F.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            loss.item()
            opt.step()
            opt.zero_grad()
    return run


def an_epoch(learn):
    def run():
        with contextlib.redirect_stdout(io.StringIO()): learn.fit(1, LR)
    return run


def race(runs: dict, bs: int, args, **task) -> list:
    "Rows of a table: all that runs, and fastai's two loaders if there is a peer, which makes its learner from `task`"
    peers = []
    for loader in ('default', 'permuting') if args.peer else ():
        peers.append(peer := Peer(args.peer, args.threads))
        peer(bs=bs, loader=loader, seed=42, **task)
        runs[f'fastai, {loader} loader'] = lambda peer=peer: peer(fit=1)
    wall, = interleaved(runs, args.rounds)
    for peer in peers: peer.process.terminate()
    ratios = paired_ratio(wall, BASE)
    return [[f'batch {bs}: {who}', f'{seconds:.2f}', f'{ratios[who]:.2f}'] for who, seconds in median(wall).items()]


def epochs(args) -> None:
    ratings, rows = plan_ratings(670, 9_000, 100_000).ratings, []
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder)/'ratings.csv'
        ratings.to_csv(csv, index=False)
        for bs in (64, 1024):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')    # films that only the validation set has
                dls = CollabDataLoaders.from_df(ratings, seed=42, bs=bs, device='cpu')
            dls.loaders[1] = None                  # an epoch is training alone, for all
            x, y = dls.train.tensors
            runs = {BASE: by_hand(x, y, dls.n_users, dls.n_items, bs),
                    'collab_learner': an_epoch(collab_learner(dls, y_range=Y_RANGE, wd=WD))}
            rows += race(runs, bs, args, learner='collab', csv=str(csv))
    print(table(rows, ['80,000 of 100,000 ratings, 670 users, 9,000 films, 50 factors', 'seconds an epoch', 'ratio']))
    print(f'\nMedian of {args.rounds} interleaved rounds; {machine()}.')


def held() -> float:
    "MB that this process holds now"
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 2**20


def grow(ratings: int, bs: int) -> None:
    "One size, in a process of its own: prints seconds and memory as JSON"
    users, films = max(100, ratings // 10), max(100, ratings // 50)
    draw = torch.Generator().manual_seed(0)
    u, i = (torch.randint(0, n, (ratings,), generator=draw) for n in (users, films))
    level = (torch.randn(users, 3, generator=draw)[u] * torch.randn(films, 3, generator=draw)[i]).sum(1) * .5 + 3
    stars = (level + .5 * torch.randn(ratings, generator=draw)).clamp(.5, 5)
    import pandas as pd
    frame = pd.DataFrame(dict(user=u.numpy(), film=i.numpy(), rating=stars.numpy()))
    warnings.simplefilter('ignore')
    few = frame[:500]                                # what a first training brings along is not counted
    learn = collab_learner(CollabDataLoaders.from_df(few, seed=42, device='cpu'), y_range=Y_RANGE)
    with learn.no_logging(): learn.fit(1, LR)
    before, start = held(), time.perf_counter()
    dls = CollabDataLoaders.from_df(frame, seed=42, bs=bs, device='cpu')
    prepared = time.perf_counter()
    learn = collab_learner(dls, y_range=Y_RANGE, wd=WD)
    with learn.no_logging(): learn.fit(2, LR)
    seconds = (time.perf_counter() - prepared) / 2
    print(json.dumps(dict(ratings=ratings, users=users, films=films, prepare=prepared - start, epoch=seconds,
                          memory=held() - before,
                          parameters=sum(p.numel() for p in learn.model.parameters()), loss=learn.recorder.values[-1][1])))


def growth(args) -> None:
    "Ten thousand to a million ratings: a table, and a picture of it"
    rows, points = [], []
    for ratings in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        for bs in (64, 1024, 8192):
            if bs == 64 and ratings > 100_000: continue      # a step moves every row of the tables: take larger batches there
            done = subprocess.run([sys.executable, str(Path(__file__).resolve()), '--grow', str(ratings), str(bs), '--threads', str(args.threads)],
                                  capture_output=True, text=True)
            if done.returncode: sys.exit(done.stderr[-2000:])
            got = json.loads(done.stdout.splitlines()[-1])
            rows.append([f'{ratings:,} ratings, {got["users"]:,} users, {got["films"]:,} items, batch {bs}',
                         f'{got["parameters"] / 1e6:.2f}', f'{got["prepare"]:.2f}', f'{got["epoch"]:.2f}', f'{got["memory"]:.0f}'])
            points.append(dict(got, bs=bs))
            print(rows[-1], file=sys.stderr, flush=True)
    draw_growth(points, args.growth)
    print(table(rows, ['synthetic ratings, 50 factors', 'million parameters', 'seconds to prepare', 'seconds an epoch',
                       'MB held']))
    print(f'\nOne run each, in a process of its own; {machine()}.')


def draw_growth(points: list, file: str) -> None:
    "Seconds an epoch and memory over the number of ratings, both axes logarithmic"
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout='constrained')
    for bs in sorted({point['bs'] for point in points}):
        some = [point for point in points if point['bs'] == bs]
        for ax, what in zip(axes, ('epoch', 'memory')):
            ax.plot([point['ratings'] for point in some], [point[what] for point in some], 'o-', label=f'batch {bs:,}')
    axes[0].set(title='Time of an epoch', xlabel='ratings', ylabel='seconds')
    axes[1].set(title='Memory for data, model and optimiser', xlabel='ratings', ylabel='MB')
    for ax in axes:
        ax.set(xscale='log', yscale='log')
        ax.grid(alpha=.3)
        ax.legend()
    figure.savefig(file, metadata={'Date': None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    parser.add_argument('--growth', metavar='FILE', help='also 10,000 to a million ratings, drawn into this file (.svg)')
    parser.add_argument('--grow', nargs=2, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.grow: return grow(*args.grow)
    epochs(args)
    if args.growth: growth(args)


if __name__ == '__main__': main()
