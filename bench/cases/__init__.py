"""The cases, one a file, in the order in which they are run."""

from collections.abc import Mapping

from bench.case import Case
from bench.cases import direct, hold, latency, relay_4k, relay_100k, round_trip, scaling, storm, structured

_ALL = (relay_4k, relay_100k, structured, direct, round_trip, hold, latency, scaling, storm)
CASES: Mapping[str, Case] = {module.CASE.name: module.CASE for module in _ALL}
