"""A language model: counting, AWD-LSTM, the state and who carries it, drawing words, files and resume.

What people stumble over elsewhere has a test each: weights with and without their dropout in a file, the last window,
resume in the middle of a stream, the state after validation, several threads, empty texts.
"""
import contextlib
import csv
import io
import math
import re
import threading
from collections import Counter
from itertools import product

import pytest
import torch
from helpers.interruption import Stop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lessonlib.batches import DataLoaders, accuracy
from lessonlib.checkpoint import Checkpoint, load_learner, write_tensors
from lessonlib.core import get_rng_state, set_seed
from lessonlib.datasets import course_data
from lessonlib.language_model import (AWD_LSTM, CrossEntropyLossFlat, KneserNey, LanguageModel, Perplexity, RNNCallback,
                                      WeightDropLSTM, _with_holes, awd_lstm_lm_config, dropout_mask, get_language_model,
                                      language_model_learner, lm_splitter, make_human_numbers, make_wikitext, next_probs,
                                      number_words, read_encoder)
from lessonlib.learner import Callback, Learner
from lessonlib.tokens import LMLoader, TextDataLoaders

CONFIG = dict(emb_sz=8, n_hid=12, n_layers=2)
VOCAB = ['xxunk', 'xxpad', *[f'w{i}' for i in range(10)]]


def quietly(function, *args, **kwargs):
    with contextlib.redirect_stdout(io.StringIO()): return function(*args, **kwargs)


def loaders(path='.', n=203, bs=4, seq_len=9, **kwargs):
    "A text that counts w0 to w9 over and over; its last window is shorter"
    doc = torch.arange(n) % 10 + 2
    dl = LMLoader([doc[:100], doc[100:]], bs=bs, seq_len=seq_len, **kwargs)
    return DataLoaders(dl, LMLoader([doc[:90]], bs=bs, seq_len=seq_len), vocab=VOCAB, path=path, device='cpu')


def learner(path='.', dls=None, config=CONFIG, seed=42, **kwargs):
    set_seed(seed)
    return language_model_learner(dls or loaders(path), AWD_LSTM, config, path=path, **kwargs)


def texts(path='.', **kwargs):
    import pandas as pd
    table = pd.DataFrame({'text': ['the cat sat on the mat . the dog sat on the cat .'] * 30})
    return quietly(TextDataLoaders.from_df, table, path=path, text_col='text', is_lm=True, bs=4, seq_len=9, seed=1,
                   device='cpu', **kwargs)


def same(a, b): return all(torch.equal(v, b[k]) for k, v in a.items()) and a.keys() == b.keys()


# --- the texts

def test_numbers_in_words(tmp_path):
    for n, words in ((1, 'one'), (17, 'seventeen'), (20, 'twenty'), (21, 'twenty one'), (100, 'one hundred'),
                     (1000, 'one thousand'), (8015, 'eight thousand fifteen'), (9999, 'nine thousand nine hundred ninety nine')):
        assert number_words(n) == words
    for n in (0, -3, 10_000):
        with pytest.raises(ValueError, match='1 to 9,999'): number_words(n)
    folder = make_human_numbers(tmp_path/'human_numbers')
    lines = [(folder/f'{part}.txt').read_text().splitlines() for part in ('train', 'valid')]
    assert sum(map(len, lines)) == 9998 and lines[0][0].strip() == 'one' and lines[1][0].strip() == 'eight thousand one'
    assert len({w for part in lines for w in ' . '.join(map(str.strip, part)).split()}) == 30
    assert len({line for part in lines for line in part}) == 9998


def test_english(tmp_path):
    folder = make_wikitext(tmp_path/'wikitext-2')
    rows = {part: list(csv.reader(open(folder/f'{part}.csv', newline=''))) for part in ('train', 'test')}
    assert 20 < len(rows['train']) < 200 and 4 < len(rows['test']) < 40
    assert all(len(row) == 1 and re.match(r' \n = .* = \n', row[0]) for part in rows.values() for row in part)
    words = {part: ' '.join(row[0] for row in some).split() for part, some in rows.items()}
    assert 20_000 < len(words['train']) < 200_000 and 2_000 < len(words['test'])
    paragraphs = {part: [p for row in some for p in row[0].split('\n')[2:] if p.strip()] for part, some in rows.items()}
    assert not set(paragraphs['train']) & set(paragraphs['test'])
    for paragraph in paragraphs['train']:
        assert '::=' not in paragraph and '>>>' not in paragraph and '|' not in paragraph
    assert make_wikitext(tmp_path/'again').joinpath('train.csv').read_bytes() == (folder/'train.csv').read_bytes()


@pytest.mark.parametrize('name, folder', [('human_numbers', 'human_numbers'), ('wikitext_tiny', 'wikitext-2'),
                                          ('WIKITEXT_TINY', 'wikitext-2'), ('wikitext-2', 'wikitext-2')])
def test_course_data(name, folder): assert course_data(name).name == folder


# --- counting

