"A server around each kind of learner: answers, limits, floods, other people's pages, and a browser."
import base64
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from helpers.browser import browser_page, needs_chromium
from lessonlib.checkpoint import load_learner
from lessonlib.data_block import CategoryBlock, DataBlock, ImageBlock
from lessonlib.serve import _as_mask, as_json, asks_for, check_picture, Limits, prediction_widget, PredictionApp, reasons, Refused, Serving
from lessonlib.transfer import vision_learner

ROOT = Path(__file__).resolve().parent.parent


def png(width=40, height=40, shade=100, kind='PNG'):
    Image.new('RGB', (width, height), (shade, 60, 0)).save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp('served')
    for i in range(12): (folder/f'{"ab"[i % 2]}_{i}.png').write_bytes(png(shade=20 * i))
    block = DataBlock((ImageBlock, CategoryBlock), get_y=lambda file: Path(file).name[0])
    dls = block.dataloaders(sorted(folder.glob('*.png')), bs=4, device='cpu')
    torch.manual_seed(0)
    return vision_learner(dls, 'resnet18', pretrained=False, path=folder).export('letters')


@pytest.fixture
def learn(exported): return load_learner(exported)


def ask(address, data=None, kind='image/png', **headers):
    request = urllib.request.Request(address, data, {'Content-Type': kind} | headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as found: return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith('{') else text


def test_answers_are_those_of_predict(learn):
    with Serving(learn, title='a or b?') as server:
        status, found = ask(server.address + 'predict', png())
        assert status == 200 and found == json.loads(json.dumps(as_json(learn, png())))
        label, _, shares = learn.predict(png())
        assert found['label'] == label and found['probabilities'] == dict(zip('ab', shares.tolist()))
        explained = ask(server.address + 'predict?explain=true', png())[1]
        assert explained['label'] == label and explained['heat'].startswith('data:image/png;base64,')
        assert ask(server.address + 'health')[1] == dict(status='ok', takes='picture', classes=['a', 'b'], inside=0, room=18)
        described = ask(server.address + 'openapi.json')[1]
        assert set(described['paths']) == {'/predict', '/health'} and 'image/*' in str(described)
        with urllib.request.urlopen(server.address + 'docs') as page: assert '503' in page.read().decode()


def test_what_is_too_much_or_something_else_gets_a_sentence(learn):
    with Serving(learn, limits=Limits(bytes=20_000, pixels=100_000)) as server:
        place = server.address + 'predict'
        for data, kind, status, words in (
                (bytes(30_000), 'image/png', 413, 'more than 20,000 bytes'), (b'', 'image/png', 422, 'no picture'),
                (b'hello', 'image/png', 422, '5 bytes that are no picture'), (png(400, 400), 'image/png', 413, '400 × 400 pixels'),
                (png()[:60], 'image/png', 422, 'no prediction'), (png(), 'text/plain', 415, 'Content-Type: image/jpeg'),
                (b'/etc/passwd', 'application/json', 415, 'takes the bytes'), (png(), '', 415, 'takes')):
            got, found = ask(place, data, kind)
            assert (got, words in found['error']) == (status, True), (kind, found)
        assert ask(place)[0] == 405 and ask(server.address + '../../etc/passwd')[0] == 404
        assert ask(place, png())[0] == 200 and server.app.inside == 0


def test_an_endless_body_ends_at_the_limit(learn):
    with Serving(learn, limits=Limits(bytes=100_000)) as server:
        with socket.create_connection(('127.0.0.1', int(server.address.rstrip('/').rpartition(':')[2])), 10) as line:
            line.sendall(b'POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n')
            sent = 0
            try:
                while sent < 50_000_000:
                    line.sendall(b'10000\r\n' + bytes(65536) + b'\r\n')
                    sent += 65536
            except OSError: pass
            assert sent < 20_000_000
        assert ask(server.address + 'predict', png())[0] == 200 and server.app.inside == 0


def test_who_sends_nothing_is_not_waited_for(learn):
    with Serving(learn, limits=Limits(seconds=.5)) as server:
        with socket.create_connection(('127.0.0.1', int(server.address.rstrip('/').rpartition(':')[2])), 10) as line:
            line.sendall(b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 500\r\n\r\nabc')
            assert b' 408 ' in line.recv(1000)
        assert server.app.inside == 0


def test_pages_of_others_and_other_names_are_sent_away(learn):
    with Serving(learn) as server:
        place = server.address + 'predict'
        assert ask(place, png(), Origin='https://elsewhere.example')[0] == 403
        assert ask(place, png(), Origin='null')[0] == 403
        assert ask(place, png(), Origin=server.address.rstrip('/'))[0] == 200
        assert ask(place, png(), Host='elsewhere.example')[0] == 400
        with urllib.request.urlopen(server.address) as page:
            assert "default-src 'self'" in page.headers['Content-Security-Policy'] and 'server' not in page.headers


@contextmanager
def slow(learn, seconds):
    "A learner that thinks for so long"
    plain, begun = learn.predict, threading.Semaphore(0)
    def predict(item):
        begun.release()
        time.sleep(seconds)
        return plain(item)
    learn.predict = predict
    try: yield begun
    finally: del learn.predict


def test_a_flood_gets_503_and_no_answer_is_wrong(learn):
    pictures = {shade: as_json(learn, png(shade=shade))['probabilities'] for shade in range(0, 250, 25)}
    with slow(learn, .05), Serving(learn, limits=Limits(parallel=2, waiting=3)) as server:
        def one(shade): return shade, *ask(server.address + 'predict', png(shade=shade))
        with ThreadPoolExecutor(20) as pool: answers = list(pool.map(one, list(pictures) * 10))
        counts = {status: sum(s == status for _, s, _ in answers) for status in (200, 503)}
        assert sum(counts.values()) == len(answers) and counts[200] >= 5 and counts[503] >= 5, counts
        for shade, status, found in answers:
            if status == 200: assert found['probabilities'] == pytest.approx(pictures[shade], abs=1e-6)
            else: assert 'try again' in found['error']
        assert server.app.inside == 0 and ask(server.address + 'predict', png())[0] == 200


def test_who_is_too_slow_keeps_its_place_until_it_has_ended(learn):
    with slow(learn, 1.5), Serving(learn, limits=Limits(parallel=1, waiting=0, seconds=.3)) as server:
        status, found = ask(server.address + 'predict', png())
        assert status == 504 and 'no answer after 0.3 s' in found['error']
        assert ask(server.address + 'predict', png())[0] == 503
        for _ in range(100):
            if server.app.inside == 0: break
            time.sleep(.05)
        assert server.app.inside == 0


def test_an_error_inside_is_a_sentence(learn):
    def predict(item): raise RuntimeError('the model is ill: ' + 'x' * 5000)
    learn.predict = predict
    with Serving(learn) as server:
        status, found = ask(server.address + 'predict', png())
        assert status == 422 and 'the model is ill' in found['error'] and len(found['error']) < 400


def test_reasons_are_given_while_others_ask(learn):
    alone = {shade: reasons(learn, png(shade=shade))['heat'] for shade in range(0, 200, 50)}
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(learn.predict, png(shade=7)) for _ in range(40)]
        found = [(shade, pool.submit(reasons, learn, png(shade=shade))) for shade in list(alone) * 3]
        assert all(job.result()['heat'] == alone[shade] for shade, job in found)
        assert len({job.result()[0] for job in others}) == 1


def test_limits_and_pictures():
    assert check_picture(png(), 1600) == png()
    with pytest.raises(Refused, match='1,599 at most'): check_picture(png(), 1599)
    bomb = bytearray(png())
    bomb[16:24] = (60_000).to_bytes(4, 'big') * 2           # what its header says
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, 'big')
    for pixels, most in ((50_000_000, 50_000_000), (10**12, 2 * Image.MAX_IMAGE_PIXELS)):
        with pytest.raises(Refused) as seen: check_picture(bytes(bomb), pixels)
        assert (seen.value.status, str(seen.value)) == (413, f'a picture of far too many pixels; {most:,} at most')
    for bad in (0, -1, float('inf'), 'many'):
        with pytest.raises(ValueError, match='no limit: give a number, 1 or more'): Limits(pixels=bad)
    with pytest.raises(ValueError, match='give a number, 0 or more'): Limits(waiting=-1)
    with pytest.raises(ValueError, match='give a number, 0.001 or more'): Limits(seconds=0)
    assert Limits(waiting=0).waiting == 0 and Limits(seconds=.001, bytes=1).bytes == 1


