"""`pillarbox settings`: one document, read and changed as a whole, every version kept."""

from collections.abc import Callable
from typing import Annotated, Any

import tomli_w
import typer

from cli.client import ANSWER_TIME, Client, with_client
from cli.completion import assignments, setting_keys
from cli.editing import edited_document
from cli.failures import CommandFailed
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import plain, print_json, remark, say, screen, show_time, table
from cli.settings_publish import current_settings, in_force, publish_settings, with_assignments
from shared.contracts.answers import SettingsAnswer, SettingsVersion
from shared.contracts.commands import ShowSettings
from shared.settings_change import judged
from shared.settings_diff import Change, changes, look_up, shown

CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why; stands in the history.")]
KeyArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[KEY]",
        help="A field or group, such as sending.hold.",
        show_default=False,
        autocompletion=setting_keys,
    ),
]
RevisionOption = Annotated[int | None, typer.Option("--revision", metavar="N", help="Those of an earlier revision.")]


def get(
    key: KeyArgument = None,
    revision: RevisionOption = None,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Print the settings in force, all of them as TOML or one by its key."""
    version = with_client(Home(home), lambda client: _version(client, revision), timeout)
    document = version.settings if key is None else look_up(version.settings, key)
    if as_json:
        print_json(version if key is None else document)
    elif isinstance(document, dict):
        head = f"# revision {version.revision}, {_by(version)}\n" if key is None else ""
        screen().print(plain(head + tomli_w.dumps(document)), end="", soft_wrap=True)
    else:
        say(plain(document if isinstance(document, str) else shown(document)))


def set_fields(
    fields: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="Fields; an empty value unsets.", autocompletion=assignments),
    ],
    comment: CommentOption = "",
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Change fields; every worker has them within a second.

    The document is judged as a whole before it is published. Exit 1 when somebody else changed it meanwhile.
    """

    def change(answer: SettingsAnswer) -> dict[str, Any]:
        return with_assignments(in_force(answer).settings, fields)

    _report(with_client(Home(home), lambda client: _changed(client, change, comment), timeout), as_json)


def edit(
    comment: CommentOption = "",
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Edit the document as TOML in $VISUAL or $EDITOR. What is wrong is shown there as a comment, to be put right."""
    # Nothing stays connected while the editor is open: it may be for an hour.
    answer = with_client(Home(home), current_settings, timeout)
    with edited_document(in_force(answer)) as document:
        outcome = with_client(Home(home), lambda client: _published(client, answer, document, comment), timeout)
    _report(outcome, as_json)


def history(
    limit: Annotated[int, typer.Option("--limit", min=1, max=999, help="How many.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """List the settings that were accepted, newest first, with what each changed."""
    answer = with_client(Home(home), lambda client: current_settings(client, limit + 1), timeout)
    if as_json:
        print_json(answer.history[:limit])
        return
    columns = ["revision", "time", "author", "changed", "comment"]
    rows = [[plain(cell) for cell in row] for row in history_rows(answer.history)[:limit]]
    screen().print(table(columns, rows, wide=["changed", "comment"]))


def rollback(
    revision: Annotated[int, typer.Argument(metavar="REVISION", help="Whose settings come back.", min=0)],
    comment: CommentOption = "",
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """Bring the settings of an earlier revision back, as a new one."""
    _report(with_client(Home(home), lambda client: _rolled_back(client, revision, comment), timeout), as_json)


# ---------------------------------------------------------------------------------------------------------


Outcome = tuple[SettingsVersion, list[Change]]


async def _version(client: Client, revision: int | None) -> SettingsVersion:
    if revision is None:
        return in_force(await current_settings(client))
    answer = await client.ask(ShowSettings(revision=revision), SettingsAnswer)
    if answer.current is None:
        raise CommandFailed(f"there is no revision {revision}: refused when it came, or never published")
    return answer.current


async def _changed(client: Client, change: Callable[[SettingsAnswer], dict[str, Any]], comment: str) -> Outcome:
    answer = await current_settings(client)
    return await _published(client, answer, change(answer), comment)


async def _rolled_back(client: Client, revision: int, comment: str) -> Outcome:
    former = await _version(client, revision)
    answer = await current_settings(client)
    words = comment or f"back to revision {revision}"
    return await _published(client, answer, judged(former.settings), words, revision)


async def _published(
    client: Client, answer: SettingsAnswer, document: dict[str, Any], comment: str, restores: int | None = None
) -> Outcome:
    differences = changes(in_force(answer).settings, document)
    if not differences:
        return in_force(answer), []
    return await publish_settings(client, answer, document, comment, restores), differences


def _report(outcome: Outcome, as_json: bool) -> None:
    version, differences = outcome
    if as_json:
        print_json({"revision": version.revision, "changes": differences})
        return
    for change in differences:
        say(f"{plain(change.key)}: [red]{plain(shown(change.old))}[/red] → [green]{plain(shown(change.new))}[/green]")
    if differences:
        say(f"revision {version.revision} is in force")
    else:
        remark(f"nothing changes: revision {version.revision} says so already")


def history_rows(versions: list[SettingsVersion]) -> list[list[str]]:
    """A row per version; what it changed is told by comparing it with the one before."""
    rows = []
    for version, before in zip(versions, [*versions[1:], None], strict=True):
        changed = [change.key for change in changes(before.settings, version.settings)] if before else []
        restored = f" (restores {version.restores})" if version.restores is not None else ""
        rows.append(
            [
                str(version.revision),
                show_time(version.time),
                version.author,
                ", ".join(changed) + restored,
                version.comment,
            ]
        )
    return rows


def _by(version: SettingsVersion) -> str:
    comment = f": {version.comment}" if version.comment else ""
    return f"since {show_time(version.time)}, by {version.author or 'unknown'}{comment}"
