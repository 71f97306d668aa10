"""Typical wrong answers to the exercises of 40_ratings; each must be refused."""
WRONG = {
    'check_films_for_share': [
        'counts = titles.value_counts().to_numpy()\nreturn int((counts.cumsum() < share * counts.sum()).sum())',
        'counts = titles.value_counts(ascending=True).to_numpy()\nreturn int((counts.cumsum() < share * counts.sum()).sum()) + 1',
        'return int(np.ceil(share * titles.nunique()))',
        'counts = titles.value_counts().to_numpy()\nreturn int((counts.cumsum() <= share * counts.sum()).sum()) + 1',
    ],
}
