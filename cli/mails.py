"""`pillarbox retract`, `release`, `list`, `show`: what the scheduler knows and does about mails."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar, get_args

import typer

from cli.client import ANSWER_TIME, Client, with_client
from cli.completion import states
from cli.failures import CommandFailed, usage
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import counted, plain, print_json, remark, say, screen, table
from cli.story import list_row, retracted_lines, story_lines
from shared.contracts.answers import ListAnswer, ReleaseAnswer, RetractAnswer, RetractResult, ShowAnswer
from shared.contracts.commands import Command, ListMails, Release, Retract, Show
from shared.contracts.words import StateName

T = TypeVar("T")

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of mails.", show_default=False)]
BatchSelector = Annotated[str | None, typer.Option("--batch", metavar="LABEL", help="All mails of a batch.")]
RecipientSelector = Annotated[
    str | None, typer.Option("--recipient", metavar="ADDRESS", help="What goes to this address.")
]
StateOption = Annotated[
    str | None,
    typer.Option("--state", metavar="STATE", help=f"One of {', '.join(get_args(StateName))}.", autocompletion=states),
]
SubmitterOption = Annotated[
    str | None, typer.Option("--submitted-by", metavar="USER", help="What this user of the broker has submitted.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")]
BeforeOption = Annotated[
    int | None, typer.Option("--before", metavar="N", help="Go on where the former page ended (it says so).")
]


def selections(ids: Sequence[str] | None, batch: str | None, recipient: str | None) -> list[dict[str, str]]:
    """The fields of one command per id, or of one for all. Raises CommandFailed when nothing is selected."""
    others = {name: value for name, value in (("batch", batch), ("recipient", recipient)) if value is not None}
    if ids:
        return [{"id": mail, **others} for mail in ids]
    if not others:
        raise usage("which mails? takes an ID, --batch or --recipient")
    return [others]


def retract(
    ids: IdsArgument = None,
    batch: BatchSelector = None,
    recipient: RecipientSelector = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Take mails back, as long as no sender has them.

    An unknown id is remembered: should the mail arrive later, it does not leave. Exit 1 when at least one mail was
    not retracted, or none matches.
    """
    chosen = selections(ids, batch, recipient)
    answers = with_client(
        Home(home), lambda client: _ask_all(client, [Retract(**one) for one in chosen], RetractAnswer), timeout
    )
    mails = [mail for answer in answers for mail in answer.mails]
    counts = _summed([answer.counts for answer in answers])
    if as_json:
        print_json({"mails": mails, "counts": counts})
    else:
        for mail in mails:
            for line in retracted_lines(mail):
                say(plain(line))
        if sum(counts.values()) != 1:
            remark(
                ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) or "no mail matches"
            )
    if not all_retracted(counts):
        raise typer.Exit(1)


def all_retracted(counts: dict[str, int]) -> bool:
    """Whether there was something to retract, and all of it was."""
    return sum(counts.values()) > 0 and {name for name, count in counts.items() if count} == {RetractResult.RETRACTED}


def release(
    ids: IdsArgument = None,
    batch: BatchSelector = None,
    recipient: RecipientSelector = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Send held or deferred mails now, instead of when their wait is over.

    Exit 1 when nothing was waiting.
    """
    chosen = selections(ids, batch, recipient)
    answers = with_client(
        Home(home), lambda client: _ask_all(client, [Release(**one) for one in chosen], ReleaseAnswer), timeout
    )
    mails = [mail for answer in answers for mail in answer.mails]
    released = sum(answer.released for answer in answers)
    if as_json:
        print_json({"mails": mails, "released": released})
    else:
        for mail in mails:
            say(plain(f"{mail.id}: {mail.detail}"))
        if len(mails) != 1:
            remark(f"{counted(released, 'recipient')} released")
    if not released:
        raise typer.Exit(1)


def list_mails(
    batch: BatchSelector = None,
    recipient: RecipientSelector = None,
    state: StateOption = None,
    submitted_by: SubmitterOption = None,
    limit: LimitOption = 50,
    before: BeforeOption = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """List mails, newest first."""
    if state is not None and state not in get_args(StateName):
        raise usage(f"--state: got {state!r}; takes one of {', '.join(get_args(StateName))}")
    command = ListMails(
        batch=batch,
        recipient=recipient,
        state=state,  # type: ignore[arg-type]  # checked above
        submitted_by=submitted_by,
        limit=limit,
        before=before,
    )
    answer = with_client(Home(home), lambda client: client.ask(command, ListAnswer), timeout)
    if as_json:
        print_json(answer)
        return
    columns = ["id", "state", "admitted", "next try", "recipients", "subject"]
    rows = [[plain(cell) for cell in list_row(mail, datetime.now(UTC))] for mail in answer.mails]
    if rows:
        screen().print(table(columns, rows, wide=["recipients", "subject"]))
    else:
        remark("no mail matches")
    if answer.next is not None:
        remark(f"there are more: --before {answer.next}")


def show(
    mail_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the mail.")],
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Tell the whole story of a mail: each step with its time, settings, attempt, worker, host and reply.

    What still waits says why, and when it is tried next.
    """
    answer = with_client(Home(home), lambda client: client.ask(Show(id=mail_id), ShowAnswer), timeout)
    if answer.mail is None:
        raise CommandFailed(f"there is no mail {mail_id}: never admitted, or forgotten after the setting `history`")
    if as_json:
        print_json(answer.mail)
        return
    for line in story_lines(answer.mail):
        say(plain(line))


async def _ask_all(client: Client, commands: Sequence[Command], kind: type[T]) -> list[T]:
    return [await client.ask(command, kind) for command in commands]


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
