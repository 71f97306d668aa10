"""Packaging; every setting is in settings.ini."""
import shlex
from configparser import ConfigParser
from pathlib import Path

import setuptools

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
settings = config['DEFAULT']
pythons = '3.10 3.11 3.12 3.13 3.14'.split()

setuptools.setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    keywords=settings['keywords'],
    author=settings['author'],
    author_email=settings['author_email'],
    license='Apache-2.0',
    license_files=['LICENSE'],
    classifiers=['Development Status :: 3 - Alpha', f"Intended Audience :: {settings['audience']}",
                 f"Natural Language :: {settings['language']}"]
                + [f'Programming Language :: Python :: {version}' for version in pythons],
    # The notebooks are the course: they travel in the wheel as the package's data.
    packages=['lessonlib', 'lessonlib.notebooks'],
    package_dir={'lessonlib.notebooks': 'nbs'},
    package_data={'lessonlib': ['field_names.csv', 'serve_page.html', 'lab_strip.js'], 'lessonlib.notebooks': ['*.ipynb']},
    install_requires=shlex.split(settings['requirements']),
    extras_require={name: shlex.split(settings[f'{name}_requirements']) for name in ('text', 'track', 'serve', 'dev')},
    python_requires='>=' + settings['min_python'],
    long_description=Path('README.md').read_text(encoding='utf-8') if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    zip_safe=False,
    entry_points={'console_scripts': settings['console_scripts'].split(),
                  'nbdev': ['lessonlib=lessonlib._modidx:d']},
)
