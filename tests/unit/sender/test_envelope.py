"""How mails are announced."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.envelope import MAX_PATH, BadAddress, Commands, announce, spell
from services.sender.extensions import Extensions
from tests.support.transcript import mail

EVERYTHING = Extensions(pipelining=True, size=0, eight_bit=True, smtputf8=True)
NOTHING = Extensions()
UTF8_HEADER = "Subject: grüß\r\n\r\nbody\r\n".encode()
UTF8_BODY = "Subject: hi\r\n\r\ngrüß\r\n".encode()


@pytest.mark.checklist(60, 112)
@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("b@mx.example", "b@mx.example"),
        ("B.c+d_e@MX.example", "B.c+d_e@MX.example"),
        ("!#$%&'*+/=?^_`{|}~-@mx.example", "!#$%&'*+/=?^_`{|}~-@mx.example"),
        ('"a b"@mx.example', '"a b"@mx.example'),
        ('"ab"@mx.example', "ab@mx.example"),  # the least quoting
        (r'"a\b"@mx.example', "ab@mx.example"),
        (r'"\""@mx.example', r'"\""@mx.example'),
        (r'"\\"@mx.example', r'"\\"@mx.example'),
        ('"a@b"@mx.example', '"a@b"@mx.example'),
        ('"> SIZE=1"@mx.example', '"> SIZE=1"@mx.example'),  # quoted, it breaks out of nothing
        ('""@mx.example', '""@mx.example'),
        ("a..b@mx.example", '"a..b"@mx.example'),
        (".a@mx.example", '".a"@mx.example'),
        ("b@[192.0.2.1]", "b@[192.0.2.1]"),
        ("b@[IPv6:2001:db8::1]", "b@[IPv6:2001:db8::1]"),
        ("b@under_score.example", "b@under_score.example"),
        ("b@bücher.example", "b@xn--bcher-kva.example"),
        ("b@BÜCHER.example", "b@xn--bcher-kva.example"),
        ("ü@mx.example", "ü@mx.example"),
        ("ü.x@bücher.example", "ü.x@xn--bcher-kva.example"),
        ('"ü x"@mx.example', '"ü x"@mx.example'),
    ],
)
def test_an_address_goes_between_the_brackets(address, path):
    assert spell(address) == path


@pytest.mark.checklist(59)
@pytest.mark.parametrize(
    "address",
    [
        "",
        "b",
        "@mx.example",
        "b@",
        "b> SIZE=1@mx.example",
        "b@mx.example> SIZE=1",
        "b c@mx.example",
        "b@mx .example",
        "b<c@mx.example",
        "b@mx.example\r\nDATA",
        "b\r\nRSET@mx.example",
        "b@mx.example\n",
        "b\0@mx.example",
        "b\x7f@mx.example",
        '"b\r\nRSET"@mx.example',
        '"b\0"@mx.example',
        '"b@mx.example',
        'b"c@mx.example',
        '"b"c"@mx.example',
        "b(comment)@mx.example",
        "b,c@mx.example",
        "@relay.example:b@mx.example",
        "b@mx.example:2025",
        "b@[192.0.2.1",
        "b@[x]",
        "b@-mx.example",
        "b@mx\u3000.example",
        "ü\u2028@mx.example",
        "\udcff@mx.example",
        "b@" + "x" * MAX_PATH,
        "ü" * MAX_PATH + "@mx.example",
    ],
)
def test_an_address_that_would_break_out_is_refused(address):
    with pytest.raises(BadAddress):
        spell(address)


@pytest.mark.checklist(59)
@given(st.text(max_size=20), st.text(max_size=20))
def test_no_address_breaks_out_of_the_brackets(local, domain):
    try:
        path = spell(f"{local}@{domain}")
    except BadAddress:
        return
    assert path.isprintable()
    assert len(path.encode()) <= MAX_PATH
    unquoted = path if not path.startswith('"') else path[path.rindex('"') :]
    assert not set(unquoted) & set("<> ")


WISHES = {
    "id": "x" * 94,
    "notify": "success,failure,delay",
    "ret": "full",
    "content": b"x" * 10_000_000,
    "eight_bit": True,
    "smtputf8": True,
}


@pytest.mark.checklist(96)
@pytest.mark.parametrize("letter", ["x", "+", "ü", "象"])  # of one to three octets; in ORCPT, of one to eight
@pytest.mark.parametrize(
    ("offered", "longest_rcpt"),
    [
        (EVERYTHING, 512),  # RFC 5321 section 4.5.3.1.4
        (msgspec.structs.replace(EVERYTHING, dsn=True), 1036),  # RFC 3461 section 5.4: NOTIFY and ORCPT are added
    ],
    ids=["without DSN", "with DSN"],
)
def test_no_command_is_longer_than_a_server_has_to_take(offered, longest_rcpt, letter):
    longest = (MAX_PATH - len("@mx.example")) // len(letter.encode())
    for length in range(1, longest + 1):
        path = f"{letter * length}@mx.example"
        announced = announce(mail(1, path, reverse_path=path, **WISHES), offered)
        assert isinstance(announced, Commands)
        assert len(announced.mail.encode()) <= 512
        [(_, rcpt)] = announced.recipients
        assert len(rcpt.encode()) <= longest_rcpt
    with pytest.raises(BadAddress):
        spell(f"{letter * (longest + 1)}@mx.example")


@pytest.mark.checklist(39, 79, 107, 109, 110)
@pytest.mark.parametrize(
    ("changes", "offered", "command"),
    [
        ({}, NOTHING, "MAIL FROM:<a@sender.example>"),  # after HELO, no parameter
        ({"reverse_path": ""}, NOTHING, "MAIL FROM:<>"),
        ({}, EVERYTHING, "MAIL FROM:<a@sender.example> SIZE=21"),
        ({"content": b".\r\n.\r\n"}, EVERYTHING, "MAIL FROM:<a@sender.example> SIZE=6"),  # before dot-stuffing
        ({"eight_bit": True}, EVERYTHING, "MAIL FROM:<a@sender.example> SIZE=21 BODY=8BITMIME"),
        ({"eight_bit": True}, Extensions(eight_bit=True), "MAIL FROM:<a@sender.example> BODY=8BITMIME"),
        ({"content": UTF8_HEADER, "smtputf8": True}, EVERYTHING, "MAIL FROM:<a@sender.example> SIZE=25 SMTPUTF8"),
        ({"reverse_path": "ü@sender.example"}, Extensions(smtputf8=True), "MAIL FROM:<ü@sender.example> SMTPUTF8"),
        ({"recipients": ("ü@mx.example",)}, Extensions(smtputf8=True), "MAIL FROM:<a@sender.example> SMTPUTF8"),
        # No header and no local part needs it, whatever the mail needs elsewhere.
        ({"content": UTF8_BODY, "smtputf8": True}, EVERYTHING, "MAIL FROM:<a@sender.example> SIZE=23"),
        ({"recipients": ("b@bücher.example",), "smtputf8": True}, NOTHING, "MAIL FROM:<a@sender.example>"),
    ],
)
def test_mail_says_what_the_server_may_know(changes, offered, command):
    announced = announce(mail(**changes), offered)
    assert isinstance(announced, Commands)
    assert announced.mail == command + "\r\n"


@pytest.mark.checklist(108, 109, 111, 156)
@pytest.mark.parametrize(
    ("changes", "offered", "verdict"),
    [
        ({"content": b"x" * 1001}, Extensions(size=1000), "552 5.3.4"),
        ({"eight_bit": True}, NOTHING, "554 5.6.3"),
        ({"content": UTF8_HEADER, "smtputf8": True}, NOTHING, "553 5.6.7"),
        ({"reverse_path": "ü@sender.example"}, NOTHING, "553 5.6.7"),
        ({"reverse_path": "a> SIZE=1@sender.example"}, EVERYTHING, "553 5.1.7"),
        ({"reverse_path": "a"}, EVERYTHING, "553 5.1.7"),
    ],
)
def test_a_mail_that_can_not_go_at_all(changes, offered, verdict):
    reply = announce(mail(**changes), offered)
    assert not isinstance(reply, Commands)
    assert f"{reply.code} {reply.enhanced}" == verdict


@pytest.mark.parametrize("size", [0, 21])
def test_a_size_at_the_limit_or_without_one_is_taken(size):
    assert isinstance(announce(mail(), Extensions(size=size)), Commands)


def test_recipients_that_can_not_be_named_are_refused_alone():
    announced = announce(mail(1, "b@mx.example", "ü@mx.example", "c d@mx.example", "e@bücher.example"), NOTHING)
    assert isinstance(announced, Commands)
    assert announced.recipients == [
        (0, "RCPT TO:<b@mx.example>\r\n"),
        (3, "RCPT TO:<e@xn--bcher-kva.example>\r\n"),
    ]
    assert [(index, reply.enhanced) for index, reply in announced.refused] == [(1, "5.6.7"), (2, "5.1.3")]
