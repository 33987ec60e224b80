"""Connections to SMTP servers: the only file that opens SMTP sockets. It moves octets and keeps deadlines."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import msgspec
import structlog

from services.sender.broken_tls import BrokenTls
from services.sender.envelope import OutgoingMail
from services.sender.families import Families
from services.sender.helo import HeloNames
from services.sender.link import Link, why
from services.sender.login import Login, Logins
from services.sender.opening import Introduction, NotOpened, Stage, opening_of
from services.sender.reply_parser import ReplyParser
from services.sender.session_mails import MailResult
from services.sender.smtp_client import SmtpClient
from services.sender.targets import MAX_TARGETS, Failure, Target, choose, verdict
from services.sender.tls import TlsPolicy, context_of, is_implicit, plaintext, policy_of
from shared import metrics
from shared.contracts.work import Host, Route, TlsMode
from shared.outcomes import Bounced, Deferred
from shared.settings import Fallback, Timeouts
from shared.smtp_reply import Reply, Severity, own_verdict, severity

log = structlog.get_logger()

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_GATHER = timedelta(milliseconds=2)  # results wait for each other: to wake the caller for each costs half a mail

Note = Callable[[Sequence[MailResult]], None]


class Unreachable(msgspec.Struct, frozen=True):
    """No host of the route can be used, and what that means for its mails."""

    outcome: Deferred | Bounced


class Connection:
    """A session that is open: mails go in by `submit`, what became of them comes out of `results`."""

    def __init__(
        self,
        target: Target,
        link: Link,
        client: SmtpClient,
        mechanism: str,
        families: Families,
        note: Note,
    ) -> None:
        self.target = target
        self.host = str(target)  # "mx1.example.net [192.0.2.1]:25"
        self.channel = link.channel
        self.mechanism = mechanism  # by which we have signed in, or ""
        self._loop = asyncio.get_running_loop()
        self.opened_at = time.monotonic()
        self._link = link
        self._families = families
        self._client = client
        self._mails = client.mails
        self._waiter: asyncio.Future[None] | None = None
        self._gathering = False
        self._note = note
        self._noted = 0  # of the results that lie there
        link.work_with(client, self._changed, self._heard)

    @property
    def in_flight(self) -> int:
        """Mails whose results have not come yet."""
        return self._mails.in_flight

    @property
    def begun(self) -> int:
        """Mails taken up so far."""
        return self._mails.begun

    @property
    def closed(self) -> bool:
        """Whether the session is over, or comes to its end; what is submitted now comes back."""
        return self._client.full

    @property
    def broke_off(self) -> bool:
        """Whether the session is over, and not because we had come to its end."""
        return self._client.broke_off

    @property
    def end_reply(self) -> Reply:
        """Why the session is over."""
        return self._client.end_reply

    def submit(self, mails: Iterable[OutgoingMail]) -> None:
        """Queue mails behind those in flight. Each comes out of `results` once."""
        self._client.submit(mails)
        self._link.proceed()

    def take_back(self) -> None:
        """Mails that wait behind those under way come out of `results` untouched."""
        self._mails.put_back("it was taken back")
        self._changed()

    async def results(self) -> list[MailResult]:
        """Wait for results, and take all there are; none, when nothing is in flight. For one caller at a time.

        When the session ends, all that is left comes at once.
        """
        while not self._mails.results and self._mails.in_flight:
            self._waiter = self._loop.create_future()
            await self._waiter
        results, self._mails.results, self._noted = self._mails.results, [], 0
        self._families.note_results(self.target, results)
        return results

    async def quit(self) -> None:
        """Close the session: what is under way is finished, what is not comes back, then QUIT. Changes no result."""
        self._client.quit()
        self._link.proceed()
        try:
            await self._link.gone.wait()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the session at once: what is under way counts as lost."""
        self._client.lost("the sender gave it up")
        self._link.proceed()

    def _heard(self) -> None:
        results = self._mails.results
        if len(results) > self._noted:
            self._note(results[self._noted :])
            self._noted = len(results)

    def _changed(self) -> None:
        if self._waiter is None or not self._mails.results or self._gathering:
            return
        if self._mails.in_flight:
            self._gathering = True
            self._loop.call_later(_GATHER.total_seconds(), self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        self._gathering = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


async def connect(
    route: Route,
    *,
    helo: HeloNames,
    timeouts: Timeouts | None = None,
    may_pipeline: Callable[[str], bool] = lambda _: True,
    fallback: Fallback | None = None,
    broken_tls: BrokenTls | None = None,
    logins: Logins | None = None,
    families: Families | None = None,
    most_addresses: int = MAX_TARGETS,
    note: Note | None = None,
) -> Connection | Unreachable:
    """Open a session with the first host of the route that can be used, and say why if there is none.

    `may_pipeline` says so by a host's name. `broken_tls`, `logins` and `families` remember from one call to the next.
    `note` gets results as soon as the server has said them, before it hears another word from us.
    """
    policy, logins = policy_of(route), logins or Logins()
    login = await logins.find(route.credentials) if route.credentials is not None else None
    if isinstance(login, Reply):
        _alarm(route, reply=str(login))
        return Unreachable(Deferred(login))
    try:
        context = context_of(policy)
    except OSError as error:
        reply = own_verdict(451, "4.7.5", f"the certificates in {policy.ca_file} can not be used: {why(error)}")
        return Unreachable(Deferred(reply))
    dialler = _Dialler(route, context, login, helo, timeouts or Timeouts(), may_pipeline)
    dialler.families, dialler.most_addresses, dialler.note = families or Families(), most_addresses, note or _forget
    found = await dialler.search(policy, fallback or Fallback(), broken_tls or BrokenTls())
    if route.credentials is not None and dialler.refused_sign_in:
        logins.refused(route.credentials)
    return found


class _Dialler:
    """One search for a host of a route."""

    def __init__(
        self,
        route: Route,
        context: ssl.SSLContext,
        login: Login | None,
        helo: HeloNames,
        timeouts: Timeouts,
        may_pipeline: Callable[[str], bool],
    ) -> None:
        self._route = route
        self._context = context
        self._login = login
        self._helo = helo
        self._timeouts = timeouts
        self._may_pipeline = may_pipeline
        self.families = Families()
        self.most_addresses = MAX_TARGETS
        self.note: Note = _forget
        self._failures: list[Failure] = []
        self.refused_sign_in = False

    async def search(self, policy: TlsPolicy, fallback: Fallback, broken_tls: BrokenTls) -> Connection | Unreachable:
        """Try the targets in order; where TLS can be done without, plaintext comes after all of them."""
        found, troubles = await _find_targets(self._route.hosts, self._timeouts.connect)
        targets, now = choose(self.families.arranged(found), self.most_addresses), time.monotonic()
        optional = policy.mode is TlsMode.ENABLE
        known = [target for target in targets if optional and broken_tls.has(target, now, fallback.remember)]
        connection = await self._try([target for target in targets if target not in known], policy)
        if connection is None and optional and not any(failure.ends_the_search for failure in self._failures):
            given_up = self._drop_tls_failures(fallback)
            insecure = [target for target in targets if target in known or target in given_up]
            connection = await self._try(insecure, plaintext(policy))
            if connection is not None and given_up.get(connection.target) is Stage.TLS:
                broken_tls.note(connection.target, now)
        if connection is not None:
            return connection
        if not self._failures and troubles:
            return Unreachable(Deferred(troubles[-1]))
        tried = {failure.target.host for failure in self._failures}
        return Unreachable(verdict(self._failures, all(host.name in tried for host in self._route.hosts)))

    def _drop_tls_failures(self, fallback: Fallback) -> dict[Target, Stage]:
        """Those failures that plaintext may make good are failures no more."""
        stages = {Stage.TLS} if fallback.starttls_454 == "defer" else {Stage.TLS, Stage.TLS_LATER}
        dropped = [failure for failure in self._failures if failure.stage in stages]
        for failure in dropped:
            self._failures.remove(failure)
            _log_fallback(failure)
        return {failure.target: failure.stage for failure in dropped}

    async def _try(self, targets: Sequence[Target], policy: TlsPolicy) -> Connection | None:
        for target in targets:
            opened = await self._open(target, policy)
            if isinstance(opened, Connection):
                _log_connection(opened)
                return opened
            self._failures.append(opened)
            self.families.note(opened.target, opened.reply)
            if opened.ends_the_search:
                return None
        return None

    async def _open(self, target: Target, policy: TlsPolicy) -> Connection | Failure:
        link = Link(target.host, self._timeouts)
        try:
            async with asyncio.timeout(self._timeouts.connect.total_seconds()):
                await asyncio.get_running_loop().create_connection(lambda: link, target.address, target.port)
            return await self._introduce(target, policy, link)
        except OSError as error:
            link.abort()
            stage = Stage.NO_ROUTE if error.errno in _NO_ROUTE else Stage.CONNECT
            return Failure(target, stage, own_verdict(451, "4.4.1", f"no connection: {why(error)}"))
        except BaseException:
            link.abort()
            raise

    async def _introduce(self, target: Target, policy: TlsPolicy, link: Link) -> Connection | Failure:
        introduction = Introduction(
            await self._helo.argument(link.local_address),
            policy,
            is_implicit(policy, target.port),
            self._login,
            beware_of_loops=not self._route.to_relay,
        )
        parser = ReplyParser()
        opened = await link.converse(opening_of(introduction, self._timeouts, parser), policy, self._context)
        if isinstance(opened, NotOpened):
            if opened.stage is Stage.AUTH:
                self._sign_in_failed(target, opened)
            return Failure(target, opened.stage, opened.reply)
        pipelining = self._may_pipeline(target.host)
        client = SmtpClient(str(target), opened.offered, self._timeouts, parser, pipelining)
        return Connection(target, link, client, opened.mechanism, self.families, self.note)

    def _sign_in_failed(self, target: Target, failed: NotOpened) -> None:
        """An alarm, unless the server says that it is for now (RFC 4954 section 6: 454, 432)."""
        self.refused_sign_in = True
        if failed.reply.remote and severity(failed.reply) is not Severity.PERMANENT:
            return
        _alarm(self._route, host=str(target), mechanism=failed.mechanism or "none", reply=str(failed.reply))


def _forget(results: Sequence[MailResult]) -> None:
    """In the place of a journal."""


async def _find_targets(hosts: Sequence[Host], limit: timedelta) -> tuple[list[Target], list[Reply]]:
    """The addresses of all hosts in order, and why some have none."""
    targets: list[Target] = []
    troubles: list[Reply] = []
    for host in hosts:
        try:
            addresses = host.addresses or await _addresses(host, limit)
        except OSError as error:
            troubles.append(own_verdict(451, "4.4.3", f"no address of {host.name}: {why(error)}"))
        else:
            targets += [Target(host.name, address, host.port) for address in addresses]
    return targets, troubles


async def _addresses(host: Host, limit: timedelta) -> list[str]:
    """What the system's resolver says, in its order. Raises OSError."""
    async with asyncio.timeout(limit.total_seconds()):
        found = await asyncio.get_running_loop().getaddrinfo(host.name.strip("[]"), host.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _log_fallback(failure: Failure) -> None:
    log.warning("tls_failed", host=str(failure.target), reason=failure.reply.text, next="try_plaintext")


def _log_connection(connection: Connection) -> None:
    channel = connection.channel
    told = {"tls": channel.tls or "none"}
    if channel.secured:
        told |= {"cipher": channel.cipher, "certificate": channel.certificate}
    if connection.mechanism:
        told |= {"auth": connection.mechanism}
    log.info("connected", host=connection.host, **told)


def _alarm(route: Route, **told: str) -> None:
    """Nobody can be signed in: no mail goes to this site until the settings or the secret are mended."""
    metrics.SIGN_INS_REFUSED.labels(route.site).inc()
    log.error("sign_in_refused", site=route.site, **told, next="defer")
