"""Who names too many unknown addresses is hung up on; the mail behind them goes over the next connection, at once."""

from collections.abc import Callable

import pytest

from tests.support.exim import PrivateExim
from tests.support.pipeline import Pipeline, a_mail
from tests.support.postfix import PrivatePostfix

_MAILS = 80  # 20 a lane, and so a connection; Postfix takes 10 of them, Exim 12


@pytest.mark.checklist(71, 72)
@pytest.mark.parametrize(
    "start",
    [
        lambda boxes: PrivatePostfix(mailboxes=boxes, parameters={"smtpd_error_sleep_time": "0"}),
        lambda boxes: PrivateExim(mailboxes=boxes),
    ],
    ids=["Postfix", "Exim"],
)
def test_all_have_their_outcome_at_the_first_attempt(
    pipeline: Pipeline, start: Callable[[list[str]], PrivatePostfix | PrivateExim]
):
    with start(["anna@mx.example"]) as receiver:
        pipeline.change(relay={"port": receiver.port})
        for number in range(_MAILS):
            to = "anna@mx.example" if number % 20 == 19 else "nobody@mx.example"
            pipeline.submit(a_mail(to=[to], return_path=""))
        outcomes = [*pipeline.wait_for_events(_MAILS * 19 // 20, "bounced", timeout=45)]
        outcomes += pipeline.wait_for_events(_MAILS // 20, "delivered")
        dealings = receiver.dealings

    assert {event["attempt"] for event in outcomes} == {1}
    assert not pipeline.events("deferred")
    assert sum(dealings.refused.values()) == _MAILS * 19 // 20
    assert 4 < dealings.connections < 20
