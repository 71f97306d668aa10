"""Milliseconds of one step of each optimiser, ours beside torch's and, with a peer, fastai's, for the parameters of a resnet18
(62 tensors, 11.7 million numbers) and of the 784-30-1 net (4 tensors).

    python benchmarks/optimizers.py [--rounds 9] [--threads 1] [--peer PYTHON]
"""
import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

NETS = {'resnet18': 3, '784-30-1': 100}      # steps in a timed run


def shapes(net: str) -> list:
    if net != 'resnet18': return [(30, 784), (30,), (1, 30), (1,)]
    import timm
    return [tuple(p.shape) for p in timm.create_model('resnet18').parameters()]


def parameters(sizes: list) -> list:
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(size)) for size in sizes]
    for p in params: p.grad = .1 * torch.randn_like(p)
    return params


def stepper(make_opt, sizes: list, steps: int):
    opt = make_opt(parameters(sizes))
    def run():
        for _ in range(steps): opt.step()
    return run


def contestants() -> dict:
    from timm.optim import Lamb as TimmLamb
    from timm.optim import Lion as TimmLion

    from lessonlib.optimizers import Adam, Lamb, Lion, MomentumSGD, RMSProp
    adam = partial(torch.optim.AdamW, lr=1e-3, betas=(.9, .99), eps=1e-5)
    sgd = partial(torch.optim.SGD, lr=1e-3, momentum=.9, weight_decay=.01)
    rms = partial(torch.optim.RMSprop, lr=1e-3, weight_decay=.01)
    lamb = partial(TimmLamb, lr=1e-3, betas=(.9, .99), max_grad_norm=None)
    return {'SGD with momentum': dict(torch=sgd, foreach=partial(sgd, foreach=True),
                                      ours=partial(MomentumSGD, mom=.9, wd=.01, decouple_wd=False)),
            'RMSProp': dict(torch=rms, foreach=partial(rms, foreach=True), ours=partial(RMSProp, wd=.01, decouple_wd=False)),
            'AdamW': dict(torch=adam, foreach=partial(adam, foreach=True), fused=partial(adam, fused=True), ours=Adam),
            'LAMB': dict(timm=partial(lamb, foreach=False), foreach=partial(lamb, foreach=True), ours=Lamb),
            'Lion': dict(timm=partial(TimmLion, weight_decay=.01, foreach=False), ours=partial(Lion, wd=.01))}


PEER = '''
import sys, torch
sys.path.insert(0, sys.argv[2])
from fastai.optimizer import SGD, RMSProp, Adam, Lamb
import optimizers as bench
torch.set_num_threads(int(sys.argv[1]))
makes = {'SGD with momentum': lambda p: SGD(p, 1e-3, mom=.9, wd=.01), 'RMSProp': lambda p: RMSProp(p, 1e-3, wd=.01),
         'AdamW': lambda p: Adam(p, 1e-3), 'LAMB': lambda p: Lamb(p, 1e-3)}
runs = {}
for line in sys.stdin:
    net, name = line.rstrip().split(' ', 1)
    if line not in runs: runs[line] = bench.stepper(makes[name], bench.shapes(net), bench.NETS[net])
    runs[line]()
    print('done', flush=True)
'''


def fastai(python: str, threads: int):
    "fastai in a process of its own, which steps when it is told to and waits otherwise"
    worker = subprocess.Popen([python, '-W', 'ignore', '-c', PEER, str(threads), str(Path(__file__).parent)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    def run(net, name):
        worker.stdin.write(f'{net} {name}\n')
        if worker.stdout.readline() != 'done\n': sys.exit('fastai did not step; its error is above')
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    peer, rows = fastai(args.peer, args.threads) if args.peer else None, []
    for net, steps in NETS.items():
        for name, makes in contestants().items():
            runs = {who: stepper(make, shapes(net), steps) for who, make in makes.items()}
            if peer and name != 'Lion': runs['fastai'] = partial(peer, net, name)
            wall, cpu = interleaved(runs, args.rounds, clocks=(time.perf_counter, time.process_time))
            cpu.pop('fastai', None)  # another process: its CPU time is not counted
            base = next(iter(makes))
            ratios, cpu_ratios = paired_ratio(wall, base), paired_ratio(cpu, base)
            for who, seconds in median(wall).items():
                rows.append([f'{net}, {name}: {who}', f'{seconds / steps * 1e3:.3f}', f'{ratios[who]:.2f}',
                             f'{cpu_ratios[who]:.2f}' if who in cpu_ratios else ''])
    print(table(rows, ['parameters of', 'ms a step', 'ratio', 'ratio of CPU time']))
    print(f'\nMedian of {args.rounds} interleaved rounds; {machine()}.')


if __name__ == '__main__': main()
