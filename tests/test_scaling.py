"Memory and mixed precision."
import copy
import gc
import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.small_photos import home, loaders, photos, tiny_learner  # noqa: F401  fixtures too

from lessonlib.attention import TransformerEncoder
from lessonlib.batches import DataLoaders, _random_state, accuracy
from lessonlib.callbacks import SaveModelCallback
from lessonlib.checkpoint import Checkpoint
from lessonlib.core import set_seed
from lessonlib.learner import Callback, Learner
from lessonlib.scaling import LiveMemory, MixedPrecision, free_memory
from lessonlib.transfer import vision_learner


def quiet(learn): return learn.no_logging()


# ---- precision

def test_bf16_is_near_and_leaves_no_trace(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    x, _ = learn.dls.one_batch()
    learn.model.eval()
    exact = learn.model(x)
    rough = learn.to_bf16().model(x)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    assert (rough - exact).abs().max() < .05 * exact.abs().max()
    learn.unfreeze()
    with quiet(learn): learn.fit(2, 1e-2)
    assert all(p.dtype == torch.float32 for p in learn.model.parameters())
    assert learn.recorder.values[-1][0] < 1.2
    learn.to_fp32()
    assert torch.equal(learn.model.eval()(x), learn.model(x)) and not learn.model._forward_hooks
    assert not torch.is_autocast_enabled('cpu')


def test_an_error_in_the_model_leaves_autocast(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).to_bf16()
    with pytest.raises(Exception), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learn.model(torch.randn(2, 5, 8, 8))
    assert not torch.is_autocast_enabled('cpu')


def test_fp16_on_a_cpu_changes_nothing(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).to_bf16()
    with pytest.warns(UserWarning, match='stays float32'): learn.to_fp16()
    assert not any(isinstance(cb, MixedPrecision) for cb in learn.cbs) and not learn.model._forward_hooks


class Seen(Callback):
    "Notes losses, gradients and steps."
    order = 30
    def before_fit(self): self.grads, self.steps, self.losses = [], 0, []
    def before_step(self):
        self.grads.append(max(p.grad.abs().max().item() for p in self.learn.model.parameters() if p.grad is not None))
    def after_cancel_step(self): self.steps += 1


def test_float16_scales_loss_and_gradients(photos, tmp_path):
    "The scaler at work (on the CPU, which is slow but the same): same loss, same gradients, steps taken."
    both = []
    for half in (False, True):
        learn = tiny_learner(photos, tmp_path, cbs=Seen)
        if half: learn.add_cb(MixedPrecision('float16', scale=1024.))
        with quiet(learn): learn.fit(1, 1e-3)
        both.append((learn.recorder.losses[0], learn.seen.grads[0]))
    assert both[0][0] == pytest.approx(both[1][0], rel=.05) and both[0][1] == pytest.approx(both[1][1], rel=.1)
    assert learn.seen.steps == len(learn.recorder.losses)
    assert learn.mixed_precision.scaler.get_scale() == 1024.


def test_a_gradient_that_overflows_is_left_out(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).add_cb(MixedPrecision('float16', scale=2.**40))
    learn.unfreeze()
    before = {k: v.clone() for k, v in learn.model.named_parameters()}
    class One(Callback):
        def after_batch(self):
            if self.learn.training and self.learn.iter == 0:
                self.same = all(torch.equal(v, before[k]) for k, v in self.learn.model.named_parameters())
    with quiet(learn): learn.fit(1, 1e-3, cbs=(one := One()))
    assert one.same and learn.mixed_precision.scaler.get_scale() < 2.**40


def test_scaler_is_in_checkpoints(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, cbs=Checkpoint()).add_cb(MixedPrecision('float16', scale=2.**30))
    with quiet(learn): learn.fit(1, 1e-3)
    scale = learn.mixed_precision.scaler.get_scale()
    assert scale < 2.**30
    again = tiny_learner(photos, tmp_path, cbs=Checkpoint(resume=True)).add_cb(MixedPrecision('float16', scale=4.))
    class First(Callback):
        def before_epoch(self): self.scale = getattr(self, 'scale', self.learn.mixed_precision.scaler.get_scale())
    with quiet(again): again.fit(2, 1e-3, cbs=(first := First()))
    assert first.scale == scale


def test_it_is_a_part_of_recipes():
    from lessonlib.checkpoint import from_recipe
    recipe = MixedPrecision('float16', scale=8.).recipe()
    assert recipe == {'part': 'scaling.MixedPrecision', 'dtype': 'float16', 'scale': 8.}
    assert repr(from_recipe(recipe)) == "MixedPrecision(dtype='float16', scale=8.0)"


def test_a_twin_has_its_own(photos, tmp_path):
    "lr_find in half precision: the model of the learner is neither trained nor hooked a second time."
    learn = tiny_learner(photos, tmp_path).to_bf16()
    before, hooks = {k: v.clone() for k, v in learn.model.state_dict().items()}, len(learn.model._forward_hooks)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learn.lr_find(num_it=12, show_plot=False)
    assert all(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())
    assert learn.mixed_precision.model is learn.model and len(learn.model._forward_hooks) == hooks
    learn.to_fp32()
    assert not learn.model._forward_hooks


# ---- memory

def test_step_memory_grows_with_area_and_leaves_no_trace(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    state = {k: v.clone() for k, v in learn.model.state_dict().items()}
    rng = torch.get_rng_state()
    learn.model.eval()
    small = learn.step_memory(2)
    assert not any(m.training for m in learn.model.modules())
    assert learn.step_memory(4) == pytest.approx(2 * small, rel=.05)
    sizes = {}
    for size in (32, 48, 64):
        learn.dls = loaders(photos, size=size, path=tmp_path)
        sizes[size] = learn.step_memory(2)
    grows = (sizes[64] - sizes[48]) / (sizes[48] - sizes[32])
    assert grows == pytest.approx((64**2 - 48**2) / (48**2 - 32**2), rel=.1)      # the head's share is the same
    assert all(torch.equal(v, state[k]) for k, v in learn.model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())
    with pytest.raises(ValueError, match='only 8 items'): learn.step_memory(9)


def test_batch_size_fits(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    for memory in (10**6, 10**7, 10**8):
        bs = learn.find_batch_size(memory, most=10**6)
        assert bs & (bs - 1) == 0 and bs * learn.step_memory(2) / 2 < memory
    assert learn.find_batch_size(10**12, most=64) == 64
    with pytest.raises(ValueError, match='Not even one item fits'): learn.find_batch_size(1000)


def test_free_memory():
    free = free_memory('cpu')
    assert free is None or 0 < free < 2**50


def test_memory_stays_flat(photos, tmp_path):
    "After twenty epochs no more memory and no more open files than after five."
    learn = tiny_learner(photos, tmp_path)
    def usage():
        gc.collect()
        pages = int(Path('/proc/self/statm').read_text().split()[1]) if Path('/proc/self/statm').exists() else 0
        return pages * 4096, len(os.listdir('/proc/self/fd')) if Path('/proc/self/fd').exists() else 0
    with quiet(learn):
        learn.fit(5, 1e-3)
        memory, files = usage()
        learn.fit(15, 1e-3)
    later, more_files = usage()
    assert later - memory < 20e6 and more_files <= files


# ---- the peak, foretold and watched

def everything(learn):
    "What a rehearsal must leave as it was"
    model = learn.model
    return dict(state={k: v.clone() for k, v in model.state_dict().items()}, modes=[m.training for m in model.modules()],
                grads=[None if p.grad is None else p.grad.clone() for p in model.parameters()],
                opt=[v.clone() for s in learn.opt.state.values() for v in s.values()] if learn.opt else [],
                random=_random_state(learn.dls), scale=getattr(getattr(learn, 'mixed_precision', 0), 'state_dict', dict)())


def same(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    if isinstance(a, dict): return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_live_memory_counts_each_storage_once_and_what_is_freed():
    with LiveMemory() as live:
        a = torch.zeros(250)
        views = a.view(50, 5).T, a[3:]
        b = a + 1
        assert live.now == live.peak == 2000
        del a, views
        assert (live.now, live.peak) == (1000, 2000)
    with LiveMemory([b]) as live:
        b.add_(1)
        assert live.now == 0


def test_foretold_and_measured(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    learn.unfreeze()
    for bs in (4, 8):
        assert learn.memory(bs).peak == pytest.approx(learn.peak_memory(bs), rel=.3)
    assert learn.memory(8)['activations'] == pytest.approx(2 * learn.memory(4)['activations'], rel=.02)
    learn.opt_func = torch.optim.SGD
    assert learn.memory()['optimiser'] == 0
    learn.freeze()
    assert learn.memory()['gradients'] == sum(p.nbytes for p in learn.model.parameters() if p.requires_grad)
    for bs in (0, 9):
        with pytest.raises(ValueError, match='has 8 items'): learn.peak_memory(bs)


@pytest.mark.parametrize('half', [False, True])
def test_a_rehearsal_leaves_no_trace(photos, tmp_path, half):
    learn = tiny_learner(photos, tmp_path, pretrained=False, cbs=[Checkpoint(every_batches=1), SaveModelCallback(fname='best')])
    if half: learn.add_cb(MixedPrecision('float16', scale=2.**40))     # each step overflows: the scale must not fall
    with quiet(learn): learn.fit(1, 1e-3)
    learn.model.train()
    next(learn.model.parameters()).grad = torch.ones_like(next(learn.model.parameters()))
    files = {f: f.stat().st_mtime_ns for f in tmp_path.rglob('*')}
    before = everything(learn)
    learn.peak_memory()
    learn.profile(n=2, warm_up=1, show_plot=False)
    assert same(before, everything(learn)) and files == {f: f.stat().st_mtime_ns for f in tmp_path.rglob('*')}
    class Fails(Callback):
        def after_step(self): raise RuntimeError('no more')
    with learn.added_cbs(Fails), pytest.raises(RuntimeError, match='no more'): learn.peak_memory()
    assert same(before, everything(learn))


# ---- blocks computed twice

class Block(nn.Module):
    "Something of each kind: a norm, dropout, a way around"
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(6, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.Dropout(.3)
    def forward(self, x, times=1.): return x + times * self.drop(self.norm(self.conv(x)).relu())


def row_learner(photos, tmp_path, twice, **kwargs):
    set_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Sequential(*[Block() for i in range(4)]), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten(), nn.Linear(6, 2))
    learn = Learner(loaders(photos, path=tmp_path), model, path=tmp_path, metrics=accuracy, **kwargs)
    return learn.checkpoint_activations() if twice else learn


def test_the_same_training(photos, tmp_path):
    both = []
    for twice in (False, True):
        learn = row_learner(photos, tmp_path, twice)
        set_seed(5)
        with quiet(learn): learn.fit(2, 1e-2)
        both.append((learn, torch.get_rng_state()))
    (one, rng), (two, other_rng) = both
    assert one.recorder.losses == pytest.approx(two.recorder.losses, rel=1e-5) and torch.equal(rng, other_rng)
    for (name, a), b in zip(one.model.state_dict().items(), two.model.state_dict().values()):
        assert torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-6), name
    assert one.model[1][0].norm.num_batches_tracked == two.model[1][0].norm.num_batches_tracked == 6
    assert two.model[1][0].norm.momentum == .1


def test_norms_take_in_a_batch_once(photos, tmp_path):
    "Bit for bit, with the usual average and with one over all batches"
    for momentum in (.1, None):
        stats = []
        for twice in (False, True):
            learn = row_learner(photos, tmp_path, twice)
            for block in learn.model[1]: block.norm.momentum = momentum
            x, y = learn.dls.one_batch()
            set_seed(0)
            learn.loss_func(learn.model.train()(x), y).backward()
            stats.append([b.clone() for b in learn.model.buffers()] + [p.grad for p in learn.model.parameters()])
        n = len(list(learn.model.buffers()))
        assert same(stats[0][:n], stats[1][:n]), momentum
        assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*stats))
        assert all(block.norm.momentum == momentum for block in learn.model[1])


def test_twice_is_less_memory_and_can_be_undone(photos, tmp_path):
    learn = row_learner(photos, tmp_path, twice=False)
    plain, names = learn.memory(), list(learn.model.state_dict())
    less = learn.checkpoint_activations().memory()
    assert less['activations'] < .5 * plain['activations'] and names == list(learn.model.state_dict())
    assert learn.checkpoint_activations().memory() == less          # not twice around
    assert learn.checkpoint_activations(blocks=[learn.model[1]]).memory()['activations'] < less['activations']
    assert learn.checkpoint_activations(False).memory() == plain
    assert not any('forward' in vars(m) for m in learn.model.modules())
    with pytest.raises(ValueError, match='no module of the model'): learn.checkpoint_activations(blocks=[Block()])
    assert not any('forward' in vars(m) for m in learn.model.modules())
    learn.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with pytest.raises(ValueError, match='no row of blocks'): learn.checkpoint_activations()


def test_twice_with_what_else_there_is(photos, tmp_path):
    "The finder's copy, half precision, a checkpoint taken up by a learner without, keywords, predictions"
    learn = row_learner(photos, tmp_path, True, cbs=Checkpoint())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learn.lr_find(num_it=12, show_plot=False)
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    x, _ = learn.dls.one_batch()
    learn.model.eval()
    plain = row_learner(photos, tmp_path, False)
    plain.model.load_state_dict(before)
    assert torch.equal(learn.model(x), plain.model.eval()(x))
    assert not torch.equal(learn.model[1][0](torch.ones(1, 6, 8, 8), times=2.), learn.model[1][0](torch.ones(1, 6, 8, 8)))
    assert same(before, learn.model.state_dict())
    with quiet(learn): learn.to_bf16().fit(1, 1e-3)
    learn.to_fp32().save('twice')
    other = row_learner(photos, tmp_path, False, cbs=Checkpoint(resume=True))
    with quiet(other): other.fit(2, 1e-3)
    assert len(other.recorder.values) == 2 and other.load('twice') is other


def test_export_knows_nothing_of_it(photos, tmp_path):
    from lessonlib.checkpoint import load_learner
    learn = vision_learner(loaders(photos, path=tmp_path), 'resnet18', pretrained=False, path=tmp_path)
    learn.checkpoint_activations()
    again = load_learner(learn.export())
    assert not any('forward' in vars(m) for m in again.model.modules())
    photo = sorted(photos.glob('*/*.png'))[0]
    assert torch.equal(learn.predict(photo)[2], again.predict(photo)[2])


def test_attention_twice():
    "Blocks that are given more than a tensor: the mask of a transformer; dropout leaves out the same"
    grads = []
    for twice in (False, True):
        set_seed(0)
        model = TransformerEncoder(50, 8, 3, 2, 16, dropout=.5)
        words = torch.tensor([[3, 4, 5, 0], [7, 8, 9, 10]])
        learn = Learner(DataLoaders.from_tensors((words, words), bs=2, device='cpu'), model, lambda pred, y: pred.square().mean())
        if twice: learn.checkpoint_activations()
        assert sum('forward' in vars(m) for m in model.modules()) == 3 * twice
        model.train()(words).square().sum().backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert grads[0] and all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads))


