"""A finished message goes out octet for octet: only what the contract names is added, put right or removed."""

import email
import re
from datetime import UTC, datetime
from email.policy import default
from typing import Any

import pytest

from services.scheduler.composed import Composed
from services.scheduler.finished import take_finished
from shared.refusals import Invalid
from shared.settings import Identity

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OURS = Identity(helo_name="robot.example")
RECEIVED = (
    b"Received: by robot.example (Pillarbox) with AMQP id order-1;\r\n Sun, 01 Mar 2026 12:00:00 +0000\r\n"
)  # fmt: skip

FULL = (
    b"Date: Fri, 27 Feb 2026 10:00:00 +0100\r\n"
    b"From: Ann <ann@x.example>\r\n"
    b"To: bob@y.example\r\n"
    b"Message-ID: <1@x.example>\r\n"
    b"Subject:  odd   spacing\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example;\r\n"
    b"\th=from:to; b=AAAA\r\n"
    b"\r\n"
    b"Hello\r\n.leading dot\r\n \r\ntrailing space \r\n"
)


def take(body: bytes, headers: dict[str, Any] | None = None, identity: Identity = OURS) -> Composed:
    return take_finished(body, headers or {}, "order-1", identity, NOW)


def with_headers(*lines: str, body: bytes = b"text\r\n") -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def refusal(body: bytes, headers: dict[str, Any] | None = None) -> Invalid:
    with pytest.raises(Invalid) as refused:
        take(body, headers)
    return refused.value


MINIMAL = ("Date: Fri, 27 Feb 2026 10:00:00 +0100", "From: ann@x.example", "To: bob@y.example", "Message-ID: <1@x>")


# ---------------------------------------------------------------------------------------------------------
# What goes out


@pytest.mark.checklist(191)
def test_a_complete_message_goes_out_as_it_came_behind_the_trace_header():
    assert take(FULL).content == RECEIVED + FULL


@pytest.mark.parametrize("ends", [b"\n", b"\r"])
def test_bare_line_ends_become_crlf(ends):
    assert take(FULL.replace(b"\r\n", ends)).content == RECEIVED + FULL


@pytest.mark.checklist(93)
def test_one_bare_line_feed_among_crlfs_is_put_right():
    smuggled = FULL + b"\n.\r\nMAIL FROM:<evil@z.example>\r\n"
    assert take(smuggled).content == RECEIVED + FULL + b"\r\n.\r\nMAIL FROM:<evil@z.example>\r\n"


@pytest.mark.parametrize(
    "sequence",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r"],
)
@pytest.mark.checklist(92)
def test_what_could_end_the_data_early_for_somebody_becomes_a_line_like_others(sequence):
    content = take(with_headers(*MINIMAL, body=b"text" + sequence + b"MAIL FROM:<evil@z.example>\r\n")).content
    assert content == RECEIVED + with_headers(*MINIMAL, body=b"text\r\n.\r\nMAIL FROM:<evil@z.example>\r\n")
    assert refusal(with_headers(*MINIMAL, body=b"text\r\n\0.\r\n")).field == "content"


@pytest.mark.parametrize("body", [b"a\r\n\rb\n\r\nc\r\r\n\n", b"\r", b"\n", b"x\ry", b"\r\n\r\n\r\n"])
@pytest.mark.checklist(91, 93)
def test_whatever_the_line_ends_no_bare_one_goes_out(body):
    content = take(with_headers(*MINIMAL, body=body)).content
    assert content.endswith(b"\r\n")
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.checklist(94)
def test_a_last_line_without_its_end_gets_one():
    assert take(FULL.removesuffix(b"\r\n")).content == RECEIVED + FULL


def test_a_message_without_a_body_is_a_message():
    head = with_headers(*MINIMAL, body=b"")
    assert take(head).content == RECEIVED + head
    assert take(head.removesuffix(b"\r\n")).content == RECEIVED + head  # no empty line (RFC 5322 section 3.5)
    assert take(head.removesuffix(b"\r\n\r\n")).content == RECEIVED + head


@pytest.mark.checklist(190)
@pytest.mark.parametrize(
    "bcc",
    [
        "Bcc: hidden@z.example",
        "bcc: hidden@z.example",
        "BCC : hidden@z.example",  # obsolete syntax, RFC 5322 section 4.5.3
        "Bcc: hidden@z.example,\r\n also-hidden@z.example,\r\n\tand-hidden@z.example",
        "Bcc:\r\n hidden@z.example",
        "Bcc:",
        "Resent-Bcc: hidden@z.example",
    ],
)
def test_bcc_never_leaves(bcc):
    content = take(with_headers(*MINIMAL, bcc, "X-After: stays")).content
    assert b"hidden" not in content
    assert b"bcc" not in content.lower()
    assert b"X-After: stays\r\n" in content


