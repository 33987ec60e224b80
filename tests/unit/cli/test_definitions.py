"""What `pillarbox setup --definitions` writes: users, the hashes of their passwords, their rights."""

import base64
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import build
from cli.rights import RIGHTS, Role
from cli.running import run
from shared.topology import EXCHANGES, QUEUES


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Everything is made readable for everybody, but for what takes care."""
    former = os.umask(0)
    yield
    os.umask(former)


def setup(folder: Path, *arguments: str) -> dict[str, Any]:
    """Write the definitions; the document."""
    file = folder / "broker.json"
    assert run(build(), ["setup", "--definitions", str(file), *arguments]) == 0
    document = json.loads(file.read_text())
    assert isinstance(document, dict)
    return document


def opens(password: str, user: dict[str, str]) -> bool:
    """Whether RabbitMQ would take it: a hash begins with the four octets of its salt."""
    known = base64.b64decode(user["password_hash"])
    return known == known[:4] + hashlib.sha256(known[:4] + password.encode()).digest()


def test_there_is_a_user_for_each_role_with_its_rights(tmp_path: Path):
    document = setup(tmp_path, "--vhost", "mail")
    assert document["vhosts"] == [{"name": "mail"}]
    assert {user["name"] for user in document["users"]} == {f"pillarbox-{role}" for role in Role}
    assert all(user["tags"] == "" for user in document["users"])
    sender = next(one for one in document["permissions"] if one["user"] == "pillarbox-sender")
    assert sender == {
        "user": "pillarbox-sender",
        "vhost": "mail",
        "configure": "^$",
        "write": r"^(pillarbox\.outcome|pillarbox\.dead)$",
        "read": r"^(pillarbox\.send\.0|pillarbox\.send\.1|pillarbox\.send\.2|pillarbox\.send\.3|pillarbox\.settings)$",
    }


def test_passwords_are_made_once_and_stay(tmp_path: Path):
    for _ in range(2):
        document = setup(tmp_path)
        known = {role: (tmp_path / "passwords" / role).read_text().rstrip("\n") for role in Role}
        assert all(opens(known[role], user) for role, user in zip(Role, document["users"], strict=True))
    assert len(set(known.values())) == len(Role)
    assert min(map(len, known.values())) >= 32


def test_a_password_that_lies_there_is_taken(tmp_path: Path):
    (tmp_path / "client").write_bytes("grün\r\n".encode())
    document = setup(tmp_path, "--passwords", str(tmp_path))
    assert opens("grün", next(user for user in document["users"] if user["name"] == "pillarbox-client"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"])
def test_a_password_file_without_a_password_is_named(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "client").write_bytes(content)
    assert run(build(), ["setup", "--definitions", str(tmp_path / "broker.json"), "--passwords", str(tmp_path)]) == 1
    assert f"{tmp_path / 'client'}: holds no text" in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "broker.json").exists()


def test_all_of_it_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, open_umask: None):
    setup(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"broker.json": 0o600, "passwords": 0o700} | {role.value: 0o600 for role in Role}


@pytest.mark.parametrize("role", Role)
def test_patterns_match_whole_names_of_what_there_is(role: Role):
    """RabbitMQ looks for a pattern anywhere in a name; and a slip in one would leave a role without its business."""
    for pattern in (RIGHTS[role].configure, RIGHTS[role].write, RIGHTS[role].read):
        assert re.fullmatch(r"\^.*\$", pattern)
        names = pattern.removeprefix("^(").removesuffix(")$").split("|") if pattern != "^$" else []
        known = {*EXCHANGES, *QUEUES, "amq.default", "amq.gen-x", "pillarbox.events.x"}
        assert all(any(re.fullmatch(name, one) for one in known) for name in names)
        assert not re.search(pattern, "x-pillarbox.submit")
