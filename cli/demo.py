"""`pillarbox demo`: some hundred mails, one taken back, one replaced, one too late; shown and checked."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.client import Client, not_taken, with_client
from cli.demo_pipeline import pipeline
from cli.demo_story import (
    Cast,
    Check,
    arrivals_in,
    cast_of,
    correction,
    held_messages,
    urgent_message,
    verdict,
)
from cli.failures import CommandFailed, usage
from cli.first_settings import relays_to
from cli.home import Home, RunFile
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import counted, margin, plain, print_json, remark, say, screen, show_time, table
from cli.settings_publish import current_settings, in_force
from cli.story import retracted_lines
from shared.broker import Consumer, Message
from shared.contracts.answers import ReplaceAnswer, RetractAnswer, RetractedMail
from shared.contracts.commands import Replace, Retract
from shared.contracts.events import DeliveredEvent, Event, Held, MailEvent
from shared.durations import format_duration
from shared.topology import EVENTS

_CONFIRM_TIME = timedelta(seconds=30)
_SLOW_S = 60.0  # as long as anything but the hold may take before the demo goes on and says what is missing
_decoder = msgspec.json.Decoder(Event)
_NEEDED_EVENTS = ("held", "delivered", "retracted")


def demo(
    mails: Annotated[int, typer.Option("--mails", metavar="N", min=4, max=100_000, help="How many.")] = 300,
    hold: Annotated[
        timedelta, typer.Option("--hold", parser=duration, metavar="TIME", help="How long they wait.")
    ] = timedelta(seconds=10),
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Publish mails, take one back, replace one, come too late for one, and check what arrives.

    Uses the `pillarbox up` that runs in the home, else a private one that ends with the demo. Exit 1 when anything is
    not as it must be. With --json the checks are JSON, and the steps go to standard error.
    """
    if hold < timedelta(seconds=3):
        raise usage("--hold: takes at least 3s, or nothing could be taken back in time")
    with pipeline(Home(home)) as (place, run):
        told = Told(remark, margin()) if as_json else Told(say, screen())
        checks = with_client(place, lambda client: _Demo(client, run, cast_of(mails), hold, told).play())
        right = all(check.right for check in checks)
        if as_json:
            print_json({"ok": right, "checks": checks})
        else:
            columns = ["", "what must be", "what is"]
            screen().print(table(columns, [_row(check) for check in checks], wide=columns[1:]))
        if not right:
            raise CommandFailed("the demo did not go as it must")
    told.say("[bold green]Everything is as it must be.[/bold green]")


