"""Time comes in by argument. Only wiring chooses a clock, and tests choose one that they turn by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Moves the clock on."""
        self._now_ms += milliseconds


def format_time(instant_ms: int) -> str:
    """RFC 3339 in UTC; milliseconds only where there are some."""
    instant = datetime.fromtimestamp(instant_ms / 1000, UTC)
    spec = "milliseconds" if instant_ms % 1000 else "seconds"
    return instant.isoformat(timespec=spec).replace("+00:00", "Z")
