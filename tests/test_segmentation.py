"lessonlib.segmentation: masks of every kind, losses and metrics beside other libraries', U-Nets on many bodies."
import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from torch import nn
from torch.nn import functional as F
from torchvision import tv_tensors

from helpers.interruption import Stop
from helpers.small_photos import Tiny

from lessonlib.augmentation import Augment, aug_transforms, Dihedral
from lessonlib.batches import as_metric
from lessonlib.bodies import create_body
from lessonlib.checkpoint import Checkpoint, load_learner
from lessonlib.core import set_seed
from lessonlib.data_block import DataBlock, ImageBlock
from lessonlib.images import Resize, UnreadableImage
from lessonlib.interpretation import Interpretation
from lessonlib.items import IndexSplitter
from lessonlib.segmentation import (code_colours, colours_to_codes, CombinedLoss, Dice, DiceLoss, DiceMulti,
                                    DynamicUnet, FocalLoss, foreground_acc, JaccardCoeff, JaccardCoeffMulti,
                                    MaskBlock, PixelAccuracy, PixelLoss, PixelShuffle_ICNR, read_mask, save_mask,
                                    SegmentationInterpretation, unet_learner)
from lessonlib.ways_in import SegmentationDataLoaders

CODES = ['road', 'tree', 'house', 'Void']


