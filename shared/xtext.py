"""Ids and addresses as delivery status notifications spell them (RFC 3461 section 4, RFC 6533 section 3)."""

import re

_XCHARS = re.compile("[!-*,-<>-~]*")  # printable ASCII but space, `+` and `=`
_QCHAR = re.compile(r"[!-*,-<>-\[\]-~]")  # the same but the backslash


def xtext(text: str) -> str:
    """ASCII as an SMTP parameter may carry it: what may not stand there is `+` and two hexadecimal digits."""
    if _XCHARS.fullmatch(text):
        return text
    return "".join(each if _XCHARS.fullmatch(each) else f"+{ord(each):02X}" for each in text)


def utf8_xtext(address: str) -> str:
    r"""An address of any characters in those of ASCII: `grün@x.example` is `gr\x{FC}n@x.example`."""
    return "".join(each if _QCHAR.fullmatch(each) else f"\\x{{{ord(each):X}}}" for each in address)


def original_recipient(address: str) -> str:
    """An address with its type, as the parameter ORCPT takes it."""
    return f"rfc822;{xtext(address)}" if address.isascii() else f"utf-8;{utf8_xtext(address)}"
