"""Messages found in files, folders and mboxes."""

from pathlib import Path

import pytest

from cli.mbox import read_source, split_mbox

ONE = b"From: a@x.example\nTo: b@y.example\n\nHello\n"


@pytest.mark.parametrize(
    ("mbox", "messages"),
    [
        (b"From a Thu Jan  1\nA: 1\n\nbody\n", [b"A: 1\n\nbody\n"]),
        (b"From a\nA: 1\n\nbody\n\nFrom b\nB: 2\n\nbody\n\n", [b"A: 1\n\nbody\n", b"B: 2\n\nbody\n"]),
        # not after an empty line: text that begins with the word
        (b"From a\nA: 1\n\nsaid:\nFrom now on\n", [b"A: 1\n\nsaid:\nFrom now on\n"]),
        # quoted, once and twice
        (b"From a\nA: 1\n\n>From x\n>>From y\n> From z\n", [b"A: 1\n\nFrom x\n>From y\n> From z\n"]),
        (b"From a\r\nA: 1\r\n\r\nbody\r\n\r\nFrom b\r\nB: 2\r\n", [b"A: 1\r\n\r\nbody\r\n", b"B: 2\r\n"]),
        # only one empty line belongs to the mbox
        (b"From a\nA: 1\n\nbody\n\n\nFrom b\nB: 2\n", [b"A: 1\n\nbody\n\n", b"B: 2\n"]),
        (b"", []),
        (b"no mbox\n", []),
    ],
)
def test_an_mbox_is_split_where_a_message_begins(mbox, messages):
    assert list(split_mbox(mbox.splitlines(keepends=True))) == messages


def test_a_file_that_is_no_mbox_is_one_message(tmp_path: Path):
    (tmp_path / "mail.eml").write_bytes(ONE)
    source = read_source(str(tmp_path / "mail.eml"))
    assert source.count == 1
    assert [found.content for found in source.messages] == [ONE]


def test_an_mbox_knows_how_many_messages_it_has_before_they_are_read(tmp_path: Path):
    (tmp_path / "box").write_bytes(b"From a\n" + ONE + b"\nFrom b\n" + ONE)
    source = read_source(str(tmp_path / "box"))
    assert source.count == 2
    assert [found.content for found in source.messages] == [ONE, ONE]


def test_the_messages_of_a_folder_come_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b.eml", "a.eml", "notes.txt"):
        (tmp_path / name).write_bytes(ONE + name.encode())
    source = read_source(str(tmp_path))
    assert source.count == 2
    assert [Path(found.source).name for found in source.messages] == ["a.eml", "b.eml"]


def test_a_folder_without_messages_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no \.eml file"):
        read_source(str(tmp_path))
