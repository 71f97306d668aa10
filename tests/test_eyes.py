"""The site for everybody's eyes and hands: WCAG 2.2 AA by axe-core on every page in both themes, the keyboard alone,
less motion, colours that colour-blind readers tell apart, and alt text that says what to see.

axe-core (MPL-2.0) comes with the package axe-playwright-python, for developing alone; nothing of it is in this repository.
"""
import json
import re
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from helpers.browser import browser_page, needs_chromium
from helpers.colours import lab, MACHADO, nearest
from lessonlib.cleaner import _COLOURS
from lessonlib.course import _LINES
from lessonlib.segmentation import code_colours

pytestmark = pytest.mark.xdist_group('site')

KINDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
NO_FORMULAS = 'Object.defineProperty(window, "MathJax", {value: {startup: {typeset: false}}, writable: false});'

# A page has thousands of words and few looks. What decides the contrast of a word is its colour, size and weight, and what
# lies behind it; so axe-core measures each such look once, wherever it is met first.
LOOKS = '''known => {
  document.querySelectorAll('details').forEach(fold => { fold.open = true; });
  const seen = new Set(known);
  for (const theme of ['light', 'dark']) {
    document.documentElement.dataset.theme = theme;
    const behind = new Map(), ground = part => { if (!part) return '';
      if (!behind.has(part)) { const look = getComputedStyle(part);
        behind.set(part, [look.backgroundColor, look.backgroundImage, look.opacity, look.filter].join() + ground(part.parentElement)); }
      return behind.get(part); };
    for (const part of document.body.querySelectorAll(':not(script, style, svg *)')) {
      if (![...part.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
      const look = getComputedStyle(part), key = [theme, look.color, look.fontSize, look.fontWeight, ground(part)].join();
      if (!seen.has(key) && part.checkVisibility({visibilityProperty: true})) { seen.add(key); part.setAttribute(`data-${theme}`, ''); }
    }
  }
  for (const word of [...document.querySelectorAll('div.highlight pre span')].reverse())
    if (!word.matches('[data-light], [data-dark]') && !word.firstElementChild) word.replaceWith(word.textContent);
  document.querySelectorAll('div.highlight pre').forEach(pre => pre.normalize());
  return [...seen];
}'''
CONTRAST = '''async theme => {
  document.documentElement.dataset.theme = theme;
  if (!document.querySelector(`[data-${theme}]`)) return [];
  return TOLD(await axe.run({include: [`[data-${theme}]`]}, {resultTypes: ['violations'], runOnly: {type: 'rule', values: ['color-contrast']}}));
}'''
# Everything else. The frame (side bars) is the same on all pages of a folder: once is enough.
REST = '''async ([kinds, frame]) => {
  if (!frame) document.querySelectorAll('.bd-sidebar-primary, .bd-sidebar-secondary').forEach(part => part.remove());
  const found = await axe.run(document, {resultTypes: ['violations'], runOnly: kinds, rules: {'color-contrast': {enabled: false}}});
  document.documentElement.dataset.theme = 'light';
  const links = await axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'rule', values: ['link-in-text-block']}});
  return TOLD(found).concat(TOLD(links));
}'''
TOLD = '''const TOLD = found => found.violations.flatMap(one => one.nodes.map(node =>
  `${one.id}: ${node.target.join(' ').slice(0, 120)} ${(node.any[0] || node.all[0] || node.none[0] || {}).message || ''}`));'''


def axe_source():
    "The text of axe-core"
    found = find_spec('axe_playwright_python')
    if found is None: pytest.skip("axe-core is not here: pip install -e '.[dev]' brings it")
    return Path(found.origin).with_name('axe.min.js').read_text(encoding='utf-8')


def bring(page, axe): page.evaluate(f"{axe}\n{TOLD.replace('const TOLD', 'window.TOLD')}\nnull")


def violations(page, path, axe, seen=(), frame=True):
    "What axe-core finds on a page, in the light theme and in the dark one; and all looks of words seen so far"
    page.goto(path.as_uri(), wait_until='load')
    page.add_style_tag(content='* { transition: none !important; }')   # a colour half-way is no colour
    bring(page, axe)
    seen = page.evaluate(LOOKS, list(seen))
    faults = [f'{theme}, {fault}' for theme in ('light', 'dark') for fault in page.evaluate(CONTRAST, theme)]
    return faults + [f'both, {fault}' for fault in page.evaluate(REST, [KINDS, frame])], seen


