"""The HTTP API, before a real pipeline: every call, who may make it, and how it is refused."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from shared.console_accounts import Scope
from tests.support.console import NO_TLS, Console
from tests.support.pipeline import a_mail
from tests.support.ports import wait_until

HOLD = {"hold": "1h"}


@pytest.fixture(scope="module")
def api(console: Console) -> Iterator[httpx.Client]:
    with console.api() as client:
        yield client


def submit(api: httpx.Client, id: str, **fields: Any) -> None:
    answer = api.post("/mails", json=a_mail(**{**HOLD, **fields}), headers={"Idempotency-Key": id})
    assert answer.status_code == 202, answer.text


def state_of(api: httpx.Client, id: str) -> str:
    answer = api.get(f"/mails/{id}")
    return str(answer.json()["recipients"][0]["state"]) if answer.status_code == 200 else ""


def until(api: httpx.Client, id: str, state: str) -> dict[str, Any]:
    """The story of a mail, once it has got there."""
    wait_until(lambda: state_of(api, id) == state, f"{id} is {state}")
    story: dict[str, Any] = api.get(f"/mails/{id}").json()
    return story


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    return found


# ---------------------------------------------------------------------------------------------------------
# Submitting


def test_a_mail_is_submitted_and_delivered(api, console_sink):
    answer = api.post("/mails", json=a_mail("by http", hold=0))
    assert answer.status_code == 202
    id = answer.json()["id"]
    assert answer.headers["location"] == answer.json()["href"] == f"/api/v1/mails/{id}"
    story = until(api, id, "delivered")
    assert story["subject"] == "by http"
    assert any(b"Subject: by http" in mail.content for mail in console_sink.mails)


def test_the_idempotency_key_is_the_mails_id(api):
    submit(api, "once", subject="first")
    until(api, "once", "held")
    submit(api, "once", subject="second")
    answer = api.post("/mails", json=a_mail(**HOLD), headers={"Idempotency-Key": '"once"'})
    assert answer.json()["id"] == "once"
    assert api.get("/mails", params={"id": "once"}).json()["mails"][0]["subject"] == "first"


def test_a_finished_message_has_its_envelope_in_the_address(api):
    message = b"From: a@x.example\r\nTo: list@x.example\r\nSubject: raw\r\n\r\nhi\r\n"
    answer = api.post(
        "/mails",
        content=message,
        params={"mail_from": "bounce@x.example", "rcpt_to": "b@y.example, c@y.example", "hold": "1h", "batch": "raw"},
        headers={"Content-Type": "message/rfc822", "Idempotency-Key": "raw-1"},
    )
    assert answer.status_code == 202, answer.text
    story = until(api, "raw-1", "held")
    assert (story["sender"], story["batch"]) == ("bounce@x.example", "raw")
    assert [each["address"] for each in story["recipients"]] == ["b@y.example", "c@y.example"]


def test_msgpack_is_taken_as_by_the_broker(api):
    body = msgspec.msgpack.encode(a_mail(**HOLD))
    answer = api.post("/mails", content=body, headers={"Content-Type": "application/msgpack", "Idempotency-Key": "mp"})
    assert answer.status_code == 202
    until(api, "mp", "held")


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"from": "a@x.example", "to": "nobody"}, "to", "'nobody' is no e-mail address"),
        ({"from": "a@x.example", "to": ["b@y.example", "c@"]}, "to[1]", "'c@' is no e-mail address"),
        ({"from": "a@x.example", "to": "b@y.example", "subjct": "x"}, "subjct", "did you mean subject?"),
        ({"from": "a@x.example", "to": "b@y.example", "hold": "soon"}, "hold", 'got "soon"; takes a duration'),
        ({"from": "a@x.example"}, "to", "no recipient"),
        ({"to": "b@y.example"}, "from", "is missing"),
        ([], "", "takes a group"),
    ],
)
def test_what_is_wrong_is_named_at_once(api, body, field, detail):
    found = problem(api.post("/mails", json=body), 422)
    assert found.get("field", "") == field
    assert detail in found["detail"]
    assert found["type"] == "urn:pillarbox:problem:invalid"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"headers": {"Content-Type": "text/plain"}}, 415, ""),
        ({"headers": {"Content-Type": "application/json"}, "content": b"{"}, 422, ""),
        ({"headers": {"Idempotency-Key": "two words"}}, 422, "Idempotency-Key"),
        ({"params": {"hold": "5m"}}, 422, ""),  # the body says it
        ({"params": {"holt": "5m"}, "headers": {"Content-Type": "message/rfc822"}}, 422, "holt"),
        ({"params": {"rcpt_to": "x"}, "headers": {"Content-Type": "message/rfc822"}}, 422, "rcpt_to"),
        ({"params": {"send_at": "2030-12-24T18:00:00"}, "headers": {"Content-Type": "message/rfc822"}}, 422, "send_at"),
        ({"params": {"notify": "now"}, "headers": {"Content-Type": "message/rfc822"}}, 422, "notify"),
        ({"headers": {"Content-Type": "message/rfc822"}, "content": b""}, 422, "content"),
    ],
)
def test_a_request_that_can_not_be_meant_is_refused(api, change, status, field):
    usual = {"content": json.dumps(a_mail()).encode(), "headers": {"Content-Type": "application/json"}}
    headers = {**usual["headers"], **change.get("headers", {})}
    answer = api.post("/mails", **{**usual, **change, "headers": headers})
    assert problem(answer, status).get("field", "") == field


def test_what_is_too_large_is_refused_before_it_is_read(api):
    found = problem(
        api.post("/mails", content=b"x" * (60 * 1024 * 1024), headers={"Content-Type": "message/rfc822"}), 413
    )
    assert found["type"] == "urn:pillarbox:problem:too-large"


def test_a_batch_is_answered_line_by_line(api):
    lines = [
        {"id": "line-1", **a_mail(batch="lines", **HOLD)},
        {"id": "line-2", **a_mail(to="nobody", batch="lines")},
        a_mail(batch="lines", **HOLD),
    ]
    body = "\n".join([json.dumps(lines[0]), json.dumps(lines[1]), "", "{", json.dumps(lines[2])])
    answer = api.post("/batch", content=body, headers={"Content-Type": "application/jsonl"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    said = {line["line"]: line for line in map(json.loads, answer.text.splitlines())}
    assert sorted(said) == [1, 2, 4, 5]
    assert said[1] == {"line": 1, "status": 202, "id": "line-1"}
    assert (said[2]["status"], said[2]["problem"]["field"]) == (422, "to")
    assert "not JSON" in said[4]["problem"]["detail"]
    until(api, said[5]["id"], "held")
    assert len(api.get("/mails", params={"batch": "lines"}).json()["mails"]) == 2


def test_a_batch_is_known_by_its_media_type(api):
    found = problem(api.post("/batch", content="{}", headers={"Content-Type": "application/json"}), 415)
    assert found["detail"] == "takes application/jsonl"


def test_a_batch_flows_both_ways(api, console):
    """Lines are answered while the request still goes on, and a few do not wait for more."""
    place = urlsplit(console.url)
    with closing(HTTPConnection(place.hostname, place.port, timeout=30)) as http:
        http.putrequest("POST", "/api/v1/batch")
        http.putheader("Authorization", f"Bearer {console.tokens['all']}")
        http.putheader("Content-Type", "application/jsonl")
        http.putheader("Transfer-Encoding", "chunked")
        http.endheaders()

        def send(numbers: range) -> None:
            mails = [{"id": f"flow-{number}", **a_mail(batch="flow", **HOLD)} for number in numbers]
            octets = "".join(f"{json.dumps(mail)}\n" for mail in mails).encode()
            http.send(b"%x\r\n%b\r\n" % (len(octets), octets))

        def taken(answer: HTTPResponse, count: int) -> set[str]:
            said = [json.loads(answer.readline()) for _ in range(count)]
            assert {line["status"] for line in said} == {202}
            return {line["id"] for line in said}

        send(range(3))
        answer = http.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/jsonl")
        assert taken(answer, 3) == {"flow-0", "flow-1", "flow-2"}
        until(api, "flow-2", "held")
        send(range(3, 4))
        assert taken(answer, 1) == {"flow-3"}
        send(range(4, 900))
        assert taken(answer, 896) == {f"flow-{number}" for number in range(4, 900)}
        http.send(b"0\r\n\r\n")
        assert answer.read() == b""
    everything = {"batch": "flow", "limit": 1000}
    wait_until(lambda: len(api.get("/mails", params=everything).json()["mails"]) == 900, "all are admitted")
    assert api.post("/retract", json={"batch": "flow"}).json()["counts"] == {"retracted": 900}


# ---------------------------------------------------------------------------------------------------------
# Mails that were submitted


def test_a_mail_is_looked_for(api):
    submit(api, "look-1", to=["look@y.example"], from_="one@look.example", batch="look")
    submit(api, "look-2", to=["look@y.example"], from_="two@look.example", batch="look")
    until(api, "look-2", "held")

    def found(**asked: Any) -> list[str]:
        return [mail["id"] for mail in api.get("/mails", params=asked).json()["mails"]]

    assert found(batch="look") == ["look-2", "look-1"]
    assert found(recipient="look@y.example", sender="one@look.example") == ["look-1"]
    assert found(batch="look", state="delivered") == []
    assert found(batch="look", until="2000-01-01T00:00:00Z") == []
    first = api.get("/mails", params={"batch": "look", "limit": 1}).json()
    assert found(batch="look", limit=1, before=first["next"]) == ["look-1"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"limit": 0}, "limit"), ({"state": "lost"}, "state"), ({"recipient": "x"}, "recipient"), ({"q": "x"}, "q"),
     ({"since": "yesterday"}, "since"), ({"since": "2026-01-01T00:00:00"}, "since"),
     ({"since": "null"}, "since"), ({"until": "1767225600"}, "until"), ({"before": "NULL"}, "before")],
)  # fmt: skip
def test_a_search_that_can_not_be_meant_is_refused(api, asked, field):
    assert problem(api.get("/mails", params=asked), 422)["field"] == field


def test_a_batch_may_be_called_null(api):
    submit(api, "null-1", batch="null")
    until(api, "null-1", "held")
    assert [mail["id"] for mail in api.get("/mails", params={"batch": "null"}).json()["mails"]] == ["null-1"]


def test_a_parameter_given_twice_is_refused(api):
    assert problem(api.get("/mails?limit=1&limit=2"), 422)["field"] == "limit"


def test_an_unknown_mail_is_no_mail(api):
    assert "no such mail" in problem(api.get("/mails/nobody"), 404)["detail"]
    problem(api.get("/mails/nobody/content"), 404)


def test_an_id_may_hold_what_addresses_are_made_of(api):
    for id in ("a/b", "100%", "a%2Fb", "ü?#&", "batch"):
        answer = api.post("/mails", json=a_mail(**HOLD), headers={"Idempotency-Key": id.encode()})
        assert answer.status_code == 202, answer.text
        path = answer.json()["href"].removeprefix("/api/v1")
        wait_until(lambda path=path: api.get(path).status_code == 200, id)
        assert api.get(path).json()["id"] == id


def test_the_content_is_the_message(api):
    submit(api, "content", text="ü" * 3_000_000, subject="large")
    until(api, "content", "held")
    answer = api.get("/mails/content/content")
    assert answer.headers["content-type"].startswith("message/rfc822")
    assert int(answer.headers["content-length"]) == len(answer.content) > 4 * 1024 * 1024
    assert b"\r\nSubject: large\r\n" in answer.content


def test_a_mail_is_retracted_and_nothing_else(api):
    submit(api, "gone", batch="two")
    submit(api, "stays", batch="two")
    until(api, "stays", "held")
    done = api.post("/retract", json={"id": "gone"}).json()
    assert (done["counts"], done["mails"][0]["result"]) == ({"retracted": 1}, "retracted")
    assert (state_of(api, "gone"), state_of(api, "stays")) == ("retracted", "held")
    assert api.post("/retract", json={"id": "never-seen"}).json()["counts"] == {"unknown": 1}
    assert "at least one of" in problem(api.post("/retract", json={}), 422)["detail"]


def test_a_mail_is_released(api):
    submit(api, "now")
    until(api, "now", "held")
    assert api.post("/release", json={"id": "now"}).json()["released"] == 1
    until(api, "now", "delivered")


def test_what_is_not_in_doubt_is_neither_resent_nor_closed(api):
    submit(api, "doubtless")
    until(api, "doubtless", "held")
    assert api.post("/resend", json={"id": "doubtless"}).json()["resent"] == 0
    assert api.post("/close", json={"id": "doubtless"}).json()["closed"] == 0


def test_a_mail_is_replaced_while_there_is_time(api):
    submit(api, "better", subject="worse")
    until(api, "better", "held")
    done = api.put("/mails/better", json=a_mail("better", **HOLD))
    assert (done.status_code, done.json()["result"]) == (200, "replaced")
    assert api.get("/mails/better").json()["subject"] == "better"
    assert problem(api.put("/mails/better", json=a_mail(to="x")), 422)["field"] == "to"
    problem(api.put("/mails/nobody", json=a_mail()), 404)
    api.post("/release", json={"id": "better"})
    until(api, "better", "delivered")
    late = problem(api.put("/mails/better", json=a_mail()), 409)
    assert late["type"] == "urn:pillarbox:problem:too-late"


# ---------------------------------------------------------------------------------------------------------
# Events


def events(api: httpx.Client, count: int, **asked: Any) -> list[dict[str, Any]]:
    """The first so many events that come, with their ids."""
    headers = {"Last-Event-ID": asked.pop("last")} if "last" in asked else {}
    found: list[dict[str, Any]] = []
    frame: dict[str, str] = {}
    with api.stream("GET", "/events", params=asked, headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                frame[name] = value
            elif "data" in frame:
                found.append({**json.loads(frame["data"]), "id": int(frame["id"]), "kind": frame["event"]})
                frame = {}
            if len(found) == count:
                break
    return found


def test_events_are_told_from_where_a_client_was(api):
    submit(api, "told-1", batch="told")
    submit(api, "told-2", batch="told", to=["b@told.example"])
    until(api, "told-2", "held")
    first, second = events(api, 2, kind="held", batch="told", after=-1)
    assert [first["mail"], second["mail"]] == ["told-1", "told-2"]
    assert first["kind"] == first["event"] == "held"
    [again] = events(api, 1, kind="held", batch="told", last=str(first["id"]))
    assert again == second
    [accepted] = events(api, 1, domain="told.example", after=-1)
    assert (accepted["event"], accepted["mail"]) == ("accepted", "told-2")


def test_events_that_can_not_be_meant_are_refused(api):
    assert problem(api.get("/events", params={"kind": "lost"}), 422)["field"] == "kind"
    assert problem(api.get("/events", headers={"Last-Event-ID": "x"}), 422)["field"] == "Last-Event-ID"


# ---------------------------------------------------------------------------------------------------------
# Settings


def test_settings_are_changed_and_rolled_back(api, console_pipeline):
    before = api.get("/settings").json()
    revision = before["current"]["revision"]
    done = api.patch("/settings", json={"changes": {"sending.max_per_connection": 7}, "comment": "fewer"}).json()
    assert done["changes"] == [{"key": "sending.max_per_connection", "old": 100, "new": 7}]
    assert (done["version"]["revision"], done["version"]["author"]) == (revision + 1, "all")
    former = api.get("/settings", params={"revision": revision}).json()["current"]
    assert former["settings"] == before["current"]["settings"]
    [last, former] = api.get("/settings/history", params={"limit": 2}).json()["history"]
    assert (last["comment"], former["revision"]) == ("fewer", revision)
    back = api.post("/settings/rollback", json={"revision": revision}).json()
    assert (back["version"]["restores"], back["version"]["comment"]) == (revision, f"back to revision {revision}")
    whole = {**before["current"]["settings"], "history": "31d"}
    put = api.put("/settings", json={"settings": whole, "next_revision": revision + 3}).json()
    assert [change["key"] for change in put["changes"]] == ["history"]
    api.post("/settings/rollback", json={"revision": revision})
    console_pipeline.revision = api.get("/settings").json()["current"]["revision"]


def test_settings_that_are_wrong_change_nothing(api):
    before = api.get("/settings").json()["next_revision"]
    wrong = problem(api.patch("/settings", json={"changes": {"sending.hold": "soon"}}), 422)
    assert (wrong["field"], "takes a duration" in wrong["detail"]) == ("changes.sending.hold", True)
    assert problem(api.put("/settings", json={"settings": {"tls": 1}}), 422)["field"] == "settings.tls"
    late = problem(api.patch("/settings", json={"changes": {"tls": "none"}, "next_revision": 0}), 409)
    assert late["type"] == "urn:pillarbox:problem:overtaken"
    problem(api.post("/settings/rollback", json={"revision": 999}), 404)
    problem(api.get("/settings", params={"revision": 999}), 404)
    assert api.get("/settings").json()["next_revision"] == before


# ---------------------------------------------------------------------------------------------------------
# The rest


def test_addresses_are_suppressed_and_no_longer(api):
    added = api.post(
        "/suppression", json={"entries": [{"address": "No@y.example", "reason": "asked"}, {"address": "x"}]}
    )
    assert (added.json()["added"], added.json()["refused"][0]["address"]) == (1, "x")
    [entry] = api.get("/suppression", params={"address": "no@y.example"}).json()["entries"]
    assert (entry["reply"], entry["author"]) == ("asked", "all")
    file = 'address,reason\nfile@y.example,"a, b"\n'
    imported = api.post("/suppression/import", content=file, headers={"Content-Type": "text/csv"})
    assert imported.json() == {"answer": "suppression_add", "added": 1, "refused": []}
    exported = api.get("/suppression/export")
    columns, *rows = csv.reader(io.StringIO(exported.text))
    assert columns[:3] == ["address", "reason", "author"]
    assert [row[:3] for row in rows] == [["file@y.example", "a, b", "all"], ["no@y.example", "asked", "all"]]
    assert json.loads(api.get("/suppression/export?format=jsonl").text.splitlines()[0])["reason"] == "a, b"
    removed = api.post("/suppression/remove", json={"addresses": ["no@y.example", "file@y.example", "who@y.example"]})
    assert (removed.json()["removed"], removed.json()["unknown"]) == (2, ["who@y.example"])
    bad = api.post("/suppression/import", content='{"address": 1}\n', headers={"Content-Type": "application/jsonl"})
    assert problem(bad, 422)["field"] == "line 1"


def test_dead_letters_are_listed_and_redriven(api, console_pipeline):
    console_pipeline.client.publish("pillarbox.submit", b"{}", _properties("dead-1"))
    console_pipeline.client.publish("pillarbox.submit", b"[]", _properties("dead-2"))
    wait_until(lambda: api.get("/dead-letters").json()["total"] == 2, "two dead letters")
    letters = api.get("/dead-letters").json()["letters"]
    assert (letters[0]["message_id"], letters[0]["reason"]) == ("dead-1", "from: is missing")
    done = api.post("/dead-letters/redrive", json={"only": [letters[0]["mark"]]}).json()
    assert done == {"redriven": [letters[0]["mark"]], "failed": []}
    wait_until(lambda: api.get("/dead-letters").json()["total"] == 2, "it died again")
    console_pipeline.client.forget_dead_letters()


def _properties(id: str) -> Any:
    import pika

    return pika.BasicProperties(message_id=id, content_type="application/json", delivery_mode=2)


def test_what_runs_and_what_waits_is_told(api):
    submit(api, "paced", hold=0)
    until(api, "paced", "delivered")
    wait_until(lambda: bool(api.get("/stats").json()["rates"]), "rates, from the second look on")
    stats = api.get("/stats").json()
    assert stats["scheduler"] is True
    assert stats["totals"]["delivered"] >= 1
    assert {time["stage"] for time in stats["times"]} == {"admission", "release", "claim", "delivery", "outcome"}
    assert stats["overdue"] == {}
    assert api.get("/sites").json() == {"answer": "sites", "sites": []}
    [site] = api.get("/sites", params={"all": "true"}).json()["sites"]
    assert (site["site"].startswith("relay:127.0.0.1:"), site["state"], site["waiting"]) == (True, "up", 0)
    problem(api.get("/sites", params={"all": "yes"}), 422)
    [sender] = api.get("/senders").json()["senders"]
    assert (sender["name"].startswith("sender"), sender["lanes"]) == (True, 4)
    wait_until(lambda: api.get("/senders").json()["senders"][0]["helo"] == {"127.0.0.1": "robot.example"}, "its name")


# ---------------------------------------------------------------------------------------------------------
# Who may


def routes() -> list[tuple[str, str, Scope]]:
    from services.console import openapi
    from services.console.app import api_handlers

    return [
        (method, re.sub(r"\{\w+\}", "some", path), said.scope)
        for path, method, said in openapi._operations(api_handlers())
    ]


@pytest.mark.parametrize(("method", "path", "scope"), routes())
def test_each_call_takes_its_scope_and_no_other(console, method, path, scope):
    for other in Scope:
        with console.api(other.value) as client:
            if other is scope:
                continue
            answer = client.request(method, console.url + path, json={})
            assert "scope" in problem(answer, 403)["detail"], (other, path)


@pytest.mark.parametrize(("method", "path", "scope"), [*routes(), ("GET", "/api/v1/nothing", Scope.READ)])
def test_without_a_token_nothing_is_reached(console, method, path, scope):
    for headers in ({}, {"Authorization": "Bearer pillarbox_guess"}, {"Authorization": "Basic YTpi"}):
        answer = httpx.request(method, console.url + path, headers=headers, trust_env=False, verify=NO_TLS)
        assert problem(answer, 401)["type"] == "urn:pillarbox:problem:token"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_only_health_is_told_to_anybody(console):
    answer = httpx.get(f"{console.url}/health", trust_env=False, verify=NO_TLS)
    assert (answer.status_code, answer.json()) == (200, {"status": "pass"})


def test_a_token_that_is_taken_away_lets_nobody_in(console):
    with console.api("read") as client:
        assert client.get("/sites").status_code == 200
        former = (console.folder / "tokens.toml").read_text()
        console.write_tokens({name: tuple(Scope) for name in console.tokens if name != "read"})
        problem(client.get("/sites"), 401)
        (console.folder / "tokens.toml").write_text("broken")
        problem(client.get("/sites"), 401)  # the former stay
        (console.folder / "tokens.toml").write_text(former)
        console.tokens["read"] = client.headers["authorization"].partition(" ")[2]
        assert client.get("/sites").status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/mails", 405)])
def test_what_is_not_there_is_a_problem_too(api, method, path, status):
    problem(api.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/mails", {"GET", "POST"}),
        ("/mails/x", {"GET", "PUT"}),
        ("/settings", {"GET", "PATCH", "PUT"}),
        ("/stats", {"GET"}),
    ],
)
def test_a_path_names_its_methods(api, path, methods):
    for method, status in (("OPTIONS", 204), ("DELETE", 405)):
        answer = api.request(method, path)
        assert answer.status_code == status
        assert set(answer.headers["allow"].split(", ")) == {*methods, "OPTIONS"}


@pytest.mark.parametrize(("path", "method"), [("/batch", "POST"), ("/events", "GET")])
def test_what_flows_has_one_method(api, path, method):
    answer = api.delete(path)
    problem(answer, 405)
    assert answer.headers["allow"] == method


def test_an_address_is_asked_for_nothing_without_a_token(console, api):
    assert api.options("/settings").status_code == 204
    assert httpx.options(f"{console.url}/api/v1/settings", trust_env=False).status_code == 401


def test_each_of_our_handlers_has_a_scope():
    from services.console.app import api_handlers
    from services.console.described import of

    assert all(of(handler.opt) is not None for handler in api_handlers())


def test_every_answer_is_protected(console, api):
    for answer in (
        api.get("/sites"),
        api.get("/nothing"),
        httpx.get(f"{console.url}/health", trust_env=False, verify=NO_TLS),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
