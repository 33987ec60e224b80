"""The class of a reply: by its codes, by its text, and what follows from it."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.classify import classify, condemns_address, rule_for, rules, shape, turns_us_away
from shared.contracts.words import BounceClass
from shared.smtp_reply import Reply, own_verdict

_CODES = re.compile(r"(\d{3})[ -](?:([245]\.\d{1,3}\.\d{1,3}) )?(.*)", re.DOTALL)
EXAMPLES = [(rule, example) for rule, _ in rules() for example in rule.examples]


def said(text: str) -> Reply:
    match = _CODES.fullmatch(text)
    assert match, text
    return Reply(int(match.group(1)), match.group(2) or "", match.group(3))


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[example[:60] for _, example in EXAMPLES])
def test_each_rule_decides_its_examples_and_no_rule_before_it_does(rule, example):
    reply = said(example)
    assert rule_for(reply.enhanced, shape(reply.text)) is rule
    assert classify(reply) is rule.bounce_class


def test_every_rule_has_an_example():
    assert all(rule.examples for rule, _ in rules())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.1.1 sorry", BounceClass.BAD_MAILBOX),
        ("550 5.1.2 sorry", BounceClass.BAD_DOMAIN),
        ("550 5.2.1 sorry", BounceClass.INACTIVE),
        ("452 4.2.2 sorry", BounceClass.MAILBOX_FULL),
        ("552 5.3.4 sorry", BounceClass.TOO_BIG),
        ("554 5.4.6 sorry", BounceClass.LOOP),
        ("554 5.6.1 sorry", BounceClass.CONTENT),
        ("451 4.4.2 sorry", BounceClass.NETWORK),
        ("451 4.3.1 sorry", BounceClass.SYSTEM),
        ("501 5.5.2 sorry", BounceClass.PROTOCOL),
        ("535 5.7.8 sorry", BounceClass.AUTHENTICATION),
        ("550 5.7.1 sorry", BounceClass.POLICY),  # 5.7.1 alone says no more
        ("550 5.0.0 sorry", BounceClass.UNKNOWN),
        # no enhanced code, a text that says nothing: the basic code
        ("421 sorry", BounceClass.SYSTEM),
        ("503 sorry", BounceClass.PROTOCOL),
        ("530 sorry", BounceClass.AUTHENTICATION),
        ("552 sorry", BounceClass.MAILBOX_FULL),
        ("556 sorry", BounceClass.BAD_DOMAIN),
        ("550 sorry", BounceClass.UNKNOWN),  # it stands for too much
        ("554 sorry", BounceClass.UNKNOWN),
        # the enhanced code goes before the text
        ("552 5.2.2 sorry, this account is spam", BounceClass.MAILBOX_FULL),
        # but a code that condemns the address is doubted when the text speaks of us
        ("550 5.1.1 <b@x.example>: your IP is on a blacklist", BounceClass.BLOCKED),
        ("550 5.1.1 <b@x.example>: rejected, DMARC", BounceClass.POLICY),
        # words of an address are none of the text
        ("550 5.0.0 <spam@virus.example>: sorry", BounceClass.UNKNOWN),
        # 5.1.10 is a null MX (RFC 7505), and a mailbox with Exchange
        ("556 5.1.10 sorry", BounceClass.BAD_DOMAIN),
        ("550 5.4.1 sorry", BounceClass.NETWORK),
    ],
)
def test_the_enhanced_code_decides_then_the_text_then_the_basic_code(reply, expected):
    assert classify(said(reply)) is expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (own_verdict(451, "4.4.1", "no connection: timed out"), BounceClass.NETWORK),
        (own_verdict(451, "4.4.3", "DNS gives no answer for now"), BounceClass.NETWORK),
        (own_verdict(550, "5.1.2", "there is no domain spam.example"), BounceClass.BAD_DOMAIN),
        (own_verdict(556, "5.1.10", "accepts no mail: null MX"), BounceClass.BAD_DOMAIN),
        (own_verdict(554, "5.4.6", "its MX is this system"), BounceClass.LOOP),
        (own_verdict(552, "5.3.4", "the mail has 9 octets"), BounceClass.TOO_BIG),
        (own_verdict(451, "4.7.0", "the password can not be read"), BounceClass.AUTHENTICATION),
        (own_verdict(451, "4.7.4", "TLS is required"), BounceClass.TLS),
        (own_verdict(451, "4.3.0", "the sender died"), BounceClass.SYSTEM),
        (own_verdict(451, "4.5.0", "the server sent spam"), BounceClass.PROTOCOL),
    ],
)
def test_a_verdict_of_our_own_is_judged_by_its_code(verdict, expected):
    assert classify(verdict) is expected


@pytest.mark.checklist(196)
@pytest.mark.parametrize("code", [421, 550])
@pytest.mark.parametrize("detail", range(26, 41))
def test_sender_requirements_of_big_receivers_are_policy_concern_the_site_and_condemn_no_address(code, detail):
    reply = Reply(code, f"{code // 100}.7.{detail}", "Your email has been blocked: no such user, or the sender is bad")
    assert classify(reply) is BounceClass.POLICY
    assert turns_us_away(reply, relay=False)
    assert not condemns_address(reply)


@pytest.mark.parametrize(
    ("reply", "condemns"),
    [
        (Reply(550, "5.1.1", "no such user"), True),
        (Reply(550, "", "User unknown"), True),
        (Reply(550, "5.1.2", "no such domain"), True),
        (Reply(550, "5.2.1", "account disabled"), True),
        (Reply(450, "4.1.1", "no such user, perhaps"), False),  # not for good
        (Reply(552, "5.2.2", "mailbox full"), False),
        (Reply(550, "5.7.1", "relay access denied"), False),
        (Reply(554, "5.7.1", "spam"), False),
        (Reply(535, "5.7.8", "authentication failed"), False),
        (Reply(550, "5.1.1", "blocked using zen.spamhaus.org"), False),
        (Reply(550, "", "no"), False),
        (own_verdict(550, "5.1.2", "no such domain"), False),  # our name server may be wrong
    ],
)
def test_only_a_servers_lasting_word_on_the_address_condemns_it(reply, condemns):
    assert condemns_address(reply) is condemns


@pytest.mark.parametrize(
    ("reply", "at_an_mx", "at_a_relay"),
    [
        (Reply(450, "4.7.1", "rate limit exceeded"), True, True),
        (Reply(554, "5.7.1", "Client host [192.0.2.1] blocked using zen.spamhaus.org"), True, True),
        (Reply(550, "5.7.10", "encryption needed"), True, True),
        (Reply(550, "5.7.9", "authentication mechanism too weak"), True, True),
        (Reply(550, "5.7.26", "unauthenticated mail"), True, False),
        (Reply(554, "5.7.1", "message classified as spam"), False, False),  # one bad mail among good ones
        (Reply(550, "5.1.1", "no such user"), False, False),
        (Reply(452, "4.2.2", "mailbox full"), False, False),
        (Reply(450, "4.2.0", "greylisted"), False, False),
        (Reply(451, "4.3.0", "trouble with this mail"), False, False),
        (Reply(451, "4.4.1", "no answer from host"), False, False),  # of the relay's own ways
        (Reply(552, "5.3.4", "too big"), False, False),
        (Reply(550, "", "no"), False, False),
        (own_verdict(451, "4.7.4", "TLS is required"), False, False),  # whoever opens connections knows
    ],
)
def test_what_a_server_says_of_all_our_mail_is_told_from_what_it_says_of_one(reply, at_an_mx, at_a_relay):
    assert (turns_us_away(reply, relay=False), turns_us_away(reply, relay=True)) == (at_an_mx, at_a_relay)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User <a.b@x.example> unknown", "user <@> unknown"),
        ("Over\nquota\r\n (#5.2.2)", "over quota (#0.0.0)"),
        ("try [192.0.2.17] 4a5b-77x0091zz - gsmtp", "try [#] # - gsmtp"),
    ],
)
def test_a_shape_has_nothing_that_differs_from_mail_to_mail(text, expected):
    assert shape(text) == expected


@given(st.integers(400, 599), st.text(max_size=3000), st.sampled_from(["", "4.7.1", "5.1.1", "5.999.999", "x"]))
def test_whatever_a_server_says_has_a_class(code, text, enhanced):
    assert classify(Reply(code, enhanced, text)) in BounceClass


@pytest.mark.parametrize(
    "piece", ["a", "1", "user ", "x@", "<", "1.", "address sender ", "host not ", "exceeds maximum "]
)
def test_a_long_text_takes_no_long_time(piece):
    started = time.process_time()
    classify(Reply(550, "", piece * 20_000))
    assert time.process_time() - started < 0.5
