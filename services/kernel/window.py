"""Windows: the periods after which a limit counts anew.

There is no reset job: the start of the window is part of a counter's key, so the first call of a new window finds a
counter at zero. Minutes and hours are those of UTC; days and months are those of the limit's time zone, whose clock
may jump. Every instant lies in exactly one window of each kind, whatever the clock does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000


class WindowUnit(StrEnum):
    """Length of a window."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    @property
    def is_day_or_longer(self) -> bool:
        """Whether the window is long enough to steer which model a call gets."""
        return self in {WindowUnit.DAY, WindowUnit.MONTH}


@dataclass(frozen=True, slots=True)
class Window:
    """A period in milliseconds since 1970 UTC: `start_ms` belongs to it, `end_ms` to the next."""

    start_ms: int
    end_ms: int


def window_at(unit: WindowUnit, timezone: str, now_ms: int) -> Window:
    """The window of this kind that contains the instant `now_ms`.

    Raises:
        ValueError: no such time zone.
    """
    if unit is WindowUnit.MINUTE:
        start = now_ms - now_ms % _MINUTE_MS
        return Window(start, start + _MINUTE_MS)
    if unit is WindowUnit.HOUR:
        start = now_ms - now_ms % _HOUR_MS
        return Window(start, start + _HOUR_MS)
    zone = load_timezone(timezone)
    day = datetime.fromtimestamp(now_ms / 1000, zone).date()
    first = day if unit is WindowUnit.DAY else day.replace(day=1)
    # Where the clock jumps at midnight the local date can lag or lead by one: step until the period contains now.
    while _midnight_ms(_next(unit, first), zone) <= now_ms:
        first = _next(unit, first)
    while _midnight_ms(first, zone) > now_ms:
        first = _previous(unit, first)
    return Window(_midnight_ms(first, zone), _midnight_ms(_next(unit, first), zone))


@lru_cache(maxsize=1024)
def load_timezone(name: str) -> ZoneInfo:
    """The time zone of this IANA name.

    Raises:
        ValueError: no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone: write an IANA name like Europe/Berlin") from error


def _next(unit: WindowUnit, first: date) -> date:
    if unit is WindowUnit.DAY:
        return first + timedelta(days=1)
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1)


def _previous(unit: WindowUnit, first: date) -> date:
    before = first - timedelta(days=1)
    return before if unit is WindowUnit.DAY else before.replace(day=1)


@lru_cache(maxsize=65_536)
def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    """The instant at which `day` begins. A midnight that the clock skips is the instant of the jump."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp() * 1000)
