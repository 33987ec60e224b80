"""Replies as they come from servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sender.reply_parser import MAX_LINE, MAX_REPLY, BadReply, ReplyParser
from shared.smtp_reply import Reply


def parse(data: bytes) -> list[Reply]:
    return list(ReplyParser().feed(data))


@pytest.mark.checklist(42, 43, 45, 50, 51, 56, 57)
@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 ok\r\n", Reply(250, "", "ok")),
        (b"250\r\n", Reply(250, "", "")),
        (b"250 \r\n", Reply(250, "", "")),
        (b"250-a\r\n250 b\r\n", Reply(250, "", "a\nb")),
        (b"250-a\r\n250\r\n", Reply(250, "", "a")),
        (b"250-\r\n250 PIPELINING\r\n", Reply(250, "", "\nPIPELINING")),  # the first line stays the first
        (b"250 ok\n", Reply(250, "", "ok")),  # a bare line feed ends a line
        (b"499 x\r\n", Reply(499, "", "x")),
        (b"599 x\r\n", Reply(599, "", "x")),
        (b"250 2.1.0 ok\r\n", Reply(250, "2.1.0", "ok")),
        (b"550 5.1.1\r\n", Reply(550, "5.1.1", "")),
        (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", Reply(550, "5.1.1", "no\nsuch user")),
        (b"550-5.1.1 no\r\n550 5.7.1 other\r\n", Reply(550, "5.1.1", "no\n5.7.1 other")),
        (b"550-no\r\n550 5.1.1 such user\r\n", Reply(550, "", "no\n5.1.1 such user")),  # not in the first line
        (b"550 4.1.1 x\r\n", Reply(550, "", "4.1.1 x")),  # of another class
        (b"550 25.1.100 x\r\n", Reply(550, "", "25.1.100 x")),
        (b"550 5.1.1000 x\r\n", Reply(550, "", "5.1.1000 x")),
        (b"550 5.1.1x\r\n", Reply(550, "", "5.1.1x")),
        (b"354 3.0.0 x\r\n", Reply(354, "", "3.0.0 x")),  # RFC 3463 knows 2, 4 and 5
        ("250 grüß dich\r\n".encode(), Reply(250, "", "grüß dich")),
        (b"250 \xff\xfe\r\n", Reply(250, "", "\\xff\\xfe")),  # shown, never raised
        (b"250 a\0b\rc\x1b[31md\r\n", Reply(250, "", "a\\x00b\\rc\\x1b[31md")),
        (b"250 a\tb\r\n", Reply(250, "", "a b")),
        ("250 a\u2028b\r\n".encode(), Reply(250, "", "a\\u2028b")),
    ],
)
def test_what_is_a_reply(data, reply):
    assert parse(data) == [reply]


@pytest.mark.checklist(44, 46, 47, 52)
@pytest.mark.parametrize(
    "data",
    [
        b"250-a\r\n251 b\r\n",  # two codes in one reply
        b"250-a\r\n250_b\r\n",
        b"850 NONSENSE\r\n",  # no such class
        b"150 x\r\n",
        b"050 x\r\n",
        b"2200 host\r\n",
        b"25 x\r\n",
        b"2_5 x\r\n",
        b" 25 x\r\n",
        b"+25 x\r\n",
        b"250_x\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n",
        b"\n",
        "２５０ ok\r\n".encode(),  # digits, but not of ASCII
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250 " + b"x" * MAX_LINE,  # and the line has not even ended
        (b"250-" + b"x" * 996 + b"\r\n") * (MAX_REPLY // 1000 + 1),
    ],
)
def test_what_is_none(data):
    with pytest.raises(BadReply):
        parse(data)


@pytest.mark.checklist(54)
def test_two_replies_in_one_segment_are_two():
    assert parse(b"250 a\r\n550-b\r\n550 c\r\n") == [Reply(250, "", "a"), Reply(550, "", "b\nc")]


def test_good_replies_before_nonsense_count():
    parser = ReplyParser().feed(b"250 queued\r\nnonsense\r\n")
    assert next(parser) == Reply(250, "", "queued")
    with pytest.raises(BadReply):
        next(parser)


@pytest.mark.parametrize(
    ("data", "pending"),
    [(b"220 go\r\n", False), (b"220 go\r\n2", True), (b"220-go\r\n", True), (b"", False)],
)
def test_the_parser_knows_whether_something_is_left_over(data, pending):
    parser = ReplyParser()
    list(parser.feed(data))
    assert parser.pending is pending


_LINE_ENDS = st.sampled_from([b"\r\n", b"\n"])
_LINES = st.one_of(
    st.builds(
        lambda code, separator, text, end: b"%d%s%s%s" % (code, separator, text, end),
        st.integers(199, 601),
        st.sampled_from([b" ", b"-", b""]),
        st.binary(max_size=12),
        _LINE_ENDS,
    ),
    st.sampled_from([b"250-a\r\n", b"250 b\r\n", b"550-5.1.1 c\r\n", b"550 5.1.1 d\r\n"]),
)


def in_portions(portions: list[bytes]) -> tuple[list[Reply], str]:
    """What a parser makes of a stream, and the error that ended it."""
    parser, replies = ReplyParser(), []
    try:
        for portion in portions:
            for reply in parser.feed(portion):
                replies.append(reply)
    except BadReply as error:
        return replies, str(error)
    return replies, ""


@pytest.mark.checklist(53)
@given(st.lists(_LINES, max_size=8).map(b"".join), st.data())
def test_however_a_stream_is_split_it_is_the_same_replies(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    portions = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = in_portions([stream])
    assert in_portions(portions) == whole
    assert in_portions([stream[index : index + 1] for index in range(len(stream))]) == whole
