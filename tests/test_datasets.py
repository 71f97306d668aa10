"""Data faults: whatever goes wrong, either the whole data set is there or nothing of it, and one clear error."""
import errno
import hashlib
import io
import json
import multiprocessing
import ntpath
import os
import posixpath
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.error import HTTPError

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from data_server import DataServer
from parts import Parts
datasets = Parts('files', 'datasets')
from lessonlib.files import (DamagedArchive, DatasetError, DiskFull, DownloadFailed, Fingerprint,
                             UnknownDataset, UnsafeArchive, check_archive, data_home, download,
                             extract_archive, file_lock, open_url, parse_sums, safe_name, sha256_of)
from lessonlib.datasets import (DatasetUnavailable, URLs, course_data, data_urls, find_url,
                                list_data, mirror_data, practice_data, untar_data, verify_data)
from lessonlib.practice import PracticeSet, practice_sets
from lessonlib.files import new_folder

forks = pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs os.fork')


# ---- the material: one honest archive of incompressible files, a home, a server

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


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    "A cache of its own, no mirror, automatic mode, short pauses, and nothing remembered"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    for name in ('LESSONLIB_MIRROR', 'LESSONLIB_DATA'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(datasets.download_patience, 'wait', .01)
    monkeypatch.setitem(datasets.download_patience, 'timeout', 5.)
    datasets._no_answer.clear()
    datasets._gave_up.clear()
    return tmp_path/'home'


@pytest.fixture
def shop():
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


# ---- names

def test_every_address_has_a_published_size_and_name():
    urls = data_urls()
    assert {datasets.archive_name(url) for url in urls.values()} == set(datasets._published)
    assert all(url.startswith('https://') for url in urls.values())
    assert datasets.published(URLs.PETS).size == 811706944
    for name in ('PETS', 'pets', 'oxford-iiit-pet', 'oxford-iiit-pet.tgz', URLs.PETS): assert find_url(name) == URLs.PETS
    for name, url in urls.items(): assert find_url(name) == url and find_url(name.lower()) == url


@pytest.mark.parametrize('wrong, right', [('mnist_sampel', 'mnist_sample'), ('petz', 'pets'), ('camvid-tinny', 'camvid_tiny'),
                                          ('URLs.IMDB', 'imdb')])
def test_unknown_name_suggests_the_nearest(wrong, right, home):
    with pytest.raises(UnknownDataset, match=repr(right)): untar_data(wrong)
    with pytest.raises(ValueError): course_data(wrong)
    assert not home.exists()


@pytest.mark.parametrize('address', ['ftp://a.org/x.tgz', 'gopher://a.org/x.tgz', 'data://x/y.tgz', 'https://a.org/',
                                     'https://a.org/..', 'https://a.org/.tgz', 'file:///a/.zip', 'https://a.org/a\\b.tgz'])
def test_only_web_and_file_addresses(address):
    with pytest.raises(DatasetError, match='expected http'): untar_data(address)


# ---- downloads

def test_download_says_how_far_it_is(shop, home, capsys):
    body = random.Random(0).randbytes(12_000_000)
    shop.files['large.bin'] = body
    assert download(shop.address('large.bin'), home/'large.bin') == hashlib.sha256(body).hexdigest()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith('large.bin: ') for line in lines)
    assert lines[-1] == 'large.bin: 12.0 MB of 12.0 MB (100%)'
    assert [path.name for path in home.iterdir()] == ['large.bin']


def test_progress_is_a_bar_where_somebody_watches(shop, home, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self): return True
    monkeypatch.setattr(sys, 'stderr', Terminal())
    download(shop.address('demo.tgz'), home/'demo.tgz')
    assert 'demo.tgz: 100%' in sys.stderr.getvalue()
    assert capsys.readouterr().out == ''


def test_untar_downloads_once(shop, home):
    folder = untar_data(shop.address('demo.tgz'))
    assert folder == home/'data'/'demo' and whole(folder)
    assert untar_data(shop.address('demo.tgz')) == folder
    assert len(shop.log) == 1 and shop.log[0].range is None
    assert stat.S_IMODE(folder.stat().st_mode) & 0o700 == 0o700


def test_cut_half_way_resumes_with_the_rest_only(shop, home):
    half = len(DEMO) // 2
    shop.cuts = [half]
    assert whole(untar_data(shop.address('demo.tgz')))
    first, second = shop.log
    assert (first.range, first.sent) == (None, half)
    assert second.range == f'bytes={half}-' and second.status == 206
    assert second.if_range == f'"{SHA[:16]}"'
    assert second.sent == len(DEMO) - half
    assert left(home, parts=True) == ['archives/demo.tgz'] + sorted(f'data/demo/{name}' for name in FILES)


def test_cut_again_and_again_then_resumed_by_a_later_call(shop, home):
    shop.cuts = [50_000, 50_000, 50_000, 50_000]
    with pytest.raises(DatasetUnavailable, match='cut after 200,000 of') as error: untar_data(shop.address('demo.tgz'))
    assert '200.0 kB are kept' in str(error.value)
    assert left(home) == [] and (home/'archives'/'demo.tgz.part').stat().st_size == 200_000
    assert whole(untar_data(shop.address('demo.tgz')))
    assert shop.log[-1].range == 'bytes=200000-' and shop.log[-1].sent == len(DEMO) - 200_000
    assert len(shop.log) == 5


@forks
def test_kill_during_download_then_resumed(shop, home):
    shop.pause = .02
    child = in_child(untar_data, shop.address('demo.tgz'))
    part = home/'archives'/'demo.tgz.part'
    wait_for(lambda: part.exists() and part.stat().st_size > 40_000)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    have = part.stat().st_size
    assert 0 < have < len(DEMO) and left(home) == []
    shop.pause = 0
    assert whole(untar_data(shop.address('demo.tgz')))
    assert shop.log[-1].range == f'bytes={have}-' and shop.log[-1].sent == len(DEMO) - have


