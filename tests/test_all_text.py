"""Words from outside (names of classes, files, columns and metrics, labels) are shown letter by letter.

What stands between two $ is no mathematics, and what looks like a tag is none, in any drawing, table or
piece of HTML of the package. These are found by listing: every function in whose text something is drawn
or HTML is made must be run by one of the cases below, or stand among those that show no words from outside.
"""
import ast
import io
import shutil
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import IPython.display
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from PIL import Image
from torch import nn

from helpers.listing import calls_in, functions, noting
from lessonlib import core
from lessonlib.cleaner import _card_text, _Face, ImageClassifierCleaner
from lessonlib.core import draw_graph, explore, predict_first, show_animation, show_image, show_images
from lessonlib.data_block import WordTable
from lessonlib.files import progress
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.learner import Learner
from lessonlib.batches import AvgMetric, DataLoaders
from lessonlib.field import subplots
from lessonlib.images import Resize
from lessonlib.marks import class_page, Mark, student_page
from lessonlib.multilabel import MultiCategoryBlock
from lessonlib.progress import ProgressCallback
from lessonlib.review import Record, where_you_are
from lessonlib.segmentation import show_mask
from lessonlib.serve import prediction_widget
from lessonlib.tables import Categorify, TabularPandas
from lessonlib.tabular import plot_importance
from lessonlib.ways_in import ImageDataLoaders
from lessonlib.text_classifier import WordEffects
from lessonlib.tokens import TextBlock

NASTY = 'cost $5_$ <x-evil> & "q" \'s\' a_b^c\u202e'
LINES = NASTY + '\nsecond $line^$ </script></x-evil>'


class Reader(HTMLParser):
    "Finds what has become markup, and what a page would set as mathematics"
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.words = [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag.startswith('x-') or any(key.startswith(('x-', 'on')) for key in has): self.wrong.append(f'<{tag}>')
        if tag not in ('img', 'br', 'input', 'progress', 'meta', 'link'): self.open.append((tag, has.get('class') or ''))

    def handle_endtag(self, tag):
        if tag.startswith('x-'): self.wrong.append(f'</{tag}>')
        while self.open and self.open.pop()[0] != tag: pass

    def handle_data(self, data):
        self.words += data
        kept = any('tex2jax_ignore' in kind or tag in ('script', 'style') for tag, kind in self.open)
        if data.count('$') > 1 and not kept: self.wrong.append(f'mathematics: {data[:40]!r}')


def check_html(text):
    reader = Reader(text)
    assert not reader.wrong, f'{reader.wrong} in {text[:300]}'
    return reader.words


def check_figures():
    "Every figure that is open; it must also be possible to save them"
    found = ''
    for number in plt.get_fignums():
        plt.figure(number).savefig(io.BytesIO())
        for text in plt.figure(number).findobj(Text):
            words = text.get_text()
            found += words
            assert not ('$' in words and text.get_parse_math() and is_math_text(words)), f'a formula: {words!r}'
    plt.close('all')
    return found


@pytest.fixture(scope='module')
def learned(tmp_path_factory):
    "A learner of pictures whose classes and files have nasty names"
    folder = tmp_path_factory.mktemp('pictures')
    for name in (NASTY, 'dog'):
        (folder/name).mkdir()
        for i in range(4): Image.new('RGB', (24, 24), (60 * i, 0, 90)).save(folder/name/f'{NASTY}{i}.png')
    dls = ImageDataLoaders.from_folder(folder, valid_pct=.5, seed=1, bs=4, item_tfms=Resize(24))
    learn = Learner(dls, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), path=folder)
    with learn.no_logging(): learn.fit(1)
    return learn


