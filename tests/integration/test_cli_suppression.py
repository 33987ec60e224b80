"""`pillarbox suppression` against a real scheduler."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import wait_until
from tests.support.up import Up


@pytest.fixture(autouse=True)
def empty_list(up: Up) -> Iterator[None]:
    """Every test begins with nobody on the list."""
    yield
    if addresses := listed(up):
        assert up.command("suppression", "remove", *addresses).code == 0


def listed(up: Up) -> list[str]:
    """The addresses on the list."""
    lines = up.command("suppression", "export", "--json").out.splitlines()
    return [json.loads(line)["address"] for line in lines]


def test_an_address_is_added_listed_and_removed(up: Up):
    added = up.command("suppression", "add", "Ann@Y.example", "bob@y.example", "--reason", "asked us to")
    assert added.code == 0, added.err
    assert "2 addresses added" in added.err
    assert "asked us to" in up.command("suppression", "list").out
    [line] = up.command("suppression", "list", "--address", "ann@y.example", "--json").json["entries"]
    assert (line["address"], line["reply"]) == ("ann@y.example", "asked us to")
    assert line["author"]

    removed = up.command("suppression", "remove", "ann@y.example", "carl@y.example")

    assert removed.code == 1
    assert "carl@y.example: was not on the list" in removed.err
    assert listed(up) == ["bob@y.example"]


def test_a_mail_for_an_address_on_the_list_bounces_and_says_the_way_out(up: Up):
    up.command("suppression", "add", "ann@y.example", "--reason", "asked us to")
    mail = up.command("send", "--from", "a@x.example", "--to", "ann@y.example", "--text", "x").out.strip()
    wait_until(lambda: "bounced" in up.command("show", mail).out, "its admission")
    assert "asked us to); remove it, or submit with ignore_suppression" in up.command("show", mail).out


def test_what_is_no_address_is_named_and_the_others_are_added(up: Up):
    said = up.command("suppression", "add", "ann@y.example", "nobody")
    assert said.code == 1
    assert "1 address added" in said.err
    assert "nobody: " in said.err
    assert listed(up) == ["ann@y.example"]


@pytest.mark.parametrize(
    "text",
    [
        "ann@y.example,asked us to\nbob@y.example\n",
        'address,reason\n"ann@y.example","asked us to"\n\nbob@y.example,\n',
        '{"address": "ann@y.example", "reason": "asked us to", "colour": "red"}\n{"address": "bob@y.example"}\n',
    ],
    ids=["CSV", "CSV with a heading", "JSON lines"],
)
def test_a_file_is_imported(up: Up, tmp_path: Path, text: str):
    file = tmp_path / "list"
    file.write_text(text)
    assert up.command("suppression", "import", file, "--json").json == {"added": 2, "refused": []}
    [ann, bob] = up.command("suppression", "list", "--json").json["entries"]
    assert (ann["reply"], bob.get("reply", "")) == ("asked us to", "")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["CSV", "JSON lines"])
def test_what_is_exported_can_be_imported_again_and_a_long_list_comes_in_parts(up: Up, form: list[str]):
    many = "".join(f"r{number}@y.example,reason {number}\n" for number in range(2500))
    assert up.command("suppression", "import", "-", stdin=many.encode()).code == 0
    before = listed(up)
    assert len(before) == 2500
    exported = up.command("suppression", "export", *form).out
    assert up.command("suppression", "remove", *before).code == 0

    assert up.command("suppression", "import", "-", stdin=exported.encode()).code == 0

    assert listed(up) == before
    [line] = up.command("suppression", "list", "--address", "r7@y.example", "--json").json["entries"]
    assert line["reply"] == "reason 7"


WHOLE = {
    "address": "ann@y.example",
    "reason": "no such user\nsee https://y.example, please",
    "author": "",
    "since": "2026-01-02T03:04:05.678000Z",
    "until": "2126-01-02T03:04:05Z",
    "bounce_class": "bad_mailbox",
    "code": 550,
    "enhanced": "5.1.1",
    "mail": "4711",
}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["CSV", "JSON lines"])
def test_nothing_is_lost_on_the_way_out_and_in_again(up: Up, form: list[str]):
    line = json.dumps(WHOLE).encode()
    assert up.command("suppression", "import", "-", stdin=line).code == 0
    by_hand = up.command("suppression", "add", "bob@y.example", "--reason", 'said "no, thanks"', "--timeout", "20s")
    assert by_hand.code == 0, by_hand.err
    before = up.command("suppression", "list", "--json").json
    exported = up.command("suppression", "export", *form).out
    assert up.command("suppression", "remove", *listed(up)).code == 0

    assert up.command("suppression", "import", "-", stdin=exported.encode()).code == 0

    assert up.command("suppression", "list", "--json").json == before
    [ann, bob] = before["entries"]
    assert ann == {
        **{name: value for name, value in WHOLE.items() if name not in ("reason", "author")},
        "reply": WHOLE["reason"],
    }
    assert bob["author"]


def test_a_line_that_can_not_be_read_is_named(up: Up):
    said = up.command("suppression", "import", "-", stdin=b'{"address": 7}\n')
    assert said.code == 1
    assert "line 1: " in said.err
    said = up.command("suppression", "import", "/no/such/file")
    assert (said.code, "can not be read" in said.err) == (1, True)
