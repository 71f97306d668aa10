"Files that hold numbers and JSON, never code; recipes that call only what this library marks."
import contextlib
import dataclasses
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.small_learner import data, learner, net, same, weights
from lessonlib import checkpoint
from lessonlib.batches import DataLoaders, SigmoidRange
from lessonlib.checkpoint import (Checkpoint, NotExportable, Part, from_recipe, load_learner, makes_model,
                                  read_tensors, why_not, write_tensors)
from lessonlib.core import set_seed
from lessonlib.learner import Callback, Learner


def test_save_and_load(tmp_path):
    learn = learner(path=tmp_path)
    learn.fit(2)
    file = learn.save('stage-1')
    assert file == tmp_path/'models'/'stage-1.safetensors'
    assert [f.name for f in file.parent.iterdir()] == [file.name], 'nothing else is left in the folder'
    other = learner(model=net(8), path=tmp_path).load('stage-1')
    assert same(weights(other), weights(learn))
    for a in (learn, other):
        set_seed(2)
        a.fit(1)
    assert same(weights(other), weights(learn)), 'the optimiser goes on too'
    bare = learner(model=net(8), path=tmp_path)
    bare.load('stage-1', with_opt=False)
    assert bare.opt is None
    assert not any(n.startswith('optim') for n in read_tensors(learn.save('bare', with_opt=False))[0])



def test_tied_weights_and_views(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)
            self.out.weight = self.embed.weight
            self.register_buffer('part', torch.arange(12.).view(3, 4).t())
        def forward(self, x): return self.out(self.embed(x))
    learn = learner(model=Tied(), path=tmp_path)
    learn.save('tied')
    other = learner(model=Tied(), path=tmp_path).load('tied')
    assert same(weights(other), weights(learn)) and other.model.out.weight is other.model.embed.weight



def test_weights_of_other_programs(tmp_path):
    from safetensors.torch import save_file
    (tmp_path/'models').mkdir()
    save_file(net(3).state_dict(), tmp_path/'models'/'foreign.safetensors')
    assert same(learner(path=tmp_path).load('foreign').model.state_dict().values(), net(3).state_dict().values())



def test_checkpoint_of_another_architecture(tmp_path):
    learn = learner(path=tmp_path)
    learn.fit(1)
    learn.save('small')
    wider = learner(model=net(outputs=4), path=tmp_path)
    before = weights(wider)
    with pytest.raises(ValueError, match=r'other shapes 4.weight \(3, 8\) there, \(4, 8\) here'): wider.load('small')
    assert same(weights(wider), before)
    with pytest.raises(ValueError, match='the file lacks weight, bias; the model lacks 0.bias, 0.weight'):
        learner(model=nn.Linear(5, 3), path=tmp_path).load('small')
    sgd = learner(path=tmp_path, opt_func=lambda g, lr: torch.optim.SGD(g, lr=lr))
    with pytest.raises(ValueError, match='state of AdamW.*with_opt=False'): sgd.load('small')
    sgd.load('small', with_opt=False)



def test_missing_and_damaged_files(tmp_path):
    learn = learner(path=tmp_path)
    file = learn.save('good')
    with pytest.raises(FileNotFoundError, match='In that folder: good'): learn.load('better')
    before, raw = weights(learn), file.read_bytes()
    for broken in (raw[:-1], raw[:40], b'', b'not a model at all', raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]):
        (file.parent/'broken.safetensors').write_bytes(broken)
        with pytest.raises(ValueError, match='damaged'): learn.load('broken')
    assert same(weights(learn), before)



def test_nothing_is_pickled():
    source = Path(checkpoint.__file__).read_text()
    assert 'torch.save' not in source and 'torch.load' not in source and 'import pickle' not in source


@pytest.mark.parametrize('old, new', [(b'epoch\\": 2', b'epoch\\": 1'), (b'AdamW', b'AdamX'), (b'recorder', b'recordex')])
def test_notes_are_part_of_the_checksum(tmp_path, old, new):
    learn = learner(path=tmp_path)
    learn.fit(2, cbs=Checkpoint())
    file = learn.model_file('checkpoint')
    raw = file.read_bytes()
    assert old in raw
    file.write_bytes(raw.replace(old, new, 1))
    with pytest.raises(ValueError, match='checkpoint.safetensors.*checksum'): learn.fit(3, cbs=Checkpoint(resume='checkpoint'))


