"""Submissions that are meant to harm, and what judging one costs: each in a process of its own, within limits.

`python -m tests.support.hostile OCTETS…` judges all of them in each size and prints a line of JSON for each.
"""

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from services.scheduler.admission import admit
from shared.broker import Properties
from shared.refusals import Invalid
from shared.settings import Settings

CPU_S = 60  # hundreds of times what any takes: reached by what never ends
MEMORY = 1024 * 1024 * 1024  # beyond what the process has at its start

Made = tuple[bytes, str]
JSON, MSGPACK, RFC822 = "application/json", "application/msgpack", "message/rfc822"
LINE = 900  # octets of a header's line


def as_json(**fields: object) -> Made:
    return msgspec.json.encode({"from": "a@x.example", "to": "b@y.example", **fields}), JSON


def as_msgpack(**fields: object) -> Made:
    return msgspec.msgpack.encode({"from": "a@x.example", "to": "b@y.example", **fields}), MSGPACK


def finished(head: bytes = b"", body: bytes = b"") -> Made:
    return b"From: a@x.example\r\nTo: b@y.example\r\n" + head + b"\r\n" + body, RFC822


def attachments(count: int, **fields: object) -> Made:
    return as_msgpack(attachments=[{"filename": "a", "content": b"", **fields}] * min(count, 1000))


def nested(depth: int, boundary: Callable[[int], bytes], body: bytes) -> Made:
    parts = b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n" % (boundary(level), boundary(level))
        for level in range(depth)
    )
    return finished(b"MIME-Version: 1.0\r\n" + parts, body)


