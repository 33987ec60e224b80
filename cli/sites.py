"""`pillarbox sites`: the sites that are out of reach or paused, or all."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.client import ANSWER_TIME, with_client
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, TimeoutOption
from cli.output import brief_time, plain, print_json, remark, screen, table
from shared.contracts.answers import SiteLine, SitesAnswer
from shared.contracts.commands import ListSites


def list_sites(
    every: Annotated[
        bool, typer.Option("--all", help="Those that work, too, the last used first; a thousand in all.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    timeout: TimeoutOption = ANSWER_TIME,
    as_json: JsonOption = False,
) -> None:
    """List the sites that are out of reach or were given a pause: since when, why, when one connection is tried next.

    Mail for them waits, and no attempt is counted. `pillarbox release` of one of these mails tries its site at once.
    """
    answer = with_client(Home(home), lambda client: client.ask(ListSites(all=every), SitesAnswer), timeout)
    if as_json:
        print_json(answer)
    elif answer.sites:
        columns = ["site", "state", "since", "next probe", "probes", "waiting", "why"]
        now = datetime.now(UTC)
        rows = [[plain(cell) for cell in _row(site, now)] for site in answer.sites]
        screen().print(table(columns, rows, right=["probes", "waiting"], wide=["site", "why"]))
    elif every:
        remark("no site was used in the last hour, and none is down")
    else:
        remark("every site works, as far as is known")


def _row(site: SiteLine, now: datetime) -> list[str]:
    if site.state != "down":
        worked = brief_time(site.worked, now) if site.worked else ""
        return [site.site, site.state, worked, "", "", f"{site.waiting:,}", ""]
    probe = f"{site.prober}, now" if site.prober else brief_time(site.next_probe or now, now)
    said = " ".join(part for part in (str(site.code), site.enhanced, site.reply.replace("\n", " ")) if part)
    why = f"{site.host}: {said}" if site.host else said
    return [site.site, site.state, brief_time(site.since, now), probe, str(site.failures), f"{site.waiting:,}", why]
