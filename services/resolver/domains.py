"""The domain of an address, in the one spelling that is compared, cached and asked for."""

import re
from functools import lru_cache

import idna

from shared.outcomes import Bounced
from shared.smtp_reply import own_verdict

_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LONGEST_NAME = 253  # octets, RFC 1035 section 2.3.4 less the root's and the first length octet


def domain_of(address: str) -> str | Bounced:
    """The domain of a recipient's address as `normal_domain` spells it."""
    return normal_domain(address.rpartition("@")[2] if "@" in address else "")


def normal_domain(domain: str) -> str | Bounced:
    """The domain in lower case, U-labels as A-labels (RFC 5891), without the root's dot.

    Address literals pass, in lower case: a relay may take them.
    """
    if not domain.isascii():
        domain = _a_labels(domain)
    domain = domain.lower().removesuffix(".")
    if not domain:
        return no_such_domain("the recipient's address has no usable domain")
    # A port is no part of an address; asked for as a name it could only fail, or worse, be found.
    if ":" in domain and domain[0] != "[":
        return no_such_domain(f"{domain} is not a domain: an address carries no port")
    return domain


def is_host_name(name: str) -> bool:
    """Whether a name in lower case can be a host's: no address in text form, nothing a resolver would escape.

    Underscores pass: they are no host name's letters, but some receivers' MX hosts have them.
    """
    # No top-level domain is all digits (RFC 3696 section 2), so what ends in digits is an IPv4 address.
    return (
        len(name) <= _LONGEST_NAME and _HOST_NAME.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()
    )


def no_such_domain(text: str) -> Bounced:
    """The verdict on a domain that is not one (RFC 3463 X.1.2)."""
    return Bounced(own_verdict(550, "5.1.2", text))


@lru_cache(maxsize=4096)
def _a_labels(domain: str) -> str:
    """The A-labels (IDNA 2008, with the mapping of UTS 46 for what people type), "" for what has none."""
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError:  # IDNAError is one
        return ""
