"Small tables of ratings, and their loaders, for the tests of ratings and of collaborative filtering."
import contextlib
import io
import warnings

import numpy as np
import pandas as pd

from lessonlib.ratings import CollabDataLoaders

NAMES = dict(user_name='userId', item_name='title', rating_name='rating')


def quietly(action, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return action(*args, **kwargs)


def little(rows=300, users=20, items=30, seed=0):
    "A small table of different pairs, ids as a table of the field has them"
    draw = np.random.default_rng(seed)
    pairs = draw.permutation(users * items)[:rows]
    return pd.DataFrame(dict(user=pairs // items + 1, item=[f'film {i}' for i in pairs % items],
                             rating=draw.integers(1, 11, rows) / 2))


def loaders(table=None, **kwargs):
    return quietly(CollabDataLoaders.from_df, little() if table is None else table,
                   **{'seed': 1, 'bs': 32, 'device': 'cpu', **kwargs})
