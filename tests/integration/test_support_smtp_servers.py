"""The SMTP servers of the tests, spoken to by Python's own client."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable

import pytest

from cli.ports import is_free
from tests.support.certificates import Authority
from tests.support.exim import PrivateExim
from tests.support.opensmtpd import OPENSMTPD, PrivateOpenSmtpd
from tests.support.ports import wait_until
from tests.support.postfix import PrivatePostfix, SmtpSink, smtp_source
from tests.support.sinks import RecordingSink

MAIL = "Subject: hello\r\n\r\nthe text\r\n"


def send(client: smtplib.SMTP, sender: str = "a@x.example", *recipients: str) -> dict[str, tuple[int, bytes]]:
    return client.sendmail(sender, list(recipients) or ["b@y.example"], MAIL)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))


# -- the recording sink --------------------------------------------------------------------------------------


def test_the_sink_remembers_envelope_content_and_connection(sink: RecordingSink):
    with smtplib.SMTP("127.0.0.1", sink.port, local_hostname="client.example") as client:
        client.sendmail("a@x.example", ["b@y.example", "c@y.example"], MAIL)
        client.sendmail("", ["d@y.example"], MAIL)
    sink.wait_until_idle()

    first, second = sink.wait_for(2)
    assert (first.sender, first.recipients) == ("a@x.example", ("b@y.example", "c@y.example"))
    assert (first.helo, first.tls, first.user, first.connection) == ("client.example", False, None, 1)
    assert first.options == (f"SIZE={len(MAIL)}",)
    assert first.content == MAIL.encode()
    assert first.message["Subject"] == "hello"
    assert second.sender == ""
    [connection] = sink.connections
    assert (connection.mails, connection.said_quit) == (2, True)


@pytest.mark.parametrize(
    ("verb", "address", "reply", "refused"),
    [
        ("MAIL", "a@x.example", "451 4.3.0 not now", smtplib.SMTPSenderRefused),
        ("RCPT", "b@y.example", "550 5.1.1 unknown", smtplib.SMTPRecipientsRefused),
        ("DATA", "b@y.example", "452 4.3.1 no room", smtplib.SMTPDataError),
        (".", "b@y.example", "554 5.7.1 not this", smtplib.SMTPDataError),
        ("MAIL", "*", "421 4.3.2 closing", smtplib.SMTPSenderRefused),
        ("CONNECT", "*", "554 5.7.1 no", smtplib.SMTPConnectError),
    ],
)
def test_the_sink_answers_as_told_as_often_as_told(
    sink: RecordingSink, verb: str, address: str, reply: str, refused: type[Exception]
):
    sink.answer(verb, address, reply, times=1)
    with pytest.raises(refused, match=reply[4:]), smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    assert len(sink.wait_for(1)) == 1


def test_the_sink_takes_pipelined_mails(sink: RecordingSink):
    envelope = b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"
    content = MAIL.encode() + b".\r\n"
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as client, client.makefile("rb") as replies:
        client.sendall(b"EHLO client.example\r\n" + envelope)
        client.sendall(content + envelope)
        client.sendall(content + b"QUIT\r\n")
        codes = [line[:3] for line in replies if line[3:4] == b" "]
    assert codes == [b"220", b"250", *([b"250", b"250", b"354", b"250"] * 2), b"221"]
    assert len(sink.wait_for(2)) == 2


def test_the_sink_refuses_ehlo_and_takes_helo(sink: RecordingSink):
    sink.answer("EHLO", "*", "502 5.5.1 too modern")
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    assert [command.split()[0] for command in sink.connections[0].commands][:2] == ["EHLO", "HELO"]


def test_one_recipient_of_two_is_refused(sink: RecordingSink):
    sink.answer("RCPT", "full@y.example", "452 4.2.2 full")
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        refused = send(client, "a@x.example", "full@y.example", "b@y.example")
    assert refused == {"full@y.example": (452, b"4.2.2 full")}
    assert sink.wait_for(1)[0].recipients == ("b@y.example",)


@pytest.mark.parametrize(("verb", "mails"), [("RCPT", 0), (".", 1)])
def test_the_sink_hangs_up(sink: RecordingSink, verb: str, mails: int):
    sink.hang_up(verb)
    with pytest.raises(smtplib.SMTPServerDisconnected), smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    sink.wait_until_idle()
    assert len(sink.mails) == mails


def test_the_sink_pauses_until_released(sink: RecordingSink):
    pause = sink.pause(".")
    done = threading.Event()

    def deliver() -> None:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            send(client)
            done.set()

    thread = threading.Thread(target=deliver)
    thread.start()
    pause.wait()
    assert not done.is_set()
    assert sink.mails == []
    pause.release()
    thread.join()
    assert len(sink.mails) == 1


def test_a_greylisting_sink_takes_the_second_try():
    with RecordingSink(greylists=True) as sink, smtplib.SMTP("127.0.0.1", sink.port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="450"):
            send(client)
        assert send(client) == {}


def test_a_stopped_sink_comes_back_on_its_port_with_its_memory(sink: RecordingSink):
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    sink.stop()
    assert is_free(sink.port)
    sink.start()
    with smtplib.SMTP("127.0.0.1", sink.port) as client:
        send(client)
    assert len(sink.wait_for(2)) == 2


@pytest.mark.parametrize("implicit", [False, True])
def test_the_sink_speaks_tls_and_wants_a_user(authority: Authority, implicit: bool):
    certificate = authority.issue("localhost", "127.0.0.1")
    with RecordingSink(certificate=certificate, implicit_tls=implicit, users={"robot": "secret"}) as sink:
        client = _client(sink.port, authority, implicit)
        with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
            send(client)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("robot", "wrong")
        client.login("robot", "secret")
        send(client)
        client.quit()
        [mail] = sink.wait_for(1)
        assert (mail.tls, mail.user) == (True, "robot")
        assert len(sink.connections) == 1


def test_a_broken_handshake_fails(authority: Authority):
    certificate = authority.issue("localhost")
    with (
        RecordingSink(certificate=certificate, breaks_handshake=True) as sink,
        smtplib.SMTP("127.0.0.1", sink.port) as client,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        client.starttls(context=trusting(authority))


def test_an_expired_certificate_is_seen_to_be_expired(authority: Authority):
    certificate = authority.issue("localhost", "127.0.0.1", expired=True)
    with (
        RecordingSink(certificate=certificate) as sink,
        smtplib.SMTP("127.0.0.1", sink.port) as client,
        pytest.raises(ssl.SSLCertVerificationError, match="expired"),
    ):
        client.starttls(context=trusting(authority))


# -- Postfix -------------------------------------------------------------------------------------------------


def test_postfix_takes_mail_into_its_mailbox():
    with PrivatePostfix() as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port) as client:
            assert "pipelining" in _features(client)
            assert "starttls" not in _features(client)
            send(client, "a@x.example", "b@y.example", "c@z.example")
        mails = postfix.wait_for(2)
        assert sorted((mail.sender, mail.recipient) for mail in mails) == [
            ("a@x.example", "b@y.example"),
            ("a@x.example", "c@z.example"),
        ]
        assert mails[0].mail.get_content() == "the text\n"
        assert any("client=unknown[127.0.0.1]" in line for line in postfix.log)


@pytest.mark.parametrize("implicit", [False, True])
def test_postfix_demands_tls_and_a_user(authority: Authority, implicit: bool):
    certificate = authority.issue("relay.example", "127.0.0.1")
    mechanisms = "PLAIN LOGIN SCRAM-SHA-1"
    with PrivatePostfix(
        certificate=certificate, require_tls=True, users={"robot": "secret"}, mechanisms=mechanisms
    ) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port) as client, pytest.raises(smtplib.SMTPSenderRefused, match="530"):
            send(client)
        client = _client(postfix.tls_port if implicit else postfix.port, authority, implicit)
        assert _features(client)["auth"].split() == mechanisms.split()
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(client)
        client.login("robot", "secret")
        send(client)
        client.quit()
        [received] = postfix.wait_for(1)
        assert "ESMTPSA" in received.mail["Received"]


@pytest.mark.parametrize("relay", [lambda port: "discard:", lambda port: f"smtp:[127.0.0.1]:{port}"])
def test_postfix_passes_mail_on_where_told(relay: Callable[[int], str]):
    with RecordingSink() as sink, PrivatePostfix(deliver_by=relay(sink.port)) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port) as client:
            send(client)
        if relay(sink.port).startswith("smtp"):
            assert sink.wait_for(1)[0].recipients == ("b@y.example",)
        assert postfix.received == []


# -- receivers with mailboxes --------------------------------------------------------------------------------

Receiver = Callable[..., PrivatePostfix | PrivateExim | PrivateOpenSmtpd]


@pytest.mark.parametrize("start", [PrivatePostfix, PrivateExim, OPENSMTPD])
def test_a_receiver_takes_mail_for_its_mailboxes_and_logs_what_it_refuses(start: Receiver):
    with start(mailboxes=["b@y.example", "c@y.example"]) as receiver:
        with smtplib.SMTP("127.0.0.1", receiver.port) as client:
            assert "starttls" not in _features(client)
            refused = send(client, "a@x.example", "b@y.example", "nobody@y.example", "c@y.example")
        mails = receiver.wait_for(2)
        wait_until(lambda: sum(receiver.dealings.taken.values()) == 2, "two deliveries in the log")
        dealings = receiver.dealings
    assert {recipient: code for recipient, (code, _) in refused.items()} == {"nobody@y.example": 550}
    assert [(mail.sender, mail.mail.get_content()) for mail in mails] == [("a@x.example", "the text\n")] * 2
    assert sorted(mail.recipient for mail in mails) == ["b@y.example", "c@y.example"]
    assert (dealings.connections, dealings.refused) == (1, {"nobody@y.example": 1})
    assert len({queue_id for queue_id, _ in dealings.taken}) == 1
    assert {recipient for _, recipient in dealings.taken} == {"b@y.example", "c@y.example"}


@pytest.mark.parametrize("start", [PrivatePostfix, PrivateExim, OPENSMTPD])
def test_a_receiver_speaks_tls(authority: Authority, start: Receiver):
    with start(mailboxes=["b@y.example"], certificate=authority.issue("127.0.0.1")) as receiver:
        with _client(receiver.port, authority, implicit=False) as client:
            send(client)
        [mail] = receiver.wait_for(1)
    assert "esmtps" in mail.mail["Received"].lower()


def test_smtp_source_fills_smtp_sink():
    with SmtpSink() as sink:
        assert smtp_source(sink.port, 200, sessions=4) < 10


def _client(port: int, authority: Authority, implicit: bool) -> smtplib.SMTP:
    if implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", port, context=trusting(authority))
    else:
        client = smtplib.SMTP("127.0.0.1", port)
        client.starttls(context=trusting(authority))
    client.ehlo()
    return client


def _features(client: smtplib.SMTP) -> dict[str, str]:
    client.ehlo()
    return client.esmtp_features