@pytest.mark.parametrize('fault', ['honest server', 'server ignores If-Range', 'no ETags, other size',
                                   'no ETags, same size', 'now shorter'])
def test_a_file_that_changed_meanwhile_is_not_spliced(fault, shop, home, monkeypatch):
    old = DEMO if fault != 'no ETags, other size' else DEMO + b'longer'
    old = bytes(byte ^ 255 for byte in old[:100_000]) + old[100_000:]
    if fault == 'now shorter': old += bytes(1000)
    shop.files['mnist_sample.tgz'], shop.cuts = old, [len(old) - 100 if fault == 'now shorter' else 150_000]
    shop.etags = 'no ETags' not in fault
    shop.if_ranges = fault not in ('server ignores If-Range', 'now shorter')
    with pytest.raises(DownloadFailed):
        download(shop.address('mnist_sample.tgz'), home/'archives'/'mnist_sample.tgz', attempts=1)
    folder = folder_mirror(home.parent/'m')
    shop.files.update({name: (folder/name).read_bytes() for name in ('mnist_sample.tgz', 'SHA256SUMS')})
    monkeypatch.setenv('LESSONLIB_MIRROR', shop.base)
    assert whole(untar_data('mnist_sample'))
    asked = shop.asked('mnist_sample.tgz')
    assert asked[1].range and asked[-1].sent == len(DEMO)      # it tried to go on, and got the whole file


@pytest.mark.parametrize('etags', [True, False])
def test_a_changed_file_is_not_spliced_even_if_nobody_published_it(etags, shop, home):
    "No digest is known, and the server ignores If-Range: the answer itself gives the change away"
    shop.if_ranges, shop.etags, shop.cuts = False, etags, [150_000]
    shop.files['demo.tgz'] = random.Random(2).randbytes(len(DEMO) + (0 if etags else 5))
    with pytest.raises(DownloadFailed): download(shop.address('demo.tgz'), home/'archives'/'demo.tgz', attempts=1)
    shop.files['demo.tgz'] = DEMO
    assert whole(untar_data(shop.address('demo.tgz')))
    assert [seen.status for seen in shop.log] == [200, 206, 200]


def test_stopped_between_the_old_bytes_and_the_new_note(shop, home, monkeypatch):
    "A new edition is about to begin: whenever we are stopped, old bytes never stand beside a new note"
    shop.cuts = [150_000]
    shop.files['demo.tgz'] = bytes(len(DEMO))
    path = home/'archives'/'demo.tgz'
    with pytest.raises(DownloadFailed): download(shop.address('demo.tgz'), path, attempts=1)
    shop.files['demo.tgz'] = DEMO
    def stop(facts): raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(datasets.json, 'dumps', stop)
        with pytest.raises(KeyboardInterrupt): download(shop.address('demo.tgz'), path)
    assert not Path(f'{path}.part').exists()
    assert download(shop.address('demo.tgz'), path) == SHA


def test_server_without_ranges_sends_it_all_again(shop, home):
    shop.ranges, shop.cuts = False, [100_000]
    assert whole(untar_data(shop.address('demo.tgz')))
    assert [seen.sent for seen in shop.log] == [100_000, len(DEMO)]
    assert [seen.status for seen in shop.log] == [200, 200]


def test_server_that_says_neither_length_nor_edition(shop, home):
    shop.lengths = shop.etags = False
    assert whole(untar_data(shop.address('demo.tgz')))


def test_cut_without_a_length_is_noticed(shop, home):
    shop.lengths, shop.cuts = False, [100_000]
    with pytest.raises(DamagedArchive, match='cannot be unpacked'): untar_data(shop.address('demo.tgz'))
    assert nothing(home)
    assert whole(untar_data(shop.address('demo.tgz')))


