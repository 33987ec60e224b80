"""Outcomes are settled in portions: those that cost a mail each would keep the store for too long together."""

import pytest

from services.scheduler.outcome_desk import ENOUGH, ENOUGH_FAILURES, portions
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.outcomes import Bounced, Delivered, Outcome
from shared.smtp_reply import Reply

OK: Outcome = Delivered(Reply(250, "", "ok"), "mx")
NO: Outcome = Bounced(Reply(550, "", "no"), "mx")


def report(outcome: Outcome, count: int) -> OutcomeReport:
    return OutcomeReport("sender-1", 1, tuple(RecipientOutcome(number, 1, outcome) for number in range(count)))


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([], []),
        ([report(OK, ENOUGH // 200)] * 199, [199]),  # what is delivered costs nobody a mail
        ([report(OK, ENOUGH // 2)] * 5, [2, 2, 1]),  # but memory, and the others a wait
        ([report(NO, ENOUGH_FAILURES)] * 2, [1, 1]),
        ([report(NO, ENOUGH_FAILURES * 3)], [1]),  # one message is settled as a whole
        ([report(NO, ENOUGH_FAILURES // 3)] * 7, [3, 3, 1]),
        ([report(OK, 5), report(NO, ENOUGH_FAILURES), report(OK, 5)], [2, 1]),
    ],
)
def test_failures_fill_a_portion_soon_and_deliveries_late(reports: list[OutcomeReport], expected: list[int]):
    settled = list(portions(reports))
    assert [len(portion) for portion in settled] == expected
    assert [each for portion in settled for each in portion] == reports
