"""What a server that offers DSN is told of the reports that are wanted (RFC 3461). Pure."""

from shared.xtext import original_recipient, xtext

_MAX_ENVELOPE_ID = 100  # octets, RFC 3461 section 4.4
_MAX_ORIGINAL_RECIPIENT = 500  # octets, RFC 3461 section 4.2


def of_mail(id: str, ret: str) -> str:
    """Parameters of MAIL. ENVID, by which a report names the mail, is the mail's id, where that fits."""
    parameters = f" RET={ret.upper()}" if ret else ""
    if id.isascii() and id.isprintable() and len(envelope_id := xtext(id)) <= _MAX_ENVELOPE_ID and id:
        parameters += f" ENVID={envelope_id}"
    return parameters


def of_recipient(address: str, notify: str) -> str:
    """Parameters of RCPT. ORCPT keeps the address as we have it, should the receiver rewrite it."""
    parameters = f" NOTIFY={notify.upper()}" if notify else ""
    # It is optional, and servers that judge the address in it (OpenSMTPD) do so before they decode it: one with quotes
    # would cost the recipient.
    original = "" if '"' in address else original_recipient(address)
    return f"{parameters} ORCPT={original}" if 0 < len(original) <= _MAX_ORIGINAL_RECIPIENT else parameters
