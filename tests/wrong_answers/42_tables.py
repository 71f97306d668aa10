"""Typical wrong answers to the exercises of 42_tables; each must be refused."""
WRONG = {
    'check_clip_outliers': [
        'low, high = pd.Series(values).quantile([share, 1 - share])\nreturn pd.Series(values).clip(low, high).tolist()',
        'low, high = pd.Series(train).quantile([share, 1 - share])\nreturn [v for v in values if low <= v <= high]',
        'low, high = pd.Series(train).quantile([share, 1 - share])\nreturn pd.Series(values).clip(upper=high).tolist()',
        'low, high = min(train), max(train)\nreturn pd.Series(values).clip(low, high).tolist()',
        'low, high = pd.Series(train).quantile([share, 1 - share])\nreturn pd.Series(values).clip(low, high).fillna(low).tolist()',
    ],
}
