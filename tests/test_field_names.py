"""Coming from fastai: every row of the table of names works, or answers with its sentence.

The table is what people typed in public notebooks. A row that promises a name, a method or a keyword is tried on a thing
of its kind; the line that a row without one offers is run.
"""
import builtins
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers.data_server import DataServer
from torch import nn

import lessonlib.field as field
from lessonlib.batches import DataLoaders
from lessonlib.core import set_seed
from lessonlib.drawn_pets import make_pets
from lessonlib.files import DownloadFailed
from lessonlib.images import open_image
from lessonlib.learner import Learner

ROWS = field.field_names()


@pytest.fixture(scope='module')
def here():
    "What a star import gives"
    found = {}
    exec('from lessonlib.all import *', found)
    del found['__builtins__']
    return found


@pytest.fixture(scope='module')
def things(here, tmp_path_factory):
    "Things of the kinds that the table speaks of, under the names that it uses"
    from lessonlib.tables import make_census
    folder = tmp_path_factory.mktemp('things')
    path = make_pets(folder/'pets', number=6, names=['Bengal', 'pug'], mistakes=0)
    n = dict(here)
    exec(f"""
set_seed(1)
path = Path({str(path)!r})
files = get_image_files(path/'images')
label = using_attr(RegexLabeller(r'(.+)_[0-9]+.jpg$'), 'name')
pets = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=label, item_tfms=Resize(32))
dls = pets.dataloaders(path/'images', bs=4)
model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
learn = Learner(dls, model, path={str(folder)!r}, metrics=accuracy)
with learn.no_bar(), learn.no_logging(): learn.fit(1)
interp = ClassificationInterpretation.from_learner(learn)
batch = dls.one_batch()
x, scores = batch[0], model(batch[0])
file = path/'note.txt'; file.write_text('a note')
mask_file = path/'mask.png'; Image.fromarray(np.zeros((8, 8), np.uint8)).save(mask_file)
""", n)
    census = make_census(folder/'census', rows=300) or folder/'census'
    exec(f"""
df = pd.read_csv(next(Path({str(census)!r}).glob('*.csv')))
to = TabularPandas(df, [Categorify, FillMissing, NormalizeColumns], ['workclass', 'education'], ['age'], 'salary',
                   splits=RandomSplitter(seed=1)(df))
tabular = to.dataloaders(bs=32)
ratings = pd.DataFrame(dict(user=[1, 2, 3, 4] * 10, item=[1, 2, 3, 4, 5] * 8, rating=[1., 5, 3, 2] * 10))
collab = collab_learner(CollabDataLoaders.from_df(ratings, bs=8), n_factors=4, y_range=(0, 5.5))
texts = pd.DataFrame(dict(text=['a film', 'not bad'] * 20, label=[0, 1] * 20, is_valid=[0, 0, 0, 1] * 10))
words = TextDataLoaders.from_df(texts, is_lm=True, bs=4, seq_len=4)
speaker = language_model_learner(words, AWD_LSTM, pretrained=False)
""", n)
    return n


def objects(things, owner):
    "The things that a row's owner may stand for: one of them must have what the row names"
    n, learn = things, things['learn']
    return {'Learner': [learn, n['speaker']], 'dls': [n['dls'], n['tabular']], 'dl': [n['dls'].train],
            'DataBlock': [n['pets']], 'Path': [n['path']], 'L': [n['files']], 'Interp': [n['interp']],
            'recorder': [learn.recorder], 'to': [n['to']], 'dsets': [n['pets'].datasets(n['path']/'images')],
            'model': [n['collab'].model], 'vocab': [n['dls'].vocab], 'PILImage': [n['PILImage'].create(n['files'][0])],
            'Image': [n['Image'].open(n['files'][0])], 'tensor': [n['x']], 'opt': [learn.opt],
            }[owner] if not owner.startswith('cls:') else [n[owner.removeprefix('cls:')]]


# --- row by row ------------------------------------------------------------------------------------------------------


def words(rows): return [f'{row.kind} {row.name}' for row in rows]


