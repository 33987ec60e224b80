"""`make screenshots`: pictures of each page, wide and narrow, into docs/screenshots/.

They show a real pipeline with mails in every state, whose ids and times differ each time.
"""

import io
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.support.chromium import chromium
from tests.support.console import PASSWORD, Console
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.ports import free_port, wait_until
from tests.support.rabbitmq import new_vhost, temporary_node
from tests.support.sinks import RecordingSink

WIDE, NARROW = (1280, 800), (390, 844)

IN_THE_DARK = ("overview", "mail", "held")

PAGES = {
    "sign-in": "/sign-in",
    "link": "",
    "mails": "/mails",
    "mail": "/mails/invoice-2041",
    "raw": "/mails/invoice-2041/raw",
    "replace": "/mails/contract-2/replace",
    "no-such-mail": "/mails/invoice-1999",
    "held": "/held",
    "ask": "",
    "settings": "/settings",
    "review": "",
    "document": "/settings/document",
    "history": "/settings/history",
    "suppression": "/suppression",
    "dead-letters": "/dead-letters",
    "senders": "/senders",
    "test-mail": "/test-mail",
    "overview": "/",
}


def fill(pipeline: Pipeline, sink: RecordingSink, console: Console) -> None:
    """Mails of every kind."""
    sink.answer("RCPT", "ben@busy.example", "451 4.7.1 Greylisted, please come back in five minutes")
    sink.answer("RCPT", "nobody@example.net", "550 5.1.1 No such user here")
    shop = {"from_": "Shop <orders@shop.example>"}
    for number in range(1001, 1005):
        pipeline.submit(a_mail(f"Your order {number}", to=[f"customer{number}@example.net"], **shop), f"order-{number}")
    html = "<h2>Invoice 2041</h2><p>Dear Ben,</p><p>please find the invoice for <b>November</b> attached.</p>"
    pdf = {"filename": "invoice-2041.pdf", "content_type": "application/pdf", "content": "JVBERi0xLjQK"}
    to = ["Ben <ben@busy.example>", "Ann <ann@example.net>"]
    invoice = a_mail("Invoice 2041", to=to, html=html, attachments=[pdf], batch="invoices-november", **shop)
    pipeline.submit(invoice, "invoice-2041")
    pipeline.submit(a_mail("Welcome", to=["nobody@example.net"], **shop), "welcome-17")
    for number in range(1, 6):
        label = {"batch": "newsletter-48", "hold": f"{9 + 3 * number}m", "to": [f"reader{number}@example.org"]}
        pipeline.submit(a_mail(f"Newsletter for reader {number}", **label, **shop), f"newsletter-48-{number}")
    contract = {"to": ["Clara <clara@law.example>"], "hold": "2h", "from_": "Ada <ada@shop.example>"}
    pipeline.submit(a_mail("Contract, second draft", **contract), "contract-2")
    pipeline.submit(a_mail("Broken", to=["nobody"]), "import-row-88")
    pipeline.submit(a_mail("Order list", to=["buying@partner.example"], **shop), "order-list-7")
    with console.api() as api:
        api.patch("/settings", json={"changes": {"sending.hold": "5m"}, "comment": "time to think"})
        api.patch("/settings", json={"changes": {"sending.max_per_connection": 50, "identity.sender_name": "Shop"}})
        reasons = {"former@example.net": "has left the company", "no-more@example.org": "asked us not to write"}
        entries = [{"address": address, "reason": reason} for address, reason in reasons.items()]
        api.post("/suppression", json={"entries": entries})
        wait_until(lambda: api.get("/mails", params={"state": "deferred"}).json()["mails"], "a mail is deferred")
        wait_until(lambda: api.get("/dead-letters").json()["total"], "a dead letter")
        wait_until(lambda: api.get("/sites").json()["sites"], "a site is down")
        wait_until(lambda: not api.get("/mails", params={"state": "claimed"}).json()["mails"], "all is answered")
        wait_until(lambda: len(api.get("/senders").json()["senders"]) == 2, "the senders have said so")


