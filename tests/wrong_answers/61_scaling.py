"""Typical wrong answers to the exercises of 61_scaling; each must be refused."""
WRONG = {
    'check_training_bytes': [
        # numbers, not bytes
        'return sum(p.numel() * (4 if p.requires_grad else 1) for p in model.parameters())',
        # frozen or not
        'return 4 * sum(p.nbytes for p in model.parameters())',
        # frozen parameters left out
        'return sum(4 * p.nbytes for p in model.parameters() if p.requires_grad)',
        # only one average
        'return sum(p.nbytes * (3 if p.requires_grad else 1) for p in model.parameters())',
        # four bytes a number, whatever the precision
        'return sum(4 * p.numel() * (4 if p.requires_grad else 1) for p in model.parameters())',
    ],
    'check_through_half': [
        # divided while it is still float16
        'return ((gradients * scale).half() / scale).float()',
        # too late: it is rounded already
        'return gradients.half().float() * scale / scale',
        # not divided
        'return (gradients * scale).half().float()',
        # nothing is rounded
        'return gradients * scale / scale',
        # bfloat16
        'return (gradients * scale).bfloat16().float() / scale',
    ],
    'check_passes': [
        # rounded up, and the last one is smaller
        'count = -(-wanted // fits)\nreturn count, -(-wanted // count)',
        # rounded down: does not fit
        'count = max(wanted // fits, 1)\nreturn count, wanted // count',
        # as many as there are items
        'return wanted, 1',
        # the other way round
        'count = -(-wanted // fits)\nwhile wanted % count: count += 1\nreturn wanted // count, count',
    ],
}
