"""What the scheduler tells, as lines."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cli.story import list_row, recipient_lines, retracted_lines, states_words, step_line, story_lines
from shared.contracts.answers import MailLine, RecipientState, RetractedMail, RetractResult, Step, Story

NOON = datetime(2026, 3, 1, 12, 0, 0, 5000, UTC)


@pytest.mark.parametrize(
    ("state", "lines"),
    [
        (
            RecipientState(
                address="b@y.example", state="held", since=NOON, attempt=1, next_try=NOON + timedelta(minutes=5)
            ),
            ["b@y.example: held since 2026-03-01 12:00:00, attempt 1, next try 2026-03-01 12:05:00"],
        ),
        (
            RecipientState(
                address="b@y.example", state="delivered", since=NOON, attempt=2, worker="sender-1",
                host="mx.y.example [192.0.2.1]", code=250, enhanced="2.0.0", reply="queued\nas 1",
            ),
            [
                "b@y.example: delivered since 2026-03-01 12:00:00, attempt 2",
                "  at mx.y.example [192.0.2.1] by sender-1: 250 2.0.0 queued as 1",
            ],
        ),
        (
            RecipientState(address="b@y.example", state="claimed", since=NOON, attempt=1, worker="sender-1"),
            ["b@y.example: claimed since 2026-03-01 12:00:00, attempt 1", "  by sender-1"],
        ),
        (
            RecipientState(address="b@y.example", state="deferred", since=NOON, attempt=1, in_doubt=True),
            [
                "b@y.example: deferred since 2026-03-01 12:00:00, attempt 1",
                "  in doubt: the connection broke after the mail was sent; it may have been accepted",
            ],
        ),
    ],
)  # fmt: skip
def test_a_recipient_has_its_state_and_what_the_receiver_said(state, lines):
    assert recipient_lines(state, UTC) == lines


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (Step(time=NOON, what="admitted", revision=3), "2026-03-01 12:00:00.005  admitted   settings 3"),
        (
            Step(time=NOON, what="released", recipient="b@y.example", attempt=1),
            "2026-03-01 12:00:00.005  released   b@y.example  attempt 1",
        ),
        (
            Step(
                time=NOON, what="deferred", recipient="b@y.example", attempt=1, revision=3, worker="sender-2",
                host="mx", code=450, enhanced="4.2.0", reply="busy", next_try=NOON + timedelta(minutes=5),
            ),
            "2026-03-01 12:00:00.005  deferred   b@y.example  attempt 1, settings 3, by sender-2, at mx, "
            "450 4.2.0 busy, next try 2026-03-01 12:05:00",
        ),
        (Step(time=NOON, what="replaced"), "2026-03-01 12:00:00.005  replaced"),
    ],
)  # fmt: skip
def test_a_step_has_all_that_is_known_of_it(step, line):
    assert step_line(step, UTC) == line


def test_the_story_says_what_it_is_where_it_stands_why_it_waits_and_what_happened():
    story = Story(
        id="m1", batch="", sender="", subject="", size=1, priority="normal", submitted_by="", admitted=NOON,
        give_up=NOON + timedelta(days=5),
        recipients=[RecipientState(address="b@y.example", state="held", since=NOON, attempt=1)],
        waits=["b@y.example: held by the setting"],
        steps=[Step(time=NOON, what="admitted", revision=0)], about="m0", reports=["dsn.m1.7", "delay.m1.7"],
    )  # fmt: skip
    assert story_lines(story, UTC) == [
        "mail m1",
        "  subject       (none)",
        "  sender        <> (bounces go nowhere)",
        "  size          1 octet",
        "  reports on    m0",
        "  reported by   dsn.m1.7, delay.m1.7",
        "  admitted      2026-03-01 12:00:00",
        "  gives up      2026-03-06 12:00:00",
        "",
        "where it stands",
        "  b@y.example: held since 2026-03-01 12:00:00, attempt 1",
        "",
        "why it waits",
        "  b@y.example: held by the setting",
        "",
        "what happened",
        "  2026-03-01 12:00:00.005  admitted   settings 0",
    ]


def test_a_retract_that_came_too_late_tells_what_the_receiver_said():
    state = RecipientState(address="b@y.example", state="delivered", since=NOON, attempt=1, code=250, reply="ok")
    other = RecipientState(address="c@y.example", state="retracted", since=NOON, attempt=1)
    late = RetractedMail(id="m1", result=RetractResult.TOO_LATE, detail="delivered, 250 ok", recipients=[state])
    assert retracted_lines(late, UTC) == ["m1: too late: delivered, 250 ok"]
    assert retracted_lines(msgspec.structs.replace(late, recipients=[state, other]), UTC) == [
        "m1: too late: delivered, 250 ok",
        "  b@y.example: delivered since 2026-03-01 12:00:00, attempt 1",
        "    250 ok",
        "  c@y.example: retracted since 2026-03-01 12:00:00, attempt 1",
    ]
    done = RetractedMail(id="m1", result=RetractResult.RETRACTED, detail="it will not be sent", recipients=[state])
    assert retracted_lines(done, UTC) == ["m1: retracted: it will not be sent"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (["held"], "held"),
        (["held", "held"], "held"),
        (["delivered", "deferred", "delivered"], "2 delivered, 1 deferred"),
        ([], ""),
    ],
)
def test_the_states_of_several_recipients_are_counted(states, words):
    assert states_words(states) == words


def test_a_row_of_the_list_has_the_earliest_next_try():
    states = [
        RecipientState(
            address=f"{n}@y.example", state="held", since=NOON, attempt=1, next_try=NOON + timedelta(hours=n)
        )
        for n in (3, 1, 2)
    ]
    mail = MailLine(id="m1", batch="", sender="", subject="Hi", size=1, admitted=NOON, recipients=states)
    assert list_row(mail, NOON + timedelta(days=1), UTC) == [
        "m1", "held", "2026-03-01 12:00", "2026-03-01 13:00", "3@y.example and 2 more", "Hi"
    ]  # fmt: skip
