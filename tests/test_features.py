"Hooks that leave no trace, statistics, starts, peaks and heat maps against what can be worked out by hand, and near duplicates."
import copy
import gc
import math
import random
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.animals import animal_learner, animals  # noqa: F401
from helpers.real_lesson import needs_mirror, printed_on_real_data

from lessonlib.batches import DataLoaders
from lessonlib.bodies import create_body
from lessonlib.core import set_seed
from lessonlib.features import (ActivationStats, Hook, Hooks, Peaks, duplicates, find_layer, get_features, grad_cam,
                                hook_output, hook_outputs, lsuv_init, maximize_channel, neighbours, occlusion,
                                receptive_field, show_heatmap, top_patches)
from lessonlib.learner import Callback, Learner
from lessonlib.pets import small_resnet
from lessonlib.transfer import vision_learner


def net(n_out=3, seed=0):
    "Convolutions, an in-place ReLU, pooling, a linear layer"
    set_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                         nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Dropout(.5),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, n_out))


def pictures(n=24, side=12, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, side, side, generator=draw), torch.randint(0, 3, (n,), generator=draw)


def learner(model=None, **kwargs):
    dls = DataLoaders.from_tensors(pictures(), pictures(10, seed=2), bs=8, device='cpu', vocab=['cat', 'dog', 'emu'])
    learn = Learner(dls, model or net(), F.cross_entropy, path='/nowhere', **kwargs)
    learn.model.eval()
    return learn


