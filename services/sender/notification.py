"""What a server that offers DSN is told of the reports that are wanted (RFC 3461). Pure."""

from shared.xtext import original_recipient, xtext

# Octets of the whole parameter, its keyword among them: what a server that offers DSN has to take.
_MAX_ENVELOPE_ID = 100  # RFC 3461 section 4.4
_MAX_ORIGINAL_RECIPIENT = 500  # RFC 3461 section 4.2


def of_mail(id: str, ret: str) -> str:
    """Parameters of MAIL. ENVID, by which a report names the mail, is the mail's id, where that fits."""
    parameters = f" RET={ret.upper()}" if ret else ""
    if id and id.isascii() and id.isprintable():
        parameters += _parameter("ENVID", xtext(id), _MAX_ENVELOPE_ID)
    return parameters


def of_recipient(address: str, notify: str) -> str:
    """Parameters of RCPT. ORCPT keeps the address as we have it, should the receiver rewrite it."""
    parameters = f" NOTIFY={notify.upper()}" if notify else ""
    # It is optional, and servers that judge the address in it (OpenSMTPD) do so before they decode it: one with quotes
    # would cost the recipient.
    if '"' not in address:
        parameters += _parameter("ORCPT", original_recipient(address), _MAX_ORIGINAL_RECIPIENT)
    return parameters


def _parameter(keyword: str, value: str, most: int) -> str:
    """It is left out where it would be longer."""
    parameter = f"{keyword}={value}"
    return f" {parameter}" if len(parameter) <= most else ""
