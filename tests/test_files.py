"Files: written whole or not at all, checked, fetched, unpacked without harm; progress, hints and locks."
import gzip
import hashlib
import io
import ntpath
import os
import posixpath
import random
import socket
import sys
import tarfile
import threading
import time
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from helpers.data_server import Handler
from helpers.archives import (DEMO, FILES, GOOD, SHA, entry, home, left, shop, tar_bytes,  # noqa: F401
                              whole, zip_bytes)
from lessonlib import files
from lessonlib.files import (DamagedArchive, DatasetError, DownloadFailed, Fingerprint, UnsafeArchive,
                             _open_url, _safe_name, atomic_path, check_archive, did_you_mean, download,
                             extract_archive, file_lock, progress, sha256_of)


# ---- whole or not at all

def test_atomic_path_keeps_the_old_file_and_leaves_nothing(tmp_path):
    goal = tmp_path/'sub'/'weights.bin'
    with atomic_path(goal) as partial: partial.write_bytes(b'old')
    with pytest.raises(RuntimeError):
        with atomic_path(goal) as partial:
            partial.write_bytes(b'ne')
            raise RuntimeError
    assert goal.read_bytes() == b'old' and [p.name for p in goal.parent.iterdir()] == ['weights.bin']
    (tmp_path/'plain').touch()
    assert goal.stat().st_mode == (tmp_path/'plain').stat().st_mode


# ---- hints and progress

def test_did_you_mean():
    known = ['Siamese', 'great_pyrenees', 'pug']
    assert did_you_mean('SIAMESE ', known) == " Did you mean 'Siamese'?"
    assert did_you_mean('great pyrenee', known) == " Did you mean 'great_pyrenees'?"
    assert did_you_mean('tsunami', known) == did_you_mean('', known) == did_you_mean('pug', []) == ''
    assert did_you_mean(12, [123, 7]) == ' Did you mean 123?'         # numbers stay numbers
    assert did_you_mean('Zürch', ['zürich']) == " Did you mean 'zürich'?"
    assert did_you_mean('fit_on', ['fit', 'fit_one_cycle', 'fit_one']).startswith(" Did you mean 'fit_one'")


def test_progress_in_lines(capsys):
    with progress(8, 'sheep', kind='lines') as bar:
        for _ in range(8): bar.add()
    assert capsys.readouterr().out.splitlines() == [f'sheep: {n} of 8 ({n/8:.0%})' for n in (2, 4, 6, 8)]
    with progress(None, 'sheep', kind='paper', every=3) as bar:
        for n in range(7): bar.update(n + 1, 'baa')
    assert capsys.readouterr().out.splitlines() == ['sheep: 3, baa', 'sheep: 6, baa']
    with progress(0, 'nothing', kind='lines'): pass
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('leave', [True, False])
def test_progress_in_a_terminal(leave, capsys):
    with progress(10, 'sheep', kind='terminal', leave=leave) as bar:
        for n in range(10): bar.add(text=f'number {n}')
        bar.line('a row of a table')
    out, err = capsys.readouterr()
    assert out == 'a row of a table\n'
    shown = [line.strip() for line in err.split('\r') if line.strip()]
    assert shown[0].startswith('##------------------ sheep: 1 of 10 (10%), number 0')
    assert any(line.startswith('#' * 20 + ' sheep: 10 of 10 (100%), number 9') for line in shown)
    assert err.endswith('\n') == leave and max(map(len, err.split('\r'))) < 81


def test_progress_in_a_notebook(monkeypatch):
    import IPython.display
    shown = []
    class Handle:
        def update(self, data, raw): shown.append(data)
    def display(data, raw, display_id):
        shown.append(data)
        return Handle()
    monkeypatch.setattr(IPython.display, 'display', display)
    with progress(2, '<sheep>', kind='notebook', leave=False) as bar: bar.add(), bar.add()
    assert '<progress value="0.5"' in shown[0]['text/html'] and '&lt;sheep&gt;: 1 of 2' in shown[0]['text/html']
    assert shown[1]['text/plain'] == '<sheep>: 2 of 2 (100%)' and shown[-1]['text/html'] == ''


# ---- checks and downloads

