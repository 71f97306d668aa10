"""Typical wrong answers to the exercises of 11_learner; each must be refused."""
WRONG = {
    'check_clip_gradients': [
        'def after_step(self):\n'
        '    nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)',    # after the damage
        'def before_batch(self):\n'
        '    nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)',    # no gradients yet
        'def after_backward(self):\n'
        '    nn.utils.clip_grad_value_(self.model.parameters(), self.max_norm)',   # each number on its own
        'def after_backward(self):\n'
        '    for p in self.model.parameters(): p.grad *= self.max_norm / p.grad.norm()',   # lengthens short ones
    ],
    'check_stop_early': [
        'def after_epoch(self):\n'
        '    loss = self.recorder.values[-1][1]\n'
        '    if loss < self.best: self.best, self.waited = loss, 0\n'
        '    else: self.waited += 1\n'
        '    if self.waited >= self.patience: raise CancelEpochException',         # ends what is over anyway
        'def after_epoch(self):\n'
        '    loss = self.recorder.values[-1][1]\n'
        '    if loss < self.best: self.best = loss\n'
        '    else: self.waited += 1\n'
        '    if self.waited >= self.patience: raise CancelFitException',           # not in a row
        'def after_epoch(self):\n'
        '    loss = self.recorder.values[-1][1]\n'
        '    if loss < self.best: self.waited = 0\n'
        '    else: self.waited += 1\n'
        '    self.best = loss\n'
        '    if self.waited >= self.patience: raise CancelFitException',           # against the last, not the best
        'def after_epoch(self):\n'
        '    loss = self.recorder.values[-1][1]\n'
        '    if loss < self.best: self.best, self.waited = loss, 0\n'
        '    else: self.waited += 1\n'
        '    if self.waited > self.patience: raise CancelFitException',            # one epoch too late
    ],
    'check_smoothed': [
        'average, result = 0., []\n'
        'for value in values:\n'
        '    average = beta * average + (1 - beta) * value\n'
        '    result.append(average)\n'
        'return result',                                     # never debiased
        'average, result = 0., []\n'
        'for t, value in enumerate(values, 1):\n'
        '    average = (beta * average + (1 - beta) * value) / (1 - beta**t)\n'
        '    result.append(average)\n'
        'return result',                                     # the running number is divided, too
        'average, result = 0., []\n'
        'for t, value in enumerate(values, 1):\n'
        '    average = (1 - beta) * average + beta * value\n'
        '    result.append(average / (1 - (1 - beta)**t))\n'
        'return result',                                     # beta on the wrong side
        'average, result = values[0], []\n'
        'for value in values:\n'
        '    average = beta * average + (1 - beta) * value\n'
        '    result.append(average)\n'
        'return result',                                     # starts at the first value
    ],
}
