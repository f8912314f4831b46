"""What calls took of allowances, in memory: for tests, and as the simplest example of what a store must keep."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import ChooseWithin, HoldAgain, T


class MemoryAllowances:
    """`ports.Allowances` and `ports.PutBack` for a single quota process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[CounterKey, int] = {}
        self._kept: dict[str, Reservation] = {}

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, takes its holds from these allowances, and keeps its other holds."""
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
        """What calls took of a policy's allowance on all days, in nano-USD."""
        return sum(amount for counter, amount in self._taken.items() if counter.policy == policy)

    def put_back(self, hold: HoldAgain, names: Collection[str] | None = None) -> int:
        """Hands kept reservations to `hold`, all or the named ones, and forgets them. Returns their number."""
        with self._lock:
            some = [each for name, each in self._kept.items() if names is None or name in names]
            hold(some)
            for each in some:
                del self._kept[each.id]
        return len(some)
