"""Long lines of finished messages: what arrives in short ones says the same, and nothing else has changed."""

import base64
import email
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.long_lines import MAX_LINE, shorten
from shared.refusals import Invalid

pytestmark = pytest.mark.checklist(95)

LONG = "x" * 998 + "y"
HTML = f"<p>{'Grüße aus der Stadt ' * 100}</p>"


def parsed(octets: bytes) -> EmailMessage:
    return cast(EmailMessage, email.message_from_bytes(octets, policy=default))


def shortened(octets: bytes) -> bytes:
    result = shorten(octets)
    assert max(map(len, result.split(b"\r\n"))) <= MAX_LINE
    assert result.count(b"\r") == result.count(b"\n") == result.count(b"\r\n")
    return result


def entity(*lines: str, body: str | bytes) -> bytes:
    octets = body.encode() if isinstance(body, str) else body
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + octets


def refusal(octets: bytes) -> str:
    with pytest.raises(Invalid) as refused:
        shorten(octets)
    assert refused.value.field == "content"
    return refused.value.reason


def test_a_line_that_just_fits_is_left_alone():
    octets = entity("From: a@x.example", body=LONG[:998] + "\r\n")
    assert shorten(octets) is octets


@pytest.mark.parametrize(
    ("kind", "body", "encoding"),
    [
        ("text/plain; charset=utf-8", LONG + "\r\n.\r\n trailing \r\n", "quoted-printable"),
        ("text/html; charset=utf-8", HTML + "\r\n", "quoted-printable"),
        ("text/plain; charset=utf-8", "日本語" * 400 + "\r\n", "base64"),
    ],
)
def test_a_text_gets_a_transfer_encoding_and_says_the_same(kind, body, encoding):
    octets = entity("From: a@x.example", f"Content-Type: {kind}", "Content-Transfer-Encoding: 8bit", body=body)
    result = shortened(octets)
    assert parsed(result)["Content-Transfer-Encoding"] == encoding
    assert parsed(result)["MIME-Version"] == "1.0"
    assert parsed(result).get_payload(decode=True) == body.encode()
    assert result.count(b"Content-Transfer-Encoding") == 1


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_part_with_long_lines_is_wrapped_anew(encoding):
    body = base64.b64encode(LONG.encode() * 3) if encoding == "base64" else f"{LONG}=C3=BC=\r\nmore".encode()
    octets = entity("MIME-Version: 1.0", f"Content-Transfer-Encoding: {encoding.upper()}", body=body + b"\r\n")
    before, after = parsed(octets), parsed(shortened(octets))
    assert after.get_payload(decode=True) == before.get_payload(decode=True)


def test_only_the_part_that_needs_it_changes():
    message = EmailMessage(SMTP)
    message["From"] = "a@x.example"
    message.set_content("short ü", cte="8bit")
    message.add_alternative("<p>LONG</p>", subtype="html", cte="7bit")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="a.pdf")
    before = message.as_bytes()
    octets = before.replace(b"LONG", LONG.encode())
    result = shortened(octets)
    mixed = parsed(result)
    html = mixed.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == f"<p>{LONG}</p>"
    start = before.index(b"<p>") - 200
    assert result[:start] == octets[:start]
    assert result.endswith(octets[octets.index(b"application/pdf") :])


def test_a_message_in_a_message_is_looked_into():
    inner = entity("From: b@y.example", "Subject: inner", body=LONG + "\r\n")
    outer = entity("MIME-Version: 1.0", "Content-Type: message/rfc822", body=inner)
    [carried] = parsed(shortened(outer)).get_payload()  # type: ignore[misc]  # of a message/rfc822 it is a list
    assert carried["Subject"] == "inner"  # type: ignore[index]
    assert carried.get_content().strip() == LONG  # type: ignore[union-attr]


def test_an_encoded_line_never_ends_the_part_around_it():
    body = "a" * 75 + "--b\r\n" + LONG + "\r\n" + "z" * 71 + "=====" + "--b--" + "x" * 1000
    octets = entity("Content-Type: multipart/mixed; boundary=b", body=f"--b\r\n\r\n{body}\r\n--b--\r\n")
    [part] = parsed(shortened(octets)).iter_parts()
    assert part.get_payload(decode=True).decode().rstrip() == body  # type: ignore[union-attr]


def test_a_long_header_is_folded_where_it_has_blanks():
    references = " ".join(f"<{number}@x.example>" for number in range(200))
    octets = entity(f"References: {references}", "X-Short: a  b", body="text\r\n")
    result = shortened(octets)
    assert result.replace(b"\r\n <", b" <") == octets


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (entity("From: a@x.example", "DKIM-Signature: v=1; b=x", body=LONG), "signed already"),
        (
            entity('Content-Type: multipart/signed; boundary="b"', body=f"--b\r\n\r\n{LONG}\r\n--b--\r\n"),
            "in a part that is signed",
        ),
        (entity("Content-Type: multipart/mixed", body=LONG), "without a boundary"),
        (entity("Content-Type: multipart/mixed; boundary=b", body=f"{LONG}\r\n--b\r\n\r\n--b--"), "before the first"),
        (entity("Content-Transfer-Encoding: x-uuencode", body=LONG), "x-uuencode"),
        (entity("Content-Type: message/delivery-status", body=LONG), "may not be encoded"),
        (entity(f"X-Token: {LONG}", body="text"), "a word of over 998"),
    ],
)
def test_what_can_not_be_changed_is_refused_with_the_reason(octets, says):
    assert says in refusal(octets)


def test_parts_in_parts_without_end_are_refused():
    octets = entity("X: y", body=LONG)
    for _ in range(60):
        octets = entity("Content-Type: message/rfc822", body=octets)
    assert "deep" in refusal(octets)


LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=1500)


@given(st.lists(LINES, max_size=4))
def test_any_text_comes_back(lines):
    body = "\r\n".join([*lines, LONG, ""])
    octets = entity("From: a@x.example", "Content-Type: text/plain; charset=utf-8", body=body)
    assert parsed(shortened(octets)).get_payload(decode=True) == body.encode()
