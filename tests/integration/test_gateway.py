"""The gateway as clients meet it: a real one, in front of a real broker."""

import smtplib
import socket
from base64 import b64encode
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.gateway import PASSWORD, USER, Gateway, Talk, an_account, running_gateway
from tests.support.ports import wait_until
from tests.support.rabbitmq import delete_vhost, new_vhost

HELLO = b"From: a@x.example\r\nTo: b@y.example\r\nSubject: Hi\r\n\r\nHello\r\n"
MAX_SIZE = 100_000
SETTINGS = {"sending": {"hold": 0, "max_size": MAX_SIZE}}


@pytest.fixture(scope="module")
def gateway(rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of this file, which leave its accounts and settings as they were."""
    url = new_vhost(rabbitmq)
    with running_gateway(url, tmp_path_factory.mktemp("gateway"), authority, SETTINGS) as running:
        yield running
    delete_vhost(rabbitmq, url)


def send(client: smtplib.SMTP, content: bytes = HELLO, *recipients: str, sender: str = "a@x.example") -> str:
    """The reply to the content."""
    client.mail(sender)
    for recipient in recipients or ("b@y.example",):
        client.rcpt(recipient)
    code, said = client.data(content)
    return f"{code} {said.decode()}"


# ---------------------------------------------------------------------------------------------------------
# Mail


def test_a_mail_is_published_with_its_envelope_and_answered_with_its_id(gateway: Gateway):
    with gateway.client() as client:
        said = send(client, HELLO, "b@y.example", "c@Y.example")
    [mail] = gateway.submitted(1)
    assert said == f"250 2.0.0 Ok: queued as {mail.id}"
    assert mail.id[14] == "7"
    assert mail.headers == {"mail-from": "a@x.example", "rcpt-to": ["b@y.example", "c@y.example"]}
    assert (mail.content_type, mail.user) == ("message/rfc822", "pillarbox")
    received, _, rest = mail.content.partition(b"From: ")
    assert received.startswith(
        b"Received: from client.example ([127.0.0.1])\r\n"
        b" by gate.example (Pillarbox) with ESMTPSA id " + mail.id.encode() + b";\r\n"
    )
    assert b"From: " + rest == HELLO
    assert gateway.worker.logged("submitted", mail=mail.id, account=USER, recipients=2)


def test_over_implicit_tls_too(gateway: Gateway):
    with smtplib.SMTP_SSL("localhost", gateway.tls_port, context=gateway.context) as client:
        assert client.login(USER, PASSWORD)[0] == 235
        assert not client.has_extn("starttls")
        assert send(client).startswith("250 ")
    assert b"with ESMTPSA id" in gateway.submitted(1)[0].content


def test_what_is_offered(gateway: Gateway):
    with gateway.client(tls=False, sign_in=False) as client:
        client.ehlo()
        assert set(client.esmtp_features) == {"pipelining", "size", "8bitmime", "smtputf8", "starttls", "help"}
        assert client.esmtp_features["size"] == str(MAX_SIZE - 2048)
    with gateway.client(sign_in=False) as client:
        client.ehlo()
        assert set(client.esmtp_features) == {"pipelining", "size", "8bitmime", "smtputf8", "auth", "help"}
        assert client.esmtp_features["auth"].split() == ["LOGIN", "PLAIN"]


def test_several_mails_and_a_content_with_dots_go_over_one_connection(gateway: Gateway):
    content = HELLO + b".\r\n..\r\n.dot\r\n" + bytes(range(128, 256)) + b"\r\n"
    with gateway.client() as client:
        assert [send(client, content)[:3] for _ in range(3)] == ["250"] * 3
    assert all(mail.content.endswith(content) for mail in gateway.submitted(3))


def test_the_null_reverse_path_is_one(gateway: Gateway):
    with gateway.client() as client:
        assert send(client, sender="").startswith("250")
    assert gateway.submitted(1)[0].headers["mail-from"] == ""


def test_our_headers_are_honoured_and_removed(gateway: Gateway):
    with gateway.client() as client:
        assert send(client, b"X-Pillarbox-Hold: 10m\r\nX-Pillarbox-Batch: march\r\n" + HELLO).startswith("250")
        refused = send(client, b"X-Pillarbox-Hold: soon\r\n" + HELLO)
        assert send(client).startswith("250")
    assert refused.startswith('550 5.6.0 X-Pillarbox-Hold: got "soon"; takes a duration such as "90s"')
    first, second = gateway.submitted(2)
    assert (first.headers["hold"], first.headers["batch"], b"X-Pillarbox" in first.content) == ("10m", "march", False)
    assert "hold" not in second.headers


def test_an_internationalised_mail_needs_smtputf8(gateway: Gateway):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "jörg@x.example", "øre@y.example", "Grüße"
    mail.set_content("Grüße")
    with gateway.client() as client:
        client.send_message(mail)
        assert client.docmd("MAIL FROM:<a@x.example>")[0] == 250
        client.command_encoding = "utf-8"
        code, said = client.docmd("RCPT TO:<øre@y.example>")
        assert (code, said[:5]) == (553, b"5.6.7")
    [taken] = gateway.submitted(1)
    assert taken.headers == {"mail-from": "jörg@x.example", "rcpt-to": ["øre@y.example"]}
    assert b"with UTF8SMTPSA id" in taken.content


# ---------------------------------------------------------------------------------------------------------
# Who may send


def test_nobody_is_relayed_for_who_has_not_signed_in(gateway: Gateway):
    for tls in (False, True):
        with gateway.client(tls=tls, sign_in=False) as client:
            client.ehlo()
            code, said = client.mail("a@x.example")
            assert (code, said) == (530, b"5.7.0 sign in first")
            assert client.rcpt("b@y.example")[0] == 503
            assert client.docmd("DATA")[0] == 503
    gateway.submitted(0)


def test_nobody_signs_in_without_tls(gateway: Gateway):
    with gateway.client(tls=False, sign_in=False) as client:
        client.ehlo()
        code, said = client.docmd("AUTH", "PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode())
        assert (code, said[:6]) == (538, b"5.7.11")
        assert client.mail("a@x.example")[0] == 530


def test_a_wrong_password_is_refused_and_said_nowhere(gateway: Gateway):
    with gateway.client(sign_in=False) as client:
        for user in (USER, "nobody"):
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                client.login(user, "battery staple", initial_response_ok=False)
            assert refused.value.smtp_code == 535
        assert client.mail("a@x.example")[0] == 530
        assert client.login(USER, PASSWORD)[0] == 235
        assert client.docmd("AUTH", "PLAIN")[0] == 503  # once is enough
    [known] = gateway.worker.logged("sign_in_failed", account=USER)[-1:]
    assert "known=yes" in known
    assert not any("battery" in line or PASSWORD in line for line in gateway.worker.log)


@pytest.mark.parametrize(
    ("lines", "replies"),
    [
        (["AUTH PLAIN !"], ["501 5.5.2"]),
        (["AUTH PLAIN", "*"], ["334 ", "501 5.7.0"]),
        (["AUTH PLAIN", "!"], ["334 ", "501 5.5.2"]),
        (["AUTH LOGIN", "c2hvcA==", "*"], ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "501 5.7.0"]),
        (["AUTH LOGIN c2hvcA==", "="], ["334 UGFzc3dvcmQ6", "501 5.5.2"]),
        (["AUTH CRAM-MD5"], ["504 5.5.4"]),
        (["AUTH"], ["501"]),
    ],
)
def test_a_sign_in_that_is_none_is_refused(gateway: Gateway, lines: list[str], replies: list[str]):
    with gateway.client(sign_in=False) as client:
        client.ehlo()
        for line, reply in zip(lines, replies, strict=True):
            code, said = client.docmd(line)
            assert f"{code} {said.decode()}".startswith(reply)
        assert client.mail("a@x.example")[0] == 530


def test_what_was_said_before_the_handshake_counts_no_longer(gateway: Gateway):
    with gateway.client(tls=False, sign_in=False) as client:
        client.ehlo()
        client.starttls(context=gateway.context)
        assert client.docmd("MAIL FROM:<a@x.example>")[0] == 503  # EHLO comes first, again
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 503


def test_an_account_sends_in_its_own_name_alone(gateway: Gateway):
    gateway.write_accounts(shop=an_account(senders=("x.example", "b@y.example")))
    with gateway.client() as client:
        code, said = client.mail("a@z.example")
        assert (code, said) == (553, b"5.7.1 shop may not send as a@z.example")
        assert send(client, HELLO.replace(b"From: a@x", b"From: a@z")).startswith("550 5.7.1 From: shop may not send")
        assert send(client, b"Sender: a@z.example\r\n" + HELLO).startswith("550 5.7.1 From: shop may not send")
        assert send(client, HELLO, sender="").startswith("250")
        assert send(client, sender="b@y.example").startswith("250")
    gateway.submitted(2)
    gateway.write_accounts(shop=an_account())


def test_an_accounts_hold_and_batch_go_with_mail_that_says_nothing(gateway: Gateway):
    gateway.write_accounts(shop=an_account(hold="10m", batch="shop"))
    with gateway.client() as client:
        send(client)
        send(client, b"X-Pillarbox-Hold: 0\r\n" + HELLO)
    assert [(mail.headers["hold"], mail.headers["batch"]) for mail in gateway.submitted(2)] == [
        ("10m", "shop"),
        ("0", "shop"),
    ]
    gateway.write_accounts(shop=an_account())


def test_an_account_sends_so_many_mails_a_minute(gateway: Gateway):
    gateway.write_accounts(shop=an_account(rate=2))
    with gateway.client() as client:
        assert [send(client)[:3] for _ in range(2)] == ["250", "250"]
        code, said = client.mail("a@x.example")
        assert (code, said[:30]) == (450, b"4.7.28 takes 2 mails a minute;")
    gateway.submitted(2)
    gateway.write_accounts(shop=an_account())


def test_a_broken_file_leaves_the_accounts_as_they_were(gateway: Gateway):
    good = gateway.accounts.read_text()
    gateway.accounts.write_text("[accounts.shop]\npassword = 'correct horse'\n")
    wait_until(lambda: bool(gateway.worker.logged("accounts_not_read")), "accounts_not_read")
    [line] = gateway.worker.logged("accounts_not_read")
    assert "takes a hash" in line
    assert line.endswith("next=the_former_stay")
    with gateway.client() as client:
        assert client.noop()[0] == 250
    gateway.accounts.write_text(good)
    gateway.write_accounts(shop=an_account())


def test_who_is_removed_or_has_another_password_is_out_at_the_next_mail(gateway: Gateway):
    for accounts in ({}, {USER: an_account("battery staple")}):
        with gateway.client() as client:
            gateway.write_accounts(**accounts)
            code, said = client.mail("a@x.example")
            assert (code, said[:5]) == (421, b"4.7.0")
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
        gateway.write_accounts(shop=an_account())


# ---------------------------------------------------------------------------------------------------------
# What is refused


def test_what_is_too_large_is_refused_before_or_after_it_was_sent(gateway: Gateway):
    with gateway.client() as client:
        assert client.mail("a@x.example", [f"SIZE={MAX_SIZE}"])[0] == 552
        client.rset()
        large = HELLO + b"x" * 70 * 1024 + b"\r\n" + b"y" * 30_000 + b"\r\n"
        assert send(client, large) == f"552 5.3.4 the mail is too large; takes {MAX_SIZE - 2048} octets"
        assert send(client, HELLO + b"line\r\n" * 1_000_000).startswith("552 5.3.4")
        assert send(client).startswith("250")
    gateway.submitted(1)


def test_the_largest_mail_follows_the_settings(gateway: Gateway):
    with gateway.client() as client:
        gateway.pipeline.change(sending={"max_size": 4096})
        assert send(client, HELLO + b"x" * 3000 + b"\r\n").startswith("552 5.3.4")
        gateway.pipeline.change(sending={"max_size": MAX_SIZE})
        assert send(client, HELLO + b"x" * 3000 + b"\r\n").startswith("250")
    gateway.submitted(1)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("MAIL FROM:a@x.example", "553 5.1.3"),
        ("MAIL FROM:<a@x.example", "553 5.1.3"),
        ("MAIL FROM:<nobody>", "553 5.1.7 takes an e-mail address: nobody is none"),
        ("MAIL FROM:<a@x.example> COLOUR=red", "555"),
        ("MAIL FROM:<a@x.example> SMTPUTF8=yes", "501"),
        ("MAIL FROM:<a@x.example> SIZE=many", "501"),
        ("MAIL FROM:<a@x.example> AUTH=<>", "250"),
        ("MAIL FROM:<@relay.example:a@x.example> BODY=8BITMIME", "250"),
        ('MAIL FROM:<"a b"@x.example>', "250"),
        ("RCPT TO:<b@y.example>", "503"),
        ("DATA", "503"),
        ("ETRN", "500"),
        ("EXPN list", "502"),
        ("VRFY b@y.example", "502"),
        ("VRFY <b@y.example>", "252"),
    ],
)
def test_commands_that_are_not_right(gateway: Gateway, command: str, reply: str):
    with gateway.client() as client:
        client.ehlo()
        code, said = client.docmd(command)
        assert f"{code} {said.decode()}".startswith(reply)


def test_a_recipient_that_is_none_does_not_cost_the_others_their_mail(gateway: Gateway):
    with gateway.client() as client:
        refused = client.sendmail("a@x.example", ["b@y.example", "nobody", "c@y.example"], HELLO)
        assert refused == {"nobody": (553, b"5.1.3 takes an e-mail address: nobody is none")}
    assert gateway.submitted(1)[0].headers["rcpt-to"] == ["b@y.example", "c@y.example"]


def test_recipients_and_errors_are_limited(gateway: Gateway):
    gateway.pipeline.change(gateway={"recipients": 100, "errors": 5})
    try:
        with gateway.client() as client:
            client.mail("a@x.example")
            assert [client.rcpt(f"b{number}@y.example")[0] for number in range(101)] == [250] * 100 + [452]
            client.rset()
            assert [client.docmd("DATA")[0] for _ in range(4)] == [503] * 4
            assert client.getreply() == (421, b"4.7.0 too many errors")
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
    finally:
        gateway.pipeline.change(gateway={"recipients": 1000, "errors": 100})
    gateway.submitted(0)


def test_connections_from_an_address_are_limited(gateway: Gateway):
    gateway.pipeline.change(gateway={"connections_per_address": 3})
    try:
        with let_in(gateway), let_in(gateway), let_in(gateway), gateway.connect() as fourth:
            assert fourth.reply().startswith("421 4.7.0 too many connections")
            assert fourth.reply() == ""
    finally:
        gateway.pipeline.change(gateway={"connections_per_address": 50})
    assert gateway.worker.logged("turned_away", client="127.0.0.1")


def let_in(gateway: Gateway) -> Talk:
    """A connection that was greeted; those of earlier tests may just be leaving."""
    while not (talk := gateway.connect()).reply().startswith("220"):
        talk.close()
    return talk


def test_who_says_nothing_is_told_and_parted_from(gateway: Gateway):
    gateway.pipeline.change(gateway={"idle": "1s"})
    try:
        with gateway.connect() as talk:
            assert talk.reply().startswith("220 gate.example ESMTP Pillarbox")
            assert talk.reply().startswith("421 4.4.2")
            assert talk.reply() == ""
    finally:
        gateway.pipeline.change(gateway={"idle": "5m"})


# ---------------------------------------------------------------------------------------------------------
# TLS


def test_a_new_certificate_is_shown_without_a_restart(gateway: Gateway):
    former, issued = _serial(gateway), gateway.authority.issue("localhost")
    issued.key.replace(gateway.key)
    issued.certificate.replace(gateway.certificate)
    gateway.worker.wait_for_log("certificate_read")
    assert _serial(gateway) != former


def _serial(gateway: Gateway) -> str:
    with (
        socket.create_connection(("127.0.0.1", gateway.tls_port)) as plain,
        gateway.context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        certificate = secured.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_a_handshake_that_fails_costs_nobody_else_anything(gateway: Gateway):
    for port in (gateway.tls_port, gateway.port):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            if port == gateway.port:
                plain.sendall(b"EHLO x\r\nSTARTTLS\r\n")
            plain.sendall(b"this is no TLS\r\n" * 10)
            plain.settimeout(30)
            while plain.recv(4096):
                pass
    with gateway.client() as client:
        assert client.noop()[0] == 250
