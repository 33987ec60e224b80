"""`pillarbox resend`, `close`: what becomes of mails that the receiver may have, though its answer was lost."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import typer

from cli.client import ANSWER_TIME, Client, with_client
from cli.home import Home
from cli.mails import BatchSelector, IdsArgument, RecipientSelector, selections
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import counted, plain, print_json, remark, say
from shared.contracts.answers import CloseAnswer, DoubtfulMail, ResendAnswer
from shared.contracts.commands import Close, Command, Resend

T = TypeVar("T")


def resend(
    ids: IdsArgument = None,
    batch: BatchSelector = None,
    recipient: RecipientSelector = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Send mails again that wait in doubt (retry.in_doubt = "park"); a second copy may arrive.

    Exit 1 when nothing of them did.
    """
    answers = _ask(home, timeout, [Resend(**one) for one in selections(ids, batch, recipient)], ResendAnswer)
    _tell([mail for answer in answers for mail in answer.mails], "resent", sum(one.resent for one in answers), as_json)


def close(
    ids: IdsArgument = None,
    batch: BatchSelector = None,
    recipient: RecipientSelector = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Let mails that are in doubt count as delivered; they are not sent again.

    Exit 1 when nothing of them was in doubt.
    """
    answers = _ask(home, timeout, [Close(**one) for one in selections(ids, batch, recipient)], CloseAnswer)
    _tell([mail for answer in answers for mail in answer.mails], "closed", sum(one.closed for one in answers), as_json)


def _ask(home: Path, timeout: timedelta, commands: Sequence[Command], kind: type[T]) -> list[T]:
    async def ask(client: Client) -> list[T]:
        return [await client.ask(command, kind) for command in commands]

    return with_client(Home(home), ask, timeout)


def _tell(mails: list[DoubtfulMail], done: str, count: int, as_json: bool) -> None:
    if as_json:
        print_json({"mails": mails, done: count})
    else:
        for mail in mails:
            say(plain(f"{mail.id}: {mail.detail}"))
        if len(mails) != 1:
            remark(f"{counted(count, 'recipient')} {done}")
    if not count:
        raise typer.Exit(1)
