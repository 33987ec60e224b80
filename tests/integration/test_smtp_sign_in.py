"""Signing in over real sockets: at servers of our own, at Cyrus SASL's library, and at Postfix with it."""

import asyncio
import base64
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import uvloop

from services.sender import login as login_module
from services.sender.connection import Connection, Unreachable
from services.sender.login import Login, Logins
from shared import metrics
from shared.contracts.work import Credentials, SecretReference, TlsMode
from shared.smtp_reply import Reply
from tests.support.certificates import Certificate, speaks_only
from tests.support.connections import BYE, HELLO, all_results, at, opened, reached, verdict
from tests.support.postfix import PrivatePostfix
from tests.support.scram_server import scram_server
from tests.support.sinks import RecordingSink
from tests.support.smtp_script import scripted
from tests.support.transcript import in_words, mail, told

NONE, ENABLE, REQUIRE = TlsMode.NONE, TlsMode.ENABLE, TlsMode.REQUIRE


def credentials(tmp_path: Path, password: str, allow_plaintext: bool = False, **options: Any) -> Credentials:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    reference = SecretReference(file=str(file))
    return Credentials(user="robot", password=reference, allow_plaintext=allow_plaintext, **options)


@pytest.mark.checklist(133, 139, 142)
@pytest.mark.parametrize(
    ("password", "allow_plaintext", "mode", "expected"),
    [
        ("s3cret", False, REQUIRE, "signed in"),
        ("s3cret", False, ENABLE, "signed in"),
        ("s3cret", True, NONE, "signed in"),
        ("s3cret", False, NONE, "deferred 451 4.7.0"),
        ("wrong", False, REQUIRE, "deferred 535 5.7.8"),
    ],
)
def test_signing_in(run, certificate, authority, tmp_path, password, allow_plaintext, mode, expected):
    login = credentials(tmp_path, password, allow_plaintext)

    async def scenario(sink: RecordingSink) -> None:
        connected = await reached(at(sink.port, tls=mode, credentials=login, ca_file=str(authority.file)))
        if isinstance(connected, Unreachable):
            assert in_words(connected.outcome).startswith(expected)
            assert password not in repr(connected)
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


@pytest.mark.checklist(143)
def test_one_sign_in_is_enough_for_all_mails_of_a_session(run, certificate, tmp_path):
    login = credentials(tmp_path, "s3cret")

    async def scenario(sink: RecordingSink) -> None:
        connection = await opened(at(sink.port, tls=ENABLE, credentials=login))
        for number in range(3):  # one after another, so that each could have been an occasion
            connection.submit([mail(number)])
            assert "delivered" in told(await all_results(connection))[0]
        await connection.quit()

    with RecordingSink(certificate=certificate, users={"robot": "s3cret"}) as sink:
        run(scenario(sink))
        verbs = [command.split()[0] for command in sink.connections[0].commands]
        assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]


# -- the alarm

WELCOME = "S: 220 mx.example\nC: EHLO us.example\nS: 250-mx.example\nS: 250 AUTH PLAIN\nC: ..."


@pytest.mark.checklist(139, 140)
@pytest.mark.parametrize(
    ("reply", "deferred", "alarms"),
    [
        ("535 5.7.8 no", "deferred 535 5.7.8 no", 1),
        ("534 5.7.9 too weak", "deferred 534 5.7.9 too weak", 1),
        ("538 5.7.11 not in clear", "deferred 538 5.7.11 not in clear", 1),
        ("454 4.7.0 later", "deferred 454 4.7.0 later", 0),
        ("432 4.7.12 change it", "deferred 432 4.7.12 change it", 0),
    ],
)
def test_a_refused_sign_in_defers_and_raises_an_alarm(run, tmp_path, reply, deferred, alarms):
    login = credentials(tmp_path, "s3cret", allow_plaintext=True)

    def counted() -> float:
        return metrics.SIGN_INS_REFUSED.labels("relay:localhost")._value.get()

    async def scenario() -> None:
        async with scripted(f"{WELCOME}\nS: {reply}{BYE}") as mx:
            before = counted()
            with structlog.testing.capture_logs() as log:
                assert in_words(await verdict(at(mx.port, credentials=login))) == deferred
            raised = [(line["event"], line["log_level"], line["mechanism"], line["next"]) for line in log]
            assert raised == [("sign_in_refused", "error", "PLAIN", "defer")] * alarms
            assert counted() - before == alarms
            assert "s3cret" not in str(log)

    run(scenario())


