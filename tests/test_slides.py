"""Slides: what goes on which, and in a real browser that nothing overflows, from disk, offline."""
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'docs'), str(ROOT/'tests')]
import build
import slides
import sync
from helpers.browser import browser_page, needs_chromium

pytestmark = pytest.mark.xdist_group('site')

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}"><rect width="100%" height="100%" fill="teal"/></svg>'

def markdown(text, mark=None, name='m'):
    metadata = {'slideshow': {'slide_type': mark}} if mark else {}
    return dict(cell_type='markdown', id=name, metadata=metadata, source=text)

def code(text, *outputs, mark=None, name='c'):
    return {**markdown(text, mark, name), 'cell_type': 'code', 'outputs': list(outputs), 'execution_count': 1}

def prints(text): return dict(output_type='stream', name='stdout', text=text)
def shows(alt=None, **data):
    data = {kind.replace('_', '/'): value for kind, value in data.items()}
    return dict(output_type='display_data', data=data, metadata={'alt': alt} if alt else {})
def draws(width, height): return shows('A teal box', **{'image_svg+xml': SVG.format(width, height)})

def table(rows, columns):
    head = ''.join(f'<th>a column number {i}</th>' for i in range(columns))
    body = ''.join('<tr>' + f'<td>{"word " * 12}{row}</td>' * columns + '</tr>' for row in range(rows))
    return shows(text_html=f'<table border="1" class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')

ASK = shows(text_html='<div class="predict-first"><p>Up or down?</p><ul><li>up</li><li>down</li></ul></div>')
TELL = shows(text_html='<p class="predicted">It is: <b>down</b>. Because of gravity.</p>')
WORDS = 'This sentence has exactly eight words in it. '

CELLS = [
    markdown('# Falling\n\n> You will let a thing fall.\n\n- track: lesson'),
    markdown('> **Before you start.** A minute. See [the next](02_next.ipynb#Place) and [one](77_gone.ipynb).'),
    code('import os'),
    markdown('Text before any heading.\n\n## The idea\n\nThings fall. ' + WORDS * 30 + '\n\nA ***law*** is a rule.\n\n'
             '$$s = \\frac{1}{2} g t^2$$\n\nAnd $g$ is a number.'),
    code('#| export\ndef fall(t):\n    "How far a thing falls"\n    return 9.81 / 2 * t**2', name='c1'),
    code('assert fall(0) == 0\nprint(fall(1))\nif fall:\n    assert fall(2) > 4', prints('4.905\n'), name='c2'),
    markdown('## A picture\n\nLook at it.'),
    code('\n'.join(f'plot({i})' for i in range(12)), draws(640, 400), name='c3'),
    markdown('The box is teal and stands in the middle.\n\nSo much for that. What comes next?'),
    code("with predict_first('Up or down?', 'up', 'down') as guess:\n    x = fall(1)\n    print(x)\n    guess.answer('down', 'x')",
         ASK, prints('4.9\n'), TELL, name='c4'),
    code('\n'.join(f'long = {i}' for i in range(60)), prints('never shown\n'), name='c5'),
    markdown('> **In short.** Things fall. They fall faster and faster.'),
    markdown('## Exercises\n\nWrite in place of the `...`.\n\n### Exercise 1: twice\n\nWrite `twice(x)`.'),
    code('def twice(x):\n    ### BEGIN SOLUTION\n    return x + x + secret\n    ### END SOLUTION', name='c6'),
    code("@exercise('hint')\ndef check_twice(f): assert f(2) == 4\ncheck_twice(twice)", prints('Right\n'), name='c7'),
    markdown('## Questionnaire\n\n' + '\n\n'.join(f'**{i}.** Why is it number {i}?\n\n<details><summary>Answer</summary>\n\n'
             f'Because of {i}.\n\n</details>' for i in range(1, 7)))]

