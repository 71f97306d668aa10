"""Street scenes: accuracy without void after a few epochs, and CPU seconds an epoch; several seeds, each run a process of its own.

    python benchmarks/segmentation.py [CAMVID_TINY] [--peer /path/to/python-with-fastai] [--seeds 0 1 2]

CAMVID_TINY is the folder with images, labels and codes.txt; without it the practice streets are used. The split is 80 / 20 by
seed 42, which leaks (frames of one film stand on both sides); `--films` holds back one film after the other instead.
Contestants take turns, so that a busy minute hits all alike.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from real_pets import fresh, weights_for_timm  # noqa: E402
from timing import machine, table  # noqa: E402

HERE = Path(__file__).resolve().parent


def train(task: dict) -> dict:
    "Our side of one task"
    import torch
    from lessonlib.augmentation import aug_transforms
    from lessonlib.core import set_seed
    from lessonlib.data_block import DataBlock, ImageBlock
    from lessonlib.items import IndexSplitter
    from lessonlib.segmentation import JaccardCoeffMulti, MaskBlock, PixelAccuracy, unet_learner
    set_seed(task['seed'])
    streets = DataBlock((ImageBlock, MaskBlock(task['codes'])), splitter=IndexSplitter(task['valid']),
                        get_y=lambda file: file.parent.parent/'labels'/f'{file.stem}_P{file.suffix}',
                        batch_tfms=aug_transforms(max_rotate=3, max_warp=.1))
    dls = streets.dataloaders([Path(file) for file in task['files']], bs=task['bs'])
    learn = unet_learner(dls, metrics=[PixelAccuracy, JaccardCoeffMulti])
    start, cpu = time.perf_counter(), time.process_time()
    with learn.no_logging(): learn.fit_one_cycle(task['epochs'], task['lr'])
    *_, accuracy, iou = learn.recorder.values[-1]
    return dict(accuracy=accuracy, iou=iou, wall=time.perf_counter() - start, cpu=time.process_time() - cpu,
                threads=torch.get_num_threads())


CONTESTANTS = {   # name -> (whose, what differs)
    'ours, body frozen': ('ours', dict(lr=1e-2)),
    'fastai, the same body frozen': ('peer', dict(body='same', freeze=True, lr=1e-3)),
    'fastai, the same body frozen, our rate': ('peer', dict(body='same', freeze=True, lr=1e-2)),
    'fastai, the same body, all trained': ('peer', dict(body='same', freeze=False, lr=1e-3)),
    'fastai, resnet18 from scratch': ('peer', dict(body='resnet18', lr=1e-3)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('streets', nargs='?')
    parser.add_argument('--task')
    parser.add_argument('--peer')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--films', action='store_true', help='hold back one film after the other, ours alone')
    parser.add_argument('--only', nargs='+', help='words of the contestants wanted')
    args = parser.parse_args()
    if args.task: return print(json.dumps(train(json.loads(args.task))))
    from lessonlib.datasets import course_data
    from lessonlib.items import get_image_files, RandomSplitter
    path = Path(args.streets) if args.streets else course_data('camvid_tiny')
    files = get_image_files(path/'images')
    task = dict(files=[str(file.absolute()) for file in files], codes=(path/'codes.txt').read_text().split(), bs=8,
                epochs=args.epochs, valid=list(map(int, RandomSplitter(.2, seed=42)(files)[1])))
    print(machine(), f'{len(files)} pictures of {path.name}, {args.epochs} epochs', sep='; ')
    if args.films: return by_film(task, files, args.seeds)
    if args.peer: task['weights'] = weights_for_timm()
    wanted = {name: who for name, who in CONTESTANTS.items() if (who[0] == 'ours' or args.peer)
              and (not args.only or any(word in name for word in args.only))}
    runs = {name: [] for name in wanted}
    for seed in args.seeds:
        for name, (whose, how) in wanted.items():
            python, script = (sys.executable, Path(__file__).resolve()) if whose == 'ours' else (args.peer, HERE/'fastai_streets.py')
            runs[name].append(fresh(python, script, {**task, **how, 'seed': seed}, OMP_NUM_THREADS='1', LESSONLIB_DATA='practice'))
            print(f'  seed {seed} {name}: {runs[name][-1]["accuracy"]:.3f}', file=sys.stderr)
    rows = []
    for name, results in runs.items():
        accuracies, cpu = [run['accuracy'] for run in results], statistics.median(run['cpu'] for run in results) / args.epochs
        rows.append([name, ' '.join(f'{value:.3f}' for value in accuracies), f'**{statistics.mean(accuracies):.3f}**', f'{cpu:.1f}'])
    print(table(rows, ['contestant', 'accuracy, by seed', 'mean', 'CPU seconds an epoch']))


def by_film(task: dict, files: list, seeds: list) -> None:
    "Ours, with one film after the other held back"
    film = lambda file: Path(file).stem.split('_')[0]
    rows = []
    for held in sorted(set(map(film, files))):
        valid = [i for i, file in enumerate(files) if film(file) == held]
        found = [fresh(sys.executable, Path(__file__).resolve(), {**task, 'valid': valid, 'lr': 1e-2, 'seed': seed},
                       OMP_NUM_THREADS='1')['accuracy'] for seed in seeds]
        rows.append([held, len(valid), ' '.join(f'{value:.3f}' for value in found), f'**{statistics.mean(found):.3f}**'])
    print(table(rows, ['film held back', 'pictures', 'accuracy, by seed', 'mean']))


if __name__ == '__main__': main()
