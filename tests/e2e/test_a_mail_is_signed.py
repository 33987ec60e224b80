"""With `dkim` set a mail leaves signed, at every try; with a key that can not be read it does not leave."""

from pathlib import Path

import dkim
import pytest

from shared.dkim_key import new_key
from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink

KEYS = {"r": new_key("rsa"), "e": new_key("ed25519")}


def _answer(name: bytes, timeout: float = 5) -> bytes:
    return KEYS[name.decode().partition(".")[0]].record().encode()


def keys_in(folder: Path) -> list[dict[str, object]]:
    for name, key in KEYS.items():
        (folder / name).write_bytes(key.pem())
    return [{"selector": name, "key": {"file": str(folder / name)}} for name in KEYS]


@pytest.mark.checklist(181, 183, 186)
def test_both_signatures_verify_and_all_but_they_is_the_same_at_the_second_try(
    pipeline: Pipeline, inbox: RecordingSink, tmp_path: Path
):
    pipeline.change(dkim={"sender.example": keys_in(tmp_path)})
    inbox.answer(".", "b@mx.example", "451 4.3.0 once more", times=1)
    url = "https://sender.example/u/7"
    mail = pipeline.submit(a_mail("signed", html="<p>Grüße</p>", headers={"List-Unsubscribe": f"<{url}>"}))
    pipeline.wait_for_event("delivered", mail)

    [arrived] = inbox.mails
    for index in range(2):
        assert dkim.DKIM(arrived.content).verify(idx=index, dnsfunc=_answer)
    assert arrived.message["Message-ID"] == f"<{mail}@sender.example>"
    assert pipeline.wait_for_event("delivered", mail)["attempt"] == 2


def test_a_key_that_can_not_be_read_defers_the_mail_until_it_can(
    pipeline: Pipeline, inbox: RecordingSink, tmp_path: Path
):
    keys = keys_in(tmp_path)
    (tmp_path / "r").unlink()
    pipeline.change(dkim={"sender.example": keys})
    mail = pipeline.submit(a_mail("unsigned"))

    deferred = pipeline.wait_for_event("deferred", mail)
    assert (deferred["code"], deferred["enhanced"]) == (451, "4.3.5")
    assert f"{tmp_path}/r: No such file" in deferred["reply"]
    [sender] = pipeline.of("sender")
    assert sender.logged("dkim_key", domain="sender.example", selector="r")
    (tmp_path / "r").write_bytes(KEYS["r"].pem())
    pipeline.wait_for_event("delivered", mail)
    assert all(one.content.startswith(b"DKIM-Signature:") for one in inbox.mails)
