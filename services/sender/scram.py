"""SCRAM (RFC 5802, RFC 7677): `scramp` knows the messages; here is what it leaves to its caller."""

import re

import scramp

from services.sender.login import Login

Binding = tuple[str, bytes]  # name (RFC 5929) and data of a channel binding

# The work that a server may ask of us, which nothing else can be done meanwhile: 200,000 take a tenth of a second,
# 4,096 are usual.
_MOST_ITERATIONS = 200_000
_ITERATIONS = re.compile(r"(?:^|,)i=(\d+)")


class BadChallenge(Exception):
    """A challenge that is none, or that can not be trusted; the exchange has to be cancelled."""


class Scram:
    """The client's side of one exchange."""

    def __init__(self, mechanism: str, login: Login, binding: Binding | None) -> None:
        """`login` has to be fit for it. With a binding but not -PLUS, it says that the server offered none."""
        self._client = scramp.ScramClient([mechanism], login.user.decode(), login.password.decode(), binding)

    def first(self) -> bytes:
        """The client's first message."""
        return str(self._client.get_client_first()).encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message. Raises BadChallenge."""
        message = _text(challenge)
        iterations = _ITERATIONS.search(message)
        if iterations is not None and (len(iterations[1]) > 9 or int(iterations[1]) > _MOST_ITERATIONS):
            raise BadChallenge(f"the server asks for more than {_MOST_ITERATIONS} rounds of hashing")
        try:
            self._client.set_server_first(message)
            return str(self._client.get_client_final()).encode()
        except scramp.ScramException as error:
            raise BadChallenge(f"the server's challenge is no SCRAM: {error}") from error

    def verify(self, message: bytes) -> bool:
        """Whether the server has proved that it knows the password; False when it refuses ours instead.

        Raises BadChallenge when it only pretends to.
        """
        text = _text(message)
        if text.startswith("e="):
            return False
        try:
            self._client.set_server_final(text)
        except scramp.ScramException as error:
            raise BadChallenge("the server has not proved that it knows the password") from error
        return True


def is_fit_for_scram(login: Login) -> bool:
    """Whether user name and password are texts that SASLprep (RFC 4013) takes."""
    try:
        scramp.ScramClient(["SCRAM-SHA-256"], login.user.decode(), login.password.decode())
    except (UnicodeDecodeError, scramp.ScramException):
        return False
    return True


def _text(message: bytes) -> str:
    try:
        return message.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadChallenge("the server's challenge is no text") from error
