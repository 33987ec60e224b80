"""OpenSMTPD as a real peer: a private instance on loopback, in a file tree of its own."""

from collections.abc import Collection

import pytest

from cli.guarded import GuardedProcess
from tests.support.certificates import Certificate
from tests.support.mailboxes import Dealings, LogReader, Maildir, ReceivedMail
from tests.support.own_root import UNPACKED_OF_TRIXIE, OwnRoot
from tests.support.ports import free_port, wait_for_port

# Not that of Debian 12: before version 7, no TLS handshake comes about with OpenSSL 3.
_PACKAGE = UNPACKED_OF_TRIXIE / "opensmtpd"
_PROGRAMS = ["/usr/sbin/smtpd", "/usr/libexec/opensmtpd/mail.maildir", "/usr/bin/sh"]
_NOWHERE = "/var/lib/opensmtpd/empty"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"  # has to be there; nobody is verified
_USERS = {"opensmtpd": _NOWHERE, "opensmtpq": _NOWHERE, "inbox": "/inbox"}  # the first two are compiled in

_PKI = """\
pki relay.example cert "/tls/certificate"
pki relay.example key "/tls/key"
"""
_CONFIGURATION = """\
table users {{ {users} }}
table inbox {{ "@" = inbox }}
listen on 127.0.0.1 port {port} hostname relay.example {tls}
action inbox maildir "/inbox" virtual <inbox>
match from any for any rcpt-to <users> action inbox
"""

_LOG = LogReader(
    connection=r" smtp connected ",
    taken=r" smtp envelope evpid=(?P<id>[0-9a-f]{8})[0-9a-f]* from=<[^>]*> to=<(?P<recipient>[^>]+)>",
    refused=r' smtp failed-command command="(?i:rcpt to):<(?P<recipient>[^>]+)>',
)


class PrivateOpenSmtpd:
    """One instance; a context manager. It takes mail for its mailboxes, and refuses other at RCPT."""

    offers_smtputf8 = False

    def __init__(self, *, mailboxes: Collection[str], certificate: Certificate | None = None) -> None:
        """`mailboxes` are addresses; with a `certificate` it offers STARTTLS."""
        self.port = free_port()
        self._root = OwnRoot(_PACKAGE, _PROGRAMS, _USERS)
        self._mailboxes = mailboxes
        self._certificate = certificate
        self._mailbox = Maildir(self._root.path / "inbox", "Delivered-To")
        self._daemon: GuardedProcess | None = None

    def __enter__(self) -> "PrivateOpenSmtpd":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._daemon.kill()
        self._root.__exit__()

    @property
    def log(self) -> list[str]:
        """The lines it has logged so far."""
        file = self._root.path / "log"
        return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []

    @property
    def received(self) -> list[ReceivedMail]:
        """What is in its mailbox, the oldest first; a mail to several recipients is there for each of them."""
        return self._mailbox.mails

    def wait_for(self, count: int, timeout: float = 10) -> list[ReceivedMail]:
        """Wait until that many mails are in the mailbox."""
        return self._mailbox.wait_for(count, timeout)

    @property
    def dealings(self) -> Dealings:
        """How it dealt with its clients, by its log."""
        return _LOG.read(self.log)

    def _start(self) -> None:
        root = self._root.__enter__()
        root.make_folder(_NOWHERE)
        root.make_folder("var/run")
        root.make_folder("var/spool/smtpd").chmod(0o711)
        root.make_folder("inbox", "inbox")
        root.write(_AUTHORITIES, "")
        users = ", ".join(f'"{address}"' for address in self._mailboxes)
        pki = tls = ""
        if self._certificate is not None:
            pki, tls = _PKI, "tls pki relay.example"
            root.write("tls/certificate", self._certificate.certificate.read_bytes())
            root.write("tls/key", self._certificate.key.read_bytes())
            (root.path / "tls/key").chmod(0o600)
        root.write("etc/smtpd.conf", pki + _CONFIGURATION.format(users=users, port=self.port, tls=tls))
        self._daemon = root.start("/usr/sbin/smtpd", "-d", output=root.path / "log")
        try:
            wait_for_port(self.port)
        except TimeoutError as error:
            raise AssertionError("\n".join(self.log)) from error


OPENSMTPD = pytest.param(
    PrivateOpenSmtpd,
    marks=pytest.mark.skipif(
        not _PACKAGE.is_dir(),
        reason="OpenSMTPD 7 is not here: `make opensmtpd-7` unpacks it where the network gives it",
    ),
)
"""For the tables of tests."""
