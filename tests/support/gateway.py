"""A gateway in front of a broker, with accounts and a certificate, and the submissions that it has published."""

import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pika

from shared.accounts import Account, accounts_toml
from shared.passwords import hash_password
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, Settings, Worker
from tests.support.ports import free_ports

USER, PASSWORD = "shop", "correct horse"


class Submitted(msgspec.Struct, frozen=True):
    """One message of `pillarbox.submit`."""

    id: str
    user: str | None
    content_type: str
    headers: dict[str, Any]  # without the broker's own
    content: bytes


class Gateway:
    """The process, by way of the pipeline that it belongs to."""

    def __init__(self, pipeline: Pipeline, variables: Mapping[str, str], authority: Authority) -> None:
        self.pipeline = pipeline
        self.accounts = Path(variables["PILLARBOX_ACCOUNTS"])
        self.port = int(variables["PILLARBOX_GATEWAY_SMTP"].rpartition(":")[2])
        self.tls_port = int(variables["PILLARBOX_GATEWAY_SMTPS"].rpartition(":")[2])
        self.certificate = Path(variables["PILLARBOX_GATEWAY_CERTIFICATE"])
        self.key = Path(variables["PILLARBOX_GATEWAY_KEY"])
        self.context = ssl.create_default_context(cafile=str(authority.file))
        self.authority = authority

    def start(self) -> Worker:
        """Start it, and wait until it listens."""
        [worker] = self.pipeline.start(gateway=1)
        worker.wait_for_log("listening", implicit_tls="true")
        worker.wait_for_log("listening", implicit_tls="false")
        return worker

    @property
    def worker(self) -> Worker:
        """Its process."""
        return self.pipeline.of("gateway")[0]

    @contextmanager
    def client(self, *, tls: bool = True, sign_in: bool = True) -> Iterator[smtplib.SMTP]:
        """smtplib, connected, with STARTTLS and signed in."""
        with smtplib.SMTP("localhost", self.port, local_hostname="client.example", timeout=60) as client:
            if tls:
                client.starttls(context=self.context)
            if sign_in:
                client.login(USER, PASSWORD)
            yield client

    def connect(self) -> "Talk":
        """A connection to say anything over."""
        return Talk(socket.create_connection(("127.0.0.1", self.port), timeout=30))

    def write_accounts(self, **accounts: Account) -> None:
        """Put these in the place of those there were, and wait until it has read them."""
        seen = len(self.worker.logged("accounts_read"))
        write_accounts(self.accounts, accounts)
        self.pipeline.client.wait_until(lambda: len(self.worker.logged("accounts_read")) > seen, "accounts_read")

    def submitted(self, count: int) -> list[Submitted]:
        """Wait for so many submissions, and take them: there are no more."""
        found: list[Submitted] = []

        def take() -> bool:
            while (one := _get(self.pipeline)) is not None:
                found.append(one)
            return len(found) >= count

        self.pipeline.client.wait_until(take, f"{count} submissions")
        assert len(found) == count, found
        return found


class Talk:
    """One connection, octet by octet."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Send it as it is."""
        self._socket.sendall(octets)

    def try_to_send(self, octets: bytes) -> None:
        """Send it to a server that may hang up meanwhile."""
        with suppress(ConnectionError):
            self._socket.sendall(octets)

    def rest(self) -> bytes:
        """All that comes until the server hangs up."""
        try:
            return self._file.read()
        except ConnectionError:
            return b""

    def reply(self) -> str:
        """The next reply, its lines joined by `|`; "" when the server has hung up."""
        lines: list[str] = []
        while True:
            try:
                line = self._file.readline().decode().rstrip("\r\n")
            except ConnectionError:
                line = ""
            lines.append(line)
            if line[3:4] != "-":
                return "|".join(lines)

    def ask(self, octets: bytes) -> str:
        """Send it, and wait for a reply."""
        self.send(octets)
        return self.reply()


@cache
def hashed(password: str) -> str:
    """Its hash; it takes a while, once."""
    return hash_password(password)


def an_account(password: str = PASSWORD, **fields: Any) -> Account:
    """An account with this password."""
    return Account(password=hashed(password), **fields)


def write_accounts(file: Path, accounts: Mapping[str, Account]) -> None:
    """As `pillarbox accounts` does: in one step."""
    written = file.with_suffix(".new")
    written.write_text(accounts_toml(accounts), encoding="utf-8")
    written.replace(file)


def variables_for(folder: Path, authority: Authority, **more: str) -> dict[str, str]:
    """The environment of a gateway with one account."""
    port, tls_port = free_ports(2)
    certificate = authority.issue("localhost")
    accounts = folder / "accounts.toml"
    write_accounts(accounts, {USER: an_account()})
    return {
        "PILLARBOX_GATEWAY_SMTP": f"127.0.0.1:{port}",
        "PILLARBOX_GATEWAY_SMTPS": f"127.0.0.1:{tls_port}",
        "PILLARBOX_GATEWAY_CERTIFICATE": str(certificate.certificate),
        "PILLARBOX_GATEWAY_KEY": str(certificate.key),
        "PILLARBOX_GATEWAY_NAME": "gate.example",
        "PILLARBOX_ACCOUNTS": str(accounts),
        **more,
    }


@contextmanager
def running_gateway(
    amqp_url: str, folder: Path, authority: Authority, settings: Settings, **more: str
) -> Iterator[Gateway]:
    """A gateway alone: its submissions stay in their queue."""
    variables = variables_for(folder, authority, **more)
    store = f"sqlite:///{folder}/mail.db"
    none = {"schedulers": 0, "resolvers": 0, "senders": 0}
    with Pipeline(amqp_url, store, folder, settings, **none, environment=variables) as pipeline:
        gateway = Gateway(pipeline, variables, authority)
        gateway.start()
        yield gateway


def _get(pipeline: Pipeline) -> Submitted | None:
    found = pipeline.client.get("pillarbox.submit")
    if found is None:
        return None
    properties, body = found
    assert isinstance(properties, pika.BasicProperties)
    headers = {name: value for name, value in properties.headers.items() if not name.startswith("x-")}
    return Submitted(str(properties.message_id), properties.user_id, str(properties.content_type), headers, body)
