"""What is known of a connection and of the mail that is under way on it, in the place of aiosmtpd's own."""

import msgspec
from aiosmtpd.smtp import Envelope, Session

from shared.accounts import Account

RECIPIENTS_MOST = 100_000  # octets of their list: all AMQP headers of a message travel in one frame of 128 KiB
_ENTRY = 5  # octets before each text in an AMQP list


class SignedIn(msgspec.Struct, frozen=True):
    """Who has signed in, and by which hash: another one since then means another password."""

    account: str
    password: str


class ClientSession(Session):
    """One connection, since its beginning or its STARTTLS."""

    signed_in: SignedIn | None = None

    @property
    def address(self) -> str:
        """The client's."""
        return str(self.peer[0]) if self.peer else ""


class MailEnvelope(Envelope):
    """What MAIL and RCPT have said, and who said it."""

    def __init__(self) -> None:
        super().__init__()
        self.sender: tuple[str, Account] | None = None  # an account by its name; None: of a network that need not
        self._listed = 0  # octets

    def add(self, recipient: str) -> bool:
        """Take one more. False: the list would be too long for the broker."""
        listed = self._listed + len(recipient.encode()) + _ENTRY
        if listed > RECIPIENTS_MOST:
            return False
        self._listed = listed
        self.rcpt_tos.append(recipient)
        return True
