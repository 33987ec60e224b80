"""What tests do to a private RabbitMQ node beyond starting and stopping it.

Erlang's `erl_call` evaluates an expression inside the node in about 10 ms; `rabbitmqctl` takes a second or two.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.node import PrivateNode
from cli.node_folder import USER
from tests.support.certificates import Authority, Certificate
from tests.support.ports import free_port

# Where `make rabbitmq-4` puts the RabbitMQ of a newer Debian, with its own Erlang.
RABBITMQ_4 = Path(__file__).parents[2] / ".cache/trixie/rabbitmq-server/bin"

_STARTS_WITHIN_S = 120.0  # when four files of tests do so at the same time on two processors

_numbers = itertools.count(1)


@contextmanager
def temporary_node(scripts: Path | None = None, port: int | None = None) -> Iterator[PrivateNode]:
    """A node in a folder that goes away with it; of the release with these scripts, or of the one installed.

    With a `port` it starts there or not at all, else again on another one when its own was taken meanwhile.
    """
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-node-"))
    node = PrivateNode(folder, port=port, scripts=scripts)
    try:
        node.start(_STARTS_WITHIN_S)
        yield node
    finally:
        node.kill()  # quicker than stopping, and nobody wants its data
        shutil.rmtree(folder, ignore_errors=True)


def new_vhost(node: PrivateNode) -> str:
    """Make a virtual host nobody has used, and return its URL."""
    vhost = f"test{next(_numbers)}"
    evaluate(
        node,
        f'V = <<"{vhost}">>, U = <<"{USER}">>, All = <<".*">>, ok = rabbit_vhost:add(V, U), '
        "ok = rabbit_auth_backend_internal:set_permissions(U, V, All, All, All, U)",
    )
    return node.url(vhost)


def delete_vhost(node: PrivateNode, url: str) -> None:
    """Delete a virtual host with all its queues."""
    evaluate(node, f'rabbit_vhost:delete(<<"{url.rpartition("/")[2]}">>, <<"{USER}">>)')


def sync_queue_registry(node: PrivateNode) -> None:
    """Have the node write down which quorum queues and virtual hosts it has, before a test kills it.

    It does so half a second after a declaration; a queue that a crash catches before is lost, with messages that were
    confirmed (seen with 3.10.8: every access to it times out after the restart).
    """
    evaluate(node, "ok = mnesia:sync_log(), [ok = dets:sync(Table) || Table <- dets:all()]")


def listen_for_tls(
    node: PrivateNode, authority: Authority, certificate: Certificate, *, asks: bool = False, version: str = ""
) -> int:
    """Have the node speak TLS at another port, which is returned.

    `asks`: it lets in only who has a certificate of the authority. `version`: "tlsv1.2" for that one alone.
    """
    port = free_port()
    versions = f"'{version}'" if version else "'tlsv1.3','tlsv1.2'"
    ours = {"cacertfile": authority.file, "certfile": certificate.certificate, "keyfile": certificate.key}
    options = [f'{{{name},"{file}"}}' for name, file in ours.items()] + [f"{{versions,[{versions}]}}"]
    if asks:
        options += ["{verify,verify_peer}", "{fail_if_no_peer_cert,true}"]
    evaluate(
        node,
        "{ok, _} = application:ensure_all_started(ssl), "
        f'ok = rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}}}, [{",".join(options)}], 2)',
    )
    return port


def drop_connections(node: PrivateNode) -> None:
    """Close every client's connection from the broker's side, as a restart in a cluster would."""
    evaluate(node, 'rabbit_networking:close_connections(rabbit_networking:connections(), "a test dropped it")')


@contextmanager
def alarm(node: PrivateNode, resource: str = "memory") -> Iterator[None]:
    """The node is short of memory (or "disk") until the block is left: it blocks connections that publish.

    A connection hears of it a moment later, and is blocked at its next publish after that.
    """
    alarm = f"{{resource_limit, {resource}, node()}}"
    evaluate(node, f"rabbit_alarm:set_alarm({{{alarm}, []}})")
    try:
        yield
    finally:
        evaluate(node, f"rabbit_alarm:clear_alarm({alarm})")


@contextmanager
def queues_limited(node: PrivateNode, url: str, pattern: str, most: int) -> Iterator[None]:
    """Queues whose names match hold so many messages at most, as an operator's policy would have it."""
    vhost = url.rpartition("/")[2]
    name = f"limit{next(_numbers)}"
    definition = f'[{{<<"max-length">>, {most}}}]'
    evaluate(
        node,
        f'rabbit_policy:set(<<"{vhost}">>, <<"{name}">>, <<"{pattern}">>, {definition}, 0, <<"queues">>, <<"{USER}">>)',
    )
    try:
        yield
    finally:
        evaluate(node, f'rabbit_policy:delete(<<"{vhost}">>, <<"{name}">>, <<"{USER}">>)')


def evaluate(node: PrivateNode, expression: str) -> str:
    """Evaluate an Erlang expression in the node; the result in Erlang's notation. Raises RuntimeError."""
    # Each call is a node of its own: the one that is asked lets nobody in whose namesake it has not seen leave.
    caller = f"test{os.getpid()}-{next(_numbers)}"
    call = [_erl_call(), "-h", caller, "-n", node.name, "-c", node.identity.cookie, "-e"]
    variables = {**os.environ, "ERL_EPMD_PORT": str(node.identity.epmd_port)}
    done = subprocess.run(
        call, input=f"{expression}.\n", env=variables, capture_output=True, text=True, timeout=30, check=False
    )
    result = done.stdout.strip()
    if not result.startswith("{ok, "):
        raise RuntimeError(f"{expression}: {result} {done.stderr.strip()}")
    return result.removeprefix("{ok, ").removesuffix("}")


def _erl_call() -> str:
    erl = shutil.which("erl")
    beside_erl = str(Path(erl).resolve().parent) if erl else ""
    found = shutil.which("erl_call") or shutil.which("erl_call", path=beside_erl)
    assert found is not None, "there is no erl_call: Debian has it in erlang-base, on which rabbitmq-server depends"
    return found
