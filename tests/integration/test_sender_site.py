"""The mail of one site: claimed in a real store, sent to a real server; the lane and the reporter only remember."""

import asyncio
from collections.abc import Iterable

import pytest

import services.sender.claims
import services.sender.site
from services.sender.claims import ClaimDesk
from services.sender.connection import Connection
from services.sender.envelope import OutgoingMail
from shared.contracts.work import TlsMode
from shared.mail_store.states import State
from shared.mail_store.thread import StoreThread
from shared.outcomes import Deferred, Parked
from tests.support.certificates import Authority
from tests.support.pipeline import subjects
from tests.support.sinks import RecordingSink
from tests.support.site import Site, released
from tests.support.store import OpenStore


@pytest.fixture
def store(sqlite_url: str):
    opened = OpenStore(sqlite_url)
    yield opened
    opened.close()


def test_two_copies_of_the_work_in_one_batch_are_one_mail(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 3)

    async def scenario() -> None:
        site = Site(store.url, sink, most=20)
        site.put(*numbers, *numbers)
        async with site.running():
            await site.until_reported(3)
        assert sorted(site.reports.told) == [(number, "delivered") for number in numbers]
        assert len(site.lane.acked) == 6

    asyncio.run(scenario())
    assert subjects(sink.mails) == {f"order-{n}": 1 for n in range(3)}


def test_copies_that_two_sites_claim_in_the_same_transaction_are_one_mail(store: OpenStore, sink: RecordingSink):
    [number] = released(store, 1)

    async def scenario() -> None:
        thread = StoreThread(store.url)
        desk = ClaimDesk(thread, "sender-1")
        asked = [asyncio.create_task(desk.claim([number])) for _ in range(2)]
        await asyncio.sleep(0)  # both have asked before the first transaction
        claims = asyncio.create_task(desk.claim_loop())
        answers = await asyncio.gather(*asked)
        claims.cancel()
        thread.close()
        assert sorted(map(len, answers)) == [0, 1]

    asyncio.run(scenario())


def test_work_that_is_parked_says_nothing_of_what_another_copy_of_it_has_claimed(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 2)
    pause = sink.pause(".")

    async def scenario() -> None:
        site = Site(store.url, sink, most=1)
        async with site.running():
            site.put(numbers[0])
            await asyncio.to_thread(pause.wait)
            site.put(*numbers)
            site.queue.park(0, "it is slow", 30)
            assert site.reports.told == [(numbers[1], "parked")]
            pause.release()
            await site.until_reported(2)
        assert (numbers[0], "delivered") in site.reports.told

    asyncio.run(scenario())
    assert len(sink.mails) == 1


def test_a_slow_site_gives_back_what_is_claimed_and_waits_behind_the_mail_under_way(
    store: OpenStore, sink: RecordingSink
):
    numbers = released(store, 10)
    pause = sink.pause(".")

    async def scenario() -> None:
        site = Site(store.url, sink, most=20)
        site.put(*numbers)
        async with site.running():
            await asyncio.to_thread(pause.wait)
            assert site.queue.load == 10
            site.queue.park(2, "it is slow", 30)
            await site.until_reported(8)
            parked = [one.outcome for one in site.reports.outcomes]
            assert parked == [Parked("it is slow", 30)] * len(parked)
            assert 0 < site.queue.load <= 2
            pause.release()
            await site.until_reported(10)

    asyncio.run(scenario())
    assert 0 < len(sink.mails) <= 2


def test_what_a_sender_finds_claimed_too_long_ago_is_given_back_unsent(
    store: OpenStore, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
):
    numbers = released(store, 5)
    monkeypatch.setattr(services.sender.claims, "_TRUSTED_S", -1)  # as if it had slept since

    async def scenario() -> None:
        site = Site(store.url, sink)
        site.put(*numbers)
        async with site.running():
            await site.until_reported(5)
        assert site.reports.told == [(number, "parked") for number in numbers]

    asyncio.run(scenario())
    assert not sink.mails


