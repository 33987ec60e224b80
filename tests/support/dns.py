"""A real name server (NSD) on loopback, and a listener in front of it that remembers what was asked.

with nsd({"example.test": "@ MX 10 mx\nmx A 192.0.2.1"}) as dns:
    MxResolver([dns.server], allow_loopback=False)
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from tests.support.ports import free_port

_PROGRAM = shutil.which("nsd", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nsd"
_STARTS_WITHIN_S = 20.0
_TRIES = 3  # somebody else may take the free port first

_CONFIGURATION = """
server:
    ip-address: {address}@{port}
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    pidfile: "{folder}/nsd.pid"
    logfile: "{folder}/nsd.log"
    xfrdfile: "{folder}/xfrd.state"
    xfrdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""

_ZONE = """\
zone:
    name: "{name}"
    zonefile: "{name}.zone"
"""

# Short TTLs, so that nothing rests on the real ones; the SOA's minimum is the negative answers' TTL.
_HEAD = """\
$ORIGIN {name}.
$TTL 300
@ SOA ns.{name}. hostmaster.{name}. 1 3600 600 86400 120
@ NS ns.{name}.
ns A 192.0.2.53
"""

_PROBE = "probe.nsd"


class Nsd:
    """NSD, authoritative for the given zones: a zone's name → its records in zone file form, relative to the name.

    SOA and NS are added. None for the records makes a zone that was never loaded: SERVFAIL. Names in no zone: REFUSED.
    """

    def __init__(self, zones: Mapping[str, str | None], port: int | None = None, address: str = "127.0.0.1") -> None:
        """`port`: where it is to answer, if not on a free one; `address`, of loopback, likewise."""
        self._zones = {**zones, _PROBE: "@ TXT up"}
        self._wanted_port = port
        self._address = address
        self._folder = Path(tempfile.mkdtemp(prefix="nsd-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def server(self) -> str:
        """Where it answers, as the setting `dns.servers` writes it."""
        return f"{self._address}#{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        for name, records in self._zones.items():
            if records is not None:
                (self._folder / f"{name}.zone").write_text(_HEAD.format(name=name) + records + "\n")
        for _ in range(_TRIES):
            if self._answers():
                return
        raise RuntimeError(f"nsd does not answer: {self._log()}")

    def stop(self) -> None:
        """Stop it and forget its files."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """Answer nobody, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again, late, what was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        """Run it on a free port; False when it ended, or was silent too long."""
        self.port = self._wanted_port or _free_port()
        configuration = self._folder / "nsd.conf"
        zones = "".join(_ZONE.format(name=name) for name in self._zones)
        configuration.write_text(
            _CONFIGURATION.format(address=self._address, port=self.port, folder=self._folder) + zones
        )
        self._end()
        self._process = subprocess.Popen(
            [_PROGRAM, "-d", "-c", str(configuration)], stderr=subprocess.DEVNULL, start_new_session=True
        )
        question = dns.message.make_query(f"{_PROBE}.", "TXT")
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(dns.exception.Timeout, OSError):
                answer = dns.query.udp(question, self._address, port=self.port, timeout=0.1)
                if answer.rcode() == dns.rcode.NOERROR:
                    return True
        return False

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)

    def _log(self) -> str:
        log = self._folder / "nsd.log"
        return log.read_text() if log.exists() else "it wrote no log"


def nsd(zones: Mapping[str, str | None]) -> Nsd:
    """A name server for a `with` block."""
    return Nsd(zones)


class Listener:
    """Stands before a name server (UDP): passes questions on, remembers them, and fails those it is told to fail."""

    def __init__(self, server: Nsd) -> None:
        self._behind = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="dns-listener", daemon=True)
        self._failures: dict[tuple[str, str], dns.rcode.Rcode] = {}
        self._follows_aliases = True
        self.asked: list[tuple[str, str]] = []  # name in lower case without the last dot, type

    @property
    def server(self) -> str:
        """As Nsd.server."""
        return f"127.0.0.1#{self._socket.getsockname()[1]}"

    def fail(self, name: str, kind: str, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> None:
        """Answer this question with an error from now on."""
        self._failures[name, kind] = rcode

    def recover(self) -> None:
        """Fail no question any more."""
        self._failures.clear()

    def stop_at_aliases(self) -> None:
        """Hand out a name's CNAME alone from now on, and not what lies behind it."""
        self._follows_aliases = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())  # an empty question ends the thread
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, asker = self._socket.recvfrom(65535)
            if not wire:
                return
            self._socket.sendto(self._answer(wire), asker)

    def _answer(self, wire: bytes) -> bytes:
        request = dns.message.from_wire(wire)
        question = request.question[0]
        asked = (question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype))
        self.asked.append(asked)
        if asked in self._failures:
            response = dns.message.make_response(request)
            response.set_rcode(self._failures[asked])
            return response.to_wire()
        response = dns.query.udp(request, "127.0.0.1", port=self._behind.port, timeout=5)
        if not self._follows_aliases and response.answer and response.answer[0].rdtype == dns.rdatatype.CNAME:
            response.set_rcode(dns.rcode.NOERROR)
            response.answer, response.authority = response.answer[:1], []
        return response.to_wire()


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """A name server that never answers, in the form of the setting `dns.servers`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1#{bound.getsockname()[1]}"


def _free_port() -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        port = free_port()
        with socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            udp.bind(("127.0.0.1", port))
            return port
