"""A course of one's own: some lessons, with what they need, as site, student folder and slides.

`lessonlib build --only 01 05 11 26 --title "Seeing machines" --out my_course` calls `edition`.
"""
import ast
import json
import re
import shutil
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import build
from anywhere import repository_parts, with_install_cell
from check import imported_modules
from common import BuildError, read, write  # whoever calls `edition` catches a BuildError
from names import source_of
from prose import LESSON_LINK, outside_fences
from slides import build_slides

from lessonlib.command import write_lessons
from lessonlib.course import _SOLUTION, about, course_map, CourseError, find_lesson, lessons, module_names

# ---------------------------------------------------------------- which notebooks

def chosen(names, nbs, package='lessonlib'):
    "The notebooks that are meant ('01,05 sgd'), and those that have to come with them"
    words = [word for name in names for word in re.split(r'[,\s]+', name) if word]
    if not words:  # the whole course
        fronts = {path.stem: about(path).track for path in lessons(nbs) if path.stem != 'index'}
        main = [stem for stem, track in fronts.items() if track not in ('workshop', 'appendix')]
        return main, [stem for stem in fronts if stem not in main]
    stems = [find_lesson(word, nbs).stem for word in words]
    if 'index' in stems: raise CourseError('the home page is written anew: name lessons alone')
    makers = {module: stem for stem, module in module_names(nbs).items()}
    here, todo = set(stems), list(dict.fromkeys(stems))
    while todo:
        modules = imported_modules(read(Path(nbs)/f'{todo.pop()}.ipynb'), package)
        new = {makers[module] for module in modules if module in makers} - here
        here |= new
        todo += sorted(new)
    order = [path.stem for path in lessons(nbs) if path.stem in here]
    return [stem for stem in order if stem in stems], [stem for stem in order if stem not in stems]

# ---------------------------------------------------------------- answers

def solutions_shown(words, today=None):
    "Are solutions shown, and what to say about it: 'folded', 'never', or 'after 2026-03-01'"
    words = ' '.join(words).split()
    if words == ['folded']: return True, ''
    if words == ['never']: return False, ''
    if len(words) == 2 and words[0] == 'after':
        try: day = date.fromisoformat(words[1])
        except ValueError: pass
        else:
            if (today or date.today()) >= day: return True, ''
            return False, f'Solutions from {day.day} {day:%B %Y} on'
    raise CourseError(f'--solutions {" ".join(words)}: say never, folded, or after and a day such '
                      'as 2026-03-01')


def solution_lines(book):
    "The lines of all solutions of a notebook that are long enough to be nobody else's"
    texts = [text for cell in book['cells'] if cell['cell_type'] == 'code'
             for _, text in _SOLUTION.findall(source_of(cell))]
    lines = [re.sub(r'\s+#\s.*$', '', line).strip() for text in texts for line in text.splitlines()]
    cores = [re.sub(r'^(return|[\w, ]+ [-+*/]?=(?!=))\s*', '', line) for line in lines]
    return {core for core in cores if len(core) > 11}


def without_telling_hints(source, lines):
    "The source of a check whose hints do not say a line of the solution"
    if not re.search(r'^@exercise\b', source, re.M): return source
    edits = []
    for node in ast.walk(ast.parse(re.sub(r'^(?=[%!])', '#', source, flags=re.M))):
        for call in getattr(node, 'decorator_list', []):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != 'exercise': continue
            edits += [part for part in call.args if isinstance(part, ast.Constant)
                      and any(line in str(part.value) for line in lines)]
    rows = source.split('\n')
    for part in sorted(edits, key=lambda part: -part.lineno):
        first, last = part.lineno - 1, part.end_lineno - 1
        start = rows[first].encode()[:part.col_offset].decode()
        end = rows[last].encode()[part.end_col_offset:].decode()
        rows[first:last + 1] = [f"{start}'that is all that is said here: ask your teacher'{end}"]
    return '\n'.join(rows)

def held_back(book):
    "The notebook without its solutions: between their marks stands `...`, and no hint says them"
    lines = solution_lines(book)
    for cell in book['cells']:
        source = source_of(cell)
        if cell['cell_type'] != 'code' or not lines: continue
        cell['source'] = without_telling_hints(source, lines)
        if _SOLUTION.search(source):
            cell['source'] = _SOLUTION.sub(lambda region: '\n'.join(
                region[1] + line for line in ('### BEGIN SOLUTION', '...', '### END SOLUTION')), source)
            cell['outputs'] = []
    return book