@pytest.mark.checklist(140)
def test_a_server_that_wants_a_sign_in_first_defers_where_we_have_none(run):
    async def scenario() -> None:
        dialogue = f"{HELLO}C: MAIL FROM:<a@sender.example>\nC: RCPT TO:<b@mx.example>\nC: DATA\n"
        refused = "S: 530 5.7.0 Authentication required\nS: 503 no\nS: 503 no\nC: RSET\nS: 250 ok"
        async with scripted(f"{dialogue}{refused}{BYE}") as mx:
            connection = await opened(at(mx.port))
            connection.submit([mail(1)])
            assert told(await all_results(connection)) == ["1: deferred 530 5.7.0 Authentication required"]
            await connection.quit()

    run(scenario())


# -- tokens from commands


def command(folder: Path, name: str, script: str) -> None:
    """A program in the folder of those that settings may name."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def token_from(name: str) -> Credentials:
    return Credentials(user="robot", token=SecretReference(command=name), allow_plaintext=True)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo secret-token; exit 3", "it ended with status 3"),
        ("true", "the command token holds no usable token"),
        ("echo two words", "the command token holds no usable token"),
        ("head -c 70000 /dev/zero | tr '\\0' x", "it prints too much"),
        (None, "No such file or directory"),
    ],
)
def test_a_command_that_prints_no_token_is_named(run, tmp_path, script, says):
    if script is not None:
        command(tmp_path, "token", script)

    async def scenario() -> None:
        found = await Logins({"PILLARBOX_COMMANDS": str(tmp_path)}).find(token_from("token"))
        assert isinstance(found, Reply)
        assert says in found.text
        assert "secret-token" not in found.text

    run(scenario())


def test_a_command_that_does_not_end_is_ended(run, tmp_path, monkeypatch):
    command(tmp_path, "token", "exec sleep 60")
    monkeypatch.setattr(login_module, "_COMMAND_LIMIT_S", 0.05)

    async def scenario() -> None:
        found = await Logins({"PILLARBOX_COMMANDS": str(tmp_path)}).find(token_from("token"))
        assert isinstance(found, Reply)
        assert "no answer in time" in found.text

    run(scenario())


def test_a_command_runs_once_for_several_connections_and_again_after_a_refusal(run, tmp_path):
    runs = tmp_path / "runs"
    command(tmp_path, "token", f"echo run >> {runs}; echo token-$(wc -l < {runs})")
    accepted = f"{WELCOME}\nS: 235 welcome{BYE}".replace("PLAIN", "XOAUTH2")
    refused = f"{WELCOME}\nS: 535 5.7.8 expired{BYE}".replace("PLAIN", "XOAUTH2")

    async def scenario() -> None:
        logins = Logins({"PILLARBOX_COMMANDS": str(tmp_path)})
        found = await asyncio.gather(*(logins.find(token_from("token")) for _ in range(5)))
        assert {each.token for each in found if isinstance(each, Login)} == {b"token-1"}
        async with scripted(accepted, refused, accepted) as mx:
            route = at(mx.port, credentials=token_from("token"))
            await (await opened(route, logins=logins)).quit()
            assert "535" in in_words(await verdict(route, logins=logins))
            connection = await opened(route, logins=logins)
            assert connection.mechanism == "XOAUTH2"
            await connection.quit()
            shown = [base64.b64decode(heard.split(b"AUTH XOAUTH2 ")[1].split()[0]) for heard in mx.heard]
            assert [text.split(b"Bearer ")[1][:7] for text in shown] == [b"token-1", b"token-1", b"token-2"]

    run(scenario())
    runs.unlink()


# -- SCRAM bound to the channel


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    ("version", "binding", "mechanisms", "expected"),
    [
        (ssl.TLSVersion.TLSv1_2, "tls-unique", (), "SCRAM-SHA-256-PLUS"),
        (ssl.TLSVersion.TLSv1_2, "tls-unique", ("SCRAM-SHA-256-PLUS",), "SCRAM-SHA-256-PLUS"),
        (ssl.TLSVersion.TLSv1_3, "tls-server-end-point", ("SCRAM-SHA-256-PLUS",), "SCRAM-SHA-256-PLUS"),
        (ssl.TLSVersion.TLSv1_3, "tls-server-end-point", (), "SCRAM-SHA-256"),
    ],
)
def test_both_ends_of_a_channel_agree_on_what_it_is(run, certificate, tmp_path, version, binding, mechanisms, expected):
    old = replace(certificate, adjust=speaks_only(version))
    login = credentials(tmp_path, "s3cret", mechanisms=mechanisms)

    async def scenario() -> None:
        async with scram_server(old, binding, tmp_path) as server:
            connection = await opened(at(server.port, tls=ENABLE, credentials=login))
            await connection.quit()
            assert (connection.mechanism, server.verdicts) == (expected, [expected])

    run(scenario())


@pytest.mark.checklist(141)
@pytest.mark.parametrize(
    ("lies", "refusal"),
    [
        ({"another_channel": True}, "Channel bindings mismatch"),
        # Somebody took -PLUS out of the offer; that we could have is said where it can not be taken out.
        ({"offered": "SCRAM-SHA-256"}, "client incorrectly assumed server had no channel binding"),
    ],
)
def test_who_stands_between_the_ends_of_a_channel_is_found_out(run, certificate, tmp_path, lies, refusal):
    old = replace(certificate, adjust=speaks_only(ssl.TLSVersion.TLSv1_2))
    login = credentials(tmp_path, "s3cret")

    async def scenario() -> None:
        async with scram_server(old, "tls-unique", tmp_path, **lies) as server:
            outcome = await verdict(at(server.port, tls=ENABLE, credentials=login))
            assert in_words(outcome) == "deferred 535 5.7.8 no"
            assert [refusal in each for each in server.verdicts] == [True]

    run(scenario())


# -- Postfix


@pytest.mark.checklist(134, 141)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"])
def test_postfix_with_cyrus_sasl_takes_every_mechanism(
    sasl_postfix: PrivatePostfix, tmp_path: Path, mechanism: str
) -> None:
    async def scenario() -> None:
        secrets = {"s3cret": "", "wrong": "deferred 535 5.7.8"}
        for password, refusal in secrets.items():
            login = credentials(tmp_path, password, mechanisms=(mechanism,))
            connected = await reached(at(sasl_postfix.port, tls=REQUIRE, verify=False, credentials=login))
            if refusal:
                assert isinstance(connected, Unreachable)
                assert in_words(connected.outcome).startswith(refusal)
            else:
                assert isinstance(connected, Connection)
                assert connected.mechanism == mechanism
                connected.submit([mail(1)])
                assert "delivered" in told(await all_results(connected))[0]
                await connected.quit()

    uvloop.run(scenario())
    assert any(f"sasl_method={mechanism}, sasl_username=robot" in line for line in sasl_postfix.log)


@pytest.mark.checklist(134)
def test_postfix_that_offers_everything_gets_scram(sasl_postfix: PrivatePostfix, tmp_path: Path) -> None:
    async def scenario() -> None:
        route = at(sasl_postfix.port, tls=REQUIRE, verify=False, credentials=credentials(tmp_path, "s3cret"))
        connection = await opened(route)
        assert connection.mechanism == "SCRAM-SHA-256"
        await connection.quit()

    uvloop.run(scenario())


@pytest.fixture(scope="module")
def sasl_postfix(certificate: Certificate) -> Iterator[PrivatePostfix]:
    """Postfix with all of Cyrus SASL that Debian has."""
    mechanisms = "SCRAM-SHA-256 SCRAM-SHA-1 DIGEST-MD5 CRAM-MD5 PLAIN LOGIN"
    with PrivatePostfix(certificate=certificate, users={"robot": "s3cret"}, mechanisms=mechanisms) as postfix:
        yield postfix


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
