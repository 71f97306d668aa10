"The package's functions, as they are written and as they run: for tests that find by listing what they must try."
import ast
import sys
from contextlib import contextmanager
from pathlib import Path

import lessonlib

PACKAGE = Path(lessonlib.__file__).parent


def functions():
    "Every function of the package, methods and inner ones too: its name, module first, and its syntax tree"
    for file in sorted(PACKAGE.glob('[!_]*.py')):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef): yield f'{file.stem}.{node.name}', node


def calls_in(node):
    "All calls in a syntax tree, those of functions inside it too"
    return [part for part in ast.walk(node) if isinstance(part, ast.Call)]


@contextmanager
def noting(run):
    "The names of the package's functions that are called meanwhile go into the set `run`"
    def note(frame, event, arg):
        code = frame.f_code
        if event == 'call' and code.co_filename.startswith(str(PACKAGE)): run.add(f'{Path(code.co_filename).stem}.{code.co_name}')
    sys.setprofile(note)
    try: yield run
    finally: sys.setprofile(None)