# ---------------------------------------------------------------- the notebooks of the edition

def write_notebooks(nbs, folder, main, added, title, shown, repository):
    "Copies of the notebooks, as this course has them, and a home page"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    here = {*main, *added}
    for stem in (*main, *added):
        book = read(nbs/f'{stem}.ipynb')
        if not shown: book = held_back(book)
        for number, cell in enumerate(book['cells']):
            source = source_of(cell)
            if cell['cell_type'] == 'markdown':
                source = plain_links(source, here)
                if number == 0 and stem in added:
                    source = re.sub(r'^- star:.*\n?', '', source, flags=re.M)
                    source = re.sub(r'^- track: *lesson', '- track: workshop', source, flags=re.M)
            cell['source'] = source
        if repository: book = with_install_cell(book, repository)
        (folder/f'{stem}.ipynb').write_text(json.dumps(book, indent=1, ensure_ascii=False))
    count = f'{len(main)} lessons' if len(main) > 1 else 'One lesson'
    behind = ' What they stand on is behind the course.' if added else ''
    home = f'# {title}\n\n{count}, to read here and to run.{behind}\n\n{course_map(folder)}'
    cells = [dict(cell_type='markdown', id='home', metadata={}, source=home)]
    book = dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)
    (folder/'index.ipynb').write_text(json.dumps(book, indent=1, ensure_ascii=False))


def plain_links(text, here):
    "Links to notebooks that are not `here` as plain text; the others stay"
    def link(match): return match[0] if match[2] in here else match[1]
    return outside_fences(text, lambda prose: LESSON_LINK.sub(link, prose))


def edition(only, out, title='', logo=None, solutions=('folded',), repository='', site=None, today=None):
    """Write site/, student/ and slides/ of a course of these lessons into the folder `out`;
    give the lines to print. `site`: the whole course (default: this repository)."""
    shown, held = solutions_shown(solutions, today)
    whole = site or build.course_site()
    main, added = chosen(only, whole.nbs, whole.package.name)
    if repository: repository_parts(repository)
    if logo and not (Path(logo).is_file() and Path(logo).suffix.lower() in ('.png', '.svg', '.jpg', '.jpeg', '.webp')):
        raise CourseError(f'--logo {logo}: there is no such picture (png, svg, jpg or webp)')
    out, title = Path(out).resolve(), title or whole.title
    if any(out.iterdir() if out.is_dir() else ()) and not (out/MARK).exists():
        raise CourseError(f'--out {out}: this folder holds something else; name a new one')
    out.mkdir(parents=True, exist_ok=True)
    (out/MARK).write_text(' '.join(main) + '\n')
    work = out/'.work'
    write_notebooks(whole.nbs, work/'nbs', main, added, title, shown, repository)
    for part in PARTS: shutil.rmtree(out/part, ignore_errors=True)

    def execute(path, now=True):
        if path.stem == 'index': return path
        copy, own_copy = whole.execute(whole.nbs/path.name, now), work/'executed'/path.name
        if shown: return copy
        write(own_copy, json.dumps(held_back(read(copy))))
        return own_copy
    shutil.rmtree(work/'pages', ignore_errors=True)
    own = replace(whole, nbs=work/'nbs', work=work, out=out/'site', execute=execute, title=title, guide=None,
                  pages=set(), notes=[], solutions=shown, held=held, logo=Path(logo).resolve() if logo else None,
                  repository=repository)
    try:
        build.build(own)
        build_slides(own, out/'slides', only=main, logo=logo)
        write_lessons(out/'student', work/'nbs')
    except BaseException:   # nothing half made stays
        for part in PARTS: shutil.rmtree(out/part, ignore_errors=True)
        raise
    finally: shutil.rmtree(work, ignore_errors=True)
    said = [f'{title}: {", ".join(main)}']
    if added and only: said.append(f'They stand on these, which come with them: {", ".join(added)}')
    if not shown: said.append(f'{held or "No solutions"}: none is in the pages, the search or the notebooks.'
                              + (' Build again on that day.' if held else ''))
    if repository: said.append(f'The buttons lead to the folder student of {repository}: push this project there, '
                               f'and {out/"student"} as its folder student')
    return [*said, f'Site:     {out/"site"/"index.html"}', f'Slides:   {out/"slides"/"index.html"}',
            f'Students: {out/"student"}']


MARK, PARTS = '.lessonlib-edition', ('site', 'slides', 'student')