def test_the_table_says_one_thing_a_name():
    assert len({row[:2] for row in ROWS}) == len(ROWS) >= 504
    assert {row.here for row in ROWS} == {'same', 'companion', 'alias', 'answer', 'page'}
    for row in ROWS:
        left_out = row.here in ('answer', 'page')
        assert bool(row.instead) == bool(row.why) == left_out, row


def test_names_that_are_promised_are_there(here):
    answers = [name for name, thing in here.items() if isinstance(thing, field.Answer)]
    missing = [row.name for row in ROWS if row.kind == 'name' and row.here != 'answer'
               and (row.name not in here or row.name in answers)]
    assert not missing


def test_names_that_are_left_out_answer(here):
    "One that has come since should be promised: then its row says `same`"
    rows = [row for row in ROWS if row.kind == 'name' and row.here == 'answer']
    come = [row.name for row in rows if not isinstance(here[row.name], field.Answer)]
    assert rows and not come, f'{come} work now: let their rows in field_names.csv say same'
    for row in rows:
        with pytest.raises(field.LeftOut) as error: here[row.name]()
        assert row.instead in str(error.value) and row.name in str(error.value)


def test_nothing_in_the_table_is_a_name_error(here):
    assert not {row.name for row in ROWS if row.kind == 'name'} - set(here)


def has(thing, name):
    "Whether it has it, and can be given it"
    if name.endswith(' ='):
        name = name.removesuffix(' =')
        try: setattr(thing, name, getattr(thing, name))
        except AttributeError: return False
        return True
    try: return not isinstance(getattr(thing, name), field.Answer)
    except AttributeError: return False


def test_methods_that_are_promised_are_there(things):
    missing = []
    for row in (row for row in ROWS if row.kind == 'method' and row.here not in ('answer', 'page')):
        owner, _, name = row.name.partition('.')
        if row.name == 'Path.BASE_PATH =': continue            # see test_paths_are_short_below_the_base
        if not any(has(thing, name) for thing in objects(things, owner)): missing.append(row.name)
    assert not missing, ', '.join(missing)


def test_methods_that_are_left_out_answer(things):
    rows = [row for row in ROWS if row.kind == 'method' and row.here == 'answer']
    assert rows
    for row in rows:
        with pytest.raises(field.LeftOut, match=re.escape(row.instead)):
            getattr(things['learn'], row.name.removeprefix('Learner.'))()


def test_methods_of_the_page_are_not_there(things):
    for row in (row for row in ROWS if row.here == 'page' and row.kind == 'method'):
        owner, _, name = row.name.partition('.')
        if owner != 'pipe': assert not any(has(thing, name) for thing in objects(things, owner)), f'{row.name} works'


def test_keywords_of_the_page_are_not_taken(here, things):
    come = [row.name for row in ROWS if 'keyword' in row.kind and row.here == 'page' and taken(row, here, things)]
    assert not come, f'{come} work now: let their rows say same'


# Where the further keywords of a function go: it says so beside them.
GOES_ON = {'ImageDataLoaders': ['ImageDataLoaders.from_path_func', 'ImageDataLoaders.from_df', 'ImageDataLoaders._make',
                                'DataBlock.dataloaders', 'BlockDataLoaders.of'],
           'vision_learner': ['VisionLearner', 'Learner'], 'cnn_learner': ['VisionLearner', 'Learner'],
           'tabular_learner': ['TabularModel', 'Learner'], 'collab_learner': ['Learner'],
           'tabular_config': ['TabularModel'], 'to': ['TabularDataLoaders'],
           'DataBlock': ['BlockDataLoaders.of', 'BlockLoader', 'LMLoader'], 'PILImage': ['plt.imshow'], 'dl': ['BlockLoader', 'data_block._grid'],
           'dls': ['BlockLoader.show_batch', 'data_block._grid'], 'show_results': ['data_block._grid'],
           'fit_one_cycle': ['Learner.fit'], 'fine_tune': ['Learner.fit_one_cycle', 'Learner.fit'],
           'fit_flat_cos': ['Learner.fit'], 'TabularDataLoaders': ['TabularDataLoaders.from_df', 'TabularPandas.dataloaders'],
           'CollabDataLoaders': ['CollabDataLoaders.from_df']}


