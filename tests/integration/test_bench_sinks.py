"""The receivers of the benchmarks keep to what they are told."""

import smtplib
import socket
import time

import pytest

from bench import mails as our_mail
from bench.noting_sink import NotingSink


def _client(sink: NotingSink, address: str = "127.0.0.1") -> smtplib.SMTP:
    return smtplib.SMTP(address, sink.port, local_hostname="client.example", timeout=30)


def _send(client: smtplib.SMTP, number: int) -> None:
    client.sendmail(our_mail.SENDER, [our_mail.recipient(number)], our_mail.message(4096))


def test_each_mail_is_noted_with_its_recipient_and_its_time() -> None:
    with NotingSink() as sink, _client(sink) as client:
        before = time.monotonic()
        for number in range(3):
            _send(client, number)
        after = time.monotonic()

        assert sink.count == 3
        assert [arrival.recipient for arrival in sink.arrivals] == [our_mail.recipient(number) for number in range(3)]
        times = [arrival.time for arrival in sink.arrivals]
        assert times == sorted(times)
        assert before <= times[0] <= times[-1] <= after


def test_a_sink_that_refuses_takes_mail_again_when_it_is_told() -> None:
    with NotingSink() as sink, _client(sink) as client:
        sink.refuse()
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            _send(client, 1)
        sink.take()
        _send(client, 2)

        assert [code for code, _ in refused.value.recipients.values()] == [451]
        assert [arrival.recipient for arrival in sink.arrivals] == [our_mail.recipient(2)]


def test_each_mail_takes_its_pause_and_the_next_of_its_connection_waits_for_that() -> None:
    with NotingSink(pause_s=0.2) as sink, _client(sink) as client:
        before = time.monotonic()
        for number in range(2):
            _send(client, number)

        first, second = (arrival.time for arrival in sink.arrivals)
        assert first - before >= 0.2
        assert second - first >= 0.2


def test_a_slow_address_takes_its_time_and_a_silent_one_greets_nobody() -> None:
    with NotingSink("127.1.0.1", "127.1.0.2=0.2", "127.1.0.3=silent") as sink:
        with _client(sink, "127.1.0.2") as client:
            before = time.monotonic()
            _send(client, 1)
            assert time.monotonic() - before >= 5 * 0.2  # EHLO, MAIL, RCPT, DATA and the final dot
        with socket.create_connection(("127.1.0.3", sink.port), timeout=0.5) as silent, pytest.raises(TimeoutError):
            silent.recv(1)


def test_from_far_away_each_answer_takes_a_round_trip_and_the_first_two() -> None:
    with NotingSink(round_trip_s=0.2) as sink:
        before = time.monotonic()
        with _client(sink) as client:
            connected = time.monotonic()
            _send(client, 1)
            sent = time.monotonic()

        assert [arrival.recipient for arrival in sink.arrivals] == [our_mail.recipient(1)]
    # Timers may be a few milliseconds early.
    assert connected - before >= 0.39  # to connect, and for the greeting
    assert sent - connected >= 0.98  # EHLO, MAIL, RCPT, DATA and the final dot
