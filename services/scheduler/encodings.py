"""The two transfer encodings, in lines of 76 characters at most (RFC 2045 sections 6.7 and 6.8)."""

import base64
import binascii
import re

# Where a line ends in a blank, `binascii` writes up to two characters too many.
_TOO_LONG = re.compile(rb"^(.{74,75})(=20|=09)$", re.MULTILINE)


def quoted_printable(text: bytes) -> bytes:
    """A text, readable; its line ends are CRLF, before and after."""
    encoded = binascii.b2a_qp(text.replace(b"\r\n", b"\n"), istext=True)
    return _TOO_LONG.sub(rb"\1=\n\2", encoded).replace(b"\n", b"\r\n")


def base64_lines(octets: bytes) -> bytes:
    """Any octets."""
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
