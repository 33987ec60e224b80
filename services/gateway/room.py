"""How much content all connections together may have in memory. Pure."""

_MOST = 256 * 1024 * 1024  # octets: what a broker that is away for its half minute leaves in our hands
# Dots that were stuffed do not count (RFC 1870 section 5), and are known at the end only.
_STUFFED = 64 * 1024


class Room:
    """Octets that are taken while a mail comes in and until it is answered."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._taken = 0

    def take(self, octets: int) -> bool:
        """Take so much more; False where there is not so much left."""
        if self._taken + octets > self._most:
            return False
        self._taken += octets
        return True

    def give(self, octets: int) -> None:
        """Give so much back."""
        self._taken -= octets


class Share:
    """One mail's share of the room."""

    def __init__(self, room: Room, most: int) -> None:
        """`most` octets are taken for it; the rest of its content is thrown away."""
        self._room = room
        self._most = most
        self._taken = 0
        self.refusal = ""  # the reply, once there is no place for it

    def take(self, octets: int) -> bool:
        """Whether there is a place for so much more; once there was none, there is none for the rest either."""
        if not self.refusal:
            if self._taken + octets > self._most + _STUFFED:
                self.refusal = too_large(self._most)
            elif not self._room.take(octets):
                self.refusal = "452 4.3.1 no memory is left for it now; try again later"
        if self.refusal:
            self.give_back()
            return False
        self._taken += octets
        return True

    def give_back(self) -> None:
        """The mail is answered, or thrown away."""
        self._room.give(self._taken)
        self._taken = 0


def too_large(most: int) -> str:
    """The reply to a mail of more octets."""
    return f"552 5.3.4 the mail is too large; takes {most} octets"


def largest(max_size: int) -> int:
    """Octets of the largest mail that is taken: what is added on the way (Received, Date, …) has to fit in, too."""
    return max_size - min(2048, max_size // 2)
