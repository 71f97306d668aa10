"Learners that travel as one file."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.small_photos import home, loaders, photos, tiny_learner  # noqa: F401  fixtures too

from lessonlib.batches import accuracy
from lessonlib.checkpoint import NotExportable, load_learner, read_tensors
from lessonlib.core import set_seed
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.images import Resize
from lessonlib.items import parent_label
from lessonlib.learner import Learner
from lessonlib.production import describe_export
from lessonlib.scaling import MixedPrecision
from lessonlib.transfer import VisionLearner, vision_learner



@pytest.fixture(scope='module')
def exported(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    set_seed(0)
    learn = vision_learner(loaders(photos, path=folder), metrics=accuracy)
    with learn.no_logging(): learn.fit_one_cycle(1, slice(5e-3))
    return learn, learn.export()


def test_export_predicts_the_same(exported, photos):
    learn, file = exported
    assert file == learn.path/'export.safetensors'
    again = load_learner(file)
    item = learn.dls.valid_ds.items[0]
    for mine, theirs in zip(learn.predict(item), again.predict(item)):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs
    dl = again.dls.test_dl(learn.dls.valid_ds.items, bs=learn.dls.valid.bs)   # batches of one size: the same to the bit
    assert torch.equal(again.get_preds(dl=dl)[0], learn.get_preds()[0])
    assert list(again.dls.vocab) == ['blue', 'red'] and isinstance(again, VisionLearner)
    assert again.export(file.parent/'again').is_file()                  # and it can travel on


def test_export_works_in_a_fresh_process(exported, photos, tmp_path):
    "With neither the data set, nor the package of weights, nor a network; and no pickle module in sight."
    learn, file = exported
    item = learn.dls.valid_ds.items[3]
    script = f'''
import json, sys
from importlib import metadata
metadata.files = lambda name: None if 'lite0' in name else []
import pickle
def refuse(*args, **kwargs): raise RuntimeError('a pickle is read')
pickle.load = pickle.loads = refuse
import torch; torch.load = refuse
import socket; socket.socket.connect = refuse
from lessonlib.checkpoint import load_learner
name, number, probs = load_learner({str(file)!r}).predict({str(item)!r})
print(json.dumps([name, int(number), probs.tolist()]))
'''
    env = {**os.environ, 'LESSONLIB_HOME': str(tmp_path/'empty'), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name, number, probs = json.loads(done.stdout.splitlines()[-1])
    mine = learn.predict(item)
    assert (name, number) == (mine[0], int(mine[1])) and probs == mine[2].tolist()


def test_export_is_one_plain_file(exported):
    from safetensors import safe_open
    with safe_open(exported[1], 'pt') as opened: info = json.loads(opened.metadata()['lessonlib'])
    assert info['kind'] == 'learner' and info['learner']['model']['arch'] == 'efficientnet_lite0'
    assert set(info['versions']) >= {'torch', 'torchvision', 'timm', 'lessonlib'}


def test_names_of_pickles(exported, tmp_path):
    learn, _ = exported
    with pytest.warns(UserWarning, match='No pickle is written'): file = learn.export(tmp_path/'old.pkl')
    assert file == tmp_path/'old.safetensors' and not (tmp_path/'old.pkl').exists()
    assert load_learner(tmp_path/'old.pkl').dls.vocab and load_learner(tmp_path/'old').dls.vocab
    (tmp_path/'real.pkl').write_bytes(b'cos\nsystem\n.')
    with pytest.raises(ValueError, match='is a pickle'): load_learner(tmp_path/'real.pkl')
    with pytest.raises(FileNotFoundError): load_learner(tmp_path/'none')


def test_precision_travels(photos, tmp_path):
    learn = vision_learner(loaders(photos, path=tmp_path)).to_bf16()
    again = load_learner(learn.export())
    assert torch.equal(again.predict(learn.dls.valid_ds.items[0])[2], learn.predict(learn.dls.valid_ds.items[0])[2])
    assert any(isinstance(cb, MixedPrecision) for cb in again.cbs)


def change(file, target, edit):
    "A copy of an exported file with another note."
    from lessonlib.checkpoint import read_tensors, write_tensors
    tensors, info = read_tensors(file)
    edit(info, tensors)
    write_tensors(target, tensors, info)
    return target


@pytest.mark.parametrize('edit, words', [
    (lambda info, t: info['learner']['model'].update(arch='resnet_of_tomorrow'), 'No architecture is called'),
    (lambda info, t: info['learner']['model'].update(part='os.system'), 'no such part'),
    (lambda info, t: info['learner']['model'].update(part='datasets.sha256_of'), 'no such part'),
    (lambda info, t: info['learner']['model'].update(part='bodies._own_network'), 'no such part'),
    (lambda info, t: info['learner'].pop('data'), 'cannot be used here'),
    (lambda info, t: info['learner']['model'].update(arch='resnet18'), 'model and weights differ'),
    (lambda info, t: t.pop('model.0.net.conv_stem.weight'), '0.net.conv_stem.weight'),
    (lambda info, t: info.update(kind='checkpoint'), 'a checkpoint'),
    (lambda info, t: info.clear(), 'weights only')])
def test_other_files_are_refused(exported, tmp_path, edit, words):
    with pytest.raises(ValueError, match=words): load_learner(change(exported[1], tmp_path/'x.safetensors', edit))


def test_damaged_exports_are_refused(exported, tmp_path):
    whole, file = exported[1].read_bytes(), tmp_path/'x.safetensors'
    flipped = bytearray(whole)
    flipped[-5] ^= 255
    for bad in (whole[:1000], whole[:-10], b'', bytes(flipped)):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match='damaged'): load_learner(file)


def test_what_cannot_be_exported_says_why(photos, tmp_path):
    dls = loaders(photos, path=tmp_path)
    own = tiny_learner(photos, tmp_path)
    head = vision_learner(dls, custom_head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 2)))
    plain = Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    changed = vision_learner(dls)
    changed.model[1][8] = nn.Linear(512, 7)
    function = vision_learner(loaders(photos, path=tmp_path, batch_tfms=[lambda x: x]))
    loss = nn.CrossEntropyLoss()
    loss.activation = lambda x: x
    other = vision_learner(dls, loss_func=loss)
    for learn, words in ((own, 'given as arch'), (head, 'given as custom_head'), (plain, 'no function of this library'),
                         (changed, 'changed after'), (function, 'cannot be written'), (other, 'activation of its own')):
        with pytest.raises(NotExportable, match=words): learn.export()
    assert not list(tmp_path.rglob('export*'))


