"""After editing nbs/: write lessonlib/ and README.md anew.  `python docs/sync.py [--export-only]`

The notebooks are cleaned (no outputs, an id for every cell) and exported in a folder of their own.
Only when all of that went well are the modules replaced, so a mistake in one notebook changes no
file. README.md is the home page, nbs/index.ipynb, as it runs; the pictures that it draws go to
docs/images/. With `--export-only` it stays as it was.
"""
import ast
import base64
import difflib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path: sys.path.insert(0, str(HERE))
from docstrings import add_comments

ROOT = HERE.parent
HEAD = '<!-- Made from nbs/index.ipynb by `make sync`: edit that. -->\n\n'
DIRECTIVES = ('default_exp', 'export', 'exporti', 'hide', 'eval')
SETTINGS = 'settings.ini', 'setup.py', 'pyproject.toml'


class SyncError(Exception):
    "Notebooks that cannot become modules: a line for each fault, with notebook and cell"

# ---------------------------------------------------------------- the notebooks, looked through

def faults(path: Path) -> list[str]:
    "What is wrong with a notebook, each with its cell"
    try: cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    except (ValueError, KeyError, TypeError) as problem:
        return [f'{path.name}: is not a notebook ({problem})']
    found = []
    for number, cell in enumerate(cells, 1):
        if cell['cell_type'] != 'code': continue
        source = with_our_line_ends(''.join(cell['source']))
        place = f"{path.name}, cell {number}"
        found += [f'{place}: {problem}' for problem in faults_of_cell(source)]
    return found


def faults_of_cell(source: str) -> list[str]:
    "Directives nobody knows, half a solution, and Python in an exported cell that is none"
    names, found = re.findall(r'^[ \t]*#\|[ \t]*([\w-]*)', source, re.M), []
    for name in names:
        near = difflib.get_close_matches(name, DIRECTIVES, 1)
        hint = f'did you mean `#| {near[0]}`?' if near else f"there are {', '.join(DIRECTIVES)}"
        if name not in DIRECTIVES: found.append(f'unknown directive `#| {name}`; {hint}')
    if fault := solution_fault(source): found.append(fault)
    if {'export', 'exporti'} & set(names):
        plain = re.sub(r'^[ \t]*%.*$', '', source, flags=re.M)
        try: compile(plain, 'a cell', 'exec', dont_inherit=True)
        except SyntaxError as problem:
            found.append(f'line {problem.lineno} is not Python: {problem.msg}: '
                         f'{(problem.text or "").strip()}')
        except ValueError as problem: found.append(f'is not Python: {problem}')
    return found


def with_our_line_ends(text: str) -> str:
    "Text as one program of many has saved it, with lines that end as ours do"
    return text.replace('\r\n', '\n').replace('\r', '\n')


def solution_fault(source: str) -> str:
    "What is wrong with the marks of a solution: the package's own rule, if it can be imported now"
    try: from lessonlib.course import solution_fault as rule
    except Exception: return ''
    return rule(source)

# ---------------------------------------------------------------- lessonlib/

EXPORT = '''from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export
nbdev_clean(clear_all=True); nbdev_export()'''


