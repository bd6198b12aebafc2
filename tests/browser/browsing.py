"""What the browser tests share: sizes and schemes, a quiet server, a record of a page's troubles."""

import http.server
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
MODES = {
    "desktop-light": (DESKTOP, "light"), "desktop-dark": (DESKTOP, "dark"),
    "phone-light": (PHONE, "light"), "phone-dark": (PHONE, "dark"),
}  # fmt: skip


@dataclass
class Trouble:
    """What a page did that a reader without network would suffer from."""

    outside: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", lambda request: self.failed.append(f"{request.url}: {request.failure}"))
        page.on("response", lambda got: got.status >= 400 and self.failed.append(f"{got.url}: status {got.status}"))
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "file") and parts.hostname != "127.0.0.1":
            self.outside.append(url)

    def assert_none(self) -> None:
        assert self == Trouble()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without telling about each."""

    def log_message(self, *args) -> None:
        pass