def test_pictures_changed_before_the_recipe_are_noticed(photos, tmp_path):
    "A get_x that changes pictures is not in the recipe: predictions of files would differ."
    block = DataBlock((ImageBlock, CategoryBlock), get_items=lambda path: sorted(Path(path).glob('*/*.png')),
                      get_x=lambda file: Image.open(file).convert('RGB').rotate(90), get_y=parent_label, item_tfms=Resize(32))
    learn = vision_learner(block.dataloaders(photos, bs=8, path=tmp_path))
    with pytest.warns(UserWarning, match='get_x'): learn.export()


def test_the_card_says_what_was_done(exported, tmp_path):
    learn, file = exported
    card = read_tensors(file)[1]['card']
    assert card['items'] == dict(training=30, validation=10) and card['trained'] == dict(epochs=1, optimiser='AdamW', loss='CrossEntropyLoss')
    assert card['reached']['accuracy'] == pytest.approx(learn.recorder.values[-1][2])
    more = read_tensors(learn.export(tmp_path/'more', card=dict(purpose='red or blue')))[1]['card']
    assert more == card | dict(purpose='red or blue')
    again = load_learner(tmp_path/'more')
    assert again.card == more and read_tensors(again.export(tmp_path/'on'))[1]['card'] == more      # it travels on
    assert 'purpose    red or blue' in describe_export(tmp_path/'on')
    with pytest.raises(TypeError): learn.export(tmp_path/'bad', card=dict(when=object()))
    assert not (tmp_path/'bad.safetensors').exists()


def test_many_are_answered_as_one_is(exported, photos):
    learn = load_learner(exported[1])
    items = sorted(photos.glob('*/*.png'))[:11]
    alone = [learn.predict(item) for item in items]
    for bs in (1, 4, 64):
        for (label, number, shares), one in zip(learn.predict_many(items, bs=bs), alone, strict=True):
            assert label == one[0] and torch.equal(number, one[1]) and torch.allclose(shares, one[2], atol=1e-5)
    assert learn.predict_many([]) == []
    several = [items[0], items[1].read_bytes(), Image.open(items[2])]
    assert [answer[0] for answer in learn.predict_many(several)] == [answer[0] for answer in alone[:3]]


def test_texts_of_several_lengths_are_answered_as_alone():
    import pandas as pd
    from lessonlib.language_model import AWD_LSTM, language_model_learner
    from lessonlib.text_classifier import text_classifier_learner
    from lessonlib.tokens import TextDataLoaders
    table = pd.DataFrame(dict(text=['a good film', 'a bad, bad film'] * 10, label=['pos', 'neg'] * 10))
    small = dict(emb_sz=8, n_hid=8, n_layers=1)
    learn = text_classifier_learner(TextDataLoaders.from_df(table, text_col='text', label_col='label', bs=4, device='cpu'), AWD_LSTM,
                                    config=small)
    texts = ['a good film', 'bad', 'a film, a good film, and a good one', 'good film a']
    for one, text in zip(learn.predict_many(texts), texts, strict=True):
        assert torch.allclose(one[2], learn.predict(text)[2], atol=1e-6)
    writer = language_model_learner(TextDataLoaders.from_df(table, text_col='text', is_lm=True, bs=4, device='cpu'), AWD_LSTM, config=small)
    assert len(writer.predict_many(['a good', 'a'])) == 2


def test_onnx_answers_the_same(exported, photos, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    learn, items = load_learner(exported[1]), sorted(photos.glob('*/*.png'))[:7]
    training = [module.training for module in learn.model.modules()]
    file = learn.to_onnx(tmp_path/'small', items[0])
    assert file == tmp_path/'small.onnx' and [module.training for module in learn.model.modules()] == training
    session = onnxruntime.InferenceSession(file)
    assert json.loads(session.get_modelmeta().custom_metadata_map['classes']) == ['blue', 'red']
    mean, std = (torch.tensor([*numbers]).view(-1, 1, 1) for numbers in learn.stats)
    x = torch.stack([learn.dls.prepare(item)[0] for item in items]) * std + mean      # numbers from 0 to 1
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert torch.allclose(torch.tensor(found), torch.stack([learn.predict(item)[2] for item in items]), atol=1e-4)


def test_what_onnx_cannot_write_is_a_sentence(exported, photos, tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            if x.sum() > 0: return x.flatten(1)[:, :2]
            return x.flatten(1)[:, 2:4]
    learn = load_learner(exported[1])
    learn.model = Odd()
    with pytest.raises(ValueError, match='ONNX cannot write Odd down'): learn.to_onnx(tmp_path/'odd', sorted(photos.glob('*/*.png'))[0])
    assert not list(tmp_path.iterdir())
