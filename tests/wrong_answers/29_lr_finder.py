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
    'check_spaced': [
        'return [first + (last - first) * i / max(n - 1, 1) for i in range(n)]',
        'factor = (last / first) ** (1 / n)\nreturn [first * factor ** i for i in range(n)]',
        'factor = (last / first) ** (1 / (n - 1))\nreturn [first * factor ** i for i in range(n)]',
        'return [last / 10] * (n - 1) + [last]',
    ],
    'check_lr_and_wd': [
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.), wd=SchedLin(0., wd)))',
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.)))',
        'return ParamScheduler(dict(lr=SchedCos(top, 0.), wd=SchedLin(wd, 0.)))',
        'return dict(lr=combined_cos(.25, top / 25, top, 0.), wd=SchedLin(wd, 0.))',
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.), weight_decay=SchedLin(wd / 2, 0.)))',
    ],
}
