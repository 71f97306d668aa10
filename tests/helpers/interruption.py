"An interruption at a batch boundary, for tests that go on from a checkpoint."
from lessonlib.learner import Callback


class Stop(Callback):
    "Presses Ctrl-C after so many training batches"
    order = 2000
    def __init__(self, after): self.left = after
    def after_batch(self):
        if not self.learn.training: return
        self.left -= 1
        if self.left == 0: raise KeyboardInterrupt
