"What tests of files and data sets share: an honest archive, a server, a cache, a tiny disk."
import hashlib
import io
import multiprocessing
import random
import shutil
import socket
import subprocess
import tarfile
import time
import zipfile

import pytest

from helpers.data_server import DataServer
from lessonlib.files import _PartialFile

FILES = {f'{part}/{item}.bin': random.Random(f'{part}{item}').randbytes(6000)
         for part in ('train', 'valid') for item in range(20)} | {'labels.csv': b'name,label\n' * 30}


def tar_bytes(entries, mode='w:gz'):
    "A tar archive of names and bytes, or of ready-made entries"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for entry, contents in entries:
            if isinstance(entry, str):
                entry = tarfile.TarInfo(entry)
                entry.size = len(contents)
            archive.addfile(entry, io.BytesIO(contents) if contents is not None else None)
    return buffer.getvalue()


def zip_bytes(entries):
    "A zip archive of names (or ZipInfos) and bytes"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, contents in entries: archive.writestr(name, contents)
    return buffer.getvalue()


DEMO = tar_bytes([(f'demo/{name}', contents) for name, contents in FILES.items()])
SHA = hashlib.sha256(DEMO).hexdigest()
GOOD = ('demo/good.txt', b'good')
forks = pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs os.fork')


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "A cache of its own, no mirror, automatic mode, and short pauses"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    for name in ('LESSONLIB_MIRROR', 'LESSONLIB_DATA'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_PartialFile.complete, '__defaults__', (4, 5., .01))
    return tmp_path/'home'


@pytest.fixture
def shop():
    "A server that offers the honest archive"
    with DataServer() as server:
        server.files['demo.tgz'] = DEMO
        yield server


def folder_mirror(folder, archives=None):
    "A mirror folder"
    folder.mkdir(parents=True, exist_ok=True)
    archives = {'mnist_sample.tgz': DEMO} if archives is None else archives
    for name, contents in archives.items(): (folder/name).write_bytes(contents)
    (folder/'SHA256SUMS').write_text(''.join(f'{hashlib.sha256(contents).hexdigest()}  {name}\n'
                                             for name, contents in archives.items()))
    return folder


def whole(folder, files=FILES):
    "True if `folder` holds exactly these files"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*')
            if path.is_file()} == files


def left(home, parts=False):
    "Everything in the cache but locks and records; unfinished downloads only if asked for"
    return sorted(path.relative_to(home).as_posix() for path in home.rglob('*')
                  if not path.is_dir() and path.parent.name not in ('locks', 'records')
                  and (parts or '.part' not in path.name))


def nothing(home): return left(home, parts=True) == [] and not list((home/'data').glob('*/'))


def in_child(work, *args):
    "Run `work` in a process of its own, which ends with status 0 if `work` returns"
    process = multiprocessing.get_context('fork').Process(target=work, args=args)
    process.start()
    return process


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(.01)


def entry(name, kind, linkname='', mode=0o644):
    item = tarfile.TarInfo(name)
    item.type, item.linkname, item.mode = kind, linkname, mode
    return item, None


def zip_entry(name, kind):
    item = zipfile.ZipInfo(name)
    item.create_system, item.external_attr = 3, (kind | 0o644) << 16
    return item


@pytest.fixture
def tiny_disk(tmp_path):
    "A disk of one megabyte, made of memory"
    disk = tmp_path/'tiny disk'
    disk.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)]
    mounted = shutil.which('mount') and subprocess.run(command, capture_output=True, text=True)
    if not mounted or mounted.returncode:
        pytest.skip('mounting a small tmpfs needs root; the quota test stands in')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)


@pytest.fixture
def no_network(monkeypatch):
    "No machine but this one can be reached"
    connect = socket.create_connection
    def only_here(place, *args, **options):
        if place[0] not in ('127.0.0.1', 'localhost'):
            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
        return connect(place, *args, **options)
    monkeypatch.setattr(socket, 'create_connection', only_here)