def by_definition(docs, size, n, discount, word, before):
    "Kneser–Ney as the formula has it, slowly"
    grams = [Counter(tuple(doc[i - k:i + 1]) for doc in docs for i in range(k, len(doc))) for k in range(n)]
    def count(gram):   # how often; in shorter models, after how many different tokens
        if len(gram) == n: return grams[n - 1][gram]
        starts = sum(tuple(doc[:len(gram)]) == gram for doc in docs)   # nothing stands before a document
        return sum(longer[1:] == gram for longer in grams[len(gram)]) + starts
    p = 1 / size
    for k in range(n):
        h = tuple(before[len(before) - k:]) if k else ()
        if k > len(before): break
        counts = [count((*h, w)) for w in range(size)]
        if not sum(counts): break
        p = (max(counts[word] - discount, 0) + discount * sum(c > 0 for c in counts) * p) / sum(counts)
    return p


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=15), min_size=1, max_size=3), st.integers(1, 3),
       st.sampled_from([.3, .75, 1.]), st.lists(st.integers(0, 4), max_size=4))
def test_kneser_ney(docs, n, discount, before):
    model = KneserNey(docs, 5, n, discount)
    probs = model.probs(before)
    assert math.isclose(probs.sum(), 1, rel_tol=1e-9) and (probs >= 0).all()
    for word in range(5):
        assert math.isclose(model.prob(word, before), probs[word], rel_tol=1e-9, abs_tol=1e-12)
        if n < 3: assert math.isclose(probs[word], by_definition(docs, 5, n, discount, word, before), rel_tol=1e-9, abs_tol=1e-12)


def test_kneser_ney_takes_tensors_and_whole_texts():
    doc = [0, 1, 2, 0, 1, 3, 0, 1, 2]
    lists, tensors = KneserNey([doc], 5), KneserNey([torch.tensor(doc)], 5)
    assert lists.of_text([doc]) == tensors.of_text([torch.tensor(doc)]) and len(lists.of_text([doc, doc])) == 16
    assert lists.of_text([doc])[1] == lists.prob(2, [0, 1]) == lists.prob(2, [4, 4, 0, 1])
    assert lists.prob(2, [0, 1]) > lists.prob(3, [0, 1]) > lists.prob(4, [0, 1]) > 0


# --- the model

@pytest.mark.parametrize('p', [0., .1, .9])
def test_mask(p):
    set_seed(0)
    mask = dropout_mask(torch.ones(1), (400, 100), p)
    assert abs(mask.mean() - 1) < .05 and abs((mask == 0).float().mean() - p) < .02
    for wrong in (-.1, 1., 1.5):
        with pytest.raises(ValueError, match='up to but not 1'): dropout_mask(mask, (2,), wrong)


