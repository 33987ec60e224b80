"""Verdicts of `opendkim-testmsg` on signed messages. It asks the system's name server, so it runs in a network of its
own (`unshare`), where that server is NSD with the keys of the test.
"""

import array
import fcntl
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.dns import Nsd

_PROGRAM = shutil.which("opendkim-testmsg", path="/usr/sbin:/usr/bin") or "opendkim-testmsg"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_WITHIN_S = 60.0
_ISOLATED = ("unshare", "--map-root-user", "--mount", "--net")


def can_isolate() -> bool:
    """Whether this machine lets us have a network of our own; inside of some containers it does not."""
    return subprocess.run([*_ISOLATED, "true"], capture_output=True, check=False).returncode == 0


def verify(messages: Sequence[bytes], zones: Mapping[str, str]) -> list[str]:
    """Of each message what is wrong with its first signature; "" where it verifies."""
    with tempfile.TemporaryDirectory(prefix="opendkim-") as name:
        folder = Path(name)
        (folder / "zones.json").write_text(json.dumps(zones))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        for number, message in enumerate(messages):
            (folder / f"{number:03}.eml").write_bytes(message)
        ran = subprocess.run(
            [*_ISOLATED, sys.executable, "-m", "tests.support.opendkim", name],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            timeout=_WITHIN_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        verdicts: list[str] = json.loads(ran.stdout)
        return verdicts


def _main(folder: Path) -> None:
    _loopback_up()
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    with Nsd(json.loads((folder / "zones.json").read_text()), port=53):
        json.dump([_verdict(path.read_bytes()) for path in sorted(folder.glob("*.eml"))], sys.stdout)


def _verdict(message: bytes) -> str:
    ran = subprocess.run([_PROGRAM], input=message, capture_output=True, timeout=20, check=False)
    return "" if ran.returncode == 0 else ran.stderr.decode().strip() or f"exit code {ran.returncode}"


def _loopback_up() -> None:
    with socket.socket() as asked:
        request = array.array("b", struct.pack("16sH14s", b"lo", 0, b""))
        fcntl.ioctl(asked, _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