def hooks_in(model): return sum(len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class Untouched:
    "Weights, averages, modes, gradients, hooks and random numbers are afterwards as they were before"
    def __init__(self, model): self.model = model
    def state(self):
        return ({name: value.clone() for name, value in self.model.state_dict().items()},
                [m.training for m in self.model.modules()],
                [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in self.model.parameters()])
    def __enter__(self):
        next(self.model.parameters()).grad = torch.ones_like(next(self.model.parameters()))
        self.model[0].train()      # a mixture of modes
        self.before, self.numbers = self.state(), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    def __exit__(self, *error):
        if any(error): return
        weights, modes, grads = self.state()
        assert all(torch.equal(weights[name], value) for name, value in self.before[0].items())
        assert modes == self.before[1]
        for now, then in zip(grads, self.before[2]):
            assert now[0] == then[0] and (now[1] is then[1] is None or torch.equal(now[1], then[1]))
        assert hooks_in(self.model) == 0
        assert torch.equal(torch.get_rng_state(), self.numbers[0])
        assert random.getstate() == self.numbers[1] and (np.random.get_state()[1] == self.numbers[2]).all()


# -- hooks ----------------------------------------------------------------------------------------------------------

def test_a_hook_keeps_what_came_out_before_something_wrote_over_it():
    model, (x, _) = net().eval(), pictures()
    with hook_outputs(model) as hooks: model(x)
    by_hand = x
    for layer, stored in zip(model, hooks.stored):
        by_hand = copy.deepcopy(layer)(by_hand.clone())
        assert torch.allclose(stored, by_hand, atol=1e-6) and not stored.requires_grad
    assert (hooks[1].stored < 0).any() and (hooks[3].stored < 0).any()


def test_hooks_are_gone_after_the_block_and_after_errors():
    model, (x, _) = net(), pictures()
    with Hooks(model, lambda *args: None) as hooks: assert hooks_in(model) == len(model) == len(hooks)
    assert hooks_in(model) == 0
    with pytest.raises(RuntimeError), Hooks(model): model(x[:, :1])
    with pytest.raises(ZeroDivisionError), Hook(model[0], lambda *args: 1 / 0): model(x)
    with pytest.raises(TypeError, match='find_layer'): Hooks([model[0], model[1], 'layer4'])
    with pytest.raises(TypeError, match='find_layer'): Hook(None)
    assert hooks_in(model) == 0


def test_removing_twice_and_hooks_of_others():
    model, (x, _) = net(), pictures()
    other = model[0].register_forward_hook(lambda *args: None)
    with hook_output(model[0]) as hook: hook.remove()
    assert list(model[0]._forward_hooks) == [other.id]
    model(x)
    assert hook.stored is None


def test_nothing_keeps_a_hook_or_its_activation_alive():
    model, (x, _) = net(), pictures()
    with hook_output(model[3], grad=True) as back, hook_output(model[3], detach=False) as hook: y = model(x)
    y.sum().backward()
    alive = [weakref.ref(thing) for thing in (hook, back, hook.stored, back.stored[0])]
    del hook, back, y
    gc.collect()
    assert [ref() for ref in alive] == [None] * 4


def test_gradients_at_a_layer_equal_those_of_autograd():
    model, (x, _) = net().eval(), pictures()
    with hook_output(model[1], grad=True) as back: model(x)[:, 1].sum().backward()    # an in-place ReLU comes next
    before = model[1](model[0](x)).detach().requires_grad_()
    want, = torch.autograd.grad(model[2:](before.clone())[:, 1].sum(), before)
    assert torch.allclose(back.stored[0], want, atol=1e-6)


def test_outputs_that_are_no_tensor():
    class Two(nn.Module):
        def forward(self, x): return dict(a=x, b=(x + 1, 'word'))
    with hook_output(module := Two()) as hook: module(torch.ones(2))
    assert torch.equal(hook.stored['b'][0], torch.full((2,), 2.)) and hook.stored['b'][1] == 'word'


def test_layers_by_name():
    model = small_resnet(3)
    assert find_layer(model, '2.convs.0') is model[2].convs[0] and find_layer(model, 3) is model[3]
    assert find_layer(model, model[4]) is model[4]
    with pytest.raises(ValueError, match="Did you mean '2.convs'"): find_layer(model, '2.conv')
    with pytest.raises(ValueError, match='no layer this Linear'): find_layer(model, nn.Linear(2, 2))


# -- statistics -----------------------------------------------------------------------------------------------------

def test_statistics_equal_a_hand_made_forward():
    stats = ActivationStats(with_hist=True)
    learn = learner(cbs=stats)
    seen = []
    class Copy(Callback):
        def before_batch(self):
            if not self.learn.training: return
            model = net()
            model[5] = nn.Identity()
            model.load_state_dict(self.learn.model.state_dict())
            with torch.no_grad():
                x = self.learn.xb[0]
                rows = []
                for layer in model:
                    x = layer(x)
                    if list(layer.parameters()): rows.append(x.clone())
                seen.append(rows)
    torch.manual_seed(3)
    learn.model[5] = nn.Identity()          # no dropout: the same numbers twice
    with learn.no_logging(): learn.fit(2, 1e-2, cbs=Copy)
    assert stats.layer_stats(0).shape == (3, 6) and len(seen) == 6
    for batch, rows in enumerate(seen):
        for idx, x in enumerate(rows):
            want = [x.mean().item(), x.std().item(), (x.abs() < .05).float().mean().item()]
            assert stats.layer_stats(idx)[:, batch].tolist() == pytest.approx(want, abs=1e-5)
            assert stats.hists[batch][idx] == x.abs().histc(40, 0, 10).tolist()


def test_statistics_leave_no_trace_and_change_nothing():
    runs = []
    for cbs in (None, ActivationStats(with_hist=True)):
        learn = learner(cbs=cbs)
        set_seed(7)
        with learn.no_logging(): learn.fit(2, 1e-2)
        runs.append([v.clone() for v in learn.model.state_dict().values()])
        assert hooks_in(learn.model) == 0
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_statistics_after_an_error_and_in_a_second_fit():
    stats = ActivationStats(every=2)
    learn = learner(cbs=stats)
    class Stop(Callback):
        def after_loss(self):
            if self.learn.iter == 1: raise KeyboardInterrupt
    with learn.no_logging():
        with pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=Stop)
        assert hooks_in(learn.model) == 0 and len(stats.stats) == 1
        learn.fit(2)
        assert hooks_in(learn.model) == 0 and len(stats.stats) == 4      # batches 0 and 2, twice
        learn.validate()
        learn.get_preds()
    assert len(stats.stats) == 4


def test_memory_is_constant_over_epochs():
    "After each epoch there are as many tensors as after the one before."
    counts = []
    class Count(Callback):
        def after_epoch(self):
            gc.collect()
            counts.append(sum(isinstance(o, torch.Tensor) for o in gc.get_objects()))
    learn = learner(cbs=ActivationStats(with_hist=True))
    with learn.no_logging(): learn.fit(5, cbs=Count)
    assert len(set(counts[1:])) == 1, counts


