"""An executed notebook becomes a MyST page. Nothing here runs code or knows about Sphinx."""
import ast
import base64
import html
import re
import struct
import textwrap

from urllib.parse import unquote

from check import indecent, literal_newline
from names import defined_names, imported_names, source_of
from prose import callouts, find_terms, link_lessons, link_names, mark_terms, outside_fences

from lessonlib.review import _ASKED as ASKED, Question

# How a script loads another one: `import`, require.js, or an element made for it.
FAR = (r'(?:\bimport\b[^"\';]*|\bpaths["\']?\s*:[^}]*?|\bsrc\s*=\s*)'
       r'["\']((?:https?:)?//[^"\']+)["\']')

def text_of(value): return ''.join(value) if isinstance(value, (list, str)) else str(value)

def directives(source):
    "The nbdev directives of a cell (`#| export` -> {'export': ''}) and its code without them"
    found = dict(re.findall(r'^#\|[ \t]*([\w-]+):?[ \t]*(.*?)[ \t]*$', source, re.M))
    return found, re.sub(r'^#\|.*(?:\n|$)', '', source, flags=re.M).strip('\n')

def is_shown(cell):
    "Has the code cell a place on the page?"
    found, code = directives(source_of(cell))
    return 'hide' not in found and bool(code.strip())

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

def fold(kind, summary, body):
    return wrap(f'details class="{kind}"', body, f'<summary>{summary}</summary>')

COLOURS = 'black red green yellow blue magenta cyan white'.split()
# What a terminal obeys and does not show: colours (the group), other commands, the ends of links.
COMMANDS = re.compile(r'(\x1b\[[\d;:]*m)|\x1b\[[\d;:?]*[A-Za-z]|\x1b\].*?(?:\x1b\\|\x07)')

def colours(text):
    "HTML for text with a terminal's colour codes"
    parts, bold, colour = [], [], []
    for piece in COMMANDS.split(text):
        if piece and piece.startswith('\x1b['):
            own = re.sub(r'[345]8[;:](5[;:]\d+|2([;:]\d*)+)', '-', piece)  # not one of the eight
            for code in re.findall(r'\d+|-', own) or ['0']:
                number = -1 if code == '-' else int(code)
                if number in (0, 1, 22): bold = ['ansi-bold'] if number == 1 else []
                if number in (-1, 0, 39): colour = []
                elif number % 10 < 8 and number // 10 in (3, 9):
                    colour = [f'ansi-{COLOURS[number % 10]}']
        elif piece and bold + colour:
            parts.append(f'<span class="{" ".join(bold + colour)}">{html.escape(piece)}</span>')
        elif piece: parts.append(html.escape(piece))
    return ''.join(parts)

def plain(text, kind='output'):
    "Text that a cell printed: colours kept, what a progress bar has overwritten left out"
    lines = [line.rstrip('\r').rsplit('\r', 1)[-1] for line in text.rstrip().split('\n')]
    if len(lines) <= 3: kind += ' words'  # a message may be wrapped, a table must not
    if not text.strip(): return ''
    return raw(f'<pre class="{kind}" tabindex="0">{colours(chr(10).join(lines))}</pre>')

# ---------------------------------------------------------------- cells with a form of their own

def solution_of(code):
    "The code of an answer cell without the marks around its solution, or None when it has none"
    if '### BEGIN SOLUTION' not in code: return None
    mark = r'^[ \t]*### (?:BEGIN|END) SOLUTION.*(?:\n|$)'
    return re.sub(mark, '', code, flags=re.M).strip('\n')


def check_of(code):
    "The hints of an exercise's check, and its code without them; None if the cell is no check"
    if not re.search(r'^@exercise\b', code, re.M): return None
    for node in ast.walk(ast.parse(code)):
        for call in getattr(node, 'decorator_list', []):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == 'exercise':
                given = [hint for hint in call.args if not isinstance(hint, ast.Starred)]
                hints = [ast.literal_eval(hint) for hint in given]
                return hints, replace_lines(code, call.lineno, call.end_lineno, '@exercise(...)')


