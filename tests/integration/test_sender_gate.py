"""What concerns a site as a whole, between lanes and senders: real stores, real servers, two senders side by side."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.contracts.work import Credentials, SecretReference
from shared.mail_store.states import State
from shared.outcomes import Deferred, Parked
from shared.sites import Site as Row
from shared.sites import SiteState, WentDown, exchange, read_sites
from shared.smtp_reply import Reply
from tests.support.pipeline import subjects
from tests.support.sinks import RecordingSink
from tests.support.site import PROBED_EVERY, Site, exchanges, released
from tests.support.store import OpenStore

NAME = "mx:sink"
WAITS = Parked(f"{NAME} is down", site=NAME)


@pytest.fixture
def store(sqlite_url: str):
    opened = OpenStore(sqlite_url)
    yield opened
    opened.close()


def known(store: OpenStore) -> Row:
    return store.run(read_sites, [NAME])[NAME]


def down_until(store: OpenStore, until: datetime) -> None:
    """As if an earlier probe had been in vain."""
    news = [WentDown(NAME, Reply(421, "", "busy"), "sink", 1, datetime.now(UTC))]
    now = datetime.now(UTC)
    store.run(exchange, [], [], "sender-0", now, lambda _: until - now)
    store.run(exchange, news, [], "sender-0", now, lambda _: until - now)


async def until_up(store: OpenStore) -> None:
    """Wait until the store knows it, while the connection is still open."""
    async with asyncio.timeout(1.5):
        while known(store).state is not SiteState.UP:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def lanes_of(*senders: Site) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for sender in senders:
            await stack.enter_async_context(sender.running())
        yield


def outcomes(senders: Sequence[Site]) -> list[tuple[int, object]]:
    return [(one.recipient, one.outcome) for sender in senders for one in sender.reports.outcomes]


@pytest.mark.checklist(147)
def test_lanes_and_senders_open_one_connection_to_a_site_that_is_dead(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 40)
    sink.answer("CONNECT", "*", "421 4.3.2 no service")

    async def scenario() -> None:
        first, second = Site(store.url, sink), Site(store.url, sink, worker="sender-2")
        other_lane = Site(store.url, sink, beside=first)
        lanes = [first, other_lane, second]
        for lane, part in zip(lanes, (numbers[:10], numbers[10:20], numbers[20:]), strict=True):
            lane.put(*part)
        async with lanes_of(*lanes):
            await first.until_reported(10)
            await other_lane.until_reported(10)
            await second.until_reported(20)
        assert outcomes(lanes) == [(number, WAITS) for number in numbers]

    asyncio.run(scenario())
    assert len(sink.connections) == 1
    row = known(store)
    assert (row.state, row.failures, row.code, row.reply) == (SiteState.DOWN, 1, 421, "no service")
    assert {state for n in range(40) for state in store.states(f"order-{n}")} == {State.RELEASED}  # none was claimed


def test_when_the_one_that_probes_gets_through_the_others_follow(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 20)
    pause = sink.pause("CONNECT")

    async def scenario() -> None:
        first, second = Site(store.url, sink), Site(store.url, sink, worker="sender-2")
        first.put(*numbers[:10])
        second.put(*numbers[10:])
        async with lanes_of(first, second):
            await asyncio.to_thread(pause.wait)
            assert len(sink.connections) == 1
            pause.release()
            await first.until_reported(10)
            await second.until_reported(10)

    asyncio.run(scenario())
    assert (len(sink.mails), len(sink.connections)) == (20, 2)
    assert known(store).state is SiteState.UP


@pytest.mark.checklist(72, 147)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
def test_a_421_pauses_the_site_and_only_the_mail_it_hit_is_charged(store: OpenStore, sink: RecordingSink, verb: str):
    numbers = released(store, 10)
    sink.answer(verb, "*", "421 4.7.0 enough for now", times=1)

    async def scenario() -> Site:
        site = Site(store.url, sink)
        site.put(*numbers)
        async with site.running():
            await site.until_reported(10)
        return site

    site = asyncio.run(scenario())
    [charged] = [outcome for _, outcome in outcomes([site]) if isinstance(outcome, Deferred)]
    assert charged.reply == Reply(421, "4.7.0", "enough for now")
    assert [outcome for _, outcome in outcomes([site])].count(WAITS) == 9
    assert len(sink.connections) == 1
    row = known(store)
    assert (row.state, row.reply) == (SiteState.DOWN, "enough for now")
    assert row.until is not None
    assert row.until - row.since == PROBED_EVERY


@pytest.mark.checklist(139)
def test_a_sign_in_that_is_refused_is_tried_once_for_all_mail(store: OpenStore, tmp_path: Path):
    numbers = released(store, 20)
    (tmp_path / "password").write_text("wrong", encoding="utf-8")
    login = Credentials(user="robot", password=SecretReference(file=str(tmp_path / "password")), allow_plaintext=True)
    with RecordingSink(users={"robot": "right"}, auth_in_plaintext=True) as relay:

        async def scenario() -> None:
            first, second = Site(store.url, relay), Site(store.url, relay, worker="sender-2")
            first.put(*numbers[:10], login=login)
            second.put(*numbers[10:], login=login)
            async with lanes_of(first, second):
                await first.until_reported(10)
                await second.until_reported(10)
            assert outcomes([first, second]) == [(number, WAITS) for number in numbers]

        asyncio.run(scenario())
        assert sum(one.commands.count("AUTH") for one in relay.connections) == 1
    assert (known(store).state, known(store).code) == (SiteState.DOWN, 535)


def test_a_server_that_wants_a_sign_in_we_have_none_for_is_paused(store: OpenStore):
    numbers = released(store, 20)
    with RecordingSink(users={"robot": "right"}, auth_in_plaintext=True, pipelining=False) as relay:

        async def scenario() -> Site:
            site = Site(store.url, relay)
            site.put(*numbers)
            async with site.running():
                await site.until_reported(20)
            return site

        told = asyncio.run(scenario()).reports.told
        assert len(relay.connections) == 1
    assert {kind for _, kind in told} <= {"deferred", "parked"}
    assert (known(store).state, known(store).code) == (SiteState.DOWN, 530)


@pytest.mark.checklist(68, 149)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
def test_a_4yz_concerns_its_mail_and_no_other_on_the_connection(store: OpenStore, sink: RecordingSink, verb: str):
    numbers = released(store, 10)
    sink.answer(verb, "*", "451 4.7.1 later", times=1)

    async def scenario() -> Site:
        site = Site(store.url, sink)
        site.put(*numbers)
        async with site.running():
            await site.until_reported(10)
        return site

    told = [kind for _, kind in asyncio.run(scenario()).reports.told]
    assert (told.count("deferred"), told.count("delivered"), len(sink.connections)) == (1, 9, 1)
    assert known(store).state is SiteState.UP


TOO_FAST = "450 4.7.1 rate limit exceeded"
UNSIGNED = "550 5.7.26 unauthenticated mail"


async def all_reported(site: Site, *numbers: int, name: str = NAME) -> Site:
    site.put(*numbers, name=name)
    async with site.running():
        await site.until_reported(len(numbers))
    return site


@pytest.mark.checklist(196)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("reply", [TOO_FAST, UNSIGNED])
def test_a_site_that_turns_three_mails_in_a_row_away_is_paused(
    store: OpenStore, sink: RecordingSink, verb: str, reply: str
):
    numbers = released(store, 30)  # more than one connection takes
    sink.answer(verb, "*", reply)
    refused = "deferred" if reply is TOO_FAST else "bounced"
    told = [kind for _, kind in asyncio.run(all_reported(Site(store.url, sink), *numbers)).reports.told]
    assert set(told) == {refused, "parked"}
    assert told.count(refused) >= 3
    assert len(sink.connections) == 1
    assert (known(store).state, str(known(store).said)) == (SiteState.DOWN, reply)


def test_a_site_that_takes_every_third_mail_is_not_paused(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 12)
    for turn in range(12):
        sink.answer(".", "*", "250 2.0.0 taken" if turn % 3 == 2 else TOO_FAST, times=1)
    told = [kind for _, kind in asyncio.run(all_reported(Site(store.url, sink), *numbers)).reports.told]
    assert (told.count("deferred"), told.count("delivered")) == (8, 4)
    assert known(store).state is SiteState.UP


@pytest.mark.parametrize(("reply", "state"), [(TOO_FAST, SiteState.DOWN), (UNSIGNED, SiteState.UP)])
def test_what_a_relay_says_of_one_senders_domain_stops_no_other(
    store: OpenStore, sink: RecordingSink, reply: str, state: SiteState
):
    numbers, relay = released(store, 12), f"relay:sink:{sink.port}"
    sink.answer("MAIL", "*", reply)
    asyncio.run(all_reported(Site(store.url, sink), *numbers, name=relay))
    assert store.run(read_sites, [relay])[relay].state is state


@pytest.mark.checklist(147)
def test_one_mail_turned_away_is_enough_for_a_site_that_was_paused(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 12)
    down_until(store, datetime.now(UTC))
    sink.answer("MAIL", "*", TOO_FAST)
    told = [kind for _, kind in asyncio.run(all_reported(Site(store.url, sink), *numbers)).reports.told]
    assert (told.count("deferred"), told.count("parked")) == (1, 11)
    assert (known(store).state, known(store).failures) == (SiteState.DOWN, 2)


@pytest.mark.checklist(55, 78)
def test_a_421_while_nothing_is_said_is_the_connections_affair(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 2)

    async def scenario() -> Site:
        site = Site(store.url, sink)
        async with site.running():
            site.put(numbers[0])
            await site.until_reported(1)
            await asyncio.to_thread(sink.say_goodbye, "421 4.4.2 idle for too long")
            site.put(numbers[1])
            await site.until_reported(2)
        return site

    assert asyncio.run(scenario()).reports.told == [(number, "delivered") for number in numbers]
    assert len(sink.connections) == 2
    assert known(store).state is SiteState.UP


def test_a_site_that_hangs_up_on_its_first_mail_each_time_is_paused(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 10)
    sink.hang_up("MAIL", times=None)

    async def scenario() -> Site:
        site = Site(store.url, sink)
        site.put(*numbers)
        async with site.running():
            await site.until_reported(10)
        return site

    told = [outcome for _, outcome in outcomes([asyncio.run(scenario())])]
    assert told.count(WAITS) == 9
    assert (len(sink.connections), known(store).state) == (1, SiteState.DOWN)


def test_a_probe_lets_one_connection_out_and_the_site_is_up_when_it_has_taken_a_mail(
    store: OpenStore, sink: RecordingSink
):
    numbers = released(store, 6)
    down_until(store, datetime.now(UTC))
    pause = sink.pause(".", times=1)

    async def scenario() -> None:
        first, second = Site(store.url, sink), Site(store.url, sink, worker="sender-2")
        other_lane = Site(store.url, sink, beside=first)
        async with lanes_of(first, second, other_lane):
            first.put(numbers[0], *numbers[3:5])
            await asyncio.to_thread(pause.wait)
            assert (known(store).state, known(store).prober) == (SiteState.DOWN, "sender-1")
            first.put(numbers[5])
            assert sorted(outcomes([first]), key=str) == [(number, WAITS) for number in numbers[3:]]
            for lane, number in ((second, numbers[1]), (other_lane, numbers[2])):
                lane.put(number)
                await lane.until_reported(1)
            pause.release()
            await first.until_reported(4)
            await until_up(store)
        assert outcomes([second, other_lane]) == [(numbers[1], WAITS), (numbers[2], WAITS)]

    asyncio.run(scenario())
    assert len(sink.connections) == 1
    assert known(store).lets_go


def test_a_probe_that_is_greeted_and_then_told_421_leaves_the_site_down(store: OpenStore, sink: RecordingSink):
    [number] = released(store, 1)
    down_until(store, datetime.now(UTC))
    sink.answer("MAIL", "*", "421 4.7.0 still too much")

    async def scenario() -> None:
        site = Site(store.url, sink)
        async with site.running():
            site.put(number)
            await site.until_reported(1)

    asyncio.run(scenario())
    assert (known(store).state, known(store).failures) == (SiteState.DOWN, 2)


def test_a_sender_that_stops_leaves_its_probe_to_another(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 2)
    pause = sink.pause("CONNECT", times=1)

    async def scenario() -> None:
        first, second = Site(store.url, sink), Site(store.url, sink, worker="sender-2")
        async with second.running():
            async with first.running():
                first.put(numbers[0])
                await asyncio.to_thread(pause.wait)
                second.put(numbers[1])
            await second.until_reported(1)

    asyncio.run(scenario())
    pause.release()
    assert subjects(sink.mails) == {"order-1": 1}
    assert store.states("order-0") == [State.RELEASED]  # it stays in its lane


def test_other_settings_open_what_was_closed(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 2)
    sink.answer("CONNECT", "*", "421 4.3.2 no service", times=1)

    async def scenario() -> Site:
        site = Site(store.url, sink)
        async with site.running():
            site.put(numbers[0], revision=1)
            await site.until_reported(1)
            site.put(numbers[1], revision=2)
            await site.until_reported(2)
        return site

    assert asyncio.run(scenario()).reports.told == [(numbers[0], "parked"), (numbers[1], "delivered")]


def test_connections_one_after_another_ask_the_store_once(store: OpenStore, sink: RecordingSink):
    numbers = released(store, 10)

    async def scenario() -> None:
        site, before = Site(store.url, sink, most=1), exchanges()
        site.put(*numbers)
        async with site.running():
            await site.until_reported(10)
            assert exchanges() - before == 2  # may I? and: it is up

    asyncio.run(scenario())
    assert len(sink.connections) == 10
