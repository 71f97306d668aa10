"Where the time goes: parts, advice, workers, and no trace."
import time

import pytest
import torch
from torch import nn

from helpers.small_photos import home, loaders, photos, tiny_learner  # noqa: F401  fixtures too

from lessonlib.batches import DataLoaders, TensorDataLoader
from lessonlib.callbacks import CSVLogger, EMACallback, GradientAccumulation, GradientClip, MixUp
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import set_seed
from lessonlib.learner import Callback, Learner
from lessonlib.profiling import Profile
from lessonlib.scaling import MixedPrecision

SLOW = .03    # seconds, beside parts that take far less


def parts(**seconds): return Profile([seconds], items=10)


@pytest.mark.quick
def test_seconds_are_medians_by_share():
    batches = [dict(load=1., step=4.), dict(load=2.), dict(load=9., step=6.), dict(load=3.)]
    profile = Profile(batches, items=10)
    assert profile.seconds == dict(load=2.5, move=0, transforms=0, forward=0, backward=0, step=2.5, callbacks=0)
    assert profile.total == 5


@pytest.mark.quick
@pytest.mark.parametrize('changes, words', [
    (dict(workers=0), 'num_workers='), (dict(workers=2), 'more than 2 workers'), (dict(workers=None), 'from_tensors')])
def test_advice_on_loading(changes, words):
    profile = Profile([dict(load=3., forward=1.)], items=10, **changes)
    assert words in profile.advice and '75%' in profile.advice and '4.0 times' in profile.advice


@pytest.mark.quick
def test_advice_on_the_rest(monkeypatch):
    from lessonlib import _late
    model = dict(items=1, batches=[dict(forward=3., backward=.5, load=1.)])
    monkeypatch.setattr(_late, 'methods', {})
    assert 'GPU' in Profile(**model).advice and 'to_fp16' in Profile(**model, device='cuda').advice
    assert 'precompute' not in Profile(**model, frozen=True).advice
    monkeypatch.setattr(_late, 'methods', {'precompute': 'features'})
    assert 'learn.precompute()' in Profile(**model, frozen=True).advice and 'GPU' in Profile(**model).advice
    for part, words in (('step', 'fused'), ('callbacks', 'show_training_loop'), ('move', 'pin'), ('transforms', 'smaller')):
        profile = parts(load=.1, **{part: 1.})
        assert words in profile.advice and profile.advice.count('. ') == 0 and part in repr(profile)


@pytest.mark.quick
def test_epochs_foretold():
    profile = parts(load=.8, forward=.1, backward=.1)
    for workers, cores, seconds in ((0, 1, 10), (1, 9, 8), (2, 9, 4), (8, 9, 2), (8, 2, 5), (8, 1, 10)):
        assert profile.epoch_seconds(100, workers, cores) == pytest.approx(seconds)
    with pytest.raises(ValueError, match='num_workers=0'): Profile([dict(load=1.)], 1, workers=3).epoch_seconds(1)


class Slow(nn.Module):
    "Takes its time where it is told to"
    def __init__(self): super().__init__(); self.line, self.where = nn.Linear(4, 2), ''
    def forward(self, x):
        if self.where == 'forward': time.sleep(SLOW)
        out = self.line(x)
        if self.where == 'backward' and out.requires_grad: out.register_hook(lambda grad: time.sleep(SLOW))
        return out


class SlowLoader(TensorDataLoader):
    where = ''
    def __iter__(self):
        for batch in super().__iter__():
            if self.where == 'load': time.sleep(SLOW)
            yield batch


class SlowStep(torch.optim.SGD):
    where = ''
    def step(self):
        if SlowStep.where == 'step': time.sleep(SLOW)
        return super().step()


class Sleeps(Callback):
    def __init__(self, event): setattr(type(self), event, lambda self: time.sleep(SLOW))


def slow_learner(where='', n=64, bs=8, **kwargs):
    set_seed(0)
    x = torch.randn(n, 4)
    train = SlowLoader(x, (x[:, 0] > 0).long(), bs=bs, shuffle=True)
    model, train.where, SlowStep.where = Slow(), where, where
    model.where = where
    return Learner(DataLoaders(train, device='cpu'), model, nn.CrossEntropyLoss(), opt_func=SlowStep, **kwargs)