def test_truncated_archive(shop, home):
    shop.files['demo.tgz'] = DEMO[:len(DEMO) // 2]           # the server believes that this is all
    with pytest.raises(DamagedArchive, match='cannot be unpacked.*[Nn]othing'): untar_data(shop.address('demo.tgz'))
    assert nothing(home)
    shop.files['demo.tgz'] = DEMO
    assert whole(untar_data(shop.address('demo.tgz')))


def test_flipped_byte_in_an_archive_nobody_published(shop, home):
    shop.files['demo.tgz'] = DEMO[:-6] + bytes([DEMO[-6] ^ 1]) + DEMO[-5:]     # in gzip's own checksum
    with pytest.raises(DamagedArchive): untar_data(shop.address('demo.tgz'))
    assert nothing(home)


@pytest.mark.parametrize('contents, words', [(DEMO[:-10], 'cut short: .* expected'), (DEMO + b'x', 'not the archive'),
                                             (b'x' + DEMO[1:], 'begins with other bytes')])
def test_wrong_published_fingerprint(contents, words, shop, home, monkeypatch):
    monkeypatch.setattr(URLs, 'DEMO', shop.address('demo.tgz'), raising=False)
    monkeypatch.setitem(datasets._published, 'demo.tgz', (len(DEMO), hashlib.md5(DEMO[:2**20]).hexdigest()))
    shop.files['demo.tgz'] = contents
    with pytest.raises(DamagedArchive, match=words): untar_data('demo')
    assert nothing(home)
    shop.files['demo.tgz'] = DEMO
    assert whole(untar_data('demo'))


def test_404_is_said_at_once(shop, home):
    with pytest.raises(DatasetUnavailable, match='404'): untar_data(shop.address('gone.tgz'))
    assert len(shop.log) == 1 and nothing(home)


def test_busy_server_is_asked_again(shop, home):
    shop.statuses = [503, 429, 200]
    assert whole(untar_data(shop.address('demo.tgz')))
    shop.log.clear()
    shop.statuses = [503] * 9
    with pytest.raises(DatasetUnavailable, match='503'): untar_data(shop.address('demo2.tgz'))
    assert len(shop.log) == 4


def test_complete_part_needs_no_bytes(shop, home):
    path = home/'archives'/'demo.tgz'
    shop.cuts = [len(DEMO) - 1]
    with pytest.raises(DownloadFailed): download(shop.address('demo.tgz'), path, attempts=1)
    with open(f'{path}.part', 'ab') as file: file.write(DEMO[-1:])
    assert download(shop.address('demo.tgz'), path) == SHA
    assert len(shop.log) == 1


def test_part_longer_than_the_file_starts_anew(shop, home):
    path = home/'archives'/'demo.tgz'
    shop.cuts = [1000]
    with pytest.raises(DownloadFailed): download(shop.address('demo.tgz'), path, attempts=1)
    with open(f'{path}.part', 'ab') as file: file.write(bytes(len(DEMO)))
    assert download(shop.address('demo.tgz'), path) == SHA
    assert [seen.status for seen in shop.log] == [200, 416, 200]


def test_silent_server(home):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        url = f'http://127.0.0.1:{silent.getsockname()[1]}/demo.tgz'
        with pytest.raises(DownloadFailed, match='timed out'): download(url, home/'demo.tgz', timeout=.2, attempts=2)
    with pytest.raises(DownloadFailed, match='refused'): download(url, home/'demo.tgz', timeout=.2, attempts=2)
    assert left(home, parts=True) == []


def test_dripping_server_meets_the_deadline(shop, home):
    shop.pause = .1
    with pytest.raises(DownloadFailed, match='too long'):
        download(shop.address('demo.tgz'), home/'demo.tgz', deadline=time.monotonic() + .3, attempts=1)


@pytest.mark.parametrize('scheme', ['ftp://127.0.0.1/x', 'file:///etc/passwd'])
def test_redirects_lead_to_the_web_only(scheme, shop, home):
    shop.redirects = {'demo2.tgz': shop.address('demo.tgz'), 'away.tgz': scheme}
    assert download(shop.address('demo2.tgz'), home/'demo2.tgz') == SHA
    with pytest.raises(DownloadFailed, match='answered 302'): download(shop.address('away.tgz'), home/'away.tgz')
    with pytest.raises(DatasetError, match='only http'): open_url(scheme)


def test_redirect_keeps_the_range(shop, home):
    shop.redirects = {'demo2.tgz': shop.address('demo.tgz')}
    shop.cuts = [1000]
    assert download(shop.address('demo2.tgz'), home/'demo2.tgz') == SHA
    assert shop.asked('demo.tgz')[-1].range == 'bytes=1000-'


# ---- unpacking

def entry(name, kind, linkname='', mode=0o644):
    item = tarfile.TarInfo(name)
    item.type, item.linkname, item.mode = kind, linkname, mode
    return item, None


def zip_entry(name, kind):
    item = zipfile.ZipInfo(name)
    item.create_system, item.external_attr = 3, (kind | 0o644) << 16
    return item


GOOD = ('demo/good.txt', b'good')
EVIL = {
    'climbs': tar_bytes([GOOD, ('../x', b'evil')]),
    'climbs later': tar_bytes([GOOD, ('demo/a/../../../x', b'evil')]),
    'climbs at once, as a folder': tar_bytes([GOOD, entry('demo/../../x', tarfile.DIRTYPE)]),
    'absolute': tar_bytes([GOOD, ('/tmp/lessonlib_evil_x', b'evil')]),
    'two slashes': tar_bytes([GOOD, ('//tmp/lessonlib_evil_x', b'evil')]),
    'drive': tar_bytes([GOOD, ('C:/x', b'evil')]),
    'backslashes': tar_bytes([GOOD, ('demo\\..\\..\\x', b'evil')]),
    'symlink out': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, '../../x')]),
    'symlink to the root': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, '/etc/passwd')]),
    'symlink out, then through it': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, '../..'), ('demo/link/x', b'evil')]),
    'symlink to its folder': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, '.')]),
    'symlink to itself': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, 'link')]),
    'symlink to nothing': tar_bytes([GOOD, entry('demo/link', tarfile.SYMTYPE, 'nothing')]),
    'hard link out': tar_bytes([GOOD, entry('demo/link', tarfile.LNKTYPE, '../x')]),
    'hard link to the root': tar_bytes([GOOD, entry('demo/link', tarfile.LNKTYPE, '/etc/passwd')]),
    'character device': tar_bytes([GOOD, entry('demo/null', tarfile.CHRTYPE)]),
    'block device': tar_bytes([GOOD, entry('demo/disk', tarfile.BLKTYPE)]),
    'pipe': tar_bytes([GOOD, entry('demo/pipe', tarfile.FIFOTYPE)]),
    'bomb': tar_bytes([GOOD, ('demo/zeros', bytes(2_000_000))]),
    'many empty files': tar_bytes([GOOD] + [(f'demo/{n}', b'') for n in range(3000)]),
    'zip climbs': zip_bytes([GOOD, ('../x', b'evil')]),
    'zip absolute': zip_bytes([GOOD, ('/tmp/lessonlib_evil_x', b'evil')]),
    'zip symlink': zip_bytes([GOOD, (zip_entry('demo/link', stat.S_IFLNK), '../../x')]),
    'zip device': zip_bytes([GOOD, (zip_entry('demo/null', stat.S_IFCHR), b'')]),
}


