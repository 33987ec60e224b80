"""Names of hosts as SMTP says them: which may stand in EHLO, and addresses in their place. Pure."""

import ipaddress
import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_QUALIFIED_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_LONGEST_NAME = 253
_OF_EVERY_MACHINE = ("localhost", "localdomain")


def is_fit(name: str) -> bool:
    """Whether a name may be said: qualified, a host's, not that of every machine (RFC 5321 section 2.3.5)."""
    labels = name.lower().split(".")
    local = labels[-1] in _OF_EVERY_MACHINE or labels[0] == "localhost"
    well_formed = _QUALIFIED_NAME.fullmatch(name) is not None and len(name) <= _LONGEST_NAME
    # No top-level domain is all digits (RFC 3696 section 2): it is an address that is meant.
    return well_formed and not local and not labels[-1].isdigit()


def address_literal(address: str) -> str:
    """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3)."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return f"[{ip.ipv4_mapped}]" if ip.ipv4_mapped else f"[IPv6:{ip}]"
    return f"[{ip}]"


def address_in(literal: str) -> str | None:
    """The address that a literal stands for, None where it is no literal (RFC 5321 section 4.1.3)."""
    if not (literal.startswith("[") and literal.endswith("]")):
        return None
    inner = literal[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return str(ipaddress.IPv6Address(inner[5:].partition("%")[0]))
        return str(ipaddress.IPv4Address(inner))
    except ValueError:
        return None