def test_weight_drop_is_nn_lstm_with_holes():
    set_seed(0)
    ours, theirs = WeightDropLSTM(5, 6, .5), nn.LSTM(5, 6, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, state = torch.randn(3, 7, 5), (torch.randn(1, 3, 6), torch.randn(1, 3, 6))
    out, (h, c) = ours.eval()(x, state)
    want, (h_want, c_want) = theirs(x, state)
    assert torch.allclose(out, want, atol=1e-6) and torch.allclose(h, h_want, atol=1e-6) and torch.allclose(c, c_want, atol=1e-6)
    before = ours.weight_hh_l0.clone()
    torch.manual_seed(7)
    dropped = ours.train()(x, state)[0]
    torch.manual_seed(7)
    with torch.no_grad(): theirs.weight_hh_l0.copy_(_with_holes(before, .5))
    assert torch.allclose(dropped, theirs(x, state)[0], atol=1e-6)
    assert torch.equal(ours.weight_hh_l0, before)      # what is kept is whole
    dropped.square().sum().backward()
    assert ours.weight_hh_l0.grad is not None and (ours.weight_hh_l0.grad == 0).float().mean() > .3


@pytest.mark.parametrize('p', [.001, .2, .5, .99])
def test_holes_are_dropout(p):
    set_seed(0)
    weight = torch.ones(801, 999, requires_grad=True)
    holes = _with_holes(weight, p)
    sigma = (p * (1 - p) / weight.numel())**.5
    assert abs((holes == 0).float().mean() - p) < 6 * sigma + 2**-16
    assert abs(holes.mean() - 1) < 6 * sigma / (1 - p)
    kept = holes.unique()[1:]
    assert len(kept) == 1 and abs(kept.item() * (1 - p) - 1) < 2**-16 / (1 - p)
    for rows in holes[:800].split(200): assert abs((rows == 0).float().mean() - p) < .005     # everywhere alike
    for k in range(4): assert abs((holes.flatten()[k::4] == 0).float().mean() - p) < .005
    holes.sum().backward()
    assert torch.equal(weight.grad, holes)
    assert not torch.equal(_with_holes(weight, p), holes)
    assert _with_holes(weight[:1, :3].half(), p).dtype == torch.half


def test_dropouts_of_each_kind():
    set_seed(0)
    sizes = dict(emb_sz=40, n_hid=50, n_layers=2, hidden_p=0., input_p=0., embed_p=0., weight_p=0., output_p=0.)
    x = torch.randint(2, 30, (4, 20))
    with torch.no_grad():
        model = AWD_LSTM(30, **{**sizes, 'input_p': .5}).train()
        off = model.embed(x) == 0
        assert (off.any(1) == off.all(1)).all() and .3 < off.float().mean() < .7      # the same at each step of a row
        model = AWD_LSTM(30, **{**sizes, 'embed_p': .5}).train()
        off = (model.embed(x) == 0).all(2)
        gone = set(x[off].tolist())
        assert gone and not gone & set(x[~off].tolist())                                # words vanish everywhere
        model = AWD_LSTM(30, **{**sizes, 'output_p': .5}).train()
        raw, out, _ = model(x)
        assert (raw != 0).all() and ((out == 0).any(1) == (out == 0).all(1)).all() and (out == 0).any()
        for name in ('hidden_p', 'input_p', 'embed_p', 'weight_p', 'output_p'):         # each matters in training alone
            model = AWD_LSTM(30, **{**sizes, name: .4})
            assert not torch.equal(model.train()(x)[1], model(x)[1]), name
            assert torch.equal(model.eval()(x)[1], model(x)[1]), name


@pytest.mark.parametrize('cut', [1, 5, 19])
def test_windows_give_what_the_whole_gives(cut):
    set_seed(0)
    model, x = get_language_model(AWD_LSTM, 30, CONFIG).eval(), torch.randint(30, (3, 20))
    scores, _, _, state = model(x)
    first, _, _, between = model(x[:, :cut])
    rest, _, _, after = model(x[:, cut:], between)
    assert torch.allclose(scores, torch.cat([first, rest], 1), atol=1e-6)
    for (h, c), (h_two, c_two) in zip(state, after):
        assert torch.allclose(h, h_two, atol=1e-6) and torch.allclose(c, c_two, atol=1e-6)


def test_settings():
    assert awd_lstm_lm_config == dict(emb_sz=400, n_hid=1152, n_layers=3, pad_token=1, hidden_p=.15, input_p=.25, embed_p=.02,
                                      weight_p=.2, output_p=.1, tie_weights=True, out_bias=True)
    model = get_language_model(AWD_LSTM, 20, CONFIG, drop_mult=.5).encoder
    assert (model.input_p, model.embed_p, model.layer_ps) == (.125, .01, [.075, .05])
    assert [rnn.weight_p for rnn in model.rnns] == [.1, .1]
    with pytest.raises(TypeError, match='n_hid'): get_language_model(AWD_LSTM, 20, dict(n_hidden=3))
    given = dict(emb_sz=8)
    get_language_model(AWD_LSTM, 20, given, .5)
    assert given == dict(emb_sz=8)                     # what is given stays as it is
    assert get_language_model(AWD_LSTM, 20, dict(CONFIG, out_bias=False, tie_weights=False)).decoder.bias is None


def test_tied_weights_stay_tied(tmp_path):
    learn = learner(tmp_path)
    quietly(learn.fit, 1)
    learn.save('a')
    other = learner(tmp_path, seed=1).load('a')
    for one in (learn, other): assert one.model.decoder.weight is one.model.encoder.encoder.weight
    assert same(learn.model.state_dict(), other.model.state_dict())


# --- the state

class Seen(Callback):
    "Keeps the state each batch began with, and the one it left"
    order = -55
    def before_fit(self): self.before, self.after = [], []
    def before_batch(self): self.before.append((self.learn.training, self.learn.xb[1]))
    def after_pred(self): self.after.append((self.learn.training, self.learn.rnn.states[self.learn.training]))


def test_state_goes_on_and_is_reset():
    learn, seen = learner(), Seen()
    quietly(learn.fit, 2, cbs=seen)
    n, m = len(learn.dls.train), len(learn.dls.valid)
    firsts = [0, n, n + m, 2 * n + m]
    for i, (training, state) in enumerate(seen.before):
        if i in firsts: assert state is None
        else:
            assert seen.after[i - 1][0] == training
            for mine, last in zip(state, seen.after[i - 1][1]): assert torch.equal(mine[0], last[0]) and torch.equal(mine[1], last[1])
    assert not any(part.requires_grad for _, state in seen.after for pair in state for part in pair)


def test_validation_in_the_middle_leaves_training_alone():
    class Look(Callback):
        def after_batch(self):
            if self.learn.training and self.learn.iter == 2: self.learn.validate()
    whole = learner()
    quietly(whole.fit, 2)
    looked = learner()
    quietly(looked.fit, 2, cbs=Look)
    assert same(whole.model.state_dict(), looked.model.state_dict())


def test_rows_of_another_number():
    "A batch with fewer rows takes the first; one with more adds rows that have read nothing"
    learn = learner()
    batches = [torch.randint(2, 12, (bs, 6)) for bs in (4, 3, 5)]
    state = None
    for x in batches:
        learn.rnn.states[False] = state
        learn.training, learn.xb = False, (x,)
        learn.rnn.before_batch()
        given = learn.xb[1]
        if state:
            kept = min(len(x), state[0][0].shape[1])
            assert torch.equal(given[0][0][:, :kept], state[0][0][:, :kept]) and not given[1][1][:, kept:].any()
        learn.pred = learn.model(*learn.xb)
        learn.rnn.after_pred()
        assert learn.pred.shape == (len(x), 6, 12) and learn.xb[0] is x
        state = learn.rnn.states[False]


def test_loss_on_record_is_cross_entropy():
    "AR and TAR are in the gradient, and only while training"
    class Losses(Callback):
        order = 20
        def after_loss(self): self.both = getattr(self, 'both', []) + [(self.learn.training, self.learn.loss.item(), self.learn.loss_grad.item())]
    learn, losses = learner(alpha=2., beta=1.), Losses()
    quietly(learn.fit, 1, cbs=losses)
    assert all((mine < grad) == training for training, mine, grad in losses.both)
    plain, losses = learner(alpha=0, beta=0), Losses()
    quietly(plain.fit, 1, cbs=losses)
    assert all(mine == grad for _, mine, grad in losses.both)


def test_ar_and_tar_by_hand():
    learn = learner(alpha=3., beta=5.)
    rnn = learn.rnn
    learn.training, learn.loss_grad = True, torch.tensor(1.)
    rnn.raw, rnn.dropped = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    rnn.after_loss()
    change = sum((rnn.raw[r, t + 1, i] - rnn.raw[r, t, i])**2 for r in range(2) for t in range(3) for i in range(3)) / 18
    assert torch.isclose(learn.loss_grad, 1 + 3 * rnn.dropped.square().mean() + 5 * change)
    rnn.raw, learn.loss_grad = rnn.raw[:, :1], torch.tensor(1.)      # a window of one token has no change
    rnn.after_loss()
    assert torch.isclose(learn.loss_grad, 1 + 3 * rnn.dropped.square().mean())


# --- loss and metrics

@pytest.mark.parametrize('shape', [(4, 7), (5,), (2, 3, 4)])
def test_flat_cross_entropy(shape):
    set_seed(0)
    scores, targets = torch.randn(*shape, 10), torch.randint(10, shape)
    want = F.cross_entropy(scores.view(-1, 10), targets.view(-1))
    assert torch.isclose(CrossEntropyLossFlat()(scores, targets), want) and CrossEntropyLossFlat().count(targets) == targets.numel()
    assert CrossEntropyLossFlat(reduction='none')(scores, targets).shape == shape
    flat = targets.clone().view(-1)
    flat[0] = -100
    assert CrossEntropyLossFlat().count(flat.view(shape)) == targets.numel() - 1


def test_perplexity_is_over_all_tokens():
    "The last window is shorter; its loss must not count as much as the others"
    learn = learner(metrics=[accuracy, Perplexity()])
    with torch.no_grad(): learn.model.decoder.bias.copy_(torch.linspace(-3, 3, 12))
    loss, right, perplexity = learn.validate()
    state, total, hits, n = None, 0., 0, 0
    with torch.no_grad():
        for x, y in learn.dls.valid:
            scores, _, _, state = learn.model(x, state)
            total += F.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction='sum').item()
            hits, n = hits + (scores.argmax(-1) == y).sum().item(), n + y.numel()
    sizes = {y.shape[1] for _, y in learn.dls.valid}
    assert len(sizes) == 2
    assert math.isclose(loss, total / n, rel_tol=1e-5) and math.isclose(perplexity, math.exp(total / n), rel_tol=1e-5)
    assert math.isclose(right, hits / n, rel_tol=1e-5)


