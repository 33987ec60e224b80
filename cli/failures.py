"""How a command says no: one line on standard error, and an exit code that a script can use."""

import enum

from shared.broker import BrokerRefused, BrokerUnreachable
from shared.environment import InvalidEnvironment
from shared.refusals import Invalid


class ExitCode(enum.IntEnum):
    """What a script learns from a command."""

    DONE = 0
    NO = 1  # too late, unknown, refused
    USAGE = 2
    UNREACHABLE = 3
    NO_ANSWER = 4
    FULL = 5  # not taken: later it may be
    INTERRUPTED = 130  # Ctrl-C, as shells have it


class CommandFailed(Exception):
    """The command ends here; the message is a sentence for the person, with what to do about it."""

    def __init__(self, message: str, code: ExitCode = ExitCode.NO) -> None:
        super().__init__(message)
        self.code = code


def explained(error: Exception) -> CommandFailed | None:
    """The failure behind an error that commands have to expect, or None for one that nobody planned."""
    match error:
        case CommandFailed():
            return error
        case Invalid() | InvalidEnvironment():
            return CommandFailed(str(error), ExitCode.USAGE)
        case BrokerUnreachable():
            hint = "start one with `pillarbox up`, or set PILLARBOX_AMQP_URL"
            return CommandFailed(f"{error}; {hint}", ExitCode.UNREACHABLE)
        case BrokerRefused():
            return CommandFailed(str(error), ExitCode.UNREACHABLE)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CommandFailed(f"{where}{error.strerror or error}", ExitCode.NO)
        case _:
            return None


def usage(message: str) -> CommandFailed:
    """What was asked for can not be meant."""
    return CommandFailed(message, ExitCode.USAGE)