def scene(i, height=40, width=56):
    "A picture of three flat things and a strip of void, and its mask"
    draw = np.random.default_rng(i)
    mask = np.zeros((height, width), np.uint8)
    mask[:height // 2, draw.integers(5, 20):draw.integers(25, 40)] = 1
    mask[height // 3:height // 2 + draw.integers(0, 8), :draw.integers(8, 25)] = 2
    mask[:, -3:] = 3
    colours = np.array([(90, 90, 90), (40, 160, 60), (190, 90, 60), (20, 20, 20)])
    return (colours[mask] + draw.integers(-20, 20, (height, width, 3))).clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    "Twelve pictures in images/, their masks in labels/"
    path = tmp_path_factory.mktemp('scenes')
    for name in ('images', 'labels'): (path/name).mkdir()
    for i in range(12):
        picture, mask = scene(i)
        Image.fromarray(picture).save(path/'images'/f'{i:02}.png')
        Image.fromarray(mask).save(path/'labels'/f'{i:02}_P.png')
    return path


def files(path): return sorted((path/'images').glob('*.png'))
def label_of(file): return file.parent.parent/'labels'/f'{file.stem}_P.png'


def loaders(scenes, bs=4, block=None, get_y=label_of, valid=range(9, 12), some=None, item_tfms=None, **kwargs):
    block = DataBlock((ImageBlock, block or MaskBlock(CODES)), splitter=IndexSplitter(list(valid)), get_y=get_y,
                      item_tfms=item_tfms, batch_tfms=kwargs.pop('batch_tfms', None))
    return block.dataloaders(some or files(scenes), bs=bs, path=kwargs.pop('path', scenes), **kwargs)


def learner(scenes, dls=None, **kwargs):
    "A small U-Net; the same weights each time"
    set_seed(0)
    return unet_learner(dls or loaders(scenes), 'resnet18', pretrained=False, **kwargs)


# ---- masks

@pytest.mark.parametrize('dress', ['P', 'L', '1', 'I;16', 'RGB', 'RGBA', 'LA'])
def test_masks_in_every_dress(dress, tmp_path):
    codes = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    image = Image.fromarray(codes.astype(np.uint16) if dress == 'I;16' else codes)
    if dress == 'P': image.putpalette([9, 9, 9, 200, 0, 0])
    if dress == '1': image = Image.fromarray(codes.astype(bool))
    if dress in ('RGB', 'RGBA', 'LA'): image = image.convert(dress)
    image.save(tmp_path/'mask.png')
    opened = MaskBlock(['a', 'b']).open(tmp_path/'mask.png')
    assert isinstance(opened, tv_tensors.Mask) and opened.tolist() == codes.tolist()


def test_masks_of_0_and_255():
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    assert MaskBlock(['sky', 'bird'], values=(0, 255)).open(mask).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r'has 255 in 2 pixels, and the 2 codes go from 0 to 1.*values=\(0, 255\)'):
        MaskBlock(['sky', 'bird']).open(mask)
    block = MaskBlock(['sky', 'bird'], void=255)
    assert block.open(mask).tolist() == [[0, 255], [255, 0]] and block.loss_func.ignore_index == 255


@pytest.mark.parametrize('void, code', [(None, 3), ('Void', 3), ('tree', 1), (2, 2), (255, 255)])
def test_void_by_name_or_number(void, code):
    assert MaskBlock(CODES, void=void).loss_func.ignore_index == code


def test_no_void():
    block = MaskBlock(['a', 'b'])
    assert block.void_code is None and block.loss_func.ignore_index == -100


def test_a_misspelt_void():
    with pytest.raises(ValueError, match="void='raod' is not in the codes. Did you mean 'road'"): MaskBlock(CODES, void='raod')


def test_codes_are_counted_if_not_given(scenes):
    dls = loaders(scenes, block=MaskBlock(void=3))
    assert dls.vocab == ['0', '1', '2'] and dls.c == 3


def test_one_code_only(tmp_path, scenes):
    for i in range(4): Image.fromarray(np.zeros((40, 56), np.uint8)).save(tmp_path/f'{i:02}_P.png')
    dls = loaders(scenes, block=MaskBlock(['all']), get_y=lambda file: tmp_path/f'{file.stem}_P.png',
                  some=files(scenes)[:4], valid=[3], bs=2)
    learn = learner(scenes, dls=dls, metrics=[PixelAccuracy, JaccardCoeffMulti])
    with learn.no_logging(): learn.fit(1)
    assert learn.recorder.values[-1][1:] == [0, 1, 1]


BAD = {
    'jpeg': (lambda path: Image.fromarray(scene(0)[1]).save(path, 'JPEG'), 'is a JPEG, which changes pixels'),
    'colours': (lambda path: Image.fromarray(code_colours(4)[scene(0)[1]]).save(path), 'in 4 colours.*colours_to_codes'),
    'beyond': (lambda path: Image.fromarray(scene(0)[1] + 5).save(path), r'has 5, 6, 7, 8 in 2240 pixels.*0 to 3'),
    'other size': (lambda path: Image.fromarray(scene(0)[1][:30]).save(path), 'differ in size.*PIL 40×56, Mask 30×56'),
    'nothing': (lambda path: path.write_bytes(b''), r'the file is empty \(0 bytes\)'),
    'cut short': (lambda path: (Image.fromarray(scene(0, 400, 400)[1]).save(path), path.write_bytes(path.read_bytes()[:200])), 'cut short'),
    'floats': (lambda path: Image.fromarray(scene(0)[1] / 2.).save(path, 'TIFF'), 'whole numbers, not float'),
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_masks_are_named(kind, scenes, tmp_path):
    spoil, words = BAD[kind]
    spoil(tmp_path/'bad.png')
    dls = loaders(scenes, get_y=lambda file: tmp_path/'bad.png' if file.stem == '00' else label_of(file))
    with pytest.raises((ValueError, UnreadableImage), match=words) as caught: dls.train_ds[0]
    named = str(caught.value) + ' '.join(getattr(caught.value, '__notes__', []))
    assert 'bad.png' in named if kind != 'other size' else '00.png' in named


@pytest.mark.parametrize('name, tried', [('{}_Q.png', "00_Q.png.*Did you mean '00_P.png'"),
                                         ('{}_P.jpg', "00_P.jpg.*Did you mean '00_P.png'"), ('x/{}.png', 'There are: none')])
def test_a_missing_mask_is_found_before_the_first_batch(name, tried, scenes):
    with pytest.raises(ValueError, match=f'images/00.png .training set.: there is no mask .*{tried}'):
        loaders(scenes, get_y=lambda file: file.parent.parent/'labels'/name.format(file.stem))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_colours_and_codes_are_the_same_thing(n, height, width, seed):
    codes = np.random.default_rng(seed).integers(0, n, (height, width))
    assert (colours_to_codes(code_colours(n)[codes], code_colours(n)) == codes).all()


def test_unknown_colours_are_counted():
    with pytest.raises(ValueError, match=r'1 colour\(s\) are not among the 2 given: \(1, 2, 3\) in 6 pixels'):
        colours_to_codes(np.full((2, 3, 3), (1, 2, 3), np.uint8), [(0, 0, 0), (3, 2, 1)])


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    codes = np.arange(6).reshape(2, 3)
    assert save_mask(codes, '~/mask.png') == tmp_path/'mask.png' and (read_mask('~/mask.png') == codes).all()


def test_saved_masks_come_back(tmp_path):
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_mask(torch.tensor(codes), tmp_path/'a.png')
    assert (read_mask(tmp_path/'a.png') == codes).all() and Image.open(tmp_path/'a.png').mode == 'P'
    for wrong, words in ((codes.astype(int) + 1, '1 to 256'), (codes.astype(int) - 1, '-1 to 254')):
        with pytest.raises(ValueError, match=words): save_mask(wrong, tmp_path/'b.png')
    assert [file.name for file in tmp_path.iterdir()] == ['a.png']


# ---- masks and pictures move together

@given(st.integers(0, 9999), st.integers(0, 45), st.floats(0, .4), st.booleans())
@settings(max_examples=25, deadline=None)
@example(0, 45, .4, True)
def test_no_code_appears(seed, turn, warp, vertical):
    mask = torch.from_numpy(np.random.default_rng(seed).choice([0, 7, 19, 255], (2, 13, 17)).astype(np.uint8))
    picture = torch.rand(2, 3, 13, 17).as_subclass(tv_tensors.Image)
    tfm = aug_transforms(max_rotate=turn, max_warp=warp, flip_vert=vertical, size=11, min_scale=.5)[0]
    torch.manual_seed(seed)
    moved = tfm((picture, mask.as_subclass(tv_tensors.Mask)), True)[1]
    assert moved.shape == (2, 11, 11) and set(moved.unique().tolist()) <= {0, 7, 19, 255}
    small = Resize(7, 'squish')((mask[0].as_subclass(tv_tensors.Mask),), True)[0]
    assert small.shape == (7, 7) and set(small.unique().tolist()) <= {0, 7, 19, 255}


def test_a_half_turn_is_a_half_turn():
    mask = torch.randint(0, 32, (8, 9, 9), dtype=torch.uint8)
    picture = mask[:, None].expand(-1, 3, -1, -1).float().as_subclass(tv_tensors.Image)
    set_seed(1)
    for _ in range(6):
        moved, codes = Augment([Dihedral()])((picture, mask.as_subclass(tv_tensors.Mask)), True)
        torch.testing.assert_close(moved[:, 0].as_subclass(torch.Tensor), codes.as_subclass(torch.Tensor).float(), rtol=0, atol=1e-3)
        half = [i for i in range(8) if torch.equal(codes[i].as_subclass(torch.Tensor), mask[i].rot90(2))]
        for i in half: torch.testing.assert_close(moved[i, 0].as_subclass(torch.Tensor), mask[i].rot90(2).float(), rtol=0, atol=1e-3)
        if half: return
    pytest.fail('no half turn among 48 symmetries')


def test_targets_are_whole_numbers_on_the_way_to_the_loss(scenes):
    x, y = loaders(scenes, batch_tfms=aug_transforms()).one_batch()
    assert x.dtype == torch.float32 and y.dtype == torch.int64 and type(y) is torch.Tensor and y.shape == (4, 40, 56)


# ---- losses

def scores_and_masks(n=3, codes=4, size=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, codes, size, size, generator=draw), torch.randint(codes, (n, size, size), generator=draw)


def test_cross_entropy_is_torchs():
    scores, masks = scores_and_masks()
    weight = torch.tensor([1., 2, .5, 0])
    for how in (dict(), dict(ignore_index=1), dict(weight=weight), dict(label_smoothing=.1), dict(reduction='none')):
        torch.testing.assert_close(PixelLoss(**how)(scores, masks), F.cross_entropy(scores, masks, **how))


@pytest.mark.parametrize('loss', [PixelLoss(3), FocalLoss(ignore_index=3), DiceLoss(3), CombinedLoss(PixelLoss(3), DiceLoss(3))],
                         ids=lambda loss: type(loss).__name__)
def test_a_batch_without_a_labelled_pixel(loss):
    scores = torch.randn(1, 4, 5, 5, requires_grad=True)
    value = loss(scores, torch.full((1, 5, 5), 3))
    value.backward()
    assert value == 0 and (scores.grad == 0).all()


@pytest.mark.parametrize('loss', [FocalLoss(ignore_index=255), DiceLoss(255), PixelLoss(255)], ids=lambda loss: type(loss).__name__)
def test_void_does_not_count(loss):
    scores, masks = scores_and_masks()
    masks[:, :2] = 255
    other = scores.clone()
    other[:, :, :2] = torch.randn_like(other[:, :, :2])
    torch.testing.assert_close(loss(scores, masks), loss(other, masks))
    torch.testing.assert_close(loss(scores, masks), type(loss)()(scores[:, :, 2:], masks[:, 2:]))


def test_dice_loss_by_hand():
    scores, masks = scores_and_masks(1, 2, 3)
    p, truth = scores.softmax(1)[0], F.one_hot(masks, 2)[0].movedim(-1, 0)
    dice = [(2 * (p[i] * truth[i]).sum() + 1) / (p[i].sum() + truth[i].sum() + 1) for i in range(2)]
    torch.testing.assert_close(DiceLoss()(scores, masks), 1 - torch.stack(dice).mean())


def test_focal_loss_of_weights():
    scores, masks = scores_and_masks()
    weight = torch.tensor([1., 2, .5, .1])
    torch.testing.assert_close(FocalLoss(0., weight=weight)(scores, masks), F.cross_entropy(scores, masks, weight))


@pytest.mark.parametrize('loss', [PixelLoss(), FocalLoss(), DiceLoss()], ids=lambda loss: type(loss).__name__)
def test_sizes_that_do_not_fit(loss):
    with pytest.raises(ValueError, match=r'scores of shape \(2, 3, 4, 4\) do not fit masks of shape \(2, 1, 4, 4\)'):
        loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.long))


