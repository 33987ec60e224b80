"""The case `relay-100k`: mails of 100 KB to one relay, unsigned and signed (DKIM, RSA-2048)."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench import milter, pillarbox, postfix
from bench.case import Case, Contender
from bench.mails import SENDER_DOMAIN, message
from bench.results import Goal, Measurement, Plan
from bench.sink import Sink
from shared.dkim_key import new_key

_CONTENT = message(100 * 1024)
_SELECTOR = "bench"


@cache
def _key() -> bytes:
    return new_key("rsa").pem()


_pillarbox = pillarbox.relaying(pillarbox.finished(_CONTENT))
_postfix = postfix.relaying(_CONTENT)


def _pillarbox_signing(plan: Plan) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="pillarbox-bench-") as folder:
        file = Path(folder) / "key.pem"
        file.write_bytes(_key())
        dkim = {SENDER_DOMAIN: [{"selector": _SELECTOR, "key": {"file": str(file)}}]}
        return pillarbox.relaying(pillarbox.finished(_CONTENT), dkim=dkim)(plan)


def _postfix_signing(plan: Plan) -> Measurement:
    with Sink() as sink, milter.OpenDkim(SENDER_DOMAIN, _SELECTOR, _key()) as signer:
        settings = {**postfix.SETTINGS, **signer.postfix_settings}
        return postfix.measure(plan, sink, _CONTENT, to_port=sink.port, settings=settings)


def _contenders(_plan: Plan) -> Sequence[Contender]:
    signing = "Pillarbox, DKIM", "Postfix, DKIM"
    return [
        Contender(name="Pillarbox", run=_pillarbox, beside=("Postfix",)),
        Contender(name="Postfix", run=_postfix, peer=True, missing=postfix.missing, settings=postfix.SETTINGS),
        Contender(name=signing[0], run=_pillarbox_signing, beside=(signing[1],)),
        Contender(
            name=signing[1],
            run=_postfix_signing,
            peer=True,
            missing=lambda: postfix.missing() or milter.missing(),
            settings={"smtpd_milters": "opendkim, relaxed/relaxed, otherwise as it comes"},
        ),
    ]


CASE = Case(
    name="relay-100k",
    what=(
        "100 KB mails as in relay-4k, without a signature and with one (DKIM, RSA-2048, relaxed/relaxed): Pillarbox's "
        "own, and in Postfix that of opendkim's milter"
    ),
    usual=Plan(mails=3_000, rounds=5, senders=2),
    quick=Plan(mails=500, rounds=1, senders=2, warm_up=100, calibrated=True),
    goals={"Pillarbox / Postfix": Goal("≥", 2), "Pillarbox, DKIM / Postfix, DKIM": Goal("≥", 1)},
    contenders=_contenders,
)
