"""Prose of the notebooks becomes MyST: boxes, terms, links to names and to other lessons."""
import re
from zlib import crc32

FENCE = re.compile(r'^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$', re.M | re.S)
CALLOUT = re.compile(r'^>[ \t]*\*\*([^*\n]+?)[.:]?\*\*[.:]?[ \t]*(.*(?:\n>.*)*)', re.M)
KINDS = {'before you start': 'before', 'note': 'note', 'tip': 'tip', 'warning': 'warning',
         'in short': 'short'}
TERM = re.compile(r'\*\*\*([^*]+?)\*\*\*')
LESSON_LINK = re.compile(r'(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?:\./)?([\w-]+)\.ipynb(#[^)\s]*)?\)')
# What must be left alone: inline code (the group), maths, links and images, HTML tags, headings.
SPAN = re.compile(r'(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<text>.+?)(?<!`)(?P=ticks)(?!`))'
                  r'|\$\$.*?\$\$|\$[^$\n]+\$'
                  r'|!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*\)|<[^>\n]+>|^#+ [^\n]*$', re.M | re.S)

def outside_fences(text, change):
    "`text` with `change` applied to everything that is not a fenced code block"
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end:fence.start()]), fence[0]]
        end = fence.end()
    return ''.join([*parts, change(text[end:])])

def callouts(text):
    "`> **Note.** …` becomes an admonition; the known leads have a colour each"
    def box(match):
        lines = '\n'.join(re.sub(r'^>[ \t]?', '', line) for line in match[2].split('\n'))
        kind = KINDS.get(match[1].lower(), 'note')
        return f'::::::{{admonition}} {match[1]}\n:class: {kind}\n\n{lines}\n::::::'
    return outside_fences(text, lambda prose: CALLOUT.sub(box, prose))

def link_names(text, resolve, up=''):
    "Back-ticked public names become links; `resolve` gives the address, `up` leads to the root"
    def link(match):
        address = match['code'] and resolve(match['text'])
        return f'[{match["code"]}]({up}{address})' if address else match[0]
    return outside_fences(text, lambda prose: SPAN.sub(link, prose))

def link_lessons(text, here=None, absent=None):
    """Links to other notebooks become links to their pages. A notebook that is not `here` (a course
    may be a part of the whole) is named without a link, and added to the set `absent`."""
    def link(match):
        label, stem, place = match[1], match[2], (match[3] or '').lower()
        if here is None or stem in here: return f'[{label}]({stem}.html{place})'
        if absent is not None: absent.add(stem)
        return label
    return outside_fences(text, lambda prose: LESSON_LINK.sub(link, prose))

def slug(term):
    "The place of a term on its page: letters of any script; what more it has is told by a number"
    place = 'term-' + re.sub(r'[\W_]+', '-', term.lower()).strip('-')
    return f'{place}-{crc32(term.encode()):08x}' if re.search(r'[^\w\s`$-]', term) else place

def find_terms(text):
    "The terms defined in `text` (***so***), each with the sentence that defines it"
    found = []
    def collect(prose):
        for paragraph in re.split(r'\n\s*\n|^:{3,}.*$|^\s*[-*] |^#+ .*$', prose, flags=re.M):
            flat = re.sub(r'\s*\n\s*', ' ', paragraph).strip()
            ends = r'(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`*$"“(\[])'
            for sentence in re.split(ends, flat):
                found.extend((match[1], sentence) for match in TERM.finditer(sentence))
        return prose
    outside_fences(text, collect)
    return found

def mark_terms(text):
    "Each ***term*** gets an anchor"
    mark = lambda match: f'<dfn id="{slug(match[1])}">**{match[1]}**</dfn>'
    return outside_fences(text, lambda prose: TERM.sub(mark, prose))
