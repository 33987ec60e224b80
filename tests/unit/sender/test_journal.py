"""The journal: what is written down of replies, what is forgotten, and what a file that is damaged still tells."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender import journal as journal_module
from services.sender.envelope import OutgoingMail
from services.sender.journal import Journal
from services.sender.journal_file import JournalFile, Noted, Record, left_behind, new_file, read, written
from services.sender.session_mails import Sent, Untouched
from services.sender.work import ClaimedWork
from shared.contracts.work import RecipientOutcome
from shared.outcomes import Bounced, Deferred, Delivered, Outcome, Parked
from shared.smtp_reply import Reply

STORE = "sqlite:////var/lib/pillarbox/mail.db"
MX = "mx.example [192.0.2.1]:25"
YES = Delivered(Reply(250, "2.0.0", "queued"), MX)
NO = Bounced(Reply(550, "5.1.1", "no such user"), MX)
DOUBT = Deferred(Reply(451, "4.4.2", "lost"), MX, in_doubt=True)
UNTRIED = Parked("the server takes no more")


def mail(name: str, *numbers: int, attempt: int = 1) -> OutgoingMail:
    claimed = ClaimedWork(None, numbers, (attempt,) * len(numbers))  # type: ignore[arg-type]  # its work is not looked at
    return OutgoingMail("a@x.example", ("b@y.example",) * len(numbers), b"x", False, False, claimed, name)


def sent(name: str, **outcomes: Outcome) -> Sent:
    """A mail, and the outcomes of its recipients: `n1` is number 1."""
    numbers = [int(number[1:]) for number in outcomes]
    return Sent(mail(name, *numbers), tuple(outcomes.values()))


def told(records: list[Record]) -> list[tuple[str, int, Outcome]]:
    return [
        (noted.mail, each.recipient, each.outcome)
        for record in records
        for noted in record.mails
        for each in noted.outcomes
    ]


def the_file(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path):
    kept = Journal(folder, STORE, "sender-1", lambda: 7)
    yield kept
    kept.close()


def reported(*numbers: int) -> list[RecipientOutcome]:
    return [RecipientOutcome(number, 1, YES) for number in numbers]


def test_every_reply_is_in_the_file_at_once(journal: Journal, folder: Path):
    journal.note([sent("m1", n1=YES, n2=NO), Untouched(mail("m2", 3), "never sent")])
    journal.note([sent("m4", n4=DOUBT)])

    records, damaged = read(the_file(folder).read_bytes())
    assert told(records) == [("m1", 1, YES), ("m1", 2, NO), ("m4", 4, DOUBT)]
    assert {(record.worker, record.revision) for record in records} == {("sender-1", 7)}
    assert not damaged


def test_what_was_not_tried_is_not_noted(journal: Journal, folder: Path):
    journal.note([sent("m1", n1=YES, n2=UNTRIED), sent("m3", n3=UNTRIED)])
    records, _ = read(the_file(folder).read_bytes())
    assert told(records) == [("m1", 1, YES)]


def test_the_file_says_nothing_as_soon_as_the_broker_has_everything(journal: Journal, folder: Path):
    journal.note([sent("m1", n1=YES, n2=YES)])
    journal.note([sent("m3", n3=YES)])
    journal.confirmed(reported(1, 3, 99))  # and one of which nothing was noted
    assert told(read(the_file(folder).read_bytes())[0])
    journal.confirmed(reported(2))
    assert read(the_file(folder).read_bytes()) == ([], 0)
    journal.note([sent("m4", n4=YES)])
    assert told(read(the_file(folder).read_bytes())[0]) == [("m4", 4, YES)]


def test_two_attempts_of_one_recipient_are_two_things(journal: Journal, folder: Path):
    journal.note([sent("m1", n1=DOUBT)])
    journal.note([Sent(mail("m1", 1, attempt=2), (YES,))])
    journal.confirmed([RecipientOutcome(1, 1, DOUBT)])
    assert told(read(the_file(folder).read_bytes())[0])
    journal.confirmed([RecipientOutcome(1, 2, YES)])
    assert read(the_file(folder).read_bytes()) == ([], 0)


def test_a_journal_that_is_never_quite_empty_goes_on_in_another_file(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal_module, "_ENOUGH", 300)
    for number in range(1, 101):
        journal.note([sent(f"m{number}", **{f"n{number}": YES})])
        journal.confirmed(reported(number - 1))
        assert len(list(folder.iterdir())) <= 2
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1000
    journal.confirmed(reported(100))
    assert the_file(folder).stat().st_size < 600


def test_at_a_stop_an_empty_journal_goes_and_another_stays_for_whoever_comes_next(folder: Path):
    first, second = (Journal(folder, STORE, f"sender-{n}", lambda: 7) for n in (1, 2))
    first.note([sent("m1", n1=YES)])
    assert not list(left_behind(folder, STORE)), "both live"
    first.close()
    second.close()
    [left] = left_behind(folder, STORE)
    assert told(read(left.content())[0]) == [("m1", 1, YES)]
    left.remove()
    assert not list(folder.iterdir())


def test_a_file_is_taken_over_by_one_and_only_by_those_of_the_same_store(folder: Path):
    kept = Journal(folder, STORE, "sender-1", lambda: 7)
    kept.note([sent("m1", n1=YES)])
    kept.close()
    assert not list(left_behind(folder, "postgresql+psycopg://u@db/mail"))
    [taken] = left_behind(folder, STORE)
    assert not list(left_behind(folder, STORE))
    taken.leave()
    [again] = left_behind(folder, STORE)
    again.remove()


def test_passwords_make_no_difference_to_whose_a_file_is(folder: Path):
    new_file(folder, "postgresql+psycopg://u:old@db/mail", "sender-1").leave()
    [file] = left_behind(folder, "postgresql+psycopg://u:new@db/mail")
    file.remove()


def test_a_file_is_its_owners_alone(journal: Journal, folder: Path):
    assert the_file(folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_that_somebody_has_put_there_is_not_followed(folder: Path, tmp_path: Path):
    new_file(folder, STORE, "sender-1").leave()
    elsewhere = tmp_path / "elsewhere"
    the_file(folder).rename(elsewhere)
    (folder / elsewhere.name).symlink_to(elsewhere)
    (folder / "x").symlink_to(elsewhere)
    assert not list(left_behind(folder, STORE))


def test_a_worker_may_be_called_anything(folder: Path):
    kept = Journal(folder, STORE, "a/../b c" * 100, lambda: 7)
    assert the_file(folder).parent == folder
    kept.close()


@pytest.mark.parametrize("place", [None, Path("/proc/nowhere"), Path("/dev/null/journal")])
def test_without_a_place_to_write_it_notes_nothing(place: Path | None):
    kept = Journal(place, STORE, "sender-1", lambda: 7)
    kept.note([sent("m1", n1=YES)])
    kept.confirmed(reported(1))
    kept.close()


def test_on_a_full_disk_what_can_be_written_is_and_no_half_of_a_record(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    write, room = os.pwrite, [10**6]

    def on_a_small_disk(descriptor: int, data: bytes, place: int) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = write(descriptor, data[: room[0]], place)
        room[0] -= count
        return count

    monkeypatch.setattr(os, "pwrite", on_a_small_disk)
    journal.note([sent("m1", n1=YES)])
    room[0] = 20
    journal.note([sent("m2", n2=YES)])
    journal.note([sent("m3", n3=YES)])
    room[0] = 10**6
    journal.note([sent("m4", n4=YES)])
    records, damaged = read(the_file(folder).read_bytes())
    assert ([name for name, _, _ in told(records)], damaged) == (["m1", "m4"], 0)
    journal.confirmed(reported(1, 2, 3, 4))
    assert read(the_file(folder).read_bytes()) == ([], 0)


# ---------------------------------------------------------------------------------------------------------

_TEXT = st.text(max_size=20)
_OUTCOMES = st.one_of(
    st.builds(Delivered, st.builds(Reply, st.integers(200, 599), _TEXT, _TEXT), _TEXT),
    st.builds(Deferred, st.builds(Reply, st.integers(200, 599), _TEXT, _TEXT), _TEXT, st.booleans()),
)
_NOTED = st.builds(
    Noted,
    _TEXT,
    st.lists(st.builds(RecipientOutcome, st.integers(1, 2**62), st.integers(1, 99), _OUTCOMES), max_size=3).map(tuple),
)
_RECORDS = st.lists(
    st.builds(Record, _TEXT, st.integers(-1, 2**31), st.lists(_NOTED, max_size=3).map(tuple)), max_size=6
)


@given(_RECORDS, st.data())
def test_a_file_that_is_cut_off_anywhere_tells_what_was_whole(records: list[Record], data: st.DataObject):
    pieces = [written(record) for record in records]
    whole = b"".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    found, damaged = read(whole[:cut])
    assert found == records[: len(found)]
    assert sum(map(len, pieces[: len(found)])) + damaged == cut
    assert len(found) == len(records) or damaged < len(pieces[len(found)])


@given(_RECORDS.filter(bool), st.data())
def test_octets_that_have_changed_cost_what_follows_and_invent_nothing(records: list[Record], data: st.DataObject):
    whole = b"".join(map(written, records))
    start = data.draw(st.integers(0, len(whole) - 1))
    wrong = data.draw(st.binary(min_size=1, max_size=4))  # CRC-32 finds every burst of so many
    harmed = whole[:start] + wrong[: len(whole) - start] + whole[start + len(wrong) :]
    found, damaged = read(harmed)
    assert found == records[: len(found)]
    assert harmed == whole or len(found) < len(records)
    assert damaged <= len(whole)


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_file_it_can_be_read(data: bytes):
    _, damaged = read(data)
    assert 0 <= damaged <= len(data)


@pytest.mark.parametrize(("data", "damaged"), [(bytes(4096), 0), (b"\0" * 7, 7), (b"\xff" * 100, 100)])
def test_what_a_power_cut_leaves_tells_nothing(data: bytes, damaged: int):
    assert read(data) == ([], damaged)


def test_a_file_that_was_removed_under_its_owner_harms_nobody(folder: Path):
    file: JournalFile = new_file(folder, STORE, "sender-1")
    the_file(folder).unlink()
    file.append(b"x")
    file.remove()
