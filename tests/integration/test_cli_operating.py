"""`setup`, `watch`, `dead`, and the exit codes when nobody is there."""

import asyncio
import contextlib

import pika
import pytest

from shared import topology
from shared.broker import Broker, Message, Properties
from shared.dead import dead_letter, put_aside
from shared.dead_letters import read_letter, redriven
from shared.topology import DEAD, RESOLVE, SUBMIT
from tests.support.ports import free_port, wait_until
from tests.support.up import Up, in_this_process, pillarbox

SEND = ("send", "--from", "a@x.example", "--to", "b@y.example", "--text", "x")


@pytest.fixture
def env(amqp_url: str, tmp_path) -> dict[str, str]:
    """A broker without any worker."""
    return {"PILLARBOX_AMQP_URL": amqp_url, "PILLARBOX_HOME": str(tmp_path / "home")}


def test_without_a_broker_it_says_where_it_looked_and_what_to_do(tmp_path):
    port = free_port()
    said = pillarbox(
        "list", env={"PILLARBOX_AMQP_URL": f"amqp://u:secret@127.0.0.1:{port}/v", "PILLARBOX_HOME": str(tmp_path)}
    )
    assert (said.code, said.out) == (3, "")
    assert f"no broker at 127.0.0.1:{port}" in said.err
    assert "pillarbox up" in said.err
    assert "secret" not in said.err


@pytest.mark.each_rabbitmq
def test_a_wrong_password_is_told_at_once(env):
    url = env["PILLARBOX_AMQP_URL"].replace("://pillarbox:", "://pillarbox:not-")
    said = in_this_process("list", env={**env, "PILLARBOX_AMQP_URL": url})
    assert said.code == 3
    assert "does not let us in" in said.err


@pytest.mark.each_rabbitmq
def test_without_the_topology_it_asks_for_setup_and_then_mail_is_safe(env):
    said = in_this_process(*SEND, env=env)
    assert said.code == 1
    assert "declare the topology with `pillarbox setup`" in said.err
    declared = in_this_process("setup", env=env)
    assert declared.code == 0, declared.err
    assert "8 exchanges and 11 queues are there" in declared.out
    assert in_this_process("setup", "--json", env=env).json["queues"]["pillarbox.submit"] == 0
    assert in_this_process(*SEND, env=env).code == 0
    assert in_this_process("setup", "--json", env=env).json["queues"]["pillarbox.submit"] == 1


def test_without_a_scheduler_there_is_no_answer(env):
    assert in_this_process("setup", env=env).code == 0
    said = in_this_process("retract", "x", "--timeout", "1s", env=env)
    assert said.code == 4
    assert "no answer from the scheduler within 1 s" in said.err
    looked = in_this_process("watch", "--count", "1", "--json", env=env)
    assert (looked.code, looked.json["scheduler"], looked.json["queues"]["pillarbox.control"]) == (0, False, 1)


def test_watch_shows_what_waits_where(up: Up):
    assert up.command(*SEND).code == 0
    wait_until(lambda: up.command("watch", "--count", "1", "--json").json["states"]["held"] == 1, "the held mail")
    shown = up.command("watch", "--count", "2", "--every", "0.2s")
    assert shown.code == 0
    for words in ("in the lanes, to senders", "dead letters", "held", "settings revision 0"):
        assert words in shown.out


def test_sites_shows_those_that_are_down_and_with_all_those_that_work(up: Up):
    nothing = up.command("sites")
    assert (nothing.code, "every site works" in nothing.err) == (0, True)
    assert "no site was used in the last hour" in up.command("sites", "--all").err
    assert up.command(*SEND, "--hold", "0").code == 0
    wait_until(lambda: "up" in up.command("sites", "--all").out.split(), "the inbox was found working", timeout=30)
    [site] = up.command("sites", "--all", "--json").json["sites"]
    assert (site["site"].startswith("relay:127.0.0.1:"), site["state"], site["waiting"]) == (True, "up", 0)
    assert up.command("sites", "--json").json["sites"] == []


def run(url: str, work):
    """Run a coroutine with a broker."""

    async def with_broker():
        broker = Broker(url, "test", patience_s=30)
        await broker.start()
        try:
            return await work(broker)
        finally:
            await broker.close()

    return asyncio.run(with_broker())


