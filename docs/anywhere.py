"""Where else a notebook can be opened, when the instructor says where the repository is."""
import re
from urllib.parse import quote, urlsplit

from lessonlib.course import CourseError


def repository_parts(address):
    "('https://github.com', 'anna/course', 'main') of an address, with or without /tree/BRANCH"
    parts = urlsplit(address.strip().removesuffix('/'))
    found = re.fullmatch(r'/([\w.-]+/[\w.-]+?)(?:\.git)?(?:/tree/([\w./-]+))?', parts.path)
    if parts.scheme != 'https' or not parts.netloc or parts.query or not found:
        raise CourseError(f'--repository {address}: expected an address such as '
                          'https://github.com/owner/name, perhaps with /tree/branch')
    return f'{parts.scheme}://{parts.netloc}', found[1], found[2] or 'main'


def start_links(address, name, folder='student'):
    "Places to run a notebook that lies in the folder of that repository: {'Colab': address, …}"
    host, project, branch = repository_parts(address)
    path, links = f'{folder}/{name}', {}
    if host == 'https://github.com':
        links['Open in Colab'] = (f'https://colab.research.google.com/github/{project}/blob/'
                                  f'{quote(branch)}/{quote(path)}')
    kinds = {'https://github.com': f'gh/{project}', 'https://gitlab.com': f'gl/{quote(project, safe="")}'}
    kind = kinds.get(host, f'git/{quote(f"{host}/{project}", safe="")}')
    links['Binder'] = (f'https://mybinder.org/v2/{kind}/{quote(branch, safe="")}'
                       f'?urlpath={quote(f"lab/tree/{path}", safe="")}')
    return links


def with_install_cell(book, address):
    "The notebook with a cell, below its title, that installs the course where it is not installed"
    host, project, branch = repository_parts(address)
    source = f'''# On a machine that has not got the course (Colab, say) this installs it, once; elsewhere it does nothing.
import importlib.util, subprocess, sys
if importlib.util.find_spec('lessonlib') is None:
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet',
                    'git+{host}/{project}@{branch}'], check=True)'''
    cell = dict(cell_type='code', id='install0', metadata={}, source=source, outputs=[],
                execution_count=None)
    return {**book, 'cells': [*book['cells'][:1], cell, *book['cells'][1:]]}

