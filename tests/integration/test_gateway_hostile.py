"""What must not get through the gateway: injected commands, smuggled mails, clients that do as they like."""

import time
from collections.abc import Iterator

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, Talk, running_gateway
from tests.support.ports import wait_until
from tests.support.rabbitmq import delete_vhost, new_vhost

HELLO = b"From: a@x.example\r\nSubject: Hi\r\n\r\nHello\r\n"
SECOND = (
    b"MAIL FROM:<admin@x.example>\r\nRCPT TO:<victim@y.example>\r\nDATA\r\nFrom: admin@x.example\r\n\r\nSmuggled\r\n"
)


@pytest.fixture(scope="module")
def gateway(rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose clients on this machine need not sign in, nor those of a network that is not private."""
    url = new_vhost(rabbitmq)
    folder, networks = tmp_path_factory.mktemp("gateway"), {"PILLARBOX_GATEWAY_NETWORKS": "127.0.0.0/8, 192.0.2.0/24"}
    with running_gateway(url, folder, authority, {"sending": {"hold": 0}}, **networks) as running:
        yield running
    delete_vhost(rabbitmq, url)


@pytest.fixture
def talk(gateway: Gateway) -> Iterator[Talk]:
    """A connection that has been greeted and has said EHLO."""
    with gateway.connect() as connection:
        assert connection.reply().startswith("220 ")
        assert connection.ask(b"EHLO client.example\r\n").startswith("250-gate.example|250-PIPELINING|")
        yield connection


def ask_all(talk: Talk, *commands: bytes) -> list[str]:
    return [talk.ask(command + b"\r\n")[:3] for command in commands]


def start_content(talk: Talk) -> None:
    assert ask_all(talk, b"MAIL FROM:<a@x.example>", b"RCPT TO:<b@y.example>", b"DATA") == ["250", "250", "354"]


def test_a_network_with_room_for_strangers_is_warned_of(gateway: Gateway):
    [line] = gateway.worker.logged("network_not_private")
    assert "network=192.0.2.0/24 " in line


def test_a_group_of_commands_is_answered_in_order(gateway: Gateway, talk: Talk):
    envelope = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<nobody>\r\nDATA\r\n"
    talk.send(envelope)
    assert [talk.reply()[:3] for _ in range(4)] == ["250", "250", "553", "354"]
    talk.send(HELLO + b".\r\n" + envelope)  # the end of a mail and the next envelope travel together
    assert [talk.reply()[:3] for _ in range(5)] == ["250", "250", "250", "553", "354"]
    talk.send(HELLO + b".\r\nQUIT\r\n")
    assert [talk.reply()[:3] for _ in range(3)] == ["250", "221", ""]
    assert [mail.headers["rcpt-to"] for mail in gateway.submitted(2)] == [["b@y.example"]] * 2


def test_whatever_comes_with_starttls_ends_the_connection(gateway: Gateway, talk: Talk):
    talk.send(b"STARTTLS\r\n" + SECOND)
    assert talk.reply().startswith("521 5.5.1 ")
    assert talk.reply() == ""
    gateway.submitted(0)


def test_what_is_sent_in_plaintext_after_the_220_is_no_command(gateway: Gateway, talk: Talk):
    assert talk.ask(b"STARTTLS\r\n").startswith("220 ")
    talk.send(b"EHLO injected.example\r\n" + SECOND)
    assert b"250" not in talk.rest()
    gateway.submitted(0)


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\n.\n\n", b"\r\n\0.\r\n"]
)
def test_an_end_of_data_that_is_none_smuggles_nothing(gateway: Gateway, talk: Talk, end: bytes):
    """SEC Consult, SMTP smuggling (2023): servers that differ on where a mail ends let another one hide in it."""
    start_content(talk)
    talk.send(HELLO + b"first" + end + SECOND + b".\r\n")
    assert talk.reply().startswith("550 5.6.0 content: has a ")
    assert talk.ask(b"NOOP\r\n").startswith("250")
    gateway.submitted(0)


@pytest.mark.parametrize(
    "line",
    [
        b"RCPT TO:<b@y.example>\nRCPT TO:<victim@y.example>\r\n",
        b"RCPT TO:<b@y.example>\rRCPT TO:<victim@y.example>\r\n",
        b"RCPT TO:<b@y.example>\n",
        b"RCPT TO:<b@y.example>\r\r\n",
        b"RCPT TO:<b@y\0.example>\r\n",
        b"RCPT TO:<" + b"x" * 5000 + b">\r\n",
        b"x" * 5000,
    ],
)
def test_a_line_that_is_none_ends_the_connection(gateway: Gateway, talk: Talk, line: bytes):
    assert ask_all(talk, b"MAIL FROM:<a@x.example>") == ["250"]
    talk.send(line)
    assert talk.reply().startswith("521 5.5.2 ")
    assert talk.rest() == b""
    gateway.submitted(0)


@pytest.mark.parametrize("line", [b"RCPT TO:<" + b"x" * 100_000 + b">\r\n", b"x" * 1_000_000])
def test_of_a_line_without_end_no_more_is_read_than_is_needed_to_refuse_it(gateway: Gateway, talk: Talk, line: bytes):
    assert ask_all(talk, b"MAIL FROM:<a@x.example>") == ["250"]
    talk.try_to_send(line)
    # What was sent and not read makes the system reset the connection, and the reply may be lost with it.
    said = talk.reply()
    assert said == "" or said.startswith("521 5.5.2 the line is too long")
    assert talk.rest() == b""
    gateway.submitted(0)
    with gateway.connect() as another:
        assert another.reply().startswith("220 ")


def test_commands_after_quit_or_421_are_not_carried_out(gateway: Gateway, talk: Talk):
    talk.send(b"QUIT\r\n" + SECOND + b".\r\n")
    assert talk.reply().startswith("221")
    assert talk.rest() == b""
    gateway.submitted(0)


def test_a_header_of_another_can_not_be_made_of_an_address_or_a_greeting(gateway: Gateway):
    with gateway.connect() as talk:
        talk.reply()
        assert talk.ask(b"EHLO x (y) by z; Bcc: a\r\n").startswith("250")
        start_content(talk)
        assert talk.ask(HELLO + b".\r\n").startswith("250")
    [mail] = gateway.submitted(1)
    assert mail.content.startswith(
        b"Received: from unknown ([127.0.0.1])\r\n by gate.example (Pillarbox) with ESMTP id "
    )


def test_a_reply_repeats_no_more_of_an_address_than_fits_in_a_line(talk: Talk):
    reply = talk.ask(b"MAIL FROM:<" + b"\xc3\xbc" * 1000 + b"> SMTPUTF8\r\n")
    assert reply.startswith("553 ")
    assert len(reply) <= 510
    assert reply.isascii()


def test_who_guesses_is_slowed_down_and_then_refused(rabbitmq: PrivateNode, authority: Authority, tmp_path):
    url = new_vhost(rabbitmq)
    loopback = {"PILLARBOX_GATEWAY_PLAINTEXT": "loopback"}
    with running_gateway(url, tmp_path, authority, {"sending": {"hold": 0}}, **loopback) as gateway:
        began, replies = time.monotonic(), []
        with gateway.connect() as talk:
            talk.reply()
            talk.ask(b"EHLO x\r\n")
            for _ in range(5):
                replies.append(talk.ask(b"AUTH PLAIN AHNob3AAYmF0dGVyeQ==\r\n")[:9])
        assert replies == ["535 5.7.8"] * 5
        # One second after the third failure, two after the fourth.
        assert time.monotonic() - began >= 3
        wait_until(lambda: len(gateway.worker.logged("sign_in_failed")) == 5, "a log line for each")
    delete_vhost(rabbitmq, url)


def test_junk_commands_come_to_an_end(talk: Talk):
    talk.send(b"NOOP\r\n" * 120)
    replies = [talk.reply()[:3] for _ in range(102)]
    assert replies == ["250"] * 100 + ["421", ""]


@pytest.mark.parametrize(
    "octets", [b"\xff\xfe\xfd\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n", b" \r\n", b"\r\n", b"GET / HTTP/1.1\r\n"]
)
def test_what_is_no_smtp_is_refused(talk: Talk, octets: bytes):
    talk.try_to_send(octets)
    assert talk.reply()[:1] == "5"


def test_a_client_that_goes_in_the_middle_of_its_mail_has_sent_none(gateway: Gateway):
    for part in (HELLO, HELLO + b".\r", HELLO + b"."):
        with gateway.connect() as talk:
            talk.reply()
            talk.ask(b"EHLO x\r\n")
            start_content(talk)
            talk.send(part)
    with gateway.connect() as talk:
        assert talk.reply().startswith("220")
    gateway.submitted(0)
