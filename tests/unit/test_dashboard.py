"""deploy/grafana/pillarbox.json: no Grafana runs here, but whatever it names has to be there."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.exposition import strangers

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "pillarbox.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
COLUMNS = 24  # of Grafana's grid


def keys_of(node: Any, at: str = "") -> Iterator[str]:
    """Where each value stands, but for those that say nothing."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from keys_of(value, f"{at}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from keys_of(value, f"{at}[{number}]")
    elif node not in (None, ""):
        yield at


def test_grafanas_own_types_know_every_field():
    again = json.loads(json.dumps(Dashboard.from_json(BOARD), cls=JSONEncoder))
    lost = set(keys_of(BOARD)) - set(keys_of(again))
    assert not lost


def test_its_schema_is_that_of_grafana_11():
    assert BOARD["schemaVersion"] >= 39


def test_each_panel_has_a_number_of_its_own():
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)
    assert all(numbers)


def test_panels_lie_in_the_grid_and_not_on_each_other():
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)


def test_the_data_source_is_chosen_once_and_used_everywhere():
    [chosen] = [each for each in BOARD["templating"]["list"] if each["type"] == "datasource"]
    assert (chosen["name"], chosen["query"]) == ("datasource", "prometheus")
    users = [*GRAPHS, *(target for panel in GRAPHS for target in panel["targets"])]
    assert {user["datasource"]["uid"] for user in users} == {"${datasource}"}


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: panel["title"])
def test_each_panel_explains_itself_and_names_what_is_served(panel: dict[str, Any]):
    assert panel["description"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters) > 0
    for target in panel["targets"]:
        assert strangers(target["expr"]) == []
        assert '{job=~"$job"' in target["expr"]


def test_a_metric_that_nobody_serves_is_seen():
    assert strangers('rate(pillarbox_nonsense_total[5m]) + pillarbox_outcomes_total{kind="x", job="y"}') == [
        "pillarbox_nonsense_total",
        "pillarbox_outcomes_total{kind}",
    ]
