"""docs/openapi.json says what the handlers are; its examples are what they are examples of."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from services.console import openapi
from services.console.app import api_handlers

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENT = json.loads(openapi.rendered())


def test_the_file_is_up_to_date():
    assert FILE.read_text(encoding="utf-8") == openapi.rendered(), "docs/openapi.json is stale: run `make docs`"


def test_every_handler_is_described():
    there = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert len(there) == len(list(openapi._operations(api_handlers())))
    assert ("/api/v1/mails", "post") in there


def contents() -> list[tuple[str, dict]]:
    """Whatever is described with an example, of JSON."""
    found = []
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                for kind, content in body.get("content", {}).items():
                    if kind != "application/jsonl" and ("json" in kind or kind == "text/event-stream"):
                        found.append((f"{method} {path} {kind}", content))
    return found


@pytest.mark.parametrize(("where", "content"), contents())
def test_an_example_is_what_it_is_an_example_of(where, content):
    if "example" not in content:
        return
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(content["example"], schema)


def test_each_line_of_an_example_is_one_and_so_is_the_data_of_an_event():
    batch = DOCUMENT["paths"]["/api/v1/batch"]["post"]
    events = DOCUMENT["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    data = events["schema"]["properties"]["data"]["contentSchema"]
    items = [(json.loads(events["example"]["data"]), data)]
    for content in (batch["requestBody"]["content"], batch["responses"]["200"]["content"]):
        lines = content["application/jsonl"]
        items += [(json.loads(line), lines["x-item-schema"]) for line in lines["example"].splitlines()]
    assert len(items) == 5
    for item, schema in items:
        jsonschema.validate(item, {**schema, "components": DOCUMENT["components"]})


def operations() -> list[tuple[str, str, dict]]:
    return [(method, path, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()]


@pytest.mark.parametrize(("method", "path", "operation"), operations())
def test_every_parameter_is_described_and_its_example_is_one(method, path, operation):
    for parameter in operation["parameters"]:
        assert parameter.get("description"), parameter["name"]
        if "example" in parameter:
            jsonschema.validate(parameter["example"], parameter["schema"])


@pytest.mark.parametrize(("method", "path", "operation"), operations())
def test_the_parameters_of_a_path_are_those_that_stand_in_it(method, path, operation):
    described = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
    assert described == re.findall(r"\{(\w+)\}", path)
    assert all(each["required"] == (each["in"] == "path") for each in operation["parameters"])


def test_a_mail_is_described_in_each_form_in_which_it_is_taken():
    content = DOCUMENT["paths"]["/api/v1/mails"]["post"]["requestBody"]["content"]
    assert content.keys() == {"application/json", "application/msgpack", "message/rfc822"}


def test_every_operation_says_its_scope_and_its_problems():
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            assert "with the scope" in operation["description"], path
            assert {"401", "403", "503"} <= operation["responses"].keys()


def test_references_lead_somewhere():
    text = json.dumps(DOCUMENT)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in DOCUMENT["components"]["schemas"]
