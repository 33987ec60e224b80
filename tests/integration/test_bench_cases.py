"""Each case of the benchmarks runs to its end, as small as can be, and says what it is for."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix can be started by root alone"),
    pytest.mark.timeout(300),  # each starts up to four brokers or Postfixes, one after another
]
# Together they take five minutes, for what few will change.
by_itself = pytest.mark.skipif("BENCHES" not in os.environ, reason="make bench-cases runs it")


def _bench(case: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", case, "--rounds", "1", "--json", str(folder / "found.json"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def _run(case: str, folder: Path, *options: str) -> dict[str, Any]:
    done = _bench(case, folder, *options)
    assert done.returncode == 0, done.stderr
    [finding] = json.loads((folder / "found.json").read_bytes())["findings"]
    assert finding["notes"] == []
    return finding


def _figures(finding: dict[str, Any], name: str = "Pillarbox") -> dict[str, float]:
    return finding["medians"][name]


@by_itself
def test_structured_submissions_are_measured_beside_finished_ones(tmp_path: Path) -> None:
    finding = _run("structured", tmp_path, "--mails", "50", "--senders", "1")

    assert finding["ratios"]["JSON / message/rfc822"] > 0


@by_itself
def test_in_direct_mode_both_find_the_sites_of_the_domains_by_the_same_name_server(tmp_path: Path) -> None:
    finding = _run("direct", tmp_path, "--mails", "200", "--senders", "1")

    ours, theirs = _figures(finding), _figures(finding, "Postfix")
    assert ours["to healthy sites, mails"] == theirs["to healthy sites, mails"] > 150
    assert finding["ratios"]["Pillarbox / Postfix"] > 0
    assert "name server" in {cost["process"] for cost in finding["rounds"][0]["Postfix"]["costs"]}


@by_itself
def test_over_one_connection_no_mail_takes_less_than_a_round_trip(tmp_path: Path) -> None:
    finding = _run("round-trip", tmp_path, "--mails", "20", "--senders", "1")

    trips = {name: _figures(finding, name)["round trips a mail"] for name in finding["medians"]}
    assert set(trips) == {"Pillarbox, 50 ms", "Postfix, 50 ms", "Pillarbox, 200 ms", "Postfix, 200 ms"}
    assert min(trips.values()) >= 1
    assert finding["ratios"]["Pillarbox, 50 ms / Postfix, 50 ms"] > 1


@by_itself
def test_held_mails_are_admitted_shown_taken_back_and_released(tmp_path: Path) -> None:
    figures = _figures(_run("hold", tmp_path, "--mails", "300", "--senders", "1"))

    assert all(value > 0 for value in figures.values())
    assert {"admission, mails/s", "release, mails/s", "one show, median, ms", "one retract, median, ms"} <= set(figures)


@by_itself
def test_latency_is_told_at_a_fifth_of_the_capacity(tmp_path: Path) -> None:
    figures = _figures(_run("latency", tmp_path, "--mails", "100", "--senders", "1"))

    assert 0 < figures["median, ms"] <= figures["99th percentile, ms"] <= figures["longest, ms"]
    assert figures["submitted, mails/s"] < figures["capacity, mails/s"] / 2


@by_itself
def test_more_senders_are_measured_beside_one_and_drawn(tmp_path: Path) -> None:
    finding = _run("scaling", tmp_path, "--mails", "100", "--senders", "2")

    assert finding["ratios"]["2 senders / 1 sender"] > 0
    assert (tmp_path / "found-scaling-by-senders.svg").exists()


@by_itself
def test_a_storm_of_deferrals_is_settled_and_the_mails_go_out_afterwards(tmp_path: Path) -> None:
    figures = _figures(_run("storm", tmp_path, "--mails", "100", "--senders", "1"))

    assert figures["deferred, mails/s"] > 0
    assert figures["sent afterwards, mails/s"] > 0


@by_itself
def test_a_quick_run_is_kept_and_compared(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    quick = ["--quick", "--mails", "200", "--senders", "1", "--kept", str(kept)]
    _run("relay-4k", tmp_path, *quick, "--keep")
    figures = json.loads(kept.read_bytes())
    assert set(figures["relay-4k"]["Pillarbox"]) == {"mails/s", "CPU"}

    figures["relay-4k"]["Pillarbox"] = {"mails/s": 1e9, "CPU": 1e-9}
    kept.write_text(json.dumps(figures))
    done = _bench("relay-4k", tmp_path, *quick, "--compare")

    assert done.returncode == 1
    assert "relay-4k: Pillarbox: mails/s fell back" in done.stdout
    assert "relay-4k: Pillarbox: CPU fell back" in done.stdout
