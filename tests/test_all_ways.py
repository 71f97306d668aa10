"""All ways in, and all threads.

Every way to hand over a picture gives the same tensor, for every note of orientation and every kind of picture, and
every picture that is shown is that one. And whatever class of learner there is, eight threads are answered as one is.
"""
import base64
import contextlib
import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import lessonlib
from lessonlib.cleaner import ImageClassifierCleaner
from lessonlib.core import set_seed, show_image
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.images import open_image, PILImage, PILImageBW
from lessonlib.interpretation import ClassificationInterpretation
from lessonlib.learner import Learner

# --- pictures --------------------------------------------------------------------------------------------------------


def scene():
    "Four corners that differ, in grey, so that no palette and no printing ink changes them"
    pixels = np.full((24, 32), 90, np.uint8)
    pixels[:12, :16], pixels[:12, 16:], pixels[12:, :16] = 250, 170, 20
    return pixels


def files_of_all_kinds():
    "Name of a file, and the picture in it"
    grey = Image.fromarray(scene())
    colour = Image.merge('RGB', [grey, grey.point(lambda v: v // 2), grey])
    clear = colour.copy()
    clear.putalpha(Image.fromarray((scene() > 100).astype(np.uint8) * 255))
    keyed = grey.quantize(8)
    return {'grey.png': grey, 'grey.jpg': grey, 'bit.png': grey.convert('1', dither=Image.Dither.NONE), 'palette.png': keyed,
            'palette.gif': keyed, 'colour.jpg': colour, 'colour.png': colour, 'colour.webp': colour, 'colour.tif': colour,
            'clear.png': clear, 'clear.tif': clear, 'clear_grey.png': clear.convert('LA'), 'ink.jpg': colour.convert('CMYK'),
            'deep.png': Image.fromarray(scene().astype(np.uint16) * 257), 'deep.tif': Image.fromarray(scene().astype(np.uint16) * 257),
            'numbers.tif': Image.fromarray(scene().astype(np.int32) * 257),
            'floats.tif': Image.fromarray(scene().astype(np.float32) / 255)}


turned_by = dict(zip(range(1, 9), (None, *(getattr(Image.Transpose, name) for name in (
    'FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270'.split())))))   # as cameras keep it


def write(folder, name, image, orientation):
    "The file of a picture as a camera keeps it that was held so; None if the format has no place for the note"
    file = folder/f'{orientation}_{name}'
    note = Image.Exif()
    note[0x0112] = orientation
    if turned_by[orientation] is not None: image = image.transpose(turned_by[orientation])
    if orientation > 1 and file.suffix == '.gif': return None
    image.save(file, **({} if orientation == 1 else dict(exif=note)), **(dict(quality=100) if file.suffix in ('.jpg', '.webp') else {}))
    return file


def ways_in(file, kind):
    "Each way to hand over the picture in a file"
    content, upright = file.read_bytes(), open_image(file, kind.mode)
    pixels = np.array(upright)
    lazy, loaded = Image.open(file), Image.open(file)
    loaded.load()
    tensor = torch.from_numpy(pixels)
    tensor = tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)
    return {'path': file, 'text': str(file), 'bytes': content, 'bytearray': bytearray(content), 'memoryview': memoryview(content),
            'open file': io.BytesIO(content), 'PIL, not loaded': lazy, 'PIL, loaded': loaded, 'upright': upright,
            'PILImage.create': kind.create(file), 'created twice': kind.create(kind.create(content)), 'copied': Image.open(file).copy(),
            'array': pixels, 'floats': pixels / 255, 'tensor': tensor, 'tensor of floats': tensor / 255}


class Same(nn.Module):
    "Two scores that any pixel changes"
    def forward(self, x):
        ramp = torch.linspace(1, 2, x[0].numel(), device=x.device).view(x[0].shape)
        return torch.stack([(x * ramp).mean((1, 2, 3)), x.mean((1, 2, 3))], 1)


def block(kind, **kwargs):
    return DataBlock((ImageBlock(kind), CategoryBlock(['a', 'b'])), get_y=lambda item: 'a', splitter=lambda items: ([0], [1]), **kwargs)


def seen(block, item):
    "The tensor of the model, of an item that was trained on"
    dls = block.dataloaders([item, item], bs=1, shuffle=False, drop_last=False, device='cpu')
    return dls.one_batch()[0][0]


@pytest.mark.parametrize('kind', [PILImage, PILImageBW])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_every_way_in_gives_the_same_tensor(tmp_path, kind, orientation):
    tried = 0
    for name, image in files_of_all_kinds().items():
        file, plain = write(tmp_path, name, image, orientation), write(tmp_path, name, image, 1)
        if file is None: continue
        right = seen(block(kind), file)
        upright = seen(block(kind), plain)
        assert right.shape == upright.shape and (right - upright).abs().mean() < .02, name       # once, and the right way
        dls = block(kind).dataloaders([plain, plain], bs=1, device='cpu')
        learn = Learner(dls, Same())
        score = learn.predict(file)[2]
        assert torch.allclose(seen(block(kind, get_x=kind.create), file), right), f'{name}: get_x'
        assert torch.allclose(seen(block(kind, get_x=Image.open), file), right), f'{name}: get_x opens it with PIL'
        sheared = file.suffix == '.tif' and orientation > 4      # Pillow itself shears some when it loads them
        for way in ways_in(file, kind):
            if sheared and way in ('PIL, loaded', 'copied'): continue
            item = ways_in(file, kind)[way]                     # afresh: an open file is read once
            assert torch.allclose(dls.prepare(item)[0], right, atol=1e-6), f'{name}: predict from {way}'
            item = ways_in(file, kind)[way]
            assert torch.allclose(learn.get_preds(dl=dls.test_dl(item))[0][0], score, atol=1e-6), f'{name}: test_dl from {way}'
        tried += 1
    assert tried > 14


def pixels_on(ax):
    "What is drawn on axes, as bytes of colours"
    image = ax.images[0]
    drawn = image.to_rgba(image.get_array(), bytes=True, norm=True)[..., :3] if image.get_array().ndim == 2 else \
        np.asarray(image.get_array())[..., :3]
    return (drawn * 255).astype(int) if drawn.dtype.kind == 'f' else drawn.astype(int)


def quarters(pixels):
    "The mean colour of each quarter of a picture"
    h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
    return np.array([part.reshape(-1, 3).mean(0) for part in (pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:])])


@pytest.fixture
def closed():
    yield
    plt.close('all')


@pytest.mark.parametrize('kind', [PILImage, PILImageBW])
@pytest.mark.parametrize('orientation', [1, 6])
def test_every_picture_shown_is_the_one_the_model_sees(tmp_path, kind, orientation, closed, monkeypatch):
    (tmp_path/'a').mkdir()
    files = [write(tmp_path/'a', name, image, orientation) for name, image in files_of_all_kinds().items()]
    files = [file for file in files if file]
    dls = block(kind).dataloaders([files[0], *files], bs=1, device='cpu')
    learn = Learner(dls, Same())
    ds = dls.valid_ds.with_items(files)
    right = [quarters(np.asarray(open_image(file, kind.mode).convert('RGB')).astype(int)) for file in files]
    def check(where, axes):
        shown = [quarters(pixels_on(ax)) for ax in axes if ax.images]
        assert len(shown) == len(files), where
        for file, got, want in zip(files, shown, right): assert np.abs(got - want).max() < 14, f'{where}: {file.name}'
    plt.rcParams['figure.max_open_warning'] = 0
    check('a data set', [ds.show(i) for i in range(len(files))])
    check('show_image', [show_image(open_image(file, kind.mode)) for file in files])
    check('show_image of a tensor', [show_image(ds[i][0]) for i in range(len(files))])
    dl = dls.test_dl(files, bs=len(files), with_labels=True)
    if len({tuple(x.shape) for x in map(seen_shape(ds), range(len(files)))}) == 1:
        check('show_batch', dl.show_batch(len(files)).axes)
    interp = ClassificationInterpretation(ds, torch.rand(len(files), 2), torch.zeros(len(files)).long(), torch.rand(len(files)), ['a', 'b'])
    check('top losses', [interp.show(i) for i in range(len(files))])
    if kind is not PILImage: return
    cleaner = ImageClassifierCleaner((files, ['a'] * len(files), [float(-i) for i in range(len(files))]), max_n=99)
    check('the sheet of the cleaner', cleaner.sheet(len(files)).axes)
    widgets, texts = pytest.importorskip('ipywidgets'), []
    whole = widgets.HTML
    monkeypatch.setattr(widgets, 'HTML', lambda value='', **kw: texts.append(value) or whole(value, **kw))
    with contextlib.redirect_stdout(io.StringIO()): cleaner._ipython_display_()
    cards = [Image.open(io.BytesIO(base64.b64decode(code))) for text in texts for code in re.findall(r'base64,([\w+/=]+)', text)]
    assert len(cards) == len(files)
    for file, card, want in zip(files, cards, right):
        assert np.abs(quarters(np.asarray(card.convert('RGB')).astype(int)) - want).max() < 20, f'card: {file.name}'


def seen_shape(ds): return lambda i: ds[i][0]


# --- learners --------------------------------------------------------------------------------------------------------

def all_kinds_of_learner():
    "Every class of learner that a module of the package defines"
    for module in iter_modules(lessonlib.__path__):
        if not module.name.startswith('_'): import_module(f'lessonlib.{module.name}')
    found, todo = [], [Learner]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += [sub for sub in kind.__subclasses__() if sub.__module__.startswith('lessonlib.')]
    return sorted(set(found), key=lambda kind: kind.__name__)


def pictures(folder, n=12, size=40):
    "Files of noise, each its own"
    rng, files = np.random.default_rng(0), []
    for i in range(n):
        files.append(folder/f'{"ab"[i % 2]}_{i}.png')
        Image.fromarray(rng.integers(0, 255, (size, size, 3)).astype(np.uint8)).save(files[-1])
    return files


def plain(folder):
    from lessonlib.batches import accuracy, DataLoaders
    x, y = torch.randn(48, 6), torch.arange(48) % 3
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=8, vocab=list('abc'), device='cpu')
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(.5), nn.Linear(8, 3))
    return Learner(dls, net, nn.CrossEntropyLoss(), metrics=accuracy, path=folder), list(x[:16])


