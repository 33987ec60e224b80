"""A structured submission becomes one message: parsed back it says what was submitted, and nothing else."""

import email
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.compose import compose
from services.scheduler.composed import Composed
from shared.contracts.submissions import Attachment, Submission
from shared.refusals import Invalid
from shared.settings import Identity

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PNG = bytes(range(256)) * 3


NOBODY = Identity()


def composed(identity: Identity = NOBODY, **fields: Any) -> Composed:
    return compose(Submission(**{"from_": "shop@x.example", "to": "ann@y.example", **fields}), "order-1", identity, NOW)


def message(result: Composed) -> EmailMessage:
    check_form(result.content)
    return cast(EmailMessage, email.message_from_bytes(result.content, policy=default))


def check_form(content: bytes) -> None:
    """CRLF everywhere, no line over 998 octets, no NUL, seven bits but for addresses."""
    assert content.endswith(b"\r\n")
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    _, _, body = content.partition(b"\r\n\r\n")
    assert body.isascii()


def text_of(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def structure(part: Any) -> Any:
    """The content types of a message, inner ones in a list."""
    inner = [structure(each) for each in part.iter_parts()] if part.is_multipart() else []
    return [part.get_content_type(), *inner] if inner else part.get_content_type()


def attachment(**fields: Any) -> Attachment:
    return Attachment(**{"filename": "a.bin", "content": b"x", **fields})


def refusal(**fields: Any) -> Invalid:
    with pytest.raises(Invalid) as refused:
        composed(**fields)
    return refused.value


# ---------------------------------------------------------------------------------------------------------
# Headers


@pytest.mark.checklist(191)
def test_the_headers_say_what_was_submitted():
    result = composed(
        from_="Shop <shop@x.example>",
        to=["Ann <ann@y.example>", "bob@z.example"],
        cc="carol@z.example",
        reply_to="help@x.example",
        subject="Your order",
        text="Hello",
    )
    parsed = message(result)
    assert parsed["From"] == "Shop <shop@x.example>"
    assert parsed["To"] == "Ann <ann@y.example>, bob@z.example"
    assert parsed["Cc"] == "carol@z.example"
    assert parsed["Reply-To"] == "help@x.example"
    assert parsed["Subject"] == "Your order"
    assert parsed["Date"].datetime == NOW
    assert parsed["Message-ID"] == "<order-1@x.example>"
    assert parsed["MIME-Version"] == "1.0"
    assert parsed["Received"] is None
    assert result.reverse_path == "shop@x.example"
    assert result.recipients == ("ann@y.example", "bob@z.example", "carol@z.example")


@pytest.mark.checklist(185)
def test_no_header_stands_twice():
    parsed = message(composed(text="a", html="b", cc="c@z.example", attachments=[attachment()], headers={"X-A": "1"}))
    names = [name.lower() for name in parsed.keys()]  # noqa: SIM118 - a message's iterator is not its keys
    assert len(names) == len(set(names))


@pytest.mark.checklist(186)
def test_the_same_mail_is_composed_with_the_same_message_id():
    assert message(composed())["Message-ID"] == message(composed())["Message-ID"]


@pytest.mark.parametrize("subject", ["Größe & Preis", "件名" * 80, "plain", "tab\tinside", "emoji 🎉" * 30])
def test_a_subject_round_trips(subject):
    result = composed(subject=subject)
    assert message(result)["Subject"] == subject
    assert result.subject == subject[:200]


@pytest.mark.checklist(189)
def test_display_names_beyond_ascii_round_trip():
    result = composed(from_="Jörg Müller <shop@x.example>", to=["山田太郎 <ann@y.example>", '"Ö, P." <bob@y.example>'])
    parsed = message(result)
    assert parsed["From"].addresses[0].display_name == "Jörg Müller"
    assert [each.display_name for each in parsed["To"].addresses] == ["山田太郎", "Ö, P."]
    assert result.smtputf8 is False


@pytest.mark.checklist(188)
def test_own_headers_go_out_as_given():
    unsubscribe = f"<https://x.example/{'u' * 200}>"
    result = composed(headers={"List-Unsubscribe": unsubscribe, "X-Campaign": "frühling", "Precedence": "bulk"})
    parsed = message(result)
    assert unsubscribe.encode() in result.content
    assert parsed["X-Campaign"] == "frühling"
    assert parsed["Precedence"] == "bulk"


def test_an_own_date_and_message_id_stand():
    own = {"Date": "Fri, 02 Jan 2026 03:04:05 +0000", "message-id": "<own@x.example>"}
    parsed = message(composed(headers=own))
    assert parsed.get_all("Date") == [own["Date"]]
    assert parsed.get_all("Message-ID") == ["<own@x.example>"]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ('headers."To"', {"headers": {"To": "x@y.example"}}),
        ('headers."bcc"', {"headers": {"bcc": "x@y.example"}}),
        ('headers."FROM"', {"headers": {"FROM": "x@y.example"}}),
        ('headers."Subject"', {"headers": {"Subject": "x"}}),
        ('headers."Return-Path"', {"headers": {"Return-Path": "x@y.example"}}),
        ('headers."Content-Type"', {"headers": {"Content-Type": "text/plain"}}),
        ('headers."MIME-Version"', {"headers": {"MIME-Version": "1.0"}}),
        ('headers."Received"', {"headers": {"Received": "by x"}}),
        ('headers."X:Y"', {"headers": {"X:Y": "1"}}),
        ('headers."X Y"', {"headers": {"X Y": "1"}}),
        ('headers."Bcc "', {"headers": {"Bcc ": "x@y.example"}}),
        ('headers.""', {"headers": {"": "1"}}),
        ('headers."X\r\nBcc"', {"headers": {"X\r\nBcc": "1"}}),
        ('headers."Ü"', {"headers": {"Ü": "1"}}),
        (f'headers."{"X" * 77}"', {"headers": {"X" * 77: "1"}}),
        ('headers."X-A"', {"headers": {"X-A": "1\r\nBcc: evil@y.example"}}),
        ('headers."X-A"', {"headers": {"X-A": "1\nX-B: 2"}}),
        ('headers."X-A"', {"headers": {"X-A": "1\rX-B: 2"}}),
        ('headers."X-A"', {"headers": {"X-A": "nul\0"}}),
        ('headers."X-A"', {"headers": {"X-A": "next line\x85"}}),
        ('headers."X-A"', {"headers": {"X-A": "line separator\u2028"}}),
        ('headers."X-A"', {"headers": {"X-A": "y" * 2000}}),
        ('headers."Sender"', {"headers": {"Sender": "a@x.example", "sender": "b@x.example"}}),
        ('headers."Message-ID"', {"headers": {"Message-ID": "<1@x>", "MESSAGE-ID": "<2@x>"}}),
        ('headers."References"', {"headers": {"References": "<ü@x.example>"}}),
        ('headers."List-Unsubscribe"', {"headers": {"List-Unsubscribe": "<https://x.example/ü>"}}),
        ('headers."Sender"', {"headers": {"Sender": "Jörg"}}),
        ("unsubscribe_url", {"unsubscribe_url": "http://x.example/u"}),
        ("unsubscribe_url", {"unsubscribe_url": ""}),
        ("unsubscribe_url", {"unsubscribe_url": "https://"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://x.example/a b"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://x.example/>,<mailto:a@y.example"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://x.example/ü"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://x.example/\r\nBcc: a@y.example"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://[x/"}),
        ("unsubscribe_url", {"unsubscribe_url": f"https://x.example/{'u' * 900}"}),
        ("unsubscribe_url", {"unsubscribe_url": "https://x.example/u", "headers": {"List-Unsubscribe": "<a>"}}),
        ("subject", {"subject": "a\r\nBcc: evil@y.example"}),
        ("subject", {"subject": "vertical\x0btab"}),
        ("subject", {"subject": "y" * 2000}),
        ("from", {"from_": "A\r\nBcc: evil@y.example <shop@x.example>"}),
        ("from", {"from_": "n" * 1000 + " <shop@x.example>"}),
        ("from", {"from_": ""}),
        ("from", {"from_": "a@x.example, b@x.example"}),
        ("from", {"from_": "nobody"}),
        ("to", {"to": "a@y.example\nRCPT TO:<evil@y.example>"}),
        ("to[1]", {"to": ["a@y.example", "b>@y.example"]}),
        ("cc[0]", {"cc": ["b@y.example> SIZE=1"]}),
        ("bcc", {"bcc": "<<b@y.example"}),
        ("reply_to", {"reply_to": "not an address"}),
        ("return_path", {"return_path": "a@x.example> BODY=8BITMIME"}),
        ("return_path", {"return_path": "Name <a@x.example>"}),
        ("return_path", {"return_path": "a b@x.example"}),
        ("attachments[0].filename", {"attachments": [attachment(filename="a\r\nb.txt")]}),
        ("attachments[1].content_type", {"attachments": [attachment(), attachment(content_type="nonsense")]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type="text/plain\r\nX: 1")]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type="text/plain; x")]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type="text/plain; a=1; a=2")]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type='text/plain; a="1')]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type='text/plain; a="\r\nX: 1"')]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type="multipart/mixed")]}),
        ("attachments[0].content_type", {"attachments": [attachment(content_type="message/rfc822")]}),
        ("attachments[1].content_id", {"attachments": [attachment(), attachment(content_id="a b")]}),
        ("attachments[0].content_id", {"attachments": [attachment(content_id="")]}),
        ("attachments[0].content_id", {"attachments": [attachment(content_id="a>\r\nX: 1")]}),
        ("attachments[0].content_id", {"attachments": [attachment(content_id="ü")]}),
    ],
)  # fmt: skip
@pytest.mark.checklist(187)
def test_what_could_break_out_of_its_place_is_refused_by_the_name_of_its_field(field, fields):
    assert refusal(**fields).field == field


