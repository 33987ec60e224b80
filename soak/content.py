"""What a mail of a soak says: its own id, and lines that a transport could spoil. The receiver knows each octet."""

# Date and Message-ID are there, so that nothing but trace lines is added, and those in front.
_HEADERS = (
    b"From: robot@sender.example\r\nTo: b@mx.example\r\nDate: Tue, 24 Nov 2026 03:30:16 +0000\r\n"
    b"Message-ID: <%(id)s@sender.example>\r\nSubject: soak %(id)s\r\n\r\n"
)
# Lines that begin with a dot are doubled on the way (RFC 5321 section 4.5.2).
_TEXT = b"Good morning. Good night.\r\n" * 148 + b".Good night.\r\n.\r\nGood morning. Good night.\r\n"
_TEXT_ON_THE_WIRE = _TEXT.replace(b"\r\n.", b"\r\n..")
_TRACE = (b"Received:", b" ")


def content_of(id: str) -> bytes:
    """What is published."""
    return _HEADERS % {b"id": id.encode()} + _TEXT


def is_content_of(id: str, received: bytes) -> bool:
    """Whether that is what was received up to the final dot: each octet, after trace lines."""
    expected = _HEADERS % {b"id": id.encode()} + _TEXT_ON_THE_WIRE
    trace = received[: -len(expected)]
    return received.endswith(expected) and all(line.startswith(_TRACE) for line in trace.splitlines())
