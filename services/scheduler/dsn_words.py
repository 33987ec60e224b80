"""What a status code means to people, and what they can do about it."""

import msgspec


class Advice(msgspec.Struct, frozen=True):
    """In sentences for somebody who knows no SMTP."""

    happened: str
    to_do: str


_CHECK = "Check the address for typing mistakes, or ask the recipient for the right one."
_ANOTHER_WAY = "Ask the recipient in another way for an address that works."
_LATER = "Send it again later, or reach the recipient in another way."
_SMALLER = "Send it again with smaller attachments, or share them in another way."
_THEIR_SIDE = "Tell the recipient in another way: those who run the mail of that domain have to look into it."
_OUR_SIDE = "Show this report to whoever runs the mail system that you send with."

# By subject and detail (RFC 3463, RFC 5248), then by subject alone; the class says only whether it is for good.
_ADVICE = {
    "1.1": Advice("There is no such mailbox.", _CHECK),
    "1.2": Advice("There is no such domain: what stands behind the @ is wrong.", _CHECK),
    "1.3": Advice("The address is not one that mail can be sent to.", _CHECK),
    "1.6": Advice("The mailbox has moved, and nobody says where to.", _ANOTHER_WAY),
    "1.7": Advice("The sender's address is not one that mail can come from.", _OUR_SIDE),
    "1.8": Advice("The recipient's server does not accept the sender's address.", _OUR_SIDE),
    "1.10": Advice("The domain of the address accepts no mail at all.", _ANOTHER_WAY),
    "1": Advice("The recipient's server does not know this address.", _CHECK),
    "2.1": Advice("The mailbox is not in use.", _ANOTHER_WAY),
    "2.2": Advice("The recipient's mailbox is full.", _LATER),
    "2.3": Advice("The mail is too large for the recipient's mailbox.", _SMALLER),
    "2": Advice("The recipient's mailbox does not take the mail.", _LATER),
    "3.4": Advice("The mail is too large for the recipient's server.", _SMALLER),
    "3": Advice("The recipient's mail system could not take the mail.", _LATER),
    "4.1": Advice("The recipient's server did not answer.", _LATER),
    "4.3": Advice("It could not be found out which server takes mail for the address.", _LATER),
    "4.4": Advice("There is no server that takes mail for the address.", _CHECK),
    "4.6": Advice("The mail would go in a circle.", _THEIR_SIDE),
    "4.7": Advice("It could not be delivered for so long that it was given up.", _LATER),
    "4": Advice("The recipient's server could not be reached.", _LATER),
    "6.3": Advice("The recipient's server can not take a mail with such characters.", _OUR_SIDE),
    "6.7": Advice("The recipient's server can not take addresses or headers with such characters.", _ANOTHER_WAY),
    "6": Advice("The recipient's server can not take the mail in this form.", _OUR_SIDE),
    "7": Advice(
        "The recipient's server refused the mail by its rules, such as those against unwanted mail.", _OUR_SIDE
    ),
}
_REFUSED = Advice("The recipient's server refused the mail.", "Its answer below may say what can be done.")
_NOT_TAKEN_YET = Advice("The recipient's server has not taken the mail yet.", _LATER)
_FAILED = Advice("The mail could not be delivered.", _OUR_SIDE)


def advice_on(status: str, action: str, *, said: bool) -> Advice:
    """What to tell people of a status; `said`: a receiver gave it."""
    detail = status.partition(".")[2]
    if known := _ADVICE.get(detail) or _ADVICE.get(detail.partition(".")[0]):
        return known
    if action == "delayed":
        return _NOT_TAKEN_YET
    return _REFUSED if said else _FAILED
