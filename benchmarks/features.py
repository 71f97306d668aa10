"""Features of a frozen body computed once, against training through the body and against fastai: real pets, several seeds.

    python benchmarks/features.py PHOTOS [--peer /path/to/python-with-fastai] [--breeds 7] [--seeds 0 1 2]

PHOTOS is a folder of files such as Abyssinian_12.jpg. Same photos, split, body, weights and sizes for all; each run is a
process of its own, timed from opening the first file to the last epoch's error; contestants take turns. With --breeds those
with most photos are chosen, as in real_pets.py.
"""
import argparse
import json
import statistics
import sys
from collections import Counter
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from real_pets import HERE, RECIPES, fresh, train as whole_train, weights_for_timm  # noqa: E402
from timing import machine, table  # noqa: E402


def on_features(learn, task: dict):
    "The head, trained on what the frozen body says once"
    with learn.no_logging(): head = learn.precompute(task['augmented'])
    with head.no_logging(): head.fit_one_cycle(task['epochs'], task['rate'])
    return head


def train(task: dict) -> dict: return whole_train(task, on_features)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('photos', nargs='?')
    parser.add_argument('--task')
    parser.add_argument('--peer')
    parser.add_argument('--breeds', type=int, help='only the breeds with most photos')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--rate', type=float, default=5e-3)
    parser.add_argument('--copies', type=int, nargs='+', default=[0, 1], help='augmented copies beside the plain one')
    parser.add_argument('--sizes', type=int, nargs='+', default=[224], help='pixels that the frozen body sees; the others see 224')
    parser.add_argument('--through', nargs='*', default=['same', 'best'], help='recipes of real_pets.py that go through the body')
    args = parser.parse_args()
    if args.task: return print(json.dumps(train(json.loads(args.task))))
    files = sorted(map(str, Path(args.photos).glob('*.jpg')))
    breed = {file: Path(file).name.rpartition('_')[0] for file in files}
    if args.breeds:
        chosen = {name for name, _ in Counter(breed.values()).most_common(args.breeds)}
        files = [file for file in files if breed[file] in chosen]
    import torch
    contestants = {}
    if args.peer:
        keep = dict(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='2147483647')
        contestants['fastai 2.8.12, fine_tune(3), allocator told to keep memory'] = lambda task: fresh(
            args.peer, HERE/'fastai_pets.py', {**task, 'epochs': 3, 'workers': 0, 'weights': weights_for_timm()}, **keep)
    for name in args.through:
        contestants[RECIPES[name]['about']] = lambda task, recipe=RECIPES[name]: fresh(
            sys.executable, HERE/'real_pets.py', {**task, **recipe})
    for size, n in product(args.sizes, args.copies):
        copies = f'{n} augmented and the plain copy' if n else 'the plain copy'
        about = f'ours, features of {copies} at {size} pixels, {args.epochs} epochs of the head'
        contestants[about] = lambda task, n=n, size=size: fresh(sys.executable, Path(__file__).resolve(), {
            **task, 'augmented': n, 'epochs': args.epochs, 'rate': args.rate, 'size': size})
    found = {name: [] for name in contestants}
    for seed in args.seeds:
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
        task = dict(files=files, valid=order[:int(.2 * len(files))], seed=seed, presize=460, size=224, bs=32)
        for name, run in contestants.items():
            found[name].append(run(task))
            print(f'seed {seed}: {name}: {found[name][-1]}', file=sys.stderr, flush=True)
    base, rows = next(iter(found)), []
    for name, results in found.items():
        errors, row = [r['error'] for r in results], []
        for clock in ('wall', 'cpu'):
            row.append(f'{statistics.median(r[clock] for r in results):.1f}')
            row.append(f'{statistics.median(r[clock] / b[clock] for r, b in zip(results, found[base])):.3f}')
        rows.append([name, ' '.join(f'{e:.3f}' for e in errors), f'{statistics.mean(errors):.3f}', *row])
    print(table(rows, [f'{len(files)} photos, {len({breed[f] for f in files})} breeds', 'error, by seed', 'mean', 'seconds', 'ratio',
                       'CPU seconds', 'ratio of CPU time']))
    print(f'\n{machine()}')


if __name__ == '__main__': main()
