"""All commands, by group."""

import typer

from cli import (
    accounts,
    console,
    dead,
    demo,
    dkim,
    doctor,
    doubt,
    mails,
    replace,
    send,
    settings,
    setup,
    sites,
    suppression,
    up,
    watch,
)
from cli.options import ending

_EXITS = """[bold]Exit codes[/bold], of every command

  0  done

  1  the answer is no: too late, unknown, refused

  2  wrong usage

  3  the broker can not be reached, or does not let us in

  4  no answer from the scheduler in time

  5  not taken, as a queue is full: later it may be

  130  ended by Ctrl-C"""

_RUNNING, _MAILS, _OPERATING = "Run it", "Mails", "Operate it"


def build() -> typer.Typer:
    """The command line."""
    app = _group(
        "Pillarbox, an outbound e-mail robot: mail is held, can be taken back, and is delivered over SMTP.", _EXITS
    )
    app.callback(invoke_without_command=True)(_show_help)
    _running(app)
    _mails(app)
    app.add_typer(_settings(), name="settings", rich_help_panel=_OPERATING)
    app.add_typer(_dead(), name="dead", rich_help_panel=_OPERATING)
    app.add_typer(_suppression(), name="suppression", rich_help_panel=_OPERATING)
    app.add_typer(_accounts(), name="accounts", rich_help_panel=_OPERATING)
    app.add_typer(_dkim(), name="dkim", rich_help_panel=_OPERATING)
    app.add_typer(_console(), name="console", rich_help_panel=_OPERATING)
    app.command(
        "watch", rich_help_panel=_OPERATING, epilog=ending("pillarbox watch", "pillarbox watch --count 1 --json")
    )(watch.watch)
    app.command(
        "doctor",
        rich_help_panel=_OPERATING,
        epilog=ending(
            "pillarbox doctor example.org",
            "pillarbox doctor example.org --to mx.example.net --egress 192.0.2.1 --json",
            codes="0 nothing failed; 1 a check failed; 2 wrong usage",
        ),
    )(doctor.doctor)
    app.command("sites", rich_help_panel=_OPERATING, epilog=ending("pillarbox sites", "pillarbox sites --json"))(
        sites.list_sites
    )
    return app


def _running(app: typer.Typer) -> None:
    app.command(
        "up",
        rich_help_panel=_RUNNING,
        epilog=ending("pillarbox up", "pillarbox up --home /tmp/try --senders 4 --set sending.hold=5m"),
    )(up.up)
    app.command("scale", rich_help_panel=_RUNNING, epilog=ending("pillarbox scale 4"))(up.scale)
    app.command(
        "demo", rich_help_panel=_RUNNING, epilog=ending("pillarbox demo", "pillarbox demo --mails 5000 --json")
    )(demo.demo)
    app.command(
        "setup",
        rich_help_panel=_RUNNING,
        epilog=ending("pillarbox setup", "pillarbox setup --definitions broker.json"),
    )(setup.setup)


def _mails(app: typer.Typer) -> None:
    app.command(
        "send",
        rich_help_panel=_MAILS,
        epilog=ending(
            "pillarbox send --from a@example.org --to b@example.net --subject Hi --text Hello",
            "pillarbox send --from a@example.org --to b@example.net --html-file x.html --attach y.pdf --hold 10m",
            "pillarbox send newsletter.mbox --batch march --mail-from bounces@example.org",
            "cat mail.eml | pillarbox send - --rcpt-to b@example.net",
        ),
    )(send.send)
    app.command(
        "retract", rich_help_panel=_MAILS, epilog=ending("pillarbox retract ID", "pillarbox retract --batch march")
    )(mails.retract)
    app.command(
        "replace",
        rich_help_panel=_MAILS,
        epilog=ending(
            "pillarbox replace ID --from a@example.org --to b@example.net --subject Hi --text 'Hello again'",
            "pillarbox replace ID corrected.eml --hold 5m",
        ),
    )(replace.replace)
    app.command(
        "release", rich_help_panel=_MAILS, epilog=ending("pillarbox release ID", "pillarbox release --batch march")
    )(mails.release)
    app.command(
        "resend", rich_help_panel=_MAILS, epilog=ending("pillarbox resend ID", "pillarbox resend --batch march")
    )(doubt.resend)
    app.command("close", rich_help_panel=_MAILS, epilog=ending("pillarbox close ID", "pillarbox close --batch march"))(
        doubt.close
    )
    app.command(
        "list", rich_help_panel=_MAILS, epilog=ending("pillarbox list", "pillarbox list --state deferred --limit 200")
    )(mails.list_mails)
    app.command("show", rich_help_panel=_MAILS, epilog=ending("pillarbox show ID", "pillarbox show ID --json"))(
        mails.show
    )