def pages_of(site): return [path for path in sorted(site.rglob('*.html')) if '_static' not in path.parts]


@needs_chromium
def test_axe_finds_nothing_on_any_page_in_either_theme(site):
    axe, seen, framed, faults = axe_source(), [], set(), []
    with browser_page() as page:
        page.add_init_script(NO_FORMULAS)   # they are in the next test
        for path in pages_of(site):
            found, seen = violations(page, path, axe, seen, path.parent not in framed)
            framed.add(path.parent)
            faults += [f'{path.relative_to(site)}, {fault}' for fault in found]
    assert not faults, f'{len(faults)} violations\n' + '\n'.join(faults[:40])
    assert len(seen) > 100, 'no words were seen'


@needs_chromium
@pytest.mark.parametrize('width', [1360, 400])
def test_axe_finds_nothing_among_formulas_nor_on_a_small_screen(site, width):
    with browser_page(width=width) as page:
        page.goto((site/'11_learner.html').as_uri())
        page.wait_for_function('document.querySelectorAll("div.math").length === document.querySelectorAll("div.math mjx-container").length')
        assert page.locator('mjx-container[display="true"]').count() > 0
        assert violations(page, site/'11_learner.html', axe_source())[0] == []


@needs_chromium
def test_axe_would_see_pale_words_and_a_picture_without_words(tmp_path):
    "The test above can fail"
    axe = axe_source()
    (tmp_path/'a.html').write_text(
        '<html lang="en"><title>a</title><style>html[data-theme="dark"] p {background: #333}</style><main><h1>A</h1>'
        '<p style="color:#555">in light these words can be read</p><img src="data:,"></main></html>')
    with browser_page() as page: found, _ = violations(page, tmp_path/'a.html', axe)
    assert [fault.split(':')[0] for fault in found] == ['dark, color-contrast', 'both, image-alt']


@needs_chromium
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_axe_finds_nothing_on_the_pages_of_marks(tmp_path, theme):
    from lessonlib.marks import Mark, STATES, write_pages
    marks = [Mark(student, '01_sgd', f'check_{n}', state, **({'message': 'look again'} if state == 'broke' else {}))
             for student in ('Ada', 'Emmy') for n, state in enumerate(STATES)]
    with browser_page(color_scheme=theme) as page:
        for path in write_pages(marks, tmp_path):
            page.goto(path.as_uri())
            bring(page, axe_source())
            found = page.evaluate("async kinds => TOLD(await axe.run(document, {resultTypes: ['violations'], runOnly: kinds}))", KINDS)
            assert found == [], path.name
            light = page.evaluate("getComputedStyle(document.body).backgroundColor") == 'rgb(255, 255, 255)'
            assert light == (theme == 'light')


# ---------------------------------------------------------------- the keyboard alone

@pytest.fixture
def page(browser):
    "A page of a reader who has done nothing yet"
    browser.watch.forget()
    browser.goto('about:blank')
    yield browser
    if browser.url != 'about:blank': browser.evaluate('localStorage.clear()')
    assert browser.watch.external == [] and browser.watch.complaints == []


@contextmanager
def another(page, **options):
    "A page of another reader, in the same browser"
    other = page.context.browser.new_page(viewport={'width': 1360, 'height': 950}, **options)
    try: yield other
    finally: other.close()


def tab_to(page, selector, most=400):
    "Press Tab until the element has the focus; then it must also be seen that it has"
    page.locator(selector).evaluate("""element => { const before = [...document.querySelectorAll('a, button, summary, input')]
        .filter(other => other.compareDocumentPosition(element) & 4 && other.checkVisibility()).slice(-4)[0]; before?.focus(); }""")
    for _ in range(most):
        if page.locator(selector).evaluate('element => element === document.activeElement'): break
        page.keyboard.press('Tab')
    else: pytest.fail(f'Tab does not reach {selector}')
    ring = page.locator(selector).evaluate("""element => { const look = getComputedStyle(element);
        return element.matches(':focus-visible') && (look.outlineStyle !== 'none' || look.boxShadow !== 'none'); }""")
    assert ring, f'{selector}: nobody sees that it has the focus'


def mark(page, selector, name, number=0):
    "Give the element an id that the keys can be sent to"
    page.locator(selector).nth(number).evaluate(f'element => {{ element.dataset.key = "{name}"; }}')
    return f'[data-key="{name}"]'