def test_one_rule_for_every_path(tmp_path, monkeypatch):
    "A relative folder is that of now, whatever comes later; ~ is home; dots in a name stay"
    (tmp_path/'home').mkdir(), (tmp_path/'work').mkdir()
    monkeypatch.chdir(tmp_path/'work')
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    for path, folder in (('.', 'work'), ('runs', 'work/runs'), ('~/runs', 'home/runs')):
        learn = learner(path=path)
        file = learn.save('pets.v2')
        assert file == tmp_path/folder/'models'/'pets.v2.safetensors' and file.is_file()
        learn.load('pets.v2').load(file).load(str(file))
    monkeypatch.chdir(tmp_path)
    assert learn.save('x').parent == file.parent
    assert learn.model_file('old.pkl').name == 'old.safetensors'


@pytest.mark.parametrize('path', ['.', 'runs', 'a/b', '~/runs'])
def test_a_run_goes_on_below_a_relative_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    once = learner(model=net(1), path=tmp_path/'once')
    set_seed(3)
    once.fit(2)
    for epochs in (1, 2):
        learn = learner(model=net(epochs), path=path)      # its weights come from the file, or the end differs
        set_seed(2 + epochs)
        learn.fit(epochs, cbs=Checkpoint(resume=True))
    assert same(weights(learn), weights(once)) and learn.recorder.values == once.recorder.values
    there = tmp_path/path.replace('~', 'home')/'models'
    assert learn.model_file('checkpoint').samefile(there/'checkpoint.safetensors')


@dataclasses.dataclass
class Blur(Part):
    radius: float = 2.
    inner: object = None


def test_parts_are_written_as_their_fields():
    recipe = json.loads(json.dumps(Blur(3, Blur()).recipe()))
    assert recipe == {'part': 'Blur', 'radius': 3, 'inner': {'part': 'Blur', 'radius': 2., 'inner': None}}
    assert from_recipe(recipe) == Blur(3, Blur()) and repr(Blur()) == 'Blur(radius=2.0, inner=None)'
    with pytest.raises(TypeError, match='print .given as inner. cannot be written'): Blur(inner=print).recipe()


@pytest.mark.parametrize('recipe', [
    {'part': 'os.system', 'command': 'touch /tmp/x'}, {'part': 'files.download', 'url': 'http://127.0.0.1/x'},
    {'part': '..os.system'}, {'part': 'checkpoint.import_module', 'name': 'os'}, {'part': 'core.json'}, {'part': 3}, {},
    {'part': 'checkpoint.Part.recipe'}, {'part': 'Blur', 'size': 3}, {'part': 'no_module.Thing'}])
def test_recipes_call_nothing_else(recipe):
    with pytest.raises(ValueError): from_recipe(recipe)


class DigitLoaders(DataLoaders, Part):
    def recipe(self): return {'part': 'DigitLoaders', 'vocab': self.vocab}
    @classmethod
    def from_recipe(cls, args, device, path):
        return cls([], vocab=args['vocab'], device=device, path=path, n_inp=1, loss_func=nn.CrossEntropyLoss())


@makes_model
class Layers(nn.Sequential, Part):
    def __init__(self, width): super().__init__(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 3))


def exportable(path):
    dls = data()
    loaders = DigitLoaders(*dls.loaders, vocab=['a', 'b', 'c'], device='cpu', loss_func=nn.CrossEntropyLoss())
    return learner(loaders, Layers(7), loss_func=None, path=path)


def test_export_and_load(tmp_path):
    learn = exportable(tmp_path)
    learn.fit(1)
    for name in ('pets', 'pets.v2', 'pets 1.5', 'old.pkl'):
        with pytest.warns(UserWarning, match='No pickle') if name.endswith('pkl') else contextlib.nullcontext():
            file = learn.export(name)
        again = load_learner(tmp_path/name)
        assert again.predict(torch.ones(5))[0] in 'abc' and file.suffix == '.safetensors'
        for one, other in zip(learn.predict(torch.ones(5))[1:], again.predict(torch.ones(5))[1:]): assert torch.equal(one, other)


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(NotExportable, match='no function of this library'): learner(path=tmp_path).export()
    learn = exportable(tmp_path)
    learn.model[2] = nn.Linear(7, 4)
    with pytest.raises(NotExportable, match='changed after it was made'): learn.export()
    learn = exportable(tmp_path)
    learn.dls = data()
    with pytest.raises(NotExportable, match='DataLoaders.*how an item becomes'): learn.export()
    assert not list(tmp_path.iterdir()), 'nothing was written'


def test_what_is_no_export(tmp_path):
    learn = exportable(tmp_path)
    with pytest.raises(ValueError, match='weights only'): load_learner(learn.save('weights'))
    learn.fit(1, cbs=Checkpoint())
    with pytest.raises(ValueError, match='a checkpoint'): load_learner(learn.model_file('checkpoint'))
    (tmp_path/'model.pkl').write_bytes(b'cos\nsystem\n(S"true"\ntR.')
    with pytest.raises(ValueError, match='runs whatever is in it'): load_learner(tmp_path/'model.pkl')
    with pytest.raises(FileNotFoundError): load_learner(tmp_path/'nothing')