def test_bcc_in_the_body_is_text():
    assert take(with_headers(*MINIMAL, body=b"Bcc: me@z.example\r\n")).content.endswith(
        b"\r\n\r\nBcc: me@z.example\r\n"
    )


@pytest.mark.checklist(185, 186)
def test_missing_date_and_message_id_are_added():
    parsed = email.message_from_bytes(
        take(with_headers("From: ann@x.example", "To: b@y.example")).content, policy=default
    )
    assert parsed["Date"].datetime == NOW
    assert parsed["Message-ID"] == "<order-1@x.example>"
    assert parsed.get_content().strip() == "text"


@pytest.mark.checklist(190)
def test_reply_to_and_sender_name_come_only_where_they_are_missing():
    identity = Identity(helo_name="robot.example", reply_to="Help <help@x.example>", sender_name="The Shöp")
    bare = email.message_from_bytes(take(with_headers(*MINIMAL), identity=identity).content, policy=default)
    assert (bare["Reply-To"], bare["From"].addresses[0].display_name) == ("Help <help@x.example>", "The Shöp")
    assert len(bare.get_all("From")) == 1
    own = with_headers("From: Ann <ann@x.example>", "reply-to: own@x.example", *MINIMAL[::2], "Message-ID: <1@x>")
    assert take(own, identity=identity).content == RECEIVED + own


def test_of_several_authors_none_is_lost_to_the_sender_name():
    several = with_headers(MINIMAL[0], "From: a@x.example, b@x.example", "Sender: a@x.example", *MINIMAL[2:])
    assert take(several, identity=Identity(helo_name="robot.example", sender_name="Shop")).content == RECEIVED + several


# ---------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"", "From", "no From"),
        (b"\r\n", "From", "no From"),
        (b"\r\nFrom: a@x.example\r\n", "From", "no From"),  # the empty line is the end of the headers
        (b"Hello,\r\nthis is no message.\r\n", "content", "line 1 is no header: 'Hello,'"),
        (b"X: a\r\n b\r\nlost X: c\r\nFrom: a@x.example\r\n\r\n", "content", "line 3 is no header: 'lost X: c'"),
        (b" From: a@x.example\r\n\r\n", "content", "line 1"),
        (b"From a@x.example Mon Jan 1 00:00:00 2026\r\nFrom: a@x.example\r\n\r\n", "content", "line 1"),  # mbox
        (b"From: a@x.example\r\nNonsense\r\n\r\n", "content", "line 2"),
        (b"From: a@x.example\r\n: empty name\r\n\r\n", "content", "line 2"),
        (b"From: a@x.example\r\nFr\xffom: x\r\n\r\n", "content", "line 2"),
        (with_headers("From: a@x.example", "From: b@x.example"), "From", "2 From"),
        (with_headers("From: a@x.example", "FROM : b@x.example"), "From", "2 From"),
        (with_headers("From:"), "From", "empty"),
        (with_headers("From: undisclosed:;"), "From", "empty"),
        (with_headers("From: nobody"), "From", "no e-mail address"),
        (with_headers("From: a@x.example", "Sender:"), "Sender", "empty"),
        (with_headers("From: a@x.example", "Sender: x y"), "Sender", "no e-mail address"),
        (with_headers("From: a@x.example", "To: b@y.example c@y.example"), "To", "no e-mail address"),
        (with_headers("From: a@x.example", "Cc: <b@y.example> junk"), "Cc", "no e-mail address"),
        (with_headers("From: a@x.example", "Bcc: \0"), "content", "NUL"),
        (with_headers("From: a@x.example", body=b"x\0y"), "content", "NUL"),
        pytest.param(with_headers("From: a@x.example", body=b"x\r\n\0.\r\ny"), "content", "NUL",
                     marks=pytest.mark.checklist(92)),
        (with_headers("From: a@x.example", "X: " + "y" * 996), "content", "a word of over 998"),
        pytest.param(with_headers(*["Received: by x"] * 100, "From: a@x.example"), "Received", "5.4.6",
                     marks=pytest.mark.checklist(192)),
        (with_headers("From: a@x.example", "X: a\x0bb"), "X", "U+000B"),
        (with_headers("From: a@x.example", "X: a\x0cb"), "X", "U+000C"),
        (with_headers("From: a@x.example", "Subject: a\x85b"), "Subject", "U+0085"),
        (with_headers("From: a@x.example", "Reply-To: a\u2028 <b@x.example>"), "Reply-To", "U+2028"),
        (with_headers("From: a\u2029 <b@x.example>"), "From", "U+2029"),
        (b"From: a@x.example\r\nSubject: hi\nBcc: evil@z.example\r\n\r\ntext", "content", "line 2, of the headers"),
        (b"From: a@x.example\nSubject: hi\rBcc: evil@z.example\n\ntext", "content", "ends in a bare CR"),
        (b"From: a@x.example\r\nSubject: hi\n\nevil\r\nTo: b@y.example\r\n\r\n", "content", "ends in a bare LF"),
        (with_headers("From: " + "(" * 20_000 + " a@x.example"), "content", "over 998"),
        (with_headers("From: a@x.example", "To: " + "\r\n ".join(["(" * 500] * 40)), "To", "no e-mail address"),
    ],
)  # fmt: skip
@pytest.mark.checklist(187)
def test_what_is_no_message_is_refused_with_the_place(body, field, says):
    refused = refusal(body)
    assert refused.field == field
    assert says in refused.reason


