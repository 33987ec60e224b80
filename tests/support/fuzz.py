"""What the fuzz tests share: how long they take, and octets that are nearly right.

`FUZZ=100` in the environment does a hundred times as many rounds; `make repeat` does.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FUZZ", "1"))
rounds = settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))

# What has a meaning somewhere on the way, or breaks what is careless.
AWKWARD = [
    "\0", "\r", "\n", "\r\n", "\r\n\r\n", "\r\n.\r\n", "\t", " ", "", "\x0b", "\x85", "\u2028", "ü", "😀", "\ufffd",
    "\u202e", "a@b.example", "Ann <c@d.example>", "g: a@b.example;", '"a b"@c.example', "a@[192.0.2.1]", ",", ";",
    ":", "<", ">", "(", ")", '"', "\\", "@", "=", "=?utf-8?q?=0A?=", "=?utf-7?b?+2AA-?=", "--", "=_", ".", "..",
    "/", "*", "%0a", "'", "a" * 80, "a" * 1000, "0", "-1", "1e400", "9" * 30, "1h", "2026-03-01T12:00:00Z",
    "9999-12-31T23:59:59+14:00", "charset", "name=",
]  # fmt: skip
awkward_text = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=8), max_size=8).map("".join)


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Octets that are right but for a few places."""
    octets = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(octets)))
        octets[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(octets)