def prediction_of(code):
    "The code of a cell that asks before it shows, without question and answer; None for any other"
    if 'predict_first(' not in code: return None
    try: tree = ast.parse(code)
    except SyntaxError: return None
    for node in tree.body:
        if not isinstance(node, ast.With): continue
        item = node.items[0]
        if not ast.unparse(item.context_expr).startswith('predict_first('): continue
        answer = f'{ast.unparse(item.optional_vars)}.answer' if item.optional_vars else None
        lines, first = code.splitlines(), node.body[0].lineno
        gone = set(range(node.lineno, first))
        for part in node.body:
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
                if ast.unparse(part.value.func) == answer:
                    gone |= set(range(part.lineno, part.end_lineno + 1))
        body = [lines[number - 1] for number in range(first, node.end_lineno + 1)
                if number not in gone]
        before, after = lines[:node.lineno - 1], lines[node.end_lineno:]
        return '\n'.join([*before, textwrap.dedent('\n'.join(body)), *after]).strip('\n')


def replace_lines(code, first, last, text):
    lines = code.splitlines()
    return '\n'.join([*lines[:first - 1], text, *lines[last:]])


def setup_of(code):
    "What to call a cell that mostly imports: 'Imports' or 'Set-up'; None for any other"
    try: body = ast.parse(code).body
    except SyntaxError: return None
    imports = sum(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body)
    if not imports or 2 * imports < len(body): return None
    return 'Imports' if imports == len(body) else 'Set-up'

# ---------------------------------------------------------------- the page

