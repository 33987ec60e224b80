"""A mail as it is published: finished, with its envelope and what is wished for it in AMQP headers. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.accounts import Account
from shared.broker import Message, Properties
from shared.topology import SUBMIT


def parcel(
    mail: str,
    content: bytes,
    reverse_path: str,
    recipients: Sequence[str],
    wishes: Mapping[str, Any],
    account: Account | None,
    user: str | None,
) -> Message:
    """The message. `reverse_path` is "" for the null one; what a mail wishes goes before what its account has.

    `user` is ours at the broker, which holds it against the connection's.
    """
    headers = {**_of(account, wishes), **wishes, "mail-from": reverse_path, "rcpt-to": list(recipients)}
    properties = Properties(message_id=mail, content_type="message/rfc822", user_id=user, headers=headers)
    return Message(SUBMIT, "", content, properties)


def _of(account: Account | None, wishes: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if account is not None and account.hold is not None and wishes.get("priority") != "urgent":  # it is not held
        said["hold"] = str(account.hold)
    if account is not None and account.batch:
        said["batch"] = account.batch
    return said
