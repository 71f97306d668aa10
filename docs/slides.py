"""Each lesson as slides, in _slides/: `python docs/slides.py [lesson ...]`.

The slides come from the same executed copies as the tests and the site. What goes on which slide
is worked out here; an author who wants it otherwise marks a cell (CONTRIBUTING.md, "Slides").
The pages need reveal.js and MathJax, which lie beside them: they open from disk.
"""
import argparse
import ast
import html
import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from build import course_site
from common import BuildError, read, write
from convert import (check_of, Converter, directives, fence, html_of, is_shown, prediction_of,
                     setup_of, solution_of, text_of)
from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from names import Names, source_of
from prose import FENCE, link_lessons, TERM
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

ROOM = 540         # pixels below the title of a slide of 1280 × 720
CODE_LINES = 15    # a longer cell stays in the notebook
PLOT_LINES = 3     # code that stands above its picture has at most so many
PRINTED_LINES, PRINTED_COLUMNS = 12, 112
TABLE_ROWS, TABLE_COLUMNS, CELL = 9, 9, 44  # characters of a cell
QUESTIONS = 4      # of the questionnaire, on one slide
STYLE = 'a11y-high-contrast-light'

# ---------------------------------------------------------------- Markdown and code

def markdown_reader():
    "Turns Markdown into HTML; formulas are left for MathJax"
    def formula(text, options):
        marks = r'\[{}\]' if options['display_mode'] else r'\({}\)'
        return marks.format(html.escape(text))
    reader = MarkdownIt('commonmark', {'html': True}).enable('table')
    reader.use(dollarmath_plugin, renderer=formula).use(amsmath_plugin)

    def code(self, tokens, index, options, env):
        token = tokens[index]
        if token.info.strip() == '{raw} html': return token.content
        return coloured(token.content, token.info.strip() or 'text')
    reader.add_render_rule('fence', code)
    return reader


def coloured(code, language='python'):
    try: lexer = get_lexer_by_name('ipython3' if re.search(r'^\s*[%!]', code, re.M) else language)
    except ClassNotFound: lexer = get_lexer_by_name('text')
    lines = code.rstrip('\n').split('\n')
    long = ' class="long"' if max(map(len, lines)) > 84 else ''
    look = HtmlFormatter(nowrap=True)
    return f'<pre class="code"><code{long}>{highlight(code, lexer, look).rstrip()}</code></pre>\n'


def without_checks(code, errors=True):
    "Code without asserts, tests and (if `errors`) provoked errors; were there any?"
    try: tree = ast.parse(code)
    except SyntaxError: return code, False
    gone = set()

    def is_check(node):
        "Is it one, or a block of nothing else? (Marks its lines.)"
        call = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        check = (isinstance(node, ast.Assert) or errors and is_expect(node)
                 or call is not None and ast.unparse(call).startswith('test_'))
        if not check and isinstance(node, (ast.If, ast.For, ast.With)):
            parts = [is_check(part) for part in (*node.body, *getattr(node, 'orelse', []))]
            check = all(parts)
        if check: gone.update(range(node.lineno, node.end_lineno + 1))
        return check
    for node in tree.body: is_check(node)
    kept = '\n'.join(line for number, line in enumerate(code.splitlines(), 1) if number not in gone)
    return re.sub(r'\n{3,}', '\n\n', kept).strip('\n'), bool(gone)


def is_expect(node):
    return isinstance(node, ast.With) and ast.unparse(node.items[0]).startswith('expect(')


def outline(code):
    "What stays of a long definition: its head, its sentence, the names of its methods"
    try: tree = ast.parse(code)
    except SyntaxError: return ''
    def head(node, indent=''):
        doc = (ast.get_docstring(node) or '').split('\n')[0]
        if isinstance(node, ast.ClassDef):
            bases = ', '.join(map(ast.unparse, node.bases))
            rows = [f'class {node.name}' + (f'({bases})' if bases else '') + ':']
            if doc: rows.append(f'    "{doc}"')
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and (part.name == '__init__' or part.name[0] != '_'):
                    rows += head(part, '    ')
            return rows
        rest, keywords = node.args.vararg, node.args.kwarg
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        if rest or node.args.kwonlyargs: names.append(f'*{rest.arg}' if rest else '*')
        names += [argument.arg for argument in node.args.kwonlyargs]
        if keywords: names.append(f'**{keywords.arg}')
        row = f'{indent}def {node.name}({", ".join(names)}): ...'
        if indent: return [f'{row}  # {doc}' if doc else row]
        return [row, f'    "{doc}"'] if doc else [row]
    kinds = ast.ClassDef, ast.FunctionDef
    rows = [row for node in tree.body if isinstance(node, kinds) and node.name[0] != '_'
            for row in head(node)]
    return '\n'.join(row if len(row) <= 92 else row[:91] + '…' for row in rows[:CODE_LINES])


