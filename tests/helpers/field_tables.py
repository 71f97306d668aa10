from lessonlib.all import *

# Who likes what
path = course_data('ml-latest-small')
ratings = pd.read_csv(path/'ratings.csv')
movies = pd.read_csv(path/'movies.csv', usecols=(0, 1), names=('movieId', 'title'), header=0)
ratings = ratings.merge(movies)
dls = CollabDataLoaders.from_df(ratings, user_name='userId', item_name='title', rating_name='rating', bs=64, seed=42)
dls.show_batch()
n_users, n_movies = len(dls.classes['userId']), len(dls.classes['title'])
learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
learn.lr_find(show_plot=False)
learn.fit_one_cycle(2, 5e-3, wd=0.1)
mse_of_ratings = learn.recorder.values[-1][1]
movie_bias = learn.model.i_bias.weight.squeeze()
idxs = movie_bias.argsort()[:5]
print('worst:', [dls.classes['title'][i] for i in idxs])
idxs = movie_bias.argsort(descending=True)[:5]
print('best:', [dls.classes['title'][i] for i in idxs])
top = ratings.title.value_counts().index.values[:100]
bias = learn.model.bias(top, is_item=True)
w = learn.model.weight(top, is_item=True)
print(bias.shape, w.shape)
movie_factors = learn.model.i_weight.weight
distances = nn.CosineSimilarity(dim=1)(movie_factors, movie_factors[5][None])
idx = distances.argsort(descending=True)[1]
print('near', dls.classes['title'][5], ':', dls.classes['title'][idx])
print(dls.classes['title'].o2i[top[0]])
nn_learn = collab_learner(dls, use_nn=True, y_range=(0, 5.5), layers=[100, 50])
nn_learn.fit_one_cycle(1, 5e-3, wd=0.1)

# Who earns what
path = course_data('adult_sample')
df = pd.read_csv(path/'adult.csv', skipinitialspace=True)
dls = TabularDataLoaders.from_csv(path/'adult.csv', path=path, y_names='salary',
    cat_names=['workclass', 'education', 'marital-status', 'occupation', 'relationship', 'race'],
    cont_names=['age', 'fnlwgt', 'education-num'], procs=[Categorify, FillMissing, Normalize])
splits = RandomSplitter(valid_pct=0.2)(range_of(df))
to = TabularPandas(df, procs=[Categorify, FillMissing, Normalize],
    cat_names=['workclass', 'education', 'marital-status', 'occupation', 'relationship', 'race'],
    cont_names=['age', 'fnlwgt', 'education-num'], y_names='salary', splits=splits)
to.xs.iloc[:2]
dls = to.dataloaders(bs=64)
dls.show_batch()
learn = tabular_learner(dls, metrics=accuracy)
learn.fit_one_cycle(3, 1e-2)
learn.show_results()
row, clas, probs = learn.predict(df.iloc[0])
row.show()
print(clas, probs)
test_df = df.copy()
test_df.drop(['salary'], axis=1, inplace=True)
dl = learn.dls.test_dl(test_df)
preds, _ = learn.get_preds(dl=dl)
X_train, y_train = to.train.xs, to.train.ys.values.ravel()
X_test, y_test = to.valid.xs, to.valid.ys.values.ravel()
print(f'ratings {mse_of_ratings:.3f} salary {learn.recorder.values[-1][-1]:.3f} rows {len(preds)} {X_train.shape[0]} {len(y_test)}')
