"""The settings document: what is taken, and how a refusal reads."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.work import TlsMode
from shared.refusals import Invalid
from shared.settings import (
    Settings,
    change,
    interval_of,
    limit_of,
    may_pipeline,
    parse_document,
    parse_settings,
    parse_toml,
    to_document,
    to_toml,
)
from shared.topology import LANES


def test_an_empty_document_is_all_defaults():
    assert parse_settings({}) == Settings()


@pytest.mark.checklist(145)
def test_mail_is_tried_for_five_days_and_a_report_for_less():
    retry = Settings().retry
    assert timedelta(days=4) <= retry.give_up
    assert retry.give_up_dsn < retry.give_up


def test_people_write_toml_and_get_it_back():
    settings = parse_settings(
        parse_toml(
            """
            tls = "require"
            [sending]
            hold = "90s"
            [relay]
            host = "mail.example.org"
            port = 587
            auth = { user = "robot", password = { env = "RELAY_PASSWORD" } }
            """
        )
    )
    assert settings.tls is TlsMode.REQUIRE
    assert settings.sending.hold == timedelta(seconds=90)
    assert parse_settings(parse_toml(to_toml(settings))) == settings


@pytest.mark.parametrize(
    ("document", "field", "says"),
    [
        ({"sending": {"hold": "soon"}}, "sending.hold", ['got "soon"', 'takes a duration such as "90s"']),
        ({"sending": {"max_per_connection": 0}}, "sending.max_per_connection", ["got 0", "takes a whole number >= 1"]),
        ({"sending": {"max_per_connection": "9"}}, "sending.max_per_connection", ['got "9"', "takes a whole number"]),
        ({"sending": {"max_per_conection": 9}}, "sending.max_per_conection", ["did you mean max_per_connection?"]),
        ({"sendin": {}}, "sendin", ["did you mean sending?"]),
        ({"frobnicate": 1}, "frobnicate", ["known are tls, events"]),
        ({"tls": "maybe"}, "tls", ['got "maybe"', "none of the values"]),
        ({"delivery": {"mode": "pigeon"}}, "delivery.mode", ['got "pigeon"']),
        ({"relay": {"host": "a b"}}, "relay.host", ['got "a b"']),
        pytest.param({"relay": {"host": "mx.example:587"}}, "relay.host", ["got"], marks=pytest.mark.checklist(26)),
        pytest.param({"relay": {"host": "bücher.example"}}, "relay.host", ["got"], marks=pytest.mark.checklist(24)),
        ({"relay": {"port": 70000}}, "relay.port", ["got 70000", "<= 65535"]),
        ({"relay": {"auth": {"user": "u"}}}, "relay.auth.password", ["missing"]),
        ({"relay": {"auth": {"user": "u", "password": {}}}}, "relay.auth.password", ["one of them"]),
        ({"relay": {"auth": {"user": "u", "password": {"env": "A", "file": "b"}}}}, "relay.auth.password",
         ["one of them"]),
        ({"relay": {"auth": {"user": "u", "token": {"command": "../../bin/sh"}}}}, "relay.auth.token.command",
         ['got "../../bin/sh"']),
        ({"relay": {"auth": {"user": "u", "token": {"command": ".."}}}}, "relay.auth.token.command", ['got ".."']),
        ({"relay": {"auth": {"user": "u", "password": {"env": "A"}, "mechanisms": ["XOAUTH2"]}}}, "relay.auth.token",
         ["is missing"]),
        ({"relay": {"auth": {"user": "u", "token": {"env": "A"}, "mechanisms": ["XOAUTH2", "PLAIN"]}}},
         "relay.auth.password", ["is missing"]),
        ({"relay": {"auth": {"user": "u", "password": {"env": "A"}, "mechanisms": ["NTLM"]}}},
         "relay.auth.mechanisms[0]", ['got "NTLM"']),
        ({"relay": {"auth": {"user": "u\0v", "password": {"env": "A"}}}}, "relay.auth.user", ["control character"]),
        ({"relay": {"auth": {"user": "", "password": {"env": "A"}}}}, "relay.auth.user", ["takes"]),
        ({"fallback": {"starttls_454": "bounce"}}, "fallback.starttls_454", ['got "bounce"']),
        ({"routes": {"a.example": {"host": "ok"}, "b.example": {"host": "ok", "port": "x"}}},
         'routes."b.example".port', ['got "x"', "takes a whole number"]),
        ({"identity": {"reply_to": "nobody"}}, "identity.reply_to", ["is no e-mail address"]),
        ({"identity": {"reply_to": "a@b@c.example"}}, "identity.reply_to", ["is no e-mail address"]),
        ({"identity": {"reply_to": "a@b.example\nBcc: c@d.example"}}, "identity.reply_to", ["control character"]),
        ({"identity": {"sender_name": "a\nb"}}, "identity.sender_name", ["control character"]),
        ({"identity": {"sender_name": "a\u2028b"}}, "identity.sender_name", ["control character"]),
        ({"identity": {"postmaster": "nobody"}}, "identity.postmaster", ["is no e-mail address"]),
        ({"identity": {"postmaster": "grün@a.example"}}, "identity.postmaster", ["letters of ASCII"]),
        ({"identity": {"reporting_mta": "a b"}}, "identity.reporting_mta", ['got "a b"']),
        ({"bounces": "never"}, "bounces", ['got "never"']),
        ({"identity": {"helo_name": "mx.example\n"}}, "identity.helo_name", ["got"]),
        ({"relay": {"host": "mx.example\n"}}, "relay.host", ["got"]),
        ({"sending": {"hold": 10**400}}, "sending.hold", ["takes a duration"]),
        ({"retry": {"schedule": [["5m"]]}}, "retry.schedule[0]", ["takes a duration"]),
        ({"limits": {"sites": {"a.example": {"connections": 1}, "b.example": {"connections": 0}}}},
         'limits.sites."b.example".connections', ["got 0"]),
        ({"identity": {"helo_name": "under_score"}}, "identity.helo_name", ['got "under_score"']),
        ({"retry": {"schedule": ["5m", "x"]}}, "retry.schedule[1]", ['got "x"', "takes a duration"]),
        ({"events": ["delivred"]}, "events[0]", ['got "delivred"']),
        ({"routes": {"A.example": {"host": "ok"}}}, 'routes."A.example"', ["in lower case"]),
        ({"limits": {"sites": {"MX.example": {"connections": 1}}}}, 'limits.sites."MX.example"', ["in lower case"]),
        ({"dkim": {"A.example": []}}, 'dkim."A.example"', ["in lower case"]),
        ({"dkim": {"[192.0.2.1]": []}}, 'dkim."[192.0.2.1]"', ["domain name"]),
        ({"dkim": {"a.example": {"selector": "s"}}}, 'dkim."a.example"', ["takes a list"]),
        ({"dkim": {"a.example": [{"selector": "s_1", "key": {"file": "k"}}]}},
         'dkim."a.example"[0].selector', ['got "s_1"']),
        ({"dkim": {"a.example": [], "b.example": [{"selector": "s", "kay": {}}]}},
         'dkim."b.example"[0].kay', ["did you mean key?"]),
        ({"dkim": {"a.example": [{"selector": "s"}]}}, 'dkim."a.example"[0].key', ["missing"]),
        ({"dkim": {"a.example": [{"selector": "s", "key": {}}]}}, 'dkim."a.example"[0].key', ["one of the two"]),
        ({"dkim": {"a.example": [{"selector": "s", "key": {"file": "k"}}, {"selector": "S", "key": {"file": "l"}}]}},
         'dkim."a.example"[1].selector', ["given twice"]),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_what_it_got_and_what_it_takes(document, field, says):
    with pytest.raises(Invalid) as refused:
        parse_settings(document)
    assert refused.value.field == field
    for words in says:
        assert words in refused.value.reason


@pytest.mark.checklist(142)
@pytest.mark.parametrize("secret", ["password", "token"])
@pytest.mark.parametrize("group", ["relay", "routes"])
def test_a_plain_secret_is_refused_and_not_repeated(group, secret):
    auth = {"user": "u", secret: "hunter2"}
    document = {"relay": {"auth": auth}} if group == "relay" else {"routes": {"a.example": {"host": "m", "auth": auth}}}
    with pytest.raises(Invalid, match="takes a reference") as refused:
        parse_settings(document)
    assert refused.value.field.endswith(f"auth.{secret}")
    assert "hunter2" not in str(refused.value)


def test_a_plain_private_key_is_refused_and_not_repeated():
    with pytest.raises(Invalid, match="takes a reference") as refused:
        parse_settings({"dkim": {"a.example": [{"selector": "s", "key": "-----BEGIN hunter2"}]}})
    assert refused.value.field == 'dkim."a.example"[0].key'
    assert "hunter2" not in str(refused.value)


def test_keys_are_written_by_domain():
    document = """
        [[dkim."shop.example"]]
        selector = "p2026"
        key = { file = "/run/secrets/dkim" }
        [[dkim."shop.example"]]
        selector = "e2026"
        key = { env = "DKIM" }
    """
    settings = parse_settings(parse_toml(document))
    assert [key.selector for key in settings.dkim["shop.example"]] == ["p2026", "e2026"]
    assert parse_settings(parse_toml(to_toml(settings))) == settings


@pytest.mark.parametrize(
    "auth",
    [
        {"user": "u", "password": {"env": "A"}, "mechanisms": ["CRAM-MD5", "PLAIN"]},
        {"user": "u", "token": {"command": "gmail-token"}, "mechanisms": ["XOAUTH2"]},
        {"user": "u", "token": {"file": "/run/token"}, "password": {"env": "A"}, "mechanisms": ["XOAUTH2", "PLAIN"]},
    ],
)
def test_ways_to_sign_in_that_fit_the_secrets(auth):
    assert to_document(parse_settings({"relay": {"auth": auth}}))["relay"]["auth"] == {**auth, "allow_plaintext": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"settings": 3}',
        b'{"setings": {}}',
        b"\xff",
        b'{"settings": 3, <rubbish',
        b'{"author": "\xff"}',
        b'{"settings": ' + b"[" * 99999,
        b'{"settings": {}, "author": "\\u0000"}',
        b'{"settings": {}, "comment": "a\\u0000"}',
        b'{"settings": {}, "restores": 2147483648}',
        b'{"settings": {}, "revision": -1}',
    ],
)
def test_a_message_that_is_no_document_is_refused(body):
    with pytest.raises(Invalid):
        parse_document(body)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sending.hold", "10m", {"sending": {"hold": "10m", "max_size": 5000}}),
        ("sending.max_per_connection", "7", {"sending": {"max_per_connection": 7, "max_size": 5000}}),
        ("sending.max_size", "", {"sending": {}}),
        ('routes."a.example".host', "mx.a.example",
         {"sending": {"max_size": 5000}, "routes": {"a.example": {"host": "mx.a.example"}}}),
        ("events", '["delivered"]', {"sending": {"max_size": 5000}, "events": ["delivered"]}),
        ("tls", "none", {"sending": {"max_size": 5000}, "tls": "none"}),
    ],
)  # fmt: skip
def test_one_field_is_changed_by_its_dotted_name(key, value, expected):
    before = {"sending": {"max_size": 5000}}
    assert change(before, key, value) == expected
    assert before == {"sending": {"max_size": 5000}}


def test_every_field_is_in_the_written_document():
    document = to_document(Settings())
    assert document["sending"]["hold"] == "5m"
    assert document["retry"]["schedule"] == ["5m", "10m", "20m", "40m", "1h20m", "2h30m"]
    assert "auth" not in document["relay"]


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("names", "now", "expected"),
    [
        (["other.example"], NOW, None),
        (["mx1.example", "example"], NOW, 2),
        (["mx1.example"], NOW + timedelta(hours=1), None),  # the override has ended by itself
    ],
)
def test_a_site_may_have_its_own_limit_for_a_time(names, now, expected):
    settings = parse_settings(
        {"limits": {"sites": {"mx1.example": {"connections": 2, "until": (NOW + timedelta(hours=1)).isoformat()}}}}
    )
    assert limit_of(settings, names, now) == expected


@pytest.mark.checklist(106)
@pytest.mark.parametrize(
    ("host", "now", "expected"),
    [
        ("other.example", NOW, True),
        ("mx1.example", NOW, False),
        ("MX1.example", NOW, False),
        ("mx1.example", NOW + timedelta(hours=1), True),  # the override has ended by itself
        ("mx2.example", NOW, True),
    ],
)
def test_a_host_may_do_without_pipelining(host, now, expected):
    until = (NOW + timedelta(hours=1)).isoformat()
    sites = {"mx1.example": {"pipelining": False, "until": until}, "mx2.example": {"connections": 1}}
    settings = parse_settings({"limits": {"sites": sites}})
    assert may_pipeline(settings, host, now) is expected
    assert limit_of(settings, ["mx1.example"], NOW) is None  # what it does not say is as for all


@pytest.mark.parametrize(
    ("rate", "expected"), [("10/s", 0.1), ("600/h", 6.0), ("1/d", 86400.0), ("120/m", 0.5), ("99999/s", 1e-5)]
)
def test_a_rate_is_the_time_from_one_mail_to_the_next(rate, expected):
    assert interval_of(rate).total_seconds() == pytest.approx(expected)


@pytest.mark.parametrize("rate", ["0/s", "10", "10/", "/s", "10/w", "1.5/s", "-1/s", "10/s\n", "100000/s", 10, ""])
def test_what_is_no_rate_is_refused_by_its_name(rate):
    with pytest.raises(Invalid) as refused:
        parse_settings({"limits": {"sites": {"mx1.example": {"rate": rate}}}})
    assert refused.value.field == 'limits.sites."mx1.example".rate'


@pytest.mark.checklist(80, 81, 82, 83, 84, 85, 88)
def test_the_time_a_server_may_take_is_that_of_the_rfc_and_can_be_set():
    usual = parse_settings({}).timeouts
    minutes = {name: getattr(usual, name) / timedelta(minutes=1) for name in usual.__struct_fields__}
    rfc = {"greeting": 5, "mail": 5, "recipient": 5, "data": 2, "block": 3, "final_dot": 10}  # section 4.5.3.2
    assert {name: minutes[name] for name in rfc} == rfc
    for name in usual.__struct_fields__:
        changed = parse_settings({"timeouts": {name: "7s"}}).timeouts
        assert getattr(changed, name) == timedelta(seconds=7)
        with pytest.raises(Invalid, match=rf"timeouts\.{name}.*more than 0"):
            parse_settings({"timeouts": {name: 0}})


def test_a_limit_is_at_most_one_connection_per_lane():
    assert parse_settings({"limits": {"connections": LANES}}).limits.connections == LANES
    with pytest.raises(Invalid):
        parse_settings({"limits": {"connections": LANES + 1}})


@pytest.mark.checklist(33)
@pytest.mark.parametrize("field", ["helo_name", "helo_fallback"])
@pytest.mark.parametrize(
    "name", ["localhost", "robot", "mx.localhost", "192.0.2.1", "[192.0.2.300]", "[IPv6:192.0.2.1]", "mx_1.example"]
)
def test_a_name_that_may_not_be_said_in_ehlo_is_refused(field, name):
    with pytest.raises(Invalid) as refused:
        parse_settings({"identity": {field: name}})
    assert refused.value.field == f"identity.{field}"


@pytest.mark.checklist(28)
@pytest.mark.parametrize("name", ["auto", "mail.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_a_name_or_an_address_literal_may_be_said_in_ehlo(name):
    assert parse_settings({"identity": {"helo_name": name}}).identity.helo_name == name


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("idle", 0, "takes a duration of more than 0"),
        ("recipients", 99, "takes a whole number >= 100"),  # RFC 5321 section 4.5.3.1.8
        ("recipients", 10_001, "takes a whole number <= 10000"),  # no more than the scheduler takes
        ("connections", 0, "takes a whole number >= 1"),
    ],
)
def test_a_gateway_takes_something_from_everybody(field: str, value: int, says: str):
    with pytest.raises(Invalid) as refused:
        parse_settings({"gateway": {field: value}})
    assert refused.value.field == f"gateway.{field}"
    assert says in refused.value.reason
