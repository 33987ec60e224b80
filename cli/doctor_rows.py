"""What `pillarbox doctor` finds: a row a check."""

import enum

import msgspec

NAME_SERVERS = "name another name server in dns.servers, or look after the one there is"


class Result(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # mail goes; some receivers may mind
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be checked, or does not apply


class Row(msgspec.Struct, frozen=True):
    """One check: what was found, and what to do where it is not well."""

    check: str
    result: Result
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Row:
    """All is well."""
    return Row(check, Result.OK, found)


def warning(check: str, found: str, advice: str) -> Row:
    """It works, but not as it should."""
    return Row(check, Result.WARNING, found, advice)


def failed(check: str, found: str, advice: str) -> Row:
    """It does not work."""
    return Row(check, Result.FAILED, found, advice)


def skipped(check: str, why: str, advice: str = "") -> Row:
    """Not looked at."""
    return Row(check, Result.SKIPPED, why, advice)
