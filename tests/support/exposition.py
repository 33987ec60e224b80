"""What the dashboard and the alerts may name: the series that workers serve, with their labels."""

import re

from shared import metrics
from shared.metrics_table import collectors_of, labels_of

_SERIES = re.compile(r"\b((?:pillarbox|process)_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
_OF_PROMETHEUS = {"job", "instance"}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_OF_THE_PROCESS = ("process_resident_memory_bytes", "process_cpu_seconds_total")


def series() -> dict[str, set[str]]:
    """The labels of each series, by its name."""
    found = {name: set[str]() for name in _OF_THE_PROCESS}
    for registry in {registry for role in metrics.ROLES.values() for registry in role}:
        for metric in collectors_of(registry):
            [family] = metric.describe()
            for suffix in _SUFFIXES[family.type]:
                found[family.name + suffix] = {*labels_of(metric), *({"le"} if suffix == "_bucket" else ())}
    return found


def strangers(expression: str) -> list[str]:
    """What an expression selects and no worker serves: names of series, and labels in braces."""
    known = series()
    found = []
    for name, selected in _SERIES.findall(expression):
        if name not in known:
            found.append(name)
        else:
            labels = set(_LABEL.findall(selected)) - _OF_PROMETHEUS
            found += [f"{name}{{{label}}}" for label in sorted(labels - known[name])]
    return found
