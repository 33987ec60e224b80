"""Reports of undelivered mail, as Python's own parser reads them."""

import base64
import email
import email.policy
import quopri
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler import dsn
from services.scheduler.composed import Composed
from services.scheduler.dsn import Fate, Names, Original
from shared.settings import Identity
from shared.smtp_reply import Reply, own_verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = Names("robot.example", "postmaster@robot.example")
HEADER = b"From: shop@x.example\r\nSubject: Your order\r\nMessage-ID: <order-1@x.example>\r\n"
ORIGINAL = Original(
    id="order-1",
    reverse_path="shop@x.example",
    subject="Your order",
    admitted=NOW - timedelta(hours=5),
    give_up=NOW + timedelta(days=4),
    header=HEADER,
)
UNKNOWN = Reply(550, "5.1.1", "nobody of this name")
HOST = "mx1.example.net [192.0.2.1]:25"


def fate(
    verdict: Reply = UNKNOWN, address: str = "ann@y.example", *, host: str = HOST, last: Reply | None = None
) -> Fate:
    said = verdict if verdict.remote else last
    return Fate(number=7, address=address, verdict=verdict, said=said, host=host)


def composed(*fates: Fate, action: dsn.Action = "failed", **changes: Any) -> Composed:
    original = msgspec.structs.replace(ORIGINAL, **changes)
    return dsn.compose(original, action, fates or [fate()], NAMES, NOW)


