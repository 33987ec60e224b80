"""Ids in addresses. An id may hold slashes, and an address that was decoded has lost which of them were the id's."""

from urllib.parse import quote, unquote_to_bytes

_SLASH, _PERCENT = b"%2F", b"%25"


def routable(raw: bytes) -> str:
    """The path to route by, of one as it was sent: decoded, but for the slashes and percent signs of its segments."""
    kept = raw.partition(b"?")[0].replace(b"%2f", _SLASH).replace(_PERCENT, b"%2525").replace(_SLASH, b"%252F")
    return unquote_to_bytes(kept).decode("utf-8", "replace")


def whole_id(segment: str) -> str:
    """The id, of a segment of such a path."""
    return segment.replace("%2F", "/").replace("%25", "%")


def mail_path(mail: str, root: str = "/api/v1/mails/") -> str:
    """Where a mail is found."""
    return root + quote(mail, safe="")
