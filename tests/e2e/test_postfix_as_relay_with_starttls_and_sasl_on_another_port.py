"""A Postfix relay that takes mail over TLS only, from users it knows, on a port of its own."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartPipeline
from tests.support.certificates import Authority
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.postfix import PrivatePostfix

_USER, _PASSWORD = "robot", "correct horse"


@pytest.fixture(scope="module")
def postfix(authority: Authority) -> Iterator[PrivatePostfix]:
    with PrivatePostfix(
        certificate=authority.issue("127.0.0.1"), require_tls=True, users={_USER: _PASSWORD}
    ) as instance:
        yield instance


def _settings(postfix: PrivatePostfix, authority: Authority, password: dict[str, str], **relay: Any) -> dict[str, Any]:
    auth = {"user": f"{_USER}@relay.example", "password": password}
    return relay_to(postfix, tls="require", relay={"auth": auth, "ca_file": str(authority.file), **relay})


def _headers(postfix: PrivatePostfix, mail: str) -> str:
    postfix.wait_for(1)
    [found] = [one for one in postfix.received if one.mail["Subject"] == mail]
    return found.content.decode()


@pytest.mark.checklist(142)
@pytest.mark.parametrize("where", ["env", "file"])
def test_mail_arrives_signed_in_and_encrypted(
    start_pipeline: StartPipeline, postfix: PrivatePostfix, authority: Authority, tmp_path: Path, where: str
):
    secret = tmp_path / "secret"
    secret.write_text(f"{_PASSWORD}\n", encoding="utf-8")
    password = {"env": "RELAY_PASSWORD"} if where == "env" else {"file": str(secret)}
    environment = {"RELAY_PASSWORD": _PASSWORD, "PILLARBOX_LOG_LEVEL": "debug"}
    pipeline = start_pipeline(_settings(postfix, authority, password), environment=environment)

    mail = pipeline.submit(a_mail(f"signed in by {where}"))
    delivered = pipeline.wait_for_event("delivered", mail)

    assert delivered["reply"].startswith("Ok: queued as")
    received = _headers(postfix, f"signed in by {where}")
    assert "(using TLSv1.3" in received
    assert f"(Authenticated sender: {_USER}@relay.example)" in received
    _assert_nowhere(_PASSWORD, pipeline, tmp_path, [secret])


@pytest.mark.checklist(139, 142)
def test_a_wrong_password_defers_tells_why_and_is_in_no_log(
    start_pipeline: StartPipeline, postfix: PrivatePostfix, authority: Authority, tmp_path: Path
):
    settings = _settings(postfix, authority, {"env": "RELAY_PASSWORD"})
    environment = {"RELAY_PASSWORD": "incorrect horse", "PILLARBOX_LOG_LEVEL": "debug"}
    pipeline = start_pipeline(settings, environment=environment)

    mail = pipeline.submit(a_mail("never"))

    deferred = pipeline.wait_for_event("deferred", mail)
    assert (deferred["code"], deferred["enhanced"]) == (535, "5.7.8")
    assert "authentication failed" in deferred["reply"].lower()
    _assert_nowhere("incorrect horse", pipeline, tmp_path, [])
    assert any("event=sign_in_refused" in text for _, text in pipeline.logs())


def test_a_secret_that_is_not_there_defers_and_names_the_variable(
    start_pipeline: StartPipeline, postfix: PrivatePostfix, authority: Authority
):
    pipeline = start_pipeline(_settings(postfix, authority, {"env": "NO_SUCH_VARIABLE"}))

    mail = pipeline.submit(a_mail("never"))

    deferred = pipeline.wait_for_event("deferred", mail)
    assert deferred["code"] // 100 == 4
    assert "NO_SUCH_VARIABLE" in deferred["reply"]


def test_a_certificate_that_nobody_trusts_defers_unless_verify_is_off(
    start_pipeline: StartPipeline, postfix: PrivatePostfix, authority: Authority
):
    settings = _settings(postfix, authority, {"env": "RELAY_PASSWORD"}, ca_file="")
    pipeline = start_pipeline(settings, environment={"RELAY_PASSWORD": _PASSWORD})

    mail = pipeline.submit(a_mail("unverified"))
    deferred = pipeline.wait_for_event("deferred", mail)
    pipeline.change(relay={"verify": False})
    pipeline.control("release", id=mail)
    pipeline.wait_for_event("delivered", mail)

    assert (deferred["code"] // 100, deferred["enhanced"]) == (4, "4.7.5")
    assert "certificate" in deferred["reply"]
    assert "(using TLSv1.3" in _headers(postfix, "unverified")


def _assert_nowhere(secret: str, pipeline: Pipeline, folder: Path, but_in: list[Path]) -> None:
    """No log and no store holds it; on the broker there is only what the test has published, a reference."""
    pipeline.stop(*pipeline.workers)
    plain = secret.encode()
    with_user = b"\0%s@relay.example\0%s" % (_USER.encode(), plain)
    forms = [plain, b64encode(plain), b64encode(with_user)]
    for file in folder.rglob("*"):
        if file.is_file() and file not in but_in:
            content = file.read_bytes()
            assert not [form for form in forms if form in content], file
