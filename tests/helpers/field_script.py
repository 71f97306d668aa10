from lessonlib.all import *

set_seed(42)
path = untar_data(URLs.PETS)/'images'

def is_cat(name): return name[0].isupper()

# what do we have?
files = get_image_files(path)
print(len(files), 'pictures')

pets = DataBlock(blocks=(ImageBlock, CategoryBlock),
                 get_items=get_image_files,
                 splitter=RandomSplitter(valid_pct=0.2, seed=42),
                 get_y=using_attr(RegexLabeller(r'(.+)_\d+.jpg$'), 'name'),
                 item_tfms=Resize(160),
                 batch_tfms=aug_transforms(size=96, min_scale=0.75))
dls = pets.dataloaders(path, bs=16)
dls.show_batch(max_n=9, figsize=(7, 7))
print(dls.vocab, dls.c)

learn = vision_learner(dls, 'tf_efficientnet_lite0', metrics=error_rate)
lr_min, lr_steep = learn.lr_find(suggest_funcs=(minimum, steep))
print(f'minimum/10: {lr_min:.2e}, steepest point: {lr_steep:.2e}')
learn.fine_tune(2, base_lr=3e-3)
learn.save('stage-1')
learn.load('stage-1')
learn.unfreeze()
learn.fit_one_cycle(1, lr_max=slice(1e-6, 1e-4))
learn.recorder.plot_loss()

interp = ClassificationInterpretation.from_learner(learn)
interp.plot_confusion_matrix(figsize=(6, 6), dpi=60)
print(interp.most_confused(min_val=1))
interp.plot_top_losses(4, figsize=(8, 8))
learn.show_results(max_n=4)

learn.export('pets')
learn_inf = load_learner(learn.path/'pets')
label, number, probs = learn_inf.predict(PILImage.create(files[0]))
print(f'{files[0].name}: {label}, {probs[number]:.4f}')
same, *_ = learn_inf.predict(files[0])
assert same == label and label == learn_inf.dls.vocab[number]

test_dl = learn_inf.dls.test_dl(files[:10])
preds, targets = learn_inf.get_preds(dl=test_dl)
assert preds.shape == (10, dls.c) and targets is None

by_name = ImageDataLoaders.from_name_func(path, files, valid_pct=0.2, seed=42, label_func=is_cat,
                                          item_tfms=Resize(96), bs=16)
cats = vision_learner(by_name, 'tf_efficientnet_lite0', metrics=[error_rate, accuracy])
cats.fine_tune(1)
print('error', learn.validate()[1], 'cats or dogs', cats.validate()[1])
