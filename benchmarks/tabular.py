"""A census-like table: seconds per epoch of the tabular learner against a hand-written loop over the same tensors with the same
model and optimiser and, in an environment of its own, fastai. With a CSV of the real table also accuracies, several seeds, beside
gradient boosting.

    python benchmarks/tabular.py [--rounds 5] [--threads 1] [--peer PYTHON] [--real adult.csv]
"""
import argparse
import contextlib
import io
import statistics
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.core import set_seed  # noqa: E402
from lessonlib.batches import accuracy
from lessonlib.learner import _not_decayed, adamw  # noqa: E402
from lessonlib.tables import TabularDataLoaders, plan_census
from lessonlib.tabular import tabular_learner  # noqa: E402
from collab import BASE, Peer, an_epoch, race  # noqa: E402
from timing import machine, table  # noqa: E402

LR = 1e-2
CATS = ['workclass', 'education', 'marital-status', 'occupation', 'relationship', 'race']
CONTS = ['age', 'fnlwgt', 'education-num']     # the field's usual choice of columns
ALL_CATS = [*CATS, 'sex', 'native-country']
ALL_CONTS = [*CONTS, 'capital-gain', 'capital-loss', 'hours-per-week']


def loaders(csv, bs: int, seed: int, cats=CATS, conts=CONTS):
    return TabularDataLoaders.from_csv(csv, cat_names=cats, cont_names=conts, y_names='salary', seed=seed, bs=bs, device='cpu')


def by_hand(dls, bs: int):
    "One epoch, as one would write it: tensors, a permutation, the same model, loss and optimiser"
    model = tabular_learner(dls).model.train()
    spare = _not_decayed(model)
    opt = adamw([dict(params=[p for p in model.parameters() if (id(p) in spare) == bare],
                            weight_decay=0. if bare else .01) for bare in (False, True)], lr=LR, fused=True)
    cats, conts, y = dls.train.tensors
    def run():
        for rows in torch.randperm(len(y)).split(bs):
            if len(rows) == 1: continue            # batch norm needs two; all contestants leave it out
            loss = F.cross_entropy(model(cats[rows], conts[rows]), y[rows])
            loss.backward()
            loss.item()
            opt.step()
            opt.zero_grad()
    return run


def epochs(args) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder)/'adult.csv'
        plan_census(rows=32_561).table.to_csv(csv, index=False)
        for bs in (64, 1024):
            dls = loaders(csv, bs, 42)
            dls.loaders[1] = None                  # an epoch is training alone, for all
            runs = {BASE: by_hand(dls, bs), 'tabular_learner': an_epoch(tabular_learner(dls))}
            rows += race(runs, bs, args, learner='tabular', csv=str(csv), cat_names=CATS, cont_names=CONTS, y_names='salary')
    print(table(rows, ['26,049 of 32,561 rows, 6 categories, 3 numbers, layers 200 and 100', 'seconds an epoch', 'ratio']))
    print(f'\nMedian of {args.rounds} interleaved rounds; {machine()}.\n')


def real(args) -> None:
    "Accuracy on the real table after three epochs of one-cycle at 1e-2, a fifth held back by the same seed"
    from sklearn.ensemble import HistGradientBoostingClassifier
    def ours(seed, cats, conts):
        dls = loaders(args.real, 64, seed, cats, conts)
        set_seed(seed)
        learn = tabular_learner(dls, metrics=accuracy)
        with learn.no_logging(), contextlib.redirect_stdout(io.StringIO()): learn.fit_one_cycle(3, LR)
        return learn.recorder.values[-1][-1]

    def boosting(seed, cats, conts):
        to = loaders(args.real, 64, seed, cats, conts).to
        forest = HistGradientBoostingClassifier(categorical_features=[name in to.cat_names for name in to.xs], random_state=seed)
        forest.fit(to.train.xs, to.train.ys.iloc[:, 0])
        return forest.score(to.valid.xs, to.valid.ys.iloc[:, 0])

    def peer(seed, cats, conts, loader):
        worker = Peer(args.peer, args.threads)
        worker(learner='tabular', csv=args.real, bs=64, loader=loader, seed=seed, cat_names=cats, cont_names=conts,
               y_names='salary')
        values = worker(one_cycle=3, lr=LR)['values']
        worker.process.terminate()
        return values[-1][-1]

    who = {'tabular_learner': ours, 'gradient boosting (scikit-learn)': boosting}
    for loader in ('default', 'permuting') if args.peer else ():
        who[f'fastai, {loader} loader'] = lambda *a, loader=loader: peer(*a, loader)
    rows = []
    for columns, cats, conts in (('9 columns', CATS, CONTS), ('14 columns', ALL_CATS, ALL_CONTS)):
        for name, run in who.items():
            found = [run(seed, cats, conts) for seed in range(args.seeds)]
            rows.append([f'{columns}: {name}', ' '.join(f'{value:.4f}' for value in found), f'{statistics.mean(found):.4f}'])
            print(rows[-1], file=sys.stderr, flush=True)
    n = len(pd.read_csv(args.real))
    print(table(rows, [f'real table, {n:,} rows, three epochs, a fifth held back', 'accuracy by seed', 'mean']))
    print(f'\nSeeds choose the split, too; {machine()}.')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--peer', help='a Python that has fastai, to measure beside')
    parser.add_argument('--real', help='CSV of the real table (adult.csv)')
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    epochs(args)
    if args.real: real(args)


if __name__ == '__main__': main()