TOO_MUCH = [
    markdown('# Too much of everything\n\n> ' + WORDS * 12 + '\n\n- track: lesson'),
    markdown('## ' + 'A very long heading ' * 9 + '\n\n' + WORDS * 40, 'slide'),
    markdown('## Lists\n\n' + '\n'.join(f'- {WORDS * 2}' for _ in range(20))),
    code('\n'.join(f'row_{i} = {"1 + " * 22}1' for i in range(70)), mark='slide', name='c1'),
    code('print()', prints(('x' * 300 + '\n') * 50), name='c2'), code('show()', prints('y' * 5000 + '\n'), name='c3'),
    code('table', table(30, 14), name='c4'), code('draw', draws(300, 2500), name='c5'), code('draw', draws(3000, 200), name='c6'),
    code('draw', draws(800, 700), draws(900, 700), prints('z\n' * 30), name='c7'),
    markdown('## Formulas\n\n' + '\n\n'.join(['$$' + ' + '.join(f'\\frac{{x_{{{i}}}}}{{y}}' for i in range(24)) + '$$'] * 8)),
    markdown('### Exercise 1: much\n\n' + WORDS * 60 + '\n\n' + '\n'.join(f'1. {WORDS}' for _ in range(9)))]


def student(path):
    book = json.loads(path.read_text())
    for cell in book['cells']:
        cell['source'] = re.sub(r'### BEGIN.*?### END SOLUTION', '...', cell['source'], flags=re.S)
    return book


@pytest.fixture(scope='module')
def decks(tmp_path_factory):
    "The slides of three made lessons: the site's description, the folder, the text of a deck"
    root = tmp_path_factory.mktemp('decks')
    (root/'nbs').mkdir()
    books = {'index': [markdown('# Home')], '01_falling': CELLS, '03_much': TOO_MUCH,
             '02_next': [markdown('# Next\n\n> You will go on.\n\n- track: lesson'), markdown('## On\n\nGo on.')],
             '04_shop': [markdown('# Shop\n\n> You will work.\n\n- track: workshop')]}
    for name, cells in books.items():
        book = dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)
        (root/'nbs'/f'{name}.ipynb').write_text(json.dumps(book))
    site = build.Site(root/'nbs', root/'toys', root/'work', root/'out', lambda path, now=True: path, student, 'Toys')
    made = slides.build_slides(site, root/'out')
    return SimpleNamespace(root=root, site=site, made=made, out=root/'out',
                           page=lambda name: (root/'out'/f'{name}.html').read_text())


def sections(page): return re.findall(r'<section class="kind-(\w+)".*?</section>', page, re.S), re.findall(r'<section.*?</section>', page, re.S)
def words(markup): return ' '.join(re.sub(r'<[^>]+>', '', markup).split())
def without_notes(markup): return re.sub(r'<aside.*?</aside>', '', markup, flags=re.S)

# ---------------------------------------------------------------- what goes where

def test_each_cell_has_its_slide(decks):
    kinds, found = sections(decks.page('01_falling'))
    assert kinds == ['title', 'idea', 'code', 'idea', 'picture', 'question', 'answer', 'short', 'idea', 'exercise',
                     'questionnaire', 'questionnaire']
    title, idea, shown, _, picture, question, answer, short, _, exercise, first, _ = map(without_notes, found)
    assert words(title) == 'Falling You will let a thing fall. Toys'
    assert 'Things fall.' in idea and '<dfn>law</dfn> is a rule' in idea and r'\[s = \frac{1}{2} g t^2\]' in idea
    assert 'And' not in idea and idea.count('exactly eight') == 5  # first sentences alone
    assert 'def</span>' in shown and 'return' in shown and '4.905' in shown and 'assert' not in shown and 'if' not in words(shown).split()
    assert 'teal' in picture and 'plot' not in picture and '<div class="caption fragment">' in picture
    assert 'Up or down?' in question and 'down</b>' not in question and '4.9' not in question
    assert '4.9' in answer and 'predicted fragment' in answer and 'guess' not in answer
    assert short.count('<li>') == 2 and 'twice(x)' in exercise and '...' in words(exercise)
    assert words(first).startswith('Questionnaire 1. Why') and first.count('Why') == 4


