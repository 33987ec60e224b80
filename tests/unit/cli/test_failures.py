"""Which exit code a script gets."""

import pytest

from cli.commands import build
from cli.failures import CommandFailed, ExitCode, explained
from cli.mails import all_retracted, selections
from cli.running import run
from shared.broker import BrokerRefused, BrokerUnreachable
from shared.refusals import Invalid


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandFailed("too late"), ExitCode.NO),
        (CommandFailed("silence", ExitCode.NO_ANSWER), ExitCode.NO_ANSWER),
        (Invalid("sending.hold", "got soon"), ExitCode.USAGE),
        (BrokerUnreachable("nobody there"), ExitCode.UNREACHABLE),
        (BrokerRefused("wrong password"), ExitCode.UNREACHABLE),
        (FileNotFoundError(2, "No such file or directory", "x.eml"), ExitCode.NO),
    ],
)
def test_an_expected_error_has_its_exit_code(error, code):
    failure = explained(error)
    assert failure is not None
    assert failure.code is code


def test_a_mistake_of_ours_is_not_hidden():
    assert explained(KeyError("x")) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["send", "--nonsense"], "No such option: --nonsense"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["show"], "Missing argument 'ID'"),
        (["settings"], "Missing command"),
        (["send", "--hold", "soon"], "got 'soon'"),
        (["send"], "--from: is missing"),
        (["send", "x.eml", "--to", "b@y.example"], "--to: does not go with a finished message"),
        (["send", "--mail-from", "a@x.example"], "--mail-from and --rcpt-to: go with finished messages"),
        (["retract"], "which mails?"),
        (["list", "--state", "lost"], "--state: got 'lost'"),
    ],
)
def test_wrong_usage_is_one_line_on_standard_error(arguments, says, capsys):
    assert run(build(), arguments) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_a_file_that_is_not_there_is_named(capsys):
    assert run(build(), ["send", "/nowhere/x.eml"]) == ExitCode.NO
    assert "/nowhere/x.eml: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "all_of_them"),
    [
        ({"retracted": 3}, True),
        ({"retracted": 3, "too_late": 1}, False),
        ({"unknown": 1}, False),
        ({"retracted": 1, "in_flight": 0}, True),
        ({}, False),  # nothing matched
    ],
)
def test_a_retract_says_yes_only_when_everything_was_retracted(counts, all_of_them):
    assert all_retracted(counts) is all_of_them


def test_mails_are_selected_by_id_or_by_what_they_share():
    assert selections(["1", "2"], None, None) == [{"id": "1"}, {"id": "2"}]
    assert selections(None, "march", "b@y.example") == [{"batch": "march", "recipient": "b@y.example"}]
    assert selections(["1"], "march", None) == [{"id": "1", "batch": "march"}]
