"Tokens: rules and their inverse, vocabularies, streams, batches sorted by length, loaders, bad input"
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from lessonlib import tokens as module
from lessonlib.checkpoint import Checkpoint, from_recipe, load_learner, makes_model
from lessonlib.core import get_rng_state, set_seed
from lessonlib.data_block import CategoryBlock, DataBlock
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.items import ColReader, ColSplitter, parent_label
from lessonlib.learner import Callback, Learner
from lessonlib.multilabel import MultiCategoryBlock
from lessonlib.tokens import (BOS, FLD, HFTokenizer, learn_merges, LMLoader, Numericalize, PAD, read_text, special_tokens,
                              SubwordTokenizer, TextBlock, TextDataLoaders, TextLoader, TK_MAJ, TK_REP, TK_UP, TK_WREP,
                              tokenize_files, tokens_to_text, UNK, WordTokenizer)

tok = WordTokenizer()
ROOT = Path(__file__).resolve().parent.parent


def squeezed(text): return re.sub(r'\s', '', text)


# --- words ----------------------------------------------------------------------------------------------------------

# The same as the field's rules give with spaCy's blank English.
SAME = {
    "I didn't like it, it's John's.": "i did n't like it , it 's xxmaj john 's .",
    "It'll do! We've can't won't I'd I'm they're": "xxmaj it 'll do ! xxmaj we 've ca n't wo n't xxmaj i 'd xxmaj i 'm "
                                                   "they 're",
    'Soooo gooood!!! Wow... no no no no': 's xxrep 4 o g xxrep 4 o d xxrep 3 ! xxmaj wow … xxwrep 4 no',
    "YES THIS IS Great don't DON'T": "xxup yes xxup this xxup is xxmaj great do n't xxup do n't",
    'A well-known U.S. movie (1999), rated 7/10 & #1': 'a well - known xxup u.s . movie ( 1 xxrep 3 9 ) , rated 7 / 10 & '
                                                       '# 1',
    'he said: "Hello." \'quoted\' ``x\'\'': "he said : \" hello . \" ' quoted ' ` ` x ''",
    "costs $3.50 or 1,000,000 or 10-20% e.g. etc. i.e. a.m.": 'costs $ 3.50 or 1 , xxrep 3 0 , xxrep 3 0 or 10 - 20 % '
                                                              'e.g. etc . i.e. a.m.',
    "Mr. Smith's end.": "xxmaj mr . xxmaj smith 's end .",
    'foo@bar.com :) :-( ;) <3 ... -- --- — –': 'foo@bar.com :) :-( ;) <3 … -- xxrep 3 - — –',
    "ain't let's Let's o'clock rock'n'roll": "ai n't let 's xxmaj let 's o'clock rock'n'roll",
    "half-hearted sub-par 3-D 80's 1980s '80s": "half - hearted sub - par 3 - d 80 's 1980s ' 80s",
    'a/b/c #hash *bold* under_score C++ x=y+z': 'a / b / c # hash * bold * under_score xxup c++ x = y+z',
    "He's HE'S shouldn't've couldn’t it’s": "xxmaj he 's xxup he 's should n't 've could n’t it ’s",
    '[brackets] {x} he!? $$$ ****': '[ brackets ] { x } he ! ? xxrep 3 $ xxrep 4 *',
    'I I I A a b B haha haha haha haha. the the the': 'xxwrep 3 i a a b b xxwrep 4 haha . xxwrep 3 the',
    'U.K. vs. Dr. No. 3rd 21st 1/2': 'xxup u.k . vs. xxmaj dr . xxmaj no . 3rd 21st 1 / 2',
    'Café naïve 你好 世界': 'xxmaj café naïve 你好 世界',
    'one two  three': 'one two three', 'well.. yes': 'well .. yes', 'go go go!': 'xxwrep 3 go !', 'go go gone': 'go go gone', 'A': 'a', '': '',
    'one <br /><br />two': 'one \n\n two', 'good...really': 'good … really', 'x///y': 'x xxrep 3 / y',
}


@pytest.mark.parametrize('text', SAME)
def test_words(text): assert tok(text) == [BOS, *re.findall('\n+|[^ ]+', SAME[text])]


# Where ours are others, on purpose.
OTHER = {'AT&amp;T &quot;x&quot; &lt;3 &copy here': 'xxup at&t " x " <3 & copy here', 'bad.It was': 'bad . xxmaj it was',
         'ÉTÉ Été': 'xxup été xxmaj été', "a movie'll": "a movie 'll", 'tab\tand\r\nline': 'tab and \n line',
         'no\nno\nno': 'no \n no \n no', 'xxbos xxpad': 'xx bos xx pad', 'one @-@ two <unk>': 'one-two xxunk'}


@pytest.mark.parametrize('text', OTHER)
def test_words_of_our_own(text):
    want = [BOS, *re.findall('\n+|[^ ]+', OTHER[text])]
    assert tok(text) == (want if '-' not in text else [BOS, 'one', '-', 'two', UNK])


@pytest.mark.parametrize('rule, text, there, gone', [
    ('html', 'a&amp;b', 'a&b', 'a&amp;b'), ('rep', 'sooo', TK_REP, 'sooo'), ('wrep', 'no no no', TK_WREP, None),
    ('caps', 'Yes', TK_MAJ, 'Yes'), ('caps', 'YES', TK_UP, 'YES'), ('marks', 'a/b', 'a', None)])
def test_each_rule_can_be_left_out(rule, text, there, gone):
    without = WordTokenizer([name for name in tok.rules if name != rule])
    assert there in tok(text)
    if gone: assert gone not in tok(text)
    if rule != 'marks': assert there not in without(text)
    with pytest.raises(ValueError, match='no rule'): WordTokenizer(['shout'])