def sentences(paragraph):
    flat = ' '.join(paragraph.split())
    ends = r'(?:(?<=[.!?:])|(?<=[.!?][)"*]))(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`*$"“(\[])'
    return re.split(ends, flat)


def shortened(paragraph, words=45):
    "Its first sentences, as many as have room on a slide; the first one always"
    kept, count = [], 0
    for sentence in sentences(paragraph):
        count += len(sentence.split())
        if kept and count > words: break
        kept.append(sentence)
    return ' '.join(kept)


def blocks(text):
    "Paragraphs, lists, formulas, tables, fences and boxes of a Markdown text, as (kind, text)"
    held = []
    def hold(match):
        held.append(match[0])
        return f'\n\n\0{len(held) - 1}\0\n\n'
    text = FENCE.sub(hold, text)
    text = re.sub(r'^<details>.*?^</details>', hold, text, flags=re.M | re.S)
    text = re.sub(r'\$\$.*?\$\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}', hold, text, flags=re.S)
    found = []
    for part in re.split(r'\n\s*\n', text):
        part = part.strip('\n')
        if not part.strip(): continue
        if match := re.fullmatch(r'\s*\0(\d+)\0\s*', part):
            part = held[int(match[1])]
            kind = 'formula' if part[0] in '$\\' else 'fold' if part[0] == '<' else 'code'
        elif re.match(r'\s*([-*+]|\d+[.)]) ', part): kind = 'list'
        elif part.lstrip().startswith('|'): kind = 'table'
        elif part.startswith('>'): kind = 'box'
        elif re.match(r'#{1,6} ', part): kind = 'heading'
        elif re.match(r'<|!\[', part): kind = 'picture' if re.search(r'<img|^!\[', part) else 'fold'
        else: kind = 'paragraph'
        if kind == 'heading' and '\n' in part:
            first, rest = part.split('\n', 1)
            found += [(kind, first), ('paragraph', rest)]
        elif kind == 'list' and found and found[-1][0] == 'list': found[-1] = kind, f'{found[-1][1]}\n{part}'
        else: found.append((kind, part))
    return found


def lead_of(box):
    "The bold words with which a box begins, and the rest: `> **In short.** …`"
    text = re.sub(r'^>[ \t]?', '', box, flags=re.M)
    match = re.match(r'\*\*([^*\n]+?)[.:]?\*\*[.:]?\s*', text)
    return (match[1], text[match.end():]) if match else ('', text)

# ---------------------------------------------------------------- one deck

@dataclass
class Slide:
    title: str                                  # Markdown
    parts: list = field(default_factory=list)   # (HTML, height in pixels), from top to bottom
    notes: list = field(default_factory=list)   # Markdown: what the speaker has before them
    kind: str = 'idea'

    @property
    def height(self): return sum(height for _, height in self.parts)


