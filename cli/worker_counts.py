"""What the workers of a `pillarbox up --metrics` have counted, stage by stage, read where they serve it."""

import asyncio
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from cli.home import RunFile

# What a person calls the stage, and the metric that counts it.
STAGES = {
    "routed": "pillarbox_recipients_routed_total",
    "claimed": "pillarbox_mails_claimed_total",
    "tried": "pillarbox_recipients_tried_total",
}
_PATIENCE_S = 1.0

Counts = dict[str, dict[str, int]]  # by worker and stage


async def worker_counts(run: RunFile | None) -> Counts:
    """The counts of each worker that serves its metrics and answers."""
    ports = {name: worker.metrics_port for name, worker in run.workers.items() if worker.metrics_port} if run else {}
    found = await asyncio.gather(*(asyncio.to_thread(_counts, port) for port in ports.values()))
    return {name: counts for name, counts in zip(ports, found, strict=True) if counts}


def _counts(port: int) -> dict[str, int]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_PATIENCE_S) as answer:
            return counts_in(answer.read().decode())
    except (URLError, OSError):  # it ends, or has just begun
        return {}


def counts_in(text: str) -> dict[str, int]:
    """The stages' counts in a page of metrics."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    values = {sample.name: int(sample.value) for sample in samples if sample.name in STAGES.values()}
    return {stage: values[metric] for stage, metric in STAGES.items() if metric in values}


def stage_rates(now: Counts, before: Counts, seconds: float) -> dict[str, float]:
    """What was added per second; a worker that was started in between counts from the next look on."""
    added: dict[str, int] = {}
    for name in now.keys() & before.keys():
        if not _began_anew(now[name], before[name]):
            for stage, count in now[name].items():
                added[stage] = added.get(stage, 0) + count - before[name].get(stage, count)
    return {stage: added[stage] / seconds for stage in STAGES if stage in added}


def _began_anew(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    return any(now.get(stage, 0) < count for stage, count in before.items())
