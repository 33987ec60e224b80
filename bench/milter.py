"""opendkim as a milter, with which Postfix signs: a private instance on loopback."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from bench.results import Failed
from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_for_port

_PROGRAM = shutil.which("opendkim", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

# It signs what comes over loopback, which is its default; nothing is looked up for that. Keys count as unsafe in any
# folder below one that everybody can write to, such as /tmp.
_CONFIGURATION = """\
Socket inet:{port}@127.0.0.1
Mode s
Domain {domain}
Selector {selector}
KeyFile {folder}/key.pem
Canonicalization relaxed/relaxed
RequireSafeKeys no
PidFile {folder}/pid
Syslog no
"""


def missing() -> str:
    """Why it can not run here."""
    return "" if _PROGRAM else "there is no opendkim: `make bench` installs it"


class OpenDkim:
    """One instance that signs for one domain; a context manager."""

    def __init__(self, domain: str, selector: str, key: bytes) -> None:
        """`key` in PEM form."""
        self.port = free_port()
        self._domain = domain
        self._selector = selector
        self._key = key
        self._folder = Path(tempfile.mkdtemp(prefix="pillarbox-opendkim-"))
        self._process: GuardedProcess | None = None

    @property
    def postfix_settings(self) -> dict[str, str]:
        """With which Postfix has it sign, and takes no mail that it does not."""
        return {"smtpd_milters": f"inet:127.0.0.1:{self.port}", "milter_default_action": "tempfail"}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        assert _PROGRAM is not None
        (self._folder / "key.pem").write_bytes(self._key)
        (self._folder / "key.pem").chmod(0o600)
        configuration = self._folder / "opendkim.conf"
        configuration.write_text(
            _CONFIGURATION.format(port=self.port, domain=self._domain, selector=self._selector, folder=self._folder)
        )
        with (self._folder / "log").open("wb") as output:
            self._process = GuardedProcess([_PROGRAM, "-f", "-x", configuration], output=output)
        try:
            wait_for_port(self.port)
        except TimeoutError as error:
            raise Failed(f"opendkim does not start: {(self._folder / 'log').read_text(errors='replace')}") from error