def test_a_refusal_of_something_huge_stays_short():
    assert len(refusal(to="<" * 1_000_000).reason) < 1000


# ---------------------------------------------------------------------------------------------------------
# Envelope


@pytest.mark.checklist(190)
def test_bcc_is_in_the_envelope_and_nowhere_in_the_content():
    result = composed(to="ann@y.example", bcc=["Secret <hidden@z.example>"])
    assert result.recipients == ("ann@y.example", "hidden@z.example")
    assert b"hidden" not in result.content
    assert b"bcc" not in result.content.lower()


def test_with_bcc_alone_the_recipients_are_undisclosed():
    parsed = message(composed(to=[], bcc="hidden@z.example"))
    assert parsed["To"] == "undisclosed-recipients:;"


def test_a_recipient_named_twice_gets_one_copy():
    assert composed(to=["ann@y.example", "ann@Y.EXAMPLE"], cc="ann@y.example").recipients == ("ann@y.example",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "shop@x.example"),
        ("bounces@x.example", "bounces@x.example"),
        ("Bounces+tag=1@X.Example", "Bounces+tag=1@x.example"),
        ("", ""),
        ("<>", ""),
    ],
)
def test_the_reverse_path_is_the_sender_unless_stated(given, expected):
    assert composed(return_path=given).reverse_path == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"subject": "ü", "text": "ü"}, False),  # encoded
        ({"to": "ann@bücher.example"}, False),  # A-labels
        ({"from_": "jörg@x.example"}, True),
        ({"to": "jörg@y.example"}, True),
        ({"bcc": "jörg@y.example"}, True),  # in the envelope only
        ({"return_path": "jörg@x.example"}, True),
        ({"reply_to": "jörg@x.example"}, True),
    ],
)
def test_smtputf8_is_needed_for_addresses_that_are_not_ascii(fields, expected):
    assert composed(**fields).smtputf8 is expected


