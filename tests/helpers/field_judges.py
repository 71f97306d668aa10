from lessonlib.all import *

set_seed(7)
xs = torch.randn(500, 2)
ys = (xs.pow(2).sum(1) > 1.4).long()
pairs = L(zip(xs, ys))
print(len(pairs), pairs.itemgot(1).map(int).unique().sorted(), [math.floor(n/2) for n in (3, 5)])

dls = DataLoaders(DataLoader(pairs[:400], batch_size=32, shuffle=True), DataLoader(pairs[400:], batch_size=32))

class Ring(Module):
    def __init__(self, hidden=24):
        store_attr()
        self.layers = nn.Sequential(nn.Linear(2, hidden), Mish(), nn.Linear(hidden, 2))
    def forward(self, x): return self.layers(x)

@patch
def n_hidden(self: Ring): return self.hidden

@delegates(Ring)
def make_ring(seed=0, **kwargs):
    set_seed(seed)
    return Ring(**kwargs)

from sklearn.metrics import balanced_accuracy_score
judges = [accuracy, Precision(), Recall(), F1Score(), RocAucBinary(), CohenKappa(), skm_to_fastai(balanced_accuracy_score)]
learn = Learner(dls, make_ring(hidden=16), loss_func=CrossEntropyLossFlat(), metrics=judges,
                opt_func=partial(OptimWrapper, opt=torch.optim.AdamW))
learn.fit(8, 1e-2)
values = dict(zip([getattr(o, 'name', 'accuracy') for o in judges], learn.validate()[1:]))
print(learn.model.n_hidden(), {k: round(v, 3) for k, v in values.items()})

save_pickle('values.pkl', values)
assert load_pickle('values.pkl') == values and merge(values, dict(a=1))['a'] == 1

tries = parallel(round, [1.2, 2.6], n_workers=0)
config = SimpleNamespace(tries=list(tries), order=OrderedDict(b=1, a=2))
print(config.tries, re.sub('a', 'e', 'ham'), ifnone(None, 'nothing'), is_listy([1]), itemgetter(1)('ab'))

for epoch in progress_bar(range(2)): time.sleep(.01)

regression = DataLoaders(DataLoader(L(zip(xs, xs[:, 0])), batch_size=50), DataLoader(L(zip(xs, xs[:, 0])), batch_size=50))
line = Learner(regression, nn.Linear(2, 1), loss_func=MSELossFlat(), opt_func=Adam)
line.fit(3, 5e-2)
print('loss', round(line.validate()[0], 4))

synth = synth_learner()
synth.fit(1)
doc(synth_learner)
