"Data faults: whatever goes wrong, the whole data set is there or nothing of it, and one clear error."
import hashlib
import os
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
from pathlib import Path

import pytest

from helpers.archives import (DEMO, FILES, GOOD, SHA, entry, folder_mirror, forks, home,  # noqa: F401
                              in_child, left, no_network, nothing, shop, tar_bytes, tiny_disk,
                              wait_for, whole, zip_bytes, zip_entry)
from lessonlib import datasets, files
from lessonlib.datasets import (DatasetUnavailable, URLs, competition_data, course_data, fetch_file, find_url, list_data,
                                mirror_data, practice_data, untar_data, verify_data)
from lessonlib.files import (DamagedArchive, DatasetError, DiskFull, DownloadFailed, Fingerprint,
                             UnknownDataset, UnsafeArchive, data_home, download, extract_archive,
                             new_folder, parse_sums, sha256_of)
from lessonlib.practice import PracticeSet, practice_sets


# ---- names

def test_every_address_has_a_published_size_and_name():
    urls = datasets._urls()
    assert {datasets._archive_name(url) for url in urls.values()} == set(datasets._fingerprints)
    assert all(url.startswith('https://') for url in urls.values())
    assert datasets._fingerprints['oxford-iiit-pet.tgz'].size == 811706944
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
    monkeypatch.setitem(datasets._fingerprints, 'demo.tgz',
                        Fingerprint(len(DEMO), start_md5=hashlib.md5(DEMO[:2**20]).hexdigest()))
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


def test_an_old_python_unpacks_nothing(shop, home, monkeypatch):
    monkeypatch.delattr(tarfile, 'data_filter')
    with pytest.raises(DatasetError, match='needs Python 3.10.12'): untar_data(shop.address('demo.tgz'))
    assert not list((home/'data').iterdir())


@pytest.mark.parametrize('kind', EVIL)
def test_evil_archive_leaves_nothing(kind, shop, home, monkeypatch):
    if kind in ('bomb', 'many empty files'): monkeypatch.setattr(extract_archive, '__defaults__', (1_000_000,))
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


@pytest.mark.parametrize('contents', [b'', b'hello', b'\x1f\x8b\x08garbage', b'PK\x03\x04garbage', bytes(5000)])
def test_no_archive_at_all(contents, shop, home):
    shop.files['demo.tgz'] = contents
    with pytest.raises(DatasetError): untar_data(shop.address('demo.tgz'))
    assert nothing(home)


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
    write = files._write_entries
    def slow(entries, folder, limit, bar):
        def some():
            for number, item in enumerate(entries):
                if number == entries_before: time.sleep(60)
                yield item
        return write(some(), folder, limit, bar)
    files._write_entries = slow


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
    for name in datasets._mirror_sums(mirror): assert untar_data(name).is_dir()
    assert all(row.ok for row in verify_data())


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


def test_auto_makes_practice_data_and_says_so(words, home, monkeypatch, capsys):
    monkeypatch.setattr(socket, 'create_connection', None)         # the network is not even asked
    folder = course_data('mnist_sample')
    assert folder == home/'practice'/'mnist_sample-v3'/'mnist_sample' and (folder/'word.txt').exists()
    said = capsys.readouterr().out
    assert 'practice data' in said and 'only downloaded when you ask for it' in said
    assert 'LESSONLIB_DATA=real' in said and 'LESSONLIB_MIRROR' in said
    assert course_data('mnist_sample') == folder and len(words) == 1


def test_auto_with_an_unreachable_mirror(words, no_network, monkeypatch, capsys):
    monkeypatch.setenv('LESSONLIB_MIRROR', 'http://mirror.invalid/data')
    assert course_data('mnist_sample').parent.name == 'mnist_sample-v3'
    assert 'mirror.invalid' in capsys.readouterr().out


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


def test_practice_mode_gives_scripts_the_twin(monkeypatch, home, capsys, no_network):
    monkeypatch.setenv('LESSONLIB_DATA', 'practice')
    assert untar_data(URLs.MNIST_SAMPLE) == untar_data('mnist_sample') == practice_data('mnist_sample')
    said = capsys.readouterr().out
    assert said.count('mnist_sample: practice data, as LESSONLIB_DATA=practice says') == 2
    with pytest.raises(DatasetUnavailable): untar_data(URLs.IMAGENETTE)      # has none
    with pytest.raises(DatasetUnavailable): untar_data('https://one.org/mnist_sample.tgz')   # somebody else's
    for mode in ('auto', 'real', ''):
        monkeypatch.setenv('LESSONLIB_DATA', mode)
        with pytest.raises(DatasetUnavailable, match='LESSONLIB_DATA=practice: then untar_data'): untar_data(URLs.MNIST_SAMPLE)