def in_header(piece: str, octets: int) -> Made:
    line = (piece * (LINE // len(piece.encode()))).encode()
    return b"From: a@x.example\r\nTo: " + b"\r\n ".join([line] * (octets // LINE)) + b"\r\n\r\n", RFC822


# Every way we know to be costly: bad for a parser that looks back, or that makes much of little.
PIECES = {
    "parentheses": "(", "pairs of parentheses": "()", "angle brackets": "<", "closing brackets": ">", "quotes": '"',
    "commas": ",", "at signs": "@", "dots": ".", "backslashes": "\\", "semicolons": ";", "square brackets": "[",
    "quoted words": '"a" ', "comments": "(a) ", "groups": "g:a@b;", "words": "a b ", "source routes": "<@a,@b:",
    "encoded words": "=?utf-8?b?QQ==?= ", "dots and at signs": "a.@", "letters of others": "ü", "blanks": " ",
}  # fmt: skip

Maker = Callable[[int], Made]
SUBMISSIONS: dict[str, Maker] = {
    **{f"{name} in to": lambda n, p=piece: as_json(to=p * (n // len(p))) for name, piece in PIECES.items()},
    **{
        f"{name} between addresses": lambda n, p=piece: as_json(to=f"a@b.example, x {p * (n // len(p))} <c@d.example>")
        for name, piece in list(PIECES.items())[::4]
    },
    **{f"{name} in a To header": lambda n, p=PIECES[name]: in_header(p, n) for name in ("at signs", "blanks")},
    "lists in lists": lambda n: (b'{"from": "a@x.example", "to": ' + b"[" * n, JSON),
    "lists in lists in msgpack": lambda n: (b"\x81\xa2to" + b"\x91" * n, MSGPACK),
    "empty lists": lambda n: (b'{"from": 3, "x": [' + b"[]," * (n // 3) + b"1]}", JSON),
    "empty lists in msgpack": lambda n: (b"\x82\xa4from\x03\xa1x\xdd" + n.to_bytes(4) + b"\x90" * n, MSGPACK),
    "a field a hundred times": lambda n: (b'{"to": [' + b'"",' * (n // 3) + b'""], "to": "a@b.example"}', JSON),
    "recipients": lambda n: as_json(to=[f"b{i}@y.example" for i in range(n // 15)]),
    "the same recipient": lambda n: as_json(to=["b@y.example"] * (n // 14)),
    "no recipients": lambda n: as_json(to=[""] * (n // 3)),
    "short recipients in msgpack": lambda n: as_msgpack(to=["a"] * (n // 2)),
    "recipients in one text": lambda n: as_json(to=",".join(f"b{i}@y.example" for i in range(n // 14))),
    "recipients of foreign domains": lambda n: as_json(bcc=[f"a@ü{i}.example" for i in range(n // 18)]),
    "a domain of many labels": lambda n: as_json(to="a@" + "ü." * (n // 3) + "example"),
    "accents upon accents": lambda n: as_json(to="a@e" + "\u0301" * (n // 2) + ".example"),
    "headers": lambda n: as_json(headers={f"X-{i}": "v" for i in range(n // 12)}),
    "headers in msgpack": lambda n: as_msgpack(headers={f"{i:x}": "" for i in range(n // 6)}),
    "headers and one that is none": lambda n: as_json(headers={**{f"X{i}": "" for i in range(n // 10)}, "Z": 3}),
    "a long header": lambda n: as_json(headers={"X-A": "v " * (n // 2)}),
    "a long header to be encoded": lambda n: as_json(headers={"X-A": "ü " * (n // 3)}),
    "a header of blanks": lambda n: as_json(headers={"X-A": " " * n}),
    "a long subject": lambda n: as_json(subject="aü " * (n // 4)),
    "line ends": lambda n: as_json(text="\n" * (n // 2)),
    "one long line": lambda n: as_msgpack(html="a" * n),
    "control characters": lambda n: as_msgpack(text="\0\x1c" * (n // 2)),
    "attachments": lambda n: as_msgpack(attachments=[{"filename": "a", "content": b""}] * (n // 25)),
    "base64 of nothing but the same": lambda n: as_json(attachments=[{"filename": "a", "content": "A" * (n & ~3)}]),
    "file names to be encoded": lambda n: attachments(n // 500, filename="ü" * 255),
    "file names of quotes": lambda n: attachments(n // 500, filename='"' * 255),
    "parameters of a type": lambda n: attachments(
        n // 500, content_type="a/b" + "".join(f";p{i}=v" for i in range(70))
    ),
    "content ids of brackets": lambda n: attachments(n // 500, content_id="[" * 250),
    "a type of blanks": lambda n: attachments(1, content_type="a/b" + " " * n),
    "a type of quotes": lambda n: attachments(1, content_type="a/b" + ';a="' * (n // 4)),
    "a hold of digits": lambda n: as_json(hold="1" * n),
    "a hold of units": lambda n: as_json(hold="1s" * (n // 2)),
    "a number for hold": lambda n: (b'{"from": "a@b.example", "hold": ' + b"1" * n + b"}", JSON),
    "an unknown field": lambda n: as_json(**{" - at `" * (n // 7): 1}),
    "an address to unsubscribe": lambda n: as_json(unsubscribe_url="https://a/" + "a" * n),
    "a reverse-path of comments": lambda n: as_json(return_path="(" * n),
    "headers of a finished message": lambda n: finished(b"a:\r\n" * (n // 4)),
    "folds": lambda n: finished(b"X-A: b\r\n" + b" \r\n" * (n // 3)),
    "folds in a subject": lambda n: finished(b"Subject: b\r\n" + b" =?utf-8?b?QQ==?=\r\n" * (n // 19)),
    "recipients in a header": lambda n: (
        b"From: a@x.example\r\nTo: b@y.example" + b",\r\n b@y.example" * (n // 15) + b"\r\n\r\n",
        RFC822,
    ),
    "bare line feeds": lambda n: (b"From: a@x.example\nTo: b@y.example\n\n" + b"\n" * n, RFC822),
    "bare carriage returns": lambda n: (b"From: a@x.example\nTo: b@y.example\n\n" + b"\r" * n, RFC822),
    "bare line feeds without end": lambda n: (b"From: a@x.example\n" + b"a:\n" * (n // 3), RFC822),
    "short lines": lambda n: finished(body=b"ab\r\n" * (n // 4)),
    "a line without end": lambda n: finished(body=b"\xc3\xbc" * (n // 2)),
    "a header without end": lambda n: finished(b"X-A: " + b"a " * (n // 2) + b"\r\n"),
    "no header": lambda n: (b"a" * n, RFC822),
    "parts within parts": lambda n: nested(n // 60, lambda level: b"b%d" % level, b"x" * 1000),
    "large parts within parts": lambda n: nested(40, lambda level: b"b%d" % level, b"x" * 1000 + b"\r\nab" * (n // 4)),
    "boundaries within boundaries": lambda n: nested(40, lambda level: b"b" * (level + 1), b"x" * n),
    "messages within messages": lambda n: finished(b"Content-Type: message/rfc822\r\n\r\n" * (n // 33), b"x" * 1000),
    "large messages within messages": lambda n: finished(
        b"Content-Type: message/rfc822\r\n\r\n" * 40, b"x" * 1000 + b"\r\nab" * (n // 4)
    ),
    "parts": lambda n: finished(
        b"Content-Type: multipart/mixed; boundary=b\r\n", (b"--b\r\n\r\n" + b"x" * 1000 + b"\r\n") * (n // 1008)
    ),
    "small parts": lambda n: finished(
        b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n\r\n" + b"x" * 1000 + b"\r\n--b" * (n // 5)
    ),
    "headers of a part": lambda n: finished(
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"--b\r\n" + b"a:\r\n" * (n // 4) + b"\r\n" + b"x" * 1000 + b"\r\n--b--",
    ),
    "a type of quotes and semicolons": lambda n: finished(
        b'Content-Type: multipart/mixed; boundary="' + b';\r\n "' * (n // 6) + b"\r\n", b"x" * 1000
    ),
    "a boundary in pieces": lambda n: finished(
        b"Content-Type: multipart/mixed" + b"".join(b";\r\n boundary*%d*=a" % i for i in range(n // 18)) + b"\r\n",
        b"x" * 1000,
    ),
    "an encoding in folds": lambda n: finished(b"Content-Transfer-Encoding: a\r\n" + b" b\r\n" * (n // 4), b"x" * 1000),
    "base64 with blanks": lambda n: finished(b"Content-Transfer-Encoding: base64\r\n", b"A A " * (n // 4)),
    "escapes": lambda n: finished(b"Content-Transfer-Encoding: quoted-printable\r\n", b"=41" * (n // 3)),
    "form feeds in a header": lambda n: finished(b"X: " + b"\x0c" * n + b"\r\n"),
    "NUL": lambda n: finished(body=b"\0" * n),
    "colons in To": lambda n: (b"From: a@x.example\r\nTo: " + b":\r\n " * (n // 4) + b"\r\n\r\n", RFC822),
}  # fmt: skip


class Cost(msgspec.Struct, frozen=True):
    """What it took to judge one."""

    name: str
    octets: int  # asked for
    verdict: str  # "admitted", or "field: reason"
    cpu_s: float
    memory: int  # octets, at most
    broke: str = ""  # by what the process ended otherwise


def judged(name: str, octets: int) -> Cost:
    """The cost of one, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, msgspec.json.encode(_judge(name, octets)))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return msgspec.json.decode(said, type=Cost) if said else Cost(name, octets, "", 0, 0, f"it ended with {status}")


def _judge(name: str, octets: int) -> Cost:
    body, kind = SUBMISSIONS[name](octets)
    used = _in_use()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    gc.disable()
    before, broke = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
    start = time.process_time()
    try:
        admit(body, Properties(message_id="m", content_type=kind), Settings(), 1, datetime.now(UTC))
        verdict = "admitted"
    except Invalid as refused:
        verdict = str(refused)
    except Exception as error:
        verdict, broke = "", repr(error)[:200]
    cpu_s = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(name, octets, verdict, cpu_s, (peak - before) * 1024, broke)


def _in_use() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    for size in map(int, sys.argv[1:]):
        for name in SUBMISSIONS:
            sys.stdout.write(f"{json.dumps(msgspec.to_builtins(judged(name, size)))}\n")
