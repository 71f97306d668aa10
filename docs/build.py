"""Build the course's site: `python docs/build.py [--only 01_sgd]`.

Every notebook is executed once (cached by content, shared with the tests) and becomes a page
(pages.py, convert.py, prose.py); the library becomes API and source pages (api.py, names.py);
Sphinx lays them out; the finished HTML is checked (check.py), and what has passed goes to _docs/.
"""
import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from anywhere import with_install_cell
from api import api_pages
from check import check_site, missing_notebooks
from common import BuildError, read, Site, write
from names import Names, read_module
from pages import contents, glossary, guide_page, lesson_pages, part_pages


def sphinx(site):
    "Run Sphinx; give its warnings, each of which is an error"
    command = [sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q', '-j', '2',
               '-c', str(HERE), '-d', str(site.work/'doctrees'), *whole(site),
               str(site.work/'pages'), str(site.out)]
    run = subprocess.run(command, env={**os.environ, 'LESSONLIB_SITE_TITLE': site.title,
                                       'LESSONLIB_SITE_LOGO': str(site.logo or '')},
                         capture_output=True, text=True)
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    return ['Sphinx says:', *lines] if run.returncode else []


def whole(site):
    "Options for Sphinx: every page anew if the frame has changed (a lesson, a title, the look)"
    files = [path for path in sorted(HERE.rglob('*')) if path.suffix in ('.py', '.css', '.js')]
    frame = repr([site.title, str(site.logo), contents(site, [1]), *(path.read_text() for path in files)])
    key = hashlib.sha256(frame.encode()).hexdigest()
    return ['-a', '-E'] if write(site.work/'frame', key) or not site.out.exists() else []


def tidy(site):
    "Remove what earlier builds left: pages without a source, files only a debugger would load"
    pages = {path.relative_to(site.work/'pages').with_suffix('') for path in site.pages}
    for path in (site.work/'pages').rglob('*.md'):
        if path not in site.pages: path.unlink()
    for path in site.out.rglob('*.html'):
        page = path.relative_to(site.out).with_suffix('')
        if page.parts[0] != '_static' and page not in pages | {Path('search'), Path('genindex')}:
            path.unlink()
    for path in (site.out/'_static').rglob('*.map'): path.unlink()


def publish(made, out):
    "Put a finished site in its place: files that differ, each at once; what it no longer has goes"
    for half in [*made.rglob('.*.half'), *out.rglob('.*.half')]: half.unlink()   # of a build that was killed
    files = {path.relative_to(made) for path in made.rglob('*') if path.is_file()}
    for name in sorted(files): write(out/name, (made/name).read_bytes())
    for old in [path for path in out.rglob('*') if path.is_file()]:
        name = old.relative_to(out)   # at the top may lie what a web server wants
        if name not in files and (len(name.parts) > 1 or old.suffix == '.html'): old.unlink()


def build(site, only=()):
    """Build the site, give the seconds of each step; raises `BuildError` when something is broken

    Until all is done and checked, nothing in `site.out` changes."""
    seconds, clock = {}, time.perf_counter()
    place, site = site.out, replace(site, out=site.work/'html')

    def step(name):
        nonlocal clock
        seconds[name], clock = time.perf_counter() - clock, time.perf_counter()
    if 'index' not in site.titles:
        raise BuildError(f'there is no index.ipynb in {site.nbs}: it is the home page')
    modules = [module for module in map(read_module, site.package.glob('[!_]*.py')) if module]
    modules.sort(key=lambda module: module.lesson)
    missing = missing_notebooks({path.stem: read(path) for path in site.notebooks}, modules,
                                site.package.name)
    if missing: raise BuildError('\n'.join(missing))
    modules = [module for module in modules if module.lesson in site.titles]
    names = Names(modules, site.package.name)
    with ThreadPoolExecutor(2) as two:
        runs = two.map(lambda path: read(site.execute(path, not only or path.stem in only)),
                       site.notebooks)
        executed = dict(zip(site.titles, runs))
    step('notebooks')
    terms, problems = lesson_pages(site, names, modules, executed)
    problems += glossary(site, names, terms)
    part_pages(site)
    guide_page(site, names)
    api_pages(site, modules, names)
    tidy(site)
    step('pages')
    problems += sphinx(site)
    tidy(site)
    step('Sphinx')
    problems += check_site(site.out)
    step('check')
    if only: problems = [problem for problem in problems
                         if any(f'{name}.' in problem or f'{name}:' in problem for name in only)]
    if problems:
        (site.work/'frame').unlink(missing_ok=True)
        raise BuildError('\n'.join(problems))
    publish(site.out, place)
    return seconds


def course_site(root=HERE.parent):
    "The site of this repository"
    from lessonlib import command, course
    settings = ConfigParser(delimiters=['='])
    settings.read(root/'settings.ini', encoding='utf-8')
    # The same settings as in the tests, so that both use the same executed copies.
    os.environ.setdefault('LESSONLIB_DATA', 'practice')
    os.environ.setdefault('LESSONLIB_HOME', str(root/'_build'/'home'))
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # two notebooks at a time: more would wait
    cache = root/'_build'/'executed'

    def execute(path, now=True):
        if now: return course.executed(path, cache)
        return cache/path.name if (cache/path.name).exists() else path
    private = root, Path.home(), sys.prefix, tempfile.gettempdir()
    shorter = {re.escape(os.environ['LESSONLIB_HOME']): '~/.lessonlib',
               re.escape(tempfile.gettempdir()) + r'/(?!ipykernel)[\w-]+': '…'}
    guide = root/'CONTRIBUTING.md'
    repository = os.environ.get('LESSONLIB_REPOSITORY', '')

    def student(path):
        edition = command.student_edition(path)
        if not repository: return edition
        return with_install_cell(edition, repository)
    return Site(root/'nbs', root/'lessonlib', root/'_build'/'site', root/'_docs', execute,
                student, title=settings['DEFAULT']['title'], repository=repository,
                guide=guide if guide.exists() else None,
                private=tuple(f'{folder}/' for folder in map(str, private) if len(folder) > 1),
                shorter=shorter)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', default=(), metavar='LESSON',
                        help='run only these; other pages show what they gave last time')
    only = parser.parse_args().only
    site = course_site()
    site.work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(site.work/'lock'): seconds = build(site, only)   # another one at work is waited for
    except BuildError as problem: sys.exit(f'The site is not fit to publish:\n{problem}')
    print(*site.notes, sep='\n')
    print(f'{len(site.pages)} pages in {site.out} · '
          + ' · '.join(f'{name} {value:.1f} s' for name, value in seconds.items()))
    print(f'Open {site.out/"index.html"}')


if __name__ == '__main__': main()