@pytest.mark.parametrize('kind', EVIL)
@pytest.mark.parametrize('data_filter', [True, False], ids=['with the filter', 'older Python'])
def test_evil_archive_leaves_nothing(kind, data_filter, shop, home, monkeypatch):
    if not data_filter: monkeypatch.delattr(tarfile, 'data_filter', raising=False)
    if kind in ('bomb', 'many empty files'): monkeypatch.setattr(datasets.extract_archive, '__defaults__', (1_000_000,))
    name = 'demo.zip' if kind.startswith('zip') else 'demo.tgz'
    shop.files[name] = EVIL[kind]
    Path('/tmp/lessonlib_evil_x').unlink(missing_ok=True)
    (home.parent/'x').write_text('mine')
    before = sorted(path for path in home.parent.rglob('*') if home not in path.parents)
    with pytest.raises(UnsafeArchive, match='[Nn]othing|kept') as error: untar_data(shop.address(name))
    for part, words in (('device', 'device'), ('pipe', 'device or a pipe'), ('link', 'is a link'), ('bomb', 'too much')):
        if part in kind: assert error.match(words)
    assert nothing(home)
    assert not Path('/tmp/lessonlib_evil_x').exists() and (home.parent/'x').read_text() == 'mine'
    assert sorted(path for path in home.parent.rglob('*') if home not in path.parents and path != home) == before
    shop.files[name] = zip_bytes([GOOD]) if kind.startswith('zip') else tar_bytes([GOOD])
    if kind != 'bomb': assert whole(untar_data(shop.address(name)), {'good.txt': b'good'})


def test_links_inside_become_copies(tmp_path):
    (tmp_path/'a.tgz').write_bytes(tar_bytes([
        GOOD, entry('demo/soft', tarfile.SYMTYPE, './good.txt'), entry('demo/hard', tarfile.LNKTYPE, 'demo/good.txt'),
        entry('demo/sub/up', tarfile.SYMTYPE, '../good.txt'), ('./demo/later', b'later')]))
    extract_archive(tmp_path/'a.tgz', tmp_path/'a')
    assert whole(tmp_path/'a', {'good.txt': b'good', 'soft': b'good', 'hard': b'good', 'sub/up': b'good', 'later': b'later'})
    assert not any(path.is_symlink() for path in (tmp_path/'a').rglob('*'))
    assert all(path.stat().st_nlink == 1 for path in (tmp_path/'a').rglob('*') if path.is_file())


@pytest.mark.parametrize('name, contents', [
    ('a.tgz', DEMO), ('a.tar', tar_bytes([(f'demo/{name}', data) for name, data in FILES.items()], 'w')),
    ('a.tar.xz', tar_bytes([(f'./demo/{name}', data) for name, data in FILES.items()], 'w:xz')),
    ('a.tar.bz2', tar_bytes(FILES.items(), 'w:bz2')), ('a.zip', zip_bytes((f'demo/{k}', v) for k, v in FILES.items())),
    ('flat.zip', zip_bytes(FILES.items()))])
def test_kinds_of_archives(name, contents, tmp_path):
    (tmp_path/name).write_bytes(contents)
    digests = extract_archive(tmp_path/name, tmp_path/'out')
    assert whole(tmp_path/'out')
    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}


@pytest.mark.parametrize('entries', [[('a', b'1'), ('a/b', b'2')], [('a/b', b'1'), ('a', b'2')], [('', b'1')], [('.', b'1')]])
def test_entries_that_collide(entries, tmp_path):
    (tmp_path/'a.tgz').write_bytes(tar_bytes(entries))
    with pytest.raises((DamagedArchive, UnsafeArchive)): extract_archive(tmp_path/'a.tgz', tmp_path/'out')
    assert [path.name for path in tmp_path.iterdir()] == ['a.tgz']


@pytest.mark.parametrize('contents', [b'', b'hello', b'\x1f\x8b\x08garbage', b'PK\x03\x04garbage', bytes(5000)])
def test_no_archive_at_all(contents, shop, home):
    shop.files['demo.tgz'] = contents
    with pytest.raises(DatasetError): untar_data(shop.address('demo.tgz'))
    assert nothing(home)


def test_a_tar_that_ends_in_a_zip(tmp_path):
    (tmp_path/'a.tar').write_bytes(tar_bytes([GOOD, ('demo/inner.zip', zip_bytes([('x', b'y')]))], 'w'))
    extract_archive(tmp_path/'a.tar', tmp_path/'out')
    assert sorted(path.name for path in (tmp_path/'out').iterdir()) == ['good.txt', 'inner.zip']


def test_large_archives_are_unpacked_with_progress(tmp_path, capsys):
    (tmp_path/'a.tar').write_bytes(tar_bytes([(f'demo/{n}', bytes(30_000_000)) for n in range(4)], 'w'))
    extract_archive(tmp_path/'a.tar', tmp_path/'out')
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith('unpacking a.tar: ') for line in lines)


def test_encrypted_zip(tmp_path):
    contents = bytearray(zip_bytes([GOOD]))
    contents[6] |= 1                                                       # the local header's 'encrypted' flag
    contents[contents.index(b'PK\x01\x02') + 8] |= 1
    (tmp_path/'a.zip').write_bytes(contents)
    with pytest.raises(DamagedArchive, match='password|encrypt'): extract_archive(tmp_path/'a.zip', tmp_path/'out')
    assert not (tmp_path/'out').exists()


# ---- the name check, on names nobody would think of

parts = st.sampled_from(['..', '.', '', 'a', 'cat..1', 'C:', 'c:x', '~', '\\', '..\\', '\0', ' ', '...', '$HOME', 'ü', '\u2025', '%2e%2e'])
nasty = st.builds(lambda lead, names, sep: lead + sep.join(names), st.sampled_from(['', '/', '//', './', '\\', '\\\\']),
                  st.lists(parts, max_size=6), st.sampled_from(['/', '//', '\\', '/./']))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(nasty, st.text(max_size=30)))
@example('..')
def test_safe_name_never_leaves_the_folder(name):
    try: path = safe_name(name)
    except UnsafeArchive: return
    for root, kind, join in (('/srv/data', posixpath, PurePosixPath), ('D:\\srv\\data', ntpath, PureWindowsPath)):
        inside = kind.normpath(str(join(root).joinpath(*path.parts)))
        assert inside == root or inside.startswith(root + kind.sep), (name, inside)


