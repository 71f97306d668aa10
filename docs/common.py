"""What the parts of the site's builder share: the site that is built, its files, what is wrong."""
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Callable

from lessonlib.course import about, lessons


@dataclass
class Site:
    "What goes in and where it comes out; tests build small ones of their own"
    nbs: Path  # folder of notebooks, which say themselves what they are
    package: Path  # folder of the package they export
    work: Path  # intermediate files: the next build reuses them
    out: Path  # the finished site
    execute: Callable  # path of a notebook, now? -> path of its executed copy (else of an old one)
    student: Callable  # path of a notebook -> the student edition (a notebook as a dict)
    title: str = 'lessonlib'
    guide: Path | None = None  # a Markdown file that becomes the page "Write a lesson"
    private: tuple[str, ...] = ()  # folders of this machine, which no page may show
    shorter: dict = field(default_factory=dict)  # pattern of a folder -> what a page says instead
    pages: set = field(default_factory=set)  # the page files of this build
    solutions: bool = True  # are the solutions of exercises on the pages?
    held: str = ''  # if not: what a page says of it
    logo: Path | None = None
    repository: str = ''  # where the notebooks can be opened in Colab and Binder
    notes: list = field(default_factory=list)  # what is worth saying, but no reason to stop

    @cached_property
    def notebooks(self):
        "The notebooks in reading order"
        return lessons(self.nbs)

    @cached_property
    def fronts(self):
        "What each notebook says about itself, by its name"
        return {path.stem: about(path) for path in self.notebooks}

    @cached_property
    def titles(self): return {name: front.title or None for name, front in self.fronts.items()}

    def write(self, page, text):
        "Write the source of a page ('api/sgd')"
        path = self.work/'pages'/f'{page}.md'
        self.pages.add(path)
        write(path, text)


class BuildError(Exception):
    "The site must not be published: what is wrong, a line each"


def write(path, content):
    "Write `content` (text or bytes) unless the file has it already, so that it is not done again"
    content = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == content: return False
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f'.{path.name}.half')
    half.write_bytes(content)
    half.replace(path)   # whoever reads meanwhile sees the old file or the new one, whole
    return True


def read(path): return json.loads(path.read_text(encoding='utf-8'))
