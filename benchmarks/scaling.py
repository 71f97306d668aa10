"""Memory and time of a training step: foretold and measured, blocks computed twice, channels-last, torch.compile, and
what workers give when photos are opened from files.

    python benchmarks/scaling.py memory
    python benchmarks/scaling.py twice
    python benchmarks/scaling.py layout
    python benchmarks/scaling.py compile
    python benchmarks/scaling.py workers PHOTOS [--size 224]
"""
import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.attention import TransformerEncoder  # noqa: E402
from lessonlib.batches import DataLoaders  # noqa: E402
from lessonlib.core import set_seed  # noqa: E402
from lessonlib.learner import Learner  # noqa: E402
from lessonlib.pets import small_resnet  # noqa: E402
from lessonlib.transfer import vision_learner, vision_model  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

HEAD = dict(n_out=37)


def pictures(size, bs):
    x, y = torch.rand(bs, 3, size, size), torch.randint(0, 37, (bs,))
    return DataLoaders.from_tensors((x, y), bs=bs, shuffle=False, device='cpu', vocab=[str(i) for i in range(37)])


def learner(name, size, bs):
    "A learner on invented pictures, all of it trained"
    set_seed(0)
    dls = pictures(size, bs)
    if name == 'small_resnet': model = small_resnet(37)
    else: model = vision_model(name, HEAD)
    return Learner(dls, model, nn.CrossEntropyLoss(), train_bn=True)


def allocator_peak(learn) -> int:
    "Bytes that torch's allocator gave out at the fullest moment of a second step, by its profiler; tensors before it besides"
    opt = torch.optim.AdamW(learn.model.parameters())
    x, y = learn.dls.one_batch()
    def step():
        learn.loss_func(learn.model(x), y).backward()
        opt.step()
        opt.zero_grad()
    learn.model.train()
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen: step()
    now = peak = 0
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == '[memory]']
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    before = sum(t.nbytes for t in [*learn.model.parameters(), *learn.model.buffers(), x, y])
    return peak + before + sum(v.nbytes for s in opt.state.values() for v in s.values())


def memory(args):
    rows = []
    for name, size, bs in (('small_resnet', 64, 32), ('efficientnet_lite0', 64, 32), ('efficientnet_lite0', 128, 16),
                           ('resnet18', 64, 32), ('resnet34', 128, 16)):
        learn = learner(name, size, bs)
        foretold, watched = learn.memory().peak, learn.peak_memory()
        given = allocator_peak(learn)
        rows.append([f'{name}, {bs} × {size} px', f'{foretold / 1e6:.0f}', f'{watched / 1e6:.0f}', f'{given / 1e6:.0f}',
                     f'{foretold / watched:.2f}', f'{watched / given:.2f}'])
    print(table(rows, ['all trained, AdamW', 'foretold, MB', 'tensors, MB', 'allocator, MB', 'foretold over tensors',
                       'tensors over allocator']))


def stepper(learn, model=None):
    model, (x, y) = model or learn.model, learn.dls.one_batch()
    model.train()
    def step():
        F.cross_entropy(model(x), y).backward()
        for p in model.parameters(): p.grad = None
    return step


def twice(args):
    rows = []
    for name, size, bs in (('efficientnet_lite0', 128, 16), ('resnet18', 128, 16), ('resnet34', 128, 16)):
        plain, less = learner(name, size, bs), learner(name, size, bs).checkpoint_activations()
        rows.append(compared(f'{name}, {bs} × {size} px', plain, less, args.rounds))
    words = torch.randint(1, 1000, (8, 128))
    def encoder():
        set_seed(0)
        dls = DataLoaders.from_tensors((words, torch.zeros(8, 128, dtype=torch.long)), bs=8, shuffle=False, device='cpu')
        model = nn.Sequential(TransformerEncoder(1000, 192, 6, 6, 128), nn.Linear(192, 10))
        return Learner(dls, model, lambda pred, y: F.cross_entropy(pred.flatten(0, 1), y.flatten()))
    rows.append(compared('transformer, 6 blocks, 8 × 128 words', encoder(), encoder().checkpoint_activations(), args.rounds))
    print(table(rows, ['forward and backward', 'activations', 'peak of a step', 'time', 'CPU time']))
    print(f'\nBlocks computed twice over all kept. Median of {args.rounds} interleaved rounds; {machine()}.')


def compared(name, plain, less, rounds):
    def step(learn):
        (x, y), model = learn.dls.one_batch(), learn.model.train()
        def run():
            learn.loss_func(model(x), y).backward()
            for p in model.parameters(): p.grad = None
        return run
    wall, cpu = interleaved(dict(plain=step(plain), less=step(less)), rounds, clocks=(time.perf_counter, time.process_time))
    kept = less.memory()['activations'] / plain.memory()['activations']
    peak = less.peak_memory() / plain.peak_memory()
    return [name, *(f'{v:.2f}' for v in (kept, peak, paired_ratio(wall, 'plain')['less'], paired_ratio(cpu, 'plain')['less']))]