def test_what_is_left_out_is_in_the_notes_or_nowhere(decks):
    page = decks.page('01_falling')
    shown, notes = without_notes(page), ' '.join(re.findall(r'<aside.*?</aside>', page, re.S))
    for text in ('And', 'So much for that', 'Because of 3', 'A minute'): assert text in notes and text not in shown, text
    assert page.count('exactly eight') == 5 + 30
    for text in ('secret', 'SOLUTION', 'Right', 'check_twice', 'never shown', 'long', 'import'): assert text not in page, text
    kinds, found = sections(page)
    aside = {kind: ''.join(re.findall(r'<aside.*?</aside>', one, re.S)) for kind, one in zip(kinds, found)}
    assert 'So much for that' not in aside['picture'] and 'What comes next?' in aside['question']


def test_links_lead_to_slides_or_are_plain_text(decks):
    page = decks.page('01_falling')
    assert '<a href="02_next.html">the next</a>' in page and 'gone' not in page and 'and one.' in words(page)


@pytest.mark.parametrize('mark, place', [('slide', 'slide'), ('subslide', 'slide'), ('fragment', 'same slide'), ('notes', 'notes'),
                                         ('skip', 'nowhere'), (None, 'notes'), ('-', 'notes')])
def test_an_author_may_say_where_a_cell_goes(decks, mark, place):
    deck = slides.Deck('x', slides.Names([]), None, {}, set())
    made = deck.all(dict(cells=[markdown('# T'), markdown('## H\n\nIdea.'), markdown('Some more words.', mark)]))
    page = [slides.section(deck, slide, 0, '', '') for slide in made]
    shown = [without_notes(markup) for markup in page]
    found = ['Some more words' in text for text in shown]
    assert found == {'slide': [0, 0, 1], 'same slide': [0, 1], 'notes': [0, 0], 'nowhere': [0, 0]}[place]
    assert ('Some more words' in ''.join(page)) == (place != 'nowhere')
    assert ('class="fragment"' in ''.join(shown)) == (mark == 'fragment')


def test_marked_code_is_shown_however_long(decks):
    deck = slides.Deck('x', slides.Names([]), None, {}, set())
    long = '\n'.join(f'row = {i}' for i in range(40))
    for mark, there in (('slide', True), (None, False)):
        deck.slides = []
        made = deck.all(dict(cells=[markdown('# T'), markdown('## H\n\nIdea.'), code(long, mark=mark)]))
        text = words(''.join(markup for slide in made for markup, _ in slide.parts))
        assert ('row = 39' in text) == there, mark


def test_sync_keeps_the_marks(tmp_path):
    path = tmp_path/'a.ipynb'
    cells = [markdown('a', 'skip'), markdown('b', '-'), markdown('c')]
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    marks = sync.slide_marks(path)
    assert marks == {0: {'slide_type': 'skip'}}
    for cell in cells: cell['metadata'] = {}
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    sync.mark_slides(path, marks)
    assert [cell['metadata'] for cell in json.loads(path.read_text())['cells']] == [{'slideshow': {'slide_type': 'skip'}}, {}, {}]


@pytest.mark.parametrize('source, lean, checks', [
    ('x = 1\nassert x', 'x = 1', True), ('test_eq(1, 1)', '', True), ('if x:\n    assert y\nz = 2', 'z = 2', True),
    ('if x:\n    assert y\n    y = 2', 'if x:\n    y = 2', True), ('with expect(ValueError):\n    f()\nf', 'f', True), ('x = 1', 'x = 1', False),
    ('not python (', 'not python (', False)])
def test_checks_are_taken_out(source, lean, checks): assert slides.without_checks(source) == (lean, checks)


def test_of_a_long_definition_its_head_remains():
    text = 'class A(B):\n    "Does it"\n    def __init__(self, x, *rest, y=1):\n        self.x = x\n    def _no(self): ...\n    def go(self):\n        "Goes"\n        return 1\ndef _private(): ...'
    assert slides.outline(text) == 'class A(B):\n    "Does it"\n    def __init__(self, x, *rest, y): ...\n    def go(self): ...  # Goes'


def test_a_lesson_that_stopped_has_no_slides(decks):
    path = decks.site.nbs/'02_next.ipynb'
    before = path.read_text()
    book = json.loads(before)
    book['metadata']['lessonlib'] = {'error': {'index': 1, 'name': 'ValueError', 'value': 'no'}}
    path.write_text(json.dumps(book))
    try:
        with pytest.raises(slides.BuildError, match='02_next: cell 2 stopped with ValueError'):
            slides.build_slides(decks.site, decks.root/'other', only=['02_next'])
    finally: path.write_text(before)


