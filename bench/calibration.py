"""What the broker can do just now: a loop of plain pika publishes and consumes as many octets, over one quorum queue.

The quick runs tell each figure in times of this one, so that they say the same on a slow machine and on a quick one.
"""

from bench.hop import AT_ONCE, measured, plain
from bench.results import Calibration

_MOST = 5_000  # messages: a second or so


async def measure(amqp_url: str, messages: int, body: bytes) -> Calibration:
    """Publish so many with confirms (in whole hundreds, at most 5,000), then consume them."""
    hop = await measured(plain, amqp_url, body, max(min(messages, _MOST) // AT_ONCE, 1) * AT_ONCE)
    return Calibration(rate=hop.rate, cpu_us=hop.publish + hop.consume + hop.broker)
