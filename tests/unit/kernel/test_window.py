from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.kernel.window import (
    FOREVER_MS,
    ROLLING_STEP_MS,
    Weekday,
    Window,
    WindowRule,
    WindowUnit,
    load_timezone,
)


def ms(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc, arg-type]  # year to second


def plain(start_ms: int, end_ms: int) -> Window:
    return Window(start_ms, end_ms, retain_until_ms=end_ms)


def test_a_month_runs_from_its_first_midnight_in_the_zone_to_the_next() -> None:
    zone = "America/New_York"

    assert WindowRule(WindowUnit.MONTH, zone).at(ms(zone, 2026, 2, 28, 23, 59)) == plain(
        ms(zone, 2026, 2, 1), ms(zone, 2026, 3, 1)
    )


def test_the_last_millisecond_is_old_and_the_next_is_new() -> None:
    end_ms = ms("America/New_York", 2026, 3, 1)

    assert WindowRule(WindowUnit.MONTH, "America/New_York").at(end_ms - 1).end_ms == end_ms
    assert WindowRule(WindowUnit.MONTH, "America/New_York").at(end_ms).start_ms == end_ms


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
    window = WindowRule(WindowUnit.DAY, zone).at(ms(zone, *day, 12))

    assert window.end_ms - window.start_ms == hours * 3_600_000


def test_a_day_that_a_zone_skipped_is_a_window_of_nothing() -> None:
    # Samoa crossed the date line: after Thursday the 29th came Saturday the 31st.
    zone = "Pacific/Apia"
    rule = WindowRule(WindowUnit.DAY, zone)

    assert rule.at(ms(zone, 2011, 12, 29, 12)) == plain(ms(zone, 2011, 12, 29), ms(zone, 2011, 12, 31))
    assert rule.at(ms(zone, 2011, 12, 31, 12)) == plain(ms(zone, 2011, 12, 31), ms(zone, 2012, 1, 1))


def test_an_hour_that_a_clock_repeats_across_midnight_belongs_to_the_new_day() -> None:
    # At a minute past midnight the clock went back to 23:01 of the day before.
    zone = "America/St_Johns"
    midnight_ms = ms(zone, 2006, 10, 29)

    window = WindowRule(WindowUnit.DAY, zone).at(midnight_ms + 30 * 60_000)

    assert window == plain(midnight_ms, ms(zone, 2006, 10, 30))
    assert WindowRule(WindowUnit.DAY, zone).at(midnight_ms - 1).end_ms == midnight_ms


def test_minutes_and_hours_are_those_of_utc() -> None:
    assert WindowRule(WindowUnit.MINUTE, "Asia/Kolkata").at(119_999) == plain(60_000, 120_000)
    assert WindowRule(WindowUnit.HOUR, "Asia/Kolkata").at(3_600_000) == plain(3_600_000, 7_200_000)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        load_timezone(name)


def test_a_month_that_begins_on_the_31st_begins_on_the_last_day_of_shorter_months() -> None:
    rule, zone = WindowRule(WindowUnit.MONTH, "Europe/Berlin", anchor_day=31), "Europe/Berlin"

    assert rule.at(ms(zone, 2026, 2, 27, 12)) == plain(ms(zone, 2026, 1, 31), ms(zone, 2026, 2, 28))
    assert rule.at(ms(zone, 2026, 2, 28, 12)) == plain(ms(zone, 2026, 2, 28), ms(zone, 2026, 3, 31))
    assert rule.at(ms(zone, 2028, 2, 29)) == plain(ms(zone, 2028, 2, 29), ms(zone, 2028, 3, 31))
    assert rule.at(ms(zone, 2026, 1, 1)) == plain(ms(zone, 2025, 12, 31), ms(zone, 2026, 1, 31))


