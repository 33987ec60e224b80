"""What each mode asks of a connection."""

import ssl

import pytest

from services.sender.tls import TlsPolicy, context_of, is_implicit, plaintext, policy_of
from shared.contracts.work import Host, Route, TlsMode

RELAY, MX = "relay:mail.example:25", "mx:mx1.example,mx2.example"
NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE


@pytest.mark.parametrize(
    ("site", "mode", "verify", "verified"),
    [
        (RELAY, REQUIRE, True, True),
        (RELAY, REQUIRE, False, False),
        (RELAY, ENABLE, True, False),
        (RELAY, NONE, True, False),
        (MX, REQUIRE, True, False),
        (MX, ENABLE, True, False),
    ],
)
def test_only_a_relay_that_must_be_secure_is_verified(site, mode, verify, verified):
    policy = policy_of(Route(site, (Host("mail.example", 25),), mode, None, 1, verify, "/ca.pem"))
    assert policy == TlsPolicy(mode, verified, "/ca.pem")


@pytest.mark.checklist(130)
@pytest.mark.parametrize(
    ("mode", "port", "set_so", "implicit"),
    [
        (NONE, 465, False, False),
        (ENABLE, 465, False, True),
        (REQUIRE, 465, False, True),
        (ENABLE, 25, False, False),
        (REQUIRE, 587, False, False),
        (ENABLE, 2465, True, True),
        (REQUIRE, 2465, True, True),
        (NONE, 2465, True, False),
    ],
)
def test_port_465_or_one_set_so_speaks_tls_at_once_unless_there_is_none(mode, port, set_so, implicit):
    route = Route(RELAY, (Host("mail.example", port),), mode, None, 1, implicit_tls=set_so)
    assert is_implicit(policy_of(route), port) is implicit


def test_the_fallback_is_plaintext():
    assert plaintext(TlsPolicy(ENABLE, verify=False)).mode is NONE


@pytest.mark.checklist(128)
@pytest.mark.parametrize(
    ("policy", "mode", "names"),
    [
        (TlsPolicy(REQUIRE, verify=True), ssl.CERT_REQUIRED, True),
        (TlsPolicy(REQUIRE, verify=False), ssl.CERT_NONE, False),
        (TlsPolicy(ENABLE, verify=False), ssl.CERT_NONE, False),
    ],
)
def test_every_context_takes_tls_1_2_and_above(policy, mode, names):
    context = context_of(policy)
    assert (context.verify_mode, context.check_hostname) == (mode, names)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_only_where_plaintext_would_be_the_other_choice_are_weak_ciphers_taken():
    weak = "AES128-SHA"  # no forward secrecy
    taken = {
        mode: weak in {cipher["name"] for cipher in context_of(TlsPolicy(mode, verify=False)).get_ciphers()}
        for mode in (ENABLE, REQUIRE)
    }
    assert taken == {ENABLE: True, REQUIRE: False}


def test_authorities_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        context_of(TlsPolicy(REQUIRE, verify=True, ca_file=str(tmp_path / "none.pem")))


def test_a_changed_file_of_authorities_is_read_anew(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificates")
    with pytest.raises(ssl.SSLError):
        context_of(TlsPolicy(REQUIRE, verify=True, ca_file=str(file)))
