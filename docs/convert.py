"""An executed notebook becomes a MyST page. Nothing here runs code, imports the library or knows about Sphinx."""
import ast
import base64
import bisect
import html
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

# ---------------------------------------------------------------- the library, read without importing it

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
    "The `Module` at `path`, from its source text: nbdev leaves the notebook's and the cells' names in comments"
    source = path.read_text(encoding='utf-8')
    lesson = re.search(r'File to edit: .*?([^/\s]+)\.ipynb', source)
    if lesson is None: return None
    marks = [(number, mark[1]) for number, line in enumerate(source.splitlines(), 1)
             if (mark := re.match(r'# %% .*#(\S+)$', line))]
    tree = ast.parse(source)
    public = {name for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'
              if isinstance(node.value, ast.List) for name in ast.literal_eval(node.value)}
    module = Module(path.stem, path, lesson[1])
    def add(name, node):
        cell = marks[max(0, bisect.bisect_right(marks, (node.lineno, '￿')) - 1)][1] if marks else ''
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        about = (ast.get_docstring(node) or '' if function else '').split('\n')[0]
        first = min([node.lineno] + [d.lineno for d in getattr(node, 'decorator_list', [])])
        module.symbols.append(Symbol(name, path.stem, first, cell, about))
        module.exports.setdefault(cell, []).append(name)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in public:
            add(node.name, node)
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith('_'): add(f'{node.name}.{part.name}', part)
        elif isinstance(node, ast.FunctionDef):
            owner = _patched(node)
            if owner and not node.name.startswith('_'): add(f'{owner}.{node.name}', node)
            elif node.name in public: add(node.name, node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in public: add(target.id, node)
    return module

def _patched(node):
    "The class to which fastcore's `@patch` adds the function, or None"
    if not any(re.match(r'patch\b', ast.unparse(d)) for d in node.decorator_list): return None
    owner = node.args.args[0].annotation
    return re.match(r'[\w.]+', ast.unparse(owner).strip('\'"('))[0].split('.')[-1] if owner else None

class Names:
    "Finds the public name that a piece of prose means"
    def __init__(self, modules, package='lessonlib'):
        self.package, self.modules = package, {m.name: m for m in modules}
        self.order = {m.name: m.lesson for m in modules}
        self.found = {}
        for module in sorted(modules, key=lambda m: m.lesson):
            for symbol in module.symbols: self.found.setdefault(symbol.name, []).append(symbol)

    def resolve(self, text, lesson, imports=None):
        """The address (from the site's root) of the name in back-ticks `text` on the page of `lesson`, or None.
        A name that several modules define: the one the lesson exports or imports, else the last taught before it."""
        name = re.sub(r'\(.*\)$', '', text.strip(), flags=re.S)
        short = re.sub(rf'^{self.package}\.', '', name)
        if short in self.modules and (name != short or lesson == 'index'): return f'api/{short}.html'
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
                found |= {name.asname or name.name: node.module.split('.')[1] for name in node.names}
    return found

def defined_names(cells):
    "The functions and classes that the code `cells` define for themselves"
    return {name for cell in cells if cell['cell_type'] == 'code' for name in re.findall(r'^(?:def|class) (\w+)', source_of(cell), re.M)}

# ---------------------------------------------------------------- prose

FENCE = re.compile(r'^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$', re.M | re.S)
CALLOUT = re.compile(r'^>[ \t]*\*\*([^*\n]+?)[.:]?\*\*[.:]?[ \t]*(.*(?:\n>.*)*)', re.M)
KINDS = {'before you start': 'before', 'predict, then run': 'predict', 'note': 'note', 'tip': 'tip', 'warning': 'warning',
         'in short': 'short'}
TERM = re.compile(r'\*\*\*([^*]+?)\*\*\*')
# What must be left alone: inline code (the group), maths, links and images, HTML tags, headings.
SPAN = re.compile(r'(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<text>.+?)(?<!`)(?P=ticks)(?!`))|\$\$.*?\$\$|\$[^$\n]+\$'
                  r'|!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*\)|<[^>\n]+>|^#+ [^\n]*$', re.M | re.S)

def outside_fences(text, change):
    "`text` with `change` applied to everything that is not a fenced code block"
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end:fence.start()]), fence[0]]
        end = fence.end()
    return ''.join([*parts, change(text[end:])])

def callouts(text):
    "`> **Note.** …` becomes an admonition; the known leads have a colour each"
    def box(match):
        lines = '\n'.join(re.sub(r'^>[ \t]?', '', line) for line in match[2].split('\n'))
        return f'::::::{{admonition}} {match[1]}\n:class: {KINDS.get(match[1].lower(), "note")}\n\n{lines}\n::::::'
    return outside_fences(text, lambda prose: CALLOUT.sub(box, prose))

def link_names(text, resolve, up=''):
    "Back-ticked public names become links; `resolve` gives the address from the site's root or None, `up` leads there"
    def link(match):
        address = match['code'] and resolve(match['text'])
        return f'[{match["code"]}]({up}{address})' if address else match[0]
    return outside_fences(text, lambda prose: SPAN.sub(link, prose))

