"Files: written whole or not at all, checked, fetched, unpacked without harm; progress, hints and locks."
import hashlib
import io
import ntpath
import posixpath
import random
import socket
import sys
import tarfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from helpers.archives import (DEMO, FILES, GOOD, SHA, entry, home, left, shop, tar_bytes,  # noqa: F401
                              whole, zip_bytes)
from lessonlib import files
from lessonlib.files import (DamagedArchive, DatasetError, DownloadFailed, Fingerprint, UnsafeArchive,
                             _open_url, _safe_name, atomic_path, check_archive, did_you_mean, download,
                             extract_archive, file_lock, progress)


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
    assert [path.name for path in home.iterdir()] == ['large.bin']


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
