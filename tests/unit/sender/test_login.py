"""Finding passwords and tokens. The dialogues are in test_signing_in; commands run in the integration tests."""

import asyncio

import pytest

from services.sender.login import Login, Logins
from shared.contracts.work import Credentials, SecretReference
from shared.smtp_reply import Reply


def read(**reference: str) -> Login | Reply:
    return find(Credentials(user="robot", password=SecretReference(**reference)))


def find(credentials: Credentials) -> Login | Reply:
    return asyncio.run(Logins().find(credentials))


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
    monkeypatch.delenv("PILLARBOX_COMMANDS", raising=False)
    for reference, says in [
        ({"env": "RELAY_PASSWORD"}, "environment variable RELAY_PASSWORD: it is not set"),
        ({"file": f"{tmp_path}/none"}, f"file {tmp_path}/none: No such file or directory"),
        ({"file": str(tmp_path)}, "Is a directory"),
        ({"command": "relay-password"}, "command relay-password: PILLARBOX_COMMANDS, the folder of such commands,"),
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


def test_a_token_beside_a_password_and_the_mechanisms_set(monkeypatch):
    monkeypatch.setenv("RELAY_PASSWORD", "s3cret")
    monkeypatch.setenv("RELAY_TOKEN", "ya29.token")
    password, token = SecretReference(env="RELAY_PASSWORD"), SecretReference(env="RELAY_TOKEN")
    both = Credentials(user="robot", password=password, token=token, mechanisms=("PLAIN",), allow_plaintext=True)
    assert find(both) == Login(b"robot", b"s3cret", True, b"ya29.token", ("PLAIN",))
    assert find(Credentials(user="robot", token=token)) == Login(b"robot", b"", False, b"ya29.token")


@pytest.mark.parametrize("token", ["", "a b", "a\x01b", "tökén", "a\nb"])
def test_what_is_no_token_is_not_sent(monkeypatch, token):
    monkeypatch.setenv("RELAY_TOKEN", token)
    verdict = find(Credentials(user="robot", token=SecretReference(env="RELAY_TOKEN")))
    assert isinstance(verdict, Reply)
    assert verdict.text == "the environment variable RELAY_TOKEN holds no usable token"


@pytest.mark.checklist(142)
def test_a_login_shows_nothing_of_itself():
    login = Login(b"robot", b"s3cret", False, b"ya29.token")
    assert (repr(login), f"{login}") == ("Login(…)", "Login(…)")
