"""Typical wrong answers to the exercises of 12_progress; each must be refused."""
WRONG = {
    'check_target_check': [
        'def after_loss(self):\n'
        '    largest, scores = self.yb[0].max().item(), self.pred.shape[1]\n'
        '    if largest >= scores: raise ValueError(f"{largest} {scores}")',     # torch has stopped before
        'def after_pred(self):\n'
        '    largest, scores = self.yb[0].max().item(), self.pred.shape[1]\n'
        '    if largest > scores: raise ValueError(f"{largest} {scores}")',      # classes begin at 0
        'def after_pred(self):\n'
        '    raise ValueError(f"{self.yb[0].max().item()} {self.pred.shape[1]}")',   # refuses everything
        'def after_pred(self):\n'
        '    if self.yb[0].max() >= self.pred.shape[1]: raise ValueError("out of range")',   # no numbers
    ],
}