def test_real_mode_without_network_names_three_ways_out(no_network, words, monkeypatch, home):
    monkeypatch.setenv('LESSONLIB_DATA', 'real')
    for ask in (course_data, untar_data):
        with pytest.raises(DatasetUnavailable) as error: ask('mnist_sample')
        message = str(error.value)
        assert all(f'  {number}. ' in message for number in (1, 2, 3))
        assert 'network' in message and 'LESSONLIB_MIRROR' in message and 'LESSONLIB_DATA=practice' in message
        assert 'Temporary failure in name resolution' in message and URLs.MNIST_SAMPLE in message
    assert nothing(home) and not words


def test_a_set_that_is_made_as_it_is_published_needs_no_network(no_network, home, monkeypatch, capsys):
    for mode in ('auto', 'real', 'practice'):
        monkeypatch.setenv('LESSONLIB_DATA', mode)
        folders = {untar_data(URLs.HUMAN_NUMBERS), untar_data('human_numbers', network=False), course_data('human_numbers')}
        assert folders == {home/'practice'/'human_numbers-v1'/'human_numbers'} and capsys.readouterr().out == ''
    folder, = folders
    lines = ''.join((folder/f'{part}.txt').read_text() for part in ('train', 'valid')).splitlines(keepends=True)
    assert len(lines) == 9998 and lines[:2] == ['one \n', 'two \n']
    with pytest.raises(DatasetUnavailable): untar_data('https://example.invalid/human_numbers.tgz')    # may be another


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
    assert set(rows) >= {name.lower() for name in datasets._urls()} | {'words', 'adult_sample', 'ml_100k'}
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


# ---- single files, such as weights

def weights_name(): return f'net-{SHA[:8]}.pth'


def test_fetch_file_from_each_place(shop, home, monkeypatch):
    known, name = Fingerprint(sha256=SHA[:8]), weights_name()
    ask = lambda **options: fetch_file(name, shop.address('demo.tgz'), known, folder='weights', **options)
    with pytest.raises(DownloadFailed, match='when you ask'): ask(network=False)
    assert ask() == home/'weights'/name and len(shop.log) == 1
    assert ask(network=False) == home/'weights'/name and len(shop.log) == 1
    (home/'weights'/name).write_bytes(b'damaged since')
    assert ask().read_bytes() == DEMO and len(shop.log) == 2
    mirror = home.parent/'m'
    mirror.mkdir()
    (mirror/name).write_bytes(DEMO)                                # no list: its name is its digest
    monkeypatch.setenv('LESSONLIB_MIRROR', str(mirror))
    assert ask(refresh=True) == mirror/name and not (home/'weights'/name).exists()
    (mirror/name).write_bytes(b'x')
    with pytest.raises(DamagedArchive, match='lies in the mirror'): ask()


def test_fetch_file_put_there_by_hand(shop, home):
    (home/'weights').mkdir(parents=True)
    (home/'weights'/weights_name()).write_bytes(b'something else')
    with pytest.raises(DamagedArchive, match='It lies in'):
        fetch_file(weights_name(), shop.address('demo.tgz'), Fingerprint(sha256=SHA[:8]), folder='weights')
    assert (home/'weights'/weights_name()).exists() and not shop.log


def test_a_list_of_sums_as_windows_writes_it(home, monkeypatch):
    folder = folder_mirror(home.parent/'m')
    sums = (folder/'SHA256SUMS').read_text()
    (folder/'SHA256SUMS').write_bytes(('\ufeff' + sums.replace('\n', '\r\n')).encode())
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder))
    assert whole(untar_data(URLs.MNIST_SAMPLE))


def test_a_folder_that_was_emptied_is_not_the_data(shop, home):
    folder = untar_data(shop.address('demo.tgz'))
    for file in folder.rglob('*'):
        if file.is_file(): file.unlink()                                # the folders are left
    assert whole(untar_data(shop.address('demo.tgz')))
    shutil.rmtree(folder)
    folder.mkdir()
    assert whole(untar_data(shop.address('demo.tgz')))
    next(file for file in folder.rglob('*') if file.is_file()).unlink()  # somebody cleaned: that stays
    n = len(shop.log)
    assert untar_data(shop.address('demo.tgz')) == folder and len(shop.log) == n


# ---- one name, two addresses; mirrors as people write them