@pytest.mark.parametrize('where', ['load', 'forward', 'backward', 'step'])
def test_time_is_put_down_where_it_was_spent(where):
    profile = slow_learner(where).profile(n=3, show_plot=False)
    assert max(profile.seconds, key=profile.seconds.get) == where and profile.seconds[where] >= SLOW
    assert len(profile.batches) == 3 and profile.items == 8


@pytest.mark.parametrize('event', ['before_batch', 'after_pred', 'after_loss', 'before_backward', 'after_backward',
                                   'before_step', 'after_step', 'after_batch'])
def test_a_callback_is_told_from_the_model(event):
    cb = type('Sleeps', (Sleeps,), {})(event)
    profile = slow_learner(cbs=cb).profile(n=3, show_plot=False)
    assert max(profile.seconds, key=profile.seconds.get) == 'callbacks' and profile.seconds['callbacks'] >= SLOW


def test_more_batches_than_there_are():
    profile = slow_learner(n=24, bs=8).profile(n=7, warm_up=3, show_plot=False)
    assert len(profile.batches) == 7
    assert len(slow_learner(n=17, bs=8).profile(n=5, warm_up=0, show_plot=False).batches) == 5   # a last one of 1 row
    for bad in (dict(n=0), dict(warm_up=-1)):
        with pytest.raises(ValueError, match='n of 1 or more'): slow_learner().profile(**bad)


def test_with_callbacks_in_place(photos, tmp_path):
    "Steps that are left out, made by the scaler, or taken from gathered gradients; nothing is written"
    learn = tiny_learner(photos, tmp_path, cbs=[MixUp(), GradientAccumulation(16), GradientClip(1.), EMACallback(),
                                                Checkpoint(), CSVLogger()])
    learn.add_cb(MixedPrecision('float16', scale=1024.))
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    hooks = len(learn.model._forward_hooks)
    profile = learn.profile(n=4, show_plot=False)
    assert sum('step' in batch for batch in profile.batches) == 2        # batches of 8, gathered to 16
    assert all(profile.seconds[part] > 0 for part in ('load', 'transforms', 'forward', 'backward', 'step'))
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())
    assert not [*tmp_path.rglob('*.safetensors'), *tmp_path.rglob('*.csv')] and profile.frozen
    assert learn.opt is None and [cb.learn for cb in learn.cbs] == [learn] * len(learn.cbs) and hooks == 0
    with learn.no_logging(): learn.fit(1, 1e-3)
    learn.unfreeze()
    assert not learn.profile(n=1, warm_up=0, show_plot=False).frozen


def test_the_next_fit_is_the_same(photos, tmp_path):
    "Shuffling, augmentation and dropout draw as if nobody had looked"
    losses = []
    for looks in (False, True):
        learn = tiny_learner(photos, tmp_path)
        if looks: learn.profile(n=3, show_plot=False)
        with learn.no_logging(): learn.fit(1, 1e-3)
        losses.append(learn.recorder.losses)
    assert losses[0] == losses[1]


def test_an_error_leaves_the_learner_usable():
    class Fails(Callback):
        def after_step(self): raise RuntimeError('no more')
    learn = slow_learner()
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    with learn.added_cbs(Fails), pytest.raises(RuntimeError, match='no more'): learn.profile(show_plot=False)
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())
    with learn.no_logging(): learn.fit(1)


def test_workers(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    learn.dls = loaders(photos, path=tmp_path, num_workers=1)
    profile = learn.profile(n=2, warm_up=1, show_plot=False)
    assert profile.workers == 1 and profile.seconds['load'] > 0
    assert not torch.utils.data.get_worker_info()


def test_picture():
    profile = slow_learner().profile(n=2, show_plot=False)
    ax = profile.plot()
    assert ax.get_title().startswith('A batch of 8') and len(ax.patches) == 7


def test_compiled_in_place(photos, tmp_path):
    "The names stay, so files, exports, the finder and checkpoints do (a backend that needs no compiler)"
    learn = tiny_learner(photos, tmp_path)
    names = list(learn.model.state_dict())
    photo = sorted(photos.glob('*/*.png'))[0]
    before = learn.predict(photo)[2]
    learn.model.compile(backend='eager')
    assert torch.allclose(learn.predict(photo)[2], before, atol=1e-6)
    assert learn.profile(n=1, warm_up=1, show_plot=False).seconds['forward'] > 0
    with learn.no_logging(): learn.fit(1, 1e-3, cbs=Checkpoint())
    assert list(learn.model.state_dict()) == names
    tiny_learner(photos, tmp_path).load(learn.save('compiled'))
