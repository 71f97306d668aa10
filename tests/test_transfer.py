"lessonlib.transfer: bodies, heads, freezing, precision, memory, and learners that travel as one file."
import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import nn

from parts import Parts
transfer = Parts('bodies', 'transfer', 'scaling', 'production')
from lessonlib.augmentation import Flip, Normalize, imagenet_stats
from lessonlib.core import set_seed
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.items import RandomSplitter, parent_label
from lessonlib.images import Resize
from lessonlib.files import DatasetError
from lessonlib.learner import Callback, Learner, norm_types
from lessonlib.checkpoint import Checkpoint
from lessonlib.batches import DataLoaders, accuracy
import lessonlib.progress  # noqa: F401  for what they add to classes
from lessonlib.transfer import (AdaptiveConcatPool2d, FrozenNorm, VisionLearner, body_splitter,
                                create_head, vision_learner)
from lessonlib.bodies import (Body, WeightsUnavailable, create_body, fetch_weights, find_arch,
                              find_cut, lite0_weights, read_weights)
from lessonlib.scaling import MixedPrecision, free_memory
from lessonlib.production import NotExportable, load_learner

sys.path.insert(0, str(Path(__file__).parent))
from data_server import DataServer


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "Caches of our own, no mirror, and no network: nothing that a test needs may come from elsewhere."
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'torch'))
    monkeypatch.delenv('LESSONLIB_MIRROR', raising=False)
    monkeypatch.setattr(transfer, 'can_reach', lambda url, seconds=3.: '127.0.0.1' in url or 'localhost' in url)
    return tmp_path/'home'


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Forty small pictures in two folders: reddish and bluish noise."
    folder, draw = tmp_path_factory.mktemp('photos'), torch.Generator().manual_seed(0)
    for number, name in enumerate(('blue', 'red')):
        (folder/name).mkdir()
        for i in range(20):
            pixels = torch.randint(0, 120, (48, 56, 3), generator=draw)
            pixels[..., 2 - 2 * number] += 120
            Image.fromarray(pixels.byte().numpy()).save(folder/name/f'{i}.png')
    return folder


def loaders(photos, size=32, bs=8, mode='RGB', batch_tfms=None, **kwargs):
    block = DataBlock((ImageBlock(mode), CategoryBlock), get_items=lambda path: sorted(Path(path).glob('*/*.png')),
                      get_y=parent_label, splitter=RandomSplitter(.25, seed=1), item_tfms=Resize(size),
                      batch_tfms=batch_tfms)
    return block.dataloaders(photos, bs=bs, **kwargs)