@pytest.mark.parametrize('text', ["I said: \"it's well-known (1999), isn't it?\"", 'Rated 7/10. GREAT, so good!',
                                  "don't DON'T Don't", 'no no no no. Yes', 'a $5 film; 20% off [x] {y}'])
def test_back_to_text(text): assert tokens_to_text(tok(text)) == text.replace('I said', 'i said')


def test_back_is_whole():
    assert tok.join([]) == tok.join([BOS, PAD]) == ''
    assert tok.join([BOS, FLD, '1', 'a', FLD, '2', 'b']).split() == ['a', 'b']
    for tokens in ([TK_REP], [TK_UP], [TK_WREP, 'many', 'x'], [FLD], [TK_REP, '9' * 7], [UNK, TK_MAJ, TK_UP, 'x']):
        assert isinstance(tok.join(tokens), str)


signs = st.text(st.characters(exclude_categories=['Cs']), max_size=60)
mixed = st.lists(st.one_of(signs, st.sampled_from(
    ["didn't", 'YES', 'Yes', 'sooo', 'no no no', '&amp;', '<br />', '\n', ' ', '  ', 'xxbos', 'xxrep', "it's", ':)', '...',
     '7/10', 'e.g.', '\u200d', '👩‍👩‍👧', 'e\u0301', '\0', 'עברית', 'हिन्दी', '🇫🇷', '▁', 'U.S.', 'a-b'])), max_size=8).map(''.join)


def plain(text):
    "Without what rules change: HTML, repeats, capitals"
    return (text == text.lower() and not re.search(r'(\S)\1\1|&|<br|<unk>| @|\x1a', text)
            and not re.search(r'(?:^|\s)(\w+)\s+\1(?!\w)', text) and '▁' not in text)


@settings(max_examples=400, deadline=None)
@given(mixed)
def test_plain_text_comes_back_but_for_blanks(text):
    if not plain(text): text = re.sub(r'(\S)\1\1+|&|<br|<unk>| @|▁', '', text.lower().lower())
    if not plain(text): return
    assert squeezed(tok.join(tok(text))) == squeezed(text)
    assert squeezed(subwords.join(subwords(text))) == squeezed(text)


@settings(max_examples=400, deadline=None)
@given(mixed)
def test_any_text(text):
    for t in (tok, subwords, WordTokenizer(())):
        tokens = t(text)
        assert tokens[0] == BOS and BOS not in tokens[1:] and PAD not in tokens and FLD not in tokens
        assert all(tokens) and tokens == t(text)
        assert not any(re.search(r'[^\n]\s|\s[^\n]', token) for token in tokens)
        assert tokens.count(UNK) <= text.count('<unk>')
        assert isinstance(t.join(tokens), str)


subwords = SubwordTokenizer(vocab_sz=120).setup(['the film was not bad at all, the play was', 'films and plays'] * 3)


@pytest.mark.parametrize('text, n', [('a' * 10**7, 4), ('ab' * (5 * 10**6), 2), ('a ' * (5 * 10**6), 4), (' ' * 10**7, 1),
                                     ('\n' * 10**7, 1), ('\n ' * 10**6 + 'x', 2), ('.,' * 10**6, 2 * 10**6 + 1),
                                     ("n't" * 10**6, None), ('&' * 10**7, 4), ('<' * 10**6, 4), ('Ab' * 10**6, 2)])
def test_endless_documents(text, n):
    start = time.process_time()
    tokens = tok(text)
    assert n in (None, len(tokens)) and time.process_time() - start < 30
    if set(text) == {'a', 'b'}: assert tok.join(tokens) == text


def test_endless_subwords():
    assert squeezed(subwords.join(subwords('filmsplay' * 10**5))) == 'filmsplay' * 10**5


def test_marks_stay_with_their_letters():
    assert tok('café हिन्दी עִבְרִית 👩‍👩‍👧 🇫🇷🇩🇪 👍🏽')[1:] == [
        'café', 'हिन्दी', 'עִבְרִית', '👩‍👩‍👧', '🇫🇷', '🇩🇪', '👍🏽']
    assert tok('שלום, עולם')[1:] == ['שלום', ',', 'עולם'] and tok('a\0b')[1:] == ['a', '\0', 'b']


def test_fields_and_end():
    assert tok(['Title', 'a body']) == [BOS, FLD, '1', TK_MAJ, 'title', FLD, '2', 'a', 'body']
    assert WordTokenizer(add_eos=True)('x') == [BOS, 'x', 'xxeos']


@pytest.mark.parametrize('value', [float('nan'), None, 3, b'x', ['x', None]])
def test_not_a_text(value):
    with pytest.raises(TypeError, match='A text is a str'): tok(value)


def test_memory_of_pieces_is_bounded(monkeypatch):
    own = WordTokenizer()
    for i in range(3): own(' '.join(f'w{j}' for j in range(i * 60000, (i + 1) * 60000)))
    assert len(own._known) <= 2**17
    own('x' * 50)
    assert 'x' * 50 not in own._known


def test_many_processes_give_the_same(monkeypatch, capsys):
    texts = [f'The film number {i} was {"so " * (i % 5)}good' for i in range(1200)]
    assert tok.many(texts, n_workers=2) == tok.many(texts) == [tok(text) for text in texts]
    assert '1,200 of 1,200' in capsys.readouterr().out
    with pytest.raises(TypeError, match='A text is a str'): tok.many([*texts, None], n_workers=2)


# --- subwords -------------------------------------------------------------------------------------------------------

