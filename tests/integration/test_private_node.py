"""The private RabbitMQ node behind `pillarbox up`: its data stay, its processes do not."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest

from cli.node import NodeFailed, PrivateNode
from cli.node_folder import MARK
from tests.support.ports import is_listening, wait_until
from tests.support.rabbitmq import evaluate, sync_queue_registry

_NODE_OF_ANOTHER_PROCESS = """
import pathlib, sys
from cli.node import PrivateNode
node = PrivateNode(pathlib.Path(sys.argv[1]))
node.start()
print(node.identity.port, node.identity.epmd_port, flush=True)
input()
"""


@pytest.mark.parametrize("end", [PrivateNode.stop, PrivateNode.kill])
def test_confirmed_messages_outlive_the_node(own_node: PrivateNode, own_url: str, end: Callable[[PrivateNode], None]):
    port = own_node.identity.port
    with pika.BlockingConnection(pika.URLParameters(own_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", "kept", b"still there", pika.BasicProperties(delivery_mode=2), mandatory=True)
    sync_queue_registry(own_node)

    end(own_node)
    assert not own_node.running
    own_node.start()

    assert own_node.identity.port == port
    with pika.BlockingConnection(pika.URLParameters(own_url)) as connection:
        _method, _properties, body = connection.channel().basic_get("kept", auto_ack=True)
    assert body == b"still there"


def test_the_folder_is_for_its_owner_alone(rabbitmq: PrivateNode):
    paths = [rabbitmq.folder, *rabbitmq.folder.rglob("*")]
    open_to_others = [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert stat.S_IMODE((rabbitmq.folder / ".erlang.cookie").stat().st_mode) == 0o400
    assert rabbitmq.identity.password not in (rabbitmq.folder / "definitions.json").read_text()


def test_what_the_node_starts_each_minute_does_not_load_its_code(rabbitmq: PrivateNode):
    started = evaluate(rabbitmq, 'os:cmd("echo arguments: $ERL_AFLAGS")')
    assert started == '"arguments:\\n"'


def test_a_folder_has_one_node(rabbitmq: PrivateNode):
    with pytest.raises(NodeFailed, match=f"process {os.getpid()} runs the node in"):
        PrivateNode(rabbitmq.folder).start()
    assert rabbitmq.running


def test_a_port_in_use_is_named(tmp_path: Path, rabbitmq: PrivateNode):
    with pytest.raises(NodeFailed, match=f"another program listens on port {rabbitmq.identity.port}"):
        PrivateNode(tmp_path, port=rabbitmq.identity.port).start()


def test_nothing_is_left_running_when_the_parent_is_killed(tmp_path: Path):
    with _node_of_another_process(tmp_path) as (parent, ports):
        parent.kill()
        wait_until(lambda: not any(map(is_listening, ports)), "node and epmd have ended", timeout=30)


def test_a_node_whose_guard_was_lost_is_stopped_by_the_next_start(tmp_path: Path):
    with _node_of_another_process(tmp_path) as (parent, ports):
        for guard in _guards_of(tmp_path):
            os.kill(guard, signal.SIGKILL)
        parent.kill()
        parent.wait()
        assert all(map(is_listening, ports))

    node = PrivateNode(tmp_path)
    node.start()
    node.stop()

    assert [node.identity.port, node.identity.epmd_port] == ports
    assert not any(map(is_listening, ports))


def test_a_node_that_can_not_start_shows_the_end_of_its_log(tmp_path: Path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "pillarbox@localhost").write_text("a file where the node wants a folder")
    with pytest.raises(NodeFailed, match=r"RabbitMQ ended while it started\n(.*\n)*.*BOOT FAILED"):
        PrivateNode(tmp_path).start()


def test_a_named_release_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PILLARBOX_RABBITMQ", str(tmp_path))
    with pytest.raises(NodeFailed, match="PILLARBOX_RABBITMQ: there is no rabbitmq-server in"):
        PrivateNode(tmp_path / "node").start()


@contextmanager
def _node_of_another_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """A process that runs a node, and the ports of the node and its epmd."""
    with subprocess.Popen(
        [sys.executable, "-c", _NODE_OF_ANOTHER_PROCESS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        yield parent, [int(port) for port in parent.stdout.readline().split()]
        parent.kill()


def _guards_of(folder: Path) -> list[int]:
    """The shells that stand between the parent and the node's processes."""
    guards = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0")
            if marked and (process / "cmdline").read_bytes().split(b"\0")[3:4] == [b"guard"]:
                guards.append(int(process.name))
        except OSError:
            continue
    return guards
