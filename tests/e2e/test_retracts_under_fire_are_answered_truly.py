"""A retract at every stage of a mail's way, and at random moments under load: the receiver bears each answer out.

`retracted`: it never came. `too_late`: it came, or was refused, with this reply at this time. `in_flight`: the event
tells. `in_doubt`: it may have come.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pika
import pytest

from shared.mail_store.states import State
from shared.topology import CONTROL, LANES, RESOLVE, lane_queue
from tests.support.pipeline import Pipeline, a_mail, subjects
from tests.support.ports import wait_until
from tests.support.sinks import RecordingSink

_BATCH = "regretted"
_TWO = ["ann@mx.example", "bob@mx.example"]


@pytest.fixture
def waiting(pipeline: Pipeline) -> Iterator[Callable[..., int]]:
    """How many messages wait in these queues."""
    connection = pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url))
    channel = connection.channel()
    yield lambda *names: sum(channel.queue_declare(name, passive=True).method.message_count for name in names)
    connection.close()


@contextmanager
def _frozen(pipeline: Pipeline, role: str) -> Iterator[None]:
    [worker] = pipeline.of(role)
    worker.pause()
    try:
        yield
    finally:
        worker.resume()


def _two_mails(pipeline: Pipeline) -> list[str]:
    """One to be retracted as a whole, one for one of its two recipients."""
    return [pipeline.submit(_whole()), pipeline.submit(_in_part())]


def _whole() -> dict[str, Any]:
    return a_mail("whole", batch=_BATCH)


def _in_part() -> dict[str, Any]:
    return a_mail("in part", to=_TWO)


def _retract_both(pipeline: Pipeline, mails: list[str]) -> list[dict[str, int]]:
    """The one by its batch, the other's first recipient by its address; each twice."""
    selectors = [{"batch": _BATCH, "id": mails[0]}, {"recipient": _TWO[0], "id": mails[1]}]
    return [pipeline.control("retract", **selector)["counts"] for selector in selectors * 2]


def _assert_only_the_other_recipient_got_mail(pipeline: Pipeline, inbox: RecordingSink) -> None:
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("after")))
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final")
    assert sorted((mail.message["Subject"], mail.recipients) for mail in inbox.mails) == [
        ("after", ("b@mx.example",)),
        ("in part", (_TWO[1],)),
    ]
    retracted = [(event["mail"], event["recipient"]) for event in pipeline.events("retracted")]
    assert len(retracted) == len(set(retracted)) == 2


def test_before_the_resolver_has_it(pipeline: Pipeline, inbox: RecordingSink, waiting: Callable[..., int]):
    with _frozen(pipeline, "resolver"):
        mails = _two_mails(pipeline)
        pipeline.client.wait_until(lambda: pipeline.count(State.RELEASING) == 3, "all on their way")
        assert _retract_both(pipeline, mails) == [{"retracted": 1}] * 4
    pipeline.client.wait_until(lambda: not waiting(RESOLVE), "all resolved")
    _assert_only_the_other_recipient_got_mail(pipeline, inbox)


def test_in_a_lane(pipeline: Pipeline, inbox: RecordingSink, waiting: Callable[..., int]):
    lanes = [lane_queue(lane) for lane in range(LANES)]
    pipeline.stop(*pipeline.of("sender"))
    # One after the other: admitted at once, they would travel in one message.
    mails = [pipeline.submit(_whole())]
    pipeline.client.wait_until(lambda: waiting(*lanes) == 1, "the first in its lane")
    mails.append(pipeline.submit(_in_part()))
    pipeline.client.wait_until(lambda: waiting(*lanes) == 2, "both in their lanes")
    assert _retract_both(pipeline, mails) == [{"retracted": 1}] * 4
    pipeline.start(sender=1)
    _assert_only_the_other_recipient_got_mail(pipeline, inbox)