class Told(msgspec.Struct, frozen=True):
    """Where the steps are told."""

    say: Callable[[str], None]  # takes rich's markup
    console: Console

    def step(self, words: str) -> None:
        """What happens now."""
        self.say(f"\n[bold]{plain(words)}[/bold]")

    def detail(self, words: str) -> None:
        """What has come of it."""
        self.say(f"  {plain(words)}")

    def progress(self) -> Progress:
        """A bar, on a terminal."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
        return Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)


def _row(check: Check) -> list[str]:
    return ["[green]yes[/green]" if check.right else "[bold red]NO[/bold red]", plain(check.what), plain(check.found)]


class _Demo:
    """One run of the demo."""

    def __init__(self, client: Client, run: RunFile, cast: Cast, hold: timedelta, told: Told) -> None:
        self._told = told
        self._client = client
        self._inbox = run.inbox
        self._cast = cast
        self._hold = hold
        self._events: list[Event] = []
        self._news = asyncio.Event()
        self._next_offset: int | str = "next"
        self._began = datetime.now(UTC)

    async def play(self) -> list[Check]:
        """Everything, step by step."""
        await self._check_the_settings()
        consumer = self._client.broker.consume(EVENTS, 1000, arguments=lambda: {"x-stream-offset": self._next_offset})
        await consumer.subscribed()
        listening = asyncio.create_task(self._listen(consumer))
        try:
            held_since = await self._publish()
            retracted = await self._take_back()
            await self._replace()
            too_late = await self._come_too_late()
            await self._wait_for_the_rest(held_since)
        finally:
            listening.cancel()
        answers = {self._cast.retracted: retracted.result, self._cast.urgent: too_late.result}
        arrivals = arrivals_in(Path(self._inbox.folder), self._began)
        return verdict(self._cast, arrivals, self._events, answers)

    async def _check_the_settings(self) -> None:
        """Mail for strangers may go to the test inbox alone."""
        settings = in_force(await current_settings(self._client)).settings
        if not relays_to(settings, self._inbox.host, self._inbox.port):
            raise CommandFailed(
                "the settings do not send all mail to the test inbox, so the demo sends none; "
                f"set delivery.mode=relay relay.host={self._inbox.host} relay.port={self._inbox.port} and no routes, "
                "or take another --home"
            )
        if missing := [kind for kind in _NEEDED_EVENTS if kind not in settings["events"]]:
            raise CommandFailed(
                f"the setting `events` leaves out {', '.join(missing)}, by which the demo sees its mails"
            )

    async def _publish(self) -> float:
        """Publish those with the hold; the time by which all were held."""
        cast = self._cast
        self._told.step(f"Publishing {len(cast.held)} mails, each with a hold of {format_duration(self._hold)}")
        began = time.monotonic()
        await self._send(held_messages(cast, self._hold))
        self._told.detail(f"the broker has all of them safe after {time.monotonic() - began:.2f} s")
        await self._until(lambda: set(cast.held) <= self._mails_of(Held), self._hold)
        held = time.monotonic()
        self._told.detail(f"{counted(len(self._mails_of(Held)), 'mail')} held after {held - began:.2f} s")
        return held

    async def _take_back(self) -> RetractedMail:
        self._told.step(f"Taking one of them back: pillarbox retract {self._cast.retracted}")
        return await self._retract(self._cast.retracted)

    async def _replace(self) -> None:
        self._told.step(f"Replacing one: pillarbox replace {self._cast.replaced}")
        command = Replace(id=self._cast.replaced, submission=correction(self._cast, self._hold))
        answer = await self._client.ask(command, ReplaceAnswer)
        self._told.detail(f"{answer.result.replace('_', ' ')}: {answer.detail}")

    async def _come_too_late(self) -> RetractedMail:
        self._told.step("Publishing one without a hold, and taking it back once it has arrived")
        await self._send([urgent_message(self._cast)])
        await self._until(lambda: self._cast.urgent in self._mails_of(DeliveredEvent), timedelta())
        return await self._retract(self._cast.urgent)

    async def _retract(self, mail: str) -> RetractedMail:
        answer = await self._client.ask(Retract(id=mail), RetractAnswer)
        for line in retracted_lines(answer.mails[0]):
            self._told.detail(line)
        return answer.mails[0]

    async def _wait_for_the_rest(self, held_since: float) -> None:
        expected = self._cast.expected
        end = held_since + self._hold.total_seconds()
        left = timedelta(seconds=max(0.0, end - time.monotonic()))
        self._told.step(
            f"Waiting until the hold is over, at about {show_time(datetime.now(UTC) + left)}, and for the mails"
        )
        with self._told.progress() as progress:
            bar = progress.add_task("delivered", total=len(expected))
            await self._until(
                lambda: expected <= self._mails_of(DeliveredEvent),
                left,
                lambda: progress.update(bar, completed=len(expected & self._mails_of(DeliveredEvent))),
            )
        late = time.monotonic() - end
        self._told.detail(
            f"{len(expected & self._mails_of(DeliveredEvent))} of {len(expected)} delivered, {late:.1f} s after that"
        )

    async def _send(self, messages: list[Message]) -> None:
        if refused := await self._client.publish(messages, _CONFIRM_TIME):
            raise not_taken(refused[0])

    async def _listen(self, consumer: Consumer) -> None:
        while True:
            deliveries = await consumer.batch(1000)
            consumer.ack(deliveries)
            self._next_offset = deliveries[-1].offset + 1
            events = [event for delivery in deliveries for event in _decoder.decode_lines(delivery.body)]
            self._events += [event for event in events if getattr(event, "batch", "") == self._cast.batch]
            self._news.set()

    async def _until(
        self, condition: Callable[[], bool], wait: timedelta, on_news: Callable[[], None] = lambda: None
    ) -> None:
        """Wait for a condition on the events; what has not come long after `wait` the verdict will miss."""
        try:
            async with asyncio.timeout(wait.total_seconds() + _SLOW_S):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
                    on_news()
        except TimeoutError:
            self._told.detail(f"not within {wait.total_seconds() + _SLOW_S:g} s; going on without")

    def _mails_of(self, kind: type[MailEvent]) -> set[str]:
        return {event.mail for event in self._events if isinstance(event, kind)}
