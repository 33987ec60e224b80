"""Who may connect to a site, and what is known of it after news: tables over the site's row."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.sites import (
    KNOWN_FOR,
    Answer,
    CameUp,
    Closed,
    Left,
    News,
    Open,
    Probe,
    Site,
    SiteState,
    Wait,
    WentDown,
    after,
    judge,
)
from shared.smtp_reply import Reply, own_verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
ME = "sender-1"
REFUSED = own_verdict(451, "4.4.1", "no connection: Connection refused")
BUSY = Reply(421, "4.7.0", "too many connections")


def a_site(state: SiteState = SiteState.UNKNOWN, **columns) -> Site:
    return Site(name="mx:y", state=state, **{"since": NOW - 10 * MINUTE, **columns})


def unknown(**columns) -> Site:
    return a_site(**columns)


def up(**columns) -> Site:
    return a_site(SiteState.UP, **{"worked": NOW - SECOND, **columns})


def down(**columns) -> Site:
    usual = {"failures": 2, "until": NOW + MINUTE, "revision": 7, "host": "mx", "code": 451, "reply": "refused"}
    return a_site(SiteState.DOWN, **{**usual, **columns})


def leased(by: str, left: timedelta = MINUTE) -> dict[str, object]:
    return {"prober": by, "lease_end": NOW + left}


@pytest.mark.checklist(147)
@pytest.mark.parametrize(
    ("site", "answer"),
    [
        (unknown(), Probe(down=False)),
        (unknown(**leased("sender-2")), Wait()),
        (unknown(**leased(ME)), Probe(down=False)),  # asked again: nobody has told it that it may
        (unknown(**leased("sender-2", -SECOND)), Probe(down=False)),  # that sender has died
        (up(), Open()),
        (up(**leased("sender-2")), Open()),
        (up(worked=NOW - KNOWN_FOR), Probe(down=False)),  # too long ago to be known
        (up(worked=NOW - KNOWN_FOR, **leased("sender-2")), Wait()),
        (down(), Closed()),
        (down(until=NOW), Probe(down=True)),
        (down(until=NOW, **leased("sender-2")), Closed()),
        (down(until=NOW, **leased("sender-2", -SECOND)), Probe(down=True)),
        (down(called=NOW - SECOND), Probe(down=True)),  # the scheduler's clock may be another one
        (down(called=NOW - SECOND, **leased("sender-2")), Closed()),
        (down(revision=6), Closed()),
        (down(revision=5), Probe(down=True)),  # other settings than those it failed under
    ],
)
def test_one_sender_alone_finds_out_and_the_others_wait(site: Site, answer: Answer):
    assert judge(site, ME, 6, NOW) == answer


def pause_after(failures: int) -> timedelta:
    return failures * MINUTE


def went_down(reply: Reply = REFUSED, begun: datetime = NOW - SECOND) -> WentDown:
    return WentDown("mx:y", reply, "mx [192.0.2.1]:25", 9, begun)


def known_after(site: Site, news: News) -> Site:
    return after(site, news, ME, NOW, pause_after)


@pytest.mark.parametrize(
    ("site", "since", "failures"),
    [
        (unknown(**leased(ME)), NOW, 1),
        (unknown(**leased("sender-2")), NOW, 1),  # whose lease was over, so this one was allowed to try too
        (up(), NOW, 1),
        (up(lets_go=True), NOW, 1),
        (down(**leased(ME)), NOW - 10 * MINUTE, 3),
    ],
)
def test_a_failure_gives_the_whole_site_a_pause_that_grows(site: Site, since: datetime, failures: int):
    now = known_after(site, went_down(BUSY, NOW))
    assert (now.state, now.since, now.failures, now.until) == (SiteState.DOWN, since, failures, NOW + failures * MINUTE)
    assert (now.code, now.enhanced, now.reply, now.host) == (421, "4.7.0", "too many connections", "mx [192.0.2.1]:25")
    assert (now.revision, now.prober, now.lease_end, now.called, now.lets_go) == (9, "", None, None, False)


@pytest.mark.parametrize(
    ("site", "news"),
    [
        (down(), went_down()),  # connections that fail together are one failure
        (down(**leased("sender-2")), went_down()),
        (up(), went_down(begun=NOW - MINUTE)),  # it has worked since that began
        (down(), CameUp("mx:y")),  # over a connection from before the pause
        (down(**leased("sender-2")), Left("mx:y")),
        (up(), Left("mx:y")),
    ],
)
def test_what_is_known_better_stands(site: Site, news: News):
    assert known_after(site, news) == site


@pytest.mark.parametrize(
    ("site", "since", "lets_go"),
    [
        (unknown(**leased(ME)), NOW, False),
        (up(since=NOW - MINUTE), NOW - MINUTE, False),
        (up(since=NOW - MINUTE, lets_go=True), NOW - MINUTE, True),
        (down(**leased(ME)), NOW, True),
    ],
)
def test_a_site_that_works_is_open_for_all_and_lets_those_go_who_waited(site: Site, since: datetime, lets_go: bool):
    expected = Site(name="mx:y", state=SiteState.UP, since=since, worked=NOW, lets_go=lets_go)
    assert known_after(site, CameUp("mx:y")) == expected


@pytest.mark.parametrize("site", [unknown(**leased(ME)), down(until=NOW, **leased(ME))])
def test_a_sender_that_has_not_found_out_leaves_it_to_another(site: Site):
    assert not isinstance(judge(site, "sender-2", 7, NOW), Probe)
    assert isinstance(judge(known_after(site, Left("mx:y")), "sender-2", 7, NOW), Probe)


@pytest.mark.parametrize("split", [1, 2000, 64_000])
def test_a_long_reply_is_cut(split: int):
    assert len(known_after(up(), went_down(Reply(421, "", "x" * split), NOW)).reply) == min(split, 2000)
