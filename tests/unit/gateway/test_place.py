"""The environment of a gateway."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.gateway.place import CertificateFiles, ListenAt, read_place, warn_of_strangers
from shared.environment import InvalidEnvironment

SMTP = {"PILLARBOX_GATEWAY_SMTP": "127.0.0.1:587"}


def test_a_place_to_listen_is_all_that_must_be_set():
    place = read_place(SMTP)
    assert place.listen_at == (ListenAt(host="127.0.0.1", port=587, implicit_tls=False),)
    assert (place.certificate, place.accounts, place.networks, place.plaintext_on_loopback) == (None, None, (), False)
    assert place.name


def test_everything_may_be_set():
    place = read_place(
        {
            "PILLARBOX_GATEWAY_SMTP": "0.0.0.0:587, [::]:587,fd:7",
            "PILLARBOX_GATEWAY_SMTPS": "smtp.local:465",
            "PILLARBOX_GATEWAY_NAME": "smtp.example.org",
            "PILLARBOX_GATEWAY_CERTIFICATE": "/c.pem",
            "PILLARBOX_GATEWAY_KEY": "/k.pem",
            "PILLARBOX_ACCOUNTS": "/a.toml",
            "PILLARBOX_GATEWAY_NETWORKS": "10.1.0.0/16, 2001:db8::/32, 192.0.2.7",
            "PILLARBOX_GATEWAY_PLAINTEXT": "loopback",
        }
    )
    assert [(one.host, one.port, one.descriptor, one.implicit_tls) for one in place.listen_at] == [
        ("0.0.0.0", 587, None, False),
        ("::", 587, None, False),
        ("", 0, 7, False),
        ("smtp.local", 465, None, True),
    ]
    assert place.name == "smtp.example.org"
    assert place.certificate == CertificateFiles(Path("/c.pem"), Path("/k.pem"))
    assert place.accounts == Path("/a.toml")
    assert place.networks == tuple(map(ip_network, ("10.1.0.0/16", "2001:db8::/32", "192.0.2.7/32")))
    assert place.plaintext_on_loopback


@pytest.mark.parametrize(
    ("network", "known_as"),
    [
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.7.0/24", "private"),
        ("127.0.0.1", "private"),
        ("169.254.0.0/16", "private"),
        ("fc00::/7", "private"),
        ("::1", "private"),
        ("fe80::/10", "private"),
        ("192.0.2.0/24", "perhaps with strangers"),
        ("100.64.0.0/10", "perhaps with strangers"),  # of a provider and all its customers (RFC 6598)
        ("172.0.0.0/8", "perhaps with strangers"),  # not all of it is private
        ("17.0.0.0/8", "perhaps with strangers"),
        ("2001:db8::/32", "perhaps with strangers"),
        ("0.0.0.0/0", "the Internet"),
        ("::/0", "the Internet"),
        ("0.0.0.0/1", "the Internet"),
        ("128.0.0.0/1", "the Internet"),
        ("10.0.0.0/7", "the Internet"),  # more than the private one
        ("2000::/3", "the Internet"),
        ("2a00::/12", "the Internet"),  # all that Europe has
    ],
)
def test_a_network_is_taken_warned_of_or_refused_by_who_may_be_in_it(network: str, known_as: str):
    variables = {**SMTP, "PILLARBOX_GATEWAY_NETWORKS": f"127.0.0.0/8, {network}"}
    if known_as == "the Internet":
        with pytest.raises(
            InvalidEnvironment, match=rf"PILLARBOX_GATEWAY_NETWORKS: {network} has much of the Internet"
        ):
            read_place(variables)
        return
    with capture_logs() as said:
        warn_of_strangers(read_place(variables).networks)
    warned = [(line["event"], line["network"]) for line in said]
    assert warned == ([("network_not_private", str(ip_network(network)))] if known_as != "private" else [])


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "PILLARBOX_GATEWAY_SMTP, PILLARBOX_GATEWAY_SMTPS: one of them takes"),
        ({"PILLARBOX_GATEWAY_SMTP": "587"}, "PILLARBOX_GATEWAY_SMTP: got '587'; takes addresses with ports"),
        ({"PILLARBOX_GATEWAY_SMTP": "h:65536"}, "PILLARBOX_GATEWAY_SMTP: got 'h:65536'"),
        ({"PILLARBOX_GATEWAY_SMTP": "::1:25"}, "PILLARBOX_GATEWAY_SMTP: got '::1:25'"),
        ({"PILLARBOX_GATEWAY_SMTPS": "h:465"}, "PILLARBOX_GATEWAY_CERTIFICATE: is not set"),
        ({**SMTP, "PILLARBOX_GATEWAY_KEY": "/k"}, "PILLARBOX_GATEWAY_KEY: goes with PILLARBOX_GATEWAY_CERTIFICATE"),
        ({**SMTP, "PILLARBOX_GATEWAY_NAME": "a b"}, "PILLARBOX_GATEWAY_NAME: got 'a b'"),
        (
            {**SMTP, "PILLARBOX_GATEWAY_NETWORKS": "10.1.0.1/16"},
            "PILLARBOX_GATEWAY_NETWORKS: 10.1.0.1/16 has host bits",
        ),
        ({**SMTP, "PILLARBOX_GATEWAY_NETWORKS": "lan"}, "PILLARBOX_GATEWAY_NETWORKS: 'lan'"),
        ({**SMTP, "PILLARBOX_GATEWAY_PLAINTEXT": "yes"}, "PILLARBOX_GATEWAY_PLAINTEXT: got 'yes'; takes loopback"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_the_variable(variables: dict[str, str], says: str):
    with pytest.raises(InvalidEnvironment) as refused:
        read_place(variables)
    assert says in str(refused.value)
