"""Usual wrong answers to the exercises of 91_marks; each must be refused."""
WRONG = {
    'check_marks_middle': [
        'return values[len(values) // 2]',
        'return sum(values) / len(values)',
    ],
}
