"""The home of a running `pillarbox up`."""

import stat
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from cli.failures import CommandFailed
from cli.home import ConsolePlace, GatewayPlace, Home, InboxPlace, RunFile, find_broker

RUN = RunFile(
    pid=1,
    ready=True,
    amqp_url="amqp://u:p@127.0.0.1:1/v",
    store_url="sqlite:///x",
    inbox=InboxPlace(host="127.0.0.1", port=2525, folder="x"),
    gateway=GatewayPlace(host="127.0.0.1", port=5870, user="robot", password_file="x"),
    console=ConsolePlace(host="127.0.0.1", port=8025),
    workers={},
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_what_runs_is_told_while_somebody_holds_the_lock(home: Home):
    with home.locked():
        home.write_run(RUN)
        assert home.running() == RUN
        assert find_broker(home) == RUN.amqp_url


def test_a_file_left_by_a_killed_process_is_not_believed(home: Home, monkeypatch):
    with home.locked():
        home.write_run(RUN)
    monkeypatch.setenv("PILLARBOX_AMQP_URL", "amqp://other")
    assert home.running() is None
    assert find_broker(home) == "amqp://other"


def test_a_left_file_is_not_believed_of_one_that_starts_while_somebody_looks(home: Home):
    with home.locked():
        home.write_run(RUN)

    class StartsMeanwhile(Home):
        def _is_locked(self) -> bool:
            starting.enter_context(home.locked())
            return super()._is_locked()

    with ExitStack() as starting:
        assert StartsMeanwhile(home.path).running() is None
        home.write_run(RUN)
        assert home.running() == RUN


def test_a_left_file_is_not_believed_of_one_that_has_not_removed_it_yet(home: Home):
    with home.locked():
        home.write_run(RUN)
    seen: list[RunFile | None] = []

    class LooksBefore(Home):
        def forget_run(self) -> None:
            seen.append(home.running())
            super().forget_run()

    with LooksBefore(home.path).locked():
        assert seen == [None]


def test_who_only_looks_makes_no_file(home: Home):
    assert home.running() is None
    assert not [file for file in home.path.iterdir() if file.is_file()]


def test_a_second_one_is_refused_and_told_whose_home_it_is(home: Home):
    with home.locked():
        home.write_run(RUN)
        with pytest.raises(CommandFailed, match=r"already runs in .*process 1"), Home(home.path).locked():
            pass


def test_a_home_without_anything_runs_nothing(tmp_path: Path):
    assert Home(tmp_path / "nowhere").running() is None


def test_passwords_and_mail_are_their_owners_alone(home: Home):
    with home.locked():
        home.write_run(RUN)
    assert stat.S_IMODE(home.run_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert msgspec.json.decode(home.run_file.read_bytes(), type=RunFile) == RUN