@pytest.mark.quick
def test_no_two_codes_of_a_mask_have_one_colour():
    codes, mask = [f'code {i}' for i in range(32)], torch.arange(32).repeat_interleave(2).reshape(8, 8)
    found = _as_mask(mask, codes)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found['picture'].partition(',')[2]))))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 32 and set(found['shares']) == set(codes)


def texts():
    from lessonlib.language_model import AWD_LSTM
    from lessonlib.text_classifier import text_classifier_learner
    from lessonlib.tokens import TextDataLoaders
    table = pd.DataFrame(dict(text=['a good film', 'a bad film'] * 10, label=['pos', 'neg'] * 10))
    dls = TextDataLoaders.from_df(table, text_col='text', label_col='label', bs=4, device='cpu')
    return text_classifier_learner(dls, AWD_LSTM, config=dict(emb_sz=8, n_hid=8, n_layers=1)), 'a good, good film'


def tables():
    from lessonlib.tables import Categorify, TabularDataLoaders
    from lessonlib.tabular import tabular_learner
    table = pd.DataFrame(dict(colour=['red', 'blue'] * 10, size=np.arange(20.), rich=['yes', 'no'] * 10))
    dls = TabularDataLoaders.from_df(table, procs=[Categorify], cat_names=['colour'], cont_names=['size'], y_names='rich', bs=4,
                                     device='cpu')
    return tabular_learner(dls, layers=[4]), dict(colour='red', size=3)