def test_a_callback_may_remember_tensors(tmp_path):
    "A state that a network carries from batch to batch is part of the run, and of its checkpoint."
    class Carried(Callback):
        in_lr_find, state = False, torch.zeros(3)
        def before_train(self): self.state = torch.zeros(3)
        def before_batch(self): self.learn.xb = (self.xb[0] + self.state.sum(),)
        def after_batch(self):
            if self.learn.training: self.state = .5 * self.state + self.pred.detach().mean(0)
        def state_dict(self): return dict(state=self.state, pair=[self.state + 1, 2])
        def load_state_dict(self, state):
            self.state = state['state']
            assert torch.equal(state['pair'][0], self.state + 1) and state['pair'][1] == 2

    class Stop(Callback):
        order = 2000
        def after_batch(self):
            if self.learn.training and (self.learn.epoch, self.learn.iter) == (1, 2): raise KeyboardInterrupt

    whole = learner(path=tmp_path, cbs=Carried())
    whole.fit(2, .01)
    broken = learner(path=tmp_path, cbs=[Carried(), Checkpoint(every_batches=1), Stop()])
    with pytest.raises(KeyboardInterrupt): broken.fit(2, .01)
    resumed = learner(path=tmp_path, model=net(5), cbs=[Carried(), Checkpoint(resume=True)])
    resumed.fit(2, .01)
    assert same(weights(whole), weights(resumed))
    assert whole.recorder.losses == resumed.recorder.losses


# ---- what others have changed or made up

@pytest.mark.parametrize('name, value', [('pretrained', True), ('weights', 'secret.pth')])
def test_a_recipe_opens_no_file_and_no_network(tmp_path, name, value, monkeypatch):
    from lessonlib import bodies
    from lessonlib.transfer import vision_model
    monkeypatch.setattr(bodies, 'create_body', lambda *args: pytest.fail('it was begun'))
    recipe = {'part': 'transfer.vision_model', 'arch': 'resnet18', 'head': {'n_out': 2}, name: value}
    with pytest.raises(ValueError, match=f'asks for {name}'): from_recipe(recipe)
    made = vision_model('resnet18', dict(n_out=2), pretrained=False, weights=None)
    assert not {'pretrained', 'weights'} & set(made.recipe)


HOOKS, WATCHED = [], []   # what is opened and looked up while it is not empty; a hook cannot be taken off again


def watch(event, args):
    if WATCHED and event in ('open', 'socket.getaddrinfo', 'socket.connect'): WATCHED.append((event, str(args[0])))


@pytest.mark.parametrize('name, value', [('pretrained', True), ('weights', '{folder}/secret.pth')])
def test_an_export_opens_no_other_file_and_no_network(tmp_path, name, value):
    "What somebody has written into its recipe is refused before anything is fetched or opened"
    secret = tmp_path/'secret.pth'
    secret.write_bytes(b'no business of an export')
    value = value.format(folder=tmp_path) if name == 'weights' else value
    model = {'part': 'transfer.vision_model', 'arch': 'resnet18', 'head': {'n_out': 3}, name: value}
    file = crafted(tmp_path, lambda info: {**info, 'learner': {**info['learner'], 'model': model}})
    if watch not in HOOKS: sys.addaudithook(watch), HOOKS.append(watch)
    WATCHED.append('from here')
    try:
        with pytest.raises(ValueError, match=f'crafted.safetensors.*asks for {name}'): load_learner(file)
        assert not [what for what in WATCHED[1:] if what[0] != 'open' or what[1] == str(secret)]
        secret.read_bytes()
        assert ('open', str(secret)) in WATCHED      # the hook does see it
    finally: WATCHED.clear()


def crafted(path, change):
    "An export whose notes somebody has changed, checksum and all"
    tensors, info = read_tensors(exportable(path).export('whole'))
    write_tensors(path/'crafted.safetensors', tensors, change(info))
    return path/'crafted.safetensors'


@pytest.mark.parametrize('change', [
    lambda info: [1], lambda info: None, lambda info: {**info, 'learner': None}, lambda info: {**info, 'learner': {}},
    lambda info: {**info, 'learner': {**info['learner'], 'more': 1}},
    lambda info: {**info, 'learner': {**info['learner'], 'extras': {'path': '/'}}},
    lambda info: {**info, 'learner': {**info['learner'], 'model': {**info['learner']['model'], 'n_hidden': 10**9}}},
])
def test_a_made_up_export_is_refused_by_name(tmp_path, change):
    with pytest.raises(ValueError, match='crafted.safetensors'): load_learner(crafted(tmp_path, change))