def test_a_claim_that_can_not_be_renewed_is_not_trusted(store: OpenStore, monkeypatch: pytest.MonkeyPatch):
    ours, lapsed = released(store, 2)
    monkeypatch.setattr(services.sender.claims, "_RENEW_AFTER_S", 0.01)

    async def scenario() -> None:
        thread = StoreThread(store.url)
        desk = ClaimDesk(thread, "sender-1")
        loops = [asyncio.create_task(desk.claim_loop())]
        await desk.claim([ours, lapsed])
        assert desk.trusts([ours, lapsed])
        store.put(lapsed, state=int(State.DEFERRED))
        loops.append(asyncio.create_task(desk.renew_loop()))
        async with asyncio.timeout(20):
            while desk.holds(lapsed):
                await asyncio.sleep(0.01)
        assert desk.trusts([ours])
        assert not desk.trusts([ours, lapsed])
        for loop in loops:
            loop.cancel()
        thread.close()

    asyncio.run(scenario())


async def settled(thread: StoreThread) -> None:
    """Whatever can be claimed by now has been."""
    for _ in range(3):
        await thread.run(lambda _connection: None)
        await asyncio.sleep(0)


def test_a_mail_that_senders_died_with_is_claimed_when_nothing_else_is_and_nothing_else_while_it_is(store: OpenStore):
    before, suspect, second, after = released(store, 4)

    async def scenario() -> None:
        thread = StoreThread(store.url)
        desk = ClaimDesk(thread, "sender-1")
        loop = asyncio.create_task(desk.claim_loop())
        assert await desk.claim([before])
        suspects = [asyncio.create_task(desk.claim([number], alone=True)) for number in (suspect, second)]
        await settled(thread)
        others = asyncio.create_task(desk.claim([after]))
        await settled(thread)
        assert not any(task.done() for task in (*suspects, others))

        desk.give_up([before])
        assert list(await suspects[0]) == [suspect]
        await settled(thread)
        assert not any(task.done() for task in (suspects[1], others))

        desk.give_up([suspect])
        assert list(await others) == [after]
        await settled(thread)
        assert not suspects[1].done()

        desk.give_up([after])
        assert list(await suspects[1]) == [second]
        loop.cancel()
        thread.close()

    asyncio.run(scenario())


