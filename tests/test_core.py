"""The workbench: randomness, devices, pictures, knobs and exercises."""
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from lessonlib import core


def draw():
    return random.random(), float(np.random.rand()), float(np.random.randn()), torch.rand(3).tolist()


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=20, deadline=None)
def test_seed_repeats(seed):
    core.set_seed(seed); first = draw()
    core.set_seed(seed)
    assert draw() == first


@given(st.one_of(st.none(), st.integers(0, 1000)), st.booleans())
@settings(max_examples=20, deadline=None)
def test_guard_hides_what_happens_inside(seed, fails):
    core.set_seed(5); draw(); expected = draw()
    core.set_seed(5); draw()
    try:
        with core.rng_guard(seed):
            draw()
            if fails: raise RuntimeError
    except RuntimeError: pass
    assert draw() == expected


def test_state_is_plain_enough_for_json_and_tensors():
    import json
    core.set_seed(9); draw()                       # leaves a cached gaussian in NumPy
    state = core.get_rng_state(); expected = draw()
    again = {name: value if isinstance(value, torch.Tensor) else json.loads(json.dumps(value))
             for name, value in state.items()}
    core.set_rng_state(again)
    assert draw() == expected


def test_device_from_environment(monkeypatch):
    monkeypatch.setenv('LESSONLIB_DEVICE', 'meta')
    assert core.default_device().type == 'meta'
    assert core.to_device([torch.ones(1)])[0].device.type == 'meta'


@pytest.mark.parametrize('image, shape', [
    (torch.rand(3, 5, 7), (5, 7, 3)), (torch.rand(1, 5, 7), (5, 7)), (torch.rand(5, 7), (5, 7)),
    (np.zeros((5, 7, 3), np.uint8), (5, 7, 3)), (Image.new('RGB', (7, 5)), (5, 7, 3)),
    (Image.new('L', (7, 5)), (5, 7)), (torch.rand(3, 5, 7, requires_grad=True), (5, 7, 3)),
    (torch.rand(3, 5, 7).to(torch.bfloat16), (5, 7, 3))])
def test_show_image_takes_every_kind(image, shape):
    import matplotlib
    matplotlib.use('agg')
    ax = core.show_image(image, title='x')
    assert ax.images[0].get_array().shape == shape
    matplotlib.pyplot.close('all')


def test_show_images_bad_input():
    with pytest.raises(ValueError, match='no picture'): core.show_images([])
    with pytest.raises(ValueError, match='2 pictures but 1 titles'): core.show_images(torch.rand(2, 4, 4), ['a'])


@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_stops_cover_the_range(low, width, most):
    stops = core._stops((low, low + width), most)
    assert len(stops) <= most and stops == sorted(stops)
    assert abs(stops[0] - low) < 1e-5 and abs(stops[-1] - low - width) < 1e-5


@given(st.integers(2, 300), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_stops_of_a_range_keep_both_ends(count, most):
    stops = core._stops(range(count), most)
    assert stops[0] == 0 and stops[-1] == count - 1 and len(stops) == min(most, count) == len(set(stops))


def test_explore_leaves_random_numbers_alone(monkeypatch):
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    monkeypatch.setenv('LESSONLIB_PAPER', '1')

    def noisy(size):
        figure, ax = plt.subplots(figsize=(1, 1)); ax.plot(torch.rand(size)); ax.set_title('noise')
        return figure
    core.set_seed(1); expected = draw()
    core.set_seed(1); page = core._explore_on_paper(noisy, {'size': range(2, 9)}, 4)
    assert draw() == expected
    assert 'alt="noise (size = ' in page and 'http' not in page
    assert not plt.get_fignums()


@pytest.mark.parametrize('choice', [3, 'abc', [1], ()])
def test_explore_refuses_what_cannot_be_turned(choice):
    with pytest.raises(ValueError, match='nothing to turn'): core.explore(lambda knob: None, knob=choice)
    with pytest.raises(ValueError, match='needs a knob'): core.explore(lambda: None)


def test_exercise_gives_the_next_hint_and_starts_again_when_right():
    @core.exercise('one', 'two')
    def check(answer):
        "it is three"
        assert answer == 3, f'got {answer}'
    said = []
    for answer in (1, ..., 2):
        with pytest.raises(core.Unsolved) as caught: check(answer)
        said.append(str(caught.value))
    assert said[0].startswith('Not yet: got 1') and said[0].endswith('Hint (1 of 2): one')
    assert said[1] == 'Nothing here yet: replace the ... with your answer'
    assert said[2].endswith('Hint (2 of 2): two')
    check(3)
    with pytest.raises(core.Unsolved, match='one'): check(1)


def test_expect_fails_when_nothing_does():
    with pytest.raises(AssertionError, match='nothing went wrong'):
        with core.expect(ValueError): pass
    with pytest.raises(KeyError):
        with core.expect(ValueError): raise KeyError


def test_import_is_light():
    code = ("import sys, lessonlib.core, lessonlib.sgd; "
            "print([m for m in ('matplotlib', 'pandas', 'torchvision', 'ipywidgets', 'IPython', 'sklearn') if m in sys.modules])")
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ})
    assert out.stdout.strip() == '[]', out.stdout + out.stderr


