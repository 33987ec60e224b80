"""What kind of failure a reply means, and whom that concerns.

The enhanced code decides where it says enough (RFC 3463), then rules on the text (bounce_rules.toml), then what the
enhanced code says in general, then the basic code. Facts about receivers are in the rules, choices are here.
"""

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path

import msgspec

from shared.contracts.words import BounceClass
from shared.smtp_reply import Reply, Severity, severity

_RULES = Path(__file__).with_name("bounce_rules.toml")
_ENOUGH = 1000  # characters of a reply that are looked at; the rest repeats, or is hostile


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule on the text of replies."""

    bounce_class: BounceClass = msgspec.field(name="class")
    says: str  # a regular expression on the shape of the text
    enhanced: str = ""  # given: only for this enhanced code
    examples: list[str]  # replies that this rule, and none before it, decides


# Codes whose meaning leaves no doubt, without their first digit.
_PRECISE = {
    "1.1": BounceClass.BAD_MAILBOX,
    "1.2": BounceClass.BAD_DOMAIN,
    "1.3": BounceClass.BAD_MAILBOX,
    "1.4": BounceClass.BAD_MAILBOX,
    "1.6": BounceClass.BAD_MAILBOX,
    "1.7": BounceClass.POLICY,  # about the sender's address, as the next
    "1.8": BounceClass.POLICY,
    "2.2": BounceClass.MAILBOX_FULL,
    "2.3": BounceClass.TOO_BIG,
    "3.4": BounceClass.TOO_BIG,
    "4.6": BounceClass.LOOP,
    "4.14": BounceClass.LOOP,  # Exchange's
    "7.8": BounceClass.AUTHENTICATION,
    "7.9": BounceClass.AUTHENTICATION,
    "7.10": BounceClass.TLS,
    "7.11": BounceClass.TLS,
    "7.13": BounceClass.AUTHENTICATION,
    # Of the big receivers: sender requirements (SPF, DKIM, DMARC, reverse DNS, mail floods).
    **{f"7.{detail}": BounceClass.POLICY for detail in range(20, 41)},
}

# Codes that receivers use for much else: after the text.
_VAGUE = {
    "1.10": BounceClass.BAD_DOMAIN,  # a null MX (RFC 7505); with Exchange a mailbox
    "2.1": BounceClass.INACTIVE,
    "4.3": BounceClass.NETWORK,
    "4.4": BounceClass.BAD_DOMAIN,
    "5.3": BounceClass.RATE,  # too many recipients
    "7.4": BounceClass.TLS,
    "7.5": BounceClass.TLS,
}

# By the code's second part.
_SUBJECTS = {
    "3": BounceClass.SYSTEM,
    "4": BounceClass.NETWORK,
    "5": BounceClass.PROTOCOL,
    "6": BounceClass.CONTENT,
    "7": BounceClass.POLICY,
}

# RFC 5321 section 4.2.3, RFC 4954, RFC 7504. 550, 553 and 554 stand for too much.
_BASIC = {
    421: BounceClass.SYSTEM,
    451: BounceClass.SYSTEM,
    452: BounceClass.SYSTEM,
    454: BounceClass.AUTHENTICATION,
    455: BounceClass.PROTOCOL,
    500: BounceClass.PROTOCOL,
    501: BounceClass.PROTOCOL,
    502: BounceClass.PROTOCOL,
    503: BounceClass.PROTOCOL,
    504: BounceClass.PROTOCOL,
    530: BounceClass.AUTHENTICATION,
    534: BounceClass.AUTHENTICATION,
    535: BounceClass.AUTHENTICATION,
    538: BounceClass.AUTHENTICATION,
    551: BounceClass.BAD_MAILBOX,
    552: BounceClass.MAILBOX_FULL,
    555: BounceClass.PROTOCOL,
    556: BounceClass.BAD_DOMAIN,
}

_OWN = {**_PRECISE, **_VAGUE, "7.0": BounceClass.AUTHENTICATION, "1.7": BounceClass.PROTOCOL}  # what we say ourselves

# Said to one mail, and true of all that we bring to the server; more of it makes it worse.
_OF_ALL_OUR_MAIL = {BounceClass.RATE, BounceClass.BLOCKED, BounceClass.AUTHENTICATION, BounceClass.TLS}
# With the recipients' own servers each of these costs reputation, which all our mail shares. A relay says it of one
# sender's domain, and the others may not wait for that.
_OF_ALL_OUR_MAIL_TO_AN_MX = _OF_ALL_OUR_MAIL | {BounceClass.POLICY}

# That the address itself is useless, and stays so. What is said about us, the mail or the moment never counts.
_USELESS_ADDRESS = {BounceClass.BAD_MAILBOX, BounceClass.BAD_DOMAIN, BounceClass.INACTIVE}


def turns_us_away(reply: Reply, *, relay: bool) -> bool:
    """Whether a server's refusal of one mail speaks of all that we bring to it, and not of this mail or recipient."""
    return reply.remote and classify(reply) in (_OF_ALL_OUR_MAIL if relay else _OF_ALL_OUR_MAIL_TO_AN_MX)


