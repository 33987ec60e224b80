"""Which addresses are tried, and what it means when none can be used."""

import pytest

from services.sender.opening import Stage
from services.sender.targets import Failure, Target, choose, verdict
from shared.smtp_reply import Reply, own_verdict
from tests.support.transcript import in_words


def target(address: str, host: str = "mx.example") -> Target:
    return Target(host, address, 25)


@pytest.mark.parametrize(
    ("host", "address", "label"),
    [
        ("mx1.example.net", "192.0.2.1", "mx1.example.net [192.0.2.1]:25"),
        ("mx1.example.net", "2001:db8::1", "mx1.example.net [2001:db8::1]:25"),
        ("192.0.2.1", "192.0.2.1", "[192.0.2.1]:25"),
        ("[192.0.2.1]", "192.0.2.1", "[192.0.2.1]:25"),
    ],
)
def test_a_target_names_host_address_and_port(host, address, label):
    assert str(Target(host, address, 25)) == label


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        ("", ""),
        ("1", "1"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        pytest.param("1 2 3 4 5 6", "1 2 3 4 5", marks=pytest.mark.checklist(11)),
        pytest.param("1 2 3 4 5 6 ::7 ::8", "1 2 3 4 ::7", marks=pytest.mark.checklist(12)),
        ("::1 ::2 ::3 ::4 ::5 ::6 7", "::1 ::2 ::3 ::4 7"),
        ("1 ::2 3 4 5 ::6", "1 ::2 3 4 5"),
    ],
)
def test_five_addresses_are_tried_of_both_families(addresses, chosen):
    assert choose([target(address) for address in addresses.split()]) == [target(each) for each in chosen.split()]


NO_ANSWER = (Stage.CONNECT, own_verdict(451, "4.4.1", "no connection"))
GOES_AWAY = (Stage.GREETING, Reply(554, "5.7.1", "go away"))
MOVED = (Stage.GREETING, Reply(521, "", "no mail here"))
BUSY = (Stage.GREETING, Reply(421, "4.3.2", "busy"))
HELLO_REFUSED = (Stage.HELLO, Reply(550, "", "no"))
NO_TLS = (Stage.TLS, own_verdict(451, "4.7.4", "no TLS"))
WRONG_PASSWORD = (Stage.AUTH, Reply(535, "5.7.8", "no"))
AUTH_LATER = (Stage.AUTH, Reply(454, "4.7.0", "later"))
LOOP = (Stage.LOOP, own_verdict(554, "5.4.6", "it is us"))


def failure(stage: Stage, reply: Reply) -> Failure:
    return Failure(target("192.0.2.1"), stage, reply)


@pytest.mark.checklist(35, 36, 41)
@pytest.mark.parametrize(
    ("failures", "every_host_tried", "expected"),
    [
        ([], False, "deferred 451 4.4.4"),
        ([NO_ANSWER], True, "deferred 451 4.4.1"),
        ([BUSY], True, "deferred 421 4.3.2 busy"),
        ([GOES_AWAY], True, "bounced 554 5.7.1 go away"),
        ([GOES_AWAY, MOVED], True, "bounced 521 no mail here"),
        ([GOES_AWAY, MOVED], False, "deferred 521 no mail here"),  # another host might take it
        ([GOES_AWAY, NO_ANSWER], True, "deferred 554 5.7.1 go away"),  # what was said tells more
        ([GOES_AWAY, BUSY], True, "deferred 421 4.3.2 busy"),
        ([HELLO_REFUSED], True, "deferred 550 no"),
        ([NO_TLS], True, "deferred 451 4.7.4"),  # item 121
        ([WRONG_PASSWORD], True, "deferred 535 5.7.8 no"),  # item 139
        ([LOOP], True, "bounced 554 5.4.6"),
        ([GOES_AWAY, LOOP], True, "bounced 554 5.4.6"),
        ([NO_ANSWER, LOOP], True, "deferred 451 4.4.1"),  # the nearer host will be back
    ],
)
def test_only_what_all_hosts_say_is_permanent(failures, every_host_tried, expected):
    assert in_words(verdict([failure(*each) for each in failures], every_host_tried)) == expected


@pytest.mark.parametrize(
    ("each", "ends"),
    [
        (NO_ANSWER, False),
        (GOES_AWAY, False),
        (NO_TLS, False),
        (AUTH_LATER, False),
        (WRONG_PASSWORD, True),
        (LOOP, True),
    ],
)
def test_a_wrong_password_is_not_tried_everywhere(each, ends):
    assert failure(*each).ends_the_search is ends