class Deck(Converter):
    "The slides of one executed notebook"
    def __init__(self, stem, names, figures, student, here, private=(), shorter=None):
        super().__init__(stem, names, figures, student, here, private, shorter)
        self.reader, self.slides, self.waiting = markdown_reader(), [], []

    def html(self, text, room=False):
        text = re.sub(r'(\]\([\w-]+\.ipynb)#[^)\s]*\)', r'\1)', text)
        text = TERM.sub(r'<dfn>\1</dfn>', link_lessons(text, self.here, self.absent))
        return self.reader.render(text)

    # ---- where things go

    def begin(self, title, kind='idea'):
        self.slides.append(Slide(title, notes=self.waiting, kind=kind))
        self.waiting = []
        return self.slides[-1]

    def put(self, markup, height, kind='idea', alone=False):
        "On this slide if there is room, else on a new one with the same title"
        slide = self.slides[-1]
        full = slide.parts and slide.height + height > ROOM
        if slide.parts and (alone or full or slide.kind == 'title' or slide.kind != kind):
            slide = self.begin(slide.title, kind)
        slide.kind = kind
        slide.notes, self.waiting = slide.notes + self.waiting, []
        slide.parts.append((markup, height))

    def note(self, text):
        if text.strip() and self.slides: self.slides[-1].notes.append(text)

    # ---- prose

    def text(self, source, mark='-'):
        if mark in ('slide', 'subslide', 'fragment'): return self.marked(source, mark)
        pending = []
        for kind, part in blocks(source):
            if kind == 'heading':
                self.section(pending)
                pending = [(kind, part)]
            else: pending.append((kind, part))
        self.section(pending)

    def marked(self, source, mark):
        "A text cell that its author wants whole"
        found = blocks(source)
        if found and found[0][0] == 'heading': self.begin(re.sub(r'^#+ ', '', found.pop(0)[1]))
        elif mark != 'fragment': self.begin(self.slides[-1].title)
        for kind, part in found:
            if kind == 'fold': self.note(part)
            else: self.place(kind, part, 'fragment' if mark == 'fragment' else '')

    def section(self, found):
        "A heading with what stands below it, or text that goes on below a cell"
        if not found: return
        titled, shown, idea = found[0][0] == 'heading', [], False
        if titled:
            title = re.sub(r'^#+ ', '', found[0][1])
            if title == 'Questionnaire': return self.questions(found[1:])
            exercise = re.match(r'Exercise \d', title)
            self.begin(title, 'exercise' if exercise else 'idea')
            found, idea = found[1:], True
            if exercise:
                for kind, part in found: self.place(kind, part, kind_of_slide='exercise')
                return
        words = [(kind, part) for kind, part in found if kind != 'fold']
        for number, (kind, part) in enumerate(words):
            if kind == 'box':
                lead, rest = lead_of(part)
                if lead.lower() == 'in short': self.in_short(rest)
                else: self.note(f'**{lead}.** {rest}' if lead else rest)
                continue
            before_formula = number + 1 < len(words) and words[number + 1][0] == 'formula'
            if kind == 'paragraph':
                short = shortened(part) if idea else ''
                extra = [one for one in sentences(part) if TERM.search(one) and one not in short]
                if before_formula and not idea: extra = [*dict.fromkeys([*extra, sentences(part)[-1]])]
                shown += [('paragraph', text) for text in ([short] if short else []) + extra]
                idea = False
            elif kind in ('formula', 'list', 'table', 'picture'): shown.append((kind, part))
        prose = '\n\n'.join(part for kind, part in found if kind not in ('box', 'fold'))
        if shown and not titled and not any(kind != 'paragraph' or TERM.search(part) for kind, part in shown):
            shown = []
        first = len(self.slides)
        for kind, part in shown: self.place(kind, part)
        parts = [part for kind, part in found if kind == 'paragraph']
        if not titled and not shown and len(parts) > 1:   # the end leads to what comes next
            self.note('\n\n'.join(parts[:-1]))
            self.waiting.append(parts[-1])
        elif not titled and not shown and prose.rstrip().endswith((':', '?')): self.waiting.append(prose)
        elif len(self.slides) > first: self.slides[first].notes.append(prose)
        else: self.note(prose)

    def place(self, kind, part, extra='', kind_of_slide='idea'):
        "One block of prose on a slide; a long list or paragraph takes several"
        if kind == 'box': part, kind = lead_of(part)[1], 'paragraph'
        if kind == 'list':
            items = re.split(r'\n(?=[-*+] |\d+[.)] )', part)
            size = ceil(len(items) / ceil(len(items) / 8))
            for start in range(0, len(items), size):
                piece = items[start:start + size]
                height = sum(14 + 38 * ceil(len(item) / 78) for item in piece)
                self.put(self.frame(self.html('\n'.join(piece)), extra), height, kind_of_slide)
            return
        rows = part.count('\n') + 1
        height = {'formula': 60 + 34 * rows, 'table': 40 * rows, 'code': 30 + 28 * rows,
                  'picture': 320}.get(kind, 20 + 40 * ceil(len(part) / 78))
        css = {'formula': 'formula'}.get(kind, '')
        self.put(self.frame(self.html(part), f'{css} {extra}'.strip()), height, kind_of_slide)

    def frame(self, markup, css): return f'<div class="{css}">{markup}</div>' if css else markup

    def in_short(self, text):
        self.begin('In short', 'short')
        points = [one for kind, part in blocks(text) for one in (
            re.split(r'^[-*] ', part, flags=re.M) if kind == 'list' else sentences(part)) if one.strip()]
        for start in range(0, len(points), 6):
            rows = '\n'.join(f'- {" ".join(point.split())}' for point in points[start:start + 6])
            height = sum(16 + 38 * ceil(len(point) / 78) for point in points[start:start + 6])
            self.put(self.html(rows), height, 'short', alone=start > 0)

    def questions(self, found):
        "A few questions a slide; the answers are for the speaker"
        rows, answers = [], []
        def flush():
            if not rows: return
            self.begin('Questionnaire', 'questionnaire').notes += answers
            text = '\n\n'.join(rows)
            self.put(self.html(text), sum(24 + 40 * ceil(len(row) / 78) for row in rows), 'questionnaire')
            rows.clear(), answers.clear()
        for kind, part in found:
            if kind == 'fold':
                answers.append(re.sub(r'</?details>|<summary>.*?</summary>', '', part).strip())
            else:
                if re.match(r'\*\*\d', part) and (len(rows) >= QUESTIONS or sum(map(len, rows)) > 420): flush()
                rows.append(part)
                answers.append(part)
        flush()

    # ---- code

    def cell(self, cell, identity, mark, following):
        found, code = directives(source_of(cell))
        if not is_shown(cell): return
        kind = self.slides[-1].kind if self.slides else ''
        forced, prediction = mark in ('slide', 'subslide', 'fragment'), prediction_of(code)
        if forced and mark != 'fragment': self.begin(self.slides[-1].title, 'code')
        if solution_of(code) is not None:
            student = directives(self.student.get(identity, ''))[1] or '...'
            if kind == 'exercise' and student.count('\n') < CODE_LINES:
                self.put(self.html(fence(student)), self.code_height(student), 'exercise')
            return
        if check_of(code): return
        if prediction is not None: return self.asked(cell, identity, prediction, following)
        if setup_of(code): code = ''
        self.show_code(code, 'export' in found, list(enumerate(self.joined(cell))), identity, following,
                       forced)

    def show_code(self, code, exported, outputs, identity, following, forced=False):
        "Short code with what it gives; a picture without the code that draws it"
        pictures = [pair for pair in outputs if self.is_picture(pair[1])]
        lean, errors = (code, False) if forced else self.lean(code, exported, outputs)
        rows = lean.count('\n') + 1 if lean else 0
        if not forced and exported and rows > CODE_LINES:
            lean = outline(lean)
            rows = lean.count('\n') + 1 if lean else 0
        limit = PLOT_LINES if pictures and not forced else CODE_LINES
        shown, parts = bool(lean) and (forced or rows <= limit), []
        if shown:
            lines = lean.split('\n')
            pieces = ['\n'.join(lines[start:start + 18]) for start in range(0, rows, 18)]
            parts = [(self.html(fence(piece)), self.code_height(piece)) for piece in pieces]
        for number, output in outputs:
            name = f'{identity}-{number}'
            if self.is_picture(output):
                self.group(parts)
                parts = []
                self.picture(output, name, following if (number, output) == outputs[-1] else '')
            elif shown or '<table' in html_of(output): parts += self.printed(output, name, errors)
        self.group(parts)

    def lean(self, code, exported, outputs):
        "The code that a slide shows, and whether errors that were provoked are left out of it"
        lean, checks = without_checks(code)
        if checks and not lean and outputs: return without_checks(code, errors=False)[0], False
        lean = re.sub(r'^set_seed\(.*\)(\n+|\Z)', '', lean, flags=re.M)
        defines = re.findall(r'^(?:def|class) (\w+)', lean, re.M)
        if exported and defines and all(name[0] == '_' for name in defines): lean = ''
        if checks and not outputs and not defines or re.match(r'(from|import) [^\n]*\Z', lean): lean = ''
        return lean, checks

    def group(self, parts):
        "Code and what it printed, together as long as a slide holds them"
        while parts:
            count = len(parts)
            while count > 1 and sum(height for _, height in parts[:count]) > ROOM + 40: count -= 1
            height = sum(height for _, height in parts[:count])
            self.put('\n'.join(markup for markup, _ in parts[:count]), height, 'code',
                     alone=height > 300 or self.slides[-1].height + height > ROOM - 70)
            parts = parts[count:]

    def asked(self, cell, identity, code, following):
        "A question on one slide, what happens on the next"
        outputs = list(enumerate(self.joined(cell)))
        place = next((i for i, (_, output) in enumerate(outputs)
                      if 'class="predict-first"' in html_of(output)), None)
        if place is None: return self.show_code(code, False, outputs, identity, following)
        title = self.slides[-1].title
        for number, output in outputs[:place]:
            if self.is_picture(output): self.picture(output, f'{identity}-{number}', '')
        self.begin(title, 'question')
        self.put(html_of(outputs[place][1]), 300, 'question')
        self.begin(title, 'answer')
        rest, verdict = outputs[place + 1:], ''
        if rest and 'class="predicted"' in html_of(rest[-1][1]): verdict = html_of(rest.pop()[1])
        self.show_code(code, False, rest, identity, '' if verdict else following)
        self.slides[-1].kind = 'answer'
        if verdict:
            verdict = verdict.replace('class="predicted"', 'class="predicted fragment"')
            slide = self.slides[-1]
            if slide.height + 90 > ROOM + 60: slide = self.begin(title, 'answer')
            slide.parts.append((verdict, 90))

    def code_height(self, code): return 34 + 27 * (code.count('\n') + 1)

    def is_picture(self, output):
        data = output.get('data', {})
        markup = html_of(output)
        if 'text/html' in data: return '<img' in markup and '<table' not in markup or '<svg' in markup
        return any(kind.startswith('image/') for kind in data)

    def picture(self, output, name, following):
        "As large as there is room; what to see in it comes with the next key"
        caption = ''
        words = blocks(following) if following else []
        if words and words[0][0] == 'paragraph':
            first = sentences(words[0][1])[0]
            if 6 <= len(first.split()) <= 32 and first.endswith('.'):
                caption = f'<div class="caption fragment">{self.html(first)}</div>'
        markup = self.reader.render(self.output(output, name)).replace(' loading="lazy"', '')
        height = 330 + 60 * bool(caption)
        self.put(markup + caption, height, 'picture')

    def printed(self, output, name, without_errors=False):
        "What a cell printed, a long text or table cut short: [(HTML, height)], or nothing"
        text = self.reader.render(self.output(output, name))
        if '<table' in text:
            text, rows = shorter_table(text)
            return [(text, 34 * rows + 20)]
        if 'html-output' in text and not re.search(r'<(table|img|svg|pre)', text): return [(text, 120)]
        match = re.match(r'(<pre[^>]*>)(.*)(</pre>)', text, re.S)
        if not match: return [(text, 160)] if text.strip() else []
        lines = match[2].split('\n')
        if without_errors: lines = [line for line in lines if not re.match(r'\w+(Error|Exception): ', line)]
        if not any(line.strip() for line in lines): return []
        if len(lines) > PRINTED_LINES: lines = [*lines[:PRINTED_LINES], '…']
        wraps = len(lines) <= 3
        lines = [clipped(line, 4 * PRINTED_COLUMNS if wraps else PRINTED_COLUMNS) for line in lines]
        start = match[1].replace(' words', '')
        if wraps: start = start.replace('class="output', 'class="output words')
        rows = sum(ceil(max(1, len(line)) / PRINTED_COLUMNS) for line in lines)
        return [(start + '\n'.join(lines) + match[3], 26 + 25 * rows)]

    # ---- all of it

    def all(self, notebook):
        "The slides of the notebook, in order"
        cells = notebook['cells']
        self.imports, self.defined, self.module = {}, set(), None
        for number, cell in enumerate(cells):
            mark = cell.get('metadata', {}).get('slideshow', {}).get('slide_type') or '-'
            identity = cell.get('id') or f'n{number}'
            source = source_of(cell)
            if number == 0: self.front(source)
            elif mark == 'skip': continue
            elif cell['cell_type'] == 'markdown':
                source = self.pasted(source, cell, identity)
                if mark == 'notes': self.note(source)
                else: self.text(source, mark)
            elif cell['cell_type'] == 'code' and mark != 'notes':
                follows = cells[number + 1] if number + 1 < len(cells) else {}
                following = source_of(follows) if follows.get('cell_type') == 'markdown' else ''
                self.cell(cell, identity, mark, following)
        for text in self.waiting: self.note(text)
        return [slide for slide in self.slides if slide.parts]

    def front(self, source):
        "The first slide: the title, and what one will be able to do"
        title = re.search(r'^# (.*)$', source, re.M)
        words = re.findall(r'^> (.*(?:\n>.*)*)', source, re.M)
        slide = self.begin(title[1] if title else self.stem, 'title')
        said = ' '.join(re.sub(r'^>[ \t]?', '', ' '.join(words), flags=re.M).split())
        slide.parts.append((self.html(said) or '<p></p>', 200))


