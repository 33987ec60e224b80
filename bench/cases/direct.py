"""The case `direct`: no relay, but the MX sites of many domains, of which some are slow or dead."""

import asyncio
import socket
import time
from collections.abc import Sequence

import uvloop

from bench import mails as our_mail
from bench import peer, pillarbox, postfix, sites
from bench.arrivals import Arrivals
from bench.case import Case, Contender
from bench.feeder import feed
from bench.pipeline import Pipeline, Place, Settings, direct_by, new_place
from bench.processes import Meter
from bench.results import RATE, Failed, Measurement, Plan
from bench.sink import wait_for
from tests.support import postfix as private_postfix
from tests.support.dns import Nsd
from tests.support.postfix import PrivatePostfix

_CONTENT = our_mail.message(4096)
_GREETING_S = 10  # what both wait for one, of a site that is dead; usual are five minutes
_POSTFIX_DNS = "127.0.0.153"  # it asks on port 53 alone
_POSTFIX_SETTINGS = {
    "in_flow_delay": "0",
    "max_use": "100000",
    "local_header_rewrite_clients": "",
    "smtp_tls_security_level": "none",
    "smtp_helo_timeout": f"{_GREETING_S}s",
}


def _pillarbox(plan: Plan) -> Measurement:
    with (
        sites.receivers() as receivers,
        Nsd({sites.ZONE: sites.records()}) as dns,
        new_place() as place,
    ):
        settings = direct_by(dns.server, receivers.healthy.port, timeouts={"greeting": f"{_GREETING_S}s"})
        return uvloop.run(_measure(plan, receivers, place, settings))


async def _measure(plan: Plan, receivers: sites.Receivers, place: Place, settings: Settings) -> Measurement:
    warm_up, recipients = _warm_up(plan), sites.recipients(plan.mails)
    numbered = [*warm_up, *recipients]
    message = pillarbox.finished(_CONTENT, lambda number: numbered[number])
    async with Pipeline(place, settings, plan.senders) as pipeline:
        await pipeline.deliver([message(number) for number in range(len(warm_up))])
        messages = [message(number) for number in range(len(warm_up), len(numbered))]
        run = _Run(receivers, recipients, Meter(pipeline.label))
        with run.arrivals:
            await pipeline.while_all_live(asyncio.gather(pipeline.publish(messages), asyncio.to_thread(run.wait)))
            return run.measurement(pipeline.versions())


def _postfix(plan: Plan) -> Measurement:
    with (
        sites.receivers() as receivers,
        Nsd({sites.ZONE: sites.records()}, port=53, address=_POSTFIX_DNS),
        PrivatePostfix(
            deliver_by="smtp:",
            name_server=_POSTFIX_DNS,
            parameters={**_POSTFIX_SETTINGS, "smtp_tcp_port": str(receivers.healthy.port)},
        ) as running,
    ):
        server, recipients = postfix.Server(running), sites.recipients(plan.mails)
        feed(server.port, _warm_up(plan), _CONTENT, peer.CONNECTIONS)
        wait_for(receivers.healthy, plan.warm_up)
        peer.wait_for_rest(server, plan.warm_up)
        run = _Run(receivers, recipients, Meter(server.label))
        with run.arrivals:
            feed(server.port, recipients, _CONTENT, peer.CONNECTIONS)
            run.wait()
            return run.measurement(server.versions())


def _warm_up(plan: Plan) -> list[str]:
    """All to the largest domain, whose site is healthy."""
    return [f"warm{number}@d0.{sites.ZONE}" for number in range(plan.warm_up)]


class _Run:
    """What is measured from now on, alike for both."""

    def __init__(self, receivers: sites.Receivers, recipients: Sequence[str], meter: Meter) -> None:
        self._receivers = receivers
        self._healthy = len(sites.healthy(recipients))
        self._before = receivers.healthy.count
        self._meter = meter
        self._started = time.monotonic()
        self.arrivals = Arrivals(lambda: receivers.healthy.count)

    def wait(self) -> None:
        """Until every healthy site has its mail. Raises Failed."""
        wait_for(self._receivers.healthy, self._before + self._healthy)

    def measurement(self, versions: dict[str, str]) -> Measurement:
        """All that there is to say now. Raises Failed when a mail came twice."""
        seconds = time.monotonic() - self._started
        if (came := self._receivers.healthy.count - self._before) != self._healthy:
            raise Failed(f"the healthy sites have {came} mails of {self._healthy}")
        return Measurement(
            figures={
                RATE: self._healthy / seconds,
                "to healthy sites, mails": self._healthy,
                "slow sites have by then, mails": self._receivers.unhealthy.count,
            },
            others=self._meter.others(),
            costs=self._meter.costs(self._healthy),
            arrivals=self.arrivals.each,
            versions=versions,
        )


def _postfix_missing() -> str:
    return postfix.missing() or private_postfix.no_name_server() or _address_taken()


def _address_taken() -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((_POSTFIX_DNS, 53))
        except OSError as error:
            return f"its name server can not listen on {_POSTFIX_DNS}, port 53: {error}"
    return ""


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [
        Contender(name="Pillarbox", run=_pillarbox, beside=("Postfix",)),
        Contender(
            name="Postfix",
            run=_postfix,
            peer=True,
            missing=_postfix_missing,
            settings=_POSTFIX_SETTINGS,
        ),
    ]


CASE = Case(
    name="direct",
    what=(
        f"4 KB mails, hold 0, to {sites.DOMAINS} domains on {sites.SITES} MX sites, most of them to a few, names by "
        f"NSD; {len(sites.SLOW)} sites take {sites.SLOWNESS_S:g} s for each answer, {len(sites.DEAD)} greets nobody "
        f"(given up after {_GREETING_S} s). Until every healthy site has its mail, counted by those"
    ),
    usual=Plan(mails=10_000, rounds=2, senders=2),
    contenders=_contenders,
)