def test_first_digits_of_a_digest_are_enough(tmp_path):
    (tmp_path/'a').write_bytes(b'abc')
    assert check_archive(tmp_path/'a', Fingerprint(sha256='ba7816bf')).startswith('ba7816bf')
    with pytest.raises(DamagedArchive, match='expected ba7816b0'):
        check_archive(tmp_path/'a', Fingerprint(sha256='ba7816b0'))


def test_download_says_how_far_it_is(shop, home, capsys):
    body = random.Random(0).randbytes(12_000_000)
    shop.files['large.bin'] = body
    assert download(shop.address('large.bin'), home/'large.bin') == hashlib.sha256(body).hexdigest()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith('large.bin: ') for line in lines)
    assert lines[-1] == 'large.bin: 12.0 MB of 12.0 MB (100%)'
    assert sorted(path.name for path in home.iterdir()) == ['large.bin', 'locks']


def test_progress_is_a_bar_where_somebody_watches(shop, home, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self): return True
    monkeypatch.setattr(sys, 'stderr', Terminal())
    download(shop.address('demo.tgz'), home/'demo.tgz')
    assert '#################### demo.tgz: 241.5 kB of 241.5 kB (100%)' in sys.stderr.getvalue()
    assert capsys.readouterr().out == ''


def test_stopped_between_the_old_bytes_and_the_new_note(shop, home, monkeypatch):
    "A new edition is about to begin: whenever we are stopped, old bytes never stand beside a new note"
    shop.cuts = [150_000]
    shop.files['demo.tgz'] = bytes(len(DEMO))
    path = home/'archives'/'demo.tgz'
    with pytest.raises(DownloadFailed): download(shop.address('demo.tgz'), path, attempts=1)
    shop.files['demo.tgz'] = DEMO
    def stop(facts): raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(files.json, 'dumps', stop)
        with pytest.raises(KeyboardInterrupt): download(shop.address('demo.tgz'), path)
    assert not Path(f'{path}.part').exists()
    assert download(shop.address('demo.tgz'), path) == SHA


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


@pytest.mark.parametrize('scheme', ['ftp://127.0.0.1/x', 'file:///etc/passwd'])
def test_redirects_lead_to_the_web_only(scheme, shop, home):
    shop.redirects = {'demo2.tgz': shop.address('demo.tgz'), 'away.tgz': scheme}
    assert download(shop.address('demo2.tgz'), home/'demo2.tgz') == SHA
    with pytest.raises(DownloadFailed, match='answered 302'): download(shop.address('away.tgz'), home/'away.tgz')
    with pytest.raises(DatasetError, match='only http'): _open_url(scheme)


def test_redirect_keeps_the_range(shop, home):
    shop.redirects = {'demo2.tgz': shop.address('demo.tgz')}
    shop.cuts = [1000]
    assert download(shop.address('demo2.tgz'), home/'demo2.tgz') == SHA
    assert shop.asked('demo.tgz')[-1].range == 'bytes=1000-'


# ---- unpacking

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
    try: path = _safe_name(name)
    except UnsafeArchive: return
    for root, kind, join in (('/srv/data', posixpath, PurePosixPath), ('D:\\srv\\data', ntpath, PureWindowsPath)):
        inside = kind.normpath(str(join(root).joinpath(*path.parts)))
        assert inside == root or inside.startswith(root + kind.sep), (name, inside)


honest = st.text(st.characters(codec='utf-8', exclude_characters='/\\:\0', exclude_categories=['Cs']), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(honest.filter(lambda part: part not in ('.', '..')), min_size=1, max_size=5))
def test_safe_name_leaves_honest_names_alone(names):
    assert _safe_name('/'.join(names)) == PurePosixPath(*names)
    assert _safe_name('./' + '//'.join(names) + '/') == PurePosixPath(*names)
    for place in range(len(names) + 1):
        with pytest.raises(UnsafeArchive): _safe_name('/'.join(names[:place] + ['..'] + names[place:]))


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


# ---- locks

def test_lock_is_free_after_an_error(home):
    with pytest.raises(ZeroDivisionError), file_lock('demo'): 1 / 0
    with file_lock('demo'): pass


# ---- what killed writers leave, what strangers send

