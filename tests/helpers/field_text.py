from lessonlib.all import *

# What comes next
path = untar_data(URLs.IMDB)
files = get_text_files(path, folders=['train', 'test', 'unsup'])
txt = files[0].open().read()
print(txt[:75])
tkn = WordTokenizer()
toks = tkn(txt)
num = Numericalize(min_freq=2)
num.setup([tkn(f.read_text()) for f in files[:200]])
print(num.vocab[:12], [num.vocab[o] for o in num(toks)[:8]])
get_reviews = partial(get_text_files, folders=['train', 'test', 'unsup'])
dls_lm = DataBlock(blocks=TextBlock.from_folder(path, is_lm=True), get_items=get_reviews,
                   splitter=RandomSplitter(0.1, seed=42)).dataloaders(path, path=path, bs=32, seq_len=60)
dls_lm.show_batch(max_n=2)
small = dict(emb_sz=128, n_layers=1)
learn = language_model_learner(dls_lm, AWD_LSTM, config=small, drop_mult=0.2, metrics=[accuracy, Perplexity()], path='work')
learn.lr_find(show_plot=False)
learn.fit_one_cycle(1, 2e-2)
learn.save('1epoch')
learn = learn.load('1epoch')
learn.unfreeze()
learn.fit_one_cycle(3, 2e-2)
learn.save_encoder('finetuned')
perplexity = learn.recorder.values[-1][-1]
print(' / '.join(learn.predict('I expected something', 12, temperature=0.75) for _ in range(2)))

# Good or bad
dls_clas = DataBlock(blocks=(TextBlock.from_folder(path, vocab=dls_lm.vocab), CategoryBlock), get_y=parent_label,
                     get_items=partial(get_text_files, folders=['train', 'test']),
                     splitter=GrandparentSplitter(valid_name='test')).dataloaders(path, path=path, bs=16, seq_len=72)
dls_clas.show_batch(max_n=3)
learn = text_classifier_learner(dls_clas, AWD_LSTM, config=small, drop_mult=0.1, metrics=accuracy, path='work')
learn = learn.load_encoder('finetuned')
learn.fit_one_cycle(1, 2e-2)
learn.freeze_to(-2)
learn.fit_one_cycle(1, slice(1e-2/(2.6**4), 1e-2))
learn.unfreeze()
learn.fit_one_cycle(5, 1e-2)
learn.show_results(max_n=3)
interp = ClassificationInterpretation.from_learner(learn)
interp.plot_top_losses(3)
right = learn.validate()[1]
label, number, probs = learn.predict('It is truly lovely, not dull.')
learn.export('text.pkl')
again = load_learner('work/text.safetensors')
print(label, again.predict('It is truly lovely, not dull.')[0] == label)

# The short way
dls = TextDataLoaders.from_folder(path, train='train', valid='test', bs=64)
learn = text_classifier_learner(dls, AWD_LSTM, config=small, drop_mult=0.5, metrics=accuracy, path='work')
learn.fine_tune(1, 1e-2)
print(f'perplexity {perplexity:.2f} right {right:.3f}')
