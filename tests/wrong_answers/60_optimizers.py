"""Usual wrong answers to the exercises of 60_optimizers; each must be refused."""
WRONG = {
    'check_optimizers_middle': [
        'return values[len(values) // 2]',
        'return sum(values) / len(values)',
    ],
    'check_optimizers_spread': [
        'return max(values)',
        'return values[-1] - values[0]',
    ],
    'check_optimizers_above': [
        'return len(values) // 2',
        'mean = sum(values) / len(values)\nreturn sum(value >= mean for value in values)',
    ],
}
