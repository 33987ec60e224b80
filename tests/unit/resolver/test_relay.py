"""Routes that the settings state."""

import pytest

from services.resolver.relay import relay_route
from shared.contracts.work import Credentials, Host, Route, TlsMode
from shared.settings import parse_settings

AUTH = {"user": "robot", "password": {"env": "SECRET"}}


def settings_of(**document):
    return parse_settings(document)


@pytest.mark.checklist(26)
def test_in_relay_mode_every_domain_goes_to_the_relay():
    settings = settings_of(tls="require", relay={"host": "mail.example.org", "port": 587, "auth": AUTH})
    assert relay_route("a.example", settings, 7) == Route(
        site="relay:mail.example.org:587",
        hosts=(Host("mail.example.org", 587),),  # no addresses: the sender asks the system
        tls=TlsMode.REQUIRE,
        credentials=settings.relay.auth,
        revision=7,
    )


def test_how_a_certificate_is_judged_goes_with_the_route():
    judged = {"verify": False, "ca_file": "/etc/own.pem"}
    settings = settings_of(relay={"host": "a", **judged}, routes={"own.example": {"host": "b", **judged}})
    for domain in ("a.example", "own.example"):
        route = relay_route(domain, settings, 1)
        assert route is not None
        assert (route.verify, route.ca_file) == (False, "/etc/own.pem")


def test_in_direct_mode_a_domain_has_no_relay():
    assert relay_route("a.example", settings_of(delivery={"mode": "direct"}), 1) is None


@pytest.mark.parametrize("mode", ["relay", "direct"])
@pytest.mark.parametrize(
    ("domain", "has_its_own"),
    [
        ("partner.example", True),
        ("sub.partner.example", False),  # exactly the domain
        ("example", False),
    ],
)
def test_a_domains_own_relay_comes_first_in_either_mode(mode, domain, has_its_own):
    routes = {"partner.example": {"host": "in.partner.example", "port": 2525}}
    route = relay_route(domain, settings_of(delivery={"mode": mode}, routes=routes), 1)
    site = route.site if route else None
    assert site == ("relay:in.partner.example:2525" if has_its_own else {"relay": "relay:localhost:25"}.get(mode))


@pytest.mark.checklist(26)
@pytest.mark.parametrize(
    ("host", "expected", "site"),
    [
        ("[192.0.2.1]", Host("192.0.2.1", 25, ("192.0.2.1",)), "relay:[192.0.2.1]:25"),
        ("[2001:db8::1]", Host("2001:db8::1", 25, ("2001:db8::1",)), "relay:[2001:db8::1]:25"),
        ("192.0.2.1", Host("192.0.2.1", 25), "relay:192.0.2.1:25"),
        ("Mail.Example.ORG", Host("Mail.Example.ORG", 25), "relay:mail.example.org:25"),
    ],
)
def test_an_address_in_brackets_is_the_address_itself(host, expected, site):
    route = relay_route("a.example", settings_of(relay={"host": host}), 1)
    assert route is not None
    assert (route.hosts, route.site) == ((expected,), site)


@pytest.mark.parametrize(
    ("own", "credentials", "tls"),
    [
        ({}, None, TlsMode.ENABLE),  # the main relay's password is for the main relay
        ({"tls": "none"}, None, TlsMode.NONE),
        ({"auth": AUTH}, Credentials, TlsMode.ENABLE),
    ],
)
def test_a_domains_relay_has_its_own_credentials_and_else_the_common_tls(own, credentials, tls):
    settings = settings_of(relay={"host": "main.example", "auth": AUTH}, routes={"p.example": {"host": "in", **own}})
    route = relay_route("p.example", settings, 1)
    assert route is not None
    assert route.tls is tls
    assert isinstance(route.credentials, credentials) if credentials else route.credentials is None


def sites(first, second, **others):
    settings = settings_of(
        routes={"a.example": {"host": "in", **first}, "b.example": {"host": "in", **second}}, **others
    )
    routes = [relay_route(domain, settings, 1) for domain in ("a.example", "b.example")]
    return [route.site for route in routes if route]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({}, {"port": 26}, False),
        ({"auth": AUTH}, {"auth": AUTH}, True),
        ({"auth": AUTH}, {"auth": {**AUTH, "user": "other"}}, False),
        ({"auth": AUTH}, {}, False),
        ({"tls": "require"}, {"tls": "none"}, False),
        ({"implicit_tls": True}, {}, False),
        ({"tls": "enable"}, {}, True),  # what `tls` says anyway
    ],
)
def test_relays_share_a_site_when_they_are_entered_alike(first, second, same):
    one, other = sites(first, second)
    assert (one == other) is same
    assert one.startswith("relay:in:25")


def test_a_domains_relay_does_not_share_the_connection_that_the_main_relays_user_signed_in_on():
    main = {"relay": {"host": "in", "auth": AUTH}}
    without, with_it = sites({}, {"auth": AUTH}, **main)
    assert with_it == "relay:in:25"
    assert without != with_it
