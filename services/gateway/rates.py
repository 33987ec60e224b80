"""How many mails a minute an account sends: a bucket that fills evenly and holds one minute's worth. Pure."""

import msgspec


class _Bucket(msgspec.Struct):
    level: float  # mails that may go now
    at: float


class Rates:
    """The buckets, by account."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take(self, account: str, per_minute: int, now: float) -> float:
        """Take one mail out. 0.0: it may go; else the seconds after which one may."""
        bucket = self._buckets.setdefault(account, _Bucket(float(per_minute), now))
        bucket.level = min(float(per_minute), bucket.level + (now - bucket.at) * per_minute / 60)
        bucket.at = now
        if bucket.level < 1:
            return (1 - bucket.level) * 60 / per_minute
        bucket.level -= 1
        return 0.0
