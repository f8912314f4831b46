"""Windows: the periods in which a limit counts.

There is no reset job. The start of the window is part of a counter's key, so the first call of a new window finds a
counter at zero. Minutes and hours are in UTC. Days and longer periods follow the limit's time zone, whose clock may
jump. Every instant lies in exactly one window of each kind, whatever the clock does.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
# How long a run is remembered after its last call.
_RUN_MEMORY_MS = 30 * _DAY_MS
_ROLLING_PARTS = 24
ROLLING_STEP_MS = _MINUTE_MS
"""A rolling window is a multiple of this, so that its parts are whole milliseconds."""
MAX_ROLLING_MS = 366 * _DAY_MS
FOREVER_MS = 253_402_300_799_000
"""The last second that a four-digit year can write: the end of a window without an end."""


class WindowUnit(StrEnum):
    """The kind of a window."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    LIFETIME = "lifetime"
    """Never starts over."""
    ROLLING = "rolling"
    """The last N minutes, hours or days."""
    RUN = "run"
    """Calls that name the same run, in the header `x-spendgate-run`."""

    @property
    def has_timezone(self) -> bool:
        """Whether it begins at midnight in some time zone."""
        return self in _OF_DAYS


_OF_DAYS = {WindowUnit.DAY, WindowUnit.WEEK, WindowUnit.MONTH, WindowUnit.QUARTER, WindowUnit.YEAR}
_MONTHS = {WindowUnit.MONTH: 1, WindowUnit.QUARTER: 3, WindowUnit.YEAR: 12}