def wide_head(photos, tmp_path):
    "A small body that is frozen, and a layer on top with more weights than the body has activations"
    set_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2000),
                          nn.ReLU(), nn.Linear(2000, 500), nn.Linear(500, 2))
    return Learner(loaders(photos, path=tmp_path), model, path=tmp_path)


@pytest.mark.parametrize('half', [False, True])
def test_the_optimisers_room_is_no_items(photos, tmp_path, half):
    "What an optimiser needs for its largest weight, and copies in half precision, do not grow with the batch"
    learn = wide_head(photos, tmp_path)
    learn.model[0].requires_grad_(False)
    if half: learn.to_bf16()
    fixed = sum(learn.memory(2)[part] for part in ('weights', 'optimiser', 'gradients', 'workspace'))
    for memory in (2 * fixed, 5 * fixed):
        bs = learn.find_batch_size(memory, most=10**9)
        assert learn.memory(bs).peak < memory < learn.memory(4 * bs).peak


def test_copies_of_weights_do_not_grow_with_the_batch(photos, tmp_path):
    "In half precision a forward pass keeps each weight once more, in 16 bits"
    learn = wide_head(photos, tmp_path)
    copies = sum(p.nbytes for p in learn.model.parameters()) / 2
    full, half = ([learn.memory(bs)['activations'] for bs in (2, 200)] for learn in (learn, copy.deepcopy(learn).to_bf16()))
    assert half[1] - half[0] < full[1] - full[0] and half[0] > .9 * copies
    assert learn.to_bf16().memory().peak == pytest.approx(learn.peak_memory(), rel=.3)
