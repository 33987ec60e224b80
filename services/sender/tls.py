"""How a connection is secured: the setting `tls` and the route, made into a policy and an SSL context."""

import os
import ssl
from functools import lru_cache

import msgspec

from shared.contracts.work import Route, TlsMode

IMPLICIT_TLS_PORT = 465  # RFC 8314 section 3.3

# Mode require: forward secrecy and authenticated or modern ciphers (RFC 9325 section 4). Named, because the builds of
# Python differ: Debian's offers whatever OpenSSL has by default.
_SAFE_CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# Mode enable: servers whose keys or ciphers are older would get their mail in plaintext (RFC 7435 section 3: some
# protection is more than none).
_OPPORTUNISTIC_CIPHERS = "DEFAULT:@SECLEVEL=1"


class TlsPolicy(msgspec.Struct, frozen=True):
    """What a connection needs before mail goes over it.

    Mode none negotiates nothing, on port 465 either. Mode enable takes any certificate, and plaintext where TLS can
    not be had (RFC 7435): encryption that an active attacker can break is more than none. Mode require sends nothing
    without TLS; `verify` says whether the certificate has to be valid and the host's.
    """

    mode: TlsMode
    verify: bool
    ca_file: str = ""  # authorities to trust instead of the system's
    implicit: bool = False  # TLS comes before the greeting, on any port


def policy_of(route: Route) -> TlsPolicy:
    """The policy for a route.

    A relay's name is the operator's own, so its certificate can be checked against it. MX names come from
    unauthenticated DNS, and many hosts' certificates are for other names: to check them would only stop mail.
    """
    verify = route.tls is TlsMode.REQUIRE and route.to_relay and route.verify
    return TlsPolicy(route.tls, verify, route.ca_file, route.implicit_tls)


def plaintext(policy: TlsPolicy) -> TlsPolicy:
    """What mode enable falls back to."""
    return msgspec.structs.replace(policy, mode=TlsMode.NONE)


def is_implicit(policy: TlsPolicy, port: int) -> bool:
    """Whether TLS comes first, before the server's greeting."""
    return (policy.implicit or port == IMPLICIT_TLS_PORT) and policy.mode is not TlsMode.NONE


def context_of(policy: TlsPolicy) -> ssl.SSLContext:
    """The context for a policy. Raises OSError when the file of authorities can not be used."""
    if not policy.verify:
        return _unverified(policy.mode is TlsMode.ENABLE)
    changed = os.stat(policy.ca_file).st_mtime_ns if policy.ca_file else 0
    return _verified(policy.ca_file, changed)


@lru_cache(maxsize=64)
def _verified(ca_file: str, changed: int) -> ssl.SSLContext:
    """Made once, and anew when the file has changed: reading the system's authorities takes some 20 ms."""
    context = ssl.create_default_context(cafile=ca_file or None)
    # The same under every Python: 3.13 refuses certificates of private authorities that lack what the public web asks
    # for, and trusts what stands in the file itself, an authority's or not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_ciphers(_SAFE_CIPHERS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context


@lru_cache(maxsize=2)
def _unverified(opportunistic: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(_OPPORTUNISTIC_CIPHERS if opportunistic else _SAFE_CIPHERS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context
