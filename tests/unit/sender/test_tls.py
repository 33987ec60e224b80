"""What each mode asks of a connection. Items are those of the outbound SMTP checklist, section J."""

import ssl

import pytest

from services.sender.tls import TlsPolicy, context_of, is_implicit, plaintext, policy_of
from shared.contracts import Host, Route, TlsMode

RELAY, MX = "relay:mail.example:25", "mx:mx1.example,mx2.example"
NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE


@pytest.mark.parametrize(
    ("site", "mode", "verify", "verified"),
    [
        (RELAY, REQUIRE, True, True),
        (RELAY, REQUIRE, False, False),
        (RELAY, ENABLE, True, False),  # item 123
        (RELAY, NONE, True, False),
        (MX, REQUIRE, True, False),
        (MX, ENABLE, True, False),
    ],
)
def test_only_a_relay_that_must_be_secure_is_verified(site, mode, verify, verified):
    policy = policy_of(Route(site, (Host("mail.example", 25),), mode, None, 1, verify, "/ca.pem"))
    assert policy == TlsPolicy(mode, verified, "/ca.pem" if verified else "")


@pytest.mark.parametrize(
    ("mode", "port", "implicit"),
    [(NONE, 465, False), (ENABLE, 465, True), (REQUIRE, 465, True), (ENABLE, 25, False), (REQUIRE, 587, False)],
)
def test_port_465_speaks_tls_at_once_unless_there_is_none(mode, port, implicit):  # item 130
    assert is_implicit(TlsPolicy(mode, verify=False), port) is implicit


def test_the_fallback_is_plaintext():
    assert plaintext(TlsPolicy(ENABLE, verify=False)).mode is NONE


@pytest.mark.parametrize(("verify", "mode", "names"), [(True, ssl.CERT_REQUIRED, True), (False, ssl.CERT_NONE, False)])
def test_contexts(verify, mode, names):  # item 128
    context = context_of(TlsPolicy(REQUIRE, verify))
    assert (context.verify_mode, context.check_hostname) == (mode, names)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_authorities_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        context_of(TlsPolicy(REQUIRE, verify=True, ca_file=str(tmp_path / "none.pem")))


def test_a_changed_file_of_authorities_is_read_anew(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificates")
    with pytest.raises(ssl.SSLError):
        context_of(TlsPolicy(REQUIRE, verify=True, ca_file=str(file)))
