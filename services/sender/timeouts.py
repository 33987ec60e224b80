"""How long a server may take, for each command and each block of data (RFC 5321 section 4.5.3.2)."""

from datetime import timedelta

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Each is for one step and starts with it; octets that trickle in do not extend it. None is for a whole mail."""

    connect: timedelta = timedelta(seconds=30)  # per address; look-up of a host's addresses likewise
    handshake: timedelta = timedelta(seconds=60)
    greeting: timedelta = timedelta(minutes=5)  # section 4.5.3.2.1
    hello: timedelta = timedelta(minutes=5)  # EHLO, HELO and STARTTLS: the RFC names no limit
    auth: timedelta = timedelta(minutes=3)  # RFC 4954 section 4
    mail: timedelta = timedelta(minutes=5)  # section 4.5.3.2.2
    recipient: timedelta = timedelta(minutes=5)  # section 4.5.3.2.3
    data: timedelta = timedelta(minutes=2)  # section 4.5.3.2.4
    block: timedelta = timedelta(minutes=3)  # section 4.5.3.2.5
    final_dot: timedelta = timedelta(minutes=10)  # section 4.5.3.2.6
    reset: timedelta = timedelta(minutes=1)
    quit: timedelta = timedelta(seconds=5)
