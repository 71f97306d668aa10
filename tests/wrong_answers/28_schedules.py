"""Typical wrong answers to the exercises of 28_schedules; each must be refused."""
WRONG = {
    'check_warm_linear': [
        'return combine_scheds([.1, .9], [SchedLin(top, 0.), SchedLin(0., top)])',
        'return combine_scheds([.5, .5], [SchedLin(0., top), SchedLin(top, 0.)])',
        'return combined_cos(.1, 0., top, 0.)',
        'return combine_scheds([.1, .9], [SchedLin(0., 1.), SchedLin(1., 0.)])',
        'return combine_scheds([.1, .9], [SchedLin(0., top), SchedLin(top, 0.)])(.5)',
    ],
}