@pytest.fixture
def shown(monkeypatch):
    "What a notebook would be given to show: pieces of HTML"
    plt.close('all')   # what an earlier test left open is not looked at
    pieces = []
    class Handle:
        def update(self, data, raw=True): display(data)
    def display(data, **more):
        if isinstance(data, dict): pieces.append(data.get('text/html', ''))
        elif hasattr(data, 'data') and isinstance(data.data, str): pieces.append(data.data)
        return Handle()
    monkeypatch.setattr(IPython.display, 'display', display)
    monkeypatch.setattr(core, '_show_html', pieces.append)
    monkeypatch.setenv('LESSONLIB_PAPER', '1')
    return pieces


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def batches(learn, shown): learn.dls.show_batch()


@case
def results(learn, shown): learn.show_results()


@case
def losses(learn, shown):
    interp = ClassificationInterpretation.from_learner(learn)
    interp.plot_top_losses(4)
    lost = Path(interp.ds.items[0])
    data = lost.read_bytes()
    lost.unlink()
    try: interp.show(0)
    finally: lost.write_bytes(data)


@case
def confusion(learn, shown):
    interp = ClassificationInterpretation.from_learner(learn)
    interp.plot_confusion_matrix()
    interp.plot_confusion_matrix(normalize=True)


@case
def sheet(learn, shown): ImageClassifierCleaner(learn).sheet()


@case
def cards(learn, shown):
    cleaner = ImageClassifierCleaner(learn)
    face = _Face(cleaner)
    face.say(LINES)
    cleaner.decisions.relabel(cleaner.pictures[0].path, NASTY if cleaner.pictures[0].label == 'dog' else 'dog')
    face.fill()
    shown += [face.status.value, *(_card_text(picture) for picture in cleaner.pictures)]
    cleaner._face = None
    cleaner._ipython_display_()


@case
def pictures(learn, shown):
    show_image(torch.rand(3, 8, 8), title=LINES)
    show_images(torch.rand(2, 3, 8, 8), titles=[LINES, NASTY], suptitle=LINES)
    subplots(1, 2, suptitle=LINES)


@case
def mask(learn, shown): show_mask(np.eye(8, dtype=int), ['sky', LINES], title=NASTY, legend=True)


@case
def labels(learn, shown):
    MultiCategoryBlock(vocab=[NASTY, 'b']).show([NASTY, 'b'], plt.subplots()[1])


@case
def importance(learn, shown):
    names = [LINES, NASTY, 'age']
    plot_importance(pd.DataFrame(dict(importance=[3., 2, 1], std=[.1] * 3), index=names))


@case
def table(learn, shown):
    df = pd.DataFrame({NASTY: ['a', LINES] * 4, 'b': range(8), 'y': [NASTY, 'no'] * 4})
    shown.append(TabularPandas(df, procs=[Categorify], cat_names=[NASTY], cont_names=['b'], y_names='y')._repr_html_())


@case
def words(learn, shown): shown.append(WordTable({NASTY: [LINES, 'b']})._repr_html_())


@case
def metrics(learn, shown):
    x = torch.randn(8, 4)
    dls = DataLoaders.from_tensors((x, x[:, 0].gt(0).long()), (x, x[:, 0].gt(0).long()), device='cpu')
    plain = Learner(dls, nn.Linear(4, 2), nn.CrossEntropyLoss(), metrics=[AvgMetric(lambda p, t: 0., NASTY)])
    plain.remove_cb(ProgressCallback)
    plain.add_cb(ProgressCallback('notebook'))
    plain.fit(1)


@case
def strip(learn, shown):
    shown.append(where_you_are(Record(place=dict(lesson=NASTY, when='')))._repr_html_())


@case
def bar(learn, shown):
    with progress(2, NASTY, kind='notebook') as shows: shows.add(text=LINES), shows.add()


@case
def knobs(learn, shown):
    def draw(choice):
        figure, ax = plt.subplots()
        ax.set_title('a drawing')
        return figure
    explore(draw, choice=[LINES, NASTY, 'c'])
    figure, ax = plt.subplots()
    show_animation(figure, lambda frame: None, frames=2, title=LINES)