def test_a_film_plays_without_a_network(monkeypatch):
    "Every picture is there and described; the first one is shown before any script has run"
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    shown = []
    monkeypatch.setattr(core, '_show_html', shown.append)
    figure, ax = plt.subplots(figsize=(1, 1), layout='constrained')
    core.show_animation(figure, lambda frame: ax.set_title(str(frame)), frames=3, title='counting')
    page, = shown
    assert page.count('data:image/webp') == 3 + 1 and 'http' not in page and not plt.get_fignums()
    assert 'alt="counting (picture 1 of 3)" src="data:image/webp' in page
    assert '<button type="button" aria-label="play or pause">' in page and 'setInterval(step, 120)' in page


def test_prediction_outside_a_notebook_asks_nobody():
    with core.predict_first('Heads or tails?', 'heads', 'tails') as guess: guess.answer('tails', 'Chance.')
    assert guess.result == 'tails' and guess.kept is None
    with pytest.raises(RuntimeError, match='nobody said'):
        with core.predict_first('Heads or tails?', 'heads', 'tails'): pass
    with pytest.raises(ZeroDivisionError):
        with core.predict_first('Heads or tails?', 'heads', 'tails'): 1 / 0


def test_a_dim_grey_picture_is_shown_dim():
    import numpy as np
    def ends(image, **kwargs): return core.show_image(image, **kwargs).images[0].get_clim()
    dim = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert ends(dim) == (0, 255) and ends(Image.fromarray(dim)) == (0, 255) and ends(torch.from_numpy(dim)[None]) == (0, 255)
    assert ends(dim / 255) == (0, 1) and ends(torch.rand(1, 8, 8) * .1) == (0, 1)
    weights = np.linspace(-2, 3, 64).reshape(8, 8)                       # no picture: its own range
    assert ends(weights) == (-2, 3) and ends(dim, vmin=0, vmax=9) == (0, 9) and ends(dim, cmap='magma') == (0, 63)


def spoiled(values): values[0] = values[0] * 0 + 7
def sort_in_place(values): values.sort()
def leave_gradient(values): (values.requires_grad_() ** 2).sum().backward()


@pytest.mark.parametrize('spoil, value', [
    (spoiled, [3., 1.]), (spoiled, {0: 3.}), (spoiled, torch.tensor([3., 1.])), (spoiled, np.array([3., 1.])),
    (sort_in_place, [3, 1]), (leave_gradient, torch.ones(2)), (lambda values: values[0].append(1), ([3], 1)),
    (lambda values: values.update(b=1), {'a': 1})])
def test_an_answer_that_spoils_what_it_is_given_is_refused(spoil, value):
    "Also if its result is right"
    @core.exercise('work on a copy')
    def check_answer(answer): assert answer(value) == 'right'
    def answer(values):
        spoil(values)
        return 'right'
    with pytest.raises(core.Unsolved, match='answer has changed what it was given'): check_answer(answer)


@pytest.mark.parametrize('value', [[float('nan')], torch.tensor([float('nan'), 1.]), torch.ones(2, requires_grad=True) * 2,
                                   torch.ones(0), torch.tensor(1.), torch.ones(3, dtype=torch.bfloat16), {1, 2}, object()])
def test_an_answer_that_only_looks_is_not_suspected(value, capsys):
    @core.exercise('a hint')
    def check_answer(answer): assert answer(value, key=value) is value
    check_answer(lambda one, key: one)
    assert capsys.readouterr().out.startswith('Right')


def test_tensor_of_almost_anything():
    import pandas as pd
    from PIL import Image
    from lessonlib.core import tensor
    assert tensor(1, 2, 3).tolist() == [1, 2, 3] and tensor(1., 2).dtype == torch.float32 and tensor(3).shape == ()
    assert tensor([[1, 2]], [[3, 4]]).shape == (2, 1, 2)
    assert tensor(np.array([1, 2], np.int16)).dtype == torch.int16 and tensor([1, 2]).dtype == torch.int64
    assert tensor(np.array([1., 2.])).dtype == tensor(pd.Series([1., 2.])).dtype == torch.float32
    assert tensor([np.array([1., 2.]), np.array([3., 4.])]).shape == (2, 2)
    assert tensor([torch.ones(2), torch.ones(2)]).shape == (2, 2)
    picture = tensor(Image.new('RGB', (5, 4), 'white'))
    assert picture.shape == (4, 5, 3) and picture.dtype == torch.uint8 and picture.min() == 255
    assert tensor([1], dtype=torch.float16).dtype == torch.float16 and tensor([2.], requires_grad=True).requires_grad
    here = torch.rand(2)
    assert tensor(here) is here
    array = np.array([1, 2])
    made = tensor(array)
    made[0] = 9
    assert array[0] == 1, 'a copy'
    with pytest.raises(TypeError): tensor('picture')


def test_reproducible_asks_for_one_way_of_computing(monkeypatch):
    from lessonlib.core import set_seed
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        set_seed(1, True)
        first = torch.rand(3)
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        set_seed(1, reproducible=True)
        assert torch.equal(first, torch.rand(3))
    finally: torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
