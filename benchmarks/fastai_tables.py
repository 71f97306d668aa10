"""The peer's side of collab.py and tabular.py, run by a Python that has fastai: answers one JSON line with another.

{"learner": "collab" or "tabular", "csv": file, "bs": 64, "loader": "default" or "permuting", "seed": 42, ...} makes a learner and
answers {"ready": rows in an epoch}; {"fit": epochs} trains it and answers when done; {"one_cycle": epochs, "lr": ..., "wd": ...}
trains it and answers with the validation loss and metrics after each epoch.
"""
import contextlib
import io
import json
import sys

import numpy as np
import pandas as pd
import torch


def collab(csv, bs, loader, seed, n_factors=50, y_range=(0, 5.5), opt=None, names=None):
    from fastai.callback import progress, schedule  # noqa: F401  (add no_bar and fit_one_cycle)
    from fastai.collab import CollabDataLoaders, collab_learner
    from fastai.tabular.core import TabDataLoader
    kind = dict(dl_type=TabDataLoader) if loader == 'permuting' else {}
    dls = CollabDataLoaders.from_df(pd.read_csv(csv), seed=seed, valid_pct=.2, bs=bs, **(names or {}), **kind)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return collab_learner(dls, n_factors=n_factors, y_range=y_range)


def tabular(csv, bs, loader, seed, cat_names, cont_names, y_names, layers=None):
    from fastai.callback import progress, schedule  # noqa: F401
    from fastai.data.transforms import RandomSplitter
    from fastai.metrics import accuracy
    from fastai.tabular.core import Categorify, FillMissing, Normalize, TabDataLoader, TabularPandas
    from fastai.tabular.learner import tabular_learner
    from fastai.tabular.data import TabularDataLoaders  # noqa: F401
    df = pd.read_csv(csv)
    splits = RandomSplitter(seed=seed)(range(len(df)))
    from fastai.data.block import CategoryBlock
    table = TabularPandas(df, [Categorify, FillMissing, Normalize], cat_names, cont_names, y_names, CategoryBlock(), splits)
    kind = dict(dl_type=TabDataLoader) if loader == 'permuting' else {}
    dls = table.dataloaders(bs=bs, **kind)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return tabular_learner(dls, layers=layers, metrics=accuracy)


def begin_again(learn, seed: int) -> None:
    "New parameters from this seed"
    from fastai.layers import trunc_normal_
    np.random.seed(seed)
    torch.manual_seed(seed)
    for module in learn.model.modules():
        if isinstance(module, torch.nn.Embedding): trunc_normal_(module.weight.data, std=.01)
        elif hasattr(module, 'reset_parameters'): module.reset_parameters()


def main():
    torch.set_num_threads(int(sys.argv[1]))
    out, learn = sys.stdout, None
    for line in sys.stdin:
        task = json.loads(line)
        with contextlib.redirect_stdout(io.StringIO()):
            if 'learner' in task:
                learn = globals()[task.pop('learner')](**task)
                answer = dict(ready=len(learn.dls.train_ds))
            elif 'fit' in task:
                from fastai.callback.core import Callback, CancelValidException
                class SkipValidation(Callback):
                    def before_validate(self): raise CancelValidException
                with learn.no_bar(), learn.no_logging(): learn.fit(task['fit'], 5e-3, cbs=SkipValidation())
                answer = dict(done=True)
            else:
                with learn.no_bar(), learn.no_logging():
                    if 'seed' in task: begin_again(learn, task['seed'])
                    learn.fit_one_cycle(task['one_cycle'], task['lr'], **({'wd': task['wd']} if 'wd' in task else {}))
                answer = dict(values=[list(map(float, row[1:])) for row in learn.recorder.values])
        print(json.dumps(answer), file=out, flush=True)


if __name__ == '__main__': main()
