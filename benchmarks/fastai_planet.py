"""fastai's side of real_tiles.py: reads one task as JSON, trains, prints one line of JSON.

Runs in an environment of its own, which has fastai and nothing of lessonlib.
"""
import json
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from fastai.vision.all import (ColReader, DataBlock, ImageBlock, IndexSplitter, MultiCategoryBlock, Resize, aug_transforms,
                               set_seed, vision_learner)


def main():
    task = json.loads(sys.argv[1])
    set_seed(task['seed'], reproducible=True)
    path = Path(task['path'])
    start, cpu = time.perf_counter(), time.process_time()
    planet = DataBlock((ImageBlock, MultiCategoryBlock(vocab=task['vocab'])), splitter=IndexSplitter(task['valid']),
                       get_x=ColReader('image_name', pref=f'{path}/train/', suff='.jpg'),
                       get_y=ColReader('tags', label_delim=' '), item_tfms=Resize(task['size']),
                       batch_tfms=aug_transforms(flip_vert=True, max_lighting=.1, max_warp=0))
    dls = planet.dataloaders(pd.read_csv(path/'labels.csv'), bs=task['bs'], num_workers=0, device=torch.device('cpu'))
    learn = vision_learner(dls, 'tf_efficientnet_lite0', pretrained_cfg_overlay=dict(file=task['weights']))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(task['epochs'])
        probs, _ = learn.get_preds()
    print(json.dumps(dict(probs=probs.tolist(), wall=time.perf_counter() - start, cpu=time.process_time() - cpu,
                          threads=torch.get_num_threads())))


if __name__ == '__main__': main()
