"""Headless Chromium for the tests: a page that remembers what it asked for elsewhere, and its complaints."""
import os
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

NAMES = 'chromium', 'chromium-browser', 'google-chrome'
CHROMIUM = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
             '--disable-background-networking',
             '--disable-component-update', '--disable-sync', '--disable-default-apps',
             '--disable-extensions']

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on this machine: the '
                                    'browser tests need one (or CHROMIUM=/path/to/it)')

class Watch:
    "What a page did behind our back"
    def __init__(self, page):
        self.external, self.complaints = [], []
        page.on('request', self._request)
        page.on('requestfailed', self._failed)
        page.on('console', lambda message: message.type == 'error' and self.complaints.append(message.text[:500]))
        page.on('pageerror', lambda error: self.complaints.append(str(error)[:500]))

    def _failed(self, request):
        # ABORTED: the page was left before it came. A file that is not there, or a host, has
        # another name.
        if request.failure == 'net::ERR_ABORTED': return
        self.complaints.append(f'{request.url[:200]} could not be loaded: {request.failure}')

    def _request(self, request):
        place = urlsplit(request.url)
        if place.scheme not in ('http', 'https', 'ws', 'wss'): return
        if place.hostname not in ('127.0.0.1', 'localhost'): self.external.append(request.url)

    def forget(self): self.external, self.complaints = [], []

@contextmanager
def browser_page(width=1360, height=950, **options):
    "A page of a fresh Chromium, with `page.watch`"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={'width': width, 'height': height}, **options)
            page.watch = Watch(page)
            yield page
        finally: browser.close()
