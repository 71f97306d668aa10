"""Typical wrong answers to the exercises of 13_checkpoint; each must be refused."""
WRONG = {
    'check_halve': [
        'def state_dict(self): return dict(best=self.best)',                     # never taken up
        'def state_dict(self): return dict(best=1.)\n'
        'def load_state_dict(self, state): self.best = state["best"]',           # not what it is now
        'def state_dict(self): return {}\n'
        'def load_state_dict(self, state): self.best = float("inf")',            # starts anew
    ],
}
