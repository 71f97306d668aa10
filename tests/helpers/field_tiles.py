from lessonlib.all import *

set_seed(42)
path = untar_data(URLs.PLANET_SAMPLE)
df = pd.read_csv(path/'labels.csv')
print(df.head())

# the rarest tags may fall into the validation set alone: say which tags there are
tags = sorted(set(' '.join(df['tags']).split()))
print(len(tags), 'tags')

planet = DataBlock(blocks=(ImageBlock, MultiCategoryBlock(vocab=tags)),
                   get_x=ColReader('image_name', pref=path/'train', suff='.jpg'),
                   get_y=ColReader('tags', label_delim=' '),
                   splitter=RandomSplitter(valid_pct=0.2, seed=42),
                   item_tfms=Resize(80),
                   batch_tfms=aug_transforms(size=64, flip_vert=True, max_lighting=0.1, max_warp=0.))
dls = planet.dataloaders(df, bs=16)
x, y = dls.one_batch()
print(x.shape, y.shape)
dls.show_batch(max_n=6, nrows=2)

f2 = FBetaMulti(beta=2, thresh=0.2, average='samples')
learn = vision_learner(dls, 'tf_efficientnet_lite0', metrics=[partial(accuracy_multi, thresh=0.2), f2])
rate = learn.lr_find()
print(f'valley {rate.valley:.1e}')
learn.fine_tune(2, base_lr=1e-2, freeze_epochs=4)
learn.save('tiles-64')
learn.show_results(max_n=6)

learn.metrics = partial(accuracy_multi, thresh=0.1)
print('at .1:', learn.validate())
learn.metrics = partial(accuracy_multi, thresh=0.9)
print('at .9:', learn.validate())

preds, targs = learn.get_preds()
xs = torch.linspace(0.05, 0.95, 19)
accs = [accuracy_multi(preds, targs, thresh=float(x), sigmoid=False) for x in xs]
plt.plot(xs, accs);

learn.export('tiles.pkl')
learn_inf = load_learner(learn.path/'tiles.pkl')
names, mask, probs = learn_inf.predict(path/'train'/f'{df.image_name[0]}.jpg')
print(names, mask.sum(), probs[mask])

# the short way, and the chained way with pictures to predict
by_table = ImageDataLoaders.from_df(df, path, folder='train', suff='.jpg', label_delim=' ', valid_pct=0.2, seed=8,
                                    y_block=MultiCategoryBlock(vocab=tags), item_tfms=Resize(64))
print(by_table.c, by_table.vocab[:3])
chained = (ImageList.from_csv(path, 'labels.csv', folder='train', suffix='.jpg')
           .split_by_rand_pct(0.2, seed=8)
           .label_from_df(label_delim=' ', y_block=MultiCategoryBlock(vocab=tags))
           .add_test(ImageList.from_folder(path/'train'))
           .transform(size=64)
           .databunch(bs=32))
print(len(chained.train_ds), len(chained.valid_ds), len(chained[2].dataset))
learn.metrics = f2
print('f2', learn.validate()[1])
