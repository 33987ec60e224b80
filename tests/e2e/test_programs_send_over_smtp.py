"""Real programs send through the gateway, as their manuals say, and their mail arrives."""

import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.gateway import PASSWORD, USER, Gateway, variables_for
from tests.support.pipeline import Pipeline, relay_to
from tests.support.rabbitmq import delete_vhost, new_vhost
from tests.support.sinks import RecordingSink, SunkMail

MSMTP = """\
account default
host localhost
port {port}
tls on
tls_starttls {starttls}
tls_trust_file {authority}
auth on
user {user}
passwordeval echo '{password}'
from shop@x.example
syslog off
"""

DJANGO = """\
import os
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, send_mail
settings.configure(
    EMAIL_HOST="localhost", EMAIL_PORT=int(os.environ["PORT"]), EMAIL_USE_TLS=True,
    EMAIL_HOST_USER=os.environ["MAIL_USER"], EMAIL_HOST_PASSWORD=os.environ["MAIL_PASSWORD"],
    DEFAULT_FROM_EMAIL="Der Laden <shop@x.example>",
)
assert send_mail("Grüße", "Schöne Grüße", None, ["ann@y.example"]) == 1
mail = EmailMultiAlternatives("two", "text", to=["ann@y.example"], bcc=["bob@y.example"])
mail.extra_headers["X-Pillarbox-Hold"] = "0"
mail.attach_alternative("<p>html</p>", "text/html")
assert mail.send() == 1
"""


@pytest.fixture(scope="module")
def running(
    rabbitmq: PrivateNode, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, RecordingSink]]:
    """One in front of a whole pipeline, for all tests of this file."""
    folder, url = tmp_path_factory.mktemp("gateway"), new_vhost(rabbitmq)
    variables = variables_for(folder, authority)
    with (
        RecordingSink() as sink,
        Pipeline(url, f"sqlite:///{folder}/mail.db", folder, relay_to(sink), environment=variables) as pipeline,
    ):
        made = Gateway(pipeline, variables, authority)
        made.start()
        yield made, sink
    delete_vhost(rabbitmq, url)


@pytest.fixture
def gateway(running: tuple[Gateway, RecordingSink]) -> Gateway:
    """That one."""
    return running[0]


@pytest.fixture
def inbox(running: tuple[Gateway, RecordingSink]) -> RecordingSink:
    """Where its mail arrives; empty."""
    running[1].forget_mails()
    running[0].pipeline.client.events.clear()
    return running[1]


def run(command: list[str], gateway: Gateway, stdin: bytes = b"") -> None:
    """Run a program to its end, which trusts the authority of the tests."""
    variables = {
        **os.environ, "SSL_CERT_FILE": str(gateway.authority.file), "PORT": str(gateway.port), "MAIL_USER": USER,
        "MAIL_PASSWORD": PASSWORD,
    }  # fmt: skip
    done = subprocess.run(command, input=stdin, env=variables, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def arrived(gateway: Gateway, inbox: RecordingSink, count: int) -> list[SunkMail]:
    """So many mails, when nothing is open any more."""
    inbox.wait_for(count, 30)
    gateway.pipeline.client.wait_until(lambda: not gateway.pipeline.open_recipients(), "all final")
    assert len(inbox.mails) == count
    return inbox.mails


def test_swaks(gateway: Gateway, inbox: RecordingSink, tmp_path: Path):
    usual = ["swaks", "--to", "ann@y.example,bob@y.example", "--from", "shop@x.example", "--auth-user", USER,
             "--auth-password", PASSWORD, "--tls-verify", "--tls-ca-path", str(gateway.authority.file)]  # fmt: skip
    starttls = ["--server", "localhost", "--port", str(gateway.port), "--tls"]
    at_once = ["--server", "localhost", "--port", str(gateway.tls_port), "--tlsc"]
    run([*usual, *starttls, "--auth", "PLAIN", "--header", "Subject: plain"], gateway)
    run([*usual, *starttls, "--auth", "LOGIN", "--pipeline", "--header", "Subject: login"], gateway)
    run([*usual, *at_once, "--auth", "LOGIN", "--header", "Subject: at once"], gateway)
    mails = arrived(gateway, inbox, 3)
    assert sorted(mail.message["Subject"] for mail in mails) == ["at once", "login", "plain"]
    assert all(mail.recipients == ("ann@y.example", "bob@y.example") for mail in mails)


@pytest.mark.parametrize("starttls", ["on", "off"])
def test_msmtp(gateway: Gateway, inbox: RecordingSink, tmp_path: Path, starttls: str):
    configuration = tmp_path / "msmtprc"
    port = gateway.port if starttls == "on" else gateway.tls_port
    configuration.write_text(
        MSMTP.format(port=port, starttls=starttls, authority=gateway.authority.file, user=USER, password=PASSWORD)
    )
    configuration.chmod(0o600)
    mail = b"From: shop@x.example\nTo: ann@y.example\nBcc: bob@y.example\nSubject: dots\n\n.\n..\nend\n"
    run(["msmtp", "-C", str(configuration), "--read-recipients"], gateway, mail)
    [taken] = arrived(gateway, inbox, 1)
    assert taken.recipients == ("ann@y.example", "bob@y.example")
    assert taken.content.endswith(b"\r\n\r\n.\r\n..\r\nend\r\n")


def test_django(gateway: Gateway, inbox: RecordingSink):
    run([sys.executable, "-c", DJANGO], gateway)
    first, second = sorted(arrived(gateway, inbox, 2), key=lambda mail: mail.message["Subject"], reverse=True)
    if first.message["Subject"] == "two":
        first, second = second, first
    assert (first.message["Subject"], first.message["From"]) == ("Grüße", "Der Laden <shop@x.example>")
    assert second.recipients == ("ann@y.example", "bob@y.example")
    assert second.message["X-Pillarbox-Hold"] is None


def test_bcc_never_leaves_and_a_held_mail_can_be_taken_back(gateway: Gateway, inbox: RecordingSink):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@x.example", "ann@y.example", "hello"
    mail["X-Pillarbox-Hold"], mail["X-Pillarbox-Batch"] = "1h", "oops"
    mail.set_content("Hello")
    with gateway.client() as client:
        client.send_message(mail)
        del mail["X-Pillarbox-Hold"]
        everybody = ["ann@y.example", "bob@y.example"]
        client.sendmail("shop@x.example", everybody, b"Bcc: bob@y.example\r\n" + mail.as_bytes(policy=SMTP))
    gateway.pipeline.wait_for_event("held")
    gateway.pipeline.wait_for_events(2, "delivered")
    [taken] = inbox.wait_for(1)
    assert taken.recipients == ("ann@y.example", "bob@y.example")
    assert b"bob" not in taken.content
    counts = gateway.pipeline.control("retract", batch="oops")["counts"]
    assert counts == {"retracted": 1, "too_late": 1}
    assert len(arrived(gateway, inbox, 1)) == 1


def test_what_the_scheduler_refuses_is_told_by_an_event(gateway: Gateway):
    """The gate judges what it can; the rest goes its usual way."""
    with gateway.client() as client:
        client.sendmail("a@x.example", ["b@y.example"], b"From: a@x.example\r\nSubject: a\r\nSubject: b\r\n\r\nx\r\n")
    event = gateway.pipeline.wait_for_event("rejected")
    assert (event["field"], event["reason"][:34]) == ("Subject", "the message has several Subject he")


def test_a_client_may_find_out_that_it_can_not_sign_in(gateway: Gateway):
    with gateway.client(sign_in=False) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login(USER, "battery staple")
