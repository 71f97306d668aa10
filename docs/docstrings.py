"""Comments beside parameters become part of the docstrings of a generated module.

In the notebooks every parameter has its comment beside it. Python forgets comments, so
`help(Learner)`, `?Learner.fit`, Jupyter's tool tips and an editor's hover would not show them: the
exporter writes them into the docstrings as well.
"""
import ast
import io
import re
import tokenize

NOT_ABOUT = re.compile(r'(noqa|type:|pragma|%%)')  # what speaks to tools; marks of cells
SECTIONS = re.compile(r'\n\n(Args|Returns):\n.*\Z', re.S)


def add_comments(source: str) -> str:
    "The module's `source` with the comments of parameters and results in its docstrings"
    notes, places = comments(source), []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
        doc = node.body[0]
        if not (isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant)
                and isinstance(doc.value.value, str)): continue
        sections = sections_of(node, notes)
        if sections: places.append((doc.value, docstring(node, doc.value.value, sections)))
    lines = source.encode().splitlines(keepends=True)
    for place, text in sorted(places, key=lambda pair: -pair[0].lineno):
        first, last = place.lineno - 1, place.end_lineno - 1
        before, after = lines[first][:place.col_offset], lines[last][place.end_col_offset:]
        lines[first:last + 1] = [before + text.encode() + after]
    return b''.join(lines).decode()


def comments(source: str) -> dict[int, str]:
    "The comment of each line that has one"
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = {token.start[0]: token.string.lstrip('# ') for token in tokens
             if token.type == tokenize.COMMENT}
    return {line: text for line, text in found.items() if text and not NOT_ABOUT.match(text)}


def sections_of(node: ast.AST, notes: dict[int, str]) -> list[str]:
    "What the comments `notes` say about the parameters and the result of a function or class"
    head = node
    if isinstance(node, ast.ClassDef):
        init = next((part for part in node.body if isinstance(part, ast.FunctionDef)
                     and part.name == '__init__'), None)
        if init: parameters, end, head = parameters_of(init), init.body[0].lineno, init
        elif any('dataclass' in ast.unparse(d) for d in node.decorator_list):
            parameters = [(part.target.id, part.lineno, part.end_lineno) for part in node.body
                          if isinstance(part, ast.AnnAssign)]
            end = None
        else: return []
    else: parameters, end = parameters_of(node), node.body[0].lineno
    result = getattr(node, 'returns', None)
    closing = {result.end_lineno} if result else {end}
    taken = {last for _, _, last in parameters} | {head.lineno - 1}  # what is above is not about it
    about = {}
    for name, first, last in parameters:   # several on one line share its comment
        names = f'{about[last][0]}, {name}' if last in about else name
        about[last] = names, note(notes, first, last, taken, closing)
    rows = [f'    {name}: {text}' for name, text in about.values() if text]
    sections = ['Args:\n' + '\n'.join(rows)] if rows else []
    if result and result.end_lineno in notes:
        sections.append(f'Returns:\n    {notes[result.end_lineno]}')
    return sections


def parameters_of(function: ast.FunctionDef) -> list[tuple[str, int, int]]:
    "Name, first and last line of each parameter"
    args = function.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
    pairs = [*zip(plain, defaults), (args.vararg, None),
             *zip(args.kwonlyargs, args.kw_defaults), (args.kwarg, None)]
    return [(arg.arg, arg.lineno, (default or arg).end_lineno) for arg, default in pairs
            if arg and arg.arg not in ('self', 'cls')]


def note(notes: dict, first: int, last: int, taken: set, closing: set) -> str:
    "The comment beside a parameter or, if there is none, in the lines above it"
    if last in closing: return ''           # it speaks of the result
    if last in notes: return notes[last]
    above, line = [], first - 1
    while line in notes and line not in taken | closing:
        above.insert(0, notes[line])
        line -= 1
    return ' '.join(above)


def docstring(node: ast.AST, text: str, sections: list[str]) -> str:
    "Source of the docstring `text` with the `sections` after it"
    indent = ' ' * (node.col_offset + 4)
    body = '\n\n'.join(sections).replace('\n', f'\n{indent}').replace(f'\n{indent}\n', '\n\n')
    text = (text.rstrip() + f'\n\n{indent}{body}\n{indent}').replace('\\', '\\\\')
    return '"""' + text.replace('"""', '\\"\\"\\"') + '"""'


def without_comments(doc: str) -> str:
    "A docstring as it stands in the notebook: pages show the comments in the signature"
    return SECTIONS.sub('', doc or '').rstrip()