def parsed(report: Composed) -> EmailMessage:
    assert re.fullmatch(rb"([^\r\n]{0,998}\r\n)*", report.content), "bare line ends, or lines too long"
    message = email.message_from_bytes(report.content, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    for part in (message, *message.iter_parts()):
        assert not part.defects, part.defects
    return message


def parts(report: Composed) -> list[EmailMessage]:
    return list(parsed(report).iter_parts())  # type: ignore[arg-type]  # of an EmailMessage they are such too


def groups(report: Composed) -> list[dict[str, str]]:
    """The groups of fields: of the message first, then of each recipient."""
    part = parts(report)[1]
    if part.get_content_type() == "message/delivery-status":
        return [{name: str(value) for name, value in group.items()} for group in part.get_payload()]  # type: ignore[union-attr]  # messages
    # Of its UTF-8 relative Python knows nothing.
    _, _, rest = report.content.partition(b"message/global-delivery-status\r\n")
    text = rest.partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n--=_")[0].decode()
    return [
        dict(field.split(": ", 1) for field in group.replace("\r\n ", " ").split("\r\n"))
        for group in text.split("\r\n\r\n")
    ]


def words(report: Composed) -> str:
    return str(parts(report)[0].get_content())


# ---------------------------------------------------------------------------------------------------------
# The whole


@pytest.mark.checklist(151)
def test_it_goes_to_the_reverse_path_from_the_null_one():
    report = composed()
    assert (report.reverse_path, report.recipients) == ("", ("shop@x.example",))
    message = parsed(report)
    assert (message["To"], message["From"]) == ("shop@x.example", "Mail Delivery System <postmaster@robot.example>")
    assert message["Subject"] == "Not delivered: Your order"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<dsn.order-1.7@robot.example>"
    assert message["Date"].datetime == NOW
    assert message["References"] == "<order-1@x.example>"


@pytest.mark.parametrize(
    "header", [b"Subject: no id\r\n", b"Message-ID: none\r\n", b"Message-ID: <" + b"x" * 600 + b">\r\n"]
)
def test_a_mail_without_a_usable_id_has_no_reference_to_it(header):
    assert parsed(composed(header=header))["References"] is None


@pytest.mark.checklist(153)
def test_it_has_a_text_the_fields_and_the_headers_of_the_mail():
    message = parsed(composed())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    kinds = [part.get_content_type() for part in parts(composed())]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert parts(composed())[2].get_payload() == HEADER.decode()


@pytest.mark.checklist(154, 155)
def test_the_fields_of_a_refusal():
    assert groups(composed()) == [
        {
            "Reporting-MTA": "dns; robot.example",
            "Original-Envelope-Id": "order-1",
            "Arrival-Date": "Sun, 01 Mar 2026 07:00:00 +0000",
        },
        {
            "Final-Recipient": "rfc822; ann@y.example",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx1.example.net",
            "Diagnostic-Code": "smtp; 550 5.1.1 nobody of this name",
            "Last-Attempt-Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        },
    ]


def test_the_text_says_what_happened_to_whom_why_and_what_to_do():
    text = words(composed())
    assert text.splitlines() == [
        "Your mail could not be delivered to the recipient below.",
        "It will not be tried again.",
        "",
        "  Subject: Your order",
        "  Sent:    Sunday, 01 March 2026, 07:00 UTC",
        "",
        "ann@y.example",
        "  What happened: There is no such mailbox.",
        "  What to do:    Check the address for typing mistakes, or ask the recipient",
        "    for the right one.",
        "  The answer of mx1.example.net: 550 5.1.1 nobody of this name",
        "",
        "Attached are the details for administrators and programs, and your mail or",
        "its headers. Nobody reads answers to this report, which was made by the mail",
        "system robot.example.",
    ]


@pytest.mark.checklist(154)
def test_several_recipients_have_a_group_each_in_one_report():
    full = fate(Reply(552, "5.2.2", "full"), "bob@y.example")
    report = composed(fate(), full)
    assert [group.get("Final-Recipient") for group in groups(report)] == [
        None,
        "rfc822; ann@y.example",
        "rfc822; bob@y.example",
    ]
    assert [group.get("Status") for group in groups(report)] == [None, "5.1.1", "5.2.2"]
    assert "to the 2 recipients below" in words(report)


@pytest.mark.checklist(157)
def test_a_notice_of_delay_says_until_when_it_is_tried():
    report = composed(fate(Reply(450, "4.2.2", "full")), action="delayed")
    group = groups(report)[1]
    assert (group["Action"], group["Status"]) == ("delayed", "4.2.2")
    assert group["Will-Retry-Until"] == "Thu, 05 Mar 2026 12:00:00 +0000"
    assert parsed(report)["Subject"] == "Delayed: Your order"
    assert "You need not do anything" in words(report)
    assert "What to do" not in words(report)


# ---------------------------------------------------------------------------------------------------------
# Status and diagnosis


@pytest.mark.checklist(156)
@pytest.mark.parametrize(
    ("verdict", "status", "phrase"),
    [
        (own_verdict(550, "5.1.2", "y.example does not exist"), "5.1.2", "no such domain"),
        (own_verdict(556, "5.1.10", "null MX"), "5.1.10", "accepts no mail at all"),
        (own_verdict(451, "4.4.7", "not delivered in 5 days"), "4.4.7", "so long that it was given up"),
        (own_verdict(554, "5.4.6", "it would come back"), "5.4.6", "in a circle"),
        (own_verdict(552, "5.3.4", "too big"), "5.3.4", "too large"),
        (own_verdict(553, "5.6.7", "needs SMTPUTF8"), "5.6.7", "such characters"),
        (own_verdict(550, "", "no"), "5.0.0", "could not be delivered"),
    ],
)
def test_a_verdict_of_our_own_has_its_status_and_no_diagnosis_of_a_remote(verdict, status, phrase):
    report = composed(fate(verdict, host=""))
    group = groups(report)[1]
    assert group["Status"] == status
    assert "Diagnostic-Code" not in group
    assert "Remote-MTA" not in group
    assert phrase in " ".join(words(report).split())
    assert verdict.text in words(report)


@pytest.mark.checklist(156)
@pytest.mark.parametrize("enhanced", ["4.4.1", "4.4.3", "4.7.4", "4.7.5"])
def test_what_only_delays_has_its_status_in_the_notice(enhanced):
    assert groups(composed(fate(own_verdict(451, enhanced, "no"), host=""), action="delayed"))[1]["Status"] == enhanced


@pytest.mark.checklist(155)
def test_of_a_mail_given_up_the_last_answer_is_the_diagnosis():
    given_up = own_verdict(451, "4.4.7", "not delivered in 5 days; the last reply was: 450 4.2.2 full")
    group = groups(composed(fate(given_up, last=Reply(450, "4.2.2", "full"))))[1]
    assert group["Status"] == "4.4.7"
    assert group["Diagnostic-Code"] == "smtp; 450 4.2.2 full"
    assert group["Remote-MTA"] == "dns; mx1.example.net"


@pytest.mark.parametrize(
    ("reply", "action", "status"),
    [
        (Reply(550, "", "no"), "failed", "5.0.0"),
        (Reply(450, "", "no"), "delayed", "4.0.0"),
        (Reply(535, "5.7.8", "sign in"), "delayed", "4.7.8"),  # it will be tried again, whatever they say
        (Reply(0, "", "parked"), "delayed", "4.0.0"),
        (Reply(550, "2.0.0", "odd"), "failed", "5.0.0"),
    ],
)
def test_the_status_is_of_the_class_of_the_action(reply, action, status):
    assert dsn.status_of(reply, action) == status


@pytest.mark.checklist(155)
@pytest.mark.parametrize(
    ("host", "remote"),
    [
        ("mx1.example.net [192.0.2.1]:25", "dns; mx1.example.net"),
        ("[127.0.0.1]:2525", "dns; [127.0.0.1]"),
        ("[2001:db8::1]:25", "dns; [IPv6:2001:db8::1]"),
        ("mx1.example.net [192.0.2.1]", "dns; mx1.example.net"),
        ("", None),
    ],
)
def test_the_remote_mta_is_the_host_that_said_it(host, remote):
    assert groups(composed(fate(host=host)))[1].get("Remote-MTA") == remote


def test_a_long_answer_of_many_lines_is_folded():
    answer = "first line\nsecond line " + "word " * 100 + "x" * 1500
    report = composed(fate(Reply(554, "5.7.1", answer)))
    unfolded = re.sub(r"\r\n +", " ", groups(report)[1]["Diagnostic-Code"])
    assert unfolded.startswith("smtp; 554 5.7.1 first line second line word word")
    assert unfolded.replace(" ", "").endswith("x" * 1500)


# ---------------------------------------------------------------------------------------------------------
# What is not ASCII


@pytest.mark.checklist(158)
def test_a_recipient_that_is_not_ascii_has_the_type_utf_8_in_seven_bits():
    report = composed(fate(address="grün+象@y.example"))
    assert report.content.isascii()
    assert not report.smtputf8
    assert groups(report)[1]["Final-Recipient"] == r"utf-8; gr\x{FC}n\x{2B}\x{8C61}@y.example"
    assert "grün+象@y.example" in words(report)


@pytest.mark.checklist(158)
def test_who_has_an_address_that_is_not_ascii_gets_the_report_in_utf_8():
    header = "Subject: grüß\r\n".encode()
    report = composed(
        fate(Reply(550, "5.1.1", "kein grünes Fach"), "grün@y.example"), reverse_path="ü@x.example", header=header
    )
    assert report.smtputf8
    assert report.recipients == ("ü@x.example",)
    kinds = [part.get_content_type() for part in parts(report)]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert groups(report)[1]["Final-Recipient"] == "utf-8; grün@y.example"
    assert groups(report)[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 kein grünes Fach"
    assert header in report.content


def test_an_answer_that_is_not_ascii_is_escaped_in_seven_bits():
    assert groups(composed(fate(Reply(550, "", "grün"))))[1]["Diagnostic-Code"] == r"smtp; 550 gr\xfcn"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Subject: grüß\r\n".encode(), "message/global-headers"),
        ("Subject: grüß\r\n".encode("latin-1"), "text/rfc822-headers"),
    ],
)
def test_headers_that_are_not_ascii_are_encoded(header, kind):
    report = composed(header=header)
    assert report.content.isascii()
    part = parts(report)[2]
    assert part.get_content_type() == kind
    # Python takes a part of type message/* for a message, whatever its encoding.
    body = report.content.rpartition(b"\r\n--=_")[0].rpartition(b"\r\n\r\n")[2]
    decode = {"base64": base64.b64decode, "quoted-printable": quopri.decodestring}[part["Content-Transfer-Encoding"]]
    assert decode(body) == header


# ---------------------------------------------------------------------------------------------------------
# What is returned


@pytest.mark.checklist(153)
def test_all_of_the_mail_is_returned_where_it_is_asked_for():
    content = HEADER + b"\r\nOn its way.\r\n"
    part = parts(composed(content=content))[2]
    assert part.get_content_type() == "message/rfc822"
    assert part.get_payload(0).as_bytes() == content


def test_a_mail_of_eight_bits_comes_back_as_its_headers():
    """message/rfc822 may not be encoded (RFC 2046 section 5.2.1), and not every server takes eight bits."""
    assert parts(composed(content=HEADER + "\r\ngrüß\r\n".encode()))[2].get_content_type() == "text/rfc822-headers"


def test_headers_that_are_lost_are_left_out():
    assert len(parts(composed(header=b""))) == 2


def test_what_is_returned_ends_no_part():
    first = parsed(composed()).get_boundary()
    sly = HEADER + f"--{first}--\r\n\r\n".encode()
    assert parts(composed(header=sly))[2].get_payload() == sly.decode()


# ---------------------------------------------------------------------------------------------------------
# Names


@pytest.mark.parametrize(
    ("identity", "names"),
    [
        (Identity(), Names("box", "MAILER-DAEMON@x.example")),
        (Identity(helo_name="robot.example"), Names("robot.example", "MAILER-DAEMON@robot.example")),
        (Identity(helo_name="[192.0.2.1]"), Names("box", "MAILER-DAEMON@x.example")),
        (Identity(helo_name="robot"), Names("robot", "MAILER-DAEMON@x.example")),
        (Identity(helo_name="a.example", reporting_mta="b.example"), Names("b.example", "MAILER-DAEMON@b.example")),
        (Identity(postmaster="pm@z.example"), Names("box", "pm@z.example")),
    ],
)
def test_who_reports(identity, names):
    assert dsn.names_of(identity, "box", "shop@x.example") == names


def test_a_machine_whose_name_is_not_in_dns_is_not_said_to_be():
    report = dsn.compose(ORIGINAL, "failed", [fate()], Names("box", "pm@x.example"), NOW)
    assert groups(report)[0]["Reporting-MTA"] == "x-local-hostname; box"


@pytest.mark.parametrize(
    ("original", "id"),
    [("order-1", "dsn.order-1.7"), ("x" * 194, f"dsn.{'x' * 194}.7"), ("x" * 195, None)],
)
def test_the_id_is_the_same_whenever_it_is_made(original, id):
    made = dsn.report_id(original, "failed", [fate()])
    assert made == dsn.report_id(original, "failed", [fate()])
    assert len(made) <= 200
    assert id in (made, None)
    assert dsn.report_id(original, "delayed", [fate()]) != made


@pytest.mark.checklist(152)
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, False),
        (b"Content-Type: multipart/report; report-type=delivery-status\r\n", True),
        (HEADER + b"content-type:\r\n Multipart/Report;\r\n report-type=delivery-status\r\n", True),
        (b'Content-Type: multipart/report; boundary="x";\r\n\treport-type="delivery-status"\r\n', True),
        (b"Content-Type: multipart/report; report-type=feedback-report\r\n", False),  # complaints may be answered
        (b"Content-Type: multipart/report; x=y\r\nX: report-type=delivery-status\r\n", False),
        (b"Content-Type: multipart/mixed\r\nX: multipart/report\r\n", False),
        (b"X-Content-Type: multipart/report\r\n", False),
        (b"", False),
    ],
)
def test_a_report_is_known_by_its_header(header, expected):
    assert dsn.is_report(header) is expected


