"""How much one mail may have, whatever its form. The numbers bound what it costs to judge it, and to send it."""

from shared.refusals import Invalid

MAX_RECIPIENTS = 10_000  # of one mail: a row and an outcome each; larger lists are mails of their own
MAX_HEADERS = 1000  # real mails have some dozens
MAX_HEAD = 1024 * 1024  # octets of all headers; with ten thousand addresses in To, a hundred for each


def check_recipients(count: int, field: str = "to") -> None:
    """Raises Invalid, which names the field, for more recipients than one mail takes."""
    if count > MAX_RECIPIENTS:
        raise Invalid(field, f"{count} recipients; takes at most {MAX_RECIPIENTS} in one mail")


def check_headers(count: int) -> None:
    """Raises Invalid for more headers than one mail takes."""
    if count > MAX_HEADERS:
        raise Invalid("headers", f"has {count}; takes at most {MAX_HEADERS}")


def check_head(octets: int) -> None:
    """Raises Invalid for larger headers than one mail takes."""
    if octets > MAX_HEAD:
        raise Invalid("headers", f"they have {octets} octets or more; takes at most {MAX_HEAD} in all")