@pytest.mark.parametrize('n, bs, seq_len', [(203, 4, 9), (13, 4, 1), (50, 12, 4), (40, 3, 12), (26, 1, 12)])
def test_any_shape_of_batch_is_accepted(n, bs, seq_len):
    learn = learner(dls=loaders(n=max(n, 120), bs=bs, seq_len=seq_len), metrics=[accuracy, Perplexity()])
    quietly(learn.fit, 1)


# --- training

def test_learns_to_count():
    learn = learner(dls=loaders(n=1000), config=dict(emb_sz=16, n_hid=24, n_layers=1), drop_mult=.2, metrics=accuracy)
    quietly(learn.fit_one_cycle, 8, 3e-2)
    assert learn.validate()[1] > .9


def test_momentum_of_recurrent_networks():
    learn = learner()
    quietly(learn.fit_one_cycle, 1, 1e-2)
    assert max(learn.recorder.moms) <= .8 and min(learn.recorder.moms) < .72
    quietly(learn.fit_one_cycle, 1, 1e-2, moms=(.95, .85, .95))
    assert max(learn.recorder.moms) > .9


def test_layer_groups_and_freezing():
    learn = learner()
    groups = lm_splitter(learn.model)
    assert len(groups) == 3 and sum(map(len, groups)) == len(list(learn.model.parameters()))
    learn.freeze()
    assert not any(p.requires_grad for p in learn.model.encoder.rnns.parameters()) and learn.model.encoder.encoder.weight.requires_grad
    quietly(learn.fine_tune, 1)
    assert all(p.requires_grad for p in learn.model.parameters())