@pytest.mark.parametrize(
    ("week_start", "first"),
    [(Weekday.MONDAY, 23), (Weekday.SUNDAY, 22), (Weekday.TUESDAY, 24), (Weekday.WEDNESDAY, 18)],
)
def test_a_week_begins_on_its_day(week_start: Weekday, first: int) -> None:
    zone = "Asia/Kolkata"
    tuesday_ms = ms(zone, 2026, 11, 24, 6)

    window = WindowRule(WindowUnit.WEEK, zone, week_start).at(tuesday_ms)

    assert window == plain(ms(zone, 2026, 11, first), ms(zone, 2026, 11, first) + 7 * 86_400_000)


def test_quarters_and_years_are_those_of_the_calendar() -> None:
    quarter, year = (WindowRule(unit, "UTC") for unit in (WindowUnit.QUARTER, WindowUnit.YEAR))
    now_ms = ms("UTC", 2026, 11, 24)

    assert quarter.at(now_ms) == plain(ms("UTC", 2026, 10, 1), ms("UTC", 2027, 1, 1))
    assert year.at(now_ms) == plain(ms("UTC", 2026, 1, 1), ms("UTC", 2027, 1, 1))


def test_a_lifetime_never_ends() -> None:
    assert WindowRule(WindowUnit.LIFETIME).at(1) == plain(0, FOREVER_MS)


def test_a_run_is_remembered_for_thirty_days_after_its_last_call() -> None:
    day_ms = 86_400_000

    assert WindowRule(WindowUnit.RUN).at(5 * day_ms + 1) == Window(0, 6 * day_ms, retain_until_ms=36 * day_ms)


def test_a_rolling_window_counts_whole_parts_and_never_less_than_its_length() -> None:
    rule = WindowRule(WindowUnit.ROLLING, rolling_ms=24 * 3_600_000)
    now_ms = ms("UTC", 2026, 11, 24, 6, 30)
    part = rule.at(now_ms)
    trailing = rule.trailing_starts_ms(now_ms)

    assert part == Window(ms("UTC", 2026, 11, 24, 6), ms("UTC", 2026, 11, 24, 7), ms("UTC", 2026, 11, 25, 7))
    assert trailing[0] == part.start_ms - 3_600_000
    assert len(trailing) == 24
    assert now_ms - trailing[-1] >= rule.rolling_ms
    # A counter expires exactly when its part no longer trails.
    oldest = rule.at(trailing[-1])
    assert oldest.retain_until_ms == part.end_ms


def test_only_rolling_windows_trail() -> None:
    rules = [WindowRule(unit, rolling_ms=ROLLING_STEP_MS) for unit in WindowUnit]

    assert [rule.unit for rule in rules if rule.trailing_starts_ms(10**12)] == [WindowUnit.ROLLING]


def test_only_what_lasts_a_day_is_long_and_only_what_lasts_an_hour_is_short() -> None:
    rules = [WindowRule(unit, rolling_ms=hours * 3_600_000) for unit in WindowUnit for hours in (1, 2, 24)]
    neither = {rule.name for rule in rules if not rule.is_day_or_longer and not rule.is_hour_or_shorter}

    assert {rule.name for rule in rules if rule.is_hour_or_shorter} == {"minute", "hour", "rolling-3600s"}
    assert neither == {"rolling-7200s"}


def test_rules_that_divide_time_differently_have_different_names() -> None:
    rules = {
        WindowRule(unit, zone, week_start, anchor_day, rolling_ms)
        for unit in WindowUnit
        for zone in ("UTC", "Europe/Berlin")
        for week_start in (Weekday.MONDAY, Weekday.SUNDAY)
        for anchor_day in (1, 15)
        for rolling_ms in (60_000, 120_000)
    }
    instants = [ms("UTC", 2026, month, day, 22, 30) for month in range(1, 13) for day in (1, 9, 16, 28)]
    meaning = {rule.name: [(rule.at(at_ms), rule.trailing_starts_ms(at_ms)) for at_ms in instants] for rule in rules}

    for rule in rules:
        assert [(rule.at(at_ms), rule.trailing_starts_ms(at_ms)) for at_ms in instants] == meaning[rule.name]
    distinct = [str(each) for each in meaning.values()]
    assert len(set(distinct)) == len(distinct)