def test_statistics_are_drawn():
    import matplotlib.pyplot as plt
    learn = learner(cbs=ActivationStats(modules=None))
    with learn.no_logging(): learn.fit(1)
    axes = learn.activation_stats.plot_layer_stats(-1)
    assert [ax.get_xlabel() for ax in axes] == ['batch'] * 3 and all(ax.get_title() for ax in axes)
    with pytest.raises(ValueError, match='with_hist=True'): learn.activation_stats.color_dim(0)
    learn = learner(cbs=ActivationStats(with_hist=True))
    with learn.no_logging(): learn.fit(1)
    assert learn.activation_stats.color_dim(0).images[0].get_array().shape == (40, 3)
    plt.close('all')


def test_a_layer_that_is_not_used_has_no_numbers():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(432, 3), nn.Linear(2, 2)
        def forward(self, x): return self.used(x.flatten(1))
    learn = learner(Half(), cbs=ActivationStats)
    with learn.no_logging(): learn.fit(1)
    assert learn.activation_stats.layer_stats(0).isfinite().all() and learn.activation_stats.layer_stats(1).isnan().all()


# -- first weights --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('make', [lambda: nn.Linear(300, 500), lambda: nn.Conv2d(40, 500, 3), lambda: nn.Conv1d(90, 500, 5)])
def test_kaimings_formula_keeps_the_mean_square(make):
    set_seed(0)
    layer = make()
    nn.init.kaiming_normal_(layer.weight)
    n = layer.weight[0].numel()
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / n), rel=.03)
    nn.init.zeros_(layer.bias)
    shape = {nn.Linear: (500, 300), nn.Conv2d: (8, 40, 8, 8), nn.Conv1d: (40, 90, 40)}[type(layer)]
    x = torch.randn(shape).relu()
    assert layer(x).var().item() == pytest.approx(2 * x.square().mean().item(), rel=.1)


@pytest.mark.parametrize('bias', [True, False])
def test_lsuv_gives_every_layer_unit_variance(bias):
    set_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.Sigmoid(), nn.Dropout(.5), nn.Conv2d(8, 8, 3, groups=2, bias=bias),
                          nn.GELU(), nn.Flatten(), nn.Linear(512, 20, bias=bias), nn.ReLU(inplace=True), nn.Linear(20, 3, bias=bias))
    x = 40 * pictures(64, side=12)[0] - 7
    modes = [m.training for m in model.modules()]
    assert lsuv_init(model, x) is model
    layers = [m for m in model if hasattr(m, 'weight')]
    with hook_outputs(layers) as hooks, torch.no_grad(): copy.deepcopy(model).eval()(x), model.eval()(x)
    for output in hooks.stored:
        assert output.std().item() == pytest.approx(1, abs=1e-3)
        if bias: assert output.mean().item() == pytest.approx(0, abs=1e-3)
    model.train()
    assert [m.training for m in model.modules()] == modes and hooks_in(model) == 0


def test_lsuv_on_a_dead_layer_names_it():
    model, (x, _) = net(), pictures()
    nn.init.zeros_(model[3].weight), nn.init.zeros_(model[3].bias)
    with pytest.raises(ValueError, match="Layer '3' gives outputs of spread 0"): lsuv_init(model, x)
    assert hooks_in(model) == 0 and model.training


# -- what layers look for ---------------------------------------------------------------------------------------------

def test_features_are_averages_of_the_last_maps():
    learn = learner()
    with Untouched(learn.model): found = get_features(learn)
    x, _ = pictures(10, seed=2)
    with torch.no_grad(): want = copy.deepcopy(learn.model).eval()[:6](x).mean((2, 3))
    assert torch.allclose(found, want, atol=1e-5)
    with torch.no_grad(): early = copy.deepcopy(learn.model).eval()[:2](x).mean((2, 3))
    assert torch.allclose(get_features(learn, layer='1'), early, atol=1e-5)