honest = st.text(st.characters(codec='utf-8', exclude_characters='/\\:\0', exclude_categories=['Cs']), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(honest.filter(lambda part: part not in ('.', '..')), min_size=1, max_size=5))
def test_safe_name_leaves_honest_names_alone(names):
    assert safe_name('/'.join(names)) == PurePosixPath(*names)
    assert safe_name('./' + '//'.join(names) + '/') == PurePosixPath(*names)
    for place in range(len(names) + 1):
        with pytest.raises(UnsafeArchive): safe_name('/'.join(names[:place] + ['..'] + names[place:]))


@pytest.mark.filterwarnings('ignore:Duplicate name')
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@example(names=['', 'a'], kind=tar_bytes)
@given(names=st.lists(st.one_of(nasty, honest), min_size=1, max_size=4), kind=st.sampled_from([tar_bytes, zip_bytes]))
def test_archives_of_any_names_touch_nothing_else(names, kind, tmp_path_factory):
    bench = tmp_path_factory.mktemp('any')
    try: (bench/'a').write_bytes(kind([(name.replace('\0', '_'), b'contents') for name in names]))
    except (ValueError, OSError, IndexError): return            # a name that cannot even be packed
    try: extract_archive(bench/'a', bench/'deep'/'er'/'out')
    except DatasetError: assert not (bench/'deep'/'er'/'out').exists()
    assert sorted(path.name for path in bench.iterdir()) == ['a', 'deep']
    assert {path.name for path in (bench/'deep'/'er').iterdir()} <= {'out'}


# ---- full disks

@pytest.fixture
def tiny_disk(tmp_path):
    "A disk of one megabyte, made of memory"
    disk = tmp_path/'tiny disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)], capture_output=True, text=True
                             ) if shutil.which('mount') else None
    if not mounted or mounted.returncode: pytest.skip('mounting a small tmpfs needs root; the quota test stands in')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)


@pytest.mark.parametrize('lengths', [True, False], ids=['length known', 'length unknown'])
def test_disk_full_while_downloading(lengths, tiny_disk, shop, monkeypatch):
    monkeypatch.setenv('LESSONLIB_HOME', str(tiny_disk/'home'))
    shop.files['large.tgz'] = random.Random(1).randbytes(2**21)
    shop.lengths = lengths
    free = shutil.disk_usage(tiny_disk).free
    with pytest.raises(DiskFull, match='LESSONLIB_HOME') as error: untar_data(shop.address('large.tgz'))
    assert ('2.1 MB needed' in str(error.value)) == lengths
    assert (error.value.__cause__ is None) == lengths                 # known beforehand, nothing was even begun
    assert len(shop.log) == 1                                         # trying again would be no use
    assert (shop.log[0].sent < 2**21) or not lengths
    assert nothing(data_home())
    assert shutil.disk_usage(tiny_disk).free > free - 20_000
    assert whole(untar_data(shop.address('demo.tgz')))                # there is room for a small one


def test_disk_full_while_unpacking(tiny_disk, home, monkeypatch):
    text = b'a line of text that compresses well\n' * 3000
    mirror = folder_mirror(home.parent/'m', {
        'mnist_sample.tgz': tar_bytes([(f'mnist_sample/{item}.txt', text) for item in range(40)]), 'mnist_tiny.tgz': DEMO})
    monkeypatch.setenv('LESSONLIB_MIRROR', str(mirror))
    monkeypatch.setenv('LESSONLIB_HOME', str(tiny_disk/'home'))
    with pytest.raises(DiskFull, match='no room'): untar_data('mnist_sample')
    assert nothing(data_home())
    assert whole(untar_data('mnist_tiny'))
    with pytest.raises(DiskFull):
        for number in range(9): mirror_data(tiny_disk/f'copy{number}', ['mnist_tiny'])
    copies = [path for path in tiny_disk.glob('copy*/*.tgz')]
    assert copies and all(sha256_of(path) == SHA for path in copies)
    assert not [path for path in tiny_disk.rglob('*.partial')]


@forks
def test_file_quota(shop, home):
    "A quota on the size of files, as some servers have it: the same error, and nothing left"
    def work():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try: untar_data(shop.address('demo.tgz'))
        except DiskFull: os._exit(7)
        os._exit(8)
    child = in_child(work)
    child.join()
    assert child.exitcode == 7
    assert nothing(home)


def test_practice_on_a_full_disk(tiny_disk, monkeypatch):
    monkeypatch.setenv('LESSONLIB_HOME', str(tiny_disk/'home'))
    def make(folder):
        with new_folder(folder) as work: (work/'large').write_bytes(bytes(2**21))
    monkeypatch.setitem(practice_sets, 'large', PracticeSet('large', make, 1, 'large', 'too large'))
    with pytest.raises(DiskFull): practice_data('large')
    assert left(data_home()) == []


# ---- several at once, and sudden deaths

def ask(url, start, report):
    "What each of several processes does: wait for the start, ask, and write down what it saw"
    with open(start) as file: file.read()
    folder = untar_data(url)
    report.write_text(f'{whole(folder)} {folder.stat().st_ino}')


@forks
def test_two_processes_ask_at_once(shop, home, tmp_path):
    shop.pause = .01
    os.mkfifo(tmp_path/'start')
    reports = [tmp_path/f'report{n}' for n in range(3)]
    children = [in_child(ask, shop.address('demo.tgz'), tmp_path/'start', report) for report in reports]
    time.sleep(.2)
    (tmp_path/'start').write_text('go')
    for child in children: child.join(20)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert {report.read_text() for report in reports} == {f'True {(home/"data"/"demo").stat().st_ino}'}     # made once
    assert len(shop.log) == 1                                            # one download for all of them
    assert whole(home/'data'/'demo') and not list((home/'data').glob('.*'))


