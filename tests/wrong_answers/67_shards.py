"""Usual wrong answers to the exercises of 67_shards; each must be refused."""
WRONG = {
    'check_earliest': [
        'return place - window + 1',
        'return max(0, place - window)',
        'return place',
    ],
}
