"""The metrics: named as Prometheus has it, explained, and served by those who count."""

import re
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from shared import metrics
from shared.metrics_table import collectors_of, labels_of

REGISTRIES = dict.fromkeys(registry for role in metrics.ROLES.values() for registry in role)
ALL = [metric for registry in REGISTRIES for metric in collectors_of(registry)]
# https://prometheus.io/docs/practices/naming/#base-units
NO_BASE_UNIT = re.compile(r"_(milli|micro|nano)?(ms|us|ns|minutes|hours|kb|kib|mb|mib|kilobytes|octets|percent)(_|$)")


def family_of(metric: MetricWrapperBase) -> tuple[str, str, str]:
    [family] = metric.describe()
    return family.name, family.type, family.documentation


def names_served(role: str) -> set[str]:
    port = metrics.serve_metrics(0, role, f"{role}-1")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return {family.name for family in text_string_to_metric_families(answer.read().decode())}


def names_in(*registries: CollectorRegistry) -> set[str]:
    return {family_of(metric)[0] for registry in registries for metric in collectors_of(registry)}


def test_there_are_some():
    assert len(ALL) > 40


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: family_of(metric)[0])
def test_names_follow_the_conventions(metric: MetricWrapperBase):
    name, kind, meaning = family_of(metric)
    assert re.fullmatch(r"pillarbox_[a-z]+(_[a-z]+)*", name)
    assert not NO_BASE_UNIT.search(name)
    assert kind in ("counter", "gauge", "histogram")
    if kind == "histogram":
        assert name.endswith(("_seconds", "_bytes"))
    else:
        assert not name.endswith(("_count", "_sum", "_bucket"))
    assert meaning[0].isupper() or meaning[0] == "1"
    assert not meaning.endswith(".")
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in labels_of(metric))


def test_a_worker_serves_what_its_role_counts_and_nothing_else():
    served = names_served("resolver")
    assert names_in(metrics.EVERY, metrics.RESOLVER) <= served
    assert not served & names_in(metrics.STORE, metrics.SCHEDULER, metrics.SENDER, metrics.GATEWAY)
    assert "process_resident_memory_bytes" in served


def test_a_worker_says_what_it_is():
    port = metrics.serve_metrics(0, "gateway", "gateway-of-the-test")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    assert re.search(r'pillarbox_worker_info\{role="gateway",version="[^"]+",worker="gateway-of-the-test"\} 1\.0', page)


def test_without_a_port_nothing_is_served():
    assert metrics.serve_metrics(None, "sender", "sender-1") is None