def test_two_threads_ask_at_once(shop, home, capsys):
    shop.pause, answers = .01, []
    threads = [threading.Thread(target=lambda: answers.append(untar_data(shop.address('demo.tgz')))) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert answers == [home/'data'/'demo'] * 3 and whole(answers[0]) and len(shop.log) == 1
    assert 'another process is at work on it, waiting' in capsys.readouterr().out


def stall_after(entries_before):
    "Make unpacking stop for ever after some entries, as if the machine had frozen"
    write = datasets._write_entries
    def slow(entries, folder, limit, bar=None):
        def some():
            for number, item in enumerate(entries):
                if number == entries_before: time.sleep(60)
                yield item
        return write(some(), folder, limit)
    datasets._write_entries = slow


@forks
def test_kill_during_extraction_then_a_clean_second_call(shop, home):
    def work():
        stall_after(15)
        untar_data(shop.address('demo.tgz'))
    child = in_child(work)
    wait_for(lambda: len(list((home/'data').rglob('*.bin'))) >= 14)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    leftovers = [path.name for path in (home/'data').iterdir()]
    assert leftovers and all(name.startswith('.demo.') or name.startswith('..demo.') for name in leftovers)
    assert not (home/'data'/'demo').exists()
    folder = untar_data(shop.address('demo.tgz'))
    assert whole(folder) and [path.name for path in (home/'data').iterdir()] == ['demo']
    assert len(shop.log) == 1                                            # the archive was still good


def test_replacing_keeps_the_old_one_until_the_new_is_whole(shop, home):
    url = shop.address('demo.tgz')
    untar_data(url)
    shop.files['demo.tgz'] = DEMO[:1000]
    with pytest.raises(DamagedArchive): untar_data(url, force_download=True)
    assert whole(home/'data'/'demo')
    shop.files['demo.tgz'] = tar_bytes([GOOD])
    assert whole(untar_data(url, force_download=True), {'good.txt': b'good'})
    assert [path.name for path in (home/'data').iterdir()] == ['demo']


def test_an_older_archive_does_not_stay_behind(shop, home, monkeypatch):
    folder = folder_mirror(home.parent/'m')
    shop.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv('LESSONLIB_MIRROR', shop.base)
    assert whole(untar_data('mnist_sample')) and left(home/'archives') == ['mnist_sample.tgz']
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder_mirror(home.parent/'m', {'mnist_sample.tgz': tar_bytes([GOOD])})))
    assert whole(untar_data('mnist_sample', force_download=True), {'good.txt': b'good'})
    assert left(home/'archives') == [] and all(row.ok for row in verify_data())


def test_same_file_name_from_another_address(shop, home):
    shop.files['other/demo.tgz'] = tar_bytes([GOOD])
    untar_data(shop.address('demo.tgz'))
    with pytest.raises(DatasetError, match='already holds'): untar_data(shop.address('other/demo.tgz'))
    assert whole(untar_data(shop.address('other/demo.tgz'), force_download=True), {'good.txt': b'good'})


def test_lock_is_free_after_an_error(home):
    with pytest.raises(ZeroDivisionError), file_lock('demo'): 1 / 0
    with file_lock('demo'): pass


# ---- mirrors

@pytest.mark.parametrize('kind', ['folder', 'relative folder', 'file', 'http', 'http with a slash'])
def test_mirror(kind, shop, home, monkeypatch):
    folder = folder_mirror(home.parent/'a mirror')
    shop.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv('LESSONLIB_MIRROR', {'folder': str(folder), 'relative folder': 'a mirror', 'file': folder.as_uri(),
                                            'http': shop.base, 'http with a slash': shop.base + '/'}[kind])
    for mode in ('real', 'auto'):
        monkeypatch.setenv('LESSONLIB_DATA', mode)
        assert course_data('mnist_sample') == home/'data'/'mnist_sample' and whole(home/'data'/'mnist_sample')
    assert whole(untar_data(URLs.MNIST_SAMPLE))
    assert len(shop.log) == (2 if 'http' in kind else 0)                 # SHA256SUMS and the archive
    assert (home/'archives').exists() == ('http' in kind) or not list((home/'archives').iterdir())


@pytest.mark.parametrize('kind', ['folder', 'http'])
@pytest.mark.parametrize('fault', ['wrong digest', 'not listed', 'listed but missing', 'no SHA256SUMS', 'bad SHA256SUMS'])
def test_mirror_at_fault(kind, fault, shop, home, monkeypatch, no_network):
    folder = folder_mirror(home.parent/'m')
    if fault == 'wrong digest': (folder/'mnist_sample.tgz').write_bytes(DEMO + b'x')
    if fault == 'not listed': (folder/'SHA256SUMS').write_text('')
    if fault == 'listed but missing': (folder/'mnist_sample.tgz').unlink()
    if fault == 'no SHA256SUMS': (folder/'SHA256SUMS').unlink()
    if fault == 'bad SHA256SUMS': (folder/'SHA256SUMS').write_text('abc  mnist_sample.tgz')
    shop.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder) if kind == 'folder' else shop.base)
    monkeypatch.setenv('LESSONLIB_DATA', 'real')
    error, words = {'wrong digest': (DamagedArchive, 'SHA-256'), 'bad SHA256SUMS': (DatasetError, 'line 1')}.get(
        fault, (DatasetUnavailable, 'the mirror|404'))
    with pytest.raises(error, match=words): course_data('mnist_sample')
    assert nothing(home)
    if kind == 'folder' and fault == 'wrong digest': assert (folder/'mnist_sample.tgz').exists()    # not ours to delete


def test_mirror_of_another_kind(monkeypatch):
    monkeypatch.setenv('LESSONLIB_MIRROR', 's3://bucket/folder')
    with pytest.raises(DatasetError, match='expected a folder'): untar_data('mnist_sample')


