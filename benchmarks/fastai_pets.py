"""fastai's side of real_pets.py: reads one task as JSON, trains, prints one line of JSON.

Runs in an environment of its own, which has fastai and nothing of lessonlib.
"""
import json
import sys
import time

import torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, IndexSplitter, RegexLabeller, Resize, aug_transforms,
                               error_rate, set_seed, using_attr, vision_learner)
from pathlib import Path


def main():
    task = json.loads(sys.argv[1])
    set_seed(task['seed'], reproducible=True)
    files = [Path(file) for file in task['files']]
    start, cpu = time.perf_counter(), time.process_time()
    pets = DataBlock((ImageBlock, CategoryBlock), splitter=IndexSplitter(task['valid']),
                     get_y=using_attr(RegexLabeller(r'(.+)_\d+\.jpg$'), 'name'), item_tfms=Resize(task['presize']),
                     batch_tfms=aug_transforms(size=task['size'], min_scale=.75))
    dls = pets.dataloaders(files, bs=task['bs'], num_workers=task['workers'])
    learn = vision_learner(dls, 'tf_efficientnet_lite0', metrics=error_rate, pretrained_cfg_overlay=dict(file=task['weights']))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(task['epochs'], **task.get('fine_tune', {}))
    errors = [row[-1] for row in learn.recorder.values]
    print(json.dumps(dict(errors=errors, error=errors[-1], wall=time.perf_counter() - start, cpu=time.process_time() - cpu,
                          threads=torch.get_num_threads())))


if __name__ == '__main__': main()