@needs_chromium
@pytest.mark.parametrize('kind', ['question', 'solution', 'hint', 'check', 'predicted', 'setup'])
def test_folds_open_and_close_by_the_keyboard(site, page, kind):
    page.goto((site/'01_sgd.html').as_uri())
    fold = page.locator(f'details.{kind}').first
    tab_to(page, mark(page, f'details.{kind} > summary', 'fold'))
    page.keyboard.press('Enter')
    assert fold.evaluate('fold => fold.open')
    page.keyboard.press('Space')
    assert not fold.evaluate('fold => fold.open')


@needs_chromium
def test_a_picture_and_its_knob_by_the_keyboard(site, page):
    page.goto((site/'01_sgd.html').as_uri())
    box = page.locator('.explore').first
    knob = mark(page, '.explore input', 'knob')
    tab_to(page, knob)
    def state(): return box.locator('img').get_attribute('alt'), page.locator(knob).get_attribute('aria-valuetext')
    seen = [state()]
    for key in ('End', 'ArrowLeft', 'Home'):
        page.keyboard.press(key)
        seen.append(state())
    assert len(set(seen)) == 4, seen
    name = page.locator(knob).evaluate('knob => knob.labels[0].textContent.trim()')
    assert re.match(r'[a-z]', name), 'the knob has no name'


@needs_chromium
def test_no_way_leads_into_a_trap(site, page):
    "Tab goes on to the end of a page: it passes the tables and outputs that scroll, and comes to the last link"
    page.goto((site/'28_schedules.html').as_uri())
    tab_to(page, mark(page, '.lesson-cell button, .lesson-cell summary', 'first'))
    seen = []
    for _ in range(600):
        page.keyboard.press('Tab')
        seen.append(page.evaluate("document.activeElement.className + document.activeElement.tagName"))
        if page.evaluate("document.activeElement.matches('a.right-next')"): break
    else: pytest.fail(f'Tab does not come to the next page: {seen[-5:]}')


# ---------------------------------------------------------------- the reader's own record

def record(page): return json.loads(page.evaluate("localStorage.getItem('lessonlib-progress')") or '{}')


@needs_chromium
def test_what_a_reader_has_done_is_kept_and_the_command_reads_it(site, page, tmp_path):
    from lessonlib.course import exercises
    from lessonlib.review import questions, read_record
    nbs = site.parent/'nbs'
    asked, checks = questions(nbs/'01_sgd.ipynb'), exercises(nbs/'01_sgd.ipynb')
    page.goto((site/'01_sgd.html').as_uri())
    assert page.locator('details.question').count() == len(asked)
    assert [cell.get_attribute('data-check') for cell in page.locator('[data-check]').all()] == [c['check'] for c in checks]
    for number, word in ((0, 'I knew it'), (1, 'I did not know it')):
        fold = page.locator('details.question').nth(number)
        fold.locator('summary').press('Enter')
        fold.get_by_role('button', name='I knew it').press('Space')   # and, for the second, think again
        fold.get_by_role('button', name=word).press('Space')
        assert 'It comes back on 2' in fold.get_by_role('status').inner_text()
    page.locator('.solved input').first.press('Space')
    assert f'1 of {len(checks)} exercises, 2 of {len(asked)} questions' in page.locator('.mine').inner_text()
    page.reload()
    assert f'1 of {len(checks)} exercises, 2 of {len(asked)} questions' in page.locator('.mine').inner_text()
    assert page.locator('.solved input').first.is_checked() and page.locator('details.question').first.locator('button').count() == 0
    page.goto((site/'index.html').as_uri())
    assert page.locator('[data-home] a').get_attribute('href') == '01_sgd.html'
    with page.expect_download() as download: page.get_by_role('button', name='Save as a file').press('Enter')
    download.value.save_as(tmp_path/'mine.json')
    mine = read_record(tmp_path/'mine.json')
    assert [mine.cards[question.name]['box'] for question in asked[:2]] == [1, 1] and mine.place['lesson'] == '01_sgd'
    assert list(mine.right) == [checks[0]['check']] and set(mine.reached) == {'01_sgd'}