def clipped(markup, most):
    "A line or a cell, cut off if it is long; what has colours is left as it is"
    if len(markup) <= most or '<' in markup: return markup
    return html.escape(html.unescape(markup)[:most - 1], quote=False) + '…'


def shorter_table(text):
    "A table with its first rows and columns, if it has many, and long cells cut; its rows"
    inner = re.search(r'<tbody>(.*?)</tbody>', text, re.S)
    rows = re.findall(r'<tr\b.*?</tr>', text, re.S)
    if not inner or '<img' in text or re.search(r'(row|col)span', text): return text, len(rows) + 1
    more = inner[1].count('<tr') - TABLE_ROWS

    def row(match):
        cells = re.findall(r'<t[hd]\b.*?</t[hd]>', match[2], re.S)
        if len(cells) > TABLE_COLUMNS:
            cells = [*cells[:TABLE_COLUMNS - 2], re.sub(r'>.*<', '>…<', cells[0], flags=re.S), cells[-1]]
        cells = [re.sub(r'>([^<>]*)<', lambda found: f'>{clipped(found[1], CELL)}<', cell) for cell in cells]
        return match[1] + ''.join(cells) + match[3]
    text = re.sub(r'(<tr\b[^>]*>)(.*?)(</tr>)', row, text, flags=re.S)
    if more > 0:
        inner = re.search(r'<tbody>(.*?)</tbody>', text, re.S)
        rows = re.findall(r'<tr\b.*?</tr>', inner[1], re.S)
        columns = len(re.findall(r'<t[hd]\b', rows[0]))
        last = f'<tr><td colspan="{columns}">… {more + 1} more rows</td></tr>'
        text = text.replace(inner[1], '\n'.join([*rows[:TABLE_ROWS - 1], last]))
    return text, min(len(rows), TABLE_ROWS) + 1