def test_features_of_a_transformer_are_averages_of_its_tokens():
    body, x = create_body('vit_tiny_patch16_224', pretrained=False).eval(), torch.rand(2, 3, 224, 224)
    dls = DataLoaders.from_tensors((x, torch.zeros(2).long()), (x, torch.zeros(2).long()), bs=2, device='cpu')
    learn = Learner(dls, nn.Sequential(body, nn.Flatten(), nn.Linear(192 * 196, 3)), F.cross_entropy, path='/nowhere')
    with torch.no_grad(): want = body.net.forward_features(x)[:, 1:].mean(1)
    assert torch.allclose(get_features(learn), want, atol=1e-4)
    learn.model = nn.Sequential(nn.Flatten(2), nn.Linear(224 * 224, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(ValueError, match='does not end in maps'): get_features(learn)


def test_features_of_the_training_set_are_in_order():
    learn = learner()
    with torch.no_grad(): want = copy.deepcopy(learn.model).eval()[:6](pictures()[0]).mean((2, 3))
    assert torch.allclose(get_features(learn, 0), want, atol=1e-5)


@pytest.mark.parametrize('layers', [[(3, 1)], [(3, 2), (3, 1)], [(7, 2), (3, 2), (3, 1)], [(1, 1), (5, 3), (3, 1)]])
def test_receptive_field_is_what_arithmetic_says(layers):
    field, step = 1, 1
    for kernel, stride in layers: field, step = field + (kernel - 1) * step, step * stride
    model = nn.Sequential(*(nn.Conv2d(3, 3, kernel, stride) for kernel, stride in layers))
    assert receptive_field(model, len(layers) - 1, 80) == field
    with pytest.raises(ValueError, match='no places'): receptive_field(net(), '8', 16)


class FunctionalDead(nn.Module):
    "A ReLU that is no layer, and lets nothing through"
    def __init__(self):
        super().__init__()
        self.conv, self.end = nn.Conv2d(3, 2, 3), nn.Identity()
    def forward(self, x): return self.end((self.conv(x) - 99).relu())


@pytest.mark.parametrize('inplace', [False, True])
def test_a_relu_that_is_shut_hides_no_pixels(inplace):
    "With one channel a picture of noise often does not pass, and the field came out too small"
    for seed in range(20):
        set_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(inplace), nn.Conv2d(1, 1, 3), nn.ReLU6(inplace), nn.Conv2d(1, 1, 3))
        x = torch.randn(2, 3, 16, 16)
        before = model(x)
        assert [receptive_field(model, i, 40) for i in range(5)] == [3, 3, 5, 5, 7], seed
        assert torch.equal(model(x), before) and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ValueError, match='No gradient comes'): receptive_field(FunctionalDead(), 'end', 40)


def test_peaks_are_where_the_maps_are_highest():
    learn = learner()
    with Untouched(learn.model): peaks = Peaks(learn, ['1', '4'])
    with torch.no_grad(): maps = copy.deepcopy(learn.model).eval()[:2](pictures(10, seed=2)[0])
    assert torch.allclose(peaks.peaks[0][0], maps.amax((2, 3)), atol=1e-5)
    patches = peaks.top('1', 2, n=4)
    assert [p.value for p in patches] == sorted(maps[:, 2].amax((1, 2)).tolist(), reverse=True)[:4]
    best = patches[0]
    row, column = divmod(maps[best.item, 2].flatten().argmax().item(), 12)
    assert best.pixels.shape == (3, 3, 3)
    assert abs(best.corner[0] + 1 - row) <= 1 and abs(best.corner[1] + 1 - column) <= 1
    top, left = best.corner
    assert torch.equal(best.pixels, pictures(10, seed=2)[0][best.item][:, top:top + 3, left:left + 3])
    assert [p.item for p in top_patches(learn, '1', 2, n=4)] == [p.item for p in patches]


def test_a_planted_spot_is_found_by_a_channel_that_looks_for_it():
    model = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(240, 3))
    nn.init.ones_(model[0].weight)
    x = torch.zeros(6, 3, 12, 20)
    places = [(1, 1), (5, 17), (9, 2), (6, 6), (2, 9), (10, 18)]
    for i, (row, column) in enumerate(places): x[i, :, row - 1:row + 2, column - 1:column + 2] = 1 - i / 10
    dls = DataLoaders.from_tensors((x, torch.zeros(6).long()), (x, torch.zeros(6).long()), bs=4, device='cpu')
    patches = top_patches(Learner(dls, model, F.cross_entropy, path='/nowhere'), '0', 0, n=6)
    assert [p.item for p in patches] == list(range(6))
    assert [p.corner for p in patches] == [(row - 1, column - 1) for row, column in places]
    assert all(torch.allclose(p.pixels, torch.full((3, 3, 3), 1 - i / 10)) for i, p in enumerate(patches))


