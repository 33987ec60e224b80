"""The settings of a fresh home: everything to the test inbox, a hold to try retracting in."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cli.client import Client, not_taken
from cli.failures import CommandFailed, ExitCode
from cli.home import InboxPlace
from cli.settings_publish import author, current_settings, in_force, publish_settings, with_assignments
from shared.broker import Broker
from shared.contracts.answers import SettingsVersion
from shared.settings import Settings, SettingsDocument, to_document
from shared.settings_change import settings_message
from shared.settings_diff import Change, changes
from shared.store_trouble import StoreUnusable
from shared.topology import SETTINGS

FIRST_HOLD = "30s"  # long enough to retract by hand, short enough to see a mail arrive

_EMPTY_AFTER_S = 1.0  # a stream that has anything delivers it within milliseconds


def first_document(inbox: InboxPlace, assignments: Sequence[str]) -> dict[str, Any]:
    """The document that a fresh home begins with. Raises CommandFailed or Invalid for a wrong assignment."""
    to_the_inbox = [f'relay.host="{inbox.host}"', f"relay.port={inbox.port}", f"sending.hold={FIRST_HOLD}"]
    return with_assignments(to_document(Settings()), [*to_the_inbox, *assignments])


async def seed(broker: Broker, document: dict[str, Any]) -> bool:
    """Publish the first document if the stream has none; whether it did."""
    if await _has_settings(broker):
        return False
    first = SettingsDocument(settings=document, author=author(), comment="first settings of `pillarbox up`", revision=0)
    if refused := await broker.publisher.publish([settings_message(first)]):
        raise not_taken(refused[0])
    return True


async def _has_settings(broker: Broker) -> bool:
    if await broker.count(SETTINGS):
        return True
    # A node that has just started may not have counted yet.
    consumer = broker.consume(SETTINGS, 1, arguments=lambda: {"x-stream-offset": "last"})
    await consumer.subscribed()
    with suppress(TimeoutError):
        await asyncio.wait_for(consumer.batch(1), _EMPTY_AFTER_S)
        return True
    await consumer.close()
    return False


def store_has_settings(url: str) -> bool:
    """Whether the mail store remembers settings: then the scheduler fills an empty stream with them.

    Raises CommandFailed when the store can not be read.
    """
    # Imported here: every command would wait for SQLAlchemy, and only `up` needs it.
    import sqlalchemy as sa

    from shared.mail_store.engine import open_engine
    from shared.mail_store.tables import settings_history

    try:
        engine = open_engine(url)
        with engine.connect() as connection:
            known = sa.inspect(connection).has_table(settings_history.name)
            found = known and connection.execute(sa.select(settings_history.c.revision).limit(1)).first() is not None
        engine.dispose()
    except StoreUnusable as error:
        raise CommandFailed(f"PILLARBOX_STORE_URL: {error}; {error.cure}", ExitCode.USAGE) from error
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        words = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise CommandFailed(f"PILLARBOX_STORE_URL: {words}", ExitCode.USAGE) from error
    return found


async def adjust(
    client: Client, former_port: int | None, inbox: InboxPlace, assignments: Sequence[str]
) -> tuple[SettingsVersion, list[Change]]:
    """Bring settings that were there up to date: a new port of the inbox, and what the command line sets."""
    answer = await current_settings(client)
    document = in_force(answer).settings
    moved = former_port not in (None, inbox.port) and relays_to(document, inbox.host, former_port)
    wanted = with_assignments(document, [*([f"relay.port={inbox.port}"] if moved else []), *assignments])
    differences = changes(document, wanted)
    if not differences:
        return in_force(answer), []
    return await publish_settings(client, answer, wanted, "`pillarbox up`"), differences


def relays_to(document: dict[str, Any], host: str, port: int | None) -> bool:
    """Whether all mail goes to this server."""
    relay = document["relay"]
    return (
        document["delivery"]["mode"] == "relay"
        and not document["routes"]
        and (relay["host"], relay["port"]) == (host, port)
    )