def layout(args):
    rows = []
    for name in ('small_resnet', 'efficientnet_lite0', 'resnet18'):
        for size, bs in ((64, 32), (224, 4)):
            def run(kind):
                learn = learner(name, size, bs)
                learn.model.to(memory_format=kind)
                return stepper(learn)
            runs = dict(usual=run(torch.contiguous_format), last=run(torch.channels_last))
            wall, cpu = interleaved(runs, args.rounds, clocks=(time.perf_counter, time.process_time))
            rows.append([f'{name}, {bs} × {size} px', f'{median(wall)["usual"] * 1e3:.0f}',
                         f'{paired_ratio(wall, "usual")["last"]:.2f}', f'{paired_ratio(cpu, "usual")["last"]:.2f}'])
    print(table(rows, ['forward and backward', 'usual order, ms', 'channels-last: time', 'CPU time']))
    print(f'\nMedian of {args.rounds} interleaved rounds; {machine()}.')


def compiled(args):
    rows, cases = [], {
        '784-30-1 net, 64 rows': (lambda: nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 37)), (64, 784)),
        '784-512-512 net with norms, 256 rows': (lambda: nn.Sequential(
            nn.Linear(784, 512), nn.GELU(), nn.LayerNorm(512), nn.Linear(512, 512), nn.GELU(), nn.LayerNorm(512),
            nn.Linear(512, 37)), (256, 784)),
        'small_resnet, 32 × 64 px': (lambda: small_resnet(37), (32, 3, 64, 64))}
    for name, (make, shape) in cases.items():
        x, y = torch.rand(shape), torch.randint(0, 37, shape[:1])
        def step(model):
            def run():
                F.cross_entropy(model(x), y).backward()
                for p in model.parameters(): p.grad = None
            return run
        set_seed(0)
        plain = make()
        set_seed(0)
        fast = make()
        fast.compile()
        start = time.perf_counter(), time.process_time()
        step(fast)()
        first = time.perf_counter() - start[0]
        plain.eval(), fast.eval()
        wall, cpu = interleaved(dict(plain=step(plain.train()), fast=step(fast.train())), args.rounds,
                                clocks=(time.perf_counter, time.process_time))
        ms = median(wall)
        pays = f'{first / (ms["plain"] - ms["fast"]):,.0f} steps' if ms['fast'] < ms['plain'] else 'never'
        rows.append([name, f'{first:.0f}', f'{ms["plain"] * 1e3:.1f}', f'{paired_ratio(wall, "plain")["fast"]:.2f}',
                     f'{paired_ratio(cpu, "plain")["fast"]:.2f}', pays])
    print(table(rows, ['forward and backward', 'seconds to compile', 'plain, ms', 'compiled: time', 'CPU time', 'pays after']))
    print(f'\nMedian of {args.rounds} interleaved rounds; the first case also starts the compiler; {machine()}.')


def workers(args):
    from lessonlib.augmentation import aug_transforms
    from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
    from lessonlib.images import Resize
    from lessonlib.items import RandomSplitter
    from lessonlib.pets import pet_breed
    files = sorted(Path(args.photos).glob('*.jpg'))
    files = files[::max(1, len(files) // args.number)][:args.number]
    def dls(n):
        breeds = sorted({pet_breed(file) for file in files})
        block = DataBlock((ImageBlock, CategoryBlock(breeds)), get_y=pet_breed, splitter=RandomSplitter(.1, seed=0),
                          item_tfms=Resize(2 * args.size), batch_tfms=aug_transforms(size=args.size))
        made = block.dataloaders(files, bs=16, num_workers=n)
        made.loaders[1] = None      # no validation: only training is timed
        return made
    learners = {}
    for name, body in (('its head', True), ('all of it', False)):
        learners[name] = vision_learner(dls(0), n_out=37)
        if not body: learners[name].unfreeze()
    cores, rows, paper = len(os.sched_getaffinity(0)), [], []
    for name, learn in learners.items():
        learn.dls = dls(0)
        profile = learn.profile(n=8, show_plot=False)
        print(name, profile, sep='\n')
        for n in (0, 1, 2):
            learn.dls, seconds = dls(n), []
            for _ in range(args.rounds):
                start = time.perf_counter()
                with learn.no_logging(), learn.no_bar(): learn.fit(1, 1e-6)
                seconds.append(time.perf_counter() - start)
            foretold, measured = profile.epoch_seconds(len(learn.dls.train) * 16, n, cores), statistics.median(seconds)
            rows.append([f'{name}, {n} workers', f'{foretold:.1f}', f'{measured:.1f}', f'{foretold / measured:.2f}'])
        load = profile.seconds['load'] / profile.items * 1e3
        paper.append([name, f'{load:.1f}', f'{profile.total / profile.items * 1e3 - load:.1f}',
                      *(f'{profile.epoch_seconds(370_000, n) / 3600:.2f}' for n in (0, 1, 2, 8))])
    print(table(rows, [f'{len(files)} photos at {args.size} px, {cores} cores', 'foretold, s', 'measured, s', 'ratio']))
    print(table(paper, ['37 breeds × 10,000 photos, a core for each process', 'loading, ms a photo', 'the rest', '0 workers: hours',
                        '1', '2', '8']))
    print(f'\n{machine()}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['memory', 'twice', 'layout', 'compile', 'workers'])
    parser.add_argument('photos', nargs='?', help='a folder of breed_1.jpg …, for workers')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--number', type=int, default=128, help='photos')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.what == 'workers' and not args.photos: parser.error('workers needs a folder of photos')
    dict(memory=memory, twice=twice, layout=layout, compile=compiled, workers=workers)[args.what](args)


if __name__ == '__main__': main()
