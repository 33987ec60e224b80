"""What the broker takes no more of, its publisher hears, in words and as an exit code; nothing of it is dropped."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cli.client import Client
from cli.failures import CommandFailed, ExitCode
from cli.node import PrivateNode
from shared.broker import Broker, Message
from shared.topology import SUBMIT
from tests.support.broker import opened, run
from tests.support.pipeline import declare
from tests.support.rabbitmq import alarm, queues_limited
from tests.support.up import Said, in_this_process

pytestmark = pytest.mark.each_rabbitmq

README = Path(__file__).parents[2] / "README.md"
MOST = 3  # messages; a quorum queue takes one or two more before it refuses


@pytest.fixture
def full_url(rabbitmq: PrivateNode, amqp_url: str) -> Iterator[str]:
    """A virtual host whose submission queue takes three mails, and no scheduler."""
    declare(amqp_url)
    with queues_limited(rabbitmq, amqp_url, "^pillarbox[.]submit$", MOST):
        yield amqp_url


async def counted(url: str) -> int:
    async with opened(url) as broker:
        return await broker.count(SUBMIT)


def send(url: str) -> Said:
    mail = ("--from", "a@x.example", "--to", "b@y.example", "--text", "hello")
    return in_this_process("send", *mail, env={"PILLARBOX_AMQP_URL": url})


def test_a_full_queue_is_an_exit_code_and_a_line_and_what_was_taken_is_there(full_url):
    answers = [send(full_url) for _ in range(MOST + 3)]
    taken = [said for said in answers if said.code == 0]
    refused = [said for said in answers if said.code != 0]
    assert {said.code for said in refused} == {ExitCode.FULL}
    assert all(said.out == "" and "not taken, send it again later: the queue is full" in said.err for said in refused)
    assert len(taken) == asyncio.run(counted(full_url)) >= MOST


def test_the_readmes_client_says_that_its_mail_was_not_taken(full_url, tmp_path):
    [client] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / ".pillarbox").mkdir()
    (tmp_path / ".pillarbox" / "run.json").write_text(json.dumps({"amqp_url": full_url}))
    while send(full_url).code == 0:
        pass

    ran = subprocess.run([sys.executable, "-c", client], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 1
    assert ran.stderr == "not taken: the queue is full; send it again later\n"


@pytest.mark.parametrize("resource", ["memory", "disk"])
def test_a_broker_that_is_short_of_something_says_so_and_what_was_not_confirmed_comes_when_it_is_not(
    rabbitmq, amqp_url, resource
):
    declare(amqp_url)
    mails = [Message(SUBMIT, "", b"%d" % number) for number in range(5)]

    async def publish(client: Client) -> None:
        while True:  # a connection is blocked at its next publish after the alarm
            assert await client.publish(mails, timedelta(seconds=0.5)) == []

    async def scene() -> None:
        broker = Broker(amqp_url, "test", patience_s=20)
        await broker.start()
        with alarm(rabbitmq, resource):
            with pytest.raises(CommandFailed, match=f"takes nothing now, being low on {resource}") as failed:
                await publish(Client(broker, amqp_url, timedelta(seconds=5)))
            assert failed.value.code is ExitCode.UNREACHABLE
            waiting = asyncio.create_task(broker.publisher.publish(mails))
        assert await waiting == []
        await broker.close()

    run(scene())
