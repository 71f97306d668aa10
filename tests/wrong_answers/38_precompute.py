"""Usual wrong answers to the exercises of 38_precompute; each must be refused."""
WRONG = {
    'check_precompute_middle': [
        'return values[len(values) // 2]',
        'return sum(values) / len(values)',
    ],
    'check_precompute_spread': [
        'return max(values)',
        'return values[-1] - values[0]',
    ],
    'check_precompute_above': [
        'return len(values) // 2',
        'mean = sum(values) / len(values)\nreturn sum(value >= mean for value in values)',
    ],
}