def test_in_the_hands_of_a_sender_that_has_not_claimed_it(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.start(sender=1)
    pipeline.stop(pipeline.of("sender")[0])  # the new one has no connection open, so it has to wait for one
    greeting = inbox.pause("CONNECT")
    mails = _two_mails(pipeline)
    greeting.wait(30)
    pipeline.client.wait_until(lambda: pipeline.count(State.RELEASING) == 3, "all on their way")
    assert _retract_both(pipeline, mails) == [{"retracted": 1}] * 4
    greeting.release()
    _assert_only_the_other_recipient_got_mail(pipeline, inbox)


@pytest.mark.parametrize(
    ("paused_at", "reply", "event", "afterwards"),
    [
        ("RCPT", None, "delivered", "too_late"),
        (".", None, "delivered", "too_late"),
        ("RCPT", "554 5.6.0 no", "bounced", "too_late"),
        ("RCPT", "450 4.2.1 later", "deferred", "retracted"),
    ],
)
def test_during_the_transaction(
    pipeline: Pipeline, inbox: RecordingSink, paused_at: str, reply: str | None, event: str, afterwards: str
):
    pipeline.change(retry={"schedule": ["1h"]})
    if reply is not None:
        inbox.answer(".", "*", reply, times=1)
    pause = inbox.pause(paused_at, times=1)
    mail = pipeline.submit(a_mail("under way"))
    pause.wait(30)
    answers = [pipeline.control("retract", id=mail)["counts"] for _ in range(2)]
    pause.release()
    told = pipeline.wait_for_event(event, mail)
    [later] = pipeline.control("retract", id=mail)["mails"]

    assert answers == [{"in_flight": 1}] * 2
    assert later["result"] == afterwards
    assert subjects(inbox.mails)["under way"] == (event == "delivered")
    if afterwards == "too_late":
        assert f"{told['code']} {told['enhanced']} {told['reply']}" in later["detail"]
    assert pipeline.open_recipients() == 0


def test_after_a_try_whose_answer_was_lost(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1h"]})
    inbox.hang_up(".")
    mail = pipeline.submit(a_mail("in doubt"))
    assert pipeline.wait_for_event("deferred", mail)["in_doubt"]

    answers = [pipeline.control("retract", id=mail)["counts"] for _ in range(2)]

    assert answers == [{"in_doubt": 1}] * 2
    assert subjects(inbox.mails) == {"in doubt": 1}
    assert pipeline.open_recipients() == 0


def test_while_the_sender_that_has_it_is_dead(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1h"]})
    final_dot = inbox.pause(".", times=1)
    mail = pipeline.submit(a_mail("who knows"))
    final_dot.wait(30)
    [victim] = pipeline.of("sender")
    pipeline.kill(victim)
    final_dot.release()

    answers = [pipeline.control("retract", id=mail) for _ in range(2)]
    [successor] = pipeline.start(sender=1)
    successor.wait_for_log("not_claimed", mail=mail)  # the work has come again
    answers.append(pipeline.control("retract", id=mail))
    assert [answer["counts"] for answer in answers] == [{"in_flight": 1}] * 3
    assert {answer["mails"][0]["recipients"][0]["worker"] for answer in answers} == {victim.name}

    assert pipeline.let_lease_run_out(State.CLAIMED, victim) == 1
    assert pipeline.wait_for_event("deferred", mail)["in_doubt"]
    arrived = subjects(inbox.mails)
    assert [pipeline.control("retract", id=mail)["counts"] for _ in range(2)] == [{"in_doubt": 1}] * 2
    pipeline.wait_for_event("retracted", mail)
    pipeline.wait_for_event("delivered", pipeline.submit(a_mail("after")))
    assert subjects(inbox.mails) == arrived + Counter(["after"])
    assert pipeline.open_recipients() == 0


def test_while_the_scheduler_is_down(pipeline: Pipeline, inbox: RecordingSink, waiting: Callable[..., int]):
    final_dot = inbox.pause(".", times=1)
    sent = pipeline.submit(a_mail("sent"))
    final_dot.wait(30)
    held = pipeline.submit(a_mail("held", hold="10m"))
    pipeline.wait_for_event("held", held)
    pipeline.kill(*pipeline.of("scheduler"))
    final_dot.release()
    inbox.wait_for(1)

    def start_when_asked() -> None:
        wait_until(lambda: waiting(CONTROL) == 1, "the command waits")
        pipeline.start(scheduler=1)

    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start_when_asked)
        assert pipeline.control("retract", id=held)["counts"] == {"retracted": 1}
        started.result()
    [late] = pipeline.control("retract", id=sent)["mails"]
    delivered = pipeline.wait_for_event("delivered", sent)

    # The outcome waits in its queue as the command does, and either may come first.
    assert late["result"] in ("too_late", "in_flight")
    assert delivered["reply"] == "taken as 1"
    assert subjects(inbox.mails) == {"sent": 1}


def test_two_hundred_retracts_at_random_moments_under_load(pipeline: Pipeline, inbox: RecordingSink):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    inbox.answer("RCPT", "nobody@mx.example", "550 5.1.1 nobody here")
    inbox.answer("RCPT", "later@mx.example", "450 4.2.1 later", times=20)
    inbox.hang_up(".", "lost@mx.example", times=10)
    asked: dict[str, list[str]] = {}  # id → recipients
    answers: list[tuple[dict[str, str], dict[str, Any]]] = []  # selector, answer
    with pipeline.load(rate=50):
        while len(asked) < 200 or len(answers) < 200:
            if len(asked) < 200 and chance.random() < 0.5:
                id = f"fire-{len(asked)}"
                asked[id] = chance.choice(
                    [_TWO, *([f"{name}@mx.example"] for name in ("b", "nobody", "later", "lost"))]
                )
                pipeline.submit(a_mail(id, to=asked[id], hold=chance.choice([0, 0, 0, "500ms"])), id)
            elif asked:
                # The latest are on their way just now; some are asked for twice.
                selector = {"id": chance.choice(list(asked)[-8:])}
                if chance.random() < 0.2:
                    selector["recipient"] = _TWO[0]
                answers.append((selector, pipeline.control("retract", **selector)))
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final", 60)

    truth = _Truth(pipeline, inbox)
    for selector, answer in answers:
        _assert_true(selector, answer, asked[selector["id"]], truth)
    results = {answer["mails"][0]["result"] for _, answer in answers}
    assert results >= {"retracted", "too_late"}


_FINAL = ("delivered", "bounced", "retracted")


class _Truth:
    """What became of each recipient: by mail and address."""

    def __init__(self, pipeline: Pipeline, inbox: RecordingSink) -> None:
        self.events = {(event["mail"], event["recipient"]): event for kind in _FINAL for event in pipeline.events(kind)}
        self.doubted = {(e["mail"], e["recipient"]) for e in pipeline.events("deferred") if e.get("in_doubt")}
        self.came = {(str(mail.message["Subject"]), to): mail.time for mail in inbox.mails for to in mail.recipients}


def _assert_true(selector: dict[str, str], answer: dict[str, Any], to: list[str], truth: _Truth) -> None:
    """Result, counts and what was said of each recipient agree with each other, the events and the receiver."""
    [mail] = answer["mails"]
    recipients = mail.get("recipients", [])
    assert (mail["id"], answer["counts"]) == (selector["id"], {mail["result"]: 1})
    assert mail["result"] == _least_favourable(recipients)
    if mail["result"] == "unknown":
        if "recipient" not in selector:  # it is taken back when it arrives
            assert not [key for key in truth.came if key[0] == mail["id"]]
        return
    assert sorted(each["address"] for each in recipients) == sorted({selector.get("recipient", one) for one in to})
    for each in recipients:
        key = mail["id"], each["address"]
        _assert_true_of(each, truth.events[key], truth.came.get(key), key in truth.doubted)
    if mail["result"] == "retracted":
        assert not [each for each in recipients if (mail["id"], each["address"]) in truth.came]
    if mail["result"] == "too_late":
        final = [truth.events[mail["id"], each["address"]] for each in recipients if each["state"] in _FINAL[:2]]
        assert any(f"{event['code']} {event['enhanced']} {event['reply']}" in mail["detail"] for event in final)


def _least_favourable(recipients: list[dict[str, Any]]) -> str:
    states = {each["state"] for each in recipients}
    if not states:
        return "unknown"
    if states & {"delivered", "bounced"}:
        return "too_late"
    if "claimed" in states:
        return "in_flight"
    return "in_doubt" if any(each.get("in_doubt") for each in recipients) else "retracted"


def _assert_true_of(answered: dict[str, Any], event: dict[str, Any], came: datetime | None, doubted: bool) -> None:
    """What was said of a recipient, what the event said, and when the receiver took the mail: they must agree."""
    assert (came is not None) == (event["event"] == "delivered" or doubted)
    match answered["state"]:
        case "retracted":
            assert (came is not None) == answered.get("in_doubt", False)
        case "delivered":
            assert came is not None
            assert answered["reply"] == event["reply"]
            assert abs(datetime.fromisoformat(answered["since"]) - came) < timedelta(seconds=10)
        case "bounced":
            assert (came, answered["code"]) == (None, 550)
        case state:
            assert state == "claimed", "nothing that can be taken back is left there"