@pytest.mark.parametrize("domain", ["straße.example", "ꙮ.example", "bücher.example"])
def test_the_message_id_is_ascii_in_every_domain(domain):
    head = composed(from_=f"ü@{domain}").content.partition(b"\r\n\r\n")[0]
    assert next(line for line in head.split(b"\r\n") if line.startswith(b"Message-ID")).isascii()


# ---------------------------------------------------------------------------------------------------------
# The settings' identity


IDENTITY = Identity(reply_to="Help <help@x.example>", sender_name="The Shop")


def test_reply_to_and_sender_name_come_where_they_are_missing():
    parsed = message(composed(IDENTITY))
    assert parsed["Reply-To"] == "Help <help@x.example>"
    assert parsed["From"] == "The Shop <shop@x.example>"


@pytest.mark.checklist(190)
def test_reply_to_and_sender_name_of_the_mail_stand():
    parsed = message(composed(IDENTITY, from_="Ann <ann@x.example>", reply_to="ann@x.example"))
    assert parsed["Reply-To"] == "ann@x.example"
    assert parsed["From"] == "Ann <ann@x.example>"


def test_without_the_settings_nothing_is_added():
    parsed = message(composed())
    assert parsed["Reply-To"] is None
    assert parsed["From"] == "shop@x.example"