@pytest.mark.parametrize('ask, message', [
    (lambda learn: Peaks(learn, '9'), 'no layer'), (lambda learn: Peaks(learn, '8'), 'no places'),
    (lambda learn: Peaks(learn, '1').top('4', 0), 'No peaks of'), (lambda learn: Peaks(learn, '1').top('1', 6), 'channels 0 to 5'),
    (lambda learn: maximize_channel(learn, '1', 6), 'channels 0 to 5'), (lambda learn: maximize_channel(learn, '1', [0, -1]), 'not -1'),
    (lambda learn: get_features(learn, layer='7.1'), 'no layer'),
    (lambda learn: maximize_channel(nn.ModuleDict(dict(a=nn.Conv2d(3, 2, 3))), 'b', 0), 'no layer')])
def test_bad_layers_and_channels(ask, message):
    learn = learner()
    with pytest.raises(ValueError, match=message): ask(learn)
    assert hooks_in(learn.model) == 0 and not any(m.training for m in learn.model.modules())


def test_drawn_pictures_excite_their_channels():
    learn = learner()
    with Untouched(learn.model): drawn = maximize_channel(learn, '3', [3, 5], steps=25, size=24)
    assert drawn.shape == (2, 3, 24, 24) and 0 <= drawn.min() and drawn.max() <= 1
    assert torch.equal(drawn, maximize_channel(learn, '3', [3, 5], steps=25, size=24))
    before = maximize_channel(learn, '3', [3, 5], steps=0, size=24)
    def mean(x):
        with torch.no_grad(): return learn.model.eval()[:4](x)[range(2), [3, 5]].mean((1, 2))
    assert (mean(drawn) > mean(before) + .05).all()
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)
        def forward(self, x): return self.used(x)
    with pytest.raises(ValueError, match='does not use this Conv2d'): maximize_channel(Aside(), 'unused', 0)
    assert maximize_channel(learn.model, learn.model[3], 1, steps=1, size=24).shape == (1, 3, 24, 24)


# -- where it looked ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('target', ['cat', 'emu', None])
def test_grad_cam_is_the_class_activation_map_where_the_head_is_an_average_and_linear(target):
    learn = learner()
    x = pictures(10, seed=2)[0][4]
    with Untouched(learn.model): heat = grad_cam(learn, x, target)
    model = copy.deepcopy(learn.model).eval()
    with torch.no_grad(): maps, scores = model[:6](x[None])[0], model(x[None])[0]
    number = scores.argmax().item() if target is None else ['cat', 'dog', 'emu'].index(target)
    cam = torch.einsum('k,khw->hw', model[8].weight[number].detach(), maps)
    assert torch.allclose(heat.values, cam.relu() / cam.numel(), atol=1e-6)
    assert (cam.mean() + model[8].bias[number]).item() == pytest.approx(scores[number].item(), abs=1e-5)
    assert (heat.label, heat.score) == (['cat', 'dog', 'emu'][number], pytest.approx(scores[number].item(), abs=1e-5))
    assert torch.equal(heat.picture, x)


@pytest.mark.parametrize('frozen', [True, False])
def test_grad_cam_at_a_layer_before_an_in_place_relu(frozen):
    learn = learner()
    for p in learn.model.parameters(): p.requires_grad_(not frozen)
    x = pictures(10, seed=2)[0][4]
    heat = grad_cam(learn, x, 'dog', layer='1')
    model = copy.deepcopy(learn.model).eval()
    maps = model[:2](x[None]).detach().requires_grad_()
    slopes, = torch.autograd.grad(model[2:](maps.clone())[0, 1], maps)
    want = (slopes.mean((2, 3), keepdim=True) * maps).sum(1)[0].relu().detach()
    assert torch.allclose(heat.values, want, atol=1e-6) and want.max() > 0


