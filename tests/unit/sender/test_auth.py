"""Finding passwords. The dialogues are in test_opening."""

import asyncio

import pytest

from services.sender.auth import Login, read_login
from shared.contracts import Credentials, SecretReference
from shared.smtp_reply import Reply


def read(**reference: str) -> Login | Reply:
    return asyncio.run(read_login(Credentials(user="robot", password=SecretReference(**reference))))


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (b"s3cret\n", b"s3cret"),
        (b"s3cret", b"s3cret"),
        (b"s3cret\r\n", b"s3cret"),
        (b"s3cret\n\n", b"s3cret\n"),  # one line end and no more is the editor's
        (b" s3cret ", b" s3cret "),
        ("größer".encode(), "größer".encode()),
    ],
)
def test_a_password_in_a_file(tmp_path, text, password):
    file = tmp_path / "password"
    file.write_bytes(text)
    assert read(file=str(file)) == Login(b"robot", password, allow_plaintext=False)


def test_a_password_in_the_environment(monkeypatch):
    monkeypatch.setenv("RELAY_PASSWORD", "s3cret")
    assert read(env="RELAY_PASSWORD") == Login(b"robot", b"s3cret", allow_plaintext=False)


def test_a_password_that_is_nowhere_is_a_verdict_that_names_the_place(monkeypatch, tmp_path):
    monkeypatch.delenv("RELAY_PASSWORD", raising=False)
    for reference, says in [
        ({"env": "RELAY_PASSWORD"}, "environment variable RELAY_PASSWORD: it is not set"),
        ({"file": f"{tmp_path}/none"}, f"file {tmp_path}/none: No such file or directory"),
        ({"file": str(tmp_path)}, "Is a directory"),
    ]:
        verdict = read(**reference)
        assert isinstance(verdict, Reply)
        assert (verdict.code, verdict.enhanced) == (451, "4.7.0")
        assert says in verdict.text


@pytest.mark.parametrize("password", ["", "\n", "a\0b"])
def test_what_is_no_password_is_not_sent(tmp_path, password):
    file = tmp_path / "password"
    file.write_text(password)
    verdict = read(file=str(file))
    assert isinstance(verdict, Reply)
    assert "holds no usable password" in verdict.text
