"""What a recording SMTP server remembers, and the rules by which it misbehaves."""

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Connection:
    """One connection, as the server saw it."""

    number: int  # from 1
    helo: str = ""
    tls: bool = False
    user: str | None = None
    commands: list[str] = field(default_factory=list)  # as they came, AUTH without its argument
    mails: int = 0  # taken over it
    open: bool = True

    @property
    def said_quit(self) -> bool:
        """Whether the client took its leave."""
        return "QUIT" in self.commands


@dataclass(frozen=True)
class SunkMail:
    """One mail that was taken, or whose final reply was lost on purpose."""

    sender: str  # the reverse-path; "" is the null one
    recipients: tuple[str, ...]
    content: bytes
    connection: int
    helo: str
    tls: bool
    user: str | None
    options: tuple[str, ...]  # of the MAIL command, in upper case: "SIZE=120", "BODY=8BITMIME", "SMTPUTF8"
    time: datetime

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class Pause:
    """A place where the server keeps clients waiting."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released = threading.Event()

    def wait(self, timeout: float = 10) -> None:
        """Wait until a client has come there. Raises TimeoutError."""
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no client came to the pause within {timeout:g} s")

    def release(self) -> None:
        """Let the client, and all after it, go on."""
        self._released.set()

    async def hold(self) -> None:
        """Keep one client, until released."""
        self._reached.set()
        while not self._released.is_set():
            await asyncio.sleep(0.01)  # an event of another thread can not be awaited


class HangUp:
    """Close the connection without a word."""


Action = str | Pause | HangUp  # a reply, or one of these


@dataclass
class _Rule:
    verb: str
    address: str
    action: Action
    times: int | None  # how often it still applies; None: for ever

    def matches(self, verb: str, addresses: list[str]) -> bool:
        return self.verb == verb and self.times != 0 and (self.address == "*" or self.address in addresses)


class SinkMemory:
    """Mails, connections and rules, shared between the server's thread and the test's."""

    def __init__(self, *, greylists: bool) -> None:
        self.mails: list[SunkMail] = []
        self.connections: list[Connection] = []
        self.most_open = 0  # connections at once
        self._rules: list[_Rule] = []
        self._greylist: set[tuple[str, str]] | None = set() if greylists else None
        self._changed = threading.Condition()

    # For the test.

    def answer(self, verb: str, address: str, reply: str, *, times: int | None = None) -> None:
        """Answer the verb with `reply` where it is about `address`, for ever or so many times."""
        self._add(_Rule(verb, address, reply, times))

    def hang_up(self, verb: str, address: str = "*", *, times: int | None = 1) -> None:
        """Close the connection instead of answering. At "." the mail has been taken: its reply is what gets lost."""
        self._add(_Rule(verb, address, HangUp(), times))

    def pause(self, verb: str, address: str = "*", *, times: int | None = None) -> Pause:
        """Keep clients waiting for the answer until the pause is released."""
        pause = Pause()
        self._add(_Rule(verb, address, pause, times))
        return pause

    def forget_rules(self) -> None:
        """From now on, take everything."""
        with self._changed:
            self._rules.clear()

    def forget_mails(self) -> None:
        """Forget what has come."""
        with self._changed:
            self.mails.clear()
            self.connections[:] = [one for one in self.connections if one.open]
            self.most_open = len(self.connections)

    def wait_for(self, count: int, timeout: float = 10) -> list[SunkMail]:
        """Wait until so many mails have come, and return all there are. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.mails) >= count, timeout):
                raise TimeoutError(f"{len(self.mails)} of {count} mails within {timeout:g} s")
            return list(self.mails)

    def wait_until_idle(self, timeout: float = 10) -> None:
        """Wait until no connection is open. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: not any(one.open for one in self.connections), timeout):
                raise TimeoutError(f"connections are still open after {timeout:g} s")

    # For the server.

    def opened(self) -> Connection:
        """A client has connected."""
        with self._changed:
            connection = Connection(len(self.connections) + 1)
            self.connections.append(connection)
            self.most_open = max(self.most_open, sum(one.open for one in self.connections))
            return connection

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        with self._changed:
            connection.open = False
            self._changed.notify_all()

    def take(
        self, connection: Connection, sender: str, recipients: list[str], content: bytes, options: list[str]
    ) -> None:
        """A mail has come whole."""
        mail = SunkMail(
            sender=sender,
            recipients=tuple(recipients),
            content=content,
            connection=connection.number,
            helo=connection.helo,
            tls=connection.tls,
            user=connection.user,
            options=tuple(options),
            time=datetime.now(UTC),
        )
        with self._changed:
            connection.mails += 1
            self.mails.append(mail)
            self._changed.notify_all()

    def rule_for(self, verb: str, addresses: list[str]) -> Action | None:
        """What to do instead of the usual answer."""
        with self._changed:
            rule = next((rule for rule in reversed(self._rules) if rule.matches(verb, addresses)), None)
            if rule is None:
                return None
            if rule.times is not None:
                rule.times -= 1
            return rule.action

    def is_greylisted(self, sender: str, recipient: str) -> bool:
        """Whether this pair is seen for the first time."""
        if self._greylist is None or (sender, recipient) in self._greylist:
            return False
        self._greylist.add((sender, recipient))
        return True

    def _add(self, rule: _Rule) -> None:
        with self._changed:
            self._rules.append(rule)