class Tiny(nn.Module):
    "A network of which bodies are made: three stages, pooling, a linear layer."
    def __init__(self, n_in=3, width=8):
        super().__init__()
        def stage(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.stem, self.middle, self.last = stage(n_in, width), stage(width, width), stage(width, 2 * width)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(2 * width, 10)
    def forward(self, x): return self.fc(self.pool(self.last(self.middle(self.stem(x)))).flatten(1))


def tiny_learner(photos, tmp_path, pretrained=True, **kwargs):
    "A learner with a small body that counts as pretrained."
    set_seed(0)
    body = Tiny()
    for m in body.modules():
        if isinstance(m, nn.BatchNorm2d): m.running_mean.add_(.1)
    return vision_learner(loaders(photos, path=tmp_path), lambda pretrained=True: body, pretrained=pretrained,
                          metrics=accuracy, **kwargs)


def quiet(learn):
    return learn.no_logging()


# ---------------------------------------------------------------- heads

def test_concat_pool_is_maximum_then_average():
    x = torch.randn(3, 5, 4, 6)
    pooled = AdaptiveConcatPool2d()(x)
    assert torch.equal(pooled[:, :5, 0, 0], x.amax((2, 3)))
    torch.testing.assert_close(pooled[:, 5:, 0, 0], x.mean((2, 3)))


@given(features=st.integers(1, 40), outputs=st.integers(1, 12), widths=st.lists(st.integers(1, 20), max_size=3),
       concat=st.booleans())
@settings(max_examples=25, deadline=None)
def test_head_takes_any_maps(features, outputs, widths, concat):
    head = create_head(features, outputs, lin_ftrs=widths, concat_pool=concat).eval()
    assert head(torch.randn(2, features, 3, 5)).shape == (2, outputs)
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [*widths, outputs] and all(m.bias is None for m in linear)
    assert linear[0].in_features == features * (1 + concat)


def test_head_is_the_one_of_the_field():
    head = create_head(512, 37)
    kinds = [AdaptiveConcatPool2d, nn.Flatten, nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout,
             nn.Linear]
    assert [type(m) for m in head] == kinds
    assert (head[2].num_features, head[3].p, head[4].out_features, head[7].p, head[8].in_features) == (1024, .25, 512, .5, 512)
    set_seed(3)
    big = create_head(2000, 5)
    assert abs(big[4].weight.std().item() / (2 / 4000)**.5 - 1) < .02      # He et al.: sqrt(2 / inputs)


@pytest.mark.parametrize('args, words', [((0, 3), 'needs features'), ((3, 0), 'needs features')])
def test_head_of_nothing(args, words):
    with pytest.raises(ValueError, match=words): create_head(*args)


def test_y_range_keeps_outputs_inside():
    head = create_head(4, 2, y_range=(-1, 3)).eval()
    got = head(1000 * torch.randn(64, 4, 2, 2))
    assert got.min() >= -1 and got.max() <= 3 and got.max() > 2 and got.min() < 0


# ---------------------------------------------------------------- architectures and cuts

@pytest.mark.parametrize('name, features, split', [
    ('efficientnet_lite0', 1280, 5), ('resnet18', 512, 6), ('resnet34', 512, 6), ('squeezenet1_1', 512, None),
    ('mobilenet_v2', 1280, None), ('densenet121', 1024, None), ('mobilenetv3_small_050', 288, None),
    ('convnext_atto', 320, None)])
def test_known_bodies(name, features, split):
    body = create_body(name, pretrained=False)
    assert isinstance(body, Body) and body.n_features == features and body.arch.name == name
    if split: assert body.split_at == split
    maps = body.eval()(torch.randn(1, 3, 64, 64))
    assert maps.shape[1] == features and maps.ndim == 4
    groups = body_splitter(nn.Sequential(body, nn.Linear(2, 2)))
    assert len(groups) == 3 and all(groups)
    params = [p for group in groups for p in group]
    assert len({id(p) for p in params}) == len(params) == len(list(body.parameters())) + 2


def test_resnet_groups_are_those_of_the_field():
    "Children 0 to 5, the rest of the body, the head."
    import torchvision
    net = torchvision.models.resnet18()
    body = create_body(lambda: net, pretrained=False)
    first, second, head = body_splitter(nn.Sequential(body, nn.Linear(3, 4)))
    early = [net.conv1, net.bn1, net.layer1, net.layer2]
    assert [id(p) for p in first] == [id(p) for m in early for p in m.parameters()]
    assert [id(p) for p in second] == [id(p) for m in (net.layer3, net.layer4) for p in m.parameters()]
    assert len(head) == 2


def test_a_body_computes_what_the_network_did():
    import torchvision
    net = torchvision.models.resnet18().eval()
    x, seen = torch.randn(2, 3, 96, 64), {}
    net.layer4.register_forward_hook(lambda m, a, out: seen.update(maps=out))
    body = create_body(lambda: net, pretrained=False).eval()
    with torch.no_grad():
        net(x)
        torch.testing.assert_close(body(x), seen['maps'])


def test_tokens_become_maps():
    "A transformer of timm has no children in a row; its tokens are laid out as maps."
    body = create_body('vit_tiny_patch16_224', pretrained=False)
    assert body.n_features == 192 and body.eval()(torch.randn(1, 3, 224, 224)).shape == (1, 192, 196, 1)
    assert [len(g) > 10 for g in body_splitter(nn.Sequential(body, nn.Linear(2, 2)))] == [True, True, False]


def test_looking_for_the_cut_leaves_no_trace():
    net = Tiny().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    assert find_cut(net) == 3
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and net.stem[1].training
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks for m in net.modules())


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Flatten(), nn.LazyLinear(3)
    def forward(self, x): return self.two(self.one(x))


