"""Typical wrong answers to the exercises of 43_tabular; each must be refused."""
WRONG = {
    'check_target_means': [
        'means = pd.Series(train_targets).groupby(pd.Series(train_levels)).mean()\nreturn pd.Series(levels).map(means).tolist()',
        'means = pd.Series(train_targets).groupby(pd.Series(train_levels)).mean()\n'
        'return pd.Series(levels).map(means).fillna(0.).tolist()',
        'means = pd.Series(train_targets).groupby(pd.Series(train_levels)).mean()\n'
        'return pd.Series(levels).map(means).fillna(means.max()).tolist()',
        'means = pd.Series(train_targets).groupby(pd.Series(train_levels)).mean()\n'
        'return pd.Series(train_levels).map(means).tolist()',
        'means = pd.Series(train_targets).groupby(pd.Series(train_levels)).mean()\n'
        'return pd.Series(levels).map(means).fillna(means.mean()).tolist()',
    ],
    'check_rare_to_other': [
        "counts = pd.Series(levels).value_counts()\nreturn [v if counts.get(v, 0) >= least else 'other' for v in levels]",
        "counts = pd.Series(train_levels).value_counts()\nreturn [v if counts.get(v, 0) > least else 'other' for v in levels]",
        "counts = pd.Series(train_levels).value_counts()\nreturn [v if counts.get(v, least) >= least else 'other' for v in levels]",
        "counts = pd.Series(train_levels).value_counts()\nreturn [v for v in levels if counts.get(v, 0) >= least]",
        "counts = pd.Series(train_levels).value_counts()\nreturn [v if counts.get(v, 0) >= least else '#na#' for v in levels]",
    ],
    'check_fall_together': [
        'shuffled = xs.copy()\nfor name in names: shuffled[name] = xs[name].to_numpy()[order]\nreturn score(shuffled) - score(xs)',
        'before = score(xs)\nfor name in names: xs[name] = xs[name].to_numpy()[order]\nreturn before - score(xs)',
        'shuffled = xs.copy()\nfor name in names: shuffled[name] = xs[name].iloc[order]\nreturn score(xs) - score(shuffled)',
        'shuffled = xs.copy()\nshuffled[names[0]] = xs[names[0]].to_numpy()[order]\nreturn score(xs) - score(shuffled)',
        'shuffled = xs.iloc[order].reset_index(drop=True)\nreturn score(xs) - score(shuffled)',
        'shuffled = xs.copy()\nfor i, name in enumerate(names): shuffled[name] = xs[name].to_numpy()[np.roll(order, i)]\n'
        'return score(xs) - score(shuffled)',
    ],
}