def takes(function, keyword, here, owner, name):
    "Whether it has such a parameter, or hands further ones on to a function that has"
    try: known = inspect.signature(function).parameters
    except (TypeError, ValueError): return False
    if keyword in known: return True
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()): return False
    places = GOES_ON.get(name, []) + GOES_ON.get(owner.removeprefix('cls:'), [])
    for first, _, method in (place.partition('.') for place in places):
        thing = here[first] if first in here else import_module(f'lessonlib.{first}')
        if keyword in inspect.signature(getattr(thing, method) if method else thing).parameters: return True
    return False


def called(row):
    "(owner, function, keyword) of a row such as Learner.fit(wd=)"
    call, keyword = re.fullmatch(r'(.+)\((\w+)=\)', row.name).groups()
    return (*call.rpartition('.')[::2], keyword)


def taken(row, here, things):
    "Whether the keyword of a row is taken by a thing of its kind"
    owner, name, keyword = called(row)
    functions = [getattr(thing, name) for thing in objects(things, owner) if has(thing, name)] if owner else [here[name]]
    return any(takes(function, keyword, here, owner or name, name) for function in functions)


def test_keywords_that_are_promised_are_taken(here, things):
    rows = [row for row in ROWS if 'keyword' in row.kind and row.here != 'page']
    refused = [row.name for row in rows if not taken(row, here, things)]
    assert not refused, ', '.join(refused)


def test_nobody_makes_up_a_keyword(here, things):
    "The check of keywords can fail"
    rows = [row for row in ROWS if 'keyword' in row.kind and row.here != 'page']
    loose = [row.name for row in rows if taken(row._replace(name=row.name.replace('=)', 'x=)')), here, things)]
    assert not loose, ', '.join(loose)


