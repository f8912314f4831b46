"""The levels of all counters, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from services.quota.adapters.slices import in_chunks
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.doubt import Doubt
from services.quota.domain.counters.reservation import Hold
from services.quota.domain.counters.settlement import Move
from services.quota.ports.counters import Counter, Sum

_NOTHING = Level(0, 0)
# The most counters to look at while calls wait for their levels.
_LOOKED_AT_ONCE = 200


class CounterLevels:
    """The levels of counters. Each method is atomic and safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: dict[CounterKey, Level] = {}
        self._ends_ms: dict[CounterKey, int] = {}

    def of(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        with self._lock:
            levels = self._levels
            try:
                return [levels[counter] for counter in counters]
            except KeyError:
                return [levels.get(counter, _NOTHING) for counter in counters]

    def at(self, now_ms: int) -> Iterator[list[Counter]]:
        """The counters whose windows contain this moment, in parts. Each part is seen at its own moment."""
        for some in in_chunks(self._all(), _LOOKED_AT_ONCE):
            with self._lock:
                found = [
                    Counter(key, end_ms, self._levels[key])
                    for key in some
                    if key.window_start_ms <= now_ms < (end_ms := self._ends_ms.get(key, 0))
                ]
            yield found

    def hold(self, holds: Iterable[Hold]) -> None:
        """Adds these holds to the reserved amounts."""
        with self._lock:
            levels = self._levels
            for counter, window_end_ms, held, _, _ in holds:
                if counter in levels and window_end_ms <= self._ends_ms[counter]:
                    settled, reserved, doubt = levels[counter]
                    # Does what Level(...) does, in half the time: each call passes here for each of its limits.
                    levels[counter] = tuple.__new__(Level, (settled, reserved + held, doubt))
                else:
                    self._move(counter, window_end_ms, 0, held, 0)

    def free(self, holds: Iterable[Hold]) -> None:
        """Removes these holds from the reserved amounts."""
        with self._lock:
            for counter, window_end_ms, held, _, _ in holds:
                self._move(counter, window_end_ms, 0, -held, 0)

    def doubt(self, doubts: Iterable[Doubt]) -> None:
        """Adds these doubts."""
        with self._lock:
            for each in doubts:
                for counter, window_end_ms, kept, _, _ in each.reservation.holds:
                    self._move(counter, window_end_ms, 0, 0, kept)

    def clear(self, doubts: Iterable[Doubt]) -> None:
        """Removes these doubts."""
        with self._lock:
            for each in doubts:
                for counter, window_end_ms, kept, _, _ in each.reservation.holds:
                    self._move(counter, window_end_ms, 0, 0, -kept)

    def move(self, moves: Mapping[CounterKey, Move]) -> None:
        """Applies moves to counters."""
        with self._lock:
            for counter, move in moves.items():
                self._move(counter, move.window_end_ms, move.settled, move.reserved, move.doubt)

    def settle_at(self, sums: Iterable[Sum]) -> None:
        """Sets settled amounts."""
        with self._lock:
            for counter, window_end_ms, settled in sums:
                before = self._levels.get(counter, _NOTHING)
                self._move(counter, window_end_ms, settled - before.settled, 0, 0)

    def sums_of(self, policies: Collection[str]) -> list[Sum]:
        """The settled amounts of these policies."""
        with self._lock:
            found = [(key, level.settled) for key, level in self._levels.items() if key.policy in policies]
            return [Sum(key, self._ends_ms[key], settled) for key, settled in found if settled]

    def rename(self, sums: Iterable[Sum], new_name_of: Callable[[CounterKey], CounterKey]) -> None:
        """Moves these settled amounts to the new names of their counters, in place of the amounts there."""
        with self._lock:
            for counter, window_end_ms, settled in sums:
                renamed = new_name_of(counter)
                before = self._levels.get(renamed, _NOTHING)
                self._move(renamed, window_end_ms, settled - before.settled, 0, 0)
                self._move(counter, window_end_ms, -settled, 0, 0)

    def drop_empty(self, policies: Collection[str]) -> None:
        """Forgets counters of these policies that are all 0."""
        for some in in_chunks(self._all(), _LOOKED_AT_ONCE):
            with self._lock:
                for counter in some:
                    if counter.policy in policies and not any(self._levels.get(counter, ())):
                        self._forget(counter)

    def ended(self, before_ms: int) -> list[CounterKey]:
        """The counters that nobody has needed since before this moment."""
        return [key for key in self._all() if 0 < self._ends_ms.get(key, 0) <= before_ms]

    def idle(self, counters: Iterable[CounterKey], ended_before_ms: int) -> list[CounterKey]:
        """Those of these counters that nobody has needed since before this moment, and that hold nothing."""
        with self._lock:
            return [
                key
                for key in counters
                if self._ends_ms.get(key, ended_before_ms + 1) <= ended_before_ms and self._levels[key][1:] == (0, 0)
            ]

    def end_ms_of(self, counter: CounterKey) -> int:
        """The moment from which nobody needs a counter; 0 if there is no such counter."""
        with self._lock:
            return self._ends_ms.get(counter, 0)

    def drop(self, counters: Iterable[CounterKey]) -> None:
        """Forgets counters."""
        with self._lock:
            for counter in counters:
                self._forget(counter)

    def _all(self) -> list[CounterKey]:
        """All counters. The copy is the one step that grows with their number: some nanoseconds each."""
        with self._lock:
            return list(self._levels)

    def _forget(self, counter: CounterKey) -> None:
        self._levels.pop(counter, None)
        self._ends_ms.pop(counter, None)

    def _move(self, counter: CounterKey, window_end_ms: int, settled: int, reserved: int, doubt: int) -> None:
        level = self._levels.get(counter)
        if level is None:
            level = _NOTHING
            self._ends_ms[counter] = window_end_ms
        elif window_end_ms > self._ends_ms[counter]:
            self._ends_ms[counter] = window_end_ms
        self._levels[counter] = Level(level[0] + settled, level[1] + reserved, level[2] + doubt)
