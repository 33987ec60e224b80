"""`pillarbox dkim keygen`: a key that only its owner can read, its DNS record and its setting."""

import json
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.commands import build
from shared.dkim_key import parse_key
from shared.settings import parse_settings, parse_toml


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(), ["dkim", "keygen", *arguments, "--folder", str(folder)])
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("arguments", "selectors"),
    [
        (["--selector", "s"], {"s": "rsa-sha256"}),
        (["--selector", "s", "--type", "ed25519"], {"s": "ed25519-sha256"}),
        (["--selector", "s", "--type", "both"], {"s-rsa": "rsa-sha256", "s-ed25519": "ed25519-sha256"}),
    ],
)
@pytest.mark.checklist(184)
def test_what_is_printed_fits_the_key_that_was_written(tmp_path, arguments, selectors):
    code, printed = run(tmp_path, "Shop.example", *arguments)
    assert code == 0
    setting = parse_settings(parse_toml(printed[printed.index("[[dkim") :])).dkim["shop.example"]
    assert [each.selector for each in setting] == list(selectors)
    for each in setting:
        path = Path(each.key.file or "")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = parse_key(path.read_bytes())
        assert key.algorithm == selectors[each.selector]
        assert getattr(key.private, "key_size", 2048) == 2048
        [line] = [
            line for line in printed.splitlines() if line.startswith(f"{each.selector}._domainkey.shop.example. IN")
        ]
        strings = re.findall(r'"([^"]*)"', line)
        assert "".join(strings) == key.record()
        assert max(map(len, strings)) <= 255


def test_json_has_the_same(tmp_path):
    code, printed = run(tmp_path, "shop.example", "--selector", "s", "--json")
    assert code == 0
    [made] = json.loads(printed)
    assert (made["name"], made["selector"]) == ("s._domainkey.shop.example", "s")
    assert parse_key(Path(made["file"]).read_bytes()).record() == made["record"]


def test_a_key_that_is_there_is_not_overwritten(tmp_path):
    assert run(tmp_path, "shop.example", "--selector", "s")[0] == 0
    before = (tmp_path / "s.shop.example.pem").read_bytes()
    assert run(tmp_path, "shop.example", "--selector", "s")[0] != 0
    assert (tmp_path / "s.shop.example.pem").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [["shop_example"], ["localhost"], ["shop.example", "--selector", "a b"], ["../x"]]
)
def test_what_is_no_domain_or_selector_is_refused(tmp_path, arguments):
    assert run(tmp_path, *arguments)[0] != 0
    assert not list(tmp_path.iterdir())
