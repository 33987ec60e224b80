"""Lines over 998 octets in a finished message: its headers are folded, its parts get a transfer encoding.

As little as possible changes: the parts that have such lines, and no others. What is signed is never changed.
"""

import binascii
import re
from email.message import Message
from email.parser import BytesHeaderParser
from itertools import chain

from services.scheduler.encodings import base64_lines, quoted_printable
from shared.refusals import Invalid

MAX_LINE = 998  # octets without CRLF, RFC 5321 section 4.5.3.1.6
_ENCODED_LINE = 76  # RFC 2045 section 6.8
_DEEPEST = 50  # parts within parts
_LARGE, _DEEPEST_LARGE = 1024 * 1024, 5  # octets; each level holds a copy
_MOST_HEAD = 64 * 1024  # octets of a part's headers
_ASCII = bytes(range(128))
_SEALED = ("dkim-signature", "arc-seal")
_CTE = re.compile(rb"^content-transfer-encoding[ \t]*:(?:[^\r]|\r\n[ \t])*\r\n", re.IGNORECASE | re.MULTILINE)


def has_long_line(octets: bytes, most: int = MAX_LINE) -> bool:
    """Whether a line has over `most` octets. Only the last line end of each stretch is looked for, which is quick."""
    start = 0
    while len(octets) - start > most:
        found = octets.rfind(b"\r\n", start, start + most + 2)
        if found < 0:
            return True
        start = found + 2
    return False


def shorten(message: bytes) -> bytes:
    """A message whose lines have CRLF at their ends, without long lines. Raises Invalid where that can not be."""
    if not has_long_line(message):
        return message
    head = _parsed(_split(message)[0])
    if any(name in head for name in _SEALED):
        raise _refusal(message, "and the message is signed already; encode it before it is signed")
    return _entity(message, message, [], 0)


def _entity(octets: bytes, message: bytes, boundaries: list[bytes], depth: int) -> bytes:
    """A message or one of its parts; `boundaries` are those of the parts around it."""
    deepest = _DEEPEST if len(octets) <= _LARGE else _DEEPEST_LARGE
    if depth > deepest:
        raise _refusal(message, f"in a part more than {deepest} parts deep")
    head, body = _split(octets)
    if depth and len(head) > _MOST_HEAD:
        raise _refusal(message, f"in a part whose headers have over {_MOST_HEAD} octets")
    described = _parsed(head)
    head = _folded_head(head)
    if not has_long_line(body):
        return head + b"\r\n" + body
    match described.get_content_maintype(), described.get_content_subtype():
        case "multipart", "signed" | "encrypted":
            raise _refusal(message, "in a part that is signed; encode it before it is signed")
        case "multipart", _:
            return head + b"\r\n" + _parts(body, described, message, boundaries, depth)
        case "message", "rfc822" | "global":
            return head + b"\r\n" + _entity(body, message, boundaries, depth + 1)
        case "message", _:
            raise _refusal(message, "in a part that may not be encoded (RFC 2046 section 5.2)")
        case kind, _:
            return _leaf(head, body, described, kind == "text", message, boundaries, depth)


def _parts(body: bytes, described: Message, message: bytes, boundaries: list[bytes], depth: int) -> bytes:
    boundary = str(described.get_boundary() or "").encode("utf-8", "surrogateescape")
    if not boundary:
        raise _refusal(message, "in a multipart without a boundary")
    delimiter = re.compile(rb"(?:^|\r\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?=\r\n|\Z)")
    done: list[bytes] = []
    kept = start = 0
    for index, found in enumerate(chain(delimiter.finditer(body), (None,))):
        end = len(body) if found is None else found.start()
        piece = body[start:end]
        if has_long_line(piece):
            if index == 0 or found is None:
                raise _refusal(message, "before the first part or behind the last")
            part = _entity(piece.removeprefix(b"\r\n"), message, [*boundaries, boundary], depth + 1)
            done += [body[kept:start], b"\r\n", part]
            kept = end
        if found is not None:
            start = found.end()
    return b"".join([*done, body[kept:]])


def _leaf(
    head: bytes, body: bytes, described: Message, text: bool, message: bytes, boundaries: list[bytes], depth: int
) -> bytes:
    encoding = str(described.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    match encoding:
        case "base64":
            return head + b"\r\n" + _wrapped(body.translate(None, b" \t\r\n"))
        case "quoted-printable":
            body = binascii.a2b_qp(body)
        case "7bit" | "8bit" | "binary":
            pass
        case _:
            raise _refusal(message, f"in a part with the encoding {encoding[:40]!r}")
    name, encoded = _encoded(body, text, boundaries)
    line = b"Content-Transfer-Encoding: " + name + b"\r\n"
    head = _CTE.sub(b"", head) + line
    if depth == 0 and "mime-version" not in described:
        head += b"MIME-Version: 1.0\r\n"
    return head + b"\r\n" + encoded


def _encoded(body: bytes, text: bool, boundaries: list[bytes]) -> tuple[bytes, bytes]:
    """Readable where it is text, unless that is longer, or would make a line that ends a part around it."""
    if text and len(body.translate(None, _ASCII)) * 3 <= len(body):
        readable = quoted_printable(body)
        if not any(b"\r\n--" + boundary in b"\r\n" + readable for boundary in boundaries):
            return b"quoted-printable", readable
    return b"base64", base64_lines(body)


def _wrapped(encoded: bytes) -> bytes:
    lines = [encoded[start : start + _ENCODED_LINE] for start in range(0, len(encoded), _ENCODED_LINE)]
    return b"\r\n".join(lines) + b"\r\n"


def _split(octets: bytes) -> tuple[bytes, bytes]:
    """Head, each line with its end, and body; the empty line between them belongs to neither."""
    if octets.startswith(b"\r\n"):
        return b"", octets[2:]
    head, _, body = octets.partition(b"\r\n\r\n")
    return head.removesuffix(b"\r\n") + b"\r\n", body


def _parsed(head: bytes) -> Message:
    return BytesHeaderParser().parsebytes(head)


def _folded_head(head: bytes) -> bytes:
    if not has_long_line(head):
        return head
    return b"".join(_folded(line) + b"\r\n" for line in head.removesuffix(b"\r\n").split(b"\r\n"))


def _folded(line: bytes) -> bytes:
    """A header's line, with line ends before blanks that are there (RFC 5322 section 2.2.3)."""
    done: list[bytes] = []
    while len(line) > MAX_LINE:
        begun = len(line) - len(line[line.find(b":") + 1 :].lstrip()) if not done else 1
        at = max(line.rfind(b" ", begun, MAX_LINE + 1), line.rfind(b"\t", begun, MAX_LINE + 1))
        if at < 1 or not line[at:].strip() or not line[:at].strip():
            raise Invalid("content", f"the header {_shown(line)} has a word of over {MAX_LINE} octets")
        done.append(line[:at])
        line = line[at:]
    return b"\r\n".join([*done, line])


def _shown(line: bytes) -> str:
    return ascii(line[:40].decode("ascii", "backslashreplace"))


def _refusal(message: bytes, why: str) -> Invalid:
    start, number = 0, 1
    while (end := message.find(b"\r\n", start, start + MAX_LINE + 2)) >= 0:
        start, number = end + 2, number + 1
    return Invalid("content", f"line {number} has over {MAX_LINE} octets, {why}")
