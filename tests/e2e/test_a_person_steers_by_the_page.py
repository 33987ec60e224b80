"""A person's doings in a browser, with the Content-Security-Policy on: it complains of nothing and asks nobody else."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cli.node import PrivateNode
from tests.support.chromium import PROGRAM, Watched, chromium, own_profile
from tests.support.console import PASSWORD, Console
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.ports import wait_until
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink
from tools.weigh import PAGES, weigh

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium: `make servers` installs it")


@pytest.fixture(scope="module")
def sink_behind() -> Iterator[RecordingSink]:
    with RecordingSink() as server:
        yield server


@pytest.fixture(scope="module")
def running(
    rabbitmq: PrivateNode, sink_behind: RecordingSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("steered")
    url = new_vhost(rabbitmq)
    settings = relay_to(sink_behind, sending={"hold": "10m"}, retry={"schedule": ["1h"]})
    with Pipeline(url, f"sqlite:///{folder}/mail.db", folder, settings) as pipeline:
        yield pipeline
    delete_vhost(rabbitmq, url)


@pytest.fixture(scope="module")
def console(running: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with Console(running.amqp_url, tmp_path_factory.mktemp("console")) as console:
        yield console


@pytest.fixture(scope="module")
def browser(console: Console) -> Iterator[Browser]:
    """Started last: while Playwright's loop runs, no other can be started in this thread."""
    assert console.url
    with chromium() as running:
        yield running


@pytest.fixture
def watched(browser: Browser, console: Console) -> Iterator[Watched]:
    """A page of somebody who has signed in; at the end nothing was asked elsewhere."""
    context = browser.new_context(base_url=console.url)
    watched = Watched(context.new_page())
    sign_in(watched.page)
    yield watched
    context.close()
    assert {url for url in watched.requests if not url.startswith((console.url, "data:"))} == set()