def test_merges_are_those_of_the_paper():
    words = {'low▁': 5, 'lower▁': 2, 'newest▁': 6, 'widest▁': 3}
    first = learn_merges(words, 10)
    assert [''.join(pair) for pair in first[:3]] == ['es', 'est', 'est▁'] and len(first) == 10
    assert learn_merges(words, 1000) == learn_merges(dict(reversed(words.items())), 1000)
    assert learn_merges({}, 5) == learn_merges({'a': 1}, 5) == []


def slow_merges(words, n):
    "Counted anew for each merge"
    split, merges = {word: list(word) for word in words}, []
    for _ in range(n):
        pairs = {}
        for word, pieces in split.items():
            for pair in zip(pieces, pieces[1:]): pairs[pair] = pairs.get(pair, 0) + words[word]
        if not pairs: break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: module.merge_pair(pieces, best) for word, pieces in split.items()}
    return merges


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text('abc', min_size=1, max_size=8), st.integers(1, 9), max_size=12))
def test_merges_as_counted_anew(words): assert learn_merges(words, 12) == slow_merges(words, 12)


def test_subwords():
    assert subwords.vocab[:9] == list(special_tokens) and len(subwords.vocab) <= 120
    assert ''.join(subwords('the films')[1:]) == '▁the▁films'
    again = from_recipe(subwords.recipe())
    assert again == subwords and again('the plays') == subwords('the plays') and again.setup(['other']) is again
    assert SubwordTokenizer().vocab is None
    assert not {*special_tokens} & {*SubwordTokenizer(vocab_sz=99).setup(['xxbos axxbos'] * 9)('xxbos axxbos')[1:]}


def test_hugging_face(tmp_path):
    hf = pytest.importorskip('tokenizers')
    model = hf.models.BPE({token: i for i, token in enumerate(subwords.vocab)}, [*subwords.merges], unk_token=UNK)
    theirs = hf.Tokenizer(model)
    plain = SubwordTokenizer((), vocab_sz=120, alphabet=subwords.alphabet, merges=subwords.merges)
    words = ['▁the', '▁films', '▁played', '▁notable']
    assert theirs.encode(words, is_pretokenized=True).tokens == plain('the films played notable')[1:]
    theirs.save(str(tmp_path/'tokenizer.json'))
    wrapped = HFTokenizer.from_file(tmp_path/'tokenizer.json')
    assert wrapped.vocab == subwords.vocab and wrapped.many(['film'] * 2) == [wrapped('film')] * 2
    assert from_recipe(wrapped.recipe())('films') == wrapped('films')


# --- vocabulary -----------------------------------------------------------------------------------------------------

def test_vocabulary(tmp_path):
    docs = [[BOS, 'b', 'a', 'a', 'a'], [BOS, 'b', 'c', 'b', 'c', 'd']]
    num = Numericalize(min_freq=2).setup(docs)
    assert num.vocab == [*special_tokens, 'a', 'b', 'c'] and num.vocab.index(UNK) == 0 and num.vocab.index(PAD) == 1
    assert num(['b', 'zebra', 'd']).tolist() == [10, 0, 0] and num([]).dtype == torch.int64
    assert num.decode(num(['a', 'zebra'])) == ['a', UNK]
    assert Numericalize(min_freq=1, max_vocab=10).setup(docs).vocab == [*special_tokens, 'a']
    assert Numericalize(['x', UNK, PAD]).setup(docs).vocab == ['x', UNK, PAD]
    num.save(tmp_path/'v.json')
    assert Numericalize.load(tmp_path/'v.json').vocab == num.vocab
    (tmp_path/'v.json').write_text('{"a": 1}')
    with pytest.raises(ValueError, match='holds no vocabulary'): Numericalize.load(tmp_path/'v.json')
    (tmp_path/'v.json').write_text('["a", ')
    with pytest.raises(ValueError, match='holds no vocabulary'): Numericalize.load(tmp_path/'v.json')
    with pytest.raises(ValueError, match='needs xxunk'): Numericalize(['a'])
    with pytest.raises(ValueError, match="twice: 'a'"): Numericalize([*special_tokens, 'a', 'a'])
    with pytest.raises(ValueError, match='call setup'): Numericalize()(['a'])


# --- the stream of a language model ---------------------------------------------------------------------------------

def documents(*sizes):
    numbers = iter(range(10**6))
    return [torch.tensor([next(numbers) for _ in range(size)]) for size in sizes]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.integers(1, 9), st.integers(1, 12), st.booleans())
def test_no_token_is_lost(sizes, bs, seq_len, shuffle):
    docs, n = documents(*sizes), sum(sizes)
    if n < 2:
        with pytest.raises(ValueError, match='two tokens'): LMLoader(docs, bs, seq_len)
        return
    loader = LMLoader(docs, bs, seq_len, shuffle)
    batches, seen = list(loader), []
    assert len(batches) == len(loader) and loader.rows == min(bs, n - 1)
    for x, y in batches:
        assert x.dtype == y.dtype == torch.int64 and x.shape == y.shape and len(x) == loader.rows
        assert 1 <= x.shape[1] <= seq_len
    rows = torch.cat([x for x, _ in batches], 1)
    ahead = torch.cat([y for _, y in batches], 1)
    assert torch.equal(rows[:, 1:], ahead[:, :-1])           # rows go on from batch to batch
    seen = {*rows.flatten().tolist(), *ahead.flatten().tolist()}
    assert seen == set(range(n))
    assert len({*ahead.flatten().tolist()}) == n - 1         # each but the first is a target
    assert rows.numel() - (n - 1) < loader.rows              # hardly any of them twice
    if not shuffle: assert torch.equal(ahead, rows + 1)


