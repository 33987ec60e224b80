"""Ids in addresses, the form of the settings, mails to be looked at, events to be told: pure parts of the console."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from services.console import mail_view, settings_form
from services.console.api.events import Wanted, filter_of, frames
from services.console.pages.showing import left
from services.console.paths import mail_path, routable, whole_id
from shared.broker import Delivery, Properties
from shared.refusals import Invalid
from shared.settings import Settings, change, to_document
from shared.settings_change import judged
from shared.settings_diff import changes

DEFAULTS = to_document(Settings())


@pytest.mark.parametrize("id", ["a", "a/b", "100%", "a%2Fb", "%25", "ü/?#&", "%2f%2F"])
def test_an_id_comes_out_of_an_address_as_it_went_in(id):
    path = routable(mail_path(id).encode())
    assert path.count("/") == 4, "the id is one segment"
    assert whole_id(path.removeprefix("/api/v1/mails/")) == id
    assert quote(id, safe="") in mail_path(id)


def test_the_form_of_the_settings_says_what_is_in_force():
    form = settings_form.shown(DEFAULTS)
    assert (form["sending.hold"], form["helo_kind"], form["auth"]) == ("5m", "auto", "")
    assert changes(DEFAULTS, judged(settings_form.meant(DEFAULTS, form))) == []


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [
        ({"sending.hold": "10m"}, "sending.hold", "10m"),
        ({"delivery.mode": "direct"}, "delivery.mode", "direct"),
        ({"relay.port": "587"}, "relay.port", 587),
        ({"helo_kind": "own", "identity.helo_name": "mx.example.org"}, "identity.helo_name", "mx.example.org"),
        ({"auth": "on", "relay.auth.user": "u", "secret_kind": "file", "relay.auth.password": "/p"},
         "relay.auth.password.file", "/p"),
    ],
)  # fmt: skip
def test_what_the_form_says_is_what_changes(said, field, value):
    document = judged(settings_form.meant(DEFAULTS, {**settings_form.shown(DEFAULTS), **said}))
    assert (field, value) in [(found.key, found.new) for found in changes(DEFAULTS, document)]


def test_what_the_form_has_no_field_for_stays():
    document = judged(change(DEFAULTS, "relay.auth", '{user = "u", token = {env = "T"}}'))
    assert changes(document, judged(settings_form.meant(document, settings_form.shown(document)))) == []


def test_a_mail_is_read_for_the_page():
    content = (
        b"From: a@x.example\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        b'<p>hi</p><img src="https://spy.example/x.gif">\r\n'
    )
    seen = mail_view.view(content)
    assert ("Subject", "grüße") in seen.headers
    assert seen.remote_images
    assert b"<p>hi</p>" in mail_view.document(seen)


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ('<link rel="preconnect" href="//x">', '<no-link rel="preconnect" href="//x">'),
        ("<LINK/rel=preconnect>", "<no-LINK/rel=preconnect>"),
        ("<a\nhref=x>y</a>", "<no-a\nhref=x>y</no-a>"),
        ("<a>", "<no-a>"),
        ("<map><area href=x></map>", "<map><no-area href=x></map>"),
        ("<iframe srcdoc='&lt;link&gt;'></iframe>", "<no-iframe srcdoc='&lt;link&gt;'></no-iframe>"),
        ("<frameset><frame src=x></frameset>", "<frameset><no-frame src=x></frameset>"),
        ("<abbr>", "<abbr>"),
        ("<article>", "<article>"),
        ("< link>", "< link>"),  # text
    ],
)
def test_what_makes_browsers_connect_is_called_something_else(html, shown):
    content = f"Content-Type: text/html; charset=utf-8\r\n\r\n{html}".encode()
    assert mail_view.document(mail_view.view(content)).decode().endswith(shown)


HOSTILE = [b"", b"\xff\xfe\0", b"Content-Type: text/plain; charset=none\r\n\r\n\xff", b"From: <\r\n\r\n"]


@pytest.mark.parametrize("content", HOSTILE)
def test_whatever_a_mail_is_something_is_shown(content):
    assert mail_view.document(mail_view.view(content))


def test_a_text_is_no_html():
    assert b"&lt;script&gt;" in mail_view.document(mail_view.view(b"Subject: x\r\n\r\n<script>"))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(), True),
        (Wanted(kind="held,delivered"), True),
        (Wanted(kind="bounced"), False),
        (Wanted(domain="Y.example"), True),
        (Wanted(domain="z.example"), False),
        (Wanted(batch="march"), True),
        (Wanted(batch="april"), False),
    ],
)
def test_an_event_is_told_to_whom_it_concerns(wanted, told):
    body = b'{"event":"delivered","mail":"m","batch":"march","recipient":"ann@y.example"}'
    delivery = Delivery(body, 1, 1, False, Properties(), 7)
    expected = b"id: 7\nevent: delivered\ndata: " + body + b"\n\n" if told else b""
    assert frames(delivery, filter_of(wanted)) == expected


def test_of_the_events_of_one_message_the_last_that_is_told_has_its_place():
    lines = [
        b'{"event":"held","mail":"%d","batch":"%b"}' % (mail, batch)
        for mail, batch in enumerate((b"a", b"b", b"a", b"b"))
    ]
    delivery = Delivery(b"\n".join([*lines, b"nonsense"]), 1, 1, False, Properties(), 7)
    told = frames(delivery, filter_of(Wanted(batch="a")))
    assert told == b"event: held\ndata: %b\n\nid: 7\nevent: held\ndata: %b\n\n" % (lines[0], lines[2])


def test_a_kind_of_event_that_there_is_not_is_refused():
    with pytest.raises(Invalid, match=r"^kind: got 'lost'"):
        filter_of(Wanted(kind="held,lost"))


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=-5), "now"),
        (timedelta(seconds=59.9), "in 59s"),
        (timedelta(minutes=4, seconds=12), "in 4m12s"),
        (timedelta(hours=1, seconds=59), "in 1h"),
        (timedelta(days=1, hours=2, minutes=3), "in 1d2h"),
    ],
)
def test_how_long_until_then(span, words):
    assert left(span) == words


def test_an_image_that_stands_there_again_and_again_makes_no_page_of_any_size():
    image = f"Content-Type: image/png\r\nContent-ID: <i>\r\nContent-Transfer-Encoding: base64\r\n\r\n{'QUJD' * 100_000}"
    text = "Content-Type: text/html\r\n\r\n" + '<img src="cid:i">' * 1000
    head = 'From: a@x.example\r\nContent-Type: multipart/related; boundary="b"\r\n\r\n'
    seen = mail_view.view(f"{head}--b\r\n{text}\r\n--b\r\n{image}\r\n--b--\r\n".encode())
    assert seen.html.count("data:image/png;base64,QUJD") == 5
    assert seen.html.count("cid:i") == 995
    assert len(mail_view.document(seen)) < 3_000_000
