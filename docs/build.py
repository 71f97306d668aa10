"""Build the course's site: `python docs/build.py [--only 01_sgd]`.

Every notebook is executed once (cached by content, shared with the tests) and becomes a page; the library becomes API
and source pages; Sphinx lays them out in _docs/; then every link, picture and resource of the finished HTML is checked.
"""
import argparse
import hashlib
import html
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from convert import TERM, Converter, Names, fence, is_shown, link_lessons, link_names, raw, read_module, slug, source_of, wrap


@dataclass
class Site:
    "What goes in and where it comes out; tests build small ones of their own"
    nbs: Path                   # folder of notebooks; their names give the order of the course
    package: Path               # folder of the package they export
    work: Path                  # intermediate files: the next build reuses them
    out: Path                   # the finished site
    execute: callable           # path of a notebook, now? -> path of its executed copy (not now: of whatever there is)
    student: callable           # path of a notebook -> the student edition (a notebook as a dict)
    title: str = 'lessonlib'
    pages: set = field(default_factory=set)  # the page files of this build

    @cached_property
    def notebooks(self): return sorted(p for p in self.nbs.glob('*.ipynb') if p.name[0] not in '._')

    def write(self, page, text):
        "Write the source of a page ('api/sgd')"
        path = self.work/'pages'/f'{page}.md'
        self.pages.add(path)
        write(path, text)


class BuildError(Exception):
    "The site must not be published: what is wrong, a line each"


def write(path, content):
    "Write `content` (text or bytes) unless the file has it already, so that what has not changed is not processed again"
    content = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == content: return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True

def read(path): return json.loads(path.read_text(encoding='utf-8'))

# ---------------------------------------------------------------- lessons

def title_of(notebook):
    found = re.search(r'^# (.+)$', source_of(notebook['cells'][0]), re.M) if notebook['cells'] else None
    return found[1].strip() if found else None

def duration(seconds): return f'{seconds:.1f} s' if seconds < 10 else f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'

def lesson_bar(stem, notebook, module):
    "The line under a lesson's title: how long it ran, the notebook to take away, where its module is described"
    parts, report = [], notebook['metadata'].get('lessonlib', {})
    if report.get('seconds'):
        slowest, cells = report.get('slowest') or {}, notebook['cells']
        cell = slowest and cells[slowest['index']]
        name = f'<a href="#cell-{cell.get("id")}">slowest cell</a>' if cell and is_shown(cell) else 'slowest cell'
        cell = f'{name} {duration(slowest["seconds"])}' if slowest else ''
        parts.append(f'<span class="ran">Ran in {duration(report["seconds"])} on two cores{"; " + cell if cell else ""}</span>')
    parts.append(f'<span class="take">Notebook: <a href="downloads/student/{stem}.ipynb" download>to work through</a> · '
                 f'<a href="downloads/{stem}.ipynb" download>with solutions</a></span>')
    if module: parts.append(f'<span class="module">Builds <a href="api/{module.name}.html">{module.path.parent.name}.{module.name}</a></span>')
    return f'<div class="lesson-bar">{"".join(parts)}</div>'

def lesson_pages(site, names, modules, titles, executed):
    "Write the page, figures and downloads of every notebook; give the terms they define and what is wrong with them"
    terms, problems = [], []
    for path in site.notebooks:
        stem, notebook, student = path.stem, executed[path.stem], site.student(path)
        for cell, own in zip(notebook['cells'], read(path)['cells']):   # a copy may have older names
            if source_of(cell) == source_of(own): cell['id'] = own.get('id', '')
        error = notebook['metadata'].get('lessonlib', {}).get('error')
        if error: problems.append(f'{stem}: cell {error["index"] + 1} stopped with {error["name"]}: {error["value"]}')
        if titles[stem] is None: problems.append(f'{stem}: the first cell must begin with "# Title"')
        kept = set()
        def figure(name, content):
            kept.add(name)
            write(site.out/'figures'/stem/name, content)
            return f'figures/{stem}/{name}'
        converter = Converter(stem, names, figure, {c.get('id'): source_of(c) for c in student['cells']})
        module = next((m for m in modules if m.lesson == stem), None)
        if stem == 'index': text = converter.page(notebook) + contents(titles, modules)
        else: text = converter.page(notebook, lesson_bar(stem, notebook, module))
        for image in re.findall(r'!\[[^\]]*\]\(([^):\s]+)\)', text):
            if (site.nbs/image).is_file(): write(site.work/'pages'/image, (site.nbs/image).read_bytes())
        site.write(stem, text)
        for old in (site.out/'figures'/stem).glob('*'):
            if old.name not in kept: old.unlink()
        write(site.out/'downloads'/path.name, path.read_bytes())
        write(site.out/'downloads'/'student'/path.name, json.dumps(student, indent=1, ensure_ascii=False) + '\n')
        terms += [(term, sentence, stem) for term, sentence in converter.terms]
        problems += converter.problems
    return terms, problems

