"""The pages of the course: lessons, the two parts behind them, glossary, "Write a lesson"."""
import html
import json
import re

from anywhere import start_links
from common import read, write
from convert import Converter, is_shown, raw, wrap
from names import source_of
from prose import link_lessons, link_names, slug, TERM

# ---------------------------------------------------------------- lessons

def duration(seconds):
    if seconds < 10: return f'{seconds:.1f} s'
    return f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'


def lesson_bar(stem, notebook, module, site):
    "The line under a lesson's title: how long it ran, the notebook to take away, its module"
    parts, report = [], notebook['metadata'].get('lessonlib', {})
    if report.get('seconds'):
        slowest, cells = report.get('slowest') or {}, notebook['cells']
        cell, words = slowest and cells[slowest['index']], 'slowest cell'
        if cell and is_shown(cell): words = f'<a href="#cell-{cell.get("id")}">slowest cell</a>'
        slow = f'; {words} {duration(slowest["seconds"])}' if slowest else ''
        held = f'; {report["memory"]:,.0f} MB of memory' if report.get('memory') else ''
        ran = f'Ran in {duration(report["seconds"])} on two cores{slow}{held}'
        parts.append(f'<span class="ran">{ran}</span>')
    parts.append('<span class="take">Notebook: '
                 f'<a href="downloads/student/{stem}.ipynb" download>to work through</a>'
                 + (f' · <a href="downloads/{stem}.ipynb" download>with solutions</a>'
                    if site.solutions else '') + '</span>')
    if site.repository:
        links = start_links(site.repository, f'{stem}.ipynb').items()
        places = ' · '.join(f'<a href="{html.escape(place)}">{name}</a>' for name, place in links)
        parts.append(f'<span class="start">{places}</span>')
    if site.held: parts.append(f'<span class="held">{site.held}</span>')
    if module:
        name = f'{module.path.parent.name}.{module.name}'
        link = f'<a href="api/{module.name}.html">{name}</a>'
        parts.append(f'<span class="module">Builds {link}</span>')
    return f'<div class="lesson-bar" data-lesson="{stem}">{"".join(parts)}</div>'


def lesson_pages(site, names, modules, executed):
    "Write page, figures and downloads of every notebook; give the terms they define, the faults"
    terms, problems, absent = [], [], {}
    for path in site.notebooks:
        stem, notebook = path.stem, executed[path.stem]
        # a copy may have older ids
        for cell, latest in zip(notebook['cells'], read(path)['cells']):
            if source_of(cell) == source_of(latest): cell['id'] = latest.get('id', '')
        error = notebook['metadata'].get('lessonlib', {}).get('error')
        if error:
            problems.append(f'{stem}: cell {error["index"] + 1} stopped with {error["name"]}: '
                            f'{error["value"]}')
        if site.titles[stem] is None:
            problems.append(f'{stem}: the first cell must begin with "# Title"')
        converter = lesson_page(site, path, notebook, names, modules)
        terms += [(term, sentence, stem) for term, sentence in converter.terms]
        problems += converter.problems
        for other in converter.absent: absent.setdefault(other, []).append(stem)
    site.notes += [f'{other} is not here: named without a link in {", ".join(absent[other])}'
                   for other in sorted(absent)]
    return terms, problems


def lesson_page(site, path, notebook, names, modules):
    "Write everything of one notebook; gives the converter, which knows terms and faults"
    stem, student, figures = path.stem, site.student(path), set()

    def figure(name, content):
        figures.add(name)
        write(site.out/'figures'/stem/name, content)
        return f'figures/{stem}/{name}'
    answers = {cell.get('id'): source_of(cell) for cell in student['cells']}
    converter = Converter(stem, names, figure, answers, set(site.titles), site.private,
                          site.shorter, site.solutions)
    module = next((m for m in modules if m.lesson == stem), None)
    if stem == 'index':
        yours = '<div class="lesson-bar" data-home></div>'
        text = converter.page(notebook, yours)
        text = text.replace('](../CONTRIBUTING.md)', '](write_a_lesson.html)')
        text += contents(site, modules)
    else: text = converter.page(notebook, lesson_bar(stem, notebook, module, site))
    for image in re.findall(r'!\[[^\]]*\]\(([^):\s]+)\)', text):
        if (site.nbs/image).is_file():
            write(site.work/'pages'/image, (site.nbs/image).read_bytes())
    site.write(stem, text)
    for old in (site.out/'figures'/stem).glob('*'):
        if old.name not in figures: old.unlink()
    edition = json.dumps(student, indent=1, ensure_ascii=False) + '\n'
    if site.solutions: write(site.out/'downloads'/path.name, path.read_bytes())
    else: (site.out/'downloads'/path.name).unlink(missing_ok=True)
    write(site.out/'downloads'/'student'/path.name, edition)
    return converter

