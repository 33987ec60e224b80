"""What is wrong with a server's certificate, where it is taken all the same: for the log, and for people.

The handshake itself is OpenSSL's, and where a certificate has to be valid, so is the verdict. With verification off
Python gives none; this one comes from `cryptography`.
"""

import os
import re
import ssl
import warnings
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# As OpenSSL sees it: a name and a chain that lead to a trusted authority. `cryptography` would by itself hold private
# authorities to the rules of the public web as well.
_END_ENTITY = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
)
_AUTHORITY = verification.ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
)


def what_is_wrong(chain: Sequence[bytes], host: str, trusted: verification.Store | None, now: datetime) -> str:
    """In a few words; "" for a valid certificate. `chain` is what the server has shown (DER), its own first."""
    try:
        return _what_is_wrong([x509.load_der_x509_certificate(each) for each in chain], host, trusted, now)
    except Exception as error:  # whatever a stranger's certificate brings about, the connection goes on
        return f"it can not be read: {type(error).__name__}"


def _what_is_wrong(
    chain: Sequence[x509.Certificate], host: str, trusted: verification.Store | None, now: datetime
) -> str:
    if not chain:
        return "there is none"
    own, others = chain[0], list(chain[1:])
    if own.not_valid_after_utc < now:
        return f"it has expired ({own.not_valid_after_utc:%Y-%m-%d})"
    if own.not_valid_before_utc > now:
        return f"it is not valid yet ({own.not_valid_before_utc:%Y-%m-%d})"
    if trusted is None:
        return "no authorities to trust are known here"
    try:
        builder = verification.PolicyBuilder().store(trusted).time(now)
        policies = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=_END_ENTITY)
        policies.build_server_verifier(_subject(host)).verify(own, others)
    except (verification.VerificationError, ValueError) as error:
        return _in_words(own, host, str(error))
    return ""


def authorities(ca_file: str) -> verification.Store | None:
    """The authorities in a file, or else the system's; None when there are none. Raises OSError."""
    changed = os.stat(ca_file).st_mtime_ns if ca_file else 0
    return _authorities(ca_file, changed)


@lru_cache(maxsize=64)
def _authorities(ca_file: str, changed: int) -> verification.Store | None:
    files = [Path(ca_file)] if ca_file else _system_files()
    found = [certificate for file in files for certificate in _read(file)]
    return verification.Store(found) if found else None


def _system_files() -> list[Path]:
    """Where OpenSSL looks: one file, and a folder whose links are named by hashes of the authorities' names."""
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    return files + (sorted(Path(paths.capath).glob("????????.[0-9]")) if paths.capath else [])


def _read(file: Path) -> list[x509.Certificate]:
    found = []
    for pem in _PEM.findall(file.read_bytes()):
        with warnings.catch_warnings():
            # Old authorities break rules that were made later; those that can not be read at all are left out.
            warnings.simplefilter("ignore")
            try:
                found.append(x509.load_pem_x509_certificate(pem))
            except ValueError:
                continue
    return found


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    """Raises ValueError for what is no name that a certificate could be for."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _in_words(own: x509.Certificate, host: str, error: str) -> str:
    if own.issuer == own.subject:
        return "it is self-signed"
    if "subjectAltName" in error:
        return f"it is not for {host}"
    if "candidates exhausted" in error:
        return "no authority that is trusted here has signed it"
    return error.partition(" (encountered")[0].removeprefix("validation failed: ")
