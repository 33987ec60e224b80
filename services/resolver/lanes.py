"""Which work queues a site's mail goes to: pure, and the same in every process and version."""

from zlib import crc32

# Mails of a site that are worth a lane of their own. What a message costs on its way is the same for one mail and for
# ten, and several connections help only those that are many: so few mails travel in one message.
_FEW = 4


def lanes_of(site: str, width: int, lanes: int) -> tuple[int, ...]:
    """The lanes of a site: the first by a stable hash of the site, then `width` consecutive ones, at most all."""
    first = crc32(site.encode())
    return tuple((first + step) % lanes for step in range(min(width, lanes)))


def lanes_for(site: str, mail_id: str, count: int, width: int, lanes: int) -> tuple[int, ...]:
    """The lanes for so many mails of a site that are routed together, one for every few; `mail_id` is of the first."""
    those = lanes_of(site, width, lanes)
    first = crc32(mail_id.encode())
    return tuple(those[(first + step) % len(those)] for step in range(min(-(-count // _FEW), len(those))))