def ratings():
    from lessonlib.collab import collab_learner
    from lessonlib.ratings import CollabDataLoaders
    table = pd.DataFrame(dict(user=[1, 2, 3] * 10, film=['x', 'y'] * 15, rating=[1., 2., 3., 4., 5.] * 6))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        dls = CollabDataLoaders.from_df(table, bs=8, seed=0, device='cpu')
    return collab_learner(dls, n_factors=4, y_range=(0, 5.5)), dict(user=2, film='x')


@pytest.mark.parametrize('make, takes', [(texts, 'text'), (tables, 'row'), (ratings, 'row')])
def test_other_kinds_of_learners(make, takes, tmp_path):
    learn, item = make()
    learn.path = tmp_path
    learn = load_learner(learn.export('it'))
    assert asks_for(learn) == takes
    here = json.loads(json.dumps(as_json(learn, item)))
    with Serving(learn) as server:
        place = server.address + 'predict'
        sent = json.dumps(dict(text=item) if takes == 'text' else item).encode()
        assert ask(place, sent, 'application/json') == (200, here)
        if takes == 'text': assert ask(place, item.encode(), 'text/plain; charset=utf-8') == (200, here)
        reason = ask(place + '?explain=1', sent, 'application/json')[1]
        assert ('words' in reason) == (takes == 'text') and ('no_reason' in reason) == (takes == 'row')
        for bad in (b'', b'[1]', b'{', b'\xff', b'{"strange": 1}', b'[' * 100_000):
            status, found = ask(place, bad, 'application/json')
            assert status == 422 and found['error'] and len(found['error']) < 400, (bad[:10], status, found)
        with urllib.request.urlopen(server.address) as page: text = page.read().decode()
        assert f'takes = "{takes}"' in text and '{{' not in text
        assert server.app.inside == 0


