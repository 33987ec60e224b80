"""Signing in over real sockets, at servers of our own and at Postfix with Cyrus SASL."""

from pathlib import Path

import pytest
import uvloop

from services.sender.connection import Unreachable
from shared.contracts import Credentials, SecretReference, TlsMode
from tests.support.connections import all_results, at, opened, reached, verdict
from tests.support.postfix import PrivatePostfix
from tests.support.sinks import RecordingSink
from tests.support.transcript import in_words, mail, told

NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE


def credentials(tmp_path: Path, password: str, allow_plaintext: bool = False) -> Credentials:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    return Credentials(user="robot", password=SecretReference(file=str(file)), allow_plaintext=allow_plaintext)


@pytest.mark.parametrize(
    ("password", "allow_plaintext", "mode", "expected"),
    [
        ("s3cret", False, REQUIRE, "signed in"),
        ("s3cret", False, ENABLE, "signed in"),
        ("s3cret", True, NONE, "signed in"),
        ("s3cret", False, NONE, "deferred 451 4.7.0"),  # item 133
        ("wrong", False, REQUIRE, "deferred 535 5.7.8"),  # item 139
    ],
)
def test_signing_in(run, certificate, authority, tmp_path, password, allow_plaintext, mode, expected):
    login = credentials(tmp_path, password, allow_plaintext)

    async def scenario(sink: RecordingSink) -> None:
        connected = await reached(at(sink.port, tls=mode, credentials=login, ca_file=str(authority.file)))
        if isinstance(connected, Unreachable):
            assert in_words(connected.outcome).startswith(expected)
            assert password not in repr(connected)  # item 142
            return
        assert expected == "signed in"
        connected.submit([mail(1)])
        assert "delivered" in told(await all_results(connected))[0]
        await connected.quit()

    with RecordingSink(certificate=certificate, users={"robot": "s3cret"}, auth_in_plaintext=True) as sink:
        run(scenario(sink))


def test_a_password_that_can_not_be_read_defers_without_a_connection(run, tmp_path):
    login = Credentials(user="robot", password=SecretReference(file=str(tmp_path / "none")))

    async def scenario() -> None:
        outcome = await verdict(at(1, credentials=login))
        assert in_words(outcome) == "deferred 451 4.7.0"

    run(scenario())


def test_mails_to_postfix_with_tls_and_a_password(certificate, authority, tmp_path):
    async def scenario(postfix: PrivatePostfix) -> None:
        login = credentials(tmp_path, "s3cret")
        route = at(postfix.port, tls=REQUIRE, credentials=login, ca_file=str(authority.file))
        connection = await opened(route)
        mails = [
            mail(1, "b@mx.example", "c@mx.example"),
            mail(2, content=b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"),
            mail(3, content="Subject: grüß\r\n\r\ngrüß\r\n".encode(), eight_bit=True, smtputf8=True),
        ]
        connection.submit(mails)
        outcomes = told(await all_results(connection))
        assert [line.split(" 250 ")[0] for line in outcomes] == [f"{number}: delivered" for number in (1, 2, 3)]
        await connection.quit()

    with PrivatePostfix(certificate=certificate, require_tls=True, users={"robot": "s3cret"}) as postfix:
        uvloop.run(scenario(postfix))
        received = postfix.wait_for(4)
        assert sorted(each.recipient.split("@")[0] for each in received) == ["b", "b", "b", "c"]
        [dots] = [each for each in received if each.mail["Subject"] == "dots"]
        assert dots.content.replace(b"\r\n", b"\n").endswith(b"\n\n.\n..\n.x\n")


def test_postfix_without_tls_or_with_a_wrong_password(certificate, tmp_path):
    with PrivatePostfix(certificate=certificate, users={"robot": "s3cret"}) as postfix:

        async def scenario() -> None:
            route = at(postfix.port, tls=NONE, credentials=credentials(tmp_path, "s3cret"))
            assert in_words(await verdict(route)) == "deferred 451 4.7.0"
            route = at(postfix.port, tls=REQUIRE, credentials=credentials(tmp_path, "wrong"), verify=False)
            assert in_words(await verdict(route)).startswith("deferred 535 5.7.8")

        uvloop.run(scenario())