@pytest.mark.parametrize('row', [row for row in ROWS if row.instead], ids=lambda row: row.name)
def test_what_to_write_instead_runs(row, things, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compile(row.instead, row.name, 'single')          # one line
    names = dict(things, ds=things['dls'].train.dataset)
    exec(row.instead, names)
    assert not [name for name, thing in names.items() if isinstance(thing, field.Answer) and name not in field.left_out()]
    plt.close('all')


def test_nearly_all_that_is_typed_works():
    "Of the names that three notebooks or more have, by uses"
    often = [row for row in ROWS if row.kind == 'name' and row.files >= 3]
    works = sum(row.uses for row in often if row.here not in ('answer', 'page'))
    assert len(often) >= 100 and works / sum(row.uses for row in often) >= .97


# --- what is left out ------------------------------------------------------------------------------------------------


@pytest.fixture
def absent(): return field.left_out()['TensorImage']


@pytest.mark.parametrize('use', [
    lambda it: it(1), lambda it: it.create, lambda it: it['x'], lambda it: setattr(it, 'show', 1),
    lambda it: exec('class Mine(it): pass', dict(it=it)), lambda it: [*it],
    lambda it: [f(1) for f in [it]]])
def test_an_answer_answers_when_used(absent, use):
    with pytest.raises(field.LeftOut, match='tv_tensors.Image'): use(absent)


def test_an_answer_lets_questions_pass(absent):
    assert not isinstance(torch.ones(1), absent) and not isinstance(1, (str, absent))
    assert not issubclass(torch.Tensor, absent) and not hasattr(absent, 'create')
    def annotated(x: absent | None, y: list[int] = None) -> absent: return x
    assert annotated(3) == 3 and 'left out' in repr(absent) and absent in [absent]


def test_an_answer_is_shown_in_a_notebook(absent):
    from IPython.core.formatters import DisplayFormatter
    data, _ = DisplayFormatter().format(absent)
    assert 'left out' in data['text/plain']


def test_what_a_list_of_transforms_or_callbacks_meets(things):
    answers = field.left_out()
    n = dict(things)
    with pytest.raises(Exception, match='ToTensor is left out'):
        n['DataBlock'](get_y=n['label'], item_tfms=answers['ToTensor']).dataloaders(n['files'], bs=4).one_batch()
    with pytest.raises(field.LeftOut, match='tells who does'): n['Learner'](n['dls'], n['model'], cbs=answers['WandbCallback'])


def test_a_name_nobody_has_is_refused(here):
    import lessonlib.all
    with pytest.raises(AttributeError, match="Did you mean 'lr_find'"): lessonlib.all.lr_fnd
    with pytest.raises(ImportError): exec('from lessonlib.all import no_such_name')


# --- what comes along ------------------------------------------------------------------------------------------------


def in_a_fresh_process(code):
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_hides_a_builtin(here):
    assert not [name for name in here if hasattr(builtins, name)]


def test_ours_wins():
    "A name that a lesson builds is that one, even if another library or this notebook has it, too"
    import lessonlib.all
    from lessonlib.course import module_names
    for module in set(module_names().values()) - {'all', 'field'}:
        module = import_module(f'lessonlib.{module}')
        for name in module.__all__: assert getattr(lessonlib.all, name) is getattr(module, name), name


def test_only_the_star_import_changes_others_and_brings_much():
    "Methods of paths and pictures, and libraries, come with `lessonlib.all` alone"
    code = """
import json, sys
from pathlib import Path
from PIL import Image
seen = []
def look(*libraries):
    seen.append([hasattr(Path, 'ls'), hasattr(Image.Image, 'to_thumb'), [name for name in libraries if name in sys.modules]])
import lessonlib.transfer, lessonlib.collab, lessonlib.data_block
look('fastcore.xtras', 'fastcore.script', 'ipywidgets', 'lessonlib.field')
import lessonlib.field
look()
import lessonlib.all
look('ipywidgets')
print(json.dumps(seen))
"""
    assert in_a_fresh_process(code) == [[False, False, []], [False, False, []], [True, True, ['ipywidgets']]]


def test_paths_are_short_below_the_base(here, tmp_path):
    Path = here['Path']
    (tmp_path/'a'/'b').mkdir(parents=True)
    Path.BASE_PATH = tmp_path
    try:
        assert repr(tmp_path/'a') == "Path('a')" and (tmp_path/'a').ls() == [tmp_path/'a'/'b']
        assert str(tmp_path/'a') == os.path.join(tmp_path, 'a')        # only the look has changed
    finally: Path.BASE_PATH = None


def test_pictures_make_thumbnails(here):
    picture = here['Image'].new('RGB', (120, 60))
    assert picture.shape == (60, 120) and picture.to_thumb(30, 60).size == (60, 30)
    assert picture.size == (120, 60) and np.array(picture).shape == (60, 120, 3)


def test_methods_as_functions(here):
    found = {}
    exec('from lessonlib.all import lr_find, fit_one_cycle, fine_tune, save, get_preds', found)
    learn = here['synth_learner'](path='.')
    with learn.no_bar(), learn.no_logging(): found['fit_one_cycle'](learn, 1, 1e-2)
    assert len(found['get_preds'](learn)[0]) == 32 and len(learn.recorder.values) == 1
    assert 'lr_find' not in here and 'save' not in here


# --- layers, losses, metrics -----------------------------------------------------------------------------------------


def test_modules_need_no_first_line(here):
    class Old(here['Module']):
        def __init__(self, n):
            super().__init__()                # and may have one
            self.layer = nn.Linear(n, 2)
        def forward(self, x): return self.layer(x)
    class New(here['Module']):
        def __init__(self, n): self.layer, self.old = nn.Linear(n, 2), Old(n)
        def forward(self, x): return self.layer(x) + self.old(x)
    import copy, pickle
    model = New(3)
    assert len(model.state_dict()) == 4 and model(torch.ones(1, 3)).shape == (1, 2)
    again = copy.deepcopy(model)
    assert torch.equal(again(torch.ones(1, 3)), model(torch.ones(1, 3))) and isinstance(again, nn.Module)
    assert pickle.loads(pickle.dumps(here['Flatten'](full=True)))(torch.ones(2, 3)).shape == (6,)


@pytest.mark.parametrize('norm', [None, *field.NormType])
@pytest.mark.parametrize('ndim', [1, 2])
def test_every_norm_of_a_conv_layer(norm, ndim):
    layer = field.ConvLayer(3, 4, norm_type=norm, ndim=ndim, stride=2, xtra=nn.Identity())
    x = torch.randn(2, 3, *[8] * ndim)
    assert layer(x).shape == (2, 4, *[4] * ndim)
    brings_bias = norm and norm.name.removesuffix('Zero') in ('Batch', 'Instance')
    assert (layer[0].bias is None) == bool(brings_bias)
    if norm and norm.name.endswith('Zero'): assert not layer(x).any()


@pytest.mark.parametrize('shape', [(), (1,)])
def test_flat_losses_train_a_column_against_a_row(shape):
    "Shapes that would broadcast are refused with torch's own loss, and meant here"
    set_seed(2)
    x = torch.randn(64, 2)
    y = x.sum(1).view(-1, *shape)
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=16)
    learn = Learner(dls, nn.Linear(2, 1), loss_func=field.MSELossFlat(), opt_func=field.RAdam)
    with learn.no_bar(), learn.no_logging(): learn.fit(30, .05)
    assert learn.validate()[0] < .01
    if not shape:
        with pytest.raises(ValueError, match='cannot be matched'): Learner(dls, nn.Linear(2, 1), loss_func=nn.MSELoss()).fit(1)
    apart = field.MSELossFlat(reduction='none')(torch.ones(4, 1), torch.zeros(4))
    assert apart.shape == (4, 1)