class Parallel(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    def forward(self, x): return self.fc((self.a(x) + self.b(x)).mean((2, 3)))


@pytest.mark.parametrize('make, words', [(Flat, 'none of its children gives maps'), (Parallel, 'do not stand in a row')])
def test_no_cut_says_how_to_pass_one(make, words):
    with pytest.raises(ValueError, match=words) as said: create_body(make, pretrained=False)
    assert 'Pass cut=N' in str(said.value) and make.__name__ in str(said.value)


def test_cut_can_be_told():
    assert create_body(Parallel, pretrained=False, cut=1).n_features == 4
    assert create_body(Tiny, pretrained=False, cut=lambda net: net.stem).n_features == 8
    assert create_body(Tiny, pretrained=False, cut=-3).n_features == 8
    for cut, words in ((9, 'has 5 children'), (0, 'takes nothing'), (lambda net: 3, 'expected the body'), (5, 'stops at|gives')):
        with pytest.raises((ValueError, TypeError), match=words): create_body(Tiny, pretrained=False, cut=cut)


@pytest.mark.parametrize('arch, error, words', [
    ('resnt34', ValueError, "Did you mean 'resnet34'"), ('efficientnet_lite', ValueError, "'efficientnet_lite0'"),
    ('nothing like it', ValueError, 'No architecture is called'), (34, TypeError, 'not a int'),
    (lambda: 3, TypeError, 'expected a network')])
def test_arch_misspelt(arch, error, words):
    with pytest.raises(error, match=words): create_body(arch, pretrained=False)


def test_constructors_are_known_by_name():
    import torchvision
    for arch in (torchvision.models.resnet34, transfer.resnet34, 'resnet34'):
        found = find_arch(arch)
        assert (found.name, found.library, found.mean) == ('resnet34', 'torchvision', imagenet_stats[0])
    assert find_arch('efficientnet_lite0').mean == (.5, .5, .5)


@pytest.mark.parametrize('n_in', [1, 2, 4])
def test_channels(n_in):
    "One channel gets the sum of the weights; of more, each gets its share."
    body, wide = create_body('efficientnet_lite0').eval(), create_body('efficientnet_lite0', n_in=n_in).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        if n_in == 1: torch.testing.assert_close(wide(x), body(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
        assert wide(x.expand(-1, n_in, -1, -1)).shape == (1, 1280, 2, 2)
    old, new = body[0].weight, wide[0].weight
    assert new.shape[1] == n_in
    if n_in == 4: torch.testing.assert_close(new[:, 3], old[:, 0] * 3 / 4)
    with pytest.raises(ValueError, match='n_in=0'): create_body(Tiny, pretrained=False, n_in=0)


def test_grey_data_make_a_grey_body(photos):
    learn = vision_learner(loaders(photos, mode='L'))
    assert learn.model[0][0].weight.shape[1] == 1
    x, _ = learn.dls.one_batch()
    assert x.shape[1] == 1 and learn.model.eval()(x).shape == (8, 2)
    with quiet(learn): learn.fit(1, 1e-3)


# ---------------------------------------------------------------- weights

def test_lite0_mapping():
    "Every tensor of the file goes to one of its shape; the file is the one we know."
    import timm
    state, ours = lite0_weights(), timm.create_model('tf_efficientnet_lite0').state_dict()
    assert list(state) == list(ours) and len(state) == 296
    assert all(state[k].shape == v.shape for k, v in ours.items())
    assert all((state[k] >= 0).all() and state[k].any() for k in state if k.endswith('running_var'))
    body = create_body()
    assert body[1].eps == 1e-3 and body.n_features == 1280


def test_lite0_computes_what_it_did():
    """Statistics of its answers to fixed pictures: they change if two tensors of one shape change places.

    This proves that the mapping stays as it is, not that it is right; for that, see the test on real photos."""
    net = transfer._whole_network(find_arch('efficientnet_lite0'), pretrained=True).eval()
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing='ij')
    waves = torch.stack([torch.stack([(k * x * 9).sin(), (k * y * 7).cos(), (k * (x + y) * 5).sin()]) for k in range(1, 9)])
    with torch.no_grad(): scores = net(waves)
    state = dict(net.state_dict())
    a, b = 'blocks.3.1.bn1.weight', 'blocks.3.1.bn2.weight'
    state[a], state[b] = state[b].clone(), state[a].clone()
    net.load_state_dict(state)
    with torch.no_grad(): crossed = net(waves)
    torch.testing.assert_close(scores.std(), torch.tensor(LITE0_STD), rtol=.01, atol=0)
    assert abs(crossed.std().item() / LITE0_STD - 1) > .03
    assert [scores[i].argmax().item() for i in LITE0_SAYS] == list(LITE0_SAYS.values())


LITE0_STD, LITE0_SAYS = 2.2071, {0: 522, 2: 828, 5: 904, 6: 904, 7: 904}     # without the close calls

IMAGENET = dict(Egyptian_Mau=285, Persian=283, Siamese=284, basset_hound=161, beagle=162, boxer=242, chihuahua=151,
                english_cocker_spaniel=219, english_setter=212, german_shorthaired=210, great_pyrenees=257, japanese_chin=152,
                keeshond=261, leonberger=255, miniature_pinscher=237, newfoundland=256, pomeranian=259, pug=254,
                saint_bernard=247, samoyed=258, scottish_terrier=199, staffordshire_bull_terrier=179, wheaten_terrier=202,
                yorkshire_terrier=187)


@pytest.mark.skipif(not os.environ.get('LESSONLIB_TEST_MIRROR') or '://' in os.environ.get('LESSONLIB_TEST_MIRROR', ''),
                    reason='LESSONLIB_MIRROR names no folder of real data')
def test_lite0_knows_real_breeds():
    "The proof that the mapping is right: top-1 of the 1000-way head on photos of breeds that ImageNet has."
    archive = Path(os.environ['LESSONLIB_TEST_MIRROR'])/'oxford-iiit-pet.tgz'
    if not archive.exists(): pytest.skip('no pets in the mirror')
    net = transfer._whole_network(find_arch('efficientnet_lite0'), pretrained=True).eval().to(memory_format=torch.channels_last)
    count, right, per_breed = 0, 0, {}
    with tarfile.open(archive) as files:
        for entry in files:
            found = re.fullmatch(r'.*images/(.+)_\d+\.jpg', entry.name)
            if not found or found[1] not in IMAGENET or per_breed.get(found[1], 0) >= 8: continue
            per_breed[found[1]] = per_breed.get(found[1], 0) + 1
            photo = Image.open(files.extractfile(entry)).convert('RGB')
            scale = 256 / min(photo.size)
            photo = photo.resize([round(side * scale) for side in photo.size], Image.BICUBIC)
            left, top = ((side - 224) // 2 for side in photo.size)
            pixels = torch.frombuffer(bytearray(photo.crop((left, top, left + 224, top + 224)).tobytes()), dtype=torch.uint8)
            x = (pixels.view(1, 224, 224, 3).permute(0, 3, 1, 2).float() / 255 - .5) / .5
            with torch.no_grad(): right += net(x).argmax().item() == IMAGENET[found[1]]
            count += 1
            if count == 8 * len(IMAGENET): break
    assert count > 150 and right / count >= .80, f'{right} of {count}'


def named(folder, state, stem='resnet18'):
    "Weights in a file named as PyTorch names them: the digest's first eight digits at the end."
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder/'new.pth')
    file = folder/f'{stem}-{hashlib.sha256((folder/"new.pth").read_bytes()).hexdigest()[:8]}.pth'
    return (folder/'new.pth').rename(file)


@pytest.fixture
def resnet_file(tmp_path, monkeypatch):
    "A file of weights for resnet18, and torchvision asking for just this file."
    import torchvision
    set_seed(5)
    net = torchvision.models.resnet18()
    file = named(tmp_path/'made', net.state_dict())
    from types import SimpleNamespace
    entry = SimpleNamespace(DEFAULT=SimpleNamespace(url=f'https://download.invalid/{file.name}'))
    monkeypatch.setattr(torchvision.models, 'get_model_weights', lambda name: entry)
    return file, net, entry


@pytest.mark.parametrize('place', ['home', 'torch', 'folder mirror', 'file mirror', 'web mirror', 'network'])
def test_weights_come_from(place, resnet_file, home, tmp_path, monkeypatch):
    file, net, entry = resnet_file
    targets = {'home': home/'weights', 'torch': tmp_path/'torch'/'hub'/'checkpoints'}
    with DataServer() as shop:
        shop.files[file.name] = file.read_bytes()
        if place in targets: targets[place].mkdir(parents=True); (targets[place]/file.name).write_bytes(file.read_bytes())
        elif place == 'network': entry.DEFAULT.url = f'{shop.base}/{file.name}'
        else: monkeypatch.setenv('LESSONLIB_MIRROR', {'folder mirror': str(file.parent), 'file mirror': file.parent.as_uri(),
                                                      'web mirror': shop.base}[place])
        body = create_body('resnet18')
    assert torch.equal(body[0].weight, net.conv1.weight) and torch.equal(body[7][1].bn2.bias, net.layer4[1].bn2.bias)
    if place in ('network', 'web mirror'): assert (home/'weights'/file.name).is_file()
    assert not list(home.rglob('*.part*'))


@pytest.mark.parametrize('place', ['home', 'folder mirror', 'web mirror', 'network'])
def test_damaged_weights_are_refused(place, resnet_file, home, monkeypatch):
    file, net, entry = resnet_file
    file.write_bytes(file.read_bytes()[:-50] + bytes(50))
    with DataServer() as shop:
        shop.files[file.name] = file.read_bytes()
        if place == 'home': (home/'weights').mkdir(parents=True); (home/'weights'/file.name).write_bytes(file.read_bytes())
        elif place == 'network': entry.DEFAULT.url = f'{shop.base}/{file.name}'
        else: monkeypatch.setenv('LESSONLIB_MIRROR', str(file.parent) if place == 'folder mirror' else shop.base)
        with pytest.raises(DatasetError, match='does not begin with'): create_body('resnet18')
    if place == 'network': assert not (home/'weights'/file.name).exists()


def test_no_network_no_weights():
    for arch, words in (('resnet18', 'download.pytorch.org'), ('resnet26d', 'huggingface.co/timm')):
        with pytest.raises(WeightsUnavailable) as said: create_body(arch)
        text = str(said.value)
        assert words in text and 'cannot be reached' in text and 'LESSONLIB_MIRROR' in text and 'pretrained=False' in text


def test_timm_weights_from_the_cache(home):
    import timm
    set_seed(1)
    net = timm.create_model('resnet26d')
    (home/'weights').mkdir(parents=True)
    torch.save(net.state_dict(), home/'weights'/'resnet26d.pth')
    body = create_body('resnet26d')
    assert torch.equal(next(body.parameters()), next(net.parameters()))


def test_weights_of_another_architecture(tmp_path):
    import torchvision
    file = tmp_path/'other.pth'
    torch.save(torchvision.models.resnet18(num_classes=5).state_dict(), file)
    body = create_body('resnet18', weights=file)         # another classifier does no harm: it is cut off
    assert body.n_features == 512
    with pytest.raises(ValueError, match=r'it lacks layer1.2.conv1.weight') as said: create_body('resnet34', weights=file)
    assert 'other.pth' in str(said.value)
    state = torch.load(file, weights_only=True)
    state['layer1.0.conv1.weight'] = torch.zeros(3, 3)
    torch.save(state, file)
    with pytest.raises(ValueError, match=r'layer1.0.conv1.weight \(3, 3\) in the file, \(64, 64, 3, 3\) here'):
        create_body('resnet18', weights=file)


def test_weights_files_are_never_run(tmp_path):
    flag, file = tmp_path/'ran', tmp_path/'bad.pth'
    class Evil:
        def __reduce__(self): return (Path.touch, (flag,))
    torch.save({'weight': Evil()}, file)
    with pytest.raises(ValueError, match='code would have to be run'): read_weights(file)
    assert not flag.exists()
    for bad in (b'', b'PK\3\4 nonsense', bytes(1000)):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match='bad.pth'): read_weights(file)
    with pytest.raises(FileNotFoundError): read_weights(tmp_path/'none.pth')
    torch.save(torch.eye(2), file)
    with pytest.raises(ValueError, match='no tensors by name'): read_weights(file)


def test_safetensors_weights(tmp_path):
    from safetensors.torch import save_file
    save_file({'a': torch.eye(3)}, tmp_path/'w.safetensors')
    assert torch.equal(read_weights(tmp_path/'w.safetensors')['a'], torch.eye(3))
    (tmp_path/'w.safetensors').write_bytes(b'not that')
    with pytest.raises(ValueError, match='cut short'): read_weights(tmp_path/'w.safetensors')


# ---------------------------------------------------------------- freezing

def toy(groups=4):
    model = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(groups)))
    dls = DataLoaders.from_tensors([torch.randn(32, 3), torch.randn(32, 3)], [torch.randn(16, 3), torch.randn(16, 3)], bs=8)
    return Learner(dls, model, nn.MSELoss(), splitter=lambda m: [list(part.parameters()) for part in m])


