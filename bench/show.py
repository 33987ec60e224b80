"""What a benchmark has found, as tables for people."""

from collections.abc import Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.results import Cost, Finding, Machine, Report, median_costs, ratio_name, ratio_of, versions_of


def show(console: Console, report: Report) -> None:
    """Print everything."""
    rounds = [each for finding in report.findings for each in finding.rounds]
    console.print(_machine(report.machine, versions_of(rounds)), highlight=False)
    for finding in report.findings:
        _show_finding(console, finding)
    for case, reason in report.failures.items():
        console.print(f"\n[bold]{case}[/bold]: not measured: {reason}", highlight=False)


def shown(figure: float) -> str:
    """A figure with as many places as say something."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _show_finding(console: Console, finding: Finding) -> None:
    plan = finding.plan
    console.print(f"\n[bold]{finding.case}[/bold]: {finding.what}.", highlight=False)
    console.print(f"{plan.mails:,} mails; {plan.senders} senders.", highlight=False)
    console.print(_figures(finding))
    for name in finding.medians:
        if costs := median_costs([each[name] for each in finding.rounds]):
            console.print(_costs(name, costs))
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
    table.add_column("median", justify="right")
    for name, figures in finding.medians.items():
        for figure, value in figures.items():
            values = [each[name].figures[figure] for each in finding.rounds]
            table.add_row(f"{name}: {figure}", *_row(values, value))
    for pair in _pairs(finding):
        values = [ratio_of(each, pair) for each in finding.rounds]
        table.add_row(ratio_name(pair), *(f"{value:.2f}" for value in [*values, finding.ratios[ratio_name(pair)]]))
    table.add_section()
    for name in finding.medians:
        others = [each[name].others for each in finding.rounds]
        table.add_row(f"{name}: CPU of others", *(f"{value:.0%}" for value in [*others, median(others)]))
    return table


def _row(values: Iterable[float], last: float) -> list[str]:
    return [shown(value) for value in [*values, last]]


def _pairs(finding: Finding) -> list[tuple[str, str]]:
    names = list(finding.medians)
    return [(one, other) for one in names for other in names if ratio_name((one, other)) in finding.ratios]


def _costs(system: str, costs: list[Cost]) -> Table:
    table = Table(f"{system}: process")
    for column in ("number", "CPU µs a mail", "peak MiB"):
        table.add_column(column, justify="right")
    for cost in costs:
        table.add_row(*_cost_row(cost))
    table.add_section()
    table.add_row("all", "", f"{sum(cost.cpu_us_per_mail for cost in costs):,.0f}", "")
    return table


def _cost_row(cost: Cost) -> tuple[str, str, str, str]:
    return cost.process, str(cost.processes), f"{cost.cpu_us_per_mail:,.0f}", f"{cost.peak_mib:,.0f}"
