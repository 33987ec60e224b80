"""`pillarbox setup`: declare the exchanges and queues."""

from cli.client import Client, declare_topology, with_client
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption
from cli.output import counted, print_json, say, screen, table
from shared import topology


def setup(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Declare the exchanges and queues at the broker.

    What exists stays as it is: this may be repeated. Workers do it at their start, too, where they are allowed to.
    """
    with_client(Home(home), lambda client: _setup(client, as_json))


async def _setup(client: Client, as_json: bool) -> None:
    await declare_topology(client.broker)
    # Without the permission to configure `declare` does nothing: only looking tells whether all is there.
    lengths = {name: await client.broker.count(name) for name in topology.QUEUES}
    if as_json:
        print_json({"broker": client.where, "exchanges": topology.EXCHANGES, "queues": lengths})
        return
    rows = [(name, str(arguments["x-queue-type"]), f"{lengths[name]:,}") for name, arguments in topology.QUEUES.items()]
    screen().print(table(["queue", "type", "messages"], rows, right=["messages"]))
    exchanges, queues = counted(len(topology.EXCHANGES), "exchange"), counted(len(rows), "queue")
    say(f"{exchanges} and {queues} are there at {client.where}")
