"""The name we say in EHLO: the setting's, or found by forward-confirmed reverse DNS (RFC 8601 section 2.7.3)."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec
import structlog

from shared import metrics
from shared.dns_questions import Ask, dns_ask
from shared.host_names import address_literal
from shared.reverse_dns import Confirmed, Unconfirmed, Unknown, confirm

log = structlog.get_logger()

_KEEP = timedelta(hours=1)
_KEEP_AFTER_TROUBLE = timedelta(minutes=1)  # a name server that was down is asked again soon


class _Kept(msgspec.Struct, frozen=True):
    """What is said from one address, and until when without looking again."""

    argument: str
    until: float


class HeloNames:
    """Gives the EHLO argument for each local address; found ones are kept for an hour."""

    def __init__(
        self,
        setting: str,
        name_servers: Sequence[str] = (),
        *,
        fallback: str = "",
        ask: Ask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`setting` is `identity.helo_name`, `fallback` `identity.helo_fallback`, `name_servers` `dns.servers`."""
        self._setting = setting
        self._fallback = fallback
        self._ask = ask if ask is not None else dns_ask(name_servers)
        self.said: dict[str, str] = {}  # by address
        self._clock = clock
        self._kept: dict[str, _Kept] = {}  # by address
        self._locks: dict[str, asyncio.Lock] = {}

    async def argument(self, address: str) -> str:
        """The EHLO argument for a connection from this local address."""
        address = address.partition("%")[0]
        said = self.said[address] = self._setting if self._setting != "auto" else await self._found(address)
        return said

    async def _found(self, address: str) -> str:
        async with self._locks.setdefault(address, asyncio.Lock()):
            kept = self._kept.get(address)
            if kept is None or kept.until <= self._clock():
                kept = self._kept[address] = await self._find(address, kept)
            return kept.argument

    async def _find(self, address: str, last: _Kept | None) -> _Kept:
        otherwise = self._fallback or address_literal(address)
        match await confirm(address, self._ask):
            case Confirmed(name):
                found, keep = name, _KEEP
            case Unconfirmed(result, why):
                found, keep = otherwise, _KEEP
                log.warning("helo_name_not_found", address=address, result=result, reason=why, next=f"say_{found}")
            case Unknown(why):
                found, keep = last.argument if last is not None else otherwise, _KEEP_AFTER_TROUBLE
                log.warning("helo_name_unknown", address=address, result="temperror", reason=why, next=f"say_{found}")
        metrics.HELO_UNCONFIRMED.labels(address).set(found == otherwise)
        return _Kept(found, self._clock() + keep.total_seconds())
