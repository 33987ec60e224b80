"""`pillarbox replace`: another content in the place of a mail that has not left."""

from typing import Annotated

import typer

from cli import content_options as option
from cli.client import ANSWER_TIME, with_client
from cli.failures import usage
from cli.home import Home
from cli.mbox import read_source
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import plain, print_json, say
from cli.submission import (
    ContentFlags,
    HandlingFlags,
    as_duration,
    check_envelope,
    check_id,
    read_file,
    to_handling,
    to_submission,
)
from shared.contracts.answers import ReplaceAnswer, ReplaceResult
from shared.contracts.commands import FinishedMail, Replace

FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="A finished message (.eml), or - for standard input. It goes as it stands.",
        show_default=False,
    ),
]


def replace(
    mail_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the mail.")],
    file: FileArgument = None,
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
    mail_from: option.MailFromOption = None,
    rcpt_to: option.RcptToOption = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Put another mail in the place of one that no sender has yet.

    The id stays; content, recipients, batch and hold are the new one's. Exit 1 when it is too late.
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
    check_id("ID", mail_id)
    if file is None:
        if mail_from is not None or rcpt_to:
            raise usage("--mail-from and --rcpt-to: go with a finished message; else take --return-path and --to")
        command = Replace(id=mail_id, submission=to_submission(content, handling, read_file))
    else:
        check_envelope(mail_from, rcpt_to or [])
        command = Replace(id=mail_id, message=_finished(file, content, handling, mail_from, rcpt_to))
    answer = with_client(Home(home), lambda client: client.ask(command, ReplaceAnswer), timeout)
    if as_json:
        print_json(answer)
    else:
        say(plain(f"{answer.id}: {answer.result.replace('_', ' ')}: {answer.detail}"))
    if answer.result is not ReplaceResult.REPLACED:
        raise typer.Exit(1)


def _finished(
    file: str, content: ContentFlags, handling: HandlingFlags, mail_from: str | None, rcpt_to: list[str] | None
) -> FinishedMail:
    if content.given:
        raise usage(f"{content.given[0]}: does not go with a finished message; edit the message, or leave FILE away")
    try:
        found = list(read_source(file).messages)
    except ValueError as error:
        raise usage(str(error)) from error
    if len(found) != 1:
        raise usage(f"{file}: holds {len(found)} messages; takes one")
    return FinishedMail(
        content=found[0].content,
        mail_from=mail_from,
        rcpt_to=rcpt_to,
        hold=as_duration(handling.hold),
        send_at=handling.send_at,
        give_up_after=as_duration(handling.give_up_after),
        batch=handling.batch,
        priority="urgent" if handling.priority == "urgent" else "normal",
        notify=handling.notify,
        ret=handling.ret,
        ignore_suppression=handling.ignore_suppression,
    )