@pytest.mark.parametrize('after', [2, 5, 8, 13])
def test_resume_in_the_middle_of_a_stream(tmp_path, after):
    def fresh(**how): return learner(tmp_path, loaders(tmp_path, shuffle=True), cbs=Checkpoint(every_batches=1, **how))
    whole = fresh()
    quietly(whole.fit_one_cycle, 3, 1e-2)
    cut = fresh()
    with pytest.raises(KeyboardInterrupt): quietly(cut.fit_one_cycle, 3, 1e-2, cbs=Stop(after))
    again = fresh(resume=True)
    set_seed(99)
    quietly(again.fit_one_cycle, 3, 1e-2)
    assert same(whole.model.state_dict(), again.model.state_dict())
    assert whole.recorder.values == again.recorder.values


def test_lr_find_leaves_everything():
    learn = learner()
    quietly(learn.fit, 1)
    learn.rnn.states = {True: learn.model.encoder.make_state(4)}
    before, random = {k: v.clone() for k, v in learn.model.state_dict().items()}, get_rng_state()
    quietly(learn.lr_find, show_plot=False, num_it=20)
    assert same(before, learn.model.state_dict()) and list(learn.rnn.states) == [True]
    assert torch.equal(get_rng_state()['torch'], random['torch']) and not learn.model.training


def test_nothing_is_left_behind():
    "After a fit the callback holds neither a state nor outputs, and states have no history"
    learn = learner()
    for _ in range(2):
        quietly(learn.fit, 1)
        rnn = learn.rnn
        assert rnn.states == {} and rnn.raw is None and rnn.dropped is None and rnn.inputs is None


def test_in_a_plain_learner():
    set_seed(42)
    learn = Learner(loaders(), get_language_model(AWD_LSTM, 12, CONFIG), CrossEntropyLossFlat(), cbs=RNNCallback())
    quietly(learn.fit, 1)


def test_pretrained_is_an_error():
    with pytest.raises(ValueError, match='save_encoder'): learner(pretrained=True)


def test_an_encoder_of_ones_own():
    class Mean(nn.Module):
        def __init__(self, vocab_sz, emb_sz=8):
            super().__init__()
            self.encoder = nn.Embedding(vocab_sz, emb_sz)
        def forward(self, x, state=None):
            out = self.encoder(x)
            return out, out, out[:, -1]
    model = LanguageModel(Mean(12))
    assert model(torch.zeros(2, 3).long())[0].shape == (2, 3, 12) and 'cannot' in model.recipe


# --- predictions

def test_get_preds_of_a_stream():
    learn = learner()
    preds, targs = learn.get_preds(act=lambda x: x)
    rows = torch.cat([y for _, y in learn.dls.valid], 1)
    assert torch.equal(targs, rows) and preds.shape == (*rows.shape, 12)
    with torch.no_grad(): whole = learn.model(torch.cat([x for x, _ in learn.dls.valid], 1))[0]
    assert torch.allclose(preds, whole, atol=1e-5)
    inputs, _, _ = learn.get_preds(with_input=True)
    assert torch.equal(inputs, torch.cat([x for x, _ in learn.dls.valid], 1))


@pytest.fixture(scope='module')
def writer(tmp_path_factory):
    path = tmp_path_factory.mktemp('writer')
    learn = learner(path, texts(path), dict(emb_sz=16, n_hid=24, n_layers=1), drop_mult=.2)
    quietly(learn.fit_one_cycle, 10, 3e-2)
    return learn


def test_goes_on_with_a_text(writer):
    said = writer.predict('the cat', 5, temperature=0)
    assert said.startswith('the cat sat on the') and said == writer.predict('the cat', 5, temperature=0)
    assert writer.predict('the cat', 0) == 'the cat' and writer.predict('', 0) == ''
    assert writer.predict('', 4, seed=1) and writer.predict('quark', 3, seed=1).startswith('quark')
    assert writer.predict('the cat', 5, seed=3) == writer.predict('the cat', 5, seed=3)
    assert writer.predict('The  Cat\n', 1, temperature=0).startswith('The  Cat\n')       # what was given stays as it was
    assert writer.predict('the cat', 2, temperature=0, only_last_word=True) == 'sat on'
    assert 'xx' not in writer.predict('the cat', 200, temperature=3., seed=0).replace('xxbos', '')


