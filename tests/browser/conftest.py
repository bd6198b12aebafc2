"""A real Chromium and the built site behind a small server.

With SCREENSHOTS=<folder> the tests leave pictures of what they see there; `_build/` is ignored by git.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest
from browsing import MODES, QuietHandler, Trouble
from playwright.sync_api import Page, sync_playwright
from sitebuild import build_site

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """The browser; a machine without one fails, since these tests prove nothing there."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail("no Chromium on this machine: install it (Debian: `sudo apt install chromium`)", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory):
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def site_url(site_folder):
    handler = functools.partial(QuietHandler, directory=str(site_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def trouble():
    return Trouble()


@pytest.fixture
def open_page(chromium, trouble):
    """A function that opens an address in a fresh browser profile; its troubles are recorded."""
    contexts = []

    def open_(url: str, mode: str = "desktop-light", **options) -> Page:
        size, scheme = MODES[mode]
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme, **options))
        page = trouble.watch(contexts[-1].new_page())
        page.goto(url, wait_until="load")
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def picture():
    """A function that keeps a picture of a page where SCREENSHOTS names a folder."""

    def keep(page: Page, name: str, *, full_page: bool = True) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name.replace('/', '-')}.png", full_page=full_page)

    return keep
