"""What an SMTP server said, and how bad it is (RFC 5321 section 4.2, RFC 3463)."""

import enum

import msgspec


class Severity(enum.Enum):
    """What a reply means for the command it answers."""

    POSITIVE = 2
    INTERMEDIATE = 3
    TRANSIENT = 4
    PERMANENT = 5


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """A reply, or a verdict of our own in the form of one (RFC 3463 codes for both)."""

    code: int  # three digits, RFC 5321 section 4.2.1
    enhanced: str  # "5.1.1", or "" when the server gave none
    text: str  # lines joined by a line feed, without codes
    remote: bool = True  # False: nobody said it, it is our own verdict (RFC 3464 section 2.3.6)

    def __str__(self) -> str:
        codes = f"{self.code} {self.enhanced}" if self.enhanced else str(self.code)
        return f"{codes} {self.text}".replace("\n", " ") if self.text else codes


def own_verdict(code: int, enhanced: str, text: str) -> Reply:
    """A verdict that no server gave: `own_verdict(451, "4.4.1", "no answer from mx1.example")`."""
    return Reply(code, enhanced, text, remote=False)


def severity(reply: Reply) -> Severity:
    """Classify a reply by its first digit (RFC 5321 section 4.2.1).

    Anything a server may not say counts as transient: a needless retry costs
    minutes, a needless bounce loses mail.
    """
    match reply.code // 100:
        case 2:
            return Severity.POSITIVE
        case 3:
            return Severity.INTERMEDIATE
        case 5:
            return Severity.PERMANENT
        case _:
            return Severity.TRANSIENT
