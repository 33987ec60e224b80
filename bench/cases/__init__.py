"""The cases, one a file, in the order in which they are run."""

from collections.abc import Mapping

from bench.case import Case
from bench.cases import relay_4k, relay_100k

CASES: Mapping[str, Case] = {case.name: case for case in (relay_4k.CASE, relay_100k.CASE)}
