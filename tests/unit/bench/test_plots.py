"""What is drawn."""

from pathlib import Path
from xml.etree import ElementTree

from bench.plots import by_senders, draw, over_time
from bench.results import RATE, Finding, Measurement, Plan


def _finding(*rounds: dict[str, Measurement], senders: dict[str, int] | None = None) -> Finding:
    medians = {name: {RATE: each.rate} for name, each in rounds[0].items()}
    plan = Plan(mails=1, rounds=len(rounds), senders=1)
    return Finding(
        case="relay",
        what="",
        plan=plan,
        took_s=1.0,
        rounds=list(rounds),
        medians=medians,
        ratios={},
        senders=senders or {},
    )


def _measured(rate: float = 1.0, *arrivals: int) -> Measurement:
    return Measurement(figures={RATE: rate}, others=0.0, arrivals=list(arrivals))


def test_over_time_a_contender_has_the_round_that_took_the_middle_time() -> None:
    rounds = [{"Pillarbox": _measured(1.0, *arrivals)} for arrivals in ([9], [10, 20, 5], [7, 8])]

    assert over_time(_finding(*rounds)) == {"Pillarbox": [(0.25, 14.0), (0.75, 16.0)]}  # 0.5 s each


def test_who_has_no_arrivals_has_no_line() -> None:
    assert over_time(_finding({"Pillarbox": _measured()})) == {}


def test_by_senders_the_rates_stand_beside_those_in_proportion_to_the_fewest() -> None:
    found = {"1 sender": _measured(80.0), "4 senders": _measured(300.0)}

    assert by_senders(_finding(found, senders={"1 sender": 1, "4 senders": 4})) == {
        "measured": [(1, 80.0), (4, 300.0)],
        "in proportion": [(1, 80.0), (4, 320.0)],
    }
    assert by_senders(_finding(found)) == {}


def test_a_picture_a_case_lies_beside_the_figures(tmp_path: Path) -> None:
    found = {"1 sender": _measured(80.0, 40, 40), "2 senders": _measured(160.0, 80)}
    [over, by] = draw([_finding(found, senders={"1 sender": 1, "2 senders": 2})], tmp_path / "found.json")

    assert [over.name, by.name] == ["found-relay.svg", "found-relay-by-senders.svg"]
    for file, lines in ((over, {"1 sender", "2 senders"}), (by, {"measured", "in proportion"})):
        picture = ElementTree.fromstring(file.read_bytes())
        assert lines <= {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
        assert not [name for element in picture.iter() for name in element.attrib if name.endswith("href")]
