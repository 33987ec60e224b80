"""What the TLS handshake of a connection has come to: version, cipher, the server's certificate, channel bindings."""

import _ssl
import ssl
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from services.sender.certificates import authorities, what_is_wrong
from services.sender.tls import TlsPolicy

TLS_UNIQUE, TLS_SERVER_END_POINT = "tls-unique", "tls-server-end-point"  # RFC 5929


class Channel(msgspec.Struct, frozen=True):
    """A connection's encryption; in plaintext, nothing."""

    tls: str = ""  # "TLSv1.3"
    cipher: str = ""
    certificate: str = ""  # "verified"; or, where it did not matter, "valid" or what is wrong with it
    bindings: Mapping[str, bytes] = {}  # what ties a sign-in to this channel, by the names of RFC 5929

    @property
    def secured(self) -> bool:
        """Whether it is encrypted at all."""
        return bool(self.tls)


def channel_of(secured: ssl.SSLObject, policy: TlsPolicy, host: str) -> Channel:
    """Describe a connection after its handshake. `host` is the name the certificate should be for."""
    chain = _presented_chain(secured)
    cipher = secured.cipher()
    return Channel(
        secured.version() or "",
        cipher[0] if cipher is not None else "",
        "verified" if policy.verify else _judgement(chain, policy, host),
        _bindings(secured, chain),
    )


def _judgement(chain: Sequence[bytes], policy: TlsPolicy, host: str) -> str:
    """Python tells nothing of a certificate that it was not to verify, so it is looked at once more."""
    try:
        trusted = authorities(policy.ca_file)
    except OSError as error:
        return f"not verified: {error.filename}: {error.strerror}"
    wrong = what_is_wrong(chain, host, trusted, datetime.now(UTC))
    return f"not valid: {wrong}" if wrong else "valid"


def _presented_chain(secured: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server has shown, its own first, as DER."""
    if sys.version_info >= (3, 13):
        return secured.get_unverified_chain()
    # Python 3.10 to 3.12 have the same method, but one layer below the public one.
    chain = secured._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # see above
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain or ()]


def _bindings(secured: ssl.SSLObject, chain: Sequence[bytes]) -> dict[str, bytes]:
    """What Python can tell: tls-exporter (RFC 9266) is not among it, and TLS 1.3 has no tls-unique."""
    bindings: dict[str, bytes] = {}
    if secured.version() == "TLSv1.2" and (unique := secured.get_channel_binding(TLS_UNIQUE)):
        bindings[TLS_UNIQUE] = unique
    if chain and (end_point := server_end_point(chain[0])):
        bindings[TLS_SERVER_END_POINT] = end_point
    return bindings


def server_end_point(certificate: bytes) -> bytes:
    """The hash of a certificate (DER) by RFC 5929 section 4.1; b"" where its signature uses none."""
    try:
        used = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except Exception:  # whatever a stranger's certificate brings about, the connection goes on
        return b""
    if used is None:
        return b""
    digest = hashes.Hash(hashes.SHA256() if isinstance(used, hashes.MD5 | hashes.SHA1) else used)
    digest.update(certificate)
    return digest.finalize()
