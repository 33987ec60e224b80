"""Commands: what is understood, what is refused by the name of its field, and how a selector is spelt."""

import base64
import json

import pytest

from services.scheduler.commands import parse_command
from services.scheduler.control import checked, searched
from shared.contracts.commands import ListMails, Release, Replace, Retract, Show, ShowSettings, Stats
from shared.refusals import Invalid


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (b'{"command": "retract", "id": "order-1"}', Retract(id="order-1")),
        (b'{"command": "retract", "batch": "march", "recipient": "a@y.example"}',
         Retract(batch="march", recipient="a@y.example")),
        (b'{"command": "release", "batch": "march"}', Release(batch="march")),
        (b'{"command": "show", "id": "order-1"}', Show(id="order-1")),
        (b'{"command": "list"}', ListMails()),
        (b'{"command": "list", "state": "held", "limit": 5, "before": 9}', ListMails(state="held", limit=5, before=9)),
        (b'{"command": "list", "submitted_by": "crm"}', ListMails(submitted_by="crm")),
        (b'{"command": "stats"}', Stats()),
        (b'{"command": "settings", "history": 3}', ShowSettings(history=3)),
    ],
)  # fmt: skip
def test_a_command_is_understood(body, command):
    assert parse_command(body, 100_000) == command


def test_a_replacement_brings_its_submission():
    command = parse_command(
        b'{"command": "replace", "id": "order-1",'
        b' "submission": {"from": "a@x.example", "to": "b@y.example", "hold": "90s"}}',
        100_000,
    )
    assert isinstance(command, Replace)
    assert command.submission is not None
    assert command.submission.hold is not None
    assert command.submission.hold.total_seconds() == 90


def test_a_replacement_brings_a_finished_message():
    command = parse_command(
        b'{"command": "replace", "id": "order-1",'
        b' "message": {"content": "RnJvbTogYQ==", "mail_from": "", "rcpt_to": ["b@y.example"], "hold": "90s"}}',
        100_000,
    )
    assert isinstance(command, Replace)
    assert command.message is not None
    assert (command.message.content, command.message.mail_from) == (b"From: a", "")
    assert command.message.rcpt_to == ["b@y.example"]


def _large(**message: object) -> bytes:
    return json.dumps({"command": "replace", "id": "x", "message": message}).encode()


def test_a_large_finished_message_is_measured_and_read():
    content = base64.b64encode(b"x" * 4_000_000).decode()
    command = parse_command(_large(content=content), 25_000_000)
    assert isinstance(command, Replace)
    assert command.message is not None
    assert len(command.message.content) == 4_000_000


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"content": "", "rcpt_to": ["a@x.example"] * 400_000}, "message.rcpt_to"),
        ({"content": "A" * 60_000_000}, "content"),
        ({"content": "", "colour": "A" * 5_000_000}, "message.colour"),
    ],
)
def test_a_finished_message_of_too_many_octets_is_refused(message, field):
    with pytest.raises(Invalid) as refused:
        parse_command(_large(**message), 25_000_000)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"", "", "not JSON"),
        (b"[]", "command", "takes one of"),
        (b"{}", "command", "close, content, list, release, replace, resend, retract, senders, settings, show, sites"),
        (b'{"command": "retrct"}', "command", "got 'retrct'"),
        (b'{"command": null}', "command", "takes one of"),
        (b'{"command": ["retract"]}', "command", "takes one of"),
        (b'{"command": {"retract": 1}}', "command", "takes one of"),
        (b'{"command": "show"}', "id", "is missing"),
        (b'{"command": "show", "id": 5}', "id", "got 5"),
        (b'{"command": "show", "id": ""}', "id", "length >= 1"),
        (b'{"command": "show", "id": 5, <rubbish', "", "not JSON"),
        (b'{"command": "retract", "ids": "x"}', "ids", "did you mean id?"),
        (b'{"command": "list", "limit": 0}', "limit", "got 0"),
        (b'{"command": "list", "limit": 1001}', "limit", "got 1001"),
        (b'{"command": "list", "before": 99999999999999999999}', "before", "takes"),  # more than a row number may be
        (b'{"command": "list", "before": -1}', "before", "got -1"),
        (b'{"command": "list", "state": "lost"}', "state", 'got "lost"'),
        (b'{"command": "settings", "revision": 99999999999}', "revision", "got 99999999999"),
        (b'{"command": "replace", "id": "x"}', "submission", "takes either"),
        (b'{"command": "replace", "id": "x", "message": {"content": ""}, "submission": {"from": "a"}}', "submission",
         "takes either"),
        (b'{"command": "replace", "id": "x", "message": {"content": "?"}}', "message.content", "got"),
        (b'{"command": "replace", "id": "x", "message": {"content": "", "mail-from": ""}}', "message.mail-from",
         "did you mean mail_from?"),
        (b'{"command": "replace", "id": "x", "submission": {}}', "submission.from", "is missing"),
        (b'{"command": "replace", "id": "x", "submission": {"from": "a", "headers": {"A": "1", "B": 2}}}',
         'submission.headers."B"', "got 2"),
        (b'{"command": "replace", "id": "x", "submission": {"from": "a", "hold": "soon"}}', "submission.hold", "soon"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_by_the_name_of_its_field(body, field, says):
    with pytest.raises(Invalid) as refused:
        parse_command(body, 100_000)
    assert refused.value.field == field
    assert says in str(refused.value)


def test_a_recipient_is_looked_for_as_the_store_spells_it():
    assert checked(Retract(recipient="Ann@Y.EXAMPLE")) == Retract(recipient="Ann@y.example")
    assert checked(ListMails(recipient="ann@bücher.example")).recipient == "ann@xn--bcher-kva.example"


def test_a_sender_is_looked_for_as_the_store_spells_it():
    assert searched(ListMails(sender="Ann@Y.EXAMPLE")) == ListMails(sender="Ann@y.example")
    assert searched(ListMails(sender="")).sender == "", "the null reverse-path"
    with pytest.raises(Invalid, match=r"^sender: 'nobody' is no e-mail address"):
        searched(ListMails(sender="nobody"))


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        (Retract(id="a\0b"), "id"),
        (Retract(id="two words"), "id"),
        (Release(batch="a\0b"), "batch"),
        (ListMails(batch="a\nb"), "batch"),
        (ListMails(recipient="nobody"), "recipient"),
        (ListMails(recipient="a@y.example\0"), "recipient"),
    ],
)
def test_a_selector_that_the_store_could_not_look_for_is_refused(selector, field):
    with pytest.raises(Invalid) as refused:
        checked(selector)
    assert refused.value.field == field
