"""How many deliveries may be in hand: the prefetch, made smaller where messages are large. Pure."""

_CALM = 50  # deliveries in a row that would fit the whole prefetch, before it is asked for again


class Window:
    """Counts what is in hand, and says when another prefetch is due."""

    def __init__(self, prefetch: int, most_octets: int | None) -> None:
        self.octets = 0  # in hand
        self._most = prefetch
        self._most_octets = most_octets
        self._width = prefetch
        self._count = 0  # in hand
        self._largest = 0  # since it was calm
        self._calm = 0  # deliveries in a row that were small

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self._count

    def opened(self) -> int:
        """A new channel: nothing is in hand. The prefetch to ask for."""
        self.octets = self._count = self._calm = 0
        return self._width

    def came(self, size: int) -> bool:
        """A delivery of so many octets. False: the subscription is to be ended, and another opened."""
        self.octets += size
        self._count += 1
        if self._most_octets is None:
            return True
        self._largest = max(self._largest, size)
        if self.octets > self._most_octets and self._width > (width := max(1, self._most_octets // self._largest)):
            self._width = width
            return False
        if self._width < self._most:
            return not self._is_calm(size, self._most_octets)
        return True

    def done(self, size: int) -> None:
        """A delivery is acknowledged."""
        self.octets -= size
        self._count -= 1

    def _is_calm(self, size: int, most_octets: int) -> bool:
        self._calm = self._calm + 1 if size * self._most <= most_octets else 0
        if self._calm < _CALM:
            return False
        self._width, self._largest = self._most, 0
        return True
