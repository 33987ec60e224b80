"""The body of a structured mail: its texts and attachments as MIME (RFC 2045, RFC 2046, RFC 2183, RFC 2231).

It is written in one pass. The standard library reads back what it writes, header by header: a tenth of a second for
some attachments, and for a text of many lines forty times its size in memory.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from services.scheduler.encodings import base64_lines, quoted_printable
from services.scheduler.long_lines import has_long_line
from shared.addresses import refuse_control_characters
from shared.contracts.submissions import Attachment, Submission
from shared.refusals import Invalid

# Seven-bit bodies: every receiver takes them, and nothing on the way may change them.
_WIDTH = 76
# What a body may not carry as it is: NUL and bare CR are refused by receivers, others get lost on the way.
_CONTROLS = bytes((*range(9), 11, 12, *range(14, 32), 127))  # all but tabs and line ends
_MAX_PLAIN_LINE = 900  # octets; RFC 5322 section 2.1.1 has 998, and forwarders add to lines
_CONTENT_ID = re.compile(r"<?([!-;=?-~]{1,250})>?")  # RFC 2045 section 7: as a Message-ID, kept in one line
_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_CONTENT_TYPE = re.compile(rf"({_WORD})/({_WORD})")
_PARAMETER = re.compile(rf'\s*;\s*({_WORD})=(?:({_WORD})|"((?:[ !#-\[\]-~]|\\[ -~])*)")', re.ASCII)
_MAX_CONTENT_TYPE = 500  # characters, with parameters
_QUOTABLE = re.compile(r"[ -~]*")
_PIECE = re.compile(r"(?:%[0-9A-F]{2}|[^%]){1,18}")  # of a value in several lines, with room for its name and number


def body_of(submission: Submission) -> bytes:
    """The headers of the body, the empty line and the body. Raises Invalid, which names the field."""
    described = [(f"attachments[{index}]", attachment) for index, attachment in enumerate(submission.attachments)]
    inline = [_part(each, field, "inline") for field, each in described if each.content_id is not None]
    attached = [_part(each, field, "attachment") for field, each in described if each.content_id is None]
    texts = [] if submission.text is None and submission.html is not None else [_text("plain", submission.text or "")]
    texts += [] if submission.html is None else [_text("html", submission.html)]
    if inline:
        texts[-1] = _multipart("related", [texts[-1], *inline])
    message = texts[0] if len(texts) == 1 else _multipart("alternative", texts)
    return b"MIME-Version: 1.0\r\n" + (_multipart("mixed", [message, *attached]) if attached else message)


def _multipart(kind: str, parts: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    boundary = f"=_{digest.hexdigest()[:32]}".encode()  # nobody writes what holds its own digest
    pieces = [b'Content-Type: multipart/%s;\r\n boundary="%s"\r\n\r\n' % (kind.encode(), boundary)]
    for part in parts:
        pieces += [b"--", boundary, b"\r\n", part, b"\r\n"]
    return b"".join([*pieces, b"--", boundary, b"--\r\n"])


def _text(kind: str, text: str) -> bytes:
    lines = text.encode()
    if b"\r" in lines:  # a look is ten times as fast as a search for pairs
        lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = lines.replace(b"\n", b"\r\n")
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    encoding = _encoding(text, lines)
    match encoding:
        case "7bit":
            encoded = lines
        case "base64":
            encoded = base64_lines(lines)
        case _:
            encoded = quoted_printable(lines)
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode() + encoded


def _encoding(text: str, lines: bytes) -> str:
    """Seven bits where that is all there is, else whichever of the two encodings is shorter."""
    if _is_plain(lines) and not has_long_line(lines, _MAX_PLAIN_LINE):
        return "7bit"
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return "base64" if beyond * 3 > len(text) else "quoted-printable"


def _is_plain(lines: bytes) -> bool:
    """Whether printable ASCII, tabs and line ends are all. To delete what is not takes a sixth of a search for it."""
    return lines.isascii() and len(lines.translate(None, _CONTROLS)) == len(lines)


def _part(attachment: Attachment, field: str, disposition: str) -> bytes:
    kind, parameters = _checked_type(attachment, field)
    content_id = _checked_id(attachment, field)
    head = [
        _line("Content-Type", kind, parameters),
        "Content-Transfer-Encoding: base64\r\n",
        _line("Content-Disposition", disposition, {"filename": attachment.filename}),
        f"Content-ID: <{content_id}>\r\n" if content_id else "",
        "\r\n",
    ]
    return "".join(head).encode() + base64_lines(attachment.content)


def _checked_id(part: Attachment, field: str) -> str:
    token = _CONTENT_ID.fullmatch(part.content_id or "")
    if part.content_id is not None and token is None:
        got = f"got {part.content_id[:80]!r}"
        raise Invalid(f"{field}.content_id", f"{got}; takes printable ASCII without spaces and <>")
    return token.group(1) if token else ""


def _checked_type(part: Attachment, field: str) -> tuple[str, dict[str, str]]:
    kind, parameters = _content_type(part.content_type)
    if kind is None or kind.group(1).lower() in ("multipart", "message"):
        raise Invalid(f"{field}.content_type", f"got {part.content_type[:80]!r}; takes a type such as application/pdf")
    try:
        refuse_control_characters(part.filename)
    except ValueError as error:
        raise Invalid(f"{field}.filename", str(error)) from error
    return kind.group(), parameters


def _content_type(text: str) -> tuple[re.Match[str] | None, dict[str, str]]:
    """The type and its parameters (RFC 2045 section 5.1), `name` aside, which is the file's; None where it is none."""
    if len(text) > _MAX_CONTENT_TYPE:
        return None, {}
    kind = _CONTENT_TYPE.match(text)
    parameters: dict[str, str] = {}
    end = kind.end() if kind else 0
    while kind and (found := _PARAMETER.match(text, end)):
        if found.group(1).lower() in parameters:
            return None, {}
        value = found.group(2) or re.sub(r"\\(.)", r"\1", found.group(3) or "")
        parameters[found.group(1).lower()] = value
        end = found.end()
    parameters.pop("name", None)
    return (None, {}) if text[end:].strip(" ;") else (kind, parameters)


def _line(name: str, value: str, parameters: Mapping[str, str]) -> str:
    """A header with its parameters, each in a line of its own where one is not enough."""
    pieces = [f"{name}: {value}", *(piece for each, text in parameters.items() for piece in _parameter(each, text))]
    in_one = "; ".join(pieces)
    return (in_one if len(in_one) <= _WIDTH else ";\r\n ".join(pieces)) + "\r\n"


def _parameter(name: str, text: str) -> list[str]:
    """RFC 2231 where quotes are not enough: sections 3 and 4."""
    if _QUOTABLE.fullmatch(text):
        quoted = f'{name}="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if len(quoted) < _WIDTH:
            return [quoted]
    first, *more = _PIECE.findall(quote(text, safe=""))
    if not more:
        return [f"{name}*=utf-8''{first}"]
    return [f"{name}*0*=utf-8''{first}", *(f"{name}*{number}*={piece}" for number, piece in enumerate(more, start=1))]