@case
def question(learn, shown):
    guess = predict_first('Which?', NASTY, 'b')
    guess.shown = True
    with guess: guess.answer(NASTY)
    shown.append(guess._verdict(NASTY))
    options = ''.join(f'<li>{core.escape(option)}</li>' for option in guess.options)
    assert NASTY not in options


@case
def texts(learn, shown):
    block = TextBlock(vocab=['xxunk', 'xxpad', LINES])
    block.show(block.decode(torch.tensor([2])), plt.subplots()[1])


@case
def effects(learn, shown):
    shown.append(WordEffects([LINES, NASTY, 'a'], torch.tensor([1., -.5, 0]), NASTY, .5)._repr_html_())


@case
def graph(learn, shown):
    for which in (shutil.which, lambda program: None):       # with Graphviz, if it is installed, and without
        with patch('lessonlib.core.shutil.which', which): draw_graph(f'{NASTY} -> b -> {NASTY} [{NASTY}]')


@case
def widget(learn, shown):
    Image.new('RGB', (8, 8)).save(buffer := io.BytesIO(), 'PNG')
    box = prediction_widget(learn)
    box.ask.value = (dict(name=NASTY, type='image/png', size=len(buffer.getvalue()), content=memoryview(buffer.getvalue()),
                          last_modified=datetime.now()),)
    shown.append(box.shown.value)
    def predict(item): raise ValueError(LINES)
    learn.predict = predict
    try: box.ask.value = (box.ask.value[0] | dict(name='b'),)
    finally: del learn.predict
    shown.append(box.shown.value)


@case
def marked(learn, shown):
    rows = [Mark(NASTY, NASTY, 'check_a', 'broke', 0, LINES, 'failed', NASTY)]
    shown += [class_page(rows, 'system'), student_page(rows, NASTY)]


@pytest.mark.parametrize('name', CASES)
def test_words_are_shown_as_they_are(name, learned, shown):
    CASES[name](learned, shown)
    words = check_figures()
    if name not in ('knobs', 'question'): words += ' '.join(check_html(text) for text in shown)
    else: assert not [piece for text in shown for piece in Reader(text).wrong if 'mathematics' not in piece]
    assert '5_' in words + ''.join(shown), 'nothing was shown'


# ---- found by listing

# Drawings of curves, films and activations: their words are the package's own, or those of the caller's titles.
NO_WORDS = {'core._ask', 'core._show_html', 'features.color_dim', 'features.plot_layer_stats', 'schedules.plot_lr',
            'schedules.plot_sched', 'sgd.plot_descent', 'core.plot_function', 'lr_finder.plot', 'progress.plot_loss', 'doubt.plot', 'profiling.plot'}


def draws(call):
    "Is this a call that writes words into a drawing or makes HTML?"
    words = ast.unparse(call.func)
    name = words.rpartition('.')[2]
    return name in ('set_title', 'suptitle', 'set_xticks', 'set_yticks', 'set_xticklabels', 'set_yticklabels', 'legend',
                    'annotate', 'to_html', '_show_html', 'HTML', 'set_xlabel', 'set_ylabel', 'subplots') or (
        name in ('text', 'set') and words.split('.')[0] in ('ax', 'axes', 'figure'))


def drawings():
    "Every function of the package in whose text something is drawn or HTML is made"
    for name, node in functions():
        if name.startswith('drawn_'): continue
        html = any(isinstance(part, ast.Constant) and part.value == 'text/html' for part in ast.walk(node))
        if html or '_html_' in node.name or any(map(draws, calls_in(node))): yield name


def test_every_drawing_is_tried(learned, shown):
    run = set()
    for tried in CASES.values():
        with noting(run): tried(learned, shown)
        plt.close('all')
    missing = set(drawings()) - run - NO_WORDS
    assert not missing, f'these draw, and no case above runs them: {sorted(missing)}'
