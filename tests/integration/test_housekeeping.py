"""What is no longer needed goes, and nothing else."""

from datetime import timedelta

from services.scheduler.housekeeping import drop_contents, drop_final_contents_after, purge
from services.scheduler.inquiry import content_part
from shared.contracts.commands import ShowContent
from shared.mail_store.states import State
from shared.mail_store.tables import contents, history, mails, recipients
from tests.support.store import NOW, OpenStore, a_draft

DAY = timedelta(days=1)


def admitted(store: OpenStore, mail: str, *states: State, at=NOW, final_since=None) -> int:
    """A mail with a recipient in each of these states; its number."""
    addresses = [f"r{n}@y.example" for n in range(len(states))]
    [one] = store.admit(a_draft(mail, *addresses, at=at)).admitted
    for to, state in zip(one.recipients, states, strict=True):
        final = state in (State.DELIVERED, State.BOUNCED, State.RETRACTED)
        store.put(to.no, state=int(state), since=final_since or at, wake=None if final else at)
    return int(store.rows(mail)[0].mail)


def test_the_content_of_final_mails_is_dropped_and_that_of_open_ones_stays(store):
    numbers = [
        admitted(store, "done", State.DELIVERED, State.BOUNCED),
        admitted(store, "retracted", State.RETRACTED),
        admitted(store, "half", State.DELIVERED, State.DEFERRED),
        admitted(store, "held", State.HELD),
        admitted(store, "claimed", State.CLAIMED),
    ]
    store.run(drop_contents, numbers)
    every = ("done", "retracted", "half", "held", "claimed")
    kept = {mail for mail in every if store.run(content_part, ShowContent(id=mail)).content}
    assert kept == {"half", "held", "claimed"}
    assert store.count(mails) == 5


def test_what_was_final_before_a_crash_is_swept_page_by_page(store):
    drafts = [a_draft(f"order-{n}") for n in range(1100)]
    for mail in store.admit(*drafts).admitted[::2]:
        store.put(mail.recipients[0].no, state=int(State.DELIVERED), wake=None)
    last, pages = 0, 0
    while (following := store.run(drop_final_contents_after, last)) is not None:
        assert following > last
        last, pages = following, pages + 1
    assert pages == 2
    assert store.count(contents) == 550


def test_mails_are_forgotten_when_they_have_been_final_for_the_history_time(store):
    cutoff = NOW - 30 * DAY
    admitted(store, "old", State.DELIVERED, State.RETRACTED, at=NOW - 31 * DAY)
    admitted(store, "old-and-open", State.DEFERRED, at=NOW - 31 * DAY)
    admitted(store, "old-and-half-open", State.DELIVERED, State.HELD, at=NOW - 31 * DAY)
    admitted(store, "held-for-long", State.DELIVERED, at=NOW - 31 * DAY, final_since=NOW - DAY)  # can still be shown
    admitted(store, "young", State.DELIVERED, at=NOW - 29 * DAY)
    assert store.run(purge, cutoff, 0) is not None
    left = {mail for mail in ("old", "old-and-open", "old-and-half-open", "held-for-long", "young") if store.rows(mail)}
    assert left == {"old-and-open", "old-and-half-open", "held-for-long", "young"}
    assert (store.count(mails), store.count(contents)) == (4, 4)


def test_what_is_forgotten_leaves_nothing_behind(store):
    admitted(store, "old", State.DELIVERED, at=NOW - 31 * DAY)
    assert store.run(purge, NOW, 0) is not None
    assert [store.count(table) for table in (mails, recipients, contents, history)] == [0, 0, 0, 0]


def test_the_purge_comes_to_an_end(store):
    store.admit(*(a_draft(f"order-{n}", at=NOW - 31 * DAY) for n in range(1100)))
    last, pages = 0, 0
    while (following := store.run(purge, NOW, last)) is not None:
        assert following > last
        last, pages = following, pages + 1
    assert pages == 3
    assert store.count(mails) == 1100  # all of them open
    assert store.run(purge, NOW - 40 * DAY, 0) is None
