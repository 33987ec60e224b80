"""What a sender remembers of hosts whose TLS is broken."""

from datetime import timedelta

import pytest

from services.sender import broken_tls
from services.sender.broken_tls import BrokenTls
from services.sender.targets import Target

HOST, OTHER = Target("mx.example", "192.0.2.1", 25), Target("mx.example", "192.0.2.2", 25)
HOUR = timedelta(hours=1)


@pytest.mark.checklist(131)
@pytest.mark.parametrize(
    ("target", "seconds_later", "lifetime", "remembered"),
    [
        (HOST, 0, HOUR, True),
        (HOST, 3599, HOUR, True),
        (HOST, 3600, HOUR, False),
        (HOST, 0, timedelta(0), False),  # switched off
        (OTHER, 0, HOUR, False),
    ],
)
def test_a_host_is_remembered_for_a_limited_time(target, seconds_later, lifetime, remembered):
    memory = BrokenTls()
    memory.note(HOST, 100.0)
    assert memory.has(target, 100.0 + seconds_later, lifetime) is remembered


def test_the_memory_is_bounded_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setattr(broken_tls, "_MOST", 2)
    memory = BrokenTls()
    third = Target("mx3.example", "192.0.2.3", 25)
    for target in (HOST, OTHER, HOST, third):
        memory.note(target, 0.0)
    assert [memory.has(target, 0.0, HOUR) for target in (HOST, OTHER, third)] == [True, False, True]
