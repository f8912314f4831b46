"""Words that tests of counters in Redis share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from services.kernel.errors import Unavailable
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import ThresholdRule
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.policies.policy import Threshold
from services.quota.ports.counters import Choose
from tests.worlds.counter_store_load import NOW_MS

REQUESTS = CounterKey("team", "requests/day/UTC", "team=a", NOW_MS)
BOUND = 100


def always(made: Reservation) -> Choose[str]:
    return lambda _: (made, made.id)


def nothing(_: CounterKey) -> None:
    return None


def find_rule(*basis_points: int) -> Callable[[CounterKey], ThresholdRule]:
    return lambda _: ThresholdRule(BOUND, tuple(Threshold(each, ("lead",)) for each in basis_points), "spend per day")


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> float:
    """Waits until something holds; returns how long that took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(Unavailable):
            if holds():
                return time.monotonic() - began
        assert time.monotonic() - began < within_s, "it never came to hold"
        time.sleep(0.01)
