"""A finished message taken apart, to replace another."""

import pytest

from cli.eml import from_eml
from cli.failures import CommandFailed
from cli.submission import HandlingFlags

NO_WISHES = HandlingFlags()


def message(head: str, body: str = "Hello\n") -> bytes:
    return f"From: Ada <a@x.example>\nTo: b@y.example, Bo <c@y.example>\n{head}\n{body}".encode()


def test_headers_and_text_are_carried_over():
    found = from_eml(
        "x.eml",
        message("Cc: d@y.example\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nX-Kind: test\nReceived: from somewhere\n"),
        NO_WISHES,
    )
    assert found.from_ == "Ada <a@x.example>"
    assert found.to == ["b@y.example", "Bo <c@y.example>"]
    assert (found.cc, found.subject, found.text) == (["d@y.example"], "Grüße", "Hello\n")
    assert found.headers == {"X-Kind": "test"}


def test_both_texts_and_the_attachments_are_carried_over():
    body = """\
--o
Content-Type: multipart/alternative; boundary=i

--i
Content-Type: text/plain

plain
--i
Content-Type: text/html

<p>rich</p>
--i--
--o
Content-Type: application/pdf
Content-Disposition: attachment; filename="r.pdf"
Content-Transfer-Encoding: base64

JVBERg==
--o--
"""
    found = from_eml(
        "x.eml", message("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=o\n", body), NO_WISHES
    )
    assert (found.text, found.html) == ("plain", "<p>rich</p>")
    [attachment] = found.attachments
    assert (attachment.filename, attachment.content_type, attachment.content) == ("r.pdf", "application/pdf", b"%PDF")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"To: b@y.example\n\nHello", "From: is missing"),
        (message("Content-Type: multipart/signed; boundary=o\n", "--o\n\nx\n--o--\n"), "multipart/signed would not"),
        (message("X-Kind: 1\nX-Kind: 2\n"), "X-Kind: stands there twice"),
        (
            message(
                "Content-Type: multipart/mixed; boundary=o\n", "--o\nContent-Type: message/rfc822\n\nA: b\n\nx\n--o--\n"
            ),
            "an attached message can not be carried",
        ),
    ],
)
def test_what_has_no_structured_form_is_refused(content, says):
    with pytest.raises(CommandFailed, match=says):
        from_eml("x.eml", content, NO_WISHES)