# ---------------------------------------------------------------- pages

PAGE = '''<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="reveal/reset.css">
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="slides.css">
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>
<script src="slides.js"></script>
<script src="mathjax/tex-svg.js"></script>
</body>
</html>
'''


def section(deck, slide, number, course, logo):
    "The HTML of one slide"
    level = 1 if slide.kind == 'title' else 2
    title = deck.html(slide.title).strip().removeprefix('<p>').removesuffix('</p>')
    below = f'<p class="course">{logo}{html.escape(course)}</p>' if slide.kind == 'title' else ''
    notes = '\n\n'.join(slide.notes)
    aside = f'<aside class="notes">{deck.html(notes)}</aside>' if notes.strip() else ''
    body = '\n'.join(markup for markup, _ in slide.parts)
    return (f'<section class="kind-{slide.kind}" id="s{number}"><h{level}>{title}</h{level}>\n'
            f'<div class="body">\n{body}\n</div>{below}{aside}</section>')


def lesson_slides(site, out, path, names, here, logo=''):
    "Write the slides of one lesson; give how many there are, and what is wrong"
    stem, notebook = path.stem, read(site.execute(path))
    error = notebook['metadata'].get('lessonlib', {}).get('error')
    if error: return 0, [f'{stem}: cell {error["index"] + 1} stopped with {error["name"]}']
    figures = set()
    def figure(name, content):
        figures.add(name)
        write(out/'figures'/stem/name, content)
        return f'figures/{stem}/{name}'
    answers = {cell.get('id'): source_of(cell) for cell in site.student(path)['cells']}
    deck = Deck(stem, names, figure, answers, here, site.private, site.shorter)
    slides = deck.all(notebook)
    pages = '\n'.join(section(deck, slide, number, site.title, logo)
                      for number, slide in enumerate(slides, 1))
    title = f'{site.titles[stem]} · {site.title}'
    write(out/f'{stem}.html', PAGE.format(title=html.escape(title), slides=pages))
    for old in (out/'figures'/stem).glob('*'):
        if old.name not in figures: old.unlink()
    return len(slides), deck.problems


