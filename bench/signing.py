"""`python -m bench.signing`: what a DKIM signature costs, in microseconds per mail, the median of many."""

import base64
import os
import statistics
import time

from services.sender.dkim import Signer, author_domain, sign
from shared.dkim_key import new_key

_HEAD = (
    b"Date: Fri, 27 Feb 2026 10:00:00 +0000\r\nFrom: Shop <orders@shop.example>\r\nTo: b@mx.example\r\n"
    b"Subject: Your order\r\nMessage-ID: <order-4711@shop.example>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n'
)
_TEXT = b"The quick brown fox jumps over the lazy dog, and is on its way to you.\r\n"
_ROUNDS = 500


def main() -> None:
    """Print a row per size and kind of key."""
    keys = {"rsa": new_key("rsa"), "ed25519": new_key("ed25519")}
    one = {name: [Signer("shop.example", name, key)] for name, key in keys.items()}
    print("| mail | look-up alone | RSA-2048 | Ed25519 | both |\n|---|---|---|---|---|")
    for name, content in (("4 KB text", _text(4_000)), ("100 KB text", _text(100_000)), ("100 KB base64", _base64())):
        figures = [_cost(lambda content=content: author_domain(content))]
        for signers in (one["rsa"], one["ed25519"], one["rsa"] + one["ed25519"]):
            figures.append(_cost(lambda content=content, signers=signers: sign(content, signers, 1_772_000_000)))
        print(f"| {name} | " + " | ".join(f"{figure:.0f} µs" for figure in figures) + " |")


def _text(size: int) -> bytes:
    return _HEAD + _TEXT * (size // len(_TEXT))


def _base64() -> bytes:
    return _HEAD + base64.encodebytes(os.urandom(74_000)).replace(b"\n", b"\r\n")


def _cost(work: object) -> float:
    costs = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()  # type: ignore[operator]  # a lambda of no arguments
        costs.append(time.perf_counter() - start)
    return statistics.median(costs) * 1e6


if __name__ == "__main__":
    main()
