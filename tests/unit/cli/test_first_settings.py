"""The settings that a fresh home begins with, and what `up` says of them."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from cli.first_settings import first_document, relays_to
from cli.home import ConsolePlace, GatewayPlace, Home, InboxPlace, RunFile, RunningWorker
from cli.settings_publish import with_assignments
from cli.welcome import welcome, where_mail_goes
from shared.contracts.answers import SettingsVersion

INBOX = InboxPlace(host="127.0.0.1", port=2525, folder="/home/x/inbox")
RUN = RunFile(
    pid=1,
    ready=True,
    amqp_url="amqp://u:secret@127.0.0.1:5/v",
    store_url="sqlite:///x",
    inbox=INBOX,
    gateway=GatewayPlace(host="127.0.0.1", port=5870, user="robot", password_file="x"),
    console=ConsolePlace(host="127.0.0.1", port=8025),
    workers={"scheduler": RunningWorker(pid=2, metrics_port=9100, log="x"), "inbox": RunningWorker(pid=3, log="x")},
)
FIRST = first_document(INBOX, [])


def version(document: dict) -> SettingsVersion:
    return SettingsVersion(revision=0, time=datetime(2026, 3, 1, tzinfo=UTC), author="", comment="", settings=document)


def test_nothing_leaves_the_machine_at_first():
    assert relays_to(FIRST, "127.0.0.1", 2525)
    assert FIRST["sending"]["hold"] == "30s"


def test_the_command_line_has_the_last_word():
    assert first_document(INBOX, ["sending.hold=0"])["sending"]["hold"] == "0s"


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        ([], "the test inbox at port 2525"),
        (["relay.host=mail.example.org"], "the relay mail.example.org:2525"),
        (["delivery.mode=direct"], "the recipients' own MX hosts: it leaves this machine"),
        (['routes."b.example".host=mx.b.example'], "and b.example to relays of their own"),
    ],
)
def test_it_says_where_mail_goes(assignments, words):
    document = with_assignments(FIRST, assignments)
    assert words in where_mail_goes(version(document), RUN)
    assert relays_to(document, "127.0.0.1", 2525) is (not assignments)


def test_the_welcome_names_what_is_needed_and_no_password(tmp_path: Path):
    printed = Console(width=200, file=io.StringIO())
    printed.print(welcome(Home(tmp_path), RUN, version(FIRST), "http://127.0.0.1:8025/sign-in/link?token=t"))
    text = printed.file.getvalue()
    for words in (
        "pillarbox.submit at amqp://u:***@127.0.0.1:5/v",
        "30s",
        "9100/metrics",
        "127.0.0.1 port 5870, user robot",
        "/sign-in/link?token=t",
    ):
        assert words in text
    assert "secret" not in text