class Weekday(IntEnum):
    """Days of the week, numbered as in ISO 8601."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@dataclass(frozen=True, slots=True)
class Window:
    """A period in milliseconds since 1970 UTC. It includes `start_ms` and excludes `end_ms`."""

    start_ms: int
    end_ms: int
    retain_until_ms: int
    """When its counts expire: at its end, or later where windows overlap."""


@dataclass(frozen=True, slots=True)
class WindowRule:
    """Divides time into windows."""

    unit: WindowUnit
    timezone: str = "UTC"
    """IANA name. Applies to days and longer periods."""
    week_start: Weekday = Weekday.MONDAY
    anchor_day: int = 1
    """The day on which months begin, 1 to 31. A shorter month begins on its last day."""
    rolling_ms: int = 0
    """Length of a rolling window, a multiple of `ROLLING_STEP_MS`."""

    @property
    def name(self) -> str:
        """Identifies the rule, e.g. "month-15/America-New_York"."""
        if self.unit is WindowUnit.ROLLING:
            return f"rolling-{self.rolling_ms // 1000}s"
        name = str(self.unit)
        if self.unit is WindowUnit.WEEK and self.week_start is not Weekday.MONDAY:
            name += f"-{self.week_start.name.lower()}"
        if self.unit is WindowUnit.MONTH and self.anchor_day != 1:
            name += f"-{self.anchor_day}"
        return f"{name}/{self.timezone.replace('/', '-')}" if self.unit.has_timezone else name

    @property
    def is_day_or_longer(self) -> bool:
        """Whether it is long enough to steer which model a call gets."""
        if self.unit is WindowUnit.ROLLING:
            return self.rolling_ms >= _DAY_MS
        return self.unit not in {WindowUnit.MINUTE, WindowUnit.HOUR}

    @property
    def is_hour_or_shorter(self) -> bool:
        """Whether it is short enough for a client to wait for its end."""
        if self.unit is WindowUnit.ROLLING:
            return self.rolling_ms <= _HOUR_MS
        return self.unit in {WindowUnit.MINUTE, WindowUnit.HOUR}

    def at(self, now_ms: int) -> Window:
        """Returns the window that contains the instant `now_ms`.

        A rolling window is counted in parts, and this returns the current part; see `trailing_starts_ms`.

        Raises:
            ValueError: no such time zone.
        """
        match self.unit:
            case WindowUnit.MINUTE:
                return _slot(now_ms, _MINUTE_MS)
            case WindowUnit.HOUR:
                return _slot(now_ms, _HOUR_MS)
            case WindowUnit.LIFETIME:
                return Window(0, FOREVER_MS, FOREVER_MS)
            case WindowUnit.RUN:
                today = _slot(now_ms, _DAY_MS)
                return Window(0, today.end_ms, today.end_ms + _RUN_MEMORY_MS)
            case WindowUnit.ROLLING:
                part = _slot(now_ms, self.rolling_ms // _ROLLING_PARTS)
                return Window(part.start_ms, part.end_ms, part.end_ms + self.rolling_ms)
            case _:
                return self._of_days(now_ms)

    def trailing_starts_ms(self, now_ms: int) -> tuple[int, ...]:
        """Returns the starts of the earlier parts that also count. Empty unless the window rolls.

        Parts count as a whole, even the oldest, which lies only partly within the window. So the window never lets
        through more than its length allows.
        """
        if self.unit is not WindowUnit.ROLLING:
            return ()
        length_ms = self.rolling_ms // _ROLLING_PARTS
        start_ms = now_ms - now_ms % length_ms
        return tuple(start_ms - part * length_ms for part in range(1, _ROLLING_PARTS + 1))

    def remembered_since_ms(self, now_ms: int) -> int:
        """Runs without an admitted call since this moment are forgotten."""
        return self.at(now_ms).end_ms - _DAY_MS - _RUN_MEMORY_MS

    def _of_days(self, now_ms: int) -> Window:
        zone = load_timezone(self.timezone)
        first = self._first_day(datetime.fromtimestamp(now_ms / 1000, zone).date())
        # Where the clock jumps at midnight, the local date can be off by one: step until the period contains now.
        while _midnight_ms(self._next(first), zone) <= now_ms:
            first = self._next(first)
        while _midnight_ms(first, zone) > now_ms:
            first = self._first_day(first - timedelta(days=1))
        end_ms = _midnight_ms(self._next(first), zone)
        return Window(_midnight_ms(first, zone), end_ms, end_ms)

    def _first_day(self, day: date) -> date:
        """Returns the first day of the period that contains `day`."""
        if self.unit is WindowUnit.DAY:
            return day
        if self.unit is WindowUnit.WEEK:
            return day - timedelta(days=(day.isoweekday() - self.week_start) % 7)
        length = _MONTHS[self.unit]
        month = (day.year * 12 + day.month - 1) // length * length
        first = self._in_month(month)
        return first if first <= day else self._in_month(month - length)

    def _next(self, first: date) -> date:
        """Returns the first day of the period after the one that begins on `first`."""
        if self.unit is WindowUnit.DAY:
            return first + timedelta(days=1)
        if self.unit is WindowUnit.WEEK:
            return first + timedelta(days=7)
        return self._in_month(first.year * 12 + first.month - 1 + _MONTHS[self.unit])

    def _in_month(self, month: int) -> date:
        """Returns the first day of the billing month in `month`, counted from year 0."""
        year, index = divmod(month, 12)
        anchor = self.anchor_day if self.unit is WindowUnit.MONTH else 1
        return date(year, index + 1, min(anchor, monthrange(year, index + 1)[1]))


@lru_cache(maxsize=1024)
def load_timezone(name: str) -> ZoneInfo:
    """Returns the time zone of this IANA name.

    Raises:
        ValueError: there is no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone: write an IANA name like Europe/Berlin") from error


def _slot(now_ms: int, length_ms: int) -> Window:
    start_ms = now_ms - now_ms % length_ms
    return Window(start_ms, start_ms + length_ms, start_ms + length_ms)


@lru_cache(maxsize=65_536)
def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Returns the instant at which `day` begins. If the clock skips midnight, that is the instant of the jump."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp() * 1000)
