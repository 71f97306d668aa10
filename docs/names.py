"""The library, read without importing it: its public names, where they stand and are taught."""
import ast
import bisect
import re
from dataclasses import dataclass, field
from pathlib import Path


def source_of(cell):
    "The text of a cell, whatever ends its lines"
    return ''.join(cell['source']).replace('\r\n', '\n').replace('\r', '\n')

@dataclass(frozen=True)
class Symbol:
    "A public name: where it is defined and the notebook cell that teaches it"
    name: str    # 'SGD' or 'SGD.step'
    module: str  # 'sgd'
    first: int   # first line in the module
    cell: str    # id of the notebook cell it was exported from
    about: str   # first line of its docstring

@dataclass
class Module:
    "One exported module"
    name: str                                    # 'sgd'
    path: Path                                   # lessonlib/sgd.py
    lesson: str                                  # '01_sgd': the notebook it was exported from
    symbols: list = field(default_factory=list)  # its public names, in the order they are taught
    exports: dict = field(default_factory=dict)  # cell id -> the names defined there

def read_module(path):
    "The `Module` at `path`, from its source: nbdev leaves notebook and cells in comments"
    source = path.read_text(encoding='utf-8')
    lesson = re.search(r'File to edit: .*?([^/\s]+)\.ipynb', source)
    if lesson is None: return None
    marks = [(number, mark[1]) for number, line in enumerate(source.splitlines(), 1)
             if (mark := re.match(r'# %% .*#(\S+)$', line))]
    tree = ast.parse(source)
    public = {name for node in tree.body if isinstance(node, ast.Assign)
              if ast.unparse(node.targets[0]) == '__all__' and isinstance(node.value, ast.List)
              for name in ast.literal_eval(node.value)}
    module = Module(path.stem, path, lesson[1])
    def add(name, node):
        place = bisect.bisect_right(marks, (node.lineno, '\uffff')) - 1
        cell = marks[max(0, place)][1] if marks else ''
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        about = (ast.get_docstring(node) or '' if function else _property_doc(node)).split('\n')[0]
        first = min([node.lineno] + [d.lineno for d in getattr(node, 'decorator_list', [])])
        module.symbols.append(Symbol(name, path.stem, first, cell, about))
        module.exports.setdefault(cell, []).append(name)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in public:
            add(node.name, node)
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith('_'):
                    add(f'{node.name}.{part.name}', part)
                elif isinstance(part, ast.Assign) and _is_property(part.value):
                    add(f'{node.name}.{part.targets[0].id}', part)
        elif isinstance(node, ast.FunctionDef):
            owner = _patched(node)
            if owner and not node.name.startswith('_'): add(f'{owner}.{node.name}', node)
            elif node.name in public: add(node.name, node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in public: add(target.id, node)
    return module

def _is_property(value): return ast.unparse(value).startswith('property(')


def _property_doc(node):
    "What `name = property(…, doc='…')` says of itself; empty for any other assignment"
    words = getattr(node.value, 'keywords', [])
    return next((ast.literal_eval(word.value) for word in words if word.arg == 'doc'), '')


def _patched(node):
    "The class to which fastcore's `@patch` adds the function, or None"
    if not any(re.match(r'patch\b', ast.unparse(d)) for d in node.decorator_list): return None
    owner = node.args.args[0].annotation
    if owner is None: return None
    return re.match(r'[\w.]+', ast.unparse(owner).strip('\'"('))[0].split('.')[-1]

class Names:
    "Finds the public name that a piece of prose means"
    def __init__(self, modules, package='lessonlib'):
        self.package, self.modules = package, {m.name: m for m in modules}
        self.order = {m.name: m.lesson for m in modules}
        self.found = {}
        for module in sorted(modules, key=lambda m: m.lesson):
            for symbol in module.symbols: self.found.setdefault(symbol.name, []).append(symbol)

    def resolve(self, text, lesson, imports=None):
        """The address (from the site's root) of the name `text` on the page of `lesson`, or None.
        Of several: the one that the lesson exports or imports, else the last taught before it."""
        name = re.sub(r'\(.*\)$', '', text.strip(), flags=re.S)
        short = re.sub(rf'^{self.package}\.', '', name)
        if short in self.modules and (name != short or lesson == 'index'):
            return f'api/{short}.html'
        head, _, rest = short.partition('.')
        if head in self.modules and rest in self.found:
            same = [s for s in self.found[rest] if s.module == head]
            return f'api/{head}.html#{rest}' if same else None
        symbols = self.found.get(short)
        if not symbols: return None
        chosen = [s for s in symbols if s.module == (imports or {}).get(head)]
        own = [s for s in symbols if self.order[s.module] == lesson]
        before = [s for s in symbols if self.order[s.module] <= lesson]
        symbol = own[0] if own else chosen[0] if chosen else before[-1] if before else symbols[0]
        return f'api/{symbol.module}.html#{symbol.name}'

def imported_names(cells, package='lessonlib'):
    "Which module each name imported from the package in the code `cells` came from"
    found = {}
    for cell in cells:
        if cell['cell_type'] != 'code' or package not in source_of(cell): continue
        try: tree = ast.parse(source_of(cell))
        except SyntaxError: continue   # magics, or an example of what does not work
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(f'{package}.'):
                module = node.module.split('.')[1]
                found |= {name.asname or name.name: module for name in node.names}
    return found

def defined_names(cells):
    "The functions and classes that the code `cells` define for themselves"
    return {name for cell in cells if cell['cell_type'] == 'code'
            for name in re.findall(r'^(?:def|class) (\w+)', source_of(cell), re.M)}
