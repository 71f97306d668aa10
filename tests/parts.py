"Several modules seen as one, for tests of what stands in more than one module."
import sys
from importlib import import_module


class Parts:
    "`Parts('learner', 'batches')._aside` finds a name in either; set, it is replaced in every module that holds it"
    def __init__(self, *names): self.__dict__ |= dict(modules=[import_module(f'lessonlib.{name}') for name in names], before={})

    def __getattr__(self, name):
        if name == '__all__': return [public for module in self.modules for public in module.__all__]
        for module in self.modules:
            if hasattr(module, name): return getattr(module, name)
        raise AttributeError(name)

    def __setattr__(self, name, value):
        now = getattr(self, name, None)
        self.before.setdefault(name, now)
        for key, module in list(sys.modules.items()):
            if key.startswith('lessonlib') and getattr(module, name, self) is now: setattr(module, name, value)

    def __delattr__(self, name):                           # how monkeypatch puts things back
        setattr(self, name, self.before[name])
        del self.before[name]
