from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.kernel.window import Window, WindowUnit, load_timezone, window_at


def ms(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc, arg-type]  # year to second


def test_a_month_runs_from_its_first_midnight_in_the_zone_to_the_next() -> None:
    zone = "America/New_York"

    assert window_at(WindowUnit.MONTH, zone, ms(zone, 2026, 2, 28, 23, 59)) == Window(
        ms(zone, 2026, 2, 1), ms(zone, 2026, 3, 1)
    )


def test_the_last_millisecond_is_old_and_the_next_is_new() -> None:
    end_ms = ms("America/New_York", 2026, 3, 1)

    assert window_at(WindowUnit.MONTH, "America/New_York", end_ms - 1).end_ms == end_ms
    assert window_at(WindowUnit.MONTH, "America/New_York", end_ms).start_ms == end_ms


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 3, 8), 23),
        ("Asia/Kolkata", (2026, 3, 29), 24),
        # The clock jumps from midnight to one: the day begins at the jump.
        ("America/Santiago", (2026, 9, 6), 23),
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
    ],
)
def test_days_are_as_long_as_the_clock_makes_them(zone: str, day: tuple[int, int, int], hours: float) -> None:
    window = window_at(WindowUnit.DAY, zone, ms(zone, *day, 12))

    assert window.end_ms - window.start_ms == hours * 3_600_000


def test_a_day_that_a_zone_skipped_is_a_window_of_nothing() -> None:
    # Samoa crossed the date line: after Thursday the 29th came Saturday the 31st.
    thursday = window_at(WindowUnit.DAY, "Pacific/Apia", ms("Pacific/Apia", 2011, 12, 29, 12))
    saturday = window_at(WindowUnit.DAY, "Pacific/Apia", ms("Pacific/Apia", 2011, 12, 31, 12))

    assert thursday.end_ms == saturday.start_ms


def test_an_hour_that_a_clock_repeats_across_midnight_belongs_to_the_new_day() -> None:
    # At a minute past midnight the clock went back to 23:01 of the day before.
    zone = "America/St_Johns"
    midnight_ms = ms(zone, 2006, 10, 29)

    window = window_at(WindowUnit.DAY, zone, midnight_ms + 30 * 60_000)

    assert window == Window(midnight_ms, ms(zone, 2006, 10, 30))
    assert window_at(WindowUnit.DAY, zone, midnight_ms - 1).end_ms == midnight_ms


def test_minutes_and_hours_are_those_of_utc() -> None:
    assert window_at(WindowUnit.MINUTE, "Asia/Kolkata", 119_999) == Window(60_000, 120_000)
    assert window_at(WindowUnit.HOUR, "Asia/Kolkata", 3_600_000) == Window(3_600_000, 7_200_000)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        load_timezone(name)


def test_only_days_and_months_are_long() -> None:
    assert [unit for unit in WindowUnit if unit.is_day_or_longer] == [WindowUnit.DAY, WindowUnit.MONTH]