def test_two_addresses_of_one_name_at_once(shop, home):
    shop.files = {'first/set.tgz': tar_bytes([GOOD]), 'second/set.tgz': DEMO}
    shop.pause, outcome, begun = .3, {}, threading.Event()
    def ask(place):
        try: outcome[place] = untar_data(shop.address(f'{place}/set.tgz'))
        except DatasetError as error: outcome[place] = error
    first = threading.Thread(target=ask, args=('first',))
    first.start()
    wait_for(lambda: shop.log)
    ask('second')
    first.join()
    assert whole(outcome['first'], {'good.txt': b'good'})
    assert 'already holds' in str(outcome['second']) and 'first/set.tgz' in str(outcome['second'])


def test_an_archive_in_the_cache_is_not_given_for_another_of_its_name(shop, home):
    shop.files = {'first/set.tgz': tar_bytes([GOOD]), 'second/set.tgz': DEMO}
    file = fetch_file('set.tgz', shop.address('first/set.tgz'))
    for use in (lambda: fetch_file('set.tgz', shop.address('second/set.tgz')),
                lambda: datasets._fetch_archive(shop.address('second/set.tgz')),
                lambda: mirror_data(home/'mirror', [shop.address('second/set.tgz')])):
        with pytest.raises(DatasetError, match='already holds'): use()
    assert sha256_of(file) != SHA
    assert fetch_file('set.tgz', shop.address('second/set.tgz'), Fingerprint(sha256=SHA)) and sha256_of(file) == SHA


@pytest.mark.parametrize('name', ['12345', 'data.tbz2', 'data.tar.zst', 'data-12345'])
def test_an_address_without_a_known_ending(name, shop, home):
    shop.files[name] = tar_bytes(((f'set/{k}', v) for k, v in FILES.items()), 'w:bz2')
    assert whole(untar_data(shop.address(name)))


@pytest.mark.parametrize('mirror', ['http://[', 'http://127.0.0.1:x', 'http://127.0.0.1:99999999', 'http://a..b/',
                                    'http://127.0.0.1:1/\u00e4', f'http://{"a" * 300}/'])
def test_a_mirror_that_is_no_address(mirror, words, home, monkeypatch, no_network, capsys):
    monkeypatch.setenv('LESSONLIB_MIRROR', mirror)
    with pytest.raises(DatasetError): untar_data('mnist_tiny', network=False)
    assert list_data()
    assert course_data('mnist_tiny').parent.name == 'mnist_tiny-v3'


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig', 'utf-8'])
def test_sums_as_other_programs_write_them(encoding, home, monkeypatch):
    folder = folder_mirror(home.parent/'m')
    sums = (folder/'SHA256SUMS').read_text()
    (folder/'SHA256SUMS').write_bytes(sums.encode(encoding))
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder))
    assert whole(untar_data('mnist_sample', network=False))
    (folder/'SHA256SUMS').write_bytes(b'<html>\xe9</html>')
    with pytest.raises(DatasetError, match='no text'): untar_data('mnist_sample', force_download=True, network=False)


@pytest.mark.parametrize('sums', [('a' * 64 + '  mnist_tiny.tgz\n').encode('utf-16'), b'<html>\xe9</html>'],
                         ids=['another mirror', 'no text'])
def test_sums_that_help_nobody_stop_no_lesson(sums, words, home, monkeypatch, capsys):
    "Practice data, and a list of what there is"
    folder = folder_mirror(home.parent/'m')
    (folder/'SHA256SUMS').write_bytes(sums)
    monkeypatch.setenv('LESSONLIB_MIRROR', str(folder))
    assert course_data('mnist_tiny') == home/'practice'/'mnist_tiny-v3'/'mnist_tiny'
    assert 'this is practice data' in capsys.readouterr().out
    assert not [row for row in list_data() if row.place == 'mirror' and row.name != 'mnist_tiny']
    assert ('SHA256SUMS is no text' in capsys.readouterr().out) == (sums[:1] == b'<')


@pytest.mark.parametrize('address', ['http://[', 'http://127.0.0.1:x', 'http://a..b/', f'http://{"a" * 300}/'])
@pytest.mark.parametrize('proxy', [False, True])
def test_what_is_no_address_is_not_reached(address, proxy, monkeypatch):
    "Neither as an address nor as that of a proxy; no thread ends in an error"
    errors = []
    monkeypatch.setattr(threading, 'excepthook', errors.append)
    monkeypatch.setattr(datasets, '_no_answer', set())
    for name in ('http_proxy', 'no_proxy', 'HTTP_PROXY', 'NO_PROXY'): monkeypatch.delenv(name, raising=False)
    if proxy: monkeypatch.setenv('http_proxy', address)
    assert datasets.can_reach('http://data.invalid/x' if proxy else address) is False and not errors


