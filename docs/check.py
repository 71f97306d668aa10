"""What must be right before a site is published: a whole course, and HTML that leads somewhere."""
import ast
import re
from functools import lru_cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from names import source_of

# ---------------------------------------------------------------- the course, before anything runs

def missing_notebooks(books, modules, package):
    "A line for each module that a notebook imports and that no notebook here builds"
    here = {module.name for module in modules if module.lesson in books}
    lessons = {module.name: module.lesson for module in modules}
    users = {}
    for stem, book in books.items():
        for name in imported_modules(book, package) - here: users.setdefault(name, []).append(stem)
    return [f'{lessons[name]}.ipynb is missing: {", ".join(users[name])} import {package}.{name}, '
            'which it builds' if name in lessons else
            f'no notebook builds {package}.{name}, which {", ".join(users[name])} import'
            for name in sorted(users)]


def imported_modules(book, package):
    "The modules of the package that the code of a notebook imports"
    found = set()
    for cell in book['cells']:
        if cell['cell_type'] != 'code' or package not in source_of(cell): continue
        source = re.sub(r'^[ \t]*[%!].*$', '', source_of(cell), flags=re.M)
        try: tree = ast.parse(source)
        except SyntaxError: continue  # an example of what does not work
        for node in ast.walk(tree):
            names = ([node.module or ''] if isinstance(node, ast.ImportFrom) and not node.level else
                     [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
            found |= {name.split('.')[1] for name in names if name.startswith(f'{package}.')}
    return {name for name in found if not name.startswith('_')}

# ---------------------------------------------------------------- what a cell has shown

def indecent(text, private=()):
    "What an output shows and nobody wants to read: an address in memory, a folder of this machine"
    found = re.search(r'[\w.]+ object at 0x[0-9a-f]+', text)
    if found: yield f'shows {found[0]}: give the class a `__repr__`'
    for folder in private:
        if folder in text: yield f'shows a folder of this machine, {folder}'


def literal_newline(text):
    "A `\\n` that was meant to end a line"
    if re.search(r'(?<!\\)\\n', text): yield r'shows a literal \n: print the text, not its repr'

# ---------------------------------------------------------------- the finished HTML

LINKS = {'next', 'prev', 'search', 'index'}
SOURCES = 'script', 'img', 'iframe', 'source', 'video', 'audio', 'embed', 'input'


class Page(HTMLParser):
    "What an HTML file offers (`ids`) and asks for (`links`, `loads`), pictures without alt text"
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.loads, self.bare, self.style = set(), set(), set(), [], False
        # without the frames of films
        text = re.sub(r'(<script\b[^>]*>).*?(?=</script>)', r'\1', text, flags=re.S)
        self.feed(re.sub(r'</?span(?: class="\w*")?>', '', text))  # colours of code

    def handle_starttag(self, tag, attributes):
        has = {key: value or '' for key, value in attributes}
        self.ids |= {has[key] for key in ('id', 'name') if has.get(key)}
        self.style = tag == 'style'
        if tag in ('a', 'area') and has.get('href'): self.links.add(has['href'])
        if tag == 'link':
            kinds = set(has.get('rel', '').split())
            if kinds & LINKS: self.links.add(has.get('href', ''))
            elif 'canonical' not in kinds: self.loads.add(has.get('href', ''))
        if tag in SOURCES and has.get('src'): self.loads.add(has['src'])
        if tag == 'object' and has.get('data'): self.loads.add(has['data'])
        if tag == 'img' and not has.get('alt', '').strip():
            self.bare.append(has.get('src', has.get('id', '?'))[:80])
        self.loads |= css_loads(has.get('style', ''))

    def handle_data(self, data):
        if self.style: self.loads |= css_loads(data)

    def handle_endtag(self, tag): self.style = False


def css_loads(text):
    found = re.findall(r'url\(\s*["\']?([^"\')]+)|@import\s+["\']([^"\']+)', text)
    return {url or other for url, other in found}


def check_site(out):
    "Everything that is wrong in the HTML in `out`: broken links, missing pictures, the internet"
    problems, out = [], out.resolve()

    @lru_cache(maxsize=None)
    def page(path): return Page(path.read_text(encoding='utf-8'))

    def check(here, url, kind):
        parts, place = urlsplit(url), here.relative_to(out)
        if parts.scheme in ('data', 'mailto', 'javascript', 'about'): return
        if parts.scheme or parts.netloc:
            if kind != 'link': problems.append(f'{place}: loads {url} from the internet')
            elif parts.netloc.endswith('.invalid'):
                problems.append(f'{place}: links to {url}, which does not exist')
            return
        target = (here.parent/unquote(parts.path)).resolve() if parts.path else here
        if not target.is_file(): problems.append(f'{place}: {kind} {url} leads nowhere')
        elif (parts.fragment and target.suffix == '.html'
              and unquote(parts.fragment) not in page(target).ids):
            problems.append(f'{place}: {kind} {url}: no such place on that page')

    for path in sorted(out.rglob('*.html')):
        if '_static' in path.parts: continue
        for url in sorted(page(path).links - {'#'}): check(path, url, 'link')
        for url in sorted(page(path).loads): check(path, url, 'resource')
        problems += [f'{path.relative_to(out)}: picture {source} has no alt text'
                     for source in page(path).bare]
    for path in sorted(out.rglob('*.css')):
        for url in sorted(css_loads(path.read_text(encoding='utf-8', errors='replace'))):
            check(path, url.split('#')[0] or path.name, 'resource')
    return problems
