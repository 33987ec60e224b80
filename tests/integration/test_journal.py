"""What a killed sender leaves behind: written down as the server says it, taken over by another, told the scheduler."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from services.scheduler.outcome_desk import apply_reports
from services.sender.connection import Note
from services.sender.journal import Journal
from services.sender.session_mails import MailResult
from services.sender.takeover import Takeover
from shared import topology
from shared.broker import Broker
from shared.contracts.work import OutcomeReport
from shared.mail_store.states import State
from shared.mail_store.thread import StoreThread
from shared.settings import Retry
from tests.support.sinks import RecordingSink
from tests.support.site import AT_ONCE, Site, released
from tests.support.store import NOW, OpenStore, a_draft


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def store(sqlite_url: str):
    opened = OpenStore(sqlite_url)
    yield opened
    opened.close()


def send(store: OpenStore, sink: RecordingSink, note: Note, numbers: list[int]) -> None:
    """Send mails and report nothing, as a sender that is killed."""

    async def scenario() -> None:
        site = Site(store.url, sink, note=note)
        async with site.running():
            site.put(*numbers)
            await site.until_reported(len(numbers))

    asyncio.run(scenario())


def take_over(store: OpenStore, amqp_url: str, folder: Path, *, by: int = 1, url: str = "") -> list[OutcomeReport]:
    """Let so many senders look at the same time; what they report, and the scheduler takes."""

    async def scenario() -> list[OutcomeReport]:
        broker, thread = Broker(amqp_url, "test", patience_s=30), StoreThread(store.url)
        await broker.start()
        await topology.declare(broker)
        heirs = [Takeover(folder, url or store.url, thread, broker.publisher) for _ in range(by)]
        await asyncio.gather(*(heir.look_into(folder) for heir in heirs))
        peek = await broker.get(topology.OUTCOME, 100)
        reports = [msgspec.msgpack.decode(one.body, type=OutcomeReport) for one in peek.deliveries]
        await peek.close()
        await broker.close()
        thread.close()
        return reports

    reports = asyncio.run(scenario())
    store.run(apply_reports, reports, NOW, Retry(), random.Random(1))
    return reports


def count(reports: list[OutcomeReport]) -> int:
    return sum(len(report.outcomes) for report in reports)


def test_what_the_server_says_is_noted_before_it_hears_another_word(store: OpenStore, sink: RecordingSink):
    noted: list[tuple[str, int]] = []

    def note(results: Sequence[MailResult]) -> None:
        noted.extend((type(result.outcomes[0]).__name__, len(sink.mails)) for result in results)

    sink.answer("RCPT", "*", "550 5.1.1 no such user", times=1)
    send(store, sink, note, released(store, 4))
    # Whatever it has taken was noted before the next content went out.
    assert noted == [("Bounced", 0), ("Delivered", 1), ("Delivered", 2), ("Delivered", 3)]


def test_the_outcomes_of_a_dead_sender_are_reported_by_the_next_and_its_mails_are_delivered(
    store: OpenStore, sink: RecordingSink, folder: Path, amqp_url: str
):
    journal = Journal(folder, store.url, "sender-1", lambda: 1)
    send(store, sink, journal.note, released(store, 5))
    assert not count(take_over(store, amqp_url, folder)), "it lives"
    assert store.states("order-0") == [State.CLAIMED]

    journal.close()
    assert count(take_over(store, amqp_url, folder)) == 5
    assert [store.states(f"order-{n}") for n in range(5)] == [[State.DELIVERED]] * 5
    assert store.rows("order-0")[0].worker == "sender-1"
    assert not list(folder.iterdir())


def test_of_several_that_look_at_once_one_takes_it(store: OpenStore, sink: RecordingSink, folder: Path, amqp_url: str):
    journal = Journal(folder, store.url, "sender-1", lambda: 1)
    send(store, sink, journal.note, released(store, 5))
    journal.close()
    assert count(take_over(store, amqp_url, folder, by=4)) == 5


def test_a_damaged_end_costs_what_stood_there(store: OpenStore, sink: RecordingSink, folder: Path, amqp_url: str):
    journal = Journal(folder, store.url, "sender-1", lambda: 1)
    send(store, sink, journal.note, released(store, 3))
    journal.close()
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    told = count(take_over(store, amqp_url, folder))
    assert told < 3
    assert sum(store.states(f"order-{n}") == [State.DELIVERED] for n in range(3)) == told
    assert not list(folder.iterdir())


def test_what_became_of_a_mail_says_nothing_of_one_that_has_its_number_in_a_store_made_anew(
    store: OpenStore, sink: RecordingSink, folder: Path, amqp_url: str, tmp_path: Path
):
    journal = Journal(folder, store.url, "sender-1", lambda: 1)
    numbers = released(store, 2)
    send(store, sink, journal.note, numbers)
    journal.close()
    anew = OpenStore(f"sqlite:///{tmp_path}/anew.db")
    assert anew.admit_claimed(a_draft("invoice-0", hold=AT_ONCE), a_draft("order-1", hold=AT_ONCE)) == numbers
    assert count(take_over(anew, amqp_url, folder, url=store.url)) == 1
    assert (anew.states("invoice-0"), anew.states("order-1")) == ([State.CLAIMED], [State.DELIVERED])
    anew.close()
