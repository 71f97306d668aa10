"""Typical wrong answers to the exercises of 29_lr_finder; each must be refused."""
WRONG = {
    'check_before_rise': [
        'return minimum(lrs, losses)',
        'best = min(range(len(losses)), key=lambda i: losses[i])\n'
        'return next(lr for lr, loss in zip(lrs[best:], losses[best:]) if loss > 1.1 * losses[best]) / 10',
        'best = min(losses)\n'
        'return next((lr for lr, loss in zip(lrs, losses) if loss > 1.1 * best), lrs[-1]) / 10',
        'best = min(range(len(losses)), key=lambda i: losses[i])\n'
        'return next((lr for lr, loss in zip(lrs[best:], losses[best:]) if loss > losses[best]), lrs[-1]) / 10',
        'best = min(range(len(losses)), key=lambda i: losses[i])\n'
        'return next((lr for lr, loss in zip(lrs[best:], losses[best:]) if loss > 1.1 * losses[best]), lrs[-1])',
    ],
    'check_smooth': [
        # not divided by 1 - beta ** i
        'average, result = 0., []\n'
        'for loss in losses:\n'
        '    average = beta * average + (1 - beta) * loss\n'
        '    result.append(average)\n'
        'return result',
        # the divided average goes on
        'average, result = 0., []\n'
        'for i, loss in enumerate(losses, 1):\n'
        '    average = (beta * average + (1 - beta) * loss) / (1 - beta ** i)\n'
        '    result.append(average)\n'
        'return result',
        # beta on the new loss
        'average, result = 0., []\n'
        'for i, loss in enumerate(losses, 1):\n'
        '    average = (1 - beta) * average + beta * loss\n'
        '    result.append(average / (1 - (1 - beta) ** i))\n'
        'return result',
        # the plain mean so far
        'return [sum(losses[:i]) / i for i in range(1, len(losses) + 1)]',
    ],
    'check_steps_until': [
        # the best of the whole run
        'return next((i for i, loss in enumerate(losses, 1) if loss > 4 * min(losses)), len(losses))',
        # counted from 0
        'best = losses[0]\n'
        'for i, loss in enumerate(losses):\n'
        '    best = min(best, loss)\n'
        '    if loss > 4 * best: return i\n'
        'return len(losses)',
        # four times the first
        'return next((i for i, loss in enumerate(losses, 1) if loss > 4 * losses[0]), len(losses))',
        # at four times already
        'best = losses[0]\n'
        'for i, loss in enumerate(losses, 1):\n'
        '    best = min(best, loss)\n'
        '    if loss >= 4 * best: return i\n'
        'return len(losses)',
        # None if it never happens
        'best = losses[0]\n'
        'for i, loss in enumerate(losses, 1):\n'
        '    best = min(best, loss)\n'
        '    if loss > 4 * best: return i',
    ],
}
