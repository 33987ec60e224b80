"""What can go wrong with a broker, and pika's errors in words."""

import pika.exceptions


class BrokerRefused(Exception):
    """The broker is there and does not let us in, or refuses what was declared; trying again would not help."""


class BrokerUnreachable(Exception):
    """No broker answered within the time given."""


def may_pass(error: BaseException) -> bool:
    """Whether opening may succeed later. A broker that said no to user or virtual host will say it again.

    A connection that is cut while it is opened also counts as "probable" with pika; that happens while a broker starts.
    """
    if isinstance(error, pika.exceptions.ProbableAuthenticationError | pika.exceptions.ProbableAccessDeniedError):
        return "ConnectionClosedByBroker" not in str(error)
    known = isinstance(error, OSError | pika.exceptions.AMQPError | TimeoutError)
    return known and not isinstance(error, pika.exceptions.AuthenticationError)


def as_error(reason: BaseException) -> Exception:
    """The reason of a close, as something that can be raised and caught."""
    return reason if isinstance(reason, Exception) else pika.exceptions.AMQPConnectionError(str(reason))


def in_words(error: BaseException | None) -> str:
    """An error in words: pika's say little until asked for their causes."""
    if isinstance(error, pika.exceptions.ChannelClosed | pika.exceptions.ConnectionClosed):
        return f"{error.reply_code} {error.reply_text}"
    causes = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *getattr(error, "args", ())]
    for cause in reversed(causes):
        if isinstance(cause, BaseException) and cause is not error:
            return in_words(cause)
    return str(error) or type(error).__name__
