"""The steps of a dialogue that goes command by command: what a generator yields, for a machine to carry out."""

import msgspec

from services.sender.channel import Channel


class Say(msgspec.Struct, frozen=True):
    """Send a line (b"": nothing) and wait for one reply."""

    line: bytes
    name: str  # what is answered, for people
    patience: float  # seconds

    def __repr__(self) -> str:
        # The line may be a password.
        return f"Say({self.name})"


class Handshake(msgspec.Struct):
    """Negotiate TLS; nothing may come from the server before. The machine puts in what has come of it."""

    channel: Channel = Channel()


Step = Say | Handshake
