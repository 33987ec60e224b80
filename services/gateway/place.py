"""What a gateway is told by its environment: where it listens, how it is called, and who may come in."""

import os
import re
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import msgspec
import structlog

from shared.environment import InvalidEnvironment

log = structlog.get_logger()

_LISTEN_TAKES = "takes addresses with ports, such as 0.0.0.0:587, [::1]:587, or fd:3 for a socket that listens already"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):(\d{1,5})")
_DESCRIPTOR = re.compile(r"fd:(\d{1,9})")

Network = IPv4Network | IPv6Network

# No stranger has an address in these: RFC 1918, 1122 section 3.2.1.3, 3927; RFC 4193, 4291 sections 2.5.3 and 2.5.6.
_PRIVATE = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "::1/128",
         "fe80::/10"),
    )
)  # fmt: skip
# By version of IP, bits of the largest networks that anybody has to himself: what is larger is a part of the Internet.
_LARGEST = {4: 8, 6: 16}


class ListenAt(msgspec.Struct, frozen=True, kw_only=True):
    """A place to listen: an address and its port, or a socket that whoever started us has opened."""

    host: str = ""
    port: int = 0
    descriptor: int | None = None
    implicit_tls: bool  # TLS from the first octet; else STARTTLS


class CertificateFiles(msgspec.Struct, frozen=True):
    """The gateway's certificate with its chain, and its key (PEM)."""

    certificate: Path
    key: Path


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's environment beyond a worker's."""

    listen_at: tuple[ListenAt, ...]
    name: str  # said in the greeting and in Received headers
    certificate: CertificateFiles | None
    accounts: Path | None  # None: nobody can sign in
    networks: tuple[Network, ...]  # whoever is in one of them need not sign in
    plaintext_on_loopback: bool  # there one may sign in without TLS


def read_place(variables: Mapping[str, str] = os.environ) -> Place:
    """Read the variables of a gateway. Raises InvalidEnvironment that names the variable and says what to do."""
    listen_at = (
        *_listen_at(variables, "PILLARBOX_GATEWAY_SMTP", implicit_tls=False),
        *_listen_at(variables, "PILLARBOX_GATEWAY_SMTPS", implicit_tls=True),
    )
    if not listen_at:
        raise InvalidEnvironment(f"PILLARBOX_GATEWAY_SMTP, PILLARBOX_GATEWAY_SMTPS: one of them {_LISTEN_TAKES}")
    certificate = _certificate(variables)
    if certificate is None and any(one.implicit_tls for one in listen_at):
        raise InvalidEnvironment("PILLARBOX_GATEWAY_CERTIFICATE: is not set; PILLARBOX_GATEWAY_SMTPS needs it")
    accounts = variables.get("PILLARBOX_ACCOUNTS", "")
    return Place(
        listen_at=listen_at,
        name=_name(variables),
        certificate=certificate,
        accounts=Path(accounts) if accounts else None,
        networks=_networks(variables),
        plaintext_on_loopback=_plaintext(variables),
    )


def _listen_at(variables: Mapping[str, str], name: str, *, implicit_tls: bool) -> list[ListenAt]:
    texts = [text.strip() for text in variables.get(name, "").split(",")]
    return [_one(name, text, implicit_tls) for text in texts if text]


def _one(name: str, text: str, implicit_tls: bool) -> ListenAt:
    if inherited := _DESCRIPTOR.fullmatch(text):
        return ListenAt(descriptor=int(inherited.group(1)), implicit_tls=implicit_tls)
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found.group(3)) > 65535:
        raise InvalidEnvironment(f"{name}: got {text!r}; {_LISTEN_TAKES}")
    return ListenAt(host=found.group(1) or found.group(2), port=int(found.group(3)), implicit_tls=implicit_tls)


def _certificate(variables: Mapping[str, str]) -> CertificateFiles | None:
    certificate, key = variables.get("PILLARBOX_GATEWAY_CERTIFICATE", ""), variables.get("PILLARBOX_GATEWAY_KEY", "")
    if not certificate:
        if key:
            raise InvalidEnvironment("PILLARBOX_GATEWAY_KEY: goes with PILLARBOX_GATEWAY_CERTIFICATE, which is not set")
        return None
    return CertificateFiles(Path(certificate), Path(key or certificate))


def _name(variables: Mapping[str, str]) -> str:
    name = variables.get("PILLARBOX_GATEWAY_NAME") or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", name):
        raise InvalidEnvironment(f"PILLARBOX_GATEWAY_NAME: got {name!r}; takes a name such as smtp.example.org")
    return name


def _networks(variables: Mapping[str, str]) -> tuple[Network, ...]:
    texts = [text.strip() for text in variables.get("PILLARBOX_GATEWAY_NETWORKS", "").split(",")]
    try:
        networks = tuple(ip_network(text) for text in texts if text)
    except ValueError as error:
        raise InvalidEnvironment(
            f"PILLARBOX_GATEWAY_NETWORKS: {error}; takes networks such as 10.1.0.0/16, 192.0.2.7, 2001:db8::/32"
        ) from error
    for network in networks:
        if network.prefixlen < _LARGEST[network.version] and not _is_private(network):
            raise InvalidEnvironment(
                f"PILLARBOX_GATEWAY_NETWORKS: {network} has much of the Internet in it, which could send in anybody's "
                f"name (an open relay); takes networks of your own, of /{_LARGEST[network.version]} or "
                "smaller, and accounts for all others"
            )
    return networks


def _is_private(network: Network) -> bool:
    return any(network[0] in whole and network[-1] in whole for whole in _PRIVATE)


def warn_of_strangers(networks: Iterable[Network]) -> None:
    """Say which of the networks may have others in them than us."""
    for network in networks:
        if not _is_private(network):
            log.warning(
                "network_not_private",
                network=str(network),
                addresses=network.num_addresses,
                next="whoever_is_in_it_may_send_in_anybodys_name",
            )


def _plaintext(variables: Mapping[str, str]) -> bool:
    where = variables.get("PILLARBOX_GATEWAY_PLAINTEXT", "")
    if where not in ("", "loopback"):
        raise InvalidEnvironment(
            f"PILLARBOX_GATEWAY_PLAINTEXT: got {where!r}; takes loopback, for clients on this machine to sign in "
            "without TLS, or nothing"
        )
    return bool(where)