def test_masks_numbers_and_several_labels(tmp_path):
    from lessonlib.multilabel import MultiCategoryBlock
    from lessonlib.segmentation import MaskBlock, unet_learner
    for i in range(8):
        (tmp_path/f'{i}.png').write_bytes(png(32, 32, 20 * i))
        Image.new('L', (32, 32), i % 2).save(tmp_path/f'mask_{i}.png')
    files = [tmp_path/f'{i}.png' for i in range(8)]
    masks = DataBlock((ImageBlock, MaskBlock(['road', 'sky'])), get_y=lambda f: f.with_name(f'mask_{f.name}'))
    found = as_json(unet_learner(masks.dataloaders(files, bs=4, device='cpu'), 'resnet18', pretrained=False), png(32, 32))
    assert set(found['shares']) == {'road', 'sky'} and found['picture'].startswith('data:') and json.dumps(found)
    several = DataBlock((ImageBlock, MultiCategoryBlock), get_y=lambda f: ['dark', 'even'][:int(f.stem) % 3])
    found = as_json(vision_learner(several.dataloaders(files, bs=4, device='cpu'), 'resnet18', pretrained=False), png(32, 32))
    assert isinstance(found['label'], list) and set(found['probabilities']) == {'dark', 'even'} and json.dumps(found)


def test_bare_tensors_cannot_be_served():
    from lessonlib.batches import DataLoaders
    from lessonlib.learner import Learner
    dls = DataLoaders.from_tensors((torch.rand(8, 3), torch.rand(8, 1)), bs=4, device='cpu')
    with pytest.raises(TypeError, match='cannot be asked from outside'):
        PredictionApp(Learner(dls, torch.nn.Linear(3, 1), torch.nn.MSELoss()))


def test_least(learn):
    found = as_json(learn, png(), least=1.)
    assert found['label'] is None and found['sentence'].startswith('I do not know; perhaps ')


def test_widget_of_texts():
    learn, text = texts()
    box = prediction_widget(learn)
    box.ask.value = text
    assert as_json(learn, text)['label'] in box.shown.value and 'px' in box.shown.value


@needs_chromium
def test_the_page_in_a_browser(learn, tmp_path):
    (tmp_path/'one.png').write_bytes(png())
    (tmp_path/'bad.png').write_bytes(b'no picture')
    with Serving(learn, title='a <b> or "c"?') as server, browser_page(width=700, height=900) as page:
        page.goto(server.address)
        assert page.title() == 'a <b> or "c"?'
        page.check('#explain')
        page.set_input_files('#file', tmp_path/'one.png')
        page.wait_for_selector('.bar.first')
        said = as_json(learn, png())
        assert page.inner_text('#said') == said['sentence']
        assert page.inner_text('.bar.first b') == f'{100 * said["bars"][0][1]:.1f} %'
        assert page.locator('#why img').get_attribute('alt').startswith('the warmer')
        page.set_input_files('#file', tmp_path/'bad.png')
        page.wait_for_selector('#said.wrong')
        assert 'no picture' in page.inner_text('#said') and page.locator('.bar').count() == 0
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
        assert not page.watch.external
        assert [text for text in page.watch.complaints if '422' not in text] == []


def test_from_the_command_line(exported):
    code = 'import sys; from lessonlib.command import main; sys.exit(main())'
    served = subprocess.Popen([sys.executable, '-c', code, 'serve', str(exported), '--port', '0'], stdout=subprocess.PIPE, text=True,
                              cwd=ROOT)
    try:
        address = re.match(r'http://127\.0\.0\.1:\d+/', served.stdout.readline())[0]
        assert ask(address + 'predict', png())[0] == 200
    finally: served.terminate()
    served.wait(20)


@pytest.mark.parametrize('words, said', [(['nothing.safetensors'], 'nothing'), ([], 'arguments are required'),
                                         (['x', '--port', '-3'], 'port'), (['x', '--least', '2'], 'least')])
def test_the_command_refuses_in_a_sentence(words, said, capsys):
    from lessonlib.command import main
    try: code = main(['serve', *words])
    except SystemExit as stop: code = stop.code
    assert code == 2 and said in capsys.readouterr().err
