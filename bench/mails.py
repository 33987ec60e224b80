"""The mail that is sent: one finished message, of exactly the size asked for, for everybody."""

SENDER_DOMAIN = "sender.example"
SENDER = f"news@{SENDER_DOMAIN}"
RECIPIENT_DOMAIN = "recipient.example"

_HEAD = f"""\
From: The Sender <{SENDER}>
To: The Reader <reader@{RECIPIENT_DOMAIN}>
Subject: A mail of the benchmark
Date: Mon, 02 Jan 2023 12:00:00 +0000
Message-ID: <benchmark@sender.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

""".replace("\n", "\r\n").encode()

_LINE = b"A line of text as people write them, neither short nor very long.\r\n"


def message(size: int) -> bytes:
    """A message of so many octets, CRLF line ends."""
    lines, rest = divmod(size - len(_HEAD), len(_LINE))
    return _HEAD + (_LINE * lines)[:-2] + b"x" * rest + b"\r\n"


def recipient(number: int) -> str:
    """Everybody is somebody else."""
    return f"reader{number}@{RECIPIENT_DOMAIN}"
