"Memory and mixed precision."
import gc
import os
import warnings
from pathlib import Path

import pytest
import torch

from helpers.small_photos import home, loaders, photos, tiny_learner  # noqa: F401  fixtures too

from lessonlib.checkpoint import Checkpoint
from lessonlib.learner import Callback
from lessonlib.scaling import MixedPrecision, free_memory


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
