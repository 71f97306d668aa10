"""A small web server on this machine whose faults can be switched on: it cuts lines, forgets ranges, lies."""
import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass

    def do_GET(self):
        shop, name = self.server.shop, self.path.lstrip('/')
        seen = SimpleNamespace(name=name, range=self.headers.get('Range'), if_range=self.headers.get('If-Range'),
                               status=None, sent=0)
        shop.log.append(seen)
        seen.status = self.answer(shop, name, seen)

    def answer(self, shop, name, seen):
        if shop.statuses:
            status = shop.statuses.pop(0)
            if status != 200:
                self.send_error(status)
                return status
        if name in shop.redirects:
            self.send_response(302)
            self.send_header('Location', shop.redirects[name])
            self.send_header('Content-Length', '0')
            self.end_headers()
            return 302
        if name not in shop.files:
            self.send_error(404)
            return 404
        body = shop.files[name]
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start, status = self.place(shop, seen, etag, len(body))
        if start > len(body) or status == 416:
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(body)}')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return 416
        self.send_response(status)
        if status == 206: self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        if shop.etags: self.send_header('ETag', etag)
        if shop.lengths: self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if shop.cuts and name.endswith(shop.only):
            rest = rest[:shop.cuts.pop(0)]
        self.send(shop, rest, seen)
        self.close_connection = True
        return status

    def place(self, shop, seen, etag, size):
        "Where the answer starts, and its status"
        wanted = re.fullmatch(r'bytes=(\d+)-', seen.range or '')
        if not wanted or not shop.ranges: return 0, 200
        if seen.if_range and shop.if_ranges and seen.if_range != etag: return 0, 200
        return int(wanted[1]), 416 if int(wanted[1]) >= size else 206

    def send(self, shop, rest, seen):
        try:
            for place in range(0, len(rest), 2**14):
                piece = rest[place:place + 2**14]
                self.wfile.write(piece)
                self.wfile.flush()
                seen.sent += len(piece)
                time.sleep(shop.pause)
        except (BrokenPipeError, ConnectionResetError): pass


class DataServer:
    "with DataServer() as shop: shop.files['a.tgz'] = b'…'; … shop.address('a.tgz')"

    def __init__(self):
        self.files = {}         # what it offers: name -> bytes
        self.log = []           # what it was asked for, and how much it sent
        self.cuts = []          # after how many bytes the next answers are cut
        self.only = ''          # … but only for names that end so
        self.statuses = []      # the next answers' statuses; 200 is the normal answer
        self.redirects = {}     # name -> address
        self.ranges = True      # whether it understands Range
        self.if_ranges = True   # whether it respects If-Range
        self.etags = True       # whether it names editions
        self.lengths = True     # whether it says how long the answer is
        self.pause = 0          # seconds after each 16 kB

    def __enter__(self):
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.server.shop = self
        threading.Thread(target=self.server.serve_forever, args=(.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    @property
    def base(self): return f'http://127.0.0.1:{self.server.server_port}'

    def address(self, name): return f'{self.base}/{name}'

    def asked(self, name): return [seen for seen in self.log if seen.name == name]
