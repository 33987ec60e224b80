"""Which work queues a site's mail goes to: pure, and the same in every process and version."""

from zlib import crc32


def lanes_of(site: str, width: int, lanes: int) -> tuple[int, ...]:
    """The lanes of a site: the first by a stable hash of the site, then `width` consecutive ones, at most all."""
    first = crc32(site.encode())
    return tuple((first + step) % lanes for step in range(min(width, lanes)))


def lane_of(site: str, mail_id: str, width: int, lanes: int) -> int:
    """The lane of one mail among its site's: every attempt of a mail takes the same one."""
    return (crc32(site.encode()) + crc32(mail_id.encode()) % min(width, lanes)) % lanes
