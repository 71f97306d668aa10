"""Items a second of one process and of two that train one model together, on the same cores.

    python benchmarks/two_processes.py [--rounds 5] [--threads 1]

The two processes see together the batches of the one. Both wait while the other is timed: they are started once, and told
when to train. Beside them a loop by hand with torch's DistributedDataParallel.
"""
import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

KINDS = {'784-30-1, batches of 256': ('digits', 256, 12_288), 'convolutions, 32 pictures of 64 pixels': ('pictures', 32, 320)}


def make(kind: str, n: int):
    "Model, inputs and targets"
    import torch
    from torch import nn
    torch.manual_seed(0)
    if kind == 'digits':
        return (nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1)), torch.rand(n, 784),
                torch.randint(0, 2, (n, 1)).float())
    sizes = [3, 32, 64, 96, 128]
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())]
    return (nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 1)), torch.rand(n, 3, 64, 64),
            torch.randint(0, 2, (n, 1)).float())


def ours(kind: str, bs: int, n: int):
    "A function that trains an epoch"
    from torch.nn import functional as F
    from lessonlib.batches import DataLoaders
    from lessonlib.learner import Learner
    model, x, y = make(kind, n)
    learn = Learner(DataLoaders.from_tensors((x, y), bs=bs, device='cpu'), model, F.binary_cross_entropy_with_logits)
    def epoch():
        with learn.distributed(), learn.no_logging(): learn.fit(1)
    return epoch


def by_hand(kind: str, bs: int, n: int):
    "The same as a loop by hand; several processes have torch's DistributedDataParallel, and no weights for uneven batches"
    import torch
    from torch.nn import functional as F
    from torch.nn.parallel import DistributedDataParallel
    from lessonlib.learner import adamw
    model, x, y = make(kind, n)
    rank, number = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    if number > 1:
        torch.distributed.init_process_group('gloo')
        model = DistributedDataParallel(model)
    opt = adamw(model.parameters())
    def epoch():
        torch.manual_seed(0)
        for rows in torch.randperm(n).split(bs * number):
            rows = rows[rank::number]
            loss = F.binary_cross_entropy_with_logits(model(x[rows]), y[rows])
            loss.backward()
            opt.step()
            opt.zero_grad()
            loss.item()
    return epoch


def worker(who: str, kind: str, bs: int, n: int, threads: int):
    "Trains an epoch for each line it reads, and says how long that took"
    import torch
    torch.set_num_threads(threads)
    number = int(os.environ['WORLD_SIZE'])
    epoch = (by_hand if who == 'by hand' else ours)(kind, bs // number, n)
    for line in sys.stdin:
        start = time.perf_counter(), time.process_time()
        epoch()
        print(f'done {time.perf_counter() - start[0]} {time.process_time() - start[1]}', flush=True)


class Group:
    "Processes that train together when they are told to"
    def __init__(self, number: int, port: int, *words):
        common = dict(WORLD_SIZE=number, LOCAL_WORLD_SIZE=number, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        self.processes = [subprocess.Popen(
            [sys.executable, '-W', 'ignore', __file__, '--worker', *map(str, words)], stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, bufsize=1, start_new_session=True,
            env=os.environ | {k: str(v) for k, v in dict(common, RANK=r, LOCAL_RANK=r, OMP_NUM_THREADS=words[-1]).items()})
            for r in range(number)]

    def __call__(self) -> tuple:
        "Trains; seconds of the slowest, and CPU seconds of all"
        for process in self.processes: process.stdin.write('train\n')
        lines = []
        for process in self.processes:
            for line in process.stdout:
                if line.startswith('done'): break
            else: sys.exit('a worker has ended; its error is above')
            lines.append([float(word) for word in line.split()[1:]])
        wall, cpu = zip(*lines)
        return max(wall), sum(cpu)

    def end(self):
        for process in self.processes:
            try: os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError: pass
            process.wait()


def main():
    import socket
    from timing import machine, table
    import statistics
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch in each process')
    args = parser.parse_args()
    rows, who = [], ['by hand', 'ours']
    for name, (kind, bs, n) in KINDS.items():
        groups = {}
        try:
            for label, number in ((w, k) for w in who for k in (1, 2)):
                with socket.socket() as free:
                    free.bind(('127.0.0.1', 0))
                    port = free.getsockname()[1]
                groups[label, number] = Group(number, port, label, kind, bs, n, args.threads)
            for group in groups.values(): group()
            times = {key: [] for key in groups}
            for _ in range(args.rounds):
                for key, group in groups.items(): times[key].append(group())
        finally:
            for group in groups.values(): group.end()
        for (label, number), found in times.items():
            ratio = statistics.median(a[0] / b[0] for a, b in zip(times[label, 1], found))
            cpu = statistics.median(b[1] / a[1] for a, b in zip(times[label, 1], found))
            rows.append([f'{name}: {label}, {number} process{"es" * (number > 1)}',
                         f'{n / statistics.median(wall for wall, _ in found):,.0f}', f'{ratio:.2f}', f'{cpu:.2f}'])
    print(table(rows, ['training', 'items a second', 'times as fast as one', 'CPU time of one']))
    print(f'\nMedian of {args.rounds} interleaved rounds of an epoch, {args.threads} thread(s) a process; {machine()}.')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--worker']:
        who, kind, *numbers = sys.argv[2:]
        worker(who, kind, *map(int, numbers))
    else: main()
