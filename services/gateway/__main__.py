"""`python -m services.gateway`: takes mail over SMTP and publishes it."""

import asyncio
import logging
import socket
import sys
from functools import partial

from services.gateway.account_book import AccountBook
from services.gateway.dialogue import Dialogue
from services.gateway.doors import Doors, bind
from services.gateway.place import Place, read_place, warn_of_strangers
from services.gateway.post import Post
from services.gateway.sign_in import SignIn
from services.gateway.tls import Certificate
from shared.broker import Broker
from shared.environment import Environment, InvalidEnvironment, user_of
from shared.passwords import Verifier
from shared.settings_feed import SettingsFeed
from shared.worker import run, run_until

_LOOKS_EVERY_S = 1.0  # at the files of accounts and certificate


async def serve(
    place: Place,
    certificate: Certificate | None,
    sockets: list[socket.socket],
    environment: Environment,
    broker: Broker,
    stop: asyncio.Event,
) -> None:
    """Take mail until asked to stop; then what is under way is finished, and clients are told to come again."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's: what it says of clients we say ourselves
    warn_of_strangers(place.networks)
    feed = SettingsFeed(broker)
    feed.subscribe()
    book, verifier = AccountBook(place.accounts), Verifier()
    user = user_of(environment.amqp_url)
    dialogue = Dialogue(place, lambda: feed.settings, book, SignIn(book, verifier), Post(broker.publisher), user)
    doors = Doors(place, certificate, lambda: feed.settings, dialogue)

    async def receive() -> None:
        await feed.first()
        await asyncio.gather(*map(doors.receive, sockets, place.listen_at))

    async def look() -> None:
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            book.look()
            if certificate is not None:
                certificate.look()

    await run_until(stop, feed.follow(), receive(), look())
    for listener in sockets:
        listener.close()
    await doors.close()
    verifier.close()


def main() -> None:
    """Read all that can be wrong before anything is begun; listen when there are a broker and settings."""
    try:
        place = read_place()
        certificate = Certificate(place.certificate) if place.certificate else None
        sockets = [bind(where) for where in place.listen_at]
    except InvalidEnvironment as error:
        sys.exit(f"pillarbox gateway: {error}")
    run("gateway", partial(serve, place, certificate, sockets))


if __name__ == "__main__":
    main()
