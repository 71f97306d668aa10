"What every practice set must keep to: same pixels for a seed, nobody's random numbers, nothing overwritten."
import hashlib
import random

import numpy as np
import pytest
import torch
from PIL import Image


def fingerprint(folder):
    "Names and pixels (or text) of all files under a folder"
    digest = hashlib.sha256()
    for file in sorted(folder.rglob('*')):
        if not file.is_file(): continue
        digest.update(file.relative_to(folder).as_posix().encode())
        is_picture = file.suffix in ('.png', '.jpg')
        digest.update(np.asarray(Image.open(file)).tobytes() if is_picture else file.read_bytes())
    return digest.hexdigest()


def check_practice_set(make, folder):
    "All of it, for `make(folder, seed=42)` that makes a small set"
    state = lambda: (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = state()
    first = fingerprint(make(folder/'a/b/first'))
    assert state() == before, 'global random numbers were touched'
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    (folder/'second').mkdir()                                        # an empty folder may be filled
    assert fingerprint(make(folder/'second')) == first
    assert fingerprint(make(folder/'other', seed=7)) != first
    (folder/'mine').mkdir()
    (folder/'mine/mine.txt').write_text('keep')
    with pytest.raises(FileExistsError, match='Nothing was written'): make(folder/'mine')
    assert [path.name for path in (folder/'mine').iterdir()] == ['mine.txt']
    assert (folder/'mine/mine.txt').read_text() == 'keep'
    assert sorted(path.name for path in folder.iterdir()) == ['a', 'mine', 'other', 'second']


def check_refused(call, words, folder):
    "A ValueError with these words, and nothing written"
    with pytest.raises(ValueError, match=words): call(folder/'set')
    assert not list(folder.iterdir())


def nearest_mean(x, y, valid):
    "Accuracy on `valid` of the class whose mean over the rest is nearest"
    names = np.unique(y)
    means = np.stack([x[~valid & (y == name)].mean(0) for name in names])
    away = ((x[valid][:, None] - means)**2).sum(-1)
    return (names[away.argmin(1)] == y[valid]).mean()