@pytest.mark.each_rabbitmq
def test_dead_letters_of_workers_and_of_the_broker_are_listed_and_go_back(env):
    async def die(broker: Broker) -> None:
        await topology.declare(broker)
        await broker.publisher.publish(
            [Message(SUBMIT, "", b"{}", Properties(message_id="m1", headers={"batch": "b"}))]
        )
        peek = await broker.get(SUBMIT, 1)
        await broker.publisher.publish([dead_letter(peek.deliveries[0], SUBMIT, "from: is missing")])
        peek.ack(peek.deliveries[0])
        await peek.close()
        await broker.publisher.publish([Message(RESOLVE, "", b"poison", Properties(message_id="m2"))])
        for _ in range(topology.DELIVERY_LIMIT + 1):
            await (await broker.get(RESOLVE, 1)).close()

    run(env["PILLARBOX_AMQP_URL"], die)
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(env["PILLARBOX_AMQP_URL"]))) as client:
        hurried = pika.BasicProperties(message_id="m3", expiration="1", delivery_mode=2)
        client.channel().basic_publish(SUBMIT, "", b"{}", hurried)
    wait_until(lambda: in_this_process("dead", "list", "--json", env=env).json["total"] == 3, "all dead letters")
    letters = in_this_process("dead", "list", "--json", env=env).json["letters"]
    found = {letter["message_id"]: (letter["exchange"], letter["reason"]) for letter in letters}
    assert found["m1"] == (SUBMIT, "from: is missing")
    assert found["m2"] == (RESOLVE, "every worker that had it failed, until its delivery limit (pillarbox.resolve)")
    assert found["m3"] == (SUBMIT, "it expired in its queue (pillarbox.submit)")
    assert "from: is missing" in in_this_process("dead", "list", env=env).out

    assert in_this_process("dead", "redrive", "--only", "m4", env=env).code == 1
    one = in_this_process("dead", "redrive", "--only", "m1", "--json", env=env)
    assert (one.code, [letter["id"] for letter in one.json["redriven"]]) == (0, ["m1"])
    assert in_this_process("dead", "list", "--json", env=env).json["total"] == 2
    rest = in_this_process("dead", "redrive", env=env)
    assert (rest.code, rest.err) == (0, "2 dead letters published again\n")

    async def returned(broker: Broker) -> list[tuple[bytes, str | None, object]]:
        found = []
        for queue in (SUBMIT, RESOLVE):
            peek = await broker.get(queue, 2)
            found += [
                (each.body, each.properties.message_id, each.properties.headers.get("batch"))
                for each in peek.deliveries
            ]
            await peek.close()
        return found

    assert run(env["PILLARBOX_AMQP_URL"], returned) == [
        (b"{}", "m1", "b"),
        (b"{}", "m3", None),
        (b"poison", "m2", None),
    ]


def test_a_letter_that_was_put_aside_or_redriven_twice_is_seen_to_be_one(env):
    async def die_twice(broker: Broker) -> None:
        await topology.declare(broker)
        await broker.publisher.publish([Message(SUBMIT, "", b"{}", Properties(message_id="m1"))])
        for _ in range(2):  # the first worker died before its ack
            peek = await broker.get(SUBMIT, 1)
            await put_aside(broker.publisher, peek.deliveries[0], SUBMIT, "from: is missing")
            await peek.close()

    async def redrive_and_die(broker: Broker) -> None:
        peek = await broker.get(DEAD, 1)
        await broker.publisher.publish([redriven(read_letter(1, peek.deliveries[0]), peek.deliveries[0])])
        await peek.close()

    async def submitted(broker: Broker) -> list[str | None]:
        peek = await broker.get(SUBMIT, 10)
        ids = [each.properties.message_id for each in peek.deliveries]
        await peek.close()
        return ids

    run(env["PILLARBOX_AMQP_URL"], die_twice)
    run(env["PILLARBOX_AMQP_URL"], redrive_and_die)
    letters = in_this_process("dead", "list", "--json", env=env).json["letters"]
    assert len(letters) == 2
    assert len({letter["mark"] for letter in letters}) == 1
    assert in_this_process("dead", "redrive", env=env).code == 0
    # However often it comes: an id that is known makes no second mail.
    assert set(run(env["PILLARBOX_AMQP_URL"], submitted)) == {"m1"}