def test_grad_cam_on_a_bare_model():
    model, x = net().eval(), pictures()[0][0]
    heat = grad_cam(model, x, 2)
    assert heat.values.shape == (6, 6) and heat.label == 2
    assert torch.allclose(heat.values, grad_cam(learner(model), x, 'emu').values, atol=1e-6)
    with pytest.raises(TypeError, match='takes a tensor'): grad_cam(model, 'cat.jpg')
    with pytest.raises(ValueError, match='no class 3'): grad_cam(model, x, 3)
    with torch.no_grad(): assert grad_cam(model, x).values.shape == (6, 6)       # it turns gradients on for itself


@pytest.mark.parametrize('arch', ['resnet18', 'efficientnet_lite0'])
def test_grad_cam_on_the_model_of_a_vision_learner(arch, animals):  # noqa: F811
    "Two poolings, norms, dropout and two linear layers behind a body with in-place ReLUs"
    set_seed(3)
    learn, x = vision_learner(animal_learner(animals).dls, arch, pretrained=False), torch.rand(3, 96, 96)
    with Untouched(learn.model): heats = [grad_cam(learn.model, x, number).values for number in (0, 1)]
    body, head = copy.deepcopy(learn.model).eval()
    maps = body(x[None]).detach().requires_grad_()
    for number, heat in enumerate(heats):
        slopes, = torch.autograd.grad(head(maps)[0, number], maps)
        want = (slopes.mean((2, 3), keepdim=True) * maps).sum(1)[0].relu()
        assert heat.shape == (3, 3) and torch.allclose(heat, want, atol=1e-6)
    assert max(heats[0].max(), heats[1].max()) > 0
    assert grad_cam(create_body_with_head(arch), x, 1).values.shape == (3, 3)


def create_body_with_head(arch):
    body = create_body(arch, pretrained=False)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(body.n_features, 4))


def test_a_transformer_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match='gives .1, 192, 196, 1.*A transformer gives tokens in a row'):
        grad_cam(create_body_with_head('vit_tiny_patch16_224'), torch.rand(3, 224, 224), 0)


def test_grad_cam_on_files(animals):  # noqa: F811
    learn = animal_learner(animals)
    learn.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    file = learn.dls.valid_ds.items[0]
    with Untouched(learn.model): heat = grad_cam(learn, file, 'dog')
    assert heat.values.shape == (14, 14) and heat.picture.shape == (3, 16, 16) and heat.picture.max() <= 1
    assert repr(heat).startswith("Heatmap of 14×14 for 'dog'")
    with pytest.raises(FileNotFoundError, match='nobody.png'): grad_cam(learn, animals/'nobody.png')
    with pytest.raises(ValueError, match="no class 'dogg'. Did you mean 'dog'"): grad_cam(learn, file, 'dogg')
    with pytest.raises(ValueError, match='no layer'): grad_cam(learn, file, layer='conv')
    assert hooks_in(learn.model) == 0


def test_layers_that_say_nothing_about_places():
    learn, x = learner(), pictures()[0][0]
    for layer in ('6', '7', '8'):
        with pytest.raises(ValueError, match='no places'): grad_cam(learn, x, layer=layer)
    with pytest.raises(ValueError, match='This Sequential does not end in maps'):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(432, 3)), x)
    with pytest.raises(ValueError, match='a score for each class'): grad_cam(nn.Sequential(nn.Conv2d(3, 2, 3)), x)
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)
        def forward(self, x):
            self.b(x)
            return self.a(x).mean((2, 3))
    for layer in ('b', 'c'):
        with pytest.raises(ValueError, match=f"do not depend on layer '{layer}'"): grad_cam(Aside(), x, layer=layer)
    assert hooks_in(learn.model) == 0


def brightness_model():
    "Class 1 scores by the brightness of rows 8 to 11, columns 2 to 5"
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
        def forward(self, x):
            spot = x[:, :, 8:12, 2:6].mean((1, 2, 3)) * self.weight
            return torch.stack([torch.zeros_like(spot), spot], 1)
    return Looks()


