"""The ids of mails: a client's own, or made here."""

import os
import re
import time

from shared.contracts.words import MAX_MAIL_ID
from shared.refusals import Invalid

_ID = re.compile("[^\x00-\x20\x7f\ufffd]+")  # U+FFFD stands for what was no UTF-8: two such ids would be one


def check_id(given: str, field: str) -> str:
    """The id itself. Raises Invalid for one that could not be a mail's."""
    if len(given) > MAX_MAIL_ID or not _ID.fullmatch(given):
        raise Invalid(field, f"takes up to {MAX_MAIL_ID} characters of UTF-8, no spaces or control characters")
    return given


def new_mail_id() -> str:
    """A UUID of version 7 (RFC 9562 section 5.7): ids made later sort later."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    number = (number & ~(0xF << 76)) | (0x7 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