def exported(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    "The modules and the cleaned notebooks of a repository, by file name; no file is changed"
    found = [fault for path in sorted((root/'nbs').glob('[!._]*.ipynb')) for fault in faults(path)]
    if found: raise SyncError('\n'.join(found))
    with tempfile.TemporaryDirectory(prefix='export-') as place:
        place = Path(place)
        ignore = shutil.ignore_patterns('.*', '_*')
        shutil.copytree(root/'nbs', place/'nbs', ignore=ignore)
        for path in (place/'nbs').glob('*.ipynb'): tidy_cells(path)
        marks = {path: slide_marks(path) for path in (place/'nbs').glob('*.ipynb')}
        for name in SETTINGS: shutil.copy(root/name, place)
        (place/'lessonlib').mkdir()
        if (root/'lessonlib'/'__init__.py').exists():
            shutil.copy(root/'lessonlib'/'__init__.py', place/'lessonlib')
        done = subprocess.run([sys.executable, '-W', 'ignore', '-c', EXPORT], cwd=place,
                              capture_output=True, text=True, encoding='utf-8')
        if done.returncode: raise SyncError(f'nbdev stopped:\n{done.stdout}{done.stderr}')
        for path, kept in marks.items(): mark_slides(path, kept)
        modules = {path.name: finished(path) for path in (place/'lessonlib').glob('*.py')}
        books = {path.name: path.read_text(encoding='utf-8')
                 for path in (place/'nbs').glob('*.ipynb')}
    return {**modules, '_late.py': late_names(modules)}, books


def tidy_cells(path: Path) -> None:
    "Give each cell lines that end as ours do, and an id that no other cell has"
    book, seen = json.loads(path.read_text(encoding='utf-8')), set()
    before = json.dumps(book)
    for cell in book['cells']:
        source = ''.join(cell['source'])
        if '\r' in source: cell['source'] = with_our_line_ends(source)
        if cell.get('id') in seen: cell['id'] = secrets.token_hex(4)
        seen.add(cell.get('id', ''))
    if json.dumps(book) != before:
        path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def slide_marks(path: Path) -> dict[int, dict]:
    "What an author has said of slides, by the cell's place: nbdev clears the rest of the metadata"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return {number: cell['metadata']['slideshow'] for number, cell in enumerate(cells)
            if cell['metadata'].get('slideshow', {}).get('slide_type', '-') != '-'}


def mark_slides(path: Path, marks: dict[int, dict]) -> None:
    "Put these marks back"
    if not marks: return
    book = json.loads(path.read_text(encoding='utf-8'))
    for number, mark in marks.items(): book['cells'][number]['metadata'] = {'slideshow': mark}
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def finished(path: Path) -> str:
    "A module as nbdev wrote it, with comments in its docstrings and imports that line up"
    text = path.read_text(encoding='utf-8')
    if path.name.startswith('_'): return text
    wrapped = r'^(from \.\w+ import \()(.*\n(?: {9,}.*\n)*?.*\)[^\n]*)$'
    text = re.sub(wrapped, line_up, text, flags=re.M)
    return add_comments(text)


def line_up(match: re.Match) -> str:
    "An import over several lines: nbdev has made its first line shorter"
    return match[1] + re.sub(r'\n {9,}', '\n' + ' ' * len(match[1]), match[2])


def export(root: Path = ROOT) -> None:
    "Write lessonlib/ anew from nbs/, which lose their outputs; with an error, nothing is written"
    modules, books = exported(root)
    package = root/'lessonlib'
    package.mkdir(exist_ok=True)
    for folder, texts in ((package, modules), (root/'nbs', books)):
        for name, text in texts.items():
            path = folder/name
            if path.exists() and path.read_text(encoding='utf-8') == text: continue
            partial = path.with_name(f'.{name}.partial')
            partial.write_text(text, encoding='utf-8')
            os.replace(partial, path)
    for path in package.glob('*.py'):
        if path.name not in modules and 'AUTOGENERATED' in path.read_text(encoding='utf-8')[:1000]:
            path.unlink()
    for folder in (root/'nbs').glob('.ipynb_checkpoints'): shutil.rmtree(folder)

# ---------------------------------------------------------------- what later modules add

LATE = '''"""AUTOGENERATED by `make sync`: what modules add to the Learner that come after it.

The Learner looks a method that it does not have up in `methods` and imports the module that brings
it; so it answers to the same names whatever was imported before. `callbacks` names the modules that
add to its default callbacks.
"""
methods = {methods}

callbacks = {callbacks}
'''


def late_names(modules: dict[str, str]) -> str:
    "The text of lessonlib/_late.py, from the texts of the modules"
    order = sorted((lesson[1], name.removesuffix('.py'), ast.parse(text))
                   for name, text in modules.items()
                   if (lesson := re.search(r'File to edit: .*?([^/\s]+)\.ipynb', text)))
    home = next((index for index, (_, _, tree) in enumerate(order)
                 if any(isinstance(node, ast.ClassDef) and node.name == 'Learner'
                        for node in tree.body)), len(order))
    methods, callbacks = {}, []
    for _, name, tree in order[home + 1:]:
        for node in tree.body:
            if adds_callback(node) and name not in callbacks: callbacks.append(name)
            method = patched_method(node)
            if method is None: continue
            if methods.setdefault(method, name) != name:
                raise SyncError(f'Learner.{method} is added by {methods[method]} and by {name}')
    rows = ''.join(f'\n    {method!r}: {methods[method]!r},' for method in sorted(methods))
    return LATE.format(methods=f'{{{rows}\n}}' if rows else '{}', callbacks=callbacks)


def patched_method(node: ast.AST) -> str | None:
    "The name of the method that `@patch` adds to the Learner here, if one"
    if not isinstance(node, ast.FunctionDef) or node.name.startswith('__'): return None
    words = [ast.unparse(decorator) for decorator in node.decorator_list]
    if not any(re.match(r'patch\b(?!.*cls_method=True)', word) for word in words): return None
    owner = node.args.args[0].annotation if node.args.args else None
    return node.name if owner and ast.unparse(owner).strip('\'"') == 'Learner' else None


def adds_callback(node: ast.AST) -> bool:
    "Is this statement `default_callbacks.append(...)`?"
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)): return False
    return bool(re.search(r'\bdefault_callbacks\.(append|extend|insert)$',
                          ast.unparse(node.value.func)))