class Converter:
    "Turns one executed notebook into a page, its figures and its terms; faults go to `problems`"
    def __init__(self, stem, names, figures=None, student=None, here=None, private=(),
                 shorter=None, solutions=True):
        self.solutions = solutions
        self.stem, self.names = stem, names
        self.figures = figures  # function (file name, bytes) -> address of the figure from the page
        self.student = student or {}  # cell id -> what the student edition says there
        self.here, self.private = here, private  # the course's notebooks; folders not to be shown
        self.shorter = shorter or {}  # pattern of a folder -> what the page says instead
        self.terms, self.problems, self.absent = [], [], set()
        self.hints = {'checks': set()}  # see `hints_before_solutions`

    def page(self, notebook, bar=''):
        "The page's MyST text; `bar` (HTML) goes under the title and its first paragraph"
        self.imports = imported_names(notebook['cells'], self.names.package)
        self.defined = defined_names(notebook['cells'])
        self.module = next((m for m in self.names.modules.values() if m.lesson == self.stem), None)
        self.hints = hints_before_solutions(notebook['cells'])
        parts, seen = [], set()
        for number, cell in enumerate(notebook['cells']):
            identity = cell.get('id') or f'n{number}'
            if identity in seen:
                self.problems.append(f'{self.stem}: cell {number + 1} has the id {identity} of an '
                                     'earlier one; `make sync` gives it its own')
                identity = f'{identity}-n{number}'
            seen.add(identity)
            source = source_of(cell)
            if number == 0: source = without_front_matter(source)
            if cell['cell_type'] == 'markdown':
                parts.append(self.prose(self.pasted(self.asked(source), cell, identity)))
            elif cell['cell_type'] == 'code': parts.append(self.code(cell, identity))
        if bar:
            def put(match): return f'{match[1].rstrip()}\n\n{raw(bar)}\n\n'
            parts[0] = re.sub(r'\A(\s*# .*\n*(?:(?!:::|>|#).+\n?)*)', put, parts[0], count=1)
        return '\n\n'.join(filter(None, parts)) + '\n'

    def resolve(self, text):
        place = self.names.resolve(text, self.stem, self.imports)
        mine = place and self.module and place.startswith(f'api/{self.module.name}.html')
        if mine or re.match(r'\w*', text)[0] not in self.defined: return place
        return None  # an exercise's `mae` is nobody else's

    def pasted(self, text, cell, identity):
        "The text of a Markdown cell with the pictures that were pasted into it"
        def picture(match):
            alt, name = (match[1], match[2]) if match[2] else (None, match[3])
            kinds = cell.get('attachments', {}).get(unquote(name), {})
            kind = next((kind for kind in kinds if kind.startswith('image/')), None)
            if kind is None:
                self.problems.append(f'{self.stem}: the picture {name} of cell {identity} is not '
                                     'in the notebook: paste it again')
                return match[0]
            data = text_of(kinds[kind])
            content = data.encode() if kind == 'image/svg+xml' else base64.b64decode(data)
            plain_name = re.sub(r'[^\w.-]', '-', unquote(name))
            address = self.figures(f'{identity}-{plain_name}', content)
            if alt is None: return f'src="{address}"'
            return f'<img src="{address}" alt="{html.escape(alt)}" loading="lazy">'
        found = (r'!\[([^\]]*)\]\(attachment:([^)\s]+)(?:\s+"[^"]*")?\)'
                 r'|\bsrc="attachment:([^"]+)"')
        return outside_fences(text, lambda prose: re.sub(found, picture, prose))

    def asked(self, text):
        "The text with each folded answer of a questionnaire marked by its question's lasting name"
        def mark(found):
            name = Question(self.stem, found[1], found[2]).name
            marked = f'<details class="question" data-question="{name}">'
            return found[0].replace('<details>', marked, 1)
        return ASKED.sub(mark, text)

    def prose(self, text):
        text = callouts(text)
        self.terms += find_terms(text)
        text = link_lessons(link_names(text, self.resolve), self.here, self.absent)
        return mark_terms(text)

    def code(self, cell, identity):
        found, code = directives(source_of(cell))
        if not is_shown(cell):  # what a hidden cell writes in Markdown is part of the text
            written = [output['data']['text/markdown'] for output in cell.get('outputs', [])
                       if 'text/markdown' in output.get('data', {})]
            return '\n\n'.join(self.prose(text_of(text)) for text in written)
        solution, check, prediction = solution_of(code), check_of(code), prediction_of(code)
        mine = ''  # for the reader's own record
        if prediction is not None: body = self.predicted(cell, identity, prediction)
        elif solution is not None:
            student = directives(self.student.get(identity, ''))[1] or '...'
            folded = join(fence(solution), self.outputs(cell, identity))
            body = join(fence(student), hint_folds(self.hints.get(identity, [])),
                        fold('solution', 'Solution', folded) if self.solutions else '')
        elif check is not None:
            folded = join(fence(check[1]), self.outputs(cell, identity))
            hints = [] if identity in self.hints['checks'] else check[0]
            body = join(hint_folds(hints), fold('check', 'How the answer is checked', folded))
            name = re.search(r'^@exercise.*?^def (\w+)', code, re.M | re.S)
            if name and identity in self.hints['checks']: mine = f' data-check="{name[1]}"'
        else:
            setup, outputs = setup_of(code), self.outputs(cell, identity)
            shown = fold('setup', setup, fence(code)) if setup else fence(code)
            body = join(shown, self.mark(found, identity), outputs)
        return wrap(f'div class="lesson-cell" id="cell-{identity}"{mine}', body)

    def predicted(self, cell, identity, code):
        "A question, the code that answers it, and in a closed fold what comes out"
        outputs = [(number, output) for number, output in enumerate(self.joined(cell))]
        asked = next((place for place, (_, output) in enumerate(outputs)
                      if 'class="predict-first"' in html_of(output)), None)
        if asked is None: return join(fence(code), self.shown(outputs, identity))
        return join(self.shown(outputs[:asked], identity),
                    raw(html_of(outputs[asked][1])), fence(code),
                    fold('predicted', 'See what happens',
                         self.shown(outputs[asked + 1:], identity)))

    def mark(self, found, identity):
        "The small print under a cell that the library contains"
        if self.module is None or not {'export', 'exporti', 'exports'} & set(found): return ''
        names = self.module.exports.get(identity, [])
        place = f'api/{self.module.name}.html' + (f'#{names[0]}' if names else '')
        module = f'{self.names.package}.{self.module.name}'
        return raw(f'<p class="exported">exported to <a href="{place}">{module}</a></p>')

    def shorten(self, text):
        "The text with folders of this machine named as on anybody's"
        for folder, words in self.shorter.items(): text = re.sub(folder, words, text)
        return text

    def joined(self, cell):
        "The outputs of a cell; a stream that came in several pieces is one output"
        joined = []
        for output in cell.get('outputs', []):
            data = {kind: self.shorten(text_of(value)) if kind.startswith('text/') else value
                    for kind, value in output.get('data', {}).items()}
            if data: output = {**output, 'data': data}
            text = self.shorten(text_of(output.get('text', '')))
            same = joined and text and joined[-1].get('name') == output.get('name')
            if same: joined[-1]['text'] += text
            else: joined.append({**output, 'text': text})
        return joined

    def outputs(self, cell, identity): return self.shown(enumerate(self.joined(cell)), identity)

    def shown(self, outputs, identity):
        return join(*(self.output(output, f'{identity}-{number}') for number, output in outputs))

    def output(self, output, name):
        self.look_through(output, name)
        if output['output_type'] == 'stream':
            return plain(output['text'], f'output {output["name"]}')
        if output['output_type'] == 'error':
            return plain('\n'.join(output['traceback']), 'output error')
        return self.rich(output, name)

    def look_through(self, output, name):
        "Note what nobody wants to read: addresses in memory, folders of this machine, \\n"
        data = {kind: text_of(value) for kind, value in output.get('data', {}).items()}
        text = output.get('text', '') + data.get('text/html', '')
        if set(data) <= {'text/plain'}: text += data.get('text/plain', '')
        hidden = rf'<script\b.*?</script>|src="data:[^"]*"|{COMMANDS.pattern}'
        shown = re.sub(hidden, '', text, flags=re.S)
        faults = [*indecent(shown, self.private), *literal_newline(output.get('text', ''))]
        cell = name.rsplit('-', 1)[0]
        self.problems += [f'{self.stem}: the output of cell {cell} {fault}' for fault in faults]

    def rich(self, output, name):
        "The best of the forms in which a cell gave its value"
        data = {kind: text_of(value) for kind, value in output['data'].items()
                if 'widget' not in kind}
        alt = output.get('metadata', {}).get('alt', '')
        pictures = 'image/png', 'image/jpeg', 'image/gif', 'image/webp'
        if not {*pictures, 'image/svg+xml', 'text/html', 'text/markdown', 'text/latex'} & set(data):
            special = [kind for kind in data if not kind.startswith('text/')]
            self.problems += [f'{self.stem}: the output of cell {name.rsplit("-", 1)[0]} shows '
                              f'nothing on a page, it is {kind} alone' for kind in special]
        for kind in pictures:
            if kind in data and 'text/html' not in data:
                return self.figure(base64.b64decode(data[kind]), name + '.' + kind[6:], alt)
        if 'text/html' in data: return raw(self.markup(data['text/html'], alt))
        if 'image/svg+xml' in data:
            return self.figure(data['image/svg+xml'].encode(), f'{name}.svg', alt)
        if 'text/markdown' in data: return self.prose(data['text/markdown'])
        if 'text/latex' in data: return data['text/latex']
        return plain(data.get('text/plain', ''))

    def figure(self, content, name, alt):
        if not alt.strip():
            cell = name.rsplit('-', 1)[0]
            self.problems.append(f'{self.stem}: the figure of cell {cell} has no alt text: '
                                 'give it a title')
        size = ''
        if name.endswith('.png'):
            width, height = struct.unpack('>II', content[16:24])
            size = f' width="{width}" height="{height}"'
        address, alt = self.figures(name, content), html.escape(alt)
        image = f'<img src="{address}" alt="{alt}"{size} loading="lazy">'
        return raw(f'<figure class="picture">{image}</figure>')

    def markup(self, text, alt):
        "HTML output: tables get a frame that scrolls, films lose their link to a font elsewhere"
        text = re.sub(r'<link\b[^>]*font-awesome[^>]*>', '', text)
        for script in re.findall(r'<script\b[^>]*>(.*?)</script>', text, re.S):
            far = re.search(FAR, script)
            if far: self.problems.append(f'{self.stem}: a script in an output loads {far[1]} from '
                                         'the internet')
        words = html.escape(alt or 'Animation drawn by the code above')
        text = re.sub(r'<img(?=[^>]*id="_anim_img)(?![^>]*alt=)', f'<img alt="{words}"', text)
        if 'class="dataframe"' in text:
            text = re.sub(r'<style scoped>.*?</style>', '', text, flags=re.S)
            text = text.replace('<table border="1"', '<table')
        if '<table' in text: return f'<div class="frame" tabindex="0">{text}</div>'
        return f'<div class="html-output">{text}</div>'


def without_front_matter(source):
    "The first cell with its title and sentence, as people read them"
    source = re.sub(r'^- \w+: .*\n?', '', source, flags=re.M)
    return re.sub(r'^> (?!\*\*)', '', source, flags=re.M).rstrip()


def join(*parts): return '\n\n'.join(filter(None, parts))


def html_of(output): return text_of(output.get('data', {}).get('text/html', ''))


def hint_folds(hints):
    "Each hint in a fold of its own, so that one may take one and try again"
    return join(*(raw(f'<details class="hint"><summary>Hint {number}</summary>'
                      f'<p>{html.escape(hint)}</p></details>')
                  for number, hint in enumerate(hints, 1)))


def hints_before_solutions(cells):
    "Id of an answer cell -> the hints of its check; under 'checks' the ids of these checks"
    found, answer = {'checks': set()}, None
    for cell in cells:
        if cell['cell_type'] != 'code': continue
        code = directives(source_of(cell))[1]
        if solution_of(code) is not None: answer = cell.get('id')
        check = check_of(code)
        if check and answer:
            found[answer] = check[0]
            found['checks'].add(cell.get('id'))
            answer = None
    return found
