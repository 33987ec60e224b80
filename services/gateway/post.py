"""Hands mails to the broker: yes is said when it has them, and not before."""

import asyncio
import re

import structlog

from shared.broker import FULL, Message, Publisher, Refused

log = structlog.get_logger()

_CONFIRM_WITHIN_S = 30.0  # clients wait ten minutes (RFC 5321 section 4.5.3.2.6); meanwhile the mail is in memory
_MOST = re.compile(r"larger than configured max size (\d+)")
_LATER = "try again later"


class Post:
    """One for all connections."""

    def __init__(self, publisher: Publisher, confirm_within_s: float = _CONFIRM_WITHIN_S) -> None:
        self._publisher = publisher
        self._confirm_within_s = confirm_within_s

    async def send(self, message: Message) -> str:
        """Publish a mail; the reply for its client. What is cancelled or late is forgotten: nothing sends it later."""
        mail = message.properties.message_id
        try:
            async with asyncio.timeout(self._confirm_within_s):
                refused = await self._publisher.publish([message])
        except TimeoutError:
            short_of = self._publisher.blocked_by
            reason = f"the broker takes nothing, being {short_of}" if short_of else "the broker is away"
            log.warning("not_submitted", mail=mail, reason=reason, next="client_tries_again")
            return f"451 4.3.2 the mail queue takes nothing now; {_LATER}"
        if not refused:
            return f"250 2.0.0 Ok: queued as {mail}"
        reply = reply_to(refused[0])
        told = "client_tries_again" if reply.startswith("4") else "client_is_told"
        log.warning("not_submitted", mail=mail, reason=refused[0].reason, next=told)
        return reply


def reply_to(refused: Refused) -> str:
    """What a client is told of a refusal. Unknown is transient."""
    # Several mails are refused when the broker closes a channel over one of them.
    if (found := _MOST.search(refused.reason)) and len(refused.message.body) > int(found.group(1)):
        return f"552 5.3.4 the broker takes mails of up to {found.group(1)} octets"
    what = "is full" if refused.reason == FULL else "did not take it"
    return f"451 4.3.0 the mail queue {what}; {_LATER}"
