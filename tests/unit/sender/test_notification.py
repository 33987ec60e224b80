"""What a server is told of the reports that are wanted: only one that offers DSN, and for each recipient."""

import pytest

from services.sender.envelope import Commands, announce
from services.sender.extensions import Extensions
from tests.support.transcript import mail

DSN = Extensions(dsn=True, smtputf8=True)
NOTHING = Extensions(smtputf8=True)
WISHES = {"id": "order-1", "notify": "success,failure,delay", "ret": "full"}


def commands(offered: Extensions, *recipients: str, **changes: object) -> list[str]:
    announced = announce(mail(1, *recipients, **changes), offered)
    assert isinstance(announced, Commands)
    return [announced.mail.removesuffix("\r\n"), *(line.removesuffix("\r\n") for _, line in announced.recipients)]


@pytest.mark.checklist(118)
def test_a_server_that_does_not_offer_dsn_is_told_nothing_of_it():
    assert commands(NOTHING, "b@mx.example", **WISHES) == ["MAIL FROM:<a@sender.example>", "RCPT TO:<b@mx.example>"]


@pytest.mark.checklist(118)
def test_each_recipient_has_its_wishes_and_its_address():
    assert commands(DSN, "b@mx.example", "c+d@mx.example", **WISHES) == [
        "MAIL FROM:<a@sender.example> RET=FULL ENVID=order-1",
        "RCPT TO:<b@mx.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;b@mx.example",
        "RCPT TO:<c+d@mx.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;c+2Bd@mx.example",
    ]


@pytest.mark.checklist(118)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),  # nothing is asked, nothing known: the receiver does as it likes
        ({"id": "order-1"}, " ENVID=order-1"),
        ({"id": "a+b=c"}, " ENVID=a+2Bb+3Dc"),
        ({"id": "x" * 94}, " ENVID=" + "x" * 94),
        ({"id": "x" * 95}, ""),  # RFC 3461 section 4.4: a hundred octets, keyword and all
        ({"id": "x" * 92 + "+"}, ""),
        ({"id": "grün"}, ""),
        ({"ret": "hdrs"}, " RET=HDRS"),
    ],
)
def test_mail_carries_the_mails_id(changes, expected):
    assert commands(DSN, **changes)[0] == "MAIL FROM:<a@sender.example>" + expected


@pytest.mark.checklist(118)
def test_for_a_report_no_other_report_is_wanted():
    """RFC 3461 section 6.1; to the null reverse-path neither RET nor ENVID makes sense."""
    assert commands(DSN, "b@mx.example", id="dsn.order-1.7", notify="never", ret="full", reverse_path="") == [
        "MAIL FROM:<>",
        "RCPT TO:<b@mx.example> NOTIFY=NEVER ORCPT=rfc822;b@mx.example",
    ]


@pytest.mark.checklist(118)
@pytest.mark.parametrize(
    ("address", "original"),
    [
        ("b@mx.example", "rfc822;b@mx.example"),
        ("a=b@mx.example", "rfc822;a+3Db@mx.example"),
        ("ü@mx.example", r"utf-8;\x{FC}@mx.example"),  # RFC 6533 section 3
        ("ü+b@mx.example", r"utf-8;\x{FC}\x{2B}b@mx.example"),
        ("象@mx.example", r"utf-8;\x{8C61}@mx.example"),
    ],
)
def test_orcpt_is_the_address_in_xtext(address, original):
    assert commands(DSN, address)[1] == f"RCPT TO:<{address}> ORCPT={original}"


@pytest.mark.checklist(118)
@pytest.mark.parametrize(("local", "with_it"), [("xx" + "+" * 158, True), ("xxx" + "+" * 158, False)])
def test_an_address_too_long_for_orcpt_goes_without_it(local, with_it):
    """RFC 3461 section 4.2: five hundred octets, keyword and all."""
    _, *parameters = commands(DSN, f"{local}@mx.example")[1].split(" ")[1:]
    assert [len(parameter) for parameter in parameters] == ([500] if with_it else [])


def test_an_address_in_quotes_goes_without_orcpt():
    assert commands(DSN, '"a b"@mx.example') == ["MAIL FROM:<a@sender.example>", 'RCPT TO:<"a b"@mx.example>']
