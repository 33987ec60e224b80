"""What `pillarbox doctor` makes of what it finds."""

import asyncio
import errno
import smtplib

import pytest

from cli.doctor import clock_row
from cli.doctor_names import dkim_judged, helo_row, keys_of, reverse_row, spf_row
from cli.doctor_rows import Result
from cli.doctor_smtp import Seen
from cli.doctor_ways import (
    auth_row,
    certificate_row,
    mx_tls_rows,
    password_rows,
    refused,
    relays,
    signed_in_row,
    tls_rows,
)
from cli.spf import SpfResult
from services.sender.auth import SignIn
from services.sender.channel import Channel
from services.sender.login import Login
from services.sender.tls import TlsPolicy
from shared.contracts.work import Credentials, SecretReference, TlsMode
from shared.dkim_key import new_key
from shared.reverse_dns import Confirmed, Unconfirmed, Unknown
from shared.settings import parse_settings
from shared.smtp_reply import Reply, own_verdict

DIRECT, RELAY = parse_settings({"delivery": {"mode": "direct"}}), parse_settings({})
PUBLIC, PRIVATE = "8.8.8.8", "10.0.0.1"
NO_PTR = Unconfirmed("permerror", "no name in reverse DNS")


@pytest.mark.parametrize(
    ("address", "finding", "settings", "named", "expected"),
    [
        (PUBLIC, Confirmed("mx.example"), DIRECT, False, Result.OK),
        (PUBLIC, NO_PTR, DIRECT, False, Result.FAILED),
        (PUBLIC, NO_PTR, RELAY, False, Result.WARNING),  # the relay's counts
        (PRIVATE, NO_PTR, DIRECT, False, Result.SKIPPED),
        (PRIVATE, NO_PTR, DIRECT, True, Result.FAILED),
        (PUBLIC, Unknown("SERVFAIL"), RELAY, False, Result.FAILED),
    ],
)
def test_reverse_dns(address, finding, settings, named, expected):
    assert reverse_row(address, finding, settings, named).result == expected


@pytest.mark.parametrize(
    ("identity", "finding", "expected", "says"),
    [
        ({}, Confirmed("mx.example"), Result.OK, "mx.example"),
        ({}, NO_PTR, Result.WARNING, "no name in reverse DNS): senders say [8.8.8.8]"),
        ({"helo_fallback": "robot.example"}, NO_PTR, Result.WARNING, "senders say robot.example"),
        ({"helo_name": "here.example"}, NO_PTR, Result.OK, "it leads here"),
        ({"helo_name": "else.example"}, NO_PTR, Result.WARNING, "does not lead to 8.8.8.8"),
        ({"helo_name": "[192.0.2.1]"}, NO_PTR, Result.WARNING, "[192.0.2.1]"),
    ],
)
def test_the_helo_name(identity, finding, expected, says):
    async def ask(name, kind):
        return {"here.example": ["8.8.8.8"]}.get(name, [])

    row = asyncio.run(helo_row(PUBLIC, finding, parse_settings({"identity": identity}), ask))
    assert (row.result, says in row.found) == (expected, True)


@pytest.mark.parametrize(
    ("result", "expected", "advice"),
    [
        ("pass", Result.OK, ""),
        ("none", Result.FAILED, "v=spf1 ip4:192.0.2.1 -all"),
        ("fail", Result.FAILED, "add ip4:192.0.2.1"),
        ("softfail", Result.FAILED, "add ip4:192.0.2.1"),
        ("neutral", Result.FAILED, "add ip4:192.0.2.1"),
        ("permerror", Result.FAILED, "mend the record"),
        ("temperror", Result.FAILED, "name server"),
    ],
)
def test_spf(result, expected, advice):
    row = spf_row("a.example", "192.0.2.1", SpfResult(result, "because"))
    assert (row.result, advice in row.advice) == (expected, True)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_the_key_in_dns_is_compared_to_the_one_that_signs(kind):
    key, other = new_key(kind), new_key("ed25519")
    record = key.record()

    def judge(*found):
        return dkim_judged("a.example", "s1", key, found).result

    assert judge(record) == Result.OK
    assert judge(record.replace("p=", "p= ").replace(";", " ; ")) == Result.OK
    assert judge(f"{record}; t=s:y") == Result.WARNING
    assert judge() == judge(other.record()) == judge("v=DKIM1; p=") == judge(record, record) == Result.FAILED
    assert record[-20:] in dkim_judged("a.example", "s1", key, []).advice.replace('" "', "")


def test_a_domain_is_signed_by_the_nearest_above_it_that_has_keys():
    settings = parse_settings({"dkim": {"a.example": [{"selector": "s", "key": {"file": "/k"}}], "no.a.example": []}})
    assert keys_of("sub.a.example", settings)[0] == "a.example"
    assert keys_of("no.a.example", settings) == ("no.a.example", ())
    assert keys_of("b.example", settings) == (None, ())


SECURED = Seen(name="mx", starttls=True, channel=Channel("TLSv1.3", "AES", "valid"), days_left=90)


def seen(certificate="valid", days_left=90, **fields):
    return Seen(name="mx", channel=Channel("TLSv1.3", "AES", certificate), days_left=days_left, **fields)


@pytest.mark.parametrize(
    ("mode", "shown", "expected"),
    [
        (TlsMode.NONE, SECURED, [Result.WARNING]),
        (TlsMode.ENABLE, Seen(name="mx"), [Result.WARNING]),
        (TlsMode.REQUIRE, Seen(name="mx"), [Result.FAILED]),
        (TlsMode.REQUIRE, Seen(name="mx", starttls=True, trouble="no"), [Result.FAILED]),
        (TlsMode.REQUIRE, SECURED, [Result.OK, Result.OK]),
    ],
)
def test_tls(mode, shown, expected):
    assert [row.result for row in tls_rows(TlsPolicy(mode, True), shown)] == expected