def test_label_smoothing_trains_and_is_exported(things, tmp_path):
    n = things
    learn = n['vision_learner'](n['dls'], 'resnet18', pretrained=False, loss_func=field.LabelSmoothingCrossEntropy(), path=tmp_path)
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    learn.export('smooth')
    probs = n['load_learner'](tmp_path/'smooth').predict(n['files'][0])[2]
    assert abs(float(probs.sum()) - 1) < 1e-4


def judged(metric, pred, targ):
    "What a learner says that gives these predictions, batch by batch"
    class Echo(nn.Module):
        def forward(self, i): return pred[i[:, 0].long()]
    dls = DataLoaders.from_tensors((torch.arange(len(pred))[:, None], targ), (torch.arange(len(pred))[:, None], targ), bs=7)
    def loss(pred, targ): return pred.mean()
    loss.any_shape = True
    learn = Learner(dls, Echo(), loss_func=loss, metrics=metric)
    return learn.validate()[1]


def test_metrics_are_scikit_learns():
    from sklearn import metrics as sk
    set_seed(5)
    targ, scores = torch.randint(0, 3, (60,)), torch.randn(60, 3)
    best, probs = scores.argmax(1), scores.softmax(1)
    for made, wanted in [
            (field.F1Score(average='macro'), sk.f1_score(targ, best, average='macro')),
            (field.Precision(average='micro'), sk.precision_score(targ, best, average='micro')),
            (field.Recall(average='weighted'), sk.recall_score(targ, best, average='weighted')),
            (field.Jaccard(average='macro'), sk.jaccard_score(targ, best, average='macro')),
            (field.CohenKappa(weights='quadratic'), sk.cohen_kappa_score(targ, best, weights='quadratic')),
            (field.BalancedAccuracy, sk.balanced_accuracy_score(targ, best)),
            (field.MatthewsCorrCoef(), sk.matthews_corrcoef(targ, best)), (field.HammingLoss(), sk.hamming_loss(targ, best)),
            (field.RocAuc(), sk.roc_auc_score(targ, probs, multi_class='ovr'))]:
        assert judged(made, scores, targ) == pytest.approx(wanted, abs=1e-5)
    two, pair = (targ > 0).long(), scores[:, :2]
    chance = pair.softmax(1)[:, 1]
    assert judged(field.RocAucBinary(), pair, two) == pytest.approx(sk.roc_auc_score(two, chance), abs=1e-5)
    assert judged(field.APScoreBinary(), pair, two) == pytest.approx(sk.average_precision_score(two, chance), abs=1e-5)
    column = field.skm_to_fastai(sk.f1_score, thresh=.6)
    assert judged(column, pair[:, :1], two) == pytest.approx(sk.f1_score(two, pair[:, 0].sigmoid() >= .6), abs=1e-5)
    numbers = field.skm_to_fastai(sk.mean_absolute_error, is_class=False)
    assert judged(numbers, pair[:, :1], pair[:, 1]) == pytest.approx(sk.mean_absolute_error(pair[:, 1], pair[:, 0]), abs=1e-5)