def sign_in(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/sign-in$"))
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.fixture
def page(watched: Watched) -> Iterator[Page]:
    """The same, with nothing to complain of."""
    yield watched.page
    assert watched.complaints == []


def test_a_test_mail_is_submitted_seen_held_and_taken_back(page: Page):
    page.get_by_role("link", name="Send a test mail").click()
    page.get_by_label("From").fill("Ada <ada@shop.example>")
    page.get_by_label("To").fill("friend@example.net")
    page.get_by_label("Subject").fill("Oops")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status")).to_have_text("The mail was submitted.")
    expect(page.get_by_role("heading", name="Oops")).to_be_visible()
    expect(page.locator(".badge").first).to_have_text("held")

    page.get_by_role("link", name="Held").click()
    row = page.get_by_role("row").filter(has_text="Oops")
    expect(row.locator("time")).to_have_text(re.compile(r"^in (9|10)m"))
    row.get_by_role("checkbox").check()
    expect(page.get_by_text("1 chosen")).to_be_visible()
    page.get_by_role("button", name="Take back…").last.click()
    expect(page.get_by_text("This can not be undone")).to_be_visible()
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("status")).to_have_text("1 taken back.")

    page.get_by_role("link", name="Mails", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Oops").locator(".badge")).to_have_text("retracted")


def test_the_hold_is_changed_after_a_look_at_the_difference(page: Page, running: Pipeline):
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Hold").fill("20m")
    page.get_by_label("Why").fill("more time to think")
    page.get_by_role("button", name="Review the change").click()
    row = page.get_by_role("row").filter(has_text="sending.hold")
    expect(row.locator("del")).to_have_text('"10m"')
    expect(row.locator("ins")).to_have_text('"20m"')
    page.get_by_role("button", name=re.compile("^Save as revision")).click()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^Revision \d+ is in force\.$"))
    expect(page.get_by_label("Hold")).to_have_value("20m")
    expect(page.get_by_text("more time to think")).to_be_visible()
    assert running.control("settings")["current"]["settings"]["sending"]["hold"] == "20m"


def test_the_story_of_a_deferred_mail_tells_the_reason_and_the_next_try(
    page: Page, running: Pipeline, sink_behind: RecordingSink
):
    sink_behind.answer("RCPT", "busy@example.net", "451 4.3.2 come back later")
    running.submit(a_mail("Invoice", to=["busy@example.net"], hold=0), "invoice-1")
    running.wait_for_event("deferred", "invoice-1")
    page.get_by_role("link", name="Mails", exact=True).click()
    page.get_by_label("State").select_option("deferred")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Invoice").click()
    waits = page.get_by_role("region", name="Why it waits")
    expect(waits).to_contain_text("451 4.3.2 come back later")
    expect(waits).to_contain_text("attempt 2 follows at")
    row = page.get_by_role("row").filter(has_text="busy@example.net")
    expect(row.locator("time[data-until]")).to_have_text(re.compile(r"^in (59m|1h)"))
    expect(page.locator(".timeline")).to_contain_text("come back later")


def test_the_overview_lives(page: Page, running: Pipeline):
    held = page.locator(".tile").filter(has_text="Held").locator(".tile-count")
    before = int(held.inner_text())
    running.submit(a_mail("One more", hold="1h"))
    expect(held).to_have_text(str(before + 1))


def test_the_overview_says_that_the_scheduler_does_not_answer_and_when_it_does_again(page: Page, running: Pipeline):
    [scheduler] = running.of("scheduler")
    scheduler.pause()
    try:
        expect(page.get_by_text("The scheduler does not answer.")).to_be_visible(timeout=15_000)
    finally:
        scheduler.resume()
    expect(page.get_by_text("The scheduler does not answer.")).to_be_hidden(timeout=15_000)
    expect(page.locator(".tile-count").first).to_have_text(re.compile(r"^\d"))
    expect(page.get_by_text("No site was used")).to_be_hidden()


def test_figures_that_nobody_renews_are_called_so(watched: Watched):
    page = watched.page
    wait_until(lambda: bool(page.evaluate("Boolean(window.htmx)")), "the page looks again by itself")
    page.context.set_offline(True)
    expect(page.get_by_text("No longer live.")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("No longer live.")).to_be_hidden()


def test_figures_of_a_console_that_hangs_are_called_so_as_well(watched: Watched, console: Console):
    page = watched.page
    wait_until(lambda: bool(page.evaluate("Boolean(window.htmx)")), "the page looks again by itself")
    page.evaluate("htmx.config.timeout = 1000")
    assert console.worker is not None
    console.worker.pause()
    try:
        expect(page.get_by_text("No longer live.")).to_be_visible(timeout=15_000)
    finally:
        console.worker.resume()
    expect(page.get_by_text("No longer live.")).to_be_hidden(timeout=15_000)


def test_dates_are_those_of_the_readers_zone(browser: Browser, console: Console, page: Page, running: Pipeline):
    running.submit(a_mail("Dated", hold="1h"), "dated-1")
    running.wait_for_event("held", "dated-1")
    session = page.context.storage_state()
    context = browser.new_context(base_url=console.url, storage_state=session, timezone_id="Asia/Tokyo")
    far = context.new_page()
    far.goto("/mails?id=dated-1")
    shown = far.get_by_role("row").filter(has_text="Dated").locator("time").first
    expect(shown).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    utc = datetime.now(UTC).replace(second=0, microsecond=0)
    an_hour_ago = utc - timedelta(hours=1)
    there = f"{an_hour_ago + timedelta(hours=9):%Y-%m-%dT%H:%M}"
    far.get_by_label("Admitted from").fill(there)
    far.get_by_role("button", name="Search").click()
    expect(far).to_have_url(re.compile(f"since={an_hour_ago:%Y-%m-%dT%H%%3A%M}"))
    expect(far.get_by_role("row").filter(has_text="Dated")).to_be_visible()
    expect(far.get_by_label("Admitted from")).to_have_value(there)
    context.close()


@pytest.fixture
def spy() -> Iterator[socket.socket]:
    """Who would know that somebody looks at a mail."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_the_content_of_a_mail_is_shown_and_does_nothing(watched: Watched, running: Pipeline, spy: socket.socket):
    page = watched.page
    image = f'<img src="http://127.0.0.1:{spy.getsockname()[1]}/spy.gif" alt="spy">'
    html = f'<h1>Hello</h1><script>parent.document.title="x"</script>{image}'
    running.submit(a_mail("Rich", html=html, hold="1h"), "rich-1")
    running.wait_for_event("held", "rich-1")
    with page.expect_response(re.compile("/rendered$")):
        page.goto("/mails/rich-1")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Hello")).to_be_visible()
    assert page.title().startswith("Rich")
    assert len(watched.complaints) == 2, "that a script was not run, and an image not loaded"
    assert "Blocked script execution" in watched.complaints[0]
    assert "spy.gif" in watched.complaints[1]
    with pytest.raises(BlockingIOError):
        spy.accept()


# What makes a browser connect to a server, SPY. The last stands alone: a page of frames has nothing else.
_PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
REACHES_OUT = """
<base href="SPY"><meta http-equiv="refresh" content="0; url=SPY/refresh"><img src="relative.png" alt="">
<link rel="preconnect" href="SPY"><LINK/REL=preconnect crossorigin href=SPY><link rel="dns-prefetch" href="SPY">
<link rel="prefetch" href="SPY/a"><link rel="preload" as="image" href="SPY/b"><link rel="modulepreload" href="SPY/c">
<link rel="prerender" href="SPY/d"><link rel="stylesheet" href="SPY/e"><link rel="icon" href="SPY/f">
<script type="speculationrules">{"prefetch": [{"urls": ["SPY/g"]}], "prerender": [{"urls": ["SPY/h"]}]}</script>
<style>@import "SPY/i"; body { background: url(SPY/j) } @font-face { font-family: k; src: url(SPY/k) }</style>
<p style="font-family: k; background: url(SPY/l)">styled</p>
<svg><image href="SPY/m"/><use href="SPY/n#o"/><style>@import "SPY/o"</style><link rel="preconnect" href="SPY"/></svg>
<noscript><link rel="preconnect" href="SPY"></noscript>
<div><template shadowrootmode="open"><link rel="preconnect" href="SPY"><p>in the shadow</p></template></div>
<iframe src="SPY/p"></iframe><iframe srcdoc="&lt;link rel=preconnect href=SPY&gt;"></iframe>
<object data="SPY/q"></object><embed src="SPY/r"><video src="SPY/s" poster="SPY/t" autoplay></video>
<a href="SPY/u" ping="SPY/v">a link</a>
<svg width="99" height="99"><a href="SPY/w"><text y="50">a drawn link</text></a></svg>
<img usemap="#map" width="99" height="99" alt="a map" src="PIXEL">
<map name="map"><area coords="0,0,99,99" href="SPY/x"></map>
<form action="SPY/y"><button>a form</button></form>
"""
FRAMES = '<frameset><frame src="SPY/z"></frameset>'


def test_nobody_learns_that_somebody_looked_at_a_mail(
    browser: Browser, console: Console, running: Pipeline, spy: socket.socket, tmp_path: Path
):
    for id, html in (("rich-2", REACHES_OUT), ("rich-3", FRAMES)):
        text = html.replace("SPY", f"http://127.0.0.1:{spy.getsockname()[1]}").replace("PIXEL", _PIXEL)
        running.submit(a_mail("Curious", html=text, hold="1h"), id)
        running.wait_for_event("held", id)
    with own_profile(browser, tmp_path, console.url) as context, socket.create_server(("127.0.0.1", 0)) as control:
        page = context.new_page()
        sign_in(page)
        with page.expect_response(re.compile("rich-3/rendered$")):
            page.goto("/mails/rich-3")
        with page.expect_response(re.compile("rich-2/rendered$")):
            page.goto("/mails/rich-2")
        frame = page.frame_locator("iframe")
        expect(frame.get_by_text("in the shadow")).to_be_visible()
        frame.get_by_text("a form").click()
        frame.get_by_alt_text("a map").click()
        frame.get_by_text("a link").click()
        # The browser does such things: here it does, and all that came before would have been done by now.
        page.set_content(f'<link rel="preconnect" href="http://127.0.0.1:{control.getsockname()[1]}">')
        control.settimeout(30)
        control.accept()
        with pytest.raises(BlockingIOError):
            spy.accept()


def test_the_page_is_used_by_keyboard_alone(page: Page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Send a test mail")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until a control of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.ariaLabel || document.activeElement.textContent).trim()") == name:
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_a_mail_is_taken_back_by_keyboard_alone(page: Page, running: Pipeline):
    running.submit(a_mail("By keys", hold="1h"), "keys-1")
    running.wait_for_event("held", "keys-1")
    _tab_to(page, "Held")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Held")).to_be_visible()
    _tab_to(page, "Choose By keys")
    page.keyboard.press("Space")
    expect(page.get_by_label("Choose By keys")).to_be_checked()
    _tab_to(page, "Take back…")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This can not be undone")).to_be_visible()
    _tab_to(page, "Take back")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 taken back.")


def test_nothing_of_the_page_is_wider_than_a_phone(page: Page, running: Pipeline):
    long = "a-subject-without-a-space-" * 6
    running.submit(a_mail(long, to=[f"{'x' * 60}@{'y' * 60}.example"], hold="1h"), "narrow-1")
    running.wait_for_event("held", "narrow-1")
    page.set_viewport_size({"width": 360, "height": 800})
    for path in (*PAGES, *(f"/mails/narrow-1{rest}" for rest in ("", "/raw", "/replace"))):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.goto("/mails/narrow-1")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("This can not be undone")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_each_page_is_light_asks_nobody_else_and_has_a_label_on_every_field(
    page: Page, browser: Browser, console: Console
):
    session = page.context.storage_state()
    for path in PAGES:
        context = browser.new_context(base_url=console.url, storage_state=session)
        found = weigh(Watched(context.new_page()), path)
        context.close()
        assert 10_000 < found.octets < 150_000, (path, found)
        assert not found.elsewhere, (path, found)
        assert not found.unlabelled, (path, found)


def test_the_form_of_the_settings_goes_back_as_it_came(page: Page, tmp_path: Path):
    page.goto("/settings")
    page.get_by_role("button", name="Review the change").click()
    expect(page.get_by_text("Nothing would change")).to_be_visible()