@pytest.mark.parametrize(
    "name",
    ["Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "Subject", "References", "Content-Type"],
)
@pytest.mark.checklist(185)
def test_a_header_that_may_stand_once_is_refused_twice(name):
    once = [line for line in MINIMAL if not line.startswith(f"{name}:")]
    value = {"Content-Type": "text/plain", "Date": MINIMAL[0][6:]}.get(name, "<a@x.example>")
    assert take(with_headers(*once, f"{name}: {value}")).content
    assert refusal(with_headers(*once, f"{name}: {value}", f"{name.upper()}: {value}")).field == name


@pytest.mark.checklist(192)
def test_ninety_nine_hosts_are_no_loop():
    assert take(with_headers(*["Received: by x"] * 99, *MINIMAL)).content.count(b"Received: ") == 100


URL = "https://x.example/u?id=7&list=news"


def test_an_unsubscribe_url_makes_the_headers_of_one_click():
    content = take(with_headers(*MINIMAL), {"unsubscribe_url": URL}).content
    lines = f"List-Unsubscribe: <{URL}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    assert content == RECEIVED + with_headers(*MINIMAL).replace(b"\r\n\r\n", b"\r\n" + lines.encode() + b"\r\n", 1)


@pytest.mark.parametrize("given", [5, "", "http://x.example/u", "mailto:a@x.example"])
def test_an_unsubscribe_url_that_is_none_is_refused(given):
    assert refusal(with_headers(*MINIMAL), {"unsubscribe_url": given}).field == "unsubscribe_url"


def test_a_message_that_says_itself_how_to_unsubscribe_takes_no_url():
    own = with_headers(*MINIMAL, "list-unsubscribe: <mailto:a@x.example>")
    assert refusal(own, {"unsubscribe_url": URL}).field == "unsubscribe_url"


@pytest.mark.parametrize("place", ["header", "body", "last"])
def test_a_line_of_998_octets_is_taken(place):
    line = b"X: " + b"y" * 995
    body = {
        "header": with_headers(*MINIMAL, line.decode()),
        "body": with_headers(*MINIMAL, body=b"a\r\n" + line + b"\r\nb\r\n"),
        "last": with_headers(*MINIMAL, body=line),
    }[place]
    assert line in take(body).content


def test_a_header_of_a_hundred_thousand_folded_lines_is_taken_at_once():
    folded = b"X-Long: a\r\n" + b" b\r\n" * 100_000
    assert folded in take(with_headers(*MINIMAL)[:-8] + folded + b"\r\ntext\r\n").content


# ---------------------------------------------------------------------------------------------------------
# Envelope


@pytest.mark.parametrize(
    ("lines", "reverse_path", "recipients"),
    [
        (["From: a@x.example", "To: b@y.example"], "a@x.example", ("b@y.example",)),
        (["From: a@x.example", "Sender: s@x.example", "To: b@y.example"], "s@x.example", ("b@y.example",)),
        (
            ["From: A <a@x.example>", "To: b@y.example, C <c@y.example>", "Cc: d@y.example", "Bcc: e@y.example"],
            "a@x.example",
            ("b@y.example", "c@y.example", "d@y.example", "e@y.example"),
        ),
        (["From: a@x.example", "To: b@y.example", "Cc: b@Y.example"], "a@x.example", ("b@y.example",)),
        (["From: a@x.example", "To: b@y.example,\r\n\tc@y.example"], "a@x.example", ("b@y.example", "c@y.example")),
        (["From: a@x.example", "To: undisclosed-recipients:;", "Bcc: b@y.example"], "a@x.example", ("b@y.example",)),
        (["From: a@x.example", "To: Undisclosed recipients: ;"], "a@x.example", ()),
        (["From: a@x.example", "To: us: b@y.example, c@y.example;"], "a@x.example", ("b@y.example", "c@y.example")),
        (["From: a@x.example", "To: b@y.example", "Cc:"], "a@x.example", ("b@y.example",)),
        (["From: a@x.example", "To: b@y.example,"], "a@x.example", ("b@y.example",)),
        (["From: =?utf-8?q?J=C3=B6rg?= <a@x.example>", "To: Jörg <b@y.example>"], "a@x.example", ("b@y.example",)),
        (["From: a@x.example", "Resent-To: b@y.example"], "a@x.example", ()),
    ],
)  # fmt: skip
def test_without_amqp_headers_the_envelope_is_read_from_the_message(lines, reverse_path, recipients):
    result = take(with_headers(*lines))
    assert (result.reverse_path, result.recipients) == (reverse_path, recipients)


@pytest.mark.parametrize(
    ("headers", "reverse_path", "recipients"),
    [
        ({"rcpt-to": ["c@y.example", "D@Y.example"]}, "ann@x.example", ("c@y.example", "D@y.example")),
        ({"rcpt-to": "c@y.example, <d@y.example>,"}, "ann@x.example", ("c@y.example", "d@y.example")),
        ({"rcpt-to": ["c@y.example", "<c@y.example>"]}, "ann@x.example", ("c@y.example",)),
        ({"rcpt-to": []}, "ann@x.example", ()),
        ({"rcpt-to": ""}, "ann@x.example", ()),
        ({"mail-from": "bounces@x.example"}, "bounces@x.example", ("bob@y.example",)),
        ({"mail-from": "<bounces@x.example>"}, "bounces@x.example", ("bob@y.example",)),
        ({"mail-from": ""}, "", ("bob@y.example",)),
        ({"mail-from": "<>"}, "", ("bob@y.example",)),
    ],
)
def test_amqp_headers_state_the_envelope(headers, reverse_path, recipients):
    result = take(FULL, headers)
    assert (result.reverse_path, result.recipients) == (reverse_path, recipients)
    assert result.content == RECEIVED + FULL


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"mail-from": 5}, "mail-from"),
        ({"mail-from": ["a@x.example"]}, "mail-from"),
        ({"mail-from": b"\xff"}, "mail-from"),
        ({"mail-from": "a@x.example> SIZE=1"}, "mail-from"),
        ({"mail-from": "a\r\nDATA@x.example"}, "mail-from"),
        ({"rcpt-to": 5}, "rcpt-to"),
        ({"rcpt-to": {"a@x.example": 1}}, "rcpt-to"),
        ({"rcpt-to": ["a@x.example", None]}, "rcpt-to"),
        ({"rcpt-to": ["a@x.example> NOTIFY=NEVER"]}, "rcpt-to"),
        ({"rcpt-to": "Name <a@x.example>"}, "rcpt-to"),
        ({"rcpt-to": "a@x.example;b@x.example"}, "rcpt-to"),
        ({"rcpt-to": ["a@x.example\r\nDATA"]}, "rcpt-to"),
    ],
)
def test_an_envelope_that_would_break_out_of_its_brackets_is_refused(headers, field):
    assert refusal(FULL, headers).field == field