@given(groups=st.integers(1, 5), data=st.data())
@settings(max_examples=30, deadline=None)
def test_freeze_to(groups, data):
    "Groups from n on are trained, the others are not; negative numbers count from the end."
    learn, n = toy(groups), data.draw(st.integers(-groups, groups - 1))
    learn.freeze_to(n)
    assert [part[0].weight.requires_grad for part in learn.model] == [i >= n % groups for i in range(groups)]
    for wrong in (groups, -groups - 1):
        with pytest.raises(ValueError, match=f'has {groups} layer groups'): learn.freeze_to(wrong)


def test_frozen_stays_the_same_to_the_last_bit():
    "Parameters and the averages of norms, with weight decay and momentum at work."
    learn = toy()
    with quiet(learn):
        learn.fit(1, .1)
        for p in learn.model.parameters(): p.grad = torch.ones_like(p)      # left over from somewhere
        learn.freeze_to(2)
        assert [p.grad is None for p in learn.model.parameters()] == [not p.requires_grad for p in learn.model.parameters()]
        before = {k: v.clone() for k, v in learn.model.state_dict().items()}
        learn.fit(2, .1, wd=.5)
    for name, value in learn.model.state_dict().items():
        assert torch.equal(value, before[name]) == (int(name[0]) < 2), name
    learn.unfreeze()
    with quiet(learn): learn.fit(1, .1)
    assert not any(torch.equal(v, before[k]) for k, v in learn.model.state_dict().items())


