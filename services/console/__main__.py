"""`python -m services.console`: the HTTP API and the web page."""

import asyncio
import socket
import sys

from services.console.accounts import Accounts
from services.console.app import application
from services.console.environment import Places, read_places
from services.console.server import bind
from services.console.server import serve as serve_http
from shared.broker import Broker
from shared.environment import Environment, InvalidEnvironment
from shared.settings_feed import SettingsFeed
from shared.worker import Serve, run, run_until


def serving(places: Places, accounts: Accounts, listener: socket.socket) -> Serve:
    """Serve until asked to stop."""

    async def serve(_environment: Environment, broker: Broker, stop: asyncio.Event) -> None:
        feed = SettingsFeed(broker)
        feed.subscribe()
        stopped = asyncio.Event()

        async def http() -> None:
            await feed.first_unless(stop)
            if not stop.is_set():
                await serve_http(application(places, accounts, broker, feed, stop), listener, stop)
            stopped.set()

        await run_until(stopped, feed.follow(), http())

    return serve


def main() -> None:
    """Read the environment, and run."""
    try:
        places = read_places()
        accounts = Accounts(places.tokens, places.users)
        listener = bind(places)
    except InvalidEnvironment as error:
        sys.exit(f"pillarbox console: {error}")
    run("console", serving(places, accounts, listener))


if __name__ == "__main__":
    main()
