"A lesson stands only on earlier lessons, and importing a module brings only what it needs."
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.course import module_names, read_notebook, staircase

ROOT = Path(__file__).resolve().parent.parent
# What no module brings along when it is imported: it is slow, and used by single functions only.
LAZY = {'matplotlib', 'pandas', 'sklearn', 'ipywidgets', 'IPython', 'timm', 'nbformat', 'nbclient',
        'jupyter_client'}
# What only those bring who say so at their top, or whom they import: torchvision for pictures
# alone.
ASKED = {'torch', 'numpy', 'torchvision', 'tqdm'}  # torch brings tqdm
PICTURES = '2', '3', '6'   # the decades in which a notebook may need torchvision


def lessonlib_imports(source):
    "The modules of lessonlib that some Python imports, at its top or inside a function."
    plain = '\n'.join('' if line.lstrip().startswith(('%', '!')) else line
                      for line in source.splitlines())
    found = set()
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(filter(None, ['lessonlib' if node.level else '', node.module]))
            names = [base]
            if base == 'lessonlib': names = [f'{base}.{alias.name}' for alias in node.names]
        else: continue
        found |= {name.split('.')[1] for name in names if name.startswith('lessonlib.')}
    return found


def too_early(imports, own, order):
    "Those imports that come from `own` or a later module, or from none at all."
    return sorted(name for name in imports
                  if name not in order or order.index(name) >= order.index(own))


def first_misstep(cells, order, below):
    """The first code cell that imports a module not yet built, as (cell number, modules); None if
    all is well."""
    for number, cell in enumerate(cells, 1):
        if cell['cell_type'] != 'code': continue
        missing = sorted(lessonlib_imports(cell['source']) - set(below))
        if missing: return number, missing
    return None


def test_notebooks_import_only_earlier_modules(notebook_name):
    made = module_names(ROOT/'nbs')
    below = [made[name] for name in made if name < notebook_name or notebook_name == 'index']
    wrong = first_misstep(read_notebook(ROOT/'nbs'/f'{notebook_name}.ipynb')['cells'],
                          list(made.values()), below)
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
    for source in ('from lessonlib.learner import Learner', 'import lessonlib.learner as l',
                   'from .learner import L',
                   'from lessonlib import learner', 'from . import learner',
                   'def f():\n    from lessonlib.learner import Learner',
                   '%matplotlib inline\nimport lessonlib.learner'):
        found = first_misstep([dict(cell_type='code', source=source)], order, order[:2])
        assert found == (1, ['learner']), source
        assert too_early(lessonlib_imports(source), 'sgd', order) == ['learner']
    for source in ('import torch', 'from lessonlib.core import expect', 'import lessonlib',
                   'x = "lessonlib.learner"'):
        assert first_misstep([dict(cell_type='code', source=source)], order,
                             order[:2]) is None, source


def test_course_order_is_the_order_of_the_numbers():
    names = [path.stem for path in staircase(ROOT/'nbs') if path.stem != 'index']
    numbers = [int(re.match(r'\d+', name)[0]) for name in names]
    assert numbers == sorted(set(numbers)), f'two notebooks share a number: {names}'


def test_no_star_imports_and_nobody_uses_all():
    for path in [*(ROOT/'lessonlib').glob('*.py'), *(ROOT/'nbs').glob('*.ipynb')]:
        text = path.read_text() if path.suffix == '.py' else '\n'.join(
            cell['source'] for cell in read_notebook(path)['cells'] if cell['cell_type'] == 'code')
        assert not re.search(r'^[ \t]*from [\w.]+ import \*', text,
                             re.M), f'{path.name} has a star import'
        if path.stem != 'all' and path.suffix == '.py':
            assert 'all' not in lessonlib_imports(text), path.name


MODULES = {module: name for name, module in module_names(ROOT/'nbs').items() if module != 'all'}


def top_imports(source):
    "What a module imports at its top: names of packages, and of modules of lessonlib."
    nodes = [node for node in ast.parse(source).body if isinstance(node,
                                                                   (ast.Import, ast.ImportFrom))]
    found = {alias.name.split('.')[0] for node in nodes if isinstance(node, ast.Import)
             for alias in node.names}
    found |= {node.module.split('.')[0] for node in nodes
              if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    own = set()
    for node in nodes: own |= lessonlib_imports(ast.unparse(node))
    return found, own


def asked_for(module, package=ROOT/'lessonlib'):
    "The packages that a module names at its top, and those that the modules it imports name."
    seen, todo, found = set(), [module], set()
    while todo:
        name = todo.pop()
        if name in seen or not (package/f'{name}.py').exists(): continue
        seen.add(name)
        packages, own = top_imports((package/f'{name}.py').read_text())
        found |= packages
        todo += own
    return found


@pytest.mark.parametrize('module', MODULES)
def test_import_is_light(module):
    "In a fresh process, importing one module does not bring what it does not need."
    script = f'import json, sys; import lessonlib.{module}; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          check=True)
    loaded = set(json.loads(done.stdout))
    assert f'lessonlib.{module}' in loaded
    assert not loaded & LAZY, 'import it inside the function that uses it'
    asked = asked_for(module)
    if asked & {'torch', 'torchvision'}: asked |= {'torch', 'numpy', 'tqdm'}
    assert not loaded & ASKED - asked, 'no module in the chain asks for it'
    if MODULES[module][0] not in PICTURES: assert 'torchvision' not in loaded, 'not about pictures'


def test_what_is_asked_for_is_seen(tmp_path):
    (tmp_path/'one.py').write_text('import torch.nn as nn\nfrom numpy import array')
    (tmp_path/'two.py').write_text('from .one import x\ndef f(): import pandas')
    assert asked_for('two', tmp_path) == {'torch', 'numpy'}
