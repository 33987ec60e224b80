"""What holds for certain headers: how often they stand, what they may carry, and those that unsubscribe (RFC 8058)."""

import re
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

from shared.refusals import Invalid

# RFC 5322 section 3.6, and RFC 2045: of two, a reader and a filter may believe different ones. From has its own rule.
_SINGLE = (
    "Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip
_SPELLING = {name.lower(): name for name in _SINGLE}
# RFC 2047 section 5: encoded words are for phrases and free text; here they would spoil an identifier or an address.
_NEVER_ENCODED = frozenset(
    ("message-id", "in-reply-to", "references", "date", "resent-date", "resent-message-id", "content-id", "list-id",
     "list-unsubscribe", "list-unsubscribe-post", "list-help", "list-subscribe", "list-post", "list-owner",
     "list-archive", "auto-submitted", "dkim-signature", "authentication-results")
)  # fmt: skip
ADDRESS_HEADERS = frozenset(
    ("sender", "resent-from", "resent-sender", "resent-to", "resent-cc", "disposition-notification-to", "errors-to",
     "return-receipt-to")
)  # fmt: skip
# What some reader takes for the end of a line. Of other octets a finished message has its own account.
_LINE_ENDS = re.compile(b"[\x00\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")  # the latter in UTF-8
_LAST_OCTETS = b"\x00\x0b\x0c\x1c\x1d\x1e\x85\xa8\xa9"  # of each of them
_MAX_URL = 900  # octets: with the header's name it fits in one line
_URL = re.compile(r"[!#-;=?-Z\\\]_a-z~\[]+")  # RFC 3986 and no more; no blanks, no <> that would end it


def check_single(names: Collection[str]) -> None:
    """Raises Invalid, which names the header, where one of those that stand once is in `names` (lower case) twice."""
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen and name in _SPELLING:
            raise Invalid(_SPELLING[name], f"the message has several {_SPELLING[name]} headers; takes one (RFC 5322)")
        seen.add(name)


def check_octets(head: bytes, names: Sequence[str], fields: Sequence[bytes]) -> None:
    """Raises Invalid where a header has what some reader takes for the end of a line; `head` is all the fields."""
    if len(head.translate(None, _LAST_OCTETS)) == len(head):  # a tenth of the time of a search
        return
    for name, field in zip(names, fields, strict=True):
        if found := _LINE_ENDS.search(field):
            number = ord(found.group().decode())
            raise Invalid(name.title(), f"has the control character U+{number:04X}; takes one line of text, or folds")


def check_encodable(name: str, value: str) -> None:
    """Raises ValueError where a value would need encoded words that the header may not have."""
    if name.lower() in _NEVER_ENCODED and not value.isascii():
        raise ValueError("takes ASCII: encoded words have no place in it (RFC 2047 section 5)")


def unsubscribe_lines(url: str, names: Iterable[str]) -> str:
    """The headers by which a reader's program unsubscribes with one click, where `names` do not stand already."""
    for name in map(str.lower, names):
        if name in ("list-unsubscribe", "list-unsubscribe-post"):
            raise Invalid("unsubscribe_url", f"the mail has a header {_SPELLING[name]}; takes one of the two")
    if not _is_https(url):
        raise Invalid("unsubscribe_url", f"got {url[:80]!r}; takes an https address of up to {_MAX_URL} characters")
    return f"List-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not close
        return False
    fits = len(url) <= _MAX_URL and _URL.fullmatch(url) is not None
    return fits and parts.scheme.lower() == "https" and bool(parts.hostname)