# ---------------------------------------------------------------- README.md

def readme(notebook: dict) -> tuple[str, dict[str, bytes]]:
    "README.md from an executed index, without what is printed, which may differ; and its pictures"
    parts, pictures = [], {}
    for cell in notebook['cells']:
        source = cell['source'].strip()
        if cell['cell_type'] == 'markdown': parts.append(from_root(source))
        elif cell['cell_type'] == 'code':
            if not source.startswith('#| hide'): parts.append(f'```python\n{source}\n```')
            for output in cell['outputs']:
                data = output.get('data', {})
                if 'text/markdown' in data:
                    parts.append(from_root(''.join(data['text/markdown']).strip()))
                if 'image/png' in data:
                    path = f'docs/images/readme-{len(pictures) + 1}.png'
                    pictures[path] = base64.b64decode(data['image/png'])
                    parts.append(f"![{output['metadata']['alt']}]({path})")
    return HEAD + '\n\n'.join(part for part in parts if part) + '\n', pictures


def from_root(text: str) -> str:
    "Links between notebooks as seen from the repository's root"
    return re.sub(r'\]\((?!https?:|#|/|\.\./)([^)]+)\)', r'](nbs/\1)', text).replace('](../', '](')


def write_readme(root: Path = ROOT) -> None:
    "Write README.md and its pictures from the index, which is run if it has changed"
    from PIL import Image
    from lessonlib.course import executed, read_notebook
    index = read_notebook(executed(root/'nbs'/'index.ipynb', root/'_build'/'executed'))
    text, pictures = readme(index)
    for path, picture in pictures.items():
        (root/path).parent.mkdir(parents=True, exist_ok=True)
        small = Image.open(io.BytesIO(picture)).convert('RGB').quantize(256)
        small.save(root/path, optimize=True)
    (root/'README.md').write_text(text, encoding='utf-8')


def main() -> None:
    try: export()
    except SyncError as problem: sys.exit(f'Nothing was written.\n{problem}')
    if '--export-only' in sys.argv[1:]: return print('lessonlib/ is what nbs/ says')
    write_readme()
    print('lessonlib/ and README.md are what nbs/ says')


if __name__ == '__main__': main()