def vision(folder, **how):
    from lessonlib.transfer import vision_learner
    files = pictures(folder)
    dls = DataBlock(get_y=lambda file: file.name[0]).dataloaders(files, bs=4, device='cpu')
    return vision_learner(dls, 'resnet18', pretrained=False, path=folder, **how), files


def several_labels(folder):
    from lessonlib.multilabel import MultiCategoryBlock
    from lessonlib.transfer import vision_learner
    files = pictures(folder)
    labels = DataBlock((ImageBlock, MultiCategoryBlock), get_y=lambda file: ['a', 'b'][:1 + int(file.stem[2:]) % 2])
    return vision_learner(labels.dataloaders(files, bs=4, device='cpu'), 'resnet18', pretrained=False, path=folder), files


def points(folder):
    from lessonlib.keypoints import PointBlock
    from lessonlib.transfer import vision_learner
    files = pictures(folder)
    places = DataBlock((ImageBlock, PointBlock), get_y=lambda file: [int(file.stem[2:]) + 5., 20.])
    return vision_learner(places.dataloaders(files, bs=4, device='cpu'), 'resnet18', pretrained=False, path=folder), files


def masks(folder):
    from lessonlib.segmentation import MaskBlock, unet_learner
    files = pictures(folder, size=32)
    for i, file in enumerate(files): Image.fromarray(np.tri(32, 32, i - 8, dtype=np.uint8)).save(folder/f'mask_{file.name}.png')
    codes = DataBlock((ImageBlock, MaskBlock(['a', 'b'])), get_y=lambda file: folder/f'mask_{file.name}.png')
    return unet_learner(codes.dataloaders(files, bs=4, device='cpu'), 'resnet18', pretrained=False, path=folder), files


