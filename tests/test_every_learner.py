"""Whatever way somebody got a learner, in a process that imported nothing else, it answers to the same names.

Each way is a program of its own: it imports the module of the learner and of its data, nothing more.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

WAYS = {'bare': '''
import torch
from torch import nn
from lessonlib.batches import DataLoaders
from lessonlib.learner import Learner
x = torch.randn(64, 5)
dls = DataLoaders.from_tensors((x, (x[:, 0] > 0).long()), (x, (x[:, 0] > 0).long()), bs=8, vocab=['a', 'b'])
split = lambda model: [list(part.parameters()) for part in model]
learn = Learner(dls, nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)), nn.CrossEntropyLoss(), splitter=split, path='.')
item, exports, shows = x[0], False, False
''', 'vision': '''
from PIL import Image
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.transfer import vision_learner
for i in range(24): Image.new('RGB', (40, 40), (10 * i, 0, 0)).save(f'{"ab"[i % 2]}_{i}.png')
items = [f'{"ab"[i % 2]}_{i}.png' for i in range(24)]
dls = DataBlock((ImageBlock, CategoryBlock), get_y=lambda file: file[0]).dataloaders(items, bs=4)
learn = vision_learner(dls, 'resnet18', pretrained=False, path='.')
item, exports, shows = items[0], True, True
''', 'masks': '''
from PIL import Image
from lessonlib.data_block import DataBlock, ImageBlock
from lessonlib.segmentation import MaskBlock, unet_learner
for i in range(24):
    Image.new('RGB', (40, 40), (10 * i, 0, 0)).save(f'{i}.png')
    Image.new('L', (40, 40), i % 2).save(f'mask_{i}.png')
items = [f'{i}.png' for i in range(24)]
dls = DataBlock((ImageBlock, MaskBlock(['a', 'b'])), get_y=lambda file: f'mask_{file}').dataloaders(items, bs=4)
learn = unet_learner(dls, 'resnet18', pretrained=False, path='.')
item, exports, shows = items[0], True, True
''', 'several labels': '''
import pandas as pd
from PIL import Image
from lessonlib.multilabel import MultiCategoryBlock
from lessonlib.transfer import vision_learner
from lessonlib.ways_in import ImageDataLoaders
for i in range(24): Image.new('RGB', (40, 40), (10 * i, 0, 0)).save(f'{i}.png')
table = pd.DataFrame({'file': [f'{i}.png' for i in range(24)], 'tags': ['dark', 'dark even', 'even', ''] * 6})
dls = ImageDataLoaders.from_df(table, '.', label_delim=' ', bs=4)
learn = vision_learner(dls, 'resnet18', pretrained=False, path='.')
item, exports, shows = '3.png', True, True
''', 'collab': '''
import pandas as pd
from lessonlib.ratings import CollabDataLoaders
from lessonlib.collab import collab_learner
table = pd.DataFrame({'user': [f'u{i % 7}' for i in range(70)], 'film': [f'f{i % 10}' for i in range(70)],
                      'rating': [i % 5 + 1. for i in range(70)]})
dls = CollabDataLoaders.from_df(table, bs=8)
learn = collab_learner(dls, n_factors=4, y_range=(0, 5.5), path='.')
item, exports, shows = table.iloc[0], True, True
''', 'tables': '''
import pandas as pd
from lessonlib.tables import Categorify, FillMissing, NormalizeColumns, TabularDataLoaders
from lessonlib.tabular import tabular_learner
table = pd.DataFrame({'job': ['cook', 'clerk', 'smith'] * 20, 'age': [float(i % 40) for i in range(60)],
                      'rich': ['no', 'yes'] * 30})
dls = TabularDataLoaders.from_df(table, procs=[Categorify, FillMissing, NormalizeColumns], cat_names=['job'],
                                 cont_names=['age'], y_names='rich', bs=8, path='.')
learn = tabular_learner(dls, layers=[8], path='.')
item, exports, shows = table.iloc[0], True, True
''', 'texts': '''
import pandas as pd
from lessonlib.tokens import TextDataLoaders
from lessonlib.text_classifier import text_classifier_learner
table = pd.DataFrame({'text': ['a warm film', 'so dull a film', 'warm', 'dull, dull'] * 15, 'label': ['pos', 'neg'] * 30})
dls = TextDataLoaders.from_df(table, bs=8, path='.', seed=1)
learn = text_classifier_learner(dls, config=dict(emb_sz=4, n_hid=6, n_layers=2), path='.')
item, exports, shows = 'a dull film', True, True
''', 'language model': '''
import pandas as pd
from lessonlib.tokens import TextDataLoaders
from lessonlib.language_model import language_model_learner
table = pd.DataFrame({'text': ['one two three four', 'two three four five'] * 40})
dls = TextDataLoaders.from_df(table, is_lm=True, bs=4, seq_len=8, path='.', seed=1)
learn = language_model_learner(dls, config=dict(emb_sz=4, n_hid=6, n_layers=2), path='.')
item, exports, shows = 'one two', False, False
'''}

SAME_FOR_ALL = '''
import sys
import matplotlib
matplotlib.use('agg')
import torch
torch.set_num_threads(1)
done = []
with learn.no_logging():
    learn.fit(1, slice(1e-3)); done.append('fit with a slice')
    learn.fit_one_cycle(1, slice(1e-4, 1e-3)); done.append('fit_one_cycle')
    learn.fine_tune(1); done.append('fine_tune')
    rates = learn.lr_find(num_it=12, show_plot=False); done.append('lr_find')
learn.freeze(); learn.unfreeze(); learn.freeze_to(-1); learn.unfreeze(); done.append('freeze')
assert len(learn.validate()) >= 1; done.append('validate')
preds, targets = learn.get_preds()[:2]; done.append('get_preds')
answer = learn.predict(item); done.append('predict')
if shows: learn.show_results(); done.append('show_results')
learn.load(learn.save('weights')); done.append('save and load')
learn.summary(); done.append('summary')
assert learn.profile(n=1, warm_up=0, show_plot=False).advice and learn.memory().peak; done.append('profile and memory')
assert 'object at 0x' not in repr(learn) + repr(learn.dls) + repr(learn.cbs); done.append('repr')
try: learn.lr_fnd
except AttributeError as error: assert 'lr_find' in str(error), error
done.append('a misspelt name')
if exports:
    from lessonlib.checkpoint import load_learner
    again = load_learner(learn.export('exported')).predict(item)
    assert str(again[0]) == str(answer[0]) and torch.equal(torch.as_tensor(again[-1]), torch.as_tensor(answer[-1]))
    done.append('export and load_learner')
if way in ('collab', 'tables', 'bare', 'texts', 'language model'): assert not {'torchvision', 'timm'} & set(sys.modules), 'light'
print(*done, sep=', ')
'''


@pytest.mark.parametrize('way', WAYS)
def test_a_learner_answers_to_the_same_names(way, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    program = f'way = {way!r}\n{WAYS[way]}\n{SAME_FOR_ALL}'
    done = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, env=environment, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'export' in done.stdout or way in ('bare', 'language model')