def test_mirror_data_makes_a_mirror(shop, home, monkeypatch):
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder_mirror(home.parent/'m', {'mnist_tiny.tgz': DEMO, 'camvid_tiny.tgz': DEMO})))
    with pytest.raises(DatasetError, match='nothing to mirror'): mirror_data(home.parent/'copy')
    untar_data('mnist_tiny')
    made = mirror_data(home.parent/'copy')
    assert made == [home.parent/'copy'/'mnist_tiny.tgz']
    mirror_data(home.parent/'copy', ['camvid_tiny'])
    sums = parse_sums((home.parent/'copy'/'SHA256SUMS').read_text())
    assert sums == {'mnist_tiny.tgz': SHA, 'camvid_tiny.tgz': SHA}
    checked = subprocess.run(['sha256sum', '--check', 'SHA256SUMS'], cwd=home.parent/'copy', capture_output=True) \
        if shutil.which('sha256sum') else None
    assert checked is None or checked.returncode == 0
    monkeypatch.setenv('LESSONLIB_MIRROR', str(home.parent/'copy'))
    monkeypatch.setenv('LESSONLIB_HOME', str(home.parent/'another home'))
    assert whole(untar_data('mnist_tiny')) and whole(untar_data('camvid_tiny'))


@pytest.mark.skipif(not os.environ.get('LESSONLIB_TEST_MIRROR'), reason='LESSONLIB_MIRROR names no mirror of real data')
def test_every_archive_of_a_real_mirror(home, monkeypatch):
    mirror = os.environ['LESSONLIB_TEST_MIRROR']
    monkeypatch.setenv('LESSONLIB_MIRROR', mirror)
    for name in datasets.mirror_sums(mirror): assert untar_data(name).is_dir()
    assert all(row.ok for row in verify_data())


# ---- course_data

@pytest.fixture
def no_network(monkeypatch):
    "No machine but this one can be reached"
    connect = socket.create_connection
    def only_here(place, *args, **options):
        if place[0] not in ('127.0.0.1', 'localhost'): raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure in name resolution')
        return connect(place, *args, **options)
    monkeypatch.setattr(socket, 'create_connection', only_here)


@pytest.fixture
def words(monkeypatch):
    "Small practice sets, one beside a real data set and one without"
    made = []
    def make(folder):
        random.random()
        made.append(folder)
        with new_folder(folder) as work: (work/'word.txt').write_text('practice')
    for name, folder in (('mnist_sample', 'mnist_sample'), ('mnist_tiny', 'mnist_tiny'), ('pets', 'oxford-iiit-pet'), ('words', 'words')):
        monkeypatch.setitem(practice_sets, name, PracticeSet(name, make, 3, folder, 'words'))
    return made


def test_auto_without_network_makes_practice_data_and_says_so(no_network, words, home, capsys):
    begin = time.monotonic()
    folder = course_data('mnist_sample')
    assert folder == home/'practice'/'mnist_sample-v3'/'mnist_sample' and (folder/'word.txt').exists()
    said = capsys.readouterr().out
    assert 'practice data' in said and 'cannot be reached' in said
    assert 'LESSONLIB_DATA=real' in said and 'LESSONLIB_MIRROR' in said
    assert course_data('mnist_sample') == folder and len(words) == 1
    assert time.monotonic() - begin < 2


def test_auto_never_waits_long(words, monkeypatch, capsys):
    "A network that swallows everything: one wait a server, remembered for all its data sets"
    knocks = []
    def never_answers(place, **options):
        knocks.append(place)
        time.sleep(20)
        raise OSError('nobody there')
    monkeypatch.setattr(socket, 'create_connection', never_answers)
    monkeypatch.setattr(datasets.can_reach, '__defaults__', (.3,))
    begin = time.monotonic()
    for name in ('mnist_sample', 'mnist_tiny', 'mnist_sample'): course_data(name)
    assert time.monotonic() - begin < 5 and len(knocks) == 1
    assert capsys.readouterr().out.count('practice data') == 3


def test_auto_asks_a_bad_server_once(words, shop, monkeypatch, capsys):
    "The server answers, but not with the file: that is remembered as well"
    monkeypatch.setattr(datasets, 'can_reach', lambda url: True)
    monkeypatch.setattr(URLs, 'MNIST_SAMPLE', shop.address('gone/mnist_sample.tgz'), raising=False)
    for _ in range(3): assert course_data('mnist_sample').parent.name == 'mnist_sample-v3'
    assert len(shop.log) == 1 and capsys.readouterr().out.count('404') == 3


def test_auto_with_an_unreachable_mirror(words, no_network, monkeypatch, capsys):
    monkeypatch.setenv('LESSONLIB_MIRROR', 'http://mirror.invalid/data')
    assert course_data('mnist_sample').parent.name == 'mnist_sample-v3'
    assert 'mirror.invalid' in capsys.readouterr().out


def test_auto_downloads_small_sets_only(words, shop, monkeypatch, home, capsys):
    monkeypatch.setattr(datasets, 'can_reach', lambda url: True)
    shop.files['mnist_sample.tgz'] = shop.files['oxford-iiit-pet.tgz'] = DEMO
    for name, file in (('MNIST_SAMPLE', 'mnist_sample.tgz'), ('PETS', 'oxford-iiit-pet.tgz')):
        monkeypatch.setattr(URLs, name, shop.address(file), raising=False)
    monkeypatch.setitem(datasets._published, 'mnist_sample.tgz', (len(DEMO), hashlib.md5(DEMO[:2**20]).hexdigest()))
    assert course_data('mnist_sample') == home/'data'/'mnist_sample'
    assert course_data('pets') == home/'practice'/'oxford-iiit-pet-v3'/'oxford-iiit-pet'
    assert '811.7 MB' in capsys.readouterr().out
    assert [seen.name for seen in shop.log] == ['mnist_sample.tgz']


def test_auto_takes_what_is_cached(words, no_network, monkeypatch, home, capsys):
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder_mirror(home.parent/'m', {'oxford-iiit-pet.tgz': DEMO})))
    untar_data('pets')
    monkeypatch.delenv('LESSONLIB_MIRROR')
    assert course_data('pets') == home/'data'/'oxford-iiit-pet'
    assert capsys.readouterr().out == '' and not words


