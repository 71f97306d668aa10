"Data sets in tar files: packed whole, read in place, in an order that comes again; and streams."
import gzip
import io
import os
import tarfile

import pytest
import torch

from lessonlib.core import set_seed
from lessonlib.shards import get_shards, ShardOrder, StreamLoader, write_shards


@pytest.mark.quick
def test_shards_hold_what_was_packed(tmp_path):
    samples = [dict(txt=f'text {i}', json=dict(i=i, name='é'), bin=bytes([i] * i), cls=i) for i in range(7)]
    files = write_shards(({'__key__': f'deep/item_{i}', **s} for i, s in enumerate(samples)), tmp_path/'shards', 3)
    assert [file.name for file in files] == ['shard-00000.tar', 'shard-00001.tar', 'shard-00002.tar']
    for source in (tmp_path/'shards', files, str(tmp_path/'shards')):
        items = get_shards(source)
        assert [{k: item[k] for k in samples[0]} for item in items] == samples and items[4].key == 'deep/item_4'
    with tarfile.open(files[0]) as archive: assert archive.getnames()[:2] == ['deep/item_0.txt', 'deep/item_0.json']
    with pytest.raises(KeyError, match=r'shard-00000.tar:deep/item_0 has no jpg, but'): items[0]['jpg']
    with pytest.raises(OSError, match='already holds something'): write_shards(samples, tmp_path/'shards')


@pytest.mark.quick
def test_bad_shards_are_said(tmp_path):
    good = write_shards(({'txt': 'a' * 3000, 'cls': 1} for _ in range(4)), tmp_path/'good', 4)[0]
    whole = good.read_bytes()
    for name, content in (('half', whole[:len(whole) // 2]), ('noise', os.urandom(5000)), ('cut', whole[:2000])):
        (tmp_path/f'{name}.tar').write_bytes(content)
        with pytest.raises(ValueError, match=f'{name}.tar is no whole tar file'): get_shards(tmp_path/f'{name}.tar')
    (tmp_path/'packed.tar').write_bytes(gzip.compress(whole))
    with pytest.raises(ValueError, match='compressed one must be unpacked'): get_shards(tmp_path/'packed.tar')
    write_shards(({'txt': 'a', **({'cls': i} if i != 3 else {})} for i in range(5)), tmp_path/'lacking', 2)
    with pytest.raises(ValueError, match=r'shard-00001.tar:000000003 has no cls'): get_shards(tmp_path/'lacking')
    assert len(get_shards(tmp_path/'lacking', parts=['txt'])) == 5
    with pytest.raises(FileNotFoundError, match='no file .tar'): get_shards([])
    with pytest.raises(FileNotFoundError, match='no shard'): get_shards(tmp_path/'none.tar')
    with pytest.raises(ValueError, match='has a dot'): write_shards([{'__key__': 'a.b', 'txt': ''}], tmp_path/'dot')
    with pytest.raises(ValueError, match='no samples'): write_shards([], tmp_path/'none')
    assert not (tmp_path/'dot').exists() and not (tmp_path/'none').exists()
    items = get_shards(good)
    good.write_bytes(whole[:1000])
    with pytest.raises(OSError, match='cut short'): items[0]['txt']


@pytest.mark.quick
def test_orders_of_shards_and_streams(tmp_path):
    write_shards(({'txt': str(i), 'cls': i} for i in range(37)), tmp_path/'shards', 8)
    items = get_shards(tmp_path/'shards')
    dataset = type('Data', (), dict(items=items, __len__=lambda self: len(items)))()
    for window in (1, 3, 100):
        set_seed(1)
        order = list(ShardOrder(dataset, True, window))
        assert sorted(order) == [*range(37)] and order != [*range(37)]
        set_seed(1)
        assert order == list(ShardOrder(dataset, True, window))
        if window == 1:      # one shard after the other
            shards = [items[i].shard for i in order]
            assert sum(a != b for a, b in zip(shards, shards[1:])) == 4
    assert list(ShardOrder(dataset, False)) == [*range(37)]
    with pytest.raises(ValueError, match='window=0'): ShardOrder(dataset, window=0)
    def source(): return ((torch.tensor([float(i)]),) for i in range(10))
    set_seed(1)
    stream = StreamLoader(source, 10, bs=4, window=5)
    got = [x.flatten().tolist() for x, in stream]
    assert [len(x) for x in got] == [4, 4, 2] == [4, 4, 10 % 4] and sorted(sum(got, [])) == [*range(10)] and len(stream) == 3
    assert [x.flatten().tolist() for x, in stream.ordered()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(list(stream.new(drop_last=True))) == 2
    with pytest.raises(ValueError, match='gave 10 samples, and n is 11'): list(stream.new(n=11))
    with pytest.raises(TypeError, match='begins an iteration'): StreamLoader(iter([1]), 1)


def test_streams_of_datasets():
    datasets = pytest.importorskip('datasets', reason='streams of Hugging Face datasets, where it is installed')
    def rows():
        for i in range(20): yield dict(x=[float(i)], y=i % 2)
    made = datasets.IterableDataset.from_generator(rows)
    stream = StreamLoader(lambda: made, 20, lambda row: (torch.tensor(row['x']), row['y']), bs=8)
    assert [len(x) for x, _ in stream] == [8, 8, 4] and [len(x) for x, _ in stream] == [8, 8, 4]


@pytest.mark.quick
def test_a_part_that_is_there_twice_is_said(tmp_path):
    with tarfile.open(tmp_path/'twice.tar', 'w') as archive:
        for text in (b'1', b'2'):
            note = tarfile.TarInfo('a.cls')
            note.size = 1
            archive.addfile(note, io.BytesIO(text))
    with pytest.raises(ValueError, match='a.cls twice'): get_shards(tmp_path/'twice.tar')