def test_masks_are_judged_pixel_by_pixel():
    from sklearn import metrics as sk
    set_seed(6)
    maps, codes = torch.randn(9, 4, 5, 5), torch.randint(0, 4, (9, 5, 5))
    wanted = sk.jaccard_score(codes.flatten(), maps.argmax(1).flatten(), average='macro')
    assert judged(field.Jaccard(axis=1, average='macro'), maps, codes) == pytest.approx(wanted, abs=1e-5)


def test_top_k_and_relative_error():
    scores, targ = torch.tensor([[3., 2, 1], [1, 2, 3]]), torch.tensor([1, 0])
    assert [float(field.top_k_accuracy(scores, targ, k)) for k in (1, 2, 3)] == [0, .5, 1]
    wrong = torch.tensor([.0, .5])
    assert judged(field.exp_rmspe, wrong[:, None], torch.zeros(2)) == pytest.approx(
        float(((np.exp([0, .5]) - 1) ** 2).mean() ** .5), abs=1e-5)
    with pytest.raises(ValueError, match='2 predictions and 3 targets'): field.flatten_check(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match='activation'): field.FieldMetric(len, activation='tanh')


# --- from the network ------------------------------------------------------------------------------------------------


@pytest.fixture
def shop():
    with DataServer() as server: yield server


def jpeg(size=(40, 30), colour='teal'):
    import io
    from PIL import Image
    Image.new('RGB', size, colour).save(file := io.BytesIO(), 'JPEG')
    return file.getvalue()


def test_pictures_come_whole_or_not_at_all(shop, tmp_path, capsys):
    for i in range(6): shop.files[f'{i}.jpg'] = jpeg(colour=(40 * i, 0, 0))
    shop.cuts = [200] * 2
    urls = [shop.address(f'{i}.jpg') for i in range(6)]
    got = field.download_images(tmp_path, urls=urls, n_workers=1)
    assert len(got) == 4 and '2 of 6 could not be had' in capsys.readouterr().out
    assert all(open_image(file).size == (40, 30) for file in got) and {*tmp_path.iterdir()} == {*got}
    again = field.download_images(tmp_path, urls=[*urls, urls[0]], n_workers=3)
    assert len(again) == 6 and len(shop.asked('5.jpg')) == 1, 'what was there was fetched again'
    assert field.download_images(tmp_path/'few', urls=urls, max_pics=2).map(lambda file: file.suffix) == ['.jpg', '.jpg']


def test_names_of_pictures_stay_in_the_folder(shop, tmp_path):
    shop.files.update({'a/cat.jpg': jpeg(), 'b/cat.jpg': jpeg(), '%2e%2e%2fout.png': jpeg(), 'no-suffix': jpeg()})
    urls = [shop.address(name) for name in shop.files]
    got = field.download_images(tmp_path/'in', urls=urls, preserve_filename=True)
    assert got.attrgot('name') == ['cat.jpg', 'cat_1.jpg', '_out.png', 'no-suffix.jpg']
    assert {*(tmp_path/'in').iterdir()} == {*got} and [*tmp_path.iterdir()] == [tmp_path/'in']


def test_nothing_endless_is_fetched(shop, tmp_path, monkeypatch):
    shop.files['large.jpg'] = bytes(200_000)
    assert 'more than 100,000' in field._fetch(shop.address('large.jpg'), tmp_path/'large.jpg', 4, 1e5)
    assert not [*tmp_path.iterdir()]


def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(DownloadFailed, match='None of 2 pictures.*course_data'):
        field.download_images(tmp_path, urls=['http://127.0.0.1:1/a.jpg', 'http://127.0.0.1:1/b.jpg'])
    with pytest.raises(DownloadFailed, match='127.0.0.1'):
        field.download_url('http://127.0.0.1:1/a.jpg', tmp_path, show_progress=False)
    with pytest.raises(DownloadFailed, match='only http'):
        field.download_images(tmp_path, urls=['file:///etc/passwd'])
    assert not [*tmp_path.iterdir()]