def link_lessons(text):
    "Links to other notebooks become links to their pages"
    page = lambda match: f']({match[1]}.html{(match[2] or "").lower()})'
    return outside_fences(text, lambda prose: re.sub(r'\]\((?:\./)?([\w-]+)\.ipynb(#[^)\s]*)?\)', page, prose))

def slug(term): return 'term-' + re.sub(r'[^a-z0-9]+', '-', term.lower()).strip('-')

def find_terms(text):
    "The terms defined in `text` (***so***), each with the sentence that defines it"
    found = []
    def collect(prose):
        for paragraph in re.split(r'\n\s*\n|^:{3,}.*$|^\s*[-*] |^#+ .*$', prose, flags=re.M):
            flat = re.sub(r'\s*\n\s*', ' ', paragraph).strip()
            for sentence in re.split(r'(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`*$"“(\[])', flat):
                found.extend((match[1], sentence) for match in TERM.finditer(sentence))
        return prose
    outside_fences(text, collect)
    return found

def mark_terms(text):
    "Each ***term*** gets an anchor"
    mark = lambda match: f'<dfn id="{slug(match[1])}">**{match[1]}**</dfn>'
    return outside_fences(text, lambda prose: TERM.sub(mark, prose))

# ---------------------------------------------------------------- code cells and what they gave

def source_of(cell): return ''.join(cell['source'])
def text_of(value): return ''.join(value) if isinstance(value, (list, str)) else str(value)

def directives(source):
    "The nbdev directives of a cell (`#| export` -> {'export': ''}) and its code without them"
    found = dict(re.findall(r'^#\|[ \t]*([\w-]+):?[ \t]*(.*?)[ \t]*$', source, re.M))
    return found, re.sub(r'^#\|.*(?:\n|$)', '', source, flags=re.M).strip('\n')

def is_shown(cell):
    "Has the code cell a place on the page?"
    found, code = directives(source_of(cell))
    return 'hide' not in found and bool(code.strip())

def solution_of(code):
    "The code of an answer cell without the marks around its solution, or None when it has none"
    if '### BEGIN SOLUTION' not in code: return None
    return re.sub(r'^[ \t]*### (?:BEGIN|END) SOLUTION.*(?:\n|$)', '', code, flags=re.M).strip('\n')

def fence(code, language='python'):
    if re.search(r'^\s*[%!]', code, re.M): language = 'ipython3'
    ticks = '`' * max(3, 1 + max(map(len, re.findall('`+', code)), default=0))
    return f'{ticks}{language}\n{code}\n{ticks}'

def raw(markup):
    "HTML that passes through Markdown untouched"
    ticks = '`' * max(3, 1 + max(map(len, re.findall('`+', markup)), default=0))
    return f'{ticks}{{raw}} html\n{markup}\n{ticks}'

def wrap(tag, body, start=''):
    "Markdown `body` inside an HTML `tag` (with its attributes)"
    return f'{raw(f"<{tag}>{start}")}\n\n{body}\n\n{raw(f"</{tag.split()[0]}>")}'

def fold(kind, summary, body): return wrap(f'details class="{kind}"', body, f'<summary>{summary}</summary>')

COLOURS = 'black red green yellow blue magenta cyan white'.split()

def colours(text):
    "HTML for text with a terminal's colour codes"
    parts, classes = [], []
    for piece in re.split(r'(\x1b\[[\d;]*m)|\x1b\[[\d;?]*[A-Za-z]', text):
        if piece and piece.startswith('\x1b['):
            for number in map(int, re.findall(r'\d+', re.sub(r'[34]8;5;\d+', '', piece)) or ['0']):
                if number == 0: classes = []
                elif number == 1: classes = [*classes, 'ansi-bold']
                elif number % 10 < 8 and number // 10 in (3, 9):
                    classes = [c for c in classes if c == 'ansi-bold'] + [f'ansi-{COLOURS[number % 10]}']
        elif piece: parts.append(f'<span class="{" ".join(classes)}">{html.escape(piece)}</span>' if classes else html.escape(piece))
    return ''.join(parts)

def plain(text, kind='output'):
    "Text that a cell printed: colours kept, what a progress bar has overwritten left out"
    lines = [line.rstrip('\r').rsplit('\r', 1)[-1] for line in text.rstrip().split('\n')]
    if len(lines) <= 3: kind += ' words'  # a message may be wrapped, a table must not
    return raw(f'<pre class="{kind}" tabindex="0">{colours(chr(10).join(lines))}</pre>') if text.strip() else ''