def test_practice_mode_asks_nobody(words, monkeypatch, home, capsys):
    monkeypatch.setenv('LESSONLIB_DATA', 'practice')
    monkeypatch.setattr(socket, 'create_connection', None)
    random.seed(5)
    first = random.random()
    random.seed(5)
    assert course_data('pets') == course_data('PETS') == home/'practice'/'oxford-iiit-pet-v3'/'oxford-iiit-pet'
    assert random.random() == first                          # making it did not disturb the random numbers
    assert course_data('words').name == 'words' and capsys.readouterr().out == ''
    with pytest.raises(UnknownDataset, match='there is no practice set'): course_data('flowers')


def test_real_mode_without_network_names_three_ways_out(no_network, words, monkeypatch, home):
    monkeypatch.setenv('LESSONLIB_DATA', 'real')
    for ask in (course_data, untar_data):
        with pytest.raises(DatasetUnavailable) as error: ask('mnist_sample')
        message = str(error.value)
        assert all(f'  {number}. ' in message for number in (1, 2, 3))
        assert 'network' in message and 'LESSONLIB_MIRROR' in message and 'LESSONLIB_DATA=practice' in message
        assert 'Temporary failure in name resolution' in message and URLs.MNIST_SAMPLE in message
    assert nothing(home) and not words


def test_auto_without_practice_set_says_why(no_network, home):
    with pytest.raises(DatasetUnavailable, match='only downloaded when you ask'): course_data('imagewoof')


def test_practice_only_names(words, monkeypatch):
    assert course_data('words').name == 'words'
    monkeypatch.setenv('LESSONLIB_DATA', 'real')
    with pytest.raises(UnknownDataset, match='LESSONLIB_DATA=practice'): course_data('words')
    monkeypatch.setenv('LESSONLIB_DATA', 'never')
    with pytest.raises(DatasetError, match='auto, real or practice'): course_data('words')


def test_practice_that_fails_leaves_nothing(monkeypatch, home):
    def make(folder):
        Path(folder).mkdir()
        (Path(folder)/'half').write_text('half')
        raise RuntimeError('no more ink')
    monkeypatch.setitem(practice_sets, 'words', PracticeSet('words', make, 1, 'words', 'fails'))
    with pytest.raises(RuntimeError, match='ink'): practice_data('words')
    assert not (home/'practice'/'words-v1'/'words').exists()
    monkeypatch.setitem(practice_sets, 'words', PracticeSet('words', lambda folder: (Path(folder).mkdir(), (
        Path(folder)/'all').write_text('all')), 1, 'words', 'works'))
    assert whole(practice_data('words'), {'all': b'all'})
    assert [path.name for path in (home/'practice'/'words-v1').iterdir()] == ['words']


@forks
def test_practice_killed_half_way(words, monkeypatch, home):
    def make(folder):
        with new_folder(folder) as work:
            (work/'half').write_text('half')
            time.sleep(60)
    def work():
        practice_sets['words'] = PracticeSet('words', make, 3, 'words', 'slow')
        practice_data('words')
    child = in_child(work)
    wait_for(lambda: list(home.rglob('half')))
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (home/'practice'/'words-v3'/'words').exists()
    assert whole(practice_data('words'), {'word.txt': b'practice'})
    assert [path.name for path in (home/'practice'/'words-v3').iterdir()] == ['words']


# ---- list and verify

def test_list_data(words, monkeypatch, home):
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder_mirror(home.parent/'m', {'mnist_tiny.tgz': DEMO, 'camvid_tiny.tgz': DEMO})))
    untar_data('mnist_tiny')
    rows = {row.name: row for row in list_data()}
    assert set(rows) >= {name.lower() for name in data_urls()} | {'words'}
    assert {name: rows[name].place for name in ('mnist_tiny', 'camvid_tiny', 'pets', 'words')} == {
        'mnist_tiny': 'cached', 'camvid_tiny': 'mirror', 'pets': 'network', 'words': 'practice only'}
    assert rows['pets'].practice and not rows['imagewoof'].practice
    assert '811.7 MB' in str(rows['pets']) and len({len(name) for name in map(str, [rows['imagewoof'], rows['cifar']])}) == 1


def test_verify_data_finds_every_change(shop, home):
    folder = untar_data(shop.address('demo.tgz'))
    assert [(row.name, row.ok, row.problem) for row in verify_data()] == [('demo', True, '')]
    (folder/'train'/'0.bin').write_bytes(b'x' + FILES['train/0.bin'][1:])
    (folder/'train'/'1.bin').unlink()
    (folder/'new.txt').write_text('new')
    row, = verify_data()
    assert not row.ok and all(words in row.problem for words in (
        '1 changed (train/0.bin)', '1 missing (train/1.bin)', '1 added (new.txt)', 'force_download=True'))
    untar_data(shop.address('demo.tgz'), force_download=True)
    (home/'archives'/'demo.tgz').write_bytes(DEMO + b'x')
    assert 'demo.tgz has changed' in verify_data()[0].problem
    assert 'not in the cache' in verify_data(['pets'])[0].problem


def test_changed_archive_in_the_cache_is_fetched_again(shop, home, capsys):
    url = shop.address('demo.tgz')
    folder = untar_data(url)
    (home/'archives'/'demo.tgz').write_bytes(DEMO + b'x')
    shutil.rmtree(folder)
    assert whole(untar_data(url)) and len(shop.log) == 2
    assert 'fetched again' in capsys.readouterr().out


def test_archive_put_there_by_hand(home, no_network):
    (home/'archives').mkdir(parents=True)
    (home/'archives'/'mnist_sample.tgz').write_bytes(DEMO)
    with pytest.raises(DamagedArchive, match='not the archive|cut short'): untar_data('mnist_sample')     # not the published one
    assert (home/'archives'/'mnist_sample.tgz').exists()
    (home/'archives'/'demo.tgz').write_bytes(DEMO)
    assert whole(untar_data('https://example.invalid/demo.tgz'))
    (home.parent/'mine.tgz').write_bytes(DEMO)
    assert whole(untar_data((home.parent/'mine.tgz').as_uri()))
