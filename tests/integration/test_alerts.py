"""deploy/prometheus/alerts.yml and the dashboard's expressions, judged by promtool: what fires, and when."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.exposition import strangers
from tests.support.promtool import ALERTS, ROOT, check_expressions, check_firing, promtool

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
DASHBOARD = ROOT / "deploy" / "grafana" / "pillarbox.json"

ROLES = {f'pillarbox_worker_info{{role="{role}"}}': "1x60" for role in ("scheduler", "resolver", "sender")}
STATES = "pillarbox_recipients_waiting"
OUTCOMES = "pillarbox_outcomes_total"
REQUESTS = "pillarbox_http_requests_total"
SIGN_INS = "pillarbox_console_sign_ins_total"

# Series with a sample a minute, and how many alerts fire when.
CASES: dict[str, list[tuple[dict[str, str], dict[str, int]]]] = {
    "PillarboxRoleMissing": [
        (ROLES, {"30m": 0}),
        ({**ROLES, 'pillarbox_worker_info{role="sender"}': "1x9 _x50"}, {"9m": 0, "20m": 1}),
        ({"up": "1x60"}, {"1m": 0, "5m": 3}),  # none at all
    ],
    "PillarboxNothingDelivered": [
        ({"pillarbox_recipients_tried_total": "0+60x60"}, {"10m": 0, "20m": 1}),
        ({"pillarbox_recipients_tried_total": "0+60x60", f'{OUTCOMES}{{outcome="delivered"}}': "0+1x60"}, {"30m": 0}),
        ({"pillarbox_recipients_tried_total": "7x60"}, {"30m": 0}),  # nothing to do
    ],
    "PillarboxReleaseLate": [
        ({"pillarbox_release_lag_seconds": "90x20"}, {"4m": 0, "6m": 1}),
        ({"pillarbox_release_lag_seconds": "90x20", "pillarbox_recipients_tried_total": "7x20"}, {"6m": 1}),
        # There is more than the senders send, and they do send.
        ({"pillarbox_release_lag_seconds": "90x20", "pillarbox_recipients_tried_total": "0+600x20"}, {"10m": 0}),
        ({"pillarbox_release_lag_seconds": "5x20"}, {"10m": 0}),
    ],
    "PillarboxBehind": [
        ({"pillarbox_release_lag_seconds": "0+60x60"}, {"29m": 0, "32m": 1}),
        ({"pillarbox_release_lag_seconds": "0+60x20 0x40"}, {"40m": 0}),
    ],
    "PillarboxSlow": [
        (
            {
                'pillarbox_transit_seconds_bucket{le="300.0"}': "0+1x60",
                'pillarbox_transit_seconds_bucket{le="900.0"}': "0+60x60",
                'pillarbox_transit_seconds_bucket{le="+Inf"}': "0+60x60",
            },
            {"10m": 0, "20m": 1},
        ),
        (
            {
                'pillarbox_transit_seconds_bucket{le="1.0"}': "0+60x60",
                'pillarbox_transit_seconds_bucket{le="+Inf"}': "0+60x60",
            },
            {"30m": 0},
        ),
    ],
    "PillarboxQueueFull": [
        (
            {
                'pillarbox_broker_refused_total{exchange="pillarbox.send"}': "0+1x30",
                'pillarbox_broker_refused_total{exchange="pillarbox.submit"}': "4x30",
            },
            {"4m": 0, "10m": 1},
        )
    ],
    "PillarboxSettingsDiffer": [
        (
            {
                'pillarbox_settings_revision{instance="a"}': "3x9 4x20",
                'pillarbox_settings_revision{instance="b"}': "3x30",
            },
            {"9m": 0, "15m": 1},
        )
    ],
    "PillarboxDeadLetters": [({"pillarbox_dead_letters_waiting": "0x9 2x30"}, {"9m": 0, "12m": 0, "20m": 1})],
    "PillarboxInDoubt": [
        ({f'{STATES}{{state="in_doubt"}}': "1x30"}, {"4m": 0, "6m": 1}),
        ({f'{STATES}{{state="in_doubt"}}': "0x30", f'{STATES}{{state="held"}}': "9x30"}, {"20m": 0}),
    ],
    "PillarboxDoubtsArise": [({"pillarbox_recipients_in_doubt_total": "0x9 40x30"}, {"9m": 0, "12m": 1, "30m": 0})],
    "PillarboxBounces": [
        (
            {f'{OUTCOMES}{{outcome="bounced"}}': "0+2x60", f'{OUTCOMES}{{outcome="delivered"}}': "0+8x60"},
            {"5m": 0, "40m": 1},
        ),
        ({f'{OUTCOMES}{{outcome="bounced"}}': "0+2x60", f'{OUTCOMES}{{outcome="delivered"}}': "0+60x60"}, {"40m": 0}),
        ({f'{OUTCOMES}{{outcome="bounced"}}': "0x9 3x50"}, {"40m": 0}),  # all of three mails
    ],
    "PillarboxReputation": [
        (
            {
                'pillarbox_failures_total{outcome="deferred",bounce_class="blocked"}': "0+1x60",
                'pillarbox_failures_total{outcome="bounced",bounce_class="bad_mailbox"}': "0+9x60",
            },
            {"10m": 0, "40m": 1},
        )
    ],
    "PillarboxSignInRefused": [
        ({'pillarbox_sign_ins_refused_total{site="relay:a:587"}': "0x9 1x30"}, {"9m": 0, "11m": 1, "30m": 0})
    ],
    "PillarboxSitesDown": [({"pillarbox_sites_down": "12x40"}, {"10m": 0, "16m": 1})],
    "PillarboxHeloUnconfirmed": [
        (
            {
                'pillarbox_helo_unconfirmed{address="192.0.2.1"}': "1x40",
                'pillarbox_helo_unconfirmed{address="192.0.2.2"}': "0x40",
            },
            {"10m": 0, "16m": 1},
        )
    ],
    "PillarboxBrokerAway": [
        (
            {
                'pillarbox_broker_connected{instance="a",connection="publish"}': "1x5 0x20",
                'pillarbox_broker_connected{instance="a",connection="consume"}': "1x25",
            },
            {"5m": 0, "8m": 1},
        )
    ],
    "PillarboxBrokerBlocked": [({'pillarbox_broker_blocked{connection="publish"}': "0x5 1x20"}, {"5m": 0, "8m": 1})],
    "PillarboxStoreUnavailable": [
        (
            {
                'pillarbox_store_unavailable{instance="a"}': "0x5 1x20",
                'pillarbox_store_unavailable{instance="b"}': "0x25",
            },
            {"5m": 0, "8m": 1},
        )
    ],
    "PillarboxStoreSlow": [
        (
            {
                'pillarbox_store_transaction_seconds_bucket{what="admit",le="1.0"}': "0+9x60",
                'pillarbox_store_transaction_seconds_bucket{what="admit",le="2.5"}': "0+10x60",
                'pillarbox_store_transaction_seconds_bucket{what="admit",le="+Inf"}': "0+10x60",
            },
            {"5m": 0, "20m": 1},
        )
    ],
    "PillarboxJournalOff": [({'pillarbox_journal_off{instance="a"}': "1x20"}, {"4m": 0, "6m": 1})],
    "PillarboxGatewayPutsOff": [
        (
            {
                'pillarbox_gateway_mails_total{code="451"}': "0+1x40",
                'pillarbox_gateway_mails_total{code="250"}': "0+9x40",
            },
            {"9m": 0, "15m": 1},
        ),
        ({'pillarbox_gateway_mails_total{code="250"}': "0+9x40"}, {"20m": 0}),
    ],
    "PillarboxGatewayTurnsAway": [({"pillarbox_gateway_turned_away_total": "0+1x40"}, {"9m": 0, "15m": 1})],
    "PillarboxGatewayGuessed": [({"pillarbox_gateway_sign_ins_failed_total": "0x9 60x20"}, {"9m": 0, "12m": 1})],
    "PillarboxConsoleFails": [
        ({f'{REQUESTS}{{status="5xx"}}': "0+1x40", f'{REQUESTS}{{status="2xx"}}': "0+90x40"}, {"9m": 0, "15m": 1}),
        ({f'{REQUESTS}{{status="5xx"}}': "0x9 3x40", f'{REQUESTS}{{status="4xx"}}': "0+9x50"}, {"30m": 0}),  # it passed
    ],
    "PillarboxConsoleGuessed": [
        (
            {f'{SIGN_INS}{{result="refused"}}': "0x9 9x30", f'{SIGN_INS}{{result="made_to_wait"}}': "0x9 20x30"},
            {"9m": 0, "12m": 1, "30m": 0},
        ),
        # People come to work, and some mistype.
        ({f'{SIGN_INS}{{result="signed_in"}}': "0x9 90x30", f'{SIGN_INS}{{result="refused"}}': "0x9 9x30"}, {"12m": 0}),
    ],
}


def test_the_rules_are_in_order():
    promtool("check", "rules", str(ALERTS))


def test_each_alert_has_a_case_in_which_it_fires_and_a_moment_in_which_it_does_not():
    assert {rule["alert"] for rule in RULES} == set(CASES)
    for alert, cases in CASES.items():
        counts = [count for _, firing_at in cases for count in firing_at.values()]
        assert max(counts) > 0 == min(counts), alert


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_when_it_should_and_only_then(alert: str, tmp_path: Path):
    for series, firing_at in CASES[alert]:
        check_firing(series, alert, firing_at, tmp_path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_names_what_is_served_and_says_what_to_do(rule: dict[str, Any]):
    assert strangers(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "do"}
    assert all(rule["annotations"].values())


def test_what_the_alerts_tell_to_run_is_there():
    listed = set(re.findall(r'name="([a-z]+)"|"([a-z]+)"', (ROOT / "cli" / "commands.py").read_text(encoding="utf-8")))
    commands = {word for pair in listed for word in pair if word}
    told = {word for rule in RULES for word in re.findall(r"`pillarbox ([a-z]+)", rule["annotations"]["do"])}
    assert told
    assert told <= commands


def test_the_expressions_of_the_dashboard_are_promql(tmp_path: Path):
    check_expressions(list(_expressions()), tmp_path)


def _expressions() -> Iterator[str]:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$job", ".+")
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"].replace("$job", ".+")
