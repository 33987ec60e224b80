"""What each page of the console costs a browser: `python -m tools.weigh "$(pillarbox console link)"`.

Octets that came over the wire into an empty cache, milliseconds until something was painted, requests to anybody else,
fields without a label. The painting is the median of seven visits to a tab that has shown another page before, as it is
for whoever has signed in, and to a new tab, for which the browser starts a process. The cache is empty for both. The
window is open, and at rest, before anything is timed: a window that has just opened reads the browser's own pages
(Chromium's address bar is one), and they would be weighed with ours.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median
from urllib.parse import urlsplit

import msgspec
from playwright.sync_api import BrowserContext, Page

from tests.support.chromium import Watched, chromium
from tests.support.ports import wait_until

VISITS = 7
WINDOW_RESTS_MS = 3000  # the browser's trace: what is read for the window itself comes in its first 1.2 s
TAB_RESTS_MS = 500  # the empty tab has a process, too, which starts meanwhile
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


def _in_new_tabs(window: BrowserContext) -> Iterator[tuple[str, Weight]]:
    for path in (SMALLEST, *PAGES):
        page = window.new_page()
        page.wait_for_timeout(TAB_RESTS_MS)
        yield path, weigh(Watched(page), path)
        page.close()


def _in_one_tab(window: BrowserContext) -> Iterator[tuple[str, Weight]]:
    watched = Watched(window.new_page())
    watched.page.goto(PAGES[-1])
    for path in (SMALLEST, *PAGES):
        yield path, weigh(watched, path)
    watched.page.close()


def _median_ms(visits: Iterable[Weight]) -> float:
    return median(one.painted_ms for one in visits)


def _sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/")


def main() -> None:
    """A line a page."""
    link = sys.argv[1]
    url = f"http://{urlsplit(link).netloc}"
    opened, new = defaultdict[str, list[Weight]](list), defaultdict[str, list[Weight]](list)
    with chromium() as browser:
        window = browser.new_context(base_url=url)
        first = window.new_page()
        _sign_in(first, link)
        first.wait_for_timeout(WINDOW_RESTS_MS)
        for _ in range(VISITS):
            for kept, found in ((opened, _in_one_tab(window)), (new, _in_new_tabs(window))):
                for path, one in found:
                    kept[path].append(one)
    print(f"{'page':22}{'KB':>6}{'painted after, ms':>20}{'in a new tab':>15}  elsewhere, without label")  # noqa: T201  # what it is for
    for path, visits in new.items():
        odd = [*visits[0].elsewhere, *visits[0].unlabelled] or ["none"]
        octets, times = visits[0].octets, f"{_median_ms(opened[path]):20.0f}{_median_ms(visits):15.0f}"
        print(f"{path:22}{octets / 1000:6.0f}{times}  {', '.join(odd)}")  # noqa: T201  # as above


if __name__ == "__main__":
    main()