def glossary(site, names, titles, terms):
    "Write the glossary: each term in the sentence that defines it, with the way to its place"
    problems, seen, groups = [], {}, {}
    for term, sentence, stem in terms:
        if slug(term) in seen: problems.append(f'{stem}: the term "{term}" is already defined in {seen[slug(term)]}: mark it there alone')
        seen[slug(term)] = stem
        groups.setdefault(term.strip('`$ ')[0].upper(), []).append((term, sentence, stem))
    lines = ['# Glossary', f'The {len(terms)} words of the course, each in the sentence that introduces it. '
             'The lesson named beside it shows the thing itself.', raw('<p class="letters">' + ' '.join(
              f'<a href="#letter-{letter.lower()}">{letter}</a>' for letter in sorted(groups)) + '</p>')]
    for letter in sorted(groups):
        lines.append(raw(f'<h2 id="letter-{letter.lower()}" class="letter">{letter}</h2>'))
        for term, sentence, stem in sorted(groups[letter], key=lambda entry: entry[0].lower()):
            about = link_lessons(link_names(TERM.sub(r'**\1**', sentence), lambda text: names.resolve(text, stem)))
            place = f'{stem}.html#{slug(term)}'
            lines.append(wrap('div class="term"', f'[**{term}**]({place}) [{titles.get(stem) or stem}]({place})\n\n{about}'))
    site.write('glossary', '\n\n'.join(lines) + '\n')
    return problems

# ---------------------------------------------------------------- API and source

def signature(thing, name):
    "The signature with its parameters' comments, and the docstring, by nbdev's `show_doc`"
    from fastcore.docments import MarkdownRenderer
    from nbdev.showdoc import show_doc
    if isinstance(thing, property): return f'{name}  # property', inspect.getdoc(thing.fget) or ''
    if isinstance(thing, (staticmethod, classmethod)): thing = thing.__func__
    if not callable(thing): return f'{name}: {type(thing).__name__}', ''
    shown = show_doc(thing, renderer=MarkdownRenderer, name=name)
    own = inspect.isclass(thing) and thing.__doc__ is None   # an inherited docstring would describe another class
    sign = tidy_signature(str(shown.dm))
    return (re.sub(r'^def ', 'class ', sign) if inspect.isclass(thing) else sign), '' if own else inspect.cleandoc(shown.docs or '')

def tidy_signature(text):
    "nbdev's signature with the spaces that people put"
    text = re.sub(r'^(\s+\**\w+):([^=#\n]+?)=(?=[^\n]+)', r'\1: \2 = ', text, flags=re.M)
    text = re.sub(r'^(\s+\**\w+):(?=\S)', r'\1: ', text, flags=re.M)
    return re.sub(r'\)(->)?([^)\n]*?):( #[^\n]*)?\Z', lambda m: ')' + (f' -> {m[2]}' if m[1] else '') + (f' {m[3]}' if m[3] else ''), text)

def module_page(site, module, names, titles):
    "The API page of one module"
    package = site.package.name
    if str(site.package.parent) not in sys.path: sys.path.insert(0, str(site.package.parent))
    loaded = importlib.import_module(f'{package}.{module.name}')
    lesson = titles.get(module.lesson) or module.lesson
    parts = [f'# {package}.{module.name}', raw(
        f'<div class="lesson-bar"><span class="taught">Taught in <a href="../{module.lesson}.html">{html.escape(lesson)}</a></span>'
        f'<span class="code"><a href="../source/{module.name}.html">Source of the module</a></span></div>')]
    if not module.symbols: parts.append('No public names of its own: the lesson says what it is for.')
    for symbol in module.symbols:
        thing = loaded
        for part in symbol.name.split('.'):
            thing = inspect.getattr_static(thing, part, None) if thing is not loaded else getattr(loaded, part, None) or _owner(loaded, package, names, part)
        sign, about = signature(thing, symbol.name)
        level = '###' if '.' in symbol.name else '##'
        cell = f'#cell-{symbol.cell}' if symbol.cell else ''
        parts += [raw(f'<span class="anchor" id="{symbol.name}"></span>'), f'{level} {symbol.name}',
                  wrap('div class="signature"', fence(sign)),
                  link_names(about or symbol.about, lambda text: names.resolve(text, module.lesson), '../'),
                  raw(f'<p class="places"><a href="../source/{module.name}.html#L-{symbol.first}">source</a>'
                      f'<a href="../{module.lesson}.html{cell}">where it is taught</a></p>')]
    return '\n\n'.join(filter(None, parts)) + '\n'

def _owner(loaded, package, names, name):
    "The class `name` for a method that `@patch` adds to a class of an earlier module"
    return getattr(importlib.import_module(f'{package}.{names.found[name][0].module}'), name)

