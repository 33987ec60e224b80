"""Which mails are signed, with which keys, and that one which can not be signed does not go."""

import asyncio
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from services.sender.envelope import OutgoingMail
from services.sender.signing import Signing, Unsigned, configured
from shared.dkim_key import new_key
from shared.settings import parse_settings

PRIVATE = {"rsa": new_key("rsa").pem(), "ed25519": new_key("ed25519").pem(), "other": new_key("ed25519").pem()}


def mail(author: str = "a@x.example") -> OutgoingMail:
    content = f"From: {author}\r\nTo: b@y.example\r\n\r\nHello\r\n".encode()
    return OutgoingMail("a@x.example", ("b@y.example",), content, False, False)


def signing(**domains: list[dict[str, object]]) -> Signing:
    """By domain, with an underscore for each dot."""
    named = {name.replace("_", "."): keys for name, keys in domains.items()}
    return Signing(parse_settings({"dkim": named}).dkim)


def signed(by: Signing, one: OutgoingMail) -> OutgoingMail | Unsigned:
    [result] = asyncio.run(by.sign([one]))
    return result


def content_of(result: OutgoingMail | Unsigned) -> bytes:
    assert isinstance(result, OutgoingMail)
    return result.content


def key_in(path: Path, pem: bytes, selector: str = "s1") -> dict[str, object]:
    path.write_bytes(pem)
    return {"selector": selector, "key": {"file": str(path)}}


def refusal(key: dict[str, object]) -> str:
    result = signed(signing(x_example=[key]), mail())
    assert isinstance(result, Unsigned)
    assert (result.reason.code, result.reason.enhanced, result.reason.remote) == (451, "4.3.5", False)
    return result.reason.text


def test_without_keys_a_mail_stays_the_very_same_one():
    one = mail()
    assert signed(Signing({}), one) is one


def test_with_two_keys_there_are_two_signatures(tmp_path):
    keys = [key_in(tmp_path / "r", PRIVATE["rsa"], "r"), key_in(tmp_path / "e", PRIVATE["ed25519"], "e")]
    content = content_of(signed(signing(x_example=keys), mail()))
    assert (content.count(b"DKIM-Signature:"), content.count(b"s=r;"), content.count(b"s=e;")) == (2, 1, 1)
    assert content.endswith(mail().content)


def test_a_key_may_lie_in_the_environment(monkeypatch):
    monkeypatch.setenv("DKIM", PRIVATE["rsa"].decode())
    keys = [{"selector": "s", "key": {"env": "DKIM"}}]
    assert b"a=rsa-sha256" in content_of(signed(signing(x_example=keys), mail()))


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("x.example", "x.example"),
        ("news.x.example", "x.example"),
        ("a.shop.x.example", "shop.x.example"),  # the nearest
        ("notx.example", None),
        ("example", None),
        ("", None),
    ],
)
def test_keys_serve_the_domain_and_those_below_it(domain, expected):
    assert configured(domain, {"x.example": (), "shop.x.example": ()}) == expected


def test_an_empty_list_of_keys_means_not_signed(tmp_path):
    keys = signing(x_example=[key_in(tmp_path / "k", PRIVATE["ed25519"])], shop_x_example=[])
    assert content_of(signed(keys, mail("a@shop.x.example"))).startswith(b"From:")
    assert content_of(signed(keys, mail("a@other.example"))).startswith(b"From:")
    assert b" d=x.example;" in content_of(signed(keys, mail("a@news.x.example")))


def _pem(private: object) -> bytes:
    return private.private_bytes(  # type: ignore[attr-defined, no-any-return]  # every private key has it
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _encrypted() -> bytes:
    return new_key("rsa").private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (_pem(rsa.generate_private_key(65537, 1024))[:100], "no private key"),
        (b"", "no private key"),
        (_encrypted(), "encrypted"),
        (_pem(ec.generate_private_key(ec.SECP256R1())), "neither an RSA nor an Ed25519"),
        (Path(__file__).with_name("rsa768.pem").read_bytes(), "768 bits; takes 1024 at least"),
    ],
    ids=["broken off", "empty", "encrypted", "another kind", "short"],
)
@pytest.mark.checklist(184)
def test_a_key_that_does_not_fit_defers_the_mail_and_says_why(pem, says, tmp_path):
    text = refusal(key_in(tmp_path / "key", pem))
    assert says in text
    assert f"key s1 in the file {tmp_path}/key" in text


def test_a_key_of_1024_bits_is_taken(tmp_path):
    keys = signing(x_example=[key_in(tmp_path / "k", _pem(rsa.generate_private_key(65537, 1024)))])
    assert b"a=rsa-sha256" in content_of(signed(keys, mail()))


def test_a_key_that_is_not_there_defers_the_mail(tmp_path):
    assert "No such file" in refusal({"selector": "s1", "key": {"file": str(tmp_path / "none")}})
    assert "is not set" in refusal({"selector": "s1", "key": {"env": "PILLARBOX_NO_SUCH"}})


def test_one_bad_key_of_two_is_enough_to_defer(tmp_path):
    keys = [key_in(tmp_path / "good", PRIVATE["ed25519"], "a"), key_in(tmp_path / "bad", b"", "b")]
    assert isinstance(signed(signing(x_example=keys), mail()), Unsigned)


def test_the_mails_of_other_domains_go_beside_those_that_are_deferred(tmp_path):
    keys = signing(x_example=[key_in(tmp_path / "bad", b"")])
    bad, good = asyncio.run(keys.sign([mail(), mail("a@y.example")]))
    assert isinstance(bad, Unsigned)
    assert content_of(good).startswith(b"From:")


def test_a_key_is_read_again_when_its_file_has_changed(tmp_path):
    key = key_in(tmp_path / "key", PRIVATE["ed25519"])
    keys = signing(x_example=[key])
    first = content_of(signed(keys, mail()))
    status = os.stat(tmp_path / "key")
    (tmp_path / "key").write_bytes(PRIVATE["other"])
    os.utime(tmp_path / "key", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert first.partition(b" b=")[2] != content_of(signed(keys, mail())).partition(b" b=")[2]
