"""`pillarbox send`: publish mails, put together from flags or finished in files."""

import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli import content_options as option
from cli.client import Client, not_taken, with_client
from cli.failures import CommandFailed, ExitCode, usage
from cli.home import Home
from cli.mbox import read_source
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, encode_hook, margin, plain, print_json, remark
from cli.submission import (
    ContentFlags,
    HandlingFlags,
    check_id,
    envelope_headers,
    handling_headers,
    read_file,
    to_handling,
    to_submission,
)
from shared.broker import Message, Properties
from shared.topology import SUBMIT

# Confirms are awaited per chunk: as many as the publisher keeps in flight, and no more memory than this.
_CHUNK_MAILS = 1000
_CHUNK_BYTES = 32 * 1024 * 1024
_CONFIRM_TIME = timedelta(seconds=60)
_HANDFUL = 20  # more than this, and a progress bar shows how far it is

PathArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="Finished messages: a file (.eml), a folder of them, an mbox, or - for standard input.",
        show_default=False,
    ),
]
IdOption = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="Its id; sent again under the same id it stays one mail. Default: a new one.",
        rich_help_panel="What happens with it",
    ),
]


class Mails(msgspec.Struct, frozen=True):
    """What is to be published; how many, where that is known before."""

    parcels: Iterator["Parcel"]
    count: int | None


class Parcel(msgspec.Struct, frozen=True):
    """A mail on its way to the broker."""

    id: str
    source: str
    message: Message


def send(
    file: PathArgument = None,
    sender: option.FromOption = None,
    to: option.ToOption = None,
    cc: option.CcOption = None,
    bcc: option.BccOption = None,
    reply_to: option.ReplyToOption = None,
    subject: option.SubjectOption = "",
    text: option.TextOption = None,
    text_file: option.TextFileOption = None,
    html_file: option.HtmlFileOption = None,
    attach: option.AttachOption = None,
    header: option.HeaderOption = None,
    return_path: option.ReturnPathOption = None,
    unsubscribe_url: option.UnsubscribeOption = None,
    hold: option.HoldOption = None,
    send_at: option.SendAtOption = None,
    give_up_after: option.GiveUpOption = None,
    batch: option.BatchOption = "",
    priority: option.PriorityOption = "normal",
    notify: option.NotifyOption = None,
    ret: option.RetOption = None,
    ignore_suppression: option.IgnoreSuppressionOption = False,
    mail_id: IdOption = None,
    mail_from: option.MailFromOption = None,
    rcpt_to: option.RcptToOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Publish a mail, or many finished ones.

    Prints the ids, one a line, of what the broker has safely taken. Whether a mail is well-formed the scheduler judges:
    `pillarbox show ID` tells, and an event `rejected`.
    """
    content = ContentFlags(
        sender=sender, to=to or [], cc=cc or [], bcc=bcc or [], reply_to=reply_to or [], subject=subject, text=text,
        text_file=text_file, html_file=html_file, attach=attach or [], header=header or [], return_path=return_path,
        unsubscribe_url=unsubscribe_url,
    )  # fmt: skip
    handling = to_handling(
        hold=hold,
        send_at=send_at,
        give_up_after=give_up_after,
        batch=batch,
        priority=priority,
        notify=notify,
        ret=ret,
        ignore_suppression=ignore_suppression,
    )
    if mail_id is not None:
        check_id("--id", mail_id)
    if file is None:
        if mail_from is not None or rcpt_to:
            raise usage("--mail-from and --rcpt-to: go with finished messages; for others take --return-path and --to")
        mails = Mails(iter([_structured(content, handling, mail_id)]), 1)
    else:
        mails = _finished(file, content, handling, envelope_headers(mail_from, rcpt_to or []), mail_id)
    refused = with_client(Home(home), lambda client: _publish(client, mails, as_json))
    if refused:
        code = ExitCode.FULL if all(each.code is ExitCode.FULL for each in refused) else ExitCode.NO
        raise CommandFailed(f"{counted(len(refused), 'mail')} not taken, see above", code)


def _structured(content: ContentFlags, handling: HandlingFlags, mail_id: str | None) -> Parcel:
    submission = to_submission(content, handling, read_file)
    body = msgspec.json.encode(submission, enc_hook=encode_hook)
    return _parcel(mail_id, "flags", body, "application/json", {})


def _finished(
    place: str, content: ContentFlags, handling: HandlingFlags, envelope: dict[str, Any], mail_id: str | None
) -> Mails:
    if content.given:
        raise usage(f"{content.given[0]}: does not go with a finished message; edit the message, or leave FILE away")
    try:
        source = read_source(place)
    except ValueError as error:
        raise usage(str(error)) from error
    if mail_id is not None and source.count != 1:
        raise usage(f"--id: goes with one mail, and {place} may hold several")
    headers = {**envelope, **handling_headers(handling)}
    parcels = (_parcel(mail_id, found.source, found.content, "message/rfc822", headers) for found in source.messages)
    return Mails(parcels, source.count)


def _parcel(mail_id: str | None, source: str, body: bytes, content_type: str, headers: dict[str, Any]) -> Parcel:
    own_id = mail_id or str(uuid.uuid4())
    return Parcel(
        own_id,
        source,
        Message(SUBMIT, "", body, Properties(message_id=own_id, content_type=content_type, headers=headers)),
    )


def _stating(user: str | None, parcel: Parcel) -> Parcel:
    """The same, with the name of the user at the broker, who holds it against the connection's."""
    properties = msgspec.structs.replace(parcel.message.properties, user_id=user)
    return msgspec.structs.replace(parcel, message=msgspec.structs.replace(parcel.message, properties=properties))


async def _publish(client: Client, mails: Mails, as_json: bool) -> list[CommandFailed]:
    """Publish all and print the ids; returns why the broker did not take some."""
    sent: list[Parcel] = []
    refused: list[tuple[Parcel, CommandFailed]] = []
    with _progress(mails.count) as progress:
        task = progress.add_task("publishing", total=mails.count)
        for chunk in in_chunks(_stating(client.user, parcel) for parcel in mails.parcels):
            answer = {
                id(entry.message): entry for entry in await client.publish([p.message for p in chunk], _CONFIRM_TIME)
            }
            for parcel in chunk:
                if entry := answer.get(id(parcel.message)):
                    refused.append((parcel, not_taken(entry)))
                else:
                    sent.append(parcel)
                    if not as_json:
                        sys.stdout.write(f"{parcel.id}\n")
            progress.advance(task, len(chunk))
    for parcel, failure in refused:
        remark(f"{plain(parcel.source)}: {plain(str(failure))}")
    if as_json:
        print_json(
            {
                "broker": client.where,
                "mails": [{"id": parcel.id, "source": parcel.source} for parcel in sent],
                "refused": [{"id": parcel.id, "source": parcel.source, "reason": str(why)} for parcel, why in refused],
            }
        )
    elif sent:
        remark(f"{counted(len(sent), 'mail')} safe with the broker at {client.where}")
    return [failure for _, failure in refused]


def in_chunks(parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
    """As many at a time as may be in flight."""
    chunk: list[Parcel] = []
    size = 0
    for parcel in parcels:
        if chunk and (len(chunk) == _CHUNK_MAILS or size + len(parcel.message.body) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(parcel)
        size += len(parcel.message.body)
    if chunk:
        yield chunk


def _progress(count: int | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = margin()
    few = count is not None and count <= _HANDFUL
    return Progress(*columns, console=console, disable=few or not console.is_terminal, transient=True)
