"""A host that refused over one IP version is tried over the other next time."""

import pytest

from services.sender.envelope import OutgoingMail
from services.sender.families import Families, is_policy
from services.sender.session_mails import Sent
from services.sender.targets import Target
from shared.outcomes import Bounced, Delivered
from shared.smtp_reply import Reply, own_verdict

FOUR, SIX = Target("mx.example", "192.0.2.1", 25), Target("mx.example", "2001:db8::1", 25)
OTHER = Target("other.example", "192.0.2.9", 25)
NO_PTR = Reply(550, "5.7.25", "the address has no PTR record")


class Clock:
    """Stands still until told otherwise."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.checklist(13)
def test_a_host_that_refused_on_policy_over_one_family_is_tried_over_the_other_next_time():
    families = Families()
    families.note(FOUR, NO_PTR)
    assert families.arranged([FOUR, SIX, OTHER]) == [SIX, FOUR, OTHER]
    families.note(SIX, NO_PTR)
    assert families.arranged([FOUR, SIX]) == [FOUR, SIX]


def test_hosts_keep_their_places_and_their_addresses_their_order():
    families = Families()
    families.note(FOUR, NO_PTR)
    second_four = Target("mx.example", "192.0.2.2", 25)
    assert families.arranged([FOUR, OTHER, second_four, SIX]) == [SIX, OTHER, FOUR, second_four]


def test_a_host_with_addresses_of_one_family_is_tried_all_the_same():
    families = Families()
    families.note(FOUR, NO_PTR)
    assert families.arranged([FOUR]) == [FOUR]


def test_what_was_refused_is_forgotten_after_some_hours():
    clock = Clock()
    families = Families(clock)
    families.note(FOUR, NO_PTR)
    clock.now = 6 * 3600
    assert families.arranged([FOUR, SIX]) == [FOUR, SIX]


def test_what_became_of_mails_is_looked_at():
    mail = OutgoingMail("a@b.example", ("c@mx.example", "d@mx.example"), b"", False, False)
    families = Families()
    families.note_results(FOUR, [Sent(mail, (Delivered(Reply(250, "", "ok"), "mx"), Bounced(NO_PTR, "mx")))])
    assert families.arranged([FOUR, SIX]) == [SIX, FOUR]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (NO_PTR, True),
        (Reply(550, "5.7.1", "no"), True),
        (Reply(421, "4.7.0", "unusual rate of mail"), True),
        (Reply(550, "5.1.1", "no such user"), False),
        (Reply(554, "", "no"), False),
        (Reply(450, "4.7.1", "Greylisting in action"), False),
        (Reply(451, "4.7.1", "Try again later"), False),
        (Reply(535, "5.7.8", "wrong password"), False),
        (own_verdict(451, "4.7.1", "TLS is required"), False),  # nobody said it
    ],
)
def test_which_refusals_are_of_policy(reply, expected):
    assert is_policy(reply) is expected