# ---------------------------------------------------------------------------------------------------------
# Body


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text/plain"),
        ({"text": "t"}, "text/plain"),
        ({"html": "h"}, "text/html"),
        ({"text": "t", "html": "h"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"text": "t", "attachments": [attachment()]}, ["multipart/mixed", "text/plain", "application/octet-stream"]),
        (
            {"html": "h", "attachments": [attachment(content_id="pic", content_type="image/png")]},
            ["multipart/related", "text/html", "image/png"],
        ),
        (
            {
                "text": "t",
                "html": "h",
                "attachments": [
                    attachment(),
                    attachment(content_id="p1", content_type="image/png"),
                    attachment(content_id="p2", content_type="image/gif"),
                ],
            },
            [
                "multipart/mixed",
                [
                    "multipart/alternative",
                    "text/plain",
                    ["multipart/related", "text/html", "image/png", "image/gif"],
                ],
                "application/octet-stream",
            ],
        ),
    ],
)
def test_the_parts_are_nested_as_readers_expect(fields, expected):
    assert structure(message(composed(**fields))) == expected


def test_text_and_html_come_back():
    text, html = "Grüße,\nJörg\n", "<p>Grüße</p>\n"
    parsed = message(composed(text=text, html=html))
    assert text_of(parsed.get_body(("plain",))) == text
    assert text_of(parsed.get_body(("html",))) == html


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("short\nlines\n", "7bit"),
        ("x" * 900, "7bit"),
        ("x" * 901, "quoted-printable"),
        ("Grüße " * 50, "quoted-printable"),
        ("日本語" * 50, "base64"),
        ("form\x0cfeed", "quoted-printable"),
        ("a" * 600 + "\x0c" + "b" * 600, "quoted-printable"),  # for SMTP this is one line
        ("nul\0", "quoted-printable"),
        ("", "7bit"),
    ],
)
@pytest.mark.checklist(95)
def test_a_body_travels_in_seven_bits_and_short_lines(text, encoding):
    parsed = message(composed(text=text))
    assert parsed["Content-Transfer-Encoding"] == encoding
    assert text_of(parsed).removesuffix("\n") == text.removesuffix("\n")


def test_encoded_lines_have_at_most_76_characters():
    content = composed(text="Grüße und noch mehr " * 100, attachments=[attachment(content=PNG)]).content
    assert max(map(len, content.split(b"\r\n"))) <= 76


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.checklist(91)
def test_line_ends_of_any_kind_become_crlf(ends):
    assert text_of(message(composed(text=f"one{ends}two{ends}"))) == "one\ntwo\n"


