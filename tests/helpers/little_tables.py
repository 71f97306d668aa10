"A small table, a planted census, and ways to prepare them, for the tests of tables and of the tabular learner."
import contextlib
import io
import json

import numpy as np
import pandas as pd

from lessonlib.core import get_rng_state
from lessonlib.tables import TabularPandas

CATS = ['workclass', 'education', 'marital-status', 'occupation', 'relationship', 'race', 'sex', 'native-country']
CONTS = ['age', 'fnlwgt', 'education-num', 'capital-gain', 'capital-loss', 'hours-per-week']


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({'job': rng.choice(['cook', 'nurse', 'pilot'], n), 'age': rng.integers(18, 80, n),
                       'pay': rng.normal(100, 30, n), 'rich': rng.choice(['no', 'yes'], n)})
    df.loc[3, 'pay'] = np.nan
    df.loc[4, 'job'] = None
    return df


def prepare(df=None, **changes):
    given = dict(cat_names=['job'], cont_names=['age', 'pay'], y_names='rich')
    return TabularPandas(table() if df is None else df, **{**given, **changes})


def quietly(action, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()): return action(*args, **kwargs)


def state():
    found = get_rng_state()
    return json.dumps([found['python'], found['numpy'], found['torch'].tolist()])


def same(a, b): pd.testing.assert_frame_equal(a, b, check_exact=True)