def test_step_by_step_is_as_all_at_once(writer):
    "The state is used rather than the text read again for every word"
    tokens = writer.dls.text_block.tok('the cat')
    numbers = writer.dls.text_block.num(tokens)
    for _ in range(6):
        with torch.no_grad(): scores = writer.model(numbers[None])[0][0, -1]
        scores[:2] = -torch.inf
        numbers = torch.cat([numbers, scores.argmax()[None]])
    said = writer._write(writer.dls.text_block.num(tokens), 6, [0, 1], dict(temperature=0), None)
    assert torch.equal(numbers[-6:], said)


def test_predict_in_threads_and_in_training(writer):
    alone = [writer.predict('the dog', 12, seed=i) for i in range(8)]
    found = [None] * 8
    def ask(i): found[i] = writer.predict('the dog', 12, seed=i)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert found == alone


def test_predict_does_not_disturb_training():
    class Ask(Callback):
        def after_batch(self):
            if not self.learn.training: return
            with torch.random.fork_rng(): self.learn.predict('the cat', 3)
            assert all(module.training for module in self.learn.model.modules())
    whole = learner(dls=texts())
    quietly(whole.fit, 2)
    asked = learner(dls=texts())
    quietly(asked.fit, 2, cbs=Ask)
    assert same(whole.model.state_dict(), asked.model.state_dict())


def test_predict_without_a_tokenizer():
    with pytest.raises(TypeError, match='TextDataLoaders'): learner().predict('w1')


# --- drawing words

@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=2, max_size=12), st.floats(.05, 5), st.none() | st.integers(1, 15),
       st.none() | st.floats(.01, 1), st.none() | st.floats(.01, 1))
def test_next_probs_are_probabilities(scores, temperature, top_k, top_p, min_p):
    scores = torch.tensor(scores)
    probs = next_probs(scores, temperature, top_k, top_p, min_p)
    assert torch.isclose(probs.sum(), torch.tensor(1.), atol=1e-4) and (probs >= 0).all()
    assert probs[scores.argmax()] > 0
    plain, left = next_probs(scores, temperature), probs > 0
    if left.any() and not left.all(): assert plain[left].min() >= plain[~left].max() - 1e-7      # the likely are kept
    if top_p is not None and top_k is None and min_p is None: assert plain[left].sum() >= top_p - 1e-4


def test_next_probs_by_hand():
    p = torch.tensor([.4, .3, .2, .1])
    for how, want in ((dict(top_k=2), [4, 3, 0, 0]), (dict(top_k=9), [4, 3, 2, 1]), (dict(top_p=.65), [4, 3, 0, 0]),
                      (dict(top_p=.05), [1, 0, 0, 0]), (dict(top_p=1.), [4, 3, 2, 1]), (dict(min_p=.4), [4, 3, 2, 0]),
                      (dict(top_k=3, min_p=.6), [4, 3, 0, 0]), (dict(temperature=0), [1, 0, 0, 0])):
        want = torch.tensor(want, dtype=torch.float)
        assert torch.allclose(next_probs(p.log(), **how), want / want.sum(), atol=1e-5), how
        both = next_probs(torch.stack([p.log(), p.flip(0).log()]), **how)
        assert torch.allclose(both[1].flip(0), want / want.sum(), atol=1e-5), how
    assert torch.allclose(next_probs(torch.tensor([1e30, 0.]), 1e-30), torch.tensor([1., 0.]))
    assert torch.allclose(next_probs(torch.tensor([-torch.inf, 0., 0.])), torch.tensor([0., .5, .5]))
    for how, match in ((dict(temperature=-1), 'temperature'), (dict(top_k=0), 'top_k'), (dict(top_p=0), 'top_p'),
                       (dict(top_p=90), 'top_p'), (dict(min_p=1.5), 'min_p')):
        with pytest.raises(ValueError, match=match): next_probs(p, **how)


# --- files

def test_two_learners_with_the_same_weights_say_the_same(tmp_path):
    one = learner(tmp_path)
    quietly(one.fit, 1)
    one.save('weights')
    two = learner(tmp_path, seed=7).load('weights')
    x = torch.randint(2, 12, (3, 10))
    assert torch.equal(one.model(x)[0], two.model(x)[0])
    assert not any('raw' in name for name in one.model.state_dict())


def test_encoder_goes_from_one_to_the_other(tmp_path):
    one = learner(tmp_path)
    quietly(one.fit, 1)
    file = one.save_encoder('encoder')
    tensors, vocab = read_encoder(file)
    assert vocab == VOCAB and same(tensors, one.model.encoder.state_dict())
    two = learner(tmp_path, seed=7)
    assert two.load_encoder('encoder') is two and same(two.model.encoder.state_dict(), one.model.encoder.state_dict())
    assert two.model.decoder.weight is two.model.encoder.encoder.weight
    with pytest.raises(ValueError, match='other sizes.*config'): learner(tmp_path, config=dict(CONFIG, n_hid=13)).load_encoder('encoder')
    other = loaders(tmp_path)
    other.vocab = [*VOCAB[:5], 'new', *VOCAB[6:]]
    with pytest.raises(ValueError, match='part at number 5'): learner(tmp_path, other).load_encoder('encoder')
    other.vocab = [*VOCAB, 'more']
    with pytest.raises(ValueError, match='13 here.*the end'): learner(tmp_path, other).load_encoder('encoder')
    one.save('whole')
    with pytest.raises(ValueError, match='not an encoder'): two.load_encoder('whole')
    with pytest.raises(FileNotFoundError): two.load_encoder('nothing')