@pytest.mark.parametrize(
    ("shown", "verify", "expected"),
    [
        (seen(), True, Result.OK),
        (seen(days_left=13), True, Result.WARNING),
        (seen("not valid: it has expired", -1), True, Result.FAILED),
        (seen("not valid: it is not for mx"), False, Result.WARNING),
    ],
)
def test_certificates(shown, verify, expected):
    assert certificate_row(TlsPolicy(TlsMode.REQUIRE, verify), shown).result == expected


CREDENTIALS = Credentials(user="robot", password=SecretReference(env="P"))
LOGIN = Login(b"robot", b"hunter2", allow_plaintext=False)


@pytest.mark.parametrize(
    ("credentials", "login", "shown", "expected"),
    [
        (None, None, SECURED, Result.SKIPPED),
        (CREDENTIALS, own_verdict(451, "4.7.0", "it is not set"), SECURED, Result.FAILED),
        (CREDENTIALS, LOGIN, seen(mechanisms=frozenset({"PLAIN"})), Result.OK),
        (CREDENTIALS, LOGIN, seen(), Result.FAILED),
        (CREDENTIALS, LOGIN, Seen(name="mx", mechanisms=frozenset({"PLAIN"})), Result.FAILED),  # in plaintext
    ],
)
def test_signing_in(credentials, login, shown, expected):
    row = auth_row(credentials, login, shown)
    assert row.result == expected
    assert "hunter2" not in repr(row)


@pytest.mark.parametrize(
    ("tried", "expected", "says"),
    [
        (SignIn("PLAIN", Reply(235, "2.7.0", "in")), Result.OK, "signed in as robot by PLAIN"),
        (SignIn("PLAIN", Reply(535, "5.7.8", "no")), Result.FAILED, "PLAIN: 535 5.7.8 no"),
        (SignIn("PLAIN", Reply(454, "", "later")), Result.FAILED, "PLAIN: 454 later"),
        (SignIn("", own_verdict(451, "4.7.0", "it offers no AUTH")), Result.FAILED, "it offers no AUTH"),
    ],
)
def test_a_sign_in_that_was_tried(tried, expected, says):
    row = signed_in_row(CREDENTIALS, tried)
    assert (row.result, says in row.found) == (expected, True)


@pytest.mark.parametrize(
    ("credentials", "mode", "verify", "advice"),
    [
        (CREDENTIALS, TlsMode.ENABLE, False, ["set tls=require"]),
        (CREDENTIALS, TlsMode.REQUIRE, False, ["set verify=true"]),
        (CREDENTIALS, TlsMode.REQUIRE, True, []),
        (CREDENTIALS, TlsMode.NONE, False, []),  # the row on TLS says so
        (None, TlsMode.ENABLE, False, []),
    ],
)
def test_a_password_for_whoever_answers(credentials, mode, verify, advice):
    rows = password_rows(credentials, TlsPolicy(mode, verify))
    assert [row.advice.partition(",")[0] for row in rows] == advice
    assert all(row.result is Result.WARNING for row in rows)


@pytest.mark.parametrize(
    ("mode", "shown", "expected"),
    [
        (TlsMode.NONE, SECURED, [Result.WARNING]),
        (TlsMode.ENABLE, Seen(name="mx"), [Result.WARNING]),
        (TlsMode.REQUIRE, Seen(name="mx"), [Result.FAILED]),
        (TlsMode.ENABLE, SECURED, [Result.OK, Result.OK]),
        (TlsMode.REQUIRE, seen("not valid: it is not for mx", -1), [Result.OK, Result.OK]),  # of MX hosts any is taken
    ],
)
def test_tls_of_mx_hosts(mode, shown, expected):
    assert [row.result for row in mx_tls_rows(TlsPolicy(mode, False), shown)] == expected


def test_each_relay_is_looked_at_once():
    usual = {"host": "relay.example", "port": 587}
    routes = {
        "a.example": usual,  # the relay of relay mode
        "b.example": {"host": "b.example"},
        "c.example": {"host": "b.example"},
        "d.example": {"host": "b.example", "tls": "require"},
    }
    both = parse_settings({"relay": usual, "routes": routes})
    named = [(of, route.hosts[0].name, route.tls) for of, route in relays(both)]
    assert named == [
        ("", "relay.example", TlsMode.ENABLE),
        (" for b.example and 1 more", "b.example", TlsMode.ENABLE),
        (" for d.example", "b.example", TlsMode.REQUIRE),
    ]
    direct = parse_settings({"delivery": {"mode": "direct"}, "relay": usual, "routes": routes})
    assert [of for of, _ in relays(direct)] == [" for a.example", *(of for of, _, _ in named[1:])]


@pytest.mark.parametrize(
    ("error", "found", "advice"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused", "ask your network"),
        (smtplib.SMTPConnectError(554, b"no"), "(554, b'no')", "does not want mail"),
        (smtplib.SMTPServerDisconnected(), "it hangs up", "does not want mail"),
    ],
)
def test_port_25_that_takes_nothing(error, found, advice):
    said, what_to_do = refused(error)
    assert (said, advice in what_to_do) == (found, True)


@pytest.mark.parametrize(
    ("ahead_s", "expected"), [(0.5, Result.OK), (-1.9, Result.OK), (3, Result.FAILED), (-9, Result.FAILED)]
)
def test_clocks(ahead_s, expected):
    assert clock_row("it", ahead_s).result == expected
