"""A question to DNS whose answer is wanted as texts; and the name servers as the settings write them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver

_LIMIT = timedelta(seconds=3)  # per question; a server is waiting for our EHLO meanwhile


class Temporary(Exception):
    """A name server did not answer, or could not."""


# (name, record type) → the records as texts, [] when there are none; raises Temporary
Ask = Callable[[str, str], Awaitable[list[str]]]


def dns_ask(name_servers: Sequence[str], limit: timedelta = _LIMIT) -> Ask:
    """Ask these name servers ("address" or "address#port"), or the system's; no search domain is applied."""

    async def ask(name: str, record_type: str) -> list[str]:
        try:
            answer = await _resolver(name_servers).resolve(
                name if name.endswith(".") else f"{name}.", record_type, search=False, lifetime=limit.total_seconds()
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Temporary(str(error)) from error
        return [_text(record) for record in answer]

    return ask


def name_server(text: str) -> dns.nameserver.Nameserver:
    """A server of the setting `dns.servers`."""
    address, _, port = text.partition("#")
    return dns.nameserver.Do53Nameserver(address.strip("[]"), int(port or 53))


def _resolver(name_servers: Sequence[str]) -> dns.asyncresolver.Resolver:
    if not name_servers:
        return dns.asyncresolver.Resolver()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [name_server(text) for text in name_servers]
    return resolver


def _text(record: dns.rdata.Rdata) -> str:
    """The record as a zone file has it; of a TXT record its strings in one (RFC 7208 section 3.3)."""
    if record.rdtype == dns.rdatatype.TXT:
        strings: tuple[bytes, ...] = getattr(record, "strings")  # noqa: B009 - the class is dnspython's secret
        return b"".join(strings).decode("utf-8", "replace")
    return record.to_text()
