"""Several labels on real tiles, against fastai: same tiles, folds, body, size and epochs; F2 and time, each run a process of its own.

    python benchmarks/real_tiles.py PLANET_SAMPLE --peer /path/to/python-with-fastai [--folds 5] [--rounds 1] [--recipes same best] [--keep RUNS.jsonl]

PLANET_SAMPLE is a folder with labels.csv and train. Each fifth of the tiles is predicted by a model that was trained on the
other four. The threshold for a fifth is the one that is best for the predictions of those other four, so no tile has a say in
the threshold that it is judged with. Contestants take turns, so that a busy minute hits all alike. Runs are kept in a file: after
a break those that are there are not done again, and `--report` counts what there is, fold by fold.
"""
import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from real_pets import fresh, weights_for_timm  # noqa: E402
from timing import machine, table  # noqa: E402

HERE = Path(__file__).resolve().parent


def train(task: dict) -> dict:
    "Our side: one recipe on one fold, from opening the first file to the predictions of the fold"
    import time
    import pandas as pd
    import torch
    from lessonlib.augmentation import aug_transforms
    from lessonlib.core import set_seed
    from lessonlib.data_block import DataBlock, ImageBlock
    from lessonlib.images import Resize
    from lessonlib.items import ColReader, IndexSplitter
    from lessonlib.multilabel import MultiCategoryBlock
    from lessonlib.transfer import vision_learner
    set_seed(task['seed'])
    start, cpu, path = time.perf_counter(), time.process_time(), Path(task['path'])
    planet = DataBlock((ImageBlock, MultiCategoryBlock(task['vocab'])), splitter=IndexSplitter(task['valid']),
                       get_x=ColReader('image_name', pref=path/'train', suff='.jpg'), get_y=ColReader('tags', label_delim=' '),
                       item_tfms=Resize(task['size']),
                       batch_tfms=aug_transforms(flip_vert=True, max_lighting=.1, max_warp=0))
    dls = planet.dataloaders(pd.read_csv(path/'labels.csv'), bs=task['bs'])
    learn = vision_learner(dls, 'efficientnet_lite0', **task.get('learner', {}))
    with learn.no_logging(): getattr(learn, task['method'])(task['epochs'], **task['how'])
    probs, _ = learn.get_preds()
    return dict(probs=probs.tolist(), wall=time.perf_counter() - start, cpu=time.process_time() - cpu,
                threads=torch.get_num_threads())


RECIPES = {   # name -> how our side trains: the method of the learner, epochs, its arguments
    'same': dict(method='fine_tune', epochs=3, how={}, about='ours, fine_tune(3): the same sizes and epochs'),
    'same epochs': dict(method='fit_one_cycle', epochs=4, how=dict(lr_max=5e-3), learner=dict(lin_ftrs=[]),
                        about='ours, 4 epochs of a linear head, body kept frozen'),
    'best': dict(method='fit_one_cycle', epochs=5, how=dict(lr_max=5e-3), learner=dict(lin_ftrs=[]),
                 about='ours, 5 epochs of a linear head, body kept frozen'),
}


def honest_f2(probs, targets, folds: list) -> list:
    "F2 of each fold (mean over its tiles), its threshold chosen on the others; and those thresholds"
    import torch
    from lessonlib.multilabel import best_threshold, fbeta
    found = []
    for fold in folds:
        others = torch.zeros(len(probs), dtype=torch.bool)
        for other in folds: others[other] = other is not fold
        thresh = best_threshold(probs[others], targets[others])
        found.append((fbeta(probs[fold], targets[fold], thresh=thresh, sigmoid=False).item(), thresh))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('path', nargs='?')
    parser.add_argument('--task')
    parser.add_argument('--peer')
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=1, help='with other folds and seeds')
    parser.add_argument('--size', type=int, default=96)
    parser.add_argument('--recipes', nargs='+', default=['same', 'best'])
    parser.add_argument('--keep', default='planet_runs.jsonl', help='file of the runs')
    parser.add_argument('--report', action='store_true', help='no more runs: count those that are kept')
    args = parser.parse_args()
    if args.task: return print(json.dumps(train(json.loads(args.task))))
    import os
    import pandas as pd
    import torch
    tags = [cell.split() for cell in pd.read_csv(Path(args.path)/'labels.csv').tags]
    vocab = sorted({tag for each in tags for tag in each})
    targets = torch.tensor([[float(tag in each) for tag in vocab] for each in tags])
    one = {name: '1' for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')} if os.environ.get('OMP_NUM_THREADS') == '1' else {}
    contestants = {}
    keep = dict(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='2147483647')   # as our side has it
    if args.peer: contestants['fastai, fine_tune(3), allocator told to keep memory'] = lambda task: fresh(
        args.peer, HERE/'fastai_planet.py', {**task, 'epochs': 3, 'weights': weights_for_timm()}, **one, **keep)
    for name in args.recipes:
        contestants[RECIPES[name]['about']] = lambda task, recipe=RECIPES[name]: fresh(
            sys.executable, Path(__file__).resolve(), {**task, **recipe})
    rows, found, wall, cpu, kept = [], {}, {}, {}, Path(args.keep)
    lines = map(json.loads, kept.read_text().splitlines()) if kept.exists() else ()
    done = {tuple(line['which']): line for line in lines}
    for seed in range(args.rounds):
        folds = torch.randperm(len(tags), generator=torch.Generator().manual_seed(seed)).chunk(args.folds)
        probs, complete = {name: torch.zeros_like(targets) for name in contestants}, []
        for k, fold in enumerate(folds):
            task = dict(path=str(Path(args.path).resolve()), vocab=vocab, valid=fold.tolist(), seed=seed, size=args.size, bs=32)
            for name, run in contestants.items():
                which = (seed, args.folds, k, args.size, name)
                if which in done or args.report: continue
                done[which] = {**run(task), 'which': which}
                with open(kept, 'a') as file: file.write(json.dumps(done[which]) + '\n')
                print(f'{which}: {done[which]["wall"]:.0f} s, {done[which]["cpu"]:.0f} s of the processor', file=sys.stderr, flush=True)
            results = {name: done.get((seed, args.folds, k, args.size, name)) for name in contestants}
            if not all(results.values()): continue
            complete.append(fold)
            for name, result in results.items():
                probs[name][fold] = torch.tensor(result['probs'])
                wall.setdefault(name, []).append(result['wall'])
                cpu.setdefault(name, []).append(result['cpu'])
        for name in contestants: found.setdefault(name, []).extend(honest_f2(probs[name], targets, complete))
    base = next(iter(found))
    for name, results in found.items():
        scores, ratio = [f2 for f2, _ in results], statistics.median(a / b for a, b in zip(cpu[name], cpu[base]))
        rows.append([name, ' '.join(f'{f2:.3f}' for f2 in scores), f'{statistics.mean(scores):.3f}',
                     ' '.join(f'{thresh:.2f}' for _, thresh in results), f'{statistics.median(wall[name]):.0f}',
                     f'{statistics.median(cpu[name]):.0f}', f'{ratio:.2f}'])
    print(table(rows, [f'{len(tags)} tiles, {len(vocab)} tags, {args.size} pixels', 'F2, by fold', 'mean', 'thresholds', 'seconds',
                       'processor seconds', 'ratio']))
    print(f'\n{machine()}')


if __name__ == '__main__': main()