# ---------------------------------------------------------------------------------------------------------
# What the store and the sender are told


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (with_headers(*MINIMAL, body="ü".encode()), {}, False),  # 8BITMIME is enough
        (with_headers(*MINIMAL, "Subject: ü"), {}, True),
        (with_headers(*MINIMAL) .replace(b"bob@", "jörg@".encode()), {}, True),
        (with_headers(*MINIMAL), {"rcpt-to": ["jörg@y.example"]}, True),
        (with_headers(*MINIMAL), {"mail-from": "jörg@y.example"}, True),
        (with_headers(*MINIMAL, "Subject: x").replace(b": x", b": \xfc"), {}, False),  # Latin-1: nobody's extension
        (with_headers(*MINIMAL, "Bcc: jörg@y.example"), {}, True),
    ],
)  # fmt: skip
def test_smtputf8_is_needed_for_utf8_in_the_head_or_the_envelope(body, headers, expected):
    assert take(body, headers).smtputf8 is expected


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\r\n =?iso-8859-1?q?K=F6ln?=", "Grüße aus Köln"),
        ("Grüße".encode(), "Grüße"),
        (b"=?utf-8?b?A?=", "=?utf-8?b?A?="),  # no base64
        (b"=?klingon?q?x?=", "=?klingon?q?x?="),
        (b"=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="),
        (b"=?utf-8?q?nul=00esc=1B?=", "nul\ufffdesc\ufffd"),  # a text column takes no NUL, a terminal no ESC
        (b"=?utf-7?q?+2AA-?=", "\ufffd"),  # half a surrogate pair
        (b"\xff\x01", "\ufffd\ufffd"),
        (b"x" * 900, "x" * 200),
    ],
)
def test_the_subject_in_lists_is_decoded_and_fit_to_be_shown(subject, shown):
    result = take(with_headers(*MINIMAL, "Subject: @").replace(b"@\r\n\r\n", subject + b"\r\n\r\n"))
    assert re.sub(r"\s+", " ", result.subject) == shown
    assert subject in result.content
