"""A certificate authority for TLS tests, and server certificates from it."""

import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """A server's certificate and key, as PEM files."""

    certificate: Path
    key: Path
    adjust: Callable[[ssl.SSLContext], object] = lambda context: None  # what the server does otherwise than usual

    def server_context(self) -> ssl.SSLContext:
        """What a Python server needs to speak TLS with it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.adjust(context)
        context.load_cert_chain(self.certificate, self.key)
        return context


def speaks_only(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], None]:
    """Makes a server one of another time, with the ciphers of then."""

    def adjust(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that they are of another time is why they are here
            context.minimum_version = context.maximum_version = version

    return adjust


class Authority:
    """Issues certificates; a client that trusts `file` trusts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Pillarbox test authority")
        self.file = folder / "authority.pem"
        extension = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._sign(self._name, self._key.public_key(), timedelta(days=1), [(extension, True)], self._key)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, *names: str, expired: bool = False, self_signed: bool = False, rsa_bits: int | None = None
    ) -> Certificate:
        """A certificate for these host names and addresses, the first of them its common name.

        Its key is one of an elliptic curve unless `rsa_bits` are given.
        """
        key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        signer = key if self_signed else self._key
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        valid_for = timedelta(hours=-1) if expired else timedelta(days=1)
        certificate = self._sign(_name(names[0]), key.public_key(), valid_for, [(alternatives, False)], signer)
        stem = f"{certificate.serial_number:x}"
        issued = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued

    def _sign(
        self,
        subject: x509.Name,
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        valid_for: timedelta,
        extensions: list[tuple[x509.ExtensionType, bool]],
        signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name if signer is self._key else subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + valid_for)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
