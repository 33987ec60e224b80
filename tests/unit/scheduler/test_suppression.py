"""Who gets on the suppression list, and how it spells an address."""

from datetime import timedelta

import msgspec
import pytest

from services.scheduler.outcomes import Change, Pending
from services.scheduler.suppression import condemned, key_of
from shared.classify import classify
from shared.mail_store.states import State
from shared.smtp_reply import Reply, own_verdict
from tests.support.store import NOW

NOBODY = Reply(550, "5.1.1", "nobody")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("ann@y.example", "ann@y.example"),
        ("Ann.B@Y.example", "ann.b@y.example"),
        ("jürgen@müller.example", "jürgen@xn--mller-kva.example"),
        ('"Ann@home"@y.example', '"ann@home"@y.example'),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
    ],
)
def test_an_address_has_one_spelling(address, key):
    assert key_of(address) == key


def bounced(mail: int, number: int, reply: Reply, state: State = State.BOUNCED) -> Change:
    pending = Pending(
        number=number, mail_no=mail, mail=f"order-{mail}", batch="", address=f"r{number}@y.example",
        state=State.CLAIMED, attempt=1, worker="sender-1", admitted=NOW, give_up=NOW + timedelta(days=5),
    )  # fmt: skip
    return Change(
        pending=pending, state=state, time=NOW, wake=None, attempt=1, worker="sender-1", revision=1, host="mx",
        reply=reply, bounce_class=classify(reply), in_doubt=False, ends_attempt=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([bounced(1, 1, NOBODY)], [1]),
        ([bounced(1, 1, NOBODY), bounced(2, 2, NOBODY)], [1, 2]),  # of two mails
        ([bounced(1, 1, NOBODY), bounced(1, 2, NOBODY)], []),  # perhaps said of the mail
        ([bounced(1, 1, NOBODY), bounced(1, 2, msgspec.structs.replace(NOBODY, text="no r2"))], [1, 2]),
        ([bounced(1, 1, NOBODY, State.DEFERRED)], []),
        ([bounced(1, 1, own_verdict(550, "5.1.2", "no such domain"))], []),
        ([bounced(1, 1, Reply(550, "5.7.1", "go away"))], []),
        ([], []),
    ],
)
def test_a_servers_final_word_about_the_address_alone_condemns_it(changes, expected):
    assert [change.pending.number for change in condemned(changes)] == expected
