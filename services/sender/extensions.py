"""What a server offers, as it says in its reply to EHLO (RFC 5321 section 4.1.1.1)."""

import msgspec

from shared.smtp_reply import Reply


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


def read_extensions(reply: Reply) -> Extensions:
    """Read the reply to EHLO. The first line names the server, each further one an extension."""
    first, *lines = reply.text.split("\n")
    offered: dict[str, list[str]] = {}
    for line in lines:
        # "AUTH=LOGIN PLAIN" is how servers wrote it before RFC 2554, and some still do.
        keyword, *parameters = line.replace("=", " ", 1).upper().split() or [""]
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
    )


def _first_word(line: str) -> str:
    return line.split(" ", 1)[0]


def _size(parameters: list[str]) -> int:
    # RFC 1870 section 4: without a number, or with 0, no limit is stated. What is no number states none either.
    limit = parameters[0] if parameters else ""
    return int(limit) if limit.isascii() and limit.isdigit() else 0
