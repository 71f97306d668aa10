"""The peer's side of augmentation.py, run by a Python that has fastai: loads and augments when told to on standard input.

Arguments: THREADS FOLDER PRESIZE SIZE BATCH_SIZE KEEP (1: the C library keeps freed memory, as it does on our side).
A line `load` runs through the training loader once, a line `batch` augments one batch that is loaded already. The answer
is a line, `done` and the CPU seconds it took, once it has happened.
"""
import ctypes
import sys
import time
from pathlib import Path

import torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, IndexSplitter, Resize, aug_transforms,
                               get_image_files)


def is_cat(file): return file.name[0].isupper()


def main():
    threads, folder, presize, size, bs, keep = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    if keep:
        for setting, value in ((-4, 0), (-1, 2**31 - 1)): ctypes.CDLL(None).mallopt(setting, value)
    torch.set_num_threads(int(threads))
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=is_cat,
                      splitter=IndexSplitter([0]), item_tfms=Resize(presize),
                      batch_tfms=aug_transforms(size=size, min_scale=.75))
    dls = block.dataloaders(folder, bs=bs, num_workers=0, device=torch.device('cpu'))
    train = dls.train
    loaded = train.do_batch([train.do_item(i) for i in range(bs)])
    for line in sys.stdin:
        start = time.process_time()
        if line.strip() == 'load':
            for _ in train: pass
        else: train.after_batch(loaded)
        print('done', time.process_time() - start, flush=True)


if __name__ == '__main__': main()
