"""Seconds per epoch of a 784-30-1 net on 12,396 synthetic items: a hand-written loop that indexes tensors,
torch's DataLoader, and the Learner with its default callbacks.

    python benchmarks/learner_epoch.py [--rounds 9] [--epochs 2] [--threads 1] [--peer PYTHON]
"""
import argparse
import contextlib
import io
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.batches import DataLoaders, binary_accuracy
from lessonlib.learner import Learner, adamw
import lessonlib.progress, lessonlib.checkpoint  # noqa: F401  for what they add to classes  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

ITEMS, BASE = 12_396, 'hand-written, indexing tensors'


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1))


def sgd(groups, lr): return torch.optim.SGD(groups, lr=lr)


def groups(model):
    "Weights with decay, biases without, as the Learner has it"
    named = list(model.named_parameters())
    return [dict(params=[p for n, p in named if not n.endswith('bias')], weight_decay=.01),
            dict(params=[p for n, p in named if n.endswith('bias')], weight_decay=0.)]


def contestants(x, y, bs: int, opt_func, epochs: int) -> dict:
    loss_func = F.binary_cross_entropy_with_logits

    def by_hand():
        model = net()
        opt = opt_func(groups(model), lr=1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(bs):
                loss = loss_func(model(x[rows]), y[rows])
                loss.backward()
                opt.step()
                opt.zero_grad()

    def data_loader():
        model = net()
        opt = opt_func(groups(model), lr=1e-3)
        loader = DataLoader(TensorDataset(x, y), bs, shuffle=True)
        for _ in range(epochs):
            for xb, yb in loader:
                loss = loss_func(model(xb), yb)
                loss.backward()
                opt.step()
                opt.zero_grad()

    def learner():
        dls = DataLoaders.from_tensors((x, y), bs=bs, device='cpu')
        learn = Learner(dls, net(), loss_func, opt_func=opt_func, metrics=binary_accuracy)
        with contextlib.redirect_stdout(io.StringIO()): learn.fit(epochs)

    def learner_torch_loader():
        dls = DataLoaders.from_dsets(TensorDataset(x, y), bs=bs, device='cpu')
        learn = Learner(dls, net(), loss_func, opt_func=opt_func, metrics=binary_accuracy)
        with contextlib.redirect_stdout(io.StringIO()): learn.fit(epochs)

    return {BASE: by_hand, 'Learner, its tensor loader': learner,
            'hand-written, torch DataLoader': data_loader,
            'Learner, torch DataLoader': learner_torch_loader}


def fastai(python: str, threads: int):
    "fastai's Learner in a process of its own, which trains when it is told to and waits otherwise"
    worker = subprocess.Popen([python, '-W', 'ignore', str(Path(__file__).parent/'fastai_worker.py'), str(threads)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(opt: str, bs: int, epochs: int):
        def train():
            worker.stdin.write(f'{opt} {bs} {epochs}\n')
            if worker.stdout.readline() != 'done\n': sys.exit('fastai did not train; its error is above')
        return train
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--epochs', type=int, default=2, help='epochs in a timed run')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    peer = fastai(args.peer, args.threads) if args.peer else None
    x, y = torch.rand(ITEMS, 784), torch.randint(0, 2, (ITEMS, 1)).float()
    rows = []
    for name, opt_func in (('AdamW', adamw), ('SGD', sgd)):
        for bs in (64, 256):
            runs = contestants(x, y, bs, opt_func, args.epochs)
            if peer: runs['fastai'] = peer(name, bs, args.epochs)
            wall, cpu = interleaved(runs, args.rounds, clocks=(time.perf_counter, time.process_time))
            cpu.pop('fastai', None)  # another process: its CPU time is not counted
            ratios, cpu_ratios = paired_ratio(wall, BASE), paired_ratio(cpu, BASE)
            for who, seconds in median(wall).items():
                cpu_ratio = f'{cpu_ratios[who]:.2f}' if who in cpu_ratios else ''
                rows.append([f'{name}, batch {bs}: {who}', f'{seconds / args.epochs * 1e3:.1f}',
                             f'{ratios[who]:.2f}', cpu_ratio])
    print(table(rows, ['784-30-1, 12,396 items', 'ms an epoch', 'ratio', 'ratio of CPU time']))
    print(f'\nMedian of {args.rounds} interleaved rounds of {args.epochs} epochs; {machine()}.')


if __name__ == '__main__': main()
