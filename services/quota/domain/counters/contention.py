"""Which counters had no room lately but for what is in flight: where calls compete, each asks for less."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from services.quota.domain.counters.counter import CounterKey

_LASTS_MS = 10_000


# Beyond it the counter that was noted first is forgotten: its calls ask for all there is again.
MOST_COUNTERS = 4_096


class Contention:
    """The counters of the last contention refusals. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted_at_ms: dict[CounterKey, int] = {}

    def note(self, counter: CounterKey, now_ms: int) -> None:
        """A call was refused for what is in flight in `counter`."""
        with self._lock:
            self._noted_at_ms.pop(counter, None)
            self._noted_at_ms[counter] = now_ms
            if len(self._noted_at_ms) > MOST_COUNTERS:
                del self._noted_at_ms[next(iter(self._noted_at_ms))]

    def is_on(self, counters: Iterable[CounterKey], now_ms: int) -> bool:
        """Whether one of these counters refused a call within the last ten seconds."""
        noted = self._noted_at_ms
        return bool(noted) and any(now_ms - noted.get(counter, -_LASTS_MS - 1) <= _LASTS_MS for counter in counters)
