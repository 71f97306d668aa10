"""Usual wrong answers to the exercises of 98_field; each must be refused."""
WRONG = {
    'check_field_middle': [
        'return values[len(values) // 2]',
        'return sum(values) / len(values)',
    ],
}
