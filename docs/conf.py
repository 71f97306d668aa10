"""Sphinx's settings. docs/build.py writes the pages and calls Sphinx with these."""
import importlib.util
import os
from configparser import ConfigParser
from pathlib import Path

here = Path(__file__).resolve().parent
settings = ConfigParser(delimiters=['='])
settings.read(here.parent/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']

project = os.environ.get('LESSONLIB_SITE_TITLE', settings['title'])
author = settings['author']
copyright = settings['copyright']
version = release = settings['version']
language = 'en'

# build.py has turned notebooks into MyST: myst-nb would only add seconds
extensions = ['myst_parser', 'sphinx_copybutton']
myst_enable_extensions = ['dollarmath', 'amsmath', 'colon_fence', 'deflist']
# addresses stay as they are written: check.py looks at every one in the finished HTML
myst_all_links_external = True
suppress_warnings = ['myst.header']
root_doc = 'index'
numfig = False

# MathJax in one file that draws SVG: nothing else is loaded, no fonts, so it works from disk.
mathjax = Path(importlib.util.find_spec('sphinx-mathjax-offline').origin).parent
mathjax_folder = mathjax/'static'/'mathjax'
mathjax_path = 'tex-svg.js'
mathjax3_config = {'options': {'enableMenu': False}, 'svg': {'fontCache': 'local'}}

html_theme = 'sphinx_book_theme'
html_title = project
html_logo = os.environ.get('LESSONLIB_SITE_LOGO') or None
html_static_path = [str(here/'static'), str(mathjax_folder/mathjax_path)]
html_css_files = ['course.css']
html_favicon = str(here/'static'/'favicon.svg')
html_js_files = ['course.js']
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
html_use_index = False
html_context = {'default_mode': 'auto'}
html_theme_options = {
    **({'logo': {'text': project, 'alt_text': f'Logo of {project}'}} if html_logo else {}),
    **{f'use_{name}_button': False
       for name in ('download', 'repository', 'source', 'edit_page', 'issues')},
    'show_toc_level': 2, 'toc_title': 'On this page', 'navbar_persistent': [],
    'show_navbar_depth': 1,
    'pygments_light_style': 'a11y-high-contrast-light', 'pygments_dark_style': 'github-dark',
    'search_bar_text': 'Search the course', 'extra_footer': f'{project} {version}'}
copybutton_selector = '.lesson-cell div.highlight pre, .signature div.highlight pre'
copybutton_exclude = '.linenos'
