"An interruption at a batch boundary, for tests that go on from a checkpoint."
from lessonlib.learner import Callback
import lessonlib.progress, lessonlib.checkpoint  # noqa: F401  for what they add to classes


class Stop(Callback):
    "Presses Ctrl-C after so many training batches"
    order = 2000
    def __init__(self, after): self.left = after
    def after_batch(self):
        if not self.learn.training: return
        self.left -= 1
        if self.left == 0: raise KeyboardInterrupt