def test_norms_without_parameters_follow_their_neighbours():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
                          nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    dls = DataLoaders.from_tensors([torch.randn(16, 3, 8, 8), torch.randint(0, 2, (16,))], bs=8)
    learn = Learner(dls, model, nn.CrossEntropyLoss(), splitter=lambda m: [list(p.parameters()) for p in m])
    learn.unfreeze()
    assert learn.frozen_norm.kept() == []
    learn.freeze()
    assert learn.frozen_norm.kept() == [model[0][1]]
    with quiet(learn): learn.fit(1, .1)
    assert model[0][1].num_batches_tracked == 0


@pytest.mark.parametrize('train_bn, frozen_moves, open_moves', [(False, False, False), (True, True, True), ('unfrozen', False, True)])
def test_norms_of_the_body(photos, tmp_path, train_bn, frozen_moves, open_moves):
    learn = tiny_learner(photos, tmp_path, train_bn=train_bn)
    norm = next(m for m in learn.model[0].modules() if isinstance(m, nn.BatchNorm2d))
    with quiet(learn):
        for moves, prepare in ((frozen_moves, learn.freeze), (open_moves, learn.unfreeze)):
            mean, weight = norm.running_mean.clone(), norm.weight.clone()
            prepare()
            learn.fit(1, 1e-2)
            assert (not torch.equal(mean, norm.running_mean)) == moves
            trained = prepare.__name__ == 'unfreeze' or train_bn is True
            assert (not torch.equal(weight, norm.weight)) == trained
    assert all(m.training for m in learn.model.train().modules())       # nothing is left switched off


