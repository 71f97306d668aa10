"""Verdicts on real reviews (imdb: 5,000 to learn from, 5,000 to judge by, 5,000 without a label): the words first, then an
AWD-LSTM in so many minutes, with the reading of all texts before and without it.

    LESSONLIB_MIRROR=FOLDER python benchmarks/real_reviews.py --minutes 10 [--only read] [--config field] [--few 200]
    LESSONLIB_MIRROR=FOLDER python benchmarks/real_reviews.py --minutes 60 --most 10 --reading .8 --curve

A minute is one of two cores: two minutes of the processor, whatever else the machine does. A few batches are timed, and the
passes (or the share of the texts) chosen so that training takes the minutes it may; judging is not counted. Nothing is
chosen by looking at the reviews that it is judged by.
"""
import argparse
import sys
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.batches import accuracy  # noqa: E402
from lessonlib.core import set_seed  # noqa: E402
from lessonlib.learner import Callback  # noqa: E402
from lessonlib.language_model import AWD_LSTM, Perplexity, language_model_learner  # noqa: E402
from lessonlib.text_classifier import text_classifier_learner  # noqa: E402
from lessonlib.tokens import TextDataLoaders  # noqa: E402
from timing import machine, table  # noqa: E402

CONFIGS = dict(small=dict(emb_sz=128, n_hid=256, n_layers=2), middle=dict(emb_sz=256, n_hid=512, n_layers=2), field={})


def reviews(folder: str | None, few: int | None):
    "Tables of reviews with their labels, of those to judge by, and the texts without a label"
    import pandas as pd
    from lessonlib.datasets import URLs, untar_data
    folder, parts = Path(folder or untar_data(URLs.IMDB)), []
    for side in ('train', 'test'):
        files = [file for label in ('neg', 'pos') for file in sorted((folder/side/label).glob('*.txt'))]
        rows = pd.DataFrame(dict(text=[file.read_text('utf-8') for file in files], label=[file.parent.name for file in files],
                                 valid=side == 'test'))
        parts.append(rows.sample(frac=1, random_state=0)[:few])
    unlabelled = [file.read_text('utf-8') for file in sorted((folder/'unsup').glob('*.txt'))[:few]]
    return pd.concat(parts), unlabelled


def words(rows) -> tuple:
    "Share right and probabilities of TF-IDF of one and two words with a logistic regression"
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2), LogisticRegression(C=10, max_iter=1000))
    train, test = rows[~rows.valid], rows[rows.valid]
    model.fit(train.text, train.label)
    return model.score(test.text, test.label), torch.tensor(model.predict_proba(test.text))


