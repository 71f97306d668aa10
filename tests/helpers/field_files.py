from lessonlib.all import *

path = Path('animals')
Path.BASE_PATH = path
for kind in ['cat', 'dog']:
    dest = path/kind
    dest.mkdir(exist_ok=True, parents=True)
    download_images(dest, url_file=Path(f'{kind}.txt'), preserve_filename=True)

fns = get_image_files(path)
failed = verify_images(fns)
failed.map(Path.unlink)
print(len(fns), 'pictures,', len(failed), 'unreadable,', path.ls().sorted().map(str))

for kind in ['cat', 'dog']: resize_images(path/kind, max_size=96, dest=path/kind)
im = Image.open(first(get_image_files(path)))
print('longest', max(im.shape), max(im.to_thumb(32).size))

animals = DataBlock(blocks=(ImageBlock, CategoryBlock),
                    get_items=get_image_files,
                    splitter=RandomSplitter(valid_pct=0.25, seed=42),
                    get_y=parent_label,
                    item_tfms=RandomResizedCrop(48, min_scale=0.7),
                    batch_tfms=Normalize.from_stats(*imagenet_stats))
dls = animals.dataloaders(path, bs=8)
dls.valid.show_batch(max_n=4, nrows=1)

class Net(Module):
    def __init__(self, *widths):
        self.body = nn.Sequential(*[ConvLayer(a, b, stride=2) for a, b in zip([3, *widths], widths)])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(widths[-1], dls.c))
    def forward(self, x): return self.head(self.body(x))

set_seed(1)
learn = Learner(dls, Net(16, 32, 64), loss_func=LabelSmoothingCrossEntropy(), opt_func=Adam,
                metrics=[accuracy, F1Score(average='macro')])
learn.fit_one_cycle(6, 6e-3)

preds, targs = learn.get_preds()
fig, axs = subplots(1, 2, imsize=2)
for ax, x in zip(axs, dls.one_batch()[0]): ax.hist(to_np(x).ravel())
print('right', round(float((preds.argmax(1) == targs).float().mean()), 3), 'weights', sum(p.numel() for p in params(learn.model)))

try: Datasets(fns, [[PILImage.create], [parent_label, Categorize()]])
except Exception as e: print('answer', e)