def assets(out):
    "Copy what the pages need to stand beside them"
    reveal = importlib.util.find_spec('sphinx_revealjs')
    if reveal is None: raise BuildError('slides need reveal.js: pip install sphinx-revealjs')
    reveal = Path(reveal.origin).parent/'_static'/'revealjs'
    mathjax = Path(importlib.util.find_spec('sphinx-mathjax-offline').origin).parent/'static'/'mathjax'
    for name, place in {'LICENSE': 'LICENSE', 'reset.css': 'dist/reset.css', 'reveal.css': 'dist/reveal.css',
                        'reveal.js': 'dist/reveal.js', 'notes.js': 'plugin/notes/notes.js'}.items():
        text = (reveal/place).read_text(encoding='utf-8')
        write(out/'reveal'/name, re.sub(r'^//# sourceMappingURL=.*$', '', text, flags=re.M))
    write(out/'mathjax'/'tex-svg.js', (mathjax/'tex-svg.js').read_bytes())
    style = HtmlFormatter(style=STYLE).get_style_defs('.code')
    write(out/'slides.css', (HERE/'deck'/'slides.css').read_text(encoding='utf-8') + style)
    write(out/'slides.js', (HERE/'deck'/'slides.js').read_bytes())


def build_slides(site, out, tracks=('lesson',), only=(), logo=None):
    "Write the slides of every lesson of these tracks; give lesson -> number of slides"
    assets(out)
    image = ''
    if logo:
        write(out/f'logo{Path(logo).suffix}', Path(logo).read_bytes())
        image = f'<img class="logo" src="logo{Path(logo).suffix}" alt="">'
    names, problems, made = Names([], site.package.name), [], {}
    paths = [path for path in site.notebooks if path.stem in only or
             not only and path.stem != 'index' and site.fronts[path.stem].track in tracks]
    here = {path.stem for path in paths}
    for path in paths:
        made[path.stem], faults = lesson_slides(site, out, path, names, here, image)
        problems += [fault for fault in faults if 'stopped with' in fault or 'alt text' in fault
                     or 'from the internet' in fault or 'folder of this machine' in fault]
    for old in (*out.glob('*.html'), *(out/'figures').glob('*')):  # of lessons that are no more
        if old.stem in site.titles or old.name == 'index.html': continue
        if old.is_dir(): shutil.rmtree(old)
        else: old.unlink()
    decks = {path.stem: out/f'{path.stem}.html' for path in site.notebooks if path.stem != 'index'}
    counts = {stem: deck.read_text(encoding='utf-8').count('<section class="kind-')
              for stem, deck in decks.items() if deck.exists()}
    rows = '\n'.join(f'<li><a href="{stem}.html">{html.escape(site.titles[stem] or stem)}</a> '
                     f'<small>{count} slides</small></li>' for stem, count in counts.items())
    write(out/'index.html', INDEX.format(title=html.escape(site.title), rows=rows, logo=image))
    if problems: raise BuildError('\n'.join(problems))
    return made