@contextmanager
def traffic(console: Console) -> Iterator[None]:
    """Mail that goes through meanwhile."""
    over = threading.Event()

    def publish() -> None:
        with console.api() as api:
            for number in itertools.count(1):
                to, mail = f"reader{number}@example.net", {"from": "News <news@shop.example>", "hold": 0}
                api.post("/mails", json={**mail, "to": [to], "subject": f"News {number}", "text": "Hello"})
                if over.wait(0.05):
                    return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def shoot(browser: Browser, console: Console, folder: Path, names: Collection[str]) -> None:
    """Pages in every form."""
    for form, size in (("wide", WIDE), ("narrow", NARROW), ("dark", WIDE)):
        context = browser.new_context(
            base_url=console.url,
            color_scheme="dark" if form == "dark" else "light",
            viewport={"width": size[0], "height": size[1]},
            timezone_id="UTC",
        )
        page = context.new_page()
        if "sign-in" in names and form != "dark":
            _picture(page, "sign-in", "/sign-in", folder, form)
        if "link" in names and form != "dark":
            _picture(page, "link", f"/sign-in/link?token={console.link_token}", folder, form)
        page.goto("/sign-in")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        for name, path in PAGES.items():
            if name in names and name not in ("sign-in", "link") and (form != "dark" or name in IN_THE_DARK):
                _picture(page, name, path, folder, form)
        context.close()


def _picture(page: Page, name: str, path: str, folder: Path, form: str) -> None:
    if name == "ask":
        page.goto("/mails/contract-2")
        page.get_by_role("button", name="Take back").click()
    elif name == "review":
        page.goto("/settings")
        page.get_by_label("Hold").fill("10m")
        page.get_by_label("Require TLS").check()
        page.get_by_label("Why").fill("more time to think")
        page.get_by_role("button", name="Review").click()
    else:
        page.goto(path)
    if name in ("overview", "senders", "mail"):  # which ask again and again
        time.sleep(5)
    else:
        page.wait_for_load_state("networkidle")
    # Not `full_page`: frames outside of the window would be blank.
    width = page.viewport_size["width"] if page.viewport_size else WIDE[0]
    least = (WIDE if width == WIDE[0] else NARROW)[1]
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": max(least, height)})
    time.sleep(0.3)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    _of_few_colours(picture).save(folder / f"{name}-{form}.png", optimize=True)
    page.set_viewport_size({"width": width, "height": least})


def _of_few_colours(picture: Image.Image) -> Image.Image:
    """Half of the octets: 256 colours, the commonest as they are, those between as well as it goes."""
    counted = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)
    commonest = [part for _, colour in counted[:96] for part in (colour if isinstance(colour, tuple) else ())]
    others = picture.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette((commonest + others)[: 256 * 3])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Into the folder named on the command line; further words name pages, for some alone."""
    folder, only = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in PAGES if not only or name in only]
    with temporary_node() as node, RecordingSink() as sink, tempfile.TemporaryDirectory() as place:
        url, work = new_vhost(node), Path(place)
        settings = relay_to(
            sink,
            retry={"schedule": ["5m"], "greylist": ["5m"], "probe_schedule": ["5m"]},
            identity={"helo_name": "auto"},
            routes={"partner.example": {"host": "127.0.0.1", "port": free_port()}},
        )
        with (
            Pipeline(url, f"sqlite:///{work}/mail.db", work, settings, senders=2) as pipeline,
            Console(url, work / "console") as console,
            chromium() as browser,
        ):
            fill(pipeline, sink, console)
            shoot(browser, console, folder, [name for name in names if name != "overview"])
            with traffic(console):
                shoot(browser, console, folder, [name for name in names if name == "overview"])


if __name__ == "__main__":
    main()
