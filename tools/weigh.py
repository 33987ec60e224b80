"""What each page of the console costs a browser: `python -m tools.weigh "$(pillarbox console link)"`.

Octets that came over the wire into an empty cache, milliseconds until something was painted, requests to anybody else,
fields without a label. The painting is that of the quickest of five visits.
"""

import sys
from urllib.parse import urlsplit

import msgspec
from playwright.sync_api import Browser, Page, StorageState

from tests.support.chromium import Watched, chromium
from tests.support.ports import wait_until

SMALLEST = "/health"  # a line of JSON: what the browser takes for next to nothing
PAGES = (
    "/", "/mails", "/held", "/settings", "/settings/document", "/settings/history", "/suppression", "/dead-letters",
    "/senders", "/test-mail",
)  # fmt: skip

_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_OCTETS = """performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""
_UNLABELLED = """[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
    .filter(field => !field.labels.length && !field.ariaLabel).map(field => field.name || field.outerHTML)"""


class Weight(msgspec.Struct, frozen=True):
    """What was measured of one page."""

    path: str
    octets: int
    painted_ms: float
    elsewhere: list[str]
    unlabelled: list[str]


def weigh(browser: Browser, url: str, session: StorageState, path: str) -> Weight:
    """Open one page, with nothing in the cache."""
    context = browser.new_context(base_url=url, storage_state=session)
    watched = Watched(context.new_page())
    page = watched.page
    page.goto(path)
    page.wait_for_load_state("networkidle")
    wait_until(lambda: bool(page.evaluate(_PAINTED)), f"something painted of {path}")
    found = Weight(
        path,
        page.evaluate(_OCTETS),
        page.evaluate(_PAINTED),
        [asked for asked in watched.requests if not asked.startswith((url, "data:"))],
        page.evaluate(_UNLABELLED),
    )
    context.close()
    return found


def _sign_in(page: Page, link: str) -> StorageState:
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
    return page.context.storage_state()


def main() -> None:
    """A line a page."""
    link = sys.argv[1]
    url = f"http://{urlsplit(link).netloc}"
    with chromium() as browser:
        session = _sign_in(browser.new_page(), link)
        print(f"{'page':22}{'KB':>6}{'painted, ms':>13}  elsewhere, without label")  # noqa: T201  # what it is for
        for path in (SMALLEST, *PAGES):
            found = min((weigh(browser, url, session, path) for _ in range(5)), key=lambda one: one.painted_ms)
            odd = [*found.elsewhere, *found.unlabelled] or ["none"]
            print(f"{path:22}{found.octets / 1000:6.0f}{found.painted_ms:13.0f}  {', '.join(odd)}")  # noqa: T201  # as above


if __name__ == "__main__":
    main()
