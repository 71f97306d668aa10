"""Typical wrong answers to the exercises of 28_schedules; each must be refused."""
WRONG = {
    'check_warm_linear': [
        'return combine_scheds([.1, .9], [SchedLin(top, 0.), SchedLin(0., top)])',
        'return combine_scheds([.5, .5], [SchedLin(0., top), SchedLin(top, 0.)])',
        'return combined_cos(.1, 0., top, 0.)',
        'return combine_scheds([.1, .9], [SchedLin(0., 1.), SchedLin(1., 0.)])',
        'return combine_scheds([.1, .9], [SchedLin(0., top), SchedLin(top, 0.)])(.5)',
    ],
    'check_spaced': [
        'return [first + (last - first) * i / max(n - 1, 1) for i in range(n)]',
        'factor = (last / first) ** (1 / n)\nreturn [first * factor ** i for i in range(n)]',
        'factor = (last / first) ** (1 / (n - 1))\nreturn [first * factor ** i for i in range(n)]',
        'return [last / 10] * (n - 1) + [last]',
        'return [first * 10 ** i for i in range(n)]',
        'return [last * (first / last) ** (i / max(n - 1, 1)) for i in range(n)]',
    ],
    'check_lr_and_wd': [
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.), wd=SchedLin(0., wd)))',
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.)))',
        'return ParamScheduler(dict(lr=SchedCos(top, 0.), wd=SchedLin(wd, 0.)))',
        'return dict(lr=combined_cos(.25, top / 25, top, 0.), wd=SchedLin(wd, 0.))',
        'return ParamScheduler(dict(lr=combined_cos(.25, top / 25, top, 0.),\n'
        '                           weight_decay=SchedLin(wd / 2, 0.)))',
    ],
}
