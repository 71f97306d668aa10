from lessonlib.all import *

set_seed(42)
path = untar_data(URLs.CAMVID_TINY)
codes = [line.strip() for line in open(path/'codes.txt')]
fnames = get_image_files(path/'images')
print(len(fnames), 'pictures', len(codes), 'codes')

def label_func(fn): return path/'labels'/f'{fn.stem}_P{fn.suffix}'

# one line
dls = SegmentationDataLoaders.from_label_func(path, bs=8, fnames=fnames, label_func=label_func, codes=codes)
learn = unet_learner(dls, resnet18, pretrained=False)
learn.fine_tune(1)
learn.show_results(max_n=6, figsize=(7, 8))

# the same as a data block, with an accuracy that leaves out void
name2id = {v: k for k, v in enumerate(codes)}
void_code = name2id['Void']

def acc_camvid(inp, targ):
    targ = targ.squeeze(1)
    mask = targ != void_code
    return (inp.argmax(dim=1)[mask] == targ[mask]).float().mean()

camvid = DataBlock(blocks=(ImageBlock, MaskBlock(codes)),
                   get_items=get_image_files,
                   splitter=RandomSplitter(valid_pct=0.2, seed=42),
                   get_y=label_func,
                   batch_tfms=[*aug_transforms(size=(96, 128)), Normalize.from_stats(*imagenet_stats)])
dls = camvid.dataloaders(path/'images', path=path, bs=8)
dls.show_batch(max_n=4, figsize=(6, 6))

learn = unet_learner(dls, 'efficientnet_lite0', metrics=[acc_camvid, foreground_acc, DiceMulti, JaccardCoeffMulti])
lr_min, lr_steep = learn.lr_find(suggest_funcs=(minimum, steep))
learn.fit_one_cycle(2, slice(6e-3), pct_start=0.9)
learn.save('stage-1')
learn.load('stage-1')
learn.unfreeze()
learn.fit_one_cycle(1, slice(6e-5, 6e-4))
learn.show_results(max_n=4, figsize=(6, 6))

interp = SegmentationInterpretation.from_learner(learn)
interp.plot_top_losses(k=3)

mask, codes_found, probs = learn.predict(fnames[0])
assert mask.shape == (96, 128) and probs.shape == (32, 96, 128)
assert learn.get_preds(dl=learn.dls.test_dl(fnames[:3]))[0].argmax(1).shape == (3, 96, 128)
learn.export('streets')
assert (load_learner(learn.path/'streets').predict(fnames[0])[0] == mask).all()
print('accuracy', learn.validate()[1])