def source_page(module, package):
    "The module's text with numbered lines; line 12 is `#L-12`"
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    look = HtmlFormatter(linenos='inline', linespans='L', cssclass='highlight source')
    code = highlight(module.path.read_text(encoding='utf-8'), PythonLexer(), look)
    return f'---\norphan: true\n---\n# {package}/{module.name}.py\n\nDescribed in [{package}.{module.name}](../api/{module.name}.html).\n\n{raw(code)}\n'

def api_pages(site, modules, names, titles):
    "Write the API pages (only those whose sources changed), their index and the source pages"
    package = site.package.name
    index = repr([sorted(m.exports.items()) for m in modules]) + repr(titles) + Path(__file__).read_text()
    for module in modules:
        key = '% ' + hashlib.sha256((module.path.read_text(encoding='utf-8') + index).encode()).hexdigest()
        page = site.work/'pages'/'api'/f'{module.name}.md'
        made = page.exists() and page.read_text(encoding='utf-8')
        site.write(f'api/{module.name}', made if made and made.startswith(key) else f'{key}\n\n{module_page(site, module, names, titles)}')
        site.write(f'source/{module.name}', source_page(module, package))
    rows = sorted((s for m in modules for s in m.symbols if '.' not in s.name), key=lambda s: (s.name.lower(), s.module))
    table = '\n'.join(f'| [`{s.name}`]({s.module}.html#{s.name}) | [{package}.{s.module}]({s.module}.html) | {s.about.replace("|", chr(92) + "|")} |' for s in rows)
    tree = '\n'.join(f'{package}.{m.name} <{m.name}>' for m in modules)
    site.write('api/index', f'# All public names\n\n{len(rows)} names in {len(modules)} modules, one module a lesson.\n\n'
          f'| name | module | what it does |\n|---|---|---|\n{table}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n')

# ---------------------------------------------------------------- the finished HTML, checked

class Page(HTMLParser):
    "What one HTML file offers (`ids`) and asks for (`links` to pages, `loads` of resources, pictures without alt text)"
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.loads, self.bare, self.style = set(), set(), set(), [], False
        text = re.sub(r'(<script\b[^>]*>).*?(?=</script>)', r'\1', text, flags=re.S)   # frames of animations
        self.feed(re.sub(r'</?span(?: class="\w*")?>', '', text))                     # colours of code

    def handle_starttag(self, tag, attributes):
        has = {key: value or '' for key, value in attributes}
        self.ids |= {has[key] for key in ('id', 'name') if has.get(key)}
        self.style = tag == 'style'
        if tag in ('a', 'area') and has.get('href'): self.links.add(has['href'])
        if tag == 'link' and not {'next', 'prev', 'search', 'index', 'canonical'} & set(has.get('rel', '').split()): self.loads.add(has.get('href', ''))
        if tag == 'link' and {'next', 'prev', 'search', 'index'} & set(has.get('rel', '').split()): self.links.add(has.get('href', ''))
        if tag in ('script', 'img', 'iframe', 'source', 'video', 'audio', 'embed', 'input') and has.get('src'): self.loads.add(has['src'])
        if tag == 'object' and has.get('data'): self.loads.add(has['data'])
        if tag == 'img' and not has.get('alt', '').strip(): self.bare.append(has.get('src', has.get('id', '?'))[:80])
        self.loads |= css_loads(has.get('style', ''))

    def handle_data(self, data):
        if self.style: self.loads |= css_loads(data)

    def handle_endtag(self, tag): self.style = False

def css_loads(text):
    found = re.findall(r'url\(\s*["\']?([^"\')]+)|@import\s+["\']([^"\']+)', text)
    return {url or other for url, other in found}

def check_site(out):
    "Everything that is wrong in the folder of HTML `out`: broken links, missing pictures, anything from the internet"
    problems = []
    @lru_cache(maxsize=None)
    def page(path): return Page(path.read_text(encoding='utf-8'))
    def check(here, url, kind):
        parts = urlsplit(url)
        if parts.scheme in ('data', 'mailto', 'javascript', 'about'): return
        if parts.scheme or parts.netloc:
            if kind != 'link': problems.append(f'{here.relative_to(out)}: loads {url} from the internet')
            elif parts.netloc.endswith('.invalid'): problems.append(f'{here.relative_to(out)}: links to {url}, which does not exist')
            return
        target = (here.parent/unquote(parts.path)).resolve() if parts.path else here
        if not target.is_file(): problems.append(f'{here.relative_to(out)}: {kind} {url} leads nowhere')
        elif parts.fragment and target.suffix == '.html' and unquote(parts.fragment) not in page(target).ids:
            problems.append(f'{here.relative_to(out)}: {kind} {url}: no such place on that page')
    out = out.resolve()
    for path in sorted(out.rglob('*.html')):
        if '_static' in path.parts: continue
        for url in sorted(page(path).links - {'#'}): check(path, url, 'link')
        for url in sorted(page(path).loads): check(path, url, 'resource')
        problems += [f'{path.relative_to(out)}: picture {source} has no alt text' for source in page(path).bare]
    for path in sorted(out.rglob('*.css')):
        for url in sorted(css_loads(path.read_text(encoding='utf-8', errors='replace'))): check(path, url.split('#')[0] or path.name, 'resource')
    return problems

