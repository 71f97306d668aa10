"""Answers against the bare forward pass of the same model: one picture warm, a hundred at once, ONNX, and the served app.

    python benchmarks/predict.py [--rounds 7] [--threads 1] [--size 224] [--arch resnet18]

Weights are not pretrained: how long an answer takes does not depend on what they say. The pictures are practice pets. A
tensor asks for the model alone; a file is opened, resized and scaled as well, and has a row of its own for that part.
"""
import argparse
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.checkpoint import load_learner  # noqa: E402
from lessonlib.datasets import practice_data  # noqa: E402
from lessonlib.images import Resize  # noqa: E402
from lessonlib.items import get_image_files  # noqa: E402
from lessonlib.serve import Limits, Serving  # noqa: E402
from lessonlib.transfer import vision_learner  # noqa: E402
from lessonlib.ways_in import ImageDataLoaders  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402


def forward(model, x):
    with torch.no_grad(): return model(x).softmax(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--arch', default='resnet18')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    files = get_image_files(practice_data('pets')/'images')[:100]
    dls = ImageDataLoaders.from_name_re(files[0].parent, files, r'(.+)_\d+\.jpg$', item_tfms=Resize(args.size), bs=16, device='cpu')
    learn = vision_learner(dls, args.arch, pretrained=False, path=tempfile.mkdtemp())
    learn = load_learner(learn.export('it'))
    model, photo, many = learn.model.eval(), files[0], files[:100]
    x = learn.dls.prepare(photo)[0]
    stack = torch.stack([learn.dls.prepare(file)[0] for file in many])
    data = photo.read_bytes()

    one = {'the forward pass of one': lambda: forward(model, x[None]), 'predict(tensor)': lambda: learn.predict(x),
           'opening and resizing one file': lambda: learn.dls.prepare(photo), 'predict(file)': lambda: learn.predict(photo)}
    hundred = {'forward passes of 100, in 64s': lambda: [forward(model, part) for part in stack.split(64)],
               'opening and resizing 100': lambda: [learn.dls.prepare(file) for file in many],
               'predict_many(100 files)': lambda: learn.predict_many(many), 'predict, one by one': lambda: [*map(learn.predict, many)]}
    try:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(learn.to_onnx('it', photo), options)
        name = session.get_inputs()[0].name
        one['ONNX, one'] = lambda: session.run(None, {name: x[None].numpy()})
        hundred['ONNX, 100 in 64s'] = lambda: [session.run(None, {name: part.numpy()}) for part in stack.split(64)]
    except ImportError: print('ONNX is not installed: left out')

    with Serving(learn, limits=Limits(parallel=args.threads, waiting=200)) as server:
        def ask(data=data):
            request = urllib.request.Request(server.address + 'predict', data, {'Content-Type': 'image/jpeg'})
            with urllib.request.urlopen(request) as found: return found.read()
        def ask_all():
            with ThreadPoolExecutor(8) as pool: return list(pool.map(ask, [file.read_bytes() for file in many]))
        one['served, one file'] = ask
        hundred['served, 100 files over 8 connections'] = ask_all
        for what, runs in (('one picture', one), ('a hundred', hundred)):
            for run in runs.values(): run()                                # warm
            base = next(iter(runs))
            wall, = interleaved(runs, args.rounds)
            ratios = paired_ratio(wall, base)
            print(table([[who, f'{1000 * seconds:.1f}', f'{ratios[who]:.2f}'] for who, seconds in median(wall).items()],
                        [f'{what}, {args.arch} at {args.size}', 'milliseconds', 'over the forward pass']), end='\n\n')
    print(f'Median of {args.rounds} interleaved rounds, {args.threads} thread(s); {machine()}.')


if __name__ == '__main__': main()
