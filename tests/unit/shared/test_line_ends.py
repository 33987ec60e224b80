"""Where a message's line ends are wrong."""

from hypothesis import given
from hypothesis import strategies as st

from shared.line_ends import has_crlf_alone


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xc2\x85", b"\x0b"]), max_size=12).map(b"".join))
def test_line_ends_other_than_crlf_are_found_wherever_they_stand(text: bytes):
    pairs = text.count(b"\r\n")
    assert has_crlf_alone(text) == (text.count(b"\r") == text.count(b"\n") == pairs)