# ---------------------------------------------------------------- all of it

def contents(titles, modules):
    "The (hidden) tables of contents that give the side bar and the order of previous and next"
    lessons = '\n'.join(f'{stem[:2]} · {title} <{stem}>' for stem, title in titles.items() if stem != 'index')
    tree = '```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```\n'
    return '\n' + tree.format('The course', lessons) + '\n' + tree.format('Reference', 'glossary\napi/index' if modules else 'glossary')

def sphinx(site):
    "Run Sphinx; give its warnings, each of which is an error"
    run = subprocess.run([sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q', '-j', '2', '-c', str(HERE),
                          '-d', str(site.work/'doctrees'), str(site.work/'pages'), str(site.out)],
                         env={**os.environ, 'LESSONLIB_SITE_TITLE': site.title}, capture_output=True, text=True)
    told = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    return ['Sphinx says:', *told] if run.returncode else []

def tidy(site):
    "Remove what earlier builds left: pages without a source, and files only a debugger of the theme's would load"
    pages = {path.relative_to(site.work/'pages').with_suffix('') for path in site.pages}
    for path in (site.work/'pages').rglob('*.md'):
        if path not in site.pages: path.unlink()
    for path in site.out.rglob('*.html'):
        page = path.relative_to(site.out).with_suffix('')
        if page.parts[0] != '_static' and page not in pages | {Path('search'), Path('genindex')}: path.unlink()
    for path in (site.out/'_static').rglob('*.map'): path.unlink()

def build(site, only=()):
    "Build the site and give the seconds of each step; raises `BuildError` when something in it is broken"
    seconds, clock = {}, time.perf_counter()
    def step(name):
        nonlocal clock
        seconds[name], clock = time.perf_counter() - clock, time.perf_counter()
    books = site.notebooks
    if not any(path.stem == 'index' for path in books): raise BuildError(f'there is no index.ipynb in {site.nbs}: it is the home page')
    modules = sorted(filter(None, map(read_module, site.package.glob('[!_]*.py'))), key=lambda module: module.lesson)
    modules = [module for module in modules if (site.nbs/f'{module.lesson}.ipynb').exists()]
    names = Names(modules, site.package.name)
    with ThreadPoolExecutor(2) as two:
        runs = two.map(lambda path: read(site.execute(path, not only or path.stem in only)), books)
        executed = dict(zip((path.stem for path in books), runs))
    step('notebooks')
    titles = {path.stem: title_of(read(path)) for path in books}
    terms, problems = lesson_pages(site, names, modules, titles, executed)
    problems += glossary(site, names, titles, terms)
    api_pages(site, modules, names, titles)
    tidy(site)
    step('pages')
    problems += sphinx(site)
    tidy(site)
    step('Sphinx')
    problems += check_site(site.out)
    step('check')
    if only: problems = [problem for problem in problems if any(f'{name}.' in problem or f'{name}:' in problem for name in only)]
    if problems: raise BuildError('\n'.join(problems))
    return seconds

def course_site(root=HERE.parent):
    "The site of this repository"
    sys.path.insert(0, str(root))
    from lessonlib import command, course
    # The same settings as in the tests, so that both use the same executed copies.
    os.environ.setdefault('LESSONLIB_DATA', 'practice')
    os.environ.setdefault('LESSONLIB_HOME', str(root/'_build'/'home'))
    os.environ.setdefault('OMP_NUM_THREADS', '1')   # two notebooks at a time: more threads would wait for each other
    cache = root/'_build'/'executed'
    def execute(path, now=True):
        if now: return course.executed(path, cache)
        return cache/path.name if (cache/path.name).exists() else path
    return Site(root/'nbs', root/'lessonlib', root/'_build'/'site', root/'_docs', execute, command.student_edition)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', default=(), metavar='LESSON', help='run only these; other pages show what they gave last time, if anything')
    only = parser.parse_args().only
    site = course_site()
    try: seconds = build(site, only)
    except BuildError as problem: sys.exit(f'The site is not fit to publish:\n{problem}')
    print(f'{len(site.pages)} pages in {site.out} · ' + ' · '.join(f'{name} {value:.1f} s' for name, value in seconds.items()))
    print(f'Open {site.out/"index.html"}')

if __name__ == '__main__': main()