def test_a_frozen_body_leaves_no_graph(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    x, _ = learn.dls.one_batch()
    assert learn.model[0](x).grad_fn is None
    frozen = learn.step_memory(4)
    learn.unfreeze()
    assert learn.model[0](x).grad_fn is not None and learn.step_memory(4) > 5 * frozen


def test_not_pretrained_trains_everything(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    assert all(p.requires_grad for p in learn.model.parameters()) and learn.stats is None
    assert not any(isinstance(cb, FrozenNorm) for cb in learn.cbs)


def test_layer_groups_table(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    text = str(learn.layer_groups(slice(1e-6, 1e-4)))
    assert [line.split()[-1] for line in text.splitlines()] == ['rate', '1e-06', '1e-05', '0.0001']
    total = sum(int(line.split()[2].replace(',', '')) for line in text.splitlines()[1:])
    assert total == sum(p.numel() for p in learn.model.parameters())


# ---------------------------------------------------------------- learners

def test_data_are_scaled_as_the_body_wants(photos):
    dls = loaders(photos, batch_tfms=[Flip(), Normalize(*imagenet_stats)])
    learn = vision_learner(dls)
    means = lambda dls: [tuple(t.mean) for t in dls.batch_tfms if isinstance(t, Normalize)]
    assert means(learn.dls) == [(.5, .5, .5)] and means(dls) == [imagenet_stats[0]]     # theirs stays theirs
    x, _ = learn.dls.one_batch()
    assert -1 <= x.min() < -.8 and .6 < x.max() <= 1
    learn.dls = loaders(photos, size=48)
    assert means(learn.dls) == [(.5, .5, .5)] and learn.dls.one_batch()[0].shape[-1] == 48
    assert means(vision_learner(dls, normalize=False).dls) == [imagenet_stats[0]]


def test_plain_loaders_get_a_warning():
    dls = DataLoaders.from_tensors([torch.rand(16, 3, 32, 32), torch.randint(0, 2, (16,))], vocab=['a', 'b'],
                                   loss_func=nn.CrossEntropyLoss())
    with pytest.warns(UserWarning, match='normalise the pictures yourself'): learn = vision_learner(dls)
    assert learn.model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_outputs_unknown():
    dls = DataLoaders.from_tensors([torch.rand(16, 3, 32, 32), torch.rand(16)])
    with pytest.raises(ValueError, match='pass n_out'): vision_learner(dls)


def test_channels_last(photos):
    learn = vision_learner(loaders(photos))
    assert learn.model[0][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_fine_tune_is_the_recipe(photos, tmp_path):
    learn, calls = tiny_learner(photos, tmp_path), []
    def note(n, lr, **kwargs):
        calls.append((n, lr, next(learn.model.parameters()).requires_grad, kwargs))
    learn.fit_one_cycle = note
    learn.fine_tune(4, 8e-3, freeze_epochs=2, wd=.2)
    assert calls == [(2, slice(8e-3), False, dict(pct_start=.99, wd=.2)),
                     (4, slice(4e-5, 4e-3), True, dict(pct_start=.3, div=5., wd=.2))]
    learn.fine_tune(1, freeze_epochs=0)
    assert len(calls) == 3 and calls[2][1] == slice(1e-5, 1e-3)
    with pytest.raises(ValueError, match='one epoch or more'): learn.fine_tune(0)


def test_fine_tune_learns(photos, tmp_path):
    set_seed(0)
    learn = vision_learner(loaders(photos, size=64, path=tmp_path), metrics=accuracy)
    with quiet(learn): learn.fine_tune(2, 5e-3)
    assert learn.validate()[1] >= .9
    rates = {g['layer_group']: g['lr'] for g in learn.opt.param_groups}
    assert rates[0] < rates[1] < rates[2]


def test_larger_pictures_go_on(photos, tmp_path):
    "Optimiser, record and stages survive a change of the data."
    learn = tiny_learner(photos, tmp_path)
    with quiet(learn): learn.fit_one_cycle(1, 1e-3)
    opt = learn.opt
    learn.dls = loaders(photos, size=64, bs=4, path=tmp_path)
    with quiet(learn): learn.fit_one_cycle(2, 1e-3)
    assert learn.opt is opt and len(learn.recorder.losses) == 2 * len(learn.dls.train)
    learn.save('stage')
    kept = learn.get_preds()[0]
    with quiet(learn): learn.fit(1, 1e-2)
    assert not torch.equal(learn.get_preds()[0], kept)
    assert torch.equal(learn.load('stage').get_preds()[0], kept)


def test_aliases_and_field_script(photos, tmp_path, resnet_file, home):
    "What a script of the field says, word for word."
    (home/'weights').mkdir(parents=True)
    (home/'weights'/resnet_file[0].name).write_bytes(resnet_file[0].read_bytes())
    from lessonlib.all import cnn_learner, create_cnn, error_rate, resnet18, vision_learner
    for make in (vision_learner, cnn_learner, create_cnn):
        learn = make(loaders(photos, path=tmp_path), resnet18, metrics=error_rate)
        assert learn.plan['arch'] == 'resnet18' and not next(learn.model.parameters()).requires_grad
    with quiet(learn): learn.fine_tune(1)
    assert len(learn.recorder.values[0]) == 3


# ---------------------------------------------------------------- precision

def test_bf16_is_near_and_leaves_no_trace(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path)
    x, _ = learn.dls.one_batch()
    learn.model.eval()
    exact = learn.model(x)
    rough = learn.to_bf16().model(x)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    assert (rough - exact).abs().max() < .05 * exact.abs().max()
    learn.unfreeze()
    with quiet(learn): learn.fit(2, 1e-2)
    assert all(p.dtype == torch.float32 for p in learn.model.parameters())
    assert learn.recorder.values[-1][0] < 1.2
    learn.to_fp32()
    assert torch.equal(learn.model.eval()(x), learn.model(x)) and not learn.model._forward_hooks
    assert not torch.is_autocast_enabled('cpu')


def test_an_error_in_the_model_leaves_autocast(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).to_bf16()
    with pytest.raises(Exception), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learn.model(torch.randn(2, 5, 8, 8))
    assert not torch.is_autocast_enabled('cpu')


def test_fp16_on_a_cpu_changes_nothing(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).to_bf16()
    with pytest.warns(UserWarning, match='stays float32'): learn.to_fp16()
    assert not any(isinstance(cb, MixedPrecision) for cb in learn.cbs) and not learn.model._forward_hooks


class Seen(Callback):
    "Notes losses, gradients and steps."
    order = 30
    def before_fit(self): self.grads, self.steps, self.losses = [], 0, []
    def before_step(self):
        self.grads.append(max(p.grad.abs().max().item() for p in self.learn.model.parameters() if p.grad is not None))
    def after_cancel_step(self): self.steps += 1


def test_float16_scales_loss_and_gradients(photos, tmp_path):
    "The scaler at work (on the CPU, which is slow but the same): same loss, same gradients, steps taken."
    both = []
    for half in (False, True):
        learn = tiny_learner(photos, tmp_path, cbs=Seen)
        if half: learn.add_cb(MixedPrecision('float16', scale=1024.))
        with quiet(learn): learn.fit(1, 1e-3)
        both.append((learn.recorder.losses[0], learn.seen.grads[0]))
    assert both[0][0] == pytest.approx(both[1][0], rel=.05) and both[0][1] == pytest.approx(both[1][1], rel=.1)
    assert learn.seen.steps == len(learn.recorder.losses)
    assert learn.mixed_precision.scaler.get_scale() == 1024.


def test_a_gradient_that_overflows_is_left_out(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path).add_cb(MixedPrecision('float16', scale=2.**40))
    learn.unfreeze()
    before = {k: v.clone() for k, v in learn.model.named_parameters()}
    class One(Callback):
        def after_batch(self):
            if self.learn.training and self.learn.iter == 0:
                self.same = all(torch.equal(v, before[k]) for k, v in self.learn.model.named_parameters())
    with quiet(learn): learn.fit(1, 1e-3, cbs=(one := One()))
    assert one.same and learn.mixed_precision.scaler.get_scale() < 2.**40


def test_scaler_is_in_checkpoints(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, cbs=Checkpoint()).add_cb(MixedPrecision('float16', scale=2.**30))
    with quiet(learn): learn.fit(1, 1e-3)
    scale = learn.mixed_precision.scaler.get_scale()
    assert scale < 2.**30
    again = tiny_learner(photos, tmp_path, cbs=Checkpoint()).add_cb(MixedPrecision('float16', scale=4.))
    class First(Callback):
        def before_epoch(self): self.scale = getattr(self, 'scale', self.learn.mixed_precision.scaler.get_scale())
    with quiet(again): again.fit(2, 1e-3, resume=True, cbs=(first := First()))
    assert first.scale == scale


# ---------------------------------------------------------------- memory

def test_step_memory_grows_with_area_and_leaves_no_trace(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    state = {k: v.clone() for k, v in learn.model.state_dict().items()}
    rng = torch.get_rng_state()
    learn.model.eval()
    small = learn.step_memory(2)
    assert not any(m.training for m in learn.model.modules())
    assert learn.step_memory(4) == pytest.approx(2 * small, rel=.05)
    sizes = {}
    for size in (32, 48, 64):
        learn.dls = loaders(photos, size=size, path=tmp_path)
        sizes[size] = learn.step_memory(2)
    grows = (sizes[64] - sizes[48]) / (sizes[48] - sizes[32])
    assert grows == pytest.approx((64**2 - 48**2) / (48**2 - 32**2), rel=.1)      # the head's share is the same
    assert all(torch.equal(v, state[k]) for k, v in learn.model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())
    with pytest.raises(ValueError, match='only 8 items'): learn.step_memory(9)


def test_batch_size_fits(photos, tmp_path):
    learn = tiny_learner(photos, tmp_path, pretrained=False)
    for memory in (10**6, 10**7, 10**8):
        bs = learn.find_batch_size(memory, most=10**6)
        assert bs & (bs - 1) == 0 and bs * learn.step_memory(2) / 2 < memory
    assert learn.find_batch_size(10**12, most=64) == 64
    with pytest.raises(ValueError, match='Not even one item fits'): learn.find_batch_size(1000)


def test_free_memory():
    free = free_memory('cpu')
    assert free is None or 0 < free < 2**50


def test_memory_stays_flat(photos, tmp_path):
    "After twenty epochs no more memory and no more open files than after five."
    learn = tiny_learner(photos, tmp_path)
    def usage():
        gc.collect()
        pages = int(Path('/proc/self/statm').read_text().split()[1]) if Path('/proc/self/statm').exists() else 0
        return pages * 4096, len(os.listdir('/proc/self/fd')) if Path('/proc/self/fd').exists() else 0
    with quiet(learn):
        learn.fit(5, 1e-3)
        memory, files = usage()
        learn.fit(15, 1e-3)
    later, more_files = usage()
    assert later - memory < 20e6 and more_files <= files


# ---------------------------------------------------------------- export

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
    dl = again.dls.test_dl(learn.dls.valid_ds.items)
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
from lessonlib.production import load_learner
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
    assert info['kind'] == 'learner' and info['model']['arch'] == 'efficientnet_lite0'
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
    (lambda info, t: info['model'].update(arch='resnet_of_tomorrow'), 'No architecture is called'),
    (lambda info, t: info['model'].update(made_by='os.system'), 'cannot be used here'),
    (lambda info, t: info['model'].update(made_by='datasets.sha256_of'), 'makes no models'),
    (lambda info, t: info['model'].update(made_by='transfer._own_network'), 'no function of lessonlib'),
    (lambda info, t: info.pop('data'), 'cannot be used here'),
    (lambda info, t: info['model'].update(arch='resnet18'), 'saved from another architecture'),
    (lambda info, t: t.pop('model.0.0.weight'), 'lacks 0.0.weight'),
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
    for learn, words in ((own, 'code of your own'), (head, 'its head'), (plain, 'not made by vision_learner'),
                         (changed, 'changed after'), (function, 'cannot be written'), (other, 'activation of its own')):
        with pytest.raises(NotExportable, match=words): learn.export()
    assert not list(tmp_path.rglob('export*'))


def test_pictures_changed_before_the_recipe_are_noticed(photos, tmp_path):
    "A get_x that changes pictures is not in the recipe: predictions of files would differ."
    block = DataBlock((ImageBlock, CategoryBlock), get_items=lambda path: sorted(Path(path).glob('*/*.png')),
                      get_x=lambda file: Image.open(file).convert('RGB').rotate(90), get_y=parent_label, item_tfms=Resize(32))
    learn = vision_learner(block.dataloaders(photos, bs=8, path=tmp_path))
    with pytest.warns(UserWarning, match='get_x'): learn.export()


# ---------------------------------------------------------------- import

def test_import_is_light():
    script = 'import json, sys, lessonlib.transfer; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {'timm', 'matplotlib', 'pandas', 'IPython', 'sklearn', 'ipywidgets', 'huggingface_hub'}