def test_the_dead_are_swept_away_and_the_living_are_not(tmp_path):
    goal, old = tmp_path/'model.bin', time.time() - 3 * 86400
    dead, alive, other = (tmp_path/f'.{name}.0badcafe.partial' for name in ('model.bin', 'model.bin', 'model.bin.2'))
    alive = alive.with_name('.model.bin.abad1dea.partial')
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder/'half').write_text('half')
        os.utime(folder, (old, old))
    claim = files._claim(alive)                                     # somebody is slow, but at work
    with atomic_path(goal) as part: part.write_text('whole')
    if files.fcntl: assert alive.exists()
    assert not dead.exists() and other.exists() and goal.read_text() == 'whole'
    if claim is not None: os.close(claim)
    with atomic_path(goal) as part: part.write_text('again')
    assert not alive.exists()


def test_thousands_of_links_cost_what_files_cost(tmp_path, monkeypatch):
    links = [entry(f'demo/{n}', tarfile.SYMTYPE if n % 2 else tarfile.LNKTYPE, 'good.txt' if n % 2 else 'demo/./good.txt')
             for n in range(3000)]
    (tmp_path/'a.tgz').write_bytes(tar_bytes([links[0], GOOD, *links[1:]]))
    lookups, find = [], tarfile.TarFile._getmember
    monkeypatch.setattr(tarfile.TarFile, '_getmember', lambda *args, **kwargs: lookups.append(1) or find(*args, **kwargs))
    start = time.process_time()
    found = extract_archive(tmp_path/'a.tgz', tmp_path/'out')
    assert len(found) == 3001 and not lookups and time.process_time() - start < 10
    assert {(tmp_path/'out'/str(n)).read_bytes() for n in range(3000)} == {b'good'} and len(set(found.values())) == 1


def test_copies_of_links_count_towards_the_limit(tmp_path):
    (tmp_path/'a.tgz').write_bytes(tar_bytes([('demo/x', bytes(50_000)),
                                              *(entry(f'demo/{n}', tarfile.SYMTYPE, 'x') for n in range(30))]))
    with pytest.raises(UnsafeArchive, match='more than 1.0 MB'): extract_archive(tmp_path/'a.tgz', tmp_path/'o', 1_000_000)