@pytest.mark.checklist(152)
def test_our_own_reports_are_known():
    assert dsn.is_report(composed().content.partition(b"\r\n\r\n")[0])


# ---------------------------------------------------------------------------------------------------------
# Whatever happened


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)
REPLIES = st.builds(
    Reply,
    st.integers(400, 599),
    st.sampled_from(["", "4.2.2", "5.1.1", "5.7.26", "4.4.7"]),
    TEXTS | st.lists(TEXTS, max_size=4).map("\n".join),
    st.booleans(),
)
ADDRESSES = st.sampled_from(
    ["a@y.example", '"a b"@y.example', '"a;b"@y.example', "grün@y.example", "象" * 20 + "@y.example"]
)
FATES = st.builds(
    Fate,
    number=st.integers(1, 2**40),
    address=ADDRESSES,
    verdict=REPLIES,
    said=st.none() | REPLIES,
    host=st.sampled_from(["", HOST, "[192.0.2.1]:25"]),
)
HEADERS = st.binary(max_size=60).map(lambda octets: b"X-Odd: " + re.sub(rb"[\r\n]", b"", octets) + b"\r\n") | st.just(
    HEADER
)


@pytest.mark.checklist(153, 154)
@given(
    st.lists(FATES, min_size=1, max_size=5),
    st.sampled_from(["failed", "delayed"]),
    HEADERS,
    TEXTS.map(lambda text: text[:200]),
    st.sampled_from(["shop@x.example", "ü@x.example"]),
)
def test_every_report_has_what_rfc_3464_demands(fates, action, header, subject, reverse_path):
    report = dsn.compose(
        msgspec.structs.replace(ORIGINAL, header=header, subject=subject, reverse_path=reverse_path),
        action, fates, NAMES, NOW,
    )  # fmt: skip
    assert report.smtputf8 or report.content.isascii()
    if not report.smtputf8 and header.isascii():
        assert len(parts(report)) == 3
    message, *recipients = groups(report)
    assert message["Reporting-MTA"] == "dns; robot.example"
    for fate, group in zip(fates, recipients, strict=True):
        assert re.match(r"(rfc822|utf-8); \S", group["Final-Recipient"])
        assert group["Action"] == action
        assert re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", group["Status"])
        assert ("Diagnostic-Code" in group) == (fate.said is not None)
