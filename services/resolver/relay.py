"""Routes that the settings state: a relay for everything, or for one recipient domain. Pure, without DNS."""

from hashlib import blake2b

import msgspec

from shared.contracts.work import Host, Route
from shared.settings import RelayRoute, Settings


def relay_route(domain: str, settings: Settings, revision: int) -> Route | None:
    """The relay for a recipient domain (lower case, A-labels), or None: straight to its MX hosts.

    A domain's own relay comes first, in either mode. Its hosts' addresses are the sender's to find, from the
    system's resolver: a relay is often known on the local network only.
    """
    own = settings.routes.get(domain)
    if own is not None:
        own = msgspec.structs.replace(own, tls=own.tls or settings.tls)
        return _route(_site_of(own, settings), own, revision)
    if settings.delivery.mode == "relay":
        usual = _usual(settings)
        return _route(_plain_site(usual), usual, revision)
    return None


def _usual(settings: Settings) -> RelayRoute:
    """The relay for everything, in the form of one for a domain."""
    relay = settings.relay
    return RelayRoute(
        host=relay.host,
        port=relay.port,
        auth=relay.auth,
        tls=settings.tls,
        verify=relay.verify,
        ca_file=relay.ca_file,
        implicit_tls=relay.implicit_tls,
    )


def _route(site: str, relay: RelayRoute, revision: int) -> Route:
    assert relay.tls is not None
    # "[2001:db8::1]" is the address itself: nobody need look it up (RFC 6409: a relay's name is never an MX name).
    address = relay.host[1:-1] if relay.host[0] == "[" else ""
    host = Host(address, relay.port, (address,)) if address else Host(relay.host, relay.port)
    return Route(site, (host,), relay.tls, relay.auth, revision, relay.verify, relay.ca_file, relay.implicit_tls)


def _plain_site(relay: RelayRoute) -> str:
    return f"relay:{relay.host.lower()}:{relay.port}"


def _site_of(own: RelayRoute, settings: Settings) -> str:
    """`relay:<host>:<port>`, with a hash where the domain's relay is entered otherwise than that site would be.

    A sender keeps one connection per site: what is signed in or secured differently must not share it.
    """
    site, usual = _plain_site(own), _usual(settings)
    as_usual = usual if site == _plain_site(usual) else RelayRoute(host=own.host, tls=settings.tls)
    if _entered(own) == _entered(as_usual):
        return site
    return f"{site}#{blake2b(msgspec.msgpack.encode(_entered(own)), digest_size=4).hexdigest()}"


def _entered(relay: RelayRoute) -> tuple[object, ...]:
    return relay.tls, relay.auth, relay.verify, relay.ca_file, relay.implicit_tls