def test_a_loss_of_ones_own_is_told_what_is_void(scenes):
    for loss in (DiceLoss(), nn.CrossEntropyLoss(), CombinedLoss(FocalLoss(), DiceLoss())):
        learn = learner(scenes, loss_func=loss)
        assert {part.ignore_index for part in learn.loss_func.modules() if hasattr(part, 'ignore_index')} == {3}
    assert learner(scenes, loss_func=PixelLoss(1)).loss_func.ignore_index == 1


# ---- metrics

def told(metric, batches, ignore=-100):
    metric = as_metric(metric)
    metric.reset()
    for scores, masks in batches:
        metric.accumulate(SimpleNamespace(pred=scores, yb=(masks,), loss_func=PixelLoss(ignore)))
    return metric.value


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 999), st.sampled_from([-100, 0, 2]))
@settings(max_examples=40, deadline=None)
def test_metrics_are_scikit_learns_over_batches_of_any_size(sizes, seed, ignore):
    batches = [scores_and_masks(n, 5, 4, seed + i) for i, n in enumerate(sizes)]
    guess = torch.cat([scores.argmax(1).flatten() for scores, _ in batches])
    truth = torch.cat([masks.flatten() for _, masks in batches])
    guess, truth = guess[truth != ignore], truth[truth != ignore]
    assert told(PixelAccuracy, batches, ignore) == pytest.approx(accuracy_score(truth, guess), abs=1e-6)
    assert told(JaccardCoeffMulti, batches, ignore) == pytest.approx(jaccard_score(truth, guess, average='macro'), abs=1e-6)
    assert told(DiceMulti, batches, ignore) == pytest.approx(f1_score(truth, guess, average='macro'), abs=1e-6)


