"""Postfix as a real peer: a private instance on loopback, and its smtp-sink and smtp-source.

Nothing of the system's Postfix is used but its programs: queue, configuration, log and passwords lie in a folder that
goes away with the instance. Its master must be started by root.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cli.guarded import GuardedProcess
from tests.support.certificates import Certificate
from tests.support.mailboxes import Dealings, LogReader, Maildir, ReceivedMail
from tests.support.ports import free_ports, wait_for_port

DOMAIN = "relay.example"  # what it calls itself, and the realm of its users
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_QUEUE_FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved")

# service, type, private, unprivileged, chroot, wakeup, processes, command
_MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
# Postfix asks the name servers of the system: here of a system that has another file in that one's place.
_WITH_RESOLV_CONF = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
_TLS_SERVICE = "{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"


_LOG = LogReader(
    connection=r"/smtpd\[\d+\]: connect from ",
    taken=r"/virtual\[\d+\]: (?P<id>\w+): to=<(?P<recipient>[^>]+)>,.* status=sent ",
    refused=r"/smtpd\[\d+\]: \w+: reject: RCPT from \S+ (?P<reply>\d+ .*); from=<[^>]*> to=<(?P<recipient>[^>]+)>",
)


class PrivatePostfix:
    """One instance; a context manager. It takes every mail, or that for its mailboxes, into one maildir of its own."""

    offers_smtputf8 = True

    def __init__(
        self,
        *,
        certificate: Certificate | None = None,
        require_tls: bool = False,
        users: Mapping[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN",
        mailboxes: Collection[str] = (),
        deliver_by: str = "virtual:",
        name_server: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """With a `certificate` it offers STARTTLS on `port` and speaks TLS at once on `tls_port`.

        `users` are names with passwords; given, nobody else may send. `mailboxes` are addresses; given, it refuses
        others of their domains at RCPT, and those of other domains. `deliver_by` is a transport: `virtual:` the
        mailbox, `discard:` nowhere, `smtp:[127.0.0.1]:2525` on to another server, `smtp:` to the MX hosts.
        `name_server` is an address whose port 53 it asks in the place of the system's. `parameters` go into main.cf
        last.
        """
        self.port, self.tls_port = free_ports(2)
        self._folder = Path(tempfile.mkdtemp(prefix="pillarbox-postfix-"))
        self._certificate = certificate
        self._require_tls = require_tls
        self._users = dict(users or {})
        self._mechanisms = mechanisms
        self._mailboxes = mailboxes
        self._deliver_by = deliver_by
        self._name_server = name_server
        self._parameters = dict(parameters or {})
        self._mailbox = Maildir(self._folder / "inbox" / "mail", "Delivered-To")
        self._master: GuardedProcess | None = None

    def __enter__(self) -> "PrivatePostfix":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._master is not None:
            self._master.kill()  # asked to stop, it sleeps for a second
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> list[str]:
        """The lines it has logged so far."""
        file = self._folder / "log"
        return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []

    @property
    def received(self) -> list[ReceivedMail]:
        """What is in the mailbox, the oldest first; a mail to several recipients is there for each of them."""
        return self._mailbox.mails

    def wait_for(self, count: int, timeout: float = 10) -> list[ReceivedMail]:
        """Wait until that many mails are in the mailbox."""
        return self._mailbox.wait_for(count, timeout)

    @property
    def dealings(self) -> Dealings:
        """How it dealt with its clients, by its log."""
        return _LOG.read(self.log)

    def _start(self) -> None:
        assert os.geteuid() == 0, "Postfix can be started by root alone"
        daemons = Path(_postconf("daemon_directory"))
        self._make_folders()
        main_cf = self._folder / "main.cf"
        main_cf.write_text("".join(f"{name} = {value}\n" for name, value in self._main_cf().items()), encoding="utf-8")
        # Postfix waits for two seconds when the file has just been changed.
        os.utime(main_cf, times=(time.time() - 60, time.time() - 60))
        services = _MASTER.format(port=self.port)
        if self._certificate is not None:
            services += _TLS_SERVICE.format(port=self.tls_port)
        (self._folder / "master.cf").write_text(services, encoding="utf-8")
        self._add_users()
        with (self._folder / "console").open("wb") as output:
            command = [*self._asking(), daemons / "master", "-c", self._folder, "-d"]
            self._master = GuardedProcess(command, output=output, env={"PATH": _PATH})
        try:
            wait_for_port(self.port)
        except TimeoutError as error:
            raise AssertionError("\n".join([(self._folder / "console").read_text(), *self.log])) from error

    def _asking(self) -> Sequence[str | Path]:
        """What starts a program that asks the given name server."""
        if self._name_server is None:
            return []
        file = self._folder / "resolv.conf"
        file.write_text(f"nameserver {self._name_server}\n", encoding="ascii")
        return ["unshare", "--mount", "sh", "-c", _WITH_RESOLV_CONF, "sh", file]

    def _make_folders(self) -> None:
        self._folder.chmod(0o755)  # its daemons run as the user postfix
        queue = self._folder / "queue"
        for name in _QUEUE_FOLDERS:
            (queue / name).mkdir(parents=True, mode=0o700)
            shutil.chown(queue / name, "postfix")
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            (queue / name).mkdir(mode=mode)
            shutil.chown(queue / name, "postfix", "postdrop")
        (queue / "pid").mkdir()
        for name, owner in (("data", "postfix"), ("inbox", "nobody"), ("sasl", "root")):
            (self._folder / name).mkdir()
            shutil.chown(self._folder / name, owner)

    def _main_cf(self) -> dict[str, str]:
        folder = self._folder
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": f"{folder}/queue",
            "data_directory": f"{folder}/data",
            "maillog_file": f"{folder}/log",
            "maillog_file_prefixes": str(folder),
            "myhostname": DOMAIN,
            "mydestination": "",
            "alias_maps": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "smtpd_peername_lookup": "no",
            "append_dot_mydomain": "no",
            "in_flow_delay": "0",
            "smtpd_client_event_limit_exceptions": "static:all",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_recipient_restrictions": f"permit_{'sasl_authenticated' if self._users else 'mynetworks'}, reject",
            "default_transport": self._deliver_by,
            "relay_domains": "",
            "virtual_mailbox_domains": "",  # or it would take all domains, whatever the transport
            "virtual_mailbox_base": f"{folder}/inbox",
            "virtual_mailbox_maps": "static:mail/",
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
        }
        return settings | self._mailbox_cf() | self._tls_cf() | self._sasl_cf() | self._parameters

    def _mailbox_cf(self) -> dict[str, str]:
        if not self._mailboxes:
            return {}
        return {
            "virtual_mailbox_domains": ", ".join({address.rpartition("@")[2] for address in self._mailboxes}),
            "virtual_mailbox_maps": f"inline:{{ {', '.join(f'{{ {name} = mail/ }}' for name in self._mailboxes)} }}",
            "smtpd_recipient_restrictions": "reject_unauth_destination",
        }

    def _tls_cf(self) -> dict[str, str]:
        if self._certificate is None:
            return {}
        return {
            "smtpd_tls_cert_file": str(self._certificate.certificate),
            "smtpd_tls_key_file": str(self._certificate.key),
            "smtpd_tls_security_level": "encrypt" if self._require_tls else "may",
            "smtpd_tls_received_header": "yes",
            "smtpd_tls_loglevel": "1",
        }

    def _sasl_cf(self) -> dict[str, str]:
        if not self._users:
            return {}
        return {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_local_domain": DOMAIN,
            "smtpd_sasl_security_options": "noanonymous",
            "smtpd_sasl_authenticated_header": "yes",
            "cyrus_sasl_config_path": f"{self._folder}/sasl",
        }

    def _add_users(self) -> None:
        if not self._users:
            return
        database = self._folder / "sasl" / "sasldb2"
        (self._folder / "sasl" / "smtpd.conf").write_text(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
            f"sasldb_path: {database}\nmech_list: {self._mechanisms}\n",
            encoding="ascii",
        )
        for user, password in self._users.items():
            add = ["saslpasswd2", "-f", str(database), "-c", "-p", "-u", DOMAIN, user]
            subprocess.run(add, input=password.encode(), env={"PATH": _PATH}, check=True)
        shutil.chown(database, "postfix")


class SmtpSink:
    """Postfix's smtp-sink: takes mail as fast as it comes and throws it away; a context manager."""

    def __init__(self, *options: str) -> None:
        """`options` such as `-d dump.`, `-w 1` (delay), `-p` (no pipelining) go to the program."""
        self.port = free_ports(1)[0]
        self._options = options
        self._sink: GuardedProcess | None = None

    def __enter__(self) -> "SmtpSink":
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [_program("smtp-sink"), *user, *self._options, f"127.0.0.1:{self.port}", "1024"]
        self._sink = GuardedProcess(command)
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._sink.stop()


def smtp_source(
    port: int, messages: int, *, sessions: int = 10, size: int = 4096, options: Sequence[str] = ()
) -> float:
    """Send that many mails of `size` octets with Postfix's smtp-source over parallel sessions; the seconds it took."""
    command = [_program("smtp-source"), "-m", str(messages), "-s", str(sessions), "-l", str(size), *options]
    started = time.monotonic()
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True, capture_output=True)
    return time.monotonic() - started


def no_name_server() -> str:
    """Why Postfix can not be given a name server of its own here; "" where it can."""
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no mounts of its own: {tried.stderr.strip()}"


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None, f"there is no {name}: `make test` installs Postfix, which has it"
    return found


def _postconf(name: str) -> str:
    return subprocess.run(
        [_program("postconf"), "-d", "-h", name], check=True, capture_output=True, text=True
    ).stdout.strip()