def test_stream_in_order_and_shuffled():
    docs = documents(5, 7, 9)
    loader = LMLoader(docs, bs=2, seq_len=4, shuffle=True)
    set_seed(1)
    first, second = list(loader), list(loader)
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(first, second))
    set_seed(1)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, loader))
    before = get_rng_state()['torch']
    in_order = loader.new(shuffle=False, drop_last=False)
    list(in_order)
    assert torch.equal(before, get_rng_state()['torch']) and not in_order.shuffle and loader.shuffle
    assert [len(x[0]) for x, _ in loader.new(drop_last=True)] == [4, 4]
    assert len(loader.new(bs=1)) == 5 and loader.n_inp == 1 and loader.dataset is docs
    with pytest.raises(ValueError, match='1 or more'): LMLoader(docs, bs=0)
    assert list(LMLoader([])) == [] and len(LMLoader([])) == 0


class NextWord(nn.Module):
    def __init__(self, vocab_sz, dropout=.1):
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(vocab_sz, 8), nn.Dropout(dropout), nn.Linear(8, vocab_sz))
    def forward(self, x): return self.layers(x)


def word_loss(scores, targets): return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


class Stop(Callback):
    def __init__(self, after): self.after = after
    def before_batch(self):
        if self.learn.training and self.learn.epoch * 100 + self.learn.batches_done >= self.after: raise KeyboardInterrupt


def resume_exactly(make, tmp_path, after):
    def fit(folder, *cbs):
        set_seed(5)
        learn = make(tmp_path/folder)
        try: learn.fit(2, 1e-2, cbs=[*cbs])
        except KeyboardInterrupt: pass
        return learn
    whole = fit('whole', Checkpoint(every_batches=1))
    fit('cut', Checkpoint(every_batches=1), Stop(after))
    set_seed(77)
    again = make(tmp_path/'cut')
    again.fit(2, 1e-2, cbs=Checkpoint(every_batches=1, resume=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values()))
    assert whole.recorder.values == again.recorder.values


TEXTS = pd.DataFrame({
    'text': [f'{"The film was" if i % 2 else "We found it"} {("bad", "good")[i % 3 == 0]}, {"really " * (i % 7)}number {i}.'
             for i in range(90)],
    'label': ['pos' if i % 3 == 0 else 'neg' for i in range(90)], 'is_valid': [i % 5 == 4 for i in range(90)]})


def table_dls(**how):
    return TextDataLoaders.from_df(TEXTS, **{**dict(valid_col='is_valid', bs=8, device='cpu'), **how})


@pytest.mark.parametrize('after', [3, 103])
def test_stream_resumes_exactly(tmp_path, after):
    dls = table_dls(is_lm=True, seq_len=7)
    resume_exactly(lambda path: Learner(dls, NextWord(dls.c), word_loss, path=path), tmp_path, after)


# --- batches of a classifier ----------------------------------------------------------------------------------------

@makes_model
class MeanWord(nn.Module):
    "The mean of the words that are there"
    def __init__(self, vocab_sz, n_out, pad=1):
        super().__init__()
        self.pad, self.words, self.out = pad, nn.Embedding(vocab_sz, 12), nn.Linear(12, n_out)
    def forward(self, x):
        there = (x != self.pad)[..., None]
        return self.out((self.words(x) * there).sum(1) / there.sum(1))


def mean_learner(dls, **kwargs): return Learner(dls, MeanWord(len(dls.text_vocab), dls.c), **kwargs)


@pytest.mark.parametrize('pad_first', [True, False])
def test_padding(pad_first):
    block = DataBlock((TextBlock(pad_first=pad_first), CategoryBlock), get_x=ColReader('text'), get_y=ColReader('label'),
                      splitter=ColSplitter())
    dls = block.dataloaders(TEXTS, bs=8, device='cpu')
    for x, _ in [*dls.train, *dls.valid]:
        there = x != dls.pad
        assert x.dtype == torch.int64 and there.any(1).all() and there[:, -1 if pad_first else 0].all()
        assert there.all(1).any()                            # no longer than the longest
        steps = there.int().diff(dim=1) * (1 if pad_first else -1)
        assert (steps >= 0).all()                            # filled on one side only
        first = x[torch.arange(len(x)), there.int().argmax(1)]
        assert (first == dls.text_vocab.index(BOS)).all()


def test_sorted_batches():
    dls = table_dls(drop_last=False)
    lengths = torch.tensor([len(doc) for doc in dls.train_ds.docs()])
    set_seed(2)
    first, second = ([x for x, _ in dls.train] for _ in range(2))
    assert first[0].shape[1] == second[0].shape[1] == lengths.max()
    assert sorted(n for x in first for n in (x != 1).sum(1).tolist()) == sorted(lengths.tolist())
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first[1:], second[1:]))
    assert sum(x.numel() for x in first) < 1.1 * lengths.sum()
    assert [x.shape[1] for x in first] != sorted((x.shape[1] for x in first), reverse=True)
    assert sorted(dls.valid.order.tolist()) == list(range(18)) and dls.train.order is None
    widths = [x.shape[1] for x, _ in dls.valid]
    assert widths == sorted(widths, reverse=True)
    before = get_rng_state()['torch']
    list(dls.valid)
    assert torch.equal(before, get_rng_state()['torch'])


