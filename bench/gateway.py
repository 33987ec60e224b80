"""`python -m bench.gateway`: what a mail costs the gateway that comes over SMTP, of 4 KB, over twenty connections.

A gateway before a broker of its own, whose submissions nobody takes; fed by Postfix's smtp-source, without TLS.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import mails as our_mail
from bench.machine import program
from bench.processes import family
from cli.child import Child
from cli.node import PrivateNode
from shared import topology
from shared.broker import Broker, Message, Properties
from shared.settings import SettingsDocument, encode_document
from shared.topology import SETTINGS, SUBMIT
from tests.support.ports import free_port

_MAILS = 2_000
_WARM_UP = 500
_CONNECTIONS = 20
_SIZE = 4_096
_ROUNDS = 3
_CHECKOUT = Path(__file__).parents[1]


def main() -> None:
    """Measure some rounds, print each."""
    with tempfile.TemporaryDirectory(prefix="pillarbox-bench-") as name:
        folder = Path(name)
        node = PrivateNode(folder / "broker")
        node.start()
        try:
            uvloop.run(_measure(node, folder))
        finally:
            node.stop()


async def _measure(node: PrivateNode, folder: Path) -> None:
    broker = Broker(node.amqp_url, "bench", patience_s=30)
    await broker.start()
    await topology.declare(broker)
    document = encode_document(SettingsDocument(settings={}, author="bench"))
    await broker.publisher.publish([Message(SETTINGS, "", document, Properties(content_type="application/json"))])
    message, port, log = folder / "message", free_port(), folder / "gateway.log"
    message.write_bytes(our_mail.message(_SIZE).replace(b"\r\n", b"\n"))  # smtp-source makes CRLF of it
    gateway = await Child.start([sys.executable, "-m", "services.gateway"], _environment(node, port), log)
    while b"event=listening" not in log.read_bytes():
        await asyncio.sleep(0.05)
    try:
        await asyncio.to_thread(_feed, port, message, _WARM_UP)
        print("| mails/s | gateway, µs a mail |\n|---:|---:|")
        for _ in range(_ROUNDS):
            before, started = _cpu_s(gateway.pid), time.monotonic()
            await asyncio.to_thread(_feed, port, message, _MAILS)
            rate = _MAILS / (time.monotonic() - started)
            print(f"| {rate:,.0f} | {(_cpu_s(gateway.pid) - before) / _MAILS * 1e6:,.0f} |")
        assert await broker.count(SUBMIT) == _WARM_UP + _ROUNDS * _MAILS
    finally:
        await gateway.stop(30)
        await broker.close()


def _environment(node: PrivateNode, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(_CHECKOUT),
        "PILLARBOX_AMQP_URL": node.amqp_url,
        "PILLARBOX_GATEWAY_SMTP": f"127.0.0.1:{port}",
        "PILLARBOX_GATEWAY_NETWORKS": "127.0.0.0/8",
    }


def _feed(port: int, message: Path, mails: int) -> None:
    # -d: many mails over a connection
    source = [program("smtp-source"), "-d", "-s", str(_CONNECTIONS), "-m", str(mails), "-F", str(message)]
    envelope = ["-f", our_mail.SENDER, "-t", f"reader@{our_mail.RECIPIENT_DOMAIN}", f"inet:127.0.0.1:{port}"]
    subprocess.run([*source, *envelope], check=True, timeout=300)


def _cpu_s(pid: int) -> float:
    return next(process.cpu_s for process in family() if process.pid == pid)


if __name__ == "__main__":
    main()