@given(st.text(max_size=1000), st.text(max_size=300))
def test_any_text_and_html_come_back(text, html):
    parsed = message(composed(text=text, html=html))
    for kind, submitted in (("plain", text), ("html", html)):
        expected = submitted.replace("\r\n", "\n").replace("\r", "\n")
        assert text_of(parsed.get_body((kind,))).removesuffix("\n") == expected.removesuffix("\n")


@pytest.mark.parametrize(
    "filename",
    [
        "a.pdf",
        "Rechnung März.pdf",
        "日本語.txt",
        'quo"te.txt',
        "semi;colon, comma.txt",
        "x" * 255,
        "ü" * 255,
        "%41.txt",
    ],
)
def test_an_attachment_comes_back_with_its_name(filename):
    parsed = message(composed(text="t", attachments=[attachment(filename=filename, content=PNG)]))
    [part] = parsed.iter_attachments()
    assert part.get_filename() == filename
    assert part.get_content() == PNG
    assert part.get_content_disposition() == "attachment"


def test_an_attached_text_comes_back_octet_for_octet():
    content = "Grüße\r\nbare\rreturn\n".encode("latin-1")
    parsed = message(composed(attachments=[attachment(content=content, content_type="text/csv")]))
    [part] = parsed.iter_attachments()
    assert part.get_payload(decode=True) == content


@pytest.mark.parametrize(
    ("given", "kind", "parameters"),
    [
        ("text/calendar; method=REQUEST; charset=utf-8", "text/calendar", {"method": "REQUEST", "charset": "utf-8"}),
        ("text/calendar;method=REQUEST;", "text/calendar", {"method": "REQUEST"}),
        ('application/x; a="b c; d"', "application/x", {"a": "b c; d"}),
        ('application/x; a="q\\"q"', "application/x", {"a": 'q"q'}),
        ("application/pdf; name=other.pdf", "application/pdf", {}),
    ],
)
def test_an_attachment_keeps_the_parameters_of_its_type(given, kind, parameters):
    [part] = message(composed(text="t", attachments=[attachment(content_type=given)])).iter_attachments()
    assert part.get_content_type() == kind
    found = {name: str(value) for name, value in part["Content-Type"].params.items()}
    assert found == parameters
    assert part.get_filename() == "a.bin"


@pytest.mark.checklist(188)
def test_an_unsubscribe_url_makes_the_headers_of_one_click():
    url = f"https://x.example/u?id={'7' * 800}"
    content = composed(unsubscribe_url=url).content
    assert f"List-Unsubscribe: <{url}>\r\n".encode() in content
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in content


@pytest.mark.checklist(188)
def test_a_sender_beyond_ascii_keeps_its_address_whole():
    content = composed(headers={"Sender": "Jörg Müller <jm@x.example>"}).content
    assert b" <jm@x.example>\r\n" in content
    assert message(composed(headers={"Sender": "Jörg <jm@x.example>"}))["Sender"].address.display_name == "Jörg"


@pytest.mark.parametrize("content_id", ["logo", "<logo@x.example>", "c" * 250, "part1.06090408.01060107@x.example"])
def test_an_inline_part_is_found_by_its_content_id(content_id):
    result = composed(html="<img>", attachments=[attachment(content_id=content_id, content_type="image/png")])
    [_, image] = message(result).iter_parts()
    assert image["Content-ID"] == f"<{content_id.strip('<>')}>"
    assert f"Content-ID: <{content_id.strip('<>')}>\r\n".encode() in result.content
    assert image.get_content_disposition() == "inline"


def test_a_thousand_attachments_are_taken_and_one_more_is_refused():
    few = [attachment(content=b"", content_id=f"{n}" if n % 2 else None) for n in range(1000)]
    assert len(list(message(composed(html="h", attachments=few)).iter_parts())) == 501
    assert refusal(attachments=[*few, attachment()]).field == "attachments"