@pytest.mark.parametrize('n, bs', [(1, 4), (3, 4), (4, 4), (5, 4), (450, 4), (7, 1)])
def test_every_text_once(n, bs):
    names = [''.join('abcdefghij'[int(digit)] + '_' for digit in str(i)) for i in range(n + 1)]
    texts = [('one two ' * (i * 7 % 11 + 1 + 9 * (i == n // 2)) + name, 'ab'[i % 2]) for i, name in enumerate(names)]
    block = DataBlock((TextBlock(min_freq=1), CategoryBlock(vocab=['a', 'b'])), get_x=lambda i: i[0], get_y=lambda i: i[1],
                      splitter=lambda items: (list(range(n)), [n]))
    dls = block.dataloaders(texts, bs=bs, device='cpu', drop_last=False)
    for seed in range(5):
        set_seed(seed)
        batches = [x for x, _ in dls.train]
        seen = [dls.text_vocab[x[x != 1][-1]] for batch in batches for x in batch]
        assert sorted(seen) == sorted(names[:n]) and len(batches) == len(dls.train)
        assert batches[0].shape[1] == max(len(doc) for doc in dls.train_ds.docs())


def test_predictions_come_in_the_order_of_the_texts():
    dls = table_dls()
    set_seed(3)
    learn = mean_learner(dls)
    preds, targets = learn.get_preds()
    items = dls.valid_ds.items
    assert [dls.vocab[t] for t in targets] == [item.label for item in items]
    for pred, item in zip(preds, items): assert torch.allclose(pred, learn.predict(item.text)[2], atol=1e-6)
    for dl in (dls.test_dl([item.text for item in items]), dls.test_dl(items)):
        assert torch.allclose(learn.get_preds(dl=dl)[0], preds, atol=1e-6)
    assert torch.allclose(learn.get_preds(ds_idx=0)[0][5], learn.predict(dls.train_ds.items[5].text)[2], atol=1e-6)
    assert torch.equal(learn.get_preds(dl=dls.test_dl(items, with_labels=True))[1], targets)


def test_classifier_learns_and_resumes(tmp_path):
    dls = table_dls()
    set_seed(1)
    learn = mean_learner(dls, metrics=None)
    learn.fit(6, 3e-2)
    preds, targets = learn.get_preds()
    assert (preds.argmax(1) == targets).float().mean() > .95
    assert learn.predict('We found it good.')[0] == 'pos' and learn.predict('We found it bad.')[0] == 'neg'
    assert learn.predict('')[0] in ('pos', 'neg')
    resume_exactly(lambda path: mean_learner(dls, path=path), tmp_path, 4)


def test_export(tmp_path):
    for tokenizer in (None, SubwordTokenizer(vocab_sz=90)):
        dls = table_dls(tok=tokenizer)
        learn = mean_learner(dls, path=tmp_path)
        learn.export('texts')
        again = load_learner(tmp_path/'texts')
        assert again.dls.text_vocab == dls.text_vocab and again.dls.vocab == dls.vocab and again.dls.tok == dls.tok
        for text in ("It didn't work, REALLY!", '', 'good ' * 300):
            assert torch.equal(again.predict(text)[2], learn.predict(text)[2])


# --- blocks and loaders ---------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    for i, row in TEXTS.iterrows():
        file = tmp_path/'reviews'/('valid' if row.is_valid else 'train')/row.label/f'{i}.txt'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row.text, encoding='utf-8')
    return tmp_path/'reviews'


def test_ways_in(folder, tmp_path):
    TEXTS.to_csv(tmp_path/'texts.csv', index=False)
    ways = [table_dls(), TextDataLoaders.from_csv(tmp_path, 'texts.csv', valid_col='is_valid', bs=8, device='cpu'),
            TextDataLoaders.from_folder(folder, bs=8, device='cpu')]
    for way in ways:
        assert isinstance(way, TextDataLoaders) and isinstance(way.train, TextLoader)
        assert way.vocab == ['neg', 'pos'] and way.text_vocab == ways[0].text_vocab
        assert [len(way.train_ds), len(way.valid_ds)] == [72, 18]
        table = way.show_batch(4).table
        assert list(table) == ['text', 'category'] and len(table) == 4 and table.text.str.startswith(BOS).all()
    assert len(TextDataLoaders.from_folder(folder, valid_pct=.5, seed=1, bs=8).valid_ds) == 45
    assert isinstance(ways[2].train_ds.items[0], Path) and ways[2].prepare('a text')[0].ndim == 1


def test_language_model_loaders(folder):
    for dls in (table_dls(is_lm=True), TextDataLoaders.from_folder(folder, is_lm=True, bs=8, device='cpu')):
        assert isinstance(dls.train, LMLoader) and dls.train.shuffle and not dls.valid.shuffle
        assert dls.vocab == dls.text_vocab and dls.c == len(dls.vocab) and dls.n_inp == 1
        assert sum(map(len, dls.train.dataset)) == sum(len(tok(text)) for text in TEXTS.text[~TEXTS.is_valid])
        table = dls.show_batch(3).table
        assert list(table) == ['text', 'text_'] and len(table) == 3
        x, = dls.prepare('We found it')
        assert [dls.vocab[i] for i in x] == tok('We found it')
        assert sum(map(len, dls.test_dl(['We found it', 'The film']).dataset)) == 9
        again = from_recipe(json.loads(json.dumps(dls.recipe())), device='cpu')
        assert again.vocab == dls.vocab and torch.equal(again.prepare('We found it')[0], x) and len(again.train) == 0
        assert sum(map(len, again.test_dl('We found it').dataset)) == 5


def test_a_vocabulary_is_that_of_the_training_set():
    frame = TEXTS.assign(text=TEXTS.text + [' onlyinvalid' if valid else ' onlyintrain' for valid in TEXTS.is_valid])
    dls = TextDataLoaders.from_df(frame, valid_col='is_valid', bs=8)
    assert 'onlyintrain' in dls.text_vocab and 'onlyinvalid' not in dls.text_vocab
    own = [*special_tokens, 'film', 'bad']
    for given in (table_dls(text_vocab=own), table_dls(text_vocab=own, is_lm=True)):
        assert given.text_vocab == own and given.one_batch()[0].max() <= 10


def test_labels(tmp_path):
    numbers = TEXTS.assign(label=[i % 3 for i in range(90)])
    assert TextDataLoaders.from_df(numbers, valid_col='is_valid').vocab == [0, 1, 2]
    several = TEXTS.assign(label=['a b', 'b', ''] * 30)
    dls = TextDataLoaders.from_df(several, valid_col='is_valid', label_delim=' ', bs=8, device='cpu')
    assert isinstance(dls.blocks[1], MultiCategoryBlock) and dls.one_batch()[1].shape == (8, 2)
    learn = mean_learner(dls)
    learn.fit(1)
    assert torch.equal(learn.get_preds()[1], torch.stack([dls.valid_ds[i][1] for i in range(18)]))
    encoded = TEXTS.assign(a=[i % 2 for i in range(90)], b=[i % 3 == 0 for i in range(90)])
    dls = TextDataLoaders.from_df(encoded, valid_col='is_valid', label_col=['a', 'b'], bs=8,
                                  y_block=MultiCategoryBlock(encoded=True, vocab=['a', 'b']))
    assert dls.one_batch()[1].shape == (8, 2)
    odd = TEXTS.assign(text=['one,\n"two"\nthree ' + text for text in TEXTS.text])
    odd.to_csv(tmp_path/'odd.csv', index=False)
    dls = TextDataLoaders.from_csv(tmp_path, 'odd.csv', valid_col='is_valid', bs=8)
    assert dls.train_ds.items[0].text.startswith('one,\n"two"\nthree') and '\n' in dls.text_vocab


def test_several_columns_and_rows():
    frame = TEXTS.assign(title='Heading')
    dls = TextDataLoaders.from_df(frame, text_col=['title', 'text'], label_col='label', valid_col='is_valid', bs=8)
    assert dls.tok.join(dls.show_batch(1, trunc_at=None).table.text[0].split(' ')).split()[0] == 'Heading'
    assert FLD in dls.show_batch(1).table.text[0]
    block = DataBlock((TextBlock.from_df(['title', 'text']), CategoryBlock), get_y=ColReader('label'), splitter=ColSplitter())
    rows = block.dataloaders(frame, bs=8)
    assert rows.text_vocab == dls.text_vocab
    block = DataBlock((TextBlock.from_df('text', seq_len=5), CategoryBlock), get_x=ColReader('text'),
                      get_y=ColReader('label'), splitter=ColSplitter())
    assert block.dataloaders(frame).text_vocab == table_dls().text_vocab


def test_each_set_has_its_own_texts():
    block = DataBlock((TextBlock(min_freq=1), CategoryBlock), get_x=ColReader('text'), get_y=ColReader('label'),
                      splitter=lambda items: (range(9), range(9, 18)))
    train, valid = map(module._as_texts, block.datasets(TEXTS))
    num = train.blocks[0].num
    for ds in (valid, train): assert all(map(torch.equal, ds.docs(), num.many([tok(row.text) for row in ds.items])))
    assert torch.equal(valid.with_items(valid.items[3:4]).docs()[0], valid.docs()[3])


def test_summary_and_show_results(capsys):
    block = DataBlock((TextBlock, CategoryBlock), get_x=ColReader('text'), get_y=ColReader('label'), splitter=ColSplitter())
    block.summary(TEXTS)
    said = capsys.readouterr().out
    assert 'TextBlock opens' in said and re.search(r'TextBlock learns +\d+ tokens: xxunk', said) and '2 classes' in said
    DataBlock(TextBlock(is_lm=True), get_x=ColReader('text'), splitter=ColSplitter()).summary(TEXTS)
    learn = mean_learner(table_dls())
    assert list(learn.show_results(max_n=4).table) == ['text', 'category', 'category_']
    table = ClassificationInterpretation.from_learner(learn).plot_top_losses(4).table
    assert len(table) == 4 and table.text.str.startswith(BOS).all()


def test_lines_in_a_table_have_a_sign():
    shown = table_dls(tok=WordTokenizer).show_batch()
    shown.table.loc[0, 'text'] = 'one\ntwo'
    assert 'one⏎two' in shown._repr_html_() and '\\n' not in shown._repr_html_()
    assert shown.table.loc[0, 'text'] == 'one\ntwo'


def test_subwords_learn_from_the_training_set():
    given = SubwordTokenizer(vocab_sz=90)
    dls = table_dls(tok=given)
    assert given.merges is None and dls.text_vocab == dls.tok.vocab and len(dls.text_vocab) <= 90
    assert table_dls(tok=SubwordTokenizer).text_vocab[:9] == list(special_tokens)


def test_random_numbers_stay_as_they_were():
    dls = table_dls()
    lm = table_dls(is_lm=True)
    before = get_rng_state()['torch']
    dls.show_batch(), lm.show_batch(), dls.prepare('x'), lm.prepare('x')
    assert torch.equal(before, get_rng_state()['torch'])


# --- files, and the cache -------------------------------------------------------------------------------------------

def test_bad_files_and_tables(tmp_path, folder):
    (tmp_path/'old.txt').write_bytes('été'.encode('latin-1'))
    with pytest.raises(ValueError, match=r"old.txt is not utf-8: byte 0xe9 at place 0.*encoding='cp1252'"):
        read_text(tmp_path/'old.txt')
    assert read_text(tmp_path/'old.txt', 'cp1252') == 'été'
    (tmp_path/'mark.txt').write_bytes('x'.encode('utf-8-sig'))
    assert read_text(tmp_path/'mark.txt') == 'x'
    with pytest.raises(FileNotFoundError, match='no file .txt'): module.get_text_files(tmp_path, folders='none')
    with pytest.raises(FileNotFoundError): module.get_text_files(tmp_path/'nowhere')
    gap = TEXTS.assign(text=[None, *TEXTS.text[1:]])
    with pytest.raises(ValueError, match="'text' is empty"): TextDataLoaders.from_df(gap, valid_col='is_valid')
    numbers = [(3, 'a'), ('x', 'b')] * 4
    with pytest.raises(ValueError, match='a text is a str or a path, not 3'):
        DataBlock((TextBlock, CategoryBlock), get_x=lambda i: i[0], get_y=lambda i: i[1]).dataloaders(numbers)
    with pytest.raises(KeyError, match="'txet'"): TextDataLoaders.from_df(TEXTS, text_col='txet')
    (folder/'train'/'neg'/'bad.txt').write_bytes(b'\xff\xfe\xfa')
    with pytest.raises(ValueError, match='bad.txt is not utf-8'): TextDataLoaders.from_folder(folder)


@pytest.mark.parametrize('encoding', ['cp1252', 'utf-8-sig', None])
def test_texts_in_a_table_of_another_country(encoding, tmp_path):
    marked = TEXTS.assign(text=['Grüße; ' + text for text in TEXTS.text])
    marked.to_csv(tmp_path/'t.csv', sep=';', encoding=encoding, index=False)
    right = TextDataLoaders.from_df(marked, valid_col='is_valid', bs=8)
    for how in (dict(delimiter=';'), dict(sep=';')):
        dls = TextDataLoaders.from_csv(tmp_path, 't.csv', encoding=encoding, valid_col='is_valid', bs=8, **how)
        assert dls.text_vocab == right.text_vocab and 'grüße' in dls.text_vocab and dls.vocab == right.vocab
    with pytest.raises(ValueError, match="encoding='cp1252'" if encoding == 'cp1252' else "Give sep=';'"):
        TextDataLoaders.from_csv(tmp_path, 't.csv')


def test_the_home_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    near = f'~/{folder.name}'
    files = module.get_text_files(near)
    assert files == module.get_text_files(folder) and read_text(f'{near}/{files[0].relative_to(folder)}') == read_text(files[0])
    assert TextDataLoaders.from_folder(near, bs=8).text_vocab == TextDataLoaders.from_folder(folder, bs=8).text_vocab
    monkeypatch.setenv('HOME', str(tmp_path))
    TEXTS.to_csv(tmp_path/'t.csv', index=False)
    assert TextDataLoaders.from_csv('~', 't.csv', valid_col='is_valid', bs=8).vocab
    Numericalize(['xxunk', 'xxpad', 'a']).save('~/vocab.json')
    assert Numericalize.load('~/vocab.json').vocab == Numericalize.load(tmp_path/'vocab.json').vocab


def test_empty_documents():
    frame = TEXTS.assign(text=['', ' ', '\n', *TEXTS.text[3:]])
    dls = TextDataLoaders.from_df(frame, valid_col='is_valid', bs=8, device='cpu')
    assert len(list(dls.valid)) == 3 and min(map(len, dls.train_ds.docs())) == 1
    assert [doc.tolist() for doc in dls.train_ds.docs()[:3]] == [[2]] * 3
    only = [('', 'a'), ('', 'b')] * 4
    dls = DataBlock((TextBlock, CategoryBlock), get_x=lambda i: i[0], get_y=lambda i: i[1]).dataloaders(only, bs=2)
    assert (dls.one_batch()[0] == 2).all() and dls.text_vocab == list(special_tokens)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    monkeypatch.setattr(module, '_worth_keeping', 100)
    return tmp_path/'home'/'tokens'


def test_cache(folder, cache, monkeypatch):
    files = module.get_text_files(folder)
    calls, plain = [], WordTokenizer.many
    monkeypatch.setattr(WordTokenizer, 'many', lambda self, texts, **how: calls.append(1) or plain(self, texts, **how))
    first = tokenize_files(files, tok)
    assert first == tokenize_files(files, WordTokenizer()) and len(calls) == 1 and len(list(cache.iterdir())) == 1
    assert tokenize_files(files, WordTokenizer(())) != first and len(calls) == 2          # another recipe
    files[0].write_text('quite another text')
    assert tokenize_files(files, tok)[0] == tok('quite another text') and len(calls) == 3
    assert len(list(cache.iterdir())) == 2                                               # the old one is replaced
    for kept in cache.iterdir(): kept.write_bytes(kept.read_bytes()[:-7])                # cut short
    assert tokenize_files(files, tok)[0] == tok('quite another text') and len(calls) == 4
    assert tokenize_files(files, tok)[1:] == first[1:] and len(calls) == 4
    assert tokenize_files(files[:3], tok) == tokenize_files(files, tok)[:3]


def test_cache_survives_a_kill(folder, cache):
    program = textwrap.dedent('''
        import os, signal, sys
        from pathlib import Path
        from lessonlib import checkpoint, tokens
        plain = checkpoint.save_file
        def cut(tensors, file, **how):
            plain(tensors, file, **how)
            Path(file).write_bytes(Path(file).read_bytes()[:99])
            os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.save_file, tokens._worth_keeping = cut, 100
        tokens.tokenize_files(tokens.get_text_files(sys.argv[1]), tokens.WordTokenizer())
    ''')
    done = subprocess.run([sys.executable, '-c', program, folder], cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == -signal.SIGKILL and not list(cache.glob('[!.]*'))
    files = module.get_text_files(folder)
    assert tokenize_files(files, tok) == [tok(file.read_text()) for file in files]
    assert len(list(cache.glob('[!.]*'))) == 1


def test_light_import():
    program = ('import sys, lessonlib.tokens\n'
               'print(*[name for name in ("torchvision", "pandas", "sklearn", "matplotlib", "tokenizers") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
                          capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_length_of_windows_may_be_said_late():
    "To the block, or where the loaders are made, as the field does"
    block = DataBlock(TextBlock(is_lm=True), get_x=ColReader('text'), splitter=ColSplitter())
    for how, expected in ((dict(seq_len=7), 7), ({}, 72)):
        assert block.dataloaders(TEXTS, bs=2, device='cpu', **how).train.seq_len == expected


# --- what was taken for something else without a word ---------------------------------------------------------------

def test_a_path_as_a_str_is_no_text(folder):
    files = sorted(map(str, folder.rglob('*.txt')))
    with pytest.raises(ValueError, match='is a file; a str is the text itself. Give a Path'):
        DataBlock((TextBlock, CategoryBlock), get_items=lambda _: files, get_y=parent_label).dataloaders(folder, device='cpu')


def test_a_list_of_one_column_is_that_column():
    one, listed = table_dls(text_col='text', label_col='label'), table_dls(text_col=['text'], label_col='label')
    assert one.text_vocab == listed.text_vocab and FLD not in listed.show_batch().table.text[0].split()
    for a, b in zip(one.train_ds.docs(), listed.train_ds.docs()): assert torch.equal(a, b)
    assert torch.equal(listed.prepare('The film was good')[0], one.prepare(['The film was good'])[0])


def test_several_texts_are_not_the_parts_of_one():
    dls = table_dls()
    with pytest.raises(ValueError, match='A text here has 1 part, not 2. Of several texts'): dls.prepare(['good', 'bad'])
    both = TextDataLoaders.from_df(TEXTS.assign(title='A film'), text_col=['title', 'text'], label_col='label', bs=8, device='cpu')
    assert both.prepare(['A film', 'It was good.'])[0].tolist().count(both.text_block.num.o2i[FLD]) == 2
    with pytest.raises(ValueError, match='A text here has 2 parts, not 1'): both.prepare('It was good.')


def test_a_vocab_with_a_tokenizer_that_has_learned_nothing():
    tok = SubwordTokenizer(vocab_sz=90)
    first = table_dls(tok=tok)
    with pytest.raises(ValueError, match='Give the tokenizer that the vocab is from: tok=dls.tok'):
        table_dls(tok=tok, text_vocab=first.text_vocab)
    second = table_dls(tok=first.tok, text_vocab=first.text_vocab)
    for a, b in zip(first.train_ds.docs(), second.train_ds.docs()): assert torch.equal(a, b)
    with pytest.raises(TypeError, match='a set has no order'): table_dls(text_vocab={*special_tokens, 'film'})
    with pytest.raises(TypeError, match="tok='spacy': expected a tokenizer"): table_dls(tok='spacy')


class OwnWords(WordTokenizer):
    "A tokenizer of a user's own"
    def __call__(self, text): return text.lower().split()


def test_tokens_of_a_tokenizer_of_ones_own_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_worth_keeping', 10)
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    (tmp_path/'a.txt').write_text('Good Words here')
    assert module.tokenize_files([tmp_path/'a.txt'], OwnWords()) == [['good', 'words', 'here']]
    monkeypatch.setattr(OwnWords, '__call__', lambda self, text: text.split())
    assert module.tokenize_files([tmp_path/'a.txt'], OwnWords()) == [['Good', 'Words', 'here']]
    assert module.tokenize_files([tmp_path/'a.txt'], WordTokenizer()) and list((tmp_path/'home').rglob('*.safetensors'))


def test_files_in_another_encoding(folder):
    for file in folder.rglob('*.txt'): file.write_bytes(file.read_bytes() + ' café'.encode('cp1252'))
    with pytest.raises(ValueError, match="try encoding='cp1252'"): TextDataLoaders.from_folder(folder, bs=4, device='cpu')
    dls = TextDataLoaders.from_folder(folder, bs=4, device='cpu', encoding='cp1252')
    assert 'café' in dls.text_vocab


def test_new_texts_of_a_language_model_are_read_in_rows_that_tell_something():
    lm = table_dls(is_lm=True, seq_len=20, bs=16)
    assert lm.test_dl(['The film was good, really.']).rows == 1
    long = lm.test_dl(['The film was good, really. ' * 40])
    assert 1 < long.rows <= 16 and long.length >= 20 and lm.test_dl(['a b c d e f'], bs=2).rows == 2


def test_results_of_several_widths_say_so():
    learn = mean_learner(table_dls())
    with pytest.raises(ValueError, match='do not go into one tensor: go through the loader'): learn.get_preds(with_input=True)
    with pytest.raises(ValueError, match='This loader gives no targets'): learn.validate(dl=learn.dls.test_dl(['good', 'bad']))


def test_no_message_prints_a_text_at_length():
    long = 'a bad film, and a long one ' * 400
    table = pd.DataFrame(dict(text=['good', long] * 4, label=['yes', None] * 4))
    with pytest.raises(ValueError, match="'label' is empty") as seen: TextDataLoaders.from_df(table, text_col='text', label_col='label')
    block = DataBlock((TextBlock(tok=tok), CategoryBlock(vocab=['yes'])), get_x=str, get_y=len)
    with pytest.raises(ValueError, match='set') as other: block.datasets([long, *'abcdefg'])
    with pytest.raises(TypeError, match='A text is a str') as third: tok([1] * 10_000)
    assert max(len(str(one.value)) for one in (seen, other, third)) < 500


def test_loaders_of_texts_print_their_own_names():
    dls = TextDataLoaders.from_df(pd.DataFrame({'text': ['a b', 'c d e'] * 8, 'label': ['x', 'y'] * 8}), bs=4, device='cpu')
    assert re.fullmatch(r'TextLoader of \d batches: TextDataset of \d+ items \(TextBlock, CategoryBlock\)', repr(dls.train))