@needs_chromium
def test_a_record_from_a_file_is_added_and_rubbish_is_refused(site, page, tmp_path):
    from lessonlib.review import Record, write_record
    there = Record({'check_a': '2026-01-05'}, {'05_mnist#0123abcd': dict(box=4, last='2026-01-05', times=4)},
                   {'05_mnist': '2026-01-01'}, dict(lesson='05_mnist', when='2026-01-05T10:00:00'))
    write_record(there, tmp_path/'there.json')
    page.goto((site/'index.html').as_uri())
    page.locator('[data-home] input').set_input_files(tmp_path/'there.json')
    page.get_by_text('Added.').wait_for()
    kept = record(page)
    assert Record(**{name: kept[name] for name in ('right', 'cards', 'reached', 'place')}) == there
    for text in ('{"version": 1, "right": {"<b>": "2026-01-05"}}', 'milk', '{"version": 1, "cards": {"a": {"box": 9}}}'):
        (tmp_path/'bad.json').write_text(text)
        page.locator('[data-home] input').set_input_files(tmp_path/'bad.json')
        page.get_by_text('That file is no record of progress.').wait_for()
        assert record(page) == kept
        page.reload()


@needs_chromium
def test_a_browser_that_keeps_nothing_shows_the_page_all_the_same(site, page):
    with another(page) as other:
        other.add_init_script('Object.defineProperty(window, "localStorage", {get() { throw new Error("no"); }})')
        errors = []
        other.on('pageerror', lambda error: errors.append(str(error)))
        other.goto((site/'28_schedules.html').as_uri())
        assert other.locator('.mine').count() == 1
        assert not [error for error in errors if 'course.js' in error]


# ---------------------------------------------------------------- less motion

@needs_chromium
def test_who_asks_for_less_motion_gets_none(site, page):
    moving = """() => [...document.querySelectorAll('*')].filter(one => { const look = getComputedStyle(one);
        return look.animationName !== 'none' || parseFloat(look.transitionDuration) > 0 || look.scrollBehavior === 'smooth'; }).length"""
    for wish, least in (('reduce', 0), ('no-preference', 1)):
        with another(page, reduced_motion=wish) as other:
            other.goto((site/'01_sgd.html').as_uri())
            assert (other.evaluate(moving) > 0) == bool(least), wish


@needs_chromium
def test_films_wait_for_their_reader(site, page):
    "A picture that can play stands still until its button is pressed"
    stem = next(path.stem for path in pages_of(site) if 'aria-label="play or pause"' in path.read_text())
    page.goto((site/f'{stem}.html').as_uri())
    film = page.locator('.explore:has(button)').first
    start = film.locator('img').get_attribute('alt')
    page.wait_for_timeout(500)
    assert film.locator('img').get_attribute('alt') == start
    film.locator('button').press('Enter')
    page.wait_for_function('([box, start]) => box.querySelector("img").alt !== start', arg=[film.element_handle(), start])
    for path in pages_of(site): assert not re.search(r'<video[^>]*autoplay|<marquee|<blink', path.read_text()), path


# ---------------------------------------------------------------- pictures in words

BARE = re.compile(r'^(?:a |the )?(?:figure|picture|image|plot|photo|chart|an animation)\W*\d*$|^\S+\.(?:png|jpe?g|svg|webp)$', re.I)


def faint(alt): return bool(BARE.match(alt.strip())) or len(re.findall(r'\w+', alt)) < 3


@pytest.mark.parametrize('alt, wrong', [('', True), ('figure', True), ('A picture 3', True), ('loss.png', True), ('Two words', True),
                                        ('The loss falls', False), ('1 picture with the title Birman', False)])
def test_faint_words_are_seen(alt, wrong): assert faint(alt) == wrong


def test_alt_texts_say_what_to_see(executed_notebook, notebook_name):
    for cell in executed_notebook(notebook_name).book['cells']:
        for output in cell.get('outputs', []):
            data = output.get('data', {})
            html = ''.join(data.get('text/html', ''))
            alts = re.findall(r'<img[^>]*?\balt="([^"]*)"', html)
            if 'text/html' not in data and any(kind.startswith('image/') for kind in data):
                alts.append(output.get('metadata', {}).get('alt', ''))
            for alt in alts: assert not faint(alt), f"cell {cell.get('id')}: {alt!r} does not say what to see"


# ---------------------------------------------------------------- colours that everybody tells apart

def rgb(*colours): return [to_rgb(colour if colour[0] in 'C#' or ':' in colour else f'#{colour}') for colour in colours]


TOLD_APART = {   # name -> (colours, least distance in Lab for every kind of eyes); 2.3 is a difference that can just be seen
    'lines, the first four': (lambda: rgb(*_LINES.split()[:4]), 33),
    'lines': (lambda: rgb(*_LINES.split()), 24),
    'decisions of the cleaner': (lambda: rgb(*_COLOURS.values()), 30),
    'six points of a face': (lambda: code_colours(6) / 255, 29),
    'codes of masks': (lambda: code_colours(32) / 255, 13),
}


