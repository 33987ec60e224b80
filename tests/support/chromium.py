"""Debian's Chromium, driven by Playwright: nothing of it goes anywhere but to loopback."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

PROGRAM = shutil.which("chromium")
_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def own_profile(browser: Browser, folder: Path, url: str) -> Iterator[BrowserContext]:
    """Windows that are no private ones, as a person has them: those alone connect to servers before they need to."""
    context = browser.browser_type.launch_persistent_context(
        folder, executable_path=PROGRAM, args=_ARGUMENTS, base_url=url
    )
    try:
        yield context
    finally:
        context.close()


class Watched:
    """A page whose complaints and requests are kept."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._on_failed)

    def _on_failed(self, request: Request) -> None:
        if request.failure == "csp":  # Chromium tells of what it did not let out, too
            self.requests.remove(request.url)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