def test_a_file_goes_where_it_is_wanted(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop.files['notes.txt'] = b'notes'
    (tmp_path/'folder').mkdir()
    for dest, wanted in ((None, Path('notes.txt')), ('folder', Path('folder/notes.txt')), ('other.txt', Path('other.txt'))):
        for show in (True, False):
            assert field.download_url(shop.address('notes.txt'), dest, show_progress=show) == wanted
            assert wanted.read_bytes() == b'notes'


def test_pictures_become_smaller(tmp_path, capsys):
    from PIL import Image
    for name, size, mode in (('wide.jpg', (200, 100), 'RGB'), ('small.jpg', (20, 10), 'RGB'), ('grey.png', (90, 90), 'L')):
        Image.new(mode, size).save(tmp_path/name)
    turned = Image.Exif()
    turned[274] = 6
    Image.new('RGB', (80, 40)).save(tmp_path/'turned.jpg', exif=turned)
    (tmp_path/'torn.jpg').write_bytes(b'torn')
    before = (tmp_path/'small.jpg').read_bytes()
    field.resize_images(tmp_path, max_size=50, dest=tmp_path/'new', max_workers=1)
    sizes = {file.name: (open_image(file).size, Image.open(file).mode) for file in (tmp_path/'new').iterdir()}
    assert sizes == {'wide.jpg': ((50, 25), 'RGB'), 'small.jpg': ((20, 10), 'RGB'), 'grey.png': ((50, 50), 'RGB'),
                     'turned.jpg': ((25, 50), 'RGB')}
    assert (tmp_path/'new'/'small.jpg').read_bytes() == before and 'torn.jpg' in capsys.readouterr().out
    field.resize_images(tmp_path, max_size=10, dest=tmp_path/'new', resume=True)
    assert open_image(tmp_path/'new'/'wide.jpg').size == (50, 25)
    field.resize_images(tmp_path, max_size=30, dest=tmp_path, n_channels=1)
    assert (open_image(tmp_path/'wide.jpg').size, Image.open(tmp_path/'wide.jpg').mode) == ((30, 15), 'L')


# --- small things ----------------------------------------------------------------------------------------------------


def test_weight_decay_is_the_learners():
    with pytest.raises(ValueError, match='Learner'): field.RAdam([nn.Parameter(torch.ones(1))], wd=.1)
    opt = field.RAdam([nn.Parameter(torch.ones(1))], lr=.1, mom=.8)
    assert opt.param_groups[0]['betas'] == (.8, .99)


def test_defaults_cannot_be_changed_in_vain():
    assert field.defaults.lr == 1e-3
    with pytest.raises(field.LeftOut, match='would change nothing'): field.defaults.cpus = 3


def test_bars_count(capsys):
    outer = field.master_bar(range(2))
    seen = [(i, j) for i in outer for j in field.progress_bar('ab', parent=outer)]
    outer.write('done')
    assert seen == [(0, 'a'), (0, 'b'), (1, 'a'), (1, 'b')] and 'done' in capsys.readouterr().out


def test_documentation_names_the_notebook(capsys):
    from lessonlib.transfer import create_head
    field.doc(create_head)
    printed = capsys.readouterr().out
    assert 'n_features: feature maps the body gives' in printed and 'Taught in 31_transfer' in printed
    field.doc(len)
    assert 'Taught' not in capsys.readouterr().out


def test_figures_for_pictures(here):
    figure, axes = here['subplots'](2, 3, imsize=2, suptitle='six')
    assert axes.shape == (2, 3) and [*figure.get_size_inches()] == [6, 4]
    assert len(here['subplots']()[1]) == 1
    plt.close('all')


def test_the_package_carries_the_table(root=Path(__file__).parent.parent):
    assert 'field_names.csv' in (root/'setup.py').read_text() and 'field_names.csv' in (root/'MANIFEST.in').read_text()


def test_other_names_of_arguments(here):
    ax = here['plot_function'](torch.sin, min=0, max=3)
    assert ax.lines[0].get_xdata()[[0, -1]].tolist() == [0, 3]
    assert here['show_image'](torch.zeros(4, 4), ctx=ax) is ax
    plt.close('all')