def test_encoder_with_the_names_of_others(tmp_path):
    one = learner(tmp_path)
    theirs = {}
    for name, tensor in one.model.encoder.state_dict().items():
        if '_hh_l0' in name and 'weight' in name: theirs[f'{name}_raw'] = tensor
        theirs[re.sub(r'(rnns\.\d)\.', r'\1.module.', name)] = tensor
    theirs['encoder_dp.emb.weight'] = one.model.encoder.encoder.weight
    write_tensors(one.model_file('theirs'), theirs, {})
    assert same(learner(tmp_path, seed=7).load_encoder('theirs').model.encoder.state_dict(), one.model.encoder.state_dict())


def test_export(writer, tmp_path):
    writer.path = tmp_path
    again = load_learner(writer.export('lm'))
    assert same(again.model.state_dict(), writer.model.state_dict()) and type(again) is type(writer)
    assert again.predict('the dog', 8, seed=1) == writer.predict('the dog', 8, seed=1)
    assert again.model.decoder.weight is again.model.encoder.encoder.weight
    assert (again.rnn.alpha, again.rnn.beta) == (2., 1.)


def test_half_precision(tmp_path):
    learn = learner(tmp_path).to_bf16()
    quietly(learn.fit, 1)
    assert all(math.isfinite(v) for v in learn.recorder.values[-1])


def test_summary(): assert 'WeightDropLSTM' in str(learner().summary())


def test_the_loss_on_record_is_a_mean_over_tokens(tmp_path):
    "Windows of different lengths: perplexity is the power of the loss in the table, to the last digit"
    stream = torch.randint(9, 30, (4 * 23 + 1,))
    loaders = [LMLoader([stream], bs=4, seq_len=10), LMLoader([stream], bs=4, seq_len=10)]
    learn = language_model_learner(DataLoaders(*loaders, vocab=[f'w{i}' for i in range(30)], device='cpu'), AWD_LSTM,
                                   config=dict(emb_sz=8, n_hid=8, n_layers=1), metrics=Perplexity(), path=tmp_path)
    assert len({x.shape for x, _ in loaders[1]}) == 2
    loss, value = learn.validate()
    scores, targets = learn.get_preds()
    assert value == pytest.approx(math.exp(loss), rel=1e-9)
    assert loss == pytest.approx(float(F.cross_entropy(scores.flatten(0, 1), targets.flatten())), rel=1e-5)


# --- what was taken for something else without a word ---------------------------------------------------------------

def test_weights_of_another_vocabulary_are_refused(tmp_path):
    one, other = texts(tmp_path), texts(tmp_path)
    other.text_block.num.vocab[-2:] = other.text_block.num.vocab[:-3:-1]
    learn = learner(tmp_path, one)
    quietly(learn.fit, 1, cbs=Checkpoint('point'))
    learn.save('lm')
    same_words = learner(tmp_path, texts(tmp_path)).load('lm')
    assert torch.equal(same_words.model.decoder.weight, learn.model.decoder.weight)
    with pytest.raises(ValueError, match='saved with another vocabulary of words'): learner(tmp_path, other).load('lm')
    learn.n_fits = 0
    stranger = learner(tmp_path, other)
    with pytest.raises(ValueError, match='saved with another vocabulary of words'):
        quietly(stranger.fit, 2, cbs=Checkpoint('point', resume=True))


def test_a_beginning_is_not_closed_before_it_goes_on(tmp_path):
    import pandas as pd
    from lessonlib.tokens import WordTokenizer
    table = pd.DataFrame({'text': ['the cat sat on the mat'] * 200})
    said = []
    for eos in (False, True):
        dls = quietly(TextDataLoaders.from_df, table, tmp_path, text_col='text', is_lm=True, bs=4, seq_len=10, seed=1,
                      device='cpu', tok=WordTokenizer(add_eos=eos))
        learn = learner(tmp_path, dls, dict(emb_sz=32, n_hid=32, n_layers=1), drop_mult=0, alpha=0, beta=0)
        quietly(learn.fit_one_cycle, 2, 3e-2)
        said.append(learn.predict('the cat sat', 3, temperature=0))
    assert said == ['the cat sat on the mat'] * 2


