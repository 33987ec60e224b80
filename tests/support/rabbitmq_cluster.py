"""A RabbitMQ cluster on one machine: private nodes with secrets in common, on loopback and free ports."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import msgspec

from cli.guarded import GuardedProcess
from cli.node import PrivateNode, find_epmd
from cli.node_folder import Identity, choose_identity
from tests.support.ports import wait_for_port
from tests.support.rabbitmq import evaluate

_MEMBER = """
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {first}
cluster_formation.classic_config.nodes.2 = {name}
"""


class ClusterNode(PrivateNode):
    """A member of a cluster; its data make it one again after a crash."""

    def __init__(self, folder: Path, number: int, common: Identity, scripts: Path | None) -> None:
        super().__init__(folder, scripts=scripts)
        self._number = number
        self._common = common
        self._has_started = False

    def start(self, timeout: float = 180) -> None:
        """As any, but a member also waits for the others, and three share the processors."""
        super().start(timeout)

    @property
    def name(self) -> str:
        """Unique in the cluster."""
        return _name(self._number)

    def _choose_identity(self) -> Identity:
        own = choose_identity(self.folder, None)
        return msgspec.structs.replace(self._common, port=own.port, distribution_port=own.distribution_port)

    def _write_files(self, scripts: Path) -> None:
        super()._write_files(scripts)
        configuration = self.folder / "rabbitmq.conf"
        lines = configuration.read_text()
        if self._number > 1:
            lines += _MEMBER.format(first=_name(1), name=self.name)
        if self._number > 1 or self._has_started:
            # The cluster has them; to import them once more costs a restart three of nine seconds.
            lines = "".join(line for line in lines.splitlines(True) if not line.startswith("load_definitions"))
        configuration.write_text(lines)
        self._has_started = True

    def _environment(self, scripts: Path) -> dict[str, str]:
        return super()._environment(scripts) | {"RABBITMQ_NODENAME": self.name}

    def _run_epmd(self, variables: dict[str, str], output: IO[str], deadline: float) -> None:
        """The cluster's runs: members find each other by one, and it has to outlive each of them."""


@contextmanager
def temporary_cluster(size: int = 3, scripts: Path | None = None) -> Iterator[Sequence[PrivateNode]]:
    """So many nodes, started and joined, in a folder that goes away with them."""
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-cluster-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        common = choose_identity(folder, None)
        epmd = find_epmd(f"{scripts}:{os.environ['PATH']}")
        arguments = [epmd, "-port", str(common.epmd_port), "-address", "127.0.0.1"]
        stack.callback(GuardedProcess(arguments).stop)
        wait_for_port(common.epmd_port)
        nodes = [ClusterNode(folder / str(number), number, common, scripts) for number in range(1, size + 1)]
        for node in nodes:
            stack.callback(node.kill)
        nodes[0].start()
        with ThreadPoolExecutor(size) as pool:
            list(pool.map(PrivateNode.start, nodes[1:]))
        yield nodes


def url_of(nodes: Sequence[PrivateNode]) -> str:
    """PILLARBOX_AMQP_URL for all of them."""
    return ",".join(node.amqp_url for node in nodes)


def members(node: PrivateNode) -> dict[str, set[str]]:
    """Of each replicated queue and stream of the usual virtual host: the nodes that have it."""
    listed = evaluate(
        node,
        "lists:flatten([[binary_to_list(element(4, amqqueue:get_name(Q))), [[$ | atom_to_list(N)] || N <- Nodes], $;] "
        "|| Q <- rabbit_amqqueue:list(), #{nodes := Nodes} <- [amqqueue:get_type_state(Q)]])",
    )
    queues = (queue.split() for queue in listed.strip('"').split(";") if queue)
    return {name: set(nodes) for name, *nodes in queues}


def _name(number: int) -> str:
    return f"pillarbox{number}@localhost"
