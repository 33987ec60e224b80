"""What is said of a certificate that is taken all the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from hypothesis import given
from hypothesis import strategies as st

from services.sender.certificates import authorities, what_is_wrong
from services.sender.channel import server_end_point
from tests.support.certificates import Authority, Certificate

NOW = datetime.now(UTC)


def der(certificate: Certificate) -> bytes:
    return x509.load_pem_x509_certificate(certificate.certificate.read_bytes()).public_bytes(Encoding.DER)


@pytest.mark.checklist(123)
@pytest.mark.parametrize(
    ("names", "options", "host", "says"),
    [
        (["mx.example"], {}, "mx.example", ""),
        (["*.example"], {}, "mx.example", ""),
        (["192.0.2.1"], {}, "192.0.2.1", ""),
        (["mx.example"], {"expired": True}, "mx.example", "it has expired ("),
        (["mx.example"], {"self_signed": True}, "mx.example", "it is self-signed"),
        (["other.example"], {}, "mx.example", "it is not for mx.example"),
        (["mx.example"], {}, "192.0.2.1", "it is not for 192.0.2.1"),
        (["mx.example"], {}, "m_x.example", "invalid domain name"),
    ],
)
def test_what_is_wrong_is_said_in_a_few_words(authority, names, options, host, says):
    wrong = what_is_wrong([der(authority.issue(*names, **options))], host, authorities(str(authority.file)), NOW)
    assert wrong.startswith(says)
    assert bool(wrong) is bool(says)


def test_an_authority_that_nobody_knows_and_a_certificate_of_tomorrow(authority, tmp_path):
    trusted, chain = authorities(str(authority.file)), [der(Authority(tmp_path).issue("mx.example"))]
    assert what_is_wrong(chain, "mx.example", trusted, NOW) == "no authority that is trusted here has signed it"
    assert "not valid yet" in what_is_wrong(chain, "mx.example", trusted, NOW - timedelta(days=9))
    assert what_is_wrong(chain, "mx.example", None, NOW) == "no authorities to trust are known here"
    assert what_is_wrong([], "mx.example", trusted, NOW) == "there is none"


@given(st.binary(max_size=300))
def test_what_is_no_certificate_is_said_to_be_none(octets):
    assert "can not be read" in what_is_wrong([octets], "mx.example", None, NOW)
    assert server_end_point(octets) == b""


def test_authorities_come_from_a_file_or_from_the_system(authority, tmp_path):
    assert isinstance(authorities(str(authority.file)), verification.Store)
    assert isinstance(authorities(""), verification.Store | None)  # a machine need not have any
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificates")
    assert authorities(str(nothing)) is None
    with pytest.raises(OSError, match="No such file"):
        authorities(str(tmp_path / "none.pem"))


def test_an_authority_that_can_not_be_read_is_left_out(authority, tmp_path):
    file = tmp_path / "both.pem"
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    file.write_bytes(broken + Path(authority.file).read_bytes())
    assert what_is_wrong([der(authority.issue("mx.example"))], "mx.example", authorities(str(file)), NOW) == ""


@pytest.mark.checklist(141)
def test_the_end_point_is_the_hash_of_the_certificate(authority):
    certificate = der(authority.issue("mx.example"))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(certificate)
    assert server_end_point(certificate) == digest.finalize()
