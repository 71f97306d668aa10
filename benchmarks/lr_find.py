"""What lr_find and the Learner cost beyond the steps themselves: a small resnet on synthetic images, against a
hand-written loop over the same batches with the same optimiser and one-cycle by torch.

    python benchmarks/lr_find.py [--rounds 9] [--size 64] [--threads 1] [--items 704] [--bs 32]
"""
import argparse
import contextlib
import io
import sys
import time
import warnings
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.batches import DataLoaders
from lessonlib.learner import Learner, adamw  # noqa: E402
from lessonlib.learner import _not_decayed as not_decayed  # noqa: E402
from lessonlib.schedules import SchedExp  # noqa: E402
from lessonlib.pets import small_resnet  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

CLASSES = 37
EPOCH, SEARCH = 'an epoch of one-cycle by hand', '100 steps at rising rates by hand'


def net():
    torch.manual_seed(0)
    return small_resnet(CLASSES).train()


def optimiser(model, lr: float):
    "AdamW as the Learner has it: no decay on norms and biases"
    spare = not_decayed(model)
    groups = [dict(params=[p for p in model.parameters() if (id(p) in spare) == bare],
                   weight_decay=0. if bare else .01) for bare in (False, True)]
    return adamw(groups, lr=lr)


def steps(model, opt, batches, each) -> None:
    for i, (x, y) in enumerate(batches):
        each(i, opt)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        loss.item()
        opt.step()
        opt.zero_grad()


def contestants(x, y, bs: int) -> tuple[dict, dict]:
    n = -(-len(x) // bs)

    def epoch_batches():
        for rows in torch.randperm(len(x)).split(bs): yield x[rows], y[rows]

    def hundred():
        done = 0
        while done < 100:
            for batch in epoch_batches():
                if done == 100: return
                done += 1
                yield batch

    def by_hand():
        model = net()
        opt = optimiser(model, 1e-3)
        sched = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-3, total_steps=n + 1)
        steps(model, opt, epoch_batches(), lambda i, opt: i and sched.step())

    def by_learner(fit):
        def run():
            learn = Learner(dls, net(), F.cross_entropy)
            with contextlib.redirect_stdout(io.StringIO()): fit(learn)
        return run

    def search_by_hand():
        model, rate = net(), SchedExp(1e-7, 10)
        def each(i, opt):
            for group in opt.param_groups: group['lr'] = rate(i / 99)
        steps(model, optimiser(model, 1e-7), hundred(), each)

    dls = DataLoaders.from_tensors((x, y), bs=bs, device='cpu')
    find = by_learner(lambda learn: learn.lr_find(show_plot=False, stop_div=False))
    return ({EPOCH: by_hand, 'Learner.fit, constant rate': by_learner(lambda learn: learn.fit(1, 1e-3)),
             'Learner.fit_one_cycle': by_learner(lambda learn: learn.fit_one_cycle(1, 1e-3))},
            {SEARCH: search_by_hand, 'Learner.lr_find, all 100 steps': find})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--size', type=int, default=64, help='pixels, height and width')
    parser.add_argument('--items', type=int, default=704)
    parser.add_argument('--bs', type=int, default=32)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    args = parser.parse_args()
    warnings.simplefilter('ignore')   # noise has no curve to read
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    x = torch.randn(args.items, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, CLASSES, (args.items,))
    rows = []
    for runs in contestants(x, y, args.bs):
        base = next(iter(runs))
        wall, cpu = interleaved(runs, args.rounds, clocks=(time.perf_counter, time.process_time))
        ratios, cpu_ratios = paired_ratio(wall, base), paired_ratio(cpu, base)
        rows += [[who, f'{seconds * 1e3:.0f}', f'{ratios[who]:.2f}', f'{cpu_ratios[who]:.2f}']
                 for who, seconds in median(wall).items()]
    print(table(rows, [f'small resnet, {args.items} images of {args.size} px, batch {args.bs}', 'ms', 'ratio',
                       'ratio of CPU time']))
    print(f'\nMedian of {args.rounds} interleaved rounds; {machine()}.')


if __name__ == '__main__': main()
