"""What a benchmark has found, as tables for people."""

from collections.abc import Iterable, Mapping
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.results import (
    Cost,
    Finding,
    Goal,
    Machine,
    Report,
    in_loops,
    median_costs,
    median_of_each,
    ratio_name,
    ratio_of,
    versions_of,
)


def show(console: Console, report: Report) -> None:
    """Print everything."""
    rounds = [each for finding in report.findings for each in finding.rounds]
    console.print(_machine(report.machine, versions_of(rounds)), highlight=False)
    for finding in report.findings:
        _show_finding(console, finding)
    for case, reason in report.failures.items():
        console.print(f"\n[bold]{case}[/bold]: not measured: {escape(reason)}", highlight=False)


def shown(figure: float) -> str:
    """A figure with as many places as say something."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _show_finding(console: Console, finding: Finding) -> None:
    plan = finding.plan
    console.print(f"\n[bold]{finding.case}[/bold]: {finding.what}.", highlight=False)
    console.print(f"{plan.mails:,} mails; senders: {plan.senders}; it took {finding.took_s:.0f} s.", highlight=False)
    console.print(_figures(finding))
    for name in finding.medians:
        if costs := median_costs([each[name] for each in finding.rounds]):
            console.print(_costs(name, costs, finding.goals))
    for name, settings in finding.settings.items():
        said = "; ".join(f"{setting} = {value}" for setting, value in settings.items())
        console.print(f"{name}'s settings beyond its defaults: {said}", highlight=False)
    for note in finding.notes:
        console.print(note, highlight=False)


def _machine(machine: Machine, versions: dict[str, str]) -> str:
    return (
        f"{machine.cores} cores ({machine.processor}), {machine.memory_mib:,} MiB, Linux {machine.kernel}; "
        f"{machine.file_system}, a synced write takes {machine.sync_ms} ms; "
        + ", ".join(f"{name} {version}" for name, version in {**versions, "Python": machine.python}.items())
        + f"; load before the first round: {machine.load}"
    )


def _figures(finding: Finding) -> Table:
    table = Table("")
    for number in range(1, finding.plan.rounds + 1):
        table.add_column(f"round {number}", justify="right")
    for column in ("median", "goal"):
        table.add_column(column, justify="right")
    for name, figures in finding.medians.items():
        for figure, value in figures.items():
            values = [each[name].figures[figure] for each in finding.rounds]
            row = f"{name}: {figure}"
            table.add_row(row, *_row(values, value), _goal(finding.goals, row, value))
    for pair in _pairs(finding):
        row, values = ratio_name(pair), [ratio_of(each, pair) for each in finding.rounds]
        value = finding.ratios[row]
        table.add_row(row, *(f"{each:.2f}" for each in [*values, value]), _goal(finding.goals, row, value))
    table.add_section()
    for name in finding.medians:
        loops = [in_loops(each[name]) for each in finding.rounds]
        for figure, value in median_of_each(loops).items():
            table.add_row(f"{name}: {figure}, in loops", *_row((each[figure] for each in loops), value))
    for name in finding.medians:
        others = [each[name].others for each in finding.rounds]
        table.add_row(f"{name}: CPU of others", *(f"{value:.0%}" for value in [*others, median(others)]))
    return table


def _row(values: Iterable[float], last: float) -> list[str]:
    return [shown(value) for value in [*values, last]]


def _pairs(finding: Finding) -> list[tuple[str, str]]:
    names = list(finding.medians)
    return [(one, other) for one in names for other in names if ratio_name((one, other)) in finding.ratios]


def _goal(goals: Mapping[str, Goal], row: str, value: float) -> str:
    if (goal := goals.get(row)) is None:
        return ""
    return f"{goal.sign} {shown(goal.value)}: {'met' if goal.met(value) else 'missed'}"


def _costs(system: str, costs: list[Cost], goals: Mapping[str, Goal]) -> Table:
    table = Table(f"{system}: process")
    for column in ("number", "CPU µs a mail", "goal", "peak MiB"):
        table.add_column(column, justify="right")
    for cost in costs:
        name, processes, cpu, peak = _cost_row(cost)
        table.add_row(name, processes, cpu, _goal(goals, f"{system}: {name}", cost.cpu_us_per_mail), peak)
    table.add_section()
    peak_mib = sum(cost.peak_mib for cost in costs)
    table.add_row("all", "", f"{sum(cost.cpu_us_per_mail for cost in costs):,.0f}", "", f"{peak_mib:,.0f}")
    return table


def _cost_row(cost: Cost) -> tuple[str, str, str, str]:
    return cost.process, str(cost.processes), f"{cost.cpu_us_per_mail:,.0f}", f"{cost.peak_mib:,.0f}"
