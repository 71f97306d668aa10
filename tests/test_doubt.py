"Probabilities that can be believed: bins, temperature, thresholds, and inputs that have changed."
import math

import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn
from torch.nn import functional as F

from lessonlib.batches import DataLoaders, mae
from lessonlib.core import set_seed
from lessonlib.doubt import answered, fit_temperature, InputWatch, ks_distance, ks_limit, Reliability, Temperature
from lessonlib.learner import Learner


def claims(n=4000, sure=2.):
    "Scores that claim `sure` times too much, and targets drawn from what would be true"
    set_seed(0)
    true = torch.randn(n, 3)
    return sure * true, torch.multinomial(true.softmax(1), 1)[:, 0]


def test_the_error_is_that_of_the_bins():
    probs, targets = torch.tensor([[.95, .05], [.9, .1], [.4, .6], [.55, .45]]), torch.tensor([0, 1, 1, 1])
    found = Reliability.of(probs, targets)
    by_hand = 2/4 * abs((.95 + .9) / 2 - .5) + 1/4 * abs(.6 - 1) + 1/4 * abs(.55 - 0)
    assert found.ece == pytest.approx(by_hand, abs=1e-6)
    assert Reliability.of(torch.tensor([[1., 0.]]), torch.tensor([0])).ece == 0      # in the last bin
    ax = found.plot()
    assert f'{found.ece:.3f}' in ax.get_title() and ax.get_xlabel() and ax.get_ylabel()


@pytest.mark.parametrize('probs, targets', [(torch.rand(3), torch.zeros(3)), (torch.rand(3, 2), torch.zeros(2)),
                                            (torch.rand(3, 2, 4), torch.zeros(3, 4))])
def test_other_shapes_are_refused(probs, targets):
    for function in (Reliability.of, fit_temperature):
        with pytest.raises(ValueError, match='One class an item'): function(probs, targets)


@pytest.mark.parametrize('sure', [.5, 1., 2., 5.])
def test_the_temperature_is_found_again(sure):
    scores, targets = claims(sure=sure)
    found = fit_temperature(scores, targets)
    assert found == pytest.approx(sure, rel=.1)
    near = [F.cross_entropy(scores / t, targets) for t in (found * .98, found, found * 1.02)]
    assert near[1] < near[0] and near[1] < near[2]
    assert Reliability.of((scores / found).softmax(1), targets).ece < .03


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match='nan or infinite'): fit_temperature(torch.tensor([[math.nan, 1.]]), torch.tensor([0]))
    with pytest.raises(ValueError): fit_temperature(torch.zeros(0, 2), torch.zeros(0))


def learner():
    set_seed(0)
    x = torch.randn(600, 4)
    y = torch.multinomial((x[:, :3] * 1.).softmax(1), 1)[:, 0]
    dls = DataLoaders.from_tensors((x[:300], y[:300]), (x[300:], y[300:]), bs=50, vocab=['a', 'b', 'c'], device='cpu')
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.copy_(4 * torch.eye(3, 4))
        model.bias.zero_()
    return Learner(dls, model, nn.CrossEntropyLoss())


def test_calibrate_keeps_the_answers_and_changes_the_claims():
    learn = learner()
    plain = learn.get_preds(act=lambda scores: scores)[0]
    before, loss = learn.predict(learn.dls.valid.dataset[0][0]), learn.validate()[0]
    found = learn.calibrate()
    assert found.temperature == pytest.approx(4, rel=.3)
    after = learn.predict(learn.dls.valid.dataset[0][0])
    assert after[0] == before[0] and after[2].max() < before[2].max()
    assert torch.allclose(learn.get_preds(act=lambda scores: scores)[0], plain / found.temperature, atol=1e-5)
    assert learn.validate()[0] < loss
    assert learn.calibrate().temperature == pytest.approx(found.temperature)         # not once more on top
    assert sum(isinstance(cb, Temperature) for cb in learn.cbs) == 1


def test_training_sees_the_scores_as_they_are():
    weights = []
    for temperature in (None, 50.):
        learn = learner()
        if temperature: learn.add_cb(Temperature(temperature))
        with learn.no_logging(): learn.fit(1, .1)
        weights.append(learn.model.weight.detach().clone())
    assert torch.equal(*weights)


def test_numbers_as_targets_have_no_temperature():
    dls = DataLoaders.from_tensors((torch.rand(8, 3), torch.rand(8, 1)), (torch.rand(8, 3), torch.rand(8, 1)), bs=4, device='cpu')
    learn = Learner(dls, nn.Linear(3, 1), nn.MSELoss(), metrics=mae)
    with pytest.raises(ValueError, match='one class each'): learn.calibrate()
    assert not any(isinstance(cb, Temperature) for cb in learn.cbs)


def test_answered():
    probs, targets = torch.tensor([[.9, .1], [.6, .4], [.3, .7]]), torch.tensor([0, 1, 1])
    assert answered(probs, targets, 0) == pytest.approx((1, 2/3))
    assert answered(probs, targets, .65) == pytest.approx((2/3, 1))
    share, right = answered(probs, targets, .99)
    assert share == 0 and math.isnan(right)


@pytest.mark.parametrize('seed', range(5))
def test_the_distance_is_scipys(seed):
    set_seed(seed)
    a, b = torch.randn(70).round(decimals=1), (torch.randn(31) * 1.5).round(decimals=1)     # with ties
    assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    assert ks_limit(70, 31, .01) > ks_limit(700, 310, .01) and ks_limit(70, 31, .001) > ks_limit(70, 31, .1)


def test_what_has_moved_is_named():
    learn = learner()
    watch = InputWatch(learn)
    x = torch.randn(200, 4)
    assert not watch.check(DataLoaders.from_tensors((x, torch.zeros(200).long()), bs=50, device='cpu')[0]).moved.any()
    x[:, 2] += 2
    table = watch.check(DataLoaders.from_tensors((x, torch.zeros(200).long()), bs=50, device='cpu')[0])
    assert table.summary[0] == 'input, column 2' and table.moved[0] and table.now[0] > table.before[0] + 1
    assert 'confidence' in set(table.summary) and not table.moved[table.summary == 'input, column 0'].any()
