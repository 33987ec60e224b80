"""What each page of the console costs a browser: `python -m tools.weigh "$(pillarbox console link)"`.

Octets that came over the wire into an empty cache, milliseconds until something was painted, requests to anybody else,
fields without a label. The painting is the median of seven visits to a tab that has shown another page before, as it is
for whoever has signed in, and to a new one, for which the browser starts a process. The cache is empty for both.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median
from urllib.parse import urlsplit

import msgspec
from playwright.sync_api import Browser, Page, StorageState

from tests.support.chromium import Watched, chromium
from tests.support.ports import wait_until

VISITS = 7
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
    """What was measured of one visit."""

    octets: int
    painted_ms: float
    elsewhere: list[str]
    unlabelled: list[str]


def weigh(watched: Watched, path: str) -> Weight:
    """Open one page, with nothing in the cache."""
    page = watched.page
    watched.requests.clear()
    page.context.new_cdp_session(page).send("Network.clearBrowserCache")
    page.goto(path)
    page.wait_for_load_state("networkidle")
    wait_until(lambda: bool(page.evaluate(_PAINTED)), f"something painted of {path}")
    own = "{0.scheme}://{0.netloc}/".format(urlsplit(page.url))
    return Weight(
        page.evaluate(_OCTETS),
        page.evaluate(_PAINTED),
        [asked for asked in watched.requests if not asked.startswith((own, "data:"))],
        page.evaluate(_UNLABELLED),
    )


def _in_new_tabs(browser: Browser, url: str, session: StorageState) -> Iterator[tuple[str, Weight]]:
    for path in (SMALLEST, *PAGES):
        context = browser.new_context(base_url=url, storage_state=session)
        yield path, weigh(Watched(context.new_page()), path)
        context.close()


def _in_one_tab(browser: Browser, url: str, session: StorageState) -> Iterator[tuple[str, Weight]]:
    context = browser.new_context(base_url=url, storage_state=session)
    watched = Watched(context.new_page())
    watched.page.goto(PAGES[-1])
    for path in (SMALLEST, *PAGES):
        yield path, weigh(watched, path)
    context.close()


def _median_ms(visits: Iterable[Weight]) -> float:
    return median(one.painted_ms for one in visits)


def _sign_in(page: Page, link: str) -> StorageState:
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
    return page.context.storage_state()


def main() -> None:
    """A line a page."""
    link = sys.argv[1]
    url = f"http://{urlsplit(link).netloc}"
    opened, new = defaultdict[str, list[Weight]](list), defaultdict[str, list[Weight]](list)
    with chromium() as browser:
        session = _sign_in(browser.new_page(), link)
        for _ in range(VISITS):
            for visits, found in (
                (opened, _in_one_tab(browser, url, session)),
                (new, _in_new_tabs(browser, url, session)),
            ):
                for path, one in found:
                    visits[path].append(one)
    print(f"{'page':22}{'KB':>6}{'painted after, ms':>20}{'in a new tab':>15}  elsewhere, without label")  # noqa: T201  # what it is for
    for path, visits in new.items():
        odd = [*visits[0].elsewhere, *visits[0].unlabelled] or ["none"]
        octets, times = visits[0].octets, f"{_median_ms(opened[path]):20.0f}{_median_ms(visits):15.0f}"
        print(f"{path:22}{octets / 1000:6.0f}{times}  {', '.join(odd)}")  # noqa: T201  # as above


if __name__ == "__main__":
    main()