def test_the_mean_of_batches_is_another_number():
    batches = [scores_and_masks(1, seed=1), scores_and_masks(5, seed=2)]
    whole = told(JaccardCoeffMulti, batches)
    each = [told(JaccardCoeffMulti, [batch]) for batch in batches]
    assert abs(whole - sum(each) / 2) > 1e-3


def test_binary_metrics():
    scores, masks = scores_and_masks(2, 2)
    guess = scores.argmax(1)
    assert told(Dice, [(scores, masks)]) == pytest.approx(f1_score(masks.flatten(), guess.flatten()))
    assert told(JaccardCoeff, [(scores, masks)]) == pytest.approx(jaccard_score(masks.flatten(), guess.flatten()))


def test_foreground_acc_counts_pixels_not_batches():
    batches = [scores_and_masks(1, seed=1), scores_and_masks(4, seed=2)]
    batches[1][1][:, :5] = 0
    guess, truth = (torch.cat(parts).flatten() for parts in zip(*((s.argmax(1), m) for s, m in batches)))
    right = (guess == truth)[truth != 0].float().mean().item()
    assert told(foreground_acc, batches) == pytest.approx(right)


def test_a_metric_of_nothing():
    for metric in (PixelAccuracy, JaccardCoeffMulti, DiceMulti):
        with pytest.raises(ValueError, match='of no pixels'): metric().value


# ---- networks

