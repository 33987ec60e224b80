"""What a benchmark has found, as tables for people."""

from rich.console import Console
from rich.table import Table

from bench.results import Cost, Finding, Machine, Measurement, Report, Round, median_costs


def show(console: Console, report: Report) -> None:
    """Print everything."""
    console.print(_machine(report.machine, report.findings[0].rounds[0]), highlight=False)
    for finding in report.findings:
        plan = finding.plan
        console.print(f"\n[bold]{finding.case}[/bold]: {finding.what}.", highlight=False)
        console.print(f"{plan.mails:,} mails a round; {plan.senders} senders.", highlight=False)
        console.print(_rounds(finding))
        console.print(_costs("Pillarbox", [each.pillarbox for each in finding.rounds]))
        console.print(_costs("Postfix", [each.postfix for each in finding.rounds]))
        said = "; ".join(f"{name} = {value}" for name, value in finding.postfix_settings.items())
        console.print(f"Postfix's settings beyond its defaults: {said}", highlight=False)


def _machine(machine: Machine, measured: Round) -> str:
    versions = {**measured.pillarbox.versions, **measured.postfix.versions, "Python": machine.python}
    return (
        f"{machine.cores} cores ({machine.processor}), {machine.memory_mib:,} MiB, Linux {machine.kernel}; "
        f"{machine.file_system}, a synced write takes {machine.sync_ms} ms; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; load before the first round: {machine.load}"
    )


def _rounds(finding: Finding) -> Table:
    table = Table("round", title="mails a second", title_justify="left")
    for column in ("Pillarbox", "Postfix", "ratio", "CPU of others"):
        table.add_column(column, justify="right")
    for number, each in enumerate(finding.rounds, start=1):
        others = f"{each.pillarbox.others:.0%}, {each.postfix.others:.0%}"
        table.add_row(str(number), *_figures(each.pillarbox.rate, each.postfix.rate, each.ratio), others)
    table.add_section()
    medians = finding.medians
    table.add_row("median", *_figures(medians.pillarbox, medians.postfix, medians.ratio), "")
    return table


def _figures(ours: float, theirs: float, ratio: float) -> tuple[str, str, str]:
    return f"{ours:,.0f}", f"{theirs:,.0f}", f"{ratio:.2f}"


def _costs(system: str, measurements: list[Measurement]) -> Table:
    table = Table(f"{system}'s processes")
    for column in ("number", "CPU µs a mail", "peak MiB"):
        table.add_column(column, justify="right")
    costs = median_costs(measurements)
    for cost in costs:
        table.add_row(*_cost_row(cost))
    table.add_section()
    table.add_row("all", "", f"{sum(cost.cpu_us_per_mail for cost in costs):,.0f}", "")
    return table


def _cost_row(cost: Cost) -> tuple[str, str, str, str]:
    return cost.process, str(cost.processes), f"{cost.cpu_us_per_mail:,.0f}", f"{cost.peak_mib:,.0f}"
