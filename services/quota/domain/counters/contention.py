"""Contention: counters that lately had no room only because of calls in flight. There each call asks for less."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from services.quota.domain.counters.counter import CounterKey

_LASTS_MS = 10_000
# Beyond this number we forget the oldest counter. Its calls then ask for all the room again.
MOST_COUNTERS = 4_096


class Contention:
    """The counters of the latest refusals for contention. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted_at_ms: dict[CounterKey, int] = {}

    def note(self, counter: CounterKey, now_ms: int) -> None:
        """Notes that `counter` refused a call because of calls in flight."""
        with self._lock:
            self._noted_at_ms.pop(counter, None)
            self._noted_at_ms[counter] = now_ms
            if len(self._noted_at_ms) > MOST_COUNTERS:
                del self._noted_at_ms[next(iter(self._noted_at_ms))]

    def is_on(self, counters: Iterable[CounterKey], now_ms: int) -> bool:
        """Whether one of these counters refused a call within the last ten seconds."""
        noted = self._noted_at_ms
        return bool(noted) and any(now_ms - noted.get(counter, -_LASTS_MS - 1) <= _LASTS_MS for counter in counters)