@pytest.mark.parametrize('order', [['[PAD]', '[UNK]'], ['[UNK]', 'x', '[PAD]']])
def test_filling_has_the_number_that_the_vocabulary_says(tmp_path, order):
    import pandas as pd
    from lessonlib.text_classifier import text_classifier_learner
    from lessonlib.tokens import HFTokenizer
    tokenizers = pytest.importorskip('tokenizers')
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(
        {word: i for i, word in enumerate([*order, *'a bad film good of really story'.split()])}, unk_token='[UNK]'))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words = ['a good film', 'a bad film', 'good', 'bad', 'a really really bad film', 'a really good story of a good film'] * 8
    table = pd.DataFrame(dict(text=words, label=['good' in text for text in words]))
    tok = HFTokenizer(model.to_str())
    dls = TextDataLoaders.from_df(table, tmp_path, text_col='text', label_col='label', tok=tok, bs=8, seed=1, device='cpu')
    set_seed(0)
    learn = text_classifier_learner(dls, AWD_LSTM, config=dict(emb_sz=8, n_hid=8, n_layers=1), path=tmp_path)
    assert learn.model.pad == learn.model.encoder.encoder.padding_idx == dls.pad == order.index('[PAD]')
    alone = [learn.predict(text)[2] for text in words[:6]]
    together = learn.get_preds(dl=dls.test_dl(words[:6]))[0]
    assert torch.allclose(torch.stack(alone), together, atol=1e-6)
    unknown = learn.predict('good zzz zzz bad bad')[2]
    assert not torch.allclose(unknown, learn.predict('good bad bad')[2], atol=1e-6)            # an unknown word is a word
    assert torch.allclose(load_learner(learn.export('whole')).get_preds(dl=dls.test_dl(words[:6]))[0], together, atol=1e-6)
    lm = quietly(TextDataLoaders.from_df, table, tmp_path, text_col='text', is_lm=True, tok=tok, bs=4, seq_len=8, device='cpu')
    speaker = learner(tmp_path, lm)
    assert speaker.model.encoder.encoder.padding_idx == order.index('[PAD]')
    assert not {'[PAD]', '[UNK]'} & set(speaker.predict('a good', 40, seed=1).split())
    assert learn.predict('')[0] in ('True', 'False', True, False)
    with pytest.raises(TypeError, match='A text is a str, not'): learn.predict(None)


def test_the_mean_of_a_loss_with_weights(tmp_path):
    weighted = CrossEntropyLossFlat(weight=torch.tensor([1., 9., 2.]), ignore_index=2)
    targets = torch.tensor([[0, 1, 2], [1, 1, 0]])
    assert weighted.count(targets) == pytest.approx(29)


def test_texts_with_targets_make_no_language_model():
    import pandas as pd
    table = pd.DataFrame(dict(text=['a good film', 'a bad film'] * 9, label=['pos', 'neg'] * 9))
    dls = TextDataLoaders.from_df(table, text_col='text', label_col='label', bs=4, device='cpu')
    with pytest.raises(TypeError, match='make them with is_lm=True'): language_model_learner(dls, AWD_LSTM, CONFIG)
    with pytest.raises(ValueError, match='input_p=1.25, with drop_mult=5: dropout is a share below 1'):
        get_language_model(AWD_LSTM, 30, CONFIG, 5)
    for wrong in (float('nan'), float('inf'), -1):
        with pytest.raises(ValueError, match='temperature is 0 or more'): next_probs(torch.randn(5), wrong)


def test_results_of_a_language_model(tmp_path):
    from lessonlib.interpretation import Interpretation
    learn = learner(tmp_path, texts(tmp_path))
    shown = learn.show_results(max_n=2).table
    x, y = next(iter(learn.dls.valid))
    assert list(shown) == ['text', 'text_', 'said'] and len(shown) == 2
    assert shown.text[0] == learn.dls.text_block.decode(x[0]) and shown.text_[1] == learn.dls.text_block.decode(y[1])
    with torch.no_grad(): best = learn.model.eval()(x)[0].argmax(-1)
    assert shown.said[0] == learn.dls.text_block.decode(best[0])
    with pytest.raises(TypeError, match=r'use learn.show_results\(\)'): Interpretation.from_learner(learn)


def test_an_encoder_of_other_words_is_refused(tmp_path):
    import pandas as pd
    from lessonlib.text_classifier import text_classifier_learner
    learner(tmp_path, texts(tmp_path)).save_encoder('english')
    table = pd.DataFrame(dict(text=['ein guter streifen', 'ein schlechter streifen'] * 20, label=['pos', 'neg'] * 20))
    dls = TextDataLoaders.from_df(table, tmp_path, text_col='text', label_col='label', bs=4, device='cpu')
    german = text_classifier_learner(dls, AWD_LSTM, config=CONFIG, path=tmp_path)
    with pytest.raises(ValueError, match='english knows none of these words'): german.load_encoder('english')


def test_classes_on_another_axis():
    scores, masks = torch.randn(2, 5, 4, 3), torch.randint(5, (2, 4, 3))
    assert torch.allclose(CrossEntropyLossFlat(axis=1)(scores, masks), F.cross_entropy(scores, masks))
    each = CrossEntropyLossFlat(axis=1, reduction='none')(scores, masks)
    assert torch.allclose(each, F.cross_entropy(scores, masks, reduction='none'))