def half_precision(folder):
    learn, items = vision(folder)
    return learn.to_bf16(), items


def collab(folder):
    from lessonlib.collab import collab_learner
    from lessonlib.ratings import CollabDataLoaders
    df = pd.DataFrame(dict(user=[f'u{i % 8}' for i in range(80)], film=[f'f{i % 10}' for i in range(80)], stars=[i % 5 + 1. for i in range(80)]))
    learn = collab_learner(CollabDataLoaders.from_df(df, seed=1, bs=16, device='cpu'), 8, y_range=(0, 5.5), path=folder)
    for table in learn.model.parameters(): table.data.normal_()
    return learn, [df.iloc[i] for i in range(16)]


def tables(folder):
    from lessonlib.tables import TabularDataLoaders
    from lessonlib.tabular import tabular_learner
    df = pd.DataFrame(dict(k=list('abcdefgh') * 10, x=np.arange(80.), y=list('uvuw') * 20))
    df.loc[5, 'x'] = np.nan
    dls = TabularDataLoaders.from_df(df, cat_names='k', cont_names='x', y_names='y', seed=1, bs=16, device='cpu')
    return tabular_learner(dls, [16], path=folder), [df.iloc[i] for i in range(16)]


def texts(folder):
    from lessonlib.text_classifier import text_classifier_learner
    from lessonlib.tokens import TextDataLoaders
    words = 'warm dull long film cast story clever silly'.split()
    items = [' '.join(words[(i * k) % 8] for k in range(1, 3 + i % 9)) for i in range(48)]
    dls = TextDataLoaders.from_df(pd.DataFrame(dict(text=items, label=list('ab') * 24)), seed=1, bs=8, device='cpu')
    return text_classifier_learner(dls, config=dict(emb_sz=6, n_hid=8, n_layers=2), drop_mult=1., path=folder), items[:16]


