"""fastai's side of segmentation.py: reads one task as JSON, trains, prints one line of JSON.

Runs in an environment of its own, which has fastai and timm and nothing of lessonlib.
"""
import json
import sys
import time
from pathlib import Path

import timm
import torch
from fastai.vision.all import (DataBlock, ImageBlock, IndexSplitter, Learner, MaskBlock, Normalize, aug_transforms,
                               imagenet_stats, params, resnet18, set_seed, unet_learner)
from fastai.vision.models.unet import DynamicUnet
from torch import nn


def same_body(dls, codes, task, metrics):
    "fastai's U-Net on the body that ours stands on: EfficientNet-Lite0 with ImageNet weights, frozen"
    net = timm.create_model('tf_efficientnet_lite0', pretrained=False)
    net.load_state_dict(torch.load(task['weights']))
    body = nn.Sequential(net.conv_stem, net.bn1, *net.blocks)   # with conv_head an epoch takes ten times as long
    model = DynamicUnet(body, len(codes), dls.one_batch()[0].shape[-2:])
    learn = Learner(dls, model, metrics=metrics, splitter=lambda m: [params(m[0]), params(m[1:])])
    if task['freeze']: learn.freeze()
    return learn


def main():
    task = json.loads(sys.argv[1])
    set_seed(task['seed'], reproducible=True)
    files, codes = [Path(file) for file in task['files']], task['codes']
    void = codes.index('Void')

    def right(scores, masks):
        "Share of right pixels among those that are not void; every validation set here is one batch"
        masks = masks.squeeze(1)
        counts = masks != void
        return (scores.argmax(1)[counts] == masks[counts]).float().mean()

    streets = DataBlock((ImageBlock, MaskBlock(codes)), splitter=IndexSplitter(task['valid']),
                        get_y=lambda file: file.parent.parent/'labels'/f'{file.stem}_P{file.suffix}',
                        batch_tfms=[*aug_transforms(max_rotate=3, max_warp=.1), Normalize.from_stats(*imagenet_stats)])
    dls = streets.dataloaders(files, bs=task['bs'], val_bs=len(task['valid']), num_workers=0)
    if task['body'] == 'same': learn = same_body(dls, codes, task, right)
    else: learn = unet_learner(dls, resnet18, pretrained=False, metrics=right)
    start, cpu = time.perf_counter(), time.process_time()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(task['epochs'], task['lr'])
    print(json.dumps(dict(accuracy=learn.recorder.values[-1][-1], wall=time.perf_counter() - start,
                          cpu=time.process_time() - cpu, threads=torch.get_num_threads())))


if __name__ == '__main__': main()
