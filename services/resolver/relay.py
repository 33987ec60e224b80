"""Routes that the settings state: a relay for everything, or for one recipient domain. Pure, without DNS."""

from hashlib import blake2b

import msgspec

from shared.contracts import Credentials, Host, Route, TlsMode
from shared.settings import RelayRoute, Settings


def relay_route(domain: str, settings: Settings, revision: int) -> Route | None:
    """The relay for a recipient domain (lower case, A-labels), or None: straight to its MX hosts.

    A domain's own relay comes first, in either mode. Its hosts' addresses are the sender's to find, from the
    system's resolver: a relay is often known on the local network only.
    """
    own = settings.routes.get(domain)
    if own is not None:
        return _route(_site_of(own, settings), own.host, own.port, own.tls or settings.tls, own.auth, revision)
    if settings.delivery.mode == "relay":
        relay = settings.relay
        return _route(_plain_site(relay.host, relay.port), relay.host, relay.port, settings.tls, relay.auth, revision)
    return None


def _route(site: str, host: str, port: int, tls: TlsMode, credentials: Credentials | None, revision: int) -> Route:
    # "[2001:db8::1]" is the address itself: nobody need look it up (RFC 6409: a relay's name is never an MX name).
    address = host[1:-1] if host[0] == "[" else ""
    hosts = (Host(address, port, (address,)) if address else Host(host, port),)
    return Route(site, hosts, tls, credentials, revision)


def _plain_site(host: str, port: int) -> str:
    return f"relay:{host.lower()}:{port}"


def _site_of(own: RelayRoute, settings: Settings) -> str:
    """`relay:<host>:<port>`, with a hash where the domain's relay is entered otherwise than that site would be.

    A sender keeps one connection per site: what is signed in or secured differently must not share it.
    """
    site = _plain_site(own.host, own.port)
    entered = (own.tls or settings.tls, own.auth)
    if entered == (settings.tls, _usual_credentials(site, settings)):
        return site
    return f"{site}#{blake2b(msgspec.msgpack.encode(entered), digest_size=4).hexdigest()}"


def _usual_credentials(site: str, settings: Settings) -> Credentials | None:
    return settings.relay.auth if site == _plain_site(settings.relay.host, settings.relay.port) else None
