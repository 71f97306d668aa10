"""Images per second: loading with augmentation against opening alone (and fastai), and augmentation alone against torchvision.

    python benchmarks/augmentation.py [--rounds 7] [--threads 1] [--side 500] [--peer PYTHON [--peer-as-is]]

The pictures are practice pets, drawn once and enlarged to a longer side of `--side` pixels (500, as the real photos have;
0: as drawn, 180 to 345). One process, no workers. As in training, memory that is freed is kept (`keep_memory`); fastai
is given the same setting, unless `--peer-as-is` says to run it as its users do.
"""
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.augmentation import aug_transforms  # noqa: E402
from lessonlib.core import keep_memory  # noqa: E402
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock, IntToFloat
from lessonlib.items import IndexSplitter, get_image_files
from lessonlib.images import Resize, Transform, open_image
from lessonlib.datasets import practice_data  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

OPENING, LOADING = 'opening the files', 'Resize(460), no augmentation'


class InBetween(Transform):
    "Does nothing, before augmentation: so pictures of the size of `Resize` must be made first, and looked up again"
    order = -50
    def __call__(self, sample, train): return sample


def photos(folder: Path, count: int, side: int) -> list:
    "So many practice pets in a folder, enlarged"
    (folder/'pets').mkdir()
    files = get_image_files(practice_data('pets')/'images')
    for file in files[::max(len(files) // count, 1)][:count]:
        with Image.open(file) as image:
            scale = side / max(image.size) if side else 1
            size = tuple(round(n * scale) for n in image.size)
            image.resize(size, Image.Resampling.BICUBIC).save(folder/'pets'/file.name, quality=92)
    return get_image_files(folder)


def is_cat(file): return file.name[0].isupper()


def loader(folder: Path, presize: int, bs: int, batch_tfms=()):
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=is_cat,
                      splitter=IndexSplitter([0]), item_tfms=Resize(presize), batch_tfms=list(batch_tfms))
    dls = block.dataloaders(folder, bs=bs, device='cpu')

    def run():
        for _ in dls.train: pass
    return run


cpu_seconds = []  # that the other process used


def cpu_clock() -> float:
    "CPU seconds of this process and, while it worked, of fastai's: less disturbed by a busy machine"
    return time.process_time() + sum(cpu_seconds)


def fastai(python: str, *args):
    "fastai's loader in a process of its own, which works when it is told to and waits otherwise"
    worker = subprocess.Popen([python, '-W', 'ignore', str(Path(__file__).parent/'fastai_images.py'), *map(str, args)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(what: str):
        def run():
            worker.stdin.write(what + '\n')
            answer = worker.stdout.readline().split()
            if answer[:1] != ['done']: sys.exit('fastai did not answer; its error is above')
            cpu_seconds.append(float(answer[1]))
        return run
    return ask


def torchvision_list(size: int):
    "The list that aug_transforms stands for, as far as torchvision has it: one draw a call, a resampling a step"
    def sometimes(tfm): return v2.RandomApply([tfm], p=.75)
    bilinear = v2.InterpolationMode.BILINEAR
    return v2.Compose([
        v2.RandomResizedCrop(size, scale=(.75, 1), ratio=(1, 1), antialias=True), v2.RandomHorizontalFlip(),
        v2.RandomPerspective(.2, p=.75, interpolation=bilinear), sometimes(v2.RandomRotation(10, bilinear)),
        sometimes(v2.RandomAffine(0, scale=(1, 1.1), interpolation=bilinear)),
        sometimes(v2.ColorJitter(brightness=.2)), sometimes(v2.ColorJitter(contrast=.2)),
        v2.ToDtype(torch.float32, scale=True)])


def measure(title: str, runs: dict, images: int, bases: list, rounds: int):
    wall, cpu = interleaved(runs, rounds, clocks=(time.perf_counter, cpu_clock))
    ratios, cpu_ms = [paired_ratio(cpu, base) for base in bases], median(cpu)
    rows = [[who, f'{images / seconds:.0f}', f'{seconds / images * 1e3:.2f}', f'{cpu_ms[who] / images * 1e3:.2f}',
             *(f'{r[who]:.2f}' for r in ratios)] for who, seconds in median(wall).items()]
    print(table(rows, [title, 'images a second', 'ms an image', 'CPU ms', *(f'CPU time over: {base}' for base in bases)]))
    print(f'\nMedian of {rounds} interleaved rounds of {images} images; {machine()}.\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--count', type=int, default=257, help='pictures; one is left out for validation')
    parser.add_argument('--bs', type=int, default=64)
    parser.add_argument('--side', type=int, default=500, help='longer side of the pictures; 0: as drawn')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    parser.add_argument('--peer-as-is', action='store_true', help='fastai without kept memory')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photos(folder, args.count, args.side)[1:]  # the first one is for validation
        images = len(files) // args.bs * args.bs

        def opening():
            for file in files[:images]: open_image(file)

        augmented = {presize: aug_transforms(size=224, min_scale=.75) for presize in (460, 288)}
        runs = {OPENING: opening, LOADING: loader(folder, 460, args.bs),
                'Resize(460), aug_transforms(size=224)': loader(folder, 460, args.bs, aug_transforms(size=224)),
                **{f'Resize({n}), aug_transforms(size=224, min_scale=.75)': loader(folder, n, args.bs, t)
                   for n, t in augmented.items()},
                'the same, with a picture of 460 pixels in between': loader(folder, 460, args.bs,
                                                                            [InBetween(), *augmented[460]])}
        ask = fastai(args.peer, args.threads, folder, 460, 224, args.bs, int(not args.peer_as_is)) if args.peer else None
        if ask: runs['fastai, Resize(460), aug_transforms(size=224)'] = ask('load')
        measure('files to batches', runs, images, [OPENING, LOADING], args.rounds)

        batch = torch.randint(0, 256, (args.bs, 3, 58, 58), dtype=torch.uint8)
        batch = torch.nn.functional.interpolate(batch.float(), size=460, mode='bilinear').byte()
        small = torch.nn.functional.interpolate(batch.float(), size=288, mode='bilinear').byte()
        ours, theirs, to_float = aug_transforms(size=224, min_scale=.75)[0], torchvision_list(224), IntToFloat()
        base = 'aug_transforms, 460 to 224'
        runs = {base: lambda: to_float(ours((tv_tensors.Image(batch),), True), True),
                'aug_transforms, 288 to 224': lambda: to_float(ours((tv_tensors.Image(small),), True), True),
                'torchvision v2, picture by picture, 460 to 224': lambda: torch.stack([theirs(x) for x in batch]),
                'torchvision v2, one draw for the whole batch, 460 to 224': lambda: theirs(batch)}
        if ask: runs['fastai, one crop for the whole batch, 460 to 224'] = ask('batch')
        measure('augmentation of a batch', runs, args.bs, [base], args.rounds)


if __name__ == '__main__': main()
