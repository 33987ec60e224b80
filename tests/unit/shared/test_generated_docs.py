"""docs/asyncapi.yaml, docs/settings.md and docs/metrics.md say what the code says."""

from pathlib import Path

import yaml

from shared.asyncapi import document, rendered
from shared.metrics_table import with_tables
from shared.settings_table import table, with_table
from shared.topology import EXCHANGES

FILE = Path(__file__).parents[3] / "docs" / "asyncapi.yaml"


def test_the_file_is_up_to_date():
    assert FILE.read_text(encoding="utf-8") == rendered(), "docs/asyncapi.yaml is stale: run `make docs`"


def test_the_table_of_settings_is_up_to_date():
    page = FILE.with_name("settings.md").read_text(encoding="utf-8")
    assert with_table(page) == page, "docs/settings.md is stale: run `make docs`"


def test_the_tables_of_metrics_are_up_to_date():
    page = FILE.with_name("metrics.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "docs/metrics.md is stale: run `make docs`"


def test_every_setting_is_explained():
    for row in table().splitlines()[2:]:
        assert not row.endswith("|  |"), row


def test_every_exchange_but_the_dead_letters_is_described():
    assert set(document()["channels"]) == set(EXCHANGES) - {"pillarbox.dead"}


def test_every_reference_leads_somewhere():
    tree = yaml.safe_load(FILE.read_text(encoding="utf-8"))

    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(tree))
    assert len(found) > 40
    for reference in found:
        node = tree
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_clients_see_the_names_of_the_wire():
    submission = document()["components"]["schemas"]["Submission"]
    assert "from" in submission["properties"]
    assert submission["additionalProperties"] is False
