"""Reviews: words, frozen vectors, the fine-tuned encoder, and its mean with the words; and the speed of a block.

    python benchmarks/attention.py block                       # a block beside torch's own layer; seconds
    python benchmarks/attention.py sample [FOLDER] --seeds 0 1 2   # imdb_sample, 800 / 200: minutes
    python benchmarks/attention.py reviews [FOLDER]            # imdb, 5,000 / 5,000: the better part of an hour

FOLDER is that of the unpacked set; without it `untar_data` finds it (LESSONLIB_MIRROR). `--few 200` takes so many reviews of
each side, to try the script. Texts of more than --max-len pieces keep their beginning and their last --tail pieces. The
encoder is trained with one cycle, to --lr, the head to ten times that; it is judged once, at the end (`--every` judges each
epoch). Nothing is chosen by looking at the reviews it is judged by.
"""
import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
from timing import interleaved, machine, median, paired_ratio, table  # noqa: E402


def reviews(kind: str, folder: str | None, few: int | None):
    "A table of texts, labels, and whether to judge by them"
    import pandas as pd
    from lessonlib.datasets import untar_data, URLs
    if kind == 'sample':
        rows = pd.read_csv(Path(folder or untar_data(URLs.IMDB_SAMPLE))/'texts.csv')
        rows = rows.rename(columns=dict(is_valid='valid'))
    else:
        folder, rows = Path(folder or untar_data(URLs.IMDB)), []
        for part in ('train', 'test'):
            for label in ('neg', 'pos'):
                rows += [dict(text=file.read_text('utf-8'), label=label, valid=part == 'test')
                         for file in sorted((folder/part/label).glob('*.txt'))]
        rows = pd.DataFrame(rows)
    if few:
        rows = rows.sample(frac=1, random_state=0).groupby(['valid', 'label']).head(few // 2)
        rows = rows.reset_index(drop=True)
    rows['text'] = rows.text.str.replace('<br />', ' ')
    return rows


def error(share: float, n: int) -> float: return (share * (1 - share) / n)**.5


def by_words(rows) -> np.ndarray:
    "Probabilities of a linear model on TF-IDF of one and two words"
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    train, valid = rows[~rows.valid], rows[rows.valid]
    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    linear = LogisticRegression(C=10, max_iter=1000).fit(tfidf.fit_transform(train.text), train.label)
    return linear.predict_proba(tfidf.transform(valid.text))


def by_frozen_vectors(rows, args) -> np.ndarray:
    "Probabilities of a linear model on vectors of the encoder as it comes"
    from lessonlib.attention import embed, MiniLMTokenizer
    from sklearn.linear_model import LogisticRegression
    vectors = embed(rows.text, tok=MiniLMTokenizer(args.max_len, args.tail)).numpy()
    linear = LogisticRegression(C=10, max_iter=1000).fit(vectors[~rows.valid], rows.label[~rows.valid])
    return linear.predict_proba(vectors[rows.valid])


def fine_tuned(rows, args, seed: int) -> tuple:
    "Probabilities of the encoder trained on the reviews, its record, seconds, and seconds of the processor"
    from lessonlib.attention import MiniLMTokenizer, transformer_learner
    from lessonlib.batches import accuracy
    from lessonlib.core import set_seed
    from lessonlib.learner import Callback, CancelValidException
    from lessonlib.tokens import TextDataLoaders

    class OnlyAtTheEnd(Callback):
        def before_validate(self):
            if self.learn.epoch < self.learn.n_epoch - 1: raise CancelValidException

    set_seed(seed)
    started, busy = time.perf_counter(), time.process_time()
    dls = TextDataLoaders.from_df(rows, text_col='text', label_col='label', valid_col='valid', bs=args.bs,
                                  tok=MiniLMTokenizer(args.max_len, args.tail), val_bs=2 * args.bs)
    learn = transformer_learner(dls, metrics=accuracy, cbs=[] if args.every else OnlyAtTheEnd, wd=args.wd)
    learn.unfreeze()
    learn.fit_one_cycle(args.epochs, [args.lr * args.lower, args.lr, 10 * args.lr])
    probs, _ = learn.get_preds()
    assert dls.vocab == sorted(rows.label.unique())
    return probs.numpy(), learn.recorder.values, time.perf_counter() - started, time.process_time() - busy


def compare(rows, args) -> None:
    truth = (rows.label[rows.valid] == sorted(rows.label.unique())[1]).to_numpy()
    def right(probs): return float(((probs[:, 1] > .5) == truth).mean())
    words, lines = by_words(rows), []
    lines.append(['TF-IDF of one and two words, linear', f'{right(words):.4f}', '', '', ''])
    if args.kind == 'sample': lines.append(['frozen vectors, linear', f'{right(by_frozen_vectors(rows, args)):.4f}', '', '', ''])
    alone, together = [], []
    for seed in args.seeds:
        probs, record, seconds, busy = fine_tuned(rows, args, seed)
        alone.append(right(probs))
        together.append(right((probs + words) / 2))
        lines.append([f'fine-tuned, seed {seed}', f'{alone[-1]:.4f}', f'{together[-1]:.4f}', f'{seconds:.0f}', f'{busy:.0f}'])
        print(lines[-1], record, flush=True)
    if len(alone) > 1:
        lines.append([f'fine-tuned, mean of {len(alone)} seeds', f'{statistics.mean(alone):.4f}',
                      f'{statistics.mean(together):.4f}', '', ''])
    print(table(lines, ['accuracy', 'alone', 'mean with the words', 'seconds', 'CPU seconds']))
    print(f'{(~rows.valid).sum()} to learn, {len(truth)} to test; standard error {error(alone[-1], len(truth)):.4f}; '
          f'{args.epochs} epochs, {args.max_len} pieces of which {args.tail} at the end, lr {args.lr}, bs {args.bs}; {machine()}')


def block() -> None:
    "A block of the encoder beside torch's layer with the same sizes, forwards and forwards with backwards"
    from lessonlib.attention import TransformerBlock
    rows = []
    for n in (64, 256):
        x, mask = torch.randn(16, n, 384), torch.ones(16, n).bool()
        mask[:8, n * 3 // 4:] = False
        ours = TransformerBlock(384, 12, 1536, .1)
        theirs = torch.nn.TransformerEncoderLayer(384, 12, 1536, .1, 'gelu', batch_first=True)
        for training in (False, True):
            for net in (ours, theirs): net.train(training)
            def run(function):
                def step():
                    if training: return function().square().mean().backward()
                    with torch.no_grad(): function()
                return step
            seconds, cpu = interleaved({'theirs': run(lambda: theirs(x, src_key_padding_mask=~mask)),
                                        'ours': run(lambda: ours(x, mask[:, None, None]))}, 7,
                                       clocks=(time.perf_counter, time.process_time))
            ms = {name: f'{1000 * value:.1f}' for name, value in median(seconds).items()}
            rows.append([f'16 texts of {n} pieces, {"training" if training else "predicting"}', ms['theirs'], ms['ours'],
                         f'{paired_ratio(seconds, "theirs")["ours"]:.2f}', f'{paired_ratio(cpu, "theirs")["ours"]:.2f}'])
    print(table(rows, ['one block, width 384, 12 heads', 'torch, ms', 'ours, ms', 'ratio', 'ratio of CPU time']))
    print(f'Median of 7 interleaved rounds; {machine()}.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=('block', 'sample', 'reviews'), nargs='?', default='block')
    parser.add_argument('folder', nargs='?')
    parser.add_argument('--few', type=int, help='so many reviews to learn, and to test')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--max-len', type=int, default=288)
    parser.add_argument('--tail', type=int, default=96)
    parser.add_argument('--lr', type=float, default=1e-4)
    parser.add_argument('--lower', type=float, default=1., help='the rate of tables and lower blocks, as a share of lr')
    parser.add_argument('--wd', type=float, default=.01)
    parser.add_argument('--bs', type=int, default=32)
    parser.add_argument('--every', action='store_true', help='judge after each epoch, which takes longer')
    parser.add_argument('--threads', type=int)
    args = parser.parse_args()
    if args.threads: torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore', message='.*pieces and were cut')
    if args.kind == 'block': return block()
    compare(reviews(args.kind, args.folder, args.few), args)


if __name__ == '__main__': main()
