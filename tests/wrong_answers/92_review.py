"""Typical wrong answers to the exercises of 92_review; each must be refused."""
WRONG = {
    'check_review_load': [
        'return sum(box <= 7 for box in boxes)',   # takes the number of the box for days
        'return sum(2 ** box <= 7 for box in boxes)',   # one box too far
        'return len(boxes)',
    ],
    'check_box_after': [
        'return min(sum(answers), 5)',   # counts what was known, forgets that a slip costs all
        'box = 0\nfor knew in answers: box = box + 1 if knew else 1\nreturn box',   # a sixth box
        'box = 0\nfor knew in answers: box = min(box + 1, 5) if knew else 0\nreturn box',
    ],
}