def test_the_list_of_decks(decks):
    assert list(decks.made) == ['01_falling', '02_next', '03_much']  # not the workshop
    index = decks.page('index')
    assert '<a href="01_falling.html">Falling</a> <small>12 slides</small>' in index and 'Shop' not in index

# ---------------------------------------------------------------- in a browser

MEASURE = '''() => [...document.querySelectorAll('.slides > section')].map(section => {
  const before = section.style.cssText, body = section.querySelector('.body');
  section.style.display = 'flex'; section.style.visibility = 'hidden'; section.removeAttribute('hidden');
  const frame = section.getBoundingClientRect(), faults = [];
  if (section.scrollHeight > 720 || section.scrollWidth > 1280) faults.push(`${section.scrollWidth} × ${section.scrollHeight}`);
  if (body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1) faults.push('the body scrolls');
  for (const one of section.querySelectorAll('h1, h2, .body *')) {
    const box = one.getBoundingClientRect();
    if (box.width && box.height && (box.bottom > frame.bottom + 1 || box.right > frame.right + 1 || box.left < frame.left))
      faults.push(`${one.tagName} ends at ${box.right} × ${box.bottom}`);
  }
  section.style.cssText = before;
  return { id: section.id, faults: faults.slice(0, 3), scale: Number(section.dataset.scale) };
})'''


@pytest.fixture(scope='module')
def browser(decks):
    with browser_page(1280, 720) as page: yield page


def open_deck(page, decks, name):
    page.watch.forget()
    page.goto((decks.out/f'{name}.html').as_uri())
    page.wait_for_selector('html[data-ready]', timeout=60_000)
    return page


@needs_chromium
@pytest.mark.parametrize('name', ['01_falling', '03_much'])
def test_nothing_overflows_and_nothing_comes_from_outside(decks, browser, name):
    page = open_deck(browser, decks, name)
    rows = page.evaluate(MEASURE)
    assert len(rows) == page.evaluate('Reveal.getTotalSlides()') == decks.made[name]
    assert [row for row in rows if row['faults']] == []
    if name == '01_falling': assert min(row['scale'] for row in rows) >= .9
    assert page.watch.external == [] and page.watch.complaints == []


@needs_chromium
def test_the_measure_sees_what_overflows(decks, browser):
    page = open_deck(browser, decks, '01_falling')
    page.evaluate("document.querySelector('#s2 .body').insertAdjacentHTML('beforeend', '<p style=\"height:700px\">x</p>')")
    assert [row['id'] for row in page.evaluate(MEASURE) if row['faults']] == ['s2']


@needs_chromium
def test_keys_turn_the_slides_and_formulas_are_drawn(decks, browser):
    page = open_deck(browser, decks, '01_falling')
    number = 'Reveal.getIndices().h'
    assert page.evaluate(number) == 0 and page.locator('#s1 h1').is_visible()
    page.keyboard.press('ArrowRight')
    assert page.evaluate(number) == 1 and page.locator('#s2 mjx-container svg').first.is_visible()
    page.keyboard.press('ArrowLeft')
    assert page.evaluate(number) == 0
    for _ in range(4): page.keyboard.press('ArrowRight')
    assert page.evaluate(number) == 4 and not page.evaluate("document.querySelector('#s5 .caption').classList.contains('visible')")
    page.keyboard.press('ArrowRight')   # the caption comes, the slide stays
    assert page.evaluate(number) == 4 and page.evaluate("document.querySelector('#s5 .caption').classList.contains('visible')")
    page.keyboard.press('End')
    assert page.evaluate(number) == decks.made['01_falling'] - 1


@needs_chromium
def test_the_speaker_has_notes(decks, browser):
    page = open_deck(browser, decks, '01_falling')
    page.evaluate('Reveal.slide(1)')
    with page.expect_popup(timeout=20_000) as opened: page.keyboard.press('s')
    notes = opened.value
    try:
        notes.wait_for_function("document.querySelector('.speaker-controls-notes .value')?.innerText.includes('is a number')", timeout=20_000)
        page.keyboard.press('ArrowRight')
    finally: notes.close()
