"""`pillarbox accounts`, on a file."""

import os
import stat
from pathlib import Path

import pytest

from shared.accounts import parse_accounts
from tests.support.up import Said, in_this_process


def accounts(file: Path, *arguments: str, stdin: str = "") -> Said:
    return in_this_process("accounts", *arguments, env={"PILLARBOX_ACCOUNTS": str(file)}, stdin=stdin.encode())


def test_an_account_is_added_listed_and_removed(tmp_path: Path):
    file = tmp_path / "accounts.toml"
    options = (
        "--hold",
        "10m",
        "--batch",
        "march",
        "--rate",
        "60",
        "--sender",
        "A@Shop.example",
        "--sender",
        "y.example",
    )
    assert accounts(file, "add", "shop", *options, stdin="correct horse\n").code == 0
    assert accounts(file, "add", "b@y.example", stdin="another one").code == 0
    shown = accounts(file, "list", "--json").json
    assert shown[0] == {
        "name": "shop",
        "hold": "10m",
        "batch": "march",
        "rate": 60,
        "senders": ["a@shop.example", "y.example"],
    }
    assert "argon2" not in accounts(file, "list").out + accounts(file, "list", "--json").out
    assert accounts(file, "remove", "shop", "b@y.example").code == 0
    assert accounts(file, "list", "--json").json == []


def test_passwd_changes_the_password_and_nothing_else(tmp_path: Path):
    file = tmp_path / "accounts.toml"
    accounts(file, "add", "shop", "--rate", "5", stdin="correct horse")
    before = parse_accounts(file.read_text())["shop"]
    assert accounts(file, "passwd", "shop", stdin="battery staple").code == 0
    after = parse_accounts(file.read_text())["shop"]
    assert (after.rate, after.password != before.password) == (5, True)
    assert "horse" not in file.read_text() + after.password


def test_the_file_is_its_owners_alone_and_keeps_the_mode_it_was_given(tmp_path: Path):
    file = tmp_path / "accounts.toml"
    former = os.umask(0)
    try:
        accounts(file, "add", "shop", stdin="correct horse")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.chmod(0o640)
        accounts(file, "add", "other", stdin="correct horse")
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    finally:
        os.umask(former)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "password", "code", "says"),
    [
        (["add", "shop"], "correct horse", 1, "there is such an account"),
        (["add", "new"], "short", 2, "password: has 5 characters; takes 8"),
        (["add", "two words"], "correct horse", 2, "NAME: takes up to 200 characters"),
        (["add", "new", "--sender", "nobody@"], "correct horse", 2, "--sender: got 'nobody@'; takes an address"),
        (["add", "new", "--sender", "not a domain"], "correct horse", 2, "--sender: got 'not a domain'"),
        (["add", "new", "--batch", "a\nb"], "correct horse", 2, "--batch: has the control character"),
        (["add", "new", "--hold", "soon"], "correct horse", 2, "takes a duration"),
        (["passwd", "nobody"], "correct horse", 1, "nobody: there is no such account"),
        (["remove", "shop", "nobody"], "", 1, "nobody: there is no such account"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_changes_nothing(tmp_path: Path, arguments, password, code, says):
    file = tmp_path / "accounts.toml"
    accounts(file, "add", "shop", stdin="correct horse")
    before = file.read_text()
    said = accounts(file, *arguments, stdin=password)
    assert (said.code, file.read_text()) == (code, before)
    assert says in said.err.replace("\n", " ")


def test_a_file_that_is_broken_is_left_alone(tmp_path: Path):
    file = tmp_path / "accounts.toml"
    file.write_text("[accounts.shop]\npassword = 'correct horse'\n")
    said = accounts(file, "add", "new", stdin="correct horse")
    assert said.code == 1
    assert 'accounts."shop".password: takes a hash' in said.err.replace("\n", " ")
    assert "correct horse" not in said.err