def condemns_address(reply: Reply) -> bool:
    """Whether a reply shows that mail to its recipient is useless for good; only a server's word counts."""
    return reply.remote and severity(reply) is Severity.PERMANENT and classify(reply) in _USELESS_ADDRESS


def classify(reply: Reply) -> BounceClass:
    """The class of a reply of 4yz or 5yz, or of a verdict of our own in the form of one."""
    code = reply.enhanced.partition(".")[2]
    if not reply.remote:
        return _OWN.get(code) or _in_general(code, reply.code)
    return _remote(reply.code, reply.enhanced, shape(reply.text))


@lru_cache(maxsize=10_000)
def _remote(basic: int, enhanced: str, text: str) -> BounceClass:
    code = enhanced.partition(".")[2]
    certain = _PRECISE.get(code)
    if certain is not None and certain not in _USELESS_ADDRESS:
        return certain
    rule = rule_for(enhanced, text)
    # A code that condemns the address is doubted when the text speaks of something else.
    return (rule.bounce_class if rule else certain) or _VAGUE.get(code) or _in_general(code, basic)


def _in_general(code: str, basic: int) -> BounceClass:
    return _SUBJECTS.get(code.partition(".")[0]) or _BASIC.get(basic, BounceClass.UNKNOWN)


def rule_for(enhanced: str, text: str) -> Rule | None:
    """The first rule that a text of this shape meets."""
    return next(
        (rule for rule, says in rules() if (not rule.enhanced or rule.enhanced == enhanced) and says.search(text)), None
    )


@cache
def rules() -> tuple[tuple[Rule, re.Pattern[str]], ...]:
    """The rules in their order, compiled."""
    read = msgspec.convert(tomllib.loads(_RULES.read_text(encoding="utf-8"))["rule"], list[Rule])
    return tuple((rule, re.compile(rule.says)) for rule in read)


_ADDRESS = re.compile(r"(?<![^\s<>])[^\s<>]+@[^\s<>]+")  # from where a word begins: else each of its letters is tried
_TOKEN = re.compile(r"(?<![\w.-])(?=[a-z.-]*\d)[\w.-]{10,}")  # ids of sessions, host names with numbers, IP addresses
_NUMBER = re.compile(r"\d+")


def shape(text: str) -> str:
    """A reply's text without what differs from mail to mail: addresses, ids, numbers (all are 0), case, line ends.

    So few shapes occur that they are remembered; and no rule can meet a word of somebody's address.
    """
    lower = " ".join(text[:_ENOUGH].lower().split())
    return _NUMBER.sub("0", _TOKEN.sub("#", _ADDRESS.sub("@", lower)))