def test_what_takes_long_does_not_keep_it_waiting_for_ever_nor_it_the_others(
    store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    slow, suspect, after = released(store, 3)
    monkeypatch.setattr(services.sender.claims, "_ALONE_WITHIN_S", 0.01)

    async def scenario() -> None:
        thread = StoreThread(store.url)
        desk = ClaimDesk(thread, "sender-1")
        loop = asyncio.create_task(desk.claim_loop())
        await desk.claim([slow])
        assert await desk.claim([suspect], alone=True)
        assert await desk.claim([after])
        loop.cancel()
        thread.close()

    asyncio.run(scenario())


def test_a_suspect_among_others_of_its_site_is_sent_and_so_are_they(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 5)

    async def scenario() -> None:
        site = Site(store.url, sink)
        site.put(*numbers[:2])
        site.put(numbers[2], alone=True)
        site.put(*numbers[3:])
        async with site.running():
            await site.until_reported(5)
        assert site.reports.told == [(number, "delivered") for number in numbers]

    asyncio.run(scenario())
    assert len(sink.connections) == 1


def test_a_site_whose_mail_waits_for_the_store_is_not_slow(store: OpenStore, sink: RecordingSink):
    first, second = released(store, 2)

    async def scenario() -> None:
        site = Site(store.url, sink)
        site.put(first)
        async with site.running():
            await site.until_reported(1)
            pause = sink.pause(".")
            with store.engine.begin():  # nobody else can write
                site.put(second)
                async with asyncio.timeout(20):
                    while time_counts(site):
                        await asyncio.sleep(0.01)
            await asyncio.to_thread(pause.wait)
            assert time_counts(site)
            pause.release()
            await site.until_reported(2)

    asyncio.run(scenario())


def time_counts(site: Site) -> bool:
    site.queue.stalled_s = 0
    site.queue.pass_time(1)
    return site.queue.stalled_s == 1


def test_a_server_that_does_not_answer_holds_up_a_stop_for_some_time_only(
    store: OpenStore, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(services.sender.site, "_STOP_WITHIN_S", 0.2)
    numbers = released(store, 5)
    pause = sink.pause(".")

    async def scenario() -> None:
        site = Site(store.url, sink, most=20)
        site.put(*numbers)
        async with site.running():
            await asyncio.to_thread(pause.wait)
        assert len(site.reports.outcomes) == 5
        told = site.reports.told
        # The mail whose final dot has gone out is in doubt; those behind it have not left, and count no attempt.
        assert told.count((numbers[0], "deferred")) == 1
        assert [kind for _, kind in told].count("parked") >= 3
        assert {one.outcome.pause_s for one in site.reports.outcomes if isinstance(one.outcome, Parked)} == {0}

    asyncio.run(scenario())
    pause.release()
    assert store.states("order-0") == [State.CLAIMED]  # the scheduler's to change


def test_work_of_new_settings_takes_a_new_connection_though_one_is_idle(
    store: OpenStore, sink: RecordingSink, authority: Authority
):
    numbers = released(store, 2)
    with RecordingSink(certificate=authority.issue("127.0.0.1")) as server:

        async def scenario() -> None:
            site = Site(store.url, server, most=20)
            async with site.running():
                site.put(numbers[0])
                await site.until_reported(1)
                site.put(numbers[1], tls=TlsMode.REQUIRE, revision=2)
                await site.until_reported(2)

        asyncio.run(scenario())
    assert [mail.tls for mail in server.mails] == [False, True]


def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 2)
    sink.hang_up(".")

    async def scenario() -> None:
        site = Site(store.url, sink, most=20)
        async with site.running():
            site.put(numbers[0])
            await site.until_reported(1)
            await asyncio.to_thread(sink.wait_until_idle)
            site.put(numbers[1])
            await site.until_reported(2)
        assert site.reports.told == [(numbers[0], "deferred"), (numbers[1], "delivered")]

    asyncio.run(scenario())


@pytest.mark.checklist(76, 117)
def test_a_server_that_takes_two_mails_a_session_gets_all_over_several_though_it_defers_the_first(
    store: OpenStore, sink: RecordingSink
):
    sink.answer("EHLO", "*", "250-sink.example\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=2")
    sink.answer("RCPT", "*", "450 4.2.0 later", times=2)
    numbers = released(store, 6)

    async def scenario() -> None:
        site = Site(store.url, sink, most=20)
        site.put(*numbers)
        async with site.running():
            await site.until_reported(6)
        assert sorted(site.reports.told) == [
            (number, "deferred" if number in numbers[:2] else "delivered") for number in numbers
        ]

    asyncio.run(scenario())
    assert len(sink.connections) == 3


def test_an_error_that_nobody_planned_for_costs_the_site_a_try_and_not_the_sender(
    store: OpenStore, sink: RecordingSink
):
    numbers = released(store, 5)

    def break_submit(connection: Connection) -> None:
        def submit(mails: Iterable[OutgoingMail]) -> None:
            raise KeyError("nobody planned for this")

        connection.submit = submit  # type: ignore[method-assign]  # a mistake as one of ours could be

    async def scenario() -> None:
        site = Site(store.url, sink, most=3, fails=break_submit)
        site.put(*numbers)
        async with site.running() as run:
            await asyncio.wait_for(run, 20)
        deferred, parked = site.reports.told[:3], site.reports.told[3:]
        assert sorted(deferred) == [(number, "deferred") for number in numbers[:3]]
        assert parked == [(number, "parked") for number in numbers[3:]]
        outcome = site.reports.outcomes[0].outcome
        assert isinstance(outcome, Deferred)
        assert outcome.in_doubt
        assert "KeyError: 'nobody planned for this' (test_sender_site.py:" in outcome.reply.text
        assert len(site.lane.acked) == 5
        assert site.queue.load == 0

    asyncio.run(scenario())
    sink.wait_until_idle()
    assert subjects(sink.mails) == {}
