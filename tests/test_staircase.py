"A lesson stands only on earlier lessons, and importing a module brings only what it needs."
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.course import lessons, module_names, read_notebook

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ('torchvision', 'matplotlib', 'pandas', 'sklearn', 'ipywidgets', 'IPython', 'timm')
# What must stay light, and what importing it must not bring along.
LIGHT = dict(core=HEAVY,
             sgd=HEAVY,
             files=HEAVY,
             practice=HEAVY,
             datasets=HEAVY,
             mnist=HEAVY,
             batches=HEAVY,
             learner=HEAVY,
             progress=HEAVY,
             checkpoint=HEAVY,
             drawn_pets=HEAVY,
             items=HEAVY,
             images=HEAVY,
             data_block=HEAVY,
             augmentation=HEAVY[1:],
             interpretation=HEAVY,
             pets=HEAVY[1:],
             cleaner=HEAVY,
             schedules=HEAVY,
             lr_finder=HEAVY,
             bodies=HEAVY[1:],
             transfer=HEAVY[1:],
             drawn_streets=HEAVY,
             ways_in=HEAVY,
             ratings=HEAVY,
             collab=HEAVY,
             tables=HEAVY,
             tabular=HEAVY,
             scaling=HEAVY[1:],
             production=HEAVY[1:],
             course=(*HEAVY, 'torch', 'numpy', 'nbformat', 'nbclient', 'jupyter_client', 'tqdm'),
             command=(*HEAVY, 'torch', 'numpy', 'nbformat', 'nbclient', 'jupyter_client', 'tqdm'))


def lessonlib_imports(source):
    "The modules of lessonlib that some Python imports, at its top or inside a function."
    plain = '\n'.join('' if line.lstrip().startswith(('%', '!')) else line for line in source.splitlines())
    found = set()
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(filter(None, ['lessonlib' if node.level else '', node.module]))
            names = [f'{base}.{alias.name}' for alias in node.names] if base == 'lessonlib' else [base]
        else: continue
        found |= {name.split('.')[1] for name in names if name.startswith('lessonlib.')}
    return found


def too_early(imports, own, order):
    "Those imports that come from `own` or a later module, or from none at all."
    return sorted(name for name in imports if name not in order or order.index(name) >= order.index(own))


def first_misstep(cells, order, below):
    "The first code cell that imports a module not yet built, as (cell number, modules); None if all is well."
    for number, cell in enumerate(cells, 1):
        if cell['cell_type'] != 'code': continue
        missing = sorted(lessonlib_imports(cell['source']) - set(below))
        if missing: return number, missing
    return None


def test_notebooks_import_only_earlier_modules(notebook_name):
    made = module_names(ROOT/'nbs')
    below = [made[name] for name in made if name < notebook_name] if notebook_name != 'index' else list(made.values())
    wrong = first_misstep(read_notebook(ROOT/'nbs'/f'{notebook_name}.ipynb')['cells'], list(made.values()), below)
    assert wrong is None, f'cell {wrong[0]} imports {wrong[1]}; so far there are {below}'


def test_modules_import_only_earlier_modules():
    order = list(module_names(ROOT/'nbs').values())
    for path in sorted((ROOT/'lessonlib').glob('*.py')):
        if path.stem.startswith('_'): continue
        assert path.stem in order, f'{path.name} has no notebook'
        wrong = too_early(lessonlib_imports(path.read_text()), path.stem, order)
        assert not wrong, f'{path.name} imports {wrong}, which come later'


def test_a_misstep_is_seen():
    "The test above would notice an import of a later module, wherever it stands."
    order = ['core', 'sgd', 'learner']
    for source in ('from lessonlib.learner import Learner', 'import lessonlib.learner as l', 'from .learner import L',
                   'from lessonlib import learner', 'from . import learner',
                   'def f():\n    from lessonlib.learner import Learner', '%matplotlib inline\nimport lessonlib.learner'):
        assert first_misstep([dict(cell_type='code', source=source)], order, order[:2]) == (1, ['learner']), source
        assert too_early(lessonlib_imports(source), 'sgd', order) == ['learner']
    for source in ('import torch', 'from lessonlib.core import expect', 'import lessonlib', 'x = "lessonlib.learner"'):
        assert first_misstep([dict(cell_type='code', source=source)], order, order[:2]) is None, source


def test_course_order_is_the_order_of_the_numbers():
    names = [path.stem for path in lessons(ROOT/'nbs') if path.stem != 'index']
    numbers = [int(re.match(r'\d+', name)[0]) for name in names]
    assert numbers == sorted(set(numbers)), f'two notebooks share a number: {names}'


def test_no_star_imports_and_nobody_uses_all():
    for path in [*(ROOT/'lessonlib').glob('*.py'), *(ROOT/'nbs').glob('*.ipynb')]:
        text = path.read_text() if path.suffix == '.py' else '\n'.join(
            cell['source'] for cell in read_notebook(path)['cells'] if cell['cell_type'] == 'code')
        assert not re.search(r'^[ \t]*from [\w.]+ import \*', text, re.M), f'{path.name} has a star import'
        if path.stem != 'all' and path.suffix == '.py': assert 'all' not in lessonlib_imports(text), path.name


@pytest.mark.parametrize('module', [name for name in LIGHT if (ROOT/'lessonlib'/f'{name}.py').exists()])
def test_import_is_light(module):
    "In a fresh process, importing one module does not bring what it does not need."
    script = f'import json, sys; import lessonlib.{module}; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert f'lessonlib.{module}' in loaded
    assert not loaded & set(LIGHT[module])
