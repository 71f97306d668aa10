"""Real pets against fastai: same photos, split, body and weights; error and time, several seeds, each run a process of its own.

    python benchmarks/real_pets.py PHOTOS --peer /path/to/python-with-fastai [--breeds 7] [--seeds 3] [--recipes same best]

PHOTOS is a folder of files such as Abyssinian_12.jpg. Contestants take turns, so that a busy minute hits all alike.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from timing import machine, table  # noqa: E402

HERE = Path(__file__).resolve().parent


def by_method(learn, task: dict):
    "Trains with the method of that name"
    with learn.no_logging(): getattr(learn, task['method'])(task['epochs'], **task['how'])
    return learn


def train(task: dict, fit=by_method) -> dict:  # fit: takes learner and task, gives the learner that was trained
    "Our side: one recipe on one split, from opening the first file to the last epoch's error"
    import torch
    from lessonlib.augmentation import aug_transforms
    from lessonlib.core import set_seed
    from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
    from lessonlib.items import IndexSplitter, RegexLabeller, using_attr
    from lessonlib.images import Resize
    from lessonlib.batches import error_rate
    from lessonlib.transfer import vision_learner
    set_seed(task['seed'])
    start, cpu = time.perf_counter(), time.process_time()
    pets = DataBlock((ImageBlock, CategoryBlock), splitter=IndexSplitter(task['valid']),
                     get_y=using_attr(RegexLabeller(r'(.+)_\d+\.jpg$'), 'name'), item_tfms=Resize(task['presize']),
                     batch_tfms=aug_transforms(size=task['size'], min_scale=.75))
    dls = pets.dataloaders([Path(file) for file in task['files']], bs=task['bs'])
    learn = vision_learner(dls, 'efficientnet_lite0', metrics=error_rate, **task.get('learner', {}))
    errors = [row[-1] for row in fit(learn, task).recorder.values]
    return dict(errors=errors, error=errors[-1], wall=time.perf_counter() - start, cpu=time.process_time() - cpu,
                threads=torch.get_num_threads())


def fresh(python: str, script: Path, task: dict, **env) -> dict:
    "Run one task in a new process and read the line it prints"
    done = subprocess.run([python, str(script), *([] if script.name.startswith('fastai_') else ['--task']), json.dumps(task)],
                          capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode: raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def weights_for_timm() -> str:
    "The same weights as fastai reads them: under timm's names"
    import torch
    from lessonlib.bodies import lite0_weights
    path = Path(tempfile.gettempdir())/'lite0_timm.pth'
    torch.save(lite0_weights(), path)
    return str(path)


RECIPES = {   # name -> how our side trains: the method of the learner, epochs, its arguments
    'same': dict(method='fine_tune', epochs=3, how={}, about='ours, fine_tune(3): the same sizes and epochs'),
    'same, bn trained': dict(method='fine_tune', epochs=3, how={}, learner=dict(train_bn=True),
                             about='ours, fine_tune(3), batch norm of the frozen body trained'),
    'best': dict(method='fit_one_cycle', epochs=4, how=dict(lr_max=5e-3), about='ours, 4 epochs of the head alone, body kept frozen'),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('photos', nargs='?')
    parser.add_argument('--task')
    parser.add_argument('--peer')
    parser.add_argument('--breeds', type=int, help='only the breeds with most photos')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--recipes', nargs='+', default=['same', 'best'])
    parser.add_argument('--peer-keeps-memory', action='store_true', help="fastai once more with the allocator's memory kept")
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
        run = lambda task, **env: fresh(args.peer, HERE/'fastai_pets.py', {**task, 'epochs': 3, 'workers': 0, 'weights': weights_for_timm()}, **env)
        contestants['fastai 2.8.12, fine_tune(3)'] = run
        if args.peer_keeps_memory:
            keep = dict(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='2147483647')
            contestants['fastai, the allocator told to keep memory'] = lambda task: run(task, **keep)
    for name in args.recipes:
        contestants[RECIPES[name]['about']] = lambda task, recipe=RECIPES[name]: fresh(
            sys.executable, Path(__file__).resolve(), {**task, **recipe})
    found = {name: [] for name in contestants}
    for seed in args.seeds:
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
        task = dict(files=files, valid=order[:int(.2 * len(files))], seed=seed, presize=460, size=224, bs=32)
        for name, run in contestants.items():
            found[name].append(run(task))
            print(f'seed {seed}: {name}: {found[name][-1]}', file=sys.stderr, flush=True)
    base, rows = next(iter(found)), []
    for name, results in found.items():
        errors, wall = [r['error'] for r in results], [r['wall'] for r in results]
        ratio = statistics.median(a / b['wall'] for a, b in zip(wall, found[base]))
        rows.append([name, ' '.join(f'{e:.3f}' for e in errors), f'{statistics.mean(errors):.3f}', f'{statistics.median(wall):.0f}', f'{ratio:.2f}'])
    print(table(rows, [f'{len(files)} photos, {len(set(breed[f] for f in files))} breeds', 'error, by seed', 'mean', 'seconds', 'ratio']))
    print(f'\n{machine()}')


if __name__ == '__main__': main()
