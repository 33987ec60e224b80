"""The options of `send` and `replace` that describe a mail."""

from datetime import timedelta
from typing import Annotated, Literal

import typer

from cli.options import duration

_CONTENT, _HANDLING, _FINISHED = "The mail", "What happens with it", "Finished messages"

FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="ADDRESS", help="Author, with or without a name.", rich_help_panel=_CONTENT),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="ADDRESS", help="Recipient; may be repeated.", rich_help_panel=_CONTENT),
]
CcOption = Annotated[
    list[str] | None,
    typer.Option("--cc", metavar="ADDRESS", help="Copy; may be repeated.", rich_help_panel=_CONTENT),
]
BccOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bcc", metavar="ADDRESS", help="Copy that nobody else sees; may be repeated.", rich_help_panel=_CONTENT
    ),
]
ReplyToOption = Annotated[
    list[str] | None,
    typer.Option("--reply-to", metavar="ADDRESS", help="Where answers go.", rich_help_panel=_CONTENT),
]
SubjectOption = Annotated[str, typer.Option("--subject", metavar="TEXT", help="Subject.", rich_help_panel=_CONTENT)]
TextOption = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="The text itself.", rich_help_panel=_CONTENT)
]
TextFileOption = Annotated[
    str | None,
    typer.Option(
        "--text-file", metavar="FILE", help="The text, UTF-8; - reads it from standard input.", rich_help_panel=_CONTENT
    ),
]
HtmlFileOption = Annotated[
    str | None,
    typer.Option("--html-file", metavar="FILE", help="The HTML form, UTF-8.", rich_help_panel=_CONTENT),
]
AttachOption = Annotated[
    list[str] | None,
    typer.Option("--attach", metavar="FILE", help="File to attach; may be repeated.", rich_help_panel=_CONTENT),
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME:VALUE", help="Further header; may be repeated.", rich_help_panel=_CONTENT),
]
ReturnPathOption = Annotated[
    str | None,
    typer.Option(
        "--return-path",
        metavar="ADDRESS",
        help="Where bounces go; empty: nowhere. Default: the author.",
        rich_help_panel=_CONTENT,
    ),
]
UnsubscribeOption = Annotated[
    str | None,
    typer.Option(
        "--unsubscribe-url",
        metavar="URL",
        help="An https address that ends the subscription at one click.",
        rich_help_panel=_CONTENT,
    ),
]
HoldOption = Annotated[
    timedelta | None,
    typer.Option(
        "--hold",
        parser=duration,
        metavar="TIME",
        help="How long it waits and can be taken back: 90s, 5m, 0. Default: the setting sending.hold.",
        rich_help_panel=_HANDLING,
    ),
]
SendAtOption = Annotated[
    str | None,
    typer.Option(
        "--send-at", metavar="TIME", help="Not before this time, with offset (RFC 3339).", rich_help_panel=_HANDLING
    ),
]
GiveUpOption = Annotated[
    timedelta | None,
    typer.Option(
        "--give-up-after",
        parser=duration,
        metavar="TIME",
        help="Bounce it when it could not be delivered for so long. Default: the setting retry.give_up.",
        rich_help_panel=_HANDLING,
    ),
]
BatchOption = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="LABEL",
        help="A label of your own, to list or retract all of them by.",
        rich_help_panel=_HANDLING,
    ),
]
PriorityOption = Annotated[
    Literal["normal", "urgent"],
    typer.Option("--priority", help="urgent: no hold, ahead of others.", rich_help_panel=_HANDLING),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="WHAT",
        help="Of what the reverse-path is told by mail: never; or failure, delay, success, with commas.",
        rich_help_panel=_HANDLING,
    ),
]
RetOption = Annotated[
    Literal["hdrs", "full"] | None,
    typer.Option("--ret", help="What a report of failure returns: headers, or the mail.", rich_help_panel=_HANDLING),
]
IgnoreSuppressionOption = Annotated[
    bool,
    typer.Option(
        "--ignore-suppression",
        help="Recipients on the suppression list get it all the same.",
        rich_help_panel=_HANDLING,
    ),
]
MailFromOption = Annotated[
    str | None,
    typer.Option(
        "--mail-from",
        metavar="ADDRESS",
        help="Envelope sender of finished messages; empty: none. Default: their Sender or From.",
        rich_help_panel=_FINISHED,
    ),
]
RcptToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rcpt-to",
        metavar="ADDRESS",
        help="Envelope recipient of finished messages; may be repeated. Default: their To, Cc and Bcc.",
        rich_help_panel=_FINISHED,
    ),
]