def seconds_a_batch(learn, n: int = 8) -> float:
    "Of training, by a few batches; the model is put back"
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    whole = learn.dls.loaders[0]
    every = max(1, len(whole) // n)
    batches = list(islice(whole, every // 2, None, every))       # from all over the epoch: the longest come first
    start = time.process_time()
    learn.dls.loaders[0] = batches
    with learn.no_logging(): learn.fit(1, 1e-6)
    took = time.process_time() - start
    learn.dls.loaders[0] = whole
    learn.model.load_state_dict(before)
    learn.opt = None
    return took / len(batches)


class Judge(Callback):
    "How many are right after each pass, and the seconds that this took"
    order = 100
    def __init__(self): self.right, self.seconds = [], 0.
    def before_validate(self): self.start = time.process_time()
    def after_validate(self): self.seconds += time.process_time() - self.start
    def after_epoch(self): print(f'{self.learn.epoch}: {self.learn.recorder.values[-1][-1]:.4f}', flush=True)
    def after_fit(self): self.right = [row[-1] for row in self.learn.recorder.values]


def train(learn, seconds: float, lr, most: int | None = None, judge: Judge | None = None) -> float:
    "One cycle of as many passes as fit (at most so many), of the whole set or of a part; gives the passes"
    valid, learn.dls.loaders[1] = learn.dls.loaders[1], None
    each, batches = seconds_a_batch(learn), len(learn.dls.train)
    passes = min(seconds / (each * batches), most or float('inf'))
    if passes < 1:
        whole = learn.dls.loaders[0]
        learn.dls.loaders[0] = list(islice(whole, max(1, int(passes * batches))))
    if judge: learn.dls.loaders[1] = valid
    with learn.no_logging(): learn.fit_one_cycle(max(1, int(passes)), lr, moms=(.8, .7, .8), cbs=judge)
    if passes < 1: learn.dls.loaders[0] = whole
    learn.dls.loaders[1] = valid
    return passes if passes < 1 else int(passes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?')
    parser.add_argument('--minutes', type=float, default=10, help='of two cores')
    parser.add_argument('--only', choices=('nothing', 'read'), help='one of the two ways to begin')
    parser.add_argument('--most', type=int, help='passes over the verdicts')
    parser.add_argument('--reading', type=float, default=.5, help='share of the minutes for reading')
    parser.add_argument('--curve', action='store_true', help='judge after each pass')
    parser.add_argument('--config', choices=CONFIGS, default='small')
    parser.add_argument('--few', type=int, help='so many reviews of each kind, to try the script')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--seed', type=int, default=42)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter('ignore')
    rows, unlabelled = reviews(args.folder, args.few)
    config, work, seconds = CONFIGS[args.config], Path(tempfile.mkdtemp()), 2 * 60 * args.minutes
    share, probs_words = words(rows)
    results = [['words and pairs, linear', '', '', f'{share:.4f}', '', '']]
    import pandas as pd
    texts = pd.DataFrame(dict(text=[*rows.text[~rows.valid], *unlabelled]))
    lm_dls = TextDataLoaders.from_df(texts, work, text_col='text', is_lm=True, valid_pct=.02, seed=1, bs=32)
    dls = TextDataLoaders.from_df(rows, work, text_col='text', label_col='label', valid_col='valid', bs=32, val_bs=64,
                                  text_vocab=lm_dls.text_vocab)
    truth = torch.tensor([dls.vocab.index(label) for label in rows.label[rows.valid]])
    for name, read in (('AWD-LSTM from nothing', 0.), ('AWD-LSTM that has read', args.reading)):
        if args.only and args.only not in name: continue
        begun = time.process_time()
        set_seed(args.seed)
        judge = Judge() if args.curve else None
        passes_read, hesitation = '', ''
        if read:
            reader = language_model_learner(lm_dls, AWD_LSTM, config=config, drop_mult=.3, metrics=[accuracy, Perplexity()], path=work)
            passes_read = f'{train(reader, read * seconds, 1e-2):.2f}'
            hesitation = f', perplexity {reader.validate()[-1]:.0f}'
            reader.save_encoder('reader')
            print(f'read: {passes_read} passes{hesitation}, {(time.process_time() - begun) / 120:.1f} minutes', flush=True)
        learn = text_classifier_learner(dls, AWD_LSTM, config=config, drop_mult=.3, metrics=accuracy, path=work)
        left = (1 - read) * seconds
        if read:
            learn.load_encoder('reader')
            train(learn, .1 * left, 1e-2, args.most)
            learn.freeze_to(-2)
            train(learn, .2 * left, slice(1e-2/2.6**4, 1e-2), args.most)
            learn.unfreeze()
            passes = train(learn, .7 * left, slice(5e-3/2.6**4, 5e-3), args.most, judge)
        else: passes = train(learn, left, 5e-3, args.most, judge)
        took = (time.process_time() - begun - (judge.seconds if judge else 0)) / 120
        probs, targets = learn.get_preds()
        assert torch.equal(targets, truth)
        right = (probs.argmax(1) == truth).float().mean().item()
        both = ((probs + probs_words).argmax(1) == truth).float().mean().item()
        results.append([name + hesitation, passes_read, f'{passes:.2f}', f'{right:.4f}', f'{both:.4f}',
                        f'{took:.1f}'])
        print(results[-1], *([f'after each pass: {" ".join(f"{right:.3f}" for right in judge.right)}'] if judge else []), flush=True)
    print()
    print(table(results, [f'{args.minutes:g} minutes, {args.config}', 'passes reading', 'passes for verdicts', 'right',
                          'with the words', 'minutes of two cores']))
    error = (share * (1 - share) / len(truth))**.5
    print(f'\n{len(truth)} reviews to judge by, standard error {error:.4f}; seed {args.seed}; {machine()}.')


if __name__ == '__main__': main()
