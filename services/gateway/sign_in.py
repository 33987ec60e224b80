"""AUTH PLAIN and LOGIN (RFC 4616, RFC 4954): what a client shows is read here, and judged."""

import asyncio
import binascii
import time
from base64 import b64decode
from collections.abc import Callable

import msgspec
import structlog

from services.gateway.account_book import AccountBook
from services.gateway.brake import Brake
from services.gateway.crowd import group_of
from services.gateway.session import SignedIn
from shared import metrics
from shared.passwords import LONGEST, Verifier

log = structlog.get_logger()

WRONG = "535 5.7.8 wrong user name or password"
_NOT_BASE64 = "501 5.5.2 takes base64"


class Shown(msgspec.Struct, frozen=True):
    """What a client has shown."""

    user: str
    password: str


class SignIn:
    """Judges what clients show; one for all connections."""

    def __init__(
        self,
        book: AccountBook,
        verifier: Verifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._verifier = verifier
        self._clock = clock
        self._brake = Brake()

    async def judge(self, shown: Shown, address: str) -> SignedIn | str:
        """Who it is, or the reply to somebody who may not come in."""
        group = group_of(address)
        wait = self._brake.wait(group, self._clock())
        if wait is None:
            log.warning("sign_in_braked", client=address, next="refused")
            return "421 4.7.0 too many failed sign-ins from your address; try again later"
        await asyncio.sleep(wait)
        account = self._book.get(shown.user)
        if not await self._verifier.verify(account.password if account else None, shown.password) or account is None:
            self._brake.failed(group, self._clock())
            metrics.GATEWAY_SIGN_INS_FAILED.inc()
            known = "yes" if account else "no"
            log.warning("sign_in_failed", client=address, account=shown.user, known=known, next="refused")
            return WRONG
        return SignedIn(shown.user, account.password)


def read_plain(response: bytes) -> Shown | str:
    """The response of PLAIN: who to act as (nobody but oneself), user and password. Else the reply to it."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        return "501 5.5.2 PLAIN takes an identity or nothing, the user and the password, with NUL between them"
    identity, user, password = parts
    return WRONG if identity not in (b"", user) else read_login(user, password)


def read_login(user: bytes, password: bytes) -> Shown | str:
    """User and password, in UTF-8. Else the reply to them."""
    try:
        shown = Shown(user.decode(), password.decode())
    except UnicodeDecodeError:
        return WRONG
    return WRONG if not shown.password or len(shown.password) > LONGEST else shown


def from_base64(text: str) -> bytes | str:
    """An initial response; `=` is the empty one (RFC 4954 section 4). Else the reply to it."""
    try:
        return b"" if text == "=" else b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return _NOT_BASE64
