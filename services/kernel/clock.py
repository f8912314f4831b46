"""Time is an argument. Only wiring chooses a clock; tests use one that they set by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...


class ManualClock:
    """A clock that stands still until somebody moves it."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Moves the clock forward."""
        self._now_ms += milliseconds


def format_time(instant_ms: int) -> str:
    """Formats an instant as RFC 3339 in UTC, with milliseconds only where they are not zero."""
    instant = datetime.fromtimestamp(instant_ms / 1000, UTC)
    spec = "milliseconds" if instant_ms % 1000 else "seconds"
    return instant.isoformat(timespec=spec).replace("+00:00", "Z")
