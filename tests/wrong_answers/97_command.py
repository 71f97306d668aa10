"""Typical wrong answers to the exercises of 97_command; each must be refused."""
WRONG = {
    'check_may_remove': [
        'return now == written',   # forgets the file that is gone already
        'return written is None or now == written',   # throws away a file of their own
        'return now != written',
    ],
}
