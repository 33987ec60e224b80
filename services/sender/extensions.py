"""What a server offers, as it says in its reply to EHLO (RFC 5321 section 4.1.1.1)."""

import re

import msgspec

from shared.smtp_reply import Reply


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a server takes at most, as it says by LIMITS (RFC 9422 section 4); None: it does not say."""

    transactions: int | None = None  # MAILMAX, of one session
    recipients: int | None = None  # RCPTMAX, of one transaction
    domains: int | None = None  # RCPTDOMAINMAX, of the recipients of one session


_UNLIMITED = ServerLimits()


class Extensions(msgspec.Struct, frozen=True, kw_only=True):
    """The extensions this client uses; after HELO, none."""

    server: str = ""  # the name the server gives itself
    pipelining: bool = False  # RFC 2920
    size: int | None = None  # RFC 1870; None: not offered, 0: no limit
    eight_bit: bool = False  # RFC 6152
    smtputf8: bool = False  # RFC 6531
    starttls: bool = False  # RFC 3207
    auth: frozenset[str] = frozenset()  # mechanisms, RFC 4954
    dsn: bool = False  # RFC 3461
    limits: ServerLimits = _UNLIMITED  # RFC 9422


def read_extensions(reply: Reply) -> Extensions:
    """Read the reply to EHLO. The first line names the server, each further one an extension."""
    first, *lines = reply.text.split("\n")
    offered: dict[str, list[str]] = {}
    for line in lines:
        keyword, *parameters = _OLD_FORM.sub(r"\1 ", line.upper()).split() or [""]
        if keyword == "LIMITS" and keyword in offered:
            parameters = [""]  # a second list makes both worthless
        offered.setdefault(keyword, []).extend(parameters)
    smtputf8 = "SMTPUTF8" in offered
    return Extensions(
        server=_first_word(first),
        pipelining="PIPELINING" in offered,
        size=_size(offered["SIZE"]) if "SIZE" in offered else None,
        # RFC 6531 section 3.6: who offers SMTPUTF8 must take 8-bit content as well.
        eight_bit="8BITMIME" in offered or smtputf8,
        smtputf8=smtputf8,
        starttls="STARTTLS" in offered,
        auth=frozenset(offered.get("AUTH", ())),
        dsn="DSN" in offered,
        limits=_limits(offered["LIMITS"]) if "LIMITS" in offered else _UNLIMITED,
    )


# ---------------------------------------------------------------------------------------------------------

# "AUTH=LOGIN PLAIN" is how servers wrote it before RFC 2554, and some still do.
_OLD_FORM = re.compile(r"^(\w+)=")
_LIMIT = re.compile(r"([A-Z0-9_-]+)(?:=(\S+))?")
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


def _first_word(line: str) -> str:
    return line.split(" ", 1)[0]


def _size(parameters: list[str]) -> int:
    # RFC 1870 section 4: without a number, or with 0, no limit is stated. What is no number states none either.
    limit = parameters[0] if parameters else ""
    return int(limit) if limit.isascii() and limit.isdigit() else 0


def _limits(parameters: list[str]) -> ServerLimits:
    """What is malformed, or said twice, makes the whole list worthless: who knows what was meant."""
    stated: dict[str, str | None] = {}
    for parameter in parameters:
        match = _LIMIT.fullmatch(parameter)
        if match is None or match[1] in stated:
            return _UNLIMITED
        stated[match[1]] = match[2]
    known = [stated.get(name, "") for name in ("MAILMAX", "RCPTMAX", "RCPTDOMAINMAX")]
    if not all(value == "" or (value is not None and _NUMBER.fullmatch(value)) for value in known):
        return _UNLIMITED
    transactions, recipients, domains = (int(value) if value else None for value in known)
    return ServerLimits(transactions=transactions, recipients=recipients, domains=domains)
