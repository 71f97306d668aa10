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
    'check_best_block': [
        # the root, whatever the sizes
        'return max(1, round(len(sizes) ** .5))',
        # the block alone: the inputs are forgotten
        'return min(range(1, len(sizes) + 1), key=lambda k: max(sum(sizes[i:i + k]) for i in range(0, len(sizes), k)))',
        # the inputs alone
        'return min(range(1, len(sizes) + 1), key=lambda k: sum(sizes[i - 1] for i in range(k, len(sizes), k)))',
        # the first of a block is taken for its input
        'def most(k):\n    starts = range(0, len(sizes), k)\n    return (sum(sizes[i] for i in starts if i)\n'
        '            + max(sum(sizes[i:i + k]) for i in starts))\nreturn min(range(1, len(sizes) + 1), key=most)',
    ],
}
