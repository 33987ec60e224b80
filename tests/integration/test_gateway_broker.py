"""The gateway when its broker goes, is short of something, or refuses; and when the gateway itself is asked to stop."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cli.node import PrivateNode
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, Talk, running_gateway
from tests.support.ports import is_listening, wait_until
from tests.support.rabbitmq import alarm, queues_limited, sync_queue_registry

HELLO = b"From: a@x.example\r\nSubject: Hi\r\n\r\nHello\r\n"
ENVELOPE = (b"MAIL FROM:<a@x.example>", b"RCPT TO:<b@y.example>", b"DATA")
LOOPBACK = {"PILLARBOX_GATEWAY_NETWORKS": "127.0.0.0/8"}


@pytest.fixture
def gateway(own_url: str, authority: Authority, tmp_path: Path) -> Iterator[Gateway]:
    """One with a broker of its own, whose clients need not sign in."""
    with running_gateway(own_url, tmp_path, authority, {"sending": {"hold": 0}}, **LOOPBACK) as running:
        yield running


def greeted(gateway: Gateway) -> Talk:
    talk = gateway.connect()
    assert talk.reply().startswith("220 ")
    assert talk.ask(b"EHLO client.example\r\n").startswith("250")
    return talk


def begin(talk: Talk) -> None:
    assert [talk.ask(command + b"\r\n")[:3] for command in ENVELOPE] == ["250", "250", "354"]


def send(talk: Talk) -> str:
    begin(talk)
    return talk.ask(HELLO + b".\r\n")


def test_a_broker_that_is_away_costs_a_451_and_nothing_else(own_node: PrivateNode, gateway: Gateway):
    sync_queue_registry(own_node)
    with greeted(gateway) as talk, ThreadPoolExecutor(1) as pool:
        own_node.stop()
        assert send(talk).startswith("451 4.3.2 the mail queue takes nothing now; try again later")
        # One that comes back meanwhile has the mail, and its client need not come again.
        begin(talk)
        waiting = pool.submit(talk.ask, HELLO + b".\r\n")
        own_node.start()
        assert waiting.result(60).startswith("250 2.0.0 Ok: queued as ")
    assert len(gateway.submitted(1)) == 1
    assert gateway.worker.logged("not_submitted", next="client_tries_again")


def test_a_broker_that_dies_with_mail_in_its_hands_gets_none_twice(own_node: PrivateNode, gateway: Gateway):
    """What was answered with 451 is not sent again by the gateway when the broker is back."""
    sync_queue_registry(own_node)
    with greeted(gateway) as talk, suppress(RuntimeError), alarm(own_node):  # the alarm ends with the node
        # The first publish makes the broker block the connection, and is not confirmed.
        assert send(talk).startswith("451 4.3.2 ")
        assert gateway.worker.logged("broker_blocked")
        own_node.kill()
    own_node.start()
    with greeted(gateway) as talk:
        taken = send(talk)
    assert [mail.id for mail in gateway.submitted(1)] == [taken.rpartition(" ")[2]]


def test_a_full_queue_costs_a_451_until_there_is_room(own_node: PrivateNode, own_url: str, gateway: Gateway):
    with greeted(gateway) as talk:
        with queues_limited(own_node, own_url, "^pillarbox.submit$", 1):
            replies: list[str] = []

            def refused() -> bool:
                replies.append(send(talk))
                return replies[-1].startswith("4")

            wait_until(refused, "a full queue", 30)
            assert replies[-1] == "451 4.3.0 the mail queue is full; try again later"
        assert send(talk).startswith("250 ")
    gateway.submitted(len([reply for reply in replies if reply.startswith("250")]) + 1)


def test_asked_to_stop_it_finishes_the_mail_under_way_and_parts_from_the_others(gateway: Gateway):
    with greeted(gateway) as idle, greeted(gateway) as busy:
        begin(busy)
        busy.send(HELLO)
        stopping = gateway.pipeline.stop_later(gateway.worker)
        assert idle.reply().startswith("421 4.3.2 the server stops")
        assert idle.reply() == ""
        wait_until(lambda: not is_listening(gateway.port), "a closed door", 30)
        assert busy.ask(b".\r\n").startswith("250 2.0.0 Ok: queued as ")
        assert busy.reply().startswith("421 4.3.2 ")
        stopping.result(30)
    gateway.submitted(1)


def test_a_client_that_never_ends_its_mail_does_not_keep_it_from_stopping(gateway: Gateway):
    with greeted(gateway) as talk:
        begin(talk)
        stopping = gateway.pipeline.stop_later(gateway.worker)
        stopping.result(45)
        assert talk.reply() == ""


def test_without_a_broker_it_does_not_listen(authority: Authority, gateway: Gateway, own_node: PrivateNode):
    gateway.pipeline.stop(gateway.worker)
    own_node.stop()
    [worker] = gateway.pipeline.launch(gateway=1)
    worker.wait_for_log("starting")
    assert not is_listening(gateway.port)
    own_node.start()
    worker.wait_for_log("listening", implicit_tls="false")
    with greeted(gateway) as talk:
        assert send(talk).startswith("250 ")
    gateway.submitted(1)
