"""`make screenshots`: pictures of each page, wide and narrow, into docs/screenshots/.

They show a real pipeline with mails in every state, whose ids and times differ each time.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.support.chromium import chromium
from tests.support.console import PASSWORD, Console
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.ports import wait_until
from tests.support.rabbitmq import new_vhost, temporary_node
from tests.support.sinks import RecordingSink

WIDE, NARROW = (1280, 800), (390, 844)

PAGES = {
    "sign-in": "/sign-in",
    "overview": "/",
    "mails": "/mails",
    "mail": "/mails/invoice-2041",
    "held": "/held",
    "ask": "",
    "settings": "/settings",
    "review": "",
    "history": "/settings/history",
    "suppression": "/suppression",
    "dead-letters": "/dead-letters",
    "senders": "/senders",
    "test-mail": "/test-mail",
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
    with console.api() as api:
        api.patch("/settings", json={"changes": {"sending.hold": "5m"}, "comment": "time to think"})
        api.patch("/settings", json={"changes": {"sending.max_per_connection": 50, "identity.sender_name": "Shop"}})
        reasons = {"former@example.net": "has left the company", "no-more@example.org": "asked us not to write"}
        entries = [{"address": address, "reason": reason} for address, reason in reasons.items()]
        api.post("/suppression", json={"entries": entries})
        wait_until(lambda: api.get("/mails", params={"state": "deferred"}).json()["mails"], "a mail is deferred")
        wait_until(lambda: api.get("/dead-letters").json()["total"], "a dead letter")
        wait_until(lambda: not api.get("/mails", params={"state": "claimed"}).json()["mails"], "all is answered")
        wait_until(lambda: len(api.get("/senders").json()["senders"]) == 2, "the senders have said so")


def shoot(browser: Browser, console: Console, folder: Path, only: list[str]) -> None:
    """Every page in every form."""
    for form, (width, height) in (("wide", WIDE), ("narrow", NARROW)):
        context = browser.new_context(
            base_url=console.url,
            color_scheme="light",
            viewport={"width": width, "height": height},
            timezone_id="UTC",
        )
        page = context.new_page()
        _picture(page, "sign-in", "/sign-in", folder, form, only)
        page.goto("/sign-in")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        for name, path in PAGES.items():
            if name != "sign-in":
                _picture(page, name, path, folder, form, only)
        context.close()


def _picture(page: Page, name: str, path: str, folder: Path, form: str, only: list[str]) -> None:
    if only and name not in only:
        return
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
        time.sleep(2.5)
    else:
        page.wait_for_load_state("networkidle")
    # Not `full_page`: frames outside of the window would be blank.
    width = page.viewport_size["width"] if page.viewport_size else WIDE[0]
    least = (WIDE if width == WIDE[0] else NARROW)[1]
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": max(least, height)})
    time.sleep(0.3)
    picture = Image.open(io.BytesIO(page.screenshot()))
    # Half of the octets. By coverage, as few pixels are in colour, and those are what the eye looks for.
    picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        folder / f"{name}-{form}.png", optimize=True
    )
    page.set_viewport_size({"width": width, "height": least})


def main() -> None:
    """Into the folder named on the command line; further words name pages, for some alone."""
    folder, only = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_node() as node, RecordingSink() as sink, tempfile.TemporaryDirectory() as place:
        url, work = new_vhost(node), Path(place)
        settings = relay_to(sink, retry={"schedule": ["5m"], "greylist": ["5m"]}, identity={"helo_name": "auto"})
        with (
            Pipeline(url, f"sqlite:///{work}/mail.db", work, settings, senders=2) as pipeline,
            Console(url, work / "console") as console,
            chromium() as browser,
        ):
            fill(pipeline, sink, console)
            shoot(browser, console, folder, only)


if __name__ == "__main__":
    main()
