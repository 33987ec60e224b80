"""`make soak`: mails flow, harm is done, and at the end the books are balanced.

python -m soak --minutes 30 --seed 7 --store postgres
python -m soak --mails 1000000 --kills 100 --broker-kills 20 --rate 500
"""

import argparse
import logging
import random
import signal
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import msgspec
import structlog

from soak.harms import KINDS
from soak.report import as_markdown, show
from soak.run import Plan, run

_AS_FAST_AS_IT_GOES = 1e6


def main() -> None:
    """Soak, show, and say by the exit status whether the promise was kept."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started and mounted goes away all the same
    # What the publisher has to say of a broker that is away is no news here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    plan = _plan(options)
    length = f"{plan.mails:,} mails" if plan.mails else f"{plan.minutes:g} minutes"
    print(f"seed {plan.seed}, {length}, store on {plan.store}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="pillarbox-soak-"))
    print(f"logs and records in {folder}", flush=True)
    result = run(folder, plan)
    show(result)
    print(f"seed {plan.seed}, {result.minutes:.1f} minutes; logs and records in {folder}")
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode({"seed": plan.seed, "result": result})))
    if options.markdown:
        options.markdown.write_text(as_markdown(result), encoding="utf-8")
    sys.exit(0 if result.clean else 1)


def _options() -> Namespace:
    parser = argparse.ArgumentParser(
        prog="make soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--schedulers", type=int, default=1, help="on PostgreSQL there may be several")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, help="mails a second at most (100; by counts, as many as get through)")
    parser.add_argument("--only", metavar="WORDS", default="", help="harms whose name contains this")
    parser.add_argument("--quick", action="store_true", help="without the harms that last for minutes")
    parser.add_argument("--mails", type=int, default=0, help="by counts: at least so many, with these kills among them")
    parser.add_argument("--kills", type=int, default=100, help="by counts: of each role")
    parser.add_argument("--broker-kills", type=int, default=20, help="by counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args()


def _plan(options: Namespace) -> Plan:
    kinds = [kind for kind in KINDS if options.only in kind.name and not (options.quick and kind.slow)]
    return Plan(
        seed=options.seed,
        store=options.store,
        schedulers=options.schedulers,
        rate=options.rate or (_AS_FAST_AS_IT_GOES if options.mails else 100),
        minutes=options.minutes,
        kinds=kinds,
        mails=options.mails,
        kills=options.kills,
        broker_kills=options.broker_kills,
    )


if __name__ == "__main__":
    main()