def _settings() -> typer.Typer:
    group = _group("One document with all settings, read and changed as a whole; every version is kept.")
    group.command("get", epilog=ending("pillarbox settings get", "pillarbox settings get sending.hold"))(settings.get)
    group.command(
        "set",
        epilog=ending(
            "pillarbox settings set sending.hold=10m --comment 'exams week'",
            "pillarbox settings set relay.host=mail.example.org relay.port=587 tls=require",
            'pillarbox settings set relay.auth=\'{user = "robot", password = {env = "RELAY_PASSWORD"}}\'',
        ),
    )(settings.set_fields)
    group.command("edit", epilog=ending("EDITOR=nano pillarbox settings edit"))(settings.edit)
    group.command("history", epilog=ending("pillarbox settings history --limit 5"))(settings.history)
    group.command("rollback", epilog=ending("pillarbox settings rollback 7"))(settings.rollback)
    return group


def _dead() -> typer.Typer:
    group = _group("Dead letters: messages that no worker could handle, kept until somebody looks.")
    group.command("list", epilog=ending("pillarbox dead list", "pillarbox dead list --json"))(dead.list_letters)
    group.command("redrive", epilog=ending("pillarbox dead redrive", "pillarbox dead redrive --only 1"))(dead.redrive)
    return group


def _suppression() -> typer.Typer:
    group = _group("Addresses that no mail goes to: their mail bounces on admission.")
    group.command(
        "list", epilog=ending("pillarbox suppression list", "pillarbox suppression list --address b@example.net --json")
    )(suppression.list_entries)
    group.command("add", epilog=ending("pillarbox suppression add b@example.net --reason 'asked us to'"))(
        suppression.add
    )
    group.command("remove", epilog=ending("pillarbox suppression remove b@example.net"))(suppression.remove)
    group.command(
        "import",
        epilog=ending("pillarbox suppression import list.csv", "pillarbox suppression import - < list.jsonl"),
    )(suppression.import_entries)
    group.command(
        "export", epilog=ending("pillarbox suppression export > list.csv", "pillarbox suppression export --json")
    )(suppression.export_entries)
    return group


def _accounts() -> typer.Typer:
    group = _group("Accounts of programs that submit over SMTP.")
    codes = "0 done; 1 no such account, or the file can not be used; 2 wrong usage"
    group.command(
        "add",
        epilog=ending(
            "pillarbox accounts add shop --hold 10m --batch shop --rate 60 --sender shop.example",
            "openssl rand -hex 24 | tee password | pillarbox accounts add shop --file /etc/pillarbox/accounts.toml",
            codes=codes,
        ),
    )(accounts.add)
    group.command("passwd", epilog=ending("pillarbox accounts passwd shop", codes=codes))(accounts.passwd)
    group.command("remove", epilog=ending("pillarbox accounts remove shop", codes=codes))(accounts.remove)
    group.command("list", epilog=ending("pillarbox accounts list", "pillarbox accounts list --json", codes=codes))(
        accounts.list_accounts
    )
    return group


def _dkim() -> typer.Typer:
    group = _group("Keys that mail is signed with (DKIM).")
    group.command(
        "keygen",
        epilog=ending(
            "pillarbox dkim keygen shop.example --folder /etc/pillarbox",
            "pillarbox dkim keygen shop.example --type both --selector p2026",
            codes="0 done; 1 the file is there or can not be written; 2 wrong usage",
        ),
    )(dkim.keygen)
    return group


def _console() -> typer.Typer:
    group = _group("Who may use the HTTP API and the web page.")
    group.command(
        "token",
        epilog=ending(
            "pillarbox console token shop --scope submit --scope read",
            "pillarbox console token shop --file /etc/pillarbox/tokens.toml",
            codes="0 done; 1 the file can not be read or written; 2 wrong usage",
        ),
    )(console.token)
    group.command(
        "user",
        epilog=ending(
            "pillarbox console user ada",
            "pillarbox console user rob --scope read --file /etc/pillarbox/users.toml",
            codes="0 done; 1 the file can not be read or written; 2 wrong usage",
        ),
    )(console.user)
    group.command(
        "link",
        epilog=ending("pillarbox console link", codes="0 done; 1 no `pillarbox up` runs here; 2 wrong usage"),
    )(console.link)
    return group


def _group(words: str, epilog: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=words,
        epilog=epilog,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
