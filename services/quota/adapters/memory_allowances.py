"""What was taken of allowances, in memory: for tests, and as the plainest statement of what has to be kept."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import ChooseWithin, HoldAgain, T


class MemoryAllowances:
    """`ports.Allowances` of the only quota, and `ports.PutBack`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[CounterKey, int] = {}
        self._kept: dict[str, Reservation] = {}

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, takes what its reservation holds of these allowances, and keeps all else."""
        with self._lock:
            taken = [self._taken.get(each, 0) for each in allowances]
            reservation, answer = choose([Taken(each, each) for each in taken])
            if reservation is not None:
                others = []
                for hold in reservation.holds:
                    if hold.counter in allowances:
                        self._taken[hold.counter] = self._taken.get(hold.counter, 0) + hold.held
                    else:
                        others.append(hold)
                self._kept[reservation.id] = replace(reservation, holds=tuple(others))
        return answer

    def taken(self, policy: str) -> int:
        """What was taken of a policy's allowance on all days, nano-USD."""
        return sum(amount for counter, amount in self._taken.items() if counter.policy == policy)

    def put_back(self, hold: HoldAgain, names: Collection[str] | None = None) -> int:
        """Hands what is kept to `hold`, all of it or what is named, and forgets it. Returns how many that were."""
        with self._lock:
            some = [each for name, each in self._kept.items() if names is None or name in names]
            hold(some)
            for each in some:
                del self._kept[each.id]
        return len(some)
