"""A real worker that dies of a certain mail, as of a fault of ours: `python -m tests.support.poisoned KIND`.

- `sender` dies when it has claimed the mail and is about to send it, and stays dead;
- `scheduler` dies when it judges the mail, and is started again at once, as by whoever keeps workers;
- `replacer` is a scheduler that dies when it has replaced any mail, before it says so; but not when it is asked again.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from shared.broker import Delivery
from shared.contracts.answers import Answer, ReplaceAnswer, ReplaceResult
from shared.worker import Serve, run

SUBJECT = "poison"
_POISON = SUBJECT.encode()


def _sender() -> None:
    from services.sender.__main__ import serve
    from services.sender.connection import Connection

    Connection.submit = _deadly(Connection.submit, lambda mails: any(_POISON in mail.content for mail in mails))
    run("sender", serve)


def _scheduler() -> None:
    from services.scheduler import intake
    from services.scheduler.__main__ import serve

    intake.admit = _deadly(intake.admit, lambda body: _POISON in body)
    _keep_running("scheduler", serve)


def _replacer() -> None:
    from services.scheduler.__main__ import serve
    from services.scheduler.control import ControlDesk

    reply = ControlDesk._reply

    async def reply_or_die(self: ControlDesk, delivery: Delivery, answer: Answer) -> None:
        replaced = isinstance(answer, ReplaceAnswer) and answer.result is ReplaceResult.REPLACED
        if replaced and not delivery.redelivered:
            os.kill(os.getpid(), signal.SIGKILL)
        await reply(self, delivery, answer)

    ControlDesk._reply = reply_or_die
    run("scheduler", serve)


def _deadly(function: Callable[..., Any], is_poison: Callable[[Any], bool]) -> Callable[..., Any]:
    """A function or a method that ends the process where its first argument is poison."""

    def deadly(*arguments: Any) -> Any:
        if any(is_poison(argument) for argument in arguments if isinstance(argument, bytes | list | tuple)):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return deadly


def _pass_on(child: int, number: int, _frame: object) -> None:
    os.kill(child, number)


def _keep_running(role: str, serve: Serve) -> None:
    while True:
        child = os.fork()  # everything is imported by now
        if not child:
            run(role, serve)
            os._exit(0)
        signal.signal(signal.SIGTERM, partial(_pass_on, child))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    {"sender": _sender, "scheduler": _scheduler, "replacer": _replacer}[sys.argv[1]]()
