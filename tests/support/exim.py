"""Exim as a real peer: a private instance on loopback, in a file tree of its own."""

import re
from collections.abc import Collection

from cli.guarded import GuardedProcess
from tests.support.certificates import Certificate
from tests.support.mailboxes import Dealings, LogReader, Maildir, ReceivedMail
from tests.support.own_root import UNPACKED, OwnRoot
from tests.support.ports import free_port, wait_for_port

_USER = "Debian-exim"  # compiled in, as is the path of the configuration

_CONFIGURATION = """\
primary_hostname = relay.example
spool_directory = /spool
log_file_path = /log/%s
pid_file_path = /spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtputf8_advertise_hosts = *
tls_advertise_hosts = {tls_for}
tls_certificate = /tls/certificate
tls_privatekey = /tls/key
log_selector = +smtp_connection +smtp_protocol_error +pipelining
acl_smtp_rcpt = check_recipient

begin acl
check_recipient:
  deny !verify = recipient
  accept

begin routers
inbox:
  driver = accept
  domains = {domains}
  local_parts = {local_parts}
  transport = inbox

begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = /inbox
  user = {user}
  return_path_add
  envelope_to_add
"""

_LOG = LogReader(
    connection=r" SMTP connection from \[.*connection count",
    taken=r" (?P<id>\S+) [=-]> \S+ <(?P<recipient>[^>]+)> R=inbox",
    refused=r" rejected RCPT <(?P<recipient>[^>]+)>",
)


class PrivateExim:
    """One instance; a context manager. It takes mail for its mailboxes, and refuses other at RCPT."""

    offers_smtputf8 = True

    def __init__(self, *, mailboxes: Collection[str], certificate: Certificate | None = None) -> None:
        """`mailboxes` are addresses, of one domain; with a `certificate` it offers STARTTLS."""
        self.port = free_port()
        self._root = OwnRoot(UNPACKED / "exim4-daemon-light", ["/usr/sbin/exim4"], {_USER: "/spool"})
        self._mailboxes = mailboxes
        self._certificate = certificate
        self._mailbox = Maildir(self._root.path / "inbox", "Envelope-to")
        self._daemon: GuardedProcess | None = None

    def __enter__(self) -> "PrivateExim":
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
        return self._lines_of("main")

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

    @property
    def pipelined(self) -> int:
        """How many mails came from clients that made use of PIPELINING."""
        return sum(bool(re.search(r" <= .* L\.? ", line)) for line in self.log)

    def _start(self) -> None:
        root = self._root.__enter__()
        for folder in ("spool", "log", "inbox"):
            root.make_folder(folder, _USER)
        tls_for = ":"  # nobody
        if self._certificate is not None:
            tls_for = "*"
            root.write("tls/certificate", self._certificate.certificate.read_bytes())
            root.write("tls/key", self._certificate.key.read_bytes(), _USER)
        configuration = _CONFIGURATION.format(
            port=self.port,
            tls_for=tls_for,
            domains=" : ".join({address.rpartition("@")[2] for address in self._mailboxes}),
            local_parts=" : ".join(address.rpartition("@")[0] for address in self._mailboxes),
            user=_USER,
        )
        root.write("etc/exim4/exim4.conf", configuration)
        console = root.path / "console"
        self._daemon = root.start("/usr/sbin/exim4", "-bdf", output=console)
        try:
            wait_for_port(self.port)
        except TimeoutError as error:
            raise AssertionError("\n".join([console.read_text(), *self.log, *self._lines_of("panic")])) from error

    def _lines_of(self, log: str) -> list[str]:
        file = self._root.path / "log" / log
        return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
