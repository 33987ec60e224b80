"""Private keys of DKIM: reading them, judging them, signing with them, and what the DNS has to say of them."""

import base64

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

RSA_BITS = 2048  # of new keys; longer ones do not fit in one DNS answer everywhere (RFC 8301 section 3.2)
_LEAST_BITS = 1024  # verifiers may ignore shorter ones (RFC 8301 section 3.2)
_DNS_STRING = 255  # octets of one string of a TXT record (RFC 1035 section 3.3)

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


class UnfitKey(ValueError):
    """Why a key can not be used; it never repeats the key."""


class SigningKey(msgspec.Struct, frozen=True):
    """A private key that is fit for DKIM."""

    private: PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm})"

    @property
    def algorithm(self) -> str:
        """As the tag `a=` has it."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def sign(self, data: bytes) -> bytes:
        """RSA: PKCS #1 v1.5 (RFC 6376 section 3.3.1). Ed25519: over the digest (RFC 8463 section 3)."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)
        return self.private.sign(digest.finalize())

    def record(self) -> str:
        """The text of the DNS record (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            kind = "rsa"
            octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        else:
            kind = "ed25519"
            octets = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"

    def pem(self) -> bytes:
        """The key itself, for a file that nobody else can read."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def new_key(kind: str) -> SigningKey:
    """A new key of a kind: `rsa` or `ed25519`."""
    if kind == "ed25519":
        return SigningKey(Ed25519PrivateKey.generate())
    return SigningKey(generate_private_key(public_exponent=65537, key_size=RSA_BITS))


def parse_key(pem: bytes) -> SigningKey:
    """Read a private key in PEM form. Raises UnfitKey."""
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise UnfitKey("it is encrypted; takes one without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnfitKey("it is no private key in PEM form") from error
    if isinstance(private, RSAPrivateKey):
        if private.key_size < _LEAST_BITS:
            raise UnfitKey(f"it has {private.key_size} bits; takes {_LEAST_BITS} at least (RFC 8301)")
    elif not isinstance(private, Ed25519PrivateKey):
        raise UnfitKey("it is neither an RSA nor an Ed25519 key")
    return SigningKey(private)


def zone_line(domain: str, selector: str, record: str) -> str:
    """The record as a line of a zone file, in strings that each fit (RFC 6376 section 3.6.2.2)."""
    strings = [record[start : start + _DNS_STRING] for start in range(0, len(record), _DNS_STRING)]
    text = " ".join(f'"{string}"' for string in strings)
    return f"{record_name(domain, selector)}. IN TXT {text if len(strings) == 1 else f'( {text} )'}"


def record_name(domain: str, selector: str) -> str:
    """Where in the DNS the record lies."""
    return f"{selector}._domainkey.{domain}"