def test_a_giant_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    def giant(info):
        model = info['learner']['model']
        key = next(key for key, value in model.items() if isinstance(value, int))
        return {**info, 'learner': {**info['learner'], 'model': {**model, key: 10**9}}}
    devices = []
    plain = Layers.__init__
    def noted(self, *args, **kwargs):
        devices.append(torch.empty(0).device.type)
        plain(self, *args, **kwargs)
    file = crafted(tmp_path, giant)
    monkeypatch.setattr(Layers, '__init__', noted)
    with pytest.raises(ValueError, match='model and weights differ'): load_learner(file)
    assert devices == ['meta']


def test_notes_too_deep_to_read(tmp_path):
    from safetensors.torch import save_file
    save_file({'a': torch.zeros(2)}, tmp_path/'deep.safetensors', metadata={'lessonlib': '[' * 10**5 + ']' * 10**5})
    with pytest.raises(ValueError, match='deep.safetensors'): read_tensors(tmp_path/'deep.safetensors')


@pytest.mark.parametrize('note', ['{', '5', 'null', '"text"', '[' * 10**5 + ']' * 10**5],
                         ids=['cut', 'number', 'null', 'text', 'deep'])
def test_weights_and_checkpoints_with_a_damaged_note(note, tmp_path):
    learn = learner(path=tmp_path)
    learn.fit(1, cbs=Checkpoint())
    file, before = learn.model_file('checkpoint'), weights(learn)
    raw = file.read_bytes()
    end = 8 + int.from_bytes(raw[:8], 'little')
    header = json.loads(raw[8:end])
    header['__metadata__'] = {'lessonlib': note}          # without a checksum, which would tell
    head = json.dumps(header).encode()
    file.write_bytes(len(head).to_bytes(8, 'little') + head + raw[end:])
    for use in (lambda: read_tensors(file), lambda: learn.load('checkpoint'), lambda: load_learner(file),
                lambda: learn.fit(3, cbs=Checkpoint(resume=True))):
        with pytest.raises(ValueError, match='checkpoint.safetensors'): use()
    assert same(weights(learn), before)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    file, read, reads = tmp_path/'m.safetensors', checkpoint._read_once, []
    for value in (0., 1.): write_tensors(file, {'a': torch.full((9,), value)}, {})
    def meanwhile(path):
        reads.append(path)
        if len(reads) > 1: return read(path)
        write_tensors(file, {'a': torch.full((9,), 2.)}, {})
        raise ValueError('the beginning of one, the end of the other')
    monkeypatch.setattr(checkpoint, '_read_once', meanwhile)
    assert read_tensors(file)[0]['a'].mean() == 2 and len(reads) == 2


@pytest.mark.parametrize('old, new', [(b'"F32"', b'"I32"'), (b'[2,3]', b'[3,2]'), (b'"one"', b'"two"')])
def test_kinds_shapes_and_names_are_part_of_the_checksum(tmp_path, old, new):
    write_tensors(file := tmp_path/'m.safetensors', {'one': torch.rand(2, 3)}, {})
    raw = file.read_bytes()
    assert old in raw
    file.write_bytes(raw.replace(old, new))
    with pytest.raises(ValueError, match='m.safetensors.*checksum'): read_tensors(file)


def test_weights_that_fit_and_mean_another_function_are_said(tmp_path):
    def made(*layers): return Learner(dls_of_numbers(), nn.Sequential(nn.Linear(3, 4), *layers), nn.MSELoss(), path=tmp_path)
    made(nn.ReLU(inplace=True), nn.Dropout(.1), SigmoidRange(0, 5)).save('first')
    with warnings.catch_warnings():
        warnings.simplefilter('error')                       # its dropout is everybody's own
        made(nn.ReLU(), nn.Dropout(.5), SigmoidRange(0, 5)).load('first')
    with pytest.warns(UserWarning, match=r'SigmoidRange\(0, 5\) where this one has SigmoidRange\(0, 10\)'):
        made(nn.ReLU(), nn.Dropout(.5), SigmoidRange(0, 10)).load('first')
    with pytest.warns(UserWarning, match=r'ReLU\(\) where this one has Tanh\(\) \(1\)'):
        made(nn.Tanh(), nn.Dropout(.5), SigmoidRange(0, 5)).load('first')


def test_only_dropout_may_differ_in_a_layer_that_has_it():
    first, other, deeper = (checkpoint._settings(nn.LSTM(3, 4, n, dropout=p)) for n, p in ((2, .1), (2, .5), (3, .1)))
    assert first == other != deeper and first


def dls_of_numbers(): return DataLoaders.from_tensors((torch.rand(8, 3), torch.rand(8, 4)), bs=4, device='cpu')