@pytest.mark.parametrize('arch', ['resnet18', 'efficientnet_lite0', 'convnext_atto', 'legacy_seresnext26_32x4d', 'mobilenetv3_small_050',
                                  'swin_tiny_patch4_window7_224', 'vgg11_bn', 'densenet121'])
def test_bodies_of_all_kinds(arch):
    size = (224, 224) if 'swin' in arch else (64, 96)
    net = DynamicUnet(create_body(arch, pretrained=False), 5).eval()
    with torch.no_grad(): assert net(torch.rand(1, 3, *size)).shape == (1, 5, *size)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize('size', [(33, 32), (65, 47), (32, 300), (200, 33)])
def test_odd_and_wide_sizes(size):
    net = DynamicUnet(create_body('resnet18', pretrained=False), 2).eval()
    with torch.no_grad(): assert net(torch.rand(1, 3, *size)).shape == (1, 2, *size)


def test_own_networks():
    net = DynamicUnet(create_body(Tiny(), cut=3), 4).eval()
    assert net(torch.rand(2, 3, 40, 24)).shape == (2, 4, 40, 24)


@pytest.mark.parametrize('arch', ['vit_tiny_patch16_224', 'mixer_s32_224'])
def test_bodies_without_stages(arch):
    with pytest.raises(ValueError, match=f'{arch} has no larger maps'): DynamicUnet(create_body(arch, pretrained=False), 3)


def test_too_small():
    net = DynamicUnet(create_body('resnet18', pretrained=False), 2)
    with pytest.raises(ValueError, match='shrinks pictures 32 times, and these have only 31×64'): net(torch.rand(2, 3, 31, 64))


def test_hooks_go_also_after_an_error():
    net = DynamicUnet(create_body('resnet18', pretrained=False), 2)
    with pytest.raises(RuntimeError): net(torch.rand(1, 4, 64, 64))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_network_is_freed_and_memory_is_constant(scenes):
    learn = learner(scenes)
    seen = []
    with learn.no_logging():
        for _ in range(3):
            learn.fit(1)
            gc.collect()
            seen.append(sum(1 for thing in gc.get_objects() if isinstance(thing, torch.Tensor)))
    assert seen[1] == seen[2], seen
    gone = weakref.ref(learn.model)
    del learn
    gc.collect()
    assert gone() is None