def language(folder):
    "Greedy: what is drawn would be another text each time"
    from functools import partial
    from lessonlib.language_model import language_model_learner
    from lessonlib.tokens import TextDataLoaders
    words = 'warm dull long film cast story clever silly'.split()
    items = [' '.join(words[(i * k) % 8] for k in range(1, 4 + i % 9)) for i in range(48)]
    dls = TextDataLoaders.from_df(pd.DataFrame(dict(text=items)), is_lm=True, seed=1, bs=4, seq_len=9, device='cpu')
    learn = language_model_learner(dls, config=dict(emb_sz=6, n_hid=8, n_layers=2), path=folder)
    for p in learn.model.parameters(): p.data.normal_()
    learn.predict = partial(learn.predict, n_words=6, temperature=0)
    return learn, items[:16]


def on_features(folder):
    learn, items = vision(folder, train_bn=False)
    learn.freeze()
    with learn.no_bar(): return learn.precompute(), items


makers = [plain, vision, several_labels, points, masks, half_precision, collab, tables, texts, language, on_features]


def flat(answer):
    "What an answer says, as things that can be compared"
    if isinstance(answer, torch.Tensor): return [round(v, 3) for v in answer.detach().float().flatten().tolist()]
    if isinstance(answer, np.ndarray): return [round(float(v), 3) for v in answer.ravel()]
    if hasattr(answer, 'items') and hasattr(answer.items, 'to_numpy'): return answer.items.to_numpy().ravel().tolist()
    if isinstance(answer, pd.DataFrame): return [round(v, 3) if isinstance(v, float) else v for v in answer.to_numpy().ravel().tolist()]
    if isinstance(answer, (tuple, list)): return [part for one in answer for part in flat(one)]
    return [round(answer, 3) if isinstance(answer, float) else answer]


def questions(learn, items):
    "What one can ask a learner: each a function without arguments"
    for item in items: yield lambda item=item: learn.predict(item)
    for _ in range(2):
        yield lambda: learn.get_preds()
        yield lambda: learn.get_preds(0)
        yield lambda: learn.validate()
    if hasattr(learn.dls, 'test_dl') and not isinstance(items[0], pd.Series):
        for i in range(0, len(items), 3): yield lambda i=i: learn.get_preds(dl=learn.dls.test_dl(items[i:i + 3]))
    if hasattr(learn, 'recommend'):
        for user in learn.dls.classes[learn.dls.user_name][1:]: yield lambda user=user: learn.recommend(user, 4, seen=True)
    if hasattr(learn, 'segment'):
        for item in items: yield lambda item=item: learn.segment(item)


def test_each_kind_of_learner_has_a_maker(tmp_path):
    "A new kind is found by listing, and asks for a way to make one here"
    kinds = {kind.__name__ for kind in all_kinds_of_learner()}
    made = set()
    for maker in makers:
        (folder := tmp_path/maker.__name__).mkdir()
        made.add(type(maker(folder)[0]).__name__)
    assert kinds <= made, f'test_all_ways.py: write a maker of {kinds - made}'


@pytest.mark.parametrize('training', [False, True], ids=['evaluating', 'training'])
@pytest.mark.parametrize('maker', makers, ids=lambda maker: maker.__name__)
def test_eight_threads_are_answered_as_one_is(maker, training, tmp_path):
    torch.set_num_threads(1)
    set_seed(0)
    learn, items = maker(tmp_path)
    for module in learn.model.modules():                       # norms that make training and evaluation differ
        if isinstance(module, nn.modules.batchnorm._BatchNorm): module.running_var.mul_(2)
    learn.model.train(training)
    asked = list(questions(learn, items))
    right = [flat(ask()) for ask in asked]
    assert len({str(answer) for answer in right}) > 4           # answers that can be told apart
    before = {name: id(value) for name, value in vars(learn).items()}, list(learn.cbs), [m.training for m in learn.model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in learn.model.modules()]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool: got = list(pool.map(lambda ask: flat(ask()), asked * 2))
    finally: sys.setswitchinterval(switch)
    for i, answer in enumerate(got): assert close(answer, right[i % len(right)]), f'question {i % len(right)}'
    assert before == ({name: id(value) for name, value in vars(learn).items()}, learn.cbs, [m.training for m in learn.model.modules()])
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in learn.model.modules()]


def close(one, other):
    "The same answer, up to the last digits"
    return len(one) == len(other) and all(a == b or isinstance(a, float) and isinstance(b, float) and
                                          (abs(a - b) < .01 or a != a and b != b) for a, b in zip(one, other))