@pytest.mark.parametrize('name', TOLD_APART)
def test_colour_blind_readers_tell_the_colours_apart(name):
    colours, least = TOLD_APART[name]
    distance, eyes, pair = nearest(colours())
    assert distance > least, f'{eyes}: colours {pair} are {distance:.1f} apart'


def confusable(drawn):
    "What a figure tells apart by its colours alone, and some eyes do not: [(names, distance)]; and scales that do not rise"
    for shape in {mark[1] for mark in drawn['marks']}:
        marks = [mark for mark in drawn['marks'] if mark[1] == shape]
        if len({mark[2] for mark in marks}) < 2: continue    # one colour: then it says nothing
        distance, eyes, pair = nearest(rgb(*(mark[2] for mark in marks)))
        if distance < 11: yield f"{' and '.join(marks[i][0] for i in pair)}: {distance:.1f} apart for {eyes}"
    for scale in drawn['scales']:
        colours = colormaps[scale](np.linspace(0, 1, 33))[:, :3]
        for eyes in MACHADO:
            light = lab(colours, eyes)[:, 0]
            two_ways = rises(light[:17]) and rises(light[16:]) and nearest(colours[[0, 16, 32]])[0] > 25
            if not (rises(light) or two_ways): yield f'{scale}: for {eyes} it does not get lighter or darker all the way'


def rises(light): return abs(light[-1] - light[0]) > 25 and (np.diff(light) * np.sign(light[-1] - light[0])).min() > -1


@pytest.mark.parametrize('marks, scale, wrong', [
    ([('a', '- None', '#d62728'), ('b', '- None', '#2ca02c')], 'gray', 'a and b: '),     # matplotlib's red and green
    ([('a', '- None', '#d62728'), ('b', '-- None', '#2ca02c')], 'viridis', ''), ([], 'RdBu', ''), ([], 'jet', 'jet: for everybody'),
    ([('a', 'area None', '#2e537d'), ('b', 'area None', '#e8a007')], 'Blues', '')])
def test_a_legend_that_some_cannot_read_is_seen(marks, scale, wrong):
    found = [*confusable(dict(marks=marks, scales=[scale]))]
    assert found[0].startswith(wrong) if wrong else found == []


def test_every_figure_is_told_apart_by_everybody(executed_notebook, notebook_name):
    noted = executed_notebook(notebook_name).report.colours
    if notebook_name == '01_sgd':     # what a cell shows, what a knob moves, and a scale are noted at all
        assert {'our curve', 'momentum 0.8'} <= {mark[0] for drawn in noted for mark in drawn['marks']}
        assert len(noted) > 20 and any('Blues_r' in drawn['scales'] for drawn in noted)
    for drawn in noted:
        for fault in confusable(drawn): pytest.fail(f"{drawn['title']!r}: {fault}", pytrace=False)


def test_the_simulation_sees_what_is_known():
    "Most people tell red from green easily, two kinds of eyes hardly; nobody's grey changes"
    red, green = '#d62728', '#2ca02c'   # matplotlib's own
    far = np.linalg.norm(np.subtract(*lab(rgb(red, green))))
    assert far > 100 and nearest(rgb(red, green))[0] < 10 and nearest(rgb(red, green))[1] in ('protan', 'deutan')
    for eyes in MACHADO: assert np.abs(lab(rgb('#808080'), eyes)[0, 1:]).max() < .1


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_the_tones_of_the_site_stand_out(root, theme):
    "Text in these colours has a contrast of 4.5 on the page"
    css = (root/'docs'/'static'/'course.css').read_text()
    block = re.search(rf'html\[data-theme="{theme}"\] {{(.*?)}}', css, re.S)[1]
    tones = dict(re.findall(r'--([\w-]+): (#\w{6})', block))
    page = tones.get('pst-color-background', '#ffffff')
    def light(colour): return float(np.where((c := np.array(to_rgb(colour))) <= .04045, c / 12.92, ((c + .055) / 1.055) ** 2.4) @ [.2126, .7152, .0722])
    for name in 'predict before note tip warning short library pst-color-link pst-color-text-muted pst-color-text-base'.split():
        high, low = sorted((light(tones[name]), light(page)), reverse=True)
        assert (high + .05) / (low + .05) >= 4.5, name
