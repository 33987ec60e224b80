"""Debian's promtool: the parser of Prometheus itself, and its tests of rules. No server is started."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
_PROMTOOL = ROOT / ".cache" / "debian" / "prometheus" / "usr" / "bin" / "promtool"


def promtool(*arguments: str) -> str:
    """Run it and return what it says; fails with that where it is not content."""
    done = subprocess.run([str(_PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def check_expressions(expressions: Sequence[str], folder: Path) -> None:
    """Fails where one of them is no PromQL."""
    rules = [{"record": f"checked:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = folder / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", str(file))


def check_firing(series: Mapping[str, str], alert: str, firing_at: Mapping[str, int], folder: Path) -> None:
    """Fails unless so many alerts of a name fire at each time ("5m"); the series have a sample a minute."""
    expressions = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
            "eval_time": time,
            "exp_samples": [{"labels": "{}", "value": count}],
        }
        for time, count in firing_at.items()
    ]
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": expressions,
    }
    file = folder / "alerts.test.yml"
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", str(file))
