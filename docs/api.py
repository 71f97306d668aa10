"""The pages of the library: one a module, its source with numbered lines, an index."""
import hashlib
import html
import importlib
import inspect
import re
import sys
from pathlib import Path

from convert import fence, raw, wrap
from docstrings import without_comments
from prose import link_names


def signature(thing, name):
    "The signature with its parameters' comments, and the docstring, by nbdev's `show_doc`"
    from fastcore.docments import MarkdownRenderer
    from nbdev.showdoc import show_doc
    if isinstance(thing, property):
        return f'{name}  # property', without_comments(inspect.getdoc(thing.fget))
    if isinstance(thing, (staticmethod, classmethod)): thing = thing.__func__
    if not callable(thing): return f'{name}: {type(thing).__name__}', ''
    shown = show_doc(thing, renderer=MarkdownRenderer, name=name)
    sign = tidy_signature(str(shown.dm))
    doc = without_comments(inspect.cleandoc(shown.docs or ''))
    if not inspect.isclass(thing): return sign, doc
    # an inherited docstring would describe another class
    return re.sub(r'^def ', 'class ', sign), '' if thing.__doc__ is None else doc


def tidy_signature(text):
    "nbdev's signature with the spaces that people put"
    def spaced(line):
        code, mark, comment = line.partition(' # ')
        code = re.sub(r'(^\s+|, )(\**\w+):(?=\S)', r'\1\2: ', code)      # several may share a line
        return re.sub(r'((?:^\s+|, )\**\w+: [^=]+?)=(?=\S)', r'\1 = ', code) + mark + comment
    text = '\n'.join(map(spaced, text.split('\n')))

    def end(match):
        result, comment = match[1] and f' -> {match[2]}', match[3] and f' {match[3]}'
        return ')' + (result or '') + (comment or '')
    text = re.sub(r'<function ([\w.]+) at 0x[0-9a-f]+>', r'\1', text)
    return re.sub(r'\)(->)?([^)\n]*?):( #[^\n]*)?\Z', end, text)


def module_page(site, module, names):
    "The API page of one module"
    package = site.package.name
    if str(site.package.parent) not in sys.path: sys.path.insert(0, str(site.package.parent))
    loaded = importlib.import_module(f'{package}.{module.name}')
    lesson = html.escape(site.titles.get(module.lesson) or module.lesson)
    parts = [f'# {package}.{module.name}', raw(
        '<div class="lesson-bar">'
        f'<span class="taught">Taught in <a href="../{module.lesson}.html">{lesson}</a></span>'
        f'<span class="code"><a href="../source/{module.name}.html">Source of the module</a></span>'
        '</div>')]
    if not module.symbols:
        parts.append('No public names of its own: the lesson says what it is for.')
    for symbol in module.symbols: parts += symbol_parts(module, symbol, loaded, names)
    return '\n\n'.join(filter(None, parts)) + '\n'


def symbol_parts(module, symbol, loaded, names):
    "Heading, signature, description and places of one name"
    thing = loaded
    for part in symbol.name.split('.'):
        if thing is loaded: thing = getattr(loaded, part, None) or owner(part, names)
        else: thing = inspect.getattr_static(thing, part, None)
    sign, about = signature(thing, symbol.name)
    level = '###' if '.' in symbol.name else '##'
    cell = f'#cell-{symbol.cell}' if symbol.cell else ''
    def resolve(text): return names.resolve(text, module.lesson)
    source = f'../source/{module.name}.html#L-{symbol.first}'
    taught = f'../{module.lesson}.html{cell}'
    return [raw(f'<span class="anchor" id="{symbol.name}"></span>'), f'{level} {symbol.name}',
            wrap('div class="signature"', fence(sign)),
            link_names(about or symbol.about, resolve, '../'),
            raw(f'<p class="places"><a href="{source}">source</a>'
                f'<a href="{taught}">where it is taught</a></p>')]


def owner(name, names):
    "The class `name` for a method that `@patch` adds to a class of an earlier module"
    return getattr(importlib.import_module(f'{names.package}.{names.found[name][0].module}'), name)


def source_page(module, package):
    "The module's text with numbered lines; line 12 is `#L-12`"
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    look = HtmlFormatter(linenos='inline', linespans='L', cssclass='highlight source')
    code = highlight(module.path.read_text(encoding='utf-8'), PythonLexer(), look)
    return (f'---\norphan: true\n---\n# {package}/{module.name}.py\n\nDescribed in '
            f'[{package}.{module.name}](../api/{module.name}.html).\n\n{raw(code)}\n')


def api_pages(site, modules, names):
    "Write the API pages (only those whose sources changed), their index and the source pages"
    package = site.package.name
    index = repr([sorted(m.exports.items()) for m in modules]) + repr(site.titles)
    index += ''.join(path.read_text() for path in Path(__file__).parent.glob('*.py'))
    for module in modules:
        text = module.path.read_text(encoding='utf-8')
        key = '% ' + hashlib.sha256((text + index).encode()).hexdigest()
        page = site.work/'pages'/'api'/f'{module.name}.md'
        made = page.read_text(encoding='utf-8') if page.exists() else ''
        if not made.startswith(key): made = f'{key}\n\n{module_page(site, module, names)}'
        site.write(f'api/{module.name}', made)
        site.write(f'source/{module.name}', source_page(module, package))
    symbols = sorted((s for m in modules for s in m.symbols if '.' not in s.name),
                     key=lambda symbol: (symbol.name.lower(), symbol.module))
    rows = []
    for symbol in symbols:
        page, about = f'{symbol.module}.html', symbol.about.replace('|', '\\|')
        rows.append(f'| [`{symbol.name}`]({page}#{symbol.name}) '
                    f'| [{package}.{symbol.module}]({page}) | {about} |')
    table, tree = '\n'.join(rows), '\n'.join(f'{package}.{m.name} <{m.name}>' for m in modules)
    site.write('api/index', f'# All public names\n\n{len(rows)} names in {len(modules)} modules, '
               'one module a lesson.\n\n| name | module | what it does |\n|---|---|---|\n'
               f'{table}\n\n'
               f'```{{toctree}}\n:hidden:\n\n{tree}\n```\n')