class Converter:
    "Turns one executed notebook into a page, its figures and its terms; what is wrong goes to `problems`"
    def __init__(self, stem, names, figures=None, student=None):
        self.stem, self.names = stem, names
        self.figures = figures           # function (file name, bytes) -> address of the figure from the page
        self.student = student or {}     # cell id -> what the student edition says there
        self.terms, self.problems = [], []

    def page(self, notebook, bar=''):
        "The page's MyST text; `bar` (HTML) goes under the title and its first paragraph"
        self.imports = imported_names(notebook['cells'], self.names.package)
        self.defined = defined_names(notebook['cells'])
        self.module = next((m for m in self.names.modules.values() if m.lesson == self.stem), None)
        parts = []
        for number, cell in enumerate(notebook['cells']):
            identity = cell.get('id', f'n{number}')
            if cell['cell_type'] == 'markdown': parts.append(self.prose(source_of(cell)))
            elif cell['cell_type'] == 'code': parts.append(self.code(cell, identity))
        if bar: parts[0] = re.sub(r'\A(\s*# .*\n*(?:(?!:::|>|#).+\n?)*)', lambda m: f'{m[1].rstrip()}\n\n{raw(bar)}\n\n', parts[0], count=1)
        return '\n\n'.join(filter(None, parts)) + '\n'

    def resolve(self, text):
        place = self.names.resolve(text, self.stem, self.imports)
        mine = place and self.module and place.startswith(f'api/{self.module.name}.html')
        return place if mine or re.match(r'\w*', text)[0] not in self.defined else None  # an exercise's `mae` is nobody else's

    def prose(self, text):
        text = callouts(text)
        self.terms += find_terms(text)
        return mark_terms(link_lessons(link_names(text, self.resolve)))

    def code(self, cell, identity):
        found, code = directives(source_of(cell))
        if not is_shown(cell):   # what a hidden cell writes in Markdown is part of the text
            written = [output['data']['text/markdown'] for output in cell.get('outputs', []) if 'text/markdown' in output.get('data', {})]
            return '\n\n'.join(self.prose(text_of(text)) for text in written)
        outputs = self.outputs(cell, identity)
        solution = solution_of(code)
        if solution is not None:
            student = directives(self.student.get(identity, ''))[1] or '...'
            body = f'{fence(student)}\n\n' + fold('solution', 'Solution', f'{fence(solution)}\n\n{outputs}')
        elif re.match(r'\s*@exercise\b', code): body = fold('check', 'How the answer is checked', f'{fence(code)}\n\n{outputs}')
        else: body = '\n\n'.join(filter(None, [fence(code), self.mark(found, identity), outputs]))
        return wrap(f'div class="lesson-cell" id="cell-{identity}"', body)

    def mark(self, found, identity):
        "The small print under a cell that the library contains"
        if self.module is None or not {'export', 'exporti', 'exports'} & set(found): return ''
        names = self.module.exports.get(identity, [])
        place = f'api/{self.module.name}.html' + (f'#{names[0]}' if names else '')
        return raw(f'<p class="exported">exported to <a href="{place}">{self.names.package}.{self.module.name}</a></p>')

    def outputs(self, cell, identity):
        joined = []   # a stream that came in several pieces is one output
        for output in cell.get('outputs', []):
            text = text_of(output.get('text', ''))
            if joined and text and joined[-1].get('name') == output.get('name'): joined[-1]['text'] += text
            else: joined.append({**output, 'text': text})
        return '\n\n'.join(filter(None, (self.output(output, f'{identity}-{number}') for number, output in enumerate(joined))))

    def output(self, output, name):
        if output['output_type'] == 'stream': return plain(output['text'], f'output {output["name"]}')
        if output['output_type'] == 'error': return plain('\n'.join(output['traceback']), 'output error')
        return self.rich(output, name)

    def rich(self, output, name):
        "The best of the forms in which a cell gave its value"
        data = {kind: text_of(value) for kind, value in output['data'].items() if 'widget' not in kind}
        alt = output.get('metadata', {}).get('alt', '')
        for kind in ('image/png', 'image/jpeg'):
            if kind in data and 'text/html' not in data: return self.figure(base64.b64decode(data[kind]), name + '.' + kind[6:], alt)
        if 'text/html' in data: return raw(self.markup(data['text/html'], alt))
        if 'image/svg+xml' in data: return self.figure(data['image/svg+xml'].encode(), name + '.svg', alt)
        if 'text/markdown' in data: return self.prose(data['text/markdown'])
        if 'text/latex' in data: return data['text/latex']
        return plain(data.get('text/plain', ''))

    def figure(self, content, name, alt):
        if not alt.strip(): self.problems.append(f'{self.stem}: the figure of cell {name.rsplit("-", 1)[0]} has no alt text: give it a title')
        size = ' width="{}" height="{}"'.format(*struct.unpack('>II', content[16:24])) if name.endswith('.png') else ''
        address = self.figures(name, content)
        return raw(f'<figure class="picture"><img src="{address}" alt="{html.escape(alt)}"{size} loading="lazy"></figure>')

    def markup(self, text, alt):
        "HTML output: tables get a frame that scrolls, animations lose their link to a font on the internet"
        text = re.sub(r'<link\b[^>]*font-awesome[^>]*>', '', text)
        text = re.sub(r'<img(?=[^>]*id="_anim_img)(?![^>]*alt=)', f'<img alt="{html.escape(alt or "Animation drawn by the code above")}"', text)
        if 'class="dataframe"' in text:
            text = re.sub(r'<style scoped>.*?</style>', '', text, flags=re.S).replace('<table border="1"', '<table')
        if '<table' in text: return f'<div class="frame" tabindex="0">{text}</div>'
        return f'<div class="html-output">{text}</div>'
