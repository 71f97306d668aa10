"""Typical wrong answers to the exercises of 10_batches; each must be refused."""
WRONG = {
    'check_make_precision': [
        'return AvgMetric(precision)',                       # means of batches have different denominators
        'return precision',                                  # a function, not a metric
        'return AccumMetric(lambda pred, targ: precision(targ, pred))',            # recall: of all 3s, how many were found
        'return AccumMetric(lambda pred, targ: ((pred > 0) == targ.bool()).float().mean())',   # accuracy
    ],
}