# ---------------------------------------------------------------- what stands behind the course

PARTS = {
    'workshop': ('The workshop', 'The notebooks in which the tools of the lessons are made: what '
                 'can go wrong, what is done about it, and a check for each. Read them when a '
                 'lesson made you curious, or never.'),
    'appendix': ('The appendix', 'Drawings, and the course about itself. Nobody reads it in order.')
}


def of_track(site, track):
    return [stem for stem, front in site.fronts.items() if stem != 'index' and front.track == track]


def part_pages(site):
    "A page for the workshop and one for the appendix, with their notebooks below them"
    for track, (title, words) in PARTS.items():
        stems = of_track(site, track)
        if not stems: continue
        rows = '\n'.join(f'| {stem[:2]} | [{site.titles[stem]}]({stem}.html) '
                         f'| {site.fronts[stem].sentence} |' for stem in stems)
        tree = '\n'.join(entry(site, stem) for stem in stems)
        head = '| | notebook | what it is for |\n|---|---|---|'
        site.write(track, f'# {title}\n\n{words}\n\n{head}\n{rows}\n\n'
                          f'```{{toctree}}\n:hidden:\n\n{tree}\n```\n')


def entry(site, stem): return f'{stem[:2]} · {site.titles[stem]} <{stem}>'


def contents(site, modules):
    "The (hidden) tables of contents that give the side bar and the order of previous and next"
    known = set(PARTS) | {'lesson'}
    course = [stem for stem, front in site.fronts.items()
              if stem != 'index' and (front.track == 'lesson' or front.track not in known)]
    reference = ['glossary', 'api/index' if modules else '', 'write_a_lesson' if site.guide else '']
    trees = {'The course': [entry(site, stem) for stem in course],
             'Behind the course': [f'{title} <{track}>' for track, (title, _) in PARTS.items()
                                   if of_track(site, track)],
             'Reference': list(filter(None, reference))}
    return ''.join(f'\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{rows}\n```\n'
                   for caption, lines in trees.items() if lines for rows in ['\n'.join(lines)])

# ---------------------------------------------------------------- glossary and guide

def glossary(site, names, terms):
    "Write the glossary: each term in the sentence that defines it, with the way to its place"
    problems, seen, groups = [], {}, {}
    for term, sentence, stem in terms:
        if slug(term) in seen:
            problems.append(f'{stem}: the term "{term}" is already defined in {seen[slug(term)]}: '
                            'mark it there alone')
        seen[slug(term)] = stem
        groups.setdefault(term.strip('`$ ')[0].upper(), []).append((term, sentence, stem))
    letters = ' '.join(f'<a href="#letter-{letter.lower()}">{letter}</a>'
                       for letter in sorted(groups))
    lines = ['# Glossary', f'The {len(terms)} words of the course, each in the sentence that '
             'introduces it. The lesson named beside it shows the thing itself.',
             raw(f'<p class="letters">{letters}</p>')]
    for letter in sorted(groups):
        lines.append(raw(f'<h2 id="letter-{letter.lower()}" class="letter">{letter}</h2>'))
        for term, sentence, stem in sorted(groups[letter], key=lambda found: found[0].lower()):
            def resolve(text): return names.resolve(text, stem)
            sentence = link_names(TERM.sub(r'**\1**', sentence), resolve)
            place, title = f'{stem}.html#{slug(term)}', site.titles.get(stem) or stem
            about = link_lessons(sentence, set(site.titles))
            body = f'[**{term}**]({place}) [{title}]({place})\n\n{about}'
            lines.append(wrap('div class="term"', body))
    site.write('glossary', '\n\n'.join(lines) + '\n')
    return problems


def guide_page(site, names):
    "The page \"Write a lesson\", from the repository's guide"
    if site.guide is None: return
    text = re.sub(r'\]\(nbs/', '](', site.guide.read_text(encoding='utf-8'))
    text = link_names(text, lambda name: names.resolve(name, 'index'))
    site.write('write_a_lesson', link_lessons(text, set(site.titles)))
