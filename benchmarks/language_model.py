"""Tokens a second of a language model in the default sizes (400, 1152, three layers): the Learner against a hand-written loop
over plain `nn.LSTM`s of the same sizes and, in an environment of its own, fastai. With --text: perplexity on WikiText-2's
small part against a Kneser–Ney trigram on the same tokens.

    python benchmarks/language_model.py [--rounds 5] [--threads 2] [--bs 16 64] [--peer PYTHON]
    LESSONLIB_MIRROR=FOLDER python benchmarks/language_model.py --text [--epochs 6] [--small]
"""
import argparse
import contextlib
import io
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.batches import DataLoaders, accuracy  # noqa: E402
from lessonlib.core import set_seed  # noqa: E402
from lessonlib.language_model import AWD_LSTM, KneserNey, Perplexity, language_model_learner  # noqa: E402
from lessonlib.learner import adamw  # noqa: E402
from lessonlib.tokens import LMLoader  # noqa: E402
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402

BASE, VOCAB, BATCHES = 'hand-written loop over nn.LSTM', 10_000, 2

PEER = '''
import sys, torch, warnings
warnings.filterwarnings('ignore')
from fastai.text.all import *
torch.set_num_threads(int(sys.argv[1])); bs, seq_len, vocab, batches = map(int, sys.argv[2:])
torch.manual_seed(0)
doc = torch.randint(9, vocab, (bs * seq_len * batches + 1,))
train = LMDataLoader([doc], lens=[len(doc)], bs=bs, seq_len=seq_len)
valid = LMDataLoader([doc[:5]], lens=[5], bs=2, seq_len=2)
learn = LMLearner(DataLoaders(train, valid, device='cpu'), get_language_model(AWD_LSTM, vocab),
                  loss_func=CrossEntropyLossFlat(), cbs=[ModelResetter(), RNNRegularizer(alpha=2., beta=1.)])
for line in sys.stdin:
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    print('done', flush=True)
'''


def by_hand(dl, vocab: int):
    "One pass, as one would write it: embedding, three LSTMs, a decoder, the state carried on, the same optimiser"
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(vocab, 400)
            self.rnns = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in ((400, 1152), (1152, 1152), (1152, 400))])
            self.out = nn.Linear(400, vocab)
            self.out.weight = self.embed.weight
        def forward(self, x, states):
            x, after = self.embed(x), []
            for rnn, state in zip(self.rnns, states):
                x, new = rnn(x, state)
                after.append(new)
            return self.out(x), after
    model = Plain()
    opt = adamw(model.parameters(), lr=1e-3)
    def run():
        states = [None] * 3
        for x, y in dl:
            scores, states = model(x, states)
            loss = F.cross_entropy(scores.flatten(0, 1), y.flatten())
            loss.backward()
            loss.item()
            opt.step()
            opt.zero_grad()
            states = [(h.detach(), c.detach()) for h, c in states]
    return run


def speed(args) -> None:
    rows = []
    for bs, seq_len in ((bs, 72) for bs in args.bs):
        set_seed(0)
        doc = torch.randint(9, VOCAB, (bs * seq_len * BATCHES + 1,))
        dl = LMLoader([doc], bs=bs, seq_len=seq_len)
        dls = DataLoaders(dl, None, vocab=list(range(VOCAB)), device='cpu')
        learn = language_model_learner(dls, AWD_LSTM)
        def ours():
            with contextlib.redirect_stdout(io.StringIO()): learn.fit(1, 1e-3)
        runs = {BASE: by_hand(dl, VOCAB), 'Learner with AWD_LSTM': ours}
        peer = None
        if args.peer:
            peer = subprocess.Popen([args.peer, '-W', 'ignore', '-c', PEER, *map(str, (args.threads, bs, seq_len, VOCAB, BATCHES))],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            def theirs():
                peer.stdin.write('go\n')
                if not peer.stdout.readline(): sys.exit('fastai stopped; its error is above')
            runs['fastai, language_model_learner'] = theirs
        wall, = interleaved(runs, args.rounds)
        if peer: peer.terminate()
        ratios, tokens = paired_ratio(wall, BASE), bs * seq_len * BATCHES
        rows += [[f'{bs} × {seq_len}: {who}', f'{tokens / seconds:,.0f}', f'{ratios[who]:.2f}']
                 for who, seconds in median(wall).items()]
    print(table(rows, ['default sizes, vocabulary of 10,000', 'tokens a second', 'time, as a ratio']))
    print(f'\nMedian of {args.rounds} interleaved rounds of {BATCHES} batches; {machine()}.')


def text(args) -> None:
    import pandas as pd
    from lessonlib.datasets import course_data
    from lessonlib.tokens import TextDataLoaders
    path = course_data('wikitext_tiny')
    parts = {part: pd.read_csv(path/f'{part}.csv', header=None)[0] for part in ('train', 'test')}
    frame = pd.concat([pd.DataFrame({'text': texts, 'is_valid': part == 'test'}) for part, texts in parts.items()])
    set_seed(42)
    with contextlib.redirect_stdout(io.StringIO()):
        dls = TextDataLoaders.from_df(frame.reset_index(drop=True), text_col='text', valid_col='is_valid', is_lm=True, bs=32, seq_len=72)
    train, test = (torch.cat([*loader.dataset]) for loader in dls.loaders)
    start = time.perf_counter()
    counted = torch.tensor(KneserNey([train], len(dls.vocab)).of_text([test])).log().neg().mean().exp()
    print(f'{len(train):,} and {len(test):,} tokens, vocabulary {len(dls.vocab):,}')
    print(f'Kneser–Ney trigram: perplexity {counted:.1f} in {time.perf_counter() - start:.0f} s')
    sizes = dict(emb_sz=256, n_hid=512, n_layers=2) if args.small else None
    learn = language_model_learner(dls, AWD_LSTM, sizes, drop_mult=1., metrics=[accuracy, Perplexity()])
    learn.fit_one_cycle(args.epochs, 5e-3, wd=.1)
    print(machine())


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--bs', type=int, nargs='+', default=[16, 64], help='rows of a batch')
    parser.add_argument('--peer', help='a Python that has fastai')
    parser.add_argument('--text', action='store_true', help='perplexity on WikiText-2 instead')
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--small', action='store_true', help='256, 512 and two layers')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    text(args) if args.text else speed(args)