@pytest.mark.parametrize('size, stride', [(4, 2), (4, 1), (6, 3), (5, 4)])
def test_occlusion_finds_a_planted_square(size, stride):
    x = torch.zeros(3, 20, 24)
    x[:, 8:12, 2:6] = 1
    heat = occlusion(brightness_model(), x, 1, size=size, stride=stride, bs=7)
    assert heat.values.shape == (20, 24)
    row, column = divmod(heat.values.argmax().item(), 24)
    assert 8 <= row < 12 and 2 <= column < 6
    far = torch.ones(20, 24, dtype=torch.bool)
    far[max(0, 9 - size):11 + size, :5 + size] = False
    assert heat.values[far].abs().max() < 1e-6 and heat.score == pytest.approx(1)
    with pytest.raises(ValueError, match='has to fit'): occlusion(brightness_model(), x, 1, size=21)
    with pytest.raises(ValueError, match='has to fit'): occlusion(brightness_model(), x, 1, size=3, stride=-1)


def test_occlusion_equals_a_loop():
    learn, x = learner(), pictures()[0][0]
    with Untouched(learn.model): heat = occlusion(learn, x, 'emu', size=5, stride=3, bs=3)
    model, total, count = copy.deepcopy(learn.model).eval(), torch.zeros(12, 12), torch.zeros(12, 12)
    with torch.no_grad():
        for top in (-2, 1, 4, 7, 10):
            for left in (-2, 1, 4, 7, 10):
                covered = x.clone()
                rows, columns = slice(max(top, 0), top + 5), slice(max(left, 0), left + 5)
                covered[:, rows, columns] = x.mean((1, 2))[:, None, None]
                total[rows, columns] += (model(x[None]) - model(covered[None]))[0, 2]
                count[rows, columns] += 1
    assert torch.allclose(heat.values, total / count, atol=1e-5)


def test_heat_is_drawn_on_the_picture():
    import matplotlib.pyplot as plt
    heat = torch.tensor([[-1., 0.], [0., 4.]])
    ax = show_heatmap(torch.rand(3, 8, 8), heat, title='warm', alpha=.5)
    alpha = ax.images[1].get_alpha()
    assert alpha.shape == (8, 8) and alpha[-1, -1] == .5 and alpha[0, 0] == 0 and ax.get_title() == 'warm'
    assert show_heatmap(torch.rand(1, 8, 8), torch.zeros(2, 2)).images[1].get_alpha().max() == 0
    learn = learner()
    assert grad_cam(learn, pictures()[0][0]).show().get_title().startswith('Heat for ')
    plt.close('all')


# -- look-alikes ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('own', [True, False])
def test_neighbours_equal_those_of_scikit_learn(own):
    from sklearn.neighbors import NearestNeighbors
    draw = torch.Generator().manual_seed(3)
    features, queries = (torch.randn(n, 8, generator=draw) for n in (40, 9))
    search = NearestNeighbors(metric='cosine', algorithm='brute').fit(features)
    distances, places = search.kneighbors(n_neighbors=4) if own else search.kneighbors(queries, 4)
    ours, where = neighbours(features, None if own else queries, 4)
    assert where.tolist() == places.tolist() and np.allclose(1 - ours.numpy(), distances, atol=1e-5)


def test_as_many_neighbours_as_there_are():
    features = torch.eye(4)
    assert neighbours(features, k=3)[1].shape == (4, 3) and neighbours(features, features[:1], 4)[1][0, 0] == 0
    for k in (0, 4):
        with pytest.raises(ValueError, match='3 to choose from'): neighbours(features, k=k)


def test_duplicates_found_are_those_planted():
    draw = torch.Generator().manual_seed(4)
    first, second = torch.randn(30, 50, generator=draw), torch.randn(60, 50, generator=draw)
    planted = {(3, 7): .01, (8, 50): .1, (29, 0): .2}
    for (i, j), noise in planted.items(): second[j] = 3 * first[i] + noise * torch.randn(50, generator=draw)
    found = duplicates(first, second)
    assert [(i, j) for _, i, j in found] == list(planted)          # the most similar first
    assert [s for s, _, _ in found] == sorted((s for s, _, _ in found), reverse=True)
    assert duplicates(first[:3], second) == [] and len(duplicates(first, second, at_least=-1.1)) == 1800


# -- the lesson on real photos ------------------------------------------------------------------------------------------

@needs_mirror
def test_the_lesson_runs_unchanged_on_real_photos(root, tmp_path, monkeypatch):
    printed = printed_on_real_data(root/'nbs'/'36_features.ipynb', ['oxford-iiit-pet.tgz'], tmp_path, monkeypatch)
    assert 'still dogs' in printed