@given(st.integers(1, 6), st.integers(1, 5), st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_icnr_starts_as_enlargement(n_in, n_out, scale):
    grow, x = PixelShuffle_ICNR(n_in, n_out, scale), torch.randn(2, n_in, 3, 4)
    y = grow(x)
    assert y.shape == (2, n_out, 3 * scale, 4 * scale)
    torch.testing.assert_close(y, F.interpolate(y[..., ::scale, ::scale], scale_factor=scale))


# ---- the learner

def test_it_learns_flat_things(scenes):
    learn = learner(scenes, loaders(scenes, bs=3), metrics=[PixelAccuracy, JaccardCoeffMulti])
    with learn.no_logging(): learn.fit_one_cycle(12, 1e-2)
    loss, accuracy, iou = learn.recorder.values[-1][1:]
    truth = np.stack([read_mask(label_of(file)) for file in files(scenes)[9:]])
    most = np.bincount(truth[truth != 3]).max() / (truth != 3).sum()   # calling everything road
    assert accuracy > most + .15 and iou > .5, (loss, accuracy, iou, most)


def test_pretrained_bodies_are_frozen_and_tune(scenes):
    set_seed(0)
    learn = unet_learner(loaders(scenes), metrics=PixelAccuracy)
    assert not any(p.requires_grad for p in learn.model.body.parameters())
    assert len(list(learn.splitter(learn.model))) == 3
    before = {name: value.clone() for name, value in learn.model.body.state_dict().items()}
    with learn.no_logging():
        learn.fit(1)
        assert all(torch.equal(value, before[name]) for name, value in learn.model.body.state_dict().items())
        learn.fine_tune(1)
    assert any(not torch.equal(value, before[name]) for name, value in learn.model.body.state_dict().items())


def test_lr_find_leaves_it_as_it_was(scenes):
    learn = learner(scenes)
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    learn.lr_find(num_it=12, show_plot=False)
    assert all(torch.equal(value, before[name]) for name, value in learn.model.state_dict().items())


def test_a_last_batch_of_one(scenes):
    learn = learner(scenes, loaders(scenes, bs=3, valid=range(7, 12), drop_last=False))
    assert len(learn.dls.train) == 3   # batches of 3, 3 and 1
    with learn.no_logging(): learn.fit(1)
    assert np.isfinite(learn.recorder.values[-1]).all()


def test_predict_and_segment(scenes):
    learn = learner(scenes, dls=loaders(scenes, item_tfms=Resize((40, 56), 'squish')))
    mask, codes, shares = learn.predict(files(scenes)[0])
    assert mask.shape == codes.shape == (40, 56) and shares.shape == (4, 40, 56)
    torch.testing.assert_close(shares.sum(0), torch.ones(40, 56))
    assert torch.equal(codes, shares.argmax(0))
    for source in (files(scenes)[0], Image.open(files(scenes)[0]), np.asarray(Image.open(files(scenes)[0]))):
        assert (learn.segment(source) == codes.numpy()).all()
    large = Image.open(files(scenes)[0]).resize((131, 77))
    assert learn.segment(large).shape == (77, 131)


def test_export_and_load(scenes, tmp_path):
    learn = learner(scenes, dls=loaders(scenes, block=MaskBlock(CODES, void='Void', values=(0, 1, 2, 3)),
                                        item_tfms=Resize((40, 56), 'squish')))
    learn.export(tmp_path/'streets')
    again = load_learner(tmp_path/'streets')
    assert type(again) is type(learn) and again.dls.vocab == CODES and again.loss_func.ignore_index == 3
    torch.testing.assert_close(again.predict(files(scenes)[1])[2], learn.predict(files(scenes)[1])[2])
    assert (again.segment(files(scenes)[1]) == learn.segment(files(scenes)[1])).all()


def test_resume_is_exact(scenes, tmp_path):
    def run(path, after=None, resume=False):
        learn = learner(scenes, dls=loaders(scenes, batch_tfms=aug_transforms(), path=path))
        cbs = [Checkpoint('streets', every_batches=1, resume=resume), *([Stop(after)] if after else [])]
        with learn.no_logging():
            try: learn.fit_one_cycle(2, 1e-2, cbs=cbs)
            except KeyboardInterrupt: pass
        return learn
    whole = run(tmp_path/'a')
    run(tmp_path/'b', after=3)
    again = run(tmp_path/'b', resume=True)
    assert again.recorder.losses == whole.recorder.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values()))


def test_pictures_of_results(scenes):
    import matplotlib.pyplot as plt
    learn = learner(scenes)
    learn.dls.show_batch(max_n=3)
    learn.show_results(max_n=2)
    axes = plt.gcf().axes
    assert len(axes) == 8 and plt.gcf()._suptitle.get_text() == 'Picture, truth, prediction, mistakes in red'
    assert [len(ax.images) for ax in axes] == [1, 2, 2, 2] * 2
    mistakes = np.asarray(axes[3].images[1].get_array())
    answer, truth = np.asarray(axes[2].images[1].get_array()), np.asarray(axes[1].images[1].get_array())
    red = (mistakes[..., 0] == 220) & (mistakes[..., 3] > 0)
    different, void = (answer != truth).any(-1), (truth[..., :3] == code_colours(4)[3]).all(-1)
    assert red.any() and (red == different & ~void).all()
    plt.close('all')


def test_interpretation(scenes):
    learn = learner(scenes, metrics=JaccardCoeffMulti)
    interp = SegmentationInterpretation.from_learner(learn)
    with learn.no_logging(): loss = learn.validate()[0]
    assert len(interp) == 3 and interp.losses.mean().item() == pytest.approx(loss, rel=.05)
    table = interp.confusion_matrix()
    assert table.sum() == (interp.targs != 3).sum() and table[3].sum() == 0
    interp.plot_top_losses(2)
    interp.plot_confusion_matrix()
    assert isinstance(interp, Interpretation)


# ---- one line

def test_segmentation_dataloaders(scenes):
    dls = SegmentationDataLoaders.from_label_func(scenes, files(scenes), label_of, codes=np.array(CODES), bs=3, seed=42,
                                                  batch_tfms=aug_transforms())
    assert dls.vocab == CODES and dls.one_batch()[1].shape == (3, 40, 56) and len(dls.valid_ds) == 2


def test_importing_it_brings_neither_pandas_nor_matplotlib():
    code = 'import sys, lessonlib.segmentation; print([n for n in ("pandas", "matplotlib", "sklearn") if n in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'
