"""The compose file is brought up as its head says; mail comes in at each door, and all is still there after a stop."""

import json
import os
import smtplib
import ssl
from collections.abc import Iterator

import pika
import pytest

from tests.support.certificates import Authority
from tests.support.compose import OWNER, Composed
from tests.support.console import Browser
from tests.support.gateway import PASSWORD, USER
from tests.support.ports import wait_until
from tests.support.sinks import RecordingSink

pytestmark = [
    pytest.mark.skipif("COMPOSE" not in os.environ, reason="make compose runs it; it needs a container engine"),
    pytest.mark.timeout(900),
]

MAIL = "From: shop@sender.example\r\nSubject: over the gateway\r\n\r\nGood morning.\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Composed]:
    made = Composed(tmp_path_factory.mktemp("compose"))
    folder, issued = made.folder / "gateway", authority.issue("gateway")
    folder.mkdir()
    os.chown(folder, OWNER, OWNER)
    for file, name in ((issued.certificate, "certificate.pem"), (issued.key, "key.pem")):
        (folder / name).write_bytes(file.read_bytes())
        os.chown(folder / name, OWNER, OWNER)
    with made as running:
        running.operator("accounts", "add", USER, "--file", "/gateway/accounts.toml", stdin=f"{PASSWORD}\n")
        running.operator("console", "user", "ada", "--file", "/console/users.toml", stdin=f"{PASSWORD}\n")
        running.up()
        yield running


@pytest.fixture(scope="module")
def relay(site: Composed) -> Iterator[RecordingSink]:
    with RecordingSink(address=site.our_address()) as sink:
        changes = (f"relay.host={sink.address}", f"relay.port={sink.port}", "identity.helo_name=robot.example")
        site.operator("settings", "set", *changes, "sending.hold=0")
        yield sink


def test_every_worker_is_healthy(site: Composed):
    site.wait_for_health("scheduler", "resolver", "sender", "gateway", "console", "rabbitmq", "postgres")


def test_a_program_of_this_machine_publishes_to_the_broker(site: Composed, relay: RecordingSink):
    password = (site.folder / "secrets" / "client").read_text().strip()
    url = f"amqp://pillarbox-client:{password}@{site.published('rabbitmq', 5672)}/pillarbox"
    mail = {"from": "shop@sender.example", "to": ["a@mx.example"], "subject": "over AMQP", "text": "Good morning."}
    properties = pika.BasicProperties(message_id="over-amqp", content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("pillarbox.submit", "", json.dumps(mail).encode(), properties, mandatory=True)
    wait_for_mail_to("a@mx.example", relay)


def test_a_program_sends_over_the_gateway(site: Composed, relay: RecordingSink, authority: Authority):
    context = ssl.create_default_context(cafile=str(authority.file))
    context.check_hostname = False  # it has the name that it has for the other containers
    with smtplib.SMTP(site.address("gateway"), 587, local_hostname="client.example", timeout=60) as client:
        client.starttls(context=context)
        client.login(USER, PASSWORD)
        client.sendmail("shop@sender.example", ["b@mx.example"], MAIL)
    wait_for_mail_to("b@mx.example", relay)


def test_a_person_signs_in(site: Composed):
    page = Browser(f"http://{site.address('console')}:8025").sign_in("ada", PASSWORD)
    assert page.status_code == 200
    assert "Overview" in page.text


def test_a_program_submits_over_http(site: Composed, relay: RecordingSink):
    token = site.operator("console", "token", "shop", "--file", "/console/tokens.toml").split()[-1]
    mail = {"from": "shop@sender.example", "to": ["c@mx.example"], "subject": "over HTTP", "text": "Good morning."}
    browser = Browser(f"http://{site.address('console')}:8025")
    answer = browser.http.post("/api/v1/mails", json=mail, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 202, answer.text
    wait_for_mail_to("c@mx.example", relay)


def test_nobody_has_logged_an_error(site: Composed):
    logged = site.compose("logs", "--no-color", "scheduler", "resolver", "sender", "gateway", "console").splitlines()
    # Senders start beside the scheduler that makes the tables, and may be first.
    logged = [line for line in logged if "start a scheduler, which creates the tables" not in line]
    assert [line for line in logged if "Traceback" in line or "level=error" in line] == []


def test_mail_and_settings_are_there_after_a_stop(site: Composed, relay: RecordingSink):
    site.down()
    site.up()

    def all_delivered() -> bool:
        listed = site.operator("list", "--state", "delivered")
        return all(subject in listed for subject in ("over AMQP", "over the gateway", "over HTTP"))

    wait_until(all_delivered, "all three are known as delivered", 60)  # of the last the sender may have had no answer
    assert site.operator("settings", "get", "relay.port").strip() == str(relay.port)


def wait_for_mail_to(recipient: str, relay: RecordingSink) -> None:
    wait_until(lambda: any(recipient in mail.recipients for mail in list(relay.mails)), f"mail to {recipient}", 60)