@pytest.mark.parametrize('below', ['', 'below'])
def test_a_cache_that_cannot_be_one_is_named_by_all_that_keep_something(below, words, home, monkeypatch):
    home.write_text('a file')
    (home.parent/'set.tgz').write_bytes(DEMO)
    address = (home.parent/'set.tgz').as_uri()
    monkeypatch.setenv('LESSONLIB_HOME', str(home/below))
    for keep in (lambda: untar_data(address), lambda: practice_data('mnist_tiny'), lambda: course_data('mnist_tiny'),
                 lambda: fetch_file('set.tgz', address), lambda: mirror_data(home.parent/'m', [address])):
        with pytest.raises(DatasetError, match='Set LESSONLIB_HOME to a folder'): keep()
    assert home.read_text() == 'a file' and not words


def test_a_set_whose_replacement_was_broken_off_is_still_there(shop, home):
    folder = untar_data(shop.address('demo.tgz'))
    folder.rename(folder.with_name('.demo.old'))                       # killed between two names
    shop.files.clear()
    (home/'archives'/'demo.tgz').unlink()
    assert whole(untar_data(shop.address('demo.tgz')))


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no named pipes here')
def test_verify_data_does_not_wait_for_a_pipe(shop, home):
    folder = untar_data(shop.address('demo.tgz'))
    (folder/'labels.csv').unlink()
    os.mkfifo(folder/'labels.csv')
    assert 'labels.csv' in verify_data()[0].problem


# ---- data of a competition

@pytest.fixture
def client(tmp_path, monkeypatch):
    "A folder of programs with a client of Kaggle's; what it does is written into it"
    monkeypatch.setenv('LESSONLIB_HOME', str(tmp_path/'home'))
    for name in ('KAGGLE_API_TOKEN', 'KAGGLE_USERNAME', 'KAGGLE_KEY', 'KAGGLE_CONFIG_DIR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path/'me'))
    monkeypatch.setenv('PATH', f'{tmp_path/"programs"}{os.pathsep}{os.environ["PATH"]}')
    (tmp_path/'programs').mkdir()
    def make(does):
        program = tmp_path/'programs'/'kaggle'
        program.write_text(f'#!{sys.executable}\nimport sys, zipfile, pathlib\nwords = sys.argv[1:]\n'
                           "assert words[:4] == ['competitions', 'download', '-c', 'petals'], words\n"
                           f'folder = pathlib.Path(words[words.index("-p") + 1])\n{does}')
        program.chmod(0o755)
    return make


ZIPPED = 'with zipfile.ZipFile(folder/"petals.zip", "w") as z: z.writestr("train.csv", "x"); z.writestr("a/b.txt", "y")'


def files_of(folder): return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def test_a_competition_comes_by_kaggles_client(client, tmp_path, monkeypatch):
    client(ZIPPED)
    with pytest.raises(DatasetError, match='no token.*kaggle.json'): competition_data('petals')
    (tmp_path/'me'/'.kaggle').mkdir(parents=True)
    (tmp_path/'me'/'.kaggle'/'kaggle.json').write_text('{}')
    folder = competition_data('petals')
    assert files_of(folder) == {'train.csv', 'a/b.txt'}
    client('raise SystemExit(1)')
    assert competition_data('petals') == folder                      # fetched once
    assert [(row.name, row.ok) for row in verify_data()] == [('kaggle-petals', True)]
    assert [path.name for path in folder.parent.iterdir()] == ['kaggle-petals']


def test_a_competition_of_single_files(client, monkeypatch):
    monkeypatch.setenv('KAGGLE_API_TOKEN', 'secret-token')
    client('(folder/"a.csv").write_text("1"); (folder/"b.csv").write_text("2")')
    folder = competition_data('petals')
    assert files_of(folder) == {'a.csv', 'b.csv'} and verify_data()[0].ok


@pytest.mark.parametrize('does', ['print("403 - Forbidden"); raise SystemExit(1)', 'pass',
                                  'sys.exit("403 - Forbidden " + "x" * 5000)'])
def test_what_the_client_cannot_fetch_is_said(client, does, monkeypatch):
    monkeypatch.setenv('KAGGLE_API_TOKEN', 'secret-token')
    client(does)
    with pytest.raises(DatasetError, match='accepted its rules') as said: competition_data('petals')
    text = str(said.value)
    assert ('Forbidden' in text) == ('Forbidden' in does) and len(text) < 800 and 'secret-token' not in text
    assert 'By hand' in text and 'kaggle-petals.zip' in text
    home = Path(os.environ['LESSONLIB_HOME'])
    assert not [path for path in (home/'data').iterdir()]


@pytest.mark.parametrize('name', ['', '../petals', 'Petals', '-c', 'a b', 'petals/x', None])
def test_no_name_of_a_competition(client, name):
    client('raise SystemExit("asked")')
    with pytest.raises(ValueError, match='no name of a competition'): competition_data(name)