@pytest.mark.parametrize('kind', [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize('first', [True, False])
def test_a_header_that_is_too_long_is_not_read(kind, first, tmp_path):
    item = tarfile.TarInfo('long')
    item.type, item.size = kind, 30_000_000
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz', compresslevel=1) as archive:
        good = tarfile.TarInfo('demo/good.txt')
        if not first: archive.addfile(good)
        archive.fileobj.write(item.tobuf())
        archive.fileobj.write(bytes(30_000_000))
    (tmp_path/'a.tgz').write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeArchive, match='a header says that it has 30.0 MB'): extract_archive(tmp_path/'a.tgz', tmp_path/'o')
    assert [path.name for path in tmp_path.iterdir()] == ['a.tgz']


def test_endless_zeros_after_the_end(tmp_path):
    (tmp_path/'a.tgz').write_bytes(gzip.compress(tar_bytes([GOOD], 'w') + bytes(9_000_000)))
    with pytest.raises(UnsafeArchive, match='more than'): extract_archive(tmp_path/'a.tgz', tmp_path/'o', 1_000_000)


@pytest.mark.parametrize('lengths', [True, False])
def test_no_more_comes_than_was_published(lengths, shop, home):
    shop.files['large.bin'], shop.lengths = bytes(5_000_000), lengths
    with pytest.raises(DamagedArchive, match='expected 1,000'): download(shop.address('large.bin'), home/'x', Fingerprint(1000))
    assert left(home, parts=True) == [] and shop.log[0].sent < 5_000_000


@pytest.mark.parametrize('name', ['n' * 300, '/'.join(['d' * 100] * 50)])
@pytest.mark.parametrize('kind', [tar_bytes, zip_bytes])
def test_names_too_long_for_a_disk(name, kind, tmp_path):
    (tmp_path/'a').write_bytes(kind([('demo/x', b'x'), (f'demo/{name}', b'y')]))
    with pytest.raises(DamagedArchive, match='too long'): extract_archive(tmp_path/'a', tmp_path/'o')
    assert [path.name for path in tmp_path.iterdir()] == ['a']


@pytest.mark.parametrize('name', ['.lone folder', '.lone folder/x', 'demo', 'demo/x', '.a.partial', '.a.lock/x'])
@pytest.mark.parametrize('kind', [tar_bytes, zip_bytes])
def test_no_name_in_an_archive_is_one_of_our_own(name, kind, tmp_path):
    "Files that are called as the folder around all is, or as something of ours, are there like the others."
    (tmp_path/'a').write_bytes(kind([(f'demo/{name}', b'x'), ('demo/y', b'y')]))
    assert set(extract_archive(tmp_path/'a', tmp_path/'o')) == {name, 'y'}
    assert whole(tmp_path/'o', {name: b'x', 'y': b'y'}) and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('place', [12, 16], ids=['size', 'start'])
@pytest.mark.parametrize('number', [10**6, 2**32 - 2])
def test_a_zip_that_lies_about_its_directory(place, number, tmp_path):
    "Its end tells how long its list of files is, and where that begins: more than there is, or before the start"
    data = bytearray(zip_bytes([('demo/x', b'x'), ('demo/y', b'y')]))
    end = data.rindex(b'PK\5\6') + place
    data[end:end + 4] = number.to_bytes(4, 'little')
    (tmp_path/'a').write_bytes(data)
    with pytest.raises(DamagedArchive): extract_archive(tmp_path/'a', tmp_path/'o')
    assert [path.name for path in tmp_path.iterdir()] == ['a']


@pytest.mark.parametrize('address', ['http://[', 'http://127.0.0.1:x/a', 'http://127.0.0.1:99999999/a', 'http:///a'])
def test_what_is_no_address(address, home):
    with pytest.raises(DatasetError, match='address'): download(address, home/'a', attempts=1)


@pytest.mark.parametrize('address', ['http://a..b/x', f'http://{"a" * 300}/x'])
def test_what_no_name_server_can_be_asked(address, home):
    with pytest.raises(DownloadFailed, match='is no address'): download(address, home/'a', attempts=1)


def test_addresses_in_any_script(shop, home):
    shop.files['%C3%A4%20b.tgz'] = DEMO
    assert download(shop.address('ä b.tgz'), home/'x') == SHA


HEADERS = {'length that is no number': (200, {'Content-Length': 'abc'}), 'length of 5,000 digits': (200, {'Content-Length': '9' * 5000}),
           'size of 5,000 digits': (200, {'Content-Range': f'bytes 0-5/{"9" * 5000}'}),
           'a part nobody asked for': (206, {'Content-Range': f'bytes 100-{len(DEMO) - 1}/{len(DEMO)}'}),
           'a range of 5,000 digits': (206, {'Content-Range': f'bytes {"9" * 5000}-5/7'}),
           'a bad new address': (302, {'Location': 'http://[bad/x'}), 'a bad new port': (302, {'Location': 'http://127.0.0.1:x/x'})}


@pytest.mark.parametrize('name', HEADERS)
def test_servers_that_lie(name, shop, home):
    "The right file or an error of ours, nothing half kept, and an honest answer afterwards is taken"
    status, headers = HEADERS[name]
    class Liar(Handler):
        def do_GET(self):
            self.send_response(status)
            for header in {'ETag': f'"{SHA[:16]}"', **headers}.items(): self.send_header(*header)
            self.end_headers()
            if status != 302: self.wfile.write(DEMO[100:] if status == 206 else DEMO)
    shop.server.RequestHandlerClass = Liar
    get = lambda: download(shop.address('demo.tgz'), home/'a', attempts=1, timeout=2.)
    try: assert get() == SHA
    except DatasetError: assert status != 200 and left(home, parts=True) == []
    shop.server.RequestHandlerClass = Handler
    assert get() == SHA and sha256_of(home/'a') == SHA and left(home, parts=True) == ['a']


@pytest.mark.parametrize('below', ['', 'below'])
def test_a_cache_that_cannot_be_one(below, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('a file')
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'file'/below))
    with pytest.raises(DatasetError, match='Set LESSONLIB_HOME to a folder'), file_lock('pets'): pass


def test_two_downloads_to_one_file_take_turns(shop, home):
    shop.pause, digests = .01, []
    threads = [threading.Thread(target=lambda: digests.append(download(shop.address('demo.tgz'), home/'x'))) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert digests == [SHA] * 2 and sha256_of(home/'x') == SHA