INDEX = '''<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slides · {title}</title><link rel="stylesheet" href="slides.css"></head>
<body class="list"><main>
{logo}<h1>{title}: slides</h1>
<ol>
{rows}
</ol>
<p>Arrow keys turn the slides, <kbd>S</kbd> opens the speaker's notes, <kbd>O</kbd> shows all slides, <kbd>F</kbd>
fills the screen. For a PDF open a deck with <code>?print-pdf</code> at the end of its address, and print.</p>
</main></body>
</html>
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('lessons', nargs='*', help='such as 01_sgd; without any all of the course')
    parser.add_argument('--out', type=Path, default=HERE.parent/'_slides')
    parser.add_argument('--workshop', action='store_true', help='those of the workshop as well')
    args = parser.parse_args()
    site = course_site()
    unknown = set(args.lessons) - set(site.titles)
    if unknown: sys.exit(f'there is no notebook {", ".join(sorted(unknown))} in {site.nbs}')
    tracks = ('lesson', 'workshop') if args.workshop else ('lesson',)
    try: made = build_slides(site, args.out, tracks, args.lessons)
    except BuildError as problem: sys.exit(f'The slides are not fit to show:\n{problem}')
    print(f'{sum(made.values())} slides of {len(made)} lessons. Open {args.out/"index.html"}')


if __name__ == '__main__': main()
