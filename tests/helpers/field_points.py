from lessonlib.all import *

set_seed(42)
path = untar_data(URLs.BIWI_HEAD_POSE)
cal = np.genfromtxt(path/'01'/'rgb.cal', skip_footer=6)

img_files = get_image_files(path)
def img2pose(x): return Path(f'{str(x)[:-7]}pose.txt')
print(len(img_files), 'frames', img2pose(img_files[0]).name)

def get_ctr(f):
    ctr = np.genfromtxt(img2pose(f), skip_header=3)
    c1 = ctr[0] * cal[0][0] / ctr[2] + cal[0][2]
    c2 = ctr[1] * cal[1][1] / ctr[2] + cal[1][2]
    return tensor([c1, c2])

biwi = DataBlock(blocks=(ImageBlock, PointBlock),
                 get_items=get_image_files,
                 get_y=get_ctr,
                 splitter=FuncSplitter(lambda o: o.parent.name == '13'),
                 batch_tfms=[*aug_transforms(size=(240, 320)), Normalize.from_stats(*imagenet_stats)])
dls = biwi.dataloaders(path, bs=8)
dls.show_batch(max_n=9, figsize=(8, 6))
xb, yb = dls.one_batch()
print(xb.shape, yb.shape, yb[0], dls.loss_func)

learn = vision_learner(dls, 'tf_efficientnet_lite0', y_range=(-1, 1))
print('suggested', learn.lr_find(num_it=40))
learn.fine_tune(2, 3e-3)
learn.show_results(ds_idx=1, nrows=3, figsize=(6, 8))

point, target, output = learn.predict(img_files[0])
print('before', round(before := learn.validate()[0], 4), 'predicted', point.shape, TensorPoint.create(get_ctr(img_files[0])).shape)
learn.export('heads')
again = load_learner(learn.path/'heads')
assert torch.allclose(again.predict(img_files[0])[0], point, atol=1e-3)
